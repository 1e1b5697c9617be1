//! The response cache's store as pingora-cache sees it: `Storage`, `HandleHit` and `HandleMiss` over
//! [`cache::store`](crate::cache::store), and what the hooks need to drive them.
//!
//! The store bounds and evicts itself, so no eviction manager is given to pingora. Partial writes are never readable:
//! a body is shown to nobody before it was judged. Requests that wait for an equal one wait for the finished entry.
//!
//! *Publishing.* Every cache key carries an [`Admission`], made before the replica is asked. An entry becomes visible
//! when two things have happened, in either order: pingora finished writing it, and [`Admission::admit`] said that its
//! body passed inspection. A write that is dropped before (the replica broke off, inspection refused, the client's
//! request failed) leaves nothing. A key without an admission stores nothing.
//!
//! *Fails* open for traffic, closed for storing: every refusal of the store means that a response is passed on
//! unstored, quietly and counted.

use crate::cache::key::{Hash, Primary};
use crate::cache::policy::{self, Lifetime, Reuse, Unstorable, Use};
use crate::cache::status::{Forward, Status};
use crate::cache::store::{Body, Entry, Key, Store, Ticket, Write};
use crate::cache::vary::{self, Vary};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use pingora_cache::key::{CacheHashKey, CompactCacheKey};
use pingora_cache::lock::CacheLock;
use pingora_cache::predictor::Predictor;
use pingora_cache::storage::{HandleHit, HandleMiss, MissFinishType};
use pingora_cache::trace::SpanHandle;
use pingora_cache::{
    CacheKey, CacheMeta, CacheOptionOverrides, CachePhase, ForcedFreshness, HitHandler, HttpCache, MissHandler,
    NoCacheReason, PurgeOutcome, PurgeTarget, PurgeType, Storage,
};
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::ResponseHeader;
use std::any::Any;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

/// Keys remembered as not worth a lookup, per shard of the predictor.
const PREDICTED_PER_SHARD: usize = 4096;

/// The store with what pingora keeps beside it. One for the process: pingora wants it to live for ever, so a reload
/// changes the policy and the store's bounds, never this.
pub(crate) struct CacheStorage {
    store: Arc<Store>,
    lock: CacheLock,
    predictor: Predictor<16>,
}

impl CacheStorage {
    /// Makes the one instance. `lock_age`: after how long a request that fills an entry no longer holds up the others.
    pub(crate) fn leak(store: Arc<Store>, lock_age: Duration) -> &'static Self {
        // One failed answer says nothing about the next one.
        let predictor = Predictor::new(PREDICTED_PER_SHARD, Some(|reason| reason == Unstorable::Status.as_str()));
        Box::leak(Box::new(Self { store, lock: CacheLock::new(lock_age), predictor }))
    }

    /// The store, for purges, bounds and figures.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Lets the cache take part in a request. False, and nothing is done, where the request may only be answered from
    /// what is stored and nothing is. Call in `request_cache_filter`.
    pub(crate) fn enable(&'static self, cache: &mut HttpCache, primary: &Primary, using: &Use, wait: Duration) -> bool {
        if !using.fill && !self.store.holds(primary.hash()) {
            return false;
        }
        let mut options = CacheOptionOverrides::default();
        options.wait_timeout = Some(wait);
        let lock = using.collapse.then_some(&self.lock as _);
        cache.enable(self, None, Some(&self.predictor), lock, Some(options));
        cache.set_max_file_size_bytes(self.store.max_object());
        true
    }

    /// A request's admission; make it before the replica is asked.
    pub(crate) fn admission(&self) -> Admission {
        Admission(Arc::new(Mutex::new(Turn {
            ticket: self.store.ticket(),
            verdict: Verdict::Pending,
            finished: None,
            looked: Looked::Never,
            seen: Weak::new(),
            is_writing: false,
            is_forced: false,
        })))
    }
}

/// The key of a request, carrying its admission. Call in `cache_key_callback`.
pub(crate) fn cache_key(primary: &Primary, admission: &Admission) -> CacheKey {
    let mut key = CacheKey::new(primary.framed(), "");
    key.set_primary_bin_override(primary.hash());
    key.extensions.insert(admission.clone());
    key
}

