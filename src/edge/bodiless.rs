//! An HTTP/1 exchange whose request has no body, without the base: most requests are such.
//!
//! The head that was checked is the head that is used, and nothing is parsed twice or copied: fields share the buffer they
//! were read into. A response's head waits in the connection's write buffer for the first piece of its body, so that a
//! small response is one TLS record and one system call. Every piece is flushed before it counts as written: who waits for
//! it holds nothing but what TLS has made of it.
//!
//! Where the base is needed after all (the cache), the exchange is handed over to it whole: [`Bodiless::into_base`].

use crate::request::head::RequestHead;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Version, header};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::date::get_cached_date;
use pingora_http::ResponseHeader;
use std::future::poll_fn;
use std::io;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Poll, ready};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};

/// Read at a time while a client should only wait, in bytes.
const IDLE_READ: usize = 64;

/// How the body of the response is delimited (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// No head was written yet.
    Unsaid,
    /// There is none: HEAD, 204, 304.
    None,
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks.
    Chunked,
    /// The end of the connection ends it.
    Close,
    /// It has ended.
    Done,
}

/// One exchange on its connection.
pub(super) struct Bodiless {
    stream: Stream,
    method: Method,
    version: Version,
    target: Bytes,
    headers: HeaderMap,
    /// The head as it was sent.
    raw: Bytes,
    /// What came behind it: a next request.
    ahead: BytesMut,
    keep_alive: bool,
    framing: Framing,
    sent: usize,
}

