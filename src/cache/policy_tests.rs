use super::*;
use http::HeaderValue;

/// 2024-02-29 12:00:00 GMT.
const NOW: u64 = 1_709_208_000;
const DATE: &str = "date: Thu, 29 Feb 2024 12:00:00 GMT";

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Lines of `name: value`.
fn headers(lines: &[&str]) -> HeaderMap {
    let mut all = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        all.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    all
}

fn anonymous() -> Use {
    Use {
        audience: Audience::Anonymous,
        consent: Consent::None,
        fill: true,
        collapse: true,
        directives: RequestDirectives::default(),
    }
}

const SET_BY_GATE: [HeaderName; 1] = [HeaderName::from_static("x-user")];

fn store_with(using: &Use, status: u16, lines: &[&str], default_lifetime: Option<Duration>) -> Storable {
    let headers = headers(lines);
    let status = StatusCode::from_u16(status).unwrap();
    let response = ResponseFacts { status, headers: &headers, asked: at(NOW), received: at(NOW) };
    response_storable(
        using,
        &response,
        &StorePolicy { default_lifetime, error_statuses: false, set_by_gate: &SET_BY_GATE },
    )
}

fn store(status: u16, lines: &[&str]) -> Storable {
    store_with(&anonymous(), status, lines, None)
}

/// Seconds of (lifetime, age), or why not.
fn times(lines: &[&str]) -> Result<(u64, u64), Unstorable> {
    match store(200, lines) {
        Storable::Yes(lifetime) => Ok((lifetime.fresh_for.as_secs(), lifetime.age.as_secs())),
        Storable::No(reason) => Err(reason),
    }
}

#[test]
fn rfc9111_3_what_may_be_stored() {
    use Unstorable as U;
    let no: &[(u16, &[&str], U)] = &[
        // Nothing is guessed.
        (200, &[], U::NoLifetime),
        (200, &["last-modified: Wed, 28 Feb 2024 12:00:00 GMT"], U::NoLifetime),
        (200, &["cache-control: public"], U::NoLifetime),
        (200, &["cache-control: must-revalidate", "etag: \"a\""], U::NoLifetime),
        // Section 5.2.2.5 and 5.2.2.7.
        (200, &["cache-control: no-store, max-age=60"], U::NoStore),
        (200, &["cache-control: max-age=60", "cache-control: no-store"], U::NoStore),
        (200, &["cache-control: private, max-age=60"], U::Private),
        (200, &["cache-control: private=\"x\", max-age=60"], U::Private),
        (200, &["cache-control: private, public, max-age=60"], U::Private),
        (200, &["cache-control: max-age=60, x=\"no-store"], U::Malformed),
        // Somebody's own.
        (200, &["cache-control: max-age=60", "set-cookie: a=b"], U::SetCookie),
        (200, &["cache-control: public, s-maxage=60", "set-cookie: a=b"], U::SetCookie),
        // Section 4.1.
        (200, &["cache-control: max-age=60", "vary: *"], U::Vary),
        (200, &["cache-control: max-age=60", "vary: Accept, *"], U::Vary),
        (200, &["cache-control: max-age=60", "vary: X-User"], U::Vary),
        (200, &["cache-control: max-age=60", "vary: X-Forwarded-Host"], U::Vary),
        (200, &["cache-control: max-age=60", "vary: Forwarded"], U::Vary),
        (200, &["cache-control: max-age=60", "vary: a, b, c, d, e, f, g, h, i, j, k"], U::Vary),
        // Of no use.
        (200, &["cache-control: max-age=0"], U::Stale),
        (200, &["cache-control: no-cache"], U::Stale),
        (200, &["cache-control: max-age=60", "age: 60"], U::Stale),
        (200, &["expires: 0"], U::Stale),
        (200, &["cache-control: max-age=60", "content-type: text/event-stream; charset=utf-8"], U::Stream),
        // Statuses.
        (206, &["cache-control: max-age=60"], U::Status),
        (304, &["cache-control: max-age=60"], U::Status),
        (400, &["cache-control: max-age=60"], U::Status),
        (401, &["cache-control: public, max-age=60"], U::Status),
        (403, &["cache-control: max-age=60"], U::Status),
        (431, &["cache-control: max-age=60"], U::Status),
        (500, &["cache-control: max-age=60"], U::Status),
        (503, &["cache-control: max-age=60"], U::Status),
        (299, &["cache-control: must-understand, no-store, max-age=60"], U::Status),
        (101, &["cache-control: max-age=60"], U::Status),
    ];
    for (status, lines, reason) in no {
        assert_eq!(store(*status, lines), Storable::No(*reason), "{status} {lines:?}");
    }
    let yes: &[(u16, &[&str])] = &[
        (200, &["cache-control: max-age=60"]),
        (200, &["cache-control: s-maxage=60"]),
        (200, &["expires: Thu, 29 Feb 2024 12:01:00 GMT"]),
        (200, &["cache-control: max-age=60", "vary: Accept-Encoding, Origin"]),
        (200, &["cache-control: must-understand, no-store, max-age=60"]),
        (200, &["cache-control: no-cache", "etag: \"a\""]),
        (200, &["cache-control: no-cache, must-revalidate", "last-modified: x"]),
        (200, &["cache-control: max-age=0", "etag: \"a\""]),
        (200, &["cache-control: max-age=60", "age: 90", "etag: \"a\""]),
        (200, &["cache-control: max-age=0, stale-if-error=60"]),
        (204, &["cache-control: max-age=60"]),
        (301, &["cache-control: max-age=60"]),
        (302, &["cache-control: max-age=60"]),
        (404, &["cache-control: max-age=60"]),
        (410, &["cache-control: max-age=60"]),
    ];
    for (status, lines) in yes {
        assert!(matches!(store(*status, lines), Storable::Yes(_)), "{status} {lines:?}");
    }
}

