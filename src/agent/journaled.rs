//! A conversation that is written down as it goes, beside the call and never in its way.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    ops::Deref,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tracing::{Instrument, warn};

use super::handle::{Counted, Shared};
use crate::{
    call::CallInfo,
    clock,
    conversation::{Action, Config, Conversation, Input, Setup, Step},
    journal::{BLOCK, Encoder, Header, JournalFolder, Sealer},
    transcript::file::name,
};

/// A [`Conversation`] whose inputs and actions go to a journal, if there is one.
#[derive(Debug)]
pub(super) struct Journaled {
    call: Conversation,
    tape: Option<Tape>,
}

impl Journaled {
    /// A call that begins now. The writer is to be waited for once the call is over.
    pub(super) fn begin(
        folder: Option<&JournalFolder>,
        shared: &Shared,
        info: &CallInfo,
        config: Config,
        setup: Setup,
    ) -> (Self, Option<Writer>) {
        let now = clock::now();
        let taped = folder.map(|folder| {
            let header = Header::new(info.id.clone(), setup.clone(), config.clone(), folder.audio);
            let (blocks, received) = mpsc::channel(BLOCKS);
            let counted = Counted::new(&shared.tasks);
            let tape = Tape {
                encoder: Encoder::new(setup.rate, folder.audio, now),
                block: Vec::with_capacity(BLOCK + SPARE),
                began: Duration::ZERO,
                blocks: Some(blocks),
            };
            let folder = folder.clone();
            let work = async move {
                let _counted = counted;
                if let Err(failed) = write(&folder, &header, received).await {
                    warn!(
                        error = &failed as &dyn std::error::Error,
                        "the journal is lost"
                    );
                }
            };
            (tape, Writer(tokio::spawn(work.in_current_span())))
        });
        let (tape, writer) = taped.unzip();
        let call = Conversation::new(config, setup, now);
        (Self { call, tape }, writer)
    }

    pub(super) fn handle(&mut self, now: Instant, input: Input) {
        if let Some(tape) = &mut self.tape {
            tape.input(now, &input);
        }
        self.call.handle(now, input);
    }

    pub(super) fn step(&mut self) -> Step {
        let step = self.call.step();
        if let (Step::Do(action), Some(tape)) = (&step, &mut self.tape) {
            tape.action(action);
        }
        step
    }
}

/// What only looks at the conversation needs no journal.
impl Deref for Journaled {
    type Target = Conversation;

    fn deref(&self) -> &Conversation {
        &self.call
    }
}

/// Collects records into blocks and hands those over. A writer that does not keep up loses the rest of
/// the call.
#[derive(Debug)]
struct Tape {
    encoder: Encoder,
    block: Vec<u8>,
    /// When the first record of the block was made.
    began: Duration,
    /// `None` once something was lost.
    blocks: Option<mpsc::Sender<Block>>,
}

#[derive(Debug)]
enum Block {
    Records(Vec<u8>),
    /// The last records.
    End(Vec<u8>),
}

impl Tape {
    fn input(&mut self, now: Instant, input: &Input) {
        if self.blocks.is_none() {
            return;
        }
        if self.encoder.input(&mut self.block, now, input).is_err() {
            return self.lose("an input cannot be written down");
        }
        let old = self.encoder.at().saturating_sub(self.began) >= FLUSH;
        if self.block.len() >= BLOCK || old {
            self.hand_over();
        }
    }

    fn action(&mut self, action: &Action) {
        if self.blocks.is_none() {
            return;
        }
        if self.encoder.action(&mut self.block, action).is_err() {
            return self.lose("an action cannot be written down");
        }
        if matches!(action, Action::End(_)) {
            self.end();
        }
    }

    fn hand_over(&mut self) {
        self.began = self.encoder.at();
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK + SPARE));
        let Some(blocks) = &self.blocks else { return };
        if blocks.try_send(Block::Records(block)).is_err() {
            self.lose("the disk does not keep up");
        }
    }

    fn end(&mut self) {
        Encoder::end(&mut self.block, true);
        let block = std::mem::take(&mut self.block);
        if let Some(blocks) = self.blocks.take()
            && blocks.try_send(Block::End(block)).is_err()
        {
            warn!("the end of the journal is lost: the disk does not keep up");
        }
    }

    /// The writer sees that no more comes, and says so in the file.
    fn lose(&mut self, why: &'static str) {
        warn!(why, "the rest of the call's journal is lost");
        self.blocks = None;
        self.block = Vec::new();
    }
}

/// The task that writes.
#[derive(Debug)]
pub(super) struct Writer(JoinHandle<()>);

impl Writer {
    /// Waits until the journal is on its way to the disk, for so long at most.
    pub(super) async fn finish(self, deadline: Duration) {
        let mut task = self.0;
        if timeout(deadline, &mut task).await.is_err() {
            task.abort();
            warn!("the end of the journal is lost: the disk does not keep up");
        }
    }
}

