//! The way out: the rules judge a replica's response before the client or the cache gets it.
//!
//! A head is judged when it comes (phase 3). A body whose type the rules read is held up to a window and judged with its
//! head still here (phase 4), so that a refusal is a response of its own. Beyond the window what was read is judged and
//! the rest flows; event streams and whatever the rules do not read flow at once.

use super::exchange::Exchange;
use crate::verdict::{Mode, Refusal};
use bytes::{Bytes, BytesMut};
use std::ops::ControlFlow;
use std::time::Instant;

/// A response body on its way through the rules.
#[derive(Debug, Default)]
pub struct Judging {
    held: BytesMut,
    state: State,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing (more) to judge: pieces pass.
    #[default]
    Through,
    /// Collecting up to this many bytes.
    Holding(usize),
}

impl Judging {
    /// Whether the response head has to wait.
    pub fn holds(&self) -> bool {
        self.state != State::Through
    }
}

/// Phase 3. Gives how the body goes on.
///
/// # Errors
/// The rules refuse the response.
pub fn head(x: &mut Exchange, status: u16, headers: &http::HeaderMap, stream: bool) -> Result<Judging, Refusal> {
    let snapshot = x.snapshot.clone();
    let mode = snapshot.inspect.mode();
    let Some(mut inspection) = x.inspection.take() else { return Ok(Judging::default()) };
    let started = Instant::now();
    let verdict = inspection.response_head(status, headers);
    let reads_body = !stream && !is_event_stream(headers) && inspection.wants_response_body();
    x.inspection = Some(inspection);
    x.spent.inspect += started.elapsed();
    settle(x, mode, verdict)?;
    let window = snapshot.inspect.response_window();
    let state = if reads_body { State::Holding(window) } else { State::Through };
    Ok(Judging { held: BytesMut::new(), state })
}

/// Phase 4, piece by piece: keeps `piece` back, or replaces it by everything that may go.
///
/// # Errors
/// The rules refuse the response.
pub fn body(x: &mut Exchange, judging: &mut Judging, piece: &mut Option<Bytes>, end: bool) -> Result<(), Refusal> {
    let State::Holding(window) = judging.state else { return Ok(()) };
    let part = piece.take().unwrap_or_default();
    if !end && judging.held.len() + part.len() < window {
        judging.held.extend_from_slice(&part);
        *piece = Some(Bytes::new());
        return Ok(());
    }
    judging.state = State::Through;
    let mut held = std::mem::take(&mut judging.held);
    held.extend_from_slice(&part);
    let held = held.freeze();
    let mode = x.snapshot.inspect.mode();
    if let Some(mut inspection) = x.inspection.take() {
        let started = Instant::now();
        let verdict = inspection.response_body(held.get(..window).unwrap_or(&held));
        x.inspection = Some(inspection);
        x.spent.inspect += started.elapsed();
        settle(x, mode, verdict)?;
    }
    *piece = Some(held);
    Ok(())
}

fn settle(x: &mut Exchange, mode: Mode, verdict: Result<(), Refusal>) -> Result<(), Refusal> {
    match x.settle(mode, verdict) {
        ControlFlow::Continue(_) => Ok(()),
        ControlFlow::Break(refusal) => Err(refusal),
    }
}

fn is_event_stream(headers: &http::HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).map(|v| v.as_bytes()).unwrap_or_default();
    kind.get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
}
