//! The way in: every station between the listener and the cache, in the one order that the security argument needs.
//!
//! What a station decides rests only on facts that stations before it settled. Nothing here can be configured into
//! another order.

use super::exchange::Exchange;
use super::heavy;
use super::hold::{self, Body, Held};
use crate::audit::Stage;
use crate::facts::{RequestId, UserKey};
use crate::inspect::{Inspect, Inspection, Origin, RawHead};
use crate::policy::field::{FieldPolicy, Known};
use crate::reputation::Standing;
use crate::request::{Request, grpc, wire};
use crate::snapshot::Kept;
use crate::telemetry::{LimitDecision, ReputationDecision};
use crate::verdict::{Hint, Mode, Reason, Refusal};
use std::ops::ControlFlow::{self, Break, Continue};
use std::time::{Duration, Instant};

/// Proof that a request passed every station on the way in, with its body as it may go on. Only this module makes one,
/// and nothing reaches the cache or a replica without it.
pub struct Admitted {
    body: Held,
}

impl Admitted {
    /// The body: held and judged, or to be streamed because nothing here has to read it.
    pub fn into_body(self) -> Held {
        self.body
    }
}

/// Takes a request through the stations; `Break` says why it goes no further. `read` is what the request model made of
/// the head, which is settled here in its turn.
///
/// Not one body byte is read before the head has passed every check on it, and the body is judged whole before anything
/// behind the gate hears of the request.
pub async fn admit(
    kept: &Kept,
    x: &mut Exchange,
    read: Result<Request, Refusal>,
    body: &mut impl Body,
) -> ControlFlow<Refusal, Admitted> {
    let s = x.snapshot.clone();
    identify(kept, x)?;
    if !kept.audit.has_room() {
        let full = Refusal::new(Reason::Overloaded, "audit queue is full");
        return Break(full.retry_after(Duration::from_secs(1)));
    }

    x.stage = Stage::Request;
    let request = match read {
        Ok(request) => request,
        Err(refusal) => {
            // Two readings, or none: refused whatever the rules say, but they see it, for the record.
            show(x);
            return Break(refusal);
        }
    };
    let route = s.policy.find(request.path()).clone();
    let allowed = s.policy.route(request.path(), request.method()).map(|_| ());
    x.request = Some(request);
    x.route = Some(route.clone());
    match kept.load.enter(&s.config.document.overload, route.priority) {
        Ok(place) => x.place = Some(place),
        Err(refusal) => return Break(refusal),
    }

    let certificate = x.connection.tls.as_ref().and_then(|tls| tls.client.as_ref()?.user.as_ref());
    let user = s.users.identify(&x.headers, x.client, certificate);
    if let Some(user) = x.settle(Stage::User, Mode::Enforce, user)? {
        x.user = user;
    }
    if route.require_user && x.user.verified().is_none() {
        return Break(Refusal::new(Reason::Unauthorized, "this route requires a user"));
    }

    limit(x, None)?;
    if let Some(name) = route.limit.as_deref() {
        limit(x, Some(name))?;
    }

    x.stage = Stage::Policy;
    if let Err(refusal) = allowed {
        show(x);
        return Break(refusal);
    }
    let post = x.request.as_ref().is_some_and(|request| request.method() == http::Method::POST);
    let call = route.grpc && post;
    if call && !grpc::is_grpc(&x.headers) {
        show(x);
        return Break(Refusal::new(Reason::MediaType, "this route takes gRPC calls alone (application/grpc)"));
    }
    x.shadowed = route.inspect && s.shadow.as_ref().is_some_and(|candidate| candidate.share.takes(rand::random()));
    let known = match (route.inspect, &x.request) {
        (true, Some(request)) => known(s.fields.as_ref(), request),
        _ => Ok(None),
    };
    let mode = s.config.document.policy.mode;
    let known = known.map_err(|mut refusal| {
        if let Some(Hint::Methods(methods)) = refusal.hint.as_deref_mut() {
            methods.retain(|method| route.takes(method));
        }
        refusal
    });
    let known = x.settle(Stage::Policy, mode, known)?.flatten();
    let limit = if call { route.max_body.map(|size| size.0) } else { hold::limit(&route, known.as_ref(), &s) };
    hold::may_come(&x.headers, limit)?;

    if route.inspect && begin(x) {
        if let (Some(inspection), Some(known)) = (&mut x.inspection, &known) {
            inspection.hold_against(known.fields(), known.path());
        }
        x.inspect(Stage::RequestHead, |inspection| inspection.head())?;
        if x.inspection.as_ref().is_some_and(|inspection| inspection.fields_refuse()) {
            // The rules have their say first: what they call an attack is answered as one.
            if mode == Mode::Enforce {
                x.inspect(Stage::RequestBody, |inspection| inspection.body(&[]))?;
            }
            fields(x)?;
        }
    }
    x.stage = Stage::RequestBody;
    // The messages of a call come when there is something to say: held, they would never come.
    let wants_body = !call && x.inspection.as_ref().is_some_and(|inspection| inspection.wants_body());
    let held = if wants_body {
        // Apart, so that requests without one keep no room for it.
        let (held, bytes) = Box::pin(hold::hold(body, &x.headers, limit.unwrap_or(u64::MAX), &s.times, kept)).await?;
        x.bytes_in = bytes;
        held
    } else {
        let of_operation = known.as_ref().and_then(Known::max_body);
        Held::Streaming { at_most: route.max_body.map(|size| size.0).into_iter().chain(of_operation).min() }
    };
    if let (true, Held::Whole { bytes, .. }) = (x.shadowed, &held) {
        x.body = Some(bytes.clone());
    }
    let bytes = held.bytes();
    if let Some(known) = known.filter(|_| !bytes.is_empty()) {
        let taken = known.takes_body(media_type(&x.headers));
        x.settle(Stage::Policy, mode, taken)?;
    }
    if x.inspection.is_some() {
        x.inspect(Stage::RequestBody, |inspection| heavy::run(bytes.len(), || inspection.body(bytes)))?;
        fields(x)?;
    }
    Continue(Admitted { body: held })
}

