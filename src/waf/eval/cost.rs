//! What a transaction cost, rule by rule, for those who look for the dear ones.
//!
//! Counted in bytes read, as the work limit counts: the same for the same request on every machine.

use crate::ruleset::Ruleset;
use std::collections::BTreeMap;

/// Bytes that a transaction's rules have read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Costs {
    /// By transformations, for all rules together: each distinct result is computed once.
    pub transformations: u64,
    /// By the passes that ask for all patterns at once.
    pub passes: u64,
    /// By each rule's own operators, with its id; the dearest first. Rules with one operator share its cost.
    pub rules: Vec<(u64, u64)>,
}

/// Counts them.
#[derive(Debug, Default)]
pub(super) struct Counter {
    pub(super) passes: u64,
    by_operator: BTreeMap<usize, u64>,
    by_rule: BTreeMap<usize, u64>,
}

impl Counter {
    /// An operator has read so many bytes to find out whether its rules can match.
    pub(super) fn operator(&mut self, operator: usize, bytes: u64) {
        *self.by_operator.entry(operator).or_default() += bytes;
    }

    /// A rule has run, and its operators have read so many bytes.
    pub(super) fn rule(&mut self, rule: usize, bytes: u64) {
        *self.by_rule.entry(rule).or_default() += bytes;
    }

    pub(super) fn costs(&self, rules: &Ruleset, transformations: u64) -> Costs {
        let mut by_rule = self.by_rule.clone();
        for (operator, bytes) in &self.by_operator {
            let heads = rules.rules.iter().enumerate().filter(|(_, rule)| {
                let head = rules.links.get(rule.links.start).and_then(|link| link.test.as_ref());
                head.is_some_and(|test| test.operator == *operator)
            });
            let askers: Vec<usize> = heads.map(|(number, _)| number).collect();
            for rule in &askers {
                *by_rule.entry(*rule).or_default() += bytes / askers.len() as u64;
            }
        }
        let mut costs: Vec<(u64, u64)> = by_rule
            .into_iter()
            .filter_map(|(rule, bytes)| Some((rules.infos.get(rule)?.id, bytes)))
            .filter(|(_, bytes)| *bytes > 0)
            .collect();
        costs.sort_by_key(|(id, bytes)| (std::cmp::Reverse(*bytes), *id));
        Costs { transformations, passes: self.passes, rules: costs }
    }
}
