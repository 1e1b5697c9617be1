//! `gatehouse rules test`: go-ftw's tests in this process.
//!
//! In detection mode the log must be as the test says. In blocking mode a stage must be refused exactly when detection
//! mode would have refused it, and, where the Core Rule Set keeps score, whenever a score reaches its threshold.

use super::explain::{shown, step_lines};
use super::front::{Passage, Watch, pass};
use super::ftw::{self, Output, Overrides, Stage, reflect};
use clap::ValueEnum;
use gatehouse_waf::{Mode, RuleMatch, Ruleset, Step, Trace};
use regex::bytes::Regex;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Looks of a missing rule that a failure shows.
const MOST_LOOKS: usize = 12;

/// Which engine modes to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Modes {
    /// Detection only.
    Detect,
    /// Blocking.
    Block,
    /// One after the other.
    Both,
}

impl fmt::Display for Modes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Detect => "detect",
            Self::Block => "block",
            Self::Both => "both",
        })
    }
}

/// How each stage is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways {
    pub(super) modes: Modes,
    /// Also without the plan, to compare.
    pub(super) cross_check: bool,
}

/// A stage to run.
struct Case {
    name: String,
    stage: Stage,
    output: Output,
    overridden: bool,
}

/// What went wrong with a case.
struct Failure {
    mode: &'static str,
    reasons: Vec<String>,
    /// What the rules saw.
    details: Vec<String>,
}

pub(super) fn run(
    rules: &Arc<Ruleset>,
    tests: &[PathBuf],
    ways: Ways,
    overrides: Option<&Path>,
    only: Option<&str>,
) -> ExitCode {
    let cases = match cases(tests, overrides, only) {
        Ok(cases) if cases.is_empty() => {
            let _ = writeln!(io::stderr(), "no tests found");
            return ExitCode::from(2);
        }
        Ok(cases) => cases,
        Err(faults) => {
            for fault in faults {
                let _ = writeln!(io::stderr(), "error: {fault}");
            }
            return ExitCode::FAILURE;
        }
    };
    let started = Instant::now();
    let failures = judge_all(rules, &cases, ways);
    let _ = report(&cases, &failures, ways.modes, started, &mut io::stdout().lock());
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cases(tests: &[PathBuf], overrides: Option<&Path>, only: Option<&str>) -> Result<Vec<Case>, Vec<String>> {
    let mut faults = Vec::new();
    let overrides = match overrides.map(ftw::read::<Overrides>).transpose() {
        Ok(overrides) => overrides.unwrap_or_default(),
        Err(fault) => {
            faults.push(fault);
            Overrides::default()
        }
    };
    let paths = ftw::files(tests).unwrap_or_else(|fault| {
        faults.push(fault);
        Vec::new()
    });
    let mut cases = Vec::new();
    for path in paths {
        let file: ftw::File = match ftw::read(&path) {
            Ok(file) => file,
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let group = file.rule_id.map_or(stem, |id| id.to_string());
        for test in file.tests.into_iter().filter(|test| test.enabled) {
            let several = test.stages.len() > 1;
            for (number, stage) in test.stages.into_iter().enumerate() {
                let mut name = format!("{group}-{}", test.test_id);
                if several {
                    name.push_str(&format!("/{number}"));
                }
                if only.is_some_and(|prefix| !name.starts_with(prefix)) {
                    continue;
                }
                let other = overrides.test_overrides.iter().find(|o| {
                    o.rule_id.to_string() == group
                        && o.test_ids.contains(&test.test_id)
                        && (o.stage_ids.is_empty() || o.stage_ids.contains(&number))
                });
                let output = other.map_or_else(|| stage.output.clone(), |o| o.output.clone());
                cases.push(Case { name, stage, output, overridden: other.is_some() });
            }
        }
    }
    if faults.is_empty() { Ok(cases) } else { Err(faults) }
}

/// Runs every case on all cores; the failures in the order of the cases.
fn judge_all(rules: &Arc<Ruleset>, cases: &[Case], ways: Ways) -> Vec<(usize, Failure)> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let bar = io::stderr().is_terminal();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { return };
                    if bar && number.is_multiple_of(64) {
                        let done = number * 40 / cases.len();
                        let (full, empty) = ("#".repeat(done), ".".repeat(40 - done));
                        let _ = write!(io::stderr(), "\r[{full}{empty}] {number}/{}", cases.len());
                    }
                    for failure in judge(rules, case, ways) {
                        if let Ok(mut all) = failures.lock() {
                            all.push((number, failure));
                        }
                    }
                }
            });
        }
    });
    if bar {
        let _ = write!(io::stderr(), "\r{:60}\r", "");
    }
    let mut failures = failures.into_inner().unwrap_or_default();
    failures.sort_by_key(|(number, _)| *number);
    failures
}

