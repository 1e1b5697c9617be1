//! What every core rule has: a regression test, and a description. Whether the tests hold is for `gatehouse rules test`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use gatehouse_waf::files::Memory;
use gatehouse_waf::{Ruleset, Source};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct File {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    stages: Vec<Stage>,
}

#[derive(Deserialize)]
struct Stage {
    output: Output,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Output {
    log: Log,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Log {
    expect_ids: Vec<u64>,
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