#[test]
fn rfc9111_4_2_1_lifetimes_in_order_of_precedence() {
    let cases: &[(&[&str], u64)] = &[
        (&["cache-control: s-maxage=60, max-age=5"], 60),
        (&["cache-control: max-age=60, s-maxage=5", "etag: \"a\""], 5),
        (&["cache-control: max-age=60", "expires: Thu, 29 Feb 2024 13:00:00 GMT"], 60),
        (&["cache-control: max-age=60", "expires: Thu, 29 Feb 2024 11:00:00 GMT"], 60),
        (&["cache-control: max-age=60, max-age=30"], 30),
        (&["cache-control: max-age=99999999999"], 1 << 31),
        (&["cache-control: max-age=60, no-cache", "etag: \"a\""], 0),
        (&["cache-control: max-age=x", "expires: Thu, 29 Feb 2024 13:00:00 GMT", "etag: \"a\""], 0),
        (&["cache-control: max-age=-60", "etag: \"a\""], 0),
        (&["cache-control: max-age=60.0", "etag: \"a\""], 0),
        (&["cache-control: x", "expires: Thu, 29 Feb 2024 12:01:00 GMT"], 60),
    ];
    for (lines, seconds) in cases {
        assert_eq!(times(lines).unwrap().0, *seconds, "{lines:?}");
    }
}

#[test]
fn rfc9111_4_2_1_s_maxage_wins() {
    assert_eq!(times(&["cache-control: max-age=1, s-maxage=600"]), Ok((600, 0)));
}

#[test]
fn rfc9111_5_3_expires() {
    let cases: &[(&[&str], u64)] = &[
        // Counted from Date, where there is one.
        (&[DATE, "expires: Thu, 29 Feb 2024 12:01:00 GMT"], 60),
        (&["date: Thu, 29 Feb 2024 11:59:00 GMT", "expires: Thu, 29 Feb 2024 12:01:00 GMT"], 120),
        (&["date: nonsense", "expires: Thu, 29 Feb 2024 12:01:00 GMT"], 60),
        // The two obsolete forms.
        (&["expires: Thursday, 29-Feb-24 12:01:00 GMT"], 60),
        (&["expires: Thu Feb 29 12:01:00 2024"], 60),
        // What is invalid is past.
        (&["expires: 0", "etag: \"a\""], 0),
        (&["expires: -1", "etag: \"a\""], 0),
        (&["expires: never", "etag: \"a\""], 0),
        (&["expires: Thu, 29 Feb 2024 11:59:00 GMT", "etag: \"a\""], 0),
        (&["expires: 2024-02-29T12:01:00Z", "etag: \"a\""], 0),
        (&["expires: Thu, 31 Feb 2024 12:01:00 GMT", "etag: \"a\""], 0),
        (&["expires: 1709208060", "etag: \"a\""], 0),
        // Of two, the earlier.
        (&["expires: Thu, 29 Feb 2024 12:02:00 GMT", "expires: Thu, 29 Feb 2024 12:01:00 GMT"], 60),
        (&["expires: Thu, 29 Feb 2024 12:02:00 GMT", "expires: 0", "etag: \"a\""], 0),
    ];
    for (lines, seconds) in cases {
        assert_eq!(times(lines).unwrap().0, *seconds, "{lines:?}");
    }
}

