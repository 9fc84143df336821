//! The tools that nearly every agent on the phone needs.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{NoArguments, Tool, ToolContext, ToolError};
use crate::{call::Party, telephony::Keys};

/// `end_call`: hangs up once the agent's last words were heard.
#[must_use]
pub fn end_call() -> Tool {
    Tool::new("end_call", async |context: ToolContext, NoArguments {}| {
        context.end_call().await?;
        Ok(json!({
            "status": "ending",
            "note": "The call ends now. If you have said goodbye already, say nothing more.",
        }))
    })
    .describe(
        "Ends the phone call. Use it only when the caller has said goodbye or wants nothing more, \
         and say goodbye first.",
    )
}

#[derive(Deserialize, JsonSchema)]
struct TransferCall {
    /// To whom.
    destination: String,
    /// What the person should hear before they take the call: who is calling, from where, and
    /// why, in one or two sentences. They are called first and may decline. Leave it out to
    /// connect at once.
    #[serde(default)]
    briefing: Option<String>,
}

/// `transfer_call`: connects the caller with one of `destinations`, each a name that the model
/// chooses by and whom the carrier calls; with a briefing they are called first, hear it, and may
/// decline. The model can dial nothing else: a caller who talks it
/// into more must not run up a bill. An agent whose carrier cannot transfer is told so when it
/// tries.
pub fn transfer_call(destinations: impl IntoIterator<Item = (String, Party)>) -> Tool {
    let destinations: Vec<(String, Party)> = destinations.into_iter().collect();
    let names: Vec<Value> = destinations
        .iter()
        .map(|(name, _)| name.as_str().into())
        .collect();
    Tool::new(
        "transfer_call",
        move |context: ToolContext, arguments: TransferCall| {
            let to = destinations
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(arguments.destination.trim()))
                .map(|(_, to)| to.clone());
            async move {
                let to = to.ok_or_else(|| ToolError::new("There is no such destination."))?;
                let briefing = arguments.briefing.unwrap_or_default();
                if !briefing.trim().is_empty() {
                    context.warm_transfer(to, briefing.trim()).await?;
                    return Ok(json!({
                        "status": "calling",
                        "note": "Say in one short sentence that you are calling the person and that it may take a moment. You are told if they do not take the call.",
                    }));
                }
                context.transfer(to).await?;
                Ok(json!({
                    "status": "connecting",
                    "note": "Say in one short sentence that you are connecting the caller, if you have not.",
                }))
            }
        },
    )
    .describe(
        "Connects the caller with a person. Use it when the caller asks for one or when you cannot \
         help. You leave the call with it.",
    )
    .schema(|schema| {
        if let Some(destination) = schema
            .get_mut("properties")
            .and_then(|properties| properties.get_mut("destination"))
            .and_then(Value::as_object_mut)
        {
            destination.insert("enum".to_owned(), names.into());
        }
    })
}

/// Presses keys on the telephone, as a menu on the other side may ask for.
#[derive(Deserialize, JsonSchema)]
struct SendDtmf {
    /// The keys, in order: 0-9, *, #, and a comma for a pause of half a second.
    keys: String,
}

/// `send_dtmf`: presses keys. An agent whose carrier cannot is told so when it tries.
#[must_use]
pub fn send_dtmf() -> Tool {
    Tool::new(
        "send_dtmf",
        async |context: ToolContext, arguments: SendDtmf| {
            let keys: Keys = arguments.keys.parse()?;
            context.send_dtmf(keys).await?;
            Ok(json!({ "status": "pressed" }))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audio::SampleRate,
        call::{CallId, CallInfo, Direction},
        tool::{ToolWish, ToolWishes},
    };

    fn context(able: bool) -> (ToolContext, ToolWishes) {
        let started = "2026-06-22T20:35:32Z".parse().unwrap();
        let mut call = CallInfo::new(
            CallId::new("a"),
            Direction::Inbound,
            started,
            SampleRate::Hz16000,
        );
        call.leg.transfer = able;
        call.leg.dtmf = able;
        ToolContext::detached(call, None)
    }

    fn reception() -> Tool {
        transfer_call([("reception".to_owned(), Party::new("12125550101"))])
    }

    #[tokio::test]
    async fn each_asks_for_what_its_name_says() {
        let (context, mut wishes) = context(true);
        for (tool, arguments, wish) in [
            (end_call(), "", ToolWish::EndCall),
            (
                reception(),
                r#"{"destination":"Reception"}"#,
                ToolWish::Transfer(Party::new("12125550101")),
            ),
            (
                reception(),
                r#"{"destination":"reception","briefing":" Pat Doe asks for a date. "}"#,
                ToolWish::WarmTransfer {
                    to: Party::new("12125550101"),
                    briefing: "Pat Doe asks for a date.".to_owned().into(),
                },
            ),
            (
                reception(),
                r#"{"destination":"reception","briefing":"  "}"#,
                ToolWish::Transfer(Party::new("12125550101")),
            ),
            (
                send_dtmf(),
                r#"{"keys":"1 2 #"}"#,
                ToolWish::SendDtmf("12#".parse().unwrap()),
            ),
        ] {
            let output = tool.call(context.clone(), arguments).await;
            assert!(!output.is_error(), "{}", output.to_json());
            assert_eq!(wishes.next().await, Some(wish));
        }
    }

    #[tokio::test]
    async fn what_the_carrier_cannot_do_is_an_error_for_the_model() {
        let (context, _wishes) = context(false);
        let transfer = reception().call(context.clone(), r#"{"destination":"reception"}"#);
        assert!(transfer.await.is_error());
        assert!(
            send_dtmf()
                .call(context, r#"{"keys":"1"}"#)
                .await
                .is_error()
        );
    }

    #[tokio::test]
    async fn nothing_but_the_destinations_can_be_dialled() {
        let (context, mut wishes) = context(true);
        let tool = reception();
        let destination = &tool.spec().parameters["properties"]["destination"];
        assert_eq!(destination["enum"], json!(["reception"]));
        let output = reception().call(context.clone(), r#"{"destination":"+19005550100"}"#);
        assert!(output.await.is_error());
        let output = send_dtmf().call(context.clone(), r#"{"keys":"one"}"#);
        assert!(output.await.is_error());
        drop(context);
        assert_eq!(wishes.next().await, None);
    }

    #[tokio::test]
    async fn a_call_that_is_over_cannot_be_ended() {
        let (context, wishes) = context(true);
        drop(wishes);
        assert!(end_call().call(context, "{}").await.is_error());
    }
}
