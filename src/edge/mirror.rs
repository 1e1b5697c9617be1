//! Copies of requests for a second pool: sent beside, never waited for, their answers thrown away.
//!
//! A copy is made of an admitted request whose body was held, within the route's bounds, and sent once a replica is
//! asked for the request itself: what the cache answers is not copied. It takes no place in the request's way: whatever
//! goes wrong with it is counted, and nothing else.

use super::forward;
use super::kept::{AskError, Interim, KeptLinks, Piece, Whom};
use super::outgoing::Outgoing;
use super::session::ReplayBody;
use crate::balance::{Ask, ConnectError, Mirror, Outcome, hash};
use crate::gate::Exchange;
use crate::telemetry::{MirrorOutcome, ReplicaOutcome};
use bytes::Bytes;
use http::Request;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Most bytes read of an answer, and the longest a copy may take.
const ANSWER: (usize, Duration) = (1024 * 1024, Duration::from_secs(30));

/// A copy that is to be sent.
pub(super) struct Copy {
    mirror: Mirror,
    key: u64,
    request: Option<Request<Outgoing>>,
}

impl Copy {
    /// The copy of a request, if its route wants one of it; `body` where it is at hand.
    pub(super) fn of(x: &Exchange, body: Option<&ReplayBody>) -> Option<Self> {
        let traffic = x.snapshot.traffic.get(x.route.as_ref()?.index)?;
        let mirror = traffic.mirror(rand::random())?.clone();
        let fits = |body: &&ReplayBody| match body {
            ReplayBody::Held(bytes) => bytes.len() <= mirror.max_body,
            ReplayBody::Streaming => true,
        };
        let request = body.filter(fits).and_then(|body| {
            let bytes = match body {
                ReplayBody::Held(bytes) => bytes.clone(),
                ReplayBody::Streaming => Bytes::new(),
            };
            forward::straight(x, body).ok().flatten().map(|request| request.map(|()| Outgoing::Whole(bytes)))
        });
        Some(Self { key: hash(x.user.to_string().as_bytes()), mirror, request })
    }

    /// Sends it, in its own time.
    pub(super) fn send(self, links: &Arc<KeptLinks>) {
        let meter = self.mirror.pool.meter().clone();
        let Some(request) = self.request else {
            meter.mirrored.count(MirrorOutcome::TooLarge);
            return;
        };
        let Ok(place) = self.mirror.places.clone().try_acquire_owned() else {
            meter.mirrored.count(MirrorOutcome::Busy);
            return;
        };
        let pool = self.mirror.pool;
        let now = Instant::now();
        let dice = rand::random();
        let ask = Ask { now, tried: &[], key: self.key, cookie: None, idempotent: true, dice };
        let Some(mut lease) = pool.try_acquire(ask) else {
            meter.mirrored.count(MirrorOutcome::Failed);
            return;
        };
        let links = Arc::clone(links);
        tokio::spawn(async move {
            let settings = pool.settings();
            let whom = Whom {
                replica: lease.replica(),
                transport: pool.transport(),
                connect: settings.connect_timeout.0,
                answer: ANSWER.1,
                idle: settings.idle_timeout.0,
            };
            let exchanged = timeout(settings.read_timeout.0.min(ANSWER.1), exchange(&links, whom, request)).await;
            let (outcome, counted) = match exchanged {
                Ok(Ok(status)) => {
                    let outcome = Outcome::Answered { status: status.as_u16(), latency: now.elapsed() };
                    (outcome, ReplicaOutcome::of(status))
                }
                Ok(Err(AskError::Connect(ConnectError::Tls(_)))) => (Outcome::ConnectFailed, ReplicaOutcome::TlsFailed),
                Ok(Err(AskError::Connect(_))) => (Outcome::ConnectFailed, ReplicaOutcome::ConnectFailed),
                Ok(Err(AskError::Broken { reused: true, .. })) => (Outcome::Stale, ReplicaOutcome::BrokeOff),
                Ok(Err(AskError::Broken { .. } | AskError::Unwritable(_))) => {
                    (Outcome::Broken, ReplicaOutcome::BrokeOff)
                }
                Ok(Err(AskError::Late)) | Err(_) => {
                    (Outcome::TimedOut { after: now.elapsed() }, ReplicaOutcome::TimedOut)
                }
            };
            lease.report(outcome, Instant::now());
            lease.replica().meter().count(counted);
            let answered = matches!(outcome, Outcome::Answered { .. });
            meter.mirrored.count(if answered { MirrorOutcome::Answered } else { MirrorOutcome::Failed });
            drop(place);
        });
    }
}

/// Sends the request and reads the answer to its end, or as far as is read.
async fn exchange(links: &KeptLinks, whom: Whom<'_>, request: Request<Outgoing>) -> Result<http::StatusCode, AskError> {
    let (mut link, response) = links.ask(whom, request, &Interim::default()).await?;
    let mut read = 0;
    while read < ANSWER.0 {
        match link.next(ANSWER.1).await? {
            Piece::Data(data, false) => read += data.len(),
            Piece::Data(_, true) | Piece::Trailers(_) | Piece::End => {
                links.keep(link, whom.idle);
                break;
            }
        }
    }
    Ok(response.status())
}
