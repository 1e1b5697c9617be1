//! Audit: one event for each transaction that matters, masked and written as a line of JSON.
//!
//! Comes last: after the answer, the gate fills an [`Event`] with the facts it gathered and hands it to
//! [`Audit::record`] by value. Encoding, masking and writing happen on one thread of its own, so the request path pays
//! for building the event and one short lock; only where events come faster than one thread encodes them does whoever
//! brings one encode it, so that refusals are slowed down rather than unrecorded. [`Audit::wants`] tells beforehand whether an event would be kept at all.
//!
//! - *In:* typed facts; texts from the network as raw bytes. *Out:* a file of JSON lines, keys after the Elastic Common
//!   Schema 8.17, described in `docs/audit.md`.
//! - *Memory:* at most `queue` events and `queue_bytes` bytes wait or are being written; one encoded event is cut to
//!   about `max_event`, and one batch to 256 KiB and an event.
//! - *Failing:* a file that cannot be written is tried again, forever, with a growing pause, while the queue holds. A
//!   full queue loses events, and each loss is counted, logged, and told in the file (`gatehouse.lost`); traffic goes on (open), because an audit disk must
//!   not take the service down. With `on_full = "refuse"` the gate asks [`Audit::has_room`] first and answers 503
//!   (closed), for sites where what is not recorded must not happen.
//! - *What survives:* a stop through [`Audit::close`] loses nothing; a killed process loses what waits in the queue; the
//!   file is synced at close only.
//!
//! Masking cannot be switched off; see [`redact`].

mod encode;
mod event;
mod queue;
pub mod redact;
mod text;
mod writer;

pub use event::{Durations, Event, FieldFound, Finding, RuleMatch, Severity, Shadowed, Stage, Tls};

use crate::fault::Fault;
use crate::telemetry::{AuditMetrics, AuditOutcome};
use crate::units::ByteSize;
use queue::{Limits, Queue};
use redact::Redactor;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a full queue means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFull {
    /// Traffic goes on; the event is lost, counted and logged.
    #[default]
    Pass,
    /// New requests get 503 until there is room again.
    Refuse,
}

/// What is masked besides the built-in names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redact {
    /// Header fields whose value is a secret.
    pub headers: Vec<String>,
    /// Parameters and fields whose value is a secret: in queries, forms, JSON, XML and multipart bodies.
    pub parameters: Vec<String>,
}

/// What the `[audit]` section says. Relative paths are relative to the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether events are recorded at all.
    pub enabled: bool,
    /// The file events are appended to, one JSON object a line; made with mode 0640, its folder with 0750.
    pub file: PathBuf,
    /// How many events may wait to be written; at least 1.
    pub queue: usize,
    /// How many bytes of events may wait to be written; at least 64KiB.
    pub queue_bytes: ByteSize,
    /// About how large one event may be; texts are cut to fit. 4KiB to 16MiB.
    pub max_event: ByteSize,
    /// Whether only refused and failed requests, and those with findings, are recorded; `false`: every transaction.
    pub relevant_only: bool,
    /// `pass`: a full queue loses events; `refuse`: it refuses requests.
    pub on_full: OnFull,
    /// What is masked besides the built-in names.
    pub redact: Redact,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            file: "state/audit.jsonl".into(),
            queue: 65_536,
            queue_bytes: ByteSize::mib(64),
            max_event: ByteSize::kib(256),
            relevant_only: true,
            on_full: OnFull::Pass,
            redact: Redact::default(),
        }
    }
}

