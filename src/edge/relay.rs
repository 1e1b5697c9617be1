//! The straight way to a replica: HTTP/1.1 without the base's proxy, for exchanges in which the cache has no part and
//! whose request body, if any, is at hand.
//!
//! One task reads a piece of the response, has it judged, and writes it, before it reads the next: what is held of a
//! response that its client does not take is a few pieces ([`kept::PIECE`]). The order of things is that of `hooks`:
//! pick a replica, ask, release the head, release the body; and a request is asked once more by the same rules.
//!
//! A departure: interim responses (1xx, RFC 9110 section 15.2) end here, for HTTP/1 clients too; for HTTP/2 ones they do in
//! the base.

use super::forward;
use super::kept::{AskError, Link};
use super::serve::{After, finish, refuse};
use super::session::ReplayBody;
use super::{Edge, cache_hooks};
use crate::audit::Stage;
use crate::balance::{InFlight, Outcome, Pool, ReplicaId};
use crate::cache::status::Status;
use crate::gate::{self, Exchange, Judging};
use crate::telemetry::ReplicaOutcome;
use crate::verdict::{Reason, Refusal};
use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A replica's answer, and the connection on which its body comes.
struct Asked {
    link: Link,
    response: Response<Incoming>,
    /// Counted until the body has ended.
    _in_flight: InFlight,
}

/// Whether a request's body is at hand; there may be none.
pub(super) fn takes(session: &mut ServerSession, body: &ReplayBody) -> bool {
    match body {
        ReplayBody::Held(_) => true,
        ReplayBody::Streaming => session.is_body_empty(),
    }
}

/// Why a response did not reach its client whole.
enum Cut {
    /// The client left, or does not take it.
    Client(String),
    /// The replica broke it off.
    Replica(AskError),
    /// The rules refuse it.
    Refused(Refusal),
}

/// Asks a replica, and relays what it says.
pub(super) async fn relay(
    edge: &Arc<Edge>,
    mut session: Box<ServerSession>,
    mut x: Box<Exchange>,
    body: ReplayBody,
    request: http::Request<Full<Bytes>>,
    cache: Option<Status>,
    stalls: &Stalls,
) -> After {
    let pool = x.snapshot.pool.clone();
    let silence = x.route.as_ref().and_then(|route| route.response_timeout).unwrap_or(pool.settings().read_timeout.0);
    let asked = match ask(edge, &mut session, &mut x, &pool, body, request, silence).await {
        Ok(asked) => asked,
        Err(refusal) => return refuse(edge, session, x, refusal).await,
    };
    let Asked { mut link, response, _in_flight } = asked;
    let (parts, mut body) = response.into_parts();
    x.count_replica(ReplicaOutcome::of(parts.status));
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        // Nobody asked for it (RFC 9110 section 15.2.2), and what would follow is no HTTP that anything here reads.
        let refusal = Refusal::new(Reason::UpstreamFailed, "101 without a request for an upgrade");
        return refuse(edge, session, x, refusal).await;
    }
    let mut head = ResponseHeader::from(parts);
    forward::response(&mut head);
    cache_hooks::invalidate(edge.storage, &x, &head);
    let bodiless = session.req_header().method == Method::HEAD
        || matches!(head.status.as_u16(), 204 | 304)
        || head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() == b"0");
    let judging = match gate::release_head(&mut x, head.status.as_u16(), &head.headers, bodiless) {
        Ok(judging) => judging,
        Err(refusal) => return refuse(edge, session, x, refusal).await,
    };
    x.cache = cache.as_ref().map(cache_hooks::counted);
    let framed = forward::frame(&mut head, &x, bodiless);
    let said = cache.map_or(Ok(true), |status| head.append_header("cache-status", status.to_string()));
    if let Err(e) = framed.and(said) {
        return refuse(edge, session, x, Refusal::new(Reason::UpstreamFailed, e.to_string())).await;
    }
    let status = head.status.as_u16();
    if *edge.stop.borrow() {
        // A drain began while the replica was busy: this response is the connection's last.
        session.set_keepalive(None);
    }
    if gate::streams(&x, &head.headers) {
        // It may stay open for hours, and costs next to nothing.
        x.place = None;
    }
    let mut head = Some(head);
    let mut source = Source { link: &mut link, body: &mut body, silence, bodiless };
    let mut client = Client { edge, session: &mut session, stalls };
    let cut = match pump(&mut client, &mut x, judging, &mut source, &mut head).await {
        Ok(()) => {
            drop(body);
            edge.links.keep(link, pool.settings().idle_timeout.0);
            x.status = status;
            x.bytes_out = session.body_bytes_sent() as u64;
            edge.gate.record(x);
            return finish(session, true, false).await;
        }
        Err(cut) => cut,
    };
    let refusal = match cut {
        Cut::Client(detail) => Refusal::new(Reason::Aborted, detail),
        Cut::Replica(e) => failed(&e),
        Cut::Refused(refusal) => refusal,
    };
    if head.is_some() {
        return refuse(edge, session, x, refusal).await;
    }
    // Part of the response has left and cannot be taken back: dropping the session cuts it off.
    x.status = status;
    x.bytes_out = session.body_bytes_sent() as u64;
    x.refuse(refusal);
    edge.gate.record(x);
    After::Close
}

