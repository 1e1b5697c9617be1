//! The response cache in the base's hooks: what is asked of `cache`, and what the base is told.

use super::cache_storage::{self, Admission, CacheStorage};
use super::hooks::Context;
use crate::cache::key::{Primary, Target};
use crate::cache::policy::{self, Lookup, RequestFacts, ResponseFacts, Storable, Stored, Use};
use crate::cache::status::{Forward, Status};
use crate::gate::Exchange;
use crate::telemetry::CacheStatus;
use http::HeaderMap;
use pingora_cache::key::HashBinary;
use pingora_cache::{CacheKey, CacheMeta, ForcedFreshness, NoCacheReason, RespCacheable};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use std::time::SystemTime;

/// One exchange's dealings with the cache.
#[derive(Default)]
pub(super) enum Part {
    /// The cache has no part in it and says nothing.
    #[default]
    None,
    /// The cache has no part in it, for this reason.
    Bypassed(&'static str),
    /// The request may be answered from the cache alone, and cannot be.
    Unsatisfiable,
    /// It would only have answered from what is stored, and nothing is.
    Missed,
    /// It takes part.
    Taken(Box<Taken>),
}

/// What is known of a lookup.
pub(super) struct Taken {
    using: Use,
    primary: Primary,
    admission: Admission,
    asked: SystemTime,
    replied: Option<u16>,
    not_modified: Option<HeaderMap>,
}

fn target<'a>(x: &Exchange, with: impl FnOnce(&Target<'_>) -> Primary + 'a) -> Option<Primary> {
    let request = x.request.as_ref()?;
    let authority = request.authority().to_string();
    Some(with(&Target {
        scheme: request.scheme(),
        authority: &authority,
        path: std::str::from_utf8(request.cache_path()).ok()?,
        query: request.query().map(std::str::from_utf8).transpose().ok()?,
    }))
}

/// What the cache says of a request; `None` where the route gives it no part.
fn asked(x: &Exchange) -> Option<Lookup> {
    let cache = &x.snapshot.cache;
    let route_allows = x.route.as_ref().is_some_and(|route| route.cache && !route.stream);
    let request = x.request.as_ref().filter(|_| cache.settings().enabled && route_allows)?;
    let facts = RequestFacts { method: request.method(), headers: &x.headers, identified: x.user.verified().is_some() };
    Some(cache.lookup(&facts))
}

/// For an exchange in which the cache has no part: what there is to say of that; `None` where it has one.
pub(super) fn apart(x: &Exchange) -> Option<Option<Status>> {
    match asked(x) {
        None => Some(None),
        Some(Lookup::Bypass(why)) => Some(Some(bypassed(why.as_str()))),
        Some(_) => None,
    }
}

fn bypassed(why: &'static str) -> Status {
    let method = why == policy::Bypass::Method.as_str();
    if method { Status::forwarded(Forward::Method) } else { Status::bypass(why) }
}

/// Lets the cache take part, where it may.
pub(super) fn lookup(storage: &'static CacheStorage, session: &mut Session, ctx: &mut Context) {
    let Some(x) = &ctx.x else { return };
    let cache = &x.snapshot.cache;
    let Some(asked) = asked(x) else { return };
    ctx.cache = match asked {
        Lookup::Bypass(why) => Part::Bypassed(why.as_str()),
        Lookup::Unsatisfiable(_) => Part::Unsatisfiable,
        Lookup::Use(using) => {
            let Some(primary) = target(x, |target| Primary::new(target, using.audience)) else { return };
            if storage.enable(&mut session.cache, &primary, &using, cache.lock_timeout()) {
                let admission = storage.admission();
                let asked = SystemTime::now();
                Part::Taken(Box::new(Taken { using, primary, admission, asked, replied: None, not_modified: None }))
            } else if using.directives.only_if_cached {
                Part::Unsatisfiable
            } else {
                Part::Missed
            }
        }
    };
}

/// The key of a lookup.
pub(super) fn key(ctx: &Context) -> Option<CacheKey> {
    match &ctx.cache {
        Part::Taken(taken) => Some(cache_storage::cache_key(&taken.primary, &taken.admission)),
        _ => None,
    }
}

/// Which of the stored variants this request may have.
pub(super) fn variance(meta: &CacheMeta, request: &RequestHeader) -> Option<HashBinary> {
    cache_storage::variant(meta, &request.headers)
}

/// Whether what was found may be used.
pub(super) fn judge(meta: &CacheMeta, ctx: &Context) -> Option<ForcedFreshness> {
    let (Part::Taken(taken), Some(x)) = (&ctx.cache, &ctx.x) else { return Some(ForcedFreshness::ForceMiss) };
    let now = SystemTime::now();
    let stored = Stored { headers: meta.headers(), age: meta.age(), fresh_until: meta.fresh_until() };
    taken.admission.judge(x.snapshot.cache.reuse(&taken.using, &stored, now))
}

