//! A client's socket with a limit on how slowly the client may take what is written to it.
//!
//! It stands below TLS and below every protocol, so that nothing that writes (heads, bodies, closing alerts, tunnels,
//! HTTP/2 frames) can wait for ever for a client that does not read. Two limits, both counted only while the kernel takes
//! no more: a client that takes nothing at all for `patience` is let go, and so is one that takes less than `least` bytes
//! a second over a stretch of at least `patience` in which we had to wait for it. A stretch ends when we have not waited
//! for that long. Memory: one timer while a write waits.
//!
//! Of what a client does not read, the kernel holds a little ([`UNSENT`], and what is short, whole), and we nothing: that
//! memory would be ours, and encrypting for nobody our time.
//!
//! What has to be seen of a connection before anybody reads from it, a PROXY header or a ClientHello, is read ahead here
//! and given to the reader first.

use bytes::{Buf, BytesMut};
use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// One client's socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    patience: Duration,
    /// Bytes a second; 0: any rate will do.
    least: u64,
    /// Runs while the kernel takes nothing.
    waiting: Option<Pin<Box<Sleep>>>,
    stretch: Option<Stretch>,
    /// Read, and not yet taken by a reader.
    ahead: BytesMut,
    /// The last byte of what the kernel was made to take; it goes before anything else.
    tail: Option<u8>,
}

/// A time over which the client was slower than we.
#[derive(Debug)]
struct Stretch {
    since: Instant,
    /// When we last had to wait.
    waited: Instant,
    taken: u64,
}

/// Least room made for reading ahead, in bytes: most of what begins a connection fits.
const AHEAD: usize = 1024;

/// Most bytes that the kernel takes of what its client's window has no room for. Enough that a connection is never idle
/// between two of our writes; what is on its way does not count.
const UNSENT: u32 = 32 * 1024;

/// Most bytes that the kernel is made to take beyond that: what TLS makes of the largest piece of a response.
const PRESSED: usize = 20 * 1024;

