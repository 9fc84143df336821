//! The program under test.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The example's executable, up to date. `cargo test` builds an example that has tests of its own
/// as these tests alone, so cargo is asked for the program; where these tests run without cargo,
/// what lies beside them must do.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = env::current_exe().expect("a path");
        let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/test");
        if let Some(cargo) = env::var_os("CARGO") {
            build(&cargo, profile);
        }
        let binary = profile
            .join("examples")
            .join("esther")
            .with_extension(env::consts::EXE_EXTENSION);
        assert!(
            binary.is_file(),
            "{} is missing: run `cargo build --example esther` first",
            binary.display()
        );
        binary
    })
}

fn build(cargo: &OsStr, profile: &Path) {
    let target = profile.parent().expect("target/PROFILE");
    let profile = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let built = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--example",
            "esther",
            "--profile",
            profile,
        ])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(
        built.expect("cargo runs").success(),
        "the example does not build"
    );
}