/// What is stored of a response: its header without what belongs to one connection, and its times. Call in
/// `response_cache_filter` with what [`response_storable`](policy::response_storable) gave.
pub(crate) fn meta(lifetime: &Lifetime, received: SystemTime, mut header: ResponseHeader) -> CacheMeta {
    for name in policy::unstorable_fields(&header.headers) {
        header.remove_header(&name);
    }
    // Not before 1970, which pingora cannot write down.
    let born = received.checked_sub(lifetime.age).unwrap_or(SystemTime::UNIX_EPOCH).max(SystemTime::UNIX_EPOCH);
    let mut fresh_until = born.checked_add(lifetime.fresh_for).unwrap_or(received);
    if lifetime.remaining().is_zero() {
        // pingora takes "until now" as still fresh.
        fresh_until = fresh_until.min(received.checked_sub(Duration::from_secs(1)).unwrap_or(SystemTime::UNIX_EPOCH));
    }
    let seconds = |span: Duration| u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
    let while_revalidate = seconds(lifetime.stale_while_revalidate);
    let mut meta = CacheMeta::new(fresh_until, received, while_revalidate, seconds(lifetime.stale_if_error), header);
    if !lifetime.age.is_zero() {
        meta.set_epoch_override(born);
    }
    meta
}

/// The variant of a stored response that a request asks for. Call in `cache_vary_filter`.
pub(crate) fn variant(meta: &CacheMeta, request: &HeaderMap) -> Option<Hash> {
    match vary::read(meta.headers()) {
        Vary::Fields(fields) => vary::variant(&fields, request),
        // Never stored; if it were, this is the variant of no request.
        Vary::Unmatchable => Some(Hash::default()),
    }
}

/// What a 304 says of the stored response that it confirms, for [`freshen`]; `None` for any other response. Takes from
/// it what must not replace stored fields, since pingora copies some of them. Call in `upstream_response_filter`, after
/// the head was cleaned of what the gate does not pass on.
pub(crate) fn not_modified(cache: &HttpCache, head: &mut ResponseHeader) -> Option<HeaderMap> {
    let stored = cache.maybe_cache_meta().filter(|_| head.status == StatusCode::NOT_MODIFIED)?;
    let updated = policy::updated_fields(stored.headers(), &head.headers);
    let others: Vec<HeaderName> = head.headers.keys().filter(|name| !updated.contains(name)).cloned().collect();
    for name in others {
        head.remove_header(&name);
    }
    Some(head.headers.clone())
}

/// Brings a stored header up to date with what [`not_modified`] gave (RFC 9111 section 3.2); pingora takes over only a
/// few fields. Call in `response_cache_filter`.
pub(crate) fn freshen(stored: &mut ResponseHeader, not_modified: &HeaderMap) {
    for name in policy::updated_fields(&stored.headers, not_modified) {
        stored.remove_header(&name);
        for value in not_modified.get_all(&name) {
            // Fails only where a message may have no more fields; the stored ones then stay as they are.
            if stored.append_header(name.clone(), value.clone()).is_err() {
                return;
            }
        }
    }
}

/// The reason pingora is given for not storing, which also names it in `Cache-Status`.
pub(crate) fn unstorable(reason: Unstorable) -> NoCacheReason {
    NoCacheReason::Custom(reason.as_str())
}

