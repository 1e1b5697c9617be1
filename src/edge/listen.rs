//! Listeners: accept, count, shake hands, and hand over to HTTP/1 or HTTP/2.
//!
//! Connections are counted in total and per client address before anything else is done for them; over the limit they
//! are closed at once. What comes before HTTP, a PROXY header and a TLS handshake, has one deadline (`opening`). The
//! certificate and every limit come from the snapshot of the moment, so a reload reaches the next connection without
//! touching the socket.

use super::{Edge, h1, h2, opening};
use crate::client::proxy::Opening;
use crate::config::{ListenerSettings, PlainMode};
use crate::facts::ClientAddr;
use crate::snapshot::Listener;
use crate::telemetry::ProxyOutcome;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

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
    /// Whose it is, once that is known.
    address: Option<IpAddr>,
}

impl Connections {
    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Counts one more, unless that is over the limit in all. Whose it is, [`Place::attribute`] counts.
    pub(crate) fn enter(self: &Arc<Self>, total: usize) -> Option<Place> {
        if self.total.fetch_add(1, Ordering::Relaxed) >= total {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Place { connections: self.clone(), address: None })
    }
}

impl Place {
    /// Counts the connection for an address; `false`, and not counted, if that has too many.
    pub(crate) fn attribute(&mut self, address: IpAddr, per_address: usize) -> bool {
        let mut open = self.connections.by_address.entry(address).or_insert(0);
        if *open >= per_address {
            return false;
        }
        *open += 1;
        self.address = Some(address);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.total.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        if let Entry::Occupied(mut open) = self.connections.by_address.entry(address) {
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

/// Takes over a listening socket that another process opened.
///
/// # Errors
/// The operating system's, with the address in its text.
pub(crate) fn adopt(address: SocketAddr, socket: OwnedFd) -> io::Result<TcpListener> {
    let with_address = |e: io::Error| io::Error::new(e.kind(), format!("{address}, passed on: {e}"));
    let socket = std::net::TcpListener::from(socket);
    // A service manager's sockets block.
    socket.set_nonblocking(true).map_err(with_address)?;
    TcpListener::from_std(socket).map_err(with_address)
}

/// Accepts until the gate stops; then takes what the kernel had accepted by then, which would else be reset. `index` is
/// the listener's place in the configuration.
pub(crate) async fn run(edge: Arc<Edge>, socket: TcpListener, index: usize, settings: ListenerSettings) {
    let mut stop = edge.stop.clone();
    let meter = edge.gate.metrics().listener(if settings.tls { "tls" } else { "plain" });
    let Some(mut listener) = edge.gate.current().listener(index, &settings).cloned() else { return };
    let redirect_to = (!settings.tls && settings.plain == PlainMode::Redirect).then_some(settings.https_port);
    let mut welcome = |stream: TcpStream, peer: SocketAddr| {
        let snapshot = edge.gate.current();
        if let Some(current) = snapshot.listener(index, &settings) {
            listener = current.clone();
        }
        let server = &snapshot.config.document.server;
        let (total, per_address) = (server.max_connections, server.max_connections_per_address);
        let opening = listener.proxy.opening(peer.ip());
        if opening == Opening::Refuse {
            return edge.gate.metrics().proxy_headers.count(ProxyOutcome::Untrusted);
        }
        let Some(mut place) = edge.connections.enter(total) else {
            return meter.refused();
        };
        // Whoever speaks for others is counted as those it speaks for, once it has named them.
        if opening == Opening::Direct && !place.attribute(ClientAddr::new(peer.ip()).subscriber(), per_address) {
            return meter.refused();
        }
        drop(snapshot);
        let counted = meter.opened();
        let (edge, listener, meter) = (edge.clone(), listener.clone(), meter.clone());
        tokio::spawn(async move {
            let attribute = |address: IpAddr| {
                let fits =
                    place.address.is_some() || place.attribute(ClientAddr::new(address).subscriber(), per_address);
                if !fits {
                    meter.refused();
                }
                fits
            };
            serve(&edge, stream, peer, &listener, opening, redirect_to, attribute).await;
            drop((place, counted));
        });
    };
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => welcome(stream, peer),
            Err(e) => {
                // Out of descriptors, or the client went away: both pass, and a tight loop would only burn the core.
                tracing::warn!(listener = %settings.address, "accepting failed: {e}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    // Asked of the kernel itself: the runtime may not have heard of the last ones yet.
    let Ok(socket) = socket.into_std() else { return };
    for _ in 0..BACKLOG {
        let Ok((stream, peer)) = socket.accept() else { return };
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            welcome(stream, peer);
        }
    }
}

/// One connection, from its first byte to its last. `attribute` counts it for the client's address, or says that this has
/// too many.
async fn serve(
    edge: &Arc<Edge>,
    stream: TcpStream,
    peer: SocketAddr,
    listener: &Listener,
    opening: Opening,
    redirect_to: Option<u16>,
    attribute: impl FnMut(IpAddr) -> bool,
) {
    // Each part of a connection's life has a future of its own, so that an idle one does not keep room for the others.
    let opened = Box::pin(opening::open(edge, stream, peer, listener, opening, attribute)).await;
    let Some(opened) = opened else { return };
    let (conn, mut facts) = opened;
    facts.redirect_to = redirect_to;
    let h2 = facts.tls.as_ref().is_some_and(|tls| tls.alpn == Some("h2"));
    let facts = Arc::new(facts);
    if h2 {
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
        let enter = |address: IpAddr| {
            let mut place = connections.enter(3)?;
            place.attribute(address, 2).then_some(place)
        };
        let first = enter(a).unwrap();
        let _second = enter(a).unwrap();
        assert!(enter(a).is_none(), "two from one address are enough");
        let _third = enter(b).unwrap();
        assert!(enter(b).is_none(), "three in all are enough");
        assert_eq!(connections.open(), 3);
        drop(first);
        assert!(enter(a).is_some());
        let nobody = connections.enter(3).unwrap();
        assert!(connections.enter(3).is_none(), "whoever has not said who they are counts too");
        drop((_second, _third, nobody));
        assert_eq!(connections.open(), 0);
        assert!(connections.by_address.is_empty(), "nobody is remembered after leaving");
    }
}