impl Bodiless {
    /// Begins: `raw` is the head that was read as `head`, `ahead` what came behind it, and `keep_alive` what the client
    /// said of the connection.
    pub(super) fn new(stream: Stream, head: RequestHead, raw: Bytes, ahead: BytesMut, keep_alive: bool) -> Self {
        let RequestHead { method, target, version, headers } = head;
        Self { stream, method, version, target, headers, raw, ahead, keep_alive, framing: Framing::Unsaid, sent: 0 }
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// The request target as it was sent.
    pub(super) fn target(&self) -> Bytes {
        self.target.clone()
    }

    /// The method as it was sent.
    pub(super) fn method_name(&self) -> Bytes {
        self.raw.slice(..self.method.as_str().len())
    }

    /// The fields; they go to whoever asks first.
    pub(super) fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.headers)
    }

    /// The connection ends with this exchange.
    pub(super) fn last(&mut self) {
        self.keep_alive = false;
    }

    /// Response body bytes written, framing aside.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    /// Writes a 103 with these fields (RFC 8297), and has it on its way.
    ///
    /// # Errors
    /// The client left.
    pub(super) async fn hints(&mut self, links: &HeaderMap) -> io::Result<()> {
        let mut out = b"HTTP/1.1 103 Early Hints\r\n".to_vec();
        for (name, value) in links {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(b"\r\n");
        self.stream.write_all(&out).await?;
        self.stream.flush().await
    }

    /// Writes the head of the response, once.
    ///
    /// # Errors
    /// The client left.
    pub(super) async fn head(&mut self, head: &ResponseHeader) -> io::Result<()> {
        self.framing = self.framed(head);
        self.keep_alive &= self.framing != Framing::Close;
        let mut out = Vec::with_capacity(512);
        let reason = head.status.canonical_reason().unwrap_or_default();
        write!(out, "HTTP/1.1 {} {reason}\r\n", head.status.as_str())?;
        for (name, value) in &head.headers {
            if *name == header::DATE || *name == header::CONNECTION {
                continue;
            }
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(get_cached_date().as_bytes());
        let end: &[u8] =
            if self.keep_alive { b"\r\nconnection: keep-alive\r\n\r\n" } else { b"\r\nconnection: close\r\n\r\n" };
        out.extend_from_slice(end);
        self.stream.write_all(&out).await
    }

    fn framed(&self, head: &ResponseHeader) -> Framing {
        if self.method == Method::HEAD || matches!(head.status.as_u16(), 204 | 304) {
            return Framing::None;
        }
        if head.headers.contains_key(header::TRANSFER_ENCODING) {
            // The gate knows no other coding.
            return Framing::Chunked;
        }
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        length.map_or(Framing::Close, Framing::Length)
    }

    /// Writes a piece of the body, and has it on its way.
    ///
    /// # Errors
    /// The client left, or the body is not as long as its head said.
    pub(super) async fn body(&mut self, piece: Bytes, end: bool) -> io::Result<()> {
        let length = piece.len() as u64;
        match &mut self.framing {
            Framing::Length(left) => {
                let over = || io::Error::new(io::ErrorKind::InvalidData, "a body longer than its head said");
                *left = left.checked_sub(length).ok_or_else(over)?;
                if end && *left > 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a body shorter than its head said"));
                }
                self.stream.write_all(&piece).await?;
            }
            Framing::Chunked => {
                if !piece.is_empty() {
                    let mut line = [0; 18];
                    let mut rest = &mut line[..];
                    write!(rest, "{length:x}\r\n")?;
                    let unused = rest.len();
                    self.stream.write_all(line.get(..line.len() - unused).unwrap_or_default()).await?;
                    self.stream.write_all(&piece).await?;
                    self.stream.write_all(b"\r\n").await?;
                }
                if end {
                    self.stream.write_all(b"0\r\n\r\n").await?;
                }
            }
            Framing::Close => self.stream.write_all(&piece).await?,
            Framing::None => {}
            Framing::Unsaid | Framing::Done => return Err(io::Error::other("a body without a head, or after its end")),
        }
        if !matches!(self.framing, Framing::None) {
            self.sent += piece.len();
        }
        if end {
            self.framing = Framing::Done;
        }
        // TLS has its own copy: no second one is held while the client does not take it.
        drop(piece);
        self.stream.flush().await
    }

    /// Ends when the client has left. What it sends meanwhile is kept for its turn.
    pub(super) async fn gone(&mut self) -> io::Error {
        let (stream, ahead) = (&mut self.stream, &mut self.ahead);
        poll_fn(|cx| {
            if !ahead.is_empty() {
                return Poll::Pending;
            }
            let mut first = [0; IDLE_READ];
            let mut buf = ReadBuf::new(&mut first);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf)) {
                Ok(()) if buf.filled().is_empty() => {
                    Poll::Ready(io::Error::new(io::ErrorKind::ConnectionAborted, "the client left"))
                }
                Ok(()) => {
                    ahead.extend_from_slice(buf.filled());
                    Poll::Pending
                }
                Err(e) => Poll::Ready(e),
            }
        })
        .await
    }

    /// After the response: the connection and what has come of a next request; `None` if this was the last one.
    ///
    /// # Errors
    /// The response was not written whole, or the client left.
    pub(super) async fn finish(mut self) -> io::Result<Option<(Stream, BytesMut)>> {
        match self.framing {
            Framing::Done => {}
            Framing::None | Framing::Length(0) => self.stream.flush().await?,
            Framing::Chunked => {
                self.stream.write_all(b"0\r\n\r\n").await?;
                self.stream.flush().await?;
            }
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        if self.keep_alive {
            return Ok(Some((self.stream, self.ahead)));
        }
        // The peer may have gone first: there is nobody left to tell about a failure.
        let _ = self.stream.shutdown().await;
        Ok(None)
    }

    /// The connection, with whatever state it is in.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// The same exchange as a session of the base, nothing of the response being written; `None` if the base refuses it.
    pub(super) async fn into_base(self) -> Option<Box<ServerSession>> {
        super::downstream::base(self.stream, &self.raw, &self.ahead, self.keep_alive).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::conn::Conn;
    use super::super::socket::Socket;
    use super::*;
    use crate::request::head;
    use std::time::Duration;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    async fn begin(head: &str, ahead: &str, keep_alive: bool) -> (Bodiless, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let socket = Socket::new(listener.accept().await.unwrap().0, Duration::from_secs(10), 0);
        let raw = Bytes::copy_from_slice(head.as_bytes());
        let read = head::request(&raw).unwrap();
        let stream: Stream = Box::new(Conn::plain(socket));
        (Bodiless::new(stream, read, raw, BytesMut::from(ahead), keep_alive), client)
    }

    fn response(status: u16, fields: &[(&'static str, &'static str)]) -> ResponseHeader {
        let mut head = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            head.append_header(*name, *value).unwrap();
        }
        head
    }

    /// What a client sees of a response, date aside, whether the connection goes on, and how many reads it took at least.
    async fn seen(method: &str, head: ResponseHeader, pieces: &[&'static str]) -> (String, bool) {
        let (mut session, mut client) = begin(&format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"), "", true).await;
        session.head(&head).await.unwrap();
        for (at, piece) in pieces.iter().enumerate() {
            session.body(Bytes::from_static(piece.as_bytes()), at + 1 == pieces.len()).await.unwrap();
        }
        let goes_on = session.finish().await.unwrap();
        let reused = goes_on.is_some();
        drop(goes_on);
        let mut all = String::new();
        client.read_to_string(&mut all).await.unwrap();
        let (before, rest) = all.split_once("date: ").unwrap();
        let (_, after) = rest.split_once("\r\n").unwrap();
        (format!("{before}{after}"), reused)
    }

    #[tokio::test]
    async fn responses_are_framed_as_their_heads_say() {
        let length = || response(200, &[("content-length", "5"), ("x-a", "1"), ("date", "gone"), ("connection", "x")]);
        let expected = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: 1\r\nconnection: keep-alive\r\n\r\n";
        assert_eq!(seen("GET", length(), &["hel", "lo"]).await, (format!("{expected}hello"), true));
        assert_eq!(seen("HEAD", length(), &[""]).await, (expected.to_owned(), true));
        let chunked = || response(404, &[("transfer-encoding", "chunked")]);
        let expected = "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n";
        let body = "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
        assert_eq!(seen("GET", chunked(), &["hel", "lo"]).await, (format!("{expected}{body}"), true));
        assert_eq!(seen("GET", chunked(), &["hel", "lo", ""]).await, (format!("{expected}{body}"), true));
        let until_close = seen("GET", response(200, &[]), &["hello"]).await;
        assert_eq!(until_close, ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello".to_owned(), false));
        let none = seen("GET", response(304, &[]), &[""]).await;
        assert_eq!(none, ("HTTP/1.1 304 Not Modified\r\nconnection: keep-alive\r\n\r\n".to_owned(), true));
    }

    #[tokio::test]
    async fn a_body_of_another_length_than_its_head_said_is_cut_off() {
        for pieces in [&["hello!"][..], &["hel", "lo", "!"], &["hell"]] {
            let (mut session, _client) = begin("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "", true).await;
            session.head(&response(200, &[("content-length", "5")])).await.unwrap();
            let mut outcome = Ok(());
            for (at, piece) in pieces.iter().enumerate() {
                outcome = session.body(Bytes::from_static(piece.as_bytes()), at + 1 == pieces.len()).await;
                if outcome.is_err() {
                    break;
                }
            }
            assert!(outcome.is_err(), "{pieces:?}");
        }
        let (mut session, _client) = begin("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "", true).await;
        session.head(&response(200, &[("content-length", "5")])).await.unwrap();
        assert!(session.finish().await.is_err(), "unfinished");
    }

    #[tokio::test]
    async fn what_a_client_sends_meanwhile_waits_for_its_turn() {
        let (mut session, mut client) = begin("GET / HTTP/1.0\r\nhost: a\r\n\r\n", "", true).await;
        assert_eq!((session.method_name(), session.target()), (Bytes::from("GET"), Bytes::from("/")));
        client.write_all(b"GET /next HT").await.unwrap();
        let waits = tokio::time::timeout(Duration::from_millis(50), session.gone()).await;
        assert!(waits.is_err(), "it is still there");
        session.head(&response(200, &[("content-length", "0")])).await.unwrap();
        session.body(Bytes::new(), true).await.unwrap();
        let (_stream, ahead) = session.finish().await.unwrap().unwrap();
        assert_eq!(&ahead[..], b"GET /next HT");

        let (mut session, client) = begin("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "", true).await;
        drop(client);
        tokio::time::timeout(Duration::from_secs(10), session.gone()).await.unwrap();
    }

    #[tokio::test]
    async fn the_base_can_take_over() {
        let head = "GET /a?b HTTP/1.1\r\nhost: a\r\nx-a: 1\r\n\r\n";
        let (session, _client) = begin(head, "GET /next HTTP/1.1\r\n", true).await;
        let session = session.into_base().await.unwrap();
        assert_eq!(session.req_header().raw_path(), b"/a?b");
        assert_eq!(session.req_header().headers["x-a"], "1");
        assert!(session.get_keepalive().is_some());
        let (session, _client) = begin(head, "", false).await;
        assert!(session.into_base().await.unwrap().get_keepalive().is_none());
    }
}
