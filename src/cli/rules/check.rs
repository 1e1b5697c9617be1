//! `gatehouse rules check`: faults and warnings of rule files.

use crate::cli::check::{coloured, report};
use crate::fault::Fault;
use crate::inspect::Loaded;
use gatehouse_waf::Phase;
use std::io::{self, Write};
use std::process::ExitCode;

pub(super) fn run(loaded: Result<Loaded, Vec<Fault>>) -> ExitCode {
    match loaded {
        Ok(loaded) => {
            let _ = summarise(&mut io::stdout().lock(), &loaded);
            ExitCode::SUCCESS
        }
        Err(faults) => {
            let _ = report(&mut io::stderr().lock(), &faults, coloured());
            ExitCode::FAILURE
        }
    }
}

fn summarise(out: &mut dyn Write, loaded: &Loaded) -> io::Result<()> {
    for warning in &loaded.warnings {
        writeln!(out, "{}", crate::cli::check::printable(&warning.to_string()))?;
    }
    let Some(rules) = &loaded.rules else { return writeln!(out, "no rules") };
    let in_phase = |phase: Phase| rules.rules().filter(|rule| rule.phase == phase).count();
    let phases: Vec<String> = Phase::ALL.iter().map(|p| format!("{} in phase {}", in_phase(*p), p.number())).collect();
    let slow = rules.backtracking();
    writeln!(out, "ok: {} rules ({}), {} warnings", rules.rules().count(), phases.join(", "), loaded.warnings.len())?;
    if !slow.is_empty() {
        let ids: Vec<String> = slow.iter().map(u64::to_string).collect();
        writeln!(out, "patterns outside what runs in linear time, run with limits: rules {}", ids.join(", "))?;
    }
    Ok(())
}
