//! The running gate: puts the parts together, starts all background work, reloads, and drains.
//!
//! Background work is one future per part, all spawned in [`Prepared::begin`]: listeners, the admin listener, the replica
//! prober of the current generation, housekeeping of limits and gauges, the watcher of files, and the control socket.

mod drain;
mod upgrade;

use crate::acme::{Acme, Challenges, Plan};
use crate::admin::{self, Readiness, Reloaded};
use crate::audit::Audit;
use crate::balance::Pools;
use crate::cache::store::Store;
use crate::config::{self, Config, ListenerSettings};
use crate::edge::{self, Edge};
use crate::facts::Now;
use crate::fault::Fault;
use crate::gate::{Gate, PAGE, Verdict};
use crate::handover::state::State;
use crate::handover::{Role, Sockets, service};
use crate::limit::Load;
use crate::snapshot::{self, Kept, Snapshot};
use crate::telemetry::{Metrics, ReloadOutcome};
use crate::tls::{CertificateSet, Resolver};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};

/// How often watched files are looked at. A change is taken up once it has stood still for one look.
const LOOK: Duration = Duration::from_millis(500);
/// How often certificates that end soon are named in the log.
const REMINDER: Duration = Duration::from_secs(86_400);
/// How often buckets are swept.
const HOUSEKEEPING: Duration = Duration::from_secs(2);

/// How often the lag of the event loop is sampled.
const SAMPLE: Duration = Duration::from_millis(50);

/// A running gate.
pub struct Server {
    gate: Arc<Gate>,
    edge: Arc<Edge>,
    path: PathBuf,
    /// The program to start at a hand-over; `None`: there is none to start.
    binary: Option<PathBuf>,
    /// No new requests: the drain has begun.
    stop: watch::Sender<bool>,
    /// The admin listener outlives the others.
    admin_stop: watch::Sender<bool>,
    /// Not ready any more, though connections may still be accepted.
    leaving: AtomicBool,
    /// The process that took over.
    successor: watch::Sender<Option<u32>>,
    /// Held while a hand-over is under way.
    handing_over: Mutex<()>,
    /// Listening sockets, to be passed on; empty once the drain has begun.
    sockets: Mutex<Vec<(Role, Option<SocketAddr>, OwnedFd)>>,
    /// One more reference for each answer on the control socket that is under way.
    answers: Arc<()>,
    reloading: Mutex<Reloads>,
    changed: Notify,
    acme: Arc<Acme>,
    plans: watch::Sender<Plan>,
    started: SystemTime,
    /// The budget for held bodies, in pages.
    pages: usize,
    listeners: Vec<SocketAddr>,
    admin: SocketAddr,
}

/// How the last reload went.
#[derive(Debug, Default, Clone)]
struct Reloads {
    applied: u64,
    refused: u64,
    fault: Option<String>,
}

