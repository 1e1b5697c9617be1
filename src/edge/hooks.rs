//! The base's hooks, a few lines each: they call `gate` and the stages, and decide nothing themselves.
//!
//! Every exchange that reaches the base has been admitted (`serve`); its [`Context`] comes in through a task-local and
//! goes back through a slot, since the base makes and drops contexts on its own.

use super::cache_hooks;
use super::cache_storage::{self, CacheStorage};
use super::choose::{self, Patience};
use super::deadline::{Alarms, Set, Wire};
use super::kept::KeptLinks;
use super::mirror::Copy;
use super::relay::Stalls;
use super::session::Hold;
use crate::audit::Stage;
use crate::balance::{Lease, Outcome, ReplicaId};
use crate::gate::{self, Exchange, Judging};
use crate::telemetry::ReplicaOutcome;
use crate::verdict::{Reason, Refusal};
use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use parking_lot::Mutex;
use pingora_cache::key::HashBinary;
use pingora_cache::{CacheKey, CacheMeta, ForcedFreshness, HitHandler, RespCacheable};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

tokio::task_local! {
    /// The admitted exchange on its way into [`ProxyHttp::new_ctx`].
    pub(super) static ADMITTED: Cell<Option<Context>>;
}

/// Where an exchange comes back to after the base is done.
pub(super) type Slot = Arc<Mutex<Option<Box<Exchange>>>>;

/// What the hooks know of one exchange.
pub(crate) struct Context {
    pub(super) x: Option<Box<Exchange>>,
    pub(super) back: Slot,
    pub(super) hold: Hold,
    pub(super) judging: Judging,
    /// Replicas not to be asked again for this request.
    pub(super) tried: Vec<ReplicaId>,
    pub(super) attempts: usize,
    /// Whether the present replica's response head has come.
    pub(super) answered: bool,
    pub(super) lease: Option<Lease>,
    /// When a replica was first asked for, and when the present one was.
    pub(super) asked: Option<Instant>,
    pub(super) since: Instant,
    /// How long the present attempt waits for its response head, and what ends the wait.
    pub(super) patience: Option<Patience>,
    pub(super) alarm: Option<Set>,
    /// What a mirror gets as soon as a replica is asked.
    pub(super) copy: Option<Copy>,
    pub(super) streamed: u64,
    /// What the streams of its connection share, and its place among the responses that are held.
    pub(super) stalls: Arc<Stalls>,
    pub(super) window: Option<OwnedSemaphorePermit>,
    pub(super) at_most: Option<u64>,
    pub(super) cache: cache_hooks::Part,
}

/// The implementation of the base's proxy trait; what decides is in the context's snapshot.
pub(crate) struct Hooks {
    pub(super) storage: &'static CacheStorage,
    pub(super) alarms: &'static Alarms,
    pub(super) links: Arc<KeptLinks>,
}

/// Carries a refusal through the base as an error that must not be retried.
fn refused(ctx: &mut Context, refusal: Refusal) -> Box<Error> {
    let mut error = Error::explain(ErrorType::HTTPStatus(refusal.reason.status()), "refused");
    error.set_retry(false);
    if let Some(x) = &mut ctx.x {
        x.refuse(refusal);
    }
    error
}

fn lost() -> Box<Error> {
    // Only a request that was not admitted has no exchange; it must not get anywhere.
    Error::explain(ErrorType::HTTPStatus(500), "no admitted exchange")
}

