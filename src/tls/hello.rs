//! The ClientHello as it stands on the wire (RFC 8446 section 4.1.2), and the fingerprint JA4 that is made of it.
//!
//! A pure reader over the first bytes of a connection, of what `rustls` reads too but does not tell: which extensions there
//! are, and in what order. It decides nothing: whatever cannot be read has no fingerprint and is `rustls`'s to refuse.
//!
//! *JA4* (FoxIO, "JA4: TLS Client Fingerprinting"), for example `t13d1516h2_8daaf6152771_e5627efa2ab1`: the transport, the
//! highest version offered, whether a server is named, how many cipher suites and extensions are offered, the first
//! application protocol; then the suites, sorted, and the extensions, sorted, with the signature schemes, each as the
//! first twelve hex digits of a SHA-256 digest. Values that RFC 8701 reserves (GREASE) count nowhere. Clients change what
//! they send in order, not in kind, so one program has one fingerprint: it names programs, not people, and can be forged.
//!
//! *Bounds.* At most [`MAX_HELLO`] bytes over any number of records are looked at; cost linear in them.

use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Largest ClientHello that is looked at, in bytes on the wire.
pub const MAX_HELLO: usize = 16 * 1024;
/// Records of one ClientHello.
const MAX_RECORDS: usize = 64;

const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// What the first bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// The beginning of a ClientHello; at least this many bytes more are needed, never zero.
    More(usize),
    /// A whole one.
    Hello(Hello),
    /// Something else, or more than is looked at.
    Other,
}

/// The parts of a ClientHello that tell programs apart, in the order they were sent, without GREASE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// The highest version offered.
    pub version: u16,
    /// Cipher suites.
    pub suites: Vec<u16>,
    /// Extensions, by their numbers.
    pub extensions: Vec<u16>,
    /// Signature schemes.
    pub schemes: Vec<u16>,
    /// The first application protocol; empty if there is none.
    pub protocol: Vec<u8>,
    /// Whether no other one is offered.
    pub one_protocol: bool,
}

/// Reads the first bytes of a connection.
pub fn read(bytes: &[u8]) -> Read {
    match records(bytes) {
        Ok(message) => Hello::read(&message).map_or(Read::Other, Read::Hello),
        Err(other) => other,
    }
}

/// The handshake message of the first records, without its header.
fn records(bytes: &[u8]) -> Result<Vec<u8>, Read> {
    let mut message = Vec::new();
    let mut rest = bytes;
    for _ in 0..MAX_RECORDS {
        // Of type handshake, of a version 3.x, not empty (RFC 8446 section 5.1).
        let shape = [Some(22), Some(3), None, None, None];
        if rest.iter().zip(shape).any(|(byte, want)| want.is_some_and(|want| want != *byte)) {
            return Err(Read::Other);
        }
        let Some((header, body)) = rest.split_first_chunk::<5>() else { return Err(more(bytes, 5 - rest.len())) };
        let [.., high, low] = *header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > 16 * 1024 {
            return Err(Read::Other);
        }
        let Some((fragment, next)) = body.split_at_checked(length) else {
            // Of something else we need not wait for the end.
            return Err(match message.first().or(body.first()) {
                Some(1) | None => more(bytes, length - body.len()),
                Some(_) => Read::Other,
            });
        };
        message.extend_from_slice(fragment);
        if let Some((header, hello)) = message.split_first_chunk::<4>() {
            let [kind, a, b, c] = *header;
            let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
            if kind != 1 || length > MAX_HELLO {
                return Err(Read::Other);
            }
            if let Some(hello) = hello.get(..length) {
                return Ok(hello.to_vec());
            }
        }
        rest = next;
    }
    Err(Read::Other)
}

fn more(bytes: &[u8], more: usize) -> Read {
    if bytes.len() + more > MAX_HELLO { Read::Other } else { Read::More(more) }
}

/// Takes what is read off the front; `None` past the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<usize> {
        self.take(1)?.first().copied().map(usize::from)
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    }

    /// A vector with two bytes of length.
    fn vector(&mut self) -> Option<Reader<'a>> {
        let length = self.u16()?;
        self.take(length.into()).map(Reader)
    }
}

