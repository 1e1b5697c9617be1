//! Operators: what a rule asks of a value.
//!
//! An operator is compiled once, when the rules are loaded, and then only read: it is `Send + Sync` and holds nothing
//! of a request. It knows neither targets nor negation. What can fail because of the rule fails in
//! [`Operator::compile`]; afterwards a value matches or does not. Time is linear in the value, but for patterns that
//! need backtracking, which have limits (see [`Captures::limit_exceeded`]).
//!
//! Source: the ModSecurity reference manual, section "Operators". What asks the network or needs a database of places
//! loads and never matches, with a warning ([`Operator::idle`]). Refused with the reason: what runs a program
//! (`@inspectFile`) or needs formats that no rule here brings (`@fuzzyHash`, `@validateDTD`, `@validateSchema`,
//! `@validateHash`, `@rsub`).

mod bytes;
mod captures;
mod identity;
mod injection;
mod ip;
mod number;
mod pattern;
mod phrases;
mod rx;
mod sql;
mod text;

#[cfg(test)]
mod tests;

pub use captures::{Captures, GROUPS};
pub(crate) use injection::{reads_as_html, reads_as_sql};

use crate::byteset::ByteSet;
use bytes::ByteRange;
use identity::{Identity, Scheme};
use ip::Addresses;
use number::{Relation, integer};
use phrases::Phrases;
pub(crate) use rx::parse as parse_pattern;
use rx::{LateRx, Rx};
use std::ops::Range;
use text::Comparison;

/// Why an operator cannot be built, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorFault {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

impl std::fmt::Display for OperatorFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.what, self.mend)
    }
}

impl std::error::Error for OperatorFault {}

/// A compiled operator.
#[derive(Debug)]
pub struct Operator {
    name: &'static str,
    argument: String,
    has_macro: bool,
    test: Test,
}

/// What is compiled of the argument.
#[derive(Debug)]
enum Test {
    Rx(Rx),
    RxGlobal(Rx),
    /// `@rx` with a macro: the pattern is known when a request is.
    RxLate(LateRx),
    Phrases(Phrases),
    Text(Comparison),
    Number(Relation, i64),
    ByteRange(Box<ByteRange>),
    UrlEncoding,
    Utf8Encoding,
    Addresses(Addresses),
    Sql,
    Html,
    Identity(Identity),
    Always,
    Never,
}

/// The operators by name: the manual's spelling, whether the argument may hold macros, and how it is compiled.
#[derive(Debug, Clone, Copy)]
enum Maker {
    Rx,
    RxGlobal,
    Pm,
    PmFromFile,
    Text(Comparison),
    Number(Relation),
    ByteRange,
    UrlEncoding,
    Utf8Encoding,
    IpMatch,
    IpMatchFromFile,
    Sql,
    Html,
    Identity(Scheme),
    Always,
    Never,
}

const OPERATORS: &[(&str, Maker)] = &[
    ("rx", Maker::Rx),
    ("rxGlobal", Maker::RxGlobal),
    ("pm", Maker::Pm),
    ("pmFromFile", Maker::PmFromFile),
    ("pmf", Maker::PmFromFile),
    ("streq", Maker::Text(Comparison::Equals)),
    ("contains", Maker::Text(Comparison::Contains)),
    ("containsWord", Maker::Text(Comparison::ContainsWord)),
    ("strmatch", Maker::Text(Comparison::Contains)),
    ("beginsWith", Maker::Text(Comparison::BeginsWith)),
    ("endsWith", Maker::Text(Comparison::EndsWith)),
    ("within", Maker::Text(Comparison::Within)),
    ("eq", Maker::Number(Relation::Equal)),
    ("lt", Maker::Number(Relation::Less)),
    ("le", Maker::Number(Relation::LessOrEqual)),
    ("gt", Maker::Number(Relation::Greater)),
    ("ge", Maker::Number(Relation::GreaterOrEqual)),
    ("validateByteRange", Maker::ByteRange),
    ("validateUrlEncoding", Maker::UrlEncoding),
    ("validateUtf8Encoding", Maker::Utf8Encoding),
    ("ipMatch", Maker::IpMatch),
    ("ipMatchFromFile", Maker::IpMatchFromFile),
    ("ipMatchF", Maker::IpMatchFromFile),
    ("detectSQLi", Maker::Sql),
    ("detectXSS", Maker::Html),
    ("verifyCC", Maker::Identity(Scheme::Card)),
    ("verifyCPF", Maker::Identity(Scheme::Cpf)),
    ("verifySSN", Maker::Identity(Scheme::Ssn)),
    ("verifySVNR", Maker::Identity(Scheme::Svnr)),
    ("unconditionalMatch", Maker::Always),
    ("noMatch", Maker::Never),
    ("rbl", Maker::Never),
    ("gsbLookup", Maker::Never),
    ("geoLookup", Maker::Never),
];

