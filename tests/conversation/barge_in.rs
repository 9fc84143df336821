//! The caller speaks over the agent.

use std::time::Duration;

use novavoice::{
    conversation::{AgentState, Config, Input},
    model::ModelEvent,
    telephony::Show,
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
    let frame = novavoice::audio::AudioFrame::silence(novavoice::audio::SampleRate::Hz16000);
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

#[test]
fn a_cough_does_not_even_pause_the_agent() {
    let mut sim = Sim::opened(Config::default());
    sim.says("A reply of four seconds.", 4 * SECOND);
    sim.run_for(SECOND);
    sim.caller(true, 160 * MS);
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
    sim.caller(true, 400 * MS);
    let paused_at = sim.heard();
    assert!(
        paused_at <= SECOND + 220 * MS,
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
    sim.input(Input::Voice(true));
    sim.run_for(30 * SECOND);
    assert_eq!(sim.heard(), 4 * SECOND);
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
