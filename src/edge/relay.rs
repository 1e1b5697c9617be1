//! The straight way to a replica, without the base's proxy, for exchanges in which the cache has no part.
//!
//! One task reads a piece of the response, has it judged, and writes it, before it reads the next: what is held of a
//! response that its client does not take is one piece ([`PIECE`](super::link::PIECE)), or a window of HTTP/2. A request
//! body that nothing here reads flows meanwhile (`upload`). The order of things is that of `hooks`: pick a replica, ask, release the
//! head, release the body; and a request is asked once more by the same rules. Trailers go to clients that take them over
//! HTTP/2; to HTTP/1 ones the base cannot write them.
//!
//! Of interim responses (1xx, RFC 9110 section 15.2) the links of a 103 go to HTTP/1.1 clients; the others end here, and
//! for HTTP/2 clients all do in the base.

use super::attempt::{Ran, Second, Try, given_up, over, told, told_of, whom};
use super::choose;
use super::downstream::Downstream;
use super::forward;
use super::kept::{AskError, Link, Piece};
use super::mirror::Copy;
use super::outgoing::Outgoing;
use super::serve::{After, discard, finish, refuse};
use super::session::ReplayBody;
use super::upload::{FOREVER, Upload, Watched, watch};
use super::{Edge, cache_hooks, respond};
use crate::audit::Stage;
use crate::balance::{Lease, Outcome, ReplicaId};
use crate::gate::{self, Exchange, Judging};
use crate::request::grpc;
use crate::telemetry::ReplicaOutcome;
use crate::verdict::{Reason, Refusal};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Version, header};
use pingora_http::ResponseHeader;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// A replica's answer, and the connection on which its body comes.
struct Asked {
    link: Link,
    response: Response<()>,
    /// Kept until the body has ended.
    lease: Lease,
}

/// What is asked of replicas.
pub(super) struct Asking {
    /// To write the request from again.
    pub(super) body: ReplayBody,
    /// The body, where it flows from the client.
    pub(super) upload: Option<Upload>,
    /// As it was written first.
    pub(super) request: Option<http::Request<()>>,
    /// What a mirror gets as soon as a replica is asked.
    pub(super) copy: Option<Copy>,
}

impl Asking {
    /// The body for one replica, which may take `accept` until it wants more of it.
    fn outgoing(&mut self, accept: Duration) -> Outgoing {
        match (&mut self.upload, &self.body) {
            (Some(upload), _) => upload.outgoing(accept),
            (None, ReplayBody::Held(bytes)) => Outgoing::Whole(bytes.clone()),
            (None, ReplayBody::Streaming) => Outgoing::Whole(Bytes::new()),
        }
    }

    /// Whether another replica could be sent the same.
    fn can_repeat(&self) -> bool {
        self.upload.as_ref().is_none_or(Upload::is_untouched)
    }
}

/// The attempts made so far.
struct Attempts {
    begun: Instant,
    count: usize,
    tried: Vec<ReplicaId>,
    /// The one before, which holds its place until the next is looked for.
    before: Option<Lease>,
    /// When the client gives up, as it says.
    deadline: Option<Instant>,
}

/// Whether a request's body is at hand; there may be none.
pub(super) fn takes(session: &mut Downstream, body: &ReplayBody) -> bool {
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
    /// The rules refuse it, or what the client sends.
    Refused(Refusal),
}

impl From<Watched> for Cut {
    fn from(watched: Watched) -> Self {
        match watched {
            Watched::Refused(refusal) if refusal.reason == Reason::Aborted => Self::Client(refusal.detail.into_owned()),
            Watched::Refused(refusal) => Self::Refused(refusal),
            Watched::Silent => Self::Replica(AskError::Late),
        }
    }
}

