//! One HTTP/1.1 connection to a replica: a request is written, its response read a piece at a time.
//!
//! A connection belongs to the exchange that uses it and is driven by that exchange's own task: no task, channel or timer
//! per connection. The response may begin, and end, before the request is written whole; the connection then serves no
//! other. Interim responses (1xx, RFC 9110 section 15.2) and trailers (section 6.5.1) end here.
//!
//! Memory: room for one read, [`PIECE`] bytes, from when there is something to read until the piece has been taken and
//! dropped; none while the replica is waited for. A head may have [`HEAD`] bytes.

use super::kept::AskError;
use super::limit::Limit;
use crate::request::head::{self, ResponseHead};
use crate::request::wire::Body;
use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Request, StatusCode};
use memchr::memchr;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The largest piece of a response body, in bytes: with its framing it fits one TLS record (RFC 8446 section 5.1).
pub(super) const PIECE: usize = 15 * 1024;
/// The largest response head, in bytes.
const HEAD: usize = 32 * 1024;
/// The longest line with a chunk's size, its extensions with it, and the largest trailer section, in bytes.
const LINE: usize = 4 * 1024;
/// Request bodies up to so many bytes are sent in one piece with their head.
const SMALL: usize = 4 * 1024;

/// What of a response's body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Nothing: it has ended.
    Done,
    /// So many bytes.
    Length(u64),
    /// Chunks (RFC 9112 section 7.1); next comes a size.
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// The trailer section, of which so many bytes were read.
    Trailers(usize),
    /// Whatever comes until the connection ends.
    All,
}

/// A connection to a replica.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    address: SocketAddr,
    /// It had been kept from an earlier exchange.
    pub(super) reused: bool,
    /// While kept: when it is let go.
    pub(super) until: Instant,
    /// Read, and not yet taken.
    read: BytesMut,
    left: Left,
    /// Whether it may serve again once the body has ended.
    keep_alive: bool,
    /// How long the replica may be silent.
    limit: Limit,
}

/// A request on its way out.
struct Out {
    head: Bytes,
    body: Bytes,
    begun: bool,
    failed: Option<io::Error>,
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// [`AskError::Connect`], after `limit` at the latest.
    pub(super) async fn open(address: SocketAddr, limit: Duration) -> Result<Self, AskError> {
        let stream = match timeout(limit, TcpStream::connect(address)).await {
            Ok(stream) => stream.map_err(AskError::Connect)?,
            Err(_) => return Err(AskError::Connect(io::ErrorKind::TimedOut.into())),
        };
        stream.set_nodelay(true).map_err(AskError::Connect)?;
        let (read, until) = (BytesMut::new(), Instant::now());
        let limit = Limit::default();
        Ok(Self { stream, address, reused: false, until, read, left: Left::Done, keep_alive: true, limit })
    }

    /// Where it leads.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it stands and has nothing under way.
    pub(super) fn is_free(&self) -> bool {
        // Anything that comes unasked, the end too, is not for the next exchange.
        let quiet = || matches!(self.stream.try_read(&mut [0; 1]), Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        self.left == Left::Done && self.keep_alive && self.read.is_empty() && quiet()
    }

    /// Whether the response's body has ended.
    pub(super) fn is_done(&self) -> bool {
        self.left == Left::Done
    }

    /// Sends a request, and reads the head of the response.
    ///
    /// # Errors
    /// [`AskError`]: `Broken`, or `Late` when there was none until then.
    pub(super) async fn send(&mut self, request: &Request<Bytes>, until: Instant) -> Result<ResponseHead, AskError> {
        let mut out = Out::new(request);
        self.keep_alive = true;
        self.limit.set(until.into());
        let answer = std::future::poll_fn(|cx| match self.exchange(cx, &mut out) {
            Poll::Pending => self.limit.poll(cx).map(|()| None),
            ready => ready.map(Some),
        });
        let head = answer.await.ok_or(AskError::Late)?.map_err(|error| AskError::Broken {
            error,
            reused: self.reused,
            unsent: !out.begun,
        })?;
        self.keep_alive &= head.keep_alive && out.is_empty();
        let bodiless = request.method() == Method::HEAD
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || head.status == StatusCode::SWITCHING_PROTOCOLS;
        self.left = match head.body {
            _ if bodiless => Left::Done,
            Some(Body::None | Body::Length(0)) => Left::Done,
            Some(Body::Length(length)) => Left::Length(length),
            Some(Body::Chunked) => Left::Size,
            None => {
                self.keep_alive = false;
                Left::All
            }
        };
        self.let_go();
        Ok(head)
    }

    fn exchange(&mut self, cx: &mut Context<'_>, out: &mut Out) -> Poll<io::Result<ResponseHead>> {
        out.poll_write(cx, &mut self.stream);
        let mut seen = 0;
        loop {
            if let Some(end) = head::response_end(&self.read, seen) {
                let head = head::response(&self.read.split_to(end).freeze()).map_err(invalid)?;
                if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
                    seen = 0;
                    continue;
                }
                return Poll::Ready(Ok(head));
            }
            if self.read.len() > HEAD {
                return Poll::Ready(Err(invalid("a head without an end")));
            }
            seen = self.read.len();
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(out.failed.take().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                // Whoever takes no request may have said why; if not, nothing more will come.
                Poll::Pending => return out.failed.take().map_or(Poll::Pending, |e| Poll::Ready(Err(e))),
            }
        }
    }

