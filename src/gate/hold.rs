//! Reading a request body whole, before anything behind the gate hears of the request.
//!
//! Bounds: one body by its route's limit (413), all held bodies together by a budget (503), the time between two pieces,
//! the time of all of it, and the rate it comes at (408). A body that declares itself too large is refused before a
//! byte of it is read; `100 Continue` is sent only once the body is wanted.

use crate::config::TimeoutSettings;
use crate::policy::Route;
use crate::policy::field::Known;
use crate::snapshot::{Kept, Snapshot};
use crate::verdict::{Reason, Refusal};
use bytes::{Bytes, BytesMut};
use std::future::Future;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Granularity of the budget, in bytes: one permit of the semaphore.
pub const PAGE: usize = 16 * 1024;

/// From this size on room is made for all of a body that said how long it is: growing by doubling would need half as
/// much again while it moves. Before it, a client could reserve what it never sends.
const BELIEVED: usize = 256 * 1024;

/// A request body on its way in.
pub trait Body: Send {
    /// Whether there is nothing to read.
    fn is_empty(&mut self) -> bool;
    /// Tells a client that waits for it to go on (RFC 9110 section 10.1.1).
    fn proceed(&mut self) -> impl Future<Output = Result<(), Refusal>> + Send;
    /// The next piece; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Refusal>> + Send;
}

/// A request body after admission.
pub enum Held {
    /// Read whole.
    Whole {
        /// All of it.
        bytes: Bytes,
        /// Its share of the budget, given back with it.
        share: Option<OwnedSemaphorePermit>,
    },
    /// Not read: it flows on as it comes.
    Streaming {
        /// More than this is cut off with 413.
        at_most: Option<u64>,
    },
}

impl Held {
    /// What there is to judge.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole { bytes, .. } => bytes,
            Self::Streaming { .. } => &[],
        }
    }
}

/// The largest body this route and operation take; `None` where nothing has to read it and nothing is said.
pub(super) fn limit(route: &Route, known: Option<&Known<'_>>, s: &Snapshot) -> Option<u64> {
    let inspected = route.inspect && s.inspect.enabled();
    let general = inspected.then(|| s.inspect.max_body().0);
    let of_route = route.max_body.map(|size| size.0).or(general);
    known.and_then(Known::max_body).into_iter().chain(of_route).min()
}

/// How long a body says it is.
fn declared(headers: &http::HeaderMap) -> Option<u64> {
    headers.get(http::header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok())
}

/// Refuses what declares itself too large, before anything is read.
pub(super) fn may_come(headers: &http::HeaderMap, limit: Option<u64>) -> ControlFlow<Refusal> {
    match (declared(headers), limit) {
        (Some(declared), Some(limit)) if declared > limit => Break(too_large(limit)),
        _ => Continue(()),
    }
}

fn too_large(limit: u64) -> Refusal {
    Refusal::new(Reason::BodyTooLarge, format!("body larger than the route's limit of {limit} bytes"))
}

/// Reads the body whole; gives it with its size as it came.
pub(super) async fn hold(
    body: &mut impl Body,
    headers: &http::HeaderMap,
    limit: u64,
    times: &TimeoutSettings,
    kept: &Kept,
) -> ControlFlow<Refusal, (Held, u64)> {
    let expected = declared(headers).and_then(|length| usize::try_from(length.min(limit)).ok()).unwrap_or(0);
    match read(body, expected, limit, times, &kept.held).await {
        Ok(held) => Continue(held),
        Err(refusal) => Break(refusal),
    }
}

