//! One downstream connection as the base sees it: TCP or TLS, with a write buffer above the TLS layer.
//!
//! The buffer turns a head and a small body into one TLS record and one system call. It is drained by `flush`, when it
//! is full, and whenever somebody waits to *read*: whoever waits for the peer has nothing more to say for now, so an
//! event or a first chunk is never kept back. HTTP/2 flushes by itself; its first flush lets the other tasks run that are
//! ready, so that what several streams have to say at once is one record and one call too. Memory: at most [`BUFFER`]
//! bytes a connection, none while it is idle.
//!
//! Reads pass a [`Framing`] guard: it follows the body that the head announced, and a byte that two parsers could read in
//! two ways ends the connection before the base's parser sees it.

use super::frames::FrameBudget;
use super::socket::Socket;
use crate::request::chunk::BodyScan;
use crate::request::wire::{Body, Malformed};
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
};
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::server::TlsStream;

/// Write buffer of one connection, in bytes: the largest TLS record (RFC 8446 section 5.1).
pub(super) const BUFFER: usize = 16 * 1024;
/// What is written at once when nothing waits before it: from here on copying costs more than it saves.
const DIRECT: usize = 4 * 1024;
/// What is kept allocated after a flush, of an HTTP/2 connection.
const KEEP: usize = 4 * 1024;

/// Follows the framing of the HTTP/1 body that is being read; shared between the connection's loop and its stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Framing(Arc<Mutex<Watch>>);

#[derive(Debug, Default)]
struct Watch {
    body: Option<BodyScan>,
    fault: Option<Malformed>,
}

impl Framing {
    /// Expects the body a head announced; `read` is what has already arrived of it.
    ///
    /// # Errors
    /// What arrived is no such body.
    pub(crate) fn expect(&self, body: Body, read: &[u8]) -> Result<(), Malformed> {
        let mut scan = BodyScan::new(body);
        if !read.is_empty() {
            scan.feed(read)?;
        }
        let mut watch = self.0.lock();
        watch.body = (!scan.done()).then_some(scan);
        watch.fault = None;
        Ok(())
    }

    /// The fault that ended the body, if one did.
    pub(crate) fn fault(&self) -> Option<Malformed> {
        self.0.lock().fault
    }