/// Whether a stale response may stand in for a failed refresh, or (no error) be served while it is refreshed. pingora
/// has checked the response's own allowance. `no_replica`: the error is that no replica is healthy. Call in
/// `should_serve_stale`.
pub(crate) fn serves_stale(error: Option<&Error>, no_replica: bool) -> bool {
    error.is_none_or(|error| match error.etype() {
        _ if no_replica => true,
        ErrorType::HTTPStatus(status) => *error.esource() == ErrorSource::Upstream && policy::is_failure(*status),
        _ => *error.esource() == ErrorSource::Upstream,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Pending,
    Admitted,
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    Never,
    UriMiss,
    VaryMiss,
    Found,
}

struct Finished {
    write: Write,
    meta: Vec<u8>,
}

struct Turn {
    ticket: Ticket,
    verdict: Verdict,
    finished: Option<Finished>,
    looked: Looked,
    /// The body of the entry last looked up, so that a 304 is not applied to another one.
    seen: Weak<Body>,
    is_writing: bool,
    /// The request's own directives asked for a replica.
    is_forced: bool,
}

/// One request's dealings with the store. Clones are one and the same.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Mutex<Turn>>);

impl Admission {
    /// Says that the body passed inspection, or that its route inspects none: publishes what is finished, and lets be
    /// published what will be. Call it with the whole body judged: in `upstream_response_body_filter` at the end of the
    /// stream, which precedes the store's, or later, since a response without a body never gets there.
    pub(crate) fn admit(&self) {
        let finished = {
            let mut turn = self.0.lock();
            if turn.verdict == Verdict::Refused {
                return;
            }
            turn.verdict = Verdict::Admitted;
            turn.finished.take()
        };
        if let Some(Finished { write, meta }) = finished {
            // What is not published is counted by the store.
            let _ = write.publish(&meta);
        }
    }

    /// Says that the response was refused: nothing of it is published, whatever else happens.
    pub(crate) fn refuse(&self) {
        let finished = {
            let mut turn = self.0.lock();
            turn.verdict = Verdict::Refused;
            turn.is_writing = false;
            turn.finished.take()
        };
        drop(finished);
    }

    /// Turns the answer of [`policy::reuse`] into pingora's. Call in `cache_hit_filter`.
    pub(crate) fn judge(&self, reuse: Reuse) -> Option<ForcedFreshness> {
        match reuse {
            Reuse::ByFreshness => None,
            Reuse::Stale => Some(ForcedFreshness::ForceFresh),
            Reuse::Revalidate => {
                self.0.lock().is_forced = true;
                Some(ForcedFreshness::ForceExpired)
            }
            Reuse::Never => {
                self.0.lock().looked = Looked::Never;
                Some(ForcedFreshness::ForceMiss)
            }
        }
    }

    /// What became of the request, for `Cache-Status`. `status`: what a replica answered, if one was asked. Call in
    /// `response_filter`, for requests the cache took part in.
    pub(crate) fn status(&self, cache: &HttpCache, status: Option<u16>, now: SystemTime) -> Status {
        let turn = self.0.lock();
        let why = match turn.looked {
            _ if turn.is_forced => Forward::Request,
            Looked::Never => Forward::Miss,
            Looked::UriMiss => Forward::UriMiss,
            Looked::VaryMiss => Forward::VaryMiss,
            Looked::Found => Forward::Stale,
        };
        let collapsed = cache.lock_duration().is_some();
        let forwarded = |status, stored, detail| Status::Forwarded { why, status, stored, collapsed, detail };
        match cache.phase() {
            CachePhase::Hit => Status::Hit { ttl: time_left(cache, now), detail: None },
            CachePhase::StaleUpdating => {
                Status::Hit { ttl: time_left(cache, now), detail: Some("stale-while-revalidate") }
            }
            CachePhase::Stale => forwarded(status, false, Some("stale-if-error")),
            CachePhase::Revalidated => forwarded(Some(304), true, None),
            CachePhase::RevalidatedNoCache(reason) => forwarded(Some(304), false, Some(detail(reason))),
            CachePhase::Disabled(reason) => forwarded(None, false, Some(detail(reason))),
            _ => forwarded(None, turn.is_writing, None),
        }
    }

    fn saw(&self, key: &CacheKey, found: Option<&Arc<Entry>>) {
        let mut turn = self.0.lock();
        turn.looked = match found {
            Some(_) => Looked::Found,
            None if key.get_variance_key().is_some() => Looked::VaryMiss,
            None => Looked::UriMiss,
        };
        turn.seen = found.map_or_else(Weak::new, |entry| Arc::downgrade(entry.body()));
    }
}

/// Seconds of freshness left, below zero when it has run out.
fn time_left(cache: &HttpCache, now: SystemTime) -> i64 {
    let Some(until) = cache.maybe_cache_meta().map(CacheMeta::fresh_until) else { return 0 };
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match until.duration_since(now) {
        Ok(left) => seconds(left),
        Err(past) => seconds(past.duration()).saturating_neg().min(-1),
    }
}

/// pingora's reasons in the form of tokens.
fn detail(reason: NoCacheReason) -> &'static str {
    match reason {
        NoCacheReason::Custom(name) => name,
        NoCacheReason::OriginNotCache => "origin",
        NoCacheReason::ResponseTooLarge | NoCacheReason::PredictedResponseTooLarge => "too-large",
        NoCacheReason::Deferred => "deferred",
        NoCacheReason::UpstreamError | NoCacheReason::DeclinedToUpstream => "upstream-error",
        NoCacheReason::CacheLockGiveUp | NoCacheReason::CacheLockTimeout | NoCacheReason::CacheLockRetryLimit => {
            "collapse-timeout"
        }
        _ => "internal",
    }
}

fn key_of(key: &impl CacheHashKey) -> Key {
    Key { primary: key.primary_bin(), variant: key.variance_bin() }
}

/// The two parts of pingora's metadata in one piece: the length of the first, the first, the second.
fn encode(meta: &CacheMeta) -> Result<Vec<u8>> {
    let (internal, header) = meta.serialize()?;
    let length = u32::try_from(internal.len()).unwrap_or(u32::MAX).to_be_bytes();
    Ok([&length[..], &internal, &header].concat())
}

fn decode(bytes: &[u8]) -> Result<CacheMeta> {
    let parts = bytes.split_first_chunk::<4>().and_then(|(length, rest)| {
        rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX))
    });
    match parts {
        Some((internal, header)) => CacheMeta::deserialize(internal, header),
        None => Error::e_explain(ErrorType::InternalError, "stored metadata is cut short"),
    }
}