/// Asks a replica, and relays what it says.
pub(super) async fn relay(
    edge: &Arc<Edge>,
    mut session: Downstream,
    mut x: Box<Exchange>,
    mut asking: Asking,
    cache: Option<crate::cache::status::Status>,
    stalls: &Stalls,
) -> After {
    x.cache = cache.as_ref().map(cache_hooks::counted);
    let called =
        (x.version() == Version::HTTP_2 && grpc::is_grpc(&x.headers)).then(|| grpc::timeout(&x.headers)).flatten();
    let begun = Instant::now();
    let deadline = called.and_then(|timeout| begun.checked_add(timeout));
    let mut attempts = Attempts { begun, count: 0, tried: Vec::new(), before: None, deadline };
    let (refusal, status) = loop {
        let asked = ask(edge, &mut session, &mut x, &mut asking, &mut attempts).await;
        x.bytes_in = asking.upload.as_ref().map_or(x.bytes_in, Upload::read);
        let asked = match asked {
            Ok(asked) => asked,
            Err(refusal) => return refuse(edge, session, x, refusal).await,
        };
        let Asked { mut link, response, mut lease } = asked;
        let (parts, ()) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked for it (RFC 9110 section 15.2.2), and what would follow is no HTTP that anything here reads.
            let refusal = Refusal::new(Reason::UpstreamFailed, "101 without a request for an upgrade");
            return refuse(edge, session, x, refusal).await;
        }
        let mut head = ResponseHeader::from(parts);
        head.set_version(Version::HTTP_11);
        forward::response(&mut head);
        cache_hooks::invalidate(edge.storage, &x, &head);
        let bodiless = *session.method() == Method::HEAD
            || matches!(head.status.as_u16(), 204 | 304)
            || head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() == b"0")
                && link.has_ended();
        let judging = match gate::release_head(&mut x, head.status.as_u16(), &head.headers, bodiless) {
            Ok(judging) => judging,
            Err(refusal) => return refuse(edge, session, x, refusal).await,
        };
        let trailers = forward::passes_trailers(&x) || grpc::is_grpc(&head.headers) && x.version() == Version::HTTP_2;
        let framed = forward::frame(&mut head, &x, bodiless, choose::set_cookie(&x, &lease).as_deref());
        let said = cache.as_ref().map_or(Ok(true), |status| head.append_header("cache-status", status.to_string()));
        if let Err(e) = framed.and(said) {
            return refuse(edge, session, x, Refusal::new(Reason::UpstreamFailed, e.to_string())).await;
        }
        let status = head.status.as_u16();
        if *edge.stop.borrow() {
            // A drain began while the replica was busy: this response is the connection's last.
            session.last();
        }
        if gate::streams(&x, &head.headers) {
            // It may stay open for hours, and costs next to nothing.
            x.place = None;
        }
        let settings = lease.pool().settings();
        let own = x.route.as_ref().and_then(|route| route.response_timeout).unwrap_or_default();
        let (silence, idle) = (settings.read_timeout.0.max(own), settings.idle_timeout.0);
        let call = trailers && grpc::is_grpc(&head.headers);
        let mut head = Some(head);
        let mut source = Source { link: &mut link, silence, bodiless, trailers, deadline };
        let mut client = Client { edge, session: &mut session, stalls };
        let pumped = pump(&mut client, &mut x, judging, &mut source, &mut asking.upload, &mut head).await;
        x.bytes_in = asking.upload.as_ref().map_or(x.bytes_in, Upload::read);
        let refusal = match pumped {
            Ok(()) => {
                edge.links.keep(link, idle);
                x.status = status;
                x.bytes_out = session.sent() as u64;
                edge.gate.record(x);
                // The replica may have answered before it had heard everything.
                let unread = asking.upload.is_some() && !session.is_body_done();
                if unread && session.is_http2() {
                    Box::pin(discard(&mut session)).await;
                }
                return finish(session, true, unread).await;
            }
            Err(Cut::Client(detail)) => Refusal::new(Reason::Aborted, detail),
            Err(Cut::Refused(refusal)) => refusal,
            Err(Cut::Replica(e)) => {
                let late = matches!(e, AskError::Late);
                if !late {
                    told(&mut lease, Outcome::Broken, ReplicaOutcome::BrokeOff, Instant::now());
                }
                // What the rules still hold back nobody has seen.
                let again = session.method().is_idempotent() && asking.can_repeat();
                if head.is_some() && !late && again && attempts.again(lease, true) {
                    continue;
                }
                failed(&e)
            }
        };
        if head.is_some() {
            return refuse(edge, session, x, refusal).await;
        }
        if call && refusal.reason != Reason::Aborted {
            // A call can be ended in so many words even now.
            let last = respond::grpc_trailers(&refusal);
            let ended = session.trailers(last).await.is_ok();
            x.status = status;
            x.bytes_out = session.sent() as u64;
            x.refuse(refusal);
            edge.gate.record(x);
            return finish(session, ended, false).await;
        }
        break (refusal, status);
    };
    // Part of the response has left and cannot be taken back: dropping the session cuts it off.
    x.status = status;
    x.bytes_out = session.sent() as u64;
    x.refuse(refusal);
    edge.gate.record(x);
    After::Close
}

impl Attempts {
    /// Whether there is another attempt after the one with `lease`; `leave`: not with the same replica.
    fn again(&mut self, lease: Lease, leave: bool) -> bool {
        if leave {
            self.tried.push(lease.replica().id());
        }
        let again = lease.pool().may_retry(self.count, &self.tried, Instant::now());
        self.before = Some(lease);
        again
    }
}

