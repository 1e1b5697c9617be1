//! Typed values: a closed grammar each, so tight that an attack does not fit.
//!
//! Where a standard lets more through than real senders write (quotes in cookies, any printable byte in an entity tag,
//! `|` and `` ` `` in tokens), the grammar here is narrower than the standard, and its own documentation says so. What may carry
//! text all the same (parts of an address, a file name's words, a client's comment) is handed out decoded by
//! [`Grammar::texts`], to be read by the scorer.
//!
//! | names | arguments | in |
//! |---|---|---|
//! | `uuid` `boolean` `semver` `jwt` | | `plain`, `token` |
//! | `integer(a..b)` `number(a..b)` | either bound may be left out | `plain` |
//! | `enum(a, b)` | the values, exact | |
//! | `slug` `identifier` `hex` `base64` `base64url` `token68` `cookie` `(1..64)` | lengths in bytes | `plain`, `token` |
//! | `date` `datetime` `http-date` | | `time` |
//! | `host` `email` `origin` | | `host` |
//! | `url(https, http)` `referer` | schemes | `uri` |
//! | `fetch-url(https; allow: …)` | schemes, and what may be fetched although it is inside | [`super::url`] |
//! | `file-name(md, txt)` | extensions | `file_name` |
//! | `etag` `media-type` `language` `accept` `encoding-list` `token-list` `range` `authorization` `directives` `client-hint` | | `header` |
//! | `field-value` | | `field_value` |
//! | `user-agent` | | `agent` |
//! | `pattern(…)` | a regular expression over the whole value | |
//!
//! Every check is one pass over a bounded value, allocates nothing when the value fits (addresses with non-ASCII names,
//! at most 253 bytes of host, excepted), and fails closed.

mod agent;
#[cfg(test)]
mod attack_tests;
mod field_value;
mod file_name;
mod header;
pub(super) mod host;
mod plain;
#[cfg(test)]
mod tests;
mod time;
mod token;
pub(super) mod uri;

use super::class::{Arguments, Misfit, SpecError, count, excerpt};
use super::url::Fetch;
use regex::bytes::{Regex, RegexBuilder};
use std::borrow::Cow;
use std::fmt;

/// The outcome of one grammar: what is wrong, in a line.
type Fit = Result<(), &'static str>;

/// Bytes that a compiled `pattern` may take.
const PATTERN_BYTES: usize = 1 << 20;

