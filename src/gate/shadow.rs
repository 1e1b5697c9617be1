//! Shadow rules: a candidate judges a share of real requests beside the rules in force, and never answers one.
//!
//! In go exchanges that are over, with their held bodies; out come counts of where the two verdicts differ, the last
//! differences for the admin listener, and the audit events of these exchanges, which wait until the candidate has
//! spoken. What is compared is what the request would be refused for, in whatever mode the gate runs.
//!
//! - *Cost on the request's way:* one draw of the dice, and a reference to its body. The candidate runs on one thread of
//!   its own, after the answer: it takes one core at most.
//! - *Memory:* at most [`MOST_JOBS`] exchanges and [`MOST_BYTES`] of bodies wait; those of admitted requests count on the
//!   budget for held bodies until then. [`MOST_KEPT`] differences are kept, each of at most some kilobytes.
//! - *Failing:* open, always: with no room, or after a panic of the candidate, the exchange is not compared, and counted.

use super::admit::{known, media_type, opened};
use super::exchange::Exchange;
use crate::audit::{Audit, Event, Shadowed};
use crate::inspect::Inspection;
use crate::snapshot::Candidate;
use crate::telemetry::{Metrics, ShadowOutcome};
use crate::verdict::{Reason, Refusal};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Exchanges that wait, at most.
const MOST_JOBS: usize = 64;
/// Bytes of bodies that wait, at most.
const MOST_BYTES: usize = 16 << 20;
/// Differences that are kept.
const MOST_KEPT: usize = 256;
/// Rules and fields that one verdict names.
const MOST_NAMED: usize = 32;
/// Most bytes of a field as a verdict names it.
const FIELD_BYTES: usize = 160;

/// What one of the two says of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why it would be refused; `None` where it would pass.
    pub reason: Option<&'static str>,
    /// The rules that matched and log.
    pub rules: BTreeSet<u64>,
    /// The fields that are not what they should be, as `query q (short(300)): attack`; names are the client's.
    pub fields: Vec<String>,
}

/// A request of which the two do not say the same.
#[derive(Debug, Clone)]
pub struct Difference {
    /// When it began.
    pub at: SystemTime,
    /// Its identifier.
    pub id: String,
    /// Its route.
    pub route: String,
    /// Which of the two refuses it.
    pub outcome: ShadowOutcome,
    /// What is in force.
    pub live: Verdict,
    /// What the candidate would do.
    pub shadow: Verdict,
}

/// An exchange that is over, to be judged by the candidate.
pub(super) struct Job {
    x: Box<Exchange>,
    live: Verdict,
    event: Event,
    relevant: bool,
}

/// The queue, its thread, and the last differences.
pub struct Shadow {
    queue: Mutex<Queue>,
    changed: Condvar,
    last: Mutex<VecDeque<Difference>>,
    metrics: Arc<Metrics>,
    audit: Arc<Audit>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    busy: bool,
    /// Whether a thread takes jobs.
    served: bool,
}

impl Queue {
    /// Whether one more with a body of so many bytes may wait.
    fn has_room(&self, size: usize) -> bool {
        self.served && self.jobs.len() < MOST_JOBS && self.bytes + size <= MOST_BYTES
    }
}

impl Shadow {
    /// Starts the thread. Without one nothing is compared.
    pub(super) fn start(metrics: Arc<Metrics>, audit: Arc<Audit>) -> Arc<Self> {
        let shadow =
            Arc::new(Self { queue: Mutex::default(), changed: Condvar::new(), last: Mutex::default(), metrics, audit });
        let weak = Arc::downgrade(&shadow);
        let thread = std::thread::Builder::new().name("gatehouse-shadow".to_owned()).spawn(move || {
            // Ends with the gate: looks now and then whether there still is one.
            while let Some(shadow) = weak.upgrade() {
                shadow.serve(Duration::from_millis(500));
            }
        });
        match thread {
            Ok(_) => shadow.queue.lock().served = true,
            Err(error) => tracing::error!(%error, "no thread for shadow rules: nothing is compared"),
        }
        shadow
    }