/// The values of a list of two-byte numbers that ends evenly.
fn numbers(bytes: &[u8]) -> Option<Vec<u16>> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|pair| u16::from_be_bytes(*pair)).filter(|n| !is_grease(*n)).collect())
}

/// RFC 8701 section 2: both bytes alike, each ending in 0xA.
fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0xF == 0xA
}

impl Hello {
    fn read(message: &[u8]) -> Option<Self> {
        let mut reader = Reader(message);
        let version = reader.u16()?;
        reader.take(32)?;
        let session = reader.u8()?;
        reader.take(session)?;
        let suites = numbers(reader.vector()?.0)?;
        let compressions = reader.u8()?;
        reader.take(compressions)?;
        let mut hello = Self { version, suites, ..Self::default() };
        if reader.0.is_empty() {
            // TLS 1.2 and older need have no extensions.
            return Some(hello);
        }
        let mut extensions = reader.vector()?;
        if !reader.0.is_empty() {
            return None;
        }
        while !extensions.0.is_empty() {
            let (kind, mut body) = (extensions.u16()?, extensions.vector()?);
            if is_grease(kind) {
                continue;
            }
            hello.extensions.push(kind);
            match kind {
                SIGNATURE_ALGORITHMS => hello.schemes = numbers(body.vector()?.0)?,
                ALPN => {
                    let mut names = body.vector()?;
                    if !names.0.is_empty() {
                        let length = names.u8()?;
                        hello.protocol = names.take(length)?.to_vec();
                        hello.one_protocol = names.0.is_empty();
                    }
                }
                SUPPORTED_VERSIONS => {
                    let length = body.u8()?;
                    let offered = numbers(body.take(length)?)?;
                    hello.version = offered.into_iter().max().unwrap_or(version);
                }
                _ => {}
            }
        }
        Some(hello)
    }

    /// Whether the client speaks this protocol and no other.
    pub fn offers_only(&self, protocol: &[u8]) -> bool {
        self.one_protocol && self.protocol == protocol
    }

    /// The fingerprint of a client that came over TCP: 36 characters of ASCII.
    pub fn ja4(&self) -> Arc<str> {
        let version = match self.version {
            0x0304 => "13",
            0x0303 => "12",
            0x0302 => "11",
            0x0301 => "10",
            0x0300 => "s3",
            0x0002 => "s2",
            _ => "00",
        };
        let named = if self.extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
        let (suites, extensions) = (self.suites.len().min(99), self.extensions.len().min(99));
        let [first, last] = ends(&self.protocol);
        let mut sorted = self.suites.clone();
        sorted.sort_unstable();
        let suites_digest = digest(&sorted, &[]);
        let mut sorted = self.extensions.clone();
        sorted.retain(|kind| ![SERVER_NAME, ALPN].contains(kind));
        sorted.sort_unstable();
        let extensions_digest = digest(&sorted, &self.schemes);
        format!("t{version}{named}{suites:02}{extensions:02}{first}{last}_{suites_digest}_{extensions_digest}").into()
    }
}

/// The first and last character of a protocol's name; of one that does not begin and end in letters or digits, the first
/// and last hex digit.
fn ends(protocol: &[u8]) -> [char; 2] {
    let (Some(first), Some(last)) = (protocol.first().copied(), protocol.last().copied()) else { return ['0', '0'] };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [first.into(), last.into()];
    }
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    [digit(first >> 4), digit(last & 0xF)]
}

