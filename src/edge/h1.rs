//! The HTTP/1 side of a connection: its keep-alive loop.
//!
//! Every head is read here, whole and bounded, and checked strictly before the base's lenient parser sees a byte; a
//! head that is refused is still shown to the phase-1 rules and recorded. Between requests only this small future and
//! the connection's own state are alive. Pipelined requests are answered one after the other (RFC 9112 section 9.3.2).

use super::bodiless::Bodiless;
use super::conn::Conn;
use super::downstream::{self, Downstream};
use super::limit::Limit;
use super::relay::Stalls;
use super::serve::{self, Arrived, LINGER};
use super::{Edge, respond};
use crate::facts::Connection;
use crate::request::head;
use crate::request::wire::{self, Body, Malformed};
use crate::verdict::Reason;
use bytes::{Bytes, BytesMut};
use pingora_core::protocols::Stream;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead as _, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

/// Read at a time while waiting for a request, in bytes; lives in the future of an idle connection.
const FIRST_READ: usize = 256;
/// When a drain begins, a connection that was opened, or answered, less than this ago may have its next request on the
/// way: it gets that answer. One that has been idle for longer is closed at once.
const RECENT: Duration = Duration::from_secs(2);

enum Head {
    /// This many bytes of the buffer are a whole head.
    Whole(usize),
    /// Nothing (more) to serve.
    Quiet,
    /// To be refused without looking further.
    Bad(Malformed),
}

/// Serves requests until the connection ends.
pub(super) async fn run(edge: Arc<Edge>, conn: Conn, facts: Arc<Connection>) {
    let guard = conn.framing();
    let mut stream: Stream = Box::new(conn);
    let mut buffer = BytesMut::new();
    let mut stop = edge.stop.clone();
    let stop = pin!(async move {
        // An error is a sender that is gone, which means the same.
        let _ = stop.wait_for(|stop| *stop).await;
    });
    // Both are made once: most of the requests on a connection are neither its last nor late.
    let mut wait = Wait { stop, stopping: false, limit: Limit::default() };
    let born = Instant::now();
    let stalls = Arc::<Stalls>::default();
    let mut requests = 0_u64;
    loop {
        let since = Instant::now();
        let head = match read_head(&edge, &mut wait, &mut stream, &mut buffer, (born, since)).await {
            Head::Whole(length) => length,
            Head::Quiet => break,
            Head::Bad(malformed) => return Box::pin(refuse(&edge, stream, &facts, &buffer, malformed)).await,
        };
        requests += 1;
        let snapshot = edge.gate.current();
        let checked = wire::check(buffer.get(..head).unwrap_or_default(), &snapshot.head_limits);
        let (age, most) =
            (snapshot.times.connection_age.0, snapshot.config.document.server.max_requests_per_connection);
        let last = requests == most || (!age.is_zero() && since - born >= age);
        drop(snapshot);
        let checked = checked.and_then(|framing| {
            guard.expect(framing.body, buffer.get(head..).unwrap_or_default())?;
            Ok(framing)
        });
        let framing = match checked {
            Ok(framing) => framing,
            Err(malformed) => {
                buffer.truncate(head);
                return Box::pin(refuse(&edge, stream, &facts, &buffer, malformed)).await;
            }
        };
        let upgrade = framing.upgrade.is_some();
        // What follows an upgrade's head belongs to the tunnel, not to a next request.
        let early = if upgrade { buffer.split_off(head).freeze() } else { Bytes::new() };
        let raw = buffer.split_to(head).freeze().slice(framing.start..);
        let bodiless = matches!(framing.body, Body::None | Body::Length(0)) && !upgrade;
        let read = if bodiless {
            match head::request(&raw) {
                Some(head) => {
                    let ahead = std::mem::take(&mut buffer);
                    let mut session = Bodiless::new(stream, head, raw.clone(), ahead, framing.keep_alive);
                    if last {
                        session.last();
                    }
                    Ok(Downstream::Bodiless(Box::new(session)))
                }
                None => Err(stream),
            }
        } else {
            let session = downstream::base(stream, &raw, &buffer, framing.keep_alive && !last).await;
            buffer.clear();
            session.map(Downstream::Base)
        };
        let session = match read {
            Ok(session) => session,
            // The strict check lets nothing through that is refused here, bar limits of the parsers.
            Err(stream) => {
                let malformed = Malformed { reason: Reason::Malformed, what: "refused by the parser", at: 0 };
                return Box::pin(refuse(&edge, stream, &facts, &raw, malformed)).await;
            }
        };
        let arrived = Arrived {
            session,
            raw: Some(raw),
            framing: Some(guard.clone()),
            fault: None,
            expects_continue: framing.expects_continue,
            upgrade,
            early,
            stalls: stalls.clone(),
        };
        match Box::pin(serve::serve(&edge, &facts, arrived)).await {
            serve::After::Reuse(next, ahead) => (stream, buffer) = (next, ahead),
            serve::After::Linger(stream) => return Box::pin(linger(stream)).await,
            serve::After::Close | serve::After::Done => return,
        }
    }
    // Tell the client in TLS terms that this end was meant (RFC 8446 section 6.1).
    let _ = AsyncWriteExt::shutdown(&mut stream).await;
}

