//! Whether the machine kept the referee itself from looking: what arrived evenly meanwhile is seen
//! in a crowd.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Looks at the clock all the time, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Held {
    over: Arc<AtomicBool>,
    longest: Arc<AtomicU64>,
    watch: JoinHandle<()>,
}

impl Held {
    pub(crate) fn watch() -> Self {
        let (over, longest) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let watch = thread::spawn({
            let (over, longest) = (Arc::clone(&over), Arc::clone(&longest));
            move || {
                while !over.load(Relaxed) {
                    let before = Instant::now();
                    thread::sleep(LOOK);
                    let late = before.elapsed().saturating_sub(LOOK).as_millis();
                    longest.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Relaxed);
                }
            }
        });
        Self {
            over,
            longest,
            watch,
        }
    }

    /// The longest time for which it was kept from looking.
    pub(crate) fn longest(self) -> Duration {
        self.over.store(true, Relaxed);
        self.watch.join().expect("no panic");
        Duration::from_millis(self.longest.load(Relaxed))
    }
}

const LOOK: Duration = Duration::from_millis(5);
