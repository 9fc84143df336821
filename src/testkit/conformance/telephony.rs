//! The contract of [`Telephony`].

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::soon;
use crate::{
    audio::{AudioFrame, SampleRate},
    call::{Direction, Party},
    error::ProviderErrorKind,
    lead::PhoneNumber,
    telephony::{
        CallCommand, CallEvent, DialOptions, Dialled, Leg, MarkId, Telephony, memory::Phone,
    },
};

/// The person at the far end of a call, behind the carrier.
#[async_trait]
pub trait RemoteParty: Send + Sync {
    /// Whether it has keys to press. Without them, [`press`](Self::press) is never called.
    fn has_keys(&self) -> bool;

    /// Says one full frame at the leg's rate.
    async fn speak(&mut self, frame: AudioFrame);

    /// Presses one of `0-9`, `*`, `#`.
    async fn press(&mut self, key: char);

    /// Hangs up.
    async fn hang_up(&mut self);

    /// All samples that were played to it until now, in order, in the pace of speech.
    async fn heard(&mut self) -> Vec<i16>;

    /// Waits until the line is dead.
    async fn ended(&mut self);
}

#[async_trait]
impl RemoteParty for Phone {
    fn has_keys(&self) -> bool {
        true
    }

    async fn speak(&mut self, frame: AudioFrame) {
        Self::speak(self, frame).await;
    }

    async fn press(&mut self, key: char) {
        Self::press(self, key).await;
    }

    async fn hang_up(&mut self) {
        Self::hang_up(self).await;
    }

    async fn heard(&mut self) -> Vec<i16> {
        let frames = Self::heard(self);
        frames.iter().flat_map(AudioFrame::samples).collect()
    }

    async fn ended(&mut self) {
        Self::ended(self).await;
    }
}

/// Runs everything in this module. `make` makes a fresh telephony that one party calls, or is
/// about to.
pub async fn telephony<T: Telephony, R: RemoteParty>(make: impl AsyncFn() -> (T, R)) {
    the_callers_voice_arrives_whole_and_in_order(make().await).await;
    keys_arrive(make().await).await;
    what_is_played_is_heard_whole_and_in_order(make().await).await;
    what_was_not_played_is_forgotten_on_clear(make().await).await;
    marks_are_answered_after_what_came_before_them(make().await).await;
    cleared_marks_are_never_answered(make().await).await;
    commands_are_obeyed_while_nobody_reads_events(make().await).await;
    a_caller_who_hangs_up_ends_the_events(make().await).await;
    hanging_up_ends_the_call_and_the_events(make().await).await;
    a_transferred_call_is_over_for_the_agent(make().await).await;
    pressing_keys_leaves_the_call_as_it_is(make().await).await;
    a_dropped_leg_hangs_up(make().await).await;
    a_call_survives_answers_that_are_given_up(make().await).await;
    whoever_cannot_dial_says_so(make().await).await;
}

/// Somebody who can be called.
#[async_trait]
pub trait CalledParty: Send + Sync {
    /// What they are once they have answered.
    type Answered: RemoteParty;

    /// Their number.
    fn number(&self) -> PhoneNumber;

    /// Answers the next call that rings.
    async fn pick_up(&mut self) -> Self::Answered;
}

/// Runs everything about calls that are placed. `make` makes a fresh telephony that can dial, and
/// somebody whom it reaches.
pub async fn dialling<T: Telephony, C: CalledParty>(make: impl AsyncFn() -> (T, C)) {
    a_call_that_is_answered_arrives_as_a_leg(make().await).await;
    a_leg_brings_what_its_call_was_placed_with(make().await).await;
    a_call_that_was_placed_is_talked_on_both_ways(make().await).await;
    a_call_is_placed_though_nobody_waits_for_the_answer(make().await).await;
}

