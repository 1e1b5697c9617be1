//! Values of request headers: lists, parameters, media types, entity tags, ranges, credentials.
//!
//! RFC 9110's `token` lets `'`, `` ` ``, `|`, `$` and more through, which no registered name has: a name here is letters,
//! digits, `-`, `.`, `_` and `+`. A quoted string holds no escapes and no sign that markup or a shell would read.

use super::{Fit, host, plain, time, token, uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes of any of these but credentials.
const MOST: usize = 4096;
/// Members of any list.
const MEMBERS: usize = 64;

/// The members of a list (RFC 9110, section 5.6.1), blanks around them removed; none of them empty.
fn members(value: &[u8], mut fits: impl FnMut(&[u8]) -> Fit) -> Fit {
    if value.len() > MOST {
        return Err("longer than 4096 bytes");
    }
    let mut count = 0;
    for member in pieces(value, b',') {
        count += 1;
        if count > MEMBERS {
            return Err("more than 64 members");
        }
        if member.is_empty() {
            return Err("an empty member");
        }
        fits(member)?;
    }
    Ok(())
}

/// What stands between separators outside of quotes, without blanks around.
fn pieces(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    value
        .split(move |b| {
            quoted ^= *b == b'"';
            !quoted && *b == separator
        })
        .map(trim)
}

fn trim(piece: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = piece.iter().position(|b| !blank(b)).unwrap_or(piece.len());
    let end = piece.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    piece.get(start..end).unwrap_or_default()
}

/// A registered name: at most 128 letters, digits, `-`, `.`, `_`, `+`, the first a letter or digit; no two dots
/// together.
fn name(value: &[u8]) -> bool {
    value.first().is_some_and(u8::is_ascii_alphanumeric)
        && value.len() <= 128
        && value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'+'))
        && !value.windows(2).any(|pair| pair == b".." || pair == b"--")
        && !plain::inner_name(value)
}

/// The inside of a quoted string without escapes.
fn inside(value: &[u8]) -> Option<&[u8]> {
    let inside = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    (inside.len() <= 256 && !inside.contains(&b'"')).then_some(inside)
}

/// At most five words of letters, digits, `.`, `_`, `-`; when there are several, the first begins with a capital.
fn words(value: &[u8]) -> bool {
    let mut count = 0;
    let sound = value.split(|b| *b == b' ').all(|word| {
        count += 1;
        name(word) && !word.contains(&b'+')
    });
    sound && (count == 1 || (count <= 5 && value.first().is_some_and(u8::is_ascii_uppercase)))
}

/// The name of a parameter, and its value as it stands.
fn named(value: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let at = value.iter().position(|b| *b == b'=').ok_or("no `=` in a parameter")?;
    Ok((value.get(..at).unwrap_or_default(), value.get(at + 1..).unwrap_or_default()))
}

/// One parameter of a media type or a directive. In quotes: a name, a media type, a boundary, or an address without a
/// query.
fn parameter(value: &[u8]) -> Fit {
    let (left, right) = named(value)?;
    let bare = inside(right).unwrap_or(right);
    // RFC 2046, section 5.1.1: browsers begin theirs with many hyphens.
    let boundary = left.eq_ignore_ascii_case(b"boundary")
        && (1..=70).contains(&bare.len())
        && bare.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+' | b':'));
    let in_quotes = bare.len() < right.len() && (essence(bare).is_ok() || plain_address(bare));
    if name(left) && (name(bare) || boundary || in_quotes) { Ok(()) } else { Err("not a parameter") }
}

/// An address of the web that carries no text.
fn plain_address(value: &[u8]) -> bool {
    uri::fits(value, &[]).is_ok()
        && !value
            .iter()
            .any(|b| matches!(b, b'?' | b'%' | b'(' | b';' | b'=' | b'&' | b'*' | b'$' | b',') || *b >= 0x80)
}

