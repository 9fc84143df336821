//! The call flows of an agent's calls.

use std::time::Duration;

use jiff::Timestamp;
use url::form_urlencoded;

use super::{
    VonageConfig,
    calls::Facts,
    ncco::{
        Authorization, Connect, Conversation, DtmfSettings, Input, Method, Ncco, NccoError, Talk,
        WebsocketEndpoint,
    },
    token,
};
use crate::{
    call::{CallId, Direction},
    error::{ProviderError, ProviderErrorKind},
    telephony::socket,
};

/// Keys of the metadata that a socket brings back.
pub(super) const UUID: &str = "uuid";
pub(super) const FROM: &str = "from";
pub(super) const TO: &str = "to";
pub(super) const DIRECTION: &str = "direction";
/// How many sockets of the call were lost before this one.
pub(super) const LOST: &str = "lost";

/// Connects a call to the agent. `lost` sockets of it were lost before; the welcome is spoken
/// only when none was.
pub(super) fn connect(
    config: &VonageConfig,
    facts: &Facts,
    lost: u32,
    now: Timestamp,
) -> Result<Ncco, NccoError> {
    let welcome = config.welcome.as_deref().filter(|_| lost == 0);
    let build = |headers: &[(&str, &str)]| {
        let uri = socket::address(
            &config.public_url,
            facts.id.as_str(),
            &token(config, &facts.id, now),
        );
        let mut endpoint = WebsocketEndpoint::new(uri, config.rate)
            .header(UUID, facts.id.as_str())
            .authorization(Authorization::Vonage);
        if lost > 0 {
            endpoint = endpoint.header(LOST, lost.to_string());
        }
        if !config.public_url.starts_with("https") {
            endpoint = endpoint.insecure();
        }
        for (key, value) in headers {
            endpoint = endpoint.header(*key, *value);
        }
        let connect = Connect::to(endpoint)
            .synchronous_events()
            .event_url(events_url(config, facts.direction), Method::Post);
        let mut ncco = Ncco::builder();
        if let Some(welcome) = welcome {
            ncco = ncco.then(Talk::new(welcome));
        }
        ncco.then(connect).build()
    };
    let mut headers = vec![(DIRECTION, facts.direction.as_str())];
    headers.extend(facts.from.as_ref().map(|from| (FROM, from.reveal())));
    headers.extend(facts.to.as_ref().map(|to| (TO, to.reveal())));
    match build(&headers) {
        // A SIP address can be long. The id is enough: this node knows the rest.
        Err(NccoError::HeadersTooLong { .. }) => build(&headers[..1]),
        ncco => ncco,
    }
}

/// Says a sentence and ends the call.
pub(super) fn say(sentence: &str) -> Result<Ncco, NccoError> {
    Ncco::builder().then(Talk::new(sentence)).build()
}

/// Tells somebody who waits for them, and asks whether they take the call over. What they choose
/// is reported to `events`, whose answer goes on from there.
pub(super) fn introduce(briefing: &str, events: &str) -> Result<Ncco, NccoError> {
    // In angle brackets stands what a voice would not say (Vonage NCCO reference, `talk`).
    let plain = briefing.replace(['<', '>'], " ");
    let words: Vec<&str> = plain.split_whitespace().collect();
    let words: String = words.join(" ").chars().take(LONGEST_BRIEFING).collect();
    let keys = DtmfSettings::default().time_out(CHOICE).max_digits(1);
    Ncco::builder()
        .then(Talk::new(format!("{words} {QUESTION}")).barge_in())
        .then(
            Input::dtmf()
                .dtmf_settings(keys)
                .event_url(events, Method::Post),
        )
        .build()
}

/// Joins the caller and the person who takes the call over; whoever leaves ends it for both.
pub(super) fn join(introduction: &str) -> Result<Ncco, NccoError> {
    Ncco::builder()
        .then(Conversation::new(introduction).end_on_exit())
        .build()
}

/// Where events of somebody go who is told that `caller` waits.
pub(super) fn introduction_url(config: &VonageConfig, caller: &CallId, id: &str) -> String {
    let base = config.public_url.trim_end_matches('/');
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair(CALLER, caller.as_str());
    query.append_pair(INTRODUCTION, id);
    format!("{base}/outbound/webhooks/introduction?{}", query.finish())
}

/// Keys of that address.
pub(super) const CALLER: &str = "caller";
pub(super) const INTRODUCTION: &str = "introduction";

/// How long the person may think about it; whoever does nothing takes the call.
const CHOICE: Duration = Duration::from_secs(5);
/// Characters; with the question it is less than a `talk` takes.
const LONGEST_BRIEFING: usize = 1_300;
const QUESTION: &str =
    "To take the call, press 1 or stay on the line. If you cannot take it now, press 2.";

