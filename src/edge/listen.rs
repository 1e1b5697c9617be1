//! Listeners: accept, count, shake hands, and hand over to HTTP/1 or HTTP/2.
//!
//! Connections are counted in total and per client address before anything else is done for them; over the limit they
//! are closed at once. A TLS handshake has a deadline. The certificate and every limit come from the snapshot of the
//! moment, so a reload reaches the next connection without touching the socket.

use super::conn::Conn;
use super::socket::Socket;
use super::{Edge, h1, h2};
use crate::config::{ListenerSettings, PlainMode};
use crate::facts::{ClientAddr, Connection, PeerAddr, Scheme, TlsFacts};
use crate::telemetry::HandshakeOutcome;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Connections waiting to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Open connections, in all and by subscriber address. Memory: one small entry per address that has one open.
#[derive(Default)]
pub(crate) struct Connections {
    total: AtomicUsize,
    by_address: DashMap<IpAddr, usize>,
}

/// One counted connection; gives its place back when dropped.
pub(crate) struct Place {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Counts one more from `address`, unless that is over a limit.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, total: usize, per_address: usize) -> Option<Place> {
        if self.total.fetch_add(1, Ordering::Relaxed) >= total {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let mut open = self.by_address.entry(address).or_insert(0);
        if *open >= per_address {
            drop(open);
            self.total.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        *open += 1;
        drop(open);
        Some(Place { connections: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.total.fetch_sub(1, Ordering::Relaxed);
        if let Entry::Occupied(mut open) = self.connections.by_address.entry(self.address) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

/// Binds a listener's socket.
///
/// # Errors
/// The operating system's, with the address in its text.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let with_address = |e: io::Error| io::Error::new(e.kind(), format!("{address}: {e}"));
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).map_err(with_address)?;
    socket.set_reuse_address(true).map_err(with_address)?;
    socket.set_nonblocking(true).map_err(with_address)?;
    socket.bind(&address.into()).map_err(with_address)?;
    socket.listen(BACKLOG).map_err(with_address)?;
    TcpListener::from_std(socket.into()).map_err(with_address)
}

/// Accepts until the gate stops.
pub(crate) async fn run(edge: Arc<Edge>, listener: TcpListener, settings: ListenerSettings) {
    let mut stop = edge.stop.clone();
    let meter = edge.gate.metrics().listener(if settings.tls { "tls" } else { "plain" });
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let snapshot = edge.gate.current();
                let server = &snapshot.config.document.server;
                let (total, per_address) = (server.max_connections, server.max_connections_per_address);
                let address = ClientAddr::new(peer.ip()).subscriber();
                let Some(place) = edge.connections.enter(address, total, per_address) else {
                    meter.refused();
                    continue;
                };
                let counted = meter.opened();
                let (edge, settings) = (edge.clone(), settings.clone());
                tokio::spawn(async move {
                    serve(&edge, stream, peer, &settings).await;
                    drop((place, counted));
                });
            }
            Err(e) => {
                // Out of descriptors, or the client went away: both pass, and a tight loop would only burn the core.
                tracing::warn!(listener = %settings.address, "accepting failed: {e}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(edge: &Arc<Edge>, stream: TcpStream, peer: SocketAddr, settings: &ListenerSettings) {
    let Ok(local) = stream.local_addr() else { return };
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let times = edge.gate.current().times.clone();
    let stream = Socket::new(stream, times.send_idle.0, times.send_min_rate.0);
    let facts =
        |scheme, tls, redirect_to| Arc::new(Connection { peer: PeerAddr(peer), local, scheme, tls, redirect_to });
    if !settings.tls {
        let redirect_to = (settings.plain == PlainMode::Redirect).then_some(settings.https_port);
        let facts = facts(Scheme::Http, None, redirect_to);
        return Box::pin(h1::run(edge.clone(), Conn::plain(stream), facts)).await;
    }
    let started = Instant::now();
    // Each part of a connection's life has a future of its own, so that an idle one does not keep room for the others.
    let accept = Box::pin(TlsAcceptor::from(edge.tls.clone()).accept(stream));
    let shaken = timeout(times.handshake.0, accept).await;
    let stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) => return edge.gate.metrics().handshakes.count(HandshakeOutcome::Failed),
        Err(_) => return edge.gate.metrics().handshakes.count(HandshakeOutcome::TimedOut),
    };
    let session = stream.get_ref().1;
    let alpn = match session.alpn_protocol() {
        Some(b"h2") => Some("h2"),
        Some(b"http/1.1") => Some("http/1.1"),
        _ => None,
    };
    let suite = session.negotiated_cipher_suite().and_then(|s| s.suite().as_str());
    let group = session.negotiated_key_exchange_group().and_then(|g| g.name().as_str());
    let tls = TlsFacts {
        version: "1.3",
        cipher: suite.unwrap_or("unknown"),
        group: group.unwrap_or("unknown"),
        sni: session.server_name().map(Into::into),
        alpn,
    };
    edge.gate.metrics().handshakes.count(HandshakeOutcome::Done);
    edge.gate.metrics().handshake_seconds.observe(started.elapsed());
    let facts = facts(Scheme::Https, Some(tls), None);
    let conn = Conn::tls(stream);
    if alpn == Some("h2") {
        Box::pin(h2::run(edge.clone(), Box::new(conn.counting_frames()), facts)).await;
    } else {
        Box::pin(h1::run(edge.clone(), conn, facts)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_in_all_and_by_address() {
        let connections = Arc::new(Connections::default());
        let (a, b) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = connections.enter(a, 3, 2).unwrap();
        let _second = connections.enter(a, 3, 2).unwrap();
        assert!(connections.enter(a, 3, 2).is_none(), "two from one address are enough");
        let _third = connections.enter(b, 3, 2).unwrap();
        assert!(connections.enter(b, 3, 2).is_none(), "three in all are enough");
        assert_eq!(connections.open(), 3);
        drop(first);
        assert!(connections.enter(a, 3, 2).is_some());
        drop((_second, _third));
        assert_eq!(connections.open(), 0);
        assert!(connections.by_address.is_empty(), "nobody is remembered after leaving");
    }
}