/// RFC 9110, section 12.4.2: `q=` and a number from 0 to 1 with at most three decimals.
fn weight(value: &[u8]) -> bool {
    match value {
        [b'q' | b'Q', b'=', b'0'] | [b'q' | b'Q', b'=', b'1'] => true,
        // Java's own client leaves the zero out.
        [b'q' | b'Q', b'=', b'0', b'.', rest @ ..] | [b'q' | b'Q', b'=', b'.', rest @ ..] => {
            rest.len() <= 3 && rest.iter().all(u8::is_ascii_digit)
        }
        [b'q' | b'Q', b'=', b'1', b'.', rest @ ..] => rest.len() <= 3 && rest.iter().all(|b| *b == b'0'),
        _ => false,
    }
}

/// RFC 9110, section 8.3.1: a type, a subtype and parameters.
pub(super) fn media_type(value: &[u8]) -> Fit {
    if value.len() > MOST {
        return Err("longer than 4096 bytes");
    }
    media(value, false)
}

/// A type and a subtype.
fn essence(value: &[u8]) -> Fit {
    let at = value.iter().position(|b| *b == b'/').ok_or("no `/` in a media type")?;
    let (kind, subtype) = value.split_at_checked(at).ok_or("no `/` in a media type")?;
    let lettered = name(kind) && kind.iter().all(|b| b.is_ascii_alphabetic() || *b == b'-');
    (lettered && subtype.get(1..).is_some_and(name)).then_some(()).ok_or("not a type and a subtype")
}

fn media(value: &[u8], range: bool) -> Fit {
    let mut pieces = pieces(value, b';');
    let kind = pieces.next().unwrap_or_default();
    let wild = range
        && kind
            .strip_suffix(b"/*")
            .is_some_and(|kind| kind == b"*" || (name(kind) && kind.iter().all(u8::is_ascii_alphabetic)));
    if !wild {
        essence(kind)?;
    }
    for (count, piece) in pieces.enumerate() {
        if count >= 16 {
            return Err("more than 16 parameters");
        }
        // RFC 9110 lets senders leave a `;` at the end.
        if piece.is_empty() || (range && weight(piece)) {
            continue;
        }
        if range && piece.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"q=")) {
            return Err("not a weight");
        }
        parameter(piece)?;
    }
    Ok(())
}

/// RFC 9110, section 12.5.1: media ranges with weights.
pub(super) fn accept(value: &[u8]) -> Fit {
    members(value, |member| {
        // What some clients of Java send for `*/*`.
        if member == b"*" || member.starts_with(b"*;") {
            return member.get(2..).is_none_or(|rest| weight(trim(rest))).then_some(()).ok_or("not a weight");
        }
        media(member, true)
    })
}

/// A name with a weight or without.
fn weighted(member: &[u8], known: impl Fn(&[u8]) -> bool) -> Fit {
    let mut pieces = pieces(member, b';');
    let first = pieces.next().unwrap_or_default();
    let right = (first == b"*" || known(first)) && pieces.next().is_none_or(weight) && pieces.next().is_none();
    right.then_some(()).ok_or("not a name with a weight")
}

/// RFC 9110, section 12.5.4: language ranges of RFC 4647 with weights.
pub(super) fn language(value: &[u8]) -> Fit {
    members(value, |member| {
        weighted(member, |range| {
            range.iter().take_while(|b| **b != b'-').all(u8::is_ascii_alphabetic)
                && range
                    .split(|b| *b == b'-')
                    .all(|tag| (1..=8).contains(&tag.len()) && tag.iter().all(u8::is_ascii_alphanumeric) || tag == b"*")
        })
    })
}

/// RFC 9110, sections 8.4 and 12.5.3: registered codings with weights.
pub(super) fn encodings(value: &[u8]) -> Fit {
    const KNOWN: [&str; 12] = [
        "gzip",
        "deflate",
        "br",
        "zstd",
        "identity",
        "compress",
        "x-gzip",
        "x-compress",
        "dcb",
        "dcz",
        "exi",
        "aes128gcm",
    ];
    members(value, |member| {
        weighted(member, |coding| KNOWN.iter().any(|known| coding.eq_ignore_ascii_case(known.as_bytes())))
    })
}

/// A list of names that begin with a letter: headers, methods, options of a connection.
pub(super) fn tokens(value: &[u8]) -> Fit {
    members(value, |member| {
        let sound = member.first().is_some_and(u8::is_ascii_alphabetic) && name(member) && member.len() <= 64;
        sound.then_some(()).ok_or("not a name")
    })
}

