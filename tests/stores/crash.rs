//! Processes that are killed with several live calls, over and over: what they acknowledged is
//! in every sink, once.
//!
//! `CRASH_KILLS` says how many are killed; the default is what every run can afford.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use novavoice::{
    audio::SampleRate,
    call::{CallId, CallInfo, CallStatus, CallSummary, Direction, Outcome, Party},
    record::{CallStore, SqliteCalls},
    transcript::{
        DynamoSink, FanOut, FileSink, Speaker, Spool, TranscriptSink, Utterance,
        dynamodb::call_records, fan_out::Acknowledge, file::RecoveredCall, spool::SpoolConfig,
    },
};
use uuid::Uuid;

use crate::{dynamo::Server, records::record};

/// Lives and dies in `CRASH_HOME`, with the server at `CRASH_SERVER`. What it acknowledges it
/// says on standard output.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that the test below kills"]
async fn the_process_that_is_killed() {
    let var = |name| std::env::var(name).expect("set by the test below");
    let home = var("CRASH_HOME");
    let home = Path::new(&home);
    let server = Server::at(var("CRASH_SERVER"), "");
    let life: u64 = var("CRASH_LIFE").parse().expect("a number");

    let mut config = SpoolConfig::default();
    config.linger = Duration::from_millis(30);
    config.segment_bytes = 8_000;
    let remote = DynamoSink::new(server.dynamo(), var("CRASH_TABLE"));
    let spool = Spool::open(home.join("spool"), remote, config).await;
    let spool = spool.expect("the spool opens");
    let file = FileSink::new(home.join("transcripts"));
    let sqlite = SqliteCalls::open(home.join("calls.sqlite")).await;
    let sqlite = sqlite.expect("the database opens");
    for recovered in file.recover().await.expect("readable") {
        match recovered.result {
            Ok(call) => close(&sqlite, &call).await,
            Err(error) => {
                // It died while it made the file: nothing was acknowledged of that call.
                let detail = error.detail().unwrap_or_default();
                assert!(detail.contains("holds no line"), "{error}");
            }
        }
    }
    if var("CRASH_LOAD") == "no" {
        // A process that died between closing the file and telling the store left a call open
        // there, as one would whose disk is gone: its lease runs out.
        sqlite.expire(now()).await.expect("closed");
        spool.drained().await;
        say("drained");
        return;
    }
    let sinks = FanOut::builder(Acknowledge::All)
        .sink("file", file)
        .sink("sqlite", sqlite)
        .sink("dynamodb", spool)
        .build()
        .await
        .expect("no spill");
    say("ready");
    let died = var("CRASH_DIED");
    let mut died = died.split_whitespace().map(str::to_owned);
    let callers: Vec<_> = (0..6)
        .map(|caller| {
            // Some calls come back, as callers do whose socket was lost.
            let first = died.next().filter(|_| caller < 2);
            tokio::spawn(talk(sinks.clone(), life, caller, first))
        })
        .collect();
    for caller in callers {
        caller.await.expect("it talks until it is killed");
    }
}

/// What the file knows of a call whose process died, for a store that has no journal.
async fn close(store: &SqliteCalls, call: &RecoveredCall) {
    let rate = SampleRate::Hz16000;
    let info = CallInfo::new(call.id.clone(), call.direction, call.started, rate);
    let known = store.start(&info).await.expect("a call starts");
    let lacking = call.lines.iter().filter(|line| line.seq > known).cloned();
    let kept = store
        .record_all(&call.id, &lacking.collect::<Vec<_>>())
        .await;
    kept.expect("lines are kept");
    store
        .end(&call.id, &call.summary)
        .await
        .expect("a call ends");
}

