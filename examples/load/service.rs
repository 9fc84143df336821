//! The service under load: a child process, and what the kernel says about it.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// A running service. Dropping it ends the process.
pub(crate) struct Service {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Service {
    /// Starts `binary` with its files in `dir` and waits until it takes calls.
    pub(crate) fn start(
        binary: &Path,
        dir: &Path,
        settings: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let log = dir.join("service.log");
        let output = fs::File::create(&log).context("cannot write the service's log")?;
        let mut command = Command::new(binary);
        // Whatever this shell holds, the service talks to loopback alone.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if FOREIGN.iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        let child = command
            .arg("serve")
            .current_dir(dir)
            .env("HOST", "127.0.0.1")
            .env("PORT", port.to_string())
            .env("DATA_DIR", dir.join("data"))
            .env("TRANSCRIPTS_DIR", dir.join("transcripts"))
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut service = Self { child, port, log };
        service.wait_until_ready()?;
        Ok(service)
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What to read from while it runs.
    pub(crate) fn gauge(&self) -> Gauge {
        Gauge(self.child.id())
    }

    /// Asks it to end, and makes it end.
    pub(crate) fn stop(mut self, patience: Duration) -> anyhow::Result<bool> {
        Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .context("cannot send a signal")?;
        let deadline = now() + patience;
        while now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(false)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = now() + Duration::from_secs(60);
        while now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("the service ended with {status}:\n{}", self.last_words());
            }
            if self.is_ready() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("the service is not ready:\n{}", self.last_words())
    }

    fn is_ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else {
            return false;
        };
        let request = "GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
        let mut status = [0; 12];
        stream
            .set_read_timeout(Some(Duration::from_secs(1)))
            .is_ok()
            && stream.write_all(request.as_bytes()).is_ok()
            && stream.read_exact(&mut status).is_ok()
            && status.ends_with(b"200")
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has in memory, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// All of it.
    pub(crate) resident: u64,
    /// Without pages of files, such as its code: heap and stacks.
    pub(crate) own: u64,
}

/// Reads a process's use of the machine from `/proc`.
#[derive(Clone, Copy)]
pub(crate) struct Gauge(u32);

impl Gauge {
    /// The gauge of this process.
    pub(crate) fn own() -> Self {
        Self(std::process::id())
    }

    /// Processor time so far, user and system.
    pub(crate) fn cpu(self) -> anyhow::Result<Duration> {
        let stat = self.read("stat")?;
        // The name, in brackets, may hold spaces; user and system time are fields 14 and 15.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse().unwrap_or(0))
            .sum();
        // The kernel reports in units of USER_HZ, which is 100 wherever Linux runs.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Its memory at this moment.
    pub(crate) fn memory(self) -> anyhow::Result<Memory> {
        let status = self.read("status")?;
        let field = |name: &str| -> anyhow::Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let size = line.and_then(|line| line.split_whitespace().next());
            let size = size.with_context(|| format!("no {name} in /proc"))?;
            size.parse().with_context(|| format!("{name} is {size}"))
        };
        Ok(Memory {
            resident: field("VmRSS:")?,
            own: field("RssAnon:")?,
        })
    }

    fn read(self, file: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

/// The esther example beside this one, built first where cargo is at hand.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let folder = own.parent().context("this program lies nowhere")?;
    if let (Some(cargo), Some(package)) = (
        std::env::var_os("CARGO"),
        std::env::var_os("CARGO_MANIFEST_DIR"),
    ) {
        let mut command = Command::new(cargo);
        command
            .current_dir(package)
            .args(["build", "--example", "esther"]);
        if folder
            .parent()
            .is_some_and(|profile| profile.ends_with("release"))
        {
            command.arg("--release");
        }
        if !command.status().context("cannot run cargo")?.success() {
            bail!("the service does not build");
        }
    }
    let binary = folder.join("esther");
    if !binary.exists() {
        bail!(
            "{} is missing: build it with `cargo build --release --example esther`",
            binary.display()
        );
    }
    Ok(binary)
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

/// Now. An example is a shell of its own, and nothing here is simulated.
#[expect(clippy::disallowed_methods, reason = "measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Variables by which the service could reach out, or find other settings than ours.
const FOREIGN: [&str; 8] = [
    "AWS_",
    "VONAGE_",
    "NOVA_",
    "ESTHER_",
    "OTEL_",
    "PUBLIC_URL",
    "RUST_LOG",
    "SSL_",
];
