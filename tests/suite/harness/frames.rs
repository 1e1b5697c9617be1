//! HTTP/2 frame by frame, for what a well-behaved client library would not send (RFC 9113 section 4).

use super::client::tls_stream;
use super::within;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// An answer with this status.
    Status(u16),
    /// Its stream was reset.
    Reset,
    /// The connection was ended.
    Ended,
}

impl Fate {
    /// Whether no part of the request was served.
    pub(crate) fn is_refusal(self) -> bool {
        !matches!(self, Self::Status(status) if status < 400)
    }
}

/// One connection.
pub(crate) struct Frames {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Frames {
    /// Connects and sends the preface with `settings` (identifier, value).
    pub(crate) async fn open(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self { stream: tls_stream(address, "h2").await, buffer: Vec::new() };
        frames.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let payload: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        frames.send(SETTINGS, 0, 0, &payload).await.unwrap();
        frames
    }

    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }

    /// A whole field block as one frame.
    pub(crate) async fn headers(&mut self, stream: u32, fields: &[(&[u8], &[u8])], end: bool) -> std::io::Result<()> {
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        self.send(HEADERS, flags, stream, &block(fields)).await
    }

    /// The next frame: kind, flags, stream, payload.
    pub(crate) async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        loop {
            if let Some(head) = self.buffer.first_chunk::<9>() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                if self.buffer.len() >= 9 + length {
                    let (kind, flags) = (head[3], head[4]);
                    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                    let payload = self.buffer.drain(..9 + length).skip(9).collect();
                    return Some((kind, flags, stream, payload));
                }
            }
            let read = self.stream.read_buf(&mut self.buffer).await;
            read.ok().filter(|n| *n > 0)?;
        }
    }

    /// Waits for what becomes of the request on `stream`.
    pub(crate) async fn fate(&mut self, stream: u32) -> Fate {
        let wait = async {
            loop {
                match self.next().await {
                    Some((HEADERS, _, on, payload)) if on == stream => return Fate::Status(status(&payload)),
                    Some((RST_STREAM, _, on, _)) if on == stream => return Fate::Reset,
                    Some((GOAWAY, _, _, payload)) if payload.get(4..8).is_some_and(|code| code != [0; 4]) => {
                        return Fate::Ended;
                    }
                    Some(_) => {}
                    None => return Fate::Ended,
                }
            }
        };
        within("the fate of a stream", wait).await
    }

    /// Waits for the end of the connection.
    pub(crate) async fn ended(&mut self) {
        within("the end of the connection", async { while self.next().await.is_some() {} }).await;
    }
}

/// Fields as literals without indexing and without Huffman coding (RFC 7541 section 6.2.2).
pub(crate) fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            integer(&mut out, text.len());
            out.extend_from_slice(text);
        }
    }
    out
}

/// RFC 7541 section 5.1 with a prefix of 7 bits.
fn integer(out: &mut Vec<u8>, value: usize) {
    let Some(mut rest) = value.checked_sub(127) else { return out.push(value.try_into().unwrap()) };
    out.push(127);
    while rest >= 128 {
        out.push((rest % 128 + 128).try_into().unwrap());
        rest /= 128;
    }
    out.push(rest.try_into().unwrap());
}

/// `:status`, which comes first in a block: from the static table, or as a literal with that name.
fn status(block: &[u8]) -> u16 {
    // A change of the table's size may stand before it (RFC 7541 section 6.3).
    let block = match block {
        [0x20..=0x3e, rest @ ..] => rest,
        [0x3f, first, second, third, rest @ ..] if *first >= 128 && *second >= 128 && *third < 128 => rest,
        [0x3f, first, second, rest @ ..] if *first >= 128 && *second < 128 => rest,
        _ => block,
    };
    match block {
        [first @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(first - 0x88)],
        [0x08 | 0x18 | 0x48, length, text @ ..] => {
            let text = &text[..usize::from(length & 0x7f)];
            let digits = if length & 0x80 == 0 { text.to_vec() } else { huffman_digits(text) };
            std::str::from_utf8(&digits).unwrap().parse().unwrap()
        }
        other => panic!("no :status in {:02x?}", &other[..other.len().min(8)]),
    }
}

/// Digits in RFC 7541 Appendix B: 0 to 2 have five bits, 3 to 9 six.
fn huffman_digits(bytes: &[u8]) -> Vec<u8> {
    let bits: Vec<bool> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1 == 1)).collect();
    let (mut at, mut out) = (0, Vec::new());
    let number = |from: usize, n: usize| bits[from..from + n].iter().fold(0u8, |sum, bit| sum * 2 + u8::from(*bit));
    while bits.len() - at >= 5 {
        if number(at, 5) <= 2 {
            out.push(b'0' + number(at, 5));
            at += 5;
        } else if bits.len() - at >= 6 && (0x19..=0x1f).contains(&number(at, 6)) {
            out.push(b'3' + number(at, 6) - 0x19);
            at += 6;
        } else {
            break;
        }
    }
    out
}

#[test]
fn statuses_are_read_in_every_form() {
    assert_eq!(status(&[0x88]), 200);
    assert_eq!(status(&[0x48, 3, b'4', b'0', b'3']), 403);
    // "307" from RFC 7541 Appendix C.6.2, "403" and "999" by its Appendix B.
    assert_eq!(status(&[0x48, 0x83, 0x64, 0x0e, 0xff]), 307);
    assert_eq!(status(&[0x3f, 0xe1, 0x1f, 0x48, 0x83, 0x68, 0x0c, 0xff]), 403);
    assert_eq!(status(&[0x48, 0x83, 0x7d, 0xf7, 0xff]), 999);
}
