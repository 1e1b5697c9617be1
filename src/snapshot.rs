//! One immutable generation of every stage, and what outlives generations.
//!
//! A reload builds a whole [`Snapshot`] aside and swaps one pointer; a request ends on the one it began with. What must
//! survive (buckets, replicas' health, stored responses, certificates in use, the audit queue) is handed from generation
//! to generation or lives in [`Kept`]. A build that meets any fault changes nothing.

use crate::acme::Challenges;
use crate::admin::Admin;
use crate::audit::Audit;
use crate::balance::{Plan, Pools, Traffic};
use crate::cache::Cache;
use crate::cache::store::Store;
use crate::client::proxy::ProxyTerms;
use crate::client::{Clients, Forwarding, Users};
use crate::config::{Config, ListenerSettings, TimeoutSettings};
use crate::fault::Fault;
use crate::inspect::Inspect;
use crate::limit::{Limits, Load};
use crate::policy::field::{self, FieldPolicy};
use crate::policy::{Policy, ResponseFields, RouteSettings, SplitBy};
use crate::reputation::Reputation;
use crate::request::{HeadLimits, RequestModel};
use crate::telemetry::{LimitMetrics, Metrics, RouteMetrics, RuleMetrics};
use crate::tls::{CertificateSet, Resolver, Terminator, Tickets};
use crate::units::Share;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use tokio::sync::Semaphore;

/// What outlives every generation.
pub struct Kept {
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The audit queue and its writer.
    pub audit: Arc<Audit>,
    /// Stored responses.
    pub store: Arc<Store>,
    /// The budget for held request bodies, in pages of [`crate::gate::PAGE`] bytes.
    pub held: Arc<Semaphore>,
    /// How loaded the gate is.
    pub load: Arc<Load>,
    /// The certificates in use.
    pub resolver: Arc<Resolver>,
    /// What authorities are answered that ask whether a name is ours.
    pub challenges: Arc<Challenges>,
}

/// One generation of all stages.
pub struct Snapshot {
    /// Counts up from 1.
    pub generation: u64,
    /// What it was built from.
    pub config: Config,
    /// When.
    pub loaded: SystemTime,
    /// How long anything may take.
    pub times: TimeoutSettings,
    /// How large a head may be.
    pub head_limits: HeadLimits,
    /// How each listener meets its clients, in the configuration's order.
    listeners: Vec<Arc<Listener>>,
    pub(crate) tickets: Arc<Tickets>,
    /// What all responses say.
    pub said: ResponseFields,
    /// Trusted hops.
    pub clients: Clients,
    /// API keys.
    pub users: Users,
    /// What replicas are told about clients.
    pub forwarding: Forwarding,
    /// Address lists.
    pub reputation: Reputation,
    /// The reading of heads.
    pub model: RequestModel,
    /// Rate limits.
    pub limits: Limits,
    /// Routes.
    pub policy: Policy,
    /// What the fields of requests are for, if files say so.
    pub fields: Option<FieldPolicy>,
    policy_files: Vec<PathBuf>,
    /// Rules.
    pub inspect: Inspect,
    /// Rules and a policy that are tried beside those in force.
    pub shadow: Option<Candidate>,
    /// What may be answered from, and put into, the store.
    pub cache: Cache,
    /// Replicas.
    pub pools: Arc<Pools>,
    /// Which of them get a route's requests, by the route's index.
    pub traffic: Vec<Traffic>,
    /// Metric handles resolved for this generation.
    pub meters: Meters,
    /// When each certificate ends, by its first name.
    pub expiries: Vec<(String, SystemTime)>,
    /// What is not wrong and yet worth a look.
    pub warnings: Vec<Fault>,
    certificate_files: Vec<PathBuf>,
}

/// How a listener meets its clients, before anything of HTTP.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    /// Whose word is taken for who opened a connection.
    pub proxy: ProxyTerms,
    /// What it offers over TLS; `None` without TLS.
    pub terminator: Option<Terminator>,
}

/// Rules and a policy of fields that judge a share of the requests and refuse none.
pub struct Candidate {
    /// Of all inspected requests.
    pub share: Share,
    /// Rules.
    pub inspect: Inspect,
    /// What the fields of requests are for.
    pub fields: Option<FieldPolicy>,
    policy_files: Vec<PathBuf>,
}

/// Metric handles of one generation.
pub struct Meters {
    /// By the route's index.
    pub routes: Vec<RouteMetrics>,
    /// Before there was a route.
    pub unrouted: RouteMetrics,
    /// Rule hits.
    pub rules: RuleMetrics,
    /// By the limit's name.
    pub limits: HashMap<Arc<str>, LimitMetrics>,
}

