//! Whole transactions, on texts that are never the same twice: `cargo bench -p gatehouse-waf`.
//!
//! The rules are the core rules of this project and, where GATEHOUSE_CRS_DIR names one, a Core Rule Set as released.
//! benches/engine.py measures the same beside libmodsecurity.

#![allow(missing_docs, reason = "the macros of criterion")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench fails by panicking")]
#![allow(clippy::indexing_slicing, reason = "a bench fails by panicking")]

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gatehouse_waf::body::json::{Container, Fault, Kind, Visitor, read};
use gatehouse_waf::field::{Case, Fields, JsonPath, JsonTree, Parts, Purpose, Table};
use gatehouse_waf::{Mode, Ruleset, Transaction};
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use support::{Dice, connection, core_rule_set, core_rules};

const WORDS: &str = "the a moved team target this plan owner slow while branch cost was open reviews phase release later \
                     metric run retry job queue worker index table value error ticket please look first support gets \
                     about five week import night same rows twice make idempotent today";
const CODE: [&str; 5] = [
    "def NAME(rows):\n    for row in rows:\n        yield row['NAME']\n",
    "SELECT NAME, id FROM NAME WHERE state = 'open';\n",
    "curl -s https://NAME.example/api | jq '.NAME[]'\n",
    "const NAME = await fetch(`/api/${NAME}`);\n",
    "## NAME\n\n- [ ] `NAME` must be **done**\n",
];

impl Dice {
    fn word(&mut self) -> &'static str {
        let words: Vec<&str> = WORDS.split_whitespace().collect();
        words[self.roll(words.len())]
    }

    fn prose(&mut self, length: usize) -> String {
        let mut text = String::new();
        while text.len() < length {
            text.push_str(self.word());
            text.push_str([" ", " ", " ", ", ", ". "][self.roll(5)]);
        }
        text
    }

    fn code(&mut self, length: usize) -> String {
        let mut text = String::new();
        while text.len() < length {
            let name = format!("{}_{}", self.word(), self.word());
            text.push_str(&CODE[self.roll(CODE.len())].replace("NAME", &name));
        }
        text
    }
}

fn run(rules: &Arc<Ruleset>, target: &str, body: &[u8]) {
    let mut transaction = Transaction::new(Arc::clone(rules), Some(Mode::DetectionOnly), connection());
    transaction.request_line(if body.is_empty() { b"GET" } else { b"POST" }, target.as_bytes(), b"HTTP/1.1");
    transaction.request_header(b"Host", b"gate.example");
    transaction.request_header(b"User-Agent", b"archon/1.2");
    transaction.request_header(b"Accept", b"application/json");
    if !body.is_empty() {
        transaction.request_header(b"Content-Type", b"application/json");
        transaction.request_header(b"Content-Length", body.len().to_string().as_bytes());
    }
    transaction.request_headers_done();
    transaction.request_body(body);
    transaction.finish();
}

/// What the fields of two operations are for: one of typed fields alone, one whose description is free.
fn fields() -> Arc<Fields> {
    let purpose = |spec: &str| Arc::new(Purpose::parse(spec).unwrap());
    let table = |named: &[(&str, &str)], other: &str, case| {
        let named = named.iter().map(|(name, spec)| (name.as_bytes().to_vec(), purpose(spec)));
        Table::new(named, purpose(other), case)
    };
    let headers = [
        ("user-agent", "user-agent"),
        ("accept", "accept"),
        ("accept-encoding", "encoding-list"),
        ("accept-language", "language"),
        ("referer", "referer"),
        ("if-none-match", "etag"),
        ("content-type", "media-type"),
    ];
    let json = [("$.title", "short(300)"), ("$.status", "enum(todo, done)"), ("$.description", "free")];
    let json = json.map(|(path, spec)| (JsonPath::parse(path).unwrap(), purpose(spec)));
    Arc::new(Fields {
        query: table(&[("status", "enum(todo, done)"), ("page", "integer(1..9999)")], "short(100)", Case::Matters),
        headers: table(&headers, "short(1024)", Case::Ignored).into(),
        cookies: table(&[], "cookie", Case::Matters).into(),
        form: Table::empty(purpose("refuse")),
        parts: Parts::new([], purpose("refuse")),
        json: JsonTree::build(json.into(), &purpose("short(1024)"), false).unwrap(),
        body: None,
    })
}

