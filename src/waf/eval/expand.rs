//! Text with macros → bytes.

use super::gather::{Gathered, View};
use super::state::number;
use crate::ruleset::{Piece, Template};
use crate::variable::{Selector, Variable};

/// Longest expansion; what is longer is cut and the transaction counts as exhausted.
pub(super) const MAX_EXPANSION: usize = 8 << 20;

impl View<'_> {
    /// Appends the expansion of `template`; `false` if it was cut.
    pub(super) fn expand(&self, template: &Template, out: &mut Vec<u8>) -> bool {
        for piece in &template.0 {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text),
                Piece::Tx(slot) => out.extend_from_slice(self.state.tx.slot(self.rules, *slot).unwrap_or_default()),
                Piece::Variable(variable, selector) => self.expand_variable(*variable, selector, out),
            }
            if out.len() > MAX_EXPANSION {
                out.truncate(MAX_EXPANSION);
                return false;
            }
        }
        true
    }

    fn expand_variable(&self, variable: Variable, selector: &Selector, out: &mut Vec<u8>) {
        // What nearly every rule of the Core Rule Set logs goes without the detour over a list of values.
        match (variable, &self.state.last) {
            (Variable::MatchedVarName, Some(last)) => return last.write_name(self.texts, self.rules, out),
            (Variable::MatchedVar, Some(last)) => {
                out.extend_from_slice(last.value.get(self.texts, self.rules).unwrap_or_default());
                return;
            }
            _ => {}
        }
        let slots: Vec<usize> = match variable {
            Variable::Tx => {
                self.rules.tx.iter().filter(|(_, name)| selector.takes(name)).map(|(slot, _)| slot).collect()
            }
            _ => Vec::new(),
        };
        let mut gathered = Gathered::default();
        self.gather(variable, selector, &slots, &mut gathered);
        if let Some(first) = gathered.items.first() {
            out.extend_from_slice(self.bytes(first.value, &gathered).unwrap_or_default());
        }
    }

    /// The whole number that the expansion starts with, else 0.
    pub(super) fn expand_number(&self, template: &Template) -> i64 {
        match template.0.as_ref() {
            [Piece::Tx(slot)] => number(self.state.tx.slot(self.rules, *slot).unwrap_or_default()),
            [Piece::Literal(text)] => number(text),
            _ => {
                let mut text = Vec::new();
                self.expand(template, &mut text);
                number(&text)
            }
        }
    }
}
