//! HTTP/2 connections to replicas: each carries many exchanges at once (RFC 9113 section 5).
//!
//! A connection is driven by a task of its own, which asks the replica for a sign of life while streams are open and ends
//! the connection when none comes, or when it was not used for the pool's idle limit. A stream is driven by the exchange
//! that uses it. Bounds: streams a connection, by the pool's setting and what the replica allows; what a replica may send
//! ahead of its client, [`STREAM_WINDOW`] bytes a stream, with a window for the connection that no number of stalled
//! streams can use up; heads of [`HEAD`] bytes.
//!
//! What a replica says it did not look at may be asked again, whatever the method: a stream that was refused
//! (`REFUSED_STREAM`, section 8.7), and one above the last that a GOAWAY names (section 6.8).

use super::kept::{AskError, Fault, Interim, Piece};
use super::outgoing::Outgoing;
use crate::balance::{Transport, Wire};
use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{PingPong, Reason, RecvStream, SendStream};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{Request, Response, header};
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// Flow-control window of one stream, in bytes: what a stalled client can make us hold.
pub(super) const STREAM_WINDOW: u32 = 128 * 1024;
/// What is buffered of one request beyond what its task holds, in bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// How often a replica with open streams is asked for a sign of life, and for how long one is waited for.
pub(super) const PING: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(10));

/// The largest response head and trailer section, in bytes.
const HEAD: u32 = 32 * 1024;

/// In place of a number of open streams: the connection ends, and takes none.
const ENDING: usize = usize::MAX / 2;

/// One connection, shared by its exchanges.
pub(super) struct Trunk {
    sender: SendRequest<Bytes>,
    open: AtomicUsize,
    most: usize,
    changed: Notify,
}

/// A place among the streams of a connection, until dropped.
pub(super) struct Place(Arc<Trunk>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}

impl Trunk {
    /// Begins HTTP/2 on a connection, and has it driven; unused for `idle` it ends.
    ///
    /// # Errors
    /// What came is no HTTP/2.
    pub(super) async fn begin(wire: Wire, transport: &Transport, idle: Duration) -> Result<Arc<Self>, h2::Error> {
        let most = transport.streams();
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(connection_window(transport))
            .max_header_list_size(HEAD)
            .initial_max_send_streams(most)
            .max_send_buffer_size(SEND_BUFFER);
        let (sender, mut connection) = builder.handshake(wire).await?;
        let pings = connection.ping_pong();
        let trunk = Arc::new(Self { sender, open: AtomicUsize::new(0), most, changed: Notify::new() });
        tokio::spawn(drive(connection, pings, Arc::clone(&trunk), idle));
        Ok(trunk)
    }

    /// A place on it, if it stands and has one.
    pub(super) fn place(self: &Arc<Self>) -> Option<Place> {
        let most = self.most.min(self.sender.current_max_send_streams());
        let one_more = |n: usize| (n < most).then_some(n + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Place(Arc::clone(self)))
    }

    /// Whether it takes new streams at all.
    pub(super) fn stands(&self) -> bool {
        if self.open.load(Ordering::Relaxed) >= ENDING {
            return false;
        }
        let mut sender = self.sender.clone();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        !matches!(sender.poll_ready(&mut cx), Poll::Ready(Err(_)))
    }
}

/// Drives a connection to its end.
async fn drive(connection: Connection<Wire, Bytes>, pings: Option<PingPong>, trunk: Arc<Trunk>, idle: Duration) {
    let life = async {
        let Some(mut pings) = pings else { return std::future::pending().await };
        loop {
            tokio::time::sleep(PING.0).await;
            let open = trunk.open.load(Ordering::Relaxed);
            if (1..ENDING).contains(&open)
                && !matches!(timeout(PING.1, pings.ping(h2::Ping::opaque())).await, Ok(Ok(_)))
            {
                return;
            }
        }
    };
    let unused = async {
        let mut since = Instant::now();
        loop {
            tokio::select! {
                () = trunk.changed.notified() => since = Instant::now(),
                () = sleep_until(since + idle) => {
                    // Nobody can begin a stream on it from here on.
                    if trunk.open.compare_exchange(0, ENDING, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                        return;
                    }
                    since = Instant::now();
                }
            }
        }
    };
    tokio::select! {
        _ = connection => {}
        () = life => tracing::debug!("a replica gave no sign of life on an HTTP/2 connection"),
        () = unused => {}
    }
}

/// Flow-control window of a connection, in bytes: all its streams may stall, and the next still gets its own.
pub(super) fn connection_window(transport: &Transport) -> u32 {
    const MOST: u32 = (1 << 31) - 1; // RFC 9113 section 6.9.1
    u32::try_from(transport.streams()).unwrap_or(u32::MAX).saturating_mul(STREAM_WINDOW).min(MOST)
}

