//! The session handed to the base's proxy once a request is admitted.
//!
//! It wraps the real HTTP/1 or HTTP/2 session, so that two things the base cannot do are done here:
//! - **Replay of any size.** A body that was read whole for inspection is given to the base as its "retry buffer"; the
//!   base's own buffer ends at 64 KiB. The head the base sees is the one we rebuilt, so what was judged is what is
//!   forwarded.
//! - **Holding the response head.** While the rules have not judged the body, the head is kept back; a refusal can then
//!   still become a response of its own instead of a cut connection.
//!
//! Rests on `pingora_core::protocols::http::custom::server::Session`, which the base hides from its documentation:
//! its version is pinned and the tests of this folder would notice a change.

use crate::config::TimeoutSettings;
use crate::gate;
use crate::limit::{Load, LoadSettings};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use parking_lot::Mutex;
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::custom::CustomMessageWrite;
use pingora_core::protocols::http::custom::server::Session as CustomSession;
use pingora_core::protocols::http::{HttpTask, ServerSession};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::timeout;

/// The request body as the base gets it.
pub(crate) enum ReplayBody {
    /// Read whole and judged; empty when there was none.
    Held(Bytes),
    /// Not inspected: flows from the client as it comes.
    Streaming,
}

/// Whether the response head waits for its body; shared between the hooks, which decide, and the session, which waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hold(Arc<AtomicBool>);

