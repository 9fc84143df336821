//! What is to be written to a media socket, in order, and which marks are out.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{acts::Act, wire};
use crate::{
    audio::{AudioFrame, SampleRate},
    telephony::{CallCommand, MarkId},
};

/// The queue of one leg's writer. A clear overtakes all audio and all marks before it, and
/// nothing older ever follows it.
#[derive(Debug)]
pub(super) struct Outbox {
    rate: SampleRate,
    queue: VecDeque<Queued>,
    marks: Marks,
    /// Something was written that a clear would take back.
    audible: bool,
    hung_up: Option<HungUp>,
    misfits: u64,
}

/// The agent ended the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HungUp {
    /// It has failed, and the caller is owed a word.
    pub(super) apologise: bool,
}

/// One message to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Out {
    /// A binary message: exactly one frame.
    Audio(Bytes),
    /// A text message: a command.
    Text(String),
    /// Nothing for the socket: a request to the carrier, once everything before it was written.
    Act(Act),
}

#[derive(Debug, PartialEq)]
enum Queued {
    Frame(Bytes),
    Mark(MarkId),
    Act(Act),
    Clear,
}

impl Outbox {
    /// An empty queue for a leg at `rate`.
    pub(super) fn new(rate: SampleRate) -> Self {
        Self {
            rate,
            queue: VecDeque::new(),
            marks: Marks::default(),
            audible: false,
            hung_up: None,
            misfits: 0,
        }
    }

    /// The marks that were written and not yet played; the reader asks it.
    pub(super) fn marks(&self) -> Marks {
        self.marks.clone()
    }

    /// Takes a command in.
    pub(super) fn push(&mut self, command: CallCommand) {
        if self.hung_up.is_some() {
            return;
        }
        match command {
            CallCommand::Play(frame) => self.play(frame),
            CallCommand::Mark(mark) => self.queue.push_back(Queued::Mark(mark)),
            CallCommand::Clear => self.clear(),
            CallCommand::HangUp { apologise } => self.hung_up = Some(HungUp { apologise }),
            CallCommand::Transfer { to } => self.queue.push_back(Queued::Act(Act::Transfer(to))),
            CallCommand::WarmTransfer { to, briefing } => {
                self.queue
                    .push_back(Queued::Act(Act::Introduce(to, briefing)));
            }
            CallCommand::SendDtmf(keys) => self.queue.push_back(Queued::Act(Act::Press(keys))),
            // This leg says that it shows no text.
            CallCommand::Show(_) => {}
        }
    }

    /// The next message.
    pub(super) fn pop(&mut self) -> Option<Out> {
        Some(match self.queue.pop_front()? {
            Queued::Frame(pcm) => {
                self.audible = true;
                Out::Audio(pcm)
            }
            Queued::Mark(mark) => {
                self.marks.written(mark);
                self.audible = true;
                Out::Text(wire::notify(mark))
            }
            Queued::Act(act) => Out::Act(act),
            Queued::Clear => {
                self.audible = false;
                Out::Text(wire::CLEAR.to_owned())
            }
        })
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The hang-up that was taken in; nothing after it counts.
    pub(super) const fn hung_up(&self) -> Option<HungUp> {
        self.hung_up
    }

    /// How many frames did not fit since the last time it was asked.
    pub(super) fn take_misfits(&mut self) -> u64 {
        std::mem::take(&mut self.misfits)
    }

    /// The socket is gone, and with it everything that it had not played.
    pub(super) fn reset(&mut self) {
        self.queue.retain(|queued| matches!(queued, Queued::Act(_)));
        self.marks.cancel();
        self.audible = false;
    }

    fn play(&mut self, frame: AudioFrame) {
        // One wrong frame can end the socket (Vonage WebSocket guide: exactly 20 ms each).
        if frame.rate() == self.rate && frame.pcm().len() == self.rate.bytes_per_frame() {
            self.queue.push_back(Queued::Frame(frame.into_pcm()));
        } else {
            self.misfits += 1;
            tracing::error!(?frame, leg = %self.rate, "a frame that does not fit its leg was not sent");
        }
    }

    fn clear(&mut self) {
        let clearing = self.queue.contains(&Queued::Clear);
        // What is no sound is not taken back by silence.
        self.queue.retain(|queued| matches!(queued, Queued::Act(_)));
        self.marks.cancel();
        if clearing || self.audible {
            self.queue.push_front(Queued::Clear);
        }
    }
}

/// The marks that were written and whose answer still counts. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks(Arc<Mutex<BTreeSet<MarkId>>>);

impl Marks {
    /// The carrier says that everything before `mark` was played. Whether that is news: of a mark
    /// that a clear has cancelled, or that came before, it is not.
    pub(super) fn played(&self, mark: MarkId) -> bool {
        self.lock().remove(&mark)
    }

    fn written(&self, mark: MarkId) {
        let mut marks = self.lock();
        if marks.len() >= MAX_MARKS {
            marks.pop_first();
        }
        marks.insert(mark);
    }