/// Twelve hex digits of the digest of a list, in hex with commas, and of another behind `_`.
fn digest(list: &[u16], behind: &[u16]) -> String {
    if list.is_empty() {
        return "0".repeat(12);
    }
    let joined = |list: &[u16]| list.iter().map(|number| format!("{number:04x}")).collect::<Vec<_>>().join(",");
    let mut text = joined(list);
    if !behind.is_empty() {
        text = format!("{text}_{}", joined(behind));
    }
    Sha256::digest(text).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello's message, in as many records as `cut` says bytes fit into one.
    fn wire(message: &[u8], cut: usize) -> Vec<u8> {
        let mut whole = vec![1];
        whole.extend(&u32::try_from(message.len()).unwrap().to_be_bytes()[1..]);
        whole.extend(message);
        let record = |part: &[u8]| {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[22, 3, 1][..], &length, part].concat()
        };
        whole.chunks(cut).flat_map(record).collect()
    }

    fn vector(parts: &[u8]) -> Vec<u8> {
        [&u16::try_from(parts.len()).unwrap().to_be_bytes()[..], parts].concat()
    }

    fn message(version: u16, suites: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let bytes = |list: &[u16]| list.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>();
        let mut message = version.to_be_bytes().to_vec();
        message.extend([7; 32]);
        message.extend([2, 0xAA, 0xBB]);
        message.extend(vector(&bytes(suites)));
        message.extend([1, 0]);
        if !extensions.is_empty() {
            let all: Vec<u8> = extensions
                .iter()
                .flat_map(|(kind, body)| [kind.to_be_bytes().to_vec(), vector(body)].concat())
                .collect();
            message.extend(vector(&all));
        }
        message
    }

    fn schemes(list: &[u16]) -> Vec<u8> {
        vector(&list.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>())
    }

    fn protocols(names: &[&[u8]]) -> Vec<u8> {
        let list = names.iter().flat_map(|name| [&[u8::try_from(name.len()).unwrap()][..], name].concat());
        vector(&list.collect::<Vec<_>>())
    }

    fn versions(list: &[u16]) -> Vec<u8> {
        let bytes: Vec<u8> = list.iter().flat_map(|n| n.to_be_bytes()).collect();
        [&[u8::try_from(bytes.len()).unwrap()][..], &bytes].concat()
    }

    /// What Chrome sent when its fingerprint was published, in an order of our own, with GREASE where it puts it.
    fn chrome() -> Vec<u8> {
        let suites = [
            0x2A2A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C,
            0x009D, 0x002F, 0x0035,
        ];
        let offered = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];
        let mut extensions = vec![
            (0x6A6A, vec![]),
            (0x0000, b"\0\x09\0\0\x06a.test".to_vec()),
            (0x000D, schemes(&offered)),
            (0x0010, protocols(&[b"h2", b"http/1.1"])),
            (0x002B, versions(&[0x3A3A, 0x0304, 0x0303])),
        ];
        let others = [0xFF01, 0x0017, 0x0005, 0x000A, 0x000B, 0x0012, 0x001B, 0x0023, 0x002D, 0x0033, 0x4469];
        extensions.extend(others.map(|kind| (kind, vec![1, 2, 3])));
        extensions.push((0xFAFA, vec![0]));
        message(0x0303, &suites, &extensions)
    }

    fn hello(bytes: &[u8]) -> Hello {
        match read(bytes) {
            Read::Hello(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_published_example_comes_out() {
        let hello = hello(&wire(&chrome(), 16_384));
        assert_eq!((hello.version, hello.suites.len(), hello.extensions.len()), (0x0304, 15, 15));
        // The published client sent one extension more of those that do not count by content: padding.
        let mut padded = hello.clone();
        padded.extensions.push(0x0015);
        assert_eq!(&*padded.ja4(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert!(hello.ja4().starts_with("t13d1515h2_8daaf6152771_"));
    }

    #[test]
    fn the_first_part_says_what_was_offered() {
        let named = (0x0000, vec![0, 0]);
        for (version, extensions, expected) in [
            (0x0303, vec![], "t12i010000"),
            (0x0303, vec![(0x2B, versions(&[0x0303, 0x0304]))], "t13i010100"),
            (0x0303, vec![(0x2B, versions(&[0x0A0A]))], "t12i010100"),
            (0x0302, vec![named.clone()], "t11d010100"),
            (0x0301, vec![(0x10, protocols(&[]))], "t10i010100"),
            (0x0300, vec![(0x10, protocols(&[b"http/1.1"]))], "ts3i0101h1"),
            (0x0002, vec![(0x10, protocols(&[b"x"]))], "ts2i0101xx"),
            (0x0999, vec![(0x10, protocols(&[b"\xAB"]))], "t00i0101ab"),
            (0x0303, vec![(0x10, protocols(&[b"\xAB\xCD"]))], "t12i0101ad"),
            (0x0303, vec![(0x10, protocols(&[b"0\xAB"]))], "t12i01013b"),
            (0x0303, vec![(0x10, protocols(&[b"01\xAB\xCD"]))], "t12i01013d"),
            (0x0303, vec![(0x10, protocols(&[b"0\xAB\xCD1"]))], "t12i010101"),
        ] {
            let ja4 = hello(&wire(&message(version, &[0x1301], &extensions), 999)).ja4();
            assert_eq!(ja4.split('_').next(), Some(expected), "{version:x} {extensions:?}");
            assert_eq!(ja4.len(), 36);
        }
        let many: Vec<(u16, Vec<u8>)> = (0x1000..0x1000 + 120).map(|kind| (kind, vec![])).collect();
        assert!(hello(&wire(&message(0x0303, &[1; 200], &many), 999)).ja4().starts_with("t12i999900_"));
        // SHA-256 of "1301", and of an extension with and without schemes.
        let one = hello(&wire(&message(0x0303, &[0x1301], &[(0x0017, vec![])]), 999)).ja4();
        let short = |text: &str| Sha256::digest(text).iter().take(6).map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(*one, format!("t12i010100_{}_{}", short("1301"), short("0017")));
        let extensions = [(0x0017, vec![]), (0x000D, schemes(&[0x0804, 0x0403]))];
        let two = hello(&wire(&message(0x0303, &[], &extensions), 999)).ja4();
        assert_eq!(*two, format!("t12i000200_000000000000_{}", short("000d,0017_0804,0403")));
        let none = hello(&wire(&message(0x0303, &[0x0A0A], &[]), 999)).ja4();
        assert_eq!(&*none, "t12i000000_000000000000_000000000000");
    }

    #[test]
    fn records_may_be_cut_anywhere_and_bytes_come_as_they_like() {
        let whole = hello(&wire(&chrome(), 16_384));
        for cut in [7, 50, 300] {
            let bytes = wire(&chrome(), cut);
            assert_eq!(hello(&[&bytes[..], b"more"].concat()), whole, "{cut}");
            let mut have = 0;
            let mut looks = 0;
            while let Read::More(more) = read(&bytes[..have]) {
                assert!(more > 0);
                have += more;
                looks += 1;
            }
            assert_eq!((have, hello(&bytes[..have])), (bytes.len(), whole.clone()), "{cut}");
            assert!(looks <= 2 * chrome().len() / cut + 4, "{looks}");
        }
        assert_eq!(read(&wire(&chrome(), 2)), Read::Other, "so many records are no browser's");
    }

    #[test]
    fn what_cannot_be_read_is_left_to_others() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            &[22, 2, 0],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0x40, 1],
            &[22, 3, 1, 0, 200, 2],
            &[22, 3, 1, 0, 4, 2, 0, 0, 0],
            &[22, 3, 1, 0, 4, 1, 0, 0, 0],
            &[22, 3, 1, 0, 4, 1, 0xFF, 0, 0],
            &[21, 3, 1, 0, 2, 1, 0],
        ] {
            assert_eq!(read(bytes), Read::Other, "{bytes:x?}");
        }
        let good = chrome();
        for end in 0..good.len() {
            let cut = read(&wire(&good[..end], 16_384));
            // One place is as good an end as the end: before the extensions.
            assert!(cut == Read::Other || matches!(&cut, Read::Hello(hello) if hello.extensions.is_empty()), "{end}");
        }
        assert_eq!(read(&wire(&[&good[..], &[0]].concat(), 16_384)), Read::Other);
        let large = message(0x0303, &[1], &[(0x0015, vec![0; 17_000])]);
        assert_eq!(read(&wire(&large, 16_384)[..16_500]), Read::Other);
    }

    #[test]
    fn grease_is_known() {
        let reserved: Vec<u16> = (0..16).map(|n| n << 12 | 0x0A00 | n << 4 | 0x000A).collect();
        for number in 0..=u16::MAX {
            assert_eq!(is_grease(number), reserved.contains(&number), "{number:04x}");
        }
    }
}
