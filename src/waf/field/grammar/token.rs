//! Tokens: base64 and what is made of it, JWT, cookie values.

use super::plain::{random, scheme_of_script, utf7, word};
use super::{Fit, uri};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use std::borrow::Cow;

/// Bytes of a JWT's first part, encoded.
const JWT_HEADER: usize = 2048;

/// RFC 4648, section 4, with padding, without line breaks.
pub(super) fn base64(value: &[u8]) -> Fit {
    let digits = unpadded(value);
    if !value.len().is_multiple_of(4) || value.len() - digits.len() > 2 {
        return Err("not whole groups of four");
    }
    let all = digits.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    all.then_some(()).ok_or("not base64 digits")
}

/// RFC 4648, section 5, padded or not.
pub(super) fn base64url(value: &[u8]) -> Fit {
    let digits = unpadded(value);
    let whole = if digits.len() == value.len() { digits.len() % 4 != 1 } else { value.len().is_multiple_of(4) };
    if !whole || value.len() - digits.len() > 2 {
        return Err("not whole groups of four");
    }
    let all = digits.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if all { word(value) } else { Err("not base64url digits") }
}

fn unpadded(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|b| *b != b'=').map_or(0, |last| last + 1);
    value.get(..end).unwrap_or_default()
}

/// RFC 9110, section 11.2, narrower: with `/` or `+` it is base64 in whole groups of four, so that no path fits;
/// without, letters, digits, `-`, `_`, `~` and single dots.
pub(super) fn token68(value: &[u8]) -> Fit {
    if value.iter().any(|b| matches!(b, b'/' | b'+')) {
        return base64(value);
    }
    let digits = unpadded(value);
    let all = digits.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'));
    if !all || digits.is_empty() || value.len() - digits.len() > 2 {
        return Err("not letters, digits, `-`, `_`, `.`, `~` and base64");
    }
    let signed = digits.first().is_some_and(|b| matches!(b, b'.' | b'~' | b'-')) && !random(digits);
    if digits.windows(2).any(|pair| pair == b"..") || signed {
        return Err("not a token's shape");
    }
    word(value)
}

/// What is read of a JWT's header.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    #[serde(default)]
    jku: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    x5u: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    jwk: Option<serde::de::IgnoredAny>,
}

/// RFC 7519 and 7515 in compact form: three parts, the header of which is a JSON object with an `alg` other than
/// `none`. A header that brings its own key or says where to fetch one (`jwk`, `jku`, `x5u`) is refused, and so is a
/// `kid` that is no name of a key. Says nothing about the signature.
pub(super) fn jwt(value: &[u8]) -> Fit {
    let mut parts = value.split(|b| *b == b'.');
    let (Some(header), Some(claims), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("not three parts");
    };
    let digits =
        |part: &[u8]| !part.is_empty() && part.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if ![header, claims, signature].into_iter().all(digits) || value.len() > 16 * 1024 {
        return Err("not base64url digits, or longer than 16 KiB");
    }
    if header.len() > JWT_HEADER {
        return Err("a header that is too long");
    }
    let mut decoded = [0; JWT_HEADER];
    let length = URL_SAFE_NO_PAD.decode_slice(header, &mut decoded).map_err(|_| "a header that is no base64url")?;
    let json = decoded.get(..length).unwrap_or_default();
    let header: Header<'_> = serde_json::from_slice(json).map_err(|_| "a header that is no JSON object with `alg`")?;
    let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if header.alg.is_empty() || header.alg.eq_ignore_ascii_case("none") || !header.alg.bytes().all(named) {
        return Err("a header without a sound `alg`");
    }
    if header.jku.is_some() || header.x5u.is_some() || header.jwk.is_some() {
        return Err("a header that brings its own key");
    }
    let key = |kid: &str| {
        kid.len() <= 256
            && !kid.contains("..")
            && !kid.starts_with('/')
            && kid.bytes().all(|b| named(b) || matches!(b, b'.' | b':' | b'/' | b'+' | b'=' | b'@' | b'#' | b'~'))
    };
    if header.kid.as_deref().is_some_and(|kid| !key(kid)) {
        return Err("a header with an unsound `kid`");
    }
    Ok(())
}

/// RFC 6265, section 4.1.1, narrower: of `cookie-octet` no quote, backtick, angle bracket, parenthesis, brace, bracket,
/// `^` or `|`; `&` only between `name=value` pairs, `$` only as Google's counters have it (`$o1$g0`). Percent-encoding
/// is well-formed, and of nothing that browsers never encode or that markup begins with. No quotes around it.
pub(super) fn cookie(value: &[u8]) -> Fit {
    let octet = |b: &u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'_' | b'.' | b'~' | b'+' | b'/' | b'=' | b':' | b'%')
            || matches!(b, b'&' | b'!' | b'*' | b'$' | b'@' | b'#' | b'?')
    };
    if !value.iter().all(octet) {
        return Err("a character that is no cookie's");
    }
    uri::encoding(value)?;
    const NEVER: [&[u8]; 5] = [b"%27", b"%2e", b"%3c", b"%3e", b"%60"];
    if value.windows(3).any(|part| NEVER.iter().any(|never| part.eq_ignore_ascii_case(never))) {
        return Err("an encoded character that is no cookie's");
    }
    // Base64 may hold `//` and begin with `/`, and random tokens begin with any of their digits.
    if base64(value).is_ok() || signed(value) {
        return Ok(());
    }
    let pair = |bytes: &[u8]| matches!(bytes, b".." | b"&&" | b"$$" | b"//" | b"**" | b"/*" | b"*/");
    let compared = |part: &[u8]| matches!(part, [l, b'=', r] if l.is_ascii_digit() && r.is_ascii_digit());
    let counter = |part: &[u8]| {
        !matches!(part, [l, b'$', r] if l.is_ascii_alphanumeric() && r.is_ascii_lowercase())
            && part.get(1) == Some(&b'$')
    };
    let right = !value.windows(2).any(pair)
        && !value.windows(3).any(|part| compared(part) || counter(part))
        && !matches!(value.first(), Some(b'/' | b'-' | b'$' | b'@' | b'#' | b'?'))
        && value.last() != Some(&b'$')
        && (!value.contains(&b'&') || value.split(|b| *b == b'&').all(|piece| piece.contains(&b'=')))
        && !scheme_of_script(value)
        && !utf7(value);
    if right { word(value) } else { Err("not a cookie's shape") }
}

/// Random tokens with dots between, the last padded or not, `=` encoded or not: sessions with their signature.
fn signed(value: &[u8]) -> bool {
    let mut bare = unpadded(value);
    while let Some(rest) = bare.strip_suffix(b"%3D").or_else(|| bare.strip_suffix(b"%3d")) {
        bare = rest;
    }
    bare.split(|b| *b == b'.').all(random)
}