/// The grammar of a typed field.
#[derive(Clone, Debug, PartialEq)]
pub struct Grammar {
    kind: Kind,
    optional: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Plain(&'static Plain),
    Sized(&'static Sized, Lengths),
    Integer(Bounds<i64>),
    Number(Bounds<f64>),
    Enum(Vec<String>),
    Url(Vec<String>),
    FetchUrl(Box<Fetch>),
    FileName(Vec<String>),
    Pattern(Pattern),
}

/// A grammar without arguments.
#[derive(Debug)]
struct Plain {
    name: &'static str,
    fits: fn(&[u8]) -> Fit,
}

impl PartialEq for Plain {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

const fn plain(name: &'static str, fits: fn(&[u8]) -> Fit) -> Plain {
    Plain { name, fits }
}

static PLAIN: [Plain; 25] = [
    plain("uuid", plain::uuid),
    plain("boolean", plain::boolean),
    plain("host", host::fits),
    plain("etag", header::etag),
    plain("jwt", token::jwt),
    plain("date", time::date),
    plain("datetime", time::datetime),
    plain("http-date", time::http_date),
    plain("email", host::email),
    plain("semver", plain::semver),
    plain("media-type", header::media_type),
    plain("language", header::language),
    plain("user-agent", agent::fits),
    plain("accept", header::accept),
    plain("encoding-list", header::encodings),
    plain("token-list", header::tokens),
    plain("origin", uri::origin),
    plain("referer", uri::referer),
    plain("authorization", header::authorization),
    plain("range", header::range),
    plain("directives", header::directives),
    plain("client-hint", header::client_hint),
    plain("if-range", header::if_range),
    plain("path", uri::absolute_path),
    plain("field-value", field_value::fits),
];

/// A grammar whose values have a length.
#[derive(Debug)]
struct Sized {
    name: &'static str,
    fits: fn(&[u8]) -> Fit,
    default: Lengths,
}

impl PartialEq for Sized {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

const fn sized(name: &'static str, fits: fn(&[u8]) -> Fit, most: usize) -> Sized {
    Sized { name, fits, default: Lengths { least: 1, most } }
}

static SIZED: [Sized; 7] = [
    sized("slug", plain::slug, 128),
    sized("identifier", plain::identifier, 256),
    sized("hex", plain::hex, 256),
    sized("base64", token::base64, 1 << 20),
    sized("base64url", token::base64url, 1 << 20),
    sized("token68", token::token68, 8192),
    sized("cookie", token::cookie, 4096),
];

/// Least and most bytes, both included.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Lengths {
    least: usize,
    most: usize,
}

/// Least and most value, both included; without, all of the type.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bounds<T> {
    least: Option<T>,
    most: Option<T>,
}

impl<T: PartialOrd> Bounds<T> {
    fn hold(&self, value: &T) -> bool {
        self.least.as_ref().is_none_or(|least| value >= least) && self.most.as_ref().is_none_or(|most| value <= most)
    }
}

impl<T: fmt::Display> fmt::Display for Bounds<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(least) = &self.least {
            least.fmt(f)?;
        }
        f.write_str("..")?;
        self.most.as_ref().map_or(Ok(()), |most| most.fmt(f))
    }
}

/// A regular expression over the whole value.
#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// How a JSON document may write a value of this grammar, besides as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// As a string only.
    Text,
    /// Also as a number: `integer` and `number`.
    Number,
    /// Also as `true` or `false`: `boolean`.
    Boolean,
}

/// Which part of a typed value a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A segment of an address's path.
    Segment,
    /// A parameter's name in an address's query.
    QueryName,
    /// A parameter's value in an address's query, or a query without parameters.
    QueryValue,
    /// An address's fragment.
    Fragment,
    /// A comment or the words of a `user-agent`.
    Comment,
    /// The value of a header field that nobody described.
    FieldValue,
    /// A file's name.
    FileName,
    /// A cookie's value.
    Cookie,
    /// The user of `Basic` credentials.
    User,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Segment => "path segment",
            Self::QueryName => "query name",
            Self::QueryValue => "query value",
            Self::Fragment => "fragment",
            Self::Comment => "comment",
            Self::FieldValue => "field value",
            Self::FileName => "file name",
            Self::Cookie => "cookie",
            Self::User => "user",
        })
    }
}