fn judge(rules: &Arc<Ruleset>, case: &Case, ways: Ways) -> Vec<Failure> {
    let raw = match case.stage.input.bytes() {
        Ok(raw) => raw,
        Err(fault) => return vec![Failure { mode: "input", reasons: vec![fault], details: Vec::new() }],
    };
    let detected = pass(rules, None, Some(Mode::DetectionOnly), &raw, Watch::Nothing, reflect);
    let mut failures = Vec::new();
    if ways.cross_check {
        failures.extend(cross_check(rules, &raw, &detected));
    }
    if ways.modes != Modes::Block {
        let (reasons, missing) = differences(&case.output, &detected);
        if !reasons.is_empty() {
            failures.push(Failure { mode: "detect", reasons, details: details(rules, &raw, &detected, &missing) });
        }
    }
    if ways.modes != Modes::Detect {
        let blocked = pass(rules, None, Some(Mode::On), &raw, Watch::Nothing, reflect);
        let reasons = verdict_differences(&case.output, &detected, &blocked);
        if !reasons.is_empty() {
            failures.push(Failure { mode: "block", reasons, details: details(rules, &raw, &detected, &[]) });
        }
    }
    failures
}

/// A trace needs every rule to look at every value: what it finds must be what the plan found.
fn cross_check(rules: &Arc<Ruleset>, raw: &[u8], planned: &Passage) -> Option<Failure> {
    let straight = pass(rules, None, Some(Mode::DetectionOnly), raw, Watch::Trace(Trace::Matches), reflect);
    // The engine remembers values in which nothing was found when they come again, so twice more.
    let again = [(); 2].map(|()| pass(rules, None, Some(Mode::DetectionOnly), raw, Watch::Nothing, reflect));
    let differs = |passage: &&Passage| passage.outcome != straight.outcome || passage.scores != straight.scores;
    let other = [planned].into_iter().chain(&again).find(differs)?;
    let ids = |passage: &Passage| passage.outcome.matches.iter().map(|m| m.id).collect::<Vec<_>>();
    let reason = format!("with the plan {:?} matched, without {:?}", ids(other), ids(&straight));
    Some(Failure { mode: "cross-check", reasons: vec![reason], details: Vec::new() })
}

/// Where the log is not as expected, and the ids that are missing in it.
fn differences(expected: &Output, passage: &Passage) -> (Vec<String>, Vec<u64>) {
    let logged: BTreeSet<u64> = passage.outcome.matches.iter().filter(|m| m.log).map(|m| m.id).collect();
    let (mut reasons, mut missing) = (Vec::new(), Vec::new());
    if expected.expect_error == Some(true) {
        reasons.push(format!("no answer expected, but there is one of status {}", passage.status));
    }
    // A test for blocking mode expects what detection mode announces.
    let announced = passage.outcome.interruption.as_ref().map(|interruption| interruption.status);
    if let Some(status) = expected.status.filter(|status| *status != passage.status && Some(*status) != announced) {
        let why = passage.malformed.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
        reasons.push(format!("status {}{why}, expected {status}", passage.status));
    }
    for id in &expected.log.expect_ids {
        if !logged.contains(id) {
            reasons.push(format!("rule {id} is missing"));
            missing.push(*id);
        }
    }
    for id in expected.log.no_expect_ids.iter().filter(|id| logged.contains(id)) {
        reasons.push(format!("rule {id} should not match"));
    }
    let lines: Vec<u8> =
        passage.outcome.matches.iter().filter(|m| m.log).flat_map(|m| log_line(m).into_bytes()).collect();
    let (log, old) = (&expected.log, (&expected.log_contains, &expected.no_log_contains));
    for (pattern, wanted) in [(&log.match_regex, true), (&log.no_match_regex, false), (old.0, true), (old.1, false)] {
        let Some(pattern) = pattern else { continue };
        match Regex::new(pattern) {
            Ok(regex) if regex.is_match(&lines) == wanted => {}
            Ok(_) if wanted => reasons.push(format!("nothing in the log matches {pattern}")),
            Ok(_) => reasons.push(format!("something in the log matches {pattern}")),
            Err(fault) => reasons.push(format!("{pattern} is no regular expression: {fault}")),
        }
    }
    (reasons, missing)
}

