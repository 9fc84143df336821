//! The fields of input events and their allowed values.

use serde_json::{Map, Value};

use super::report::{Breach, Rule};
use crate::audio::SampleRate;

/// What a `promptStart` fixes for the life of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) name: String,
    pub(super) output_rate: SampleRate,
}

/// A `contentStart`, with the parts that depend on its type checked.
pub(super) struct ContentStart<'a> {
    pub(super) name: String,
    pub(super) kind: &'a str,
    pub(super) role: &'a str,
    pub(super) interactive: bool,
    /// Of an AUDIO content.
    pub(super) rate: Option<SampleRate>,
    /// Of a TOOL content.
    pub(super) tool_use: Option<&'a str>,
}

/// Checks a `sessionStart`.
pub(super) fn session_start(body: &Value, nova2: bool) -> Result<(), Breach> {
    let fields = object(body, Rule::Opening, "sessionStart")?;
    if fields.contains_key("endpointingSensitivity") {
        return Err(Breach::invalid(
            Rule::TurnDetection,
            "endpointingSensitivity is not nested under turnDetectionConfiguration",
        ));
    }
    only(
        fields,
        &["inferenceConfiguration", "turnDetectionConfiguration"],
        Rule::Opening,
        "sessionStart",
    )?;
    if let Some(inference) = fields.get("inferenceConfiguration") {
        let inference = object(inference, Rule::Opening, "inferenceConfiguration")?;
        only(
            inference,
            &["maxTokens", "topP", "temperature"],
            Rule::Opening,
            "inferenceConfiguration",
        )?;
        let good = |name: &str, accepts: fn(&Value) -> bool| match inference.get(name) {
            Some(value) if !accepts(value) => Err(Breach::invalid(
                Rule::Opening,
                format!("{name} is out of range: {value}"),
            )),
            _ => Ok(()),
        };
        let unit = |value: &Value| value.as_f64().is_some_and(|x| (0.0..=1.0).contains(&x));
        good("maxTokens", |value| {
            value.as_u64().is_some_and(|n| (1..=10_000).contains(&n))
        })?;
        good("topP", unit)?;
        good("temperature", unit)?;
    }
    if let Some(turns) = fields.get("turnDetectionConfiguration") {
        if !nova2 {
            return Err(Breach::invalid(
                Rule::TurnDetection,
                "turnDetectionConfiguration on a v1 model",
            ));
        }
        let turns = object(turns, Rule::TurnDetection, "turnDetectionConfiguration")?;
        exact(
            turns,
            &["endpointingSensitivity"],
            Rule::TurnDetection,
            "turnDetectionConfiguration",
        )?;
        let value = text(turns, "endpointingSensitivity");
        if !matches!(value, "HIGH" | "MEDIUM" | "LOW") {
            return Err(Breach::invalid(
                Rule::TurnDetection,
                format!("no such endpointingSensitivity: {value}"),
            ));
        }
    }
    Ok(())
}

/// Checks a `promptStart`.
pub(super) fn prompt_start(body: &Value, nova2: bool) -> Result<Prompt, Breach> {
    let fields = object(body, Rule::Opening, "promptStart")?;
    only(
        fields,
        &[
            "promptName",
            "textOutputConfiguration",
            "audioOutputConfiguration",
            "toolUseOutputConfiguration",
            "toolConfiguration",
        ],
        Rule::Opening,
        "promptStart",
    )?;
    let name = text(fields, "promptName");
    if name.is_empty() {
        return Err(Breach::invalid(Rule::Opening, "no promptName"));
    }
    media_type(
        fields,
        "textOutputConfiguration",
        "text/plain",
        Rule::Opening,
    )?;
    let output = fields
        .get("audioOutputConfiguration")
        .ok_or_else(|| Breach::invalid(Rule::AudioOutput, "no audioOutputConfiguration"))?;
    let output_rate = audio_format(
        output,
        Rule::AudioOutput,
        "audioOutputConfiguration",
        &[
            "mediaType",
            "sampleRateHertz",
            "sampleSizeBits",
            "channelCount",
            "voiceId",
            "encoding",
            "audioType",
        ],
    )?;
    let voice = output["voiceId"].as_str().unwrap_or_default();
    let voices = if nova2 { NOVA_2_VOICES } else { V1_VOICES };
    if !voices.contains(&voice) {
        return Err(Breach::fatal(
            Rule::AudioOutput,
            format!("no such voice: {voice}"),
            format!("Voice id {voice} is not supported"),
        ));
    }
    tools(fields)?;
    Ok(Prompt {
        name: name.to_owned(),
        output_rate,
    })
}

