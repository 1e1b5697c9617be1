//! From an exchange to the replica that gets it: what the balancer is told, and how the base is to connect.

use super::kept::KeptLinks;
use super::trunk::{PING, STREAM_WINDOW, connection_window};
use crate::balance::{Ask, HashBy, Lease, Pool, Protocol, ReplicaId, hash};
use crate::gate::Exchange;
use crate::verdict::Refusal;
use http::{HeaderValue, header};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use pingora_error::ErrorType;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An answer that was put back so that another replica is tried.
pub(super) const ANSWERED: ErrorType = ErrorType::Custom("AnsweredElsewhere");

/// A replica for an exchange; the first one decides the pool, which `before` (the attempt before, let go of here)
/// keeps.
///
/// # Errors
/// As [`crate::balance::Pool::acquire`].
pub(super) async fn acquire(x: &Exchange, before: Option<Lease>, tried: &[ReplicaId]) -> Result<Lease, Refusal> {
    let pool = match before {
        Some(lease) => lease.pool().clone(),
        None => {
            let traffic = x.route.as_ref().and_then(|route| x.snapshot.traffic.get(route.index));
            let user = || hash(x.user.to_string().as_bytes());
            traffic.map_or_else(|| x.snapshot.pools.default(), |traffic| traffic.pool(user, rand::random())).clone()
        }
    };
    pool.acquire(asked(x, &pool, tried)).await
}

fn asked<'a>(x: &'a Exchange, pool: &Pool, tried: &'a [ReplicaId]) -> Ask<'a> {
    let settings = pool.settings();
    Ask {
        now: Instant::now(),
        tried,
        key: if settings.hashes() { key(x, &settings.hash_by) } else { 0 },
        cookie: cookie(x),
        idempotent: x.request.as_ref().is_some_and(|request| request.method().is_idempotent()),
        dice: rand::random(),
    }
}

/// Another replica beside the one of `first`, if the pool has one to spare.
pub(super) fn second(x: &Exchange, first: &Lease) -> Option<Lease> {
    first.pool().hedge(asked(x, first.pool(), &[first.replica().id()]))
}

fn key(x: &Exchange, by: &HashBy) -> u64 {
    let by_header = match by {
        HashBy::Header(name) => x.headers.get(name).map(HeaderValue::as_bytes),
        HashBy::User | HashBy::Address => None,
    };
    match (by_header, by) {
        (Some(value), _) => hash(value),
        (None, HashBy::User) => hash(x.user.to_string().as_bytes()),
        (None, _) => hash(x.client.ip().to_string().as_bytes()),
    }
}

/// The `Cookie` field, whose pieces HTTP/2 clients may send apart (RFC 9113 section 8.2.3).
fn cookie(x: &Exchange) -> Option<&[u8]> {
    let joined = x.request.as_ref().and_then(|request| request.joined_cookie());
    joined.or_else(|| x.headers.get(header::COOKIE)).map(HeaderValue::as_bytes)
}

/// The `Set-Cookie` that keeps the client with this replica, if one is needed.
pub(super) fn set_cookie(x: &Exchange, lease: &Lease) -> Option<String> {
    lease.set_cookie(cookie(x))
}

/// How long a response head is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From when the connection stands.
    pub(super) time: Duration,
    /// Whether that is less than the whole time, because another replica could be asked instead; then a replica that is
    /// found dead is not waited for either.
    pub(super) short: bool,
    /// Whether another replica could be asked at all.
    pub(super) others: bool,
}

/// How long a replica's response head is waited for where nobody else could be asked.
pub(super) fn whole(x: &Exchange, lease: &Lease) -> Duration {
    let own = x.route.as_ref().and_then(|route| route.response_timeout);
    own.unwrap_or(lease.pool().settings().read_timeout.0)
}

/// How long a replica's response head is waited for.
pub(super) fn patience(x: &Exchange, lease: &Lease, attempts: usize, tried: &[ReplicaId]) -> Patience {
    let (pool, replica) = (lease.pool(), lease.replica());
    let settings = pool.settings();
    let own = x.route.as_ref().and_then(|route| route.response_timeout);
    let whole = own.unwrap_or(settings.read_timeout.0);
    let idempotent = x.request.as_ref().is_some_and(|request| request.method().is_idempotent());
    let others = idempotent && pool.may_leave(attempts, tried, replica);
    let per_try = settings.retry.per_try_timeout.0;
    let short = others && own.is_none() && !per_try.is_zero() && per_try < whole;
    Patience { time: if short { per_try } else { whole }, short, others }
}

/// How the base connects, and how long the response head is waited for.
pub(super) fn peer(
    x: &Exchange,
    lease: &Lease,
    attempts: usize,
    tried: &[ReplicaId],
    links: &KeptLinks,
) -> (HttpPeer, Patience) {
    let (settings, replica) = (lease.pool().settings(), lease.replica());
    let patience = patience(x, lease, attempts, tried);
    let transport = lease.pool().transport();
    let mut peer = HttpPeer::new(replica.address(), transport.tls().is_some(), String::new());
    // What was begun under other terms is not used again.
    peer.group_key = u64::from(transport.id()) << 32 | u64::from(replica.epoch());
    if let Some(tls) = transport.tls() {
        // Without a name the base would check nothing; one that can be none is refused by it.
        peer.sni =
            tls.server_name(replica.host()).map_or_else(|| replica.name().to_string(), |name| name.to_str().into());
        if let Some((chain, key)) = tls.identity() {
            let chain = chain.iter().map(|der| der.to_vec()).collect();
            peer.client_cert_key = Some(Arc::new(CertKey::new(chain, key.secret_der().to_vec())));
        }
        peer.options.verify_cert = tls.verifies();
        peer.options.verify_hostname = tls.verifies();
        peer.options.ca = tls.authorities().map(|authorities| {
            authorities.iter().map(|der| WrappedX509::new(der.to_vec(), parse_x509)).collect::<Vec<_>>().into()
        });
    }
    let options = &mut peer.options;
    let known = links.speaks_http1(replica, transport);
    if transport.may_multiplex() && !known {
        options.set_http_version(2, if transport.protocol() == Protocol::Http2 { 2 } else { 1 });
        options.max_h2_streams = transport.streams();
        options.h2_stream_window_size = Some(STREAM_WINDOW);
        options.h2_connection_window_size = Some(connection_window(transport));
        options.h2_ping_interval = Some(PING.0);
    }
    options.connection_timeout = Some(settings.connect_timeout.0);
    options.total_connection_timeout = Some(settings.connect_timeout.0);
    options.write_timeout = Some(settings.write_timeout.0);
    options.idle_timeout = Some(settings.idle_timeout.0);
    // The base's limit is for pauses; what is said of heads is kept by alarms, unless it is less than theirs.
    let own = x.route.as_ref().and_then(|route| route.response_timeout).unwrap_or_default();
    options.read_timeout = Some(own.max(settings.read_timeout.0));
    (peer, patience)
}