/// RFC 9110, section 14.2: at most 16 ranges of bytes, each upright.
pub(super) fn range(value: &[u8]) -> Fit {
    let ranges = value.strip_prefix(b"bytes=").ok_or("no range of bytes")?;
    let mut count = 0;
    members(ranges, |range| {
        count += 1;
        let at = range.iter().position(|b| *b == b'-').ok_or("not a range")?;
        let (first, last) = range.split_at_checked(at).ok_or("not a range")?;
        let last = last.get(1..).unwrap_or_default();
        let sound = match (offset(first), offset(last)) {
            (Some(first), Some(last)) => first <= last,
            (Some(_), None) => last.is_empty(),
            (None, Some(_)) => first.is_empty(),
            (None, None) => false,
        };
        (sound && count <= 16).then_some(()).ok_or("not a range, or more than 16")
    })
}

fn offset(digits: &[u8]) -> Option<u64> {
    let all = (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    all.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// RFC 9110, sections 8.8.3 and 13.1: `*`, or entity tags. Of what a tag may hold, letters, digits and what base64,
/// hashes, versions and suffixes use: no quote, blank, `<`, `(`, `{` or `$`.
pub(super) fn etag(value: &[u8]) -> Fit {
    if value == b"*" { Ok(()) } else { members(value, entity_tag) }
}

fn entity_tag(member: &[u8]) -> Fit {
    let opaque = member.strip_prefix(b"W/").unwrap_or(member);
    let tag = inside(opaque).ok_or("not in quotes")?;
    let all = tag.iter().all(|b| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'+' | b'/' | b'=' | b'~' | b',')
    });
    // A `/` or `+` is base64's, which mixes; a path and an address do not.
    let any = |set: fn(&u8) -> bool| tag.iter().any(set);
    let base64 = tag.len() >= 12
        && any(u8::is_ascii_digit)
        && any(u8::is_ascii_lowercase)
        && any(u8::is_ascii_uppercase)
        && !tag.windows(2).any(|pair| pair == b":/");
    let padding = tag.windows(2).all(|pair| !matches!(pair, [b'=', b] if b.is_ascii_alphanumeric()));
    let sound = all
        && padding
        && (base64 || !any(|b| matches!(b, b'/' | b'+')))
        && (tag.first() != Some(&b'-') || plain::random(tag))
        && !tag.windows(2).any(|pair| pair == b"..")
        && !plain::scheme_of_script(tag)
        && !plain::utf7(tag);
    if sound { plain::word(tag) } else { Err("not an entity tag") }
}

/// RFC 9110, section 13.1.5: an entity tag or a date.
pub(super) fn if_range(value: &[u8]) -> Fit {
    if matches!(value.first(), Some(b'"')) || value.starts_with(b"W/") {
        entity_tag(value)
    } else {
        time::http_date(value)
    }
}

/// What clients write in `cache-control`, `priority`, `keep-alive`, `prefer` and `sec-websocket-extensions`.
const DIRECTIVES: [&str; 33] = [
    "no-cache",
    "no-store",
    "no-transform",
    "only-if-cached",
    "max-age",
    "max-stale",
    "min-fresh",
    "stale-if-error",
    "stale-while-revalidate",
    "must-revalidate",
    "must-understand",
    "proxy-revalidate",
    "public",
    "private",
    "immutable",
    "s-maxage",
    "u",
    "i",
    "timeout",
    "max",
    "return",
    "wait",
    "respond-async",
    "handling",
    "depth-noroot",
    "permessage-deflate",
    "x-webkit-deflate-frame",
    "client_max_window_bits",
    "server_max_window_bits",
    "client_no_context_takeover",
    "server_no_context_takeover",
    "pre-check",
    "post-check",
];

/// Known directives, each alone or with `=` and a name or a quoted string, between commas or semicolons.
pub(super) fn directives(value: &[u8]) -> Fit {
    members(value, |member| {
        for piece in pieces(member, b';') {
            let name = piece.split(|b| *b == b'=').next().unwrap_or_default();
            if !DIRECTIVES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
                return Err("not a known directive");
            }
            if name.len() < piece.len() {
                parameter(piece)?;
            }
        }
        Ok(())
    })
}

