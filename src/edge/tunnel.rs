//! WebSocket tunnels (RFC 6455) over HTTP/1.1, outside the base: its own upgrade path closes some tunnels right after
//! the 101 when many open at once.
//!
//! The handshake has been judged like any request before this runs. A replica that answers anything but 101 has its
//! answer relayed as an ordinary response. Once upgraded, frames flow both ways (`ws` checks their headers); the tunnel ends
//! when either side closes or breaks the protocol, when nothing moved for the idle limit, at the end of its life, or at
//! the end of a drain.

use super::ws::{self, FrameScan, GOING_AWAY, PROTOCOL_ERROR};
use crate::balance::{ConnectError, Replica, Transport};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a tunnel could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    /// No connection: nothing was sent, another replica may be tried.
    #[error("connecting to the replica failed: {0}")]
    Connect(ConnectError),
    /// The handshake was sent and failed.
    #[error("the replica's handshake failed: {0}")]
    Handshake(#[from] hyper::Error),
    /// In no time.
    #[error("the replica did not answer in time")]
    Timeout,
    /// It said 101 and got the proof wrong (RFC 6455 section 4.1).
    #[error("the replica's Sec-WebSocket-Accept does not answer the key")]
    WrongAccept,
}

/// A replica's answer to the handshake.
pub(crate) enum Opened {
    /// 101: the head for the client, and the upgraded connection.
    Tunnel(HeaderMap, TokioIo<hyper::upgrade::Upgraded>),
    /// Anything else, to be relayed as it is.
    Plain(Response<Incoming>),
}

/// Sends `head` to a replica, by HTTP/1.1 whatever else it speaks, and waits for the replica's answer.
///
/// # Errors
/// [`TunnelError`]; only `Connect` leaves the replica without having heard of the request.
pub(crate) async fn open(
    replica: &Replica,
    transport: &Transport,
    head: Request<Empty<Bytes>>,
    connect: Duration,
    answer: Duration,
) -> Result<Opened, TunnelError> {
    let connected = transport.connect(replica, true, connect).await;
    replica.believed(connected.as_ref().err());
    let stream = connected.map_err(TunnelError::Connect)?.wire;
    let key = head.headers().get(header::SEC_WEBSOCKET_KEY).cloned();
    let handshake = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        let mut response = sender.send_request(head).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Opened::Plain(response));
        }
        if !accept_answers(key.as_ref(), response.headers()) {
            return Err(TunnelError::WrongAccept);
        }
        let upgraded = hyper::upgrade::on(&mut response).await?;
        Ok(Opened::Tunnel(response.headers().clone(), TokioIo::new(upgraded)))
    };
    tokio::time::timeout(answer, handshake).await.unwrap_or(Err(TunnelError::Timeout))
}

fn accept_answers(key: Option<&HeaderValue>, answer: &HeaderMap) -> bool {
    let Some(key) = key else { return false };
    let proof = STANDARD.encode(Sha1::new().chain_update(key.as_bytes()).chain_update(GUID).finalize());
    answer.get(header::SEC_WEBSOCKET_ACCEPT).is_some_and(|accept| accept.as_bytes() == proof.as_bytes())
}