/// Finds a replica that answers. Asked once more: what cannot have arrived, or was not looked at; and, if it is idempotent,
/// what may have, what was answered late while another could be asked, and what was answered with a status that is tried
/// elsewhere. Of a body that flows from the client nothing may have been read by then.
async fn ask(
    edge: &Edge,
    session: &mut Downstream,
    x: &mut Exchange,
    asking: &mut Asking,
    attempts: &mut Attempts,
) -> Result<Asked, Refusal> {
    let idempotent = session.method().is_idempotent();
    loop {
        x.stage = Stage::Balance;
        let mut lease = choose::acquire(x, attempts.before.take(), &attempts.tried).await?;
        x.stage = Stage::Upstream;
        x.replica = Some(lease.replica().name().clone());
        if let Some(copy) = asking.copy.take() {
            copy.send(&edge.links);
        }
        let mut patience = choose::patience(x, &lease, attempts.count, &attempts.tried);
        if asking.upload.is_some() {
            // What was read of the body could not be sent elsewhere.
            patience = choose::Patience { time: choose::whole(x, &lease), short: false, others: false };
        }
        attempts.count += 1;
        let mut request = match asking.request.take() {
            Some(request) => request,
            None => forward::straight(x, &asking.body)
                .ok()
                .flatten()
                .ok_or_else(|| Refusal::new(Reason::Internal, "a request that could be written once"))?,
        };
        if asking.upload.is_some() && !request.headers().contains_key(header::CONTENT_LENGTH) {
            // Whatever the method, there is a body: one without a framing would be the next request.
            request.headers_mut().insert(header::TRANSFER_ENCODING, http::HeaderValue::from_static("chunked"));
        }
        let body = asking.outgoing(lease.pool().settings().write_timeout.0);
        let safe = session.method().is_safe();
        let hedged = safe && attempts.count == 1 && asking.upload.is_none() && body.has_ended();
        let after = hedged.then(|| lease.pool().hedges_after(lease.replica())).flatten();
        let second = after.map(|after| Second { after, request: request.clone() });
        let request = request.map(|()| body);
        let mut asked_at = Instant::now();
        let hints = x.version() == Version::HTTP_11;
        let mut attempt = Try { edge, x, lease: &lease, patience, deadline: attempts.deadline, hints, second };
        let asked = match attempt.run(session, asking.upload.as_mut(), request).await? {
            Ran::First(asked) => asked,
            Ran::Second { lease: other, since, answer, first } => {
                let now = Instant::now();
                match first {
                    Some(error) => told_of(&mut lease, &error, asked_at),
                    None => {
                        let after = now - asked_at;
                        told(&mut lease, Outcome::Overtaken { after }, ReplicaOutcome::Overtaken, now);
                    }
                }
                (lease, asked_at) = (other, since);
                x.replica = Some(lease.replica().name().clone());
                Ok(answer)
            }
        };
        let error = match asked {
            Ok((link, response)) => {
                let (status, now) = (response.status(), Instant::now());
                x.spent.upstream = Some(now - attempts.begun);
                let outcome = Outcome::Answered { status: status.as_u16(), latency: now - asked_at };
                told(&mut lease, outcome, ReplicaOutcome::of(status), now);
                let elsewhere =
                    idempotent && asking.can_repeat() && lease.pool().settings().retry.statuses.has(status.as_u16());
                let replica = lease.replica().clone();
                if elsewhere && lease.pool().may_leave(attempts.count - 1, &attempts.tried, &replica) {
                    // Not this answer, as long as another replica may have a better one.
                    attempts.tried.push(replica.id());
                    if lease.pool().may_retry(attempts.count, &attempts.tried, Instant::now()) {
                        attempts.before = Some(lease);
                        continue;
                    }
                }
                return Ok(Asked { link, response, lease });
            }
            Err(error) => error,
        };
        let replica = lease.replica().clone();
        let others = lease.pool().may_leave(0, &attempts.tried, &replica);
        told_of(&mut lease, &error, asked_at);
        let (may, leave) = match &error {
            AskError::Connect(_) => (true, true),
            AskError::Late => (patience.short || patience.others && !replica.is_alive(), true),
            // The other kept connections may be as old; where nobody else is, a new one is made.
            AskError::Broken { reused, unsent, .. } => (idempotent || *unsent, !(*reused || *unsent) || others),
            AskError::Unwritable(what) => return Err(Refusal::new(Reason::Malformed, *what)),
        };
        if !matches!(error, AskError::Late | AskError::Broken { refused: true, .. }) {
            edge.links.forget(whom(&lease, Duration::ZERO));
        }
        if !may || !asking.can_repeat() || !attempts.again(lease, leave) {
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
    silence: Duration,
    bodiless: bool,
    /// Whether its trailers go on.
    trailers: bool,
    deadline: Option<Instant>,
}

/// Most streams of a connection for which pieces of responses wait; further ones get their next piece when fewer do.
const STALLED: usize = 32;

/// Large responses of a connection that may be held for the rules at once, until they have been judged and written.
const WINDOWS: usize = 16;
/// Responses up to this size need no place among those, in bytes.
const SMALL: u64 = 64 * 1024;

/// The streams of one connection whose client does not take what is there for it.
pub(super) struct Stalls {
    count: AtomicUsize,
    fewer: Notify,
    windows: Arc<Semaphore>,
}

impl Default for Stalls {
    fn default() -> Self {
        Self { count: AtomicUsize::new(0), fewer: Notify::new(), windows: Arc::new(Semaphore::new(WINDOWS)) }
    }
}

impl Stalls {
    /// A place among the responses that are held for the rules, where one with this head is `held` and needs one. Who
    /// waits for it holds nothing of the body, so those who have one always get on.
    pub(super) async fn window(&self, held: bool, head: &HeaderMap) -> Option<OwnedSemaphorePermit> {
        let length = head.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if !held || length.is_some_and(|length| length <= SMALL) {
            return None;
        }
        self.windows.clone().acquire_owned().await.ok()
    }

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
    session: &'a mut Downstream,
    stalls: &'a Stalls,
}

impl Client<'_> {
    async fn head(&mut self, head: ResponseHeader) -> Result<(), Cut> {
        self.session.head(head).await.map_err(|e| Cut::Client(e.to_string()))
    }

    /// A head that is all there is. Over HTTP/2 it says so itself: a gRPC client reads a status in it only then.
    async fn head_alone(&mut self, head: ResponseHeader) -> Result<(), Cut> {
        self.session.head_alone(head).await.map_err(|e| Cut::Client(e.to_string()))
    }

    /// Writes a piece of the body. While the client does not take it, it counts as held.
    async fn piece(&mut self, x: &Exchange, piece: Bytes, end: bool, ahead: usize) -> Result<(), Cut> {
        let bytes = self.session.holds(piece.len()) + OVERHEAD + ahead;
        let mut writing = pin!(self.session.body(piece, end));
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

/// What a stalled response holds besides the piece being written, in bytes: TLS, and the exchange itself.
const OVERHEAD: usize = 16 * 1024;

/// Bytes moved for one response before the worker thread's other exchanges have their turn: about 100 us.
const TURN: usize = 128 * 1024;

/// Relays the response; `head` is empty once it has left.
async fn pump(
    client: &mut Client<'_>,
    x: &mut Exchange,
    mut judging: Judging,
    from: &mut Source<'_>,
    upload: &mut Option<Upload>,
    head: &mut Option<ResponseHeader>,
) -> Result<(), Cut> {
    let mut end = from.bodiless || from.link.has_ended();
    let (mut trailers, mut begun, mut moved) = (None, false, 0);
    // While a body flows, silence may be its client's; `upload` knows when it is the replica's.
    let silence = if upload.is_some() { FOREVER } else { from.silence };
    let mut window = match head.as_ref().filter(|_| !end && judging.holds()) {
        None => None,
        Some(head) => tokio::select! {
            biased;
            window = client.stalls.window(true, &head.headers) => window,
            watched = watch(upload.as_mut(), client.session, FOREVER) => return Err(watched.into()),
            () = over(from.deadline) => return Err(Cut::Refused(given_up())),
        },
    };
    loop {
        if !judging.holds()
            && !end
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
                    from.link.next(silence).await
                } => next.map_err(Cut::Replica)?,
                watched = watch(upload.as_mut(), client.session, from.silence) => return Err(watched.into()),
                () = over(from.deadline) => return Err(Cut::Refused(given_up())),
            };
            if let Some(upload) = upload {
                upload.touch();
            }
            match next {
                Piece::Data(data, last) => (piece, end) = (Some(data), last),
                Piece::Trailers(section) => {
                    end = true;
                    trailers = Some(forward::trailers(&section)).filter(|section| from.trailers && !section.is_empty());
                }
                Piece::End => end = true,
            }
        }
        gate::release_body(x, &mut judging, &mut piece, end).map_err(Cut::Refused)?;
        if judging.holds() {
            continue;
        }
        let piece = piece.unwrap_or_default();
        if let Some(head) = head.take() {
            if end && piece.is_empty() && trailers.is_none() && !begun {
                return client.head_alone(head).await;
            }
            client.head(head).await?;
        }
        let ends = end && trailers.is_none();
        if ends || !piece.is_empty() {
            begun = true;
            moved += piece.len();
            client.piece(x, piece, ends, from.link.ahead()).await?;
        }
        if let Some(trailers) = trailers.take() {
            let written = client.session.trailers(trailers).await;
            return written.map_err(|e| Cut::Client(e.to_string()));
        }
        drop(window.take());
        if end {
            return Ok(());
        }
        if moved >= TURN {
            // Both ends are fast, so that nothing here ever waits: the others have their turn.
            moved = 0;
            tokio::task::yield_now().await;
        }
    }
}
