//! The way in: every station between the listener and the cache, in the one order that the security argument needs.
//!
//! What a station decides rests only on facts that stations before it settled. Nothing here can be configured into
//! another order.

use super::exchange::Exchange;
use super::hold::{self, Body, Held};
use crate::request::{Head, RequestModel};
use crate::verdict::{Mode, Reason, Refusal};
use std::ops::ControlFlow::{self, Break, Continue};
use std::time::Instant;

/// Proof that a request passed every station on the way in, with the body as it may go on. Only this module makes one,
/// and nothing reaches the cache or a replica without it.
pub struct Admitted {
    /// The body: held and judged, or to be streamed because nothing here needs to read it.
    pub body: Held,
    sealed: (),
}

/// Takes a request through the stations; `Break` says why it goes no further.
///
/// Not one body byte is read before the head has passed every check on it, and the body is judged whole before
/// anything behind the gate hears of the request.
pub async fn admit(
    x: &mut Exchange,
    head: &Head<'_>,
    body: &mut impl Body,
) -> ControlFlow<Refusal, Admitted> {
    let s = x.snapshot.clone();
    let enforce = Mode::Enforce;

    let identified = s.clients.identify(x.connection.peer, &x.headers);
    if let Some(client) = x.settle(enforce, identified)? {
        x.client = client;
        x.user = crate::facts::UserKey::Address(client.subscriber());
    }
    if s.clients.is_trusted(x.connection.peer)
        && let Some(id) = x.headers.get("x-request-id").and_then(|v| v.to_str().ok())
        && let Some(id) = crate::facts::RequestId::from_peer(id)
    {
        x.id = id;
    }
    x.settle(s.reputation.mode(), s.reputation.check(x.client))?;

    let request = match s.model.read(head) {
        Ok(request) => request,
        Err(refusal) => {
            // Two readings, or none: refused whatever the rules say, but they see it, for the record.
            super::record_only(x);
            return Break(refusal);
        }
    };
    let route = s.policy.route(request.path(), request.method());
    x.request = Some(request);

    let user = s.users.identify(&x.headers, x.client);
    if let Some(user) = x.settle(enforce, user)? {
        x.user = user;
    }
    let route = match route {
        Ok(route) => route,
        Err(refusal) => {
            super::record_only(x);
            return Break(refusal);
        }
    };
    x.route = route.index;
    if route.require_user && x.user.verified().is_none() {
        return Break(Refusal::new(Reason::Unauthorized, "this route requires a user"));
    }

    let taken = s.limits.take(&x.user, route.limit.as_deref(), x.now);
    if let Some(quota) = x.settle(s.limits.mode(), taken)? {
        x.quota = quota;
    }
    hold::may_come(head.headers, route, &s)?;

    if route.inspect && s.inspect.enabled() {
        let started = Instant::now();
        let mut inspection = s.inspect.begin(x);
        let verdict = inspection.head();
        x.inspection = Some(inspection);
        x.spent.inspect += started.elapsed();
        x.settle(s.inspect.mode(), verdict)?;
    }

    let held = if x.inspection.as_ref().is_some_and(|inspection| inspection.wants_body()) {
        let (held, bytes) = hold::hold(body, hold::limit(route, &s), &s.times, &s.kept.held).await?;
        x.bytes_in = bytes;
        held
    } else {
        Held::Streaming { at_most: route.max_body.map(|size| size.0) }
    };

    if let Some(mut inspection) = x.inspection.take() {
        let started = Instant::now();
        let verdict = inspection.body(held.bytes());
        x.inspection = Some(inspection);
        x.spent.inspect += started.elapsed();
        x.settle(s.inspect.mode(), verdict)?;
    }
    Continue(Admitted { body: held, sealed: () })
}
