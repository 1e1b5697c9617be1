//! `@rx` and `@rxGlobal`: regular expressions on bytes.
//!
//! Unanchored; `.` matches a newline; `^` and `$` mean the value's beginning and end, as in ModSecurity v2: with lines,
//! a value could meet a negated `^...$` by one good line among others; classes are ASCII. Linear time in the value for every pattern that does not need backtracking, which are all of the OWASP
//! rules. The others run with a limit of [`BACKTRACKS`] steps on values up to [`BACKTRACKED_VALUE`] bytes; beyond
//! either the value does not match and [`Captures::limit_exceeded`] says so.
//!
//! Memory: a compiled pattern up to [`PROGRAM`]; while matching, per thread and pattern, up to [`LAZY_STATES`] of
//! states that are built as the text asks for them, and never more.

use super::OperatorFault;
use super::captures::{Captures, GROUPS};
use super::pattern;
use fancy_regex::BytesMode;
use regex_automata::meta;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::Hir;
use std::sync::{Arc, Mutex};

/// Bytes of a compiled pattern's program; the largest of the OWASP rules takes a quarter of one MiB.
const PROGRAM: usize = 2 << 20;
/// Bytes of a lazily built automaton.
const LAZY_STATES: usize = 1 << 20;
/// Bytes and states of an automaton built in full when the rules are loaded, for the small patterns.
const FULL_BYTES: usize = 64 << 10;
const FULL_STATES: usize = 256;
/// Steps back of a pattern that needs backtracking (SecPcreMatchLimit of the recommended configuration).
const BACKTRACKS: usize = 100_000;
/// Bytes of a value that such a pattern is tried on.
const BACKTRACKED_VALUE: usize = 128 << 10;

/// A compiled regular expression.
pub(super) struct Rx {
    engine: Engine,
    source: String,
}

/// The pattern alone: the engines would print every state they have.
impl std::fmt::Debug for Rx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Rx").field(&self.source).finish()
    }
}

enum Engine {
    Linear(meta::Regex),
    Backtracking(Box<fancy_regex::Regex>),
}

impl Rx {
    /// Compiles a pattern written for PCRE.
    ///
    /// # Errors
    /// What neither engine takes.
    pub(super) fn compile(pattern: &str) -> Result<Self, OperatorFault> {
        let fault = |why: String| OperatorFault {
            what: format!("the pattern cannot be compiled: {why}"),
            mend: "write it in the syntax of PCRE or RE2; bytes above 0x7F as \\xHH".to_owned(),
        };
        let rewritten = pattern::rewrite(pattern).map_err(fault)?;
        let engine = match rewritten.backtracking {
            None => Engine::Linear(linear(&rewritten.text).map_err(fault)?),
            Some(feature) => Engine::Backtracking(Box::new(
                backtracking(&rewritten.text).map_err(|why| fault(format!("it has {feature}, and {why}")))?,
            )),
        };
        Ok(Self { engine, source: rewritten.text })
    }

    /// The pattern in the dialect of the `regex` family, if it runs in linear time: what a prefilter may analyse.
    pub(super) fn linear_source(&self) -> Option<&str> {
        matches!(self.engine, Engine::Linear(_)).then_some(self.source.as_str())
    }

    /// Whether a match has groups that cost a second look: of a linear-time pattern.
    pub(super) fn has_groups(&self) -> bool {
        matches!(&self.engine, Engine::Linear(regex) if regex.captures_len() > 1)
    }

    /// As [`Rx::matches`], and only the whole match goes to `captures`. It does not begin before byte `from`, and is
    /// `likely` to begin right there. Patterns that backtrack are not asked.
    pub(super) fn find(&self, value: &[u8], from: usize, likely: bool, captures: &mut Captures) -> bool {
        let Engine::Linear(regex) = &self.engine else { return false };
        let rest = || Input::new(value).range(from.min(value.len())..);
        let right_there = likely.then(|| regex.find(rest().anchored(Anchored::Yes))).flatten();
        let found = right_there.or_else(|| regex.find(rest()));
        captures.push_match(value, found.iter().map(|found| Some(found.range())));
        found.is_some()
    }

    /// Whether a match begins at byte `from` or later; patterns that backtrack are not asked.
    pub(super) fn matches_from(&self, value: &[u8], from: usize) -> bool {
        let Engine::Linear(regex) = &self.engine else { return false };
        regex.is_match(Input::new(value).range(from.min(value.len())..))
    }

