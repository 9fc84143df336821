use serde_json::{Value, json};

use crate::{
    call::CallId,
    model::Said,
    tool::{ToolCallId, ToolOutput, ToolResult, ToolSpec},
};

use super::*;

const NOVA_2: &str = "amazon.nova-2-sonic-v1:0";

/// The one event in `bytes`: its name and its body.
fn parse(bytes: &[u8]) -> (String, Value) {
    let document: Value = serde_json::from_slice(bytes).unwrap();
    let document = document.as_object().unwrap();
    assert_eq!(document.len(), 1, "only the key `event`");
    let event = document["event"].as_object().unwrap();
    assert_eq!(event.len(), 1, "only one event name");
    let (name, body) = event.iter().next().unwrap();
    (name.clone(), body.clone())
}

fn opening_of(config: &NovaSonicConfig, seed: &SessionSeed) -> Vec<(String, Value)> {
    Encoder::new()
        .opening(config, Features::of(&config.model_id), seed)
        .iter()
        .map(|bytes| parse(bytes))
        .collect()
}

fn seed(instructions: &str) -> SessionSeed {
    SessionSeed::new(CallId::new("call-1"), instructions, SampleRate::Hz16000)
}

/// Nova Sonic checklist 4, 8 and 10.
#[test]
fn a_session_opens_with_session_start_and_prompt_start() {
    let mut seed = seed("Sell nothing.");
    seed.output_rate = SampleRate::Hz24000;
    let config = NovaSonicConfig {
        voice: " Matthew ".to_owned(),
        ..NovaSonicConfig::default()
    };
    let events = opening_of(&config, &seed);
    assert_eq!(events[0].0, "sessionStart");
    assert_eq!(events[1].0, "promptStart");
    assert_eq!(
        events[1].1["audioOutputConfiguration"],
        json!({
            "mediaType": "audio/lpcm", "sampleRateHertz": 24000, "sampleSizeBits": 16,
            "channelCount": 1, "voiceId": "matthew", "encoding": "base64",
            "audioType": "SPEECH",
        })
    );
    assert_eq!(
        events[1].1["textOutputConfiguration"],
        json!({ "mediaType": "text/plain" })
    );
    assert_eq!(
        events
            .iter()
            .filter(|(name, _)| name == "sessionStart" || name == "promptStart")
            .count(),
        2
    );
}

/// Nova Sonic checklist 11: without tools, nothing about tools.
#[test]
fn a_prompt_without_tools_does_not_mention_them() {
    let (_, prompt) = &opening_of(&NovaSonicConfig::default(), &seed("Hi."))[1];
    assert_eq!(prompt.as_object().unwrap().len(), 3);
}

/// Nova Sonic checklist 11.
#[test]
fn tools_are_offered_with_their_schemas_as_text() {
    let mut seed = seed("Hi.");
    let parameters = json!({"type": "object", "properties": {"code": {"type": "string"}}});
    let Value::Object(parameters) = parameters else {
        panic!("an object")
    };
    seed.tools = [ToolSpec::new(
        "look_up",
        "Finds a \"booking\".",
        parameters.clone(),
    )]
    .into();
    let (_, prompt) = &opening_of(&NovaSonicConfig::default(), &seed)[1];
    assert_eq!(
        prompt["toolUseOutputConfiguration"],
        json!({ "mediaType": "application/json" })
    );
    let configuration = &prompt["toolConfiguration"];
    assert_eq!(configuration["toolChoice"], json!({ "auto": {} }));
    let spec = &configuration["tools"][0]["toolSpec"];
    assert_eq!(spec["name"], "look_up");
    assert_eq!(spec["description"], "Finds a \"booking\".");
    let schema = spec["inputSchema"]["json"].as_str().unwrap();
    let schema: Value = serde_json::from_str(schema).unwrap();
    assert_eq!(schema, Value::Object(parameters));
}

#[test]
fn a_seed_may_ask_for_a_voice_of_its_own() {
    let mut seed = seed("Hi.");
    seed.voice = Some(" Matthew ".to_owned());
    let (_, prompt) = &opening_of(&NovaSonicConfig::default(), &seed)[1];
    assert_eq!(prompt["audioOutputConfiguration"]["voiceId"], "matthew");
}

