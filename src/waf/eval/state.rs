//! What rules remember during one transaction: TX, what matched last, and what `ctl` changed.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::texts::{TextId, Texts};
use crate::action::{Processor, Store};
use crate::plan::Watched;
use crate::ruleset::{Mode, Ruleset, TxNames};
use crate::variable::Variable;

/// A short value, most often a number, without an allocation.
pub(super) type Bytes = SmallVec<[u8; 24]>;

/// Most TX variables whose names are made at run time.
const MAX_DYNAMIC: usize = 16_384;
/// Most bytes in all TX variables together.
const MAX_TX_BYTES: usize = 32 << 20;

/// The value of a TX variable.
#[derive(Debug, Clone, Default)]
enum TxValue {
    #[default]
    Unset,
    /// A text of the rule set, by number.
    Constant(usize),
    Own(Bytes),
}

/// The TX collection.
#[derive(Debug, Clone)]
pub(super) struct Tx {
    /// By slot.
    slots: Vec<TxValue>,
    /// Names that no rule writes out, in the case of their first use, and values.
    dynamic: Vec<(Box<[u8]>, TxValue)>,
    /// Lower-case name → position in `dynamic`.
    positions: HashMap<Box<[u8]>, usize>,
    bytes: usize,
    /// Whether a limit kept something from being stored.
    pub(super) full: bool,
}

impl Tx {
    pub(super) fn new(names: &TxNames) -> Self {
        Self {
            slots: vec![TxValue::Unset; names.len()],
            dynamic: Vec::new(),
            positions: HashMap::new(),
            bytes: 0,
            full: false,
        }
    }

    fn read<'a>(value: &'a TxValue, rules: &'a Ruleset) -> Option<&'a [u8]> {
        match value {
            TxValue::Unset => None,
            TxValue::Constant(number) => rules.constants.get(*number).map(|c| &**c),
            TxValue::Own(bytes) => Some(bytes),
        }
    }

    pub(super) fn slot<'a>(&'a self, rules: &'a Ruleset, slot: usize) -> Option<&'a [u8]> {
        Self::read(self.slots.get(slot)?, rules)
    }

    pub(super) fn named<'a>(&'a self, rules: &'a Ruleset, name: &[u8]) -> Option<&'a [u8]> {
        if let Some(slot) = rules.tx.slot(name) {
            return self.slot(rules, slot);
        }
        let position = self.positions.get(name.to_ascii_lowercase().as_slice())?;
        Self::read(&self.dynamic.get(*position)?.1, rules)
    }

    /// Whether any of these variables is set.
    pub(super) fn has_any(&self, rules: &Ruleset, watched: &Watched) -> bool {
        watched.slots.iter().any(|slot| self.slot(rules, *slot).is_some())
            || self.dynamic(rules).any(|(name, _)| watched.selectors.iter().any(|selector| selector.takes(name)))
    }

    /// The variables whose names no rule writes out.
    pub(super) fn dynamic<'a>(&'a self, rules: &'a Ruleset) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.dynamic.iter().filter_map(|(name, value)| Some((&**name, Self::read(value, rules)?)))
    }

    pub(super) fn set_constant(&mut self, slot: usize, constant: usize) {
        self.replace_slot(slot, TxValue::Constant(constant));
    }

    pub(super) fn set_slot(&mut self, slot: usize, value: &[u8]) {
        if self.fits(value.len()) {
            self.replace_slot(slot, TxValue::Own(Bytes::from_slice(value)));
        }
    }

    pub(super) fn unset_slot(&mut self, slot: usize) {
        self.replace_slot(slot, TxValue::Unset);
    }

    /// Sets or, with `None`, unsets a variable by a name made at run time.
    pub(super) fn set_named(&mut self, rules: &Ruleset, name: &[u8], value: Option<&[u8]>) {
        if !self.fits(value.map_or(0, <[u8]>::len) + name.len()) {
            return;
        }
        let value = value.map_or(TxValue::Unset, |v| TxValue::Own(Bytes::from_slice(v)));
        if let Some(slot) = rules.tx.slot(name) {
            return self.replace_slot(slot, value);
        }
        let lower = name.to_ascii_lowercase().into_boxed_slice();
        if let Some((_, old)) = self.positions.get(&lower).and_then(|position| self.dynamic.get_mut(*position)) {
            self.bytes = self.bytes.saturating_sub(length(old)) + length(&value);
            *old = value;
        } else if self.dynamic.len() >= MAX_DYNAMIC {
            self.full = true;
        } else {
            self.bytes += name.len() + length(&value);
            self.positions.insert(lower, self.dynamic.len());
            self.dynamic.push((name.into(), value));
        }
    }

    fn replace_slot(&mut self, slot: usize, value: TxValue) {
        if let Some(old) = self.slots.get_mut(slot) {
            self.bytes = self.bytes.saturating_sub(length(old)) + length(&value);
            *old = value;
        }
    }

    fn fits(&mut self, more: usize) -> bool {
        let fits = self.bytes.saturating_add(more) <= MAX_TX_BYTES;
        self.full |= !fits;
        fits
    }
}

