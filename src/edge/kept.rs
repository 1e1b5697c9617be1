//! Connections to replicas that outlive an exchange, for exchanges that take nothing of the base's proxy (`relay`).
//!
//! An HTTP/1.1 connection ([`link`](super::link)) belongs to the exchange that uses it. While it is kept nobody drives it; a
//! sweep looks after those that a replica closed, or that were not used for the pool's idle limit. HTTP/2 connections are
//! shared ([`trunk`](super::trunk)).
//!
//! A connection is kept for its replica and for how that is spoken to ([`Transport`]): what was begun under other terms, as
//! another authority's, is not used again.

use super::link;
use super::outgoing::Outgoing;
use super::trunk::{Place, Stream, Trunk};
use crate::balance::{ConnectError, Replica, Transport};
use bytes::Bytes;
use dashmap::DashMap;
use http::{HeaderMap, Request, Response, StatusCode, header};
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// HTTP/1.1 connections kept to all replicas together.
const KEPT: usize = 1024;
/// Interim responses of one exchange that are passed on; more are dropped.
const INTERIM: usize = 4;

/// What broke a connection or stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// Of an HTTP/1.1 connection.
    #[error("{0}")]
    Http1(io::Error),
    /// Of an HTTP/2 connection or stream.
    #[error("{0}")]
    H2(h2::Error),
}

/// Why a replica gave no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// No connection: it heard nothing of the request.
    #[error("connecting to the replica failed: {0}")]
    Connect(ConnectError),
    /// The connection or stream broke, or what came was no HTTP.
    #[error("the replica's answer broke off: {error}")]
    Broken {
        /// What happened.
        error: Fault,
        /// It had been kept from an earlier exchange, and may just have been closed for its age.
        reused: bool,
        /// Nothing of the request left, or the replica says that it did not look at it.
        unsent: bool,
        /// It refused this stream; others on the connection go on.
        refused: bool,
    },
    /// The request cannot be written in the replica's protocol.
    #[error("{0}")]
    Unwritable(&'static str),
    /// It was silent for too long.
    #[error("the replica did not answer in time")]
    Late,
}

/// What comes next of a response's body.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes, and whether they are the last.
    Data(Bytes, bool),
    /// The trailer section, which is the end.
    Trailers(HeaderMap),
    /// The end.
    End,
}

/// The hints of interim responses on their way to a client (RFC 8297): of each its `Link` fields, which are all that a
/// client may act on before the response is judged.
#[derive(Debug, Default)]
pub(super) struct Interim {
    wanted: bool,
    /// How many came, and those that were not taken yet.
    heads: Mutex<(usize, Vec<HeaderMap>)>,
}

impl Interim {
    /// Where they are passed on only if `wanted`.
    pub(super) fn new(wanted: bool) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Takes one up.
    pub(super) fn note(&self, status: StatusCode, headers: &HeaderMap) {
        if status != StatusCode::EARLY_HINTS || !self.wanted {
            return;
        }
        let links: HeaderMap =
            headers.get_all(header::LINK).iter().map(|value| (header::LINK, value.clone())).collect();
        let mut heads = self.heads.lock();
        if !links.is_empty() && heads.0 < INTERIM {
            heads.0 += 1;
            heads.1.push(links);
        }
    }

    /// The next one that comes. To be polled after what takes them up, by the same task: nothing else wakes it.
    pub(super) async fn next(&self) -> HeaderMap {
        std::future::poll_fn(|_| self.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// One that has come.
    pub(super) fn take(&self) -> Option<HeaderMap> {
        let mut heads = self.heads.lock();
        (!heads.1.is_empty()).then(|| heads.1.remove(0))
    }
}

/// Whom to ask, and for how long.
#[derive(Clone, Copy)]
pub(super) struct Whom<'a> {
    /// The replica.
    pub(super) replica: &'a Replica,
    /// How it is spoken to.
    pub(super) transport: &'a Arc<Transport>,
    /// Time to connect.
    pub(super) connect: Duration,
    /// Time from then on to the response's head.
    pub(super) answer: Duration,
    /// How long a connection may be unused.
    pub(super) idle: Duration,
}

impl Whom<'_> {
    fn key(&self) -> Key {
        (self.replica.address(), self.transport.id())
    }
}

