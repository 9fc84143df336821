//! The body of the request: a stream of events that the SDK pulls from.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use aws_sdk_bedrockruntime::{
    primitives::Blob,
    types::{
        BidirectionalInputPayloadPart, InvokeModelWithBidirectionalStreamInput as Up,
        error::InvokeModelWithBidirectionalStreamInputError as UpError,
    },
};
use futures::Stream;
use tokio::sync::mpsc;

use crate::audio::AudioFrame;

/// The stream, which begins with `opening`, and where everything after that goes in. Dropping
/// the sender ends the stream; the SDK then sends its closing frame.
pub(super) fn channel(opening: Vec<Vec<u8>>) -> (mpsc::Sender<Vec<u8>>, Body) {
    let (sender, rest) = mpsc::channel(DEPTH);
    let opening = opening.into();
    (sender, Body { opening, rest })
}

/// Yields nothing more once it has ended, however often it is asked: the SDK asks again.
#[derive(Debug)]
pub(super) struct Body {
    opening: VecDeque<Vec<u8>>,
    rest: mpsc::Receiver<Vec<u8>>,
}

impl Stream for Body {
    type Item = Result<Up, UpError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = match self.opening.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None => self.rest.poll_recv(cx),
        };
        event.map(|event| event.map(|json| Ok(chunk(json))))
    }
}

fn chunk(json: Vec<u8>) -> Up {
    Up::Chunk(
        BidirectionalInputPayloadPart::builder()
            .bytes(Blob::new(json))
            .build(),
    )
}

/// Remembers when the caller was last heard, for whoever wonders why there is no reply.
#[derive(Debug)]
pub(super) struct Ear {
    start: Instant,
    /// Milliseconds since the start.
    heard: AtomicU64,
}

impl Ear {
    /// An ear that has heard nothing since `start`.
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            heard: AtomicU64::new(0),
        }
    }

    /// Takes note of `frame`, which came `now`, if somebody might be speaking in it.
    pub(super) fn listen(&self, frame: &AudioFrame, now: Instant) {
        let (mut sum, mut count) = (0_u64, 0_u64);
        for sample in frame.samples() {
            sum += u64::from(sample.unsigned_abs());
            count += 1;
        }
        if sum > count * AUDIBLE {
            let at = u64::try_from((now - self.start).as_millis()).unwrap_or(u64::MAX);
            self.heard.store(at, Ordering::Relaxed);
        }
    }

    /// When it was last that somebody might have been speaking.
    pub(super) fn last_heard(&self) -> Instant {
        self.start + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }
}

/// Little, so that a connection which takes no input is noticed soon; with 40 ms in an event,
/// 640 ms of audio.
const DEPTH: usize = 16;

/// Mean absolute sample, about 41 dB below full scale: above the noise of a line, below speech.
const AUDIBLE: u64 = 300;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::StreamExt;

    use super::*;
    use crate::{audio::SampleRate, clock::now};

    fn text(up: Up) -> String {
        let Up::Chunk(part) = up else {
            panic!("a chunk")
        };
        String::from_utf8(part.bytes().unwrap().as_ref().to_vec()).unwrap()
    }

    /// Nova Sonic checklist 5: nothing has to be awaited before the opening can be read.
    #[tokio::test]
    async fn the_opening_comes_first_and_is_there_at_once() {
        let (sender, mut body) = channel(vec![b"a".to_vec(), b"b".to_vec()]);
        sender.try_send(b"c".to_vec()).unwrap();
        for expected in ["a", "b", "c"] {
            assert_eq!(text(body.next().await.unwrap().unwrap()), expected);
        }
    }

    #[tokio::test]
    async fn the_stream_stays_ended() {
        let (sender, mut body) = channel(Vec::new());
        drop(sender);
        for _ in 0..3 {
            assert!(body.next().await.is_none());
        }
    }

    #[test]
    fn speech_is_heard_and_silence_is_not() {
        let start = now();
        let ear = Ear::new(start);
        let later = start + Duration::from_secs(3);
        ear.listen(&AudioFrame::silence(SampleRate::Hz16000), later);
        assert_eq!(ear.last_heard(), start);
        let loud = AudioFrame::new(Bytes::from([0, 4].repeat(320)), SampleRate::Hz16000);
        ear.listen(&loud, later);
        assert_eq!(ear.last_heard(), later);
    }
}
