//! The strict check of an HTTP/1 body's framing, over the raw bytes, as they pass.
//!
//! [`BodyScan`] is given the bytes after a head and says how many of them belong to the body and whether it has ended,
//! so that the reader of the connection knows where the next head begins. It keeps nothing of the body. Chunked bodies
//! (RFC 9112 section 7.1) are refused where two readers could disagree: a size that is not 1 to 16 hex digits, white
//! space, a bare CR or LF, controls in an extension, data that is not followed by CRLF, trailers that are no fields or
//! that would change framing, routing or identity.
//!
//! Memory: a few words, and one trailer section of at most 4 KiB while it is read. Cost: data is skipped, not looked at.

use super::bytes::field_line;
use super::wire::{Body, Malformed};
use crate::verdict::Reason;

/// Most hex digits of a chunk size: 64 bits.
const MAX_DIGITS: u8 = 16;
/// Most bytes of chunk extensions in one body (RFC 9112 section 7.1.1 asks for a limit on their total).
const MAX_EXTENSIONS: u32 = 4096;
/// Most bytes of one trailer section (RFC 9112 section 7.1.2).
const MAX_TRAILERS: usize = 4096;

/// Fields that may not come after the body (RFC 9110 section 6.5.1): framing, routing, request modifiers,
/// authentication, and how the content is to be read.
const NOT_IN_TRAILERS: [&str; 17] = [
    "transfer-encoding",
    "content-length",
    "host",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "authorization",
    "proxy-authorization",
    "cookie",
    "content-type",
    "content-encoding",
    "content-range",
    "range",
    "cache-control",
    "max-forwards",
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// In a chunk's size.
    Size {
        value: u64,
        digits: u8,
    },
    /// In a chunk's extensions.
    Extension {
        value: u64,
    },
    /// CR seen after size or extensions.
    SizeLf {
        value: u64,
    },
    /// In data: of a chunk, or of a body with a length.
    Data {
        left: u64,
    },
    /// After a chunk's data.
    DataCr,
    DataLf,
    /// In the trailer section, this line so far.
    Trailer {
        line: Vec<u8>,
    },
    Done,
}

/// What one call of [`BodyScan::feed`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanned {
    /// How many of the bytes given belong to this body; the rest is the next request's.
    pub used: usize,
    /// Whether the body has ended.
    pub done: bool,
}

/// Follows the framing of one body.
#[derive(Debug, Clone)]
pub struct BodyScan {
    state: State,
    chunked: bool,
    extensions: u32,
    trailers: usize,
    /// Bytes seen in earlier calls, for the place of a fault.
    seen: usize,
}

impl BodyScan {
    /// For the body that a head announced.
    pub fn new(body: Body) -> Self {
        let state = match body {
            Body::None | Body::Length(0) => State::Done,
            Body::Length(left) => State::Data { left },
            Body::Chunked => State::Size { value: 0, digits: 0 },
        };
        Self { state, chunked: body == Body::Chunked, extensions: 0, trailers: 0, seen: 0 }
    }

