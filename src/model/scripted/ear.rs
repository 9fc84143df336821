//! The caller's turns, by the audio that came in.

use std::time::Duration;

use crate::audio::{
    AudioFrame,
    vad::{EnergyDetector, VoiceDetector},
};

/// Hears when the caller speaks, and for how long. Time is the audio heard so far.
#[derive(Debug)]
pub(super) struct Ear {
    detector: EnergyDetector,
    now: Duration,
    turn: Option<Turn>,
}

/// A turn that has begun, from the first sound to the last one so far.
#[derive(Debug)]
struct Turn {
    start: Duration,
    end: Duration,
    /// Whether it is long enough to be one; until then it may be a cough.
    counts: bool,
}

impl Turn {
    fn length(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }
}

/// What a frame brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Silence, a sound too short to count, or more of a turn.
    Nothing,
    /// Somebody speaks, long enough to count.
    Started,
    /// A turn is over; so long it was.
    Ended(Duration),
}

impl Ear {
    pub(super) fn new() -> Self {
        Self {
            detector: EnergyDetector::new(),
            now: Duration::ZERO,
            turn: None,
        }
    }

    /// How much audio has been heard.
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// Hears the next frame. A sound counts as a turn once it has lasted `least`.
    pub(super) fn hear(&mut self, frame: &AudioFrame, least: Duration) -> Heard {
        let speaking = self.detector.hear(frame);
        self.now += frame.duration();
        if speaking {
            let turn = self.turn.get_or_insert_with(|| {
                let start = self.now.saturating_sub(EnergyDetector::ONSET);
                Turn {
                    start,
                    end: start,
                    counts: false,
                }
            });
            turn.end = self.now.saturating_sub(self.detector.silent_for());
            if !turn.counts && turn.length() >= least {
                turn.counts = true;
                return Heard::Started;
            }
            return Heard::Nothing;
        }
        match &self.turn {
            Some(turn) if !turn.counts => self.turn = None,
            Some(turn) if self.now.saturating_sub(turn.end) >= END_OF_TURN => {
                return self.end_turn().map_or(Heard::Nothing, Heard::Ended);
            }
            Some(_) | None => {}
        }
        Heard::Nothing
    }

    /// Ends the turn that is under way, if it counts; says how long it was.
    pub(super) fn end_turn(&mut self) -> Option<Duration> {
        let turn = self.turn.take()?;
        turn.counts.then(|| turn.length())
    }
}

/// So much silence, and it is the other's turn.
const END_OF_TURN: Duration = Duration::from_millis(600);
