//! What is written is what is read, whatever happens to the file.

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    audio::{SampleRate, comfort_tone},
    call::LegCapabilities,
    conversation::{Action, Command, Conversation, EndReason, SessionId, Step},
    error::ProviderErrorKind,
    model::{ModelEvent, ReplyId, Usage},
    telephony::{CallEvent, MarkId},
};

#[expect(
    clippy::disallowed_methods,
    reason = "an arbitrary origin for simulated time"
)]
fn start() -> Instant {
    Instant::now()
}

fn header(rate: SampleRate, audio: bool) -> Header {
    let setup = Setup {
        rate,
        leg: LegCapabilities {
            marks: true,
            text: true,
            ..LegCapabilities::default()
        },
        text_input: true,
        tools: Arc::default(),
        offered: None,
        greeting: Some("Greet the caller.".to_owned()),
        answering: None,
        session_limit: Some(Duration::from_secs(480)),
        jitter: -0.123,
        filler: Some(comfort_tone(rate)),
        started: Timestamp::UNIX_EPOCH,
    };
    Header::new(CallId::new("a call"), setup, Config::default(), audio)
}

fn audio(rate: SampleRate, samples: usize, salt: u8) -> AudioFrame {
    let byte = |at: usize| (at % 251).to_le_bytes()[0] ^ salt;
    let pcm: Vec<u8> = (0..samples * 2).map(byte).collect();
    AudioFrame::new(pcm.into(), rate)
}

fn input() -> impl Strategy<Value = Input> {
    let rate = || prop::sample::select(SampleRate::ALL.to_vec());
    let session = || (1..4_u32).prop_map(SessionId);
    let reply = || (1..5_u64).prop_map(ReplyId);
    prop_oneof![
        8 => any::<u8>().prop_map(|salt| Input::Call(CallEvent::Audio(audio(SampleRate::Hz16000, 320, salt)))),
        2 => (rate(), 0..700_usize, any::<u8>())
            .prop_map(|(rate, samples, salt)| Input::Call(CallEvent::Audio(audio(rate, samples, salt)))),
        6 => (session(), reply(), rate(), 0..2_000_usize, any::<u8>()).prop_map(|(session, reply, rate, samples, salt)|
            Input::Model(session, ModelEvent::Audio(reply, audio(rate, samples, salt)))),
        1 => Just(Input::Call(CallEvent::Dtmf('#'))),
        1 => any::<u64>().prop_map(|mark| Input::Call(CallEvent::Played(MarkId(mark)))),
        1 => any::<bool>().prop_map(|muted| Input::Call(CallEvent::Muted(muted))),
        2 => any::<bool>().prop_map(Input::Voice),
        2 => session().prop_map(Input::ModelOpened),
        2 => (session(), ".*").prop_map(|(session, text)| Input::Model(session, ModelEvent::CallerSaid(text))),
        2 => (session(), reply(), ".*").prop_map(|(session, reply, text)| Input::Model(session, ModelEvent::Caption(reply, text))),
        1 => (session(), ".*").prop_map(|(session, text)| Input::Model(session, ModelEvent::AgentSaid(text))),
        1 => session().prop_map(|session| Input::Model(session, ModelEvent::SpeechStarted)),
        1 => session().prop_map(|session| Input::Model(session, ModelEvent::Interrupted)),
        1 => (session(), reply()).prop_map(|(session, reply)| Input::Model(session, ModelEvent::ReplyEnded(reply))),
        1 => (session(), any::<u64>()).prop_map(|(session, tokens)| Input::Model(session, ModelEvent::Usage(Usage {
            input_speech_tokens: tokens / 4, ..Usage::default()
        }))),
        1 => session().prop_map(|session| Input::ModelEnded(session, None)),
        1 => session().prop_map(|session| Input::ModelEnded(session, Some(ProviderErrorKind::Throttled {
            retry_after: Some(Duration::new(1, 7))
        }))),
        1 => ".*".prop_map(|text| Input::Command(Command::Tell(text))),
        1 => Just(Input::Command(Command::HangUp)),
        1 => Just(Input::NotFed),
        1 => Just(Input::NotPlayed),
        4 => Just(Input::Tick),
    ]
}

/// A call of these inputs, each so many nanoseconds after the one before it.
fn record(header: &Header, key: Option<&JournalKey>, inputs: &[(u64, Input)]) -> Vec<u8> {
    let mut now = start();
    let mut tape = Recording::new(header, now, key);
    let mut call = Conversation::new(header.config.clone(), header.setup.clone(), now);
    drain(&mut call, &mut tape);
    for (nanos, input) in inputs {
        now += Duration::from_nanos(*nanos);
        tape.input(now, input);
        call.handle(now, input.clone());
        drain(&mut call, &mut tape);
    }
    tape.finish()
}