    /// Whether the value matches anywhere. With `want`, the groups go to `captures`.
    pub(super) fn matches(&self, value: &[u8], want: bool, captures: &mut Captures) -> bool {
        match &self.engine {
            Engine::Linear(regex) if !want => regex.is_match(value),
            Engine::Linear(regex) if regex.captures_len() == 1 => match regex.find(value) {
                Some(found) => {
                    captures.push_match(value, std::iter::once(Some(found.range())));
                    true
                }
                None => false,
            },
            Engine::Linear(regex) => {
                // Most values match nothing: find that out before anything is allocated.
                if !regex.is_match(value) {
                    return false;
                }
                let mut groups = regex.create_captures();
                regex.captures(value, &mut groups);
                captures.push_match(value, groups.iter().take(GROUPS).map(|group| group.map(|span| span.range())));
                true
            }
            Engine::Backtracking(_) if value.len() > BACKTRACKED_VALUE => {
                captures.exceed_limit();
                false
            }
            Engine::Backtracking(regex) => match regex.captures(value) {
                Ok(Some(groups)) => {
                    if want {
                        captures.push_match(value, groups.iter().take(GROUPS).map(|group| group.map(|m| m.range())));
                    }
                    true
                }
                Ok(None) => false,
                Err(_) => {
                    captures.exceed_limit();
                    false
                }
            },
        }
    }

    /// As [`Rx::matches`], and the groups of all matches follow each other. An empty match counts only if it is the
    /// first.
    pub(super) fn matches_all(&self, value: &[u8], want: bool, captures: &mut Captures) -> bool {
        if !want {
            return self.matches(value, false, captures);
        }
        let mut found = false;
        match &self.engine {
            Engine::Linear(regex) => {
                for groups in regex.captures_iter(value) {
                    if captures.len() >= GROUPS {
                        break;
                    }
                    if !found || groups.get_match().is_some_and(|whole| !whole.is_empty()) {
                        captures.push_match(value, groups.iter().map(|group| group.map(|span| span.range())));
                    }
                    found = true;
                }
            }
            Engine::Backtracking(_) if value.len() > BACKTRACKED_VALUE => captures.exceed_limit(),
            Engine::Backtracking(regex) => {
                for groups in regex.captures_iter(value) {
                    let Ok(groups) = groups else {
                        captures.exceed_limit();
                        break;
                    };
                    if captures.len() >= GROUPS {
                        break;
                    }
                    if !found || groups.get(0).is_some_and(|whole| !whole.range().is_empty()) {
                        captures.push_match(value, groups.iter().map(|group| group.map(|m| m.range())));
                    }
                    found = true;
                }
            }
        }
        found
    }

    /// The first match that begins at `from` or later; `^` still means the value's beginning.
    pub(super) fn find_from(&self, value: &[u8], from: usize) -> Option<(usize, usize)> {
        match &self.engine {
            Engine::Linear(regex) => {
                let input = Input::new(value).range(from.min(value.len())..);
                regex.search(&input).map(|found| (found.start(), found.end()))
            }
            Engine::Backtracking(_) if value.len() > BACKTRACKED_VALUE => None,
            Engine::Backtracking(regex) => {
                let found = regex.find_from_pos(value, from.min(value.len())).ok()??;
                Some((found.start(), found.end()))
            }
        }
    }
}

/// Longest pattern that is compiled while a request waits, in bytes.
const LATE_PATTERN: usize = 4 << 10;

/// `@rx` with a macro. The pattern of the last request is kept: nearly always the macro is a setting, the same for all.
/// Whoever lets a client write the pattern lets it cost the compilation of up to [`LATE_PATTERN`] bytes a value.
#[derive(Default)]
pub(super) struct LateRx(Mutex<LastPattern>);

/// An expanded pattern and what it compiles to, if it does.
#[derive(Default)]
struct LastPattern {
    pattern: Box<[u8]>,
    rx: Option<Arc<Rx>>,
}

impl std::fmt::Debug for LateRx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LateRx")
    }
}

impl LateRx {
    /// As [`Rx::matches`] with the expanded pattern; one that is too long or does not compile matches nothing.
    pub(super) fn matches(&self, value: &[u8], pattern: &[u8], want: bool, captures: &mut Captures) -> bool {
        let rx = self.of(pattern);
        rx.is_some_and(|rx| rx.matches(value, want, captures))
    }

    fn of(&self, pattern: &[u8]) -> Option<Arc<Rx>> {
        let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // An empty pattern matches everything; the one kept at first is none, so it is compiled.
        if *last.pattern == *pattern && (last.rx.is_some() || !pattern.is_empty()) {
            return last.rx.clone();
        }
        let text = std::str::from_utf8(pattern).ok().filter(|text| text.len() <= LATE_PATTERN);
        let rx = text.and_then(|text| Rx::compile(text).ok()).map(Arc::new);
        *last = LastPattern { pattern: pattern.into(), rx: rx.clone() };
        rx
    }
}

/// How the patterns of this module are written.
fn dialect() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false).dot_matches_new_line(true).multi_line(false).nest_limit(128)
}

/// The tree of a pattern as [`Rx::linear_source`] gives it.
///
/// # Errors
/// What the dialect does not know.
pub(crate) fn parse(pattern: &str) -> Result<Hir, Box<regex_syntax::Error>> {
    syntax::parse_with(pattern, &dialect()).map_err(Box::new)
}

