//! Which rules need the groups of the last match, `TX:1` to `TX:9`.
//!
//! Finding where a match lies is cheap beside finding its groups, and most rules that capture only log the whole match.
//! For the others the groups are found when they come to run.

use crate::operator::GROUPS;
use crate::ruleset::{Change, Effect, Link, Piece, Rule, Target, Template, TxName, Verdict};
use crate::variable::{Selector, Variable};

/// Whether a rule with these links reads or sets a group.
pub(super) fn needed(rule: &Rule, links: &[Link]) -> bool {
    let texts = rule.msg.iter().chain(&rule.logdata).chain(rule.tags.iter().flat_map(|tags| tags.iter()));
    texts.into_iter().any(reads)
        || matches!(&rule.verdict, Verdict::Redirect(location, _) if reads(location))
        || links.iter().any(|link| {
            link.targets.iter().any(looks)
                || link.test.as_ref().and_then(|test| test.argument.as_ref()).is_some_and(reads)
                || link.effects.iter().any(touches)
        })
}

fn is_group(slot: usize) -> bool {
    (1..GROUPS).contains(&slot)
}

fn takes_a_group(selector: &Selector) -> bool {
    (1..GROUPS).any(|group| selector.takes(group.to_string().as_bytes()))
}

fn looks(target: &Target) -> bool {
    target.variable == Variable::Tx && takes_a_group(&target.selector)
}

fn reads(template: &Template) -> bool {
    template.0.iter().any(|piece| match piece {
        Piece::Literal(_) => false,
        Piece::Tx(slot) => is_group(*slot),
        Piece::Variable(variable, selector) => *variable == Variable::Tx && takes_a_group(selector),
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
