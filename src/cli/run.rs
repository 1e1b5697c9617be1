//! `gatehouse run`: the gate in the foreground, until a signal ends it.

use crate::config::{self, Config};
use crate::server::{Server, StartError};
use crate::telemetry;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// Runs until SIGTERM or SIGINT.
pub(super) fn run(path: &Path) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(faults) => {
            let _ = super::check::report(&mut std::io::stderr().lock(), &faults, super::check::coloured());
            return ExitCode::FAILURE;
        }
    };
    if let Err(faults) = telemetry::init(&config.document.log) {
        let faults: Vec<_> = faults.into_iter().map(|fault| config.locate(fault.under("log"))).collect();
        let _ = super::check::report(&mut std::io::stderr().lock(), &faults, super::check::coloured());
        return ExitCode::FAILURE;
    }
    let runtime = match runtime(&config) {
        Ok(runtime) => runtime,
        Err(e) => return fail(&format!("cannot start threads: {e}")),
    };
    runtime.block_on(async {
        match Server::start(config).await {
            Ok(server) => {
                tracing::info!(
                    listeners = ?server.listeners(),
                    admin = %server.admin(),
                    pid = std::process::id(),
                    "listening"
                );
                until_stopped(server).await
            }
            Err(StartError::Faults(faults)) => {
                let _ = super::check::report(&mut std::io::stderr().lock(), &faults, super::check::coloured());
                ExitCode::FAILURE
            }
            Err(e) => fail(&e.to_string()),
        }
    })
}

/// The runtime a configuration asks for.
pub(super) fn runtime(config: &Config) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if config.document.server.threads > 0 {
        builder.worker_threads(config.document.server.threads);
    }
    builder.thread_name("gatehouse").enable_all().build()
}

/// Reloads on SIGHUP; drains on SIGTERM and SIGINT.
pub(super) async fn until_stopped(server: Arc<Server>) -> ExitCode {
    let signals = (|| {
        Ok::<_, std::io::Error>((
            signal(SignalKind::hangup())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ))
    })();
    let (mut hangup, mut terminate, mut interrupt) = match signals {
        Ok(signals) => signals,
        Err(e) => return fail(&format!("cannot take signals: {e}")),
    };
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                let reloading = server.clone();
                let _ = tokio::task::spawn_blocking(move || reloading.reload().is_ok()).await;
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    server.drain().await;
    ExitCode::SUCCESS
}

fn fail(what: &str) -> ExitCode {
    eprintln!("error: {what}");
    ExitCode::FAILURE
}