#[async_trait]
impl ProxyHttp for Hooks {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        ADMITTED.try_with(Cell::take).ok().flatten().unwrap_or_else(Context::empty)
    }

    fn init_downstream_modules(&self, _modules: &mut pingora_core::modules::http::HttpModules) {
        // None: the stock one compresses, which would hold back event streams and weaken validators.
    }

    async fn request_filter(&self, _session: &mut Session, ctx: &mut Context) -> Result<bool> {
        ctx.x.as_ref().map(|_| false).ok_or_else(lost)
    }

    fn request_cache_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        cache_hooks::lookup(self.storage, session, ctx);
        Ok(())
    }

    fn cache_key_callback(&self, _session: &Session, ctx: &mut Context) -> Result<CacheKey> {
        cache_hooks::key(ctx).ok_or_else(lost)
    }

    fn cache_vary_filter(&self, meta: &CacheMeta, _ctx: &mut Context, req: &RequestHeader) -> Option<HashBinary> {
        cache_hooks::variance(meta, req)
    }

    async fn cache_hit_filter(
        &self,
        _session: &mut Session,
        meta: &CacheMeta,
        _hit_handler: &mut HitHandler,
        _is_fresh: bool,
        ctx: &mut Context,
    ) -> Result<Option<ForcedFreshness>> {
        Ok(cache_hooks::judge(meta, ctx))
    }

    async fn proxy_upstream_filter(&self, _session: &mut Session, ctx: &mut Context) -> Result<bool> {
        if cache_hooks::may_ask(ctx) {
            return Ok(true);
        }
        if let Some(x) = &mut ctx.x {
            x.stage = Stage::Cache;
        }
        Err(refused(ctx, Refusal::new(Reason::NotStored, "only-if-cached, and nothing is stored")))
    }

    fn response_cache_filter(
        &self,
        _session: &Session,
        resp: &ResponseHeader,
        ctx: &mut Context,
    ) -> Result<RespCacheable> {
        Ok(cache_hooks::storable(resp, ctx))
    }

    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
        let Some(x) = &mut ctx.x else { return Err(lost()) };
        x.stage = Stage::Balance;
        cache_hooks::asking(ctx);
        let Some(x) = &mut ctx.x else { return Err(lost()) };
        let begun = *ctx.asked.get_or_insert_with(Instant::now);
        match choose::acquire(x, ctx.lease.take(), &ctx.tried).await {
            Ok(lease) => {
                x.stage = Stage::Upstream;
                x.replica = Some(lease.replica().name().clone());
                if let Some(copy) = ctx.copy.take() {
                    copy.send(&self.links);
                }
                ctx.since = if ctx.attempts == 0 { begun } else { Instant::now() };
                let (peer, patience) = choose::peer(x, &lease, ctx.attempts, &ctx.tried, &self.links);
                ctx.patience = Some(patience);
                ctx.answered = false;
                ctx.attempts += 1;
                ctx.lease = Some(lease);
                Ok(Box::new(peer))
            }
            Err(refusal) => Err(refused(ctx, refusal)),
        }
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        peer: &HttpPeer,
        fd: std::os::fd::RawFd,
        digest: Option<&pingora_core::protocols::Digest>,
        ctx: &mut Context,
    ) -> Result<()> {
        let alone = peer.options.alpn.get_max_http_version() == 1;
        let local = digest.and_then(|digest| digest.socket_digest.as_ref()?.local_addr()?.as_inet().copied());
        if let (true, Some(local), Some(lease), Some(patience)) = (alone, local, &ctx.lease, ctx.patience) {
            let replica = lease.replica();
            let wire = Wire { fd, local, remote: replica.address() };
            let lives = patience.others.then(|| replica.clone());
            ctx.alarm = Some(self.alarms.set(Instant::now() + patience.time, wire, lives));
        }
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Context,
        mut e: Box<Error>,
    ) -> Box<Error> {
        // Nothing was sent: any method may go to another replica.
        ctx.report(Outcome::ConnectFailed, ReplicaOutcome::ConnectFailed);
        ctx.give_up_on_replica();
        e.set_retry(ctx.may_try_again());
        e
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut e: Box<Error>,
        ctx: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        // The replica may have acted on what it got: only an idempotent request may be sent once more, only while the
        // client has seen nothing, and only if its body can be replayed.
        let upstream = *e.esource() == ErrorSource::Upstream;
        let rang = ctx.alarm.take().is_some_and(|alarm| alarm.rang());
        if upstream && rang {
            e.etype = ErrorType::ReadTimedout;
        }
        let late = *e.etype() == ErrorType::ReadTimedout;
        if upstream && ctx.answered {
            // What a replica does after its response head has been counted by that already, but a broken answer is one.
            if !late && *e.etype() != choose::ANSWERED {
                ctx.report(Outcome::Broken, ReplicaOutcome::BrokeOff);
            }
        } else if upstream && late {
            ctx.report(Outcome::TimedOut { after: ctx.since.elapsed() }, ReplicaOutcome::TimedOut);
        } else if upstream {
            // A kept connection that broke says nothing about its replica, but the next attempt has a new one.
            ctx.report(if reused { Outcome::Stale } else { Outcome::Broken }, ReplicaOutcome::BrokeOff);
        }
        // What the rules still hold back nobody has seen.
        let unseen = session.response_written().is_none() && (ctx.judging.untouched() || ctx.judging.holds());
        let could = upstream
            && unseen
            && (!late || rang && ctx.patience.is_some_and(|patience| patience.short || ctx.replica_died()))
            && session.req_header().method.is_idempotent()
            && !session.as_ref().retry_buffer_truncated();
        if could {
            if *e.etype() == choose::ANSWERED {
                // Paid for when its answer was put back.
                ctx.give_up_on_replica();
                e.set_retry(true);
                return e;
            }
            if !reused || late || ctx.others_than_this() {
                ctx.give_up_on_replica();
            }
            let again = ctx.may_try_again();
            if again && ctx.answered {
                cache_hooks::give_up(session, ctx);
            }
            e.set_retry(again);
        } else {
            e.set_retry(false);
        }
        e
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        ctx.streamed += body.as_ref().map_or(0, |piece| piece.len() as u64);
        match ctx.at_most {
            Some(limit) if ctx.streamed > limit => {
                let what = format!("body larger than the route's limit of {limit} bytes");
                Err(refused(ctx, Refusal::new(Reason::BodyTooLarge, what)))
            }
            _ => Ok(()),
        }
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if head.status == http::StatusCode::SWITCHING_PROTOCOLS {
            // Handshakes go through `tunnel`: nobody asked for this one (RFC 9110 section 15.2.2), and what would follow
            // is no HTTP that anything here reads.
            ctx.answered(head.status);
            return Err(refused(ctx, Refusal::new(Reason::UpstreamFailed, "101 without a request for an upgrade")));
        }
        if head.status.is_informational() {
            return Ok(());
        }
        ctx.answered(head.status);
        if ctx.tries_elsewhere(session, head.status) {
            // Not this answer, as long as another replica may have a better one.
            return Err(Error::explain(choose::ANSWERED, "answered with a status that is tried elsewhere").into_up());
        }
        super::forward::response(head);
        cache_hooks::answered(self.storage, session, head, ctx);
        let bodiless = session.req_header().method == http::Method::HEAD
            || matches!(head.status.as_u16(), 204 | 304)
            || head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() == b"0");
        let Some(x) = &mut ctx.x else { return Err(lost()) };
        ctx.judging = Judging::default();
        match gate::release_head(x, head.status.as_u16(), &head.headers, bodiless) {
            Ok(judging) => {
                ctx.hold.set(judging.holds());
                let held = judging.holds() && !bodiless;
                ctx.judging = judging;
                if ctx.window.is_none() {
                    // To the end: the base does not say when the client has taken what was held.
                    ctx.window = ctx.stalls.window(held, &head.headers).await;
                }
                if bodiless {
                    cache_hooks::admit(ctx);
                }
                Ok(())
            }
            Err(refusal) => {
                cache_hooks::refuse(ctx);
                Err(refused(ctx, refusal))
            }
        }
    }

    fn upstream_response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        let Some(x) = &mut ctx.x else { return Err(lost()) };
        match gate::release_body(x, &mut ctx.judging, body, end) {
            Ok(()) => {
                if end {
                    cache_hooks::admit(ctx);
                }
                Ok(None)
            }
            Err(refusal) => {
                cache_hooks::refuse(ctx);
                Err(refused(ctx, refusal))
            }
        }
    }

    async fn response_filter(&self, session: &mut Session, head: &mut ResponseHeader, ctx: &mut Context) -> Result<()> {
        if head.status.is_informational() {
            return Ok(());
        }
        if let Some(status) = cache_hooks::status(session, ctx) {
            head.append_header("cache-status", status.to_string())?;
        }
        let Some(x) = &mut ctx.x else { return Err(lost()) };
        x.status = head.status.as_u16();
        let cookie = ctx.lease.as_ref().and_then(|lease| choose::set_cookie(x, lease));
        super::forward::decorate(head, x, cookie.as_deref())
    }

    fn should_serve_stale(&self, _session: &mut Session, ctx: &mut Context, error: Option<&Error>) -> bool {
        // Not while revalidating in the background: that request would have no admitted exchange.
        let Some(x) = &ctx.x else { return false };
        let no_replica = x.refusal.as_ref().is_some_and(|refusal| refusal.reason == Reason::NoReplica);
        error.is_some() && cache_storage::serves_stale(error, no_replica)
    }

    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, ctx: &mut Context) -> FailToProxy {
        let Some(x) = &mut ctx.x else { return FailToProxy { error_code: 500, can_reuse_downstream: false } };
        let refusal = x.refuse(blame(e)).clone();
        if refusal.reason == Reason::Aborted || session.response_written().is_some() {
            // The client is gone, or has part of a response that cannot be taken back: cut it off.
            session.as_mut().shutdown().await;
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let answer = super::respond::refusal_of(x, &refusal);
        x.status = answer.status;
        let sent = super::respond::send(session.as_mut(), &answer).await;
        FailToProxy { error_code: answer.status, can_reuse_downstream: sent.is_ok() && !answer.close }
    }

    async fn logging(&self, session: &mut Session, e: Option<&Error>, ctx: &mut Context) {
        let cache = cache_hooks::status(session, ctx).map(|status| cache_hooks::counted(&status));
        (ctx.lease, ctx.alarm, ctx.window) = (None, None, None);
        // The base shows the body hook no end where the head was the end; a body that was held is judged by now.
        if e.is_none() && !ctx.judging.holds() {
            cache_hooks::admit(ctx);
        }
        if let Some(mut x) = ctx.x.take() {
            x.cache = x.cache.or(cache);
            x.bytes_in = x.bytes_in.max(ctx.streamed);
            x.bytes_out = session.as_ref().body_bytes_sent() as u64;
            *ctx.back.lock() = Some(x);
        }
    }

    fn suppress_error_log(&self, _session: &Session, ctx: &Context, _error: &Error) -> bool {
        // Refusals are recorded as audit events, and clients that leave are nobody's fault.
        ctx.x.as_ref().is_some_and(|x| x.refusal.is_some())
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Context,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, session: &Session, ctx: &Context) -> String {
        let id = ctx.x.as_ref().map(|x| x.id.to_string()).unwrap_or_default();
        format!("{} id={id}", session.as_ref().request_summary())
    }
}