#[async_trait]
impl Storage for CacheStorage {
    async fn lookup(&'static self, key: &CacheKey, _: &SpanHandle) -> Result<Option<(CacheMeta, HitHandler)>> {
        let found = self.store.get(&key_of(key), key.primary_key());
        if let Some(admission) = key.extensions.get::<Admission>() {
            admission.saw(key, found.as_ref());
        }
        let Some(entry) = found else { return Ok(None) };
        let Ok(meta) = decode(entry.meta()) else {
            // Fields that can be written and not read again: as good as not there.
            self.store.purge_variant(&key_of(key));
            return Ok(None);
        };
        let end = entry.body().len();
        let hit: HitHandler = Box::new(Hit { body: Arc::clone(entry.body()), at: 0, end });
        Ok(Some((meta, hit)))
    }

    async fn get_miss_handler(&'static self, key: &CacheKey, meta: &CacheMeta, _: &SpanHandle) -> Result<MissHandler> {
        let Some(admission) = key.extensions.get::<Admission>().cloned() else {
            return Error::e_explain(ErrorType::InternalError, "a cache key without an admission");
        };
        let expected = meta.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let write = {
            let mut turn = admission.0.lock();
            let ticket = turn.ticket;
            let write = match turn.verdict {
                Verdict::Refused => None,
                _ => self.store.begin(key_of(key), key.primary_key(), ticket, expected).ok(),
            };
            turn.is_writing = write.is_some();
            write
        };
        Ok(Box::new(Miss { admission, write, meta: encode(meta)? }))
    }

    async fn purge(&'static self, target: PurgeTarget<'_>, _: PurgeType, _: &SpanHandle) -> Result<PurgeOutcome> {
        Ok(if remove(&self.store, target.key()) { PurgeOutcome::Purged(None) } else { PurgeOutcome::NotFound })
    }

    async fn expire(&'static self, target: PurgeTarget<'_>, _: &SpanHandle) -> Result<PurgeOutcome> {
        let key = key_of(target.key());
        let Some(entry) = self.store.peek(&key) else { return Ok(PurgeOutcome::NotFound) };
        let mut meta = decode(entry.meta())?;
        meta.expire_at(SystemTime::now());
        if matches!(self.store.replace_meta(&key, entry.body(), &encode(&meta)?), Ok(true)) {
            return Ok(PurgeOutcome::Expired);
        }
        // It changed meanwhile, or there is no room to write it down: gone is stale enough.
        remove(&self.store, target.key());
        Ok(PurgeOutcome::Purged(None))
    }

    async fn update_meta(&'static self, key: &CacheKey, meta: &CacheMeta, _: &SpanHandle) -> Result<bool> {
        let seen = key.extensions.get::<Admission>().and_then(|admission| admission.0.lock().seen.upgrade());
        let Some(body) = seen else { return Ok(false) };
        Ok(self.store.replace_meta(&key_of(key), &body, &encode(meta)?).unwrap_or(false))
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}

fn remove(store: &Store, key: &CompactCacheKey) -> bool {
    let key = key_of(key);
    if key.variant.is_some() { store.purge_variant(&key) } else { store.purge(key.primary) }
}

/// Reads a stored body, whole or a range of it.
struct Hit {
    body: Arc<Body>,
    at: usize,
    end: usize,
}

#[async_trait]
impl HandleHit for Hit {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        let piece = self.body.read(self.at, self.end);
        self.at += piece.as_ref().map_or(0, Bytes::len);
        Ok(piece)
    }

    async fn finish(self: Box<Self>, _: &'static (dyn Storage + Sync), _: &CacheKey, _: &SpanHandle) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        let end = end.unwrap_or(self.body.len()).min(self.body.len());
        if start >= end {
            return Error::e_explain(ErrorType::InternalError, format!("no bytes from {start} to {end}"));
        }
        (self.at, self.end) = (start, end);
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}

/// Writes a response's body into the store; `write` is gone once the store refused it, and the rest is let pass.
struct Miss {
    admission: Admission,
    write: Option<Write>,
    meta: Vec<u8>,
}

#[async_trait]
impl HandleMiss for Miss {
    async fn write_body(&mut self, data: Bytes, _: bool) -> Result<()> {
        if self.write.as_mut().is_some_and(|write| write.push(&data).is_err()) {
            self.write = None;
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<MissFinishType> {
        let Self { admission, write, meta } = *self;
        let Some(write) = write else { return Ok(MissFinishType::Created(0)) };
        let size = write.len();
        let admitted = {
            let mut turn = admission.0.lock();
            match turn.verdict {
                Verdict::Admitted => Some((write, meta)),
                Verdict::Pending => {
                    turn.finished = Some(Finished { write, meta });
                    None
                }
                Verdict::Refused => None,
            }
        };
        // What is not published is counted by the store.
        let published = admitted.is_none_or(|(write, meta)| write.publish(&meta).is_ok());
        Ok(MissFinishType::Created(if published { size } else { 0 }))
    }
}

#[cfg(test)]
#[path = "cache_storage_tests.rs"]
mod tests;