/// A call that was placed arrives with its id, as outbound, naming whom it is to.
pub async fn a_call_that_is_answered_arrives_as_a_leg<T, C>((telephony, mut callee): (T, C))
where
    T: Telephony,
    C: CalledParty,
{
    assert!(telephony.can_dial(), "this suite is for those who can dial");
    let number = callee.number();
    let dialled = dial(&telephony, &number, DialOptions::default()).await;
    let _party = soon("it rings", callee.pick_up()).await;
    let leg = answer(&telephony).await;
    assert_eq!(leg.info.id, dialled.id, "the leg has the id of the call");
    assert_eq!(leg.info.direction, Direction::Outbound);
    let remote = leg.info.remote.as_ref().map(PhoneNumber::try_from);
    assert_eq!(remote, Some(Ok(number)), "the leg names whom we called");
    assert_eq!((leg.info.instructions, leg.info.greeting), (None, None));
}

/// Instructions and greeting come with the leg of their call, and with no other.
pub async fn a_leg_brings_what_its_call_was_placed_with<T, C>((telephony, mut callee): (T, C))
where
    T: Telephony,
    C: CalledParty,
{
    let mut given = Vec::new();
    let mut parties = Vec::new();
    for name in ["one", "two"] {
        let options = DialOptions {
            instructions: Some(format!("instructions {name}")),
            greeting: Some(format!("greeting {name}")),
            ..DialOptions::default()
        };
        let dialled = dial(&telephony, &callee.number(), options.clone()).await;
        given.push((dialled.id, options.instructions, options.greeting));
        parties.push(soon("it rings", callee.pick_up()).await);
    }
    let mut came = Vec::new();
    let mut legs = Vec::new();
    for _ in 0..2 {
        let leg = answer(&telephony).await;
        let info = leg.info.clone();
        came.push((info.id, info.instructions, info.greeting));
        legs.push(leg);
    }
    given.sort();
    came.sort();
    assert_eq!(came, given, "each leg has what its call was placed with");
}

/// The leg of a call that was placed is one like any other.
pub async fn a_call_that_was_placed_is_talked_on_both_ways<T, C>((telephony, mut callee): (T, C))
where
    T: Telephony,
    C: CalledParty,
{
    let number = callee.number();
    dial(&telephony, &number, DialOptions::default()).await;
    let mut party = soon("it rings", callee.pick_up()).await;
    let mut leg = answer(&telephony).await;
    let said = tone(leg.info.rate, OLD);
    party.speak(said.clone()).await;
    let voice = find(&mut leg, |event| match event {
        CallEvent::Audio(frame) if !is_silence(frame) => Some(frame.clone()),
        _ => None,
    });
    assert_eq!(voice.await, said);
    play(&mut leg, 5, NEW).await;
    hears(&mut leg, &mut party, |heard| count(heard, NEW) > 0).await;
    command(&leg, CallCommand::HangUp { apologise: false }).await;
    hangs_up(&mut leg).await;
    soon("hanging up ends the call", party.ended()).await;
}

/// `dial` is cancel safe: what was asked for is placed.
pub async fn a_call_is_placed_though_nobody_waits_for_the_answer<T, C>(
    (telephony, mut callee): (T, C),
) where
    T: Telephony,
    C: CalledParty,
{
    let number = callee.number();
    let options = DialOptions {
        greeting: Some("kept".to_owned()),
        ..DialOptions::default()
    };
    {
        let mut dialling = telephony.dial(&number, options);
        // Asked for once, and given up.
        let _ = futures::poll!(&mut dialling);
    }
    let _party = soon("it rings all the same", callee.pick_up()).await;
    let leg = answer(&telephony).await;
    assert_eq!(leg.info.greeting.as_deref(), Some("kept"));
}

/// A telephony that places no calls refuses to, as something that nobody need try again.
pub async fn whoever_cannot_dial_says_so<T, R>((telephony, _caller): (T, R))
where
    T: Telephony,
    R: RemoteParty,
{
    if telephony.can_dial() {
        return;
    }
    let number = PhoneNumber::parse("+12125550101").expect("a number");
    let refused = telephony.dial(&number, DialOptions::default()).await;
    let error = refused.expect_err("it cannot dial");
    assert_eq!(*error.kind(), ProviderErrorKind::Invalid);
}