#[test]
fn rfc9111_4_2_3_age_at_receipt() {
    let cases: &[(&[&str], u64)] = &[
        (&[], 0),
        (&[DATE], 0),
        (&["age: 30"], 30),
        (&["date: Thu, 29 Feb 2024 11:59:20 GMT"], 40),
        (&["date: Thu, 29 Feb 2024 11:59:20 GMT", "age: 30"], 40),
        (&["date: Thu, 29 Feb 2024 11:59:50 GMT", "age: 30"], 30),
        (&["date: Thu, 29 Feb 2024 12:05:00 GMT", "age: 30"], 30),
        (&["date: Thu, 29 Feb 2024 12:05:00 GMT"], 0),
        (&["age:  030 "], 30),
        // What cannot be right is taken for very old.
        (&["age: 99999999999999999999"], 1 << 31),
        (&["age: 30, 7200"], 1 << 31),
        (&["age: 0, 0"], 1 << 31),
        (&["age: 30", "age: 30"], 1 << 31),
        (&["age: x"], 1 << 31),
        (&["age: -30"], 1 << 31),
        (&["age: 30.5"], 1 << 31),
        (&["age: 30;a=b"], 1 << 31),
        (&["age: "], 1 << 31),
    ];
    for (lines, seconds) in cases {
        let lines = [&["cache-control: max-age=7200", "etag: \"a\""], *lines].concat();
        assert_eq!(times(&lines), Ok((7200, *seconds)), "{lines:?}");
    }
}

#[test]
fn rfc9111_4_2_3_the_time_a_question_takes_counts() {
    let headers = headers(&["cache-control: max-age=60", "age: 10", DATE]);
    let response = ResponseFacts { status: StatusCode::OK, headers: &headers, asked: at(NOW), received: at(NOW + 7) };
    let policy = StorePolicy { default_lifetime: None, error_statuses: false, set_by_gate: &[] };
    let Storable::Yes(lifetime) = response_storable(&anonymous(), &response, &policy) else { panic!("not stored") };
    assert_eq!(lifetime.age, Duration::from_secs(17));
    assert_eq!(lifetime.remaining(), Duration::from_secs(43));
    // A clock that jumped back is no reason to fail.
    let response = ResponseFacts { asked: at(NOW + 9), received: at(NOW), ..response };
    let Storable::Yes(lifetime) = response_storable(&anonymous(), &response, &policy) else { panic!("not stored") };
    assert_eq!(lifetime.age, Duration::from_secs(10));
}

#[test]
fn rfc9111_4_2_2_a_lifetime_is_supplied_only_where_configured_and_allowed() {
    let supplied = Some(Duration::from_secs(30));
    for (status, lines, fresh_for) in [
        (200, &[][..], Some(30)),
        (404, &[], Some(30)),
        (302, &[], None),
        (501, &[], None),
        (200, &["cache-control: max-age=5"], Some(5)),
        (200, &["cache-control: private"], None),
        (200, &["cache-control: no-store"], None),
        (200, &["cache-control: no-cache", "etag: \"a\""], Some(0)),
        (200, &["expires: 0", "etag: \"a\""], Some(0)),
    ] {
        let found = match store_with(&anonymous(), status, lines, supplied) {
            Storable::Yes(lifetime) => Some(lifetime.fresh_for.as_secs()),
            Storable::No(_) => None,
        };
        assert_eq!(found, fresh_for, "{status} {lines:?}");
    }
}