/// Operators of the manual that load, because published rule sets have them behind a switch, and never match: name, why,
/// what to do instead.
const IDLE: &[(&str, &str, &str)] = &[
    ("rbl", "would ask the DNS about every request, so it never matches", "load the list as a reputation feed"),
    ("gsbLookup", "would ask a service about every request, so it never matches", "load the list as a reputation feed"),
    ("geoLookup", "needs a database of places, so it never matches", "match addresses with @ipMatchFromFile"),
];

/// Operators of the manual that are refused: name, why, what to do instead.
const REFUSED: &[(&str, &str, &str)] = &[
    ("inspectFile", "would run a program on what a client sent", "scan uploads behind the gate"),
    ("fuzzyHash", "needs ssdeep", "match what the file holds with @pmFromFile or @rx"),
    ("validateDTD", "would load a document that is not part of the rules", "limit XML by its content with @rx"),
    ("validateSchema", "would load a document that is not part of the rules", "limit XML by its content with @rx"),
    ("validateHash", "belongs to the hash engine, which is not offered", "leave the rule out"),
    ("rsub", "would change what is forwarded", "leave the rule out: bodies pass unchanged or not at all"),
];

impl Operator {
    /// Compiles `@name argument`. The name is matched in any case and comes without `@` and `!`. `data` reads a file
    /// that `@pmFromFile` or `@ipMatchFromFile` names; what it says of a failure becomes part of the fault.
    ///
    /// # Errors
    /// A name that is unknown or refused, an argument that the operator cannot take, a macro in an operator that is
    /// compiled when the rules are loaded, a file that cannot be read.
    pub fn compile(
        name: &str,
        argument: &str,
        data: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Self, OperatorFault> {
        let Some(&(name, maker)) = OPERATORS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            return Err(unknown(name));
        };
        let has_macro = has_macro(argument);
        if has_macro && !maker.takes_macro() {
            return Err(OperatorFault {
                what: format!("@{name} is compiled when the rules are loaded and cannot take a macro (`%{{...}}`)"),
                mend: "compare with @streq, @contains, @beginsWith, @endsWith or @within; if no macro is meant, \
                       escape the brace (`%\\{`)"
                    .to_owned(),
            });
        }
        let within = |fault: OperatorFault| OperatorFault { what: format!("@{name}: {}", fault.what), ..fault };
        let test = maker.compile(argument, data).map_err(within)?;
        Ok(Self { name, argument: argument.to_owned(), has_macro, test })
    }

    /// Whether `value` matches. `captures` is emptied first; on a match, and with `want_captures`, an operator that
    /// captures fills it. One that does not (all that compare) leaves it empty, which is to say: `TX:0` stays.
    pub fn matches(&self, value: &[u8], want_captures: bool, captures: &mut Captures) -> bool {
        captures.clear();
        match &self.test {
            Test::Rx(rx) => rx.matches(value, want_captures, captures),
            Test::RxGlobal(rx) => rx.matches_all(value, want_captures, captures),
            Test::RxLate(rx) => rx.matches(value, self.argument.as_bytes(), want_captures, captures),
            Test::Phrases(phrases) => phrases.matches(value, want_captures, captures),
            Test::Text(comparison) => comparison.holds(value, self.argument.as_bytes()),
            Test::Number(relation, number) => relation.holds(value, *number),
            Test::ByteRange(range) => range.is_left_by(value),
            Test::UrlEncoding => bytes::breaks_url_encoding(value),
            Test::Utf8Encoding => bytes::breaks_utf8(value),
            Test::Addresses(addresses) => addresses.matches(value),
            Test::Sql => injection::is_sql(value, want_captures, captures),
            Test::Html => injection::is_html(value, want_captures, captures),
            Test::Identity(identity) => identity.matches(value, want_captures, captures),
            Test::Always => true,
            Test::Never => false,
        }
    }

