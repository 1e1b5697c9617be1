//! Finds the values of secret names: `name=value`, `"name": value`, `<name>value<`, and multipart fields.
//!
//! Looks at each separator, reads the name before it backwards, and only if that says secret reads the value after it.

use super::view::View;
use super::{MAX_NAME, Redactor};
use std::ops::Range;

/// Spaces allowed between a name, its separator and its value.
const MAX_SPACE: usize = 8;

/// How far after a part's name its head may go on.
const MAX_PART_HEAD: usize = 256;

/// Adds the spans of all values whose name says secret.
pub(super) fn find(redactor: &Redactor, view: &View<'_>, spans: &mut Vec<Range<usize>>) {
    let mut at = 0;
    while let Some(byte) = view.at(at) {
        let value = match byte {
            b'=' | b':' => pair(redactor, view, at),
            b'>' => element(redactor, view, at),
            _ => None,
        };
        match value {
            // Nothing inside a masked value needs a look, which also keeps this linear.
            Some(value) => {
                at = value.end.max(at + 1);
                if !value.is_empty() {
                    spans.push(value);
                }
            }
            None => at += 1,
        }
    }
}

/// The value after the `=` or `:` at `at`, if the name before it says secret.
fn pair(redactor: &Redactor, view: &View<'_>, at: usize) -> Option<Range<usize>> {
    let (name, quoted) = name_before(view, at);
    let separator = view.at(at)?;
    let start = skip_space(view, at + 1);
    if name.eq_ignore_ascii_case(b"name") && separator == b'=' {
        return multipart(redactor, view, start);
    }
    if name.is_empty() || !redactor.name_is_secret(name) {
        return None;
    }
    value(view, start, separator == b':' && !quoted)
}

/// The name that ends before `at`: its last part, as in `user[password]` and `a.b.token`, and whether a quote follows it.
fn name_before<'v>(view: &'v View<'_>, at: usize) -> (&'v [u8], bool) {
    let mut end = at;
    let mut quoted = false;
    for _ in 0..MAX_SPACE {
        match end.checked_sub(1).and_then(|before| view.at(before)) {
            Some(b'"' | b'\'') => quoted = true,
            Some(b']' | b'\\' | b' ' | b'\t') => {}
            _ => break,
        }
        end -= 1;
    }
    let mut start = end;
    while end - start < MAX_NAME {
        match start.checked_sub(1).and_then(|before| view.at(before)) {
            Some(b) if b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-') => start -= 1,
            _ => break,
        }
    }
    (view.bytes().get(start..end).unwrap_or_default(), quoted)
}

fn skip_space(view: &View<'_>, mut at: usize) -> usize {
    for _ in 0..MAX_SPACE {
        match view.at(at) {
            Some(b' ' | b'\t') => at += 1,
            _ => break,
        }
    }
    at
}

/// The span of the value that starts at `start`; `line` if it is a header's or a note's, up to the line's end.
fn value(view: &View<'_>, start: usize, line: bool) -> Option<Range<usize>> {
    let escapes = count(view, start, b'\\');
    let open = start + escapes;
    match view.at(open)? {
        quote @ (b'"' | b'\'') => {
            let end = closing_quote(view, open + 1, quote, escapes);
            Some(open + 1..end)
        }
        b'[' | b'{' if escapes == 0 => Some(start..closing_bracket(view, start)),
        _ => {
            let ends = |b: u8| match line {
                true => matches!(b, b'\r' | b'\n' | 0),
                false => b == b'&' || b.is_ascii_whitespace() || b.is_ascii_control(),
            };
            // A bare number or word in JSON or YAML flow ends at its comma or bracket.
            let bare = !line && view.at(start.wrapping_sub(1)).is_some_and(|b| matches!(b, b':' | b' '));
            let end = position(view, start, |b| ends(b) || (bare && matches!(b, b',' | b'}' | b']')));
            Some(start..end)
        }
    }
}

/// How many of `byte` stand at `start`.
fn count(view: &View<'_>, start: usize, byte: u8) -> usize {
    (start..).take_while(|at| view.at(*at) == Some(byte)).count()
}

/// The first position from `start` where `ends` holds, or the end.
fn position(view: &View<'_>, start: usize, ends: impl Fn(u8) -> bool) -> usize {
    let len = view.bytes().len();
    (start..len).find(|at| view.at(*at).is_some_and(&ends)).unwrap_or(len)
}

/// Where a text closes that was opened by `quote` behind `escapes` backslashes: before the closing backslashes, or the
/// end.
fn closing_quote(view: &View<'_>, start: usize, quote: u8, escapes: usize) -> usize {
    let mut run = 0;
    for at in start..view.bytes().len() {
        match view.at(at) {
            Some(b'\\') => run += 1,
            Some(b) if b == quote && closes(run, escapes) => return at - run,
            _ => run = 0,
        }
    }
    view.bytes().len()
}

/// Whether a quote behind `run` backslashes closes a text whose opening quote stood behind `escapes`.
fn closes(run: usize, escapes: usize) -> bool {
    // Unescaped: an even run is escaped backslashes. Escaped: as many as at the opening, or fewer (the text around ends).
    if escapes == 0 { run.is_multiple_of(2) } else { run <= escapes }
}

/// Where the bracket at `start` closes, texts within skipped, or the end.
fn closing_bracket(view: &View<'_>, start: usize) -> usize {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for at in start..view.bytes().len() {
        let Some(byte) = view.at(at) else { break };
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    view.bytes().len()
}

/// The text of the element whose start tag ends with the `>` at `at`, if its name says secret.
fn element(redactor: &Redactor, view: &View<'_>, at: usize) -> Option<Range<usize>> {
    /// Longest start tag looked at.
    const MAX_TAG: usize = 256;
    let from = at.saturating_sub(MAX_TAG);
    let tag = view.bytes().get(from..at)?;
    let open = tag.iter().rposition(|b| *b == b'<')?;
    let name = tag.get(open + 1..)?.split(|b| b.is_ascii_whitespace() || *b == b'/').next()?;
    let name = name.rsplit(|b| *b == b':').next()?;
    if name.is_empty() || !redactor.name_is_secret(name) {
        return None;
    }
    Some(at + 1..position(view, at + 1, |b| b == b'<'))
}

/// The body of the multipart part whose `name=` is followed, at `start`, by a secret name in quotes (RFC 7578 section 4.2).
fn multipart(redactor: &Redactor, view: &View<'_>, start: usize) -> Option<Range<usize>> {
    let start = if view.at(start) == Some(b'"') { start + 1 } else { start };
    let end = position(view, start, |b| b == b'"' || b == b';' || b.is_ascii_whitespace()).min(start + MAX_NAME);
    if !redactor.path_is_secret(view.bytes().get(start..end)?) {
        return None;
    }
    let rest = view.bytes().get(end..)?;
    // A part's head is short; a bound here keeps many names without a blank line cheap.
    let rest = rest.get(..rest.len().min(MAX_PART_HEAD))?;
    let (blank, width) = match (super::find(rest, b"\r\n\r\n"), super::find(rest, b"\n\n")) {
        (Some(crlf), Some(lf)) if lf < crlf => (lf, 2),
        (Some(crlf), _) => (crlf, 4),
        (None, lf) => (lf?, 2),
    };
    let body = end + blank + width;
    let rest = view.bytes().get(body..)?;
    let len = super::find(rest, b"\r\n--").or_else(|| super::find(rest, b"\n--")).unwrap_or(rest.len());
    Some(body..body + len)
}