/// Why a gate did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration, or something it names, is at fault.
    #[error("{}", list(.0))]
    Faults(Vec<Fault>),
    /// A socket could not be bound.
    #[error("cannot listen on {0}; is another process using it, or is the port below 1024 and not allowed?")]
    Bind(#[from] std::io::Error),
    /// The metrics could not be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// A gate that is built and bound, and does nothing yet.
pub struct Prepared {
    server: Arc<Server>,
    listeners: Vec<(TcpListener, ListenerSettings)>,
    admin: (TcpListener, admin::Admin),
    control: Option<UnixListener>,
    files: Print,
    planned: watch::Receiver<Plan>,
    stopped: watch::Receiver<bool>,
    admin_stopped: watch::Receiver<bool>,
}

impl Server {
    /// Builds and binds everything `config` says, inside a tokio runtime. A listener for which `sockets` holds one takes
    /// it. With `binary`, this gate can hand over to a process that runs it.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn prepare(
        config: Config,
        mut sockets: Sockets,
        binary: Option<PathBuf>,
    ) -> Result<Prepared, StartError> {
        let metrics = Arc::new(Metrics::new()?);
        let located =
            |faults: Vec<Fault>| StartError::Faults(faults.into_iter().map(|fault| config.locate(fault)).collect());
        let built = snapshot::build(&config, None, &metrics).map_err(located)?;
        // Before anything else is done, so that a change from here on is seen as one.
        let files = print(&built.snapshot.files());
        let document = &config.document;
        let under = |section: &str, faults: Vec<Fault>| faults.into_iter().map(|f| f.under(section)).collect();
        let audit = Audit::build(&document.audit, &config.base, metrics.audit.clone())
            .map_err(|faults| located(under("audit", faults)))?;
        let admin =
            admin::Admin::build(&document.admin, &config.base).map_err(|faults| located(under("admin", faults)))?;

        let mut open = |role, address| match sockets.take(role, Some(address)) {
            Some(socket) => edge::adopt(address, socket),
            None => edge::bind(address),
        };
        let (mut listeners, mut passed) = (Vec::new(), Vec::new());
        for settings in document.listener.iter() {
            let socket = open(Role::Listener, settings.address)?;
            passed.push((Role::Listener, Some(settings.address), socket.as_fd().try_clone_to_owned()?));
            listeners.push((socket, settings.clone()));
        }
        let admin_socket = open(Role::Admin, document.admin.address)?;
        passed.push((Role::Admin, Some(document.admin.address), admin_socket.as_fd().try_clone_to_owned()?));
        let control = binary.as_ref().and_then(|_| upgrade::control(&mut sockets, &config.state_dir()));
        if let Some(control) = &control {
            passed.push((Role::Control, None, control.as_fd().try_clone_to_owned()?));
        }
        for name in sockets.left() {
            tracing::warn!(socket = name, "no listener is for a socket that was passed on: it is closed");
        }
        let addresses = listeners.iter().filter_map(|(socket, _)| socket.local_addr().ok()).collect();
        let admin_address = admin_socket.local_addr()?;

        let pages = (document.waf.held_total.bytes() / PAGE).clamp(1, Semaphore::MAX_PERMITS);
        let resolver = Arc::new(Resolver::new(built.certificates));
        let kept = Kept {
            metrics: metrics.clone(),
            audit: Arc::new(audit),
            store: Store::new(document.cache.size.bytes(), document.cache.max_object.bytes(), document.cache.shards),
            held: Arc::new(Semaphore::new(pages)),
            load: Arc::new(Load::new(metrics.load.clone())),
            resolver: resolver.clone(),
            challenges: Arc::default(),
        };
        let challenges = kept.challenges.clone();
        let (stop, stopped) = watch::channel(false);
        let (admin_stop, admin_stopped) = watch::channel(false);
        let gate = Arc::new(Gate::new(built.snapshot, kept));
        let edge = Edge::new(gate.clone(), document.server.drain.0, stopped.clone());
        let (plans, planned) = watch::channel(plan(&config));
        let server = Arc::new_cyclic(|server: &Weak<Self>| Self {
            acme: acme(server.clone(), challenges, resolver, metrics),
            plans,
            gate,
            edge,
            path: config.path().to_owned(),
            binary,
            stop,
            admin_stop,
            leaving: AtomicBool::new(false),
            successor: watch::Sender::new(None),
            handing_over: Mutex::new(()),
            sockets: Mutex::new(passed),
            answers: Arc::new(()),
            reloading: Mutex::default(),
            changed: Notify::new(),
            started: SystemTime::now(),
            pages,
            listeners: addresses,
            admin: admin_address,
        });
        Ok(Prepared {
            server,
            listeners,
            admin: (admin_socket, admin),
            control,
            files,
            planned,
            stopped,
            admin_stopped,
        })
    }
}

impl Prepared {
    /// Starts everything, going on with what another process carried over.
    pub fn begin(self, carried: &State) -> Arc<Server> {
        let Self { server, listeners, admin, control, files, planned, stopped, admin_stopped } = self;
        announce(&server.gate.current(), server.gate.metrics());
        server.import(carried);
        for (index, (socket, settings)) in listeners.into_iter().enumerate() {
            tokio::spawn(server.edge.clone().listen(socket, index, settings));
        }
        let (admin_socket, admin) = admin;
        tokio::spawn(admin::serve(admin_socket, admin, Arc::new(View(server.clone())), admin_stopped));
        if let Some(control) = control {
            tokio::spawn(upgrade::answer(server.clone(), control, stopped.clone()));
        }
        tokio::spawn(service::watchdog());
        tokio::spawn(probe(server.clone(), stopped.clone()));
        tokio::spawn(server.acme.clone().run(planned, stopped.clone()));
        tokio::spawn(housekeep(server.clone(), stopped.clone()));
        tokio::spawn(measure(server.gate.kept().load.clone()));
        tokio::spawn(remind(server.clone(), stopped.clone()));
        tokio::spawn(watch_files(server.clone(), files, stopped));
        server.write_pid();
        server
    }
}

