//! What each fuzz target does with its input. One file, so that `tests/corpus.rs` replays every corpus on the stable
//! toolchain with the same checks.
//!
//! A target fails by panicking: on a crash of the code under test, or where a property it states does not hold.

#![allow(dead_code, reason = "each target uses one function")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a target fails by panicking"
)]

use gatehouse::cache::directives::{RequestDirectives, ResponseDirectives};
use gatehouse::client::proxy;
use gatehouse::facts::Scheme;
use gatehouse::policy::field::{FieldPolicy, Found};
use gatehouse::request::chunk::BodyScan;
use gatehouse::request::{Body, Head, HeadLimits, RequestModel, wire};
use gatehouse::tls::hello;
use gatehouse_waf::files::{Disk, Memory};
use gatehouse_waf::transform::Transformation;
use gatehouse_waf::{Connection, Ruleset, Source, Transaction, body as bodies_of};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// Any text is a rule set or a list of faults, each at a place.
pub(crate) fn seclang(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let source = Source { name: "fuzz.conf".to_owned(), text: text.to_owned() };
    if let Err(faults) = Ruleset::compile(&[source], &Memory::default()) {
        assert!(!faults.is_empty(), "refused without a reason");
        assert!(faults.iter().all(|fault| !fault.what.is_empty()));
    }
}

/// Every transformation takes any bytes; what it borrows is its input.
pub(crate) fn transform(data: &[u8]) {
    for transformation in Transformation::ALL {
        let once = transformation.apply(Cow::Borrowed(data));
        if let Cow::Borrowed(same) = once {
            assert!(same.len() <= data.len(), "{} borrows more than it was given", transformation.name());
        }
        let owned = transformation.apply(Cow::Owned(data.to_vec()));
        assert_eq!(once, owned, "{} depends on who owns its input", transformation.name());
    }
}

/// Every body parser takes any bytes.
pub(crate) fn body(data: &[u8]) {
    let _ = bodies_of::urlencoded::parse(data, b'&', &Default::default());
    let _ = bodies_of::json::flatten(data, &Default::default());
    let _ = bodies_of::xml::parse(data, &Default::default());
    let _ = bodies_of::multipart::parse(data, b"multipart/form-data; boundary=b", &Default::default());
}

/// The rules judge any request in bounded time, and with and without the plan alike: the core rules, or with
/// `GATEHOUSE_CRS_DIR` the Core Rule Set at its highest level.
pub(crate) fn transaction(data: &[u8]) {
    let rules = rules();
    let (head, body) = match wire::find_end(data, 0) {
        Some(end) => data.split_at(end),
        None => (data, &[] as &[u8]),
    };
    let judge = |planned: bool| {
        let read = wire::lenient(head);
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let connection = Connection {
            client: local,
            client_port: 1,
            server: local,
            server_port: 2,
            unique_id: "fuzz".to_owned(),
            now: SystemTime::UNIX_EPOCH,
        };
        let mut transaction = Transaction::new(rules.clone(), None, connection);
        if !planned {
            transaction.unscreened();
        }
        transaction.request_line(read.method, read.target, read.version);
        for (name, value) in &read.headers {
            transaction.request_header(name, value);
        }
        let first = transaction.request_headers_done().map(|i| (i.status, i.rule_id));
        let second = transaction.request_body(body).map(|i| (i.status, i.rule_id));
        transaction.finish();
        (first, second, transaction.outcome().clone())
    };
    let without = judge(false);
    // More than once, for values in which nothing was found are remembered when they come again.
    for _ in 0..3 {
        assert_eq!(judge(true), without);
    }
}

/// Loads the rules of [`transaction`], which takes an instrumented build a while.
pub(crate) fn load_rules() {
    rules();
}

fn rules() -> &'static Arc<Ruleset> {
    static RULES: OnceLock<Arc<Ruleset>> = OnceLock::new();
    RULES.get_or_init(|| match std::env::var("GATEHOUSE_CRS_DIR") {
        Ok(folder) => {
            let level = "SecRuleEngine On\nSecRequestBodyAccess On\n\
                         SecAction \"id:1,phase:1,pass,nolog,setvar:tx.blocking_paranoia_level=4\"";
            let text = format!("{level}\nInclude {folder}/crs-setup.conf.example\nInclude {folder}/rules/*.conf");
            let source = Source { name: "fuzz.conf".to_owned(), text };
            Arc::new(Ruleset::compile(&[source], &Disk).expect("the Core Rule Set compiles").0)
        }
        Err(_) => core_rules(),
    })
}

fn core_rules() -> Arc<Ruleset> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/rules");
    let folder = if Path::new(folder).exists() { folder.to_owned() } else { format!("{folder}/../../rules") };
    let mut paths = vec![format!("{folder}/engine.conf").into()];
    let mut core: Vec<_> = std::fs::read_dir(format!("{folder}/core"))
        .expect("the core rules stand beside this file")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "conf"))
        .collect();
    core.sort();
    paths.extend(core);
    let sources: Vec<Source> = paths
        .iter()
        .map(|path: &std::path::PathBuf| Source {
            name: path.display().to_string(),
            text: std::fs::read_to_string(path).expect("readable"),
        })
        .collect();
    let (rules, _) = Ruleset::compile(&sources, &Memory::default()).expect("the core rules compile");
    Arc::new(rules)
}

