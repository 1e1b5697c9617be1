//! Ways of writing that an interpreter sees through: comments inside statements, quotes inside words, lookups that give
//! a letter.

use memchr::memmem;
use regex::bytes::Regex;
use std::borrow::Cow;
use std::sync::LazyLock;

/// `/* */` becomes a blank or nothing; of `/*!50000 word*/` the word stays, as MySQL runs it.
pub(in crate::field::short) fn comments(text: &[u8], blank: bool) -> Option<Vec<u8>> {
    let mut at = memmem::find(text, b"/*")?;
    // `/var/log/*.log`: files by their ending, and nothing that a comment ends in.
    if text.get(at + 2) == Some(&b'.') && memmem::find(text, b"*/").is_none() {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        let (before, comment) = rest.split_at_checked(at)?;
        out.extend_from_slice(before);
        let length = memmem::find(comment, b"*/").filter(|end| *end >= 2).map_or(comment.len(), |end| end + 2);
        let (comment, behind) = comment.split_at_checked(length)?;
        if blank {
            out.push(b' ');
        }
        if let Some(run) = comment.strip_prefix(b"/*!").and_then(|inner| inner.strip_suffix(b"*/")) {
            let version = run.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
            out.extend_from_slice(run.get(version..).unwrap_or_default());
            out.push(b' ');
        }
        rest = behind;
        match memmem::find(rest, b"/*") {
            Some(next) => at = next,
            None => break,
        }
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// A pattern that is a constant.
struct Known(LazyLock<Option<Regex>>);

impl Known {
    fn replace_all<'t>(&self, text: &'t [u8], with: &str) -> Cow<'t, [u8]> {
        self.0.as_ref().map_or(Cow::Borrowed(text), |regex| regex.replace_all(text, with.as_bytes()))
    }
}

macro_rules! known {
    ($pattern:literal) => {
        Known(LazyLock::new(|| Regex::new(concat!("(?i-u)", $pattern)).ok()))
    };
}

static IFS: Known = known!(r"\$\{IFS[^}]{0,16}\}(?:\$[0-9])?|\$IFS(?:\$[0-9])?");
static EMPTY: Known = known!(r"\$[@*]|\$\{[a-z@*]\w{0,8}\}|([a-z/])\$[a-z0-9]\b|(\w)(?:''|\x22\x22|``|\$\(\))");
static QUOTED: Known = known!(r"(\w|/|^|[;|&( ])(?:'([\w/.]{1,12})'|\x22([\w/.]{1,12})\x22)(\w|/|'|\x22|\b| |$)");
static SLASHED: Known = known!(r"([a-z0-9/])[\\^]([a-z/])");
static BRACES: Known = known!(r"\{([a-z]{2,12}),([^{},\s]{1,64})(?:,([^{},\s]{1,64}))?\}");

/// `c""at`, `'c'at`, `c\at`, `w^h^o`, `$@`, `${IFS}`, `{cat,/etc/passwd}`.
pub(in crate::field::short) fn shell(text: &[u8]) -> Option<Vec<u8>> {
    if !text.iter().any(|byte| matches!(byte, b'$' | b'\'' | b'"' | b'\\' | b'^' | b'{' | b'`')) {
        return None;
    }
    let mut now = IFS.replace_all(text, " ").into_owned();
    // A match takes the letter behind it, so every other one is left for a second pass.
    for (pattern, with) in [
        (&EMPTY, "$1$2"),
        (&QUOTED, "$1$2$3$4"),
        (&QUOTED, "$1$2$3$4"),
        (&SLASHED, "$1$2"),
        (&SLASHED, "$1$2"),
        (&BRACES, "$1 $2 $3"),
    ] {
        if let Cow::Owned(new) = pattern.replace_all(&now, with) {
            now = new;
        }
    }
    (now != text).then_some(now)
}

static JOINS: Known = known!(r"'\s{0,4}(?:\+|\.|\|\||%2b)\s{0,4}'|\x22\s{0,4}(?:\+|\.|\|\||&)\s{0,4}\x22");

/// `'al'+'ert'`, `'SEL'||'ECT'`, `'sys'.'tem'`.
pub(in crate::field::short) fn joined(text: &[u8]) -> Option<Vec<u8>> {
    match JOINS.replace_all(text, "") {
        Cow::Owned(joined) => Some(joined),
        Cow::Borrowed(_) => None,
    }
}

static LOOKUPS: Known =
    known!(r"\$\{(?:(?:lower|upper|date|base64):'?([^{}$:']{1,12})'?|[^{}$]{0,40}:-([^{}$]{0,12}))\}");

/// `${lower:j}`, `${::-j}`, `${env:X:-j}`: what loggers put in their place. Innermost first, four deep.
pub(in crate::field::short) fn lookups(text: &[u8]) -> Option<Vec<u8>> {
    memmem::find(text, b"${")?;
    let mut now = text.to_vec();
    for _ in 0..4 {
        match LOOKUPS.replace_all(&now, "$1$2") {
            Cow::Owned(new) => now = new,
            Cow::Borrowed(_) => break,
        }
    }
    (now != text).then_some(now)
}
