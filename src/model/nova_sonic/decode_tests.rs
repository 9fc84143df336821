use serde_json::{Value, json};

use super::*;

use ModelEvent::{AgentSaid, Audio, CallerSaid, Caption, Interrupted, ReplyEnded};

/// One session's output, fed event by event.
struct Stream(Decoder);

impl Stream {
    fn new() -> Self {
        Self(Decoder::new(SampleRate::Hz16000))
    }

    fn raw(&mut self, json: &str) -> Vec<ModelEvent> {
        let mut out = Vec::new();
        self.0.decode(json.as_bytes(), &mut |event| out.push(event));
        out
    }

    fn event(&mut self, name: &str, mut body: Value) -> Vec<ModelEvent> {
        for (key, id) in [
            ("sessionId", "s"),
            ("promptName", "p"),
            ("completionId", "k"),
        ] {
            body[key] = id.into();
        }
        self.raw(&json!({ "event": { name: body } }).to_string())
    }

    fn start_text(&mut self, id: &str, role: &str, stage: &str) {
        let fields = json!({ "generationStage": stage }).to_string();
        let events = self.event(
            "contentStart",
            json!({
                "contentId": id, "type": "TEXT", "role": role, "additionalModelFields": fields,
                "textOutputConfiguration": { "mediaType": "text/plain" },
            }),
        );
        assert_eq!(events, []);
    }

    fn text(&mut self, id: &str, role: &str, text: &str) -> Vec<ModelEvent> {
        self.event(
            "textOutput",
            json!({ "contentId": id, "role": role, "content": text }),
        )
    }

    fn end(&mut self, id: &str, kind: &str, reason: &str) -> Vec<ModelEvent> {
        self.event(
            "contentEnd",
            json!({ "contentId": id, "type": kind, "stopReason": reason }),
        )
    }

    fn start_audio(&mut self, id: &str) {
        let events = self.event(
            "contentStart",
            json!({
                "contentId": id, "type": "AUDIO", "role": "ASSISTANT",
                "audioOutputConfiguration": {
                    "mediaType": "audio/lpcm", "sampleRateHertz": 16000, "sampleSizeBits": 16,
                    "channelCount": 1, "encoding": "base64",
                },
            }),
        );
        assert_eq!(events, []);
    }

    fn audio(&mut self, id: &str, bytes: &[u8]) -> Vec<ModelEvent> {
        let content = base64::engine::general_purpose::STANDARD.encode(bytes);
        self.event(
            "audioOutput",
            json!({ "contentId": id, "content": content }),
        )
    }

    fn whole_text(&mut self, id: &str, role: &str, stage: &str, text: &str) -> Vec<ModelEvent> {
        self.start_text(id, role, stage);
        let mut events = self.text(id, role, text);
        events.extend(self.end(id, "TEXT", "PARTIAL_TURN"));
        events
    }

    /// A whole spoken sentence, planned and sounded.
    fn sentence(&mut self, id: &str, text: &str, last: bool) -> Vec<ModelEvent> {
        let mut events = self.whole_text(&format!("{id}-t"), "ASSISTANT", "SPECULATIVE", text);
        let audio = format!("{id}-a");
        self.start_audio(&audio);
        events.extend(self.audio(&audio, &[1, 0]));
        events.extend(self.end(
            &audio,
            "AUDIO",
            if last { "END_TURN" } else { "PARTIAL_TURN" },
        ));
        events
    }

    fn marker(&mut self, id: &str) -> Vec<ModelEvent> {
        self.start_text(id, "ASSISTANT", "FINAL");
        self.text(id, "ASSISTANT", "{ \"interrupted\" : true }")
    }
}

fn sound(reply: u64, bytes: &'static [u8]) -> ModelEvent {
    Audio(
        ReplyId(reply),
        AudioFrame::new(Bytes::from_static(bytes), SampleRate::Hz16000),
    )
}

fn caption(reply: u64, text: &str) -> ModelEvent {
    Caption(ReplyId(reply), text.to_owned())
}

fn agent_said(text: &str) -> ModelEvent {
    AgentSaid(text.to_owned())
}

