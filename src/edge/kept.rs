//! Kept-alive HTTP/1.1 connections to replicas, for exchanges that take nothing of the base's proxy (`relay`).
//!
//! A connection belongs to the exchange that uses it and is driven by that exchange's own task: no task, channel or timer
//! per connection. While it is kept nobody drives it; a sweep looks after those that a replica closed, or that were not
//! used for the pool's idle limit. Memory: a piece of a response is at most [`PIECE`] bytes; of one response that its
//! client does not take, three pieces are held (the one being written, the next, and what the socket was read ahead).

use bytes::Bytes;
use dashmap::DashMap;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The largest piece of a response body, and the largest response head, in bytes.
pub(super) const PIECE: usize = 32 * 1024;
/// Connections kept to all replicas together.
const KEPT: usize = 1024;

/// Why a replica gave no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// No connection: it heard nothing of the request.
    #[error("connecting to the replica failed: {0}")]
    Connect(io::Error),
    /// The connection broke, or what came was no HTTP.
    #[error("the replica's answer broke off: {error}")]
    Broken {
        /// What happened.
        error: hyper::Error,
        /// It had been kept from an earlier exchange, and may just have been closed for its age.
        reused: bool,
        /// Not one byte of the request left.
        unsent: bool,
    },
    /// It was silent for too long.
    #[error("the replica did not answer in time")]
    Late,
}

/// A connection to a replica.
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<TokioIo<TcpStream>, Full<Bytes>>,
    address: SocketAddr,
    reused: bool,
    /// The connection has ended and must not be polled again.
    ended: bool,
    /// While kept: when it is let go.
    until: Instant,
}

impl Link {
    async fn open(address: SocketAddr, limit: Duration) -> Result<Self, AskError> {
        let stream = match timeout(limit, TcpStream::connect(address)).await {
            Ok(stream) => stream.map_err(AskError::Connect)?,
            Err(_) => return Err(AskError::Connect(io::ErrorKind::TimedOut.into())),
        };
        stream.set_nodelay(true).map_err(AskError::Connect)?;
        let made = Builder::new().max_buf_size(PIECE).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|error| AskError::Broken { error, reused: false, unsent: true })?;
        Ok(Self { sender, connection, address, reused: false, ended: false, until: Instant::now() })
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

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, AskError> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let (connection, ended) = (&mut self.connection, &mut self.ended);
        let answer = std::future::poll_fn(|cx| {
            if !*ended && Pin::new(&mut *connection).poll(cx).is_ready() {
                *ended = true;
            }
            answer.as_mut().poll(cx)
        });
        let reused = self.reused;
        answer.await.map_err(|mut e| {
            let unsent = e.take_message().is_some();
            AskError::Broken { error: e.into_error(), reused, unsent }
        })
    }

    /// The next piece of the response's body, and whether it is the last; `None` when the body has ended.
    ///
    /// # Errors
    /// [`AskError`]: `Late` when nothing came for `limit`.
    pub(super) async fn piece(
        &mut self,
        body: &mut Incoming,
        limit: Duration,
    ) -> Result<Option<(Bytes, bool)>, AskError> {
        let next = async {
            loop {
                let frame = std::future::poll_fn(|cx| {
                    if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                        return Poll::Ready(frame);
                    }
                    self.drive(cx);
                    Pin::new(&mut *body).poll_frame(cx)
                });
                match frame.await {
                    // What is no data is a trailer, which ends here (RFC 9110 section 6.5.1).
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => return Ok(Some((data, body.is_end_stream()))),
                        Err(_) => continue,
                    },
                    Some(Err(error)) => return Err(AskError::Broken { error, reused: self.reused, unsent: false }),
                    None => return Ok(None),
                }
            }
        };
        timeout(limit, next).await.unwrap_or(Err(AskError::Late))
    }
}

/// The connections that are kept. Any number of exchanges may take and keep at once.
#[derive(Default)]
pub(super) struct KeptLinks {
    by_address: DashMap<SocketAddr, Vec<Link>>,
    count: AtomicUsize,
}

impl KeptLinks {
    /// Sends `request` to `address`, over a kept connection if there is one.
    ///
    /// # Errors
    /// [`AskError`].
    pub(super) async fn ask(
        &self,
        address: SocketAddr,
        request: Request<Full<Bytes>>,
        connect: Duration,
        answer: Duration,
    ) -> Result<(Link, Response<Incoming>), AskError> {
        let mut link = match std::future::poll_fn(|cx| Poll::Ready(self.take(address, cx))).await {
            Some(link) => link,
            None => Link::open(address, connect).await?,
        };
        match timeout(answer, link.send(request)).await {
            Ok(response) => Ok((link, response?)),
            Err(_) => Err(AskError::Late),
        }
    }