/// Whether every flow can be made.
pub(super) fn check(config: &VonageConfig) -> Result<(), ProviderError> {
    let url = url::Url::parse(&config.public_url).ok();
    let reachable = url.is_some_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none()
    });
    let invalid = |what: &str, error: &dyn std::fmt::Display| {
        ProviderError::new("vonage", ProviderErrorKind::Invalid)
            .with_detail(format!("{what}: {error}"))
    };
    if !reachable {
        let error = "must be an http or https address, without a query";
        return Err(invalid("the public URL", &error));
    }
    let facts = Facts {
        id: CallId::new("check"),
        conversation: None,
        direction: Direction::Inbound,
        from: None,
        to: None,
        region: None,
    };
    connect(config, &facts, 0, Timestamp::UNIX_EPOCH)
        .map_err(|error| invalid("the call flow", &error))?;
    say(&config.busy_message).map_err(|error| invalid("the busy message", &error))?;
    say(&config.apology).map_err(|error| invalid("the apology", &error))?;
    Ok(())
}

pub(super) fn events_url(config: &VonageConfig, direction: Direction) -> String {
    let base = config.public_url.trim_end_matches('/');
    match direction {
        Direction::Inbound => format!("{base}/webhooks/events"),
        Direction::Outbound => format!("{base}/outbound/webhooks/events"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::call::Party;

    fn facts() -> Facts {
        Facts {
            id: CallId::new("63f61863"),
            conversation: None,
            direction: Direction::Inbound,
            from: Some(Party::new("447700900000")),
            to: Some(Party::new("442079460000")),
            region: None,
        }
    }

    fn actions(config: &VonageConfig, facts: &Facts, lost: u32) -> Value {
        let ncco = connect(config, facts, lost, Timestamp::UNIX_EPOCH).unwrap();
        serde_json::from_str(&ncco.to_json()).unwrap()
    }

    #[test]
    fn a_call_is_connected_to_a_socket_as_the_last_action() {
        let mut config = VonageConfig::new("https://agent.example.com");
        config.welcome = Some("Hello.".to_owned());
        let mut actions = actions(&config, &facts(), 0);
        assert_eq!(actions[0], json!({"action": "talk", "text": "Hello."}));
        let uri = actions[1]["endpoint"][0]["uri"].take();
        let start = "wss://agent.example.com/socket?channel=63f61863&token=";
        assert!(uri.as_str().unwrap().starts_with(start));
        assert_eq!(
            actions[1],
            json!({
                "action": "connect",
                "eventType": "synchronous",
                "eventUrl": ["https://agent.example.com/webhooks/events"],
                "eventMethod": "POST",
                "endpoint": [{
                    "type": "websocket",
                    "uri": null,
                    "content-type": "audio/l16;rate=16000",
                    "headers": {
                        "uuid": "63f61863",
                        "from": "447700900000",
                        "to": "442079460000",
                        "direction": "inbound",
                    },
                    "authorization": {"type": "vonage"},
                }],
            })
        );
        assert_eq!(actions.as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_reconnected_call_hears_no_welcome_and_carries_its_losses() {
        let mut config = VonageConfig::new("http://127.0.0.1:3000");
        config.welcome = Some("Hello.".to_owned());
        let actions = actions(&config, &facts(), 2);
        assert_eq!(actions[0]["action"], "connect");
        assert_eq!(actions[0]["endpoint"][0]["headers"]["lost"], "2");
    }

    #[test]
    fn metadata_that_would_be_too_long_is_left_out() {
        let mut facts = facts();
        facts.from = Some(Party::new("x".repeat(600)));
        let actions = actions(&VonageConfig::default(), &facts, 0);
        assert_eq!(
            actions[0]["endpoint"][0]["headers"],
            json!({"uuid": "63f61863", "direction": "inbound"})
        );
    }

    #[test]
    fn a_wrong_configuration_is_told_before_the_first_call() {
        let wrong = [
            VonageConfig::new("agent.example.com"),
            VonageConfig::new("wss://agent.example.com"),
            VonageConfig {
                welcome: Some("x".repeat(1501)),
                ..VonageConfig::default()
            },
            VonageConfig {
                apology: String::new(),
                ..VonageConfig::default()
            },
        ];
        for config in wrong {
            let error = check(&config).unwrap_err();
            assert_eq!(*error.kind(), ProviderErrorKind::Invalid);
            assert!(error.detail().is_some());
        }
        assert!(check(&VonageConfig::default()).is_ok());
    }
}