/// Finds a replica that answers. Asked once more: what cannot have arrived; and what may have, if it is idempotent and
/// was not merely answered late. A kept connection that broke says nothing about its replica.
async fn ask(
    edge: &Edge,
    session: &mut ServerSession,
    x: &mut Exchange,
    pool: &Pool,
    body: ReplayBody,
    request: http::Request<Full<Bytes>>,
    silence: Duration,
) -> Result<Asked, Refusal> {
    let idempotent = request.method().is_idempotent();
    let (mut request, mut tried) = (Some(request), Vec::<ReplicaId>::new());
    let (mut attempts, begun) = (0, Instant::now());
    loop {
        x.stage = Stage::Balance;
        let replica = pool.pick(&tried)?;
        x.stage = Stage::Upstream;
        x.replica = Some(replica.name().clone());
        attempts += 1;
        let in_flight = replica.enter();
        let request = match request.take() {
            Some(request) => request,
            None => forward::straight(x, &body)
                .ok()
                .flatten()
                .ok_or_else(|| Refusal::new(Reason::Internal, "a request that could be written once"))?,
        };
        let asking = edge.links.ask(replica.address(), request, pool.settings().connect_timeout.0, silence);
        let error = tokio::select! {
            biased;
            asked = asking => match asked {
                Ok((link, response)) => {
                    pool.report(&replica, Outcome::Connected);
                    x.spent.upstream = Some(begun.elapsed());
                    return Ok(Asked { link, response, _in_flight: in_flight });
                }
                Err(error) => error,
            },
            why = gone(session) => return Err(Refusal::new(Reason::Aborted, why)),
        };
        let again = match error {
            AskError::Connect(_) => {
                pool.report(&replica, Outcome::ConnectFailed);
                x.count_replica(ReplicaOutcome::ConnectFailed);
                tried.push(replica.id());
                true
            }
            AskError::Late => {
                pool.report(&replica, Outcome::Broken);
                x.count_replica(ReplicaOutcome::TimedOut);
                false
            }
            AskError::Broken { reused, unsent, .. } => {
                x.count_replica(ReplicaOutcome::BrokeOff);
                if !reused {
                    pool.report(&replica, Outcome::Broken);
                    tried.push(replica.id());
                }
                idempotent || unsent
            }
        };
        let somebody = || pool.replicas().iter().any(|r| r.is_healthy() && !tried.contains(&r.id()));
        if !again || attempts > usize::from(pool.settings().max_retries) || !somebody() {
            return Err(failed(&error));
        }
    }
}

fn failed(e: &AskError) -> Refusal {
    let reason = if matches!(e, AskError::Late) { Reason::UpstreamTimeout } else { Reason::UpstreamFailed };
    Refusal::new(reason, e.to_string())
}

/// Where a response's body comes from.
struct Source<'a> {
    link: &'a mut Link,
    body: &'a mut Incoming,
    silence: Duration,
    bodiless: bool,
}