/// One exchange on a connection.
pub(super) struct Stream {
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    send: SendStream<Bytes>,
    source: Outgoing,
    unsent: Bytes,
    sent: bool,
    /// What was handed on, and will be taken for read when more is asked for.
    taken: usize,
    reused: bool,
    _place: Place,
}

impl Stream {
    /// Sends a request's head. `reused`: the connection has carried others before.
    ///
    /// # Errors
    /// [`AskError::Broken`]: the connection takes no more, or a part of the head cannot be written.
    pub(super) async fn open(
        place: Place,
        request: Request<Outgoing>,
        transport: &Transport,
        reused: bool,
    ) -> Result<Self, AskError> {
        let broken =
            |error: h2::Error| AskError::Broken { error: Fault::H2(error), reused, unsent: true, refused: false };
        let (mut parts, source) = request.into_parts();
        let unwritable = || AskError::Unwritable("the authority or target cannot be written in HTTP/2");
        let host = parts.headers.remove(header::HOST).ok_or_else(unwritable)?;
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        uri.scheme = Some(transport.scheme());
        uri.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| unwritable())?);
        uri.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        parts.uri = Uri::from_parts(uri).map_err(|_| unwritable())?;
        parts.version = http::Version::HTTP_2;
        for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
            parts.headers.remove(name);
        }
        parts.extensions.clear();
        let mut sender = place.0.sender.clone().ready().await.map_err(broken)?;
        let sent = source.has_ended();
        let (response, send) = sender.send_request(Request::from_parts(parts, ()), sent).map_err(broken)?;
        Ok(Self {
            response: Some(response),
            body: None,
            send,
            source,
            unsent: Bytes::new(),
            sent,
            taken: 0,
            reused,
            _place: place,
        })
    }

    /// Waits for the response's head; interim ones go to `interim`.
    ///
    /// # Errors
    /// [`AskError::Broken`].
    pub(super) async fn head(&mut self, interim: &Interim) -> Result<Response<()>, AskError> {
        let head = std::future::poll_fn(|cx| {
            self.poll_send(cx);
            let Some(response) = &mut self.response else { return Poll::Pending };
            while let Poll::Ready(Some(Ok(early))) = response.poll_informational(cx) {
                interim.note(early.status(), early.headers());
            }
            Pin::new(response).poll(cx)
        });
        let head = head.await.map_err(|error| self.broken(error))?;
        self.response = None;
        let (parts, body) = head.into_parts();
        self.body = Some(body);
        Ok(Response::from_parts(parts, ()))
    }

    /// Whether the response has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.body.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    /// The next of the response's body.
    ///
    /// # Errors
    /// [`AskError::Broken`].
    pub(super) async fn next(&mut self) -> Result<Piece, AskError> {
        let next = std::future::poll_fn(|cx| {
            self.poll_send(cx);
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(Piece::End)) };
            if self.taken > 0 {
                let taken = std::mem::take(&mut self.taken);
                // A stream that is at its end needs no window.
                let _ = body.flow_control().release_capacity(taken);
            }
            if let Some(data) = ready!(body.poll_data(cx)).transpose()? {
                self.taken = data.len();
                return Poll::Ready(Ok(Piece::Data(data, body.is_end_stream())));
            }
            let trailers = ready!(body.poll_trailers(cx))?;
            Poll::Ready(Ok(trailers.map_or(Piece::End, Piece::Trailers)))
        });
        next.await.map_err(|error| self.broken(error))
    }

    fn broken(&self, error: h2::Error) -> AskError {
        let refused = error.is_remote() && error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        let unseen = error.is_remote() && error.is_go_away();
        AskError::Broken { reused: self.reused, unsent: refused || unseen, refused, error: Fault::H2(error) }
    }

    /// Sends of the request's body what there is and what the replica takes. What goes wrong shows in its answer.
    fn poll_send(&mut self, cx: &mut Context<'_>) {
        while !self.sent {
            if self.unsent.is_empty() {
                match self.source.poll_piece(cx) {
                    Poll::Ready(Some(Ok(piece))) => self.unsent = piece,
                    Poll::Ready(Some(Err(_))) => {
                        self.send.send_reset(Reason::CANCEL);
                        self.sent = true;
                    }
                    Poll::Ready(None) => {
                        let _ = self.send.send_data(Bytes::new(), true);
                        self.sent = true;
                    }
                    Poll::Pending => return,
                }
                continue;
            }
            self.send.reserve_capacity(self.unsent.len());
            let mut room = self.send.capacity();
            if room == 0 {
                match self.send.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(more))) => room = more,
                    // Reset, perhaps because the answer needs no more of it.
                    Poll::Ready(_) => {
                        self.sent = true;
                        return;
                    }
                    Poll::Pending => return,
                }
            }
            let piece = self.unsent.split_to(room.min(self.unsent.len()));
            let end = self.unsent.is_empty() && self.source.has_ended();
            if !piece.is_empty() && self.send.send_data(piece, end).is_err() {
                self.sent = true;
                return;
            }
            self.sent = end;
        }
    }
}
