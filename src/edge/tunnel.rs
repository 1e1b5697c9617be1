//! WebSocket tunnels (RFC 6455) over HTTP/1.1, outside the base: its own upgrade path closes some tunnels right after
//! the 101 when many open at once.
//!
//! The handshake has been judged like any request before this runs. A replica that answers anything but 101 has its
//! answer relayed as an ordinary response. Once upgraded, bytes flow both ways unread; the tunnel ends when either side
//! closes, when nothing moved for the idle limit, or at drain.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a tunnel could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    /// No connection: nothing was sent, another replica may be tried.
    #[error("connecting to the replica failed: {0}")]
    Connect(io::Error),
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

/// Sends `head` to `address` and waits for the replica's answer.
///
/// # Errors
/// [`TunnelError`]; only `Connect` leaves the replica without having heard of the request.
pub(crate) async fn open(
    address: SocketAddr,
    head: Request<Empty<Bytes>>,
    connect: Duration,
    answer: Duration,
) -> Result<Opened, TunnelError> {
    let stream = match tokio::time::timeout(connect, TcpStream::connect(address)).await {
        Ok(stream) => stream.map_err(TunnelError::Connect)?,
        Err(_) => return Err(TunnelError::Connect(io::ErrorKind::TimedOut.into())),
    };
    // Small frames must not wait for each other.
    stream.set_nodelay(true).map_err(TunnelError::Connect)?;
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
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Moved {
    /// From the client.
    pub(crate) up: u64,
    /// To the client.
    pub(crate) down: u64,
}

/// Copies both ways until one side ends, nothing moved for `idle`, or `shutdown` turns true and `drain` has passed.
///
/// Memory: two buffers of 8 KiB while open.
pub(crate) async fn run<C, U>(
    client: C,
    upstream: U,
    idle: Duration,
    drain: Duration,
    mut shutdown: watch::Receiver<bool>,
) -> Moved
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (up, down) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let moved = || Moved { up: up.load(Ordering::Relaxed), down: down.load(Ordering::Relaxed) };
    let (client_read, client_write) = tokio::io::split(client);
    let (upstream_read, upstream_write) = tokio::io::split(upstream);
    let watch_idle = async {
        let mut last = moved();
        loop {
            tokio::time::sleep(idle).await;
            let now = moved();
            if (now.up, now.down) == (last.up, last.down) {
                return;
            }
            last = now;
        }
    };
    let drained = async {
        if shutdown.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        // One end closing ends the other: WebSocket has its own closing handshake, which has been relayed by then.
        _ = copy(client_read, upstream_write, &up) => {}
        _ = copy(upstream_read, client_write, &down) => {}
        () = watch_idle => {}
        () = drained => {}
    }
    moved()
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, moved: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; 8 * 1024];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        to.write_all(buffer.get(..n).unwrap_or_default()).await?;
        to.flush().await?;
        moved.fetch_add(n as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let hour = Duration::from_secs(3600);
        let tunnel = tokio::spawn(run(gate_client, gate_replica, hour, hour, stopped));
        client.write_all(b"ping").await.unwrap();
        let mut seen = [0; 4];
        replica.read_exact(&mut seen).await.unwrap();
        replica.write_all(b"pong!").await.unwrap();
        let mut seen = [0; 5];
        client.read_exact(&mut seen).await.unwrap();
        drop(client);
        let moved = tunnel.await.unwrap();
        assert_eq!((moved.up, moved.down), (4, 5));
    }
}
