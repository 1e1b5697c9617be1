//! Requests that wait for a busy pool: a bounded number, for a bounded time, woken in the order they came.

use crate::telemetry::QueueOutcome;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// A pool's queue; it outlives generations, as the replicas do whose places are waited for.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: AtomicUsize,
    freed: Notify,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    Served,
    TimedOut,
    Full,
}

impl From<Waited> for QueueOutcome {
    fn from(waited: Waited) -> Self {
        match waited {
            Waited::Served => Self::Served,
            Waited::TimedOut => Self::TimedOut,
            Waited::Full => Self::Full,
        }
    }
}

/// A place in the queue, given back however the wait ends.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Queue {
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A place with a replica became free.
    pub(super) fn wake_one(&self) {
        if self.waiting() > 0 {
            self.freed.notify_one();
        }
    }

    /// A replica came back.
    pub(super) fn wake_all(&self) {
        self.freed.notify_waiters();
    }

    /// Calls `attempt` whenever it may have become possible, until it gives something; with at most `most` waiting and
    /// for at most `time`.
    pub(super) async fn wait<T>(
        &self,
        most: usize,
        time: Duration,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> (Waited, Option<T>) {
        let one_more = |n: usize| (n < most).then_some(n + 1);
        if self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return (Waited::Full, None);
        }
        let _place = Place(&self.waiting);
        let serve = async {
            loop {
                // Asked for before the attempt: a place freed in between is not missed.
                let mut freed = std::pin::pin!(self.freed.notified());
                freed.as_mut().enable();
                if let Some(done) = attempt() {
                    return done;
                }
                freed.await;
            }
        };
        match tokio::time::timeout(time, serve).await {
            Ok(done) => (Waited::Served, Some(done)),
            Err(_) => (Waited::TimedOut, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_in_number_and_time() {
        let queue = Arc::new(Queue::default());
        let started = Instant::now();
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.wait(2, Duration::from_secs(5), || None::<()>).await.0 })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!((queue.waiting(), queue.wait(2, Duration::from_secs(5), || Some(())).await.0), (2, Waited::Full));
        for waited in waiting {
            assert_eq!(waited.await.unwrap(), Waited::TimedOut);
        }
        assert_eq!((queue.waiting(), started.elapsed()), (0, Duration::from_secs(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_freed_place_serves_one_and_a_wait_that_is_dropped_gives_its_place_back() {
        let queue = Arc::new(Queue::default());
        let places = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let (queue, places) = (queue.clone(), places.clone());
                tokio::spawn(async move {
                    let take = || {
                        let one_less = |n: usize| n.checked_sub(1);
                        places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).ok()
                    };
                    queue.wait(9, Duration::from_secs(5), take).await.0
                })
            })
            .collect();
        tokio::task::yield_now().await;
        waiters[0].abort();
        tokio::task::yield_now().await;
        places.fetch_add(1, Ordering::Relaxed);
        queue.wake_one();
        let mut ends = Vec::new();
        for waiter in waiters.into_iter().skip(1) {
            ends.push(waiter.await.unwrap());
        }
        assert_eq!(ends, [Waited::Served, Waited::TimedOut]);
        assert_eq!(queue.waiting(), 0);
    }
}
