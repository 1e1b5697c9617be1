//! Connections to replicas that outlive an exchange, for exchanges that take nothing of the base's proxy (`relay`).
//!
//! An HTTP/1.1 connection belongs to the exchange that uses it and is driven by that exchange's own task: no task, channel
//! or timer per connection. While it is kept nobody drives it; a sweep looks after those that a replica closed, or that
//! were not used for the pool's idle limit. HTTP/2 connections are shared (`trunk`). Memory: a piece of an HTTP/1.1
//! response is at most [`PIECE`] bytes; of one response that its client does not take, three pieces are held (the one being
//! written, the next, and what the socket was read ahead).
//!
//! A connection is kept for its replica and for how that is spoken to ([`Transport`]): what was begun under other terms, as
//! another authority's, is not used again.

use super::outgoing::Outgoing;
use super::trunk::{Place, Stream, Trunk};
use crate::balance::{ConnectError, Replica, Transport, Wire};
use bytes::Bytes;
use dashmap::DashMap;
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout;

/// The largest piece of a response body, and the largest response head, in bytes.
pub(super) const PIECE: usize = 32 * 1024;
/// HTTP/1.1 connections kept to all replicas together.
const KEPT: usize = 1024;
/// Interim responses of one exchange that are passed on; more are dropped.
const INTERIM: usize = 4;

/// What broke a connection or stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// Of an HTTP/1.1 connection.
    #[error("{0}")]
    Http1(hyper::Error),
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
pub(super) struct Interim(Arc<Hints>);

#[derive(Debug, Default)]
struct Hints {
    wanted: AtomicBool,
    heads: Mutex<(usize, Vec<HeaderMap>)>,
    come: Notify,
}

impl Interim {
    /// Where they are passed on only if `wanted`.
    pub(super) fn new(wanted: bool) -> Self {
        let interim = Self::default();
        interim.0.wanted.store(wanted, Ordering::Relaxed);
        interim
    }

    /// Takes one up.
    pub(super) fn note(&self, status: StatusCode, headers: &HeaderMap) {
        if status != StatusCode::EARLY_HINTS || !self.0.wanted.load(Ordering::Relaxed) {
            return;
        }
        let links: HeaderMap =
            headers.get_all(header::LINK).iter().map(|value| (header::LINK, value.clone())).collect();
        let mut heads = self.0.heads.lock();
        if !links.is_empty() && heads.0 < INTERIM {
            heads.0 += 1;
            heads.1.push(links);
            self.0.come.notify_one();
        }
    }

    /// The next one that comes.
    pub(super) async fn next(&self) -> HeaderMap {
        loop {
            if let Some(head) = self.take() {
                return head;
            }
            self.0.come.notified().await;
        }
    }

    /// One that has come.
    pub(super) fn take(&self) -> Option<HeaderMap> {
        let mut heads = self.0.heads.lock();
        (!heads.1.is_empty()).then(|| heads.1.remove(0))
    }

    fn handle(&self) -> Self {
        Self(Arc::clone(&self.0))
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
    Whole(Box<Single>),
    /// A stream of a shared one.
    Stream(Box<Stream>),
}

impl Link {
    /// The next of the response's body.
    ///
    /// # Errors
    /// [`AskError`]: `Late` when nothing came for `limit`.
    pub(super) async fn next(&mut self, limit: Duration) -> Result<Piece, AskError> {
        let next = async {
            match self {
                Self::Whole(single) => single.next().await,
                Self::Stream(stream) => stream.next().await,
            }
        };
        timeout(limit, next).await.unwrap_or(Err(AskError::Late))
    }

    /// Whether the response's body has ended, as far as is known without waiting.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Whole(single) => single.body.as_ref().is_none_or(Incoming::is_end_stream),
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

/// An HTTP/1.1 connection to a replica.
pub(super) struct Single {
    sender: SendRequest<Outgoing>,
    connection: Connection<TokioIo<Wire>, Outgoing>,
    body: Option<Incoming>,
    key: Key,
    reused: bool,
    /// The connection has ended and must not be polled again.
    ended: bool,
    /// While kept: when it is let go.
    until: Instant,
}

impl Single {
    async fn begin(wire: Wire, key: Key) -> Result<Self, AskError> {
        let made = Builder::new().max_buf_size(PIECE).handshake(TokioIo::new(wire)).await;
        let (sender, connection) = made.map_err(|error| AskError::Broken {
            error: Fault::Http1(error),
            reused: false,
            unsent: true,
            refused: false,
        })?;
        Ok(Self { sender, connection, body: None, key, reused: false, ended: false, until: Instant::now() })
    }

    /// Lets the connection read and write.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended && Pin::new(&mut self.connection).poll(cx).is_ready() {
            self.ended = true;
        }
    }

    /// Whether it stands and has nothing under way.
    fn is_free(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        !self.ended && matches!(self.sender.poll_ready(cx), Poll::Ready(Ok(())))
    }