/// Nova Sonic checklist 20: FINAL text once, SPECULATIVE text as a caption only.
#[test]
fn a_turn_is_captions_with_audio_and_then_what_was_said() {
    let mut s = Stream::new();
    assert_eq!(
        s.event("completionStart", json!({})),
        [],
        "completions say nothing about turns"
    );
    assert_eq!(
        s.whole_text("u1", "USER", "FINAL", " Is it open today? "),
        [CallerSaid("Is it open today?".to_owned())]
    );
    assert_eq!(
        s.sentence("1", "Yes, it is.", false),
        [caption(1, "Yes, it is."), sound(1, &[1, 0])]
    );
    assert_eq!(
        s.sentence("2", "Until six.", true),
        [
            caption(1, "Until six."),
            sound(1, &[1, 0]),
            ReplyEnded(ReplyId(1))
        ]
    );
    assert_eq!(
        s.whole_text("f1", "ASSISTANT", "FINAL", "Yes, it is."),
        [agent_said("Yes, it is.")]
    );
    assert_eq!(
        s.whole_text("f2", "ASSISTANT", "FINAL", "Until six."),
        [agent_said("Until six.")]
    );
}

/// Nova Sonic checklist 20: the same final sentence in a second block.
#[test]
fn a_final_sentence_that_comes_twice_is_said_once() {
    let mut s = Stream::new();
    s.sentence("1", "Of course.", true);
    assert_eq!(
        s.whole_text("f1", "ASSISTANT", "FINAL", "Of course.").len(),
        1
    );
    assert_eq!(s.whole_text("f2", "ASSISTANT", "FINAL", "Of course."), []);
    // Planned twice, it may be said twice.
    s.sentence("2", "Of course.", true);
    assert_eq!(
        s.whole_text("f3", "ASSISTANT", "FINAL", "Of course.").len(),
        1
    );
}

#[test]
fn text_in_several_pieces_is_passed_on_piece_by_piece_and_once() {
    let mut s = Stream::new();
    s.start_text("t", "ASSISTANT", "SPECULATIVE");
    assert_eq!(s.text("t", "ASSISTANT", "One "), [caption(1, "One")]);
    assert_eq!(s.text("t", "ASSISTANT", "two."), [caption(1, "two.")]);
    assert_eq!(s.end("t", "TEXT", "PARTIAL_TURN"), []);
}

/// Nova Sonic checklist 21 and 22: turns are counted by audio, and late text begins none.
#[test]
fn late_final_text_begins_no_reply() {
    let mut s = Stream::new();
    s.sentence("1", "First.", true);
    assert_eq!(
        s.whole_text("f1", "ASSISTANT", "FINAL", "First."),
        [agent_said("First.")]
    );
    assert_eq!(s.sentence("2", "Second.", true)[0], caption(2, "Second."));
    assert_eq!(
        s.event("completionEnd", json!({ "stopReason": "END_TURN" })),
        []
    );
}

/// Nova Sonic checklist 22.
#[test]
fn audio_without_text_is_a_reply_too() {
    let mut s = Stream::new();
    s.start_audio("a");
    assert_eq!(s.audio("a", &[1, 0]), [sound(1, &[1, 0])]);
    assert_eq!(s.end("a", "AUDIO", "END_TURN"), [ReplyEnded(ReplyId(1))]);
    assert_eq!(s.end("a", "AUDIO", "END_TURN"), [], "once");
}

/// Nova Sonic checklist 25: each signal alone.
#[test]
fn each_of_the_three_signals_interrupts() {
    let mut by_marker = Stream::new();
    by_marker.sentence("1", "Well then.", false);
    assert_eq!(by_marker.marker("m"), [Interrupted]);

    let mut by_text = Stream::new();
    by_text.sentence("1", "Well then.", false);
    by_text.start_text("f", "ASSISTANT", "FINAL");
    assert_eq!(by_text.text("f", "ASSISTANT", "Well"), [agent_said("Well")]);
    assert_eq!(by_text.end("f", "TEXT", "INTERRUPTED"), [Interrupted]);

    let mut by_audio = Stream::new();
    by_audio.sentence("1", "Well then.", false);
    by_audio.start_audio("a");
    assert_eq!(by_audio.end("a", "AUDIO", "INTERRUPTED"), [Interrupted]);
}