    fn pass(&self, bytes: &[u8]) -> io::Result<()> {
        let mut watch = self.0.lock();
        let Some(scan) = &mut watch.body else { return Ok(()) };
        match scan.feed(bytes) {
            Ok(scanned) if scanned.done => watch.body = None,
            Ok(_) => {}
            Err(fault) => {
                watch.fault = Some(fault);
                return Err(io::Error::new(io::ErrorKind::InvalidData, fault.what));
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
enum Io {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// A connection in the form the base takes.
#[derive(Debug)]
pub(crate) struct Conn {
    io: Io,
    out: Vec<u8>,
    written: usize,
    framing: Framing,
    frames: Option<Box<FrameBudget>>,
    /// HTTP/2: what is to be flushed waits for the streams that have something to say at the same time.
    gathers: bool,
}

impl Conn {
    pub(crate) fn plain(stream: Socket) -> Self {
        Self::new(Io::Plain(stream))
    }

    pub(crate) fn tls(stream: TlsStream<Socket>) -> Self {
        Self::new(Io::Tls(Box::new(stream)))
    }

    fn new(io: Io) -> Self {
        Self { io, out: Vec::new(), written: 0, framing: Framing::default(), frames: None, gathers: false }
    }

    /// Counts the HTTP/2 frames that are read.
    pub(crate) fn counting_frames(mut self) -> Self {
        self.frames = Some(Box::new(FrameBudget::new(Instant::now())));
        self
    }

    /// The guard over what is read; does nothing until a body is expected.
    pub(crate) fn framing(&self) -> Framing {
        self.framing.clone()
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            let n = match &mut self.io {
                Io::Plain(s) => ready!(Pin::new(s).poll_write(cx, rest)),
                Io::Tls(s) => ready!(Pin::new(s).poll_write(cx, rest)),
            }?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
        }
        self.written = 0;
        self.out.clear();
        // HTTP/1 has said what it had to say, and may wait for long; HTTP/2 goes on with other streams.
        if self.frames.is_none() || self.out.capacity() > KEEP {
            self.out = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Conn {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // HTTP/2 flushes by itself, and not before all streams have had their say.
        if !this.out.is_empty() && this.frames.is_none() {
            // A peer that stops reading must not stop us from noticing that it went away, so a pending write is no
            // reason not to read.
            match this.poll_drain(cx) {
                Poll::Ready(Ok(())) => {
                    if let Io::Tls(s) = &mut this.io
                        && let Poll::Ready(Err(e)) = Pin::new(s).poll_flush(cx)
                    {
                        return Poll::Ready(Err(e));
                    }
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => {}
            }
        }
        let before = buf.filled().len();
        let read = match &mut this.io {
            Io::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Io::Tls(s) => Pin::new(s).poll_read(cx, buf),
        };
        if read.is_pending() && this.out.is_empty() {
            // May become a long wait.
            this.out = Vec::new();
        }
        ready!(read)?;
        let read = buf.filled().get(before..).unwrap_or_default();
        let Some(frames) = &mut this.frames else { return Poll::Ready(this.framing.pass(read)) };
        if frames.read(read) {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a flood of HTTP/2 frames")))
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.out.len() + data.len() > BUFFER {
            ready!(this.poll_drain(cx))?;
        }
        let taken = if !this.out.is_empty() || data.len() < DIRECT {
            if this.out.capacity() == 0 {
                this.out.reserve(data.len().max(KEEP / 2));
            }
            this.out.extend_from_slice(data);
            data.len()
        } else {
            ready!(match &mut this.io {
                Io::Plain(s) => Pin::new(s).poll_write(cx, data),
                Io::Tls(s) => Pin::new(s).poll_write(cx, data),
            })?
        };
        if let Some(frames) = &mut this.frames {
            frames.sent(taken);
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.frames.is_some() && !self.out.is_empty() && !std::mem::replace(&mut self.gathers, true) {
            // The other tasks that are ready run first: what their streams add leaves in the same record and call.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_drain(cx))?;
        self.gathers = false;
        match &mut self.io {
            Io::Plain(s) => Pin::new(s).poll_flush(cx),
            Io::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        match &mut self.io {
            Io::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Io::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

#[async_trait]
impl Shutdown for Conn {
    async fn shutdown(&mut self) {
        // The peer may have gone first: there is nobody left to tell about a failure.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Conn {
    fn id(&self) -> i32 {
        match &self.io {
            Io::Plain(s) => s.as_raw_fd(),
            Io::Tls(s) => s.get_ref().0.as_raw_fd(),
        }
    }
}

// Everything about the connection travels in `ConnFacts`; the base's own digests stay empty.
impl Ssl for Conn {}

impl GetTimingDigest for Conn {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Conn {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Conn {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[async_trait]
impl Peek for Conn {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> (Conn, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let socket = Socket::new(listener.accept().await.unwrap().0, Duration::from_secs(10), 0);
        (Conn::plain(socket), client)
    }

    #[tokio::test]
    async fn waiting_to_read_sends_what_was_written() {
        let (mut conn, mut client) = pair().await;
        conn.write_all(b"data: 1\n\n").await.unwrap();
        let waiting = tokio::spawn(async move {
            let mut byte = [0];
            conn.read_exact(&mut byte).await.unwrap();
            byte
        });
        let mut seen = [0; 9];
        client.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"data: 1\n\n");
        client.write_all(b"x").await.unwrap();
        assert_eq!(waiting.await.unwrap(), *b"x");
    }

    #[tokio::test]
    async fn a_badly_framed_body_ends_the_reading() {
        let (mut conn, mut client) = pair().await;
        let framing = conn.framing();
        framing.expect(Body::Chunked, b"2\r\nab").unwrap();
        client.write_all(b"\r\n3;x\ny\r\n").await.unwrap();
        let read = conn.read(&mut [0; 64]).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(framing.fault().unwrap().what, "bare LF in a chunk");
        assert!(framing.expect(Body::Chunked, b"zz\r\n").is_err(), "what came with the head counts too");
    }

    #[tokio::test]
    async fn any_sizes_arrive_in_order() {
        let (mut conn, mut client) = pair().await;
        let sizes = [1, BUFFER - 1, 1, BUFFER, 3 * BUFFER + 7, 5];
        let sent: Vec<u8> = sizes.iter().enumerate().flat_map(|(i, n)| vec![u8::try_from(i).unwrap(); *n]).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move {
            let mut rest = &sent[..];
            for n in sizes {
                let (now, later) = rest.split_at(n);
                conn.write_all(now).await.unwrap();
                rest = later;
            }
            Shutdown::shutdown(&mut conn).await;
        });
        let mut seen = Vec::new();
        client.read_to_end(&mut seen).await.unwrap();
        writer.await.unwrap();
        assert_eq!(seen, expected);
    }
}
