//! On hold: somebody asked the agent to wait, and silence means nothing until they are back.
//!
//! It begins with the words that announce it, or with a sound like a voice that goes on and on
//! without any words: music. It ends with the other side's next words that announce no more of
//! it, with a key, or by itself after a while: a misunderstanding must not keep a dead call alive.

use std::time::{Duration, Instant};

use super::Conversation;

/// Whether the call is on hold.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// Since when, by somebody's word.
    announced: Option<Instant>,
    /// What is heard without words, from its beginning to its latest end.
    sound: Option<(Instant, Option<Instant>)>,
}

impl Hold {
    /// Whether the other side is away.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        let within = |since: Instant| now.saturating_duration_since(since) < LONGEST;
        self.announced.is_some_and(within) || self.awaits_somebody(now)
    }

    /// Whether the music has just ended.
    fn awaits_somebody(&self, now: Instant) -> bool {
        let within = |end: Instant| now.saturating_duration_since(end) < AFTER_MUSIC;
        self.music().is_some_and(|(_, end)| within(end))
    }

    /// A voice, or what a detector takes for one, comes or goes.
    pub(super) fn hear(&mut self, now: Instant, voice: bool) {
        self.sound = match (self.sound, voice) {
            (Some((began, Some(end))), true) if now.saturating_duration_since(end) < GAP => {
                Some((began, None))
            }
            // Music that is over is remembered until it is known to have been none.
            (sound, true) if !self.awaits_somebody(now) => match sound {
                Some((began, None)) => Some((began, None)),
                Some((_, Some(_))) | None => Some((now, None)),
            },
            (Some((began, None)), false) => Some((began, Some(now))),
            (sound, _) => sound,
        };
    }

    /// What was too long without words to be talk, if it has ended.
    fn music(&self) -> Option<(Instant, Instant)> {
        let (began, end) = self.sound?;
        let end = end?;
        (end.saturating_duration_since(began) >= MUSIC).then_some((began, end))
    }
}

impl Conversation {
    /// The other side has said this: they may ask the agent to wait, or be back.
    pub(super) fn on_hold_words(&mut self, text: &str) {
        if asks_to_wait(text) {
            self.hold.announced.get_or_insert(self.now);
        } else {
            self.off_hold();
        }
    }

    /// The other side is back. The model cannot know how long they were away: it hears no time.
    pub(super) fn off_hold(&mut self) {
        let away = |since: Instant| self.now.saturating_duration_since(since);
        let music = self.hold.music().map(|(began, _)| away(began));
        let announced = self.hold.announced.map(away);
        let noticed = announced
            .filter(|away| *away >= NOTICED)
            .max(music.filter(|away| *away >= NOTICED_MUSIC));
        let speaks = self.hears_voice().then_some((self.now, None));
        (self.hold.announced, self.hold.sound) = (None, speaks);
        if let Some(away) = noticed.filter(|_| self.setup.text_input) {
            self.tell(format!(
                "(They were away for {} seconds and are back on the line. Go on from there.)",
                away.as_secs()
            ));
        }
    }
}

/// Whether these words announce a wait. Longer speeches that happen to hold such words do not.
fn asks_to_wait(text: &str) -> bool {
    let words: Vec<String> = text
        .to_lowercase()
        .split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’')
        .filter(|word| !word.is_empty())
        .map(|word| word.replace('’', "'"))
        .collect();
    if words.len() > MOST_WORDS {
        return false;
    }
    let has = |phrase: &&str| {
        let phrase: Vec<&str> = phrase.split(' ').collect();
        words.windows(phrase.len()).any(|run| run == phrase)
    };
    PHRASES.iter().any(has) && !ANSWERS.iter().any(has)
}

/// How people and queues ask for patience.
const PHRASES: &[&str] = &[
    "please hold",
    "hold please",
    "hold on",
    "hold the line",
    "hold for",
    "on hold",
    "continue to hold",
    "stay on the line",
    "remain on the line",
    "one moment",
    "just a moment",
    "one second",
    "just a second",
    "a sec",
    "one minute",
    "just a minute",
    "give me a minute",
    "bear with me",
    "hang on",
    "let me transfer you",
    "i'll transfer you",
    "transfer your call",
    "connect your call",
    "let me get him",
    "let me get her",
    "let me check",
    "i'll see if",
    "i'll be right back",
    "be right with you",
    "will be with you shortly",
    "your call is important",
    "un momento",
    "no cuelgue",
    "espere en la línea",
    "permanezca en la línea",
];

/// Who says these goes on talking, or asks the agent something.
const ANSWERS: &[&str] = &[
    "can you hold",
    "could you hold",
    "thanks for holding",
    "thank you for holding",
    "are you there",
    "question",
];

/// Hold music is rarely longer, and nobody pays a call for longer.
const LONGEST: Duration = Duration::from_secs(600);

/// Nobody talks for so long before a model has understood a word of it.
const MUSIC: Duration = Duration::from_secs(15);

/// A song has rests.
const GAP: Duration = Duration::from_secs(2);

/// How soon somebody comes to the phone when the music is over.
const AFTER_MUSIC: Duration = Duration::from_secs(60);

/// A shorter absence needs no word. Music may be a long speech that was understood late.
const NOTICED: Duration = Duration::from_secs(8);
const NOTICED_MUSIC: Duration = Duration::from_secs(45);

/// An announcement; more is a conversation.
const MOST_WORDS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "an arbitrary origin for simulated time"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_long_sound_is_hold_once_it_ends_and_for_a_minute_after() {
        let (start, mut hold) = (start(), Hold::default());
        let second = Duration::from_secs(1);
        hold.hear(start, true);
        hold.hear(start + 8 * second, false);
        assert!(!hold.is_on(start + 8 * second), "as long as people talk");
        hold.hear(start + 9 * second, true);
        hold.hear(start + 30 * second, false);
        assert!(hold.is_on(start + 31 * second));
        hold.hear(start + 50 * second, true);
        hold.hear(start + 51 * second, false);
        assert!(hold.is_on(start + 89 * second));
        assert!(!hold.is_on(start + 91 * second));
    }

    #[test]
    fn announcements_of_a_wait_are_known_by_their_words() {
        for text in [
            "Please hold.",
            "Sure, one moment, please.",
            "Hang on, let me check with the pastor.",
            "Your call is important to us. Please stay on the line.",
            "I’ll be right back.",
            "Un momento, por favor.",
        ] {
            assert!(asks_to_wait(text), "{text}");
        }
        for text in [
            "Hello?",
            "Thanks for holding, this is Pam.",
            "Hold on, I have a question.",
            "We hold services on Sundays.",
            "The household moment of the year.",
        ] {
            assert!(!asks_to_wait(text), "{text}");
        }
    }
}
