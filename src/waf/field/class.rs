//! The class of a field: what its values are for, as a small text in a policy file (`uuid`, `integer(1..100)?`,
//! `file-name(md, txt)`, `short(300)`), and the check of a value's structure against it.
//!
//! Comes first of all that is said about a field: a policy is read once, at load, and every fault of it is a
//! [`SpecError`] with its place; a value is then checked without any allocation unless it is refused. What this check
//! lets through of [`Class::Short`] is still to be read by the scorer, and so are the texts that some grammars carry
//! ([`Grammar::texts`]).
//!
//! ```text
//! spec = name [ "(" arguments ")" ] [ "?" ]
//! ```
//! A `?` at the end says that the value may be missing: JSON null, and for typed fields the empty text. Texts and
//! opaque values may be empty with or without it: nothing can hide in nothing.
//!
//! Fails closed: what cannot be read as its class does not fit.

use super::grammar::Grammar;
use super::json_text::JsonText;
use super::text;
use std::fmt;

/// Characters that a `short` without a bound may have.
pub const SHORT_CHARS: usize = 256;
/// Bytes that a `free` without a bound may have.
pub const FREE_BYTES: usize = 1 << 20;
/// Bytes that an `opaque` without a bound may have.
pub const OPAQUE_BYTES: usize = 25 << 20;

/// What the values of a field are for.
#[derive(Clone, Debug, PartialEq)]
pub enum Class {
    /// A closed grammar: what does not fit is refused.
    Typed(Grammar),
    /// Human text of a bounded length, to be read by the scorer.
    Short(Short),
    /// Prose, markdown, code, prompts: structure only.
    Free(Free),
    /// Signed or binary: size only.
    Opaque(Opaque),
    /// A JSON document in a text, whose values have a class.
    Json(JsonText),
}

/// Human text of a bounded length: titles, names, search boxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// The most characters (Unicode scalar values).
    pub max_chars: usize,
    /// JSON null fits.
    pub optional: bool,
}

/// Text in which anything may be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// The most bytes.
    pub max_bytes: usize,
    /// JSON null fits.
    pub optional: bool,
}

/// Bytes that are not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opaque {
    /// The most bytes.
    pub max_bytes: usize,
    /// JSON null fits.
    pub optional: bool,
}

/// Why a value is not of its field's class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What is wrong, in a line; never a part of the value.
    pub what: String,
}

impl Misfit {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Misfit {}

/// Why a text is no class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// Where in the text, in bytes from its start.
    pub at: usize,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub mend: String,
}

impl SpecError {
    pub(super) fn new(at: usize, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { at, what: what.into(), mend: mend.into() }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}; {}", self.at, self.what, self.mend)
    }
}

impl std::error::Error for SpecError {}

/// What a class is called that is no grammar.
const TEXTS: [&str; 4] = ["short", "free", "opaque", "json"];

/// The text between the parentheses of a class, and where it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arguments<'a> {
    /// The text itself, blanks and all.
    pub(super) text: &'a str,
    /// Its offset in the whole text.
    pub(super) at: usize,
}

impl<'a> Arguments<'a> {
    /// The pieces between `separator`s, without blanks around them, each with its place.
    pub(super) fn split(self, separator: char) -> impl Iterator<Item = Arguments<'a>> {
        let mut at = self.at;
        self.text.split(separator).map(move |piece| {
            let start = at + (piece.len() - piece.trim_start().len());
            at += piece.len() + separator.len_utf8();
            Arguments { text: piece.trim(), at: start }
        })
    }

    /// Without blanks around it.
    pub(super) fn trim(self) -> Self {
        Self { text: self.text.trim(), at: self.at + (self.text.len() - self.text.trim_start().len()) }
    }
}