async fn write(
    folder: &JournalFolder,
    header: &Header,
    mut blocks: mpsc::Receiver<Block>,
) -> io::Result<()> {
    let (mut sealer, mut first) = Sealer::new(folder.key.as_ref());
    first.extend(seal(&mut sealer, &serde_json::to_vec(header)?)?);
    let (path, call, started) = (
        folder.path.clone(),
        name::stems(&header.call),
        name::stamp(header.setup.started),
    );
    let file = blocking(move || make(&path, &call, &started)).await?;
    let file = Arc::new(file);
    put(&file, first).await?;
    let mut ended = false;
    while let Some(block) = blocks.recv().await {
        let (Block::Records(records) | Block::End(records)) = &block;
        ended = matches!(block, Block::End(_));
        put(&file, seal(&mut sealer, records)?).await?;
    }
    if !ended {
        let mut last = Vec::new();
        Encoder::end(&mut last, false);
        put(&file, seal(&mut sealer, &last)?).await?;
    }
    Ok(())
}

fn seal(sealer: &mut Sealer, payload: &[u8]) -> io::Result<Vec<u8>> {
    let sealed = sealer.seal(payload);
    sealed.ok_or_else(|| io::Error::other("a block of the journal is too long"))
}

async fn put(file: &Arc<File>, bytes: Vec<u8>) -> io::Result<()> {
    let file = Arc::clone(file);
    blocking(move || (&*file).write_all(&bytes)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) => Err(io::Error::other(failed)),
    }
}

/// A new file that nobody else may read. A call that goes on after its process was lost gets another
/// one.
fn make(folder: &Path, stems: &[String], started: &str) -> io::Result<File> {
    let (mut builder, mut options) = (DirBuilder::new(), OpenOptions::new());
    builder.recursive(true);
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        builder.mode(0o700);
        options.mode(0o600);
    }
    builder.create(folder)?;
    for again in 1..=MOST_FILES {
        let again = if again == 1 {
            String::new()
        } else {
            format!("-{again}")
        };
        for stem in stems {
            match options.open(folder.join(format!("call-{stem}-{started}{again}.nvj"))) {
                Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made,
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Blocks that a writer may be behind: with audio some fifteen seconds, without it a minute.
const BLOCKS: usize = 64;

/// Room for the record that fills a block.
const SPARE: usize = 2 * 1024;

/// A block is handed over after this long: so much is lost with the process.
const FLUSH: Duration = Duration::from_secs(1);

/// Journals of one call and one second.
const MOST_FILES: u32 = 100;

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        audio::{AudioFrame, SampleRate},
        call::{CallId, LegCapabilities},
        journal::{Ending, Journal, replay},
        telephony::CallEvent,
    };

    fn header() -> Header {
        let setup = Setup {
            rate: SampleRate::Hz16000,
            leg: LegCapabilities::default(),
            text_input: true,
            tools: Arc::default(),
            offered: None,
            greeting: None,
            answering: None,
            session_limit: None,
            jitter: 0.0,
            filler: None,
            started: Timestamp::UNIX_EPOCH,
        };
        Header::new(CallId::new("a call"), setup, Config::default(), false)
    }

    /// A call on a tape whose writer has not begun yet.
    fn taped(header: &Header) -> (Journaled, mpsc::Receiver<Block>) {
        let (blocks, received) = mpsc::channel(BLOCKS);
        let now = clock::now();
        let tape = Tape {
            encoder: Encoder::new(header.setup.rate, false, now),
            block: Vec::new(),
            began: Duration::ZERO,
            blocks: Some(blocks),
        };
        let call = Conversation::new(header.config.clone(), header.setup.clone(), now);
        let tape = Some(tape);
        (Journaled { call, tape }, received)
    }

    /// The disk stands still for all of a call of five minutes, which goes on all the same.
    #[tokio::test(start_paused = true)]
    async fn a_disk_that_does_not_keep_up_costs_the_rest_of_the_journal_and_nothing_else() {
        let header = header();
        let (mut call, received) = taped(&header);
        let mut now = clock::now();
        call.handle(now, Input::ModelOpened(crate::conversation::SessionId(1)));
        for _ in 0..300 * 50 {
            now += Duration::from_millis(20);
            let frame = AudioFrame::silence(SampleRate::Hz16000);
            call.handle(now, Input::Call(CallEvent::Audio(frame)));
            while let Step::Do(_) = call.step() {}
        }
        assert_eq!(call.stats().frames_received, 15_000);
        drop(call);

        let folder = tempfile::tempdir().unwrap();
        write(&JournalFolder::new(folder.path()), &header, received)
            .await
            .unwrap();
        let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap();
        let journal = Journal::open(file.unwrap().path(), None).unwrap();
        assert_eq!(journal.ending(), Ending::Lost);
        assert!(
            journal.length() >= Duration::from_secs(60),
            "{:?}",
            journal.length()
        );
        assert!(replay(&journal, None).is_ok(), "what is there is right");
    }

    #[tokio::test]
    async fn two_journals_never_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            let (call, received) = taped(&header());
            drop(call);
            let journals = JournalFolder::new(folder.path());
            write(&journals, &header(), received).await.unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
