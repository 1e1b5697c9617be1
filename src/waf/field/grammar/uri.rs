//! Addresses of the web: `url`, `referer`, `origin`, `path`, and the parts of them.
//!
//! The grammar is RFC 3986 for schemes with an authority, narrower: no user information, no `'`, no `$(`, no dot
//! segments (raw or encoded), percent-encoding only well-formed and without control characters or bytes that UTF-8
//! never has. Wider in two ways that browsers and people are: letters beyond ASCII (RFC 3987, `ucschar`), and `[name]`
//! in a query. Two clients read such an address alike.
//!
//! An address may carry any text percent-encoded, and should: a search for `<script>` has an address. It is the scorer
//! that reads the parts ([`texts`]).

use super::host::{self, Host};
use super::{Fit, Part};
use crate::field::class::{Arguments, SpecError, excerpt};
use crate::field::text::nameable;
use crate::field::url::metadata;
use std::borrow::Cow;

/// Bytes of any address.
const MOST: usize = 8192;
/// What `url` takes without arguments.
pub(in crate::field) const WEB: [&str; 2] = ["https", "http"];

/// An address in parts, as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::field) struct Uri<'a> {
    /// Without the colon.
    pub(in crate::field) scheme: &'a [u8],
    /// Who is asked.
    pub(in crate::field) host: Host<'a>,
    /// As written; none when left out.
    pub(in crate::field) port: Option<u16>,
    /// From the first `/` on, or empty.
    pub(in crate::field) path: &'a [u8],
    /// What stands behind the host: path, query and fragment.
    pub(in crate::field) behind: &'a [u8],
}

/// The schemes of a `url(…)`.
pub(super) fn schemes(arguments: Arguments<'_>) -> Result<Vec<String>, SpecError> {
    const NONE: [&str; 7] = ["javascript", "vbscript", "livescript", "data", "blob", "about", "file"];
    let mut schemes = Vec::new();
    for scheme in arguments.split(',') {
        let name = scheme.text.to_ascii_lowercase();
        let sound = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        if !sound || NONE.contains(&name.as_str()) {
            return Err(SpecError::new(
                scheme.at,
                format!("`{}` is no scheme of an address with a host", excerpt(scheme.text)),
                "write schemes as in `url(https, http)`",
            ));
        }
        if !schemes.contains(&name) {
            schemes.push(name);
        }
    }
    Ok(schemes)
}

/// An absolute address with one of `schemes`; of the web, when there are none.
pub(super) fn fits(value: &[u8], schemes: &[String]) -> Fit {
    let uri = parse(value)?;
    let known = |scheme: &str| uri.scheme.eq_ignore_ascii_case(scheme.as_bytes());
    let known =
        if schemes.is_empty() { WEB.into_iter().any(known) } else { schemes.iter().map(String::as_str).any(known) };
    if !known {
        return Err("a scheme that is not allowed");
    }
    // No page of a person's is there, whether the application means to fetch it or not.
    if metadata(&uri.host) { Err("the metadata service of a cloud") } else { Ok(()) }
}

/// Takes an absolute address apart.
pub(in crate::field) fn parse(value: &[u8]) -> Result<Uri<'_>, &'static str> {
    if value.len() > MOST {
        return Err("longer than 8192 bytes");
    }
    let end = value.iter().position(|b| *b == b':').ok_or("no scheme")?;
    let (scheme, rest) = value.split_at_checked(end).ok_or("no scheme")?;
    let sound = scheme.len() <= 32
        && scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !sound {
        return Err("no scheme");
    }
    let rest = rest.strip_prefix(b"://").ok_or("no `//` behind the scheme")?;
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at_checked(end).ok_or("no host")?;
    if authority.contains(&b'\\') {
        return Err("a backslash");
    }
    let (host, port) = host::authority(authority)?;
    let path = relative(behind)?;
    // Clients that look for the last `@` see another host.
    if path.is_empty() && behind.contains(&b'@') {
        return Err("an `@` behind a host without a path");
    }
    Ok(Uri { scheme, host, port, path, behind })
}