/// Nova Sonic checklist 25: together they are still one; and 26: also when the audio ended first.
#[test]
fn all_signals_of_one_turn_interrupt_once() {
    let mut s = Stream::new();
    s.sentence("1", "Well then.", false);
    s.start_audio("a");
    assert_eq!(s.marker("m"), [Interrupted]);
    assert_eq!(s.end("m", "TEXT", "INTERRUPTED"), []);
    assert_eq!(s.end("a", "AUDIO", "INTERRUPTED"), []);
    assert_eq!(s.marker("m2"), []);
}

/// Nova Sonic checklist 26.
#[test]
fn a_turn_whose_audio_is_complete_can_still_be_interrupted() {
    let mut s = Stream::new();
    let events = s.sentence("1", "Well then.", true);
    assert_eq!(events.last(), Some(&ReplyEnded(ReplyId(1))));
    s.start_text("f", "ASSISTANT", "FINAL");
    assert_eq!(s.end("f", "TEXT", "INTERRUPTED"), [Interrupted]);
}

/// Nova Sonic checklist 25: a late signal of a turn that was interrupted already.
#[test]
fn a_late_sentence_of_the_old_turn_does_not_cut_the_new_one() {
    let mut s = Stream::new();
    s.sentence("1", "An old sentence.", false);
    assert_eq!(s.marker("m"), [Interrupted]);
    s.whole_text("u", "USER", "FINAL", "Wait.");
    s.sentence("2", "A new sentence.", false);
    s.start_text("f", "ASSISTANT", "FINAL");
    assert_eq!(s.text("f", "ASSISTANT", "An old"), [agent_said("An old")]);
    assert_eq!(s.end("f", "TEXT", "INTERRUPTED"), []);
}

/// Nova Sonic checklist 27.
#[test]
fn the_marker_is_known_by_its_meaning() {
    for marker in [
        "{ \"interrupted\" : true }",
        "{\"interrupted\":true}",
        "\n\t{\"interrupted\" :\ttrue}  ",
    ] {
        assert!(is_interruption_marker(marker), "{marker}");
    }
    for text in [
        "I was interrupted, sorry.",
        "interrupted",
        "{ \"interrupted\" : false }",
        "{ \"interrupted\" : \"true\" }",
        "The log says { \"interrupted\" : true } here.",
        "{}",
        "{",
        "true",
    ] {
        assert!(!is_interruption_marker(text), "{text}");
    }
    let mut s = Stream::new();
    s.sentence("1", "Well then.", false);
    assert_eq!(
        s.whole_text("f", "ASSISTANT", "FINAL", "You interrupted me."),
        [agent_said("You interrupted me.")]
    );
}

/// Nova Sonic checklist 28.
#[test]
fn after_an_interruption_only_audio_of_new_blocks_is_heard() {
    let mut s = Stream::new();
    s.start_audio("old");
    assert_eq!(s.audio("old", &[1, 0]), [sound(1, &[1, 0])]);
    assert_eq!(s.marker("m"), [Interrupted]);
    assert_eq!(s.audio("old", &[2, 0]), []);
    s.start_audio("new");
    assert_eq!(s.audio("old", &[3, 0]), []);
    assert_eq!(s.audio("new", &[4, 0]), [sound(2, &[4, 0])]);
    assert_eq!(s.end("old", "AUDIO", "END_TURN"), [], "it ended long ago");
    assert_eq!(s.end("new", "AUDIO", "END_TURN"), [ReplyEnded(ReplyId(2))]);
}

/// Nova Sonic checklist 20: marker text is nobody's words.
#[test]
fn the_marker_is_never_text() {
    let mut s = Stream::new();
    assert_eq!(s.marker("m"), [], "nothing to interrupt yet");
    s.sentence("1", "Well then.", false);
    assert_eq!(s.marker("m"), [Interrupted]);
}

/// Nova Sonic checklist 23.
#[test]
fn unknown_events_and_fields_are_skipped() {
    let mut s = Stream::new();
    for json in [
        r#"{"event":{"userSpeechEnd":{"at":1}}}"#,
        r#"{"event":{"somethingNew":[1,2,3]}}"#,
        r#"{"event":{},"p":"padding"}"#,
        r#"{"event":{"contentStart":{"contentId":"x","type":"VIDEO"}}}"#,
        r#"{"event":{"contentEnd":{"contentId":"x","type":"VIDEO","stopReason":"WHATEVER"}}}"#,
        r#"{"event":{"contentEnd":{"contentId":"never-started"}}}"#,
    ] {
        assert_eq!(s.raw(json), [], "{json}");
    }
    assert_eq!(s.0.malformed(), 0);
    let with_more = r#"{"event":{"textOutput":{"content":"Hi.","role":"USER","mood":"good"}}}"#;
    assert_eq!(s.raw(with_more), [CallerSaid("Hi.".to_owned())]);
}