/// Everything a build yields: the snapshot, and the certificates to swap in beside it.
pub struct Built {
    /// The generation.
    pub snapshot: Snapshot,
    /// The certificates it names.
    pub certificates: CertificateSet,
}

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Builds every stage from `config`.
///
/// # Errors
/// Every fault of every stage, keys not yet turned into places.
pub fn build(config: &Config, previous: Option<&Snapshot>, metrics: &Arc<Metrics>) -> Result<Built, Vec<Fault>> {
    let (document, base) = (&config.document, config.base.as_path());
    let now = SystemTime::now();
    let mut faults = Vec::new();
    let certificates = keep(&mut faults, "tls", CertificateSet::build(&document.tls, base, &config.state_dir(), now));
    let tickets = Tickets::build(&document.tls.tickets, base, previous.map(|p| &p.tickets));
    let tickets = keep(&mut faults, "tls.tickets", tickets);
    let listeners = tickets.as_ref().map(|tickets| listeners(config, tickets, now, &mut faults));
    let clients = keep(&mut faults, "client", Clients::build(&document.client, base));
    let users = keep(&mut faults, "client", Users::build(&document.client, base));
    let forwarding = keep(&mut faults, "client", Forwarding::build(&document.client, base));
    let reputation = keep(&mut faults, "reputation", Reputation::build(&document.reputation, base));
    let limits = keep(&mut faults, "limits", Limits::build(&document.limits, previous.map(|p| &p.limits)));
    let policy = keep(&mut faults, "route", Policy::build(&document.route));
    let fields = (!document.policy.files.is_empty())
        .then(|| keep(&mut faults, "policy.files", field::load(&document.policy.files, base)))
        .flatten();
    let inspect = keep(&mut faults, "waf", Inspect::build(&document.waf, base));
    let shadow = candidate(config, &mut faults);
    let cache = keep(&mut faults, "cache", Cache::build(&document.cache, base));
    let before = previous.map(|previous| previous.pools.as_ref());
    let pools = Pools::build(&document.upstream, &document.pool, base, before, metrics)
        .map_err(|found| faults.extend(found))
        .ok()
        .map(Arc::new);
    let traffic = pools.as_ref().zip(policy.as_ref()).and_then(|(pools, policy)| {
        let traffic = traffic(&document.route, policy, pools);
        traffic.map_err(|found| faults.extend(found)).ok()
    });
    keep(&mut faults, "audit", document.audit.check());
    keep(&mut faults, "log", document.log.check());
    keep(&mut faults, "admin", Admin::build(&document.admin, base));
    if let (Some(policy), Some(limits)) = (&policy, &limits) {
        for (index, entry) in document.route.iter().enumerate() {
            if let Some(name) = entry.limit.as_deref().filter(|name| !limits.knows(name)) {
                let what = format!("no limit is named {name:?}");
                faults.push(Fault::key(format!("route[{index}].limit"), what, "add it under [limits.policies]"));
            }
        }
        debug_assert!(!policy.routes().is_empty());
    }
    if let (Some(policy), Some(fields)) = (&policy, &fields) {
        faults.extend(fields.policy.unreachable(policy));
        if !document.waf.enabled {
            let what = "fields are held against the policy by the rule engine, which is off";
            faults.push(Fault::key("policy.files", what, "set waf.enabled = true, or remove the files"));
        }
    }
    let said = keep(&mut faults, "response", ResponseFields::build(&document.response));
    let tls = certificates.zip(tickets).zip(listeners).zip(said);
    match (tls, clients, users, forwarding, reputation, limits, policy, inspect, cache, pools.zip(traffic)) {
        (
            Some((((certificates, tickets), listeners), said)),
            Some(clients),
            Some(users),
            Some(forwarding),
            Some(reputation),
            Some(limits),
            Some(policy),
            Some(inspect),
            Some(cache),
            Some((pools, traffic)),
        ) if faults.is_empty() => {
            let meters = Meters {
                routes: policy.routes().iter().map(|route| metrics.route(&route.name)).collect(),
                unrouted: metrics.unrouted(),
                rules: metrics.rules(inspect.rule_ids()),
                limits: limits.names().map(|name| (name.clone(), metrics.limit(name))).collect(),
            };
            let (fields, policy_files) = match fields {
                Some(loaded) => (Some(loaded.policy), loaded.files),
                None => (None, Vec::new()),
            };
            let mut warnings = certificates.warnings().to_vec();
            warnings
                .extend(listeners.iter().filter_map(|l| l.terminator.as_ref()).flat_map(Terminator::warnings).cloned());
            warnings.extend(pools.warnings());
            warnings.extend(users.warnings().into_iter().map(|warning| warning.under("client")));
            let snapshot = Snapshot {
                generation: GENERATION.fetch_add(1, Ordering::Relaxed) + 1,
                config: config.clone(),
                loaded: now,
                times: document.timeouts.clone(),
                head_limits: HeadLimits {
                    target: document.http.max_target,
                    head: document.http.max_head,
                    fields: u16::try_from(document.http.max_headers).unwrap_or(u16::MAX),
                },
                listeners,
                tickets,
                said,
                clients,
                users,
                forwarding,
                reputation,
                model: RequestModel,
                limits,
                policy,
                fields,
                policy_files,
                inspect,
                shadow,
                cache,
                pools,
                traffic,
                meters,
                expiries: ends(&certificates),
                warnings,
                certificate_files: certificates.files().to_vec(),
            };
            Ok(Built { snapshot, certificates })
        }
        _ => Err(faults),
    }
}