/// What the policy of fields, if there is one, says of a request.
pub(super) fn known<'p>(policy: Option<&'p FieldPolicy>, request: &Request) -> Result<Option<Known<'p>>, Refusal> {
    policy.map(|policy| policy.known(request.method(), request.path())).transpose()
}

/// What a body says it is; empty where it does not.
pub(super) fn media_type(headers: &http::HeaderMap) -> &[u8] {
    headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default()
}

/// Refuses for the first field that is not what it should be.
fn fields(x: &mut Exchange) -> ControlFlow<Refusal> {
    let mode = x.snapshot.config.document.policy.mode;
    let refusal = x.inspection.as_mut().and_then(|inspection| inspection.field());
    let stage = x.stage;
    x.settle::<()>(Stage::Policy, mode, refusal.map_or(Ok(()), Err))?;
    x.stage = stage;
    Continue(())
}

/// Who is it, and is that address welcome?
fn identify(kept: &Kept, x: &mut Exchange) -> ControlFlow<Refusal> {
    let s = x.snapshot.clone();
    let client = s.clients.identify(x.connection.peer, &x.headers);
    if let Some(client) = x.settle(Stage::Client, Mode::Enforce, client)? {
        x.client = client;
        x.user = UserKey::Address(client.subscriber());
    }
    if s.clients.is_trusted(x.connection.peer)
        && let Some(id) = x.headers.get("x-request-id").and_then(|v| v.to_str().ok()).and_then(RequestId::from_peer)
    {
        x.id = id;
    }
    let mode = s.reputation.mode();
    let standing = s.reputation.check(x.client);
    kept.metrics.reputation.count(match (&standing, mode) {
        (Ok(Standing::Allowed(_)), _) => ReputationDecision::Allow,
        (Ok(Standing::Unlisted), _) => ReputationDecision::Unlisted,
        (Err(_), Mode::Enforce) => ReputationDecision::Deny,
        (Err(_), Mode::Detect) => ReputationDecision::Detect,
    });
    x.settle(Stage::Reputation, mode, standing)?;
    Continue(())
}

/// One token of one limit.
fn limit(x: &mut Exchange, name: Option<&str>) -> ControlFlow<Refusal> {
    let s = x.snapshot.clone();
    let mode = s.limits.mode();
    let taken = s.limits.take(&x.user, name, x.now);
    let policy = name.unwrap_or(crate::limit::DEFAULT);
    if let Some(meter) = s.meters.limits.get(policy) {
        match (&taken, mode) {
            (Ok(None), _) => {}
            (Ok(Some(_)), _) => meter.count(LimitDecision::Allow),
            (Err(_), Mode::Enforce) => meter.count(LimitDecision::Refuse),
            (Err(_), Mode::Detect) => meter.count(LimitDecision::Detect),
        }
    }
    if let Some(quota) = x.settle(Stage::Limit, mode, taken)?.flatten() {
        // The tightest limit is the one a client has to know.
        if x.quota.as_ref().is_none_or(|known| quota.remaining < known.remaining) {
            x.quota = Some(quota);
        }
    }
    Continue(())
}

/// Begins the rules' transaction; `false` if there are no rules.
fn begin(x: &mut Exchange) -> bool {
    x.inspection = opened(x, &x.snapshot.inspect).map(Box::new);
    x.inspection.is_some()
}

/// A transaction of a request's head, under these rules.
pub(super) fn opened(x: &Exchange, inspect: &Inspect) -> Option<Inspection> {
    let origin = Origin { client: x.client, connection: &x.connection, id: &x.id, at: x.now.wall };
    match &x.raw {
        Some(raw) => {
            let read = wire::lenient(raw);
            let mut fields = read.headers.iter().copied();
            let head =
                RawHead { method: read.method, target: read.target, protocol: read.version, headers: &mut fields };
            inspect.begin(&origin, head)
        }
        None => {
            let host =
                x.request.as_ref().map(|r| r.authority().to_string()).filter(|_| !x.headers.contains_key("host"));
            let host = host.as_ref().map(|host| (&b"host"[..], host.as_bytes()));
            let fields = x.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
            let mut fields = host.into_iter().chain(fields);
            let line = &x.line;
            let head =
                RawHead { method: &line.method, target: &line.target, protocol: &line.protocol, headers: &mut fields };
            inspect.begin(&origin, head)
        }
    }
}

/// Shows the rules a head that is refused whatever they say: what they match belongs into the record. Its body is not
/// read, so phase 2 sees none.
fn show(x: &mut Exchange) {
    if begin(x) {
        let started = Instant::now();
        if let Some(inspection) = &mut x.inspection
            && inspection.head().is_ok()
        {
            let _ = inspection.body(&[]);
        }
        x.spent.phases[0] = started.elapsed();
    }
}

/// A head that could not become a request: finds out who sent it and shows it to the rules, for the record. It is
/// refused whatever comes of that.
pub fn note(kept: &Kept, x: &mut Exchange) {
    let _ = identify(kept, x);
    x.stage = Stage::Listener;
    show(x);
}