    /// Takes an exchange that is over; gives its event back where there is no room.
    pub(super) fn take(&self, x: Box<Exchange>, live: Verdict, event: Event, relevant: bool) -> Result<(), Box<Event>> {
        let size = x.body.as_ref().map_or(0, Bytes::len);
        let mut queue = self.queue.lock();
        if !queue.has_room(size) {
            drop(queue);
            self.count(&x, ShadowOutcome::Dropped);
            return Err(Box::new(event));
        }
        queue.bytes += size;
        queue.jobs.push_back(Job { x, live, event, relevant });
        self.changed.notify_all();
        Ok(())
    }

    /// Counts an exchange that cannot be compared.
    pub(super) fn count(&self, x: &Exchange, outcome: ShadowOutcome) {
        self.metrics.shadow(x.route.as_ref().map(|route| &route.name), outcome);
    }

    /// The last differences, the latest first.
    pub fn differences(&self) -> Vec<Difference> {
        self.last.lock().iter().rev().cloned().collect()
    }

    /// Waits until nothing waits; whether that came in time. At the end, so that no event is lost.
    pub fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut queue = self.queue.lock();
        while queue.busy || !queue.jobs.is_empty() {
            if self.changed.wait_until(&mut queue, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    /// Judges one exchange, or waits for one.
    fn serve(&self, wait: Duration) {
        let mut queue = self.queue.lock();
        if queue.jobs.is_empty() {
            self.changed.wait_for(&mut queue, wait);
        }
        let Some(job) = queue.jobs.pop_front() else { return };
        queue.bytes = queue.bytes.saturating_sub(job.x.body.as_ref().map_or(0, Bytes::len));
        queue.busy = true;
        drop(queue);
        self.judge(job);
        self.queue.lock().busy = false;
        self.changed.notify_all();
    }

    fn judge(&self, job: Job) {
        let Job { x, live, mut event, relevant } = job;
        let snapshot = x.snapshot.clone();
        let judged = snapshot.shadow.as_ref().and_then(|candidate| {
            // Nothing of the exchange is used after a panic but what it was before.
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| verdict(candidate, &x))).ok()
        });
        let Some(shadow) = judged else {
            self.count(&x, ShadowOutcome::Dropped);
            if self.audit.wants(relevant) {
                self.audit.record(event);
            }
            return;
        };
        let outcome = match (live.reason, shadow.reason) {
            (Some(_), None) => ShadowOutcome::OnlyLive,
            (None, Some(_)) => ShadowOutcome::OnlyShadow,
            _ => ShadowOutcome::Same,
        };
        self.count(&x, outcome);
        if outcome != ShadowOutcome::Same {
            let (by, other) = if outcome == ShadowOutcome::OnlyLive { (&live, &shadow) } else { (&shadow, &live) };
            self.metrics.shadow_rules(by.rules.difference(&other.rules).copied(), outcome);
            event.shadow = Some(Shadowed {
                outcome: outcome.as_str(),
                reason: shadow.reason,
                rules: shadow.rules.iter().copied().take(MOST_NAMED).collect(),
                fields: shadow.fields.iter().map(|field| Bytes::copy_from_slice(field.as_bytes())).collect(),
            });
            let mut last = self.last.lock();
            if last.len() >= MOST_KEPT {
                last.pop_front();
            }
            last.push_back(Difference {
                at: x.now.wall,
                id: x.id.as_str().to_owned(),
                route: x.route.as_ref().map(|route| route.name.0.to_string()).unwrap_or_default(),
                outcome,
                live,
                shadow,
            });
        }
        if self.audit.wants(relevant || outcome != ShadowOutcome::Same) {
            self.audit.record(event);
        }
    }
}

