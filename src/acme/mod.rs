//! Certificates from an ACME authority (RFC 8555): ordered, renewed, and put in use without a restart.
//!
//! No stage of a request, but background work beside them: it reads what `[tls.acme]` wants, looks at what is stored, and
//! orders what is missing or due. Out come files under the state directory (`tls::AcmeSettings` shows the layout), and a
//! call that makes the gate read them. Requests meet it twice, both times from an authority: [`Challenges`] answers
//! HTTP-01, `tls::Resolver` answers TLS-ALPN-01.
//!
//! *When.* A certificate that is missing, damaged or past its end is ordered at once. One that serves is renewed
//! `renew_before` its end, less a jitter of up to a twentieth of its lifetime that is taken from the certificate itself, so
//! that neither a restart nor a second process moves it; or earlier where the authority says so (RFC 9773). After a failure
//! the wait doubles from `retry_min` to `retry_max`, with jitter, and is never shorter than the authority's Retry-After.
//!
//! *Never too often.* The record of an attempt is written before the order begins, so that a process that is killed and
//! started in a loop waits like one that fails. Processes that share a state directory order one at a time, under a lock
//! on a file, and read each other's records. A change of the settings, or removing the record, means: now.
//!
//! *Bounds.* One order at a time, ten minutes at most; an answer of the authority has at most 1 MiB. A look at the files
//! once a second. What an authority is shown lives as long as its order.
//!
//! *Open or closed.* A failure changes nothing that serves; it is logged, counted and shown in the admin status.

mod challenges;
mod files;
mod http;
mod order;
mod schedule;

pub use challenges::{Challenges, PATH};

use crate::telemetry::{AcmeOutcome, Metrics};
use crate::tls::{self, AcmeSettings, Challenge, Resolver, Stored, Wanted};
use order::Failure;
use parking_lot::Mutex;
use schedule::{Advice, Attempt};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long one order may take.
const ORDER: Duration = Duration::from_secs(600);
/// The wait after a failure that left no record, as on a full disk.
const UNRECORDED: Duration = Duration::from_secs(60);

/// What is to be ordered, and where its files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `[tls.acme]`.
    pub settings: AcmeSettings,
    /// Where relative paths in it start.
    pub base: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
}

impl Plan {
    fn folder(&self) -> PathBuf {
        AcmeSettings::folder(&self.state_dir)
    }
}

/// How one certificate stands, for the admin listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its names.
    pub names: Vec<String>,
    /// The end of the one in use, if there is one.
    pub not_after: Option<SystemTime>,
    /// When it is ordered next.
    pub next: SystemTime,
    /// Orders that failed since the last one that did not.
    pub failures: u32,
    /// Why the last one did.
    pub error: Option<String>,
}

/// The work on certificates.
pub struct Acme {
    challenges: Arc<Challenges>,
    resolver: Arc<Resolver>,
    metrics: Arc<Metrics>,
    /// Makes the gate read the stored certificates anew, and says whether it could.
    install: Arc<dyn Fn() -> bool + Send + Sync>,
    status: Mutex<Vec<Status>>,
    /// When this process began: what is due since long is due since then.
    begun: SystemTime,
}

/// What tells one state of a file from the next.
type Print = Option<(SystemTime, u64)>;

/// One wanted certificate as it was last seen.
#[derive(Debug, Clone)]
struct View {
    wanted: Wanted,
    print: Print,
    stored: Option<Stored>,
    attempt: Option<Attempt>,
}

impl Acme {
    /// Takes what it works with; `install` is called after each change of a stored certificate, this process's or
    /// another's, and until it says that they are in use.
    pub fn new(
        challenges: Arc<Challenges>,
        resolver: Arc<Resolver>,
        metrics: Arc<Metrics>,
        install: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let (status, begun) = (Mutex::default(), SystemTime::now());
        Self { challenges, resolver, metrics, install: Arc::new(install), status, begun }
    }