impl Hold {
    /// Keeps the next response head back until its first body byte, or its end, arrives.
    pub(crate) fn set(&self, hold: bool) {
        self.0.store(hold, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Where the real session comes back to when the base is done with it.
#[derive(Clone, Default)]
pub(crate) struct GiveBack(Arc<Mutex<Option<Returned>>>);

/// The real session after the exchange.
pub(crate) struct Returned {
    /// The session itself.
    pub(crate) session: Box<ServerSession>,
    /// Whether the base finished the response whole, so that the connection may serve another request.
    pub(crate) finished: bool,
}

impl GiveBack {
    /// Takes the session out; `None` if the base still has it or was dropped in mid-flight.
    pub(crate) fn take(&self) -> Option<Returned> {
        self.0.lock().take()
    }
}

/// An admitted exchange's session.
pub(crate) struct Admitted {
    inner: Option<Box<ServerSession>>,
    head: RequestHeader,
    body: ReplayBody,
    hold: Hold,
    held_head: Option<Box<ResponseHeader>>,
    give_back: GiveBack,
    finished: bool,
    stop: watch::Receiver<bool>,
    load: (Arc<Load>, LoadSettings),
    times: TimeoutSettings,
    /// How long the client has been waited for, for its body, and since when it is now.
    waited: Duration,
    since: Option<Instant>,
}

/// What the base reads ahead of a response that its client does not take, in bytes.
const AHEAD: usize = 256 * 1024;

impl Admitted {
    /// Wraps `inner`, which comes back through `give_back`; once `stop` is true, responses end their connection. What is
    /// held of them counts as `load`.
    pub(crate) fn new(
        inner: Box<ServerSession>,
        head: RequestHeader,
        body: ReplayBody,
        hold: Hold,
        give_back: GiveBack,
        stop: watch::Receiver<bool>,
        load: (Arc<Load>, LoadSettings),
        times: TimeoutSettings,
    ) -> Self {
        Self {
            inner: Some(inner),
            head,
            body,
            hold,
            held_head: None,
            give_back,
            finished: false,
            stop,
            load,
            times,
            waited: Duration::ZERO,
            since: None,
        }
    }

    #[expect(clippy::expect_used, reason = "`inner` is taken only by `Drop`, after which nobody can call")]
    fn inner(&self) -> &ServerSession {
        self.inner.as_deref().expect("the session is present until drop")
    }

    #[expect(clippy::expect_used, reason = "`inner` is taken only by `Drop`, after which nobody can call")]
    fn inner_mut(&mut self) -> &mut ServerSession {
        self.inner.as_deref_mut().expect("the session is present until drop")
    }

    /// Reads a piece of a body that is not held, as slowly as those that are may come.
    async fn read_in_time(&mut self, or_idle: bool) -> Result<Option<Bytes>> {
        let slow = |what: String| Error::explain(ErrorType::ReadTimedout, what).into_down();
        let since = *self.since.get_or_insert_with(Instant::now);
        let limit = self.times.body_idle.0.saturating_sub(since.elapsed());
        let inner = self.inner_mut();
        let reading =
            async { if or_idle { inner.read_body_or_idle(false).await } else { inner.read_request_body().await } };
        let Ok(read) = timeout(limit, reading).await else {
            return Err(slow(format!("body stalled after {} bytes", self.inner().body_bytes_read())));
        };
        self.waited += since.elapsed();
        self.since = None;
        let read = read?;
        let size = self.inner().body_bytes_read() as u64;
        if read.is_some() {
            gate::pace(size, self.waited, &self.times).map_err(|refusal| slow(refusal.detail.into_owned()))?;
        }
        Ok(read)
    }

    /// Keeps the head back while it must wait, and lets go of it before the first thing that follows it.
    fn release(&mut self, tasks: Vec<HttpTask>) -> Vec<HttpTask> {
        let mut out = Vec::with_capacity(tasks.len() + 1);
        for task in tasks {
            match task {
                HttpTask::Header(head, false) if self.hold.is_set() && !head.status.is_informational() => {
                    self.held_head = Some(head);
                }
                HttpTask::Header(head, end) if !head.status.is_informational() => {
                    // One that was held is of an attempt before this one.
                    self.held_head = None;
                    out.push(HttpTask::Header(head, end));
                }
                HttpTask::Body(data, false) if data.as_ref().is_none_or(Bytes::is_empty) => {}
                HttpTask::Failed(e) => {
                    // The head never left: the caller can still answer properly.
                    self.held_head = None;
                    out.push(HttpTask::Failed(e));
                }
                task => {
                    if let Some(head) = self.held_head.take() {
                        out.push(HttpTask::Header(head, false));
                    }
                    out.push(task);
                }
            }
        }
        out
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(session) = self.inner.take() {
            *self.give_back.0.lock() = Some(Returned { session, finished: self.finished });
        }
    }
}

fn unsupported(what: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InternalError, what)
}

#[async_trait]
impl CustomSession for Admitted {
    fn req_header(&self) -> &RequestHeader {
        &self.head
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.head
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        match self.body {
            ReplayBody::Held(_) => Ok(None),
            ReplayBody::Streaming => self.read_in_time(false).await,
        }
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.inner_mut().drain_request_body().await
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, _end: bool) -> Result<()> {
        self.inner_mut().write_response_header(head).await
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, _end: bool) -> Result<()> {
        self.inner_mut().write_response_header_ref(head).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.inner_mut().write_response_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.inner_mut().write_response_trailers(trailers).await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let tasks = self.release(tasks);
        if tasks.is_empty() {
            return Ok(false);
        }
        if *self.stop.borrow() {
            // A drain began while the replica was busy: this response is the connection's last.
            self.inner_mut().set_keepalive(None);
        }
        let bytes = tasks.iter().map(|task| if let HttpTask::Body(Some(piece), _) = task { piece.len() } else { 0 });
        let bytes = AHEAD + bytes.sum::<usize>();
        let (load, settings) = self.load.clone();
        let mut writing = pin!(self.inner_mut().response_duplex_vec(tasks));
        let at_once = std::future::poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx))).await;
        if let Poll::Ready(written) = at_once {
            return written;
        }
        let Some(_held) = load.hold(&settings, bytes) else {
            let what = "no more may be held for clients that do not take it";
            return Err(Error::explain(ErrorType::WriteTimedout, what).into_down());
        };
        writing.await
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.inner_mut().set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.inner().get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.inner_mut().set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.inner().get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.inner_mut().set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.inner().get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        // Ends up in the base's own log lines: no query, which may hold a secret.
        format!("{} {}", self.head.method, self.head.uri.path())
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.inner().response_written()
    }

    async fn shutdown(&mut self, _code: u32, _ctx: &str) {
        self.inner_mut().shutdown().await;
    }

    fn is_body_done(&mut self) -> bool {
        match self.body {
            ReplayBody::Held(_) => true,
            ReplayBody::Streaming => self.inner_mut().is_body_done(),
        }
    }

    async fn finish(&mut self) -> Result<()> {
        // The base calls this when the exchange ended well, and drops the session next. Finishing the real session is
        // left to the connection's loop, which gets it back.
        self.finished = true;
        Ok(())
    }

    fn is_body_empty(&mut self) -> bool {
        match &self.body {
            ReplayBody::Held(bytes) => bytes.is_empty(),
            ReplayBody::Streaming => self.inner_mut().is_body_empty(),
        }
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if matches!(self.body, ReplayBody::Held(_)) || no_body_expected || self.inner_mut().is_body_done() {
            return self.inner_mut().read_body_or_idle(true).await;
        }
        self.read_in_time(true).await
    }

    fn body_bytes_sent(&self) -> usize {
        self.inner().body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.inner().body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.inner().digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.inner_mut().digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        None
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        None
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        Bytes::new()
    }

    fn enable_retry_buffering(&mut self) {
        if matches!(self.body, ReplayBody::Streaming) {
            self.inner_mut().enable_retry_buffering();
        }
    }

    fn retry_buffer_truncated(&self) -> bool {
        match self.body {
            ReplayBody::Held(_) => false,
            ReplayBody::Streaming => self.inner().retry_buffer_truncated(),
        }
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        match &self.body {
            ReplayBody::Held(bytes) => (!bytes.is_empty()).then(|| bytes.clone()),
            ReplayBody::Streaming => self.inner().get_retry_buffer(),
        }
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Err(unsupported("no custom messages here"))
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Err(unsupported("no custom messages here"))
    }
}