/// Path, query and fragment; gives the path.
fn relative(value: &[u8]) -> Result<&[u8], &'static str> {
    if !value.is_ascii() {
        let text = std::str::from_utf8(value).map_err(|_| "not UTF-8")?;
        if text.chars().any(|c| !c.is_ascii() && !nameable(c)) {
            return Err("a blank, invisible or look-alike character beyond ASCII");
        }
    }
    encoding(value)?;
    let (path, query, fragment) = split(value);
    characters(path, b"")?;
    if let Some(query) = query {
        characters(query, b"/?[]")?;
        brackets(query)?;
    }
    if let Some(fragment) = fragment {
        characters(fragment, b"/?")?;
    }
    dot_segments(path)?;
    Ok(path)
}

/// Path, query and fragment, without the signs between.
fn split(value: &[u8]) -> (&[u8], Option<&[u8]>, Option<&[u8]>) {
    let cut = |value: &'_ [u8], sign: u8| value.iter().position(|b| *b == sign);
    let (rest, fragment) = match cut(value, b'#').and_then(|at| value.split_at_checked(at)) {
        Some((rest, fragment)) => (rest, fragment.get(1..)),
        None => (value, None),
    };
    match cut(rest, b'?').and_then(|at| rest.split_at_checked(at)) {
        Some((path, query)) => (path, query.get(1..), fragment),
        None => (rest, None, fragment),
    }
}

/// RFC 3986, section 3.3: `pchar`, without the apostrophe, and `besides`. Letters beyond ASCII have been looked at.
fn characters(value: &[u8], besides: &[u8]) -> Fit {
    for b in value {
        let sound = b.is_ascii_alphanumeric()
            || *b >= 0x80
            || matches!(
                b,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
                    | b':'
                    | b'@'
                    | b'%'
                    | b'/'
            )
            || besides.contains(b);
        if !sound {
            return Err("a character that has to be percent-encoded");
        }
    }
    if value.windows(2).any(|pair| pair == b"$(") {
        return Err("`$(`, which has to be percent-encoded");
    }
    Ok(())
}

/// Brackets stand around a name or number: `filter[state]`, `ids[]`.
fn brackets(query: &[u8]) -> Fit {
    let mut open = false;
    for b in query {
        match b {
            b'[' if !open => open = true,
            b']' if open => open = false,
            b'[' | b']' => return Err("brackets that do not close"),
            _ if open && !b.is_ascii_alphanumeric() && !matches!(b, b'_' | b'-') => {
                return Err("brackets around more than a name");
            }
            _ => {}
        }
    }
    (!open).then_some(()).ok_or("brackets that do not close")
}

/// Percent-encoding: two hexadecimal digits, no control character, no byte that UTF-8 never has (RFC 3629).
pub(super) fn encoding(value: &[u8]) -> Fit {
    let mut bytes = value.iter();
    while let Some(b) = bytes.next() {
        if *b != b'%' {
            continue;
        }
        match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
            (Some(high), Some(low)) => match high << 4 | low {
                0..=0x1f | 0x7f => return Err("an encoded control character"),
                0xc0 | 0xc1 | 0xf5..=0xff => return Err("an encoded byte that UTF-8 never has"),
                _ => {}
            },
            _ => return Err("a `%` without two hexadecimal digits"),
        }
    }
    Ok(())
}

fn hex(digit: &u8) -> Option<u8> {
    char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// No segment is `.` or `..`, however encoded, with parameters or not (`..;`), between slashes of either kind; no
/// separator or dot is encoded twice.
fn dot_segments(path: &[u8]) -> Fit {
    const TWICE: [&[u8]; 3] = [b"%252e", b"%252f", b"%255c"];
    if path.windows(5).any(|part| TWICE.iter().any(|twice| part.eq_ignore_ascii_case(twice))) {
        return Err("a path that is encoded twice");
    }
    let mut dots = Some(0usize);
    let mut rest = path;
    loop {
        let (byte, behind) = decode(rest);
        match byte {
            None | Some(b'/' | b'\\' | b';') => {
                if matches!(dots, Some(1 | 2)) {
                    return Err("a dot segment");
                }
                dots = Some(0);
            }
            Some(b'.') => dots = dots.map(|dots| dots + 1),
            Some(_) => dots = None,
        }
        if byte == Some(b'\\') {
            return Err("a backslash");
        }
        if byte.is_none() {
            return Ok(());
        }
        rest = behind;
    }
}

/// The first byte, decoded, and what is behind it.
fn decode(value: &[u8]) -> (Option<u8>, &[u8]) {
    match value {
        [b'%', high, low, rest @ ..] => match hex(high).zip(hex(low)) {
            Some((high, low)) => (Some(high << 4 | low), rest),
            None => (Some(b'%'), value.get(1..).unwrap_or_default()),
        },
        [b, rest @ ..] => (Some(*b), rest),
        [] => (None, value),
    }
}

/// Percent-decoded once; `+` is a blank where `plus`.
pub(super) fn decoded(value: &[u8], plus: bool) -> Cow<'_, [u8]> {
    if !value.iter().any(|b| *b == b'%' || (plus && *b == b'+')) {
        return Cow::Borrowed(value);
    }
    let mut text = Vec::with_capacity(value.len());
    let mut rest = value;
    while let (Some(b), behind) = decode(rest) {
        text.push(if plus && rest.first() == Some(&b'+') { b' ' } else { b });
        rest = behind;
    }
    Cow::Owned(text)
}