/// What the rules in force say, before their transaction is gone; `None` where there is nothing to compare, because
/// something else ended the request first or its body was not read.
pub(super) fn live(x: &Exchange) -> Option<Verdict> {
    let judged = |reason: &Reason| {
        matches!(
            reason,
            Reason::Policy | Reason::MethodNotAllowed | Reason::MediaType | Reason::Field(_) | Reason::RequestRules(_)
        )
    };
    let found = x.findings.iter().find(|finding| judged(&finding.reason)).map(|finding| finding.reason);
    // What came after the rules let the request pass.
    let later = |reason: &Reason| {
        matches!(
            reason,
            Reason::ResponseRules(_)
                | Reason::NoReplica
                | Reason::UpstreamFailed
                | Reason::UpstreamTimeout
                | Reason::NotStored
                | Reason::Aborted
        )
    };
    let ended = x.refusal.as_ref().map(|refusal| refusal.reason);
    if ended.is_some_and(|reason| !(judged(&reason) || later(&reason) && x.inspection.is_some())) {
        return None;
    }
    let has_body = x.bytes_in > 0
        || x.headers.contains_key(http::header::TRANSFER_ENCODING)
        || x.headers.get(http::header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    if x.body.is_none() && has_body {
        return None;
    }
    let mut verdict = x.inspection.as_deref().map(seen).unwrap_or_default();
    verdict.reason = found.map(Reason::as_str);
    Some(verdict)
}

/// What the candidate says.
fn verdict(candidate: &Candidate, x: &Exchange) -> Verdict {
    let refused = |refusal: &Refusal| Some(refusal.reason.as_str());
    let known = match x.request.as_ref().map(|request| known(candidate.fields.as_ref(), request)) {
        Some(Ok(known)) => known,
        Some(Err(refusal)) => return Verdict { reason: refused(&refusal), ..Verdict::default() },
        None => None,
    };
    let Some(mut inspection) = opened(x, &candidate.inspect) else { return Verdict::default() };
    if let Some(known) = &known {
        inspection.hold_against(known.fields(), known.path());
    }
    let body = x.body.clone().unwrap_or_default();
    let mut first = inspection.head().err();
    if first.is_none()
        && let Some(known) = known.as_ref().filter(|_| !body.is_empty())
    {
        let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
        if known.max_body().is_some_and(|most| size > most) {
            first = Some(Refusal::new(Reason::BodyTooLarge, ""));
        }
        first = first.or_else(|| known.takes_body(media_type(&x.headers)).err());
    }
    first = first.or_else(|| inspection.body(&body).err()).or_else(|| inspection.field());
    let mut verdict = seen(&inspection);
    verdict.reason = first.as_ref().and_then(refused);
    verdict
}

/// What an inspection found, with nothing said of a refusal.
fn seen(inspection: &Inspection) -> Verdict {
    let refuses = |note: &&gatehouse_waf::FieldNote| note.verdict.refuses();
    let field = |note: &gatehouse_waf::FieldNote| {
        let mut text = format!("{} {} ({}): {}", note.place, note.name, note.class(), note.verdict.as_str());
        if text.len() > FIELD_BYTES {
            let cut = (0..=FIELD_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(cut);
        }
        text
    };
    Verdict {
        reason: None,
        // A response is shown to the rules in force alone.
        rules: inspection.matches().filter(|matched| matched.phase.number() <= 2).map(|matched| matched.id).collect(),
        fields: inspection.fields().iter().filter(refuses).take(MOST_NAMED).map(field).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_wait_are_bounded_and_without_a_thread_nothing_waits() {
        for (served, bytes, size, room) in [
            (true, 0, 0, true),
            (true, 0, MOST_BYTES, true),
            (true, 0, MOST_BYTES + 1, false),
            (true, MOST_BYTES, 1, false),
            (true, MOST_BYTES, 0, true),
            (false, 0, 0, false),
        ] {
            let queue = Queue { jobs: VecDeque::new(), bytes, busy: false, served };
            assert_eq!(queue.has_room(size), room, "{served} {bytes} {size}");
        }
    }
}