    /// Whether a value matches, if the bytes in it are enough to tell.
    pub(crate) fn answer(&self, bytes: ByteSet) -> Option<bool> {
        let never = |without: bool| without.then_some(false);
        match &self.test {
            Test::ByteRange(range) => Some(!bytes.within(range.allowed())),
            Test::UrlEncoding => never(!bytes.contains(b'%')),
            Test::Utf8Encoding => never(bytes.within(ByteSet::of_ascii())),
            Test::Sql => never(injection::cannot_be_sql(bytes)),
            Test::Html => never(injection::cannot_be_html(bytes)),
            Test::Always => Some(true),
            Test::Never => Some(false),
            _ => None,
        }
    }

    /// As [`Operator::matches`], with the argument after its macros have been expanded. An operator that takes no
    /// macro has none to expand and goes by its own argument.
    pub fn matches_expanded(&self, value: &[u8], argument: &[u8], want: bool, captures: &mut Captures) -> bool {
        captures.clear();
        match &self.test {
            Test::RxLate(rx) => rx.matches(value, argument, want, captures),
            Test::Text(comparison) => comparison.holds(value, argument),
            Test::Number(relation, _) => relation.holds(value, integer(argument)),
            _ => self.matches(value, want, captures),
        }
    }

    /// Whether the argument holds a macro, so that [`Operator::matches_expanded`] is the one to call.
    pub fn has_macro(&self) -> bool {
        self.has_macro
    }

    /// Why this operator never matches here and what to do instead, for one that is only taken to let a rule set load.
    pub fn idle(&self) -> Option<(&'static str, &'static str)> {
        IDLE.iter().find(|(name, ..)| *name == self.name).map(|(_, why, mend)| (*why, *mend))
    }

    /// Whether this operator accepts macros at all: patterns and those that compare texts and numbers do.
    pub fn takes_macro(&self) -> bool {
        matches!(self.test, Test::Text(_) | Test::Number(..) | Test::RxLate(_))
    }

    /// The operator's name as the manual writes it, without `@`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The argument as the rule writes it.
    pub fn argument(&self) -> &str {
        &self.argument
    }

    /// The pattern of `@rx` in the dialect of the `regex` family (Unicode off, dot matches newline), if it
    /// runs in linear time: a prefilter may analyse it. `None` for other operators and for patterns that backtrack.
    pub fn linear_pattern(&self) -> Option<&str> {
        match &self.test {
            Test::Rx(rx) => rx.linear_source(),
            _ => None,
        }
    }

    /// As [`Operator::matches`] with captures, but of a linear-time pattern only the whole match, which does not begin
    /// before byte `from`, and is `likely` to begin right there. The second answer tells whether groups were left out.
    pub(crate) fn find(&self, value: &[u8], from: usize, likely: bool, captures: &mut Captures) -> (bool, bool) {
        captures.clear();
        match &self.test {
            Test::Rx(rx) if rx.linear_source().is_some() => (rx.find(value, from, likely, captures), rx.has_groups()),
            _ => (self.matches(value, true, captures), false),
        }
    }

    /// As [`Operator::find`], where the whole match is known.
    pub(crate) fn caught(&self, value: &[u8], span: Range<usize>, captures: &mut Captures) -> (bool, bool) {
        captures.clear();
        captures.push_match(value, std::iter::once(Some(span)));
        (true, matches!(&self.test, Test::Rx(rx) if rx.has_groups()))
    }

    /// Whether a linear-time pattern or a phrase matches anywhere from byte `from` on.
    pub(crate) fn matches_from(&self, value: &[u8], from: usize) -> bool {
        match &self.test {
            Test::Rx(rx) => rx.matches_from(value, from),
            Test::Phrases(phrases) => phrases.matches_from(value, from),
            _ => false,
        }
    }

    /// Whether this is a pattern that does not run in linear time.
    pub fn backtracks(&self) -> bool {
        matches!(&self.test, Test::Rx(rx) | Test::RxGlobal(rx) if rx.linear_source().is_none())
    }

    /// The phrases of `@pm` and `@pmFromFile`; empty for other operators. At least one occurs, ASCII letters in any
    /// case, in every value that matches.
    pub fn phrases(&self) -> &[Vec<u8>] {
        match &self.test {
            Test::Phrases(phrases) => phrases.list(),
            _ => &[],
        }
    }
}

impl Maker {
    fn takes_macro(self) -> bool {
        // Where the argument has no meaning, neither has a macro in it.
        matches!(
            self,
            Self::Text(_)
                | Self::Number(_)
                | Self::Rx
                | Self::UrlEncoding
                | Self::Utf8Encoding
                | Self::Sql
                | Self::Html
                | Self::Always
                | Self::Never
        )
    }

