//! The bounded queue between the request path and the writer.
//!
//! A lock held for the push of one pointer: the writer takes all that waits at once and encodes outside it. An event
//! counts against the bounds until it is written, so the bound covers what the writer holds too.
//!
//! Masking and encoding cost more than a refusal does, and there is one writer and a worker on each core. So once
//! [`MOST_PLAIN`] events wait to be encoded, whoever has one more encodes it himself: no faster can events come than
//! they are encoded, and what is left to the writer is to write.

use super::event::Event;
use crate::telemetry::AuditMetrics;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::time::Instant;

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// In events.
    pub(super) events: usize,
    /// In bytes, by [`Event::weight`].
    pub(super) bytes: usize,
}

/// Events that wait for the writer to encode them. While it does, the others may each encode as many: the bound of the
/// queue is far above that for any number of cores.
const MOST_PLAIN: usize = 64;

/// What waits to be written.
#[derive(Debug)]
pub(super) enum Waiting {
    /// An event and its weight.
    Event(Box<Event>, usize),
    /// A line.
    Line(Vec<u8>),
}

impl Waiting {
    /// What it counts against the bound in bytes.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Event(_, weight) => *weight,
            Self::Line(line) => line.len(),
        }
    }
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Waiting or being written.
    events: usize,
    bytes: usize,
    /// Of them, those that are not encoded yet.
    plain: usize,
    /// Ever taken, and of those ever written or given up; the writer keeps their order.
    taken: u64,
    settled: u64,
    limits: Limits,
    closed: bool,
    reopen: bool,
    finished: bool,
    /// Until when a writer that cannot write may go on trying after close.
    deadline: Option<Instant>,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Its gauge shows how many events are held; set under the lock, so that it never stays behind.
    metrics: AuditMetrics,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes who waits for an empty queue or the writer's end.
    idle: Condvar,
}

impl State {
    /// Whether there is room for one more event of so many bytes.
    fn takes(&self, bytes: usize) -> bool {
        let full = self.events >= self.limits.events || self.bytes.saturating_add(bytes) > self.limits.bytes;
        !full && !self.closed
    }
}

/// What the writer is to do next.
pub(super) enum Work {
    /// Write these.
    Events(VecDeque<Waiting>),
    /// Open the file anew.
    Reopen,
    /// The queue is closed and empty.
    End,
}

impl Queue {
    pub(super) fn new(limits: Limits, metrics: AuditMetrics) -> Self {
        Self {
            metrics,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                events: 0,
                bytes: 0,
                plain: 0,
                taken: 0,
                settled: 0,
                limits,
                closed: false,
                reopen: false,
                finished: false,
                deadline: None,
            }),
            work: Condvar::new(),
            idle: Condvar::new(),
        }
    }

    /// Takes an event if it has room; whether it had. `encode` makes a line of it, where there are enough to encode.
    pub(super) fn push(&self, event: Event, encode: impl FnOnce(&Event) -> Option<Vec<u8>>) -> bool {
        let weight = event.weight();
        let event = Box::new(event);
        let mut state = self.state.lock();
        if !state.takes(weight) {
            return false;
        }
        if state.plain < MOST_PLAIN {
            state.plain += 1;
            self.put(state, Waiting::Event(event, weight));
            return true;
        }
        drop(state);
        let Some(line) = encode(&event) else { return false };
        let state = self.state.lock();
        let takes = state.takes(line.len());
        if takes {
            self.put(state, Waiting::Line(line));
        }
        takes
    }

    fn put(&self, mut state: MutexGuard<'_, State>, waiting: Waiting) {
        state.events += 1;
        state.taken += 1;
        state.bytes += waiting.weight();
        state.waiting.push_back(waiting);
        self.metrics.queue.inc();
        drop(state);
        self.work.notify_one();
    }

    /// An event that waited is encoded.
    pub(super) fn encoded(&self) {
        let mut state = self.state.lock();
        state.plain = state.plain.saturating_sub(1);
    }

    /// Whether there is room for more with an eighth to spare, for those that were let in before and come to an end.
    pub(super) fn has_room(&self) -> bool {
        let state = self.state.lock();
        let below = |held: usize, limit: usize| held < limit - limit / 8;
        !state.closed && below(state.events, state.limits.events) && below(state.bytes, state.limits.bytes)
    }

    /// Events waiting or being written.
    pub(super) fn held(&self) -> usize {
        self.state.lock().events
    }

    pub(super) fn limit(&self, limits: Limits) {
        self.state.lock().limits = limits;
    }

    /// Waits for something to do.
    pub(super) fn next(&self) -> Work {
        let mut state = self.state.lock();
        loop {
            if std::mem::take(&mut state.reopen) {
                return Work::Reopen;
            }
            if !state.waiting.is_empty() {
                return Work::Events(std::mem::take(&mut state.waiting));
            }
            if state.closed {
                return Work::End;
            }
            self.work.wait(&mut state);
        }
    }

    /// Gives back the room of events that were written or given up.
    pub(super) fn done(&self, events: usize, bytes: usize) {
        let mut state = self.state.lock();
        state.events = state.events.saturating_sub(events);
        state.bytes = state.bytes.saturating_sub(bytes);
        self.metrics.queue.set(i64::try_from(state.events).unwrap_or(i64::MAX));
        state.settled += u64::try_from(events).unwrap_or(0);
        self.idle.notify_all();
    }

    /// Waits before another try until `until`, or less if the file is to be opened anew or the queue was closed
    /// meanwhile. Whether there may be another try: not once the deadline of the close has passed.
    pub(super) fn pause(&self, until: Instant) -> Retry {
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            if std::mem::take(&mut state.reopen) {
                return Retry::Reopened;
            }
            if state.deadline.is_some_and(|deadline| now >= deadline) {
                return Retry::GiveUp;
            }
            if now >= until {
                return Retry::Again;
            }
            let wake = state.deadline.map_or(until, |deadline| deadline.min(until));
            self.work.wait_until(&mut state, wake);
        }
    }

    pub(super) fn reopen(&self) {
        self.state.lock().reopen = true;
        self.work.notify_one();
    }

    /// Takes no more; the writer ends when all is written, or at the deadline.
    pub(super) fn close(&self, deadline: Instant) {
        let mut state = self.state.lock();
        state.closed = true;
        state.deadline = Some(state.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        drop(state);
        self.work.notify_one();
    }

    /// The writer says it has ended.
    pub(super) fn finish(&self) {
        self.state.lock().finished = true;
        self.idle.notify_all();
    }

    /// Waits until all that was taken before is settled; `false` if it was not by `until`.
    pub(super) fn wait_settled(&self, until: Instant) -> bool {
        let mut state = self.state.lock();
        let taken = state.taken;
        while state.settled < taken {
            if self.idle.wait_until(&mut state, until).timed_out() {
                return state.settled >= taken;
            }
        }
        true
    }

    /// Waits until the writer has ended; `false` if it had not by `until`.
    pub(super) fn wait_finished(&self, until: Instant) -> bool {
        let mut state = self.state.lock();
        while !state.finished {
            if self.idle.wait_until(&mut state, until).timed_out() {
                return state.finished;
            }
        }
        true
    }

    /// Takes all that waits, for a writer that has to end.
    pub(super) fn abandon(&self) -> VecDeque<Waiting> {
        std::mem::take(&mut self.state.lock().waiting)
    }
}

/// What a writer that could not write is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// Try again.
    Again,
    /// Open the file anew and try again.
    Reopened,
    /// End.
    GiveUp,
}
