//! Puts an agent together; a missing part is a compile error.

use std::{future::ready, sync::Arc};

use super::{AgentConfig, DetectorFn, Parts, Prompt, PromptFn, Quota, Shared, VoiceAgent};
use crate::{
    audio::vad::{self, VoiceDetector},
    call::CallInfo,
    lead::{self, Lead, LeadStore, PhoneNumber},
    model::SpeechModel,
    telephony::Telephony,
    tool::Tools,
    transcript::{self, TranscriptSink},
};

/// Builds a [`VoiceAgent`]. Carrier and model must be given; without a sink transcripts are
/// discarded, without a store no caller is known.
#[must_use]
pub struct VoiceAgentBuilder<T = (), M = (), S = transcript::Discard, L = lead::Discard> {
    telephony: T,
    model: M,
    transcripts: S,
    leads: L,
    config: AgentConfig,
    prompt: PromptFn,
    tools: Tools,
    detector: DetectorFn,
}

impl VoiceAgent<(), (), transcript::Discard, lead::Discard> {
    /// Begins an agent.
    pub fn builder() -> VoiceAgentBuilder {
        VoiceAgentBuilder {
            telephony: (),
            model: (),
            transcripts: transcript::Discard,
            leads: lead::Discard,
            config: AgentConfig::default(),
            prompt: Box::new(|_, _| {
                let prompt = "You are a friendly assistant on the phone. Keep replies short.";
                Box::pin(ready(Prompt::new(prompt)))
            }),
            tools: Tools::default(),
            detector: Box::new(vad::default_detector),
        }
    }
}

impl<T, M, S, L> VoiceAgentBuilder<T, M, S, L> {
    /// Where calls come from.
    pub fn telephony<T2: Telephony>(self, telephony: T2) -> VoiceAgentBuilder<T2, M, S, L> {
        let Self {
            model,
            transcripts,
            leads,
            config,
            prompt,
            tools,
            detector,
            ..
        } = self;
        VoiceAgentBuilder {
            telephony,
            model,
            transcripts,
            leads,
            config,
            prompt,
            tools,
            detector,
        }
    }

    /// Who talks.
    pub fn model<M2: SpeechModel>(self, model: M2) -> VoiceAgentBuilder<T, M2, S, L> {
        let Self {
            telephony,
            transcripts,
            leads,
            config,
            prompt,
            tools,
            detector,
            ..
        } = self;
        VoiceAgentBuilder {
            telephony,
            model,
            transcripts,
            leads,
            config,
            prompt,
            tools,
            detector,
        }
    }

    /// Who keeps what was said.
    pub fn transcripts<S2: TranscriptSink>(
        self,
        transcripts: S2,
    ) -> VoiceAgentBuilder<T, M, S2, L> {
        let Self {
            telephony,
            model,
            leads,
            config,
            prompt,
            tools,
            detector,
            ..
        } = self;
        VoiceAgentBuilder {
            telephony,
            model,
            transcripts,
            leads,
            config,
            prompt,
            tools,
            detector,
        }
    }

    /// Who knows the people on the phone.
    pub fn leads<L2: LeadStore>(self, leads: L2) -> VoiceAgentBuilder<T, M, S, L2> {
        let Self {
            telephony,
            model,
            transcripts,
            config,
            prompt,
            tools,
            detector,
            ..
        } = self;
        VoiceAgentBuilder {
            telephony,
            model,
            transcripts,
            leads,
            config,
            prompt,
            tools,
            detector,
        }
    }

    /// What the model is told, call by call. The call's own instructions and greeting win.
    pub fn prompt(
        mut self,
        prompt: impl Fn(&CallInfo, Option<&Lead>) -> Prompt + Send + Sync + 'static,
    ) -> Self {
        self.prompt = Box::new(move |call, lead| Box::pin(ready(prompt(&call, lead.as_ref()))));
        self
    }

    /// The same with a prompt that is looked up. The call waits for it, in silence: bound its time.
    pub fn prompt_from<F>(
        mut self,
        prompt: impl Fn(CallInfo, Option<Lead>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Prompt> + Send + 'static,
    {
        self.prompt = Box::new(move |call, lead| Box::pin(prompt(call, lead)));
        self
    }

    /// What the agent can do besides talking. Default: nothing. A model that uses no tools is
    /// offered none.
    pub fn tools(mut self, tools: Tools) -> Self {
        self.tools = tools;
        self
    }

    /// How the agent behaves.
    pub fn config(mut self, config: AgentConfig) -> Self {
        self.config = config;
        self
    }

    /// What hears the caller speak up; one for each call. Default: [`vad::default_detector`].
    pub fn voice_detector(
        mut self,
        make: impl Fn() -> Box<dyn VoiceDetector> + Send + Sync + 'static,
    ) -> Self {
        self.detector = Box::new(make);
        self
    }
}

impl<T: Telephony, M: SpeechModel, S: TranscriptSink, L: LeadStore> VoiceAgentBuilder<T, M, S, L> {
    /// The agent. It does nothing until it serves.
    #[must_use]
    pub fn build(self) -> VoiceAgent<T, M, S, L> {
        let Self {
            telephony,
            model,
            transcripts,
            leads,
            config,
            prompt,
            tools,
            detector,
        } = self;
        // Not while a caller waits.
        PhoneNumber::read_tables();
        let shared = Arc::new(Shared::default());
        let quota = Quota::new(config.max_sessions);
        VoiceAgent {
            telephony,
            parts: Arc::new(Parts {
                model,
                transcripts,
                leads,
                config,
                prompt,
                tools,
                detector,
                shared,
                quota,
            }),
        }
    }
}

impl<T, M, S, L> std::fmt::Debug for VoiceAgentBuilder<T, M, S, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VoiceAgentBuilder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