impl Server {
    /// The addresses listened on, in the order of the configuration.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// The admin listener's address.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Loads the configuration and everything it names anew, and swaps it in whole. What is faulty changes nothing.
    ///
    /// # Errors
    /// Every fault, at its place; also logged and counted.
    pub fn reload(&self) -> Result<Reloaded, Vec<Fault>> {
        // One at a time: the later one builds on what the earlier one put in place.
        let mut reloads = self.reloading.lock();
        service::reloading();
        let metrics = self.gate.metrics();
        let current = self.gate.current();
        let built = config::load(&self.path).and_then(|config| {
            let built = snapshot::build(&config, Some(&current), metrics);
            built.map_err(|faults| faults.into_iter().map(|fault| config.locate(fault)).collect())
        });
        match built {
            Ok(built) => {
                let mut restart = needs_restart(&current.config, &built.snapshot.config);
                let document = &built.snapshot.config.document;
                let kept = self.gate.kept();
                // Checked by the build, so nothing can be at fault here.
                if let Ok(keys) = kept.audit.apply(&document.audit, &built.snapshot.config.base) {
                    restart.extend(keys.into_iter().map(|key| format!("audit.{key}")));
                }
                kept.audit.reopen();
                kept.store.resize(document.cache.size.bytes(), document.cache.max_object.bytes());
                for key in &restart {
                    tracing::warn!(key, "this change takes effect at the next restart or hand-over");
                }
                let snapshot = self.gate.swap(built);
                announce(&snapshot, metrics);
                metrics.reloads.count(ReloadOutcome::Applied);
                reloads.applied += 1;
                reloads.fault = None;
                self.changed.notify_waiters();
                let plan = plan(&snapshot.config);
                self.plans.send_if_modified(|old| std::mem::replace(old, plan.clone()) != plan);
                service::ready(&format!("serving, configuration {} in force", snapshot.generation));
                Ok(Reloaded { generation: snapshot.generation, restart })
            }
            Err(faults) => {
                for fault in &faults {
                    tracing::error!("reload refused, what runs stays: {fault}");
                }
                metrics.reloads.count(ReloadOutcome::Refused);
                reloads.refused += 1;
                reloads.fault = Some(list(&faults));
                service::ready("serving; the last reload was refused, see the log");
                Err(faults)
            }
        }
    }

    /// Reads the certificates of the running configuration anew; what is faulty changes nothing.
    fn recertify(&self) -> bool {
        // One at a time with reloads: the later one must not put back what the earlier one read.
        let _reloads = self.reloading.lock();
        let config = &self.gate.current().config;
        match CertificateSet::build(&config.document.tls, &config.base, &config.state_dir(), SystemTime::now()) {
            Ok(certificates) => {
                let ends = snapshot::ends(&certificates);
                self.gate.metrics().certificates(ends.iter().map(|(name, end)| (name.as_str(), *end)));
                self.gate.kept().resolver.swap(certificates);
                true
            }
            Err(faults) => {
                for fault in faults {
                    tracing::error!("certificates were not read anew: {}", config.locate(fault.under("tls")));
                }
                false
            }
        }
    }
}

/// What a configuration has ordered.
fn plan(config: &Config) -> Plan {
    Plan { settings: config.document.tls.acme.clone(), base: config.base.clone(), state_dir: config.state_dir() }
}

fn acme(
    server: Weak<Server>,
    challenges: Arc<Challenges>,
    resolver: Arc<Resolver>,
    metrics: Arc<Metrics>,
) -> Arc<Acme> {
    let install = move || server.upgrade().is_none_or(|server| server.recertify());
    Arc::new(Acme::new(challenges, resolver, metrics, install))
}

/// Says what a generation holds.
fn announce(snapshot: &Snapshot, metrics: &Metrics) {
    for warning in snapshot.inspect.warnings().iter().chain(&snapshot.warnings) {
        tracing::warn!("{warning}");
    }
    let replicas: usize = snapshot.pools.all().iter().map(|pool| pool.replicas().len()).sum();
    metrics.keep_rules(snapshot.inspect.rule_ids());
    let candidate = snapshot.shadow.iter().flat_map(|candidate| candidate.inspect.rule_ids());
    metrics.keep_shadow_rules(snapshot.inspect.rule_ids().into_iter().chain(candidate));
    metrics.certificates(snapshot.expiries.iter().map(|(name, end)| (name.as_str(), *end)));
    metrics.config_loaded(snapshot.loaded);
    tracing::info!(
        generation = snapshot.generation,
        config = %snapshot.config.path().display(),
        rules = snapshot.inspect.rule_ids().len(),
        routes = snapshot.policy.routes().len(),
        replicas,
        addresses = snapshot.reputation.entries(),
        "configuration in force",
    );
}

