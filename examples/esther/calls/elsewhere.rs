//! Following a call that another process carries, or carried: by its record.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{Stream, stream};
use novavoice::{
    ProviderError,
    call::{CallId, Outcome},
    record::{CallRecord, CallStore},
};

use super::Event;

/// The lines of a call after the one numbered `after`, as the store gets them, and its end.
/// `None` for a call that the store does not know.
pub(crate) async fn follow_elsewhere(
    store: Arc<dyn CallStore>,
    call: CallId,
    after: u64,
) -> Result<Option<impl Stream<Item = Event> + Send + use<>>, ProviderError> {
    if store.get(&call).await?.is_none() {
        return Ok(None);
    }
    let follower = Elsewhere {
        store,
        call,
        after,
        due: VecDeque::new(),
        over: false,
        first: true,
    };
    Ok(Some(stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((event, follower))
    })))
}

struct Elsewhere {
    store: Arc<dyn CallStore>,
    call: CallId,
    /// The last line that was read.
    after: u64,
    due: VecDeque<Event>,
    over: bool,
    first: bool,
}

impl Elsewhere {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.due.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            if !std::mem::take(&mut self.first) {
                tokio::time::sleep(PAUSE).await;
            }
            if let Err(error) = self.look().await {
                tracing::warn!(
                    call_id = %self.call,
                    error = &error as &dyn std::error::Error,
                    "a followed call cannot be looked at; trying again"
                );
            }
        }
    }

    /// The record first and the lines behind it: a call that is over has all its lines.
    async fn look(&mut self) -> Result<(), ProviderError> {
        let record = self.store.get(&self.call).await?;
        let lines = self.store.lines(&self.call, self.after).await?;
        if let Some(last) = lines.last() {
            self.after = last.seq;
        }
        self.due.extend(lines.into_iter().map(Event::Utterance));
        match record {
            Some(record) if record.is_live() => {}
            Some(record) => {
                self.due.push_back(ended(&record));
                self.over = true;
            }
            // Deleted while it was followed.
            None => self.over = true,
        }
        Ok(())
    }
}

fn ended(record: &CallRecord) -> Event {
    let until = record.ended.unwrap_or(record.started);
    Event::Ended {
        status: record.status,
        outcome: record.outcome.unwrap_or(Outcome::Completed),
        duration: record.duration_at(until),
    }
}

/// With the second that lines may wait for others on their way to the store, a follower is less
/// than two seconds behind.
const PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use novavoice::{record::MemoryCalls, transcript::TranscriptSink};

    use super::*;
    use crate::calls::tests::{info, line, summary};

    #[tokio::test(start_paused = true)]
    async fn lines_are_told_as_the_store_gets_them_and_then_the_end() {
        let calls = MemoryCalls::new();
        let call = CallId::new("a");
        calls.start(&info("a")).await.expect("it is in memory");
        for seq in 1..=2 {
            calls
                .record(&call, &line(seq, "before"))
                .await
                .expect("kept");
        }
        let store: Arc<dyn CallStore> = Arc::new(calls.clone());
        let follower = follow_elsewhere(Arc::clone(&store), call.clone(), 1).await;
        let follower = follower.expect("it answers").expect("a known call");
        let followed = tokio::spawn(follower.collect::<Vec<_>>());
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!followed.is_finished());
        calls
            .record(&call, &line(3, "meanwhile"))
            .await
            .expect("kept");
        tokio::time::sleep(Duration::from_secs(3)).await;
        calls.record(&call, &line(4, "last")).await.expect("kept");
        calls.end(&call, &summary()).await.expect("ended");
        let events = followed.await.expect("no panic");
        let told = |seq, text| Event::Utterance(line(seq, text));
        assert_eq!(
            events,
            [
                told(2, "before"),
                told(3, "meanwhile"),
                told(4, "last"),
                Event::ended(&summary()),
            ]
        );
        let nobody = follow_elsewhere(store, CallId::new("b"), 0).await;
        assert!(nobody.expect("it answers").is_none());
    }
}
