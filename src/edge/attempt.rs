//! One attempt to have a request answered: a replica is asked, and, where the pool hedges, a second one beside it; the
//! client is watched meanwhile.

use super::Edge;
use super::choose::{self, Patience};
use super::downstream::Downstream;
use super::kept::{AskError, Interim, KeptLinks, Link, Whom};
use super::outgoing::Outgoing;
use super::upload::{FOREVER, Upload, Watched, watch};
use crate::balance::{ConnectError, Lease, Outcome};
use crate::gate::Exchange;
use crate::telemetry::{HedgeOutcome, ReplicaOutcome};
use crate::verdict::{Reason, Refusal};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whom a lease says to ask.
pub(super) fn whom(lease: &Lease, answer: Duration) -> Whom<'_> {
    let settings = lease.pool().settings();
    Whom {
        replica: lease.replica(),
        transport: lease.pool().transport(),
        connect: settings.connect_timeout.0,
        answer,
        idle: settings.idle_timeout.0,
    }
}

/// Tells the balancer, and counts.
pub(super) fn told(lease: &mut Lease, outcome: Outcome, counted: ReplicaOutcome, now: Instant) {
    lease.report(outcome, now);
    lease.replica().meter().count(counted);
}

/// The same of one that was asked at `since` and gave no answer.
pub(super) fn told_of(lease: &mut Lease, error: &AskError, since: Instant) {
    let now = Instant::now();
    let after = now - since;
    let (outcome, counted) = match error {
        AskError::Connect(ConnectError::Tls(_)) => (Outcome::ConnectFailed, ReplicaOutcome::TlsFailed),
        AskError::Connect(_) => (Outcome::ConnectFailed, ReplicaOutcome::ConnectFailed),
        AskError::Late => (Outcome::TimedOut { after }, ReplicaOutcome::TimedOut),
        // A kept connection that broke says nothing about its replica, nor does one that ended before the request was
        // looked at.
        AskError::Broken { reused: true, .. } | AskError::Broken { unsent: true, .. } => {
            (Outcome::Stale, ReplicaOutcome::BrokeOff)
        }
        AskError::Broken { .. } => (Outcome::Broken, ReplicaOutcome::BrokeOff),
        AskError::Unwritable(_) => return,
    };
    told(lease, outcome, counted, now);
}

/// A second request, to be sent if the first is not answered soon.
pub(super) struct Second {
    /// After how long.
    pub(super) after: Duration,
    /// It has no body.
    pub(super) request: Request<()>,
}

/// One attempt.
pub(super) struct Try<'a> {
    pub(super) edge: &'a Edge,
    pub(super) x: &'a Exchange,
    pub(super) lease: &'a Lease,
    pub(super) patience: Patience,
    pub(super) deadline: Option<Instant>,
    /// Whether the client may get hints before the response.
    pub(super) hints: bool,
    pub(super) second: Option<Second>,
}

/// What an attempt came to.
pub(super) enum Ran {
    /// The replica's answer, or why there is none.
    First(Result<(Link, Response<()>), AskError>),
    /// The second replica's answer.
    Second {
        /// Its place with that one.
        lease: Lease,
        /// When that was asked.
        since: Instant,
        /// The answer.
        answer: (Link, Response<()>),
        /// Why the first gave none; `None`: it was too slow.
        first: Option<AskError>,
    },
}

type Answer = Result<(Link, Response<()>), AskError>;
type Asking = Pin<Box<dyn Future<Output = (Lease, Instant, Answer)> + Send>>;

/// Asks the second replica.
fn ask_second(links: Arc<KeptLinks>, lease: Lease, request: Request<()>, answer: Duration) -> Asking {
    Box::pin(async move {
        let since = Instant::now();
        let request = request.map(|()| Outgoing::Whole(Bytes::new()));
        let asked = links.ask(whom(&lease, answer), request, &Interim::default()).await;
        (lease, since, asked)
    })
}

async fn answer_of(second: &mut Option<Asking>) -> (Lease, Instant, Answer) {
    match second {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

impl Try<'_> {
    /// Asks while the client is watched. Whoever is overtaken is given up: its connection closed, or its stream reset.
    ///
    /// # Errors
    /// There is nobody left to answer, or what the client sends is refused.
    pub(super) async fn run(
        &mut self,
        session: &mut Downstream,
        mut upload: Option<&mut Upload>,
        request: Request<Outgoing>,
    ) -> Result<Ran, Refusal> {
        let interim = Interim::new(self.hints);
        let silence = self.patience.time;
        // While a body flows, its client may take the time; `upload` knows when it is the replica's turn.
        let answer = if upload.is_some() { FOREVER } else { silence };
        let hedges = &self.lease.pool().meter().hedges;
        let mut due = self.second.as_ref().map(|second| Instant::now() + second.after);
        let (mut second, mut failed): (Option<Asking>, Option<AskError>) = (None, None);
        let mut asking = pin!(self.edge.links.ask(whom(self.lease, answer), request, &interim));
        let ran = loop {
            let hint = tokio::select! {
                biased;
                asked = &mut asking, if failed.is_none() => match (asked, &second) {
                    (Err(error), Some(_)) => {
                        failed = Some(error);
                        continue;
                    }
                    (asked, second) => {
                        if second.is_some() {
                            hedges.count(HedgeOutcome::Lost);
                        }
                        break Ran::First(asked);
                    }
                },
                (mut lease, since, asked) = answer_of(&mut second) => match asked {
                    Ok(answer) => {
                        hedges.count(HedgeOutcome::Won);
                        break Ran::Second { lease, since, answer, first: failed };
                    }
                    Err(error) => {
                        second = None;
                        hedges.count(HedgeOutcome::Failed);
                        told_of(&mut lease, &error, since);
                        match failed.take() {
                            Some(error) => break Ran::First(Err(error)),
                            None => continue,
                        }
                    }
                },
                watched = watch(upload.as_deref_mut(), session, silence) => match watched {
                    Watched::Refused(refusal) => return Err(refusal),
                    Watched::Silent => return Ok(Ran::First(Err(AskError::Late))),
                },
                () = self.lease.replica().death(), if self.patience.others && second.is_none() => {
                    return Ok(Ran::First(Err(AskError::Late)));
                }
                () = over(self.deadline) => return Err(given_up()),
                () = over(due), if due.is_some() => {
                    due = None;
                    if let Some(Second { request, .. }) = self.second.take()
                        && let Some(lease) = choose::second(self.x, self.lease)
                    {
                        second = Some(ask_second(Arc::clone(&self.edge.links), lease, request, silence));
                    }
                    continue;
                }
                hint = interim.next(), if self.hints => hint,
            };
            early(session, hint).await?;
        };
        while let Some(hint) = interim.take() {
            early(session, hint).await?;
        }
        if let Some(upload) = upload {
            upload.touch();
        }
        Ok(ran)
    }
}

/// Passes on the links of a 103 (RFC 8297).
async fn early(session: &mut Downstream, links: HeaderMap) -> Result<(), Refusal> {
    session.hints(links).await.map_err(|e| Refusal::new(Reason::Aborted, e.to_string()))
}

/// Ends at that time, if there is one.
pub(super) async fn over(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// The client has given up, as it said it would.
pub(super) fn given_up() -> Refusal {
    Refusal::new(Reason::UpstreamTimeout, "the deadline that the client set is over")
}