/// The client's side of the 101.
pub(crate) fn switching_protocols(headers: &HeaderMap) -> Vec<u8> {
    let mut out = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n".to_vec();
    for (name, value) in headers {
        let hop = [header::CONNECTION, header::UPGRADE, header::TRANSFER_ENCODING, header::CONTENT_LENGTH];
        if !hop.contains(name) {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Bytes moved through a tunnel.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    /// From the client.
    pub(crate) up: u64,
    /// To the client.
    pub(crate) down: u64,
}

/// How long a tunnel may last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// With nothing moving.
    pub(crate) idle: Duration,
    /// In all; zero: no limit.
    pub(crate) life: Duration,
    /// Once the gate stops.
    pub(crate) drain: Duration,
}

/// The last words' time: before a drain is over, and for writing them.
const FAREWELL: Duration = Duration::from_secs(1);

thread_local! {
    /// Where bytes are read to. They are written on before anything else runs on this thread, or kept by their tunnel.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 16 * 1024]);
}

/// One direction of a tunnel.
struct Way {
    scan: FrameScan,
    /// What the receiver does not take yet.
    rest: Bytes,
    unflushed: bool,
    moved: u64,
}

/// Why a direction ended.
enum End {
    /// Its sender closed, or its receiver is gone.
    Closed,
    /// Its sender broke the protocol.
    Violated(&'static str),
}

impl Way {
    fn new(masked: bool) -> Self {
        Self { scan: FrameScan::new(masked), rest: Bytes::new(), unflushed: false, moved: 0 }
    }

    /// Whether words of our own may follow what has been passed on.
    fn is_between(&self) -> bool {
        self.rest.is_empty() && self.scan.between()
    }

    /// Passes on what there is, until there is no more or the receiver takes no more.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<End> {
        // So that a tunnel that is always busy lets others have their turn.
        for _ in 0..16 {
            while !self.rest.is_empty() {
                match ready!(Pin::new(&mut *to).poll_write(cx, &self.rest)) {
                    Ok(n) if n > 0 => self.rest.advance(n),
                    _ => return Poll::Ready(End::Closed),
                }
            }
            if self.unflushed {
                if ready!(Pin::new(&mut *to).poll_flush(cx)).is_err() {
                    return Poll::Ready(End::Closed);
                }
                self.unflushed = false;
            }
            let step = SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                let read = ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer));
                let bytes = buffer.filled();
                if read.is_err() || bytes.is_empty() {
                    return Poll::Ready(Some(End::Closed));
                }
                if let Err(what) = self.scan.feed(bytes) {
                    return Poll::Ready(Some(End::Violated(what)));
                }
                self.moved += bytes.len() as u64;
                self.unflushed = true;
                let written = match Pin::new(&mut *to).poll_write(cx, bytes) {
                    Poll::Ready(Ok(n)) if n > 0 => n,
                    Poll::Ready(_) => return Poll::Ready(Some(End::Closed)),
                    Poll::Pending => 0,
                };
                self.rest = Bytes::copy_from_slice(bytes.get(written..).unwrap_or_default());
                Poll::Ready(None)
            });
            if let Some(end) = ready!(step) {
                return Poll::Ready(end);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Passes frames both ways until one side ends or breaks the protocol, or a limit is reached; `shutdown` turning true
/// begins the drain. Whoever is still there when the gate ends it is told why, in a Close frame.
///
/// Memory: nothing beyond the two connections while nobody has to be waited for, else what one read gave.
pub(crate) async fn run<C, U>(
    mut client: C,
    mut upstream: U,
    limits: Limits,
    mut shutdown: watch::Receiver<bool>,
) -> Moved
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = (Way::new(true), Way::new(false));
    let born = Instant::now();
    let mut draining = false;
    // Looked at once every idle time: whether anything has moved since.
    let mut seen = Moved::default();
    let mut check = Box::pin(sleep(limits.idle));
    let mut last = Box::pin(sleep(if limits.life.is_zero() { FOREVER } else { limits.life }));
    let status = loop {
        let end = {
            let both = std::future::poll_fn(|cx| {
                // One end closing ends the other: WebSocket has its own closing handshake, which has been relayed by then.
                if let Poll::Ready(end) = up.poll(cx, &mut client, &mut upstream) {
                    return Poll::Ready((end, true));
                }
                down.poll(cx, &mut upstream, &mut client).map(|end| (end, false))
            });
            tokio::select! {
                biased;
                end = both => Some(end),
                () = &mut check => None,
                () = &mut last => break Some(GOING_AWAY),
                _ = shutdown.wait_for(|stop| *stop), if !draining => {
                    draining = true;
                    // Some time is left for the last words.
                    let farewell = FAREWELL.min(limits.drain / 2);
                    let end = Instant::now() + limits.drain.saturating_sub(farewell);
                    if end < last.deadline() {
                        last.as_mut().reset(end);
                    }
                    continue;
                }
            }
        };
        match end {
            Some((End::Closed, by_client)) => {
                // What the other side was still to get.
                let close = async { if by_client { upstream.shutdown().await } else { client.shutdown().await } };
                let _ = timeout(FAREWELL, close).await;
                break None;
            }
            Some((End::Violated(what), by_client)) => {
                tracing::debug!(by_client, what, "a WebSocket broke the protocol");
                break Some(PROTOCOL_ERROR);
            }
            None => {
                let now = Moved { up: up.moved, down: down.moved };
                if now == seen {
                    break Some(GOING_AWAY);
                }
                seen = now;
                check.as_mut().reset(Instant::now() + limits.idle);
            }
        }
    };
    if let Some(status) = status {
        tracing::trace!(status, seconds = born.elapsed().as_secs(), "ending a WebSocket");
        let farewell = async {
            if down.is_between() {
                let _ = client.write_all(&ws::close(status, false)).await;
            }
            let _ = client.shutdown().await;
            if up.is_between() {
                let _ = upstream.write_all(&ws::close(status, true)).await;
            }
            let _ = upstream.shutdown().await;
        };
        let _ = timeout(FAREWELL, farewell).await;
    }
    Moved { up: up.moved, down: down.moved }
}

