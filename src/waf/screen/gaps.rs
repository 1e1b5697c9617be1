//! Patterns cut where anything may stand between what they ask for.
//!
//! `a.*b` matches somewhere if `a` does and `b` does behind its end: two small questions, where one automaton would have
//! to read from every `a` to the end of the text. So a pattern becomes ways, any of which is enough, and a way becomes
//! parts that follow each other with a gap (`.*`, of all bytes) between: `(?:a.*|c)b` is `a` … `b`, or `cb`. What the
//! first match of a part leaves to the next is most when it ends first, so looking for each part's earliest end decides.

use super::existence::simplify;
use regex_syntax::hir::{Class, Dot, Hir, HirKind, Look, Repetition};

/// Most ways of a pattern; one with more stays whole.
const MOST: usize = 8;

/// Parts that follow each other. Of each whether its matches begin where those of the uncut pattern may.
pub(super) type Way = Vec<(Hir, bool)>;

/// The ways of a pattern that has been simplified; one way of one part if it has no gap or cannot be cut.
pub(super) fn ways(pattern: &Hir) -> Vec<Way> {
    let cut = cut(pattern).filter(|ways| ways.len() <= MOST).map(|ways| ways.into_iter().map(settle).collect());
    let ways: Vec<Way> = cut.unwrap_or_default();
    // A way that asks for no byte has nothing to be found by.
    let unusable = |way: &Way| way.is_empty() || way.iter().any(|(part, _)| needs_nothing(part));
    if ways.is_empty() || ways.iter().any(unusable) { vec![vec![simplify(pattern.clone())]] } else { ways }
}

/// Each way as its parts, some of them empty.
fn cut(pattern: &Hir) -> Option<Vec<Vec<Hir>>> {
    if !has_gap(pattern) {
        return Some(vec![vec![pattern.clone()]]);
    }
    match pattern.kind() {
        HirKind::Capture(group) => cut(&group.sub),
        HirKind::Repetition(gap) if is_gap(pattern) => Some(vec![vec![times(gap), Hir::empty()]]),
        HirKind::Repetition(once) if once.max == Some(1) => {
            let mut ways = cut(&once.sub)?;
            if once.min == 0 {
                ways.push(vec![Hir::empty()]);
            }
            Some(ways)
        }
        HirKind::Concat(parts) => parts.iter().try_fold(vec![vec![Hir::empty()]], |ways, part| {
            let next = cut(part)?;
            let joined = ways.iter().flat_map(|way| next.iter().map(|next| join(way, next))).collect::<Vec<_>>();
            (joined.len() <= MOST).then_some(joined)
        }),
        HirKind::Alternation(branches) => {
            let (gapless, with): (Vec<&Hir>, Vec<&Hir>) = branches.iter().partition(|branch| !has_gap(branch));
            let together = Hir::alternation(gapless.into_iter().cloned().collect());
            let mut ways: Vec<Vec<Hir>> = Vec::new();
            for branch in with {
                ways.extend(cut(branch)?);
            }
            if branches.iter().any(|branch| !has_gap(branch)) {
                ways.push(vec![together]);
            }
            Some(ways)
        }
        // A gap that comes again and again.
        _ => Some(vec![vec![pattern.clone()]]),
    }
}

/// One way behind the other: the last part of the first goes on in the first of the second.
fn join(way: &[Hir], next: &[Hir]) -> Vec<Hir> {
    let mut joined = way.to_vec();
    let (Some(last), Some((first, rest))) = (joined.pop(), next.split_first()) else { return joined };
    joined.push(Hir::concat(vec![last, first.clone()]));
    joined.extend_from_slice(rest);
    joined
}

/// Parts without what decides nothing; one that only looks at the place where it stands goes back to the one before.
fn settle(parts: Vec<Hir>) -> Way {
    let mut way: Vec<(Hir, bool)> = Vec::new();
    let last = parts.len().saturating_sub(1);
    for (place, part) in parts.into_iter().enumerate() {
        let (simple, keeps_start) = simplify(part.clone());
        match simple.kind() {
            HirKind::Empty => continue,
            // There is a start before everything, and an end behind it.
            HirKind::Look(Look::Start) if place == 0 => continue,
            HirKind::Look(Look::End) if place == last => continue,
            _ => {}
        }
        match way.last_mut() {
            Some((before, _)) if needs_nothing(&simple) => {
                *before = simplify(Hir::concat(vec![before.clone(), gap(), part])).0;
            }
            _ => way.push((simple, keeps_start && place == 0)),
        }
    }
    way
}

fn needs_nothing(part: &Hir) -> bool {
    part.properties().minimum_len().is_none_or(|least| least == 0)
}

/// Whether a pattern is `.*`, `.+` or the like, where `.` is any byte.
fn is_gap(pattern: &Hir) -> bool {
    let HirKind::Repetition(repeated) = pattern.kind() else { return false };
    let HirKind::Class(Class::Bytes(class)) = repeated.sub.kind() else { return false };
    let any = matches!(class.ranges(), [all] if all.start() == 0 && all.end() == u8::MAX);
    any && repeated.max.is_none()
}

/// Whether there is a gap anywhere in a pattern.
pub(super) fn has_gap(pattern: &Hir) -> bool {
    is_gap(pattern)
        || match pattern.kind() {
            HirKind::Capture(group) => has_gap(&group.sub),
            HirKind::Repetition(repeated) => has_gap(&repeated.sub),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(has_gap),
            _ => false,
        }
}

/// The bytes that a gap asks for.
fn times(gap: &Repetition) -> Hir {
    match gap.min {
        0 => Hir::empty(),
        least => Hir::repetition(Repetition { min: least, max: Some(least), greedy: true, sub: gap.sub.clone() }),
    }
}

fn gap() -> Hir {
    Hir::repetition(Repetition { min: 0, max: None, greedy: true, sub: Box::new(Hir::dot(Dot::AnyByte)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::parse_pattern;

    #[test]
    fn gaps_cut() {
        for (pattern, want) in [
            ("ab", "ab"),
            ("a.*b", "a … b"),
            ("a.+?b", "a(?s-u:.) … b"),
            ("(?:a.*|c|dd)b", "a … b | (?:c|dd)b"),
            ("x(a.*)?b", "xa … b | xb"),
            (r"a.*\b", r"a(?s-u:.)*\b"),
            (r"^.*a.*$", "a"),
            ("(?:a.*b)+c", "a … bc"),
            ("x(?:a.*b)+c", "x(?:a.*b)+c"),
            ("a[^;]*b", "a[^;]*b"),
            ("a.{0,9}b", "a(?s-u:.){0,9}b"),
            ("a?.*c*b", "b"),
            (r"a(?:b.*?|c.*?)?[de]*f", "ab … f | ac … f | a[de]*f"),
        ] {
            let pattern_of = |text: &str| parse_pattern(text).unwrap().to_string();
            let got: Vec<String> = ways(&simplify(parse_pattern(pattern).unwrap()).0)
                .iter()
                .map(|way| way.iter().map(|(part, _)| part.to_string()).collect::<Vec<_>>().join(" … "))
                .collect();
            let parts = |way: &str| way.split(" … ").map(pattern_of).collect::<Vec<_>>().join(" … ");
            assert_eq!(got.join(" | "), want.split(" | ").map(parts).collect::<Vec<_>>().join(" | "), "{pattern}");
        }
        let many = format!("(?:{})z", (0..20).map(|n| format!("{n}x.*")).collect::<Vec<_>>().join("|"));
        assert_eq!(ways(&parse_pattern(&many).unwrap()).len(), 1);
    }
}
