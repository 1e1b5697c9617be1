//! One list file, read into address ranges.
//!
//! ```text
//! line    = [ entry ] [ ( "#" / ";" ) comment ]
//! entry   = address [ "/" length ]          ; no bit set beyond the length
//! ```

use crate::fault::Fault;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

/// Largest list file, in bytes: some twelve million networks.
const MAX_FILE: u64 = 256 << 20;
/// Most faults reported for one file; a file of another kind has one on every line.
const MAX_FAULTS: usize = 10;

/// The networks of one file, as first and last address.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) v4: Vec<(u32, u32)>,
    pub(super) v6: Vec<(u128, u128)>,
}

/// Reads a file; `key` is where the configuration names it.
pub(super) fn read(path: &Path, key: &str) -> Result<List, Vec<Fault>> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    if let Err(error) = opened {
        let mend = "create the file, make it readable for the gate, or take the list out";
        return Err(vec![Fault::key(key, format!("cannot read {}: {error}", path.display()), mend)]);
    }
    if bytes.len() as u64 > MAX_FILE {
        let what = format!("{} is larger than {} MiB", path.display(), MAX_FILE >> 20);
        return Err(vec![Fault::key(key, what, "join its networks into fewer, larger ones")]);
    }
    parse(&bytes, path)
}

fn parse(bytes: &[u8], path: &Path) -> Result<List, Vec<Fault>> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let (mut list, mut faults, mut left_out) = (List::default(), Vec::new(), 0_usize);
    for (line, number) in bytes.split(|b| *b == b'\n').zip(1_usize..) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let entry = line.split(|b| matches!(b, b'#' | b';')).next().unwrap_or_default();
        // What follows the entry is only for people, in whatever encoding they like.
        let text = String::from_utf8_lossy(entry);
        let word = text.trim();
        if word.is_empty() {
            continue;
        }
        match network(word) {
            Ok(Network::V4(first, last)) => list.v4.push((first, last)),
            Ok(Network::V6(first, last)) => list.v6.push((first, last)),
            Err(_) if faults.len() >= MAX_FAULTS => left_out += 1,
            Err(bad) => {
                let indent = text.chars().take_while(|c| c.is_whitespace()).count();
                let column = indent + bad.offset + 1;
                faults.push(Fault::file(path, (number, column), text.trim_end(), bad.what, bad.mend));
            }
        }
    }
    if left_out > 0 {
        let what = format!("{left_out} more lines are no network or address");
        faults.push(Fault::file(path, (0, 0), "", what, "is this a list of networks?"));
    }
    if faults.is_empty() { Ok(list) } else { Err(faults) }
}

enum Network {
    V4(u32, u32),
    V6(u128, u128),
}

struct Bad {
    /// Where in the word, in characters from 0.
    offset: usize,
    what: String,
    mend: String,
}

/// One network or address; the IPv4-mapped ones become IPv4.
fn network(word: &str) -> Result<Network, Bad> {
    let (address, length) = match word.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (word, None),
    };
    let ip: IpAddr = address.parse().map_err(|_| Bad {
        offset: 0,
        what: format!("{word:?} is no address or network"),
        mend: "write one a line, as 192.0.2.0/24, 192.0.2.1 or 2001:db8::/32".into(),
    })?;
    let bits = if ip.is_ipv4() { 32_u8 } else { 128 };
    let length = match length {
        None => bits,
        Some(text) => Some(text)
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse::<u8>().ok())
            .filter(|length| *length <= bits)
            .ok_or_else(|| Bad {
                offset: address.chars().count() + 1,
                what: format!("{text:?} is no prefix length"),
                mend: format!("write a number from 0 to {bits} after the slash"),
            })?,
    };
    let dirty = |network: String| Bad {
        offset: 0,
        what: format!("{word:?} has bits set beyond its prefix, so it is not clear what it means"),
        mend: format!("write {network}/{length} for the network or {address} for the one address"),
    };
    match ip {
        IpAddr::V4(v4) => {
            let (first, host) = (v4.to_bits(), host_v4(length));
            if first & host != 0 {
                return Err(dirty(std::net::Ipv4Addr::from_bits(first & !host).to_string()));
            }
            Ok(Network::V4(first, first | host))
        }
        IpAddr::V6(v6) => {
            let (first, host) = (v6.to_bits(), u128::MAX.checked_shr(u32::from(length)).unwrap_or(0));
            if first & host != 0 {
                return Err(dirty(std::net::Ipv6Addr::from_bits(first & !host).to_string()));
            }
            match (v6.to_ipv4_mapped(), length.checked_sub(96)) {
                (Some(v4), Some(length)) => Ok(Network::V4(v4.to_bits(), v4.to_bits() | host_v4(length))),
                _ => Ok(Network::V6(first, first | host)),
            }
        }
    }
}

/// The bits beyond a prefix length of at most 32.
fn host_v4(length: u8) -> u32 {
    u32::MAX.checked_shr(u32::from(length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lines_are_named_with_line_column_and_mend() {
        for (line, column, part) in [
            ("10.0.0/8", 1, "no address or network"),
            ("  10.0.0.0/33 # x", 12, "from 0 to 32"),
            ("2001:db8::/129", 12, "from 0 to 128"),
            ("10.0.0.0/", 10, "\"\" is no prefix length"),
            ("10.0.0.0/+8", 10, "no prefix length"),
            ("10.0.0.1/8", 1, "write 10.0.0.0/8 for the network or 10.0.0.1 for"),
            ("2001:db8::1/32", 1, "write 2001:db8::/32 for"),
            ("010.0.0.1", 1, "no address"),
            ("1.2.3.4 5.6.7.8", 1, "no address"),
            ("fe80::1%eth0", 1, "no address"),
            ("\u{fffd}", 1, "no address"),
            ("<html>", 1, "no address"),
        ] {
            let text = format!("# head\n192.0.2.1\n{line}\n");
            let faults = parse(text.as_bytes(), Path::new("list")).unwrap_err();
            assert_eq!(faults.len(), 1, "{line}");
            let shown = faults[0].to_string();
            assert!(shown.starts_with(&format!("list:3:{column}: ")), "{shown}");
            assert!(shown.contains(part), "{shown}");
        }
    }

    #[test]
    fn a_file_of_another_kind_gives_few_faults() {
        let text = "<p>not found</p>\n".repeat(5_000);
        let faults = parse(text.as_bytes(), Path::new("list")).unwrap_err();
        assert_eq!(faults.len(), MAX_FAULTS + 1);
        assert!(faults[MAX_FAULTS].to_string().contains("4990 more lines"));
        assert!(parse(b"\xff\xfe1\x00.\x00", Path::new("list")).is_err());
    }

    #[test]
    fn comments_blank_lines_and_line_ends_are_fine() {
        let text = b"\xEF\xBB\xBF# caf\xe9\r\n\r\n 192.0.2.0/24 ; SBL\xff1\r\n;x\n\t2001:db8::/32#y\n::ffff:0:0/96\n::fffe:0:0/95";
        let list = parse(text, Path::new("list")).unwrap();
        assert_eq!(list.v4, [(0xC000_0200, 0xC000_02FF), (0, u32::MAX)]);
        assert_eq!(list.v6.len(), 2);
    }
}