/// A time that no process lives.
const FOREVER: Duration = Duration::from_secs(86_400 * 365 * 30);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[test]
    fn rfc6455_1_3_the_sample_key_has_the_sample_accept() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        let mut answer = HeaderMap::new();
        answer.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(accept_answers(Some(&key), &answer));
        answer.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOp="));
        assert!(!accept_answers(Some(&key), &answer));
        assert!(!accept_answers(None, &answer));
    }

    #[tokio::test]
    async fn bytes_flow_both_ways_until_one_side_closes() {
        let (mut client, gate_client) = tokio::io::duplex(64);
        let (mut replica, gate_replica) = tokio::io::duplex(64);
        let (_stop, stopped) = watch::channel(false);
        let tunnel = tokio::spawn(run(gate_client, gate_replica, HOURS, stopped));
        client.write_all(b"\x81\x84\0\0\0\0ping").await.unwrap();
        let mut seen = [0; 10];
        replica.read_exact(&mut seen).await.unwrap();
        // More than the other side has room for.
        let long = [b"\x82\x7e\x03\xe8".to_vec(), vec![b'x'; 1000]].concat();
        let (sent, mut got) = (long.clone(), vec![0; 1004]);
        let sending = tokio::spawn(async move {
            replica.write_all(&sent).await.unwrap();
            replica
        });
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, long);
        let _replica = sending.await.unwrap();
        drop(client);
        assert_eq!(tunnel.await.unwrap(), Moved { up: 10, down: 1004 });
    }

    const HOURS: Limits =
        Limits { idle: Duration::from_secs(3600), life: Duration::ZERO, drain: Duration::from_secs(3600) };

    /// What both sides are told at the end of a tunnel on which the client sent `sent`.
    async fn told(limits: Limits, sent: &[u8], stop: bool) -> (Vec<u8>, Vec<u8>) {
        let (mut client, gate_client) = tokio::io::duplex(1024);
        let (mut replica, gate_replica) = tokio::io::duplex(1024);
        let (stopping, stopped) = watch::channel(false);
        let tunnel = tokio::spawn(run(gate_client, gate_replica, limits, stopped));
        client.write_all(sent).await.unwrap();
        let _ = stopping.send(stop);
        let (mut to_client, mut to_replica) = (Vec::new(), Vec::new());
        client.read_to_end(&mut to_client).await.unwrap();
        replica.read_to_end(&mut to_replica).await.unwrap();
        tunnel.await.unwrap();
        (to_client, to_replica)
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_cut_off_is_told_why() {
        let away = (ws::close(GOING_AWAY, false), ws::close(GOING_AWAY, true));
        let minute = Duration::from_secs(60);
        assert_eq!(told(Limits { idle: minute, ..HOURS }, b"", false).await, away, "idle");
        assert_eq!(told(Limits { life: minute, ..HOURS }, b"", false).await, away, "old");
        assert_eq!(told(Limits { drain: minute, ..HOURS }, b"", true).await, away, "the drain is over");
        let wrong = (ws::close(PROTOCOL_ERROR, false), ws::close(PROTOCOL_ERROR, true));
        let (client, replica) = told(HOURS, b"\x81\x04ping", false).await;
        assert_eq!(client, wrong.0, "no mask");
        assert_eq!(replica, b"", "nothing of it is passed on, and no word is put into the middle of it");
        // In the middle of a frame no word of ours fits in.
        let (client, replica) = told(Limits { idle: minute, ..HOURS }, b"\x81\x84\0\0", false).await;
        assert_eq!((client, replica), (away.0, b"\x81\x84\0\0".to_vec()));
    }
}
