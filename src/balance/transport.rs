//! How the replicas of a pool are spoken to: which protocol, over TLS or not, and the connection itself.
//!
//! Requests, probes, copies and tunnels all connect by [`Transport::connect`], so that a replica which may not be
//! believed gets none of them.

use super::replica::Replica;
use crate::fault::Fault;
use crate::tls::{Offer, Outbound};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What is spoken with replicas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2; without TLS by prior knowledge (RFC 9113 section 3.3).
    Http2,
    /// What the replica takes by ALPN, HTTP/2 rather than HTTP/1.1; without TLS HTTP/1.1.
    Auto,
}

/// How one pool's replicas are spoken to. Shared by generations in which nothing of it changed.
#[derive(Debug)]
pub struct Transport {
    id: u32,
    protocol: Protocol,
    streams: u32,
    tls: Option<Outbound>,
}

/// Why no connection came about. Nothing of a request was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Refused, unreachable, or broken off.
    #[error("{0}")]
    Tcp(#[from] io::Error),
    /// The replica is not who it should be, or no handshake came about.
    #[error("TLS: {0}")]
    Tls(String),
    /// In no time.
    #[error("not in time")]
    Late,
}

/// A connection to a replica.
#[derive(Debug)]
pub struct Connected {
    /// The bytes.
    pub wire: Wire,
    /// Whether HTTP/2 is spoken on it.
    pub http2: bool,
}

/// The bytes to and from a replica.
#[derive(Debug)]
pub enum Wire {
    /// As they are.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// Builds it from a pool's settings; `previous` goes on if nothing changed, files included. Relative paths start at
    /// `base`.
    ///
    /// # Errors
    /// As [`Outbound::build`], keys relative to the pool.
    pub(super) fn build(
        settings: &super::Settings,
        base: &Path,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, Vec<Fault>> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let (protocol, streams) = (settings.protocol, settings.max_streams);
        let tls = settings.speaks_tls().then(|| Outbound::build(&settings.tls, base, SystemTime::now())).transpose()?;
        let same = |known: &&Arc<Self>| {
            let tls = match (&known.tls, &tls) {
                (Some(one), Some(other)) => one.is_like(other),
                (one, other) => one.is_none() && other.is_none(),
            };
            tls && known.protocol == protocol && known.streams == streams
        };
        if let Some(known) = previous.filter(same) {
            return Ok(Arc::clone(known));
        }
        Ok(Arc::new(Self { id: NEXT.fetch_add(1, Ordering::Relaxed), protocol, streams, tls }))
    }

    /// Tells it from every other of this process: a connection begun by one is not to be used by another.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What TLS begins from; `None` without TLS.
    pub fn tls(&self) -> Option<&Outbound> {
        self.tls.as_ref()
    }

    /// What is spoken.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether a connection may come to speak HTTP/2.
    pub fn may_multiplex(&self) -> bool {
        match self.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => self.tls.is_some(),
        }
    }

    /// Requests that one HTTP/2 connection carries at once.
    pub fn streams(&self) -> usize {
        self.streams.max(1) as usize
    }

    /// `http` or `https`, for `:scheme` (RFC 9113 section 8.3.1).
    pub fn scheme(&self) -> http::uri::Scheme {
        if self.tls.is_some() { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP }
    }

    /// Connects within `limit`, TLS included; `http1`: for what only HTTP/1.1 can carry.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self, replica: &Replica, http1: bool, limit: Duration) -> Result<Connected, ConnectError> {
        timeout(limit, self.dial(replica, http1)).await.unwrap_or(Err(ConnectError::Late))
    }

    async fn dial(&self, replica: &Replica, http1: bool) -> Result<Connected, ConnectError> {
        let stream = TcpStream::connect(replica.address()).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Connected { wire: Wire::Plain(stream), http2: !http1 && self.protocol == Protocol::Http2 });
        };
        let offer = match self.protocol {
            _ if http1 => Offer::Http1,
            Protocol::Http1 => Offer::Http1,
            Protocol::Http2 => Offer::Http2,
            Protocol::Auto => Offer::Either,
        };
        let name = tls.server_name(replica.host()).ok_or_else(|| {
            ConnectError::Tls(format!("{:?} is no name to hold a certificate against", replica.host()))
        })?;
        let connecting = TlsConnector::from(Arc::clone(tls.config(offer))).connect(name, stream);
        let stream = connecting.await.map_err(|error| ConnectError::Tls(error.to_string()))?;
        let agreed = stream.get_ref().1.alpn_protocol();
        let http2 = agreed == Some(b"h2");
        if offer == Offer::Http2 && !http2 {
            return Err(ConnectError::Tls("the replica does not speak HTTP/2 (it chose no h2 by ALPN)".to_owned()));
        }
        Ok(Connected { wire: Wire::Tls(Box::new(stream)), http2 })
    }
}

impl Wire {
    /// Ready when a read may find something, the end or a fault with it; so that no room is made before.
    ///
    /// # Errors
    /// The connection broke.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_read_ready(cx),
            Self::Tls(stream) => {
                let (stream, session) = stream.get_ref();
                if session.wants_read() { stream.poll_read_ready(cx) } else { Poll::Ready(Ok(())) }
            }
        }
    }

    /// Whether the connection stands and nothing has come on it. Not to be used further if not.
    pub fn is_quiet(&mut self) -> bool {
        let mut first = [0; 1];
        match self {
            Self::Plain(stream) => {
                matches!(stream.try_read(&mut first), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
            }
            // What is TLS's own, as session tickets, is no sign of anything.
            Self::Tls(stream) => {
                let mut cx = Context::from_waker(Waker::noop());
                Pin::new(stream).poll_read(&mut cx, &mut ReadBuf::new(&mut first)).is_pending()
            }
        }
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
pub(super) fn host_of(name: &str) -> &str {
    let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    bare.filter(|bare| bare.parse::<IpAddr>().is_ok()).unwrap_or(host)
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_ports() {
        for (name, host) in
            [("a.test:80", "a.test"), ("10.0.0.1:80", "10.0.0.1"), ("[::1]:80", "::1"), ("a", "a"), ("[x]:1", "[x]")]
        {
            assert_eq!(host_of(name), host, "{name}");
        }
    }
}