/// Checks the fields of a `contentStart` by its type.
pub(super) fn content_start(body: &Value) -> Result<ContentStart<'_>, Breach> {
    let fields = object(body, Rule::Block, "contentStart")?;
    let kind = text(fields, "type");
    let (configuration, rule) = match kind {
        "TEXT" => ("textInputConfiguration", Rule::Block),
        "AUDIO" => ("audioInputConfiguration", Rule::AudioContainer),
        "TOOL" => ("toolResultInputConfiguration", Rule::ToolResult),
        other => {
            return Err(Breach::invalid(
                Rule::Block,
                format!("no such content type: {other}"),
            ));
        }
    };
    exact(
        fields,
        &[
            "promptName",
            "contentName",
            "type",
            "interactive",
            "role",
            configuration,
        ],
        rule,
        "contentStart",
    )?;
    let name = text(fields, "contentName");
    let Some(interactive) = fields["interactive"].as_bool().filter(|_| !name.is_empty()) else {
        return Err(Breach::invalid(
            Rule::Block,
            "contentName must be a text and interactive a boolean",
        ));
    };
    let mut start = ContentStart {
        name: name.to_owned(),
        kind,
        role: text(fields, "role"),
        interactive,
        rate: None,
        tool_use: None,
    };
    match kind {
        "TEXT" => media_type(fields, configuration, "text/plain", rule)?,
        "AUDIO" => {
            start.rate = Some(audio_format(
                &fields[configuration],
                rule,
                configuration,
                &[
                    "mediaType",
                    "sampleRateHertz",
                    "sampleSizeBits",
                    "channelCount",
                    "audioType",
                    "encoding",
                ],
            )?);
        }
        _ => {
            let result = object(&fields[configuration], rule, configuration)?;
            exact(
                result,
                &["toolUseId", "type", "textInputConfiguration"],
                rule,
                configuration,
            )?;
            media_type(result, "textInputConfiguration", "text/plain", rule)?;
            if text(result, "type") != "TEXT" {
                return Err(Breach::invalid(rule, "the result's type is not TEXT"));
            }
            start.tool_use = result["toolUseId"].as_str();
        }
    }
    Ok(start)
}

/// The body of an event that has these fields and no others, all of them texts that are not
/// empty.
pub(super) fn names<'a>(
    body: &'a Value,
    event: &str,
    wanted: &[&str],
) -> Result<&'a Map<String, Value>, Breach> {
    let fields = object(body, Rule::Block, event)?;
    exact(fields, wanted, Rule::Block, event)?;
    for name in wanted {
        if text(fields, name).is_empty() {
            return Err(Breach::invalid(
                Rule::Block,
                format!("{name} of {event} must be a text that is not empty"),
            ));
        }
    }
    Ok(fields)
}

fn tools(prompt: &Map<String, Value>) -> Result<(), Breach> {
    let invalid = |detail: String| Err(Breach::invalid(Rule::Tools, detail));
    let (output, configuration) = (
        prompt.get("toolUseOutputConfiguration"),
        prompt.get("toolConfiguration"),
    );
    let configuration = match (output, configuration) {
        (None, None) => return Ok(()),
        (Some(_), Some(configuration)) => object(configuration, Rule::Tools, "toolConfiguration")?,
        _ => {
            return invalid(
                "toolUseOutputConfiguration and toolConfiguration come together or not at all"
                    .into(),
            );
        }
    };
    media_type(
        prompt,
        "toolUseOutputConfiguration",
        "application/json",
        Rule::Tools,
    )?;
    only(
        configuration,
        &["tools", "toolChoice"],
        Rule::Tools,
        "toolConfiguration",
    )?;
    let Some(tools) = configuration
        .get("tools")
        .and_then(Value::as_array)
        .filter(|tools| !tools.is_empty())
    else {
        return invalid("tools must be a list that is not empty".into());
    };
    let mut known = Vec::with_capacity(tools.len());
    for tool in tools {
        let tool = object(tool, Rule::Tools, "tool")?;
        exact(tool, &["toolSpec"], Rule::Tools, "tool")?;
        let spec = object(&tool["toolSpec"], Rule::Tools, "toolSpec")?;
        exact(
            spec,
            &["name", "description", "inputSchema"],
            Rule::Tools,
            "toolSpec",
        )?;
        let schema = object(&spec["inputSchema"], Rule::Tools, "inputSchema")?;
        exact(schema, &["json"], Rule::Tools, "inputSchema")?;
        let name = text(spec, "name");
        if name.is_empty() || known.contains(&name) {
            return invalid(format!("a tool's name is empty or used twice: {name}"));
        }
        known.push(name);
        let parsed = schema["json"].as_str().map(serde_json::from_str);
        if !matches!(parsed, Some(Ok(Value::Object(_)))) {
            return invalid(format!(
                "the schema of {name} is not the text of a JSON object"
            ));
        }
    }
    let Some(choice) = configuration.get("toolChoice") else {
        return Ok(());
    };
    let choice = object(choice, Rule::Tools, "toolChoice")?;
    let good = match choice.iter().next() {
        Some((name, Value::Object(how))) if choice.len() == 1 => match name.as_str() {
            "auto" | "any" => how.is_empty(),
            "tool" => how.len() == 1 && known.contains(&text(how, "name")),
            _ => false,
        },
        _ => false,
    };
    if good {
        Ok(())
    } else {
        invalid("no such toolChoice".into())
    }
}