#[test]
fn rfc9111_4_2_4_stale_only_where_nothing_forbids_it() {
    for (directives, while_revalidate, if_error, must) in [
        ("max-age=60", 0, 0, false),
        ("max-age=60, stale-while-revalidate=30", 30, 0, false),
        ("max-age=60, stale-if-error=90, stale-while-revalidate=30", 30, 90, false),
        ("max-age=60, stale-if-error=90, must-revalidate", 0, 0, true),
        ("max-age=60, stale-if-error=90, proxy-revalidate", 0, 0, true),
        ("s-maxage=60, stale-while-revalidate=90", 0, 0, true),
        ("max-age=60, stale-if-error=x", 0, 0, false),
        ("max-age=60, stale-if-error=-1", 0, 0, false),
    ] {
        let line = format!("cache-control: {directives}");
        let Storable::Yes(lifetime) = store(200, &[&line]) else { panic!("{directives}: not stored") };
        let found = (lifetime.stale_while_revalidate.as_secs(), lifetime.stale_if_error.as_secs());
        assert_eq!((found, lifetime.must_revalidate), ((while_revalidate, if_error), must), "{directives}");
    }
}

fn lookup(method: &Method, lines: &[&str], identified: bool, authorized: bool) -> Lookup {
    let headers = headers(lines);
    request_cacheability(&RequestFacts { method, headers: &headers, identified }, authorized, true)
}

#[test]
fn requests_the_cache_has_no_part_in() {
    for (method, lines, reason) in [
        (Method::POST, &[][..], Bypass::Method),
        (Method::PUT, &["cache-control: only-if-cached"], Bypass::Method),
        (Method::OPTIONS, &[], Bypass::Method),
        (Method::GET, &["authorization: Bearer x"], Bypass::Authorization),
        (Method::GET, &["proxy-authorization: Basic x"], Bypass::Authorization),
        (Method::GET, &["cache-control: no-store"], Bypass::NoStore),
        (Method::GET, &["connection: upgrade", "upgrade: websocket"], Bypass::Upgrade),
        (Method::GET, &["content-length: 5"], Bypass::Body),
        (Method::GET, &["content-length: x"], Bypass::Body),
        (Method::HEAD, &["transfer-encoding: chunked"], Bypass::Body),
        (Method::GET, &["x-http-method-override: DELETE"], Bypass::MethodOverride),
        (Method::GET, &["if-match: \"a\""], Bypass::Precondition),
        (Method::GET, &["if-unmodified-since: x"], Bypass::Precondition),
    ] {
        assert_eq!(lookup(&method, lines, false, false), Lookup::Bypass(reason), "{method} {lines:?}");
    }
    assert_eq!(lookup(&Method::GET, &[], true, false), Lookup::Bypass(Bypass::Identified));
    // Methods are case-sensitive.
    let get = Method::from_bytes(b"get").unwrap();
    assert_eq!(lookup(&get, &[], false, false), Lookup::Bypass(Bypass::Method));
}

#[test]
fn rfc9111_5_2_1_7_only_if_cached_is_never_forwarded() {
    let lines = ["cache-control: only-if-cached", "authorization: x"];
    assert_eq!(lookup(&Method::GET, &lines, false, false), Lookup::Unsatisfiable(Bypass::Authorization));
    let Lookup::Use(using) = lookup(&Method::GET, &lines[..1], false, false) else { panic!("not used") };
    assert!(using.directives.only_if_cached);
}

#[test]
fn requests_the_cache_takes_part_in() {
    use Audience::{Anonymous, Credentialed};
    for (method, lines, identified, expected) in [
        (Method::GET, &[][..], false, (Anonymous, Consent::None, true, true)),
        (Method::GET, &["content-length: 0", "if-none-match: \"a\""], false, (Anonymous, Consent::None, true, true)),
        (Method::HEAD, &[], false, (Anonymous, Consent::None, false, true)),
        (Method::GET, &["range: bytes=0-1"], false, (Anonymous, Consent::None, false, true)),
        (Method::GET, &["cookie: a=b"], false, (Credentialed, Consent::Public, true, false)),
        (Method::GET, &["authorization: x"], false, (Credentialed, Consent::Authorized, true, false)),
        (Method::GET, &[], true, (Credentialed, Consent::Authorized, true, false)),
        (Method::GET, &["authorization: x", "cookie: a=b"], false, (Credentialed, Consent::Public, true, false)),
    ] {
        let Lookup::Use(using) = lookup(&method, lines, identified, true) else { panic!("{method} {lines:?}") };
        assert_eq!((using.audience, using.consent, using.fill, using.collapse), expected, "{method} {lines:?}");
    }
}