/// An exchange's way to its replica.
pub(super) enum Link {
    /// A connection of its own.
    Whole(Box<link::Link>),
    /// A stream of a shared one.
    Stream(Box<Stream>),
}

impl Link {
    /// The next of the response's body.
    ///
    /// # Errors
    /// [`AskError`]: `Late` when nothing came for `limit`.
    pub(super) async fn next(&mut self, limit: Duration) -> Result<Piece, AskError> {
        match self {
            Self::Whole(link) => link.next(limit).await,
            Self::Stream(stream) => timeout(limit, stream.next()).await.unwrap_or(Err(AskError::Late)),
        }
    }

    /// Whether the response's body has ended, as far as is known without waiting.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Whole(link) => link.is_done(),
            Self::Stream(stream) => stream.has_ended(),
        }
    }

    /// What a replica may have sent ahead of a client that takes nothing, in bytes.
    pub(super) fn ahead(&self) -> usize {
        match self {
            Self::Whole(_) => 0,
            Self::Stream(_) => super::trunk::STREAM_WINDOW as usize,
        }
    }
}

/// A replica, and how it is spoken to.
pub(super) type Key = (SocketAddr, u32);

/// The shared connections to one replica.
#[derive(Default)]
struct Trunks {
    list: Mutex<Vec<Arc<Trunk>>>,
    /// Held while one is begun: those who come meanwhile wait for it instead of beginning their own.
    beginning: tokio::sync::Mutex<()>,
    /// It chose HTTP/1.1 when it was asked last.
    single: AtomicBool,
}

impl Trunks {
    fn place(&self) -> Option<Place> {
        let mut list = self.list.lock();
        list.retain(|trunk| trunk.stands());
        list.iter().find_map(Trunk::place)
    }
}

/// The connections that are kept. Any number of exchanges may take and keep at once.
#[derive(Default)]
pub(super) struct KeptLinks {
    #[expect(clippy::vec_box, reason = "a link moves from exchange to exchange, and none keeps room for a whole one")]
    links: DashMap<Key, Vec<Box<link::Link>>>,
    count: AtomicUsize,
    trunks: DashMap<Key, Arc<Trunks>>,
}

/// A connection found or made.
enum Way {
    Whole(Box<link::Link>),
    Place(Place, bool),
}

impl KeptLinks {
    /// Sends `request`, over a connection that is there if there is one.
    ///
    /// # Errors
    /// [`AskError`].
    pub(super) async fn ask(
        &self,
        whom: Whom<'_>,
        request: Request<Outgoing>,
        interim: &Interim,
    ) -> Result<(Link, Response<()>), AskError> {
        let now = Instant::now();
        let kept = (!whom.transport.may_multiplex()).then(|| self.take(whom.key(), now)).flatten();
        let (way, begun) = match kept {
            Some(link) => (Way::Whole(link), now),
            // Apart, so that who has a connection keeps no room for it.
            None => (Box::pin(self.way(whom)).await?, Instant::now()),
        };
        match way {
            Way::Whole(mut link) => {
                let response = link.send(request, begun + whom.answer, interim).await?;
                Ok((Link::Whole(link), response))
            }
            Way::Place(place, reused) => {
                let asking = async {
                    let mut stream = Box::new(Stream::open(place, request, whom.transport, reused).await?);
                    let response = stream.head(interim).await?;
                    Ok((Link::Stream(stream), response))
                };
                Box::pin(timeout(whom.answer, asking)).await.unwrap_or(Err(AskError::Late))
            }
        }
    }

