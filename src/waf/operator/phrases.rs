//! `@pm`, `@pmFromFile` (`@pmf`): whether any of many phrases occurs, ASCII letters in any case.
//!
//! One Aho-Corasick automaton, built when the rules are loaded: linear in the value, whatever the number of phrases,
//! and no state is built while matching. With captures, group 0 is the phrase as the value spells it.

use super::OperatorFault;
use super::captures::Captures;
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// Most bytes of phrases, together, whose automaton is a full table: twice as fast, and some hundred bytes for each.
const SMALL: usize = 32 << 10;

/// A set of phrases.
pub(super) struct Phrases {
    automaton: AhoCorasick,
    phrases: Vec<Vec<u8>>,
}

/// Their number alone: a list has thousands.
impl std::fmt::Debug for Phrases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Phrases").field(&self.phrases.len()).finish()
    }
}

impl Phrases {
    /// From the argument of `@pm`: phrases between blanks, `|41 42|` for bytes in hexadecimal.
    ///
    /// # Errors
    /// No phrase at all.
    pub(super) fn from_argument(argument: &str) -> Result<Self, OperatorFault> {
        Self::build(split(argument))
    }

    /// From files of one phrase a line; blanks at the ends, empty lines and lines that begin with `#` do not count.
    ///
    /// # Errors
    /// No phrase at all.
    pub(super) fn from_lines(text: &[u8]) -> Result<Self, OperatorFault> {
        Self::build(super::lines(text).map(<[u8]>::to_vec).collect())
    }

    fn build(phrases: Vec<Vec<u8>>) -> Result<Self, OperatorFault> {
        if phrases.is_empty() {
            return Err(OperatorFault {
                what: "there is no phrase to look for".to_owned(),
                mend: "give at least one phrase".to_owned(),
            });
        }
        let small = phrases.iter().map(Vec::len).sum::<usize>() <= SMALL;
        let automaton = AhoCorasick::builder()
            .kind(small.then_some(AhoCorasickKind::DFA))
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .build(&phrases)
            .map_err(|error| OperatorFault {
                what: format!("the phrases cannot be compiled: {error}"),
                mend: "split the list over several rules".to_owned(),
            })?;
        Ok(Self { automaton, phrases })
    }

    /// The phrases, for a prefilter.
    pub(super) fn list(&self) -> &[Vec<u8>] {
        &self.phrases
    }

    pub(super) fn matches_from(&self, value: &[u8], from: usize) -> bool {
        self.automaton.is_match(value.get(from..).unwrap_or_default())
    }

    pub(super) fn matches(&self, value: &[u8], want: bool, captures: &mut Captures) -> bool {
        if !want {
            return self.automaton.is_match(value);
        }
        match self.automaton.find(value) {
            Some(found) => {
                captures.push(value.get(found.range()));
                true
            }
            None => false,
        }
    }
}

/// Splits at blanks outside `|...|`. A `|` that encloses no pairs of hexadecimal digits is itself.
fn split(argument: &str) -> Vec<Vec<u8>> {
    let (mut phrases, mut phrase) = (Vec::new(), Vec::new());
    let mut rest = argument.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'|'
            && let Some(length) = tail.iter().position(|&b| b == b'|')
            && let Some(bytes) = tail.get(..length).and_then(hex)
        {
            phrase.extend(bytes);
            rest = tail.get(length.saturating_add(1)..).unwrap_or_default();
        } else if byte.is_ascii_whitespace() {
            if !phrase.is_empty() {
                phrases.push(std::mem::take(&mut phrase));
            }
        } else {
            phrase.push(byte);
        }
    }
    if !phrase.is_empty() {
        phrases.push(phrase);
    }
    phrases
}

fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let digits: Vec<u8> = text
        .chars()
        .filter(|&c| c != ' ')
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    if digits.is_empty() || digits.len() % 2 == 1 {
        return None;
    }
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_between_blanks_and_bytes_between_bars() {
        let table: &[(&str, &[&[u8]])] = &[
            ("abc  def", &[b"abc", b"def"]),
            ("|41 42|c |2f2A|", &[b"ABc", b"/*"]),
            ("a|b |zz| |4|", &[b"a|b", b"|zz|", b"|4|"]),
            ("cat || dog", &[b"cat", b"||", b"dog"]),
        ];
        for (argument, expected) in table {
            assert_eq!(split(argument), *expected, "{argument}");
        }
    }

    #[test]
    fn any_case_and_the_phrase_as_spelt() {
        let phrases = Phrases::from_lines(b"# comment\n union select \r\n\nSleep(\n").unwrap();
        let mut captures = Captures::new();
        assert!(phrases.matches(b"1 UNION Select 2", true, &mut captures));
        assert_eq!(captures.get(0), Some(&b"UNION Select"[..]));
        assert!(phrases.matches(b"sleep(", false, &mut captures));
        assert!(!phrases.matches(b"# comment", false, &mut captures));
        assert!(Phrases::from_argument(" ").is_err());
    }
}