/// Most streams of a connection for which pieces of responses wait; further ones get their next piece when fewer do.
const STALLED: usize = 32;

/// The streams of one connection whose client does not take what is there for it.
#[derive(Default)]
pub(super) struct Stalls {
    count: AtomicUsize,
    fewer: Notify,
}

impl Stalls {
    /// Waits until another stream may have a piece that its client does not take.
    async fn room(&self) {
        loop {
            let mut fewer = pin!(self.fewer.notified());
            // From here on no change is missed.
            fewer.as_mut().enable();
            if self.count.load(Ordering::Relaxed) < STALLED {
                return;
            }
            fewer.await;
        }
    }
}

/// A stream that waits for its client, until dropped.
struct Stalled<'a>(&'a Stalls);

impl<'a> Stalled<'a> {
    fn on(stalls: &'a Stalls) -> Self {
        stalls.count.fetch_add(1, Ordering::Relaxed);
        Self(stalls)
    }
}

impl Drop for Stalled<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.fewer.notify_waiters();
    }
}

/// Where a response goes.
struct Client<'a> {
    edge: &'a Edge,
    session: &'a mut ServerSession,
    stalls: &'a Stalls,
}

impl Client<'_> {
    async fn head(&mut self, head: ResponseHeader) -> Result<(), Cut> {
        self.session.write_response_header(Box::new(head)).await.map_err(|e| Cut::Client(e.to_string()))
    }

    /// Writes a piece of the body. While the client does not take it, it counts as held.
    async fn piece(&mut self, x: &Exchange, piece: Bytes, end: bool) -> Result<(), Cut> {
        let bytes = piece.len() + OVERHEAD;
        let mut writing = pin!(self.session.write_response_body(piece, end));
        let at_once = std::future::poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx))).await;
        let written = match at_once {
            Poll::Ready(written) => written,
            Poll::Pending => {
                let full = || Cut::Client("no more may be held for clients that do not take it".to_owned());
                let settings = &x.snapshot.config.document.overload;
                let _held = self.edge.gate.kept().load.hold(settings, bytes).ok_or_else(full)?;
                let _stalled = Stalled::on(self.stalls);
                writing.await
            }
        };
        written.map_err(|e| Cut::Client(e.to_string()))
    }
}

/// What a stalled response holds besides the piece being written, in bytes: a TLS record and the exchange itself.
const OVERHEAD: usize = 32 * 1024;

/// Relays the response; `head` is empty once it has left.
async fn pump(
    client: &mut Client<'_>,
    x: &mut Exchange,
    mut judging: Judging,
    from: &mut Source<'_>,
    head: &mut Option<ResponseHeader>,
) -> Result<(), Cut> {
    let mut end = from.bodiless || from.body.is_end_stream();
    loop {
        if !judging.holds()
            && let Some(head) = head.take()
        {
            client.head(head).await?;
        }
        let mut piece = None;
        if !end {
            let stalls = client.stalls;
            let next = tokio::select! {
                biased;
                next = async {
                    stalls.room().await;
                    from.link.piece(from.body, from.silence).await
                } => next.map_err(Cut::Replica)?,
                why = gone(client.session) => return Err(Cut::Client(why)),
            };
            match next {
                Some((data, last)) => (piece, end) = (Some(data), last),
                None => end = true,
            }
        }
        gate::release_body(x, &mut judging, &mut piece, end).map_err(Cut::Refused)?;
        if judging.holds() {
            continue;
        }
        if let Some(head) = head.take() {
            client.head(head).await?;
        }
        let piece = piece.unwrap_or_default();
        if end || !piece.is_empty() {
            client.piece(x, piece, end).await?;
        }
        if end {
            return Ok(());
        }
    }
}

/// Ends when the client has left.
async fn gone(session: &mut ServerSession) -> String {
    match session.read_body_or_idle(true).await {
        Err(e) => e.to_string(),
        // A next request was begun on the same connection; its turn comes.
        Ok(_) => std::future::pending().await,
    }
}