async fn read(
    body: &mut impl Body,
    expected: usize,
    limit: u64,
    times: &TimeoutSettings,
    budget: &Arc<Semaphore>,
) -> Result<(Held, u64), Refusal> {
    if body.is_empty() {
        return Ok((Held::Whole { bytes: Bytes::new(), share: None }, 0));
    }
    body.proceed().await?;
    let started = Instant::now();
    let mut share: Option<OwnedSemaphorePermit> = None;
    let mut pages = 0;
    let mut whole = BytesMut::new();
    loop {
        let slow = || Refusal::new(Reason::TooSlow, format!("body stalled after {} bytes", whole.len()));
        let piece = timeout(times.body_idle.0, body.next()).await.map_err(|_| slow())??;
        let Some(piece) = piece else { break };
        let size = whole.len() + piece.len();
        if size as u64 > limit {
            return Err(too_large(limit));
        }
        pace(size as u64, started.elapsed(), times)?;
        while pages * PAGE < size {
            // Doubling with the buffer, so that a large body asks seldom, but never for more than it says it is.
            let most = expected.max(size).div_ceil(PAGE);
            let more = pages.max(1).min(most - pages);
            let permit = u32::try_from(more).ok().and_then(|n| budget.clone().try_acquire_many_owned(n).ok());
            let Some(permit) = permit else {
                let full = Refusal::new(Reason::Overloaded, "no memory left for held request bodies");
                return Err(full.retry_after(Duration::from_secs(1)));
            };
            pages += more;
            match &mut share {
                Some(share) => share.merge(permit),
                None => share = Some(permit),
            }
        }
        if size > whole.capacity() && size > BELIEVED {
            whole.reserve(expected.saturating_sub(whole.len()));
        }
        whole.extend_from_slice(&piece);
    }
    let size = whole.len() as u64;
    Ok((Held::Whole { bytes: whole.freeze(), share }, size))
}

/// Whether a body of which `size` bytes have come keeps up after `elapsed`.
///
/// # Errors
/// [`Reason::TooSlow`]: not whole in time, or at less than the least rate.
pub fn pace(size: u64, elapsed: Duration, times: &TimeoutSettings) -> Result<(), Refusal> {
    let total = times.body_total.0;
    if !total.is_zero() && elapsed > total {
        return Err(Refusal::new(Reason::TooSlow, format!("body not whole after {} s", total.as_secs())));
    }
    let floor = times.body_min_rate.0;
    let rate_applies = floor > 0 && elapsed > times.body_idle.0;
    if rate_applies && u128::from(size) * 1000 < u128::from(floor) * elapsed.as_millis() {
        return Err(Refusal::new(Reason::TooSlow, format!("body comes at less than {floor} bytes a second")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{ByteSize, Span};

    struct Pieces(Vec<(Duration, &'static [u8])>);

    impl Body for Pieces {
        fn is_empty(&mut self) -> bool {
            self.0.is_empty()
        }
        async fn proceed(&mut self) -> Result<(), Refusal> {
            Ok(())
        }
        async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
            if self.0.is_empty() {
                return Ok(None);
            }
            let (wait, piece) = self.0.remove(0);
            tokio::time::sleep(wait).await;
            Ok(Some(Bytes::from_static(piece)))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_held_whole_or_refused_for_a_stated_reason() {
        let times = TimeoutSettings { body_idle: Span::secs(10), ..TimeoutSettings::default() };
        let (none, long) = (Duration::ZERO, Duration::from_secs(11));
        for (pieces, limit, pages, expected) in [
            (vec![], 10, 4, Ok(vec![])),
            (vec![(none, &b"hello "[..]), (none, b"world")], 11, 4, Ok(b"hello world".to_vec())),
            (vec![(none, b"hello "), (none, b"world")], 10, 4, Err(413)),
            (vec![(none, b"hello "), (long, b"world")], 11, 4, Err(408)),
            (vec![(none, &[0; 2 * PAGE])], 1 << 20, 1, Err(503)),
        ] {
            let budget = Arc::new(Semaphore::new(pages));
            let read = read(&mut Pieces(pieces), 0, limit, &times, &budget).await;
            let got = read.map(|(held, _)| held.bytes().to_vec()).map_err(|refusal| refusal.reason.status());
            assert_eq!(got, expected);
            assert_eq!(budget.available_permits(), pages, "the share is given back");
        }
    }

    #[test]
    fn a_trickle_is_too_slow_once_it_had_time_to_show() {
        let times = TimeoutSettings { body_min_rate: ByteSize(1000), ..TimeoutSettings::default() };
        assert!(pace(1, Duration::from_secs(5), &times).is_ok());
        assert!(pace(19_000, Duration::from_secs(20), &times).is_err());
        assert!(pace(20_000, Duration::from_secs(20), &times).is_ok());
    }
}
