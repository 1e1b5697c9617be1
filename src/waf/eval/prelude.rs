//! The part of phase 1 that comes out the same for every request, run once when the rules are loaded.
//!
//! A rule set begins by giving its variables their defaults: rules that look at TX alone and change TX alone. What they
//! do depends on nothing a request brings, so their result is kept and every transaction begins with it. Rules among
//! them that look at the message, but neither read nor write TX, still run, in their order; the first rule that is of
//! neither kind ends the prelude.

use super::Connection;
use super::message::Message;
use super::outcome::Outcome;
use super::run::{Run, Workspace};
use super::state::{Matched, State, Tx};
use super::texts::Texts;
use crate::action::Phase;
use crate::plan::Positions;
use crate::ruleset::{Change, Effect, Link, Mode, Piece, Rule, Ruleset, Template, TxName, Verdict};
use crate::variable::{Selector, Variable};
use std::collections::BTreeSet;

/// What the prelude leaves behind.
#[derive(Debug)]
pub(crate) struct Prelude {
    /// The position in phase 1 where it ends.
    pub(super) end: usize,
    /// The positions before that which still have to run.
    pub(super) between: Positions,
    pub(super) tx: Tx,
    /// MATCHED_VAR, and the position of the rule that it is from.
    pub(super) last: Option<(usize, Matched)>,
    pub(super) highest_severity: Option<u8>,
    /// What it read, in bytes.
    pub(super) work: u64,
}

impl Prelude {
    /// The prelude of a rule set; `None` where it begins otherwise.
    pub(super) fn of(rules: &Ruleset) -> Option<Self> {
        let connection = Connection::nobody();
        let mut state = State::new(rules, Mode::On);
        let mut run = Run {
            rules,
            connection: &connection,
            message: &Message::new(),
            texts: &mut Texts::default(),
            state: &mut state,
            outcome: &mut Outcome::new(rules.settings.audit_engine),
            workspace: &mut Workspace::default(),
            phase: Phase::RequestHeaders,
            only_hot: false,
        };
        let list = rules.phases.first()?;
        let (mut at, mut ran, mut last_at) = (0, 0, 0);
        let (mut between, mut removable) = (Positions::default(), BTreeSet::new());
        while let Some((number, rule)) = list.get(at).and_then(|n| Some((*n, rules.rules.get(*n)?))) {
            let links = rules.links.get(rule.links.clone())?;
            if links.iter().all(leaves_tx_alone) && passes(rule) {
                between.insert(at);
                links.iter().flat_map(|link| &link.effects).for_each(|effect| removable.extend(removed(rules, effect)));
                at += 1;
                continue;
            }
            // A chain whose first link fails is done, whatever the others look at or would do.
            let Some(first) = links.get(..1).filter(|first| first.iter().all(looks_only_at_tx)) else { break };
            if rule.needs_groups || removable.contains(&number) {
                break;
            }
            let only_tx = links.iter().all(|link| looks_only_at_tx(link) && changes_only_tx(link));
            let (tx, last, work) = (run.state.tx.clone(), run.state.last.take(), run.state.work);
            run.workspace.dry = !only_tx;
            let matches = run.chain(number, rule, if only_tx { links } else { first });
            let speaks = !only_tx || rule.log || rule.audit_log || !matches!(rule.verdict, Verdict::Pass);
            if matches && speaks || run.state.tx.full {
                // What it says or looks at next belongs to a request.
                (run.state.tx, run.state.last, run.state.work) = (tx, last, work);
                break;
            }
            ran += 1;
            if run.state.last.is_some() {
                last_at = at;
            } else {
                run.state.last = last;
            }
            if matches {
                run.record(number, rule);
            }
            at = rule.jump.filter(|_| matches).unwrap_or(at + 1);
        }
        let State { tx, last, highest_severity, work, .. } = state;
        let last = last.map(|last| (last_at, last));
        (ran > 0).then_some(Self { end: at, between, tx, last, highest_severity, work })
    }
}

/// Whether what a link finds depends on TX alone.
fn looks_only_at_tx(link: &Link) -> bool {
    let targets = link.targets.iter().all(|target| {
        target.variable == Variable::Tx && matches!(target.selector, Selector::Name(_)) && target.exclusions.is_empty()
    });
    let argument = link.test.as_ref().and_then(|test| test.argument.as_ref());
    targets && !link.capture && argument.is_none_or(is_of_tx)
}

/// Whether a link changes TX alone, by what is in TX.
fn changes_only_tx(link: &Link) -> bool {
    let of_tx = |change: &Change| match change {
        Change::Constant(_) | Change::Unset => true,
        Change::Assign(text) | Change::Add(text) | Change::Subtract(text) => is_of_tx(text),
    };
    link.effects.iter().all(|effect| match effect {
        Effect::SetTx { name: TxName::Slot(_), change } => of_tx(change),
        Effect::SetTx { name: TxName::Named(name), change } => is_of_tx(name) && of_tx(change),
        _ => false,
    })
}

/// Whether a link neither reads nor writes TX, nor anything that decides how rules run.
fn leaves_tx_alone(link: &Link) -> bool {
    let reads = |variable: Variable| {
        matches!(
            variable,
            Variable::Tx
                | Variable::MatchedVar
                | Variable::MatchedVarName
                | Variable::MatchedVars
                | Variable::MatchedVarsNames
        )
    };
    let effects = link.effects.iter().all(|effect| {
        !matches!(
            effect,
            Effect::SetTx { .. }
                | Effect::SetStored { .. }
                | Effect::Expire { .. }
                | Effect::Open { .. }
                | Effect::Mode(_)
        )
    });
    let Some(test) = &link.test else { return false };
    effects && !link.capture && test.argument.is_none() && !link.targets.iter().any(|target| reads(target.variable))
}

/// Whether what a rule decides leaves the others their turn, and what it says of itself does not depend on TX.
fn passes(rule: &Rule) -> bool {
    let texts = rule.msg.iter().chain(&rule.logdata).chain(rule.tags.iter().flatten());
    let reads_tx =
        |text: &Template| text.0.iter().any(|piece| matches!(piece, Piece::Tx(_) | Piece::Variable(Variable::Tx, _)));
    matches!(rule.verdict, Verdict::Pass)
        && rule.jump.is_none()
        && !rule.needs_groups
        && !texts.into_iter().any(reads_tx)
}

/// The rules that an effect takes out or changes.
fn removed(rules: &Ruleset, effect: &Effect) -> Vec<usize> {
    match effect {
        Effect::RemoveRules(numbers) => numbers.to_vec(),
        Effect::RemoveTargets(number) => rules.removals.get(*number).map_or(Vec::new(), |r| r.rules.to_vec()),
        _ => Vec::new(),
    }
}

fn is_of_tx(template: &Template) -> bool {
    template.0.iter().all(|piece| matches!(piece, Piece::Literal(_) | Piece::Tx(_)))
}
