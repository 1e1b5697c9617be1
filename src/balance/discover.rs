//! Where replicas are found: the list of the configuration, a file, service records, a Kubernetes service, and the
//! addresses behind names.
//!
//! All of these give *endpoints* (`host:port`, a weight); a host that is a name stands for all its addresses. Names and
//! service records are asked for again when their time to live is over, within bounds; the file when it changed. What
//! gives no answer, an empty one, or one that cannot be read keeps what it gave last, and is counted. At most 256
//! endpoints, and 32 addresses of a name.

mod kubernetes;
mod lookup;

use super::endpoint::Endpoint;
use super::pool::Pool;
use crate::fault::Fault;
use crate::telemetry::DiscoveryOutcome;
use crate::units::{self, Span};
use kubernetes::KubernetesSettings;
use lookup::{Answer, Lookup};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Most endpoints taken of a file or a service record.
const MAX_ENDPOINTS: usize = 256;
/// Most addresses taken of one name.
const MAX_ADDRESSES: usize = 32;
/// Largest file read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// How often the file is looked at, and names that are due.
const LOOK: Duration = Duration::from_millis(500);

/// `[upstream.discover]`: where else replicas are found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscoverSettings {
    /// A service record (RFC 2782), as `_http._tcp.archon.internal`; its weights count, of its priorities the first.
    pub srv: String,
    /// A file of replicas: `.toml` or `.json` with a list `replicas`, any other with one a line.
    #[serde(deserialize_with = "units::unless_empty", skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The service of Kubernetes whose pods are replicas.
    pub kubernetes: KubernetesSettings,
    /// The name server to ask; unset: the system's.
    #[serde(deserialize_with = "units::unless_empty", skip_serializing_if = "Option::is_none")]
    pub nameserver: Option<SocketAddr>,
    /// The shortest time after which a name is asked for again, whatever its time to live.
    pub min_ttl: Span,
    /// The longest.
    pub max_ttl: Span,
}

impl Default for DiscoverSettings {
    fn default() -> Self {
        Self {
            srv: String::new(),
            file: None,
            kubernetes: KubernetesSettings::default(),
            nameserver: None,
            min_ttl: Span::secs(5),
            max_ttl: Span::secs(300),
        }
    }
}

impl DiscoverSettings {
    /// Whether replicas may come from here.
    pub(super) fn finds(&self) -> bool {
        !self.srv.is_empty() || self.file.is_some() || self.kubernetes.finds()
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let name = self.srv.strip_suffix('.').unwrap_or(&self.srv);
        if !self.srv.is_empty() && (name.len() > 253 || !name.split('.').all(label)) {
            let mend = "write it as \"_http._tcp.archon.internal\"";
            faults.push(Fault::key("discover.srv", format!("{:?} is no name", self.srv), mend));
        }
        if self.kubernetes.finds() && !cfg!(feature = "kubernetes") {
            let what = "this gatehouse was built without Kubernetes";
            let mend = "build it with --features kubernetes, or find the pods by a headless service's name in replicas";
            faults.push(Fault::key("discover.kubernetes", what, mend));
        }
        if self.min_ttl.0.is_zero() {
            faults.push(Fault::key("discover.min_ttl", "names would be asked for all the time", "write 1s or more"));
        }
        if self.max_ttl < self.min_ttl {
            faults.push(Fault::key("discover.max_ttl", "less than discover.min_ttl", "raise it"));
        }
        faults
    }
}

/// A replica as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: Arc<str>,
    pub(super) address: SocketAddr,
    pub(super) weight: u32,
}

/// What a name stood for last.
#[derive(Debug, Clone)]
struct Resolved {
    addresses: Vec<SocketAddr>,
    due: Instant,
}

/// What tells one state of the file from the next.
type Print = Option<(SystemTime, u64)>;