#[test]
fn rfc9111_3_5_credentials_need_the_responses_consent() {
    for (consent, directives, stored) in [
        (Consent::None, "max-age=60", true),
        (Consent::Public, "max-age=60", false),
        (Consent::Public, "s-maxage=60", false),
        (Consent::Public, "max-age=60, must-revalidate", false),
        (Consent::Public, "public, max-age=60", true),
        (Consent::Public, "public=1, max-age=60", false),
        (Consent::Public, "public, private, max-age=60", false),
        (Consent::Authorized, "max-age=60", false),
        (Consent::Authorized, "max-age=60, proxy-revalidate", false),
        (Consent::Authorized, "s-maxage=60", true),
        (Consent::Authorized, "max-age=60, must-revalidate", true),
        (Consent::Authorized, "public, max-age=60", true),
        (Consent::Authorized, "public, private, max-age=60", false),
    ] {
        let using = Use { consent, ..anonymous() };
        let line = format!("cache-control: {directives}");
        let found = store_with(&using, 200, &[&line], None);
        assert_eq!(matches!(found, Storable::Yes(_)), stored, "{consent:?} {directives}: {found:?}");
        // And what is stored for one kind is not handed to another.
        let kept = headers(&[&line]);
        let at_hit = reuse(&using, &Stored { headers: &kept, age: Duration::ZERO, fresh_until: at(NOW + 60) }, at(NOW));
        let given = consent.given(&ResponseDirectives::read(&kept));
        assert_eq!(at_hit == Reuse::ByFreshness, given, "{consent:?} {directives}");
    }
}

#[test]
fn client_directives_can_be_left_out() {
    let headers = headers(&["cache-control: no-cache, max-stale, only-if-cached"]);
    let request = RequestFacts { method: &Method::GET, headers: &headers, identified: false };
    let Lookup::Use(using) = request_cacheability(&request, false, false) else { panic!("not used") };
    assert_eq!(using.directives, RequestDirectives { only_if_cached: true, ..Default::default() });
}

#[test]
fn rfc9111_5_2_1_what_a_request_asks_of_the_stored_response() {
    // Stored for 60 s of life; `age` says how much is gone.
    for (request, response, age, expected) in [
        ("x", "max-age=60", 10, Reuse::ByFreshness),
        ("x", "max-age=60", 70, Reuse::ByFreshness),
        ("no-cache", "max-age=60", 10, Reuse::Revalidate),
        ("no-cache, max-stale", "max-age=60", 70, Reuse::Revalidate),
        ("max-age=10", "max-age=60", 10, Reuse::ByFreshness),
        ("max-age=9", "max-age=60", 10, Reuse::Revalidate),
        ("max-age=0", "max-age=60", 1, Reuse::Revalidate),
        ("max-age=x", "max-age=60", 1, Reuse::Revalidate),
        ("min-fresh=50", "max-age=60", 10, Reuse::ByFreshness),
        ("min-fresh=51", "max-age=60", 10, Reuse::Revalidate),
        ("min-fresh=1", "max-age=60", 60, Reuse::Revalidate),
        ("max-stale", "max-age=60", 500, Reuse::Stale),
        ("max-stale", "max-age=60", 10, Reuse::ByFreshness),
        ("max-stale=10", "max-age=60", 70, Reuse::Stale),
        ("max-stale=9", "max-age=60", 70, Reuse::ByFreshness),
        ("max-stale=x", "max-age=60", 70, Reuse::ByFreshness),
        ("max-stale", "max-age=60, must-revalidate", 70, Reuse::ByFreshness),
        ("max-stale", "max-age=60, proxy-revalidate", 70, Reuse::ByFreshness),
        ("max-stale", "s-maxage=60", 70, Reuse::ByFreshness),
        ("max-stale", "max-age=60, no-cache", 70, Reuse::ByFreshness),
    ] {
        let asked = headers(&[&format!("cache-control: {request}")]);
        let kept = headers(&[&format!("cache-control: {response}")]);
        let using = Use { directives: RequestDirectives::read(&asked), ..anonymous() };
        let stored = Stored { headers: &kept, age: Duration::from_secs(age), fresh_until: at(NOW + 60) };
        assert_eq!(reuse(&using, &stored, at(NOW + age)), expected, "{request} / {response} at {age}");
    }
}