/// Takes note that a replica is asked now: time spent waiting for an equal request is no age of the answer.
pub(super) fn asking(ctx: &mut Context) {
    if let Part::Taken(taken) = &mut ctx.cache {
        taken.asked = SystemTime::now();
    }
}

/// Whether a replica may be asked; only where the request allows more than the cache.
pub(super) fn may_ask(ctx: &Context) -> bool {
    match &ctx.cache {
        Part::Unsatisfiable => false,
        Part::Taken(taken) => !taken.using.directives.only_if_cached,
        _ => true,
    }
}

/// Ends the cache's part before a request is sent again whose first answer it had begun to take.
pub(super) fn give_up(session: &mut Session, ctx: &mut Context) {
    if matches!(ctx.cache, Part::Taken(_)) {
        session.cache.disable(NoCacheReason::UpstreamError);
        ctx.cache = Part::Missed;
    }
}

/// Takes note of a replica's answer.
pub(super) fn answered(
    storage: &'static CacheStorage,
    session: &Session,
    head: &mut ResponseHeader,
    ctx: &mut Context,
) {
    if let Part::Taken(taken) = &mut ctx.cache {
        taken.replied = Some(head.status.as_u16());
        taken.not_modified = cache_storage::not_modified(&session.cache, head);
        return;
    }
    if let Some(x) = &ctx.x {
        invalidate(storage, x, head);
    }
}

/// Drops what an unsafe request has made wrong (RFC 9111 section 4.4).
pub(super) fn invalidate(storage: &'static CacheStorage, x: &Exchange, head: &ResponseHeader) {
    let Some(request) = x.request.as_ref().filter(|_| x.snapshot.cache.settings().enabled) else { return };
    if !policy::invalidates(request.method(), head.status) {
        return;
    }
    let authority = request.authority().to_string();
    let Ok(path) = std::str::from_utf8(request.cache_path()) else { return };
    let query = request.query().and_then(|query| std::str::from_utf8(query).ok());
    let target = Target { scheme: request.scheme(), authority: &authority, path, query };
    storage.store().purge_target(&target);
    for (path, query) in policy::also_invalidated(&target, &head.headers) {
        storage.store().purge_target(&Target { path: &path, query: query.as_deref(), ..target });
    }
}

/// Whether a response may be stored, and for how long.
pub(super) fn storable(head: &ResponseHeader, ctx: &Context) -> RespCacheable {
    let (Part::Taken(taken), Some(x)) = (&ctx.cache, &ctx.x) else {
        return RespCacheable::Uncacheable(NoCacheReason::NeverEnabled);
    };
    let mut head = head.clone();
    if let Some(not_modified) = &taken.not_modified {
        cache_storage::freshen(&mut head, not_modified);
    }
    let received = SystemTime::now();
    let facts = ResponseFacts { status: head.status, headers: &head.headers, asked: taken.asked, received };
    match x.snapshot.cache.storable(&taken.using, &facts) {
        Storable::Yes(lifetime) => RespCacheable::Cacheable(cache_storage::meta(&lifetime, received, head)),
        Storable::No(reason) => RespCacheable::Uncacheable(cache_storage::unstorable(reason)),
    }
}

/// The rules have passed the whole body: it may be published.
pub(super) fn admit(ctx: &Context) {
    if let Part::Taken(taken) = &ctx.cache {
        taken.admission.admit();
    }
}

/// The rules have refused the response: nothing of it is published.
pub(super) fn refuse(ctx: &Context) {
    if let Part::Taken(taken) = &ctx.cache {
        taken.admission.refuse();
    }
}

/// What the cache did, for `Cache-Status` and the record.
pub(super) fn status(session: &Session, ctx: &Context) -> Option<Status> {
    match &ctx.cache {
        Part::None => None,
        Part::Bypassed(why) => Some(bypassed(why)),
        Part::Missed => Some(Status::forwarded(Forward::UriMiss)),
        Part::Unsatisfiable => Some(Status::Unsatisfied),
        Part::Taken(taken) => Some(taken.admission.status(&session.cache, taken.replied, SystemTime::now())),
    }
}

/// The same as metrics and events count it.
pub(super) fn counted(status: &Status) -> CacheStatus {
    match status.as_str() {
        "hit" => CacheStatus::Hit,
        "stale" => CacheStatus::Stale,
        "revalidated" => CacheStatus::Revalidated,
        "bypass" => CacheStatus::Bypass,
        _ => match status {
            Status::Forwarded { why: Forward::Stale, .. } => CacheStatus::Expired,
            _ => CacheStatus::Miss,
        },
    }
}
