//! The HTTP/2 side of a connection: one task for the connection, one for each stream.
//!
//! Limits against what one client can ask for: streams at once, header list size, streams it gives up or has us give up
//! (counted here, since the base stops counting once a stream is accepted), frames that ask for nothing (`frames`), the
//! time a connection may idle, and its age.

use super::Edge;
use super::downstream::Downstream;
use super::relay::Stalls;
use super::serve::{self, Arrived};
use crate::facts::Connection;
use crate::verdict::{Mode, Reason};
use bytes::Bytes;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Accept, HttpSession, default_h2_options, handshake};
use pingora_core::protocols::{Digest, Stream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Streams a client may have open at once (RFC 9113 section 5.1.2).
const STREAMS: u32 = 128;
/// Flow-control window of one stream, in bytes: what one stalled stream can make us hold.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Flow-control window of a connection, in bytes.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What is buffered of one stream's response beyond what its task holds, in bytes.
const SEND_BUFFER: usize = 32 * 1024;
/// How many more streams may be given up than end well before the connection is closed: by the client, or by us because of
/// what the client did to them ("rapid reset", "made you reset").
const CANCELLED: usize = 200;
/// Streams that the base may reset because of frames that do not fit their state (RFC 9113 section 5.1).
const ERRORS: usize = 128;

#[derive(Default)]
struct Streams {
    open: AtomicUsize,
    cancelled: AtomicUsize,
    changed: Notify,
    stalls: Arc<Stalls>,
}

/// Serves streams until the connection ends.
pub(super) async fn run(edge: Arc<Edge>, stream: Stream, facts: Arc<Connection>) {
    let snapshot = edge.gate.current();
    let (opening, quiet) = (snapshot.times.head.0, snapshot.times.keepalive.0);
    let (age, most) = (snapshot.times.connection_age.0, snapshot.config.document.server.max_requests_per_connection);
    let head = snapshot.head_limits.head.0;
    drop(snapshot);
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(Some(ERRORS))
        .max_send_buffer_size(SEND_BUFFER);
    let Ok(Ok(mut connection)) = timeout(opening, handshake(stream, Some(options))).await else {
        return;
    };
    let digest = Arc::new(Digest::default());
    let streams = Arc::new(Streams::default());
    let mut stop = edge.stop.clone();
    let mut draining = false;
    let mut requests = 0_u64;
    let old = async { if age.is_zero() { std::future::pending().await } else { tokio::time::sleep(age).await } };
    tokio::pin!(old);
    loop {
        let next = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop), if !draining => {
                // GOAWAY: no new streams, those that run end well (RFC 9113 section 6.8).
                connection.graceful_shutdown();
                draining = true;
                continue;
            }
            () = &mut old, if !draining => {
                connection.graceful_shutdown();
                draining = true;
                continue;
            }
            next = HttpSession::from_h2_conn(&mut connection, digest.clone()) => next,
            () = idle(&streams, quiet) => {
                if draining {
                    // A client that does not acknowledge the end has had time to.
                    return;
                }
                connection.graceful_shutdown();
                draining = true;
                continue;
            }
        };
        let session = match next {
            Ok(Some(H2Accept::Session(session))) => session,
            Ok(Some(H2Accept::Rejected)) => {
                edge.gate.metrics().refusal(Reason::Malformed, Mode::Enforce);
                if cancelled(&streams) {
                    return;
                }
                continue;
            }
            Ok(None) | Err(_) => return,
        };
        if streams.cancelled.load(Ordering::Relaxed) >= CANCELLED {
            return;
        }
        requests += 1;
        if requests == most && !draining {
            connection.graceful_shutdown();
            draining = true;
        }
        streams.open.fetch_add(1, Ordering::Relaxed);
        let (edge, facts, streams) = (edge.clone(), facts.clone(), streams.clone());
        tokio::spawn(async move {
            let mut session = Box::new(ServerSession::new_http2(session));
            let fault = serve::says_more_than_announced(&edge, &mut session).await;
            let expects_continue = session.req_header().headers.contains_key(http::header::EXPECT);
            let arrived = Arrived {
                session: Downstream::Base(session),
                raw: None,
                framing: None,
                fault,
                expects_continue,
                upgrade: false,
                early: Bytes::new(),
                stalls: streams.stalls.clone(),
            };
            match Box::pin(serve::serve(&edge, &facts, arrived)).await {
                serve::After::Close => {
                    cancelled(&streams);
                }
                _ => {
                    let less = |n: usize| n.checked_sub(1);
                    let _ = streams.cancelled.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
                }
            }
            streams.open.fetch_sub(1, Ordering::Relaxed);
            streams.changed.notify_one();
        });
    }
}

fn cancelled(streams: &Streams) -> bool {
    streams.cancelled.fetch_add(1, Ordering::Relaxed) >= CANCELLED
}

/// Ends when no stream was open for `limit`.
async fn idle(streams: &Streams, limit: std::time::Duration) {
    loop {
        if streams.open.load(Ordering::Relaxed) == 0 {
            match timeout(limit, streams.changed.notified()).await {
                Ok(()) => {}
                Err(_) if streams.open.load(Ordering::Relaxed) == 0 => return,
                Err(_) => {}
            }
        } else {
            streams.changed.notified().await;
        }
    }
}
