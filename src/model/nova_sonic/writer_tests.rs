use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::tool::ToolOutput;

const RATE: SampleRate = SampleRate::Hz16000;

/// A writer on a paused clock, seen from all its sides.
struct Bench {
    commands: mpsc::Sender<ModelCommand>,
    orders: mpsc::Sender<Order>,
    notices: mpsc::Receiver<Notice>,
    input: mpsc::Receiver<Vec<u8>>,
}

impl Bench {
    fn new(model_id: &str) -> Self {
        let (commands, to_obey) = mpsc::channel(256);
        let (orders, to_follow) = mpsc::channel(4);
        let (notice, notices) = mpsc::channel(4);
        let (sender, input) = mpsc::channel(256);
        let writer = Writer {
            input: sender,
            encoder: Encoder::new(),
            rate: RATE,
            features: Features::of(model_id),
            audio_event: FRAME * 2,
            stall_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            ear: Arc::new(Ear::new(now())),
            log: Arc::default(),
            notice,
            feed: Feed::default(),
            uses: Uses::default(),
        };
        tokio::spawn(writer.run(to_obey, to_follow));
        Self {
            commands,
            orders,
            notices,
            input,
        }
    }

    fn nova_2() -> Self {
        Self::new("amazon.nova-2-sonic-v1:0")
    }

    async fn audio(&self, frames: usize) {
        for _ in 0..frames {
            self.command(ModelCommand::Audio(AudioFrame::silence(RATE)))
                .await;
        }
    }

    async fn model_awaits(&self, id: &str) {
        let order = Order::AwaitResult(ToolCallId::new(id));
        self.orders.send(order).await.unwrap();
        tokio::task::yield_now().await;
    }

    async fn result(&self, id: &str) {
        self.command(ModelCommand::ToolResult(ToolResult {
            id: ToolCallId::new(id),
            output: ToolOutput::new("ok"),
        }))
        .await;
    }

    async fn command(&self, command: ModelCommand) {
        self.commands.send(command).await.unwrap();
    }

    /// The next event: its name, and for audio how long it is.
    async fn next(&mut self) -> Option<String> {
        let event: Value = serde_json::from_slice(&self.input.recv().await?).unwrap();
        let (name, body) = event["event"].as_object().unwrap().iter().next().unwrap();
        Some(match name.as_str() {
            "audioInput" => {
                let content = body["content"].as_str().unwrap();
                let padding = content.bytes().filter(|b| *b == b'=').count();
                let bytes = content.len() / 4 * 3 - padding;
                assert_eq!(bytes % 2, 0, "whole samples");
                format!("audio {}", RATE.duration_of(bytes).as_millis())
            }
            "contentStart" => format!("start {}", body["type"].as_str().unwrap()),
            "contentEnd" => "end".to_owned(),
            name => name.to_owned(),
        })
    }

