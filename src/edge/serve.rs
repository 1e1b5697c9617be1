//! One request, from its head on the wire to its record: admit, then answer, tunnel, or proxy.

use super::Edge;
use super::cache_hooks;
use super::choose;
use super::conn::Framing;
use super::downstream::Downstream;
use super::forward;
use super::hooks::{ADMITTED, Context, Slot};
use super::mirror::Copy;
use super::relay::{self, Asking, Stalls};
use super::respond::{self, Answer};
use super::session::{Admitted as AdmittedSession, GiveBack, Hold, ReplayBody, Returned};
use super::tunnel;
use super::upload::Upload;
use crate::acme;
use crate::audit::Stage;
use crate::balance::{ConnectError, Outcome};
use crate::facts::{Connection, Scheme};
use crate::gate::{self, Body, Exchange, Held, RequestLine};
use crate::request::{Head, Request, grpc, wire};
use crate::telemetry::ReplicaOutcome;
use crate::verdict::{Reason, Refusal};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use pingora_core::apps::HttpServerApp as _;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_error::{Error, ErrorType};
use pingora_http::{RequestHeader, ResponseHeader};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;

/// How much a refused client may still send, and for how long, so that it reads our answer (RFC 9112 section 9.6).
pub(super) const LINGER: (usize, Duration) = (256 * 1024, Duration::from_millis(1500));

/// A request as the connection's loop hands it over.
pub(super) struct Arrived {
    /// Its head has been read, its body not.
    pub(super) session: Downstream,
    /// HTTP/1: the head as it was sent.
    pub(super) raw: Option<Bytes>,
    /// HTTP/1: the guard over its body.
    pub(super) framing: Option<Framing>,
    /// HTTP/2: what is wrong with the frames that followed the head.
    pub(super) fault: Option<wire::Malformed>,
    /// The client waits for `100 Continue`.
    pub(super) expects_continue: bool,
    /// A complete WebSocket handshake.
    pub(super) upgrade: bool,
    /// Bytes that came behind an upgrade's head.
    pub(super) early: Bytes,
    /// What the streams of its connection share.
    pub(super) stalls: Arc<Stalls>,
}

/// What becomes of the connection.
pub(super) enum After {
    /// It may carry another request, of which so much has come.
    Reuse(Stream, BytesMut),
    /// The client may still be sending: let it read the answer first.
    Linger(Stream),
    /// It is closed, or was an HTTP/2 stream that did not end well.
    Close,
    /// An HTTP/2 stream that ended well.
    Done,
}

/// Serves one request.
pub(super) async fn serve(edge: &Arc<Edge>, connection: &Arc<Connection>, arrived: Arrived) -> After {
    let Arrived { mut session, raw, framing, fault, expects_continue, upgrade, early, stalls } = arrived;
    let snapshot = edge.gate.current();
    if let Downstream::Base(session) = &mut session
        && session.is_http2()
    {
        // A stream without a window waits while its connection moves; all else that waits for the client is the socket's.
        session.set_write_timeout(Some(snapshot.times.send_idle.0));
    }
    let (line, headers) = (session.line(), session.headers());
    let mut x = Box::new(Exchange::begin(snapshot, connection.clone(), line, headers));
    x.raw = raw;
    if *edge.stop.borrow() {
        session.last();
    }
    if fault.is_none()
        && let Some(token) = challenge(edge, &x)
    {
        let answer = Box::pin(edge.gate.kept().challenges.answer(token)).await;
        return Box::pin(answer_challenge(edge, session, x, answer)).await;
    }
    let read = match fault {
        Some(fault) => Err(fault.into()),
        None => read_head(&x, &session),
    };
    if let Some(port) = connection.redirect_to {
        return Box::pin(redirect(edge, session, x, read, port)).await;
    }
    let mut body = SessionBody { session: &mut session, framing: framing.clone(), waits: expects_continue };
    let admitted = match gate::admit(edge.gate.kept(), &mut x, read, &mut body).await {
        ControlFlow::Continue(admitted) => admitted,
        ControlFlow::Break(refusal) => return refuse(edge, session, x, refusal).await,
    };
    if upgrade && x.route.as_ref().is_some_and(|route| route.websocket) {
        return Box::pin(open_tunnel(edge, session, x, early)).await;
    }
    let body = admitted.into_body();
    let waits = expects_continue && matches!(body, Held::Streaming { .. });
    proxy(edge, session, x, body, waits, framing, &stalls).await
}

