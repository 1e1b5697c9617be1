//! The target's one reading, and the policy on those that have two.
//!
//! **Policy**, for the path (the query is opaque here: it is forwarded as it came, but for `"`, `<` and `>`, which no URI
//! has and browsers encode, and the rules read it):
//!
//! | in the path | for routing and policy | forwarded |
//! |---|---|---|
//! | `%41`, `%7e`: an encoded unreserved character (RFC 3986 section 6.2.2.2) | the character | the character |
//! | `.` and `..` segments, also written `%2e` (section 5.2.4) | resolved; above the root is the root | resolved |
//! | `//` | one slash | as it came |
//! | `;x` at a segment's end (section 3.3) | left out | as it came |
//! | `%2f`; `\` and `%5c` | a slash | as it came; a raw `\` as `%5C` |
//! | `"`, `<`, `>`, `^`, `` ` ``, `{`, `}` raw, which no URI has (RFC 3986 appendix A) | themselves | encoded |
//! | any other triplet | decoded once; what is then no UTF-8 reads U+FFFD | as it came |
//! | a dot segment that only appears by the three rows above: `..%2f`, `..%5c`, `..;` | **400** | |
//! | `%00`; a `%` without two hex digits; overlong UTF-8 (`%c0%ae`) | **400** | |
//! | no leading `/` (but for `*`), a raw control, blank, `#` or non-ASCII byte | **400** | |
//!
//! So `/%69nternal`, `//internal`, `/api/../internal`, `/internal;x` and `/internal%2fx` all match a rule for
//! `/internal/`, and a replica that decodes, merges or strips in its own way finds nothing that was not judged.
//! Doubly encoded text (`%252e`) is data: a replica decodes once.
//!
//! Cost: an ordinary target is one scan and one copy; any other two small buffers, each bounded by the target's length.

use super::bytes::{hex_pair, is_unreserved};
use super::wire::split_absolute;
use std::borrow::Cow;
use std::ops::Range;

/// A request target, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As sent.
    raw: Box<[u8]>,
    /// Where the path is in `raw`; empty for an absolute form without one.
    path: Range<usize>,
    /// The path for routing; `None` where it is the raw one.
    canonical: Option<Box<str>>,
    /// Path and query to forward; `None` where it is `raw` from the path on.
    forward: Option<Box<[u8]>>,
    /// How long the path is in what is forwarded.
    forward_path: usize,
}

impl Target {
    /// Reads a target in origin, absolute or asterisk form. The authority of an absolute form is for the caller to check.
    ///
    /// # Errors
    /// What has two readings, by the policy above; the text is for the audit event.
    pub fn read(raw: &[u8], is_options: bool) -> Result<Self, &'static str> {
        if let Some(b) = raw.iter().find(|b| !b.is_ascii_graphic() || **b == b'#') {
            return Err(if *b == b'#' { "fragment in the target" } else { "byte in the target that no URI has" });
        }
        let start = match raw {
            [b'/', ..] => 0,
            b"*" if is_options => return Ok(Self::asterisk(raw)),
            _ => {
                let (_, _, rest) = split_absolute(raw).ok_or("target is no path and no http URI")?;
                if rest.is_empty() && is_options {
                    return Ok(Self::asterisk(raw)); // RFC 9112 section 3.2.4
                }
                raw.len() - rest.len()
            }
        };
        let from_path = raw.get(start..).unwrap_or_default();
        let length = from_path.iter().position(|b| *b == b'?').unwrap_or(from_path.len());
        let (path, query) = from_path.split_at_checked(length).unwrap_or_default();

