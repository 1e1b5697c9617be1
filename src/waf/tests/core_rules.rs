//! The regression tests of the core rules, in the form of go-ftw (schema v2), run in process.
//!
//! Each stage is one transaction in detection mode, so that one rule's refusal hides no other. `POST /reflect` answers
//! with the `body` of its JSON; anything else with an empty response.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use gatehouse_waf::files::Memory;
use gatehouse_waf::{Connection, Mode, Ruleset, Source, Transaction};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

#[derive(Deserialize)]
struct File {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    test_id: u64,
    stages: Vec<Stage>,
}

#[derive(Deserialize)]
struct Stage {
    input: Input,
    output: Output,
}

#[derive(Deserialize)]
#[serde(default)]
struct Input {
    method: String,
    uri: String,
    version: String,
    headers: BTreeMap<String, String>,
    data: Option<String>,
}

impl Default for Input {
    fn default() -> Self {
        Self { method: "GET".into(), uri: "/".into(), version: "HTTP/1.1".into(), headers: BTreeMap::new(), data: None }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Output {
    log: Log,
    /// Of the whole gate; here 200 means that no verdict was reached.
    status: Option<u16>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Log {
    expect_ids: Vec<u64>,
    no_expect_ids: Vec<u64>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules")
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    found.sort();
    found
}

fn rules() -> Ruleset {
    let paths = std::iter::once(root().join("engine.conf")).chain(files(&root().join("core"), "conf"));
    let sources: Vec<Source> = paths
        .map(|path| Source { name: path.display().to_string(), text: fs::read_to_string(&path).unwrap() })
        .collect();
    let (rules, warnings) = Ruleset::compile(&sources, &Memory::default()).unwrap_or_else(|f| panic!("{f:#?}"));
    assert!(warnings.is_empty(), "{warnings:#?}");
    rules
}

/// The rules that log a stage, and whether a verdict was reached.
fn run(rules: &Arc<Ruleset>, input: &Input) -> (BTreeSet<u64>, bool) {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let connection = Connection {
        client: local,
        client_port: 40_000,
        server: local,
        server_port: 443,
        unique_id: "test".into(),
        now: SystemTime::UNIX_EPOCH,
    };
    let mut transaction = Transaction::new(rules.clone(), Some(Mode::DetectionOnly), connection);
    transaction.request_line(input.method.as_bytes(), input.uri.as_bytes(), input.version.as_bytes());
    for (name, value) in &input.headers {
        transaction.request_header(name.as_bytes(), value.as_bytes());
    }
    let data = input.data.clone().unwrap_or_default();
    let kind = input.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type")).map(|(_, value)| value);
    let multipart = kind.is_some_and(|kind| kind.starts_with("multipart/"));
    let data = if multipart { data.replace("\r\n", "\n").replace('\n', "\r\n") } else { data };
    if !data.is_empty() {
        transaction.request_header(b"Content-Length", data.len().to_string().as_bytes());
    }
    transaction.request_headers_done();
    transaction.request_body(data.as_bytes());
    let body = if input.uri == "/reflect" {
        let answer: BTreeMap<String, String> = serde_json::from_str(&data).unwrap();
        answer.get("body").cloned().unwrap_or_default()
    } else {
        String::new()
    };
    transaction.response_line(200, b"HTTP/1.1");
    transaction.response_header(b"Content-Type", b"text/html; charset=utf-8");
    transaction.response_headers_done();
    transaction.response_body(body.as_bytes());
    transaction.finish();
    let logged = transaction.outcome().matches.iter().filter(|matched| matched.log).map(|matched| matched.id);
    let logged: BTreeSet<u64> = logged.collect();
    let verdict =
        [1_009_000, 1_009_020, 1_009_030, 1_000_020, 1_000_021, 1_000_022].iter().any(|id| logged.contains(id));
    (logged, verdict)
}

#[test]
fn every_regression_test_holds() {
    let rules = Arc::new(rules());
    let (mut stages, mut failed) = (0, Vec::new());
    for path in files(&root().join("tests"), "yaml") {
        let text = fs::read_to_string(&path).unwrap();
        let file: File = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        for test in file.tests {
            for stage in test.stages {
                stages += 1;
                let (logged, verdict) = run(&rules, &stage.input);
                let missing = stage.output.log.expect_ids.iter().any(|id| !logged.contains(id));
                let unwanted = stage.output.log.no_expect_ids.iter().any(|id| logged.contains(id));
                let other = match stage.output.status {
                    Some(200) => verdict,
                    Some(_) => !verdict,
                    None => false,
                };
                if missing || unwanted || other {
                    let input = format!("{} {}", stage.input.uri, stage.input.data.as_deref().unwrap_or_default());
                    failed.push(format!("{name}-{}: logged {logged:?}, verdict {verdict}: {input}", test.test_id));
                }
            }
        }
    }
    println!("{stages} stages");
    assert!(failed.is_empty(), "{} of {stages} failed:\n{}", failed.len(), failed.join("\n"));
    assert!(stages > 300, "{stages} stages only");
}

#[test]
fn every_rule_that_scores_has_a_test() {
    let mut tested = BTreeSet::new();
    for path in files(&root().join("tests"), "yaml") {
        let file: File = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        tested.extend(file.tests.iter().flat_map(|t| &t.stages).flat_map(|s| s.output.log.expect_ids.iter().copied()));
    }
    let untested: Vec<u64> = rules()
        .rules()
        .filter(|rule| !rule.msg.is_empty() && !tested.contains(&rule.id))
        .map(|rule| rule.id)
        // Only the engine itself can bring this about: a pattern that gives up.
        .filter(|id| *id != 1_000_023)
        .collect();
    assert!(untested.is_empty(), "no test expects {untested:?}");
}

#[test]
fn every_rule_says_what_it_is() {
    for rule in rules().rules().filter(|rule| !rule.msg.is_empty()) {
        let has = |prefix: &str| rule.tags.iter().any(|tag| tag.starts_with(prefix));
        assert!(rule.severity.is_some(), "{} has no severity", rule.id);
        assert!(has("gatehouse/core"), "{} is not tagged as ours", rule.id);
        assert!(
            has("gatehouse/verdict") || (has("attack/") && has("owasp/") && has("cwe/")),
            "{}: {:?}",
            rule.id,
            rule.tags
        );
    }
}
