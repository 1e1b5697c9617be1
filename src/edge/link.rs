//! One HTTP/1.1 connection to a replica: a request is written, its response read a piece at a time.
//!
//! A connection belongs to the exchange that uses it and is driven by that exchange's own task: no task, channel or timer
//! per connection. The request is written on while the response comes; if that ends first, the connection serves no other.
//! The request's body is at hand, or flows (`outgoing`): then in chunks (RFC 9112 section 7.1), if its head says no length.
//! Interim responses (1xx, RFC 9110 section 15.2) are told to whoever waits for the response; trailers (section 6.5) come
//! after its body.
//!
//! Memory: room for one read, [`PIECE`] bytes, from when there is something to read until the piece has been taken and
//! dropped; none while the replica is waited for. A head may have [`HEAD`] bytes, trailers [`LINE`].

use super::kept::{AskError, Fault, Interim, Key, Piece};
use super::limit::Limit;
use super::outgoing::Outgoing;
use crate::balance::Wire;
use crate::request::head;
use crate::request::wire::Body;
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use memchr::memchr;
use std::io::{self, IoSlice, Write as _};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

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
    wire: Wire,
    key: Key,
    /// It had been kept from an earlier exchange.
    pub(super) reused: bool,
    /// While kept: when it is let go.
    pub(super) until: Instant,
    /// Read, and not yet taken.
    read: BytesMut,
    left: Left,
    /// Trailer lines that were read.
    section: BytesMut,
    trailers: Option<Box<HeaderMap>>,
    /// The request.
    out: Out,
    /// Whether it may serve again once the body has ended.
    keep_alive: bool,
    /// How long the replica may be silent.
    limit: Limit,
}

impl Link {
    /// HTTP/1.1 on a new connection; `key`: whose it is.
    pub(super) fn new(wire: Wire, key: Key) -> Self {
        Self {
            wire,
            key,
            reused: false,
            until: Instant::now(),
            read: BytesMut::new(),
            left: Left::Done,
            section: BytesMut::new(),
            trailers: None,
            out: Out::default(),
            keep_alive: true,
            limit: Limit::default(),
        }
    }

    /// Whose it is.
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// Whether it stands and has nothing under way.
    pub(super) fn is_free(&mut self) -> bool {
        // Anything that comes unasked, the end too, is not for the next exchange.
        let done = self.is_done() && self.out.has_gone() && self.keep_alive && self.read.is_empty();
        done && self.wire.is_quiet()
    }

    /// Whether the response has ended, trailers with it.
    pub(super) fn is_done(&self) -> bool {
        self.left == Left::Done && self.trailers.is_none()
    }