impl Class {
    /// Reads a class as policy files write it.
    ///
    /// # Errors
    /// The first fault: an unknown name, arguments that the class does not take or that it needs, a bound that is no
    /// number or upside down, an unsound pattern.
    pub fn parse(spec: &str) -> Result<Self, SpecError> {
        let indent = spec.len() - spec.trim_start().len();
        let whole = spec.trim();
        let (body, optional) = match whole.strip_suffix('?') {
            Some(body) => (body.trim_end(), true),
            None => (whole, false),
        };
        let (name, arguments) = match body.split_once('(') {
            None => (body, None),
            Some((name, rest)) => {
                let at = indent + name.len() + 1;
                let Some(text) = rest.strip_suffix(')') else {
                    return Err(SpecError::new(
                        at - 1,
                        "the parenthesis is not closed at the end",
                        "close it with `)`; only a `?` may follow",
                    ));
                };
                (name.trim_end(), Some(Arguments { text, at }))
            }
        };
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') || name.is_empty() {
            return Err(SpecError::new(
                indent,
                "this does not begin with the name of a class",
                "write a class such as `uuid`, `integer(1..100)`, `short(200)` or `free`",
            ));
        }
        Ok(match name {
            "short" => {
                let max_chars = match arguments {
                    Some(arguments) => count(arguments.trim())?,
                    None => SHORT_CHARS,
                };
                Self::Short(Short { max_chars, optional })
            }
            "free" => Self::Free(Free { max_bytes: size(arguments, FREE_BYTES)?, optional }),
            "opaque" => Self::Opaque(Opaque { max_bytes: size(arguments, OPAQUE_BYTES)?, optional }),
            "json" => {
                let Some(inner) = arguments else {
                    return Err(SpecError::new(
                        indent + name.len(),
                        "`json` needs the class of what it holds",
                        "write it as `json(short(100))`",
                    ));
                };
                let within = |error: SpecError| SpecError { at: inner.at + error.at, ..error };
                match Self::parse(inner.text).map_err(within)? {
                    Self::Json(_) => {
                        return Err(SpecError::new(
                            inner.trim().at,
                            "JSON in JSON in a text is not read",
                            "write the class of the values themselves, as in `json(short(100))`",
                        ));
                    }
                    each => Self::Json(JsonText { each: Box::new(each), optional }),
                }
            }
            _ => match Grammar::from_spec(name, indent, arguments)? {
                Some(grammar) => Self::Typed(grammar.with_optional(optional)),
                None => {
                    let known = TEXTS.into_iter().chain(Grammar::NAMES.iter().copied());
                    let mend = match crate::diagnostic::nearest(name, known) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("the classes are {}, {}", TEXTS.join(", "), Grammar::NAMES.join(", ")),
                    };
                    return Err(SpecError::new(indent, format!("there is no class `{name}`"), mend));
                }
            },
        })
    }

    /// Whether `value` (decoded, as the application will see it) has the structure of this class. Linear in its
    /// length, without allocation when it fits (save for addresses with non-ASCII names and for JSON, which are bounded).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, value: &[u8]) -> Result<(), Misfit> {
        match self {
            Self::Typed(grammar) => grammar.fits(value),
            Self::Short(short) => text::check_short(value, short),
            Self::Free(free) => text::check(value, free),
            Self::Opaque(opaque) => text::check_opaque(value, opaque),
            Self::Json(json) => json.check(value),
        }
    }

    /// Whether JSON null fits: the class ends in `?`.
    #[must_use]
    pub fn takes_null(&self) -> bool {
        match self {
            Self::Typed(grammar) => grammar.is_optional(),
            Self::Short(Short { optional, .. })
            | Self::Free(Free { optional, .. })
            | Self::Opaque(Opaque { optional, .. })
            | Self::Json(JsonText { optional, .. }) => *optional,
        }
    }
}

/// Prints what [`Class::parse`] reads, defaults left out.
impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Typed(grammar) => return grammar.fmt(f),
            Self::Json(json) => write!(f, "json({})", json.each)?,
            Self::Short(Short { max_chars: SHORT_CHARS, .. }) => f.write_str("short")?,
            Self::Short(Short { max_chars, .. }) => write!(f, "short({max_chars})")?,
            Self::Free(Free { max_bytes: FREE_BYTES, .. }) => f.write_str("free")?,
            Self::Free(Free { max_bytes, .. }) => write!(f, "free({})", Size(*max_bytes))?,
            Self::Opaque(Opaque { max_bytes: OPAQUE_BYTES, .. }) => f.write_str("opaque")?,
            Self::Opaque(Opaque { max_bytes, .. }) => write!(f, "opaque({})", Size(*max_bytes))?,
        }
        f.write_str(if self.takes_null() { "?" } else { "" })
    }
}