        let normal = normalise(path)?;
        let canonical = canonicalise(&normal)?;
        let canonical = (canonical.as_bytes() != path).then(|| canonical.into_owned().into());
        let forward_path = normal.len();
        let encoded = encode(query, |b| matches!(b, b'"' | b'<' | b'>'));
        let as_it_came = *normal == *path && matches!(encoded, Cow::Borrowed(_));
        let forward = (!as_it_came).then(|| [&*normal, &*encoded].concat().into());
        Ok(Self { raw: raw.into(), path: start..start + length, canonical, forward, forward_path })
    }

    fn asterisk(raw: &[u8]) -> Self {
        let end = raw.len();
        Self {
            raw: raw.into(),
            path: end..end,
            canonical: Some("*".into()),
            forward: Some(b"*".as_slice().into()),
            forward_path: 1,
        }
    }

    /// As sent, whatever its form.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The path as sent; empty for an absolute form without one.
    pub fn raw_path(&self) -> &[u8] {
        self.raw.get(self.path.clone()).unwrap_or_default()
    }

    /// The query as sent, without its `?`; `None` where there is no `?`.
    pub fn query(&self) -> Option<&[u8]> {
        self.raw.get(self.path.end..)?.strip_prefix(b"?")
    }

    /// The path for routing and policy: begins with `/` (or is `*`), decoded once, no dot or empty segments, no
    /// parameters.
    pub fn canonical(&self) -> &str {
        // The raw path stands for it only where `read` found the two equal, so it is text.
        self.canonical.as_deref().unwrap_or_else(|| std::str::from_utf8(self.raw_path()).unwrap_or_default())
    }

    /// Path and query in origin form (or `*`), to be written into the request that goes on.
    pub fn forward(&self) -> &[u8] {
        self.forward.as_deref().unwrap_or_else(|| self.raw.get(self.path.start..).unwrap_or_default())
    }

    /// The path of what is forwarded, for the cache key: two requests with one value get the same resource.
    pub fn forward_path(&self) -> &[u8] {
        self.forward().get(..self.forward_path).unwrap_or_default()
    }
}

/// `text` with the bytes that `must` be so as triplets.
fn encode(text: &[u8], must: impl Fn(u8) -> bool) -> Cow<'_, [u8]> {
    if !text.iter().any(|b| must(*b)) {
        return Cow::Borrowed(text);
    }
    let digit = |nibble: u8| b"0123456789ABCDEF".get(usize::from(nibble)).copied().unwrap_or(b'0');
    let mut out = Vec::with_capacity(text.len() + 8);
    for byte in text {
        if must(*byte) {
            out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            out.push(*byte);
        }
    }
    Cow::Owned(out)
}

/// The path to forward: unreserved triplets decoded, what no URI has encoded, dot segments resolved.
fn normalise(path: &[u8]) -> Result<Cow<'_, [u8]>, &'static str> {
    if path.is_empty() {
        return Ok(Cow::Borrowed(b"/")); // RFC 9110 section 4.2.3
    }
    let mut out = Cow::Borrowed(path);
    if path.contains(&b'%') {
        let mut decoded = Vec::with_capacity(path.len() + 2);
        let mut rest = path;
        while let Some((byte, tail)) = rest.split_first() {
            rest = tail;
            match (byte, tail) {
                (b'%', [high, low, after @ ..]) => {
                    let value = hex_pair(*high, *low).ok_or("percent sign without two hex digits in the path")?;
                    if is_unreserved(value) {
                        decoded.push(value);
                    } else {
                        decoded.extend([b'%', *high, *low]);
                    }
                    rest = after;
                }
                (b'%', _) => return Err("percent sign without two hex digits in the path"),
                _ => decoded.push(*byte),
            }
        }
        out = Cow::Owned(decoded);
    }
    if let Cow::Owned(encoded) = encode(&out, |b| matches!(b, b'\\' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'}')) {
        out = Cow::Owned(encoded);
    }
    if out.split(|b| *b == b'/').any(|segment| matches!(segment, b"." | b"..")) {
        out = Cow::Owned(without_dots(&out));
    }
    Ok(out)
}

/// RFC 3986 section 5.2.4, segment by segment. Empty segments count as segments, as there.
fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut ends_in_dots = false;
    for segment in path.strip_prefix(b"/").unwrap_or(path).split(|b| *b == b'/') {
        ends_in_dots = matches!(segment, b"." | b"..");
        match segment {
            b"." => {}
            b".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let mut out = vec![b'/'];
    out.extend(kept.join(&b'/'));
    if ends_in_dots && !kept.is_empty() {
        out.push(b'/');
    }
    out
}

/// The path for routing, of one that [`normalise`] returned.
fn canonicalise(path: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    let plain = |b: &u8| !matches!(b, b'%' | b';');
    if path.iter().all(plain) && !path.windows(2).any(|pair| pair == b"//") {
        return Ok(String::from_utf8_lossy(path));
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'%', [high, low, after @ ..]) => {
                let value = hex_pair(*high, *low).ok_or("percent sign without two hex digits in the path")?;
                match value {
                    0 => return Err("encoded NUL in the path"),
                    b'\\' => decoded.push(b'/'),
                    _ => decoded.push(value),
                }
                rest = after;
            }
            _ => decoded.push(*byte),
        }
    }
    if is_overlong(&decoded) {
        return Err("overlong UTF-8 in the path");
    }
    let text = String::from_utf8_lossy(&decoded);
    let mut out = String::with_capacity(text.len());
    let mut slash = false;
    for segment in text.split('/') {
        let name = segment.split(';').next().unwrap_or_default();
        slash = name.is_empty();
        match name {
            "" => continue,
            "." | ".." => return Err("dot segment in disguise in the path"),
            name => {
                out.push('/');
                out.push_str(name);
            }
        }
    }
    if slash || out.is_empty() {
        out.push('/');
    }
    Ok(Cow::Owned(out))
}