/// Has the kernel take no more for a client than it can soon send (`TCP_NOTSENT_LOWAT`). Else it takes megabytes for one
/// who does not read: we would have to encrypt them first, and would wait the longer for room the slower the client is.
pub(super) fn bound_unsent(stream: &TcpStream) {
    // A system without it serves all the same.
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

impl Socket {
    /// Writes to `stream` fail with [`io::ErrorKind::TimedOut`] once the client took nothing for `patience`, or less than
    /// `least` bytes a second for longer.
    pub(crate) fn new(stream: TcpStream, patience: Duration, least: u64) -> Self {
        Self { stream, patience, least, waiting: None, stretch: None, ahead: BytesMut::new(), tail: None }
    }

    /// What was read ahead.
    pub(crate) fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Reads more ahead: at least one byte, hardly more than `want`.
    ///
    /// # Errors
    /// The client left.
    pub(crate) async fn read_ahead(&mut self, want: usize) -> io::Result<()> {
        self.ahead.reserve(want.max(AHEAD));
        match self.stream.read_buf(&mut self.ahead).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Takes so many bytes of what was read ahead away from the readers.
    pub(crate) fn skip_ahead(&mut self, length: usize) {
        self.ahead.advance(length.min(self.ahead.len()));
    }

    /// Where the kernel has not taken all of what is short, has it take the rest too, bar the last byte: so who writes has
    /// nothing left to hold while the client is waited for. The byte is what the kernel tells us with when there is room.
    fn press(&mut self, parts: &[IoSlice<'_>], written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let mut taken = match &written {
            Poll::Ready(Ok(taken)) => *taken,
            Poll::Ready(Err(_)) => return written,
            Poll::Pending => 0,
        };
        let all: usize = parts.iter().map(|part| part.len()).sum();
        // Once is enough: who waits already is waited for.
        if taken == all || all - taken > PRESSED || self.waiting.is_some() {
            return written;
        }
        let socket = socket2::SockRef::from(&self.stream);
        if socket.set_tcp_notsent_lowat(u32::MAX).is_err() {
            return written;
        }
        let mut before = 0;
        for part in parts {
            let from = taken.saturating_sub(before);
            before += part.len();
            // The last byte of all stays out.
            let to = if before == all { part.len().saturating_sub(1) } else { part.len() };
            let Some(rest) = part.get(from..to).filter(|rest| !rest.is_empty()) else { continue };
            match socket.send(rest) {
                Ok(sent) => taken += sent,
                Err(_) => break,
            }
            if taken < before.min(all - 1) {
                break;
            }
        }
        // What fails here shows at the next write.
        let _ = socket.set_tcp_notsent_lowat(UNSENT);
        if taken + 1 == all {
            self.tail = parts.iter().rev().find_map(|part| part.last()).copied();
            taken = all;
        }
        if taken == 0 { written } else { Poll::Ready(Ok(taken)) }
    }

    /// Writes the byte that was kept back.
    fn poll_tail(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(byte) = self.tail else { return Poll::Ready(Ok(())) };
        let written = Pin::new(&mut self.stream).poll_write(cx, &[byte]);
        if ready!(self.watch(cx, written))? == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.tail = None;
        Poll::Ready(Ok(()))
    }

    fn watch(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = &written {
            self.waiting = None;
            if let (Some(stretch), Ok(n)) = (&mut self.stretch, written) {
                stretch.taken = stretch.taken.saturating_add(*n as u64);
            }
        }
        let patience = self.patience;
        if written.is_pending() {
            if self.waiting.is_none() && self.is_too_slow() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes too little")));
            }
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
            if waiting.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")));
            }
        }
        written
    }

    /// Takes note that we have to wait; whether the client's rate over the stretch is below the least.
    fn is_too_slow(&mut self) -> bool {
        let now = Instant::now();
        let patience = self.patience;
        let stretch = self
            .stretch
            .take_if(|stretch| now.duration_since(stretch.waited) <= patience)
            .unwrap_or(Stretch { since: now, waited: now, taken: 0 });
        let lasted = now.duration_since(stretch.since);
        let slow = lasted >= patience && stretch.taken < self.least.saturating_mul(lasted.as_secs());
        self.stretch = Some(Stretch { waited: now, ..stretch });
        slow
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let length = buf.remaining().min(self.ahead.len());
            buf.put_slice(self.ahead.get(..length).unwrap_or_default());
            self.ahead.advance(length);
            if self.ahead.is_empty() {
                self.ahead = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_tail(cx))?;
        let written = Pin::new(&mut self.stream).poll_write(cx, data);
        let written = self.press(&[IoSlice::new(data)], written);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_tail(cx))?;
        // One part needs no vector: `send` is the shorter way through the kernel.
        let written = match data {
            [one] => Pin::new(&mut self.stream).poll_write(cx, one),
            parts => Pin::new(&mut self.stream).poll_write_vectored(cx, parts),
        };
        let written = self.press(data, written);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_tail(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_tail(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_deaf_client_is_let_go_and_a_slow_one_served() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut socket = Socket::new(listener.accept().await.unwrap().0, Duration::from_millis(1500), 0);
        let data = vec![b'x'; 64 << 20];
        let failed = socket.write_all(&data).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        assert_eq!(socket.write(b"more").await.unwrap_err().kind(), io::ErrorKind::TimedOut, "and stays so");

        // Taking a little now and then is enough, however long the whole lasts.
        let reader = tokio::spawn(async move {
            let mut sink = vec![0; 1 << 20];
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(40)).await;
                client.read_exact(&mut sink).await.unwrap();
            }
            client
        });
        tokio::time::sleep(Duration::from_millis(60)).await;
        socket.write_all(&data[..8 << 20]).await.unwrap();
        drop(reader.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_below_the_least_rate_is_let_go() {
        for (least, served) in [(1 << 20, false), (1, true)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let mut socket = Socket::new(listener.accept().await.unwrap().0, Duration::from_secs(30), least);
            // As the kernel would say it: nothing, then a little, every ten seconds.
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let mut outcome = Ok(());
            for _ in 0..12 {
                if let Poll::Ready(Err(e)) = socket.watch(&mut cx, Poll::Pending) {
                    outcome = Err(e.kind());
                    break;
                }
                tokio::time::advance(Duration::from_secs(10)).await;
                assert!(socket.watch(&mut cx, Poll::Ready(Ok(1000))).is_ready());
            }
            assert_eq!(outcome, if served { Ok(()) } else { Err(io::ErrorKind::TimedOut) }, "{least}");
            drop(client);
        }
    }

    #[tokio::test]
    async fn what_is_short_is_not_held_for_a_client_that_does_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = listener.accept().await.unwrap().0;
        bound_unsent(&stream);
        let mut socket = Socket::new(stream, Duration::from_secs(10), 0);
        let mut sent = Vec::new();
        let piece: Vec<u8> = (0..16_406_u32).map(|i| i.to_le_bytes()[0]).collect();
        // Every piece is taken whole, one after another, until there is no more room; then nothing is.
        while sent.len() < 64 << 20 {
            let write = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut socket).poll_write(cx, &piece))).await;
            match write {
                Poll::Ready(written) => {
                    assert_eq!(written.unwrap(), piece.len());
                    sent.extend_from_slice(&piece);
                }
                Poll::Pending => break,
            }
        }
        assert!(socket.tail.is_some() && sent.len() < 32 << 20, "{}", sent.len());
        let mut flushing = Box::pin(socket.flush());
        let waits = tokio::time::timeout(Duration::from_millis(20), &mut flushing).await;
        assert!(waits.is_err(), "flushed is what the kernel has taken whole");
        let mut seen = vec![0; sent.len() - 1];
        client.read_exact(&mut seen).await.unwrap();
        flushing.await.unwrap();
        seen.push(client.read_u8().await.unwrap());
        assert!(seen == sent, "nothing is lost, doubled or out of order");
    }

    #[tokio::test]
    async fn what_was_read_ahead_comes_first() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut socket = Socket::new(listener.accept().await.unwrap().0, Duration::from_secs(10), 0);
        client.write_all(b"headhello").await.unwrap();
        while socket.ahead().len() < 9 {
            socket.read_ahead(9).await.unwrap();
        }
        socket.skip_ahead(4);
        client.write_all(b" world").await.unwrap();
        let mut read = [0; 11];
        socket.read_exact(&mut read[..3]).await.unwrap();
        socket.read_exact(&mut read[3..]).await.unwrap();
        assert_eq!(&read, b"hello world");
        drop(client);
        assert_eq!(socket.read_ahead(1).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