    fn cancel(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<MarkId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More marks than a carrier's buffer has frames.
const MAX_MARKS: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::telephony::Show;

    const RATE: SampleRate = SampleRate::Hz16000;

    fn frame(value: u8) -> AudioFrame {
        AudioFrame::new(Bytes::from(vec![value; RATE.bytes_per_frame()]), RATE)
    }

    fn outbox(commands: impl IntoIterator<Item = CallCommand>) -> Outbox {
        let mut outbox = Outbox::new(RATE);
        commands
            .into_iter()
            .for_each(|command| outbox.push(command));
        outbox
    }

    fn written(outbox: &mut Outbox) -> Vec<Out> {
        std::iter::from_fn(|| outbox.pop()).collect()
    }

    fn clear() -> Out {
        Out::Text(r#"{"action":"clear"}"#.to_owned())
    }

    /// Vonage checklist 26: the clear goes out ahead of queued audio.
    #[test]
    fn a_clear_overtakes_everything_queued_before_it() {
        let mut outbox = outbox([CallCommand::Play(frame(1))]);
        assert_eq!(written(&mut outbox).len(), 1);
        for command in [
            CallCommand::Play(frame(2)),
            CallCommand::Mark(MarkId(1)),
            CallCommand::Clear,
            CallCommand::Play(frame(3)),
        ] {
            outbox.push(command);
        }
        let after = Out::Audio(frame(3).into_pcm());
        assert_eq!(written(&mut outbox), [clear(), after]);
    }

    /// Vonage checklist 27: with empty buffers at most one clear goes out.
    #[test]
    fn one_clear_is_enough_until_something_was_sent() {
        let mut outbox = outbox([CallCommand::Clear, CallCommand::Play(frame(1))]);
        assert_eq!(written(&mut outbox).len(), 1);
        outbox.push(CallCommand::Clear);
        outbox.push(CallCommand::Clear);
        assert_eq!(written(&mut outbox), [clear()]);
        outbox.push(CallCommand::Clear);
        assert_eq!(written(&mut outbox), []);
    }

    /// Vonage checklist 28: marks die with a clear, and a late answer to one is ignored.
    #[test]
    fn a_mark_counts_until_it_was_played_or_cleared() {
        let mut outbox = outbox([CallCommand::Mark(MarkId(1)), CallCommand::Mark(MarkId(2))]);
        let marks = outbox.marks();
        assert!(!marks.played(MarkId(1)), "it was not written yet");
        written(&mut outbox);
        assert!(marks.played(MarkId(1)));
        assert!(!marks.played(MarkId(1)), "it was played before");
        outbox.push(CallCommand::Clear);
        assert!(!marks.played(MarkId(2)), "it was cleared");
    }

    /// Vonage checklist 29: a mark goes out right after the audio before it.
    #[test]
    fn a_mark_keeps_its_place() {
        let mut outbox = outbox([
            CallCommand::Play(frame(1)),
            CallCommand::Mark(MarkId(7)),
            CallCommand::Play(frame(2)),
        ]);
        let messages = written(&mut outbox);
        assert_eq!(messages[1], Out::Text(wire::notify(MarkId(7))));
        assert_eq!(messages.len(), 3);
    }

    /// Vonage checklist 20: nothing but whole frames of the leg's rate is ever sent.
    #[test]
    fn a_frame_that_does_not_fit_is_counted_and_kept_back() {
        let short = AudioFrame::new(Bytes::from_static(&[0; 320]), RATE);
        let mut outbox = outbox([
            CallCommand::Play(short),
            CallCommand::Play(AudioFrame::silence(SampleRate::Hz8000)),
            CallCommand::Play(AudioFrame::silence(SampleRate::Hz24000)),
        ]);
        assert_eq!(written(&mut outbox), []);
        assert_eq!(outbox.take_misfits(), 3);
    }

    #[test]
    fn nothing_counts_after_the_hang_up() {
        let mut outbox = outbox([
            CallCommand::Play(frame(1)),
            CallCommand::HangUp { apologise: true },
            CallCommand::HangUp { apologise: false },
            CallCommand::Clear,
            CallCommand::Play(frame(2)),
        ]);
        assert_eq!(outbox.hung_up(), Some(HungUp { apologise: true }));
        assert_eq!(written(&mut outbox), [Out::Audio(frame(1).into_pcm())]);
    }

    fn commands() -> impl Strategy<Value = Vec<Option<CallCommand>>> {
        let command = prop_oneof![
            4 => any::<u8>().prop_map(|value| Some(CallCommand::Play(frame(value)))),
            1 => (0..9u64).prop_map(|mark| Some(CallCommand::Mark(MarkId(mark)))),
            1 => Just(Some(CallCommand::Clear)),
            1 => Just(Some(CallCommand::Show(Show::ReplyStarted))),
            2 => Just(None),
        ];
        prop::collection::vec(command, 0..60)
    }

    proptest! {
        /// Vonage checklist 18, 25 and 31: binary is audio and text commands, nothing of an
        /// earlier generation follows a clear, and nothing goes out that nobody asked for.
        /// `None` lets the writer write one message.
        #[test]
        fn whatever_is_asked_goes_out_in_order_or_is_cleared(commands in commands()) {
            let mut outbox = Outbox::new(RATE);
            let mut due = Vec::new();
            let (mut sent, mut audible) = (0, false);
            let mut write = |outbox: &mut Outbox, due: &mut Vec<Out>, audible: &mut bool| {
                let message = outbox.pop();
                prop_assert_eq!(message.as_ref(), due.first());
                if message.is_some() {
                    *audible = due.remove(0) != clear();
                    sent += 1;
                }
                Ok(())
            };
            for command in commands {
                match &command {
                    Some(CallCommand::Play(frame)) => due.push(Out::Audio(frame.pcm().clone())),
                    Some(CallCommand::Mark(mark)) => due.push(Out::Text(wire::notify(*mark))),
                    Some(CallCommand::Clear) => {
                        due.clear();
                        if audible {
                            due.push(clear());
                        }
                    }
                    _ => {}
                }
                match command {
                    Some(command) => outbox.push(command),
                    None => write(&mut outbox, &mut due, &mut audible)?,
                }
            }
            while !due.is_empty() {
                write(&mut outbox, &mut due, &mut audible)?;
            }
            prop_assert_eq!(outbox.pop(), None);
        }
    }
}