/// Whether the bytes hold a UTF-8 sequence longer than its character needs (RFC 3629 section 3: decoders that take such
/// a sequence find characters that a check on bytes did not see).
fn is_overlong(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| {
        matches!(
            pair,
            [0xC0 | 0xC1, 0x80..=0xBF]
                | [0xE0, 0x80..=0x9F]
                | [0xF0, 0x80..=0x8F]
                | [0xF8, 0x80..=0x87]
                | [0xFC, 0x80..=0x83]
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(raw: &str) -> Target {
        Target::read(raw.as_bytes(), false).unwrap()
    }

    #[test]
    fn targets_have_one_reading() {
        for (raw, canonical, forward) in [
            ("/", "/", "/"),
            ("/api/tasks?x=%2e%2e/", "/api/tasks", "/api/tasks?x=%2e%2e/"),
            ("/api/tasks/", "/api/tasks/", "/api/tasks/"),
            ("/%69nternal", "/internal", "/internal"),
            ("//internal", "/internal", "//internal"),
            ("/api/../internal", "/internal", "/internal"),
            ("/api/%2e%2E/internal", "/internal", "/internal"),
            ("/api//../internal", "/api/internal", "/api/internal"),
            ("/./internal/.", "/internal/", "/internal/"),
            ("/internal;x", "/internal", "/internal;x"),
            ("/;x/internal", "/internal", "/;x/internal"),
            ("/internal/;x", "/internal/", "/internal/;x"),
            ("/internal%2Fkeys", "/internal/keys", "/internal%2Fkeys"),
            ("/internal%5ckeys", "/internal/keys", "/internal%5ckeys"),
            ("/internal\\keys", "/internal/keys", "/internal%5Ckeys"),
            ("/%2finternal", "/internal", "/%2finternal"),
            ("/../../etc/passwd", "/etc/passwd", "/etc/passwd"),
            ("/..", "/", "/"),
            ("/a/..", "/", "/"),
            ("/a/b/..", "/a/", "/a/"),
            ("/a/b/../?q", "/a/", "/a/?q"),
            ("/foo../x", "/foo../x", "/foo../x"),
            ("/%252e%252e/x", "/%2e%2e/x", "/%252e%252e/x"),
            ("/caf%C3%A9", "/caf\u{e9}", "/caf%C3%A9"),
            ("/caf%E9", "/caf\u{fffd}", "/caf%E9"),
            ("/a%20b%0ac", "/a b\nc", "/a%20b%0ac"),
            ("/a%3Fb%23", "/a?b#", "/a%3Fb%23"),
            ("/p?a=1?b=%zz&c=\\..\\", "/p", "/p?a=1?b=%zz&c=\\..\\"),
            ("/p?q=<\"'>{}|^`", "/p", "/p?q=%3C%22'%3E{}|^`"),
            ("/<\"a`{b}>^|", "/<\"a`{b}>^|", "/%3C%22a%60%7Bb%7D%3E%5E|"),
            ("/p?", "/p", "/p?"),
            ("http://a.test", "/", "/"),
            ("http://a.test?q=1", "/", "/?q=1"),
            ("HTTPS://a.test/x/../y?q", "/y", "/y?q"),
            ("http://a.test/x?q", "/x", "/x?q"),
        ] {
            let target = read(raw);
            assert_eq!(target.canonical(), canonical, "{raw}");
            assert_eq!(target.forward(), forward.as_bytes(), "{raw}");
            assert_eq!(target.forward_path(), forward.split('?').next().unwrap().as_bytes(), "{raw}");
            assert_eq!(target.query(), raw.split_once('?').map(|(_, q)| q.as_bytes()), "{raw}");
            assert_eq!(target.raw(), raw.as_bytes());
        }
        for raw in ["*", "http://a.test"] {
            let target = Target::read(raw.as_bytes(), true).unwrap();
            assert_eq!((target.canonical(), target.forward()), ("*", b"*".as_slice()));
            assert_eq!((target.forward_path(), target.raw_path(), target.query()), (&b"*"[..], &b""[..], None));
        }
    }

    #[test]
    fn targets_with_two_readings_are_refused() {
        for raw in [
            "",
            "x",
            "*",
            "@evil/x",
            "\\x",
            "file:///x",
            "/a b",
            "/a\tb",
            "/a#b",
            "/a\x7f",
            "/a\0",
            "/caf\u{e9}",
            "/%",
            "/%4",
            "/%zz",
            "/%00",
            "/a%00b",
            "/%c0%ae%c0%ae/x",
            "/%e0%80%af",
            "/%f0%80%80%af",
            "/x/..%2fy",
            "/x/%2e%2e%2fy",
            "/x/%2e%2e%5Cy",
            "/x\\..\\y",
            "/x/..;/y",
            "/x/..;a=b/y",
            "/x/.;/y",
            "/x%2f..",
            "/x;a/%2f..%2fy",
        ] {
            assert!(Target::read(raw.as_bytes(), false).is_err(), "{raw:?}");
        }
    }

    /// One segment written in some disguise.
    fn spelling(text: &'static str) -> impl Strategy<Value = String> {
        proptest::collection::vec(any::<bool>(), text.len()).prop_map(move |encode| {
            let spell = |(c, e): (char, bool)| if e { format!("%{:02x}", u32::from(c)) } else { c.to_string() };
            text.chars().zip(encode).map(spell).collect()
        })
    }

    /// Whatever a client writes, what is forwarded is a target that can be written down: none is lost on the way.
    #[test]
    fn what_is_forwarded_is_a_target_of_a_uri() {
        for byte in (b'!'..=b'~').filter(|b| *b != b'#') {
            for around in ["/a?a", "/aXb", "/?X=X", "/a/X/?X"] {
                let raw = around.replace(['X'], &char::from(byte).to_string());
                let Ok(target) = Target::read(raw.as_bytes(), false) else { continue };
                let written = http::uri::PathAndQuery::try_from(target.forward());
                assert!(written.is_ok_and(|written| written.as_str().as_bytes() == target.forward()), "{raw}");
            }
        }
    }

    proptest! {
        /// A spelling of the path cannot avoid the rule for it.
        #[test]
        fn disguises_do_not_hide_a_path(
            name in spelling("internal"),
            before in prop_oneof![Just("/"), Just("//"), Just("/./"), Just("/x/../"), Just("/%2e/"), Just("/;a/"), Just("/%2f"), Just("/x/%2E./")],
            after in prop_oneof![Just(""), Just("/"), Just(";x"), Just("//"), Just("/."), Just("%2f"), Just("\\"), Just("/k/..")],
        ) {
            let target = read(&format!("{before}{name}{after}"));
            prop_assert_eq!(target.canonical().trim_end_matches('/'), "/internal");
        }

        /// Nothing panics; what is admitted has a canonical form without tricks; and what is forwarded, read again, is
        /// itself and means the same.
        #[test]
        fn what_is_forwarded_is_what_was_judged(tail in "([/.;%\\\\a2ef5c?]|%2e|%2f|%5c|\\.\\.|%C3%A9|%ff){0,12}") {
            if let Ok(target) = Target::read(format!("/{tail}").as_bytes(), false) {
                let path = target.canonical();
                prop_assert!(path.starts_with('/') && !path.contains("//") && !path.contains('\\'));
                prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
                let again = Target::read(target.forward(), false).unwrap();
                prop_assert_eq!(again.forward(), target.forward());
                prop_assert_eq!(again.canonical(), path);
                prop_assert_eq!(again.query(), target.query());
            }
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(raw in proptest::collection::vec(any::<u8>(), 0..40), options: bool) {
            let _ = Target::read(&raw, options);
        }
    }
}
