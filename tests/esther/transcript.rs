//! The files of calls.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// The files of one call.
#[derive(Debug)]
pub(crate) struct Transcript {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) record: Option<Value>,
}

impl Transcript {
    pub(crate) fn find(folder: &Path, call: &str) -> Self {
        let files: Vec<PathBuf> = fs::read_dir(folder)
            .expect("the folder of transcripts")
            .map(|file| file.expect("a file").path())
            .filter(|path| path.to_string_lossy().contains(call))
            .collect();
        let end = |end: &str| {
            let mut those = files
                .iter()
                .filter(|path| path.extension().is_some_and(|it| it == end));
            let one = those.next();
            assert_eq!(those.next(), None, "never two files of one call");
            one
        };
        let path = end("md").unwrap_or_else(|| panic!("no transcript of {call} in {files:?}"));
        let record = end("json").map(|path| {
            let text = fs::read_to_string(path).expect("readable");
            serde_json::from_str(&text).expect("JSON")
        });
        let name = path.file_name().expect("a file").to_string_lossy();
        Self {
            name: name.into_owned(),
            text: fs::read_to_string(path).expect("readable"),
            record,
        }
    }

    /// What was said, each as `Speaker: words`.
    pub(crate) fn said(&self) -> Vec<&str> {
        let lines = self.text.lines().filter(|line| line.starts_with('['));
        lines
            .filter_map(|line| line.split_once("] ").map(|(_, said)| said))
            .collect()
    }
}