/// Keys whose change a running gate cannot take up.
fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let (old, new) = (&old.document, &new.document);
    [
        ("server.threads", old.server.threads != new.server.threads),
        ("server.drain", old.server.drain != new.server.drain),
        (
            "listener",
            old.listener.len() != new.listener.len()
                || old.listener.iter().zip(new.listener.iter()).any(|(old, new)| new.listens_unlike(old)),
        ),
        ("admin", old.admin != new.admin),
        ("log", old.log != new.log),
        ("cache.shards", old.cache.shards != new.cache.shards),
        ("waf.held_total", old.waf.held_total != new.waf.held_total),
    ]
    .into_iter()
    .filter(|(_, changed)| *changed)
    .map(|(key, _)| key.to_owned())
    .collect()
}

/// Probes the replicas of whichever generation is current.
async fn probe(server: Arc<Server>, mut stopped: watch::Receiver<bool>) {
    loop {
        let changed = server.changed.notified();
        let pools = server.gate.current().pools.clone();
        tokio::select! {
            () = pools.run(stopped.clone()) => {}
            () = changed => continue,
        }
        if *stopped.borrow_and_update() {
            return;
        }
        // Probing is off: wait for a generation that may want it.
        tokio::select! {
            () = server.changed.notified() => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Samples how late the event loop runs, to the end: a drain may be loaded too.
async fn measure(load: Arc<Load>) {
    loop {
        let asked = Instant::now();
        tokio::time::sleep(SAMPLE).await;
        load.sample(asked.elapsed().saturating_sub(SAMPLE));
    }
}

async fn housekeep(server: Arc<Server>, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(HOUSEKEEPING) => {}
            _ = stopped.changed() => return,
        }
        let snapshot = server.gate.current();
        snapshot.limits.housekeep(Now { mono: Instant::now(), wall: SystemTime::now() });
    }
}

/// Says every day which certificates end soon: their warning at the load may be months old.
async fn remind(server: Arc<Server>, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(REMINDER) => {}
            _ = stopped.changed() => return,
        }
        for due in server.gate.kept().resolver.current().due(SystemTime::now()) {
            tracing::warn!("{due}");
        }
    }
}

/// What tells one state of a file from the next; `None` for a file that is not there.
type Print = HashMap<PathBuf, Option<(SystemTime, u64)>>;

fn print(files: &[PathBuf]) -> Print {
    let look = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    files.iter().map(|path| (path.clone(), look(path))).collect()
}

/// Reloads when a file the configuration rests on has changed and then stood still. Looking is cheap and works on every
/// file system, through symbolic links that are swapped, and over the network.
async fn watch_files(server: Arc<Server>, mut known: Print, mut stopped: watch::Receiver<bool>) {
    let mut before = known.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stopped.changed() => return,
        }
        let now = print(&server.gate.current().files());
        let changed = now.iter().any(|(path, state)| known.get(path).is_some_and(|old| old != state));
        if changed && now == before {
            tracing::info!("a watched file changed");
            let reloading = server.clone();
            let _ = tokio::task::spawn_blocking(move || reloading.reload().is_ok()).await;
            // Known is what was there before the reload read it: a change in the meantime shows at the next look.
            known.clone_from(&now);
        }
        // Files that a new generation names are known as they are first seen.
        known.retain(|path, _| now.contains_key(path));
        for (path, state) in &now {
            known.entry(path.clone()).or_insert(*state);
        }
        before = now;
    }
}

/// What the admin listener sees of the server.
struct View(Arc<Server>);

impl admin::Source for View {
    fn ready(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.0.gate.current().pools.default().healthy() == 0 {
            reasons.push("no healthy replica".to_owned());
        }
        if self.0.leaving.load(Ordering::Relaxed) {
            reasons.push("draining".to_owned());
        }
        Readiness { reasons }
    }

