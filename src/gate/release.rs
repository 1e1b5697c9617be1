//! The way out: the rules judge a replica's response before the client or the cache gets it.
//!
//! A head is judged when it comes (phase 3). A body whose type the rules read is held up to a window and judged with its
//! head still here (phase 4), so that a refusal is a response of its own. Beyond the window what was read is judged and
//! the rest flows; event streams and whatever the rules do not read flow at once.

use super::exchange::Exchange;
use super::heavy;
use crate::audit::Stage;
use crate::inspect::Inspection;
use crate::request::grpc;
use crate::verdict::Refusal;
use bytes::{Bytes, BytesMut};
use std::ops::ControlFlow;

/// A response body on its way through the rules.
#[derive(Debug, Default)]
pub struct Judging {
    held: BytesMut,
    /// What is said to come.
    length: Option<usize>,
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

    /// Whether nothing of the response's body has come yet.
    pub fn untouched(&self) -> bool {
        self.held.is_empty()
    }
}

/// Phase 3, and phase 4 for a response whose body the rules do not read. Gives how the body goes on.
///
/// # Errors
/// The rules refuse the response.
pub fn head(x: &mut Exchange, status: u16, headers: &http::HeaderMap, bodiless: bool) -> Result<Judging, Refusal> {
    if x.inspection.is_none() {
        return Ok(Judging::default());
    }
    phase(x, Stage::ResponseHead, |inspection| inspection.response_head(status, headers))?;
    let streams = streams(x, headers);
    let reads = x.inspection.as_ref().is_some_and(|inspection| inspection.wants_response_body());
    if bodiless || streams || !reads || is_encoded(headers) {
        phase(x, Stage::ResponseBody, |inspection| inspection.response_body(&[]))?;
        settle(x);
        return Ok(Judging::default());
    }
    let length = headers.get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let state = State::Holding(x.snapshot.inspect.response_window());
    Ok(Judging { held: BytesMut::new(), length, state })
}

/// Phase 4, piece by piece: keeps `piece` back, or replaces it by everything that may go.
///
/// # Errors
/// The rules refuse the response.
pub fn body(x: &mut Exchange, judging: &mut Judging, piece: &mut Option<Bytes>, end: bool) -> Result<(), Refusal> {
    let State::Holding(window) = judging.state else { return Ok(()) };
    let part = piece.take().unwrap_or_default();
    if judging.held.capacity() == 0 && judging.length.is_some() {
        // At once, for growing would need twice as much.
        judging.held.reserve(judging.length.unwrap_or(0).min(window + part.len()));
    }
    if !end && judging.held.len() + part.len() < window {
        judging.held.extend_from_slice(&part);
        *piece = Some(Bytes::new());
        return Ok(());
    }
    judging.state = State::Through;
    let mut held = std::mem::take(&mut judging.held);
    held.extend_from_slice(&part);
    let held = held.freeze();
    let read = held.get(..window).unwrap_or(&held);
    phase(x, Stage::ResponseBody, |inspection| heavy::run(read.len(), || inspection.response_body(read)))?;
    *piece = Some(held);
    settle(x);
    Ok(())
}

fn settle(x: &mut Exchange) {
    if let Some(inspection) = &mut x.inspection {
        inspection.settle();
    }
}

fn phase(
    x: &mut Exchange,
    stage: Stage,
    judge: impl FnOnce(&mut Inspection) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    match x.inspect(stage, judge) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(refusal) => Err(refusal),
    }
}

/// Whether a response is one that flows for as long as it likes.
pub fn streams(x: &Exchange, headers: &http::HeaderMap) -> bool {
    x.route.as_ref().is_some_and(|route| route.stream) || is_event_stream(headers) || grpc::is_grpc(headers)
}

fn is_event_stream(headers: &http::HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).map(|v| v.as_bytes()).unwrap_or_default();
    kind.get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
}

/// A compressed body shows the rules nothing; holding it would only delay it.
fn is_encoded(headers: &http::HeaderMap) -> bool {
    headers.get(http::header::CONTENT_ENCODING).is_some_and(|coding| coding.as_bytes() != b"identity")
}