fn linear(pattern: &str) -> Result<meta::Regex, String> {
    let config = meta::Config::new()
        .utf8_empty(false)
        .auto_prefilter(false)
        .nfa_size_limit(Some(PROGRAM))
        .onepass_size_limit(Some(FULL_BYTES))
        .hybrid_cache_capacity(LAZY_STATES)
        .dfa_size_limit(Some(FULL_BYTES))
        .dfa_state_limit(Some(FULL_STATES));
    meta::Regex::builder().configure(config).syntax(dialect()).build(pattern).map_err(|error| {
        // The library draws the pattern with a caret over several lines; its last line says what is wrong.
        match error.syntax_error() {
            Some(error) => {
                error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            }
            None if error.size_limit().is_some() => format!("it grows past {PROGRAM} bytes: repeat less"),
            None => error.to_string(),
        }
    })
}

fn backtracking(pattern: &str) -> Result<fancy_regex::Regex, String> {
    fancy_regex::RegexBuilder::new(pattern)
        .bytes_mode(BytesMode::Ascii)
        .multi_line(false)
        .dot_matches_new_line(true)
        .backtrack_limit(BACKTRACKS)
        .delegate_size_limit(PROGRAM)
        .delegate_dfa_size_limit(LAZY_STATES)
        .max_prog_size(100_000)
        .build()
        .map_err(|error| error.to_string().lines().last().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught(pattern: &str, value: &[u8]) -> Option<Vec<Option<String>>> {
        let (rx, mut captures) = (Rx::compile(pattern).unwrap(), Captures::new());
        let matched = rx.matches(value, true, &mut captures);
        assert_eq!(matched, rx.matches(value, false, &mut Captures::new()), "{pattern}");
        matched.then(|| {
            (0..captures.len()).map(|n| captures.get(n).map(|bytes| bytes.escape_ascii().to_string())).collect()
        })
    }

    #[test]
    fn matches_and_groups() {
        type Groups<'a> = Option<&'a [Option<&'a str>]>;
        let table: &[(&str, &[u8], Groups<'_>)] = &[
            ("b.d", b"ab\ndc", Some(&[Some("b\\nd")])),
            ("^b$", b"a\nb\nc", None),
            ("^b$", b"b\n", None),
            ("(?m)^b$", b"a\nb\nc", Some(&[Some("b")])),
            (r"^a\Z", b"a\n", Some(&[Some("a\\n")])),
            (r"\xFF[^\x00-\x7F]", b"x\xFF\xFE", Some(&[Some("\\xff\\xfe")])),
            (r"\w", b"\xC3\xA9", None),
            (r"(?i)SELECT", b"sElEcT", Some(&[Some("sElEcT")])),
            (r"(a)|(b)", b"b", Some(&[Some("b"), None, Some("b")])),
            (r"(\w)\1", b"abccd", Some(&[Some("cc"), Some("c")])),
            (r"a(?=(b+))", b"abbc", Some(&[Some("a"), Some("bb")])),
            (r"(?<!\d)7(?!\d)", b"77 7\xFF", Some(&[Some("7")])),
            (r"(?>a+)b", b"aaab", Some(&[Some("aaab")])),
            (r"a++a", b"aaa", None),
            (
                r"(1)(2)(3)(4)(5)(6)(7)(8)(9)(0)",
                b"1234567890",
                Some(&[
                    Some("1234567890"),
                    Some("1"),
                    Some("2"),
                    Some("3"),
                    Some("4"),
                    Some("5"),
                    Some("6"),
                    Some("7"),
                    Some("8"),
                    Some("9"),
                ]),
            ),
        ];
        for (pattern, value, expected) in table {
            let expected =
                expected.map(|groups| groups.iter().map(|group| group.map(str::to_owned)).collect::<Vec<_>>());
            assert_eq!(caught(pattern, value), expected, "{pattern}");
        }
    }

    #[test]
    fn backtracking_ends_at_its_limits() {
        let rx = Rx::compile(r"^(?:(a)\1?|a)*b(?!c)").unwrap();
        let mut captures = Captures::new();
        assert!(!rx.matches(&[b'a'; 64], true, &mut captures));
        assert!(captures.limit_exceeded());
        captures.clear();
        assert!(!rx.matches(&vec![b'a'; BACKTRACKED_VALUE + 1], false, &mut captures) && captures.limit_exceeded());
    }

    #[test]
    fn a_pattern_that_does_not_compile_says_why() {
        for (pattern, word) in [
            ("(a", "unclosed"),
            ("a{99999999}", "past"),
            ("(?:a{500}){500}", "past"),
            ("[z-a]", "range"),
            (r"(?!a", ""),
        ] {
            let fault = Rx::compile(pattern).unwrap_err();
            assert!(fault.what.contains(word) && !fault.what.contains('\n'), "{pattern}: {fault:?}");
        }
    }
}