/// What each listener offers and asks.
fn listeners(config: &Config, tickets: &Arc<Tickets>, now: SystemTime, faults: &mut Vec<Fault>) -> Vec<Arc<Listener>> {
    let document = &config.document;
    let build = |(index, settings): (usize, &ListenerSettings)| {
        let place = format!("listener[{index}]");
        let terminator =
            settings.tls.then(|| keep(faults, &place, Terminator::build(settings.terms(), tickets, &config.base, now)));
        let proxy = ProxyTerms::new(settings.proxy_protocol, &settings.proxy_trusted, &document.client);
        Arc::new(Listener { address: settings.address, proxy, terminator: terminator.flatten() })
    };
    document.listener.iter().enumerate().map(build).collect()
}

/// When each certificate ends, by its first name.
pub fn ends(certificates: &CertificateSet) -> Vec<(String, SystemTime)> {
    let first = |names: &[String]| names.first().cloned().unwrap_or_default();
    certificates.expiries().iter().map(|expiry| (first(&expiry.names), expiry.not_after)).collect()
}

/// The candidate, if some requests are judged by one.
fn candidate(config: &Config, faults: &mut Vec<Fault>) -> Option<Candidate> {
    let (document, base) = (&config.document, config.base.as_path());
    let settings = document.waf.candidate()?;
    let shadow = &document.waf.shadow;
    let inspect = keep(faults, "waf.shadow", Inspect::build(&settings, base));
    let files = shadow.policy_files.as_ref().unwrap_or(&document.policy.files);
    let fields = match files.as_slice() {
        [] => Some(None),
        files => keep(faults, "waf.shadow.policy_files", field::load(files, base)).map(Some),
    };
    let (inspect, fields) = (inspect?, fields?);
    let (fields, policy_files) = fields.map_or((None, Vec::new()), |loaded| (Some(loaded.policy), loaded.files));
    Some(Candidate { share: shadow.share, inspect, fields, policy_files })
}

fn keep<T>(faults: &mut Vec<Fault>, section: &str, built: Result<T, Vec<Fault>>) -> Option<T> {
    built.map_err(|found| faults.extend(found.into_iter().map(|fault| fault.under(section)))).ok()
}

/// Where each route's requests go, by the route's index.
fn traffic(entries: &[RouteSettings], policy: &Policy, pools: &Pools) -> Result<Vec<Traffic>, Vec<Fault>> {
    let (mut faults, mut traffic) = (Vec::new(), Vec::new());
    for route in policy.routes() {
        // The default route may have no entry.
        let entry = entries.iter().enumerate().find(|(_, entry)| *entry.name == *route.name.0);
        let split: Vec<_> =
            entry.iter().flat_map(|(_, e)| &e.split).map(|part| (part.pool.as_str(), part.weight)).collect();
        let plan = Plan {
            pool: entry.and_then(|(_, entry)| entry.pool.as_deref()),
            split: &split,
            by_request: entry.is_some_and(|(_, entry)| entry.split_by == SplitBy::Request),
            mirror: entry.and_then(|(_, entry)| entry.mirror.as_ref()).map(|mirror| {
                (mirror.pool.as_str(), mirror.share, mirror.max_body.bytes(), mirror.max_in_flight as usize)
            }),
        };
        match Traffic::build(plan, pools) {
            Ok(built) => traffic.push(built),
            Err(found) => {
                let index = entry.map_or(0, |(index, _)| index);
                faults.extend(found.into_iter().map(|fault| fault.under(&format!("route[{index}]"))));
            }
        }
    }
    if faults.is_empty() { Ok(traffic) } else { Err(faults) }
}

impl Snapshot {
    /// How the listener at this place of the configuration meets its clients; `None` where it is gone or another stands
    /// there, which only a restart takes up.
    pub fn listener(&self, index: usize, settings: &ListenerSettings) -> Option<&Arc<Listener>> {
        let same = |listener: &&Arc<Listener>| {
            listener.address == settings.address && listener.terminator.is_some() == settings.tls
        };
        self.listeners.get(index).filter(same).or_else(|| self.listeners.iter().find(same))
    }

    /// Every file whose change means a reload.
    pub fn files(&self) -> Vec<PathBuf> {
        let absolute = |path: &Path| self.config.base.join(path);
        let mut files = vec![self.config.path().to_owned()];
        files.extend(self.reputation.files().iter().map(|p| absolute(p)));
        files.extend(self.inspect.files().iter().map(|p| absolute(p)));
        files.extend(self.policy_files.iter().map(|p| absolute(p)));
        if let Some(candidate) = &self.shadow {
            files.extend(candidate.inspect.files().iter().chain(&candidate.policy_files).map(|p| absolute(p)));
        }
        files.extend(self.certificate_files.iter().cloned());
        files.extend(self.pools.files());
        files.extend(self.tickets.file().map(Path::to_owned));
        files.extend(self.listeners.iter().filter_map(|l| l.terminator.as_ref()).flat_map(|t| t.files().to_vec()));
        files.extend(self.config.document.client.keys.iter().filter_map(|key| key.file.as_deref()).map(absolute));
        files
    }
}
