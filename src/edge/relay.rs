//! The straight way to a replica: HTTP/1.1 without the base's proxy, for exchanges in which the cache has no part and
//! whose request body, if any, is at hand.
//!
//! One task reads a piece of the response, has it judged, and writes it, before it reads the next: what is held of a
//! response that its client does not take is one piece ([`super::link::PIECE`]). The order of things is that of `hooks`:
//! pick a replica, ask, release the head, release the body; and a request is asked once more by the same rules.
//!
//! A departure: interim responses (1xx, RFC 9110 section 15.2) end here, for HTTP/1 clients too; for HTTP/2 ones they do in
//! the base.

use super::choose;
use super::downstream::Downstream;
use super::forward;
use super::kept::AskError;
use super::link::Link;
use super::mirror::Copy;
use super::serve::{After, finish, refuse};
use super::session::ReplayBody;
use super::{Edge, cache_hooks};
use crate::audit::Stage;
use crate::balance::{Lease, Outcome, ReplicaId};
use crate::cache::status::Status;
use crate::gate::{self, Exchange, Judging};
use crate::request::head::ResponseHead;
use crate::telemetry::ReplicaOutcome;
use crate::verdict::{Reason, Refusal};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use pingora_http::ResponseHeader;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// A replica's answer, and the connection on which its body comes.
struct Asked {
    link: Box<Link>,
    head: ResponseHead,
    /// Kept until the body has ended.
    lease: Lease,
}

/// What is asked of replicas, and who was asked so far.
pub(super) struct Asking {
    /// To write the request from again.
    pub(super) body: ReplayBody,
    /// As it was written first.
    pub(super) request: Option<http::Request<Bytes>>,
    /// What a mirror gets as soon as a replica is asked.
    pub(super) copy: Option<Copy>,
}

/// The attempts made so far.
struct Attempts {
    begun: Instant,
    count: usize,
    tried: Vec<ReplicaId>,
    /// The one before, which holds its place until the next is looked for.
    before: Option<Lease>,
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
    /// The rules refuse it.
    Refused(Refusal),
}

