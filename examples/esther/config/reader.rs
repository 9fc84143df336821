//! Reads settings from flags, environment and `.env`, and collects what is wrong with them
//! instead of stopping at the first problem.

use std::collections::BTreeMap;

use super::settings::Setting;

/// Where values come from: a flag wins over the environment, and that over the file `.env`. An
/// empty value counts as none at all.
#[derive(Default)]
pub(crate) struct Sources {
    /// From the command line.
    pub(crate) flags: BTreeMap<String, String>,
    /// From the process's environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// From the file `.env`.
    pub(crate) file: BTreeMap<String, String>,
}

impl Sources {
    /// Whether a setting is given at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// What they say about logs, of which there are none but errors unless it is said, and
    /// nothing else.
    pub(crate) fn of_logs(mut self) -> Self {
        for source in [&mut self.flags, &mut self.environment] {
            source.retain(|name, _| ["RUST_LOG", "LOG_FORMAT"].contains(&name.as_str()));
        }
        self.file = BTreeMap::from([("RUST_LOG".to_owned(), "error".to_owned())]);
        self
    }

    fn value(&self, name: &str) -> Option<&str> {
        [&self.flags, &self.environment, &self.file]
            .into_iter()
            .filter_map(|source| source.get(name))
            .map(|value| value.trim())
            .find(|value| !value.is_empty())
    }
}

/// Reads one setting after the other and remembers every problem.
pub(crate) struct Reader<'a> {
    sources: &'a Sources,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(sources: &'a Sources) -> Self {
        Self {
            sources,
            problems: Vec::new(),
        }
    }

    /// The value of a setting that has a default. A wrong value is remembered as a problem and
    /// the default stands in, so that reading goes on.
    pub(crate) fn required<T>(&mut self, name: &str, parse: impl Fn(&str) -> Parsed<T>) -> T {
        self.optional(name, &parse).unwrap_or_else(|| {
            let default = Setting::named(name).default;
            let default = default.expect("a required setting has a default");
            parse(default).unwrap_or_else(|_| panic!("the default of {name} is a right value"))
        })
    }

    /// The value of a setting, if it is given and right.
    pub(crate) fn optional<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Option<T> {
        let setting = Setting::named(name);
        let value = self.sources.value(name)?;
        match parse(value) {
            Ok(value) => Some(value),
            Err(expected) => {
                // An address may hold a password in front of its `@`.
                let shown = if setting.private || value.contains('@') {
                    "the value".to_owned()
                } else {
                    format!("{:?}", value.chars().take(80).collect::<String>())
                };
                let problem = format!("{name}: {shown} is wrong, expected {expected}");
                // A setting that two parts read is wrong once.
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
                None
            }
        }
    }

    /// The value, or every problem that was found.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Vec<String>> {
        if self.problems.is_empty() {
            Ok(value)
        } else {
            Err(self.problems)
        }
    }
}

/// A value, or what was expected in its place.
pub(crate) type Parsed<T> = Result<T, String>;

/// Shortens `Err("…".to_owned())`.
pub(crate) fn expected<T>(what: impl Into<String>) -> Parsed<T> {
    Err(what.into())
}