impl Grammar {
    /// The names that [`super::class::Class::parse`] knows as grammars.
    pub const NAMES: &'static [&'static str] = &[
        "uuid",
        "integer",
        "number",
        "boolean",
        "enum",
        "slug",
        "identifier",
        "host",
        "url",
        "fetch-url",
        "path",
        "etag",
        "token68",
        "jwt",
        "cookie",
        "date",
        "datetime",
        "http-date",
        "email",
        "semver",
        "hex",
        "base64",
        "base64url",
        "file-name",
        "media-type",
        "language",
        "user-agent",
        "accept",
        "encoding-list",
        "token-list",
        "origin",
        "referer",
        "authorization",
        "range",
        "if-range",
        "directives",
        "client-hint",
        "field-value",
        "pattern",
    ];

    /// The grammar called `name`, if there is one. `at` is the name's offset.
    pub(super) fn from_spec(
        name: &str,
        at: usize,
        arguments: Option<Arguments<'_>>,
    ) -> Result<Option<Self>, SpecError> {
        let end = at + name.len();
        if let Some(plain) = PLAIN.iter().find(|plain| plain.name == name) {
            return match arguments {
                None => Ok(Some(Self { kind: Kind::Plain(plain), optional: false })),
                Some(arguments) => Err(SpecError::new(
                    arguments.at,
                    format!("`{name}` takes no arguments"),
                    format!("write `{name}` alone, or with a `?`"),
                )),
            };
        }
        if let Some(sized) = SIZED.iter().find(|sized| sized.name == name) {
            let lengths = match arguments {
                None => sized.default,
                Some(arguments) => lengths(arguments.trim(), sized.default)?,
            };
            return Ok(Some(Self { kind: Kind::Sized(sized, lengths), optional: false }));
        }
        let needed = |what: &str, example: &str| {
            SpecError::new(end, format!("`{name}` needs {what}"), format!("write, for instance, `{example}`"))
        };
        let kind = match name {
            "integer" => Kind::Integer(bounds(arguments, "whole number")?),
            "number" => Kind::Number(bounds(arguments, "number")?),
            "enum" => {
                Kind::Enum(choices(arguments.ok_or_else(|| needed("the values it may have", "enum(todo, done)"))?)?)
            }
            "url" => Kind::Url(match arguments {
                None => Vec::new(),
                Some(arguments) => uri::schemes(arguments)?,
            }),
            "fetch-url" => Kind::FetchUrl(Box::new(Fetch::from_spec(arguments)?)),
            "file-name" => Kind::FileName(match arguments {
                None => Vec::new(),
                Some(arguments) => file_name::extensions(arguments)?,
            }),
            "pattern" => Kind::Pattern(pattern(
                arguments.ok_or_else(|| needed("a regular expression", "pattern([a-z]{1,20})"))?,
            )?),
            _ => return Ok(None),
        };
        Ok(Some(Self { kind, optional: false }))
    }

    pub(super) fn with_optional(self, optional: bool) -> Self {
        Self { optional, ..self }
    }

    /// Whether the empty value and JSON null fit.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.optional
    }

    /// The grammar's name, as in [`Grammar::NAMES`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.kind {
            Kind::Plain(plain) => plain.name,
            Kind::Sized(sized, _) => sized.name,
            Kind::Integer(_) => "integer",
            Kind::Number(_) => "number",
            Kind::Enum(_) => "enum",
            Kind::Url(_) => "url",
            Kind::FetchUrl(_) => "fetch-url",
            Kind::FileName(_) => "file-name",
            Kind::Pattern(_) => "pattern",
        }
    }

    /// How a JSON document may write the value, besides as a string. A number's own text is what [`Grammar::fits`] is
    /// to be given; for `true` and `false`, these words.
    #[must_use]
    pub fn written(&self) -> Written {
        match &self.kind {
            Kind::Integer(_) | Kind::Number(_) => Written::Number,
            Kind::Plain(Plain { name: "boolean", .. }) => Written::Boolean,
            _ => Written::Text,
        }
    }

    /// Whether a field that no policy names might be called so, whatever its values are for: letters of any script, digits
    /// and the signs that programs put into names, at most 256 bytes. Not for keys of free text, which are text themselves.
    #[must_use]
    pub fn is_field_name(name: &[u8]) -> bool {
        plain::field_name(name)
    }

    /// Whether all of `value` is of this grammar.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn fits(&self, value: &[u8]) -> Result<(), Misfit> {
        if value.is_empty() {
            // A pattern says itself whether it matches nothing.
            return match &self.kind {
                _ if self.optional => Ok(()),
                Kind::Pattern(pattern) if pattern.regex.is_match(b"") => Ok(()),
                _ => Err(Misfit::new("empty")),
            };
        }
        let fit = match &self.kind {
            Kind::Plain(plain) => (plain.fits)(value),
            Kind::Sized(sized, lengths) => {
                if value.len() < lengths.least || value.len() > lengths.most {
                    return Err(Misfit::new(format!("not from {} to {} bytes long", lengths.least, lengths.most)));
                }
                (sized.fits)(value)
            }
            Kind::Integer(bounds) => match plain::integer(value) {
                Ok(number) if !bounds.hold(&number) => {
                    return Err(Misfit::new(format!("not within {bounds}")));
                }
                other => other.map(drop),
            },
            Kind::Number(bounds) => match plain::number(value) {
                Ok(number) if !bounds.hold(&number) => {
                    return Err(Misfit::new(format!("not within {bounds}")));
                }
                other => other.map(drop),
            },
            Kind::Enum(choices) => {
                choices.iter().any(|choice| choice.as_bytes() == value).then_some(()).ok_or("none of the known values")
            }
            Kind::Url(schemes) => uri::fits(value, schemes),
            Kind::FetchUrl(fetch) => return fetch.check(value),
            Kind::FileName(extensions) => file_name::fits(value, extensions),
            Kind::Pattern(pattern) => pattern.regex.is_match(value).then_some(()).ok_or("does not match the pattern"),
        };
        fit.map_err(|what| Misfit::new(format!("no {}: {what}", self.name())))
    }

    /// The texts that a fitting value carries, percent-decoded once (`+` is a blank in a query), for the scorer of
    /// short texts. Parts that are one plain word of ASCII letters, digits and single `-` and `_` are left out: they
    /// say nothing.
    ///
    /// For `url`, `fetch-url`, `referer` and `path`: path segments, names and values of the query, the fragment. For
    /// `user-agent`, `file-name` and `field-value`: the value. For `cookie`: the decoded value. For `authorization`: the user of
    /// `Basic` credentials. Empty for all others, and for values that do not fit. At most as many as the value has
    /// bytes.
    #[must_use]
    pub fn texts<'a>(&self, value: &'a [u8]) -> Vec<(Part, Cow<'a, [u8]>)> {
        let mut texts = match self.name() {
            "url" | "fetch-url" | "referer" | "path" => uri::texts(value),
            "user-agent" => vec![(Part::Comment, Cow::Borrowed(value))],
            "field-value" => vec![(Part::FieldValue, uri::decoded(value, false))],
            "file-name" => vec![(Part::FileName, Cow::Borrowed(value))],
            "cookie" => vec![(Part::Cookie, uri::decoded(value, false))],
            "authorization" => {
                header::basic_user(value).map(|user| (Part::User, Cow::Owned(user))).into_iter().collect()
            }
            _ => Vec::new(),
        };
        let word = |text: &[u8]| {
            text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                && !text.windows(2).any(|pair| pair == b"--" || pair == b"__")
        };
        texts.retain(|(_, text)| !word(text));
        texts
    }
}

