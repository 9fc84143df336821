//! What comes of the model: sessions that open and end, words, replies and their sound.

use std::time::Duration;

use crate::{
    answer::Evidence,
    audio::{AudioFrame, FRAME, Framer, Resampler},
    error::ProviderErrorKind,
    model::{ModelEvent, ReplyId},
    telephony::Show,
    transcript::{Speaker, collapse_white_space},
};

use super::{
    Action, Conversation, Notice, SessionId, ledger::Stage, link::Active, reply::ReplyKey,
    timer::Timer,
};

impl Conversation {
    pub(super) fn on_model_opened(&mut self, session: SessionId) {
        if !self.is_going_on() {
            return;
        }
        if self.links.is_active(session) {
            self.on_active_opened();
        } else if self.links.is_standby(session) {
            self.on_standby_opened();
        }
    }

    /// A session that was left may still have text for what it said; nobody hears the rest.
    pub(super) fn on_old_model(&mut self, session: SessionId, event: ModelEvent) {
        if let ModelEvent::Usage(usage) = event {
            // Whoever counted it, and however late: it will be paid for.
            self.stats.usage += usage;
            return;
        }
        if !self.links.is_closing(session) {
            return;
        }
        match event {
            ModelEvent::AgentSaid(text) => {
                self.replies.final_text(session, &text);
                self.commit(false);
            }
            ModelEvent::Caption(_, text) => self.replies.unheard_caption(&text),
            // While the call goes on, the session that followed hears these words again.
            ModelEvent::CallerSaid(text) if !self.is_going_on() => self.on_caller_said(&text),
            _ => {}
        }
    }

    pub(super) fn on_model_ended(&mut self, session: SessionId, error: Option<ProviderErrorKind>) {
        if self.links.is_active(session) {
            if self.is_going_on() {
                return self.on_active_lost(error);
            }
            self.links.active = Active::Lost;
        } else if self.links.is_standby(session) {
            self.on_standby_ended(session, error.as_ref());
        } else {
            self.links.closed(session);
            self.schedule_rollover();
        }
        self.finish_when_closed();
    }

    pub(super) fn on_model(&mut self, session: SessionId, event: ModelEvent) {
        self.on_sign_of_life();
        match event {
            // The local detector is earlier, where it hears anything.
            ModelEvent::SpeechStarted if self.hears_voice() => {}
            ModelEvent::SpeechStarted => {
                self.caller.voice_started(self.now);
                self.caller.voice_stopped(self.now);
            }
            ModelEvent::CallerSaid(text) => self.on_caller_said(&text),
            ModelEvent::Caption(reply, text) => self.on_caption(session, reply, &text),
            ModelEvent::Audio(reply, audio) => self.on_reply_audio(session, reply, audio),
            ModelEvent::AgentSaid(text) => {
                self.replies.final_text(session, &text);
                self.commit(false);
            }
            ModelEvent::Interrupted => self.cut(),
            ModelEvent::ReplyEnded(reply) => self.on_reply_ended(session, reply),
            ModelEvent::Usage(usage) => self.stats.usage += usage,
            ModelEvent::ToolCall(call) => self.on_tool_call(session, call),
        }
    }

    pub(super) fn on_caller_said(&mut self, text: &str) {
        let text = collapse_white_space(text);
        if text.is_empty() {
            return;
        }
        // The model understood words while playout was paused for a voice: it was one.
        if self.playout.is_paused() {
            self.cut();
        }
        self.turn.reach(Stage::CallerText, self.now);
        self.caption(Speaker::Caller, text.clone());
        self.caller.said(self.now, &text);
        self.feed.understood(&text, self.hears_voice());
        self.caller_active();
        self.timers
            .set(Timer::CallerText, self.now + self.config.caller_text_wait);
        self.awaits_reply = self.is_going_on();
        self.owe_answer();
        self.tools.caller_said();
        self.refresh();
        self.on_hold_words(&text);
        self.on_evidence(Evidence::Text(text));
    }

