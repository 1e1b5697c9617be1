//! Counts the HTTP/2 frames with which a client makes us work and asks for nothing: a flood of them ends the connection.
//!
//! It looks at the bytes that a client sends before the base's HTTP/2 does, and reads frame headers only (RFC 9113 section
//! 4.1): every frame that is no request and no body costs something, a `SETTINGS` or `PING`, which has to be answered,
//! more. What is honest pays for itself: time, requests, and bytes that the client took (its window updates). What a
//! request may cost is bounded elsewhere: streams at once, and streams given up (`h2`). Memory: 48 bytes a connection;
//! cost: a few instructions a frame. What it cannot read it leaves to the base, which refuses it.

use std::time::Instant;

/// The client's connection preface (RFC 9113 section 3.4), which is no frame.
const PREFACE: u32 = 24;
/// What a connection may spend at once.
const MOST: u32 = 4000;
/// What comes back each second.
const A_SECOND: u32 = 200;
/// What comes back with each request.
const A_REQUEST: u32 = 2;
/// Bytes sent to the client that bring back one.
const SENT: u32 = 256;

/// A connection's budget of frames.
#[derive(Debug)]
pub(crate) struct FrameBudget {
    header: [u8; 9],
    have: usize,
    /// Whether the preface is whole: the client's SETTINGS, which may be empty, end it.
    begun: bool,
    /// Bytes to pass before the next frame header.
    skip: u32,
    left: u32,
    sent: u32,
    refilled: Instant,
}

impl FrameBudget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { header: [0; 9], have: 0, begun: false, skip: PREFACE, left: MOST, sent: 0, refilled: now }
    }

    /// Takes note of bytes sent to the client.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.sent >= SENT {
            self.give(self.sent / SENT);
            self.sent %= SENT;
        }
    }

    fn give(&mut self, frames: u32) {
        self.left = self.left.saturating_add(frames).min(MOST);
    }

    /// Takes note of what the client sent; whether it may go on.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let n = bytes.len().min(self.skip as usize);
                self.skip -= u32::try_from(n).unwrap_or(self.skip);
                bytes = bytes.get(n..).unwrap_or_default();
                continue;
            }
            let n = bytes.len().min(self.header.len() - self.have);
            let (now, later) = bytes.split_at(n);
            if let Some(room) = self.header.get_mut(self.have..self.have + n) {
                room.copy_from_slice(now);
            }
            self.have += n;
            bytes = later;
            if self.have == self.header.len() {
                self.have = 0;
                if !self.frame() {
                    return false;
                }
            }
        }
        true
    }

    fn frame(&mut self) -> bool {
        let [a, b, c, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.skip = length;
        let ends = flags & 0x1 != 0;
        // What comes before them, the base would take (RFC 9113 section 3.4: a connection error).
        if !std::mem::replace(&mut self.begun, true) && (kind != 4 || ends) {
            return false;
        }
        let costs = match kind {
            // DATA: only an empty one that does not even end its stream.
            0 => u32::from(length == 0 && !ends),
            // HEADERS
            1 => {
                self.give(A_REQUEST);
                0
            }
            // SETTINGS and PING; their acknowledgements (the same bit) ask for nothing.
            4 if !ends => 8,
            6 if !ends => 2,
            _ => 1,
        };
        if self.left < costs {
            let now = Instant::now();
            let passed = now.duration_since(self.refilled);
            self.refilled = now;
            let more = passed.as_millis().saturating_mul(u128::from(A_SECOND)) / 1000;
            self.give(u32::try_from(more).unwrap_or(MOST));
        }
        match self.left.checked_sub(costs) {
            Some(left) => self.left = left,
            None => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut out = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        out.resize(9 + payload, b'x');
        out
    }

    fn begun() -> FrameBudget {
        let mut budget = FrameBudget::new(Instant::now());
        assert!(budget.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") && budget.read(&frame(4, 0, 0)));
        budget
    }

    /// How many of these frames pass, of ten thousand, however the bytes are cut.
    fn passing(budget: &mut FrameBudget, frame: &[u8], cut: usize) -> usize {
        (0..10_000).take_while(|_| frame.chunks(cut).all(|piece| budget.read(piece))).count()
    }

    #[test]
    fn floods_end_and_work_goes_on() {
        for (what, kind, flags, payload, at_most) in [
            ("PING", 6, 0, 8, 2100),
            ("SETTINGS", 4, 0, 0, 600),
            ("empty DATA", 0, 0, 0, 4100),
            ("WINDOW_UPDATE", 8, 0, 4, 4100),
            ("PRIORITY", 2, 0, 5, 4100),
            ("CONTINUATION", 9, 0, 1, 4100),
            ("unknown", 0xfa, 0, 100, 4100),
        ] {
            for cut in [1, 4, 1000] {
                let passed = passing(&mut begun(), &frame(kind, flags, payload), cut);
                assert!(passed > at_most / 3 && passed <= at_most, "{what}: {passed}");
            }
        }
        for (what, kind, flags, payload) in
            [("HEADERS", 1, 5, 30), ("DATA", 0, 0, 1), ("the end of DATA", 0, 1, 0), ("a request's RST", 1, 5, 30)]
        {
            let mut budget = begun();
            assert_eq!(passing(&mut budget, &frame(kind, flags, payload), 7), 10_000, "{what}");
        }
    }

    #[test]
    fn settings_come_first() {
        for (kind, flags, goes_on) in [(4, 0, true), (4, 1, false), (1, 5, false), (6, 0, false), (0xfa, 0, false)] {
            let mut budget = FrameBudget::new(Instant::now());
            assert!(budget.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
            assert_eq!(budget.read(&frame(kind, flags, 12)), goes_on, "{kind} {flags}");
        }
    }

    #[test]
    fn window_updates_are_paid_for_by_what_was_taken() {
        let mut budget = begun();
        for _ in 0..20_000 {
            budget.sent(16 * 1024);
            assert!(budget.read(&frame(8, 0, 4)) && budget.read(&frame(8, 0, 4)));
        }
    }
}
