//! `gatehouse upgrade`: asks a running gate to hand over to a new process, and says what came of it.

use super::check;
use crate::config;
use crate::handover::control::{self, Reply, Request};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Beyond the time the new process has: to be started, told, and waited for.
const MARGIN: Duration = Duration::from_secs(45);

/// Exit code 0 once the new process serves, else 1.
pub(super) fn run(path: &Path, binary: Option<&Path>) -> ExitCode {
    let loaded = std::path::absolute(path).map_err(|e| e.to_string());
    let config = match loaded.map(|path| config::load(&path)) {
        Ok(Ok(config)) => config,
        Ok(Err(faults)) => {
            let _ = check::report(&mut std::io::stderr().lock(), &faults, check::coloured());
            return ExitCode::FAILURE;
        }
        Err(e) => return fail(&format!("{}: {e}", path.display())),
    };
    let binary = match binary.map(std::path::absolute).transpose() {
        Ok(binary) => binary,
        Err(e) => return fail(&e.to_string()),
    };
    let request = Request { config: config.path().to_owned(), binary };
    let patience = config.document.server.upgrade_timeout.0 + MARGIN;
    match control::ask(&config.state_dir(), &request, patience) {
        Ok(Reply::Done { pid, old }) => {
            println!("handed over: process {pid} serves, process {old} drains");
            ExitCode::SUCCESS
        }
        Ok(Reply::Failed { why }) => fail(&format!("no hand-over, what runs stays: {why}")),
        Err(e) => {
            let at = control::path(&config.state_dir());
            fail(&format!("no running gate answers at {}: {e}", at.display()))
        }
    }
}

fn fail(what: &str) -> ExitCode {
    eprintln!("error: {}", check::printable(what));
    ExitCode::FAILURE
}