impl std::str::FromStr for Class {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<Self, SpecError> {
        Self::parse(spec)
    }
}

/// A positive count.
pub(super) fn count(argument: Arguments<'_>) -> Result<usize, SpecError> {
    match argument.text.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err(SpecError::new(
            argument.at,
            format!("`{}` is no length", excerpt(argument.text)),
            "write a positive whole number",
        )),
    }
}

/// A size in bytes, with or without a unit.
fn size(arguments: Option<Arguments<'_>>, default: usize) -> Result<usize, SpecError> {
    let Some(argument) = arguments.map(Arguments::trim) else { return Ok(default) };
    let digits = argument.text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match argument.text.get(digits.len()..).unwrap_or_default().trim() {
        "" | "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = digits.parse::<usize>().ok().filter(|n| *n > 0).zip(unit).and_then(|(n, unit)| n.checked_mul(unit));
    bytes.ok_or_else(|| {
        SpecError::new(
            argument.at,
            format!("`{}` is no size", excerpt(argument.text)),
            "write a positive whole number and a unit, as in `64KiB` or `2MiB`",
        )
    })
}

/// A size in the largest unit that leaves a whole number.
struct Size(usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// The start of a policy's own text, for a message.
pub(super) fn excerpt(text: &str) -> &str {
    text.char_indices().nth(40).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for (spec, printed) in [
            ("uuid", "uuid"),
            ("uuid?", "uuid?"),
            (" integer ( 0..100 ) ? ", "integer(0..100)?"),
            ("integer", "integer"),
            ("integer(-5..)", "integer(-5..)"),
            ("integer(..7)", "integer(..7)"),
            ("number(0.5..1)", "number(0.5..1)"),
            ("number", "number"),
            ("boolean", "boolean"),
            ("enum(todo,doing , review, done)", "enum(todo, doing, review, done)"),
            ("slug", "slug"),
            ("slug(1..64)", "slug(1..64)"),
            ("slug(8)", "slug(8..8)"),
            ("identifier(..40)?", "identifier(1..40)?"),
            ("host", "host"),
            ("url", "url"),
            ("url(http,https)", "url(http, https)"),
            ("url(https)", "url(https)"),
            ("fetch-url", "fetch-url"),
            ("fetch-url(https)", "fetch-url(https)"),
            (
                "fetch-url(https; allow: 10.0.0.0/8, ollama, localhost:11434)",
                "fetch-url(https; allow: 10.0.0.0/8, ollama, localhost:11434)",
            ),
            ("fetch-url(allow: [::1]:8080)", "fetch-url(https, http; allow: [::1]:8080)"),
            ("etag", "etag"),
            ("token68", "token68"),
            ("jwt", "jwt"),
            ("cookie", "cookie"),
            ("date", "date"),
            ("http-date", "http-date"),
            ("datetime", "datetime"),
            ("email", "email"),
            ("semver", "semver"),
            ("hex(32..64)", "hex(32..64)"),
            ("base64", "base64"),
            ("base64url(43)", "base64url(43..43)"),
            ("file-name", "file-name"),
            ("file-name(.md, TXT,pdf)", "file-name(md, txt, pdf)"),
            ("media-type", "media-type"),
            ("language", "language"),
            ("user-agent", "user-agent"),
            ("pattern(^[a-z]{1,20}$)", "pattern(^[a-z]{1,20}$)"),
            ("pattern((a|b)?)?", "pattern((a|b)?)?"),
            ("short", "short"),
            ("short(256)", "short"),
            ("short(300)?", "short(300)?"),
            ("free", "free"),
            ("free(1MiB)", "free"),
            ("free(2048 KiB)", "free(2MiB)"),
            ("free(1000)", "free(1000B)"),
            ("opaque(25MiB)", "opaque"),
            ("opaque(1GiB)?", "opaque(1GiB)?"),
            ("json( short(60) )", "json(short(60))"),
            ("json(enum(a, b)?)?", "json(enum(a, b)?)?"),
        ] {
            let class = Class::parse(spec).unwrap_or_else(|e| panic!("{spec}: {e}"));
            assert_eq!(class.to_string(), printed, "{spec}");
            assert_eq!(Class::parse(printed).unwrap(), class, "{spec}");
        }
        for name in Grammar::NAMES {
            let arguments = match *name {
                "enum" => "(a, b)",
                "pattern" => "([a-z]+)",
                _ => "",
            };
            let class = Class::parse(&format!("{name}{arguments}")).unwrap();
            assert_eq!(Class::parse(&class.to_string()).unwrap(), class, "{name}");
        }
    }

    #[test]
    fn faults_have_a_place_and_a_mend() {
        for (spec, want) in [
            ("", "at byte 0: this does not begin with the name of a class"),
            ("(x)", "at byte 0: this does not begin with the name of a class"),
            ("uid", "at byte 0: there is no class `uid`; did you mean `uuid`?"),
            ("  intger(1..2)", "at byte 2: there is no class `intger`; did you mean `integer`?"),
            ("shrt", "at byte 0: there is no class `shrt`; did you mean `short`?"),
            (
                "zzzzzzzzzzzz",
                "at byte 0: there is no class `zzzzzzzzzzzz`; the classes are short, free, opaque, json, uuid",
            ),
            ("uuid(4)", "at byte 5: `uuid` takes no arguments"),
            ("integer(1..100", "at byte 7: the parenthesis is not closed"),
            ("integer(1..100) x", "at byte 7: the parenthesis is not closed"),
            ("integer(9..1)", "at byte 8: the range is upside down"),
            ("integer(a..1)", "at byte 8: `a` is no whole number"),
            ("integer(1.. b)", "at byte 12: `b` is no whole number"),
            ("integer(5)", "at byte 8: `5` is no range"),
            ("enum", "at byte 4: `enum` needs"),
            ("enum(a,, b)", "at byte 7: a value is missing"),
            ("enum(a, a)", "at byte 8: `a` stands twice"),
            ("slug(0..4)", "at byte 5: `0` is no length"),
            ("url(javascript)", "at byte 4: `javascript` is no scheme"),
            ("url(https, 1x)", "at byte 11: `1x` is no scheme"),
            ("fetch-url(ftp)", "at byte 10: `ftp` is no scheme that is fetched"),
            ("fetch-url(https; alow: x)", "at byte 17: `alow: x` is not understood; did you mean `allow:`?"),
            ("fetch-url(https; allow: 10.0.0.0/99)", "at byte 24: `10.0.0.0/99` is no host"),
            ("fetch-url(https; allow: a b)", "at byte 24: `a b` is no host"),
            ("file-name(m/d)", "at byte 10: `m/d` is no extension"),
            ("pattern", "at byte 7: `pattern` needs"),
            ("pattern([a)", "at byte 8: the pattern is unsound"),
            ("short(x)", "at byte 6: `x` is no length"),
            ("free(2MB)", "at byte 5: `2MB` is no size"),
            ("json", "at byte 4: `json` needs the class"),
            (" json(shrt)", "at byte 6: there is no class `shrt`; did you mean `short`?"),
            ("json(json(short))", "at byte 5: JSON in JSON"),
            ("free(0)", "at byte 5: `0` is no size"),
        ] {
            let error = Class::parse(spec).expect_err(spec).to_string();
            assert!(error.starts_with(want), "{spec}: {error}");
        }
    }

    #[test]
    fn missing_values() {
        for (spec, empty, null) in [
            ("uuid", false, false),
            ("uuid?", true, true),
            ("file-name?", true, true),
            ("pattern(a*)", true, false),
            ("short", true, false),
            ("short?", true, true),
            ("free", true, false),
            ("opaque?", true, true),
        ] {
            let class = Class::parse(spec).unwrap();
            assert_eq!((class.check(b"").is_ok(), class.takes_null()), (empty, null), "{spec}");
        }
        for name in Grammar::NAMES.iter().filter(|name| !matches!(**name, "enum" | "pattern")) {
            assert!(Class::parse(name).unwrap().check(b"").is_err(), "{name}");
        }
    }
}
