//! What a text must hold for a pattern to match in it at all.
//!
//! A few sets of bytes, of each of which a match holds at least one, and the length of the shortest match: enough to
//! rule most patterns out for most short texts, from the set of the bytes in the text alone.

use crate::byteset::ByteSet;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Most sets kept of a pattern: those that the fewest texts hold.
const SETS: usize = 4;

/// The conditions of one pattern that matches no empty text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needs {
    length: usize,
    /// Those that are missing hold every byte: some byte is in a text that is long enough.
    sets: [ByteSet; SETS],
}

impl Needs {
    pub(super) fn of(hir: &Hir) -> Self {
        let sets = rarest(sets(hir), SETS).into_iter().map(|set| set.bytes);
        Self::of_sets(hir.properties().minimum_len().unwrap_or(0), sets)
    }

    /// Of phrases in lower case, found in any case.
    pub(super) fn of_phrases(phrases: &[Box<[u8]>]) -> Self {
        let length = phrases.iter().map(|phrase| phrase.len()).min().unwrap_or(0);
        let any_case = |byte: &u8| Weighed::of(ByteSet::of(&[byte.to_ascii_lowercase(), byte.to_ascii_uppercase()]));
        let rarest = |phrase: &[u8]| phrase.iter().map(any_case).min_by_key(|set| set.commonness);
        let union =
            phrases.iter().filter_map(|phrase| rarest(phrase)).fold(ByteSet::EMPTY, |all, set| all.union(set.bytes));
        Self::of_sets(length, std::iter::once(union))
    }

    fn of_sets(length: usize, sets: impl Iterator<Item = ByteSet>) -> Self {
        let mut all = [ByteSet::ALL; SETS];
        all.iter_mut().zip(sets).for_each(|(place, set)| *place = set);
        Self { length: length.max(1), sets: all }
    }

    /// Whether a text of this length with these bytes may hold a match.
    pub(super) fn met_by(&self, length: usize, bytes: ByteSet) -> bool {
        let [rarest, second, third, last] = self.sets;
        // Without branches: the answer is hard to foresee.
        (length >= self.length) & rarest.meets(bytes) & second.meets(bytes) & third.meets(bytes) & last.meets(bytes)
    }
}

/// A set and how likely a text is to hold one of its bytes: a guess that only decides which conditions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weighed {
    commonness: u32,
    bytes: ByteSet,
}

impl Weighed {
    fn of(bytes: ByteSet) -> Self {
        let weight = |byte: u8| match byte {
            b'a'..=b'z' | b' ' => 40,
            b'A'..=b'Z' | b'0'..=b'9' => 15,
            b'.' | b',' | b'-' | b'_' | b'/' | b':' => 10,
            b'!'..=b'~' | b'\n' => 3,
            _ => 1,
        };
        Self { commonness: bytes.iter().map(weight).sum(), bytes }
    }
}

/// The `most` rarest, each once.
fn rarest(mut sets: Vec<Weighed>, most: usize) -> Vec<Weighed> {
    sets.sort_unstable_by_key(|set| set.commonness);
    sets.dedup();
    sets.truncate(most);
    sets
}

fn sets(hir: &Hir) -> Vec<Weighed> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Vec::new(),
        HirKind::Literal(literal) => {
            rarest(literal.0.iter().map(|byte| Weighed::of(ByteSet::of(&[*byte]))).collect(), 2 * SETS)
        }
        HirKind::Class(Class::Bytes(class)) => {
            let ranges = class.iter().map(|range| ByteSet::range(range.start(), range.end()));
            vec![Weighed::of(ranges.fold(ByteSet::EMPTY, ByteSet::union))]
        }
        // Patterns are compiled for bytes, so such a class is one of ASCII, or says nothing here.
        HirKind::Class(Class::Unicode(class)) => {
            let ends =
                class.iter().map(|range| Some((u8::try_from(range.start()).ok()?, u8::try_from(range.end()).ok()?)));
            let ascii = |(first, last): (u8, u8)| last.is_ascii().then(|| ByteSet::range(first, last));
            let ranges: Option<Vec<ByteSet>> = ends.map(|ends| ends.and_then(ascii)).collect();
            let union = ranges.map(|ranges| ranges.into_iter().fold(ByteSet::EMPTY, ByteSet::union));
            union.map(Weighed::of).into_iter().collect()
        }
        HirKind::Repetition(repeated) if repeated.min == 0 => Vec::new(),
        HirKind::Repetition(repeated) => sets(&repeated.sub),
        HirKind::Capture(group) => sets(&group.sub),
        HirKind::Concat(parts) => rarest(parts.iter().flat_map(sets).collect(), 2 * SETS),
        // Of each branch its rarest, for a match goes through one of them.
        HirKind::Alternation(branches) => {
            let rarest = |branch: &Hir| sets(branch).into_iter().min_by_key(|set| set.commonness);
            let all: Option<Vec<Weighed>> = branches.iter().map(rarest).collect();
            let union = all.map(|all| all.into_iter().fold(ByteSet::EMPTY, |all, set| all.union(set.bytes)));
            union.map(Weighed::of).into_iter().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::parse_pattern;

    #[test]
    fn bytes_that_every_match_holds() {
        for (pattern, met, unmet) in [
            ("(?i)union.+select", "xUNION selectx", "UNIO select"),
            ("a|b", "a", "c"),
            ("(?:ab|cd)+e?", "ab", "ac"),
            (r"[0-9]{3}", "777", "77"),
            ("<[^>]*>", "<>", "<"),
        ] {
            let needs = Needs::of(&parse_pattern(pattern).unwrap());
            let holds = |text: &str| needs.met_by(text.len(), ByteSet::of(text.as_bytes()));
            assert!(holds(met), "{pattern} {met}");
            assert!(!holds(unmet) || pattern == "(?:ab|cd)+e?", "{pattern} {unmet}");
        }
        let needs = Needs::of_phrases(&[b"union"[..].into(), b"drop"[..].into()]);
        assert!(needs.met_by(4, ByteSet::of(b"DROP")) && !needs.met_by(3, ByteSet::of(b"DROP")));
    }
}
