//! Python programs that tests talk to: servers that others wrote, at fixed versions, installed once
//! for all tests below `target`.

use std::{
    env,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// The interpreter that has them. Nothing, and a notice, where there is no Python to install them
/// with; in CI that is a failure.
pub(crate) fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| match installed() {
        Ok(python) => Some(python),
        Err(why) => {
            assert_ne!(env::var("CI").as_deref(), Ok("true"), "{why}");
            // Past the harness, which keeps what a test prints to itself.
            writeln!(
                std::io::stderr(),
                "\nLEFT OUT: the tests with real calendar and mail servers, since {why}.\n"
            )
            .ok();
            None
        }
    });
    python.as_deref()
}

fn installed() -> Result<PathBuf, String> {
    let test = env::current_exe().expect("a path");
    let target = test.ancestors().nth(3).expect("target/PROFILE/deps/test");
    let mut hasher = DefaultHasher::new();
    PACKAGES.hash(&mut hasher);
    let folder = target.join(format!("python-{:016x}", hasher.finish()));
    // One installs, the others wait.
    let lock = File::create(folder.with_extension("lock")).expect("a file");
    lock.lock().expect("a lock");
    let python = folder.join("bin/python");
    let ready = folder.join("ready");
    if ready.is_file() && works(&python) {
        return Ok(python);
    }
    // What an interrupted installation left behind is begun anew.
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&folder))?;
    let packages = folder.join("packages.txt");
    fs::write(&packages, PACKAGES).expect("a file");
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    run(Command::new(&python)
        .args(pip)
        .arg("--requirement")
        .arg(&packages))?;
    fs::write(&ready, "").expect("a file");
    Ok(python)
}

fn works(python: &Path) -> bool {
    let tried = Command::new(python)
        .args(["-c", "import radicale, aiosmtpd"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{command:?} fails: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Err(format!("{command:?} cannot be run ({error})")),
    }
}

/// A process that ends with its owner.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Every package, those that others need included.
const PACKAGES: &str = include_str!("python.txt");