/// Structured values of client hints (RFC 8941): a list of brands with versions, a truth, a number, words in quotes. A
/// brand is words, or nonsense of the GREASE kind, which is `Not A Brand` with any signs between.
pub(super) fn client_hint(value: &[u8]) -> Fit {
    let quoted = inside(value).is_some_and(|inside| inside.is_empty() || words(inside));
    if matches!(value, b"?0" | b"?1") || quoted || plain::number(value).is_ok() || name(value) {
        return Ok(());
    }
    members(value, |member| {
        let mut pieces = pieces(member, b';');
        let brand = pieces.next().and_then(inside).ok_or("not a brand")?;
        let grease = brand.len() <= 24
            && brand.iter().filter(|b| b.is_ascii_alphanumeric()).eq(b"NotABrand")
            && brand
                .iter()
                .all(|b| (b' '..=b'~').contains(b) && !matches!(b, b'\'' | b'<' | b'>' | b'`' | b'$' | b'\\'));
        let version = |piece: &[u8]| {
            piece
                .strip_prefix(b"v=")
                .and_then(inside)
                .is_some_and(|digits| digits.len() <= 32 && digits.iter().all(|b| b.is_ascii_digit() || *b == b'.'))
        };
        let versioned = pieces.next().is_some_and(version) && pieces.next().is_none();
        ((words(brand) || grease) && versioned).then_some(()).ok_or("not a brand with a version")
    })
}

/// RFC 9110, section 11.4: a scheme, and a token or parameters. `Basic` is base64 of UTF-8 with a colon and without
/// control characters (RFC 7617); who the user is, [`basic_user`] tells.
pub(super) fn authorization(value: &[u8]) -> Fit {
    let at = value.iter().position(|b| *b == b' ').ok_or("no scheme with credentials")?;
    let (scheme, credentials) = value.split_at_checked(at).ok_or("no scheme with credentials")?;
    let credentials = trim(credentials);
    let lettered = scheme.first().is_some_and(u8::is_ascii_alphabetic) && name(scheme) && scheme.len() <= 32;
    if !lettered || credentials.is_empty() || value.len() > 16 * 1024 {
        return Err("no scheme with credentials");
    }
    if scheme.eq_ignore_ascii_case(b"basic") {
        return basic(credentials);
    }
    if token::token68(credentials).is_ok() {
        return Ok(());
    }
    members(credentials, credential)
}

/// One parameter of `Digest` (RFC 7616, section 3.4).
fn credential(value: &[u8]) -> Fit {
    let (left, right) = named(value)?;
    let bare = inside(right).unwrap_or(right);
    let sound = match left {
        b"username" | b"realm" => words(bare) || host::email(bare).is_ok(),
        b"uri" => uri::absolute_path(bare).is_ok() && !bare.iter().any(|b| matches!(b, b'%' | b'(' | b';' | b'*')),
        b"nonce" | b"cnonce" | b"opaque" => bare.is_empty() || token::token68(bare).is_ok(),
        b"response" | b"nc" => plain::hex(bare).is_ok(),
        b"algorithm" | b"qop" | b"userhash" => name(bare),
        _ => false,
    };
    sound.then_some(()).ok_or("not a parameter of credentials")
}

fn basic(credentials: &[u8]) -> Fit {
    token::base64(credentials)?;
    let mut decoded = [0; 768];
    let length = STANDARD.decode_slice(credentials, &mut decoded).map_err(|_| "no Basic credentials of 768 bytes")?;
    let text =
        std::str::from_utf8(decoded.get(..length).unwrap_or_default()).map_err(|_| "credentials not in UTF-8")?;
    if !text.contains(':') || text.chars().any(char::is_control) {
        return Err("no user and password");
    }
    Ok(())
}

/// The user of sound `Basic` credentials.
pub(super) fn basic_user(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, credentials) = value.split_at_checked(5)?;
    if !scheme.eq_ignore_ascii_case(b"basic") || basic(trim(credentials)).is_err() {
        return None;
    }
    let mut decoded = STANDARD.decode(trim(credentials)).ok()?;
    decoded.truncate(decoded.iter().position(|b| *b == b':')?);
    Some(decoded)
}
