//! Keys that a flow waits for.

use std::time::Duration;

use serde_json::json;

use super::{Flow, Next};
use crate::{
    clock,
    testkit::vonage::{ncco::Keys, timestamp},
};

impl Flow {
    /// Says a text up to its end or to the first key, which the next `input` takes.
    pub(super) async fn prompt(&self, text: String) -> Next {
        self.speak(text);
        let carrier = &self.line.carrier;
        let until = clock::now() + carrier.scaled(carrier.options.talk);
        self.line
            .until(|state, now| match state.ending {
                Some(end) => Ok(Next::End(end)),
                None if state.moved.is_some() || !state.keypad.is_empty() || until <= now => {
                    Ok(Next::Continue)
                }
                None => Err(Some(until)),
            })
            .await
    }

    /// Takes in keys, posts them, and goes on as the response says (Vonage webhook reference,
    /// `input`).
    pub(super) async fn take_keys(&mut self, keys: Keys) -> Next {
        let time_out: Duration = self.line.carrier.scaled(keys.time_out);
        let mut until = clock::now() + time_out;
        let mut digits = String::new();
        let timed_out = self.line.until(|state, now| {
            if state.moved.is_some() || state.ending.is_some() {
                return Ok(Err(state.ending));
            }
            while digits.len() < keys.most
                && let Some(key) = state.keypad.pop_front()
            {
                if key == '#' && keys.submit_on_hash {
                    return Ok(Ok(false));
                }
                digits.push(key);
                until = now + time_out;
            }
            match digits.len() >= keys.most {
                true => Ok(Ok(false)),
                false if until <= now => Ok(Ok(true)),
                false => Err(Some(until)),
            }
        });
        let timed_out = match timed_out.await {
            Ok(timed_out) => timed_out,
            Err(Some(end)) => return Next::End(end),
            Err(None) => return Next::Continue,
        };
        let body = json!({
            "dtmf": {"digits": digits, "timed_out": timed_out},
            "speech": {"results": []},
            "from": self.placed.from,
            "to": self.placed.to,
            "uuid": self.placed.uuid,
            "conversation_uuid": self.placed.conversation,
            "timestamp": timestamp(clock::wall()),
        });
        let url = match &keys.event_url {
            Some(url) => self.line.carrier.reach(url),
            None => self.phone.events.clone(),
        };
        match self.post(&url, body).await {
            Some(reply) => self.replace(&reply, "input"),
            None => Next::Continue,
        }
    }
}
