//! The caller speaks over the agent.

use std::time::Duration;

use novavoice::{
    audio::{AudioFrame, SampleRate},
    conversation::{AgentState, Config, Input},
    model::ModelEvent,
    telephony::{CallEvent, Show},
    testkit::sim::Sim,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Nova Sonic checklist 25 and 28, Vonage checklist 25.
#[test]
fn the_caller_hears_nothing_more_after_the_model_is_interrupted() {
    let mut sim = Sim::opened(Config::default());
    let reply = sim.begins(
        "one two three four five six seven eight nine ten",
        5 * SECOND,
    );
    sim.run_for(2 * SECOND);
    sim.model(ModelEvent::Interrupted);
    let heard = sim.heard();
    assert!(heard <= 2 * SECOND + 20 * MS, "{heard:?}");
    let frame = AudioFrame::silence(SampleRate::Hz16000);
    sim.model(ModelEvent::Audio(reply, frame));
    sim.model(ModelEvent::ReplyEnded(reply));
    sim.model(ModelEvent::Interrupted);
    sim.run_for(10 * SECOND);
    assert_eq!(sim.heard(), heard);
    assert_eq!(sim.clears(), 1, "one flush, however many signals");
    assert_eq!(sim.transcript(), ["Assistant: one two three four [cut]"]);
    assert_eq!(sim.stats().interruptions, 1);
    assert!(
        sim.shown()
            .contains(&Show::ReplyEnded { interrupted: true })
    );
    sim.says("Yes?", SECOND);
    sim.run_for(2 * SECOND);
    assert_eq!(sim.heard(), heard + SECOND, "the next reply is heard");
}

/// Nova Sonic checklist 26: AUDIO `END_TURN` first, the interrupt after it.
#[test]
fn an_interrupt_after_the_end_of_the_audio_still_stops_what_is_queued() {
    let mut sim = Sim::opened(Config::default());
    sim.says("A reply that is all here already.", 5 * SECOND);
    sim.run_for(SECOND);
    sim.model(ModelEvent::Interrupted);
    let heard = sim.heard();
    sim.run_for(10 * SECOND);
    assert_eq!(sim.heard(), heard);
    assert!(sim.lines()[0].cut);
}

/// Vonage checklist 27.
#[test]
fn an_interrupt_with_nothing_to_stop_clears_nothing_and_cuts_nothing() {
    let mut sim = Sim::opened(Config::default());
    sim.says("Short.", SECOND);
    sim.run_for(3 * SECOND);
    sim.model(ModelEvent::Interrupted);
    sim.run_for(20 * SECOND);
    assert_eq!(sim.clears(), 0);
    assert_eq!(sim.transcript(), ["Assistant: Short."]);
}

/// Nova Sonic checklist 29.
#[test]
fn the_caller_s_audio_goes_on_while_the_agent_is_cut() {
    let mut sim = Sim::opened(Config::default());
    sim.says("A reply.", 5 * SECOND);
    sim.caller(true, SECOND);
    sim.model(ModelEvent::Interrupted);
    sim.caller(true, SECOND);
    let times: Vec<Duration> = sim
        .fed(novavoice::conversation::SessionId(1))
        .map(|(at, _)| at)
        .collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 60 * MS));
    assert_eq!(sim.stats().frames_dropped, 0);
}

/// The default detector hears a voice 48 ms after it began, and until 208 ms after it ended.
#[test]
fn a_cough_does_not_even_pause_the_agent() {
    let mut sim = Sim::opened(Config::default());
    sim.says("A reply of four seconds.", 4 * SECOND);
    sim.run_for(SECOND);
    sim.caller(true, (160 - 48 + 208) * MS);
    sim.run_for(10 * SECOND);
    assert_eq!(sim.clears(), 0);
    assert_eq!(sim.heard(), 4 * SECOND);
}

#[test]
fn a_voice_that_nothing_confirms_pauses_the_agent_who_goes_on_from_the_same_sample() {
    let mut sim = Sim::opened(Config::default());
    sim.says("A reply of four seconds.", 4 * SECOND);
    sim.model(ModelEvent::AgentSaid("A reply of four seconds.".to_owned()));
    sim.run_for(SECOND);
    sim.caller(true, 600 * MS);
    let paused_at = sim.heard();
    assert!(
        paused_at <= SECOND + Config::default().barge_in.min + 20 * MS,
        "stopped within a frame of the decision: {paused_at:?}"
    );
    sim.run_for(20 * SECOND);
    assert_eq!(sim.heard(), 4 * SECOND, "nothing lost, nothing doubled");
    assert_eq!(sim.stats().false_interruptions, 1);
    assert_eq!(sim.transcript(), ["Assistant: A reply of four seconds."]);
}

#[test]
fn words_that_the_model_understood_confirm_the_pause() {
    let mut sim = Sim::opened(Config::default());
    sim.says("one two three four", 4 * SECOND);
    sim.run_for(SECOND);
    sim.caller(true, 600 * MS);
    sim.model(ModelEvent::CallerSaid("Wait.".to_owned()));
    let heard = sim.heard();
    sim.run_for(20 * SECOND);
    assert_eq!(sim.heard(), heard);
    assert_eq!(sim.clears(), 1, "the pause has cleared the carrier already");
    let mut transcript = sim.transcript();
    transcript.sort();
    assert_eq!(transcript, ["Assistant: one [cut]", "Human: Wait."]);
}