/// Prints the class as policy files write it.
impl fmt::Display for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match &self.kind {
            Kind::Plain(_) => {}
            Kind::Sized(sized, lengths) if *lengths == sized.default => {}
            Kind::Sized(_, Lengths { least, most }) => write!(f, "({least}..{most})")?,
            Kind::Integer(Bounds { least: None, most: None }) | Kind::Number(Bounds { least: None, most: None }) => {}
            Kind::Integer(bounds) => write!(f, "({bounds})")?,
            Kind::Number(bounds) => write!(f, "({bounds})")?,
            Kind::Url(list) | Kind::FileName(list) if list.is_empty() => {}
            Kind::Enum(list) | Kind::Url(list) | Kind::FileName(list) => write!(f, "({})", list.join(", "))?,
            Kind::FetchUrl(fetch) => fetch.fmt(f)?,
            Kind::Pattern(pattern) => write!(f, "({})", pattern.text)?,
        }
        f.write_str(if self.optional { "?" } else { "" })
    }
}

/// `8`, `1..64`, `1..` or `..64`.
fn lengths(argument: Arguments<'_>, default: Lengths) -> Result<Lengths, SpecError> {
    let Some((least, most)) = argument.text.split_once("..") else {
        let exact = count(argument)?;
        return Ok(Lengths { least: exact, most: exact });
    };
    let behind = Arguments { text: most, at: argument.at + least.len() + 2 }.trim();
    let before = Arguments { text: least, at: argument.at }.trim();
    let least = if before.text.is_empty() { default.least } else { count(before)? };
    let most = if behind.text.is_empty() { default.most.max(least) } else { count(behind)? };
    if least > most {
        return Err(upside_down(argument.at));
    }
    Ok(Lengths { least, most })
}