    pub(super) fn on_caption(&mut self, session: SessionId, reply: ReplyId, text: &str) {
        let Some(key) = self.reply(session, reply) else {
            return self.replies.unheard_caption(text);
        };
        self.turn.reach(Stage::FirstText, self.now);
        self.tools.replied();
        self.replies.caption(key, text);
        self.caption(Speaker::Agent, collapse_white_space(text));
    }

    pub(super) fn on_reply_audio(&mut self, session: SessionId, reply: ReplyId, audio: AudioFrame) {
        let Some(key) = self.reply(session, reply) else {
            return;
        };
        self.turn.reach(Stage::FirstAudio, self.now);
        self.awaits_reply = false;
        self.answer_comes();
        let was_silent = !self.playout.is_audible(self.now);
        let audio = self.at_leg_rate(audio);
        let length = audio.duration();
        self.replies.audio(key, length);
        let rate = self.setup.rate;
        if self
            .framer
            .as_ref()
            .is_none_or(|(current, ..)| *current != key)
        {
            self.flush_framer();
            self.framer = Some((key, Framer::new(rate), Duration::ZERO));
            self.actions.extend(
                self.setup
                    .leg
                    .text
                    .then_some(Action::Show(Show::ReplyStarted)),
            );
        }
        if let Some((_, framer, upto)) = &mut self.framer {
            framer.push(audio.into_pcm());
            while let Some(frame) = framer.pop() {
                *upto += FRAME;
                self.playout.push(key, *upto, frame);
            }
        }
        self.pump();
        // A voice that was there long before is a noise: it would hold back every reply.
        let longest = self.config.barge_in.max_pause;
        let speaks = self.voice.is_some_and(|since| self.now < since + longest);
        if speaks && was_silent && self.playout.is_audible(self.now) {
            self.suspect_barge_in();
        }
    }

    pub(super) fn on_reply_ended(&mut self, session: SessionId, reply: ReplyId) {
        let Some(key) = self.reply(session, reply) else {
            return;
        };
        self.awaits_reply = false;
        self.answer_comes();
        self.flush_framer();
        let length = self.replies.end(key);
        self.playout.push_mark(key, length);
        self.pump();
        self.on_heard();
    }

    /// The reply that the model names so, unless nobody may hear it any more. A new one while
    /// playout is paused means that the model has taken the caller's turn.
    pub(super) fn reply(&mut self, session: SessionId, reply: ReplyId) -> Option<ReplyKey> {
        if !self.is_going_on() {
            return None;
        }
        let new = self.replies.is_new(session, reply);
        if new && self.playout.is_paused() {
            self.cut();
        }
        let key = self.replies.key(session, reply)?;
        if new {
            self.feed.answered(self.hears_voice());
            // Something came of it.
            self.timers.stop(Timer::LastChance);
        }
        Some(key)
    }

    pub(super) fn at_leg_rate(&mut self, audio: AudioFrame) -> AudioFrame {
        let rate = self.setup.rate;
        if audio.rate() == rate {
            return audio;
        }
        let from = audio.rate();
        self.resampler
            .get_or_insert_with(|| Resampler::new(from, rate))
            .resample(&audio)
    }

    /// Pads and queues what is left of the reply whose audio came last.
    pub(super) fn flush_framer(&mut self) {
        if let Some((key, mut framer, upto)) = self.framer.take()
            && let Some(frame) = framer.flush()
        {
            self.playout.push(key, upto + FRAME, frame);
        }
    }

    pub(super) fn caption(&mut self, speaker: Speaker, text: String) {
        if self.setup.leg.text {
            self.actions.push_back(Action::Show(Show::Text {
                speaker,
                text: text.clone(),
            }));
        }
        self.actions
            .push_back(Action::Publish(Notice::Caption { speaker, text }));
    }
}
