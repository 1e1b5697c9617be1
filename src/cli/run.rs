//! `gatehouse run`: the gate in the foreground, until a signal ends it.

use crate::config::{self, Config};
use crate::fault::Fault;
use crate::handover::state::State;
use crate::handover::{self, Predecessor, Sockets, service};
use crate::server::{Server, StartError};
use crate::telemetry;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs until SIGTERM or SIGINT, or until another process has taken over.
pub(super) fn run(path: &Path) -> ExitCode {
    // First of all: nothing else may see the descriptors and the environment that these take.
    let (predecessor, sockets) = match inherited() {
        Ok(inherited) => inherited,
        Err(e) => return fail(&e),
    };
    let failed = |what: &str| {
        if let Some(predecessor) = &predecessor {
            predecessor.failed(what);
        }
        ExitCode::FAILURE
    };
    let faulty = |faults: &[Fault]| {
        let _ = super::check::report(&mut std::io::stderr().lock(), faults, super::check::coloured());
        failed(&faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))
    };
    let broken = |what: &str| {
        fail(what);
        failed(what)
    };
    // Where it stands, whatever becomes of it: a program that was replaced is the one to hand over to.
    let (path, binary) = match (std::path::absolute(path), std::env::current_exe()) {
        (Ok(path), Ok(binary)) => (path, binary),
        (Err(e), _) | (_, Err(e)) => return broken(&format!("cannot find out where things are: {e}")),
    };
    let config = match config::load(&path) {
        Ok(config) => config,
        Err(faults) => return faulty(&faults),
    };
    if let Err(faults) = telemetry::init(&config.document.log) {
        let faults: Vec<_> = faults.into_iter().map(|fault| config.locate(fault.under("log"))).collect();
        return faulty(&faults);
    }
    let runtime = match runtime(&config) {
        Ok(runtime) => runtime,
        Err(e) => return broken(&format!("cannot start threads: {e}")),
    };
    runtime.block_on(async {
        // Before anything is served, so that no signal ends a gate that has connections.
        let signals = match Signals::new() {
            Ok(signals) => signals,
            Err(e) => return broken(&format!("cannot take signals: {e}")),
        };
        let prepared = match Server::prepare(config, sockets, Some(binary)).await {
            Ok(prepared) => prepared,
            Err(StartError::Faults(faults)) => return faulty(&faults),
            Err(e) => return broken(&e.to_string()),
        };
        let server = match &predecessor {
            None => {
                let server = prepared.begin(&State::default());
                service::ready("serving");
                server
            }
            Some(predecessor) => {
                // Nothing else runs in this process yet that could want this thread.
                let (state, dropped) = match predecessor.ready() {
                    Ok(state) => state,
                    Err(e) => return fail(&format!("the hand-over was broken off: {e}")),
                };
                for what in dropped {
                    tracing::warn!("what was carried over is not sound: {what}");
                }
                let server = prepared.begin(&state);
                if let Err(error) = predecessor.serving() {
                    tracing::warn!(%error, "the process before this one is gone");
                }
                server
            }
        };
        tracing::info!(
            listeners = ?server.listeners(),
            admin = %server.admin(),
            pid = std::process::id(),
            "listening"
        );
        until_stopped(server, signals).await
    })
}

/// The process before this one and its sockets, or those of a service manager.
fn inherited() -> Result<(Option<Predecessor>, Sockets), String> {
    match handover::predecessor() {
        Ok(Some((predecessor, sockets))) => Ok((Some(predecessor), sockets)),
        Ok(None) => Ok((None, service::sockets()?)),
        Err(e) => Err(format!("{} is set, but no gate hands over at the standard input: {e}", handover::VARIABLE)),
    }
}

/// The runtime a configuration asks for.
pub(super) fn runtime(config: &Config) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if config.document.server.threads > 0 {
        builder.worker_threads(config.document.server.threads);
    }
    builder.thread_name("gatehouse").enable_all().build()
}

/// The signals a gate takes.
pub(super) struct Signals {
    hangup: Signal,
    user: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined2())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Reloads on SIGHUP; hands over on SIGUSR2; drains on SIGTERM and SIGINT, the second of which ends the drain.
pub(super) async fn until_stopped(server: Arc<Server>, mut signals: Signals) -> ExitCode {
    let handed_over = loop {
        tokio::select! {
            _ = signals.hangup.recv() => {
                let reloading = server.clone();
                let _ = tokio::task::spawn_blocking(move || reloading.reload().is_ok()).await;
            }
            _ = signals.user.recv() => {
                let handing_over = server.clone();
                // It says in the log what comes of it, and asks for the drain itself.
                tokio::spawn(async move { handing_over.hand_over(None, None).await.is_ok() });
            }
            () = server.succeeded() => break true,
            _ = signals.terminate.recv() => break false,
            _ = signals.interrupt.recv() => break false,
        }
    };
    server
        .drain(async {
            if handed_over {
                // It drains already: the first one asks for nothing more.
                signals.end().await;
            }
            signals.end().await;
        })
        .await;
    ExitCode::SUCCESS
}

fn fail(what: &str) -> ExitCode {
    eprintln!("error: {what}");
    ExitCode::FAILURE
}