/// Nova Sonic checklist 23.
#[test]
fn a_missing_role_or_stage_is_made_up_for() {
    let mut s = Stream::new();
    let start = |id: &str| json!({ "contentId": id, "type": "TEXT" });
    s.event("contentStart", start("u"));
    assert_eq!(
        s.text("u", "USER", "Hello."),
        [CallerSaid("Hello.".to_owned())]
    );
    let mut planned = start("t");
    planned["role"] = "ASSISTANT".into();
    s.event("contentStart", planned);
    assert_eq!(
        s.event("textOutput", json!({ "contentId": "t", "content": "Hi." })),
        [caption(1, "Hi.")]
    );
    s.event("contentStart", start("n"));
    assert_eq!(
        s.event("textOutput", json!({ "contentId": "n", "content": "?" })),
        [],
        "words of nobody are not put in anybody's mouth"
    );
    s.event("contentStart", json!({ "contentId": "a", "type": "AUDIO" }));
    assert_eq!(s.audio("a", &[1, 0]), [sound(1, &[1, 0])]);
    let content = base64::engine::general_purpose::STANDARD.encode([2, 0]);
    assert_eq!(
        s.event("audioOutput", json!({ "content": content })),
        [sound(1, &[2, 0])]
    );
}

/// Nova Sonic checklist 23: without any role, the stage and the plans tell who spoke.
#[test]
fn text_without_any_role_is_told_apart_by_what_was_planned() {
    let mut s = Stream::new();
    let start = |id: &str, stage: &str| {
        json!({
            "contentId": id, "type": "TEXT",
            "additionalModelFields": json!({ "generationStage": stage }).to_string(),
        })
    };
    let text = |id: &str, text: &str| json!({ "contentId": id, "content": text });
    s.event("contentStart", start("u", "FINAL"));
    assert_eq!(
        s.event("textOutput", text("u", "Hello?")),
        [CallerSaid("Hello?".to_owned())]
    );
    s.event("contentStart", start("t", "SPECULATIVE"));
    assert_eq!(
        s.event("textOutput", text("t", "Good morning.")),
        [caption(1, "Good morning.")]
    );
    s.event("contentStart", start("f", "FINAL"));
    assert_eq!(
        s.event("textOutput", text("f", "Good morning.")),
        [agent_said("Good morning.")]
    );
}

/// Nova Sonic checklist 20: a plan that comes twice is one caption.
#[test]
fn a_plan_that_comes_twice_is_one_caption() {
    let mut s = Stream::new();
    let plan = |s: &mut Stream, id| s.whole_text(id, "ASSISTANT", "SPECULATIVE", "Yes.");
    assert_eq!(plan(&mut s, "1"), [caption(1, "Yes.")]);
    assert_eq!(plan(&mut s, "2"), []);
    s.start_audio("a");
    assert_eq!(plan(&mut s, "3"), [caption(1, "Yes.")]);
}

#[test]
fn text_that_was_sent_for_the_caller_is_not_what_the_caller_said() {
    let mut s = Stream::new();
    s.0.asked("The caller pressed 4.".to_owned());
    assert_eq!(
        s.whole_text("u1", "USER", "FINAL", "The caller pressed 4."),
        []
    );
    assert_eq!(
        s.whole_text("u2", "USER", "FINAL", "The caller pressed 4."),
        [CallerSaid("The caller pressed 4.".to_owned())],
        "once"
    );
}

#[test]
fn unreadable_documents_are_counted_and_skipped() {
    let mut s = Stream::new();
    for (count, json) in [
        "",
        "{",
        "[]",
        "null",
        r#"{"event":{"textOutput":7}}"#,
        "\u{0}",
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(s.raw(json), []);
        assert_eq!(s.0.malformed(), count as u64 + 1, "{json}");
    }
    s.start_audio("a");
    assert_eq!(
        s.event("audioOutput", json!({ "contentId": "a", "content": "*" })),
        []
    );
    assert_eq!(s.0.malformed(), 7);
    assert_eq!(s.audio("a", &[1, 0]).len(), 1, "the next piece is heard");
}

