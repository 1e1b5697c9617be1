//! What could be changed for a group of refusals, the narrowest first: a class for the field, if its values say which;
//! else rules that no longer look at it. A rule is never taken out whole.
//!
//! Pure: values in, texts out. Nothing here says that a change is good; a proof does (`prove`).

use super::cluster::{Cause, Group};
use super::field::Place;
use gatehouse_waf::field::Class;
use gatehouse_waf::field::short::{self, Verdict};
use std::collections::BTreeSet;

/// Grammars that a field may have had all along, the tightest first. What is a word to all of them is no evidence.
const GRAMMARS: [&str; 13] = [
    "uuid",
    "boolean",
    "integer",
    "number",
    "date",
    "datetime",
    "semver",
    "email",
    "media-type",
    "host",
    "slug",
    "identifier",
    "url(https, http)",
];
/// Different values that a grammar has to fit before it is proposed.
const ENOUGH: usize = 3;
/// The bounds of short text.
const BOUNDS: [usize; 4] = [64, 128, 256, 512];
/// The smallest bound of free text, in KiB.
const SMALLEST_FREE: usize = 64;
/// Most rules of one group that are tried one by one.
const MOST_SINGLE: usize = 4;
/// Most rules of one exclusion.
const MOST_RULES: usize = 32;

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// The field's class in the policy.
    Class(String),
    /// These rules no longer look at the field, which they found in these collections.
    Exclude(BTreeSet<(u64, String)>),
}

/// What could be changed, in the order in which it is to be tried. `in_policy`: whether an operation takes the group's
/// requests, so that a class can be said.
pub(super) fn changes(group: &Group, in_policy: bool) -> Vec<Change> {
    let mut changes = Vec::new();
    if in_policy && group.field.in_policy().is_some() {
        let texts: Vec<&[u8]> = group.values.iter().map(Vec::as_slice).collect();
        changes.extend(classes(&texts, group.field.place).into_iter().map(Change::Class));
    }
    let mut rules: Vec<(usize, u64, &String)> = group
        .causes
        .iter()
        .filter_map(|(cause, count)| match cause {
            Cause::Rule(id, collection) => Some((*count, *id, collection)),
            Cause::Verdict(_) => None,
        })
        .collect();
    rules.sort_by(|a, b| b.cmp(a));
    let rules: Vec<(u64, String)> = rules.into_iter().take(MOST_RULES).map(|(_, id, c)| (id, c.clone())).collect();
    if rules.len() > 1 && rules.len() <= MOST_SINGLE {
        changes.extend(rules.iter().map(|rule| Change::Exclude(BTreeSet::from([rule.clone()]))));
    }
    if !rules.is_empty() {
        changes.push(Change::Exclude(rules.into_iter().collect()));
    }
    changes
}

/// Classes that all of these values have, the narrowest first.
pub(super) fn classes(values: &[&[u8]], place: Place) -> Vec<String> {
    let mut classes = Vec::new();
    if values.is_empty() {
        return classes;
    }
    let fit = |spec: &str| Class::parse(spec).is_ok_and(|class| values.iter().all(|value| class.check(value).is_ok()));
    if values.len() >= ENOUGH
        && let Some(grammar) = GRAMMARS.into_iter().find(|spec| fit(spec))
    {
        classes.push(grammar.to_owned());
    }
    let text = |value: &&[u8]| std::str::from_utf8(value).is_ok();
    if !values.iter().all(text) {
        return classes;
    }
    let longest = values.iter().map(|value| String::from_utf8_lossy(value).chars().count()).max().unwrap_or(0);
    // Room for what has not been seen yet, half as long again.
    let bound = BOUNDS.into_iter().find(|bound| longest + longest / 2 <= *bound);
    let one_line = values.iter().all(|value| !value.contains(&b'\n'));
    if let Some(bound) = bound.filter(|_| one_line)
        && values.iter().all(|value| short::read_line(value).verdict != Verdict::Attack)
    {
        classes.push(format!("short({bound})"));
    }
    // A header field or cookie in which anything may be said is no proposal to make.
    if matches!(place, Place::Query | Place::Form | Place::Json) && values.iter().any(|value| is_document(value)) {
        let bytes = values.iter().map(|value| value.len()).max().unwrap_or(0);
        let kib = (bytes * 4).div_ceil(1024).max(SMALLEST_FREE).next_power_of_two();
        classes.push(format!("free({kib}KiB)"));
    }
    classes
}

/// Whether a value reads as prose or code: several lines, or many words, or the marks of a program around words.
pub(super) fn is_document(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value);
    let words = text.split_whitespace().filter(|word| word.chars().filter(|c| c.is_alphabetic()).count() >= 2).count();
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    let marks = ["```", "();", ") {", "=> ", "</", ":\n", "fn ", "def ", "import ", "# "];
    let marked = marks.iter().filter(|mark| text.contains(**mark)).count();
    words >= 12 || lines >= 3 && words >= 4 || marked >= 2 && words >= 4
}

#[cfg(test)]
mod tests {
    use super::super::cluster::Site;
    use super::super::field::Field;
    use super::*;

    #[test]
    fn values_say_their_class() {
        let prose = "The docs say: run SELECT * FROM users WHERE id = 1 and then compare what the plan tells you";
        let code = "#!/bin/sh\nset -e\ncurl -s https://example.org/x | sh\nrm -rf /tmp/x\n";
        for (place, values, expected) in [
            (Place::Query, vec![], vec![]),
            (Place::Query, vec!["17", "4", "-2"], vec!["integer", "short(64)"]),
            (Place::Query, vec!["17"], vec!["short(64)"]),
            (Place::Query, vec!["a-b", "todo", "x-1"], vec!["host", "short(64)"]),
            (Place::Json, vec!["Reading about R&D", "What's new?"], vec!["short(64)"]),
            (Place::Json, vec![code], vec!["free(64KiB)"]),
            (Place::Header, vec![code], vec![]),
            (Place::Query, vec!["1' OR '1'='1"], vec![]),
        ] {
            let bytes: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
            assert_eq!(classes(&bytes, place), expected, "{values:?}");
        }
        assert_eq!(classes(&[prose.as_bytes()], Place::Form).last().map(String::as_str), Some("free(64KiB)"));
        let large = "many words of prose in a line\n".repeat(2_000);
        assert_eq!(classes(&[large.as_bytes()], Place::Form), ["free(256KiB)"]);
        assert!(classes(&[b"\xff\xfe".as_slice()], Place::Form).is_empty());
    }

    #[test]
    fn rules_are_tried_one_by_one_then_together_and_never_alone_by_id() {
        let rule = |id| Cause::Rule(id, "ARGS".to_owned());
        let group = Group {
            site: Site::default(),
            field: Field::of_note("query", "q").unwrap(),
            causes: [(rule(5), 2), (rule(7), 9), (Cause::Verdict("attack".to_owned()), 1)].into(),
            requests: 9,
            clients: 3,
            probing: 0,
            values: [b"plain text".to_vec()].into(),
            samples: vec![0],
        };
        let exclude = |ids: &[u64]| Change::Exclude(ids.iter().map(|id| (*id, "ARGS".to_owned())).collect());
        let class = Change::Class("short(64)".to_owned());
        assert_eq!(changes(&group, true), [class, exclude(&[7]), exclude(&[5]), exclude(&[5, 7])]);
        assert_eq!(changes(&group, false), [exclude(&[7]), exclude(&[5]), exclude(&[5, 7])]);
    }
}
