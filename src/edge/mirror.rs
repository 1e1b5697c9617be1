//! Copies of requests for a second pool: sent beside, never waited for, their answers thrown away.
//!
//! A copy is made of an admitted request whose body was held, within the route's bounds, and sent once a replica is
//! asked for the request itself: what the cache answers is not copied. It takes no place in the request's way: whatever
//! goes wrong with it is counted, and nothing else.

use super::forward;
use super::session::ReplayBody;
use crate::balance::{Ask, Mirror, Outcome, hash};
use crate::gate::Exchange;
use crate::telemetry::{MirrorOutcome, ReplicaOutcome};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Most bytes read of an answer, and the longest a copy may take.
const ANSWER: (usize, Duration) = (1024 * 1024, Duration::from_secs(30));

/// A copy that is to be sent.
pub(super) struct Copy {
    mirror: Mirror,
    key: u64,
    request: Option<Request<Full<Bytes>>>,
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
        let request = body.filter(fits).and_then(|body| forward::straight(x, body).ok().flatten());
        let request = request.map(|request| request.map(Full::new));
        Some(Self { key: hash(x.user.to_string().as_bytes()), mirror, request })
    }

    /// Sends it, in its own time.
    pub(super) fn send(self) {
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
        tokio::spawn(async move {
            let settings = pool.settings();
            let address = lease.replica().address();
            let connected = timeout(settings.connect_timeout.0, TcpStream::connect(address)).await;
            let (outcome, counted) = match connected {
                Ok(Ok(stream)) => match timeout(settings.read_timeout.0.min(ANSWER.1), exchange(stream, request)).await
                {
                    Ok(Some(status)) => {
                        let outcome = Outcome::Answered { status: status.as_u16(), latency: now.elapsed() };
                        (outcome, ReplicaOutcome::of(status))
                    }
                    Ok(None) => (Outcome::Broken, ReplicaOutcome::BrokeOff),
                    Err(_) => (Outcome::TimedOut { after: now.elapsed() }, ReplicaOutcome::TimedOut),
                },
                _ => (Outcome::ConnectFailed, ReplicaOutcome::ConnectFailed),
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
async fn exchange(stream: TcpStream, request: Request<Full<Bytes>>) -> Option<http::StatusCode> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let answer = async {
        let (head, mut body) = sender.send_request(request).await.ok()?.into_parts();
        let mut read = 0;
        while read < ANSWER.0 {
            match body.frame().await {
                Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(_)) => return None,
                None => break,
            }
        }
        Some(head.status)
    };
    // The connection is driven here and dropped with the exchange.
    tokio::select! {
        answer = answer => answer,
        _ = async { drop(connection.await); std::future::pending::<()>().await } => None,
    }
}