#[test]
fn a_sample_split_over_two_events_is_put_together() {
    let mut s = Stream::new();
    s.start_audio("a");
    assert_eq!(s.audio("a", &[1, 0, 2]), [sound(1, &[1, 0])]);
    assert_eq!(s.audio("a", &[0, 3, 0]), [sound(1, &[2, 0, 3, 0])]);
    assert_eq!(s.audio("a", &[4]), []);
    assert_eq!(s.audio("a", &[0]), [sound(1, &[4, 0])]);
}

#[test]
fn audio_has_the_rate_that_its_block_says() {
    let mut s = Stream::new();
    for (hertz, rate) in [(8_000, SampleRate::Hz8000), (24_000, SampleRate::Hz24000)] {
        s.event(
            "contentStart",
            json!({
                "contentId": "a", "type": "AUDIO",
                "audioOutputConfiguration": { "sampleRateHertz": hertz },
            }),
        );
        let [Audio(_, frame)] = &s.audio("a", &[1, 0])[..] else {
            panic!("audio")
        };
        assert_eq!(frame.rate(), rate);
    }
    s.event(
        "contentStart",
        json!({
            "contentId": "a", "type": "AUDIO",
            "audioOutputConfiguration": { "sampleRateHertz": 44_100 },
        }),
    );
    assert_eq!(s.audio("a", &[1, 0]), [], "a rate that nothing can play");
}

/// Nova Sonic checklist 24: deltas and totals agree.
#[test]
fn usage_is_what_came_on_top_whether_told_as_delta_or_as_total() {
    let usage = |speech_in, text_in, speech_out, text_out| {
        ModelEvent::Usage(Usage {
            input_speech_tokens: speech_in,
            input_text_tokens: text_in,
            output_speech_tokens: speech_out,
            output_text_tokens: text_out,
        })
    };
    let tokens = |si, ti, so, to| {
        json!({
            "input": { "speechTokens": si, "textTokens": ti },
            "output": { "speechTokens": so, "textTokens": to },
        })
    };
    let mut s = Stream::new();
    let delta =
        json!({ "details": { "delta": tokens(40, 10, 5, 2), "total": tokens(40, 10, 5, 2) } });
    assert_eq!(s.event("usageEvent", delta), [usage(40, 10, 5, 2)]);
    let total = json!({ "details": { "total": tokens(45, 10, 9, 3) } });
    assert_eq!(s.event("usageEvent", total.clone()), [usage(5, 0, 4, 1)]);
    assert_eq!(s.event("usageEvent", total), [], "nothing on top");
    let bare = json!({ "totalInputTokens": 60, "totalOutputTokens": 13, "totalTokens": 73 });
    assert_eq!(s.event("usageEvent", bare), [usage(5, 0, 1, 0)]);
}

/// Nova Sonic checklist 31: a use is seen whatever its arguments look like, and they are passed on
/// as they are.
#[test]
fn a_use_of_a_tool_is_reported_with_its_arguments_as_they_are() {
    let mut s = Stream::new();
    for content in ["\"\"", r#""{\"a\":1}""#, r#""\"{}\"""#] {
        let json = format!(
            r#"{{"event":{{"toolUse":{{"toolName":"look","toolUseId":"u-1","content":{content}}}}}}}"#
        );
        let call = ToolCall {
            id: ToolCallId::new("u-1"),
            name: "look".to_owned(),
            arguments: serde_json::from_str(content).unwrap(),
        };
        assert_eq!(s.raw(&json), [ModelEvent::ToolCall(call)]);
    }
}

#[test]
fn a_use_without_an_id_cannot_be_answered_and_is_skipped() {
    let mut s = Stream::new();
    let json = r#"{"event":{"toolUse":{"toolName":"look","content":"{}"}}}"#;
    assert_eq!(s.raw(json), []);
    assert_eq!(s.0.malformed(), 1);
}

#[test]
fn blocks_that_never_end_do_not_pile_up() {
    let mut s = Stream::new();
    for at in 0..1_000 {
        s.start_text(&at.to_string(), "USER", "FINAL");
    }
    assert_eq!(s.0.blocks.len(), MAX_BLOCKS);
}
