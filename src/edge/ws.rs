//! WebSocket frames on their way through a tunnel (RFC 6455 section 5.2): headers are read and checked, payloads pass.
//!
//! What no endpoint may send ends the tunnel: a client's frame without a mask, a server's with one, a control frame that is
//! long or in pieces, a reserved opcode, a length that is longer written than needed. The place between two frames is
//! where words of our own fit in. Memory: 24 bytes a direction.

/// Ends a tunnel because the gate goes away (RFC 6455 section 7.4.1).
pub(crate) const GOING_AWAY: u16 = 1001;
/// Ends a tunnel because of what was sent.
pub(crate) const PROTOCOL_ERROR: u16 = 1002;

/// The frames of one direction.
#[derive(Debug)]
pub(crate) struct FrameScan {
    header: [u8; 10],
    have: usize,
    /// Bytes of payload, and of the mask before it, still to pass.
    skip: u64,
    masked: bool,
}

impl FrameScan {
    /// Frames as this side sends them: a client masks, a server does not (RFC 6455 section 5.1).
    pub(crate) fn new(masked: bool) -> Self {
        Self { header: [0; 10], have: 0, skip: 0, masked }
    }

    /// Whether no frame is under way.
    pub(crate) fn between(&self) -> bool {
        self.have == 0 && self.skip == 0
    }

    /// Follows `bytes`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.skip > 0 {
                let n = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                self.skip -= n as u64;
                bytes = bytes.get(n..).unwrap_or_default();
                continue;
            }
            if let Some(room) = self.header.get_mut(self.have) {
                *room = *first;
            }
            self.have += 1;
            bytes = rest;
            if self.have >= 2 && self.have == self.header_length() {
                self.begin()?;
                self.have = 0;
            }
        }
        Ok(())
    }

    /// The length of the header without a mask.
    fn header_length(&self) -> usize {
        match self.header[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }

    fn begin(&mut self) -> Result<(), &'static str> {
        let [first, second, a, b, c, d, e, f, g, h] = self.header;
        let (opcode, control) = (first & 0x0f, first & 0x08 != 0);
        if matches!(opcode, 3..=7 | 11..=15) {
            return Err("a reserved opcode");
        }
        if (second & 0x80 != 0) != self.masked {
            return Err(if self.masked { "a client's frame without a mask" } else { "a server's frame with a mask" });
        }
        let length = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([a, b])),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => u64::from(short),
        };
        let least = match second & 0x7f {
            126 => 126,
            127 => 0x1_0000,
            _ => 0,
        };
        if length < least || length > u64::MAX >> 1 {
            return Err("a length that is wrongly written");
        }
        if control && (length > 125 || first & 0x80 == 0) {
            return Err("a control frame that is long or in pieces");
        }
        self.skip = length + if self.masked { 4 } else { 0 };
        Ok(())
    }
}

/// A Close frame with this status. A client's has to have a mask, but not one that hides anything (RFC 6455 section 5.3
/// protects from scripts, and no script wrote this).
pub(crate) fn close(status: u16, masked: bool) -> Vec<u8> {
    let [high, low] = status.to_be_bytes();
    if masked { vec![0x88, 0x82, 0, 0, 0, 0, high, low] } else { vec![0x88, 0x02, high, low] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, mask: bool, length: &[u8], payload: usize) -> Vec<u8> {
        let mut out = vec![first, length[0] | if mask { 0x80 } else { 0 }];
        out.extend_from_slice(&length[1..]);
        out.resize(out.len() + payload + if mask { 4 } else { 0 }, b'x');
        out
    }

    #[test]
    fn frames_pass_however_they_are_cut() {
        for mask in [false, true] {
            let mut all = Vec::new();
            for (first, length, payload) in [
                (0x81, &[5][..], 5),
                (0x02, &[126, 0, 200][..], 200),
                (0x89, &[125][..], 125),
                (0x80, &[127, 0, 0, 0, 0, 0, 1, 0, 0][..], 65_536),
                (0xc1, &[0][..], 0),
                (0x88, &[2][..], 2),
            ] {
                all.extend(frame(first, mask, length, payload));
            }
            for cut in [1, 3, 7, 4096, usize::MAX] {
                let mut scan = FrameScan::new(mask);
                assert!(all.chunks(cut.min(all.len())).all(|piece| scan.feed(piece).is_ok()));
                assert!(scan.between());
                scan.feed(&[0x81]).unwrap();
                assert!(!scan.between());
            }
            let mut scan = FrameScan::new(mask);
            scan.feed(&close(GOING_AWAY, mask)).unwrap();
            assert!(scan.between());
        }
    }

    #[test]
    fn what_no_endpoint_may_send_is_refused() {
        for (what, bytes) in [
            ("no mask", frame(0x81, false, &[1], 1)),
            ("long ping", frame(0x89, true, &[126, 0, 126], 126)),
            ("ping in pieces", frame(0x09, true, &[1], 1)),
            ("opcode 3", frame(0x83, true, &[1], 1)),
            ("opcode 11", frame(0x8b, true, &[1], 1)),
            ("padded length", frame(0x81, true, &[126, 0, 125], 125)),
            ("padded long length", frame(0x81, true, &[127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], 10)),
            ("negative length", frame(0x81, true, &[127, 0x80, 0, 0, 0, 0, 0, 0, 0], 10)),
        ] {
            assert!(FrameScan::new(true).feed(&bytes).is_err(), "{what}");
        }
        assert!(FrameScan::new(false).feed(&frame(0x81, true, &[1], 1)).is_err());
    }
}