/// Whose fault a failed exchange was, and what to tell the client.
fn blame(e: &Error) -> Refusal {
    let detail = e.to_string();
    match (e.esource(), e.etype()) {
        (_, ErrorType::HTTPStatus(413)) => Refusal::new(Reason::BodyTooLarge, detail),
        (ErrorSource::Downstream, ErrorType::ReadTimedout) => Refusal::new(Reason::TooSlow, detail),
        (ErrorSource::Downstream, ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed)
        | (ErrorSource::Downstream, ErrorType::WriteTimedout | ErrorType::H2Error) => {
            Refusal::new(Reason::Aborted, detail)
        }
        (ErrorSource::Downstream, _) => Refusal::new(Reason::Malformed, detail),
        (ErrorSource::Upstream, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => {
            Refusal::new(Reason::UpstreamTimeout, detail)
        }
        (ErrorSource::Upstream, _) => Refusal::new(Reason::UpstreamFailed, detail),
        _ => Refusal::new(Reason::Internal, detail),
    }
}

impl Context {
    pub(super) fn empty() -> Self {
        Self {
            x: None,
            back: Slot::default(),
            hold: Hold::default(),
            judging: Judging::default(),
            tried: Vec::new(),
            attempts: 0,
            lease: None,
            asked: None,
            since: Instant::now(),
            answered: false,
            patience: None,
            alarm: None,
            copy: None,
            streamed: 0,
            stalls: Arc::default(),
            window: None,
            at_most: Some(0),
            cache: cache_hooks::Part::None,
        }
    }

    /// Tells the balancer, and counts.
    fn report(&mut self, outcome: Outcome, counted: ReplicaOutcome) {
        if let Some(lease) = &mut self.lease {
            lease.report(outcome, Instant::now());
            lease.replica().meter().count(counted);
        }
    }

    /// The replica is not asked again; its place is free once the next one is looked for.
    fn give_up_on_replica(&mut self) {
        if let Some(lease) = &self.lease {
            self.tried.push(lease.replica().id());
        }
    }

    fn replica_died(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| !lease.replica().is_alive())
    }

    fn others_than_this(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| {
            let mut tried = self.tried.clone();
            tried.push(lease.replica().id());
            lease.pool().has_other(&tried)
        })
    }

    /// Whether there is somebody to ask and the budget lasts, which then is paid.
    fn may_try_again(&self) -> bool {
        let refused = self.x.as_ref().is_none_or(|x| x.refusal.is_some());
        let may = |lease: &Lease| lease.pool().may_retry(self.attempts, &self.tried, Instant::now());
        !refused && self.lease.as_ref().is_some_and(may)
    }

    /// Whether an answer is put back in favour of another replica's; the retry then is paid.
    fn tries_elsewhere(&self, session: &Session, status: http::StatusCode) -> bool {
        let Some(lease) = &self.lease else { return false };
        let mut tried = self.tried.clone();
        tried.push(lease.replica().id());
        lease.pool().settings().retry.statuses.has(status.as_u16())
            && session.response_written().is_none()
            && session.req_header().method.is_idempotent()
            && !session.as_ref().retry_buffer_truncated()
            && self.x.as_ref().is_some_and(|x| x.refusal.is_none())
            && lease.pool().may_retry(self.attempts, &tried, Instant::now())
    }

    fn answered(&mut self, status: http::StatusCode) {
        let now = Instant::now();
        self.answered = true;
        self.alarm = None;
        if let (Some(x), Some(asked)) = (&mut self.x, self.asked) {
            x.spent.upstream = Some(now - asked);
        }
        let outcome = Outcome::Answered { status: status.as_u16(), latency: now - self.since };
        self.report(outcome, ReplicaOutcome::of(status));
    }
}