/// A rule's match as one line, as error logs have it.
fn log_line(m: &RuleMatch) -> String {
    let line = format!("Warning. [id \"{}\"] [msg \"{}\"] [data \"{}\"]", m.id, m.msg, m.data);
    line.replace(['\r', '\n'], " ") + "\n"
}

/// Where blocking mode does not do what detection mode announced.
fn verdict_differences(expected: &Output, detected: &Passage, blocked: &Passage) -> Vec<String> {
    let mut reasons = Vec::new();
    let announced = detected.outcome.interruption.as_ref().map(|interruption| interruption.rule_id);
    match (announced, blocked.refused()) {
        (Some(rule), false) => reasons.push(format!("let through, but rule {rule} decides to refuse")),
        (None, true) => reasons.push("refused, but no rule decides so in detection mode".to_owned()),
        _ => {}
    }
    // What is refused for its form ends before the verdict.
    if detected.malformed.is_none() {
        for (name, score, threshold) in detected.scores.iter().filter(|(_, score, threshold)| score >= threshold) {
            if !blocked.refused() {
                reasons.push(format!("let through with an {name} score of {score}, the threshold is {threshold}"));
            }
        }
    }
    if let Some(status) = expected.status
        && !blocked.refused()
        && status != blocked.status
    {
        reasons.push(format!("status {}, expected {status}", blocked.status));
    }
    reasons
}

/// What matched, and what the missing rules saw.
fn details(rules: &Arc<Ruleset>, raw: &[u8], passage: &Passage, missing: &[u64]) -> Vec<String> {
    let mut lines = vec![format!("sent: {}", shown(raw))];
    for m in passage.outcome.matches.iter().filter(|m| m.log) {
        lines.push(format!("matched: {} at {} = {}", m.id, m.variable, shown(&m.value)));
    }
    for id in missing {
        let traced = pass(rules, None, Some(Mode::DetectionOnly), raw, Watch::Trace(Trace::Rule(*id)), reflect);
        if !rules.rules().any(|rule| rule.id == *id) {
            lines.push(format!("{id} is not among the rules"));
        } else if traced.steps.is_empty() {
            lines.push(format!("{id} had nothing to look at, or was skipped or removed"));
        }
        for step in traced.steps.iter().take(MOST_LOOKS) {
            if let Step::Looked { .. } = step {
                lines.extend(step_lines(step));
            }
        }
    }
    lines
}

fn report(
    cases: &[Case],
    failures: &[(usize, Failure)],
    modes: Modes,
    started: Instant,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (number, failure) in failures {
        let name = cases.get(*number).map_or("", |case| case.name.as_str());
        writeln!(out, "FAIL {name} ({}): {}", failure.mode, failure.reasons.join("; "))?;
        for line in &failure.details {
            writeln!(out, "    {line}")?;
        }
    }
    let runs = if modes == Modes::Both { 2 } else { 1 };
    let overridden = cases.iter().filter(|case| case.overridden).count();
    writeln!(
        out,
        "{} stages in {:.1} s, mode {modes}: {} runs passed, {} failed, {overridden} stages with overridden expectations",
        cases.len(),
        started.elapsed().as_secs_f64(),
        (cases.len() * runs).saturating_sub(failures.len()),
        failures.len(),
    )
}