/// Caller audio comes in order, in full frames of the leg's rate.
pub async fn the_callers_voice_arrives_whole_and_in_order<T, R>((telephony, mut caller): (T, R))
where
    T: Telephony,
    R: RemoteParty,
{
    let mut leg = answer(&telephony).await;
    let rate = leg.info.rate;
    let mut heard = Vec::new();
    for level in 1..=50 {
        caller.speak(tone(rate, level)).await;
        // Lines may send silence of their own.
        while heard.len() < usize::from(level.unsigned_abs()) {
            if let CallEvent::Audio(frame) = next(&mut leg).await {
                assert_eq!(frame.rate(), rate, "frames have the rate of the leg");
                assert_eq!(frame.pcm().len(), rate.bytes_per_frame(), "frames are full");
                heard.extend((!is_silence(&frame)).then_some(frame));
            }
        }
    }
    let said: Vec<_> = (1..=50).map(|level| tone(rate, level)).collect();
    assert!(
        heard == said,
        "the caller's frames arrive once each, in order"
    );
}

/// Where the caller has keys, they arrive in the order in which they were pressed.
pub async fn keys_arrive<T: Telephony, R: RemoteParty>((telephony, mut caller): (T, R)) {
    if !caller.has_keys() {
        return;
    }
    let mut leg = answer(&telephony).await;
    for key in ['5', '0', '*', '#', '#'] {
        caller.press(key).await;
        let pressed = find(&mut leg, |event| match event {
            CallEvent::Dtmf(key) => Some(*key),
            _ => None,
        });
        assert_eq!(pressed.await, key);
    }
}

/// Played frames reach the party, all of them, in order.
pub async fn what_is_played_is_heard_whole_and_in_order<T, R>((telephony, mut caller): (T, R))
where
    T: Telephony,
    R: RemoteParty,
{
    let mut leg = answer(&telephony).await;
    let rate = leg.info.rate;
    let mut played = Vec::new();
    for level in 1..=25 {
        let frame = tone(rate, level);
        played.extend(frame.samples());
        command(&leg, CallCommand::Play(frame)).await;
    }
    let heard = hears(&mut leg, &mut caller, |heard| heard.len() >= played.len());
    assert!(heard.await == played, "what is played is heard, in order");
}

/// After a clear nothing of what was not played yet is heard any more.
pub async fn what_was_not_played_is_forgotten_on_clear<T, R>((telephony, mut caller): (T, R))
where
    T: Telephony,
    R: RemoteParty,
{
    let mut leg = answer(&telephony).await;
    let rate = leg.info.rate;
    play(&mut leg, LONG, OLD).await;
    hears(&mut leg, &mut caller, |heard| heard.contains(&OLD)).await;
    command(&leg, CallCommand::Clear).await;
    play(&mut leg, 5, NEW).await;
    let all_new = |heard: &[i16]| count(heard, NEW) >= 5 * rate.samples_per_frame();
    let heard = hears(&mut leg, &mut caller, all_new).await;
    let old = count(&heard, OLD);
    assert!(
        old < (LONG / 2) * rate.samples_per_frame(),
        "a clear forgets what was not played: {old} samples of it were heard"
    );
    let first_new = heard.iter().position(|sample| *sample == NEW);
    let last_old = heard.iter().rposition(|sample| *sample == OLD);
    assert!(last_old < first_new, "nothing old is heard after a clear");
}

/// Where the leg has marks, each is answered once, after what came before it was played.
pub async fn marks_are_answered_after_what_came_before_them<T, R>((telephony, mut caller): (T, R))
where
    T: Telephony,
    R: RemoteParty,
{
    let mut leg = answer(&telephony).await;
    if !leg.info.leg.marks {
        return;
    }
    let rate = leg.info.rate;
    for (mark, level) in [(1, OLD), (2, NEW)] {
        play(&mut leg, 10, level).await;
        command(&leg, CallCommand::Mark(MarkId(mark))).await;
    }
    for (mark, level) in [(1, OLD), (2, NEW)] {
        assert_eq!(played(&mut leg).await, MarkId(mark));
        let heard = count(&caller.heard().await, level);
        // What the carrier counts as played may be on its way to the ear.
        let least = 5 * rate.samples_per_frame();
        assert!(
            heard >= least,
            "mark {mark} was answered too early: {heard} samples"
        );
    }
}

