//! What a text must hold for a pattern to match in it at all.
//!
//! A few sets of bytes, of each of which a match holds at least one, and the length of the shortest match: enough to
//! rule most patterns out for most short texts, from the set of the bytes in the text alone.

use crate::byteset::ByteSet;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Most sets kept of a pattern: those that the fewest texts hold.
const SETS: usize = 4;

/// The conditions of one pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needs {
    length: usize,
    sets: Vec<ByteSet>,
}

impl Needs {
    pub(super) fn of(hir: &Hir) -> Self {
        let mut sets = sets(hir);
        sets.sort_by_key(|set| commonness(*set));
        sets.dedup();
        sets.truncate(SETS);
        Self { length: hir.properties().minimum_len().unwrap_or(0), sets }
    }

    /// Of phrases in lower case, found in any case.
    pub(super) fn of_phrases(phrases: &[Box<[u8]>]) -> Self {
        let length = phrases.iter().map(|phrase| phrase.len()).min().unwrap_or(0);
        let rarest = |phrase: &[u8]| phrase.iter().map(|byte| any_case(*byte)).min_by_key(|set| commonness(*set));
        let union = phrases.iter().filter_map(|phrase| rarest(phrase)).fold(ByteSet::EMPTY, ByteSet::union);
        Self { length, sets: vec![union] }
    }

    /// Whether a text of this length with these bytes may hold a match.
    pub(super) fn met_by(&self, length: usize, bytes: ByteSet) -> bool {
        length >= self.length && self.sets.iter().all(|set| set.meets(bytes))
    }
}

fn any_case(byte: u8) -> ByteSet {
    ByteSet::of(&[byte.to_ascii_lowercase(), byte.to_ascii_uppercase()])
}

/// How likely a text is to hold one of these bytes: a guess that only decides which conditions are kept.
fn commonness(set: ByteSet) -> u32 {
    let weight = |byte: u8| match byte {
        b'a'..=b'z' | b' ' => 40,
        b'A'..=b'Z' | b'0'..=b'9' => 15,
        b'.' | b',' | b'-' | b'_' | b'/' | b':' => 10,
        b'!'..=b'~' => 3,
        b'\n' => 3,
        _ => 1,
    };
    (0..=u8::MAX).filter(|byte| set.contains(*byte)).map(weight).sum()
}

fn sets(hir: &Hir) -> Vec<ByteSet> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Vec::new(),
        HirKind::Literal(literal) => literal.0.iter().map(|byte| ByteSet::of(&[*byte])).collect(),
        HirKind::Class(Class::Bytes(class)) => {
            let holds = |byte: u8| class.iter().any(|range| (range.start()..=range.end()).contains(&byte));
            vec![ByteSet::of_those(holds)]
        }
        // Patterns are compiled for bytes; a class of characters would say nothing here.
        HirKind::Class(Class::Unicode(class)) => {
            let holds = |byte: u8| {
                class
                    .iter()
                    .any(|range| (range.start()..=range.end()).contains(&char::from(byte)) || !range.end().is_ascii())
            };
            vec![ByteSet::of_those(holds)]
        }
        HirKind::Repetition(repeated) if repeated.min == 0 => Vec::new(),
        HirKind::Repetition(repeated) => sets(&repeated.sub),
        HirKind::Capture(group) => sets(&group.sub),
        HirKind::Concat(parts) => {
            let mut all: Vec<ByteSet> = parts.iter().flat_map(sets).collect();
            all.sort_by_key(|set| commonness(*set));
            all.dedup();
            all.truncate(2 * SETS);
            all
        }
        // Of each branch its rarest, for a match goes through one of them.
        HirKind::Alternation(branches) => {
            let rarest = |branch: &Hir| sets(branch).into_iter().min_by_key(|set| commonness(*set));
            let all: Option<Vec<ByteSet>> = branches.iter().map(rarest).collect();
            all.map(|all| vec![all.into_iter().fold(ByteSet::EMPTY, ByteSet::union)]).unwrap_or_default()
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
            (r"x*", "", "y"),
            ("<[^>]*>", "<>", "<"),
        ] {
            let needs = Needs::of(&parse_pattern(pattern).unwrap());
            let holds = |text: &str| needs.met_by(text.len(), ByteSet::of(text.as_bytes()));
            assert!(holds(met), "{pattern} {met}");
            assert!(!holds(unmet) || pattern == "x*" || pattern == "(?:ab|cd)+e?", "{pattern} {unmet}");
        }
        let needs = Needs::of_phrases(&[b"union"[..].into(), b"drop"[..].into()]);
        assert!(needs.met_by(4, ByteSet::of(b"DROP")) && !needs.met_by(3, ByteSet::of(b"DROP")));
    }
}
