//! The operators that compare texts: `@streq`, `@contains`, `@containsWord`, `@beginsWith`, `@endsWith`, `@strmatch`,
//! `@within`. Case-sensitive, on bytes, linear. None of them captures.

use memchr::memmem;

/// How a value is compared with the argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equals,
    Contains,
    ContainsWord,
    BeginsWith,
    EndsWith,
    Within,
}

impl Comparison {
    pub(super) fn holds(self, value: &[u8], argument: &[u8]) -> bool {
        match self {
            Self::Equals => value == argument,
            Self::Contains => memmem::find(value, argument).is_some(),
            Self::ContainsWord => contains_word(value, argument),
            Self::BeginsWith => value.starts_with(argument),
            Self::EndsWith => value.ends_with(argument),
            Self::Within => memmem::find(argument, value).is_some(),
        }
    }
}

/// Whether `word` occurs with no ASCII letter on either side: to the reference a digit and `_` end a word.
fn contains_word(value: &[u8], word: &[u8]) -> bool {
    if word.is_empty() {
        return true;
    }
    let in_word = |at: Option<usize>| at.and_then(|at| value.get(at)).is_some_and(u8::is_ascii_alphabetic);
    let finder = memmem::Finder::new(word);
    let mut from = 0usize;
    while let Some(at) = value.get(from..).and_then(|rest| finder.find(rest)).and_then(|at| at.checked_add(from)) {
        if !in_word(at.checked_sub(1)) && !in_word(at.checked_add(word.len())) {
            return true;
        }
        // Occurrences may overlap, but the next one that counts stands behind a byte that is in no word.
        let Some(gap) = (at..value.len()).find(|&at| !in_word(Some(at))) else { return false };
        from = gap.saturating_add(1);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::Comparison::*;

    #[test]
    fn comparisons() {
        let table: &[(super::Comparison, &[u8], &[u8], bool)] = &[
            (Equals, b"a", b"A", false),
            (Equals, b"", b"", true),
            (Contains, b"xaby", b"ab", true),
            (Contains, b"a", b"ab", false),
            (BeginsWith, b"abc", b"ab", true),
            (EndsWith, b"abc", b"bc", true),
            (EndsWith, b"c", b"bc", false),
            (Within, b"", b"abc", true),
            (Within, b"bc", b"abc", true),
            (Within, b"abcd", b"abc", false),
            (ContainsWord, b"foobar bar", b"bar", true),
            (ContainsWord, b"foobar bara", b"bar", false),
            (ContainsWord, b"foobar bar1", b"bar", true),
            (ContainsWord, b"aaa-a a", b"a", true),
            (ContainsWord, b"x_a", b"a", true),
            (ContainsWord, b"\xFFa\0", b"a", true),
            (ContainsWord, b"-a-aa", b"-a", true),
            (ContainsWord, b"aba a", b"a a", false),
        ];
        for (comparison, value, argument, expected) in table {
            let what = format!("{comparison:?} {} {}", value.escape_ascii(), argument.escape_ascii());
            assert_eq!(comparison.holds(value, argument), *expected, "{what}");
        }
    }
}
