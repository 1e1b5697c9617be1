use super::*;
use crate::cache::key::{Audience, Target};
use crate::cache::policy::{Consent, ResponseFacts, Storable, StorePolicy};
use crate::facts::Scheme;
use pingora_cache::RespCacheable;
use pingora_cache::key::HashBinary;

fn storage() -> &'static CacheStorage {
    CacheStorage::leak(Store::new(4 << 20, 1 << 19, 4), Duration::from_secs(5))
}

fn primary(path: &str) -> Primary {
    let target = Target { scheme: Scheme::Https, authority: "a.test", path, query: None };
    Primary::new(&target, Audience::Anonymous)
}

fn anonymous() -> Use {
    Use {
        audience: Audience::Anonymous,
        consent: Consent::None,
        fill: true,
        collapse: true,
        directives: crate::cache::directives::RequestDirectives::default(),
    }
}

fn response(lines: &[(&'static str, &str)]) -> ResponseHeader {
    let mut header = ResponseHeader::build(200, None).unwrap();
    for (name, value) in lines {
        header.append_header(*name, *value).unwrap();
    }
    header
}

fn request(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

/// What `response_cache_filter` does.
fn cacheable(header: &ResponseHeader) -> RespCacheable {
    let now = SystemTime::now();
    let facts = ResponseFacts { status: header.status, headers: &header.headers, asked: now, received: now };
    let policy = StorePolicy { default_lifetime: None, error_statuses: false, set_by_gate: &[] };
    match policy::response_storable(&anonymous(), &facts, &policy) {
        Storable::Yes(lifetime) => RespCacheable::Cacheable(meta(&lifetime, now, header.clone())),
        Storable::No(reason) => RespCacheable::Uncacheable(unstorable(reason)),
    }
}

/// One request as pingora's own state machine sees it.
struct Asked {
    cache: HttpCache,
    admission: Admission,
}

impl Asked {
    fn new(storage: &'static CacheStorage, path: &str) -> Self {
        // Without collapsing, so that no test waits for its own earlier request.
        let primary = primary(path);
        let mut cache = HttpCache::new();
        let using = Use { collapse: false, ..anonymous() };
        assert!(storage.enable(&mut cache, &primary, &using, Duration::from_secs(1)));
        let admission = storage.admission();
        cache.set_cache_key(cache_key(&primary, &admission));
        Self { cache, admission }
    }

    /// Looks up as the proxy does, with `Vary`; the body on a hit.
    async fn lookup(&mut self, request: &HeaderMap) -> Option<Vec<u8>> {
        loop {
            let Some((meta, hit)) = self.cache.cache_lookup().await.unwrap() else {
                self.cache.cache_miss();
                return None;
            };
            if self.cache.cache_key().get_variance_key().is_none()
                && let Some(variant) = variant(&meta, request)
                && !self.cache.cache_vary_lookup(variant, &meta)
            {
                continue;
            }
            let is_fresh = meta.is_fresh(SystemTime::now());
            let status = if is_fresh { pingora_cache::HitStatus::Fresh } else { pingora_cache::HitStatus::Expired };
            self.cache.cache_found(meta, hit, status);
            return if is_fresh { Some(self.body().await) } else { None };
        }
    }

    async fn body(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = self.cache.hit_handler().read_body().await.unwrap() {
            all.extend_from_slice(&piece);
        }
        all
    }

    async fn begin(&mut self, request: &HeaderMap, header: &ResponseHeader) {
        let RespCacheable::Cacheable(meta) = cacheable(header) else { panic!("not storable") };
        let variant = variant(&meta, request);
        self.cache.set_cache_meta(meta);
        self.cache.update_variance(variant);
        self.cache.set_miss_handler().await.unwrap();
    }

    async fn push(&mut self, data: &[u8]) {
        self.cache.miss_handler().unwrap().write_body(Bytes::copy_from_slice(data), false).await.unwrap();
    }

    fn status(&self) -> String {
        self.admission.status(&self.cache, None, SystemTime::now()).to_string()
    }
}

async fn fill(storage: &'static CacheStorage, path: &str, header: &ResponseHeader, body: &[u8]) {
    let mut asked = Asked::new(storage, path);
    assert_eq!(asked.lookup(&HeaderMap::new()).await, None);
    asked.begin(&HeaderMap::new(), header).await;
    asked.push(body).await;
    asked.admission.admit();
    asked.cache.finish_miss_handler().await.unwrap();
}

#[tokio::test]
async fn a_miss_fills_and_the_next_request_hits() {
    let storage = storage();
    let header = response(&[("cache-control", "max-age=60"), ("content-length", "5"), ("age", "10")]);
    let mut first = Asked::new(storage, "/a");
    assert_eq!(first.lookup(&HeaderMap::new()).await, None);
    first.begin(&HeaderMap::new(), &header).await;
    assert_eq!(first.status(), "Gatehouse; fwd=uri-miss; stored");
    first.push(b"hel").await;
    first.push(b"lo").await;
    first.admission.admit();
    first.cache.finish_miss_handler().await.unwrap();

    let mut second = Asked::new(storage, "/a");
    assert_eq!(second.lookup(&HeaderMap::new()).await.unwrap(), b"hello");
    assert_eq!(second.cache.cache_meta().age().as_secs(), 10, "Age counts on from what the replica said");
    assert!(!second.cache.cache_meta().headers().contains_key("age"));
    assert!(["Gatehouse; hit; ttl=49", "Gatehouse; hit; ttl=50"].contains(&second.status().as_str()));
    assert_eq!(Asked::new(storage, "/b").lookup(&HeaderMap::new()).await, None);
}

#[tokio::test]
async fn nothing_is_published_before_its_body_was_judged() {
    let storage = storage();
    let header = response(&[("cache-control", "max-age=60")]);
    let none = HeaderMap::new();

    // Finished, never judged.
    let mut asked = Asked::new(storage, "/a");
    asked.lookup(&none).await;
    asked.begin(&none, &header).await;
    asked.push(b"x").await;
    asked.cache.finish_miss_handler().await.unwrap();
    assert_eq!(Asked::new(storage, "/a").lookup(&none).await, None);
    // Judged well after that.
    asked.admission.admit();
    assert_eq!(Asked::new(storage, "/a").lookup(&none).await.unwrap(), b"x");

    // Refused, before and after the end, and refused for good.
    for refuse_first in [true, false] {
        let mut asked = Asked::new(storage, "/b");
        asked.lookup(&none).await;
        asked.begin(&none, &header).await;
        asked.push(b"x").await;
        if refuse_first {
            asked.admission.refuse();
        }
        asked.cache.finish_miss_handler().await.unwrap();
        asked.admission.refuse();
        asked.admission.admit();
        drop(asked);
        assert_eq!(Asked::new(storage, "/b").lookup(&none).await, None, "{refuse_first}");
    }

    // Judged, but the replica broke off.
    let mut asked = Asked::new(storage, "/c");
    asked.lookup(&none).await;
    asked.begin(&none, &header).await;
    asked.push(b"x").await;
    asked.admission.admit();
    drop(asked);
    assert_eq!(Asked::new(storage, "/c").lookup(&none).await, None);
    let mut asked = Asked::new(storage, "/c");
    asked.lookup(&none).await;
    asked.begin(&none, &response(&[("cache-control", "max-age=60"), ("content-length", "2")])).await;
    asked.push(b"x").await;
    asked.admission.admit();
    asked.cache.finish_miss_handler().await.unwrap();
    assert_eq!(Asked::new(storage, "/c").lookup(&none).await, None);
    assert_eq!(storage.store().stats().writing_bytes, 0);
}

#[tokio::test]
async fn a_key_without_an_admission_stores_nothing() {
    let storage = storage();
    let span = pingora_cache::trace::Span::inactive();
    let RespCacheable::Cacheable(meta) = cacheable(&response(&[("cache-control", "max-age=60")])) else { panic!() };
    let key = CacheKey::new("x", "");
    assert!(storage.get_miss_handler(&key, &meta, &span.handle()).await.is_err());
}

#[tokio::test]
async fn what_was_purged_meanwhile_is_not_published() {
    let storage = storage();
    let none = HeaderMap::new();
    let mut asked = Asked::new(storage, "/a");
    asked.lookup(&none).await;
    storage.store().purge(primary("/a").hash());
    asked.begin(&none, &response(&[("cache-control", "max-age=60")])).await;
    asked.admission.admit();
    asked.cache.finish_miss_handler().await.unwrap();
    assert_eq!(Asked::new(storage, "/a").lookup(&none).await, None);
}

#[tokio::test]
async fn variants_are_kept_apart() {
    let storage = storage();
    let header = response(&[("cache-control", "max-age=60"), ("vary", "accept-language")]);
    for language in ["de", "en", "fr"] {
        let asks = request(&[("accept-language", language)]);
        let mut asked = Asked::new(storage, "/a");
        assert_eq!(asked.lookup(&asks).await, None, "{language}");
        asked.begin(&asks, &header).await;
        let expected = if language == "de" { "uri-miss" } else { "vary-miss" };
        assert_eq!(asked.status(), format!("Gatehouse; fwd={expected}; stored"));
        asked.push(language.as_bytes()).await;
        asked.admission.admit();
        asked.cache.finish_miss_handler().await.unwrap();
    }
    for language in ["fr", "en", "de"] {
        let asks = request(&[("accept-language", language)]);
        assert_eq!(Asked::new(storage, "/a").lookup(&asks).await.unwrap(), language.as_bytes());
    }
    assert_eq!(Asked::new(storage, "/a").lookup(&HeaderMap::new()).await, None);
    // One purge is enough for all of them.
    assert!(storage.store().purge(primary("/a").hash()));
    for language in ["fr", "en", "de"] {
        let asks = request(&[("accept-language", language)]);
        assert_eq!(Asked::new(storage, "/a").lookup(&asks).await, None);
    }
}

#[tokio::test]
async fn rfc9111_4_3_4_a_304_renews_the_stored_response() {
    let storage = storage();
    let none = HeaderMap::new();
    let header = response(&[
        ("cache-control", "max-age=60"),
        ("age", "70"),
        ("etag", "\"a\""),
        ("x-old", "1"),
        ("content-length", "5"),
    ]);
    fill(storage, "/a", &header, b"hello").await;

    let mut stale = Asked::new(storage, "/a");
    assert_eq!(stale.lookup(&none).await, None);
    assert_eq!(stale.cache.phase(), CachePhase::Stale);
    let mut head = ResponseHeader::build(304, None).unwrap();
    for (name, value) in
        [("cache-control", "max-age=600"), ("x-new", "2"), ("x-old", "3"), ("content-length", "0"), ("etag", "\"b\"")]
    {
        head.insert_header(name, value).unwrap();
    }
    let update = not_modified(&stale.cache, &mut head).unwrap();
    let mut merged = stale.cache.revalidate_merge_header(&head);
    freshen(&mut merged, &update);
    let RespCacheable::Cacheable(meta) = cacheable(&merged) else { panic!("not storable") };
    assert!(stale.cache.revalidate_cache_meta(meta).await.unwrap());
    assert_eq!(stale.status(), "Gatehouse; fwd=stale; fwd-status=304; stored");
    assert_eq!(stale.body().await, b"hello");

    let mut fresh = Asked::new(storage, "/a");
    assert_eq!(fresh.lookup(&none).await.unwrap(), b"hello");
    let meta = fresh.cache.cache_meta();
    assert!(meta.fresh_sec() > 590 && meta.age().as_secs() < 10);
    let kept = |name: &str| meta.headers().get(name).and_then(|v| v.to_str().ok());
    assert_eq!((kept("x-new"), kept("x-old"), kept("content-length")), (Some("2"), Some("3"), Some("5")));
    assert_eq!(kept("etag"), Some("\"a\""));
    let mut other = response(&[("x-new", "2")]);
    assert!(not_modified(&fresh.cache, &mut other).is_none(), "only a 304 updates");
    assert!(other.headers.contains_key("x-new"));
}

#[tokio::test]
async fn a_304_for_a_body_that_was_replaced_is_not_applied() {
    let storage = storage();
    let none = HeaderMap::new();
    let header = response(&[("cache-control", "max-age=0"), ("etag", "\"a\"")]);
    fill(storage, "/a", &header, b"old").await;
    let mut stale = Asked::new(storage, "/a");
    stale.lookup(&none).await;
    storage.store().purge(primary("/a").hash());
    fill(storage, "/a", &response(&[("cache-control", "max-age=60"), ("etag", "\"b\"")]), b"new").await;
    let merged = stale.cache.revalidate_merge_header(&response(&[("cache-control", "max-age=600")]));
    let RespCacheable::Cacheable(meta) = cacheable(&merged) else { panic!("not storable") };
    assert!(!stale.cache.revalidate_cache_meta(meta).await.unwrap());
    let mut fresh = Asked::new(storage, "/a");
    assert_eq!(fresh.lookup(&none).await.unwrap(), b"new");
    assert_eq!(fresh.cache.cache_meta().headers().get("etag").unwrap(), "\"b\"");
}

#[tokio::test]
async fn hits_can_be_read_in_ranges() {
    let storage = storage();
    let body: Vec<u8> = (0..200_000_u32).map(|i| u8::try_from(i % 253).unwrap()).collect();
    fill(storage, "/a", &response(&[("cache-control", "max-age=60")]), &body).await;
    let mut asked = Asked::new(storage, "/a");
    assert_eq!(asked.lookup(&HeaderMap::new()).await.unwrap(), body);
    assert!(asked.cache.hit_handler().can_seek());
    for (start, end, expected) in [
        (0, Some(1), &body[..1]),
        (65_530, Some(65_540), &body[65_530..65_540]),
        (199_999, None, &body[199_999..]),
        (150_000, Some(usize::MAX), &body[150_000..]),
    ] {
        asked.cache.hit_handler().seek(start, end).unwrap();
        assert_eq!(asked.body().await, expected);
    }
    assert!(asked.cache.hit_handler().seek(200_000, None).is_err());
    assert!(asked.cache.hit_handler().seek(5, Some(5)).is_err());
}

#[tokio::test]
async fn purge_and_expire_by_pingoras_calls() {
    let storage = storage();
    let none = HeaderMap::new();
    let header = response(&[("cache-control", "max-age=60, stale-if-error=60")]);
    fill(storage, "/a", &header, b"x").await;
    assert!(Asked::new(storage, "/a").cache.expire().await.unwrap());
    let mut stale = Asked::new(storage, "/a");
    assert_eq!(stale.lookup(&none).await, None);
    assert_eq!(stale.cache.phase(), CachePhase::Stale);
    assert!(stale.cache.can_serve_stale_error());
    drop(stale);
    assert!(Asked::new(storage, "/a").cache.purge().await.unwrap());
    assert!(!Asked::new(storage, "/a").cache.purge().await.unwrap());
    assert!(!Asked::new(storage, "/a").cache.expire().await.unwrap());
    assert_eq!(Asked::new(storage, "/a").lookup(&none).await, None);
}

#[tokio::test]
async fn what_the_store_refuses_is_let_pass() {
    let storage = CacheStorage::leak(Store::new(100_000, 10_000, 1), Duration::from_secs(5));
    let none = HeaderMap::new();
    let mut asked = Asked::new(storage, "/a");
    asked.lookup(&none).await;
    asked.begin(&none, &response(&[("cache-control", "max-age=60")])).await;
    asked.push(&[0; 9000]).await;
    asked.push(&[0; 9000]).await;
    asked.push(&[0; 9000]).await;
    asked.admission.admit();
    asked.cache.finish_miss_handler().await.unwrap();
    assert_eq!(Asked::new(storage, "/a").lookup(&none).await, None);
    assert_eq!(storage.store().stats().bytes, 0);
    assert!(storage.store().stats().rejected > 0);
}

#[test]
fn a_request_that_may_not_fill_is_enabled_only_where_something_is_stored() {
    let storage = storage();
    let using = Use { fill: false, ..anonymous() };
    let mut cache = HttpCache::new();
    assert!(!storage.enable(&mut cache, &primary("/a"), &using, Duration::from_secs(1)));
    assert!(!cache.enabled());
}

#[test]
fn times_are_counted_from_birth() {
    let received = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
    let of = |age, fresh_for| Lifetime {
        age: Duration::from_secs(age),
        fresh_for: Duration::from_secs(fresh_for),
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::from_secs(u64::MAX),
        must_revalidate: false,
    };
    for (age, fresh_for, until) in
        [(0, 60, 10_060), (10, 60, 10_050), (0, 0, 9_999), (60, 60, 9_999), (100, 60, 9_960), (100_000, 60, 60)]
    {
        let meta = meta(&of(age, fresh_for), received, ResponseHeader::build(200, None).unwrap());
        let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(until);
        assert_eq!(meta.fresh_until(), expected, "{age} {fresh_for}");
        assert_eq!(meta.is_fresh(received), until >= 10_000);
        assert_eq!(meta.stale_if_error_sec(), u32::MAX);
        assert_eq!(decode(&encode(&meta).unwrap()).unwrap().fresh_until(), expected);
    }
}

#[test]
fn stale_is_served_for_failures_of_replicas_only() {
    let error = |etype, source| Error::create(etype, source, None, None);
    for (error, no_replica, expected) in [
        (error(ErrorType::HTTPStatus(503), ErrorSource::Upstream), false, true),
        (error(ErrorType::HTTPStatus(501), ErrorSource::Upstream), false, false),
        (error(ErrorType::HTTPStatus(503), ErrorSource::Internal), false, false),
        (error(ErrorType::HTTPStatus(503), ErrorSource::Internal), true, true),
        (error(ErrorType::ConnectTimedout, ErrorSource::Upstream), false, true),
        (error(ErrorType::ReadError, ErrorSource::Downstream), false, false),
    ] {
        assert_eq!(serves_stale(Some(&error), no_replica), expected, "{error:?}");
    }
    assert!(serves_stale(None, false));
}

#[test]
fn metadata_that_is_cut_short_is_refused() {
    let bytes = {
        let RespCacheable::Cacheable(meta) = cacheable(&response(&[("cache-control", "max-age=60")])) else { panic!() };
        encode(&meta).unwrap()
    };
    assert_eq!(decode(&bytes).unwrap().response_header().status, StatusCode::OK);
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "{end}");
    }
    assert!(decode(&[255; 40]).is_err());
}

#[test]
fn a_variant_that_cannot_be_told_matches_nothing() {
    let now = SystemTime::now();
    let meta = CacheMeta::new(now, now, 0, 0, response(&[("vary", "*")]));
    let none: HashBinary = Hash::default();
    assert_eq!(variant(&meta, &HeaderMap::new()), Some(none));
}