/// Asks a replica, and relays what it says.
pub(super) async fn relay(
    edge: &Arc<Edge>,
    mut session: Downstream,
    mut x: Box<Exchange>,
    mut asking: Asking,
    cache: Option<Status>,
    stalls: &Stalls,
) -> After {
    x.cache = cache.as_ref().map(cache_hooks::counted);
    let mut attempts = Attempts { begun: Instant::now(), count: 0, tried: Vec::new(), before: None };
    let (refusal, status) = loop {
        let asked = match ask(edge, &mut session, &mut x, &mut asking, &mut attempts).await {
            Ok(asked) => asked,
            Err(refusal) => return refuse(edge, session, x, refusal).await,
        };
        let Asked { mut link, head, mut lease } = asked;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked for it (RFC 9110 section 15.2.2), and what would follow is no HTTP that anything here reads.
            let refusal = Refusal::new(Reason::UpstreamFailed, "101 without a request for an upgrade");
            return refuse(edge, session, x, refusal).await;
        }
        let mut head = forward::answered(head);
        forward::response(&mut head);
        cache_hooks::invalidate(edge.storage, &x, &head);
        let bodiless = *session.method() == Method::HEAD
            || matches!(head.status.as_u16(), 204 | 304)
            || head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() == b"0");
        let judging = match gate::release_head(&mut x, head.status.as_u16(), &head.headers, bodiless) {
            Ok(judging) => judging,
            Err(refusal) => return refuse(edge, session, x, refusal).await,
        };
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
        let mut head = Some(head);
        let mut source = Source { link: &mut link, silence, bodiless };
        let mut client = Client { edge, session: &mut session, stalls };
        let refusal = match pump(&mut client, &mut x, judging, &mut source, &mut head).await {
            Ok(()) => {
                edge.links.keep(link, idle);
                x.status = status;
                x.bytes_out = session.sent() as u64;
                edge.gate.record(x);
                return finish(session, true, false).await;
            }
            Err(Cut::Client(detail)) => Refusal::new(Reason::Aborted, detail),
            Err(Cut::Refused(refusal)) => refusal,
            Err(Cut::Replica(e)) => {
                let late = matches!(e, AskError::Late);
                if !late {
                    told(&mut lease, Outcome::Broken, ReplicaOutcome::BrokeOff, Instant::now());
                }
                // What the rules still hold back nobody has seen.
                let idempotent = session.method().is_idempotent();
                if head.is_some() && !late && idempotent && attempts.again(lease, true) {
                    continue;
                }
                failed(&e)
            }
        };
        if head.is_some() {
            return refuse(edge, session, x, refusal).await;
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

/// Tells the balancer, and counts.
fn told(lease: &mut Lease, outcome: Outcome, counted: ReplicaOutcome, now: Instant) {
    lease.report(outcome, now);
    lease.replica().meter().count(counted);
}

/// Finds a replica that answers. Asked once more: what cannot have arrived; and, if it is idempotent, what may have, what
/// was answered late while another could be asked, and what was answered with a status that is tried elsewhere.
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
            copy.send();
        }
        let patience = choose::patience(x, &lease, attempts.count, &attempts.tried);
        attempts.count += 1;
        let request = match asking.request.take() {
            Some(request) => request,
            None => forward::straight(x, &asking.body)
                .ok()
                .flatten()
                .ok_or_else(|| Refusal::new(Reason::Internal, "a request that could be written once"))?,
        };
        let replica = lease.replica().clone();
        let asked_at = Instant::now();
        let connect = lease.pool().settings().connect_timeout.0;
        let asked = tokio::select! {
            biased;
            asked = edge.links.ask(replica.address(), &request, connect, patience.time) => asked,
            why = session.gone() => return Err(Refusal::new(Reason::Aborted, why)),
            () = replica.death(), if patience.others => Err(AskError::Late),
        };
        let error = match asked {
            Ok((link, head)) => {
                let (status, now) = (head.status, Instant::now());
                x.spent.upstream = Some(now - attempts.begun);
                let outcome = Outcome::Answered { status: status.as_u16(), latency: now - asked_at };
                told(&mut lease, outcome, ReplicaOutcome::of(status), now);
                let elsewhere = idempotent && lease.pool().settings().retry.statuses.has(status.as_u16());
                if elsewhere && lease.pool().may_leave(attempts.count - 1, &attempts.tried, &replica) {
                    // Not this answer, as long as another replica may have a better one.
                    attempts.tried.push(replica.id());
                    if lease.pool().may_retry(attempts.count, &attempts.tried, Instant::now()) {
                        attempts.before = Some(lease);
                        continue;
                    }
                }
                return Ok(Asked { link, head, lease });
            }
            Err(error) => error,
        };
        let others = lease.pool().may_leave(0, &attempts.tried, &replica);
        let now = Instant::now();
        let (may, leave) = match &error {
            AskError::Connect(_) => {
                told(&mut lease, Outcome::ConnectFailed, ReplicaOutcome::ConnectFailed, now);
                (true, true)
            }
            AskError::Late => {
                let after = now - asked_at;
                told(&mut lease, Outcome::TimedOut { after }, ReplicaOutcome::TimedOut, now);
                (patience.short || patience.others && !replica.is_alive(), true)
            }
            AskError::Broken { reused, unsent, .. } => {
                // A kept connection that broke says nothing about its replica, but the others may be as old.
                let outcome = if *reused { Outcome::Stale } else { Outcome::Broken };
                told(&mut lease, outcome, ReplicaOutcome::BrokeOff, now);
                (idempotent || *unsent, !reused || others)
            }
        };
        if !matches!(error, AskError::Late) {
            edge.links.forget(replica.address());
        }
        if !may || !attempts.again(lease, leave) {
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

    /// Writes a piece of the body. While the client does not take it, it counts as held.
    async fn piece(&mut self, x: &Exchange, piece: Bytes, end: bool) -> Result<(), Cut> {
        let bytes = self.session.holds(piece.len()) + OVERHEAD;
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
    head: &mut Option<ResponseHeader>,
) -> Result<(), Cut> {
    let mut end = from.bodiless || from.link.is_done();
    let mut moved = 0;
    let mut window = match head.as_ref().filter(|_| !end && judging.holds()) {
        None => None,
        Some(head) => tokio::select! {
            biased;
            window = client.stalls.window(true, &head.headers) => window,
            why = client.session.gone() => return Err(Cut::Client(why)),
        },
    };
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
                    from.link.piece(from.silence).await
                } => next.map_err(Cut::Replica)?,
                why = client.session.gone() => return Err(Cut::Client(why)),
            };
            piece = next;
            end = from.link.is_done();
        }
        gate::release_body(x, &mut judging, &mut piece, end).map_err(Cut::Refused)?;
        if judging.holds() {
            continue;
        }
        if let Some(head) = head.take() {
            client.head(head).await?;
        }
        let piece = piece.unwrap_or_default();
        moved += piece.len();
        if end || !piece.is_empty() {
            client.piece(x, piece, end).await?;
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