/// Nova Sonic checklist 9.
#[test]
fn sensitivity_is_nested_for_nova_2_and_absent_for_the_first_generation() {
    let session_start = |model: &str| {
        let config = NovaSonicConfig {
            model_id: model.to_owned(),
            endpointing: Some(Sensitivity::High),
            max_tokens: 2048,
            top_p: 0.9,
            temperature: 0.7,
            ..NovaSonicConfig::default()
        };
        opening_of(&config, &seed("Hi."))[0].1.clone()
    };
    let inference = json!({ "maxTokens": 2048, "topP": 0.9_f32, "temperature": 0.7_f32 });
    let nova_2 = session_start(NOVA_2);
    assert_eq!(
        nova_2["turnDetectionConfiguration"],
        json!({ "endpointingSensitivity": "HIGH" })
    );
    assert!(nova_2.get("endpointingSensitivity").is_none());
    let nova_1 = session_start("amazon.nova-sonic-v1:0");
    assert_eq!(nova_1.as_object().unwrap().len(), 1);
    assert!(nova_1["inferenceConfiguration"]["topP"].is_number());
    assert_eq!(
        nova_1["inferenceConfiguration"]["maxTokens"],
        inference["maxTokens"]
    );
}

#[test]
fn fractions_are_written_as_people_write_them() {
    let start = &Encoder::new().opening(
        &NovaSonicConfig::default(),
        Features::of(NOVA_2),
        &seed("Hi."),
    )[0];
    let text = std::str::from_utf8(start).unwrap();
    assert!(text.contains(r#""topP":0.9,"temperature":0.7"#), "{text}");
}

/// Nova Sonic checklist 12, 13 and 14.
#[test]
fn one_system_block_comes_first_and_history_follows_it() {
    let mut seed = seed("You are Esther.");
    seed.history = vec![
        Said {
            speaker: Speaker::Caller,
            text: "Hello.".to_owned(),
        },
        Said {
            speaker: Speaker::Agent,
            text: "Good morning.".to_owned(),
        },
    ];
    let events = opening_of(&NovaSonicConfig::default(), &seed);
    let mut names = Vec::new();
    let blocks: Vec<_> = events[2..].chunks(3).collect();
    for block in &blocks {
        let [(start, body), (payload, _), (end, _)] = block else {
            panic!("a block of three events")
        };
        assert_eq!(
            [start.as_str(), payload, end],
            ["contentStart", "textInput", "contentEnd"]
        );
        assert_eq!(body["type"], "TEXT");
        assert_eq!(body["interactive"], false);
        assert_eq!(
            body["textInputConfiguration"],
            json!({ "mediaType": "text/plain" })
        );
        for (_, body) in *block {
            assert_eq!(body["contentName"], block[0].1["contentName"]);
            assert_eq!(body["promptName"], events[1].1["promptName"]);
        }
        names.push(block[0].1["contentName"].clone());
    }
    let roles: Vec<_> = blocks.iter().map(|b| b[0].1["role"].clone()).collect();
    assert_eq!(roles, ["SYSTEM", "USER", "ASSISTANT"]);
    assert_eq!(blocks[2][1].1["content"], "Good morning.");
    names.dedup();
    assert_eq!(names.len(), 3, "names are unique");
}

/// Nova Sonic checklist 12 and 14: long text is split, and never inside a character.
#[test]
fn a_long_prompt_is_one_block_of_several_pieces() {
    let instructions = "é€𝄞 and so on. ".repeat(1_000);
    let events = opening_of(&NovaSonicConfig::default(), &seed(&instructions));
    let texts: Vec<_> = events
        .iter()
        .filter(|(name, _)| name == "textInput")
        .map(|(_, body)| body["content"].as_str().unwrap().to_owned())
        .collect();
    assert!(texts.len() > 4);
    assert!(texts.iter().all(|text| text.len() <= TEXT_PIECE));
    assert_eq!(texts.concat(), instructions.trim());
    assert_eq!(
        events
            .iter()
            .filter(|(name, _)| name == "contentStart")
            .count(),
        1
    );
}

/// Nova Sonic checklist 12: the system block exists and has content, whatever the seed says.
#[test]
fn a_seed_without_instructions_still_has_a_system_prompt() {
    let events = opening_of(&NovaSonicConfig::default(), &seed(" \n"));
    assert_eq!(events[3].1["content"], FALLBACK_INSTRUCTIONS);
}

/// Nova Sonic checklist 15.
#[test]
fn audio_goes_into_one_interactive_container_as_base64() {
    let encoder = Encoder::new();
    let (name, start) = parse(&encoder.audio_start(SampleRate::Hz8000));
    assert_eq!(name, "contentStart");
    assert_eq!(start["type"], "AUDIO");
    assert_eq!(start["role"], "USER");
    assert_eq!(start["interactive"], true);
    assert_eq!(start["audioInputConfiguration"]["sampleRateHertz"], 8000);
    assert_eq!(
        start["audioInputConfiguration"].as_object().unwrap().len(),
        6
    );
    for length in [0, 2, 320, 640, 1280, 1920] {
        let pcm: Vec<u8> = (0..=255).cycle().take(length).collect();
        let (name, input) = parse(&encoder.audio(&pcm));
        assert_eq!(name, "audioInput");
        assert_eq!(input["contentName"], start["contentName"]);
        assert_eq!(input["promptName"], start["promptName"]);
        let content = STANDARD.decode(input["content"].as_str().unwrap());
        assert_eq!(content.unwrap(), pcm);
    }
}

/// Nova Sonic checklist 13: an interactive block is whole, and its name is fresh.
#[test]
fn text_for_the_model_to_answer_is_interactive_text_of_the_user() {
    let encoder = Encoder::new();
    let names: Vec<_> = (0..2)
        .map(|_| {
            let events = encoder.interactive_text("Say \"hello\"\nin two lines.");
            assert_eq!(events.len(), 3);
            let (_, start) = parse(&events[0]);
            assert_eq!(start["role"], "USER");
            assert_eq!(start["interactive"], true);
            let (_, text) = parse(&events[1]);
            assert_eq!(text["content"], "Say \"hello\"\nin two lines.");
            start["contentName"].clone()
        })
        .collect();
    assert_ne!(names[0], names[1]);
}

/// Nova Sonic checklist 30: the content is a string that parses to an object.
#[test]
fn a_result_is_an_object_in_a_string() {
    let result = ToolResult {
        id: ToolCallId::new("use-7"),
        output: ToolOutput::error("no such \"tool\""),
    };
    let events = Encoder::new().tool_result(&result);
    let (_, start) = parse(&events[0]);
    assert_eq!(start["type"], "TOOL");
    assert_eq!(start["role"], "TOOL");
    assert_eq!(
        start["toolResultInputConfiguration"],
        json!({
            "toolUseId": "use-7", "type": "TEXT",
            "textInputConfiguration": { "mediaType": "text/plain" },
        })
    );
    let (name, result) = parse(&events[1]);
    assert_eq!(name, "toolResult");
    let content: Value = serde_json::from_str(result["content"].as_str().unwrap()).unwrap();
    assert_eq!(content, json!({ "error": "no such \"tool\"" }));
    assert_eq!(parse(&events[2]).0, "contentEnd");
}

/// Nova Sonic checklist 45, the order of the events.
#[test]
fn a_session_closes_audio_then_prompt_then_itself() {
    let encoder = Encoder::new();
    let (_, start) = parse(&encoder.audio_start(SampleRate::Hz16000));
    let [content, prompt, session] = encoder.closing().map(|event| parse(&event));
    assert_eq!(content.0, "contentEnd");
    assert_eq!(content.1["contentName"], start["contentName"]);
    assert_eq!(
        prompt,
        (
            "promptEnd".to_owned(),
            json!({ "promptName": start["promptName"] })
        )
    );
    assert_eq!(session, ("sessionEnd".to_owned(), json!({})));
}
