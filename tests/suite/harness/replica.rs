//! A replica that records every byte it gets and answers by script.

use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Request line and fields, as text.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

/// The value of a field in a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// How the replica answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Status line rest, fields, body with its length.
    Whole(&'static str, Vec<(&'static str, String)>, Vec<u8>),
    /// After a while.
    Late(Duration, Box<Answer>),
    /// Head, then chunks with a pause before each.
    Chunks(&'static str, Vec<(Duration, &'static str)>),
    /// Half of a body, then the end.
    BreaksOff,
    /// Closes without a word.
    Closes,
    /// Resets the connection.
    Resets,
    /// These bytes as they are; the connection stays open.
    Raw(Vec<u8>),
    /// These bytes as they are, then the end.
    RawThenCloses(Vec<u8>),
    /// 101, then sends back every frame it gets.
    Echo,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::Whole("200 OK", vec![("content-type", "text/plain".to_owned())], body.into())
    }

    pub(crate) fn with(headers: &[(&'static str, &str)], body: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self::Whole("200 OK", headers, body.into())
    }
}

type Script = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

/// A running replica; stops when dropped.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
    script: Script,
    task: Option<JoinHandle<()>>,
}

impl Replica {
    pub(crate) async fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut replica = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            connections: Arc::default(),
            bytes: Arc::default(),
            script: Arc::new(script),
            task: None,
        };
        replica.serve(listener);
        replica
    }

    /// Answers 200 with a short text.
    pub(crate) async fn plain() -> Self {
        Self::start(|_| Answer::ok("hello")).await
    }

    fn serve(&mut self, listener: TcpListener) {
        let (seen, connections, bytes) = (self.seen.clone(), self.connections.clone(), self.bytes.clone());
        let script = self.script.clone();
        self.task = Some(tokio::spawn(async move {
            // Dropping the set ends every connection with the replica.
            let mut open = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                connections.fetch_add(1, Ordering::Relaxed);
                open.spawn(connection(stream, seen.clone(), bytes.clone(), script.clone()));
            }
        }));
    }

    /// Dies: the listener and all connections are gone.
    pub(crate) async fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Comes back on the same port.
    pub(crate) async fn revive(&mut self) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        self.serve(socket.listen(1024).unwrap());
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// Connections made to it and bytes received, of whatever kind.
    pub(crate) fn touched(&self) -> (usize, usize) {
        (self.connections.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn connection(mut stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>, bytes: Arc<AtomicUsize>, script: Script) {
    let mut buffer = Vec::new();
    loop {
        let Some(end) = read_until(&mut stream, &mut buffer, &bytes, |b| find(b, b"\r\n\r\n").map(|at| at + 4)).await
        else {
            return;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        let body = if field(&head, "transfer-encoding").is_some() {
            let Some(end) = read_until(&mut stream, &mut buffer, &bytes, chunks_end).await else { return };
            let raw: Vec<u8> = buffer.drain(..end).collect();
            unchunk(&raw)
        } else {
            let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            let whole = |b: &[u8]| (b.len() >= length).then_some(length);
            let Some(end) = read_until(&mut stream, &mut buffer, &bytes, whole).await else { return };
            buffer.drain(..end).collect()
        };
        let request = Seen { head, body };
        let answer = script(&request);
        let is_head = request.head.starts_with("HEAD ");
        seen.lock().push(request.clone());
        if reply(&mut stream, answer, &request, is_head).await.is_none() {
            return;
        }
    }
}

async fn reply(stream: &mut TcpStream, answer: Answer, request: &Seen, is_head: bool) -> Option<()> {
    match answer {
        Answer::Late(wait, then) => {
            tokio::time::sleep(wait).await;
            Box::pin(reply(stream, *then, request, is_head)).await
        }
        Answer::Whole(status, headers, body) => {
            let mut out = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len()).into_bytes();
            for (name, value) in headers {
                out.extend(format!("{name}: {value}\r\n").into_bytes());
            }
            out.extend(b"\r\n");
            if !is_head {
                out.extend(body);
            }
            stream.write_all(&out).await.ok()
        }
        Answer::Chunks(kind, chunks) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            for (pause, chunk) in chunks {
                tokio::time::sleep(pause).await;
                stream.write_all(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes()).await.ok()?;
            }
            stream.write_all(b"0\r\n\r\n").await.ok()
        }
        Answer::BreaksOff => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\ncontent-type: text/plain\r\n\r\nhalf")
                .await
                .ok()?;
            None
        }
        Answer::Closes => None,
        Answer::Resets => {
            // With no time to linger, closing sends RST.
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).ok()?;
            None
        }
        Answer::Raw(bytes) => stream.write_all(&bytes).await.ok(),
        Answer::RawThenCloses(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            stream.shutdown().await.ok()?;
            None
        }
        Answer::Echo => {
            use base64::Engine as _;
            use sha1::Digest as _;
            let key = request.header("sec-websocket-key")?;
            let proof = sha1::Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
            let accept = base64::engine::general_purpose::STANDARD.encode(proof);
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                 sec-websocket-accept: {accept}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.ok()?;
            // Short frames only, each sent back without its mask (RFC 6455 section 5.2).
            loop {
                let mut head = [0; 6];
                stream.read_exact(&mut head).await.ok()?;
                let mut payload = vec![0; usize::from(head[1] & 0x7f)];
                stream.read_exact(&mut payload).await.ok()?;
                for (at, byte) in payload.iter_mut().enumerate() {
                    *byte ^= head[2 + at % 4];
                }
                let frame = [&[head[0], head[1] & 0x7f][..], &payload].concat();
                stream.write_all(&frame).await.ok()?;
            }
        }
    }
}

async fn read_until(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    bytes: &AtomicUsize,
    end: impl Fn(&[u8]) -> Option<usize>,
) -> Option<usize> {
    loop {
        if let Some(end) = end(buffer) {
            return Some(end);
        }
        let n = stream.read_buf(buffer).await.ok().filter(|n| *n > 0)?;
        bytes.fetch_add(n, Ordering::Relaxed);
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Where a chunked body ends; without trailers, which the gate does not send.
fn chunks_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..at + line]).unwrap(), 16).unwrap();
        at += line + 2 + size + 2;
        if size == 0 {
            return (bytes.len() >= at).then_some(at);
        }
        if bytes.len() < at {
            return None;
        }
    }
}

/// The data of a chunked body.
pub(crate) fn unchunk(bytes: &[u8]) -> Vec<u8> {
    let (mut at, mut out) = (0, Vec::new());
    while let Some(line) = find(&bytes[at..], b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..at + line]).unwrap().trim(), 16).unwrap();
        let start = at + line + 2;
        if size == 0 {
            break;
        }
        out.extend_from_slice(&bytes[start..start + size]);
        at = start + size + 2;
    }
    out
}