    async fn send(&mut self, mut request: Request<Outgoing>, interim: &Interim) -> Result<Response<()>, AskError> {
        if interim.0.wanted.load(Ordering::Relaxed) {
            let interim = interim.handle();
            hyper::ext::on_informational(&mut request, move |early| interim.note(early.status(), early.headers()));
        }
        if request.headers().contains_key(header::TE) {
            // A field of this hop alone, which says so (RFC 9110 section 10.1.4).
            request.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("te"));
        }
        let mut answer = pin!(self.sender.try_send_request(request));
        let (connection, ended) = (&mut self.connection, &mut self.ended);
        let answer = std::future::poll_fn(|cx| {
            if !*ended && Pin::new(&mut *connection).poll(cx).is_ready() {
                *ended = true;
            }
            answer.as_mut().poll(cx)
        });
        let reused = self.reused;
        let answer = answer.await.map_err(|mut e| {
            let unsent = e.take_message().is_some();
            AskError::Broken { error: Fault::Http1(e.into_error()), reused, unsent, refused: false }
        })?;
        let (parts, body) = answer.into_parts();
        self.body = Some(body);
        Ok(Response::from_parts(parts, ()))
    }

    async fn next(&mut self) -> Result<Piece, AskError> {
        let Self { body, connection, ended, reused, .. } = self;
        let Some(body) = body else { return Ok(Piece::End) };
        let frame = std::future::poll_fn(|cx| {
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                return Poll::Ready(frame);
            }
            if !*ended && Pin::new(&mut *connection).poll(cx).is_ready() {
                *ended = true;
            }
            Pin::new(&mut *body).poll_frame(cx)
        });
        match frame.await {
            Some(Ok(frame)) => Ok(match frame.into_data() {
                Ok(data) => Piece::Data(data, body.is_end_stream()),
                Err(frame) => frame.into_trailers().map_or(Piece::End, Piece::Trailers),
            }),
            Some(Err(error)) => {
                let error = Fault::Http1(error);
                Err(AskError::Broken { error, reused: *reused, unsent: false, refused: false })
            }
            None => Ok(Piece::End),
        }
    }
}

/// A replica, and how it is spoken to.
type Key = (SocketAddr, u32);

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
    singles: DashMap<Key, Vec<Single>>,
    count: AtomicUsize,
    trunks: DashMap<Key, Arc<Trunks>>,
}

/// A connection found or made.
enum Way {
    Whole(Box<Single>),
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
        let asked = match self.way(whom).await? {
            Way::Whole(mut single) => {
                let asked = timeout(whom.answer, single.send(request, interim)).await;
                asked.map(|response| response.map(|response| (Link::Whole(single), response)))
            }
            Way::Place(place, reused) => {
                let asking = async {
                    let mut stream = Box::new(Stream::open(place, request, whom.transport, reused).await?);
                    let response = stream.head(interim).await?;
                    Ok((Link::Stream(stream), response))
                };
                timeout(whom.answer, asking).await
            }
        };
        asked.unwrap_or(Err(AskError::Late))
    }

    async fn way(&self, whom: Whom<'_>) -> Result<Way, AskError> {
        let key = whom.key();
        if !whom.transport.may_multiplex() {
            return match std::future::poll_fn(|cx| Poll::Ready(self.take(key, cx))).await {
                Some(single) => Ok(Way::Whole(Box::new(single))),
                None => self.begin(whom, None).await,
            };
        }
        let trunks = Arc::clone(self.trunks.entry(key).or_default().value());
        if let Some(place) = trunks.place() {
            return Ok(Way::Place(place, true));
        }
        if let Some(single) = std::future::poll_fn(|cx| Poll::Ready(self.take(key, cx))).await {
            return Ok(Way::Whole(Box::new(single)));
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
        Single::begin(connected.wire, whom.key()).await.map(|single| Way::Whole(Box::new(single)))
    }

    /// Whether this replica, which may choose, chose HTTP/1.1 when it was asked last.
    pub(super) fn speaks_http1(&self, replica: &Replica, transport: &Transport) -> bool {
        let trunks = self.trunks.get(&(replica.address(), transport.id()));
        trunks.is_some_and(|trunks| trunks.single.load(Ordering::Relaxed))
    }

    /// The connection used last that still stands.
    fn take(&self, key: Key, cx: &mut Context<'_>) -> Option<Single> {
        let mut singles = self.singles.get_mut(&key)?;
        let now = Instant::now();
        while let Some(mut single) = singles.pop() {
            self.count.fetch_sub(1, Ordering::Relaxed);
            if single.until > now && single.is_free(cx) {
                single.reused = true;
                return Some(single);
            }
        }
        None
    }

    /// Keeps a connection whose response was read whole, for at most `idle`.
    pub(super) fn keep(&self, link: Link, idle: Duration) {
        let Link::Whole(mut single) = link else { return };
        single.body = None;
        if !single.is_free(&mut Context::from_waker(Waker::noop())) {
            return;
        }
        if self.count.fetch_add(1, Ordering::Relaxed) >= KEPT {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        single.until = Instant::now() + idle;
        self.singles.entry(single.key).or_default().push(*single);
    }

    /// Lets go of all to one replica, whose others have broken. Streams that are open end by themselves.
    pub(super) fn forget(&self, whom: Whom<'_>) {
        if let Some((_, singles)) = self.singles.remove(&whom.key()) {
            self.count.fetch_sub(singles.len(), Ordering::Relaxed);
        }
        if let Some(trunks) = self.trunks.get(&whom.key()) {
            trunks.list.lock().clear();
        }
    }

    /// Lets go of those that ended or have not been used for long.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut cx = Context::from_waker(Waker::noop());
        self.singles.retain(|_, singles| {
            let before = singles.len();
            singles.retain_mut(|single| single.until > now && single.is_free(&mut cx));
            self.count.fetch_sub(before - singles.len(), Ordering::Relaxed);
            !singles.is_empty()
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
        matches!(link, Link::Whole(single) if single.reused)
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
        // The end of a chunked body is only known when it is asked for.
        let Link::Whole(single) = &mut link else { panic!("HTTP/1.1 has no streams") };
        while !single.is_free(&mut Context::from_waker(Waker::noop())) && !single.ended {
            tokio::task::yield_now().await;
        }
        links.keep(link, SOON);
        while links.singles.iter().any(|links| !links.is_empty()) {
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