fn upside_down(at: usize) -> SpecError {
    SpecError::new(at, "the range is upside down", "write the smaller bound first")
}

/// `1..64`, `1..` or `..64`, or nothing.
fn bounds<T>(arguments: Option<Arguments<'_>>, what: &str) -> Result<Bounds<T>, SpecError>
where
    T: std::str::FromStr + PartialOrd,
{
    let Some(argument) = arguments.map(Arguments::trim) else { return Ok(Bounds { least: None, most: None }) };
    let Some((least, most)) = argument.text.split_once("..") else {
        return Err(SpecError::new(
            argument.at,
            format!("`{}` is no range", excerpt(argument.text)),
            "write both bounds, as in `1..100`; either may be left out",
        ));
    };
    let bound = |bound: Arguments<'_>| {
        if bound.text.is_empty() {
            return Ok(None);
        }
        // Not what Rust reads besides: a sign `+`, `inf`, `NaN`.
        let lettered = bound.text.starts_with('+') || bound.text.bytes().any(|b| b.is_ascii_alphabetic());
        bound.text.parse().ok().filter(|_| !lettered).map(Some).ok_or_else(|| {
            SpecError::new(
                bound.at,
                format!("`{}` is no {what}", excerpt(bound.text)),
                "write the bounds as in `1..100`; either may be left out",
            )
        })
    };
    let behind = Arguments { text: most, at: argument.at + least.len() + 2 }.trim();
    let bounds: Bounds<T> =
        Bounds { least: bound(Arguments { text: least, at: argument.at }.trim())?, most: bound(behind)? };
    if bounds.least.as_ref().zip(bounds.most.as_ref()).is_some_and(|(least, most)| least > most) {
        return Err(upside_down(argument.at));
    }
    Ok(bounds)
}

/// The values of an `enum`.
fn choices(arguments: Arguments<'_>) -> Result<Vec<String>, SpecError> {
    let mut choices: Vec<String> = Vec::new();
    for choice in arguments.split(',') {
        if choice.text.is_empty() {
            return Err(SpecError::new(choice.at, "a value is missing", "write the values with one comma between"));
        }
        if choices.iter().any(|known| known == choice.text) {
            return Err(SpecError::new(choice.at, format!("`{}` stands twice", excerpt(choice.text)), "remove one"));
        }
        choices.push(choice.text.to_owned());
    }
    Ok(choices)
}

/// A regular expression, compiled so that it takes linear time and bounded memory.
fn pattern(arguments: Arguments<'_>) -> Result<Pattern, SpecError> {
    let unsound = |what: String| {
        SpecError::new(
            arguments.at,
            format!("the pattern is unsound: {}", what.lines().last().unwrap_or_default().trim()),
            "write a regular expression in the syntax of the Rust crate regex (no look-around, no back-references)",
        )
    };
    // Compiled alone first, so that `a)|(b` cannot take the anchors apart.
    Regex::new(arguments.text).map_err(|e| unsound(e.to_string()))?;
    let regex = RegexBuilder::new(&format!(r"\A(?:{})\z", arguments.text))
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES)
        .build()
        .map_err(|e| unsound(e.to_string()))?;
    Ok(Pattern { text: arguments.text.to_owned(), regex })
}
