//! `gatehouse rules`: the engine alone, without sockets.
//!
//! Rules are loaded as the gate loads them: the engine's own settings first, a Core Rule Set folder laid out as released
//! around the files named beside it. Exit codes: 0, or 1 when a fault was found or a test failed.

mod bench;
mod check;
mod curl;
mod explain;
pub(super) mod front;
pub(super) mod ftw;
mod test;

use crate::fault::Fault;
use crate::inspect;
use crate::policy::field::FieldPolicy;
use clap::{Args, Subcommand};
use gatehouse_waf::Ruleset;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Loads rule files and says what is wrong in them, where, and how to mend it.
    Check {
        #[command(flatten)]
        rules: Chosen,
    },
    /// Runs regression tests in the form of go-ftw against rules, in this process.
    ///
    /// Each stage goes through the gate's check of the head, the request phases, the answer of go-ftw's reflecting
    /// backend, and the response phases.
    Test {
        /// Test files, or folders with some.
        #[arg(required = true, value_name = "TESTS")]
        tests: Vec<PathBuf>,
        #[command(flatten)]
        rules: Flagged,
        /// Which engine mode to run in.
        #[arg(long, value_enum, default_value_t = test::Modes::Both)]
        mode: test::Modes,
        /// Expectations that take the place of a test's own, in the form of go-ftw's platform overrides.
        #[arg(long, value_name = "FILE")]
        overrides: Option<PathBuf>,
        /// Also run each stage rule by rule, without the plan that leaves out what cannot match, and fail where
        /// anything differs.
        #[arg(long)]
        cross_check: bool,
        /// Only tests whose name (as 942100-7) begins with this.
        #[arg(long, value_name = "PREFIX")]
        only: Option<String>,
    },
    /// Says what rules do with one request: what matched, after which transformations, and how the score adds up.
    ///
    /// With a policy of fields also which operation takes it, the class and the verdict of each field, and what the
    /// rules therefore do not see.
    Explain {
        #[command(flatten)]
        rules: Flagged,
        /// Policy files, or folders with `*.toml`; all of them are one policy.
        #[arg(long, value_name = "FILES", num_args = 1..)]
        policy: Vec<PathBuf>,
        /// A file with the request as it goes over the wire; `-` for standard input.
        #[arg(value_name = "REQUEST", required_unless_present = "curl")]
        request: Option<PathBuf>,
        /// The request as a curl command line, as a browser's developer tools copy it.
        #[arg(long, value_name = "COMMAND", conflicts_with = "request")]
        curl: Option<String>,
        /// Shows every value this rule looks at instead.
        #[arg(long, value_name = "ID")]
        rule: Option<u64>,
        /// Shows what inspecting the request costs instead, and which rules cost most.
        #[arg(long, conflicts_with = "rule")]
        cost: bool,
    },
    /// Times rules on packed requests, one JSON line each; times are in microseconds.
    Bench {
        /// The rule file, loaded as it is.
        rules: PathBuf,
        /// Records of id, method, URI, count of fields, names and values, body: each text behind its length, and the
        /// count, as little-endian 32-bit numbers.
        requests: PathBuf,
        /// How long to run each request.
        seconds: f64,
    },
}

/// Rules named as arguments.
#[derive(Debug, Args)]
pub(super) struct Chosen {
    /// Rule files, folders with `*.conf`, or a Core Rule Set laid out as released. None: the core rules.
    #[arg(value_name = "RULES")]
    paths: Vec<PathBuf>,
    /// The core rules too.
    #[arg(long)]
    core: bool,
}

/// Rules named by a flag.
#[derive(Debug, Args)]
pub(super) struct Flagged {
    /// Rule files, folders with `*.conf`, or a Core Rule Set laid out as released. None: the core rules.
    #[arg(long = "rules", value_name = "RULES", num_args = 1..)]
    paths: Vec<PathBuf>,
    /// The core rules too.
    #[arg(long)]
    core: bool,
}

impl Chosen {
    fn load(&self) -> Result<inspect::Loaded, Vec<Fault>> {
        load(&self.paths, self.core)
    }
}

impl Flagged {
    /// The rules, or the exit code once the faults are told.
    fn load(&self) -> Result<Arc<Ruleset>, ExitCode> {
        let loaded = load(&self.paths, self.core).map_err(|faults| {
            // A reader that went away wants no more.
            let _ = super::check::report(&mut std::io::stderr().lock(), &faults, super::check::coloured());
            ExitCode::FAILURE
        })?;
        Ok(Arc::new(loaded.rules.unwrap_or_else(Ruleset::empty)))
    }
}

fn load(paths: &[PathBuf], core: bool) -> Result<inspect::Loaded, Vec<Fault>> {
    inspect::load_rules(&settings(paths, core), Path::new(""))
}

/// What rules named as arguments are as settings.
pub(super) fn settings(paths: &[PathBuf], core: bool) -> inspect::Settings {
    let mut settings = inspect::Settings { core_rules: core || paths.is_empty(), ..inspect::Settings::default() };
    settings.crs_dir = None;
    settings.rules.clear();
    for path in paths {
        if !path.is_dir() {
            settings.rules.push(path.clone());
        } else if path.join("rules").is_dir() && settings.crs_dir.is_none() {
            settings.crs_dir = Some(path.clone());
        } else {
            settings.rules.push(path.join("*.conf"));
        }
    }
    settings
}

/// The policy of these files, if there are any; or the exit code once the faults are told.
fn policed(files: &[PathBuf]) -> Result<Option<FieldPolicy>, ExitCode> {
    if files.is_empty() { Ok(None) } else { super::policy::load(files).map(Some) }
}

/// Runs a command.
pub(super) fn run(command: Command) -> ExitCode {
    match command {
        Command::Check { rules } => check::run(rules.load()),
        Command::Test { tests, rules, mode, overrides, cross_check, only } => match rules.load() {
            Ok(rules) => test::run(
                &rules,
                &tests,
                test::Ways { modes: mode, cross_check },
                overrides.as_deref(),
                only.as_deref(),
            ),
            Err(code) => code,
        },
        Command::Explain { rules, policy, request, curl, rule, cost } => match (rules.load(), policed(&policy)) {
            (Ok(rules), Ok(policy)) => {
                let wanted = if cost {
                    explain::Wanted::Cost
                } else {
                    rule.map_or(explain::Wanted::Matches, explain::Wanted::Rule)
                };
                explain::run(&rules, policy.as_ref(), request.as_deref(), curl.as_deref(), wanted)
            }
            (Err(code), _) | (_, Err(code)) => code,
        },
        Command::Bench { rules, requests, seconds } => bench::run(&rules, &requests, seconds),
    }
}
