//! What a matching value changes: TX, persistent collections, the engine itself.

use std::time::Duration;

use super::run::Run;
use super::state::number;
use super::trace::Tracer;
use crate::action::Store;
use crate::ruleset::{Change, Effect, Link, Template, TxName};

/// Longest life `expirevar` can give: a year.
const MAX_LIFE_SECONDS: u64 = 365 * 86_400;

impl Run<'_> {
    /// Runs the effects of a link, in the order written.
    pub(super) fn effects(&mut self, link: &Link) {
        for effect in &link.effects {
            self.effect(effect);
        }
    }

    fn effect(&mut self, effect: &Effect) {
        match effect {
            Effect::SetTx { name, change } if self.workspace.trace.as_ref().is_some_and(Tracer::wants_sets) => {
                let name = match name {
                    TxName::Slot(slot) => self.rules.tx.name(*slot).to_vec(),
                    TxName::Named(name) => self.expanded(name),
                };
                let before = self.state.tx.named(self.rules, &name).map(<[u8]>::to_vec);
                self.set_tx(&name, change);
                self.trace_set(&name, before);
            }
            Effect::SetTx { name: TxName::Slot(slot), change } => self.change_slot(*slot, change),
            Effect::SetTx { name: TxName::Named(name), change } => {
                let name = self.expanded(name);
                self.set_tx(&name, change);
            }
            Effect::SetStored { store, name, change } => self.change_stored(*store, name, change),
            Effect::Expire { store, name, seconds } => {
                let (name, seconds) = (self.expanded(name), self.view().expand_number(seconds));
                let seconds = u64::try_from(seconds).unwrap_or(0).min(MAX_LIFE_SECONDS);
                if let Some(key) = self.state.key(*store) {
                    let at = self.connection.now + Duration::from_secs(seconds);
                    self.rules.collections.expire(*store, key, &name, at);
                }
            }
            Effect::Open { store, key } => {
                let key = self.expanded(key);
                self.state.opened.retain(|(s, _)| s != store);
                self.state.opened.push((*store, key));
            }
            Effect::RemoveRules(numbers) => self.state.remove(self.rules, numbers),
            Effect::RemoveTargets(number) => {
                if !self.state.target_removals.contains(number) {
                    self.state.target_removals.push(*number);
                }
            }
            Effect::Mode(mode) => self.state.mode = *mode,
            Effect::Audit(audit) => self.outcome.audit = *audit,
            Effect::Processor(processor) => self.state.processor = Some(*processor),
            Effect::ForceRequestBody(force) => self.state.force_request_body = *force,
            Effect::RequestBodyAccess(access) => self.state.request_body_access = *access,
            Effect::ResponseBodyAccess(access) => self.state.response_body_access = *access,
        }
    }

    fn set_tx(&mut self, name: &[u8], change: &Change) {
        match self.rules.tx.slot(name) {
            Some(slot) => self.change_slot(slot, change),
            None => {
                let adds = matches!(change, Change::Add(_) | Change::Subtract(_));
                let present = if adds { self.state.tx.named(self.rules, name).map(number) } else { None };
                let value = self.changed(present, change);
                self.state.tx.set_named(self.rules, name, value.as_deref());
            }
        }
    }

    fn change_slot(&mut self, slot: usize, change: &Change) {
        if let Change::Constant(constant) = change {
            return self.state.tx.set_constant(slot, *constant);
        }
        let present = self.state.tx.slot(self.rules, slot).map(number);
        match self.changed(present, change) {
            Some(value) => self.state.tx.set_slot(slot, &value),
            None => self.state.tx.unset_slot(slot),
        }
    }

    /// The new value of a variable whose present value starts with `present`; `None` removes it.
    fn changed(&mut self, present: Option<i64>, change: &Change) -> Option<Vec<u8>> {
        let sum = |amount: i64| present.unwrap_or(0).saturating_add(amount).to_string().into_bytes();
        match change {
            Change::Constant(constant) => self.rules.constants.get(*constant).map(|c| c.to_vec()),
            Change::Assign(template) => Some(self.expanded(template)),
            Change::Add(amount) => Some(sum(self.view().expand_number(amount))),
            Change::Subtract(amount) => Some(sum(self.view().expand_number(amount).saturating_neg())),
            Change::Unset => None,
        }
    }

    /// Adding to a stored counter happens in one step, so that concurrent transactions lose nothing.
    fn change_stored(&mut self, store: Store, name: &Template, change: &Change) {
        let name = self.expanded(name);
        let amount = match change {
            Change::Add(amount) => Some(self.view().expand_number(amount)),
            Change::Subtract(amount) => Some(self.view().expand_number(amount).saturating_neg()),
            _ => None,
        };
        let value = if amount.is_none() { self.changed(None, change) } else { None };
        let Some(key) = self.state.key(store) else { return };
        self.rules.collections.change((store, key), &name, self.connection.now, |present| match amount {
            Some(amount) => Some(present.map_or(0, number).saturating_add(amount).to_string().into_bytes()),
            None => value,
        });
    }
}