/// What is known of where the replicas are.
#[derive(Debug, Clone)]
pub(super) struct Discovery {
    listed: Vec<Endpoint>,
    srv: String,
    served: Vec<Endpoint>,
    served_due: Instant,
    /// The service of Kubernetes, and its endpoints.
    kubernetes: KubernetesSettings,
    sliced: Vec<Endpoint>,
    path: Option<PathBuf>,
    print: Print,
    filed: Vec<Endpoint>,
    names: HashMap<Arc<str>, Resolved>,
}

impl Discovery {
    /// What can be known before anything is waited for but the system's resolver; `known` is taken over as far as it is
    /// about the same.
    pub(super) fn begin(
        listed: Vec<Endpoint>,
        settings: &DiscoverSettings,
        base: &Path,
        known: Option<&Self>,
        now: Instant,
    ) -> Result<Self, Vec<Fault>> {
        let path = settings.file.as_ref().map(|file| base.join(file));
        let print = path.as_deref().and_then(print);
        let filed = path.as_deref().map_or(Ok(Vec::new()), read_file).map_err(|fault| vec![fault])?;
        let others = !listed.is_empty() || !settings.srv.is_empty() || settings.kubernetes.finds();
        if path.is_some() && filed.is_empty() && !others {
            let what = "the file names no replica, and there is no other";
            return Err(vec![Fault::key("discover.file", what, "write at least one host:port into it")]);
        }
        let served = known.filter(|known| known.srv == settings.srv && !settings.srv.is_empty());
        let sliced = known.filter(|known| known.kubernetes == settings.kubernetes);
        let mut discovery = Self {
            listed,
            srv: settings.srv.clone(),
            served: served.map(|known| known.served.clone()).unwrap_or_default(),
            served_due: now,
            kubernetes: settings.kubernetes.clone(),
            sliced: sliced.map(|known| known.sliced.clone()).unwrap_or_default(),
            path,
            print,
            filed,
            names: HashMap::new(),
        };
        for endpoint in discovery.endpoints().cloned().collect::<Vec<_>>() {
            if endpoint.literal().is_some() {
                continue;
            }
            let resolved = known.and_then(|known| known.names.get(endpoint.name()).cloned()).unwrap_or_else(|| {
                let found = (endpoint.host(), endpoint.port()).to_socket_addrs();
                // Soon again, with its time to live.
                Resolved { addresses: ordered(found.into_iter().flatten()), due: now }
            });
            discovery.names.insert(Arc::clone(endpoint.name()), resolved);
        }
        Ok(discovery)
    }

    fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.listed.iter().chain(&self.filed).chain(&self.served).chain(&self.sliced)
    }

    /// All replicas, in the order of their endpoints; an address may be there more than once.
    pub(super) fn found(&self) -> Vec<Found> {
        let mut found = Vec::new();
        for endpoint in self.endpoints() {
            let literal = endpoint.literal();
            let resolved = self.names.get(endpoint.name()).map(|resolved| resolved.addresses.as_slice());
            let addresses = literal.as_ref().map_or_else(|| resolved.unwrap_or_default(), std::slice::from_ref);
            found.extend(addresses.iter().map(|address| Found {
                name: Arc::clone(endpoint.name()),
                address: *address,
                weight: endpoint.weight(),
            }));
        }
        found
    }
}

