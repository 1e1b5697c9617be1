//! A request body that flows from its client to a replica as it comes, because nothing here has to read it.
//!
//! Bounds: the route's size (413); for how long and how slowly its client may keep it waiting (408), as for a body that is
//! held. Only the time counts in which the client is waited for: a replica that takes nothing is its own fault. The
//! messages of a gRPC call come when there is something to say, so there both sides together may be silent for as long as
//! the replica may.

use super::conn::Framing;
use super::downstream::Downstream;
use super::outgoing::{Feed, Outgoing};
use super::serve::unreadable;
use crate::config::TimeoutSettings;
use crate::gate;
use crate::verdict::{Reason, Refusal};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// A time that no process lives.
pub(super) const FOREVER: Duration = Duration::from_secs(86_400 * 365 * 30);

/// The body of one request on its way.
pub(super) struct Upload {
    feed: Option<Feed>,
    framing: Option<Framing>,
    at_most: Option<u64>,
    times: TimeoutSettings,
    /// Whether its pieces are messages that come when they come.
    converses: bool,
    read: u64,
    /// How long the client has been waited for, and since when it is now.
    waited: Duration,
    since: Option<Instant>,
    /// When anything last happened on either side.
    moved: Instant,
    /// How long the replica may take to want more.
    accept: Duration,
    ended: bool,
}

/// Why waiting for a client ended.
pub(super) enum Watched {
    /// It left, or what it sends is refused.
    Refused(Refusal),
    /// It has sent everything, and the replica has been silent for too long since.
    Silent,
}

impl Upload {
    /// A body that may have `at_most` bytes.
    pub(super) fn new(framing: Option<Framing>, at_most: Option<u64>, times: TimeoutSettings, converses: bool) -> Self {
        Self {
            feed: None,
            framing,
            at_most,
            times,
            converses,
            read: 0,
            waited: Duration::ZERO,
            since: None,
            moved: Instant::now(),
            accept: FOREVER,
            ended: false,
        }
    }

    /// Whether nothing of it was read, so that another replica may get it.
    pub(super) fn is_untouched(&self) -> bool {
        self.read == 0 && !self.ended
    }

    /// Bytes read of it.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// The body as a replica gets it, which may take `accept` until it wants more. What was given out before gets no more.
    pub(super) fn outgoing(&mut self, accept: Duration) -> Outgoing {
        let (feed, outgoing) = Outgoing::fed();
        self.feed = Some(feed);
        self.accept = accept;
        self.moved = Instant::now();
        outgoing
    }

    /// The replica said something.
    pub(super) fn touch(&mut self) {
        self.moved = Instant::now();
    }

    /// Moves the body on, to its end and beyond; may be dropped and begun again at any time.
    pub(super) async fn run(&mut self, session: &mut Downstream, silence: Duration) -> Watched {
        while self.feed.is_some() {
            if let Err(watched) = self.step(session, silence).await {
                return watched;
            }
        }
        let left = silence.saturating_sub(self.moved.elapsed());
        match timeout(left, session.gone()).await {
            Ok(why) => Watched::Refused(Refusal::new(Reason::Aborted, why)),
            Err(_) => Watched::Silent,
        }
    }

    async fn step(&mut self, session: &mut Downstream, silence: Duration) -> Result<(), Watched> {
        let Some(feed) = &self.feed else { return Ok(()) };
        let left = self.accept.saturating_sub(self.moved.elapsed());
        if !timeout(left, feed.room()).await.map_err(|_| Watched::Silent)? {
            // The replica has heard enough. What it says is the answer; its client is not read any more.
            self.feed = None;
            return Ok(());
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let limit = match self.converses {
            true => silence.saturating_sub(self.moved.elapsed()),
            false => self.times.body_idle.0.saturating_sub(since.elapsed()),
        };
        let read = timeout(limit, session.read_body()).await;
        let Ok(read) = read else {
            // Nothing is held against the replica: whoever says nothing for long enough could have it ejected.
            let what = match self.converses {
                true => "neither side said anything for too long".to_owned(),
                false => format!("body stalled after {} bytes", self.read),
            };
            return Err(Watched::Refused(Refusal::new(Reason::TooSlow, what)));
        };
        self.waited += since.elapsed();
        self.since = None;
        self.moved = Instant::now();
        let framing = self.framing.as_ref();
        let piece = read.map_err(|e| Watched::Refused(unreadable(framing.and_then(Framing::fault), &e)))?;
        let Some(piece) = piece else {
            self.ended = true;
            if let Some(feed) = self.feed.take() {
                feed.end();
            }
            return Ok(());
        };
        self.read += piece.len() as u64;
        if let Some(limit) = self.at_most.filter(|limit| self.read > *limit) {
            let what = format!("body larger than the route's limit of {limit} bytes");
            return Err(Watched::Refused(Refusal::new(Reason::BodyTooLarge, what)));
        }
        if !self.converses {
            gate::pace(self.read, self.waited, &self.times).map_err(Watched::Refused)?;
        }
        if !piece.is_empty() {
            feed.give(piece);
        }
        Ok(())
    }
}

/// Waits for the client: for its body, if it flows, then for its leaving.
pub(super) async fn watch(upload: Option<&mut Upload>, session: &mut Downstream, silence: Duration) -> Watched {
    match upload {
        // Apart, so that requests without one keep no room for it.
        Some(upload) => Box::pin(upload.run(session, silence)).await,
        None => Watched::Refused(Refusal::new(Reason::Aborted, session.gone().await)),
    }
}