/// What ends the wait for a next request.
struct Wait<'a, F> {
    /// Ends when a drain begins.
    stop: Pin<&'a mut F>,
    stopping: bool,
    limit: Limit,
}

impl<F: Future<Output = ()>> Wait<'_, F> {
    /// Reads the first bytes of a request; `false` if none came for `idle`, or, while the gate stops, for [`RECENT`], or
    /// the client left.
    async fn first(&mut self, stream: &mut Stream, buffer: &mut BytesMut, since: Instant, idle: Duration) -> bool {
        let mut first = [0; FIRST_READ];
        let mut read = ReadBuf::new(&mut first);
        self.limit.set(since + if self.stopping { idle.min(RECENT) } else { idle });
        let outcome = poll_fn(|cx| {
            if let Poll::Ready(outcome) = Pin::new(&mut *stream).poll_read(cx, &mut read) {
                return Poll::Ready(outcome.is_ok());
            }
            if !self.stopping && self.stop.as_mut().poll(cx).is_ready() {
                self.stopping = true;
                self.limit.set(since + idle.min(RECENT));
            }
            self.limit.poll(cx).map(|()| false)
        });
        let came = outcome.await && !read.filled().is_empty();
        buffer.extend_from_slice(read.filled());
        came
    }
}

/// Reads until the buffer holds a whole head. The wait for its first byte is bounded by the keep-alive limit, from
/// there on by the head's own deadline.
async fn read_head(
    edge: &Edge,
    wait: &mut Wait<'_, impl Future<Output = ()>>,
    stream: &mut Stream,
    buffer: &mut BytesMut,
    (born, since): (Instant, Instant),
) -> Head {
    let snapshot = edge.gate.current();
    let (mut idle, whole) = (snapshot.times.keepalive.0, snapshot.times.head.0);
    if !snapshot.times.connection_age.0.is_zero() {
        idle = idle.min(snapshot.times.connection_age.0.saturating_sub(since - born));
    }
    let limits = snapshot.head_limits.clone();
    drop(snapshot);
    if buffer.is_empty() && !wait.first(stream, buffer, since, idle).await {
        return Head::Quiet;
    }
    let mut deadline = None;
    let mut seen = 0;
    loop {
        if let Some(end) = wire::find_end(buffer, seen) {
            return Head::Whole(end);
        }
        if buffer.len() > limits.head.bytes() {
            return Head::Bad(wire::too_large(buffer, &limits));
        }
        seen = buffer.len();
        buffer.reserve(seen.max(1024));
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + whole);
        match timeout_at(deadline, stream.read_buf(buffer)).await {
            Ok(Ok(n)) if n > 0 => {}
            Ok(_) => return Head::Quiet,
            Err(_) => {
                let what = "head not complete in time";
                return Head::Bad(Malformed { reason: Reason::TooSlow, what, at: buffer.len() });
            }
        }
    }
}

/// Answers a head that no session was made for.
async fn refuse(edge: &Edge, mut stream: Stream, facts: &Arc<Connection>, head: &[u8], malformed: Malformed) {
    let answer = serve::refuse_head(edge, facts, head, malformed);
    let bytes = respond::to_h1(&answer);
    let write = async {
        stream.write_all(&bytes).await?;
        stream.flush().await
    };
    if timeout(LINGER.1, write).await.is_ok() {
        linger(stream).await;
    }
}

/// Lets the client read our last words before the connection goes.
async fn linger(mut stream: Stream) {
    let (mut left, time) = LINGER;
    let drain = async {
        stream.flush().await?;
        let mut sink = [0; 4096];
        AsyncWriteExt::shutdown(&mut stream).await?;
        while left > 0 {
            let n = stream.read(&mut sink).await?;
            if n == 0 {
                break;
            }
            left = left.saturating_sub(n);
        }
        std::io::Result::Ok(())
    };
    let _ = timeout(time, drain).await;
}