    fn compile(
        self,
        argument: &str,
        data: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Test, OperatorFault> {
        Ok(match self {
            Self::Rx if has_macro(argument) => Test::RxLate(LateRx::default()),
            Self::Rx => Test::Rx(Rx::compile(argument)?),
            Self::RxGlobal => Test::RxGlobal(Rx::compile(argument)?),
            Self::Pm => Test::Phrases(Phrases::from_argument(argument)?),
            Self::PmFromFile => Test::Phrases(Phrases::from_lines(&read_all(argument, data)?)?),
            Self::Text(comparison) => Test::Text(comparison),
            Self::Number(relation) => Test::Number(relation, integer(argument.as_bytes())),
            Self::ByteRange => Test::ByteRange(Box::new(ByteRange::parse(argument)?)),
            Self::UrlEncoding => Test::UrlEncoding,
            Self::Utf8Encoding => Test::Utf8Encoding,
            Self::IpMatch => Test::Addresses(Addresses::parse(argument.split([',', ' ']))?),
            Self::IpMatchFromFile => {
                let text = read_all(argument, data)?;
                let text = std::str::from_utf8(&text).map_err(|_| OperatorFault {
                    what: format!("`{argument}` is no text"),
                    mend: "give a file with an address or a CIDR block on each line".to_owned(),
                })?;
                let entries = lines(text.as_bytes()).filter_map(|line| std::str::from_utf8(line).ok());
                // A comment may follow an address.
                let entries = entries.filter_map(|line| line.split('#').next());
                Test::Addresses(Addresses::parse(entries.flat_map(|line| line.split([',', ' ', '\t'])))?)
            }
            Self::Sql => {
                injection::prepare();
                Test::Sql
            }
            Self::Html => Test::Html,
            Self::Identity(scheme) => Test::Identity(Identity::compile(scheme, argument)?),
            Self::Always => Test::Always,
            Self::Never => Test::Never,
        })
    }
}

/// The files named in `argument`, one after the other.
fn read_all(argument: &str, data: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>) -> Result<Vec<u8>, OperatorFault> {
    if argument.contains("://") {
        return Err(OperatorFault {
            what: format!("`{argument}` is a remote list, and rules load from files"),
            mend: "fetch it beforehand and name the file".to_owned(),
        });
    }
    let mut text = Vec::new();
    for name in argument.split_ascii_whitespace() {
        let file = data(name).map_err(|why| OperatorFault {
            what: format!("`{name}` cannot be read: {why}"),
            mend: "name a file that exists, relative to the file that holds the rule".to_owned(),
        })?;
        text.extend_from_slice(&file);
        text.push(b'\n');
    }
    if text.is_empty() {
        return Err(OperatorFault { what: "no file is named".to_owned(), mend: "name a file".to_owned() });
    }
    Ok(text)
}

/// The lines of a data file: trimmed, without empty lines and those that begin with `#`.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && line.first() != Some(&b'#'))
}

/// Whether a text holds `%{NAME}`, `NAME` being a variable with or without a key. `%{2}` in a pattern is none.
fn has_macro(text: &str) -> bool {
    text.match_indices("%{").any(|(at, opening)| {
        let rest = text.get(at.saturating_add(opening.len())..).unwrap_or_default();
        let name = rest.split_once('}').map(|(name, _)| name).unwrap_or_default();
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:/".contains(c))
    })
}

fn unknown(name: &str) -> OperatorFault {
    if let Some((name, why, mend)) = REFUSED.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name)) {
        return OperatorFault { what: format!("@{name} {why}"), mend: (*mend).to_owned() };
    }
    let close = OPERATORS.iter().map(|(known, _)| (distance(known, name), known)).min().filter(|(away, _)| *away <= 2);
    OperatorFault {
        what: format!("there is no operator @{name}"),
        mend: match close {
            Some((_, known)) => format!("did you mean @{known}?"),
            None => "see the list of operators in the reference".to_owned(),
        },
    }
}

/// The number of letters to change, add or drop between two names, in any case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i.saturating_add(1)];
        for ((&to, &above), &corner) in b.iter().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or_default();
            let changed = corner.saturating_add(usize::from(!from.eq_ignore_ascii_case(&to)));
            next.push(changed.min(above.saturating_add(1)).min(left.saturating_add(1)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