/// The decoded parts of an address, absolute or relative, or none of one that does not fit.
pub(in crate::field) fn texts(value: &[u8]) -> Vec<(Part, Cow<'_, [u8]>)> {
    let behind = match parse(value) {
        Ok(uri) => uri.behind,
        Err(_) if absolute_path(value).is_ok() => value,
        Err(_) => return Vec::new(),
    };
    let (path, query, fragment) = split(behind);
    let mut texts: Vec<_> =
        path.split(|b| *b == b'/').map(|segment| (Part::Segment, decoded(segment, false))).collect();
    for pair in query.into_iter().flat_map(|query| query.split(|b| *b == b'&')) {
        match pair.iter().position(|b| *b == b'=').and_then(|at| pair.split_at_checked(at)) {
            Some((name, value)) => {
                texts.push((Part::QueryName, decoded(name, true)));
                texts.push((Part::QueryValue, decoded(value.get(1..).unwrap_or_default(), true)));
            }
            None => texts.push((Part::QueryValue, decoded(pair, true))),
        }
    }
    texts.extend(fragment.map(|fragment| (Part::Fragment, decoded(fragment, false))));
    texts.retain(|(_, text)| !text.is_empty());
    texts
}

/// RFC 6454, section 7: `null`, or a scheme, a host and a port. The scheme may be an application's own.
pub(super) fn origin(value: &[u8]) -> Fit {
    if value == b"null" {
        return Ok(());
    }
    let uri = parse(value)?;
    if !uri.behind.is_empty() {
        return Err("something behind the host");
    }
    const APPLICATIONS: [&str; 10] =
        ["https", "http", "app", "tauri", "capacitor", "ionic", "vscode-webview", "vscode-file", "chrome", "electron"];
    let known = APPLICATIONS.iter().any(|scheme| uri.scheme.eq_ignore_ascii_case(scheme.as_bytes()));
    (known || uri.scheme.ends_with(b"-extension")).then_some(()).ok_or("a scheme that no page comes from")
}

/// RFC 9110, section 10.1.3: an absolute address of the web or of an Android application, or a path; `about:blank`.
pub(super) fn referer(value: &[u8]) -> Fit {
    if value.first() == Some(&b'/') {
        return absolute_path(value);
    }
    if value == b"about:blank" {
        return Ok(());
    }
    let uri = parse(value)?;
    let known =
        ["https", "http", "android-app"].iter().any(|scheme| uri.scheme.eq_ignore_ascii_case(scheme.as_bytes()));
    known.then_some(()).ok_or("a scheme that no page comes from")
}

/// Where a server's own files are. No page of an application is there, and a path alone, unlike one behind a host,
/// could be opened as a file's.
const FILES: [&[u8]; 9] =
    [b"/etc/", b"/proc/", b"/bin/", b"/usr/", b"/var/", b"/root/", b"/sys/", b"/dev/tcp/", b"/dev/fd/"];

/// RFC 3986, section 4.2: an absolute path, a query and a fragment. Not `//`, which a browser reads as a host, and not
/// where a server's own files are.
pub(super) fn absolute_path(value: &[u8]) -> Fit {
    if value.len() > MOST {
        return Err("longer than 8192 bytes");
    }
    if value.first() != Some(&b'/') || value.get(1).is_some_and(|b| matches!(b, b'/' | b'\\')) {
        return Err("not an absolute path");
    }
    if FILES.iter().any(|files| value.get(..files.len()).is_some_and(|start| start.eq_ignore_ascii_case(files))) {
        return Err("a path of the server's own files");
    }
    relative(value).map(drop)
}