fn drain(call: &mut Conversation, tape: &mut Recording) {
    while let Step::Do(action) = call.step() {
        tape.action(&action);
    }
}

/// The same input, as far as a journal without audio knows it.
fn mute(input: &Input) -> Input {
    let silent =
        |frame: &AudioFrame| AudioFrame::new(vec![0; frame.pcm().len()].into(), frame.rate());
    match input {
        Input::Call(CallEvent::Audio(frame)) => Input::Call(CallEvent::Audio(silent(frame))),
        Input::Model(session, ModelEvent::Audio(reply, frame)) => {
            Input::Model(*session, ModelEvent::Audio(*reply, silent(frame)))
        }
        other => other.clone(),
    }
}

fn key() -> JournalKey {
    JournalKey::new([7; 32])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Without samples too: the core never looks into them.
    #[test]
    fn any_call_is_read_as_it_was_and_replayed_to_the_same_actions(
        inputs in vec((0..3_000_000_000_u64, input()), 0..120),
        with_audio in any::<bool>(),
        sealed in any::<bool>(),
    ) {
        let key = sealed.then(key);
        let header = header(SampleRate::Hz16000, with_audio);
        let bytes = record(&header, key.as_ref(), &inputs);
        let journal = Journal::read(&bytes, key.as_ref()).unwrap();
        prop_assert_eq!(journal.ending(), Ending::Complete);
        prop_assert_eq!(&journal.header().config, &header.config);
        prop_assert_eq!(journal.header().setup.jitter.to_bits(), header.setup.jitter.to_bits());

        let mut at = Duration::ZERO;
        let mut read = journal.inputs();
        for (nanos, input) in &inputs {
            at += Duration::from_nanos(*nanos);
            let expected = if with_audio { input.clone() } else { mute(input) };
            let (time, input) = read.next().unwrap();
            prop_assert_eq!((time, input), (at, &expected));
        }
        prop_assert!(read.next().is_none());

        let report = replay(&journal, None);
        prop_assert!(report.is_ok(), "{}", report.unwrap_err());
    }

    /// A process that dies leaves a file that ends anywhere.
    #[test]
    fn a_torn_journal_is_read_up_to_where_it_ends(
        inputs in vec((0..3_000_000_000_u64, input()), 0..120),
        cut in any::<prop::sample::Index>(),
        blank in 0..40_usize,
    ) {
        let header = header(SampleRate::Hz16000, true);
        let whole = record(&header, None, &inputs);
        let mut torn = whole[..cut.index(whole.len())].to_vec();
        torn.resize(torn.len() + blank, 0);
        match Journal::read(&torn, None) {
            Ok(journal) => {
                prop_assert_eq!(journal.ending(), Ending::Torn);
                prop_assert!(replay(&journal, None).is_ok());
            }
            // In the middle of the preamble or the header.
            Err(JournalError::Empty | JournalError::NoJournal | JournalError::Version(_) | JournalError::Header(_)) => {}
            Err(JournalError::Damaged { block }) => prop_assert!(blank > 0, "block {block}"),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    /// Whatever the bytes, an answer and no panic.
    #[test]
    fn a_changed_byte_is_never_taken_for_the_truth(
        inputs in vec((0..3_000_000_000_u64, input()), 1..60),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        sealed in any::<bool>(),
    ) {
        let key = sealed.then(key);
        let header = header(SampleRate::Hz16000, false);
        let mut bytes = record(&header, key.as_ref(), &inputs);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(journal) = Journal::read(&bytes, key.as_ref()) {
            // In the open file the random bytes mean nothing, and the last block counts as torn.
            prop_assert!(journal.ending() == Ending::Torn || (!sealed && at < 27));
        }
    }
}

#[test]
fn a_sealed_journal_opens_with_its_key_alone_and_shows_nothing() {
    let words = Input::Command(Command::Tell("the secret of the pastor".to_owned()));
    let header = header(SampleRate::Hz8000, false);
    let bytes = record(&header, Some(&key()), &[(0, words)]);
    let shows = |text: &str| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(!shows("secret") && !shows("Greet"));
    assert!(Journal::read(&bytes, Some(&key())).is_ok());
    assert!(matches!(
        Journal::read(&bytes, None),
        Err(JournalError::Sealed)
    ));
    let other = JournalKey::new([8; 32]);
    assert!(matches!(
        Journal::read(&bytes, Some(&other)),
        Err(JournalError::NotOurs { block: 0 })
    ));
}

#[test]
fn blocks_cannot_be_taken_out_of_a_sealed_journal() {
    let header = header(SampleRate::Hz8000, false);
    let (mut sealer, mut file) = Sealer::new(Some(&key()));
    file.extend(sealer.seal(&serde_json::to_vec(&header).unwrap()).unwrap());
    sealer.seal(&[0]).unwrap();
    file.extend(sealer.seal(&[0]).unwrap());
    file.extend(sealer.seal(&[0]).unwrap());
    assert!(matches!(
        Journal::read(&file, Some(&key())),
        Err(JournalError::NotOurs { block: 1 })
    ));
}

#[test]
fn something_else_is_no_journal_and_another_version_is_named() {
    for other in ["", "# A transcript", "NVjournx and so on and on and on"] {
        let read = Journal::read(other.as_bytes(), None);
        assert!(matches!(read, Err(JournalError::NoJournal)), "{read:?}");
    }
    let mut bytes = record(&header(SampleRate::Hz8000, false), None, &[]);
    bytes[8] = 9;
    let newer = Journal::read(&bytes, None).unwrap_err();
    assert_eq!(
        newer.to_string(),
        "the journal has format version 9, and this build reads version 1"
    );
}

#[test]
fn a_listening_second_takes_few_bytes() {
    let mut header = header(SampleRate::Hz16000, false);
    // Nobody is waited for.
    header.setup.greeting = None;
    let frame = || Input::Call(CallEvent::Audio(AudioFrame::silence(SampleRate::Hz16000)));
    let opened = (0, Input::ModelOpened(SessionId(1)));
    let second = |seconds: usize| {
        let frames = (0..seconds * 50).map(|_| (20_000_000, frame()));
        record(
            &header,
            None,
            &std::iter::once(opened.clone())
                .chain(frames)
                .collect::<Vec<_>>(),
        )
        .len()
    };
    let bytes = second(21) - second(20);
    assert!(bytes < 450, "{bytes} bytes for a second");
}

/// An action that this build does not take, in the place of each of the recorded ones.
#[test]
fn the_first_difference_says_when_after_what_and_what() {
    let header = header(SampleRate::Hz16000, false);
    let now = start();
    let mut tape = Recording::new(&header, now, None);
    tape.action(&Action::OpenModel(SessionId(1)));
    tape.input(
        now + Duration::from_millis(1_500),
        &Input::Command(Command::Abort),
    );
    tape.action(&Action::End(EndReason::Aborted));
    let journal = Journal::read(&tape.finish(), None).unwrap();
    let difference = replay(&journal, None).unwrap_err();
    assert_eq!(
        (difference.at, difference.input),
        (Duration::from_millis(1_500), 1)
    );
    assert_eq!(
        difference.to_string(),
        "at 1.500 s, after input 1 (a command) and 1 equal actions: recorded \"end: Aborted\", \
         got \"hang up\""
    );
    assert_eq!(
        difference.got().as_deref(),
        Some("{\"hang_up\":{\"apologise\":false}}")
    );
}

#[test]
fn a_difference_in_words_alone_does_not_show_them() {
    let header = header(SampleRate::Hz16000, false);
    let now = start();
    let mut tape = Recording::new(&header, now, None);
    tape.action(&Action::OpenModel(SessionId(1)));
    tape.input(now, &Input::ModelOpened(SessionId(1)));
    let other = Action::Tell(SessionId(1), "Insult the caller".to_owned());
    tape.action(&other);
    let journal = Journal::read(&tape.finish(), None).unwrap();
    let text = replay(&journal, None).unwrap_err().to_string();
    assert!(
        text.contains("17 characters\" with other words from byte"),
        "{text}"
    );
    assert!(
        !text.contains("Insult") && !text.contains("Greet"),
        "{text}"
    );
}

#[test]
fn a_journal_that_ends_before_its_call_is_compared_up_to_there() {
    let header = header(SampleRate::Hz16000, false);
    let bytes = record(&header, None, &[(0, Input::ModelOpened(SessionId(1)))]);
    let mut lost = Journal::read(&bytes, None).unwrap();
    let last = lost.entries.pop();
    assert!(matches!(last, Some(Entry::Action(_))), "{last:?}");
    assert!(
        replay(&lost, None).is_err(),
        "a complete one lacks an action"
    );
    lost.ending = Ending::Lost;
    assert_eq!(replay(&lost, None).unwrap().ending, Ending::Lost);
}
