//! `user-agent`: what browsers, libraries and tools call themselves (RFC 9110, section 10.1.5: products and comments).
//!
//! Narrower: a product is letters, digits and a few signs; a comment stands apart from words, and holds words, versions
//! and addresses of the web. At most three words outside of comments are no `name/version`, so a sentence is no client;
//! where there is nothing else, they are written like titles.
//! Quotes, angle brackets, braces, backticks, `$`, `|`, `\`, `;` outside of comments and all beyond ASCII do not fit.

use super::plain::inner_name;
use super::{Fit, uri};

/// Bytes of a value.
const MOST: usize = 1024;
/// Words without a version, outside of comments.
const BARE: usize = 3;
/// Comments inside comments.
const DEPTH: usize = 3;

/// Products and comments.
pub(super) fn fits(value: &[u8]) -> Fit {
    if value.len() > MOST {
        return Err("longer than 1024 bytes");
    }
    if inner_name(value) {
        return Err("a name inside an interpreter");
    }
    if !value.first().is_some_and(u8::is_ascii_alphabetic) {
        return Err("does not begin with a name");
    }
    let mut rest = value;
    let (mut bare, mut versions, mut comments, mut titled) = (0, 0, 0, true);
    while !rest.is_empty() {
        if rest.first() == Some(&b'(') {
            rest = comment(rest)?;
            comments += 1;
        } else {
            let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
            let (word, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            if product(word)? {
                versions += 1;
            } else {
                bare += 1;
                titled &= word.first().is_some_and(u8::is_ascii_uppercase) && word.iter().any(u8::is_ascii_lowercase);
            }
            rest = behind;
        }
        match rest.split_first() {
            None => {}
            Some((b' ', behind)) => rest = behind.strip_prefix(b" ").unwrap_or(behind),
            Some(_) => return Err("no blank behind a comment"),
        }
    }
    if bare > BARE || (bare > 1 && versions + comments == 0 && !titled) {
        return Err("more words than names and versions");
    }
    Ok(())
}

/// One product; whether it has a version.
fn product(word: &[u8]) -> Result<bool, &'static str> {
    // A colon ends what some libraries put before their name.
    let word = word.strip_suffix(b":").unwrap_or(word);
    let (name, version) = match word.iter().position(|b| *b == b'/').and_then(|at| word.split_at_checked(at)) {
        Some((name, version)) => (name, version.get(1..)),
        None => (word, None),
    };
    let start = name.first().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let sound = |part: &[u8]| {
        !part.is_empty()
            && part.len() <= 128
            && part.iter().all(|b| {
                b.is_ascii_alphanumeric()
                    || matches!(b, b'-' | b'_' | b'.' | b'+' | b'#' | b',' | b'~' | b':' | b'@' | b'!' | b'%')
            })
            && !part.windows(2).any(|pair| matches!(pair, b".." | b"--" | b"!!" | b"%%"))
            && spelt_out(part)
    };
    if !start || !sound(name) {
        return Err("a product's name with other signs");
    }
    match version {
        // A package manager that does not know.
        Some(b"?") => Ok(true),
        None => Ok(name.iter().any(u8::is_ascii_digit) && name.contains(&b'.')),
        // Some write several: `ua/2.1 os/linux/5.10`.
        Some(version) if version.split(|b| *b == b'/').all(sound) => Ok(true),
        Some(_) => Err("a product's version with other signs"),
    }
}

/// Percent-encoding is of blanks and of letters beyond ASCII only.
fn spelt_out(part: &[u8]) -> bool {
    let high = |b: &u8| matches!(b, b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F');
    let mut rest = part;
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        rest = match rest.get(at + 1..) {
            Some([b'2', b'0', behind @ ..]) => behind,
            Some([first, second, behind @ ..]) if high(first) && second.is_ascii_hexdigit() => behind,
            _ => return false,
        };
    }
    true
}

/// A comment; gives what is behind it.
fn comment(value: &[u8]) -> Result<&[u8], &'static str> {
    let mut depth = 0usize;
    let mut start = 0;
    let mut before = b' ';
    for (at, b) in value.iter().enumerate() {
        match b {
            b'(' => {
                words(value.get(start..at).unwrap_or_default())?;
                start = at + 1;
                depth += 1;
                // `g(7)` and `8(2021)` are names of devices, `sleep(5)` is a call.
                let glued = value.get(at.saturating_sub(3)..at).unwrap_or_default();
                let short = glued.iter().rev().take_while(|b| b.is_ascii_alphanumeric()).count() <= 2;
                let number = value.get(at + 1).is_some_and(u8::is_ascii_digit);
                if depth > DEPTH || !(matches!(before, b' ' | b';' | b',') || (short && number)) {
                    return Err("a comment within a word, or too deep");
                }
            }
            b')' => {
                words(value.get(start..at).unwrap_or_default())?;
                start = at + 1;
                depth -= 1;
                if depth == 0 {
                    return Ok(value.get(at + 1..).unwrap_or_default());
                }
            }
            _ => {}
        }
        before = *b;
    }
    Err("a comment that does not end")
}

/// What stands in a comment, between parentheses.
fn words(text: &[u8]) -> Fit {
    for word in text.split(|b| matches!(b, b' ' | b';')) {
        let bare = word.strip_suffix(b",").unwrap_or(word);
        if bare.windows(3).any(|part| part == b"://") {
            let address = bare.strip_prefix(b"+").or_else(|| bare.strip_prefix(b"@")).unwrap_or(bare);
            uri::fits(address, &[])?;
            continue;
        }
        let sound = bare.iter().all(|b| {
            b.is_ascii_alphanumeric()
                || matches!(b, b'-' | b'_' | b'.' | b'/' | b'+' | b':' | b'@' | b'~' | b',' | b'#' | b'[' | b']' | b'!')
        });
        let shape = bare.first() != Some(&b'/')
            && !bare.windows(2).any(|pair| matches!(pair, b".." | b"--" | b"./" | b"//" | b"!!"))
            && bare.len() <= 128;
        if !sound || !shape {
            return Err("a comment with other signs");
        }
    }
    Ok(())
}