fn length(value: &TxValue) -> usize {
    match value {
        TxValue::Own(bytes) => bytes.len(),
        TxValue::Unset | TxValue::Constant(_) => 0,
    }
}

/// Bytes that outlive the buffers they were found in.
#[derive(Debug, Clone)]
pub(super) enum Held {
    Text(TextId),
    Own(Bytes),
    /// The name of a TX slot.
    Slot(usize),
    Static(&'static str),
    None,
}

impl Held {
    pub(super) fn get<'a>(&'a self, texts: &'a Texts, rules: &'a Ruleset) -> Option<&'a [u8]> {
        match self {
            Self::Text(id) => Some(texts.get(*id)),
            Self::Own(bytes) => Some(bytes),
            Self::Slot(slot) => Some(rules.tx.name(*slot)),
            Self::Static(text) => Some(text.as_bytes()),
            Self::None => None,
        }
    }
}

/// A value that matched.
#[derive(Debug, Clone)]
pub(super) struct Matched {
    pub(super) variable: Variable,
    pub(super) key: Held,
    pub(super) value: Held,
}

impl Matched {
    /// Its name, as in `ARGS:x`.
    pub(super) fn write_name(&self, texts: &Texts, rules: &Ruleset, out: &mut Vec<u8>) {
        out.extend_from_slice(self.variable.name().as_bytes());
        if let Some(key) = self.key.get(texts, rules) {
            out.push(b':');
            out.extend_from_slice(key);
        }
    }
}

/// All of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) mode: Mode,
    pub(super) tx: Tx,
    /// MATCHED_VAR: the last value that matched.
    pub(super) last: Option<Matched>,
    /// The text and the operator of the last match, if not all that it caught has been found yet.
    pub(super) groups: Option<(TextId, usize)>,
    /// MATCHED_VARS: what the links of the present rule matched so far.
    pub(super) matched: Vec<Matched>,
    /// For each rule whether `ctl` removed it; empty while none is.
    removed: Vec<bool>,
    /// Numbers in [`Ruleset::removals`] that are in force.
    pub(super) target_removals: Vec<usize>,
    pub(super) processor: Option<Processor>,
    pub(super) force_request_body: bool,
    pub(super) request_body_access: bool,
    pub(super) response_body_access: bool,
    /// The keys of the persistent collections that were opened.
    pub(super) opened: Vec<(Store, Vec<u8>)>,
    /// The least number (gravest) of the severities that matched.
    pub(super) highest_severity: Option<u8>,
    /// Number of the rule that is running.
    pub(super) rule: usize,
    /// Bytes that operators have read.
    pub(super) work: u64,
}

impl State {
    pub(super) fn new(rules: &Ruleset, mode: Mode) -> Self {
        let settings = &rules.settings;
        Self {
            mode,
            tx: Tx::new(&rules.tx),
            last: None,
            groups: None,
            matched: Vec::new(),
            removed: Vec::new(),
            target_removals: Vec::new(),
            processor: None,
            force_request_body: false,
            request_body_access: settings.request_body_access,
            response_body_access: settings.response_body_access,
            opened: Vec::new(),
            highest_severity: None,
            rule: 0,
            work: 0,
        }
    }

    pub(super) fn remove(&mut self, rules: &Ruleset, numbers: &[usize]) {
        self.removed.resize(rules.rules.len(), false);
        for number in numbers {
            if let Some(removed) = self.removed.get_mut(*number) {
                *removed = true;
            }
        }
    }

    pub(super) fn is_removed(&self, number: usize) -> bool {
        self.removed.get(number).copied().unwrap_or(false)
    }

    pub(super) fn key(&self, store: Store) -> Option<&[u8]> {
        self.opened.iter().rev().find(|(s, _)| *s == store).map(|(_, key)| key.as_slice())
    }
}

/// The whole number that bytes start with, 0 if they start with none.
pub(super) fn number(bytes: &[u8]) -> i64 {
    let bytes = bytes.trim_ascii_start();
    let (negative, digits) = match bytes.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, bytes),
    };
    let mut value: i64 = 0;
    for digit in digits.iter().take_while(|b| b.is_ascii_digit()) {
        value = value.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    }
    if negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, want) in
            [("5", 5), ("-3x", -3), ("", 0), ("x", 0), (" 7", 7), ("+2", 2), ("99999999999999999999", i64::MAX)]
        {
            assert_eq!(number(text.as_bytes()), want, "{text}");
        }
    }
}
