//! A time limit that is set anew for every request and hardly ever reached.
//!
//! Setting it costs a comparison: the timer under it stays where it is as long as it rings too early, and is moved only
//! when it has rung. A timer of tokio's is put into its wheel and taken out again each time.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::{Instant, Sleep, sleep_until};

/// A limit; there is none before it is set.
#[derive(Debug, Default)]
pub(super) struct Limit {
    timer: Option<Pin<Box<Sleep>>>,
    until: Option<Instant>,
}

impl Limit {
    /// Sets it, in the place of what it was.
    pub(super) fn set(&mut self, until: Instant) {
        self.until = Some(until);
        if let Some(timer) = self.timer.as_mut().filter(|timer| timer.deadline() > until) {
            timer.as_mut().reset(until);
        }
    }

    /// Ready once it is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn it_is_over_when_it_was_last_said_to_be() {
        let (mut limit, start) = (Limit::default(), Instant::now());
        for (set, at) in [(10, 10), (5, 5), (60, 60), (20, 20)] {
            let now = Instant::now();
            // Said before, and waited for a little, for longer and for less.
            for before in [7, 30] {
                limit.set(now + Duration::from_secs(before));
                let over = tokio::time::timeout(Duration::from_secs(1), std::future::poll_fn(|cx| limit.poll(cx)));
                assert!(over.await.is_err());
            }
            let now = Instant::now();
            limit.set(now + Duration::from_secs(set));
            std::future::poll_fn(|cx| limit.poll(cx)).await;
            assert_eq!(now.elapsed().as_secs(), at);
        }
        assert!(start.elapsed() > Duration::from_secs(90));
    }
}