/// HTTP/2: a body after `content-length: 0` (RFC 9113 section 8.1.1). The base takes such a request for one without a body
/// and would not look; it has no body only once its stream has ended.
pub(super) async fn says_more_than_announced(edge: &Edge, session: &mut ServerSession) -> Option<wire::Malformed> {
    let length = session.req_header().headers.get(http::header::CONTENT_LENGTH)?;
    if length.as_bytes().iter().any(|digit| *digit != b'0') {
        return None;
    }
    let limit = edge.gate.current().times.body_idle.0;
    let (reason, what) = match tokio::time::timeout(limit, session.read_request_body()).await {
        Ok(Ok(piece)) if piece.as_ref().is_none_or(Bytes::is_empty) => return None,
        Ok(_) => (Reason::Malformed, "a body after content-length: 0"),
        Err(_) => (Reason::TooSlow, "the stream does not end"),
    };
    Some(wire::Malformed { reason, what, at: 0 })
}

/// The token that an authority asks for to see that a name is ours; only without TLS, where it must be answered whatever
/// else the listener does.
fn challenge<'a>(edge: &Edge, x: &'a Exchange) -> Option<&'a [u8]> {
    let asks = x.connection.scheme == Scheme::Http && matches!(&x.line.method[..], b"GET" | b"HEAD");
    let token = x.line.target.strip_prefix(acme::PATH.as_bytes()).filter(|_| asks)?;
    edge.gate.kept().challenges.on().then_some(token)
}

async fn answer_challenge(
    edge: &Edge,
    mut session: Downstream,
    mut x: Box<Exchange>,
    key_authorization: Option<String>,
) -> After {
    let mut answer = respond::challenge(key_authorization, &x.id);
    answer.close |= !session.is_body_done();
    x.status = answer.status;
    x.bytes_out = answer.body.len() as u64;
    let sent = session.answer(&answer).await;
    edge.gate.record(x);
    finish(session, sent.is_ok(), answer.close).await
}

/// The one reading of the head; what comes of it is settled in its turn.
fn read_head(x: &Exchange, session: &Downstream) -> Result<Request, Refusal> {
    let scheme = x.connection.scheme;
    let head = match (session.version(), session.uri()) {
        (http::Version::HTTP_2, Some(uri)) => Head::h2(session.method(), uri, &x.headers, scheme),
        (version, _) => Head::h1(session.method(), version, &x.line.target, &x.headers, scheme),
    };
    x.snapshot.model.read(&head)
}

/// Records a head that could not become a request, and gives the answer for it.
pub(super) fn refuse_head(
    edge: &Edge,
    connection: &Arc<Connection>,
    head: &[u8],
    malformed: wire::Malformed,
) -> Answer {
    let raw = wire::lenient(head);
    let mut headers = http::HeaderMap::new();
    for (name, value) in &raw.headers {
        let pair = (http::HeaderName::from_bytes(name), http::HeaderValue::from_bytes(value));
        if let (Ok(name), Ok(value)) = pair {
            headers.append(name, value);
        }
    }
    let line = RequestLine {
        method: Bytes::copy_from_slice(raw.method),
        target: Bytes::copy_from_slice(raw.target),
        protocol: Bytes::copy_from_slice(raw.version),
    };
    let mut x = Box::new(Exchange::begin(edge.gate.current(), connection.clone(), line, headers));
    x.raw = Some(Bytes::copy_from_slice(head));
    gate::note(edge.gate.kept(), &mut x);
    let refusal = Refusal::new(malformed.reason, malformed.to_string());
    let answer = respond::refusal_of(&x, &refusal);
    x.status = answer.status;
    x.refuse(refusal);
    edge.gate.record(x);
    answer
}

/// Answers a refused request. Apart from the way of those that pass, which keep no room for it.
pub(super) fn refuse(
    edge: &Edge,
    session: Downstream,
    x: Box<Exchange>,
    refusal: Refusal,
) -> Pin<Box<dyn Future<Output = After> + Send + '_>> {
    Box::pin(answer_refused(edge, session, x, refusal))
}

