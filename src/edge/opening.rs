//! What a connection begins with, before anything of HTTP: a PROXY header and a TLS handshake.
//!
//! Both together have the handshake's deadline. A client's greeting is read whole before anything is set up for it, so that
//! one who stops half-way costs a socket and a kibibyte, and its fingerprint is taken from what was really sent.

use super::Edge;
use super::conn::{self, Conn};
use super::socket::{self, Socket};
use crate::client::proxy::{self, Opening, Origin};
use crate::facts::{Connection, PeerAddr, Scheme, TlsFacts};
use crate::snapshot::Listener;
use crate::telemetry::{HandshakeOutcome, ProxyOutcome};
use crate::tls::{self, ACME_TLS, Terminator, hello};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant as Deadline, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Opens a connection; `None` where it came to nothing, which has been counted. `attribute` is told the client's address
/// once, and may refuse it.
pub(super) async fn open(
    edge: &Edge,
    stream: TcpStream,
    peer: SocketAddr,
    listener: &Listener,
    opening: Opening,
    mut attribute: impl FnMut(IpAddr) -> bool,
) -> Option<(Conn, Connection)> {
    let mut local = stream.local_addr().ok()?;
    stream.set_nodelay(true).ok()?;
    socket::bound_unsent(&stream);
    let snapshot = edge.gate.current();
    let times = &snapshot.times;
    let (patience, least, limit) = (times.send_idle.0, times.send_min_rate.0, times.handshake.0);
    drop(snapshot);
    let deadline = Deadline::now() + limit;
    let mut socket = Socket::new(stream, patience, least);
    let mut peer = peer;
    if opening != Opening::Direct {
        let read = timeout_at(deadline, introduction(&mut socket, opening)).await;
        let outcome = match read {
            Ok(Ok(Some(Origin::Client { source, destination }))) => {
                (peer, local) = (source, destination);
                ProxyOutcome::Client
            }
            Ok(Ok(Some(Origin::Peer))) => ProxyOutcome::Peer,
            Ok(Ok(None)) => ProxyOutcome::Absent,
            Ok(Err(_)) => ProxyOutcome::Malformed,
            Err(_) => ProxyOutcome::TimedOut,
        };
        edge.gate.metrics().proxy_headers.count(outcome);
        if matches!(outcome, ProxyOutcome::Malformed | ProxyOutcome::TimedOut) {
            tracing::debug!(%peer, outcome = outcome.as_str(), "no PROXY header");
            return None;
        }
    }
    if !attribute(peer.ip()) {
        return None;
    }
    let peer = PeerAddr(peer);
    let Some(terminator) = &listener.terminator else {
        let facts = Connection { peer, local, scheme: Scheme::Http, tls: None, redirect_to: None };
        return Some((Conn::plain(socket), facts));
    };
    let started = Instant::now();
    let metrics = edge.gate.metrics();
    let (stream, tls) = match timeout_at(deadline, shake(edge, socket, terminator)).await {
        Ok(Ok(Some(shaken))) => shaken,
        Ok(Ok(None)) => {
            metrics.handshakes.count(HandshakeOutcome::Done);
            return None;
        }
        Ok(Err(_)) => {
            metrics.handshakes.count(HandshakeOutcome::Failed);
            return None;
        }
        Err(_) => {
            metrics.handshakes.count(HandshakeOutcome::TimedOut);
            return None;
        }
    };
    metrics.handshakes.count(HandshakeOutcome::Done);
    metrics.handshake_seconds.observe(started.elapsed());
    tracing::debug!(
        peer = %peer.0, version = tls.version, group = tls.group, resumed = tls.resumed,
        sni = tls.sni.as_deref(), ja4 = tls.ja4.as_deref(), "handshake done"
    );
    let facts = Connection { peer, local, scheme: Scheme::Https, tls: Some(tls), redirect_to: None };
    Some((Conn::tls(stream), facts))
}

/// Reads the header that a trusted peer begins with, and takes it off; `None` where it begins otherwise and may.
async fn introduction(socket: &mut Socket, opening: Opening) -> io::Result<Option<Origin>> {
    let invalid = |e: proxy::BadHeader| io::Error::new(io::ErrorKind::InvalidData, e);
    loop {
        match proxy::read(socket.ahead()).map_err(invalid)? {
            proxy::Read::More(more) => socket.read_ahead(more).await?,
            proxy::Read::Header(length, origin) => {
                socket.skip_ahead(length);
                return Ok(Some(origin));
            }
            proxy::Read::Other if opening == Opening::MayBegin => return Ok(None),
            proxy::Read::Other => return Err(invalid(proxy::BadHeader("there is none"))),
        }
    }
}

/// Shakes hands; `None` with an authority, which has then seen what it came for (RFC 8737 section 3).
async fn shake(
    edge: &Edge,
    mut socket: Socket,
    terminator: &Terminator,
) -> io::Result<Option<(TlsStream<Socket>, TlsFacts)>> {
    let mut challenge = false;
    let ja4 = loop {
        match hello::read(socket.ahead()) {
            hello::Read::More(more) => socket.read_ahead(more).await?,
            hello::Read::Hello(hello) => {
                challenge = hello.offers_only(ACME_TLS);
                break Some(hello.ja4());
            }
            hello::Read::Other => break None,
        }
    };
    let resolver = &edge.gate.kept().resolver;
    if challenge {
        let config = tls::challenge_config(resolver.clone()).map_err(io::Error::other)?;
        TlsAcceptor::from(config).accept(socket).await?.shutdown().await?;
        return Ok(None);
    }
    let config = terminator.config(resolver);
    let mut stream = TlsAcceptor::from(config).accept(socket).await?;
    // What TLS has made of a response waits in its client's socket, or not at all.
    stream.get_mut().1.set_buffer_limit(Some(conn::BUFFER + 1024));
    let session = stream.get_ref().1;
    let alpn = match session.alpn_protocol() {
        Some(b"h2") => Some("h2"),
        Some(b"http/1.1") => Some("http/1.1"),
        Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "no protocol of HTTP")),
        None if terminator.speaks_http11() => None,
        None => return Err(io::Error::new(io::ErrorKind::InvalidData, "no protocol was named")),
    };
    let client = match session.peer_certificates() {
        Some(chain) => {
            let ended = || io::Error::new(io::ErrorKind::InvalidData, "the client's certificate has ended");
            Some(terminator.identify(chain, SystemTime::now()).ok_or_else(ended)?)
        }
        None => None,
    };
    let suite = session.negotiated_cipher_suite().and_then(|s| s.suite().as_str());
    let group = session.negotiated_key_exchange_group().and_then(|g| g.name().as_str());
    let facts = TlsFacts {
        version: match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
            _ => "1.3",
        },
        cipher: suite.unwrap_or("unknown"),
        group: group.unwrap_or("unknown"),
        sni: session.server_name().map(Arc::from),
        alpn,
        resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        ja4,
        client,
    };
    Ok(Some((stream, facts)))
}
