//! Load that notices everything: requests over kept connections, WebSockets, and event streams, until told to stop.
//!
//! A request fails when its connection cannot be made, ends, or answers anything but 200. A stream is cut when it ends
//! sooner than a drain allows: it may end only once the drain time has passed since a hand-over it was open at, and a
//! WebSocket only with a Close frame (1001).

use super::{Answer, H1, Replica};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const GET: &[u8] = b"GET /load HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\naccept: */*\r\n\r\n";
const EVENTS: &[u8] =
    b"GET /events HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\naccept: text/event-stream\r\n\r\n";
const HANDSHAKE: &[u8] = b"GET /ws HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\nconnection: Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// A masked frame of three bytes, and what the replica sends back.
const FRAME: [u8; 9] = [0x82, 0x83, 0, 0, 0, 0, b'a', b'b', b'c'];
const ECHO: [u8; 5] = [0x82, 3, b'a', b'b', b'c'];
const GOING_AWAY: [u8; 4] = [0x88, 2, 3, 0xE9];
const EVENT: &str = "data: x\n\n";
/// Between two requests of one client, two messages of one WebSocket, two events.
const PAUSES: [Duration; 3] = [Duration::from_millis(150), Duration::from_millis(800), Duration::from_millis(400)];
/// What may lie between a hand-over and our knowing of it.
const SLACK: Duration = Duration::from_millis(1500);

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: AtomicUsize,
    pub(crate) failed: AtomicUsize,
    pub(crate) messages: AtomicUsize,
    pub(crate) events: AtomicUsize,
    /// Streams that ended as a drain allows.
    pub(crate) ended: AtomicUsize,
    /// Streams that ended otherwise.
    pub(crate) cut: AtomicUsize,
    /// The first things that went wrong.
    pub(crate) notes: Mutex<Vec<String>>,
}

struct Shared {
    gate: SocketAddr,
    drain: Duration,
    counts: Counts,
    handed_over: Mutex<Vec<Instant>>,
    stop: AtomicBool,
}

/// Running load.
pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Load {
    /// A replica for it.
    pub(crate) async fn replica() -> Replica {
        Replica::start(|seen| match seen.target() {
            "/ws" => Answer::Echo,
            "/events" => Answer::Chunks("text/event-stream", vec![(PAUSES[2], EVENT); 10_000]),
            _ => Answer::ok("hello"),
        })
        .await
    }

    /// Starts clients, WebSockets and event streams; `drain` is the gate's drain time.
    pub(crate) fn start(gate: SocketAddr, drain: Duration, [clients, sockets, streams]: [usize; 3]) -> Self {
        let shared = Arc::new(Shared {
            gate,
            drain,
            counts: Counts::default(),
            handed_over: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            tasks.spawn(requests(shared.clone()));
        }
        for _ in 0..sockets {
            tasks.spawn(websocket(shared.clone()));
        }
        for _ in 0..streams {
            tasks.spawn(events(shared.clone()));
        }
        Self { shared, tasks }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// A hand-over has just been done.
    pub(crate) fn handed_over(&self) {
        self.shared.handed_over.lock().push(Instant::now());
    }

    /// Stops it, and gives what happened.
    pub(crate) async fn stop(mut self) -> Counts {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        Arc::into_inner(self.shared).unwrap().counts
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn wrong(&self, counter: &AtomicUsize, what: String) {
        counter.fetch_add(1, Ordering::Relaxed);
        let mut notes = self.counts.notes.lock();
        if notes.len() < 20 {
            notes.push(what);
        }
    }

    /// A stream that was open since `opened` ended just now, with the words that belong to it or without.
    fn ended(&self, opened: Instant, what: &str, well: bool) {
        let now = Instant::now();
        let allowed = |at: &Instant| opened <= *at + SLACK && now + SLACK >= *at + self.drain;
        if well && self.handed_over.lock().iter().any(allowed) {
            self.counts.ended.fetch_add(1, Ordering::Relaxed);
        } else {
            self.wrong(&self.counts.cut, format!("{what} ended after {:?} (in order: {well})", now - opened));
        }
    }
}

async fn requests(shared: Arc<Shared>) {
    while !shared.stopped() {
        let Some(mut h1) = H1::try_tls(shared.gate).await else {
            shared.wrong(&shared.counts.failed, "no connection for a request".to_owned());
            continue;
        };
        while !shared.stopped() {
            let reply = h1.try_send(GET).await;
            shared.counts.requests.fetch_add(1, Ordering::Relaxed);
            match reply {
                Some(reply) if reply.status == 200 && reply.body == b"hello" => {
                    if reply.header("connection") == Some("close") {
                        break;
                    }
                }
                other => {
                    shared.wrong(&shared.counts.failed, format!("a request: {other:?}"));
                    break;
                }
            }
            tokio::time::sleep(PAUSES[0]).await;
        }
    }
}

/// Opens a stream with `request` and checks the answer's status.
async fn open(shared: &Shared, request: &[u8], status: &str) -> Option<H1> {
    let opened = async {
        let mut h1 = H1::try_tls(shared.gate).await?;
        h1.write(request).await.ok()?;
        let end = |bytes: &[u8]| bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        let head = h1.try_read(end).await?;
        head.starts_with(status.as_bytes()).then_some(h1)
    };
    let opened = opened.await;
    if opened.is_none() {
        shared.wrong(&shared.counts.failed, format!("no {status} for a stream"));
    }
    opened
}

async fn websocket(shared: Arc<Shared>) {
    while !shared.stopped() {
        let opened = Instant::now();
        let Some(mut h1) = open(&shared, HANDSHAKE, "HTTP/1.1 101").await else { continue };
        while !shared.stopped() {
            // One that is closed meanwhile says so when it is read from.
            let _ = h1.write(&FRAME).await;
            let whole = |bytes: &[u8]| {
                let closed = bytes.starts_with(&GOING_AWAY).then_some(GOING_AWAY.len());
                closed.or((bytes.len() >= ECHO.len()).then_some(ECHO.len()))
            };
            match h1.try_read(whole).await {
                Some(frame) if frame == ECHO => {
                    shared.counts.messages.fetch_add(1, Ordering::Relaxed);
                }
                Some(frame) => {
                    shared.ended(opened, "a WebSocket", frame == GOING_AWAY);
                    // Our half of the closing handshake (RFC 6455 section 5.5.1).
                    let _ = h1.write(&[0x88, 0x82, 0, 0, 0, 0, 3, 0xE9]).await;
                    break;
                }
                None => {
                    shared.ended(opened, "a WebSocket", false);
                    break;
                }
            }
            tokio::time::sleep(PAUSES[1]).await;
        }
    }
}

async fn events(shared: Arc<Shared>) {
    while !shared.stopped() {
        let opened = Instant::now();
        let Some(mut h1) = open(&shared, EVENTS, "HTTP/1.1 200").await else { continue };
        while !shared.stopped() {
            let past = |bytes: &[u8]| {
                let event = EVENT.as_bytes();
                bytes.windows(event.len()).position(|window| window == event).map(|at| at + event.len())
            };
            if h1.try_read(past).await.is_none() {
                shared.ended(opened, "an event stream", true);
                break;
            }
            shared.counts.events.fetch_add(1, Ordering::Relaxed);
        }
    }
}
