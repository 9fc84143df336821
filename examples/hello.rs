//! A whole call in one process: no keys, no network, about ten seconds.
//!
//! ```sh
//! cargo run --example hello
//! ```

use std::time::Duration;

use novavoice::{
    agent::{EventKind, Prompt, VoiceAgent},
    audio::{AudioFrame, FRAME, SampleRate},
    call::{CallId, CallInfo, Direction},
    model::scripted::{Script, Scripted},
    telephony::memory::Loopback,
    transcript::MemorySink,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // An agent needs somewhere for calls to come from, and something that talks.
    let (telephony, callers) = Loopback::new();
    let agent = VoiceAgent::builder()
        .telephony(telephony)
        .model(Scripted::new(Script::scheduling()))
        .transcripts(MemorySink::new())
        .prompt(|_call, _lead| Prompt::new("You book meetings.").with_greeting("Greet the caller."))
        .build();

    // Somebody calls, listens, and says something for a second and a half.
    let mut events = agent.handle().subscribe();
    let info = CallInfo::new(
        CallId::random(),
        Direction::Inbound,
        jiff::Timestamp::UNIX_EPOCH,
        SampleRate::Hz16000,
    );
    let phone = callers.call(info).await.into_phone();
    let caller = async {
        speak(&phone, 0, Duration::from_secs(5)).await;
        speak(&phone, 9_000, Duration::from_millis(1_500)).await;
        speak(&phone, 0, Duration::from_secs(4)).await;
        phone.hang_up().await;
    };

    // Whoever wants to may watch.
    let watch = async {
        while let Ok(event) = events.recv().await {
            match event.kind {
                EventKind::Utterance(line) => println!("{}: {}", line.speaker.as_str(), line.text),
                EventKind::Ended { summary, .. } => {
                    println!("{} after {:?}", summary.status.as_str(), summary.duration);
                    break;
                }
                _ => {}
            }
        }
    };
    agent
        .serve(async {
            tokio::join!(caller, watch);
        })
        .await?;
    Ok(())
}

/// Sends a buzz of this loudness, frame by frame in real time.
async fn speak(phone: &novavoice::telephony::memory::Phone, loudness: i16, length: Duration) {
    let mut ticks = tokio::time::interval(FRAME);
    for n in 0..length.as_millis() / FRAME.as_millis() {
        ticks.tick().await;
        // Syllables: louder and softer, five times a second.
        let loudness = if n % 10 < 6 { loudness } else { loudness / 4 };
        let buzz = (0..320)
            .flat_map(|i| (if i % 80 < 20 { loudness } else { -loudness / 3 }).to_le_bytes());
        phone
            .speak(AudioFrame::new(buzz.collect(), SampleRate::Hz16000))
            .await;
    }
}