#[test]
fn rfc9111_4_4_unsafe_methods_invalidate() {
    for (method, status, expected) in [
        ("POST", 200, true),
        ("PUT", 204, true),
        ("DELETE", 303, true),
        ("PATCH", 200, true),
        ("M-SEARCH", 200, true),
        ("POST", 404, false),
        ("POST", 500, false),
        ("GET", 200, false),
        ("HEAD", 200, false),
        ("OPTIONS", 200, false),
    ] {
        let method: Method = method.parse().unwrap();
        assert_eq!(invalidates(&method, StatusCode::from_u16(status).unwrap()), expected, "{method} {status}");
    }
}

#[test]
fn rfc9111_4_4_only_the_same_origin_is_invalidated() {
    let target = Target { scheme: crate::facts::Scheme::Https, authority: "a.test", path: "/", query: None };
    for (location, expected) in [
        ("/x", Some(("/x", None))),
        ("/x?q=1#f", Some(("/x", Some("q=1")))),
        ("https://a.test/x", Some(("/x", None))),
        ("HTTPS://A.TEST/x", Some(("/x", None))),
        ("https://a.test.evil.test/x", None),
        ("https://a.test@evil.test/x", None),
        ("https://b.test/x", None),
        ("http://a.test/x", None),
        ("//a.test/x", None),
        ("https://a.test//x", None),
        ("x", None),
        ("", None),
    ] {
        let found = also_invalidated(&target, &headers(&[&format!("content-location: {location}")]));
        let expected: Vec<_> = expected
            .map(|(path, query): (&str, Option<&str>)| (path.to_owned(), query.map(str::to_owned)))
            .into_iter()
            .collect();
        assert_eq!(found, expected, "{location}");
    }
}

#[test]
fn rfc9111_3_1_fields_of_one_connection_are_not_stored() {
    let response = headers(&[
        "connection: close, X-Hop, cache-control",
        "x-hop: 1",
        "keep-alive: timeout=5",
        "transfer-encoding: chunked",
        "age: 5",
        "cache-control: no-store",
        "etag: \"a\"",
    ]);
    let mut names: Vec<_> = unstorable_fields(&response).iter().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["age", "connection", "keep-alive", "transfer-encoding", "x-hop"]);
}

#[test]
fn rfc9111_3_2_a_304_updates_what_it_may() {
    let not_modified = headers(&[
        "cache-control: max-age=60",
        DATE,
        "etag: \"a\"",
        "x-new: 1",
        "content-length: 0",
        "content-encoding: gzip",
        "content-type: text/html",
        "set-cookie: a=b",
        "connection: x-hop",
        "x-hop: 1",
    ]);
    let updated = |stored: &[&str]| {
        let names = updated_fields(&headers(stored), &not_modified);
        let mut names: Vec<_> = names.iter().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(updated(&["etag: \"b\"", "x-old: 1"]), ["cache-control", "content-type", "date", "x-new"]);
    assert_eq!(updated(&[]), ["cache-control", "content-type", "date", "etag", "x-new"]);
}

#[test]
fn rfc5861_4_only_failures_bring_stale_responses() {
    for (status, expected) in
        [(500, true), (502, true), (503, true), (504, true), (501, false), (403, false), (404, false)]
    {
        assert_eq!(is_failure(status), expected, "{status}");
    }
}

#[test]
fn error_statuses_are_stored_only_where_configured_and_dated() {
    for (status, directives, error_statuses, stored) in [
        (500, "max-age=60", true, true),
        (400, "max-age=60", true, true),
        (299, "max-age=60", true, true),
        (500, "x", true, false),
        (500, "max-age=60", false, false),
        (206, "max-age=60", true, false),
        (304, "max-age=60", true, false),
        (101, "max-age=60", true, false),
        (599, "must-understand, max-age=60", true, false),
        (500, "no-store, max-age=60", true, false),
    ] {
        let headers = headers(&[&format!("cache-control: {directives}")]);
        let status = StatusCode::from_u16(status).unwrap();
        let response = ResponseFacts { status, headers: &headers, asked: at(NOW), received: at(NOW) };
        let policy = StorePolicy { default_lifetime: None, error_statuses, set_by_gate: &[] };
        let found = response_storable(&anonymous(), &response, &policy);
        assert_eq!(matches!(found, Storable::Yes(_)), stored, "{status} {directives}: {found:?}");
    }
}