/// A clear forgets marks, too.
pub async fn cleared_marks_are_never_answered<T, R>((telephony, caller): (T, R))
where
    T: Telephony,
    R: RemoteParty,
{
    let mut leg = answer(&telephony).await;
    if !leg.info.leg.marks {
        return;
    }
    play(&mut leg, LONG, OLD).await;
    command(&leg, CallCommand::Mark(MarkId(1))).await;
    command(&leg, CallCommand::Clear).await;
    play(&mut leg, 2, NEW).await;
    command(&leg, CallCommand::Mark(MarkId(2))).await;
    assert_eq!(played(&mut leg).await, MarkId(2));
    drop(caller);
}

/// Both channels keep moving: a leg whose events lie unread still obeys.
pub async fn commands_are_obeyed_while_nobody_reads_events<T, R>((telephony, mut caller): (T, R))
where
    T: Telephony,
    R: RemoteParty,
{
    let leg = answer(&telephony).await;
    let rate = leg.info.rate;
    let flood = async {
        loop {
            caller.speak(tone(rate, OLD)).await;
            // Audio that nobody takes may be dropped, keys may not.
            if caller.has_keys() {
                caller.press('1').await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    // Either the line is full by then, or it takes them without end.
    let _ = tokio::time::timeout(Duration::from_secs(2), flood).await;
    for _ in 0..LONG {
        command(&leg, CallCommand::Play(tone(rate, NEW))).await;
    }
    command(&leg, CallCommand::HangUp { apologise: false }).await;
    soon("a leg obeys while its events lie unread", caller.ended()).await;
    drop(leg);
}

/// `HungUp` is the last event, then the events end.
pub async fn a_caller_who_hangs_up_ends_the_events<T, R>((telephony, mut caller): (T, R))
where
    T: Telephony,
    R: RemoteParty,
{
    let mut leg = answer(&telephony).await;
    caller.hang_up().await;
    hangs_up(&mut leg).await;
}

/// The command to hang up ends the call, and the events like a caller's own hanging up.
pub async fn hanging_up_ends_the_call_and_the_events<T, R>((telephony, mut caller): (T, R))
where
    T: Telephony,
    R: RemoteParty,
{
    let mut leg = answer(&telephony).await;
    command(&leg, CallCommand::HangUp { apologise: false }).await;
    hangs_up(&mut leg).await;
    soon("the command to hang up ends the call", caller.ended()).await;
}

/// Where the leg can transfer, the caller is handed over and the agent's side of the call ends.
pub async fn a_transferred_call_is_over_for_the_agent<T, R>((telephony, _caller): (T, R))
where
    T: Telephony,
    R: RemoteParty,
{
    let mut leg = answer(&telephony).await;
    if leg.info.leg.transfer {
        let to = Party::new("12125550101");
        command(&leg, CallCommand::Transfer { to }).await;
        hangs_up(&mut leg).await;
    }
}

/// Where the leg can press keys, it does so beside the audio.
pub async fn pressing_keys_leaves_the_call_as_it_is<T, R>((telephony, mut caller): (T, R))
where
    T: Telephony,
    R: RemoteParty,
{
    let mut leg = answer(&telephony).await;
    if !leg.info.leg.dtmf {
        return;
    }
    let keys = "1,2#".parse().expect("keys");
    command(&leg, CallCommand::SendDtmf(keys)).await;
    let frame = tone(leg.info.rate, NEW);
    let played: Vec<_> = frame.samples().collect();
    command(&leg, CallCommand::Play(frame)).await;
    let heard = hears(&mut leg, &mut caller, |heard| heard.len() >= played.len());
    assert!(heard.await == played, "the call goes on");
}

/// A leg that is dropped hangs up.
pub async fn a_dropped_leg_hangs_up<T: Telephony, R: RemoteParty>((telephony, mut caller): (T, R)) {
    let leg = answer(&telephony).await;
    drop(leg);
    soon("a dropped leg hangs up", caller.ended()).await;
}

/// `answer` is cancel safe: dropping its future loses no call.
pub async fn a_call_survives_answers_that_are_given_up<T, R>((telephony, mut caller): (T, R))
where
    T: Telephony,
    R: RemoteParty,
{
    let impatient = async {
        loop {
            let patience = Duration::from_millis(1);
            if let Ok(leg) = tokio::time::timeout(patience, telephony.answer()).await {
                break leg.expect("a call comes");
            }
        }
    };
    let mut leg = soon("an answer that was given up loses no call", impatient).await;
    caller.speak(tone(leg.info.rate, NEW)).await;
    let voice = find(&mut leg, |event| match event {
        CallEvent::Audio(frame) if !is_silence(frame) => Some(frame.clone()),
        _ => None,
    });
    assert_eq!(voice.await, tone(leg.info.rate, NEW));
}

async fn dial<T: Telephony>(telephony: &T, to: &PhoneNumber, options: DialOptions) -> Dialled {
    let dialled = soon("a call is placed", telephony.dial(to, options)).await;
    dialled.expect("a call can be placed")
}

async fn answer<T: Telephony>(telephony: &T) -> Leg {
    let leg = soon("a call comes", telephony.answer()).await;
    leg.expect("a call can be answered")
}

async fn command(leg: &Leg, command: CallCommand) {
    let sent = soon("a leg takes commands", leg.duplex.commands.send(command)).await;
    assert!(sent.is_ok(), "a live leg takes commands");
}

async fn play(leg: &mut Leg, frames: usize, level: i16) {
    for _ in 0..frames {
        command(leg, CallCommand::Play(tone(leg.info.rate, level))).await;
        // Read meanwhile, as an agent does.
        while let Ok(event) = leg.duplex.events.try_recv() {
            event.expect("no failure");
        }
    }
}

async fn next(leg: &mut Leg) -> CallEvent {
    let event = soon("an event comes", leg.duplex.events.recv()).await;
    event.expect("the call goes on").expect("no failure")
}

async fn find<V>(leg: &mut Leg, wanted: impl Fn(&CallEvent) -> Option<V>) -> V {
    let found = async {
        loop {
            if let Some(value) = wanted(&next(leg).await) {
                break value;
            }
        }
    };
    soon("the event comes", found).await
}

async fn played(leg: &mut Leg) -> MarkId {
    find(leg, |event| match event {
        CallEvent::Played(mark) => Some(*mark),
        _ => None,
    })
    .await
}

async fn hangs_up(leg: &mut Leg) {
    find(leg, |event| (*event == CallEvent::HungUp).then_some(())).await;
    let after = soon("the events end", leg.duplex.events.recv()).await;
    assert!(
        after.is_none(),
        "nothing comes after the hanging up: {after:?}"
    );
}

/// What the party heard, without silence, once that is `enough`. Events are read meanwhile.
async fn hears<R: RemoteParty>(
    leg: &mut Leg,
    party: &mut R,
    enough: impl Fn(&[i16]) -> bool,
) -> Vec<i16> {
    let listen = async {
        loop {
            let mut heard = party.heard().await;
            heard.retain(|sample| *sample != 0);
            if enough(&heard) {
                break heard;
            }
            let pause = Duration::from_millis(5);
            if let Ok(event) = tokio::time::timeout(pause, leg.duplex.events.recv()).await {
                event.expect("the call goes on").expect("no failure");
            }
        }
    };
    soon("what is played is heard", listen).await
}

/// A full frame of one sample value.
fn tone(rate: SampleRate, level: i16) -> AudioFrame {
    let pcm: Vec<u8> = level.to_le_bytes().repeat(rate.samples_per_frame());
    AudioFrame::new(Bytes::from(pcm), rate)
}

fn is_silence(frame: &AudioFrame) -> bool {
    frame.samples().all(|sample| sample == 0)
}

fn count(samples: &[i16], level: i16) -> usize {
    samples.iter().filter(|sample| **sample == level).count()
}

/// Frames that take so long to play that a clear comes in between: 3 s.
const LONG: usize = 150;
const OLD: i16 = 1_000;
const NEW: i16 = 2_000;
