//! What a model id tells about the model behind it.

use std::time::Duration;

/// Amazon ends every stream after 8 minutes (Bedrock API reference, operation
/// `InvokeModelWithBidirectionalStream`).
pub(super) const SESSION_LIMIT: Duration = Duration::from_secs(480);

/// What differs between the generations of Nova Sonic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features {
    /// Knows `turnDetectionConfiguration`; the first generation refuses it.
    pub(super) turn_detection: bool,
    /// Takes text during a session (Amazon calls it cross-modal input).
    pub(super) text_input: bool,
    /// How much history it takes.
    pub(super) history: HistoryLimits,
}

/// Sizes in bytes of UTF-8 (Nova Sonic user guide, chat history).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HistoryLimits {
    /// One message.
    pub(super) message: usize,
    /// All messages together.
    pub(super) total: usize,
}

impl Features {
    /// The features of `model_id`, which may carry a region prefix or be an ARN. Only the first
    /// generation lacks anything, so an id that nobody has heard of yet gets them all.
    pub(super) fn of(model_id: &str) -> Self {
        let first_generation = model_id.contains("amazon.nova-sonic-v1");
        Self {
            turn_detection: !first_generation,
            text_input: !first_generation,
            history: if first_generation {
                HistoryLimits {
                    message: 1024,
                    total: 40 * 1024,
                }
            } else {
                HistoryLimits {
                    message: 50 * 1024,
                    total: 200 * 1024,
                }
            },
        }
    }
}

/// Whether any generation is known to speak with this voice. New voices appear without notice,
/// so an unknown one is worth a warning and no more.
pub(super) fn voice_is_known(voice: &str) -> bool {
    VOICES.contains(&voice)
}

const VOICES: [&str; 17] = [
    "ambre", "amy", "arjun", "beatrice", "carlos", "carolina", "florian", "greta", "kiara",
    "lennart", "leo", "lorenzo", "lupe", "matthew", "olivia", "tiffany", "tina",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_generation_lacks_text_and_turn_detection() {
        for id in [
            "amazon.nova-sonic-v1:0",
            "us.amazon.nova-sonic-v1:0",
            "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-sonic-v1:0",
        ] {
            let features = Features::of(id);
            assert!(!features.text_input && !features.turn_detection, "{id}");
            assert_eq!(features.history.total, 40_960);
        }
        for id in [
            "amazon.nova-2-sonic-v1:0",
            "amazon.nova-2-5-sonic",
            "amazon.nova-9-sonic-v3:0",
        ] {
            let features = Features::of(id);
            assert!(features.text_input && features.turn_detection, "{id}");
            assert_eq!(features.history.message, 51_200);
        }
    }

    #[test]
    fn voices_are_known_in_lower_case() {
        assert!(voice_is_known("tiffany"));
        assert!(!voice_is_known("Tiffany"));
        assert!(!voice_is_known("nobody"));
    }
}
