//! Which rules need all of what the last match caught, `TX:0` to `TX:9`.
//!
//! Most rules that capture only log the whole match, and of that only so much; finding its groups, or where a long one
//! ends, costs far more. For the others it is found when they come to run.

use crate::operator::GROUPS;
use crate::ruleset::{Change, Effect, Link, Piece, Rule, Target, Template, TxName, Verdict};
use crate::variable::{Selector, Variable};

/// Whether a rule with these links reads or sets a group, or reads the whole match other than to log it.
pub(super) fn needed(rule: &Rule, links: &[Link]) -> bool {
    let mut logged = rule.msg.iter().chain(&rule.logdata).chain(rule.tags.iter().flat_map(|tags| tags.iter()));
    logged.any(|text| reads_from(1, text))
        || matches!(&rule.verdict, Verdict::Redirect(location, _) if reads(location))
        || links.iter().any(|link| {
            link.targets.iter().any(looks)
                || link.test.as_ref().and_then(|test| test.argument.as_ref()).is_some_and(reads)
                || link.effects.iter().any(touches)
        })
}

fn is_group(slot: usize) -> bool {
    (0..GROUPS).contains(&slot)
}

fn takes_a_group(first: usize, selector: &Selector) -> bool {
    (first..GROUPS).any(|group| selector.takes(group.to_string().as_bytes()))
}

fn looks(target: &Target) -> bool {
    target.variable == Variable::Tx && takes_a_group(0, &target.selector)
}

fn reads(template: &Template) -> bool {
    reads_from(0, template)
}

/// Whether a text holds one of the groups from the `first` on.
fn reads_from(first: usize, template: &Template) -> bool {
    template.0.iter().any(|piece| match piece {
        Piece::Literal(_) => false,
        Piece::Tx(slot) => (first..GROUPS).contains(slot),
        Piece::Variable(variable, selector) => *variable == Variable::Tx && takes_a_group(first, selector),
    })
}

fn touches(effect: &Effect) -> bool {
    match effect {
        // A name made at run time may be that of a group.
        Effect::SetTx { name: TxName::Named(_), .. } => true,
        Effect::SetTx { name: TxName::Slot(slot), change } => is_group(*slot) || changes_by(change),
        Effect::SetStored { name, change, .. } => reads(name) || changes_by(change),
        Effect::Expire { name, seconds, .. } => reads(name) || reads(seconds),
        Effect::Open { key, .. } => reads(key),
        _ => false,
    }
}

fn changes_by(change: &Change) -> bool {
    match change {
        Change::Assign(text) | Change::Add(text) | Change::Subtract(text) => reads(text),
        Change::Constant(_) | Change::Unset => false,
    }
}