fn audio_format(
    format: &Value,
    rule: Rule,
    name: &str,
    wanted: &[&str],
) -> Result<SampleRate, Breach> {
    let fields = object(format, rule, name)?;
    exact(fields, wanted, rule, name)?;
    for (field, value) in [
        ("mediaType", "audio/lpcm"),
        ("encoding", "base64"),
        ("audioType", "SPEECH"),
    ] {
        if text(fields, field) != value {
            return Err(Breach::invalid(
                rule,
                format!("{field} of {name} is not {value}"),
            ));
        }
    }
    for (field, value) in [("sampleSizeBits", 16), ("channelCount", 1)] {
        if fields[field].as_u64() != Some(value) {
            return Err(Breach::invalid(
                rule,
                format!("{field} of {name} is not {value}"),
            ));
        }
    }
    fields["sampleRateHertz"]
        .as_u64()
        .and_then(|hertz| SampleRate::from_hertz(u32::try_from(hertz).ok()?))
        .ok_or_else(|| {
            Breach::invalid(
                rule,
                format!("sampleRateHertz of {name} is not 8000, 16000 or 24000"),
            )
        })
}

fn media_type(
    fields: &Map<String, Value>,
    name: &str,
    wanted: &str,
    rule: Rule,
) -> Result<(), Breach> {
    let good = fields
        .get(name)
        .and_then(Value::as_object)
        .is_some_and(|f| f.len() == 1 && text(f, "mediaType") == wanted);
    if good {
        Ok(())
    } else {
        Err(Breach::invalid(
            rule,
            format!("{name} is not {{\"mediaType\":\"{wanted}\"}}"),
        ))
    }
}

fn object<'a>(value: &'a Value, rule: Rule, name: &str) -> Result<&'a Map<String, Value>, Breach> {
    value
        .as_object()
        .ok_or_else(|| Breach::invalid(rule, format!("{name} is not an object")))
}

/// All of `wanted` and nothing else.
fn exact(
    fields: &Map<String, Value>,
    wanted: &[&str],
    rule: Rule,
    name: &str,
) -> Result<(), Breach> {
    if let Some(missing) = wanted.iter().find(|field| !fields.contains_key(**field)) {
        return Err(Breach::invalid(rule, format!("{name} lacks {missing}")));
    }
    only(fields, wanted, rule, name)
}

/// Nothing but `known`.
fn only(fields: &Map<String, Value>, known: &[&str], rule: Rule, name: &str) -> Result<(), Breach> {
    match fields.keys().find(|field| !known.contains(&field.as_str())) {
        Some(other) => Err(Breach::invalid(
            rule,
            format!("{name} has the unknown field {other}"),
        )),
        None => Ok(()),
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Nova 2 user guide, language support.
const NOVA_2_VOICES: &[&str] = &[
    "tiffany", "matthew", "amy", "olivia", "kiara", "arjun", "ambre", "florian", "beatrice",
    "lorenzo", "tina", "lennart", "lupe", "carlos", "carolina", "leo",
];

/// Nova v1 user guide, available voices.
const V1_VOICES: &[&str] = &[
    "matthew", "tiffany", "amy", "lupe", "carlos", "ambre", "florian", "greta", "lennart",
    "beatrice", "lorenzo",
];
