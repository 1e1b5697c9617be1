//! Hand-over to a new process: what is passed on and carried over, and who may ask for it.

use super::Server;
use crate::handover::control::{self, Reply, Request};
use crate::handover::state::State;
use crate::handover::{Failure, Plan, Role, Sockets, Successor, service};
use crate::limit::Limits;
use crate::tls::Tickets;
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::watch;

/// Sections of the state, and the version of each.
const LIMITS: (&str, u16) = ("limits", Limits::CARRIED);
const TICKETS: (&str, u16) = ("tickets", Tickets::CARRIED);

/// The control socket: the predecessor's, or a new one. A gate without one serves all the same.
pub(super) fn control(sockets: &mut Sockets, state_dir: &Path) -> Option<UnixListener> {
    let passed = sockets.take(Role::Control, None).map(UnixListener::from);
    // One that stands in another directory is of no use to who looks in this one.
    if let Some(listener) = passed.filter(|_| control::path(state_dir).exists()) {
        return Some(listener);
    }
    match control::bind(state_dir) {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(%error, "no control socket: `gatehouse upgrade` will not find this gate, SIGUSR2 will do");
            None
        }
    }
}

/// Answers on the control socket until the drain begins.
pub(super) async fn answer(server: Arc<Server>, listener: UnixListener, mut stopped: watch::Receiver<bool>) {
    let act = move |request: Request| {
        let server = server.clone();
        async move {
            let answering = server.answers.clone();
            let reply = match server.hand_over(Some(request.config), request.binary).await {
                Ok(pid) => Reply::Done { pid, old: std::process::id() },
                Err(failure) => Reply::Failed { why: failure.to_string() },
            };
            (reply, answering)
        }
    };
    tokio::select! {
        served = control::serve(listener, act) => {
            if let Err(error) = served {
                tracing::error!(%error, "the control socket ended");
            }
        }
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

impl Server {
    /// Starts a new process on `config` (the running one's file) with `binary` (the running one, as it now is on disk), and
    /// hands over to it. Its process id; this one no longer accepts and is to be drained.
    ///
    /// # Errors
    /// [`Failure`]; nothing has changed then.
    pub async fn hand_over(self: &Arc<Self>, config: Option<PathBuf>, binary: Option<PathBuf>) -> Result<u32, Failure> {
        let server = self.clone();
        let handed = tokio::task::spawn_blocking(move || server.hand_over_blocking(config, binary)).await;
        let handed = handed.unwrap_or_else(|e| Err(Failure::Broken(std::io::Error::other(e))));
        match &handed {
            Ok(pid) => tracing::info!(pid, "handed over; the new process serves"),
            Err(failure) => tracing::error!("no hand-over, what runs stays: {failure}"),
        }
        handed
    }

    fn hand_over_blocking(&self, config: Option<PathBuf>, binary: Option<PathBuf>) -> Result<u32, Failure> {
        let running = self.binary.clone().ok_or(Failure::NotRun)?;
        let Some(_turn) = self.handing_over.try_lock() else { return Err(Failure::Busy) };
        let wanted = || !self.leaving.load(Ordering::Relaxed);
        if !wanted() {
            return Err(Failure::Draining);
        }
        let config = config.unwrap_or_else(|| self.path.clone());
        let plan = Plan {
            binary: binary.unwrap_or(running),
            arguments: vec!["run".into(), "--config".into(), config.into()],
            timeout: self.gate.current().config.document.server.upgrade_timeout.0,
        };
        tracing::info!(binary = %plan.binary.display(), "handing over");
        let sockets = self.sockets.lock();
        let mut successor = Successor::start(&plan, &sockets)?;
        drop(sockets);
        successor.ready(wanted)?;
        let pid = successor.take_over(&self.export().encode())?;
        service::succeeded_by(pid);
        self.successor.send_replace(Some(pid));
        self.leave();
        self.admin_stop.send_replace(true);
        Ok(pid)
    }

    /// Waits until another process has taken over.
    pub async fn succeeded(&self) {
        let mut successor = self.successor.subscribe();
        // Its sender is ours, so it cannot be gone.
        let _ = successor.wait_for(Option::is_some).await;
    }

    /// What the next process goes on with.
    fn export(&self) -> State {
        let snapshot = self.gate.current();
        let mut state = State::default();
        let sections = [(TICKETS, snapshot.tickets.export()), (LIMITS, snapshot.limits.export(Instant::now()))];
        for ((name, version), bytes) in sections {
            if !state.add(name, version, bytes) {
                tracing::warn!(section = name, "too much state to carry over: the new process begins without");
            }
        }
        state
    }

    /// Goes on with what another process carried over. What is not sound is left out, with a warning.
    pub(super) fn import(&self, state: &State) {
        let snapshot = self.gate.current();
        let take = |(name, version): (&str, u16), import: &dyn Fn(&[u8]) -> Option<usize>| {
            let Some(bytes) = state.section(name, version) else { return };
            match import(bytes) {
                Some(entries) => tracing::info!(section = name, entries, "carried over"),
                None => tracing::warn!(section = name, "what was carried over is not sound: left out"),
            }
        };
        take(TICKETS, &|bytes| snapshot.tickets.import(bytes));
        take(LIMITS, &|bytes| snapshot.limits.import(bytes, Instant::now()));
    }

    fn pid_file(&self) -> Option<PathBuf> {
        let snapshot = self.gate.current();
        let config = &snapshot.config;
        config.document.server.pid_file.as_ref().map(|file| config.base.join(file))
    }

    pub(super) fn write_pid(&self) {
        let Some(file) = self.pid_file() else { return };
        // Never seen half written, and never gone while one process takes over from another.
        let fresh = file.with_extension(format!("{}.new", std::process::id()));
        let written = std::fs::File::create(&fresh)
            .and_then(|mut out| writeln!(out, "{}", std::process::id()))
            .and_then(|()| std::fs::rename(&fresh, &file));
        if let Err(error) = written {
            tracing::warn!(%error, file = %file.display(), "the pid file cannot be written");
        }
    }

    pub(super) fn remove_pid(&self) {
        let Some(file) = self.pid_file() else { return };
        let ours = std::fs::read_to_string(&file).is_ok_and(|text| text.trim() == std::process::id().to_string());
        if ours {
            let _ = std::fs::remove_file(&file);
        }
    }
}
