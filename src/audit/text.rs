//! Bytes from the network as text that is always valid UTF-8, and bounded.
//!
//! *Escape.* Valid UTF-8 stands for itself. A byte that is no part of it is written `\xHH`, two upper-case hex digits. So
//! that this can be undone, a backslash that is followed by `x` and two hex digits in the original is itself written
//! `\x5C`. Undoing: replace every `\xHH` by the byte it names; everything else is literal.
//!
//! *Cut.* A text over its limit keeps its beginning and ends with `…[+N bytes]`, N being what was left out.

use std::fmt::Write;

/// Writes `bytes` as text; the escape above.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find("\\x") {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            let digits = from.as_bytes().get(2..4).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit));
            out.push_str(if digits { "\\x5Cx" } else { "\\x" });
            rest = from.strip_prefix("\\x").unwrap_or_default();
        }
        out.push_str(rest);
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02X}");
        }
    }
    out
}

/// The longest beginning of `bytes` of at most `limit` bytes that does not split a character.
pub(super) fn head(bytes: &[u8], limit: usize) -> &[u8] {
    let Some(head) = bytes.get(..limit) else { return bytes };
    let continues = |at: usize| bytes.get(at).is_some_and(|b| b & 0xC0 == 0x80);
    // A character has at most three continuation bytes; more are no text, and splitting them harms nothing.
    let back = (0..=3).find(|back| limit.checked_sub(*back).is_none_or(|at| !continues(at))).unwrap_or(0);
    head.get(..limit.saturating_sub(back)).unwrap_or(head)
}

/// The mark at the end of a cut text.
pub(super) fn cut_mark(left_out: usize) -> String {
    format!("…[+{left_out} bytes]")
}

/// How long `text` is as a JSON string, without its quotes.
pub(super) fn json_len(text: &str) -> usize {
    text.bytes()
        .map(|b| match b {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 2,
            0..=0x1F => 6,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unescape(text: &str) -> Vec<u8> {
        let (mut out, bytes, mut at) = (Vec::new(), text.as_bytes(), 0);
        while at < bytes.len() {
            let code =
                bytes.get(at..at + 4).filter(|c| c.starts_with(b"\\x") && c[2..].iter().all(u8::is_ascii_hexdigit));
            match code.and_then(|c| u8::from_str_radix(std::str::from_utf8(&c[2..]).ok()?, 16).ok()) {
                Some(byte) => {
                    out.push(byte);
                    at += 4;
                }
                None => {
                    out.push(bytes[at]);
                    at += 1;
                }
            }
        }
        out
    }

    #[test]
    fn what_is_no_text_is_escaped_and_the_escape_is_unambiguous() {
        for (bytes, text) in [
            (&b"plain"[..], "plain"),
            ("caf\u{e9} \u{1F980}".as_bytes(), "café 🦀"),
            (b"a\xFFb\xC3", "a\\xFFb\\xC3"),
            (b"\\xff", "\\x5Cxff"),
            (b"\\xzz \\x", "\\xzz \\x"),
            (b"\\x+4", "\\x+4"),
            (b"\\\\x41", "\\\\x5Cx41"),
            (b"\xED\xA0\x80", "\\xED\\xA0\\x80"),
        ] {
            assert_eq!(escape(bytes), text, "{bytes:?}");
        }
    }

    #[test]
    fn a_cut_does_not_split_a_character() {
        for (text, limit, kept) in
            [("abc", 5, "abc"), ("abc", 2, "ab"), ("aé", 2, "a"), ("🦀", 3, ""), ("🦀x", 4, "🦀")]
        {
            assert_eq!(head(text.as_bytes(), limit), kept.as_bytes(), "{text} {limit}");
        }
    }

    proptest! {
        #[test]
        fn the_escape_can_be_undone(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\\'), Just(b'x'), Just(b'4')], 0..64)) {
            prop_assert_eq!(unescape(&escape(&bytes)), bytes);
        }

        #[test]
        fn the_length_in_json_is_exact(text in ".{0,40}") {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(json_len(&text) + 2, json.len());
        }
    }
}