impl Settings {
    /// Checks the settings without touching any file.
    ///
    /// # Errors
    ///
    /// Every key that cannot be right.
    pub fn check(&self) -> Result<(), Vec<Fault>> {
        let mut faults = Vec::new();
        if self.queue == 0 {
            faults.push(Fault::key("queue", "the queue has no room", "write at least 1, or enabled = false"));
        }
        if self.queue_bytes < ByteSize::kib(64) {
            let what = format!("a queue of {} holds no event with long headers", self.queue_bytes);
            faults.push(Fault::key("queue_bytes", what, "write at least \"64KiB\""));
        }
        if !(ByteSize::kib(4)..=ByteSize::mib(16)).contains(&self.max_event) {
            let what = format!("events of {} are out of range", self.max_event);
            faults.push(Fault::key("max_event", what, "write \"4KiB\" to \"16MiB\""));
        }
        if self.file.as_os_str().is_empty() {
            faults.push(Fault::key("file", "the path is empty", "name a file, or write enabled = false"));
        }
        let names = [("headers", &self.redact.headers), ("parameters", &self.redact.parameters)];
        for (list, names) in names {
            for (n, _) in names.iter().enumerate().filter(|(_, name)| name.trim().is_empty()) {
                faults.push(Fault::key(format!("redact.{list}[{n}]"), "the name is empty", "remove it"));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn limits(&self) -> Limits {
        Limits { events: self.queue, bytes: self.queue_bytes.bytes() }
    }

    fn style(&self) -> Arc<writer::Style> {
        let redactor = Redactor::new(&self.redact.headers, &self.redact.parameters);
        Arc::new(writer::Style { redactor, max_event: self.max_event.bytes() })
    }
}

/// Records events. Made once, outlives all snapshots, shared by reference.
#[derive(Debug)]
pub struct Audit {
    /// `None`: nothing is recorded.
    queue: Option<Arc<Queue>>,
    style: Arc<parking_lot::RwLock<Arc<writer::Style>>>,
    metrics: AuditMetrics,
    relevant_only: AtomicBool,
    refuse_when_full: AtomicBool,
    enabled: bool,
    file: PathBuf,
}

impl Audit {
    /// Opens the file and starts the writer.
    ///
    /// # Errors
    ///
    /// Settings that cannot be right, a file that cannot be opened for appending, or no thread to be had.
    pub fn build(settings: &Settings, base: &Path, metrics: AuditMetrics) -> Result<Self, Vec<Fault>> {
        settings.check()?;
        let mut audit = Self {
            queue: None,
            style: Arc::new(parking_lot::RwLock::new(settings.style())),
            metrics,
            relevant_only: settings.relevant_only.into(),
            refuse_when_full: (settings.on_full == OnFull::Refuse).into(),
            enabled: settings.enabled,
            file: base.join(&settings.file),
        };
        if settings.enabled {
            let sink = writer::Lines::open(&audit.file).map_err(|error| {
                let what = format!("{} cannot be opened for appending: {error}", audit.file.display());
                vec![Fault::key("file", what, "name a file the gate may write")]
            })?;
            audit.start(sink, settings.limits()).map_err(|error| {
                vec![Fault::key("", format!("the writer cannot be started: {error}"), "raise the limit of threads")]
            })?;
        }
        Ok(audit)
    }

    /// What [`Audit::build`] would find wrong, without making a file or a thread.
    pub fn verify(settings: &Settings, base: &Path) -> Vec<Fault> {
        let mut faults = settings.check().err().unwrap_or_default();
        let file = base.join(&settings.file);
        if settings.enabled && file.is_dir() {
            faults.push(Fault::key("file", format!("{} is a folder", file.display()), "name a file in it"));
        }
        // The nearest folder that exists decides whether the rest can be made.
        let above = file.ancestors().skip(1).find(|folder| folder.exists());
        if let Some(above) = above.filter(|above| settings.enabled && !above.is_dir() && !above.as_os_str().is_empty())
        {
            let what = format!("{} is no folder, so {} cannot be made", above.display(), file.display());
            faults.push(Fault::key("file", what, "name a file the gate may write"));
        }
        faults
    }

    fn start(&mut self, sink: impl writer::Sink + 'static, limits: Limits) -> std::io::Result<()> {
        let queue = Arc::new(Queue::new(limits, self.metrics.clone()));
        let writer = writer::Writer {
            queue: Arc::clone(&queue),
            sink,
            style: Arc::clone(&self.style),
            metrics: self.metrics.clone(),
            notice: writer::Notice::new(&self.metrics),
        };
        std::thread::Builder::new().name("audit".into()).spawn(move || writer.run())?;
        self.queue = Some(queue);
        Ok(())
    }

    /// Takes over what a reload changed; the names of changed keys that only a restart can take over.
    ///
    /// # Errors
    ///
    /// Settings that cannot be right; nothing is changed then.
    pub fn apply(&self, settings: &Settings, base: &Path) -> Result<Vec<&'static str>, Vec<Fault>> {
        settings.check()?;
        self.relevant_only.store(settings.relevant_only, Ordering::Relaxed);
        self.refuse_when_full.store(settings.on_full == OnFull::Refuse, Ordering::Relaxed);
        *self.style.write() = settings.style();
        if let Some(queue) = &self.queue {
            queue.limit(settings.limits());
        }
        let mut restart = Vec::new();
        if settings.enabled != self.enabled {
            restart.push("enabled");
        }
        if settings.enabled && base.join(&settings.file) != self.file {
            restart.push("file");
        }
        Ok(restart)
    }

    /// Whether an event would be recorded, by whether it is [`Event::relevant`]; asked before one is built.
    pub fn wants(&self, relevant: bool) -> bool {
        self.queue.is_some() && (relevant || !self.relevant_only.load(Ordering::Relaxed))
    }

    /// Whether a new request may be let in. Always, unless `on_full = "refuse"` and the queue is seven eighths full: the
    /// rest is for requests that were let in before.
    pub fn has_room(&self) -> bool {
        !self.refuse_when_full.load(Ordering::Relaxed) || self.queue.as_ref().is_none_or(|queue| queue.has_room())
    }

    /// Hands over an event; never waits, but may encode it itself. `false` if it was lost because the queue was full or closed. An event that is
    /// not [wanted](Self::wants) is not recorded and not lost.
    pub fn record(&self, event: Event) -> bool {
        let Some(queue) = self.queue.as_ref().filter(|_| self.wants(event.relevant() || event.shadow.is_some())) else {
            return true;
        };
        let style = || Arc::clone(&self.style.read());
        let taken = queue.push(event, |event| {
            let mut line = Vec::new();
            style().encode(event, &mut line).then_some(line)
        });
        if !taken {
            self.metrics.events.count(AuditOutcome::Lost);
        }
        taken
    }

    /// Events taken and not yet written.
    pub fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.held())
    }

    /// Opens the file anew, for log rotation: what is taken from now on goes to a new file if the old one was renamed.
    pub fn reopen(&self) {
        if let Some(queue) = &self.queue {
            queue.reopen();
        }
    }

    /// Waits until all events taken so far are written or given up; `false` if that took longer than `timeout`. Blocks the thread.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.queue.as_ref().is_none_or(|queue| queue.wait_settled(Instant::now() + timeout))
    }

    /// Takes no more events, writes what waits and ends the writer; `false` if something was lost by `timeout`. Blocks
    /// the thread. May be called again.
    pub fn close(&self, timeout: Duration) -> bool {
        let Some(queue) = &self.queue else { return true };
        let lost = self.metrics.events.get(AuditOutcome::Lost);
        let deadline = Instant::now() + timeout;
        queue.close(deadline);
        // A writer that gives up at the deadline still has to count what it loses.
        let ended = queue.wait_finished(deadline + Duration::from_secs(1));
        ended && self.metrics.events.get(AuditOutcome::Lost) == lost
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.close(Duration::from_secs(1));
    }
}

#[cfg(test)]
mod tests;
