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
use gatehouse_waf::{Mode, Ruleset, Transaction};
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

fn transactions(c: &mut Criterion) {
    let own = "SecRequestBodyAccess On\nSecRequestBodyNoFilesLimit 4000000\n\
               SecRule REQUEST_HEADERS:Content-Type \"^application/json\" \
               \"id:2,phase:1,nolog,pass,ctl:requestBodyProcessor=JSON\"\n";
    let mut sets = vec![("core rules", core_rules())];
    if let Ok(folder) = std::env::var("GATEHOUSE_CRS_DIR").map(PathBuf::from) {
        sets.push(("Core Rule Set", core_rule_set(&folder, own)));
    }
    for (name, rules) in &sets {
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

criterion_group!(benches, transactions);
criterion_main!(benches);
