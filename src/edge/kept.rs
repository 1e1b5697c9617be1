//! Kept-alive HTTP/1.1 connections to replicas, for exchanges that take nothing of the base's proxy (`relay`).
//!
//! While a [`Link`] is kept nobody drives it; a sweep looks after those that a replica closed, or that were not used for
//! the pool's idle limit.

use super::link::Link;
use crate::request::head::ResponseHead;
use bytes::Bytes;
use dashmap::DashMap;
use http::Request;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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
        error: io::Error,
        /// It had been kept from an earlier exchange, and may just have been closed for its age.
        reused: bool,
        /// Not one byte of the request left.
        unsent: bool,
    },
    /// It was silent for too long.
    #[error("the replica did not answer in time")]
    Late,
}

/// The connections that are kept. Any number of exchanges may take and keep at once.
#[derive(Default)]
pub(super) struct KeptLinks {
    #[expect(clippy::vec_box, reason = "a link moves from exchange to exchange, and none keeps room for a whole one")]
    by_address: DashMap<SocketAddr, Vec<Box<Link>>>,
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
        request: &Request<Bytes>,
        connect: Duration,
        answer: Duration,
    ) -> Result<(Box<Link>, ResponseHead), AskError> {
        let now = Instant::now();
        let (mut link, begun) = match self.take(address, now) {
            Some(link) => (link, now),
            // Apart, so that who has a connection keeps no room for it.
            None => (Box::new(Box::pin(Link::open(address, connect)).await?), Instant::now()),
        };
        let head = link.send(request, begun + answer).await?;
        Ok((link, head))
    }

    /// The connection used last that still stands.
    fn take(&self, address: SocketAddr, now: Instant) -> Option<Box<Link>> {
        let mut links = self.by_address.get_mut(&address)?;
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
    pub(super) fn keep(&self, mut link: Box<Link>, idle: Duration) {
        if !link.is_free() {
            return;
        }
        if self.count.fetch_add(1, Ordering::Relaxed) >= KEPT {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        link.until = Instant::now() + idle;
        self.by_address.entry(link.address()).or_default().push(link);
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
        self.by_address.retain(|_, links| {
            let before = links.len();
            links.retain(|link| link.until > now && link.is_free());
            self.count.fetch_sub(before - links.len(), Ordering::Relaxed);
            !links.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    const SOON: Duration = Duration::from_secs(10);

    fn get() -> Request<Bytes> {
        Request::get("/").header("host", "a").body(Bytes::new()).unwrap()
    }

    async fn answer(stream: &mut TcpStream, response: &[u8]) {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            seen.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(response).await.unwrap();
    }

    async fn read(link: &mut Link) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(piece) = link.piece(SOON).await.unwrap() {
            out.extend_from_slice(&piece);
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
        let (mut link, _) = links.ask(address, &get(), SOON, SOON).await.unwrap();
        assert!(!link.reused);
        assert_eq!(read(&mut link).await, b"one");
        links.keep(link, SOON);
        let (mut link, _) = links.ask(address, &get(), SOON, SOON).await.unwrap();
        assert!(link.reused);
        assert_eq!(read(&mut link).await, b"two");
        links.keep(link, SOON);
        while links.by_address.iter().any(|links| !links.is_empty()) {
            tokio::task::yield_now().await;
            links.sweep();
        }
        assert_eq!(links.count.load(Ordering::Relaxed), 0);
        let (mut link, _) = links.ask(address, &get(), SOON, SOON).await.unwrap();
        assert!(!link.reused);
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
        let links = KeptLinks::default();
        let late = links.ask(address, &get(), SOON, Duration::from_millis(20)).await.err().unwrap();
        assert!(matches!(late, AskError::Late));
        let replica = tokio::spawn(async move {
            drop(listener.accept().await.unwrap());
            let (mut stream, _) = listener.accept().await.unwrap();
            answer(&mut stream, b"SMTP ready\r\n\r\n").await;
        });
        let broken = links.ask(address, &get(), SOON, SOON).await.err().unwrap();
        assert!(matches!(broken, AskError::Broken { reused: false, unsent: false, .. }));
        replica.await.unwrap();
        let gone = links.ask(address, &get(), SOON, SOON).await.err().unwrap();
        assert!(matches!(gone, AskError::Connect(_)));
    }
}
