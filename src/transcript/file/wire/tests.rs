//! What is written is read again, whole or torn.

use proptest::prelude::*;

use super::*;
use crate::call::CallStatus;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_782_160_532_000 + millis).unwrap()
}

fn head(id: &str, number: Option<&str>) -> Header {
    Header {
        call: CallId::new(id),
        number: number.map(Party::new),
        direction: Direction::Outbound,
        started: at(0),
    }
}

fn said(seq: u64, speaker: Speaker, text: &str, cut: bool) -> Utterance {
    Utterance {
        seq,
        at: at(seq as i64 * 1_512),
        speaker,
        text: text.to_owned(),
        cut,
    }
}

fn summary() -> CallSummary {
    let mut summary = CallSummary::new(
        CallStatus::Completed,
        Outcome::Scheduled,
        at(93_400),
        Duration::from_millis(93_400),
    );
    summary.usage.input_speech_tokens = 7;
    summary
}

#[test]
fn a_transcript_reads_like_this() {
    let text = header(&head("5a3f", Some("12125550101")))
        + &line(&said(1, Speaker::Agent, "Good  morning,\nthis is", true))
        + &line(&said(2, Speaker::Caller, "Who *is* this?", false))
        + &footer(&summary());
    assert_eq!(
        text,
        "# Call 5a3f\n\n- Number: 12125550101\n- Direction: outbound\n\
         - Started: 2026-06-22T20:35:32.000Z\n\n\
         [2026-06-22T20:35:33.512Z] Assistant: Good morning, this is [cut]\n\n\
         [2026-06-22T20:35:35.024Z] Human: Who *is* this?\n\n---\n\n\
         - Ended: 2026-06-22T20:37:05.400Z\n- Duration: 93.4 s\n- Status: completed\n\
         - Tokens: speech 7 in, 0 out; text 0 in, 0 out\n- Outcome: scheduled\n"
    );
}

#[test]
fn words_that_look_like_marks_stay_words() {
    for text in [
        "[cut]",
        "a [cut]",
        "a [cut] [cut]",
        "",
        "---",
        "- Outcome: failed",
    ] {
        for cut in [false, true] {
            let given = said(1, Speaker::Caller, text, cut);
            let file = header(&head("a", None)) + &line(&given) + &footer(&summary());
            let read = parse(file.as_bytes()).unwrap();
            assert_eq!(read.lines, [given], "{text:?} {cut}");
            assert!(read.footer.is_some());
        }
    }
}

#[test]
fn what_no_torn_write_leaves_is_never_taken_for_one() {
    let whole = header(&head("a", None)) + &line(&said(1, Speaker::Agent, "Hello", false));
    for (tail, expected) in [
        ("\nNote to self\n", Some(9)),
        ("\nhalf\n\n[2026-06-22T20:35:32Z] Human: x\n", Some(9)),
        ("\n---\n\nNote to self\n", Some(11)),
        ("\n---\n\n- Outcome: nonsense\n", Some(11)),
        ("\n[2026-06-22T20:3\0\0\0\0\n", None),
        ("\n[2026-06-22T20:3", None),
        ("\n---\n\n- Ended: 2026", None),
    ] {
        let read = parse((whole.clone() + tail).as_bytes());
        match expected {
            Some(line) => assert_eq!(read.unwrap_err(), Unreadable::Line(line), "{tail:?}"),
            None => assert_eq!(read.unwrap().lines_end, whole.len(), "{tail:?}"),
        }
    }
    assert_eq!(parse(b"Dear diary\n").unwrap_err(), Unreadable::Header);
    assert_eq!(parse(b"").unwrap_err(), Unreadable::TornHeader);
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-zé ]{0,20}( \\[cut\\])?",
        "\\PC{0,300}",
        Just("] Human: ".to_owned()),
    ]
}

fn utterances() -> impl Strategy<Value = Vec<Utterance>> {
    let one = (any::<bool>(), text(), any::<bool>(), 0..100_000_000_i64);
    prop::collection::vec(one, 0..12).prop_map(|all| {
        let all = all.into_iter().enumerate();
        all.map(|(before, (caller, text, cut, millis))| Utterance {
            seq: before as u64 + 1,
            at: at(millis),
            speaker: if caller {
                Speaker::Caller
            } else {
                Speaker::Agent
            },
            text: collapse_white_space(&text),
            cut,
        })
        .collect()
    })
}

fn whole(head: &Header, lines: &[Utterance]) -> String {
    header(head) + &lines.iter().map(line).collect::<String>()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_is_read_again(
        id in any::<String>(),
        number in prop::option::of(any::<String>()),
        lines in utterances(),
        millis in 0..10_000_000_u64,
        tokens in any::<[u64; 4]>(),
        prompt in prop::option::of(any::<String>()),
    ) {
        let head = head(&id, number.as_deref());
        let mut summary = summary();
        summary.duration = Duration::from_millis(millis);
        let [a, b, c, d] = tokens;
        summary.usage = Usage {
            input_speech_tokens: a,
            input_text_tokens: b,
            output_speech_tokens: c,
            output_text_tokens: d,
        };
        summary.prompt_version.clone_from(&prompt);
        let live = whole(&head, &lines);
        let read = parse(live.as_bytes()).unwrap();
        prop_assert_eq!(read.lines_end, live.len());
        prop_assert!(read.footer.is_none() && !ends_with_footer(live.as_bytes()));

        let ended = live.clone() + &footer(&summary);
        let read = parse(ended.as_bytes()).unwrap();
        prop_assert_eq!(&read.header, &head);
        prop_assert_eq!(&read.lines, &lines);
        prop_assert_eq!(read.lines_end, live.len());
        let footer = read.footer.unwrap();
        prop_assert_eq!(footer.duration, summary.duration);
        prop_assert_eq!(footer.usage, summary.usage);
        prop_assert_eq!(footer.prompt_version, prompt);
        prop_assert_eq!(footer.ended, summary.ended);
        prop_assert!(ends_with_footer(ended.as_bytes()));
    }

    #[test]
    fn a_file_torn_anywhere_keeps_every_line_that_is_whole(lines in utterances()) {
        let head = head("a", Some("+12125550101"));
        let start = header(&head).len();
        let ended = whole(&head, &lines) + &footer(&summary());
        for length in start..ended.len() {
            let read = parse(&ended.as_bytes()[..length]).unwrap();
            let full = lines.iter().scan(start, |end, one| {
                *end += line(one).len();
                Some(*end)
            });
            let kept = full.take_while(|end| *end <= length).count();
            prop_assert_eq!(&read.lines, &lines[..kept], "torn at {}", length);
            prop_assert!(read.footer.is_none());
        }
        for length in 0..start {
            let read = parse(&ended.as_bytes()[..length]).unwrap_err();
            prop_assert_eq!(read, Unreadable::TornHeader, "torn at {}", length);
        }
    }
}