#[test]
fn noise_without_end_does_not_silence_the_agent_for_ever() {
    let mut sim = Sim::opened(Config::default());
    sim.says("A reply.", 4 * SECOND);
    sim.run_for(SECOND);
    sim.caller(true, 30 * SECOND);
    assert_eq!(sim.heard(), 4 * SECOND);
    assert_eq!(sim.stats().false_interruptions, 1);
}

#[test]
fn an_agent_that_was_cut_listens() {
    let mut sim = Sim::opened(Config::default());
    sim.says("A reply of four seconds.", 4 * SECOND);
    sim.run_for(SECOND + 5 * MS);
    sim.model(ModelEvent::Interrupted);
    sim.run_for(SECOND);
    assert_eq!(sim.conversation().state(), AgentState::Listening);
}

#[test]
fn a_paused_agent_sleeps_until_it_goes_on() {
    let mut sim = Sim::opened(Config::default());
    sim.says("A reply of four seconds.", 4 * SECOND);
    sim.run_for(SECOND);
    sim.caller(true, 4 * SECOND);
    assert!(sim.wakes() < 400, "woken {} times in 5 s", sim.wakes());
}

/// The model ends its reply long after its last audio: the answer to the mark says nothing about
/// the line.
#[test]
fn a_late_end_of_a_reply_does_not_shift_what_was_heard_of_the_next() {
    let mut sim = Sim::opened(Config::default());
    let reply = sim.begins("Hello.", SECOND);
    sim.run_for(3 * SECOND);
    sim.model(ModelEvent::ReplyEnded(reply));
    sim.run_for(SECOND);
    sim.says("one two three four five", 5 * SECOND);
    sim.run_for(3 * SECOND);
    sim.caller(true, 600 * MS);
    sim.run_for(20 * SECOND);
    assert_eq!(sim.heard(), 6 * SECOND, "nothing is played twice");
    assert_eq!(sim.stats().false_interruptions, 1);
}

#[test]
fn a_caller_who_draws_breath_is_not_talked_over() {
    let mut sim = Sim::opened(Config::default());
    sim.says("A reply of four seconds.", 4 * SECOND);
    sim.run_for(SECOND);
    sim.caller(true, 600 * MS);
    sim.caller(false, 400 * MS);
    let heard = sim.heard();
    sim.caller(true, SECOND);
    assert_eq!(sim.heard(), heard, "the caller speaks again");
    sim.caller(false, SECOND);
    assert!(sim.heard() > heard, "nothing confirmed it");
    assert_eq!(sim.stats().false_interruptions, 1);
}

/// Carriers that leave silence out send nothing that the voice detector could hear the end in.
#[test]
fn a_voice_ends_where_the_caller_s_audio_pauses() {
    let mut sim = Sim::opened(Config::default());
    sim.says("A reply of four seconds.", 4 * SECOND);
    sim.run_for(SECOND);
    sim.input(Input::Voice(true));
    for _ in 0..5 {
        sim.input(Input::Call(CallEvent::Audio(AudioFrame::silence(
            SampleRate::Hz16000,
        ))));
        sim.run_for(20 * MS);
    }
    assert!(sim.conversation().hears_voice());
    sim.run_for(SECOND);
    assert!(!sim.conversation().hears_voice());
    assert_eq!(sim.clears(), 0, "a cough does not pause the agent");
}

#[test]
fn an_echo_that_is_taken_for_a_voice_again_and_again_is_trusted_less_each_time() {
    let mut sim = Sim::opened(Config::default());
    for n in 0..10 {
        sim.says(&format!("Reply {n}."), 4 * SECOND);
        // The line returns what the agent says: a voice whenever it speaks.
        for _ in 0..10 {
            sim.caller(true, 500 * MS);
            sim.caller(false, 500 * MS);
        }
    }
    let pauses = sim.stats().false_interruptions;
    assert!((1..=4).contains(&pauses), "{pauses} pauses");
}

#[test]
fn a_caller_who_speaks_when_the_reply_begins_pauses_it_too() {
    let mut sim = Sim::opened(Config::default());
    sim.caller(true, 500 * MS);
    sim.input(Input::Voice(true));
    sim.says("A reply of four seconds.", 4 * SECOND);
    for _ in 0..50 {
        sim.input(Input::Call(CallEvent::Audio(AudioFrame::silence(
            SampleRate::Hz16000,
        ))));
        sim.run_for(20 * MS);
    }
    let heard = sim.heard();
    assert!(
        heard <= Config::default().barge_in.min + 20 * MS,
        "{heard:?}"
    );
}

#[test]
fn a_noise_that_was_there_long_before_the_reply_does_not_pause_it() {
    let mut sim = Sim::opened(Config::default());
    sim.input(Input::Voice(true));
    for n in 0..500 {
        if n == 250 {
            sim.says("A reply of four seconds.", 4 * SECOND);
        }
        sim.input(Input::Call(CallEvent::Audio(AudioFrame::silence(
            SampleRate::Hz16000,
        ))));
        sim.run_for(20 * MS);
    }
    assert_eq!(sim.heard(), 4 * SECOND);
    assert_eq!(sim.clears(), 0);
}

#[test]
fn a_last_frame_that_was_cut_before_it_began_is_not_heard() {
    let mut sim = Sim::opened(Config::default());
    let reply = sim.begins(
        "one two three four five six seven",
        Duration::from_millis(2_139),
    );
    sim.run_for(Duration::from_millis(2_139));
    sim.model(ModelEvent::ReplyEnded(reply));
    sim.model(ModelEvent::Interrupted);
    assert_eq!(sim.heard(), Duration::from_millis(2_120));
    sim.run_for(Duration::from_secs(5));
    assert!(sim.lines()[0].cut, "{:?}", sim.lines());
}
