//! What Vonage's webhooks say: the answer request and the events. Pure: bytes in, values out.
//!
//! Vonage delivers a webhook once to three times and in any order, writes numbers as text or
//! leaves them out, and adds fields as it likes. So everything but an id is optional here, and an
//! event of an unknown shape is a value, never an error.
//!
//! Source: Vonage Voice API "Webhook reference"; shapes as its server SDKs test them.

mod answer;
pub use answer::{AnswerRequest, Fallback, WebhookError};

mod event;
pub use event::{
    About, Digits, ErrorEvent, Event, FallbackEvent, InputEvent, NotifyEvent, Recording, Speech,
    SpeechResult, Transcription, Transfer, classify,
};

mod status;
pub use status::{Detail, EndedBy, Status, StatusEvent, SubState};

mod leg;
pub use leg::{Answerer, LegState, Phase};

pub(super) mod field;

use url::Url;

/// The REST base of the region that a call lives in, from the `region_url` of its webhooks:
/// `https://` and a host of vonage.com or nexmo.com. `None` for everything else, since whoever
/// gets our requests gets our credentials.
#[must_use]
pub fn region_base(region_url: &str) -> Option<String> {
    let url = Url::parse(region_url).ok()?;
    let host = url.domain()?;
    let theirs = [".vonage.com", ".nexmo.com"]
        .iter()
        .any(|suffix| host.ends_with(suffix));
    let plain = url.username().is_empty() && url.password().is_none() && url.port().is_none();
    (url.scheme() == "https" && theirs && plain).then(|| format!("https://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vonage checklist 71.
    #[test]
    fn a_region_is_a_host_of_vonage_over_https() {
        for (url, base) in [
            ("https://api-us-3.vonage.com", "https://api-us-3.vonage.com"),
            ("https://API-eu-1.nexmo.com/", "https://api-eu-1.nexmo.com"),
            (
                "https://api-ap-4.vonage.com:443/v1?x=1",
                "https://api-ap-4.vonage.com",
            ),
        ] {
            assert_eq!(region_base(url).as_deref(), Some(base));
        }
        for url in [
            "",
            "api-us-3.vonage.com",
            "http://api-us-3.vonage.com",
            "wss://api-us-3.vonage.com",
            "https://vonage.com.evil.tld",
            "https://evilvonage.com",
            "https://api.evilnexmo.com",
            "https://evil.tld/.vonage.com",
            "https://evil.tld?.vonage.com",
            "https://evil.tld#.vonage.com",
            "https://evil.tld\\.vonage.com",
            "https://api.vonage.com@evil.tld",
            "https://user@api.vonage.com",
            "https://:secret@api.vonage.com",
            "https://api.vonage.com:8443",
            "https://api.vonage.com.",
            "https://10.0.0.1",
            "https://[::1]",
            "file:///api.vonage.com",
        ] {
            assert_eq!(region_base(url), None, "{url}");
        }
    }
}
