//! One request and its response, as facts gathered on the way. Facts are added, never taken back; stages do not see
//! this type, only what they are given from it.

use crate::audit::{Finding, Stage};
use crate::facts::{ClientAddr, Connection, Now, RequestId, UserKey};
use crate::inspect::Inspection;
use crate::limit::InFlight;
use crate::policy::Route;
use crate::request::Request;
use crate::snapshot::Snapshot;
use crate::telemetry::CacheStatus;
use crate::verdict::{Action, Mode, Quota, Refusal};
use bytes::Bytes;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How long the parts of an exchange took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Durations {
    /// In the rules, by phase 1 to 4; zero where a phase did not run.
    pub phases: [Duration; 4],
    /// From choosing a replica to its response head; `None` when none was asked.
    pub upstream: Option<Duration>,
}

/// One request and what became of it.
pub struct Exchange {
    /// The generation of stages that decides all of it.
    pub snapshot: Arc<Snapshot>,
    /// The connection it came on.
    pub connection: Arc<Connection>,
    /// When it began.
    pub now: Now,
    /// Its identifier.
    pub id: RequestId,
    /// Who is behind it.
    pub client: ClientAddr,
    /// Whom limits count.
    pub user: UserKey,
    /// The normalised view; absent when the head was refused before there was one.
    pub request: Option<Request>,
    /// The fields as they came, for the record.
    pub headers: http::HeaderMap,
    /// The method, target and protocol as they came, for the record.
    pub line: RequestLine,
    /// HTTP/1: the whole head as it was sent, which the rules read.
    pub raw: Option<Bytes>,
    /// The share of the budget for held bodies.
    pub share: Option<tokio::sync::OwnedSemaphorePermit>,
    /// Its place among the requests in flight.
    pub place: Option<InFlight>,
    /// The route it takes; `None` until it is known.
    pub route: Option<Arc<Route>>,
    /// The rules' transaction.
    pub inspection: Option<Box<Inspection>>,
    /// Whether a candidate of rules judges it too.
    pub shadowed: bool,
    /// Its body, where it is kept for that.
    pub body: Option<Bytes>,
    /// The limit that counted it.
    pub quota: Option<Quota>,
    /// The station it is at.
    pub stage: Stage,
    /// Every reason to refuse it that was found, those of detect mode included; the enforced one is the last.
    pub findings: Vec<Finding>,
    /// What refused it.
    pub refusal: Option<Refusal>,
    /// The status sent; 0 when none was.
    pub status: u16,
    /// Request body bytes read.
    pub bytes_in: u64,
    /// Response body bytes sent.
    pub bytes_out: u64,
    /// What the cache did.
    pub cache: Option<CacheStatus>,
    /// The replica that answered, or was asked last.
    pub replica: Option<Arc<str>>,
    /// Time spent.
    pub spent: Durations,
}

/// A request line as it came.
#[derive(Debug, Clone, Default)]
pub struct RequestLine {
    /// Any bytes.
    pub method: Bytes,
    /// Any bytes.
    pub target: Bytes,
    /// `"HTTP/1.1"`, `"HTTP/2"`, or whatever was sent in its place.
    pub protocol: Bytes,
}

impl Exchange {
    /// Begins an exchange, attributed to the peer until more is known.
    pub fn begin(
        snapshot: Arc<Snapshot>,
        connection: Arc<Connection>,
        line: RequestLine,
        headers: http::HeaderMap,
    ) -> Self {
        let client = ClientAddr::new(connection.peer.0.ip());
        Self {
            route: None,
            snapshot,
            connection,
            now: Now { mono: Instant::now(), wall: SystemTime::now() },
            id: RequestId::from_random(rand::random()),
            client,
            user: UserKey::Address(client.subscriber()),
            request: None,
            headers,
            line,
            raw: None,
            share: None,
            place: None,
            inspection: None,
            shadowed: false,
            body: None,
            quota: None,
            stage: Stage::Listener,
            findings: Vec::new(),
            refusal: None,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            cache: None,
            replica: None,
            spent: Durations::default(),
        }
    }

    /// Takes a station's verdict: a fact goes on; a refusal ends the request, unless the station only detects and the
    /// reason allows that. This is the one place that tells the two apart.
    pub(super) fn settle<T>(
        &mut self,
        stage: Stage,
        mode: Mode,
        verdict: Result<T, Refusal>,
    ) -> ControlFlow<Refusal, Option<T>> {
        self.stage = stage;
        match verdict {
            Ok(fact) => ControlFlow::Continue(Some(fact)),
            Err(refusal) if mode == Mode::Detect && refusal.reason.may_detect() => {
                let Refusal { reason, detail, .. } = refusal;
                self.findings.push(Finding { stage, reason, detail, enforced: false });
                ControlFlow::Continue(None)
            }
            Err(refusal) => ControlFlow::Break(refusal),
        }
    }

    /// Runs one phase of the rules, if there are any.
    pub(super) fn inspect(
        &mut self,
        stage: Stage,
        judge: impl FnOnce(&mut Inspection) -> Result<(), Refusal>,
    ) -> ControlFlow<Refusal> {
        let mode = self.snapshot.inspect.mode();
        let Some(mut inspection) = self.inspection.take() else { return ControlFlow::Continue(()) };
        let started = Instant::now();
        let verdict = judge(&mut inspection);
        let overrun = inspection.overrun();
        self.inspection = Some(inspection);
        let slot = match stage {
            Stage::RequestHead => 0,
            Stage::RequestBody => 1,
            Stage::ResponseHead => 2,
            _ => 3,
        };
        if let Some(spent) = self.spent.phases.get_mut(slot) {
            *spent = started.elapsed();
        }
        if let Some(overrun) = overrun {
            self.settle::<()>(stage, Mode::Detect, Err(overrun))?;
        }
        self.settle(stage, mode, verdict)?;
        ControlFlow::Continue(())
    }

    /// Refuses the request at the station it is at, unless it has been refused already.
    pub fn refuse(&mut self, refusal: Refusal) -> &Refusal {
        if self.refusal.is_none() {
            let (reason, detail) = (refusal.reason, refusal.detail.clone());
            self.findings.push(Finding { stage: self.stage, reason, detail, enforced: true });
        }
        self.refusal.get_or_insert(refusal)
    }

    /// The version it came in.
    pub fn version(&self) -> http::Version {
        self.request.as_ref().map_or(http::Version::HTTP_11, |request| request.version())
    }

    /// What the audit event and the metrics call the outcome.
    pub fn action(&self) -> Action {
        self.refusal.as_ref().map_or(Action::Pass, |refusal| refusal.reason.action())
    }
}
