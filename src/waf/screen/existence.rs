//! Patterns cut down to what decides whether they match anywhere.
//!
//! A search that is not anchored and asks for no bounds may leave out whatever can be empty at either end of a pattern:
//! every match of `a*b` holds a match of `b`, and every match of `b` is one of `a*b`. So `X*`, `X?` and `X{0,n}` go,
//! `X+` becomes `X` and `X{2,}` becomes `X{2}`, again and again until the ends need a byte. Assertions (`^`, `\b`) stay:
//! what they ask of the text around them is the same wherever the match begins. Groups do not capture.

use regex_syntax::hir::{Hir, HirKind, Repetition};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Last,
}

/// The shortest pattern that matches in the same texts, and whether its matches begin where those of the whole do.
pub(super) fn simplify(hir: Hir) -> (Hir, bool) {
    let hir = trim(hir, End::Last);
    let shorter = trim(hir.clone(), End::First);
    let keeps_start = shorter == hir;
    (shorter, keeps_start)
}

fn trim(hir: Hir, end: End) -> Hir {
    match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Capture(group) => trim(*group.sub, end),
        HirKind::Repetition(repeated) => match repeated.min {
            0 => Hir::empty(),
            1 => trim(*repeated.sub, end),
            least => Hir::repetition(Repetition { min: least, max: Some(least), greedy: true, sub: repeated.sub }),
        },
        HirKind::Concat(mut parts) => {
            if end == End::Last {
                parts.reverse();
            }
            let mut parts = parts.into_iter();
            let mut kept = Vec::with_capacity(parts.len());
            for part in parts.by_ref() {
                let part = trim(part, end);
                if !matches!(part.kind(), HirKind::Empty) {
                    kept.push(part);
                    break;
                }
            }
            kept.extend(parts);
            if end == End::Last {
                kept.reverse();
            }
            Hir::concat(kept)
        }
        HirKind::Alternation(branches) => {
            let branches: Vec<Hir> = branches.into_iter().map(|branch| trim(branch, end)).collect();
            match branches.iter().any(|branch| matches!(branch.kind(), HirKind::Empty)) {
                true => Hir::empty(),
                false => Hir::alternation(branches),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::parse_pattern;

    #[test]
    fn the_ends_need_a_byte() {
        for (pattern, want) in [
            ("a*b", "b"),
            (r"\s*(foo)\s*", "foo"),
            ("(?:x*|y)z", "z"),
            ("a+b{2,}", "ab{2}"),
            ("a{3,5}c", "a{3}c"),
            (r"\ba*b", r"\ba*b"),
            ("^a*b?$", "^a*b?$"),
            ("(?:a*b|cd*)e*", "b|c"),
            ("(?:a?b?)*", ""),
            ("a*(?:b*(?:c?(?:d|e+)))", "d|e"),
        ] {
            let (got, _) = simplify(parse_pattern(pattern).unwrap());
            let want = parse_pattern(want).unwrap();
            assert_eq!(got.to_string(), want.to_string(), "{pattern}");
        }
        for (pattern, keeps) in [("a*b", false), ("ab*", true), ("(?:a|b+)c", false), (r"\ba?b", true), ("(a)b", false)]
        {
            assert_eq!(simplify(parse_pattern(pattern).unwrap()).1, keeps, "{pattern}");
        }
    }
}