    /// Sends a request, and reads the head of the response; interim ones go to `interim`.
    ///
    /// # Errors
    /// [`AskError`]: `Broken`, or `Late` when there was none until then.
    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
        until: Instant,
        interim: &Interim,
    ) -> Result<Response<()>, AskError> {
        let head_only = request.method() == Method::HEAD;
        self.out = Out::new(request);
        self.keep_alive = true;
        self.trailers = None;
        self.limit.set(until.into());
        let answer = std::future::poll_fn(|cx| match self.exchange(cx, interim) {
            Poll::Pending => self.limit.poll(cx).map(|()| None),
            ready => ready.map(Some),
        });
        let head = answer.await.ok_or(AskError::Late)?.map_err(|error| self.broken(error, !self.out.begun))?;
        self.keep_alive &= head.keep_alive;
        let bodiless = head_only
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
        let mut response = Response::new(());
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(response)
    }

    fn broken(&self, error: io::Error, unsent: bool) -> AskError {
        AskError::Broken { error: Fault::Http1(error), reused: self.reused, unsent, refused: false }
    }

    fn exchange(&mut self, cx: &mut Context<'_>, interim: &Interim) -> Poll<io::Result<head::ResponseHead>> {
        self.out.poll_write(cx, &mut self.wire);
        let mut seen = 0;
        loop {
            if let Some(end) = head::response_end(&self.read, seen) {
                let head = head::response(&self.read.split_to(end).freeze()).map_err(invalid)?;
                if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
                    interim.note(head.status, &head.headers);
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
                    return Poll::Ready(Err(self
                        .out
                        .failed
                        .take()
                        .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                // Whoever takes no request may have said why; if not, nothing more will come.
                Poll::Pending => return self.out.failed.take().map_or(Poll::Pending, |e| Poll::Ready(Err(e))),
            }
        }
    }

    /// Reads what there is; 0: the connection has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.wire.poll_readable(cx))?;
        self.read.reserve(PIECE);
        let read = pin!(self.wire.read_buf(&mut self.read)).poll(cx);
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

    /// The next of the response's body.
    ///
    /// # Errors
    /// [`AskError`]: `Late` when nothing came for `limit`.
    pub(super) async fn next(&mut self, limit: Duration) -> Result<Piece, AskError> {
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
        let piece = piece.await.ok_or(AskError::Late)?.map_err(|error| self.broken(error, false))?;
        Ok(match piece {
            Some(data) => Piece::Data(data, self.is_done()),
            None => self.trailers.take().map_or(Piece::End, |trailers| Piece::Trailers(*trailers)),
        })
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if !self.out.has_gone() {
            self.out.poll_write(cx, &mut self.wire);
        }
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
                if !line.is_empty() || !self.section.is_empty() {
                    self.section.extend_from_slice(&line);
                    self.section.extend_from_slice(b"\r\n");
                }
                if line.is_empty() && !self.section.is_empty() {
                    let section = std::mem::take(&mut self.section).freeze();
                    self.trailers = Some(Box::new(head::trailers(&section).map_err(invalid)?));
                }
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

/// A request on its way out: three parts of what is being written, and where more of it comes from.
#[derive(Debug, Default)]
struct Out {
    head: Bytes,
    body: Bytes,
    tail: &'static [u8],
    more: More,
    begun: bool,
    flushed: bool,
    failed: Option<io::Error>,
    /// Something failed: however the response comes, what is written next would be read as the rest of this request.
    broken: bool,
}

/// What comes of a request after what is being written.
#[derive(Debug, Default)]
enum More {
    /// Nothing.
    #[default]
    None,
    /// So many bytes, as its head said.
    Length(Outgoing, u64),
    /// Chunks.
    Chunks(Outgoing),
}

impl Out {
    fn new(request: Request<Outgoing>) -> Self {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let (mut whole, source) = match body {
            Outgoing::Whole(bytes) => (bytes, None),
            fed => (Bytes::new(), Some(fed)),
        };
        let with = if whole.len() <= SMALL { whole.len() } else { 0 };
        let fields: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let mut head = BytesMut::with_capacity(parts.method.as_str().len() + path.len() + 64 + fields + with);
        for part in [parts.method.as_str(), " ", path, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        let (chunked, length) = (header::TRANSFER_ENCODING, header::CONTENT_LENGTH);
        for (name, value) in parts.headers.iter().filter(|(name, _)| source.is_some() || **name != chunked) {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        let unsaid = parts.headers.contains_key(&chunked) || !whole.is_empty() && !parts.headers.contains_key(length);
        if source.is_none() && unsaid {
            // A body that is at hand goes with its length, and never in chunks that nobody makes.
            head.extend_from_slice(format!("content-length: {}\r\n", whole.len()).as_bytes());
        }
        if parts.headers.contains_key(header::TE) {
            // A field of this hop alone, which says so (RFC 9110 section 10.1.4).
            head.extend_from_slice(b"connection: te\r\n");
        }
        let length = || parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let more = match source {
            None => More::None,
            Some(source) if parts.headers.contains_key(header::TRANSFER_ENCODING) => More::Chunks(source),
            Some(source) => match length() {
                Some(length) => More::Length(source, length),
                None => {
                    // Whatever the method: a body without a framing would be the next request.
                    head.extend_from_slice(b"transfer-encoding: chunked\r\n");
                    More::Chunks(source)
                }
            },
        };
        head.extend_from_slice(b"\r\n");
        if with > 0 {
            head.extend_from_slice(&whole);
            whole = Bytes::new();
        }
        Self { head: head.freeze(), body: whole, more, ..Self::default() }
    }

    /// Whether all of it was written, as its head says.
    fn has_gone(&self) -> bool {
        !self.broken && self.is_empty() && matches!(self.more, More::None) && (self.flushed || !self.begun)
    }

    fn fail(&mut self, error: io::Error) {
        self.broken = true;
        self.failed = Some(error);
    }

    fn is_empty(&self) -> bool {
        self.head.is_empty() && self.body.is_empty() && self.tail.is_empty()
    }

    /// Writes what the replica takes.
    fn poll_write(&mut self, cx: &mut Context<'_>, wire: &mut Wire) {
        while self.failed.is_none() {
            if self.is_empty() {
                match self.poll_more(cx) {
                    Poll::Ready(Ok(true)) => continue,
                    Poll::Ready(Err(e)) => self.fail(e),
                    Poll::Ready(Ok(false)) | Poll::Pending => {}
                }
                break;
            }
            self.flushed = false;
            let written = if self.body.is_empty() && self.tail.is_empty() {
                Pin::new(&mut *wire).poll_write(cx, &self.head)
            } else {
                let parts = [IoSlice::new(&self.head), IoSlice::new(&self.body), IoSlice::new(self.tail)];
                Pin::new(&mut *wire).poll_write_vectored(cx, &parts)
            };
            match written {
                Poll::Ready(Ok(0)) => self.fail(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    self.begun = true;
                    let of_head = written.min(self.head.len());
                    self.head.advance(of_head);
                    let of_body = (written - of_head).min(self.body.len());
                    self.body.advance(of_body);
                    self.tail = self.tail.get(written - of_head - of_body..).unwrap_or_default();
                    if self.body.is_empty() {
                        // Even an empty slice keeps its buffer, and the connection may be kept for long.
                        self.body = Bytes::new();
                    }
                }
                Poll::Ready(Err(e)) => self.fail(e),
                Poll::Pending => return,
            }
        }
        if !self.flushed && self.failed.is_none() {
            match Pin::new(wire).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.flushed = true,
                Poll::Ready(Err(e)) => self.fail(e),
                Poll::Pending => {}
            }
        }
    }

    /// Looks for more to write; `false`: there is none.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let source = match &mut self.more {
            More::None => return Poll::Ready(Ok(false)),
            More::Length(source, _) | More::Chunks(source) => source,
        };
        let piece = ready!(source.poll_piece(cx)).transpose().map_err(io::Error::other)?;
        if piece.as_ref().is_some_and(Bytes::is_empty) {
            return Poll::Ready(Ok(true));
        }
        match std::mem::take(&mut self.more) {
            More::None => {}
            More::Length(source, left) => match piece {
                Some(piece) => {
                    let over = || invalid("a request body longer than its head said");
                    self.more = More::Length(source, left.checked_sub(piece.len() as u64).ok_or_else(over)?);
                    self.body = piece;
                }
                None if left > 0 => return Poll::Ready(Err(invalid("a request body shorter than its head said"))),
                None => {}
            },
            More::Chunks(source) => match piece {
                Some(piece) => {
                    let mut line = Vec::with_capacity(18);
                    write!(line, "{:x}\r\n", piece.len())?;
                    (self.head, self.body, self.tail) = (line.into(), piece, b"\r\n");
                    self.more = More::Chunks(source);
                }
                None => self.tail = b"0\r\n\r\n",
            },
        }
        Poll::Ready(Ok(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    const SOON: Duration = Duration::from_secs(10);

    async fn pair() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        (Link::new(Wire::Plain(stream), (address, 0)), listener.accept().await.unwrap().0)
    }

    fn request(method: &str) -> Request<Outgoing> {
        let whole = Outgoing::Whole(Bytes::new());
        Request::builder().method(method).uri("/a?b").header("host", "h").body(whole).unwrap()
    }

    async fn send(link: &mut Link, request: Request<Outgoing>) -> Result<u16, String> {
        let head = link.send(request, Instant::now() + SOON, &Interim::default()).await;
        head.map(|head| head.status().as_u16()).map_err(|e| e.to_string())
    }

    /// What a replica's bytes, arriving in these parts, are read as: status, body, and whether the connection is kept.
    async fn read(method: &str, parts: &[&[u8]]) -> Result<(u16, Vec<u8>, bool), String> {
        let (mut link, mut replica) = pair().await;
        let mut out = Vec::new();
        let asking = async {
            let status = send(&mut link, request(method)).await?;
            while let Piece::Data(piece, last) = link.next(SOON).await.map_err(|e| e.to_string())? {
                assert!(!piece.is_empty() && piece.len() <= PIECE && last == link.is_done());
                out.extend_from_slice(&piece);
            }
            Ok::<_, String>(status)
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
        let large = Request::post("/").body(Outgoing::Whole(vec![b'x'; 32 << 20].into())).unwrap();
        let answering = tokio::spawn(async move {
            assert!(replica.read(&mut [0; 1024]).await.unwrap() > 0);
            replica.write_all(b"HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            replica
        });
        assert_eq!(send(&mut link, large).await, Ok(413));
        assert!(link.is_done() && !link.is_free(), "half a request has been sent");
        drop(answering.await.unwrap());
    }

    /// What a replica reads of a request whose body flows in these pieces.
    async fn flowing(method: &str, field: (&str, &str), pieces: &[&'static str]) -> Result<String, String> {
        let (mut link, mut replica) = pair().await;
        let (feed, body) = Outgoing::fed();
        let mut request = request(method).map(|_| body);
        if !field.0.is_empty() {
            let name = http::HeaderName::from_bytes(field.0.as_bytes()).unwrap();
            request.headers_mut().insert(name, field.1.parse().unwrap());
        }
        let feeding = async {
            for piece in pieces {
                assert!(feed.room().await);
                feed.give(Bytes::from_static(piece.as_bytes()));
            }
            assert!(feed.room().await);
            feed.end();
            std::future::pending::<()>().await;
        };
        let (mut seen, mut answered) = (Vec::new(), false);
        let reading = async {
            while let Ok(1..) = replica.read_buf(&mut seen).await {
                let all = seen.escape_ascii().to_string();
                let ended = all.ends_with("\\r\\n0\\r\\n\\r\\n") || !all.contains("chunked") && all.ends_with("hello");
                if !answered && ended {
                    answered = true;
                    replica.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                }
            }
        };
        let status = tokio::select! {
            status = send(&mut link, request) => status,
            () = feeding => unreachable!(),
            () = reading => unreachable!(),
        };
        let whole = pieces.concat().len().to_string();
        let as_said = field.0 != "content-length" || field.1 == whole;
        assert!(status.is_err() || link.is_free() == as_said, "{field:?}: never kept for another request otherwise");
        status.map(|_| String::from_utf8(seen).unwrap())
    }

    #[tokio::test]
    async fn a_body_that_flows_is_framed_as_its_head_says() {
        let head = |method: &str, field: &str| format!("{method} /a?b HTTP/1.1\r\nhost: h\r\n{field}\r\n");
        let chunks = "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
        let chunked = "transfer-encoding: chunked\r\n";
        let seen = flowing("POST", ("transfer-encoding", "chunked"), &["hel", "", "lo"]).await.unwrap();
        assert_eq!(seen, head("POST", chunked) + chunks);
        let seen = flowing("POST", ("content-length", "5"), &["hel", "lo"]).await.unwrap();
        assert_eq!(seen, head("POST", "content-length: 5\r\n") + "hello");
        assert_eq!(flowing("GET", ("", ""), &["hel", "lo"]).await.unwrap(), head("GET", chunked) + chunks);
        assert_eq!(flowing("GET", ("", ""), &[]).await.unwrap(), head("GET", chunked) + "0\r\n\r\n");
        for (said, pieces) in [("6", &["hel", "lo"][..]), ("4", &["hel", "lo"])] {
            // The replica may have answered before it shows.
            if let Err(why) = flowing("POST", ("content-length", said), pieces).await {
                assert!(why.contains("than its head said"), "{why}");
            }
        }
    }

    #[tokio::test]
    async fn a_body_is_let_go_once_it_was_sent() {
        let (mut link, mut replica) = pair().await;
        let whole = Bytes::from(vec![b'x'; 64 * 1024]);
        let request = Request::post("/").header("content-length", whole.len()).body(Outgoing::Whole(whole.clone()));
        let answering = async {
            let mut seen = Vec::new();
            while seen.iter().filter(|byte| **byte == b'x').count() < whole.len() {
                replica.read_buf(&mut seen).await.unwrap();
            }
            replica.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        };
        let (status, ()) = tokio::join!(send(&mut link, request.unwrap()), answering);
        assert_eq!(status, Ok(204));
        assert!(whole.is_unique(), "the connection, which may be kept, has no part of it");
    }

    #[tokio::test]
    async fn a_body_at_hand_is_framed_by_its_length() {
        for (body, field, sent) in [
            ("", ("transfer-encoding", "chunked"), "content-length: 0\r\n\r\n"),
            ("hello", ("transfer-encoding", "chunked"), "content-length: 5\r\n\r\nhello"),
            ("hello", ("x-a", "1"), "x-a: 1\r\ncontent-length: 5\r\n\r\nhello"),
            ("hello", ("content-length", "5"), "content-length: 5\r\n\r\nhello"),
            ("", ("x-a", "1"), "x-a: 1\r\n\r\n"),
        ] {
            let (mut link, mut replica) = pair().await;
            let request = Request::post("/").header(field.0, field.1).body(Outgoing::Whole(body.into())).unwrap();
            replica.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            assert_eq!(send(&mut link, request).await, Ok(204));
            drop(link);
            let mut seen = String::new();
            replica.read_to_string(&mut seen).await.unwrap();
            assert_eq!(seen, format!("POST / HTTP/1.1\r\n{sent}"));
        }
    }

    #[tokio::test]
    async fn a_request_goes_on_while_its_response_comes() {
        let (mut link, mut replica) = pair().await;
        let large = Bytes::from(vec![b'x'; 32 << 20]);
        let request = Request::post("/").header("content-length", large.len());
        let request = request.body(Outgoing::Whole(large.clone())).unwrap();
        let echoing = tokio::spawn(async move {
            let mut piece = vec![0; 64 * 1024];
            let (mut left, mut begun) = (None, false);
            while left != Some(0) {
                let read = replica.read(&mut piece).await.unwrap();
                let body = match left {
                    None => piece[..read].windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4,
                    Some(_) => 0,
                };
                left = Some(left.unwrap_or(32 << 20) - (read - body));
                if !std::mem::replace(&mut begun, true) {
                    replica.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 33554432\r\n\r\n").await.unwrap();
                }
                replica.write_all(&piece[body..read]).await.unwrap();
            }
            replica
        });
        assert_eq!(send(&mut link, request).await, Ok(200));
        let mut read = 0;
        while let Piece::Data(piece, _) = link.next(SOON).await.unwrap() {
            read += piece.len();
        }
        assert!(read == large.len() && link.is_free());
        drop(echoing.await.unwrap());
    }

    #[tokio::test]
    async fn hints_are_told_and_trailers_come_after_the_body() {
        let (mut link, mut replica) = pair().await;
        replica
            .write_all(
                b"HTTP/1.1 100 Continue\r\nlink: <x>\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <a>\r\nlink: <b>\r\nx: 1\r\n\r\n\
                HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: 1\r\nx-a: 2\r\n\r\n",
            )
            .await
            .unwrap();
        let interim = Interim::new(true);
        let mut request = request("GET");
        request.headers_mut().insert(header::TE, "trailers".parse().unwrap());
        let head = link.send(request, Instant::now() + SOON, &interim).await.unwrap();
        let mut seen = [0; 256];
        let read = replica.read(&mut seen).await.unwrap();
        assert!(seen[..read].ends_with(b"te: trailers\r\nconnection: te\r\n\r\n"));
        let hints = interim.take().unwrap();
        assert_eq!((hints.len(), &hints[header::LINK], interim.take()), (2, &"<a>".parse().unwrap(), None));
        assert_eq!(head.status(), 200);
        assert!(matches!(link.next(SOON).await, Ok(Piece::Data(data, false)) if data == "ok") && !link.is_done());
        let Ok(Piece::Trailers(trailers)) = link.next(SOON).await else { panic!("no trailers") };
        assert_eq!(trailers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert!(matches!(link.next(SOON).await, Ok(Piece::End)) && link.is_free());
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
        send(&mut link, request("GET")).await.unwrap();
        let mut read = 0;
        while read < 10 * PIECE {
            let Piece::Data(piece, _) = link.next(SOON).await.unwrap() else { panic!("the end of {read}") };
            read += piece.len();
            assert!(piece.len() <= PIECE && link.read.capacity() <= PIECE);
        }
        assert!(matches!(link.next(Duration::from_millis(20)).await, Err(AskError::Late)));
        assert_eq!(link.read.capacity(), 0);
        drop(answering.await.unwrap());
    }
}