    /// Whether the body has ended.
    pub fn done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the bytes that came next.
    ///
    /// # Errors
    /// The first fault, after which the connection is to be closed: 400, or 431 for trailers above the limit.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Scanned, Malformed> {
        let mut rest = bytes;
        while self.state != State::Done {
            if let State::Data { left } = self.state {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                rest = rest.get(here..).unwrap_or_default();
                match left - here as u64 {
                    0 if self.chunked => self.state = State::DataCr,
                    0 => self.state = State::Done,
                    left => {
                        self.state = State::Data { left };
                        break;
                    }
                }
                continue;
            }
            let Some((byte, tail)) = rest.split_first() else { break };
            let at = self.seen + (bytes.len() - rest.len());
            self.step(*byte, at)?;
            rest = tail;
        }
        let used = bytes.len() - rest.len();
        self.seen = self.seen.saturating_add(used);
        Ok(Scanned { used, done: self.done() })
    }

    /// One byte that is not data.
    fn step(&mut self, byte: u8, at: usize) -> Result<(), Malformed> {
        let bad = |what| Err(Malformed::syntax(what, at));
        match &mut self.state {
            State::Size { value, digits } => match (char::from(byte).to_digit(16), byte) {
                (Some(_), _) if *digits == MAX_DIGITS => return bad("chunk size is above 64 bits"),
                (Some(digit), _) => {
                    *value = (*value << 4) | u64::from(digit);
                    *digits += 1;
                }
                (None, _) if *digits == 0 => return bad("chunk size is empty"),
                (None, b';') => self.state = State::Extension { value: *value },
                (None, b'\r') => self.state = State::SizeLf { value: *value },
                (None, b'\n') => return bad("bare LF in a chunk"),
                // RFC 9112 section 7.1.1 knows white space here as a mistake of old senders.
                (None, _) => return bad("chunk size is not hexadecimal"),
            },
            State::Extension { value } => {
                self.extensions += 1;
                match byte {
                    _ if self.extensions > MAX_EXTENSIONS => return bad("chunk extensions above the limit"),
                    b'\r' => self.state = State::SizeLf { value: *value },
                    b'\n' => return bad("bare LF in a chunk"),
                    b'\t' | b' '..=b'~' => {}
                    _ => return bad("control or non-ASCII byte in a chunk extension"),
                }
            }
            State::SizeLf { value } => match (byte, *value) {
                (b'\n', 0) => self.state = State::Trailer { line: Vec::new() },
                (b'\n', left) => self.state = State::Data { left },
                _ => return bad("bare CR in a chunk"),
            },
            State::DataCr if byte == b'\r' => self.state = State::DataLf,
            State::DataLf if byte == b'\n' => self.state = State::Size { value: 0, digits: 0 },
            State::DataCr | State::DataLf => return bad("chunk data is not followed by CRLF"),
            State::Trailer { line } => {
                self.trailers += 1;
                if self.trailers > MAX_TRAILERS {
                    return Err(Malformed::new(Reason::HeadTooLarge, "trailers above the limit", at));
                }
                if byte != b'\n' {
                    line.push(byte);
                } else if line.pop() != Some(b'\r') {
                    return bad("bare LF in the trailers");
                } else if line.is_empty() {
                    self.state = State::Done;
                } else {
                    let (name, _) = field_line(line, at - line.len() - 1)?;
                    if NOT_IN_TRAILERS.iter().any(|field| name.eq_ignore_ascii_case(field.as_bytes())) {
                        return bad("field is not allowed in trailers");
                    }
                    line.clear();
                }
            }
            // Not reached: data is skipped and the end ends the loop.
            State::Data { .. } | State::Done => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(body: Body, bytes: &[u8]) -> Result<Scanned, Malformed> {
        BodyScan::new(body).feed(bytes)
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        let done = |used| Ok(Scanned { used, done: true });
        let open = |used| Ok(Scanned { used, done: false });
        for (body, bytes, want) in [
            (Body::None, "GET /", done(0)),
            (Body::Length(0), "GET /", done(0)),
            (Body::Length(5), "helloGET /", done(5)),
            (Body::Length(5), "hel", open(3)),
            (Body::Length(u64::MAX), "hel", open(3)),
            (Body::Chunked, "5\r\nhello\r\n0\r\n\r\nGET /", done(15)),
            (Body::Chunked, "0A\r\n0123456789\r\n0\r\n\r\n", done(21)),
            (Body::Chunked, "5;a=\"b;c\"\r\nhello\r\n0;x\r\n\r\n", done(25)),
            (Body::Chunked, "0\r\nX-T: 1\r\nX-U:\r\n\r\nX", done(19)),
            (Body::Chunked, "ffffffffffffffff\r\nhello", open(23)),
            (Body::Chunked, "5\r\nhello\r\n0\r\n", open(13)),
            (Body::Chunked, "", open(0)),
        ] {
            assert_eq!(scan(body, bytes.as_bytes()), want, "{bytes:?}");
        }
    }

    #[test]
    fn rfc9112_7_1_chunks_with_two_readings_are_refused() {
        for bytes in [
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
            "0000000000000000005\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n",
            "+5\r\nhello\r\n",
            "-5\r\nhello\r\n",
            "5g\r\nhello\r\n",
            "\r\nhello\r\n",
            ";a\r\n",
            " 5\r\nhello\r\n",
            "5 \r\nhello\r\n",
            "0_5\r\nhello\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhelloXX0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\rX\nhello\r\n0\r\n\r\n",
            "5\nhello\n0\n\n",
            "5;a=\0\r\nhello\r\n",
            "5;a\nhello\r\n",
            "5;\ra\r\nhello\r\n",
            "2;\nxx\r\n47\r\n",
            "4;note=a\nb\r\nwxyz\r\n0\r\n\r\n",
            "0\r\nX-T: 1\n\r\n",
            "0\r\nbad line\r\n\r\n",
            "0\r\n folded\r\n\r\n",
            "0\r\n: v\r\n\r\n",
            "0\r\n:path: /x\r\n\r\n",
            "0\r\nX-T: a\0\r\n\r\n",
            "0\r\nContent-Length: 50\r\n\r\n",
            "0\r\nhost: evil\r\n\r\n",
            "0\r\nAuthorization: x\r\n\r\n",
        ] {
            assert_eq!(scan(Body::Chunked, bytes.as_bytes()).unwrap_err().reason, Reason::Malformed, "{bytes:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded_over_the_whole_body() {
        let long = format!("5;{}\r\n", "a".repeat(5000));
        assert!(scan(Body::Chunked, long.as_bytes()).is_err());
        let many = "1;aaaaaaaa\r\nx\r\n".repeat(1000);
        assert!(scan(Body::Chunked, many.as_bytes()).is_err());
        let trailers = format!("0\r\n{}\r\n", "X-A: bbbbbbbbbbbbbbbbbbbb\r\n".repeat(1000));
        assert_eq!(scan(Body::Chunked, trailers.as_bytes()).unwrap_err().reason, Reason::HeadTooLarge);
    }

    proptest! {
        /// However the bytes are cut, the end and the verdict are the same.
        #[test]
        fn cutting_changes_nothing(
            pieces in proptest::collection::vec(prop_oneof![
                Just("5\r\nhello\r\n".as_bytes().to_vec()), Just(b"0\r\n\r\n".to_vec()), Just(b"0\r\nX: 1\r\n\r\n".to_vec()),
                Just(b"1;a=b\r\nx\r\n".to_vec()), Just(b"\r\n".to_vec()), proptest::collection::vec(any::<u8>(), 0..4),
            ], 0..6),
            cut in 0_usize..40,
        ) {
            let bytes = pieces.concat();
            let whole = scan(Body::Chunked, &bytes);
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let mut scan = BodyScan::new(Body::Chunked);
            let parts = scan.feed(first).and_then(|a| if a.done { Ok(a) } else {
                scan.feed(second).map(|b| Scanned { used: a.used + b.used, done: b.done })
            });
            prop_assert_eq!(whole, parts);
        }
    }
}