    /// Reads what there is; 0: the connection has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.stream.poll_read_ready(cx))?;
        self.read.reserve(PIECE);
        let read = pin!(self.stream.read_buf(&mut self.read)).poll(cx);
        if read.is_pending() {
            self.let_go();
        }
        read
    }

    /// Keeps no room for what may never come.
    fn let_go(&mut self) {
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
    }

    /// The next piece of the response's body; `None` when it has ended.
    ///
    /// # Errors
    /// [`AskError`]: `Late` when nothing came for `limit`.
    pub(super) async fn piece(&mut self, limit: Duration) -> Result<Option<Bytes>, AskError> {
        let mut waits = false;
        let piece = std::future::poll_fn(|cx| match self.poll_piece(cx) {
            Poll::Pending => {
                if !std::mem::replace(&mut waits, true) {
                    self.limit.set(tokio::time::Instant::now() + limit);
                }
                self.limit.poll(cx).map(|()| None)
            }
            ready => ready.map(Some),
        });
        let piece = piece.await.ok_or(AskError::Late)?;
        piece.map_err(|error| AskError::Broken { error, reused: self.reused, unsent: false })
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            if let Some(piece) = self.take()? {
                self.let_go();
                return Poll::Ready(Ok(Some(piece)));
            }
            if self.left == Left::Done {
                self.let_go();
                return Poll::Ready(Ok(None));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                let whole = self.left == Left::All;
                self.left = Left::Done;
                self.keep_alive = false;
                return Poll::Ready(if whole { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) });
            }
        }
    }

    /// Takes data out of what was read; `None` if there is none.
    fn take(&mut self) -> io::Result<Option<Bytes>> {
        let mut data = None;
        loop {
            let most = match self.left {
                Left::Length(left) | Left::Chunk(left) => left,
                Left::All => u64::MAX,
                _ => 0,
            };
            if most > 0 && data.is_none() {
                let here = self.read.len().min(PIECE).min(usize::try_from(most).unwrap_or(usize::MAX));
                if here == 0 {
                    return Ok(None);
                }
                data = Some(self.read.split_to(here).freeze());
                let left = most - here as u64;
                self.left = match self.left {
                    Left::Chunk(_) if left == 0 => Left::ChunkEnd,
                    Left::Chunk(_) => Left::Chunk(left),
                    Left::Length(_) if left == 0 => Left::Done,
                    Left::Length(_) => Left::Length(left),
                    other => other,
                };
            }
            // What follows the data is taken as far as it is here, so that the end is known with the last piece.
            if !self.step()? {
                return Ok(data);
            }
        }
    }

    /// Takes one part of the framing of chunks; `false`: that is not what comes next, or not here yet.
    fn step(&mut self) -> io::Result<bool> {
        if self.left == Left::ChunkEnd && self.read.len() < 2 || matches!(self.left, Left::Done | Left::All) {
            return Ok(false);
        }
        match self.left {
            Left::ChunkEnd => {
                if !self.read.starts_with(b"\r\n") {
                    return Err(invalid("a chunk that does not end where it should"));
                }
                self.read.advance(2);
                self.left = Left::Size;
            }
            Left::Size => {
                let Some(line) = self.line()? else { return Ok(false) };
                self.left = match chunk_size(&line).ok_or_else(|| invalid("a chunk without a size"))? {
                    0 => Left::Trailers(0),
                    size => Left::Chunk(size),
                };
            }
            Left::Trailers(read) => {
                let Some(line) = self.line()? else { return Ok(false) };
                self.left = match line.len() {
                    0 => Left::Done,
                    more if read + more > LINE => return Err(invalid("trailers without an end")),
                    more => Left::Trailers(read + more),
                };
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The next line without its CRLF, if it is here.
    fn line(&mut self) -> io::Result<Option<BytesMut>> {
        match memchr(b'\n', &self.read) {
            Some(end) if end <= LINE => {
                let mut line = self.read.split_to(end + 1);
                if !line.ends_with(b"\r\n") {
                    return Err(invalid("a bare LF among chunks"));
                }
                line.truncate(end - 1);
                Ok(Some(line))
            }
            None if self.read.len() <= LINE => Ok(None),
            _ => Err(invalid("a line among chunks without an end")),
        }
    }
}

/// The size a line says; what stands behind `;` is an extension (RFC 9112 section 7.1.1).
fn chunk_size(line: &[u8]) -> Option<u64> {
    let size = line.split(|b| *b == b';').next()?.trim_ascii_end();
    if !(1..=16).contains(&size.len()) || !size.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Out {
    fn new(request: &Request<Bytes>) -> Self {
        let body = request.body();
        let path = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let with = if body.len() <= SMALL { body.len() } else { 0 };
        let fields: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let mut head = BytesMut::with_capacity(request.method().as_str().len() + path.len() + 16 + fields + with);
        for part in [request.method().as_str(), " ", path, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        for (name, value) in request.headers() {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let mut body = body.clone();
        if with > 0 {
            head.extend_from_slice(&body);
            body = Bytes::new();
        }
        Self { head: head.freeze(), body, begun: false, failed: None }
    }

    fn is_empty(&self) -> bool {
        self.head.is_empty() && self.body.is_empty()
    }

    /// Writes what the replica takes.
    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) {
        while !self.is_empty() && self.failed.is_none() {
            let stream = Pin::new(&mut *stream);
            let written = if self.body.is_empty() {
                stream.poll_write(cx, &self.head)
            } else {
                stream.poll_write_vectored(cx, &[IoSlice::new(&self.head), IoSlice::new(&self.body)])
            };
            match written {
                Poll::Ready(Ok(0)) => self.failed = Some(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    self.begun = true;
                    let of_head = written.min(self.head.len());
                    self.head.advance(of_head);
                    self.body.advance((written - of_head).min(self.body.len()));
                }
                Poll::Ready(Err(e)) => self.failed = Some(e),
                Poll::Pending => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    const SOON: Duration = Duration::from_secs(10);

    async fn pair() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = Link::open(listener.local_addr().unwrap(), SOON).await.unwrap();
        (link, listener.accept().await.unwrap().0)
    }

    fn request(method: &str) -> Request<Bytes> {
        Request::builder().method(method).uri("/a?b").header("host", "h").body(Bytes::new()).unwrap()
    }

    /// What a replica's bytes, arriving in these parts, are read as: status, body, and whether the connection is kept.
    async fn read(method: &str, parts: &[&[u8]]) -> Result<(u16, Vec<u8>, bool), String> {
        let (mut link, mut replica) = pair().await;
        let mut out = Vec::new();
        let asking = async {
            let head = link.send(&request(method), Instant::now() + SOON).await.map_err(|e| e.to_string())?;
            while let Some(piece) = link.piece(SOON).await.map_err(|e| e.to_string())? {
                assert!(!piece.is_empty() && piece.len() <= PIECE);
                out.extend_from_slice(&piece);
            }
            Ok::<_, String>(head.status.as_u16())
        };
        let answering = async {
            let mut seen = [0; 256];
            assert!(replica.read(&mut seen).await.unwrap() > 0);
            for part in parts {
                replica.write_all(part).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            if parts.last() == Some(&&b""[..]) {
                replica.shutdown().await.unwrap();
            }
        };
        let (status, ()) = tokio::join!(asking, answering);
        Ok((status?, out, link.is_free()))
    }

    #[tokio::test]
    async fn bodies_end_where_their_head_says() {
        let cases: [(&str, &[u8], &[u8], bool); 8] = [
            ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello", true),
            ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello", b"hello", false),
            ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b"", true),
            ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"", true),
            ("GET", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", b"x", true),
            ("GET", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1;a=b\r\n!\r\n0\r\nx-t: 1\r\n\r\n", b"hello!", true),
            ("GET", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello", false),
            ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", b"ok", false),
        ];
        for (method, bytes, body, kept) in cases {
            // However the bytes are cut.
            let middle = bytes.len() / 2;
            let most: Vec<&[u8]> = bytes.chunks(if bytes.len() > 150 { 7 } else { 1 }).collect();
            for parts in [&[bytes][..], &[&bytes[..middle], &bytes[middle..]], &most] {
                let read = read(method, parts).await.unwrap();
                assert_eq!(&read.1, body, "{}", bytes.escape_ascii());
                // What comes behind a response may not have come yet.
                assert!(read.2 == kept || parts.len() > 1, "{}", bytes.escape_ascii());
            }
        }
        let until_close = read("GET", &[b"HTTP/1.1 200 OK\r\n\r\n", b"to the ", b"end", b""]).await.unwrap();
        assert_eq!(until_close, (200, b"to the end".to_vec(), false));
    }

    #[tokio::test]
    async fn what_is_no_response_is_told() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"[..],
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloXX",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\n",
            b"HTTP/1.1 200",
            b"",
            b"SMTP ready\r\n\r\n",
        ] {
            assert!(read("GET", &[bytes, b""]).await.is_err(), "{}", bytes.escape_ascii());
        }
        let endless = [&b"HTTP/1.1 200 OK\r\nx: "[..], &[b'x'; HEAD]].concat();
        assert!(read("GET", &[&endless]).await.is_err());
        let long = [&b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;"[..], &[b'x'; LINE + 1]].concat();
        assert!(read("GET", &[&long]).await.is_err());
    }

    #[tokio::test]
    async fn an_answer_may_come_before_the_request_is_whole() {
        let (mut link, mut replica) = pair().await;
        let large = Request::post("/").body(Bytes::from(vec![b'x'; 32 << 20])).unwrap();
        let answering = tokio::spawn(async move {
            assert!(replica.read(&mut [0; 1024]).await.unwrap() > 0);
            replica.write_all(b"HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            replica
        });
        let head = tokio::time::timeout(SOON, link.send(&large, Instant::now() + SOON)).await.unwrap().unwrap();
        assert_eq!(head.status.as_u16(), 413);
        assert!(link.is_done() && !link.is_free(), "half a request has been sent");
        drop(answering.await.unwrap());
    }

    #[tokio::test]
    async fn nothing_is_held_while_the_replica_is_waited_for_or_the_client_is() {
        let (mut link, mut replica) = pair().await;
        let body = vec![b'x'; 10 * PIECE];
        let answering = tokio::spawn(async move {
            assert!(replica.read(&mut [0; 256]).await.unwrap() > 0);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len() + 1);
            replica.write_all(head.as_bytes()).await.unwrap();
            replica.write_all(&body).await.unwrap();
            replica
        });
        link.send(&request("GET"), Instant::now() + SOON).await.unwrap();
        let mut read = 0;
        while read < 10 * PIECE {
            let piece = link.piece(SOON).await.unwrap().unwrap();
            read += piece.len();
            assert!(piece.len() <= PIECE && link.read.capacity() <= PIECE);
        }
        assert!(matches!(link.piece(Duration::from_millis(20)).await, Err(AskError::Late)));
        assert_eq!(link.read.capacity(), 0);
        drop(answering.await.unwrap());
    }
}