/// A resolver turns its answers round; the turn is ours.
fn ordered(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<_> = addresses.collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

fn print(path: &Path) -> Print {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn read_file(path: &Path) -> Result<Vec<Endpoint>, Fault> {
    let broken = |what: String, mend: &str| Fault::file(path, (0, 0), "", what, mend);
    let meta = std::fs::metadata(path).map_err(|e| broken(format!("cannot be read: {e}"), "make the file"))?;
    if meta.len() > MAX_FILE {
        return Err(broken(format!("{} bytes are too many", meta.len()), "keep it below 1 MiB"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| broken(format!("cannot be read: {e}"), "write it as text"))?;
    parse(path, &text)
}

/// Reads the text of a file of replicas.
fn parse(path: &Path, text: &str) -> Result<Vec<Endpoint>, Fault> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        replicas: Vec<String>,
    }
    let whole = |what: String, mend: &str| Fault::file(path, (0, 0), "", what, mend);
    let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    let mend = "write replicas = [\"host:port\", \"host:port weight=2\"]";
    let entries: Vec<(usize, String)> = match kind {
        "toml" => toml::from_str::<File>(text)
            .map_err(|e| whole(e.message().to_owned(), mend))
            .map(|file| file.replicas.into_iter().map(|entry| (0, entry)).collect())?,
        "json" => serde_json::from_str::<File>(text)
            .map_err(|e| whole(e.to_string(), "write {\"replicas\": [\"host:port\", \"host:port weight=2\"]}"))
            .map(|file| file.replicas.into_iter().map(|entry| (0, entry)).collect())?,
        _ => text
            .lines()
            .enumerate()
            .map(|(i, line)| (i + 1, line.split('#').next().unwrap_or_default().trim().to_owned()))
            .filter(|(_, entry)| !entry.is_empty())
            .collect(),
    };
    if entries.len() > MAX_ENDPOINTS {
        return Err(whole(format!("{} replicas are too many", entries.len()), "name at most 256"));
    }
    let mut endpoints = Vec::new();
    for (line, entry) in entries {
        let mend = "write host:port, perhaps with weight=2 behind it";
        let fault = || Fault::file(path, (line, 0), entry.clone(), format!("{entry:?} is no replica"), mend);
        endpoints.push(Endpoint::read(&entry).ok_or_else(fault)?);
    }
    Ok(endpoints)
}

impl Pool {
    /// Finds replicas again and again; ends when dropped.
    pub(super) async fn discover(&self) {
        let settings = &self.settings.discover;
        let fixed = {
            let discovery = self.discovery.lock();
            !settings.finds() && discovery.endpoints().all(|endpoint| endpoint.literal().is_some())
        };
        if fixed {
            return std::future::pending().await;
        }
        let lookup = Lookup::new(settings);
        let look = async {
            loop {
                self.look(&lookup).await;
                tokio::time::sleep(LOOK).await;
            }
        };
        #[cfg(feature = "kubernetes")]
        if settings.kubernetes.finds() {
            let ((), ()) = tokio::join!(look, self.follow_kubernetes(&settings.kubernetes));
            return;
        }
        look.await
    }

    /// Asks for what is due, and puts what came of it in force.
    async fn look(&self, lookup: &Lookup) {
        let mut looked = false;
        looked |= self.look_at_file().await;
        looked |= self.look_at_service(lookup).await;
        looked |= self.look_at_names(lookup).await;
        if looked {
            self.renew(Instant::now());
        }
    }

    /// Makes members of what is known now.
    fn renew(&self, now: Instant) {
        let known = self.members.load_full();
        if !self.adopt(&known.list, now) {
            return;
        }
        // Whoever is new is probed before long.
        self.doubt.notify_one();
        self.queue.wake_all();
        let members = self.members.load();
        let count = members.list.len();
        tracing::info!(pool = %self.name, replicas = count, "replicas were found anew");
    }

    fn looked(&self, outcome: DiscoveryOutcome, what: &str, why: &str) {
        self.meter.discovery.count(outcome);
        match outcome {
            DiscoveryOutcome::Failed | DiscoveryOutcome::Empty => {
                tracing::warn!(pool = %self.name, what, why, "nothing was found; the last replicas stay");
            }
            DiscoveryOutcome::Changed | DiscoveryOutcome::Unchanged => {}
        }
    }

    async fn look_at_file(&self) -> bool {
        let (path, known) = {
            let discovery = self.discovery.lock();
            (discovery.path.clone(), discovery.print)
        };
        let Some(path) = path else { return false };
        let read = tokio::task::spawn_blocking(move || {
            let now = print(&path);
            (now != known).then(|| (now, read_file(&path)))
        });
        let Ok(Some((print, read))) = read.await else { return false };
        let mut discovery = self.discovery.lock();
        discovery.print = print;
        let (outcome, why) = match read {
            Ok(endpoints) if endpoints.is_empty() => (DiscoveryOutcome::Empty, String::new()),
            Ok(endpoints) if endpoints == discovery.filed => (DiscoveryOutcome::Unchanged, String::new()),
            Ok(endpoints) => {
                discovery.filed = endpoints;
                (DiscoveryOutcome::Changed, String::new())
            }
            Err(fault) => (DiscoveryOutcome::Failed, fault.to_string()),
        };
        drop(discovery);
        self.looked(outcome, "file", &why);
        outcome == DiscoveryOutcome::Changed
    }

    async fn look_at_service(&self, lookup: &Lookup) -> bool {
        let (name, due) = {
            let discovery = self.discovery.lock();
            (discovery.srv.clone(), discovery.served_due)
        };
        if name.is_empty() || Instant::now() < due {
            return false;
        }
        let answer = lookup.service(&name).await;
        let mut discovery = self.discovery.lock();
        let (outcome, why) = match answer {
            Answer::Found(mut endpoints, due) => {
                discovery.served_due = due;
                endpoints.truncate(MAX_ENDPOINTS);
                if endpoints == discovery.served {
                    (DiscoveryOutcome::Unchanged, String::new())
                } else {
                    discovery.served = endpoints;
                    (DiscoveryOutcome::Changed, String::new())
                }
            }
            Answer::Empty(due) => {
                discovery.served_due = due;
                (DiscoveryOutcome::Empty, String::new())
            }
            Answer::Failed(due, why) => {
                discovery.served_due = due;
                (DiscoveryOutcome::Failed, why)
            }
        };
        drop(discovery);
        self.looked(outcome, &name, &why);
        outcome == DiscoveryOutcome::Changed
    }

    async fn look_at_names(&self, lookup: &Lookup) -> bool {
        let now = Instant::now();
        let due: Vec<Endpoint> = {
            let discovery = self.discovery.lock();
            let named = discovery.endpoints().filter(|endpoint| endpoint.literal().is_none());
            let due = |endpoint: &&Endpoint| discovery.names.get(endpoint.name()).is_none_or(|name| name.due <= now);
            named.filter(due).cloned().collect()
        };
        if due.is_empty() {
            return false;
        }
        let answers = due.iter().map(|endpoint| lookup.addresses(endpoint.host(), endpoint.port()));
        let answers = futures_util::future::join_all(answers).await;
        let mut changed = false;
        for (endpoint, answer) in due.iter().zip(answers) {
            let mut discovery = self.discovery.lock();
            let entry = discovery
                .names
                .entry(Arc::clone(endpoint.name()))
                .or_insert_with(|| Resolved { addresses: Vec::new(), due: now });
            let (outcome, why) = match answer {
                Answer::Found(addresses, due) => {
                    let addresses = ordered(addresses.into_iter());
                    let same = addresses == entry.addresses;
                    *entry = Resolved { addresses, due };
                    (if same { DiscoveryOutcome::Unchanged } else { DiscoveryOutcome::Changed }, String::new())
                }
                Answer::Empty(due) => {
                    entry.due = due;
                    (DiscoveryOutcome::Empty, String::new())
                }
                Answer::Failed(due, why) => {
                    entry.due = due;
                    (DiscoveryOutcome::Failed, why)
                }
            };
            changed |= outcome == DiscoveryOutcome::Changed;
            drop(discovery);
            self.looked(outcome, endpoint.name(), &why);
        }
        // Names that nobody gives any more are forgotten.
        let mut discovery = self.discovery.lock();
        let named: Vec<Arc<str>> = discovery.endpoints().map(|endpoint| Arc::clone(endpoint.name())).collect();
        discovery.names.retain(|name, _| named.contains(name));
        changed
    }
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