    async fn rest(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// Everything that there is after `Finish`.
    async fn finish(mut self) -> Vec<String> {
        self.command(ModelCommand::Finish).await;
        self.rest().await
    }
}

/// Nova Sonic checklist 15: one container, opened by the first audio.
#[tokio::test(start_paused = true)]
async fn two_frames_share_an_event() {
    let bench = Bench::nova_2();
    bench.audio(4).await;
    assert_eq!(
        bench.finish().await,
        [
            "start AUDIO",
            "audio 40",
            "audio 40",
            "end",
            "promptEnd",
            "sessionEnd"
        ]
    );
}

/// Nova Sonic checklist 17: nothing waits for audio that does not come.
#[tokio::test(start_paused = true)]
async fn a_lonely_frame_goes_out_soon() {
    let mut bench = Bench::nova_2();
    bench.audio(1).await;
    let begun = now();
    assert_eq!(bench.next().await.unwrap(), "start AUDIO");
    assert_eq!(bench.next().await.unwrap(), "audio 20");
    assert_eq!(now() - begun, Duration::from_millis(40));
}

/// Nova Sonic checklist 15 and 18: a long frame is sent whole, in events of 100 ms at most.
#[tokio::test(start_paused = true)]
async fn long_audio_is_split() {
    let bench = Bench::nova_2();
    let long = Bytes::from(vec![0; RATE.bytes_per_frame() * 12]);
    bench
        .command(ModelCommand::Audio(AudioFrame::new(long, RATE)))
        .await;
    assert_eq!(
        bench.finish().await[1..4],
        ["audio 100", "audio 100", "audio 40"]
    );
}

/// Nova Sonic checklist 16 and 19: text is one block, after at least 100 ms of audio.
#[tokio::test(start_paused = true)]
async fn text_comes_whole_and_after_enough_audio() {
    let bench = Bench::nova_2();
    bench.audio(1).await;
    bench.command(ModelCommand::Text("Greet.".to_owned())).await;
    bench.audio(2).await;
    assert_eq!(
        bench.finish().await,
        [
            "start AUDIO",
            "audio 20",
            "audio 80",
            "start TEXT",
            "textInput",
            "end",
            "audio 40",
            "end",
            "promptEnd",
            "sessionEnd",
        ]
    );
}

/// Nova Sonic checklist 19: no more silence than is needed.
#[tokio::test(start_paused = true)]
async fn text_needs_no_priming_once_audio_flows() {
    let mut bench = Bench::nova_2();
    bench.audio(5).await;
    bench.command(ModelCommand::Text("Well?".to_owned())).await;
    for expected in [
        "start AUDIO",
        "audio 40",
        "audio 40",
        "audio 20",
        "start TEXT",
    ] {
        assert_eq!(bench.next().await.unwrap(), expected);
    }
    assert!(matches!(bench.notices.recv().await, Some(Notice::Asked(_))));
}

#[tokio::test(start_paused = true)]
async fn empty_text_is_not_sent() {
    let bench = Bench::nova_2();
    bench.audio(2).await;
    bench.command(ModelCommand::Text(" \n".to_owned())).await;
    assert!(!bench.finish().await.contains(&"start TEXT".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_first_generation_is_sent_no_text() {
    let bench = Bench::new("amazon.nova-sonic-v1:0");
    bench.audio(2).await;
    bench.command(ModelCommand::Text("Greet.".to_owned())).await;
    assert!(!bench.finish().await.contains(&"start TEXT".to_owned()));
}

/// Nova Sonic checklist 16, 30 and 32: a result is one block between two pieces of audio.
#[tokio::test(start_paused = true)]
async fn a_result_is_one_block_between_two_pieces_of_audio() {
    let mut bench = Bench::nova_2();
    bench.audio(1).await;
    bench.model_awaits("u").await;
    bench.result("u").await;
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(bench.next().await.unwrap());
    }
    assert!(events.iter().any(|event| event == "start TOOL"));
    bench.audio(2).await;
    let mut all = events;
    all.extend(bench.finish().await);
    let at = all.iter().position(|event| event == "start TOOL").unwrap();
    assert_eq!(all[at + 1..at + 3], ["toolResult", "end"]);
}

/// Nova Sonic checklist 30 and 32: one result for each use, in any order, and none that nobody
/// waits for.
#[tokio::test(start_paused = true)]
async fn a_result_that_nobody_waits_for_is_not_sent() {
    let bench = Bench::nova_2();
    bench.audio(2).await;
    bench.result("unknown").await;
    bench.model_awaits("u").await;
    bench.model_awaits("v").await;
    bench.model_awaits("u").await;
    for id in ["v", "u", "u", "v"] {
        bench.result(id).await;
    }
    let events = bench.finish().await;
    let results = events.iter().filter(|event| *event == "toolResult");
    assert_eq!(results.count(), 2);
}

/// Nova Sonic checklist 45 and 47: an unfed container is fed before it is closed.
#[tokio::test(start_paused = true)]
async fn a_session_without_audio_is_closed_with_one_frame_of_silence() {
    assert_eq!(
        Bench::nova_2().finish().await,
        ["start AUDIO", "audio 20", "end", "promptEnd", "sessionEnd"]
    );
}

/// Nova Sonic checklist 45: what waits is sent before the end.
#[tokio::test(start_paused = true)]
async fn a_remainder_is_sent_before_the_end() {
    let bench = Bench::nova_2();
    bench.audio(3).await;
    assert_eq!(
        bench.finish().await,
        [
            "start AUDIO",
            "audio 40",
            "audio 20",
            "end",
            "promptEnd",
            "sessionEnd"
        ]
    );
}

/// Nova Sonic checklist 45 and 46: a user that is simply gone closes the session as well.
#[tokio::test(start_paused = true)]
async fn dropped_commands_close_by_the_book() {
    let mut bench = Bench::nova_2();
    let (gone, _) = mpsc::channel(1);
    bench.commands = gone;
    assert!(matches!(bench.notices.recv().await, Some(Notice::Closing)));
    assert_eq!(bench.rest().await.last().unwrap(), "sessionEnd");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_orders_closes_by_the_book() {
    let mut bench = Bench::nova_2();
    let (gone, _) = mpsc::channel(1);
    bench.orders = gone;
    assert_eq!(bench.rest().await.last().unwrap(), "sessionEnd");
}

#[tokio::test(start_paused = true)]
async fn input_that_nobody_takes_is_a_stall() {
    let mut bench = Bench::nova_2();
    let begun = now();
    // Neither queue has room for all of it.
    let commands = bench.commands.clone();
    tokio::spawn(async move {
        while commands
            .send(ModelCommand::Audio(AudioFrame::silence(RATE)))
            .await
            .is_ok()
        {}
    });
    let Some(Notice::Stopped(stop)) = bench.notices.recv().await else {
        panic!("a stop")
    };
    assert_eq!(stop, Stop::Stalled);
    assert_eq!(now() - begun, Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_closed_stream_is_reported() {
    let mut bench = Bench::nova_2();
    bench.input.close();
    bench.audio(2).await;
    assert!(matches!(
        bench.notices.recv().await,
        Some(Notice::Stopped(Stop::Refused))
    ));
}

#[tokio::test(start_paused = true)]
async fn audio_at_another_rate_is_refused() {
    let mut bench = Bench::nova_2();
    let wrong = AudioFrame::silence(SampleRate::Hz8000);
    bench.command(ModelCommand::Audio(wrong)).await;
    assert!(matches!(
        bench.notices.recv().await,
        Some(Notice::Stopped(Stop::WrongRate { .. }))
    ));
}