    /// How the certificates stand.
    pub fn status(&self) -> Vec<Status> {
        self.status.lock().clone()
    }

    /// Works until `stopped` turns true. A new plan ends what is going on for the old one.
    pub async fn run(self: Arc<Self>, mut plans: watch::Receiver<Plan>, mut stopped: watch::Receiver<bool>) {
        let mut first = true;
        loop {
            let plan = plans.borrow_and_update().clone();
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                changed = plans.changed() => if changed.is_err() { return },
                () = self.tend(&plan, !first) => {}
            }
            first = false;
        }
    }

    /// Keeps the certificates of one plan, without end. `anew`: whatever failed before is tried at once.
    async fn tend(&self, plan: &Plan, anew: bool) {
        let on = plan.settings.on();
        let answers = on && plan.settings.challenge == Challenge::Http01;
        self.challenges.share(answers.then(|| plan.folder().join("challenges")));
        let wanted = plan.settings.wanted(&plan.state_dir);
        self.show(&[], plan, &HashMap::new());
        if !on {
            return std::future::pending().await;
        }
        let folder = plan.folder();
        let begun = blocking(move || {
            files::prepare(&folder)?;
            if anew {
                wanted.iter().for_each(|wanted| schedule::forget(&wanted.file));
            }
            Ok(())
        });
        if let Err(error) = begun.await {
            tracing::error!("certificates cannot be kept in {}: {error}", plan.folder().display());
        }
        let (mut known, mut advice) = (HashMap::<PathBuf, View>::new(), HashMap::new());
        let (mut unrecorded, mut stale) = (None, false);
        loop {
            let before: HashMap<PathBuf, Print> = known.iter().map(|(file, view)| (file.clone(), view.print)).collect();
            let views = look(plan.clone(), known).await;
            stale |= views.iter().any(|view| before.get(&view.wanted.file).copied().flatten() != view.print);
            if stale {
                let install = self.install.clone();
                stale = !blocking(move || Ok(install())).await.unwrap_or(false);
            }
            self.show(&views, plan, &advice);
            let mut issued = false;
            for view in &views {
                self.advise(plan, view, &mut advice).await;
                let due = schedule::due(&plan.settings, view.stored.as_ref(), view.attempt.as_ref(), &advice);
                let held = unrecorded.is_some_and(|until| SystemTime::now() < until);
                if due <= SystemTime::now() && !held {
                    match self.attempt(plan, &view.wanted, &advice).await {
                        Ok(done) => issued |= done,
                        Err(error) => {
                            tracing::error!("no certificate is ordered: {}: {error}", plan.folder().display());
                            unrecorded = Some(SystemTime::now() + UNRECORDED);
                        }
                    }
                }
            }
            known = views.into_iter().map(|view| (view.wanted.file.clone(), view)).collect();
            if !issued {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Orders one certificate, if nobody else orders and it is still due. Says whether it was issued.
    ///
    /// # Errors
    /// The state directory's: nothing was ordered then, or nobody will know of it.
    async fn attempt(&self, plan: &Plan, wanted: &Wanted, advice: &HashMap<Vec<u8>, Advice>) -> std::io::Result<bool> {
        let (folder, settings) = (plan.folder(), &plan.settings);
        let lock = blocking(move || {
            files::prepare(&folder)?;
            let lock = files::lock(&folder)?;
            if lock.is_some() {
                files::tidy(&folder)?;
            }
            Ok(lock)
        });
        let Some(_lock) = lock.await? else { return Ok(false) };
        // Another process may have been quicker.
        let Some(view) = look(plan.clone(), HashMap::new()).await.into_iter().find(|view| view.wanted == *wanted)
        else {
            return Ok(false);
        };
        if schedule::due(settings, view.stored.as_ref(), view.attempt.as_ref(), advice) > SystemTime::now() {
            return Ok(false);
        }
        let names = wanted.names.join(", ");
        let mut record = schedule::begin(settings, &wanted.file, view.attempt)?;
        tracing::info!(names, directory = settings.directory, "ordering a certificate");
        let order = order::Order {
            plan,
            wanted,
            replaces: view.stored.as_ref().map(|stored| stored.der.as_slice()),
            challenges: &self.challenges,
            resolver: &self.resolver,
        };
        let ordered = match tokio::time::timeout(ORDER, Box::pin(order.run())).await {
            Ok(ordered) => ordered,
            Err(_) => Err(Failure::new(AcmeOutcome::Failed, format!("no certificate within {} s", ORDER.as_secs()))),
        };
        match ordered {
            Ok(stored) => {
                record.succeeded();
                self.metrics.acme_orders.count(AcmeOutcome::Issued);
                let end = jiff::Timestamp::try_from(stored.not_after).unwrap_or_default();
                tracing::info!(names, %end, "a certificate was issued");
                Ok(true)
            }
            Err(failure) => {
                self.metrics.acme_orders.count(failure.outcome);
                let written = record.failed(&failure.what, failure.retry_after);
                let next = jiff::Timestamp::try_from(record.next()).unwrap_or_default();
                tracing::warn!(names, %next, "no certificate was issued, what serves stays: {}", failure.what);
                written.map(|()| false)
            }
        }
    }

    /// Asks the authority when it would have a certificate renewed, as often as it wants to be asked.
    async fn advise(&self, plan: &Plan, view: &View, advice: &mut HashMap<Vec<u8>, Advice>) {
        let Some(stored) = &view.stored else { return };
        if advice.get(&stored.der).is_some_and(|advice| SystemTime::now() < advice.ask_again) {
            return;
        }
        let told = order::advice(plan, stored).await;
        if let Some(at) = told.renew_at.filter(|at| *at < SystemTime::now()) {
            let at = jiff::Timestamp::try_from(at).unwrap_or_default();
            tracing::warn!(names = view.wanted.names.join(", "), %at, "the authority wants this certificate renewed");
        }
        advice.insert(stored.der.clone(), told);
    }

    fn show(&self, views: &[View], plan: &Plan, advice: &HashMap<Vec<u8>, Advice>) {
        let status = views.iter().map(|view| Status {
            names: view.wanted.names.clone(),
            not_after: view.stored.as_ref().map(|stored| stored.not_after),
            next: schedule::due(&plan.settings, view.stored.as_ref(), view.attempt.as_ref(), advice).max(self.begun),
            failures: view.attempt.as_ref().map_or(0, |attempt| attempt.failures),
            error: view.attempt.as_ref().map(|attempt| attempt.error.clone()),
        });
        let status: Vec<Status> = status.collect();
        let mut shown = self.status.lock();
        if *shown != status {
            let due = status.iter().filter_map(|status| Some((status.names.first()?.as_str(), status.next)));
            self.metrics.acme_due(due);
            *shown = status;
        }
    }
}

/// Looks at the files of every wanted certificate; what did not change since `known` is not read again.
async fn look(plan: Plan, known: HashMap<PathBuf, View>) -> Vec<View> {
    let looked = blocking(move || {
        let views = plan.settings.wanted(&plan.state_dir).into_iter().map(|wanted| {
            let print = print(&wanted.file);
            let stored = match known.get(&wanted.file).filter(|view| view.print == print) {
                Some(view) => view.stored.clone().filter(|stored| stored.not_after > SystemTime::now()),
                None => tls::check(&wanted.file, &wanted.names, SystemTime::now()).ok(),
            };
            let attempt = Attempt::read(&wanted.file);
            View { wanted, print, stored, attempt }
        });
        Ok(views.collect())
    });
    looked.await.unwrap_or_default()
}

fn print(file: &Path) -> Print {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// Work on files, which may sit on a disk that is slow to answer, away from the threads that serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