    fn status(&self) -> serde_json::Value {
        let snapshot = self.0.gate.current();
        let kept = self.0.gate.kept();
        let reloads = self.0.reloading.lock().clone();
        let stats = kept.store.stats();
        let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let replicas = replicas(&snapshot.pools);
        let acme = self.0.acme.status().into_iter().map(|certificate| {
            serde_json::json!({
                "names": certificate.names, "not_after": certificate.not_after.map(seconds),
                "next_order_at": seconds(certificate.next),
                "failures": certificate.failures, "last_error": certificate.error,
            })
        });
        let acme: Vec<_> = acme.collect();
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.0.started.elapsed().map_or(0, |d| d.as_secs()),
            "config": {
                "path": snapshot.config.path().display().to_string(),
                "generation": snapshot.generation,
                "loaded_at": seconds(snapshot.loaded),
            },
            "reloads": { "applied": reloads.applied, "refused": reloads.refused, "last_fault": reloads.fault },
            "connections": self.0.edge.open(),
            "replicas": replicas,
            "rules": snapshot.inspect.rule_ids().len(),
            "audit": { "queued": kept.metrics.audit.queue.get() },
            "cache": { "bytes": stats.bytes, "entries": stats.entries },
            "acme": acme,
        })
    }

    fn shadow(&self) -> serde_json::Value {
        let snapshot = self.0.gate.current();
        let candidate = snapshot.shadow.as_ref().map(|candidate| {
            serde_json::json!({
                "share": candidate.share.value(),
                "rules": candidate.inspect.rule_ids().len(),
                "operations": candidate.fields.as_ref().map_or(0, |policy| policy.operations().len()),
            })
        });
        let verdict = |verdict: &Verdict| {
            serde_json::json!({
                "refused": verdict.reason.is_some(), "reason": verdict.reason,
                "rules": verdict.rules, "fields": verdict.fields,
            })
        };
        let differences = self.0.gate.shadow().differences();
        let shown = differences.iter().map(|difference| {
            serde_json::json!({
                "at": jiff::Timestamp::try_from(difference.at).unwrap_or_default().to_string(),
                "request": difference.id, "route": difference.route, "outcome": difference.outcome.as_str(),
                "live": verdict(&difference.live), "shadow": verdict(&difference.shadow),
            })
        });
        serde_json::json!({ "candidate": candidate, "differences": shown.collect::<Vec<_>>() })
    }

    fn reload(&self) -> Result<Reloaded, Vec<String>> {
        self.0.reload().map_err(|faults| faults.iter().map(Fault::to_string).collect())
    }

    fn metrics(&self) -> String {
        let kept = self.0.gate.kept();
        let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let stats = kept.store.stats();
        kept.metrics.cache_bytes.set(gauge(stats.bytes));
        kept.metrics.cache_entries.set(gauge(stats.entries));
        let held = self.0.pages.saturating_sub(kept.held.available_permits()) * PAGE;
        kept.metrics.held_bytes.set(gauge(held as u64));
        for table in self.0.gate.current().limits.tables() {
            kept.metrics.limit_table(table.policy, table.users, table.overflowed);
        }
        self.0.gate.current().pools.publish(&kept.metrics);
        kept.metrics.render()
    }

    fn replicas(&self) -> serde_json::Value {
        serde_json::json!({ "replicas": replicas(&self.0.gate.current().pools) })
    }

    fn drain(&self, pool: &str, replica: &str, on: bool) -> bool {
        let pools = self.0.gate.current().pools.clone();
        pools.named(pool).is_some_and(|pool| pool.drain(replica, on, Instant::now()))
    }
}

/// All replicas of all pools, as the admin listener shows them.
fn replicas(pools: &Pools) -> Vec<serde_json::Value> {
    let now = Instant::now();
    let mut shown = Vec::new();
    for pool in pools.all() {
        for (replica, weight) in pool.replicas() {
            shown.push(serde_json::json!({
                "pool": &**pool.name(), "name": &**replica.name(), "address": replica.address().to_string(),
                "weight": weight, "healthy": replica.is_healthy(), "state": replica.state(now),
                "ejected_seconds": replica.ejected_for(now).map(|time| time.as_secs_f64()),
                "in_flight": replica.in_flight(), "latency_seconds": replica.latency(),
            }));
        }
    }
    shown
}

/// Everything a check loads, without listening: what `gatehouse check` reports.
///
/// # Errors
/// Every fault, keys not yet turned into places.
pub fn verify(config: &Config) -> Result<Vec<String>, Vec<Fault>> {
    let metrics = Metrics::new().map_err(|e| vec![Fault::key("", e.to_string(), "")])?;
    let built = snapshot::build(config, None, &Arc::new(metrics))?;
    let s = built.snapshot;
    let count: usize = s.pools.all().iter().map(|pool| pool.replicas().len()).sum();
    let mut lines = vec![
        format!("{} listeners, admin on {}", config.document.listener.len(), config.document.admin.address),
        format!("{} rules in {} files", s.inspect.rule_ids().len(), s.inspect.files().len()),
        format!("{} routes, {} replicas", s.policy.routes().len(), count),
        format!("{} addresses and networks in reputation lists", s.reputation.entries()),
    ];
    if let Some(candidate) = &s.shadow {
        lines.push(format!(
            "{} rules in shadow, for {} of requests",
            candidate.inspect.rule_ids().len(),
            candidate.share.value()
        ));
        lines.extend(candidate.inspect.warnings().iter().map(|warning| format!("warning: {warning}")));
    }
    lines.extend(s.inspect.warnings().iter().chain(&s.warnings).map(|warning| format!("warning: {warning}")));
    Ok(lines)
}
