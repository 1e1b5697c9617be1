//! `application/x-www-form-urlencoded`: query strings and form bodies.
//!
//! Split at the separator, at the first `=`, and decoded once: `+` to a space, `%HH` to a byte, an invalid `%` stays.
//! Source: the URL Standard, section 5.1; ModSecurity, SecArgumentSeparator and SecArgumentsLimit.

use crate::transform::Transformation;
use std::borrow::Cow;

/// Bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most arguments kept (SecArgumentsLimit).
    pub args: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { args: 1000 }
    }
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// Names and values, decoded once, in order; repeats stay.
    pub args: Vec<(Vec<u8>, Vec<u8>)>,
    /// The limit that was passed, with its value.
    pub error: Option<String>,
}

/// Reads `input`. An empty piece between two separators is no argument; one without `=` has an empty value.
pub fn parse(input: &[u8], separator: u8, limits: &Limits) -> Form {
    let mut form = Form::default();
    for piece in input.split(|&byte| byte == separator).filter(|piece| !piece.is_empty()) {
        if form.args.len() >= limits.args {
            form.error =
                Some(format!("URL-encoded parsing error: more than {} arguments (SecArgumentsLimit)", limits.args));
            break;
        }
        let equals = piece.iter().position(|&byte| byte == b'=');
        let (name, value) = match equals {
            Some(at) => (piece.get(..at), piece.get(at.saturating_add(1)..)),
            None => (Some(piece), None),
        };
        form.args.push((decode(name), decode(value)));
    }
    form
}

fn decode(text: Option<&[u8]>) -> Vec<u8> {
    Transformation::UrlDecode.apply(Cow::Borrowed(text.unwrap_or_default())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces() {
        type Pairs<'a> = &'a [(&'a [u8], &'a [u8])];
        let table: &[(&[u8], u8, Pairs<'_>)] = &[
            (b"", b'&', &[]),
            (b"&&", b'&', &[]),
            (b"a=1&b=2&a=3", b'&', &[(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]),
            (b"a&=b&=", b'&', &[(b"a", b""), (b"", b"b"), (b"", b"")]),
            (b"a%3Db=c=d+%zz%0", b'&', &[(b"a=b", b"c=d %zz%0")]),
            (b"a=1;b=2&c", b';', &[(b"a", b"1"), (b"b", b"2&c")]),
            (b"\xFF=\x00%00", b'&', &[(b"\xFF", b"\x00\x00")]),
        ];
        for (input, separator, expected) in table {
            let form = parse(input, *separator, &Limits::default());
            let got: Vec<_> = form.args.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            assert_eq!((got, form.error), (expected.to_vec(), None), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn the_limit_is_named() {
        let form = parse(b"a&b&c", b'&', &Limits { args: 2 });
        assert_eq!(form.args.len(), 2);
        assert!(form.error.unwrap().contains("more than 2 arguments"));
        assert_eq!(parse(b"a&b&", b'&', &Limits { args: 2 }).error, None);
    }
}