fn run_held(rules: &Arc<Ruleset>, fields: &Arc<Fields>, target: &str, etag: &str, body: &[u8]) {
    let mut transaction = Transaction::new(Arc::clone(rules), Some(Mode::DetectionOnly), connection());
    transaction.hold_against(Arc::clone(fields));
    transaction.request_line(if body.is_empty() { b"GET" } else { b"PUT" }, target.as_bytes(), b"HTTP/1.1");
    for (name, value) in [
        ("Host", "gate.example"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("Accept", "application/json, text/plain, */*"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Accept-Language", "en-GB,en;q=0.7"),
        ("Referer", "https://gate.example/projects"),
        ("If-None-Match", etag),
    ] {
        transaction.request_header(name.as_bytes(), value.as_bytes());
    }
    if !body.is_empty() {
        transaction.request_header(b"Content-Type", b"application/json");
        transaction.request_header(b"Content-Length", body.len().to_string().as_bytes());
    }
    transaction.request_headers_done();
    transaction.request_body(body);
    transaction.finish();
    assert!(transaction.field_refusal().is_none());
}

/// A reader that keeps nothing: what parsing alone costs.
struct Nobody;

impl Visitor for Nobody {
    type Place = ();

    fn root(&self) {}

    fn item(&self, (): ()) {}

    fn member(&mut self, (): (), _: usize, _: &[u8], _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }

    fn opens(&mut self, (): (), _: &[u8], _: Kind) -> Result<(), Fault> {
        Ok(())
    }

    fn closes(&mut self, (): (), _: &[u8], _: Container) -> Result<(), Fault> {
        Ok(())
    }

    fn scalar(&mut self, (): (), _: &[u8], _: Kind, value: Cow<'_, [u8]>) -> Result<(), Fault> {
        std::hint::black_box(value.len());
        Ok(())
    }
}

/// Requests whose fields a policy names: typed ones alone, and a document of 100 KiB that is nearly all free text.
fn held(c: &mut Criterion) {
    let fields = fields();
    gatehouse_waf::field::short::prepare();
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let body = |dice: &mut Dice| {
        let text = dice.prose(50_000) + &dice.code(50_000);
        serde_json::to_vec(&serde_json::json!({"title": dice.prose(40), "status": "todo", "description": text}))
            .unwrap()
    };
    let mut group = c.benchmark_group("fields");
    group.bench_function("parsing 100 KiB", |b| {
        b.iter_batched(|| body(&mut dice), |body| read(&body, 64, &mut Nobody), BatchSize::SmallInput);
    });
    for (name, rules) in sets() {
        group.bench_function(format!("typed get, {name}"), |b| {
            let made = |dice: &mut Dice| {
                let target = format!("/api/tasks/{}?status=todo&page={}", dice.roll(1 << 30), 1 + dice.roll(999));
                (target, format!("\"{:016x}\"", dice.roll(1 << 40)))
            };
            let run = |(target, etag): (String, String)| run_held(&rules, &fields, &target, &etag, b"");
            b.iter_batched(|| made(&mut dice), run, BatchSize::SmallInput);
        });
        group.bench_function(format!("free 100 KiB, {name}"), |b| {
            let run = |body: Vec<u8>| run_held(&rules, &fields, "/api/tasks/7", "*", &body);
            b.iter_batched(|| body(&mut dice), run, BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn sets() -> Vec<(&'static str, Arc<Ruleset>)> {
    let own = "SecRequestBodyAccess On\nSecRequestBodyNoFilesLimit 4000000\n\
               SecRule REQUEST_HEADERS:Content-Type \"^application/json\" \
               \"id:2,phase:1,nolog,pass,ctl:requestBodyProcessor=JSON\"\n";
    let mut sets = vec![("core rules", core_rules())];
    if let Ok(folder) = std::env::var("GATEHOUSE_CRS_DIR").map(PathBuf::from) {
        sets.push(("Core Rule Set", core_rule_set(&folder, own)));
    }
    sets
}

fn transactions(c: &mut Criterion) {
    for (name, rules) in &sets() {
        let mut group = c.benchmark_group(*name);
        let mut dice = Dice(0x1234_5678_9abc_def1);
        group.bench_function("bare", |b| {
            let target = |dice: &mut Dice| format!("/api/{}/{}", dice.word(), dice.roll(1 << 30));
            b.iter_batched(|| target(&mut dice), |target| run(rules, &target, b""), BatchSize::SmallInput);
        });
        for kind in ["prose", "code"] {
            for length in [1_000, 10_000, 100_000] {
                group.throughput(Throughput::Bytes(length as u64));
                group.bench_function(format!("{kind} {length}"), |b| {
                    let body = |dice: &mut Dice| {
                        let text = if kind == "prose" { dice.prose(length) } else { dice.code(length) };
                        serde_json::to_vec(&serde_json::json!({"prompt": text, "stream": true})).unwrap()
                    };
                    b.iter_batched(|| body(&mut dice), |body| run(rules, "/api/ask", &body), BatchSize::SmallInput);
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, held, transactions);
criterion_main!(benches);