    /// A connection, or a place on one, that is there or is made.
    async fn way(&self, whom: Whom<'_>) -> Result<Way, AskError> {
        let key = whom.key();
        if !whom.transport.may_multiplex() {
            return self.begin(whom, None).await;
        }
        let trunks = Arc::clone(self.trunks.entry(key).or_default().value());
        if let Some(place) = trunks.place() {
            return Ok(Way::Place(place, true));
        }
        if let Some(link) = self.take(key, Instant::now()) {
            return Ok(Way::Whole(link));
        }
        if trunks.single.load(Ordering::Relaxed) {
            return self.begin(whom, Some(&trunks)).await;
        }
        let beginning = async {
            let _alone = trunks.beginning.lock().await;
            match trunks.place() {
                Some(place) => Ok(Way::Place(place, true)),
                None => self.begin(whom, Some(&trunks)).await,
            }
        };
        timeout(whom.connect, beginning).await.unwrap_or(Err(AskError::Connect(ConnectError::Late)))
    }

    /// A new connection.
    async fn begin(&self, whom: Whom<'_>, trunks: Option<&Trunks>) -> Result<Way, AskError> {
        let connected = whom.transport.connect(whom.replica, false, whom.connect).await;
        whom.replica.believed(connected.as_ref().err());
        let connected = connected.map_err(AskError::Connect)?;
        if let Some(trunks) = trunks {
            trunks.single.store(!connected.http2, Ordering::Relaxed);
            if connected.http2 {
                let broken =
                    |error| AskError::Broken { error: Fault::H2(error), reused: false, unsent: true, refused: false };
                let trunk = Trunk::begin(connected.wire, whom.transport, whom.idle).await.map_err(broken)?;
                let place = trunk.place().ok_or(AskError::Late)?;
                trunks.list.lock().push(trunk);
                return Ok(Way::Place(place, false));
            }
        }
        Ok(Way::Whole(Box::new(link::Link::new(connected.wire, whom.key()))))
    }

    /// Whether this replica, which may choose, chose HTTP/1.1 when it was asked last.
    pub(super) fn speaks_http1(&self, replica: &Replica, transport: &Transport) -> bool {
        let trunks = self.trunks.get(&(replica.address(), transport.id()));
        trunks.is_some_and(|trunks| trunks.single.load(Ordering::Relaxed))
    }

    /// The connection used last that still stands.
    fn take(&self, key: Key, now: Instant) -> Option<Box<link::Link>> {
        let mut links = self.links.get_mut(&key)?;
        while let Some(mut link) = links.pop() {
            self.count.fetch_sub(1, Ordering::Relaxed);
            if link.until > now && link.is_free() {
                link.reused = true;
                return Some(link);
            }
        }
        None
    }