    /// The connection used last that still stands.
    fn take(&self, address: SocketAddr, cx: &mut Context<'_>) -> Option<Link> {
        let mut links = self.by_address.get_mut(&address)?;
        let now = Instant::now();
        while let Some(mut link) = links.pop() {
            self.count.fetch_sub(1, Ordering::Relaxed);
            if link.until > now && link.is_free(cx) {
                link.reused = true;
                return Some(link);
            }
        }
        None
    }

    /// Keeps a connection whose response was read whole, for at most `idle`.
    pub(super) fn keep(&self, mut link: Link, idle: Duration) {
        if !link.is_free(&mut Context::from_waker(Waker::noop())) {
            return;
        }
        if self.count.fetch_add(1, Ordering::Relaxed) >= KEPT {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        link.until = Instant::now() + idle;
        self.by_address.entry(link.address).or_default().push(link);
    }

    /// Lets go of all to one replica, whose others have broken.
    pub(super) fn forget(&self, address: SocketAddr) {
        if let Some((_, links)) = self.by_address.remove(&address) {
            self.count.fetch_sub(links.len(), Ordering::Relaxed);
        }
    }

    /// Lets go of those that ended or have not been used for long.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut cx = Context::from_waker(Waker::noop());
        self.by_address.retain(|_, links| {
            let before = links.len();
            links.retain_mut(|link| link.until > now && link.is_free(&mut cx));
            self.count.fetch_sub(before - links.len(), Ordering::Relaxed);
            !links.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const SOON: Duration = Duration::from_secs(10);

    fn get() -> Request<Full<Bytes>> {
        Request::get("/").header("host", "a").body(Full::default()).unwrap()
    }

    async fn answer(stream: &mut TcpStream, response: &[u8]) {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            seen.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(response).await.unwrap();
    }

    async fn read(link: &mut Link, response: Response<Incoming>) -> Vec<u8> {
        let (mut body, mut out) = (response.into_body(), Vec::new());
        while let Some((piece, last)) = link.piece(&mut body, SOON).await.unwrap() {
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
        let links = KeptLinks::default();
        let (mut link, response) = links.ask(address, get(), SOON, SOON).await.unwrap();
        assert!(!link.reused);
        assert_eq!(read(&mut link, response).await, b"one");
        links.keep(link, SOON);
        let (mut link, response) = links.ask(address, get(), SOON, SOON).await.unwrap();
        assert!(link.reused);
        assert_eq!(read(&mut link, response).await, b"two");
        // The end of a chunked body is only known when it is asked for.
        while !link.is_free(&mut Context::from_waker(Waker::noop())) && !link.ended {
            tokio::task::yield_now().await;
        }
        links.keep(link, SOON);
        while links.by_address.iter().any(|links| !links.is_empty()) {
            tokio::task::yield_now().await;
            links.sweep();
        }
        assert_eq!(links.count.load(Ordering::Relaxed), 0);
        let (mut link, response) = links.ask(address, get(), SOON, SOON).await.unwrap();
        assert!(!link.reused);
        assert_eq!(read(&mut link, response).await, b"three");
        links.keep(link, Duration::ZERO);
        links.sweep();
        assert_eq!(links.count.load(Ordering::Relaxed), 0);
        drop(replica.await.unwrap());
    }

    #[tokio::test]
    async fn silence_and_garbage_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let links = KeptLinks::default();
        let late = links.ask(address, get(), SOON, Duration::from_millis(20)).await.err().unwrap();
        assert!(matches!(late, AskError::Late));
        let replica = tokio::spawn(async move {
            drop(listener.accept().await.unwrap());
            let (mut stream, _) = listener.accept().await.unwrap();
            answer(&mut stream, b"SMTP ready\r\n\r\n").await;
        });
        let broken = links.ask(address, get(), SOON, SOON).await.err().unwrap();
        assert!(matches!(broken, AskError::Broken { reused: false, unsent: false, .. }));
        replica.await.unwrap();
        let gone = links.ask(address, get(), SOON, SOON).await.err().unwrap();
        assert!(matches!(gone, AskError::Connect(_)));
    }
}