async fn talk(sinks: FanOut, life: u64, caller: u64, mut again: Option<String>) {
    for number in 0.. {
        let id = again.take();
        let id = id.unwrap_or_else(|| format!("call-{life}-{caller}-{number}"));
        let mut call = CallInfo::new(
            CallId::new(id.as_str()),
            Direction::Inbound,
            now(),
            SampleRate::Hz16000,
        );
        call.remote = Some(Party::new("12125550101"));
        let last = sinks.start(&call).await.expect("a call starts");
        for seq in last + 1..=last + 2 + random(30) {
            let words = "and so on ".repeat(usize::try_from(random(20)).expect("small"));
            let line = Utterance {
                seq,
                at: now(),
                speaker: Speaker::Caller,
                text: format!("{id}/{seq}/{life} {words}").trim_end().to_owned(),
                cut: false,
            };
            sinks.record(&call.id, &line).await.expect("a line is kept");
            say(&format!("line {id} {seq} {}", line.text));
            tokio::time::sleep(Duration::from_millis(random(6))).await;
        }
        let summary = CallSummary::new(
            CallStatus::Completed,
            Outcome::FollowUp,
            now(),
            Duration::from_secs(1),
        );
        sinks.end(&call.id, &summary).await.expect("a call ends");
        say(&format!("over {id}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_takes_or_doubles_an_acknowledged_line() {
    let kills = std::env::var("CRASH_KILLS").ok();
    let kills: u64 = kills.map_or(KILLS, |kills| kills.parse().expect("a number"));
    for server in Server::all() {
        let home = tempfile::tempdir().expect("a directory");
        let table = server.table("crash");
        let made = server
            .dynamo()
            .create_missing(&[call_records(&table)])
            .await;
        made.expect("a table");
        let mut told = Told::default();
        for life in 0..kills {
            let died = told.died();
            let process = Process::start(home.path(), &server, &table, life, Some(&died));
            told.take(process.kill_at_random(), &died);
        }
        let process = Process::start(home.path(), &server, &table, kills, None);
        assert!(process.drains(), "what is left is handed on");
        let lines = told.check(home.path(), &server, &table).await;
        println!(
            "{kills} kills, {} calls, {lines} acknowledged lines, all there once ({})",
            told.calls.len(),
            server.url()
        );
    }
}

/// A life.
struct Process {
    child: Child,
    said: mpsc::Receiver<String>,
}

impl Process {
    fn start(home: &Path, server: &Server, table: &str, life: u64, died: Option<&str>) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args([
                "crash::the_process_that_is_killed",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env("CRASH_HOME", home)
            .env("CRASH_SERVER", server.url())
            .env("CRASH_TABLE", table)
            .env("CRASH_LIFE", life.to_string())
            .env("CRASH_LOAD", if died.is_some() { "yes" } else { "no" })
            .env("CRASH_DIED", died.unwrap_or_default())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (tell, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8(line).expect("text");
                // A line that the kill tore says nothing.
                if let Some(line) = line
                    .strip_prefix('@')
                    .and_then(|line| line.strip_suffix('$'))
                    && tell.send(line.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        Self { child, said }
    }

    /// Kills it, mostly at work and sometimes while it starts; answers with what it said.
    fn kill_at_random(mut self) -> (Vec<String>, Timestamp) {
        let mut said = Vec::new();
        let mut until = Instant::now() + Duration::from_millis(random(80));
        if random(5) > 0 {
            let ready = self.said.recv_timeout(PATIENCE).expect("it gets ready");
            assert_eq!(ready, "ready");
            for _ in 0..random(80) {
                said.push(self.said.recv_timeout(PATIENCE).expect("it goes on"));
            }
            until = Instant::now() + Duration::from_millis(random(30));
        }
        while let Ok(line) = self
            .said
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            said.push(line);
        }
        self.child.kill().expect("it lives");
        let status = self.child.wait().expect("it is ours");
        assert_eq!(
            status.code(),
            None,
            "it was killed, and did not fail before"
        );
        // The reader ends with the pipe.
        said.extend(self.said.iter());
        (said, now())
    }

    fn drains(mut self) -> bool {
        let said = self.said.recv_timeout(PATIENCE);
        let status = self.child.wait().expect("it is ours");
        status.success() && said.as_deref() == Ok("drained")
    }
}

/// What the processes acknowledged.
#[derive(Default)]
struct Told {
    calls: BTreeMap<String, BTreeMap<u64, String>>,
    over: HashSet<String>,
    deaths: HashMap<String, Timestamp>,
}

impl Told {
    /// `again` are the calls that may have come back in that life, perhaps without a word.
    fn take(&mut self, (said, death): (Vec<String>, Timestamp), again: &str) {
        for call in again.split_whitespace() {
            self.deaths.insert(call.to_owned(), death);
        }
        for line in said {
            let (what, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match what {
                "line" => {
                    let (call, rest) = rest.split_once(' ').expect("a call");
                    let (seq, text) = rest.split_once(' ').expect("a number");
                    self.over.remove(call);
                    self.deaths.insert(call.to_owned(), death);
                    let seq = seq.parse().expect("a number");
                    let lines = self.calls.entry(call.to_owned()).or_default();
                    let before = lines.insert(seq, text.to_owned());
                    assert_eq!(before, None, "{call} {seq} was acknowledged twice");
                }
                "over" => {
                    self.over.insert(rest.to_owned());
                }
                _ => {}
            }
        }
    }

    /// The last calls that died.
    fn died(&self) -> String {
        let died: Vec<_> = self
            .calls
            .keys()
            .rev()
            .filter(|call| !self.over.contains(*call))
            .take(2)
            .cloned()
            .collect();
        died.join(" ")
    }

    /// Compares with the sinks; answers with how many lines there are.
    async fn check(&self, home: &Path, server: &Server, table: &str) -> usize {
        let file = FileSink::new(home.join("transcripts"));
        let remote = DynamoSink::new(server.dynamo(), table);
        let sqlite = SqliteCalls::open(home.join("calls.sqlite")).await;
        let sqlite = sqlite.expect("the database opens");
        let mut count = 0;
        for (call, acknowledged) in &self.calls {
            let id = CallId::new(call.as_str());
            let kept = [
                ("file", file.lines(&id).await.expect("readable")),
                (
                    "sqlite",
                    CallStore::lines(&sqlite, &id, 0).await.expect("readable"),
                ),
                ("dynamodb", remote.lines(&id).await.expect("readable")),
            ];
            for (sink, kept) in &kept {
                let seqs: Vec<_> = kept.iter().map(|line| line.seq).collect();
                let counted: Vec<_> = (1..=kept.len() as u64).collect();
                assert_eq!(seqs, counted, "{sink} {call}");
                let texts: HashSet<_> = kept.iter().map(|line| &line.text).collect();
                assert_eq!(texts.len(), kept.len(), "{sink} {call}: a line is doubled");
                for (seq, text) in acknowledged {
                    let at = usize::try_from(*seq).expect("small") - 1;
                    let kept = kept.get(at).map(|line| line.text.as_str());
                    assert_eq!(kept, Some(text.as_str()), "{sink} {call} {seq}");
                }
            }
            count += acknowledged.len();
            let record = record(server, table, &id).await.expect("a record");
            let ended = record.text("end_time").parse().expect("a time");
            self.check_end(call, record.text("status"), ended, &kept[2].1);
            let record = sqlite.get(&id).await.expect("readable").expect("a record");
            let ended = record.ended.expect("it has ended");
            self.check_end(call, record.status.as_str(), ended, &kept[1].1);
        }
        assert!(count > 0, "something was said");
        count
    }

    fn check_end(&self, call: &str, status: &str, ended: Timestamp, lines: &[Utterance]) {
        if self.over.contains(call) {
            assert_eq!(status, "completed", "{call}");
            return;
        }
        // Its end may have been written and not said any more.
        assert!(
            ["abandoned", "completed"].contains(&status),
            "{call}: {status}"
        );
        let last = lines.iter().map(|line| line.at).max().expect("a line");
        let death = self.deaths[call];
        assert!(
            last <= ended && ended <= death,
            "{call}: {last} {ended} {death}"
        );
    }
}

fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    // One write: what others say does not come in between.
    out.write_all(format!("@{what}$\n").as_bytes())
        .and_then(|()| out.flush())
        .expect("somebody listens");
}

/// Whole milliseconds, as sinks keep them.
fn now() -> Timestamp {
    Timestamp::from_millisecond(Timestamp::now().as_millisecond()).expect("a time")
}

/// Below `end`.
fn random(end: u64) -> u64 {
    Uuid::new_v4().as_u64_pair().1 % end
}

const KILLS: u64 = 60;
const PATIENCE: Duration = Duration::from_secs(60);