    /// Keeps a connection whose response was read whole, for at most `idle`.
    pub(super) fn keep(&self, link: Link, idle: Duration) {
        let Link::Whole(mut link) = link else { return };
        if !link.is_free() {
            return;
        }
        if self.count.fetch_add(1, Ordering::Relaxed) >= KEPT {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        link.until = Instant::now() + idle;
        self.links.entry(link.key()).or_default().push(link);
    }

    /// Lets go of all to one replica, whose others have broken. Streams that are open end by themselves.
    pub(super) fn forget(&self, whom: Whom<'_>) {
        if let Some((_, links)) = self.links.remove(&whom.key()) {
            self.count.fetch_sub(links.len(), Ordering::Relaxed);
        }
        if let Some(trunks) = self.trunks.get(&whom.key()) {
            trunks.list.lock().clear();
        }
    }

    /// Lets go of those that ended or have not been used for long.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.links.retain(|_, links| {
            let before = links.len();
            links.retain_mut(|link| link.until > now && link.is_free());
            self.count.fetch_sub(before - links.len(), Ordering::Relaxed);
            !links.is_empty()
        });
        self.trunks.retain(|_, trunks| {
            let mut list = trunks.list.lock();
            list.retain(|trunk| trunk.stands());
            Arc::strong_count(trunks) > 1 || !list.is_empty()
        });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::balance::{Pool, Settings};
    use crate::telemetry::Metrics;
    use std::path::Path;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::net::TcpStream;

    const SOON: Duration = Duration::from_secs(10);

    fn get() -> Request<Outgoing> {
        Request::get("/").header("host", "a").body(Outgoing::Whole(Bytes::new())).unwrap()
    }

    /// A pool of the one replica at `address`.
    pub(in crate::edge) fn pool(address: SocketAddr, change: impl FnOnce(&mut Settings)) -> Pool {
        let mut settings = Settings { replicas: address.to_string().parse().unwrap(), ..Settings::default() };
        change(&mut settings);
        let metrics = Arc::new(Metrics::new().unwrap());
        Pool::build("default", &settings, Path::new("."), None, &metrics, Instant::now()).unwrap()
    }

    /// Asks the one replica of a pool.
    pub(in crate::edge) async fn ask(
        links: &KeptLinks,
        pool: &Pool,
        request: Request<Outgoing>,
        answer: Duration,
    ) -> Result<(Link, Response<()>), AskError> {
        let replica = pool.replicas()[0].0.clone();
        let whom = Whom { replica: &replica, transport: pool.transport(), connect: SOON, answer, idle: SOON };
        links.ask(whom, request, &Interim::default()).await
    }

    fn reused(link: &Link) -> bool {
        matches!(link, Link::Whole(link) if link.reused)
    }

    async fn answer(stream: &mut TcpStream, response: &[u8]) {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            seen.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(response).await.unwrap();
    }

    pub(in crate::edge) async fn read(link: &mut Link) -> Vec<u8> {
        let mut out = Vec::new();
        while let Piece::Data(piece, last) = link.next(SOON).await.unwrap() {
            out.extend_from_slice(&piece);
            if last {
                break;
            }
        }
        out
    }

    #[tokio::test]
    async fn a_connection_serves_again_until_its_replica_closes_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let replica = tokio::spawn(async move {
            let (mut first, _) = listener.accept().await.unwrap();
            answer(&mut first, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none").await;
            answer(&mut first, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n").await;
            drop(first);
            let (mut second, _) = listener.accept().await.unwrap();
            answer(&mut second, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nthree").await;
            second
        });
        let (links, pool) = (KeptLinks::default(), pool(address, |_| {}));
        let (mut link, _) = ask(&links, &pool, get(), SOON).await.unwrap();
        assert!(!reused(&link));
        assert_eq!(read(&mut link).await, b"one");
        links.keep(link, SOON);
        let (mut link, _) = ask(&links, &pool, get(), SOON).await.unwrap();
        assert!(reused(&link));
        assert_eq!(read(&mut link).await, b"two");
        links.keep(link, SOON);
        while links.links.iter().any(|links| !links.is_empty()) {
            tokio::task::yield_now().await;
            links.sweep();
        }
        assert_eq!(links.count.load(Ordering::Relaxed), 0);
        let (mut link, _) = ask(&links, &pool, get(), SOON).await.unwrap();
        assert!(!reused(&link));
        assert_eq!(read(&mut link).await, b"three");
        links.keep(link, Duration::ZERO);
        links.sweep();
        assert_eq!(links.count.load(Ordering::Relaxed), 0);
        drop(replica.await.unwrap());
    }

    #[tokio::test]
    async fn silence_and_garbage_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (links, pool) = (KeptLinks::default(), pool(address, |_| {}));
        let late = ask(&links, &pool, get(), Duration::from_millis(20)).await.err().unwrap();
        assert!(matches!(late, AskError::Late));
        let replica = tokio::spawn(async move {
            drop(listener.accept().await.unwrap());
            let (mut stream, _) = listener.accept().await.unwrap();
            answer(&mut stream, b"SMTP ready\r\n\r\n").await;
        });
        let broken = ask(&links, &pool, get(), SOON).await.err().unwrap();
        assert!(matches!(broken, AskError::Broken { reused: false, unsent: false, .. }));
        replica.await.unwrap();
        let gone = ask(&links, &pool, get(), SOON).await.err().unwrap();
        assert!(matches!(gone, AskError::Connect(_)));
    }
}