/// What the strict check admits is one unambiguous head, and its target forwards to what reads the same again.
pub(crate) fn request(data: &[u8]) {
    let Some(end) = wire::find_end(data, 0) else { return };
    let head = &data[..end];
    let _ = wire::lenient(head);
    let Ok(framing) = wire::check(head, &HeadLimits::default()) else { return };
    let text = &head[framing.start..];
    assert!(!text.contains(&0) && !text.windows(2).any(|w| w[0] != b'\r' && w[1] == b'\n'), "NUL or bare LF");
    let read = wire::lenient(text);
    let lengths = read.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(b"content-length")).count();
    let codings = read.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(b"transfer-encoding")).count();
    assert!(lengths + codings <= 1, "two framings");
    let mut headers = HeaderMap::new();
    for (name, value) in &read.headers {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else { return };
        headers.append(name, value);
    }
    let Ok(method) = Method::from_bytes(read.method) else { return };
    let parsed = RequestModel.read(&Head::h1(&method, Version::HTTP_11, read.target, &headers, Scheme::Https));
    let Ok(request) = parsed else { return };
    let forward = request.forward_target().to_vec();
    let again = RequestModel
        .read(&Head::h1(&method, Version::HTTP_11, &forward, &headers, Scheme::Https))
        .expect("what is forwarded is admitted");
    assert_eq!(again.path(), request.path(), "what is forwarded is what was judged");
    assert_eq!(again.forward_target(), forward, "forwarding is idempotent");
}

/// A body's framing is read alike however its bytes are cut up.
pub(crate) fn chunks(data: &[u8]) {
    let mut whole = BodyScan::new(Body::Chunked);
    let at_once = whole.feed(data);
    let mut pieces = BodyScan::new(Body::Chunked);
    let mut used = 0;
    for byte in data {
        match pieces.feed(std::slice::from_ref(byte)) {
            Ok(scanned) => {
                used += scanned.used;
                if scanned.done {
                    break;
                }
            }
            Err(_) => {
                assert!(at_once.is_err(), "refused in pieces, admitted at once");
                return;
            }
        }
    }
    let at_once = at_once.expect("admitted in pieces, refused at once");
    assert_eq!((at_once.used, at_once.done), (used, pieces.done()));
}

/// Any field value is read without panic.
pub(crate) fn cache_control(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|b| *b == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(http::header::CACHE_CONTROL, value.clone());
            headers.append(http::header::EXPIRES, value);
        }
    }
    let _ = (RequestDirectives::read(&headers), ResponseDirectives::read(&headers));
}

/// Any text is a configuration or a list of faults.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let variables = |_: &str| Err(std::env::VarError::NotPresent);
    if let Err(faults) = gatehouse::config::parse(Path::new("fuzz.toml"), text, &variables) {
        assert!(!faults.is_empty(), "refused without a reason");
        // Printing shows the place, which must exist.
        assert!(faults.iter().all(|fault| !fault.to_string().is_empty()));
    }
}

/// Any text is a field policy or a list of faults, each at a place; every operation of it is found by its own path, but
/// for those of all that remains where another describes that path.
pub(crate) fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let policy = match FieldPolicy::build(&[("fuzz.toml".to_owned(), text.to_owned())]) {
        Ok(policy) => policy,
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a reason");
            assert!(faults.iter().all(|fault| fault.to_string().starts_with("fuzz.toml:")));
            return;
        }
    };
    for operation in policy.operations() {
        for method in operation.methods() {
            match policy.find(method, operation.path()) {
                Found::Operation(found) => {
                    assert_eq!(found.parameters().count(), found.operation().parameters().count());
                    assert!(policy.methods(operation.path()).contains(&method));
                }
                Found::OtherMethod(near) => {
                    assert!(operation.path().ends_with("...}") && !near.operation().takes(method));
                    assert!(!policy.methods(operation.path()).contains(&method));
                }
                Found::Unknown => panic!("not found"),
            }
        }
    }
}

/// Any document is refused, or gives a draft that builds.
pub(crate) fn openapi(data: &[u8]) {
    let Ok(document) = serde_json::from_slice(data) else { return };
    if let Ok(draft) = gatehouse::policy::openapi::draft(&document) {
        FieldPolicy::build(&[("draft.toml".to_owned(), draft)]).expect("a draft builds");
    }
}

/// Any bytes begin a PROXY header, are one, or are something else; a reader that waits for what it is told to wait for
/// comes to the same end as one that has everything, and never takes a byte behind the header.
pub(crate) fn proxy_header(data: &[u8]) {
    let whole = proxy::read(data);
    if let Ok(proxy::Read::Header(length, _)) = whole {
        assert!(length <= data.len() && length <= proxy::MAX_HEADER);
        assert_eq!(proxy::read(&data[..length]), whole, "what stands behind it changes a header");
    }
    let mut have = 0;
    loop {
        match proxy::read(&data[..have]) {
            Ok(proxy::Read::More(more)) => {
                assert!(more > 0 && have + more <= proxy::MAX_HEADER, "{have} and {more} more");
                if have + more > data.len() {
                    return;
                }
                have += more;
            }
            other => {
                assert_eq!(other, whole, "after {have} bytes");
                return;
            }
        }
    }
}

/// Any bytes begin a ClientHello, are one, or are something else, and waiting changes nothing; what is read has a
/// fingerprint of one form, whatever the order of what was offered.
pub(crate) fn client_hello(data: &[u8]) {
    let whole = hello::read(data);
    let mut have = 0;
    while let hello::Read::More(more) = hello::read(&data[..have]) {
        assert!(more > 0 && have + more <= hello::MAX_HELLO, "{have} and {more} more");
        if have + more > data.len() {
            return;
        }
        have += more;
    }
    assert_eq!(hello::read(&data[..have]), whole, "after {have} bytes");
    let hello::Read::Hello(mut hello) = whole else { return };
    let ja4 = hello.ja4();
    assert!(ja4.len() == 36 && ja4.is_ascii() && ja4.starts_with('t'), "{ja4}");
    hello.suites.reverse();
    hello.extensions.reverse();
    assert_eq!(hello.ja4(), ja4, "order counts");
}