async fn answer_refused(edge: &Edge, mut session: Downstream, mut x: Box<Exchange>, refusal: Refusal) -> After {
    if refusal.reason == Reason::Aborted {
        x.refuse(refusal);
        edge.gate.record(x);
        return After::Close;
    }
    let mut answer = respond::refusal_of(&x, &refusal);
    if let Some(route) = x.route.as_ref().filter(|_| refusal.methods().is_none()) {
        answer = answer.allowing(route.allow());
    }
    // A body that was not read would have to be read to its end before the next request; closing is cheaper for us.
    let unread = !session.is_body_done();
    answer.close |= unread;
    x.status = answer.status;
    x.bytes_out = answer.body.len() as u64;
    x.refuse(refusal);
    let sent = session.answer(&answer).await;
    edge.gate.record(x);
    if unread && sent.is_ok() && session.is_http2() {
        discard(&mut session).await;
    }
    finish(session, sent.is_ok(), unread).await
}

/// Takes what a refused HTTP/2 client still sends, within bounds: some clients drop an answer that is followed by a
/// reset, which is what leaving their body unread comes to.
pub(super) async fn discard(session: &mut Downstream) {
    let (mut left, time) = LINGER;
    let drain = async {
        while let Ok(Some(piece)) = session.read_body().await {
            left = left.saturating_sub(piece.len());
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(time, drain).await;
}

/// Ends a session that answered by itself.
pub(super) async fn finish(session: Downstream, sent: bool, unread: bool) -> After {
    let http2 = session.is_http2();
    if !sent {
        return After::Close;
    }
    if unread && !http2 {
        return session.into_stream().map_or(After::Close, After::Linger);
    }
    match session.finish().await {
        Ok(_) if http2 => After::Done,
        Ok(Some((stream, ahead))) => After::Reuse(stream, ahead),
        _ => After::Close,
    }
}

async fn redirect(
    edge: &Edge,
    mut session: Downstream,
    mut x: Box<Exchange>,
    read: Result<Request, Refusal>,
    port: u16,
) -> After {
    match read {
        Ok(request) => {
            let target = String::from_utf8_lossy(request.forward_target()).into_owned();
            let mut answer = respond::redirect(request.authority().host(), port, &target, &x.id);
            answer.close |= !session.is_body_done();
            x.status = answer.status;
            x.request = Some(request);
            let sent = session.answer(&answer).await;
            edge.gate.record(x);
            finish(session, sent.is_ok(), answer.close).await
        }
        Err(refusal) => refuse(edge, session, x, refusal).await,
    }
}

/// Has an admitted exchange answered: straight by a replica, or with the base's proxy where the cache has a part.
async fn proxy(
    edge: &Arc<Edge>,
    mut session: Downstream,
    mut x: Box<Exchange>,
    body: Held,
    waits: bool,
    framing: Option<Framing>,
    stalls: &Arc<Stalls>,
) -> After {
    let (body, at_most) = match body {
        Held::Whole { bytes, share } => {
            x.share = share;
            (ReplayBody::Held(bytes), None)
        }
        Held::Streaming { at_most } => (ReplayBody::Streaming, at_most),
    };
    let at_hand = relay::takes(&mut session, &body);
    let copy = Copy::of(&x, at_hand.then_some(&body));
    if let Some(cache) = cache_hooks::apart(&x) {
        match forward::straight(&x, &body) {
            Ok(Some(request)) => {
                if waits && session.proceed().await.is_err() {
                    return refuse(edge, session, x, Refusal::new(Reason::Aborted, "client left before its body"))
                        .await;
                }
                let converses = x.route.as_ref().is_some_and(|route| route.grpc) && grpc::is_grpc(&x.headers);
                let upload = (!at_hand).then(|| Upload::new(framing, at_most, x.snapshot.times.clone(), converses));
                let asking = Asking { body, upload, request: Some(request), copy };
                return Box::pin(relay::relay(edge, session, x, asking, cache, stalls)).await;
            }
            Ok(None) => {}
            Err(e) => return refuse(edge, session, x, Refusal::new(Reason::Internal, e.to_string())).await,
        }
    }
    let head = match forward::request(&x, &body) {
        Ok(head) => head,
        Err(e) => return refuse(edge, session, x, Refusal::new(Reason::Internal, e.to_string())).await,
    };
    Box::pin(through_base(edge, session, x, (head, body, waits), copy, at_most, stalls.clone())).await
}

/// Hands an admitted exchange to the base's proxy, and takes it back.
async fn through_base(
    edge: &Arc<Edge>,
    mut session: Downstream,
    mut x: Box<Exchange>,
    (head, body, waits): (RequestHeader, ReplayBody, bool),
    copy: Option<Copy>,
    at_most: Option<u64>,
    stalls: Arc<Stalls>,
) -> After {
    if waits && session.proceed().await.is_err() {
        return refuse(edge, session, x, Refusal::new(Reason::Aborted, "client left before its body")).await;
    }
    let Some(session) = session.into_base().await else {
        x.refuse(Refusal::new(Reason::Internal, "a head that the base does not read"));
        edge.gate.record(x);
        return After::Close;
    };
    let load = (edge.gate.kept().load.clone(), x.snapshot.config.document.overload.clone());
    let times = x.snapshot.times.clone();
    let (hold, back, give_back) = (Hold::default(), Slot::default(), GiveBack::default());
    let context =
        Context { x: Some(x), back: back.clone(), hold: hold.clone(), copy, at_most, stalls, ..Context::empty() };
    let custom = AdmittedSession::new(session, head, body, hold, give_back.clone(), edge.stop.clone(), load, times);
    let served = edge.proxy.process_new_http(ServerSession::new_custom(Box::new(custom)), &edge.stop);
    ADMITTED.scope(Cell::new(Some(context)), served).await;
    if let Some(x) = back.lock().take() {
        edge.gate.record(x);
    }
    match give_back.take() {
        Some(Returned { session, finished: true }) => finish(Downstream::Base(session), true, false).await,
        // Dropping an HTTP/1 session closes its connection, an HTTP/2 one resets its stream.
        _ => After::Close,
    }
}

/// Opens a WebSocket tunnel for an admitted handshake, or relays what the replica says instead.
async fn open_tunnel(edge: &Arc<Edge>, session: Downstream, mut x: Box<Exchange>, early: Bytes) -> After {
    let snapshot = x.snapshot.clone();
    let (mut tried, mut before) = (Vec::new(), None);
    let (mut lease, opened, asked) = loop {
        x.stage = Stage::Balance;
        let mut lease = match choose::acquire(&x, before.take(), &tried).await {
            Ok(lease) => lease,
            Err(refusal) => return refuse(edge, session, x, refusal).await,
        };
        x.stage = Stage::Upstream;
        x.replica = Some(lease.replica().name().clone());
        let head = match forward::handshake(&x) {
            Ok(head) => head,
            Err(e) => return refuse(edge, session, x, Refusal::new(Reason::Internal, e.to_string())).await,
        };
        let settings = lease.pool().settings();
        let (connect, answer) = (settings.connect_timeout.0, settings.read_timeout.0);
        let asked = Instant::now();
        let opened = tunnel::open(lease.replica(), lease.pool().transport(), head, connect, answer).await;
        match opened {
            Err(tunnel::TunnelError::Connect(e)) => {
                lease.report(Outcome::ConnectFailed, Instant::now());
                lease.replica().meter().count(match e {
                    ConnectError::Tls(_) => ReplicaOutcome::TlsFailed,
                    _ => ReplicaOutcome::ConnectFailed,
                });
                tried.push(lease.replica().id());
                if !lease.pool().may_retry(tried.len(), &tried, Instant::now()) {
                    let refusal = Refusal::new(Reason::UpstreamFailed, e.to_string());
                    return refuse(edge, session, x, refusal).await;
                }
                before = Some(lease);
            }
            other => {
                x.spent.upstream = Some(asked.elapsed());
                break (lease, other, asked);
            }
        }
    };
    let mut answered = |status: http::StatusCode| {
        let outcome = Outcome::Answered { status: status.as_u16(), latency: asked.elapsed() };
        lease.report(outcome, Instant::now());
        lease.replica().meter().count(ReplicaOutcome::of(status));
    };
    let after = match opened {
        Ok(tunnel::Opened::Tunnel(mut headers, upstream)) => {
            answered(http::StatusCode::SWITCHING_PROTOCOLS);
            if let Err(refusal) = gate::release_head(&mut x, 101, &headers, true) {
                return refuse(edge, session, x, refusal).await;
            }
            forward::decorate_tunnel(&mut headers, &x);
            let Some(mut client) = session.into_stream() else { return After::Close };
            x.status = 101;
            let mut upstream = upstream;
            let begun = async {
                client.write_all(&tunnel::switching_protocols(&headers)).await?;
                client.flush().await?;
                upstream.write_all(&early).await
            };
            if begun.await.is_ok() {
                let counted = edge.gate.metrics().tunnel_opened();
                let (idle, life) = (snapshot.times.tunnel_idle.0, snapshot.times.tunnel_life.0);
                let limits = tunnel::Limits { idle, life, drain: edge.drain };
                x.place = None;
                drop(snapshot);
                let moved = tunnel::run(client, upstream, limits, edge.stop.clone()).await;
                drop(counted);
                x.bytes_in = moved.up;
                x.bytes_out = moved.down;
            }
            edge.gate.record(x);
            After::Close
        }
        Ok(tunnel::Opened::Plain(response)) => {
            answered(response.status());
            relay(edge, session, x, response).await
        }
        Err(e) => {
            let after = asked.elapsed();
            let (reason, outcome, counted) = match e {
                tunnel::TunnelError::Timeout => {
                    (Reason::UpstreamTimeout, Outcome::TimedOut { after }, ReplicaOutcome::TimedOut)
                }
                _ => (Reason::UpstreamFailed, Outcome::Broken, ReplicaOutcome::BrokeOff),
            };
            lease.report(outcome, Instant::now());
            lease.replica().meter().count(counted);
            refuse(edge, session, x, Refusal::new(reason, e.to_string())).await
        }
    };
    drop(lease);
    after
}

/// Relays an ordinary answer to a handshake.
async fn relay(
    edge: &Edge,
    mut session: Downstream,
    mut x: Box<Exchange>,
    response: http::Response<hyper::body::Incoming>,
) -> After {
    let (parts, mut body) = response.into_parts();
    let mut judging = match gate::release_head(&mut x, parts.status.as_u16(), &parts.headers, false) {
        Ok(judging) => judging,
        Err(refusal) => return refuse(edge, session, x, refusal).await,
    };
    let built = forward::relayed(&parts, &x);
    let Ok(head) = built else {
        return refuse(edge, session, x, Refusal::new(Reason::UpstreamFailed, "unusable response head")).await;
    };
    x.status = parts.status.as_u16();
    session.last();
    let mut head = Some(head);
    let sent = loop {
        let frame = match body.frame().await {
            Some(Ok(frame)) => frame.into_data().ok(),
            Some(Err(_)) => break false,
            None => None,
        };
        let end = frame.is_none();
        let mut piece = frame;
        if let Err(refusal) = gate::release_body(&mut x, &mut judging, &mut piece, end) {
            if head.is_some() {
                return refuse(edge, session, x, refusal).await;
            }
            x.refuse(refusal);
            break false;
        }
        if judging.holds() {
            continue;
        }
        if write_piece(&mut session, &mut head, piece.unwrap_or_default(), end).await.is_err() {
            break false;
        }
        if end {
            break true;
        }
    };
    x.bytes_out = session.sent() as u64;
    edge.gate.record(x);
    if sent { finish(session, true, false).await } else { After::Close }
}

async fn write_piece(
    session: &mut Downstream,
    head: &mut Option<ResponseHeader>,
    piece: Bytes,
    end: bool,
) -> pingora_error::Result<()> {
    if let Some(head) = head.take() {
        session.head(head).await?;
    }
    session.body(piece, end).await
}

/// A request body read from a session.
struct SessionBody<'a> {
    session: &'a mut Downstream,
    framing: Option<Framing>,
    waits: bool,
}

impl Body for SessionBody<'_> {
    fn is_empty(&mut self) -> bool {
        self.session.is_body_empty()
    }

    async fn proceed(&mut self) -> Result<(), Refusal> {
        if !std::mem::take(&mut self.waits) {
            return Ok(());
        }
        self.session.proceed().await.map_err(|e| Refusal::new(Reason::Aborted, e.to_string()))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let framing = self.framing.as_ref();
        self.session.read_body().await.map_err(|e| unreadable(framing.and_then(Framing::fault), &e))
    }
}

/// A body that cannot be read: badly framed, or its sender left.
pub(super) fn unreadable(fault: Option<wire::Malformed>, e: &Error) -> Refusal {
    if let Some(fault) = fault {
        return fault.into();
    }
    let reason = match e.etype() {
        ErrorType::ReadTimedout => Reason::TooSlow,
        ErrorType::ReadError | ErrorType::ConnectionClosed | ErrorType::H2Error => Reason::Aborted,
        _ => Reason::Malformed,
    };
    Refusal::new(reason, e.to_string())
}
