//! What a transaction did, value by value, for those who write rules.

use crate::ruleset::{ChainId, Ruleset};

/// Most steps that are kept, and most bytes of a text in one: a trace is for a person.
const MAX_STEPS: usize = 20_000;
const MAX_TEXT: usize = 2048;

/// Which steps are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// Every value that matched, and every TX variable that was set.
    Matches,
    /// Every value that this rule looked at, matched or not.
    Rule(u64),
}

/// One step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A rule looked at a value.
    Looked {
        /// The id of the chain's head.
        rule: u64,
        /// Which link of the chain looked, from 0.
        link: usize,
        /// The variable, as in `ARGS:x`.
        variable: String,
        /// The value as it came.
        before: Vec<u8>,
        /// The transformations, by name.
        transformations: Vec<&'static str>,
        /// The value that the operator saw.
        after: Vec<u8>,
        /// The operator with its argument, negation included.
        operator: String,
        /// Whether it matched.
        matched: bool,
    },
    /// A rule set a TX variable.
    Set {
        /// The id of the chain's head.
        rule: u64,
        /// The variable's name.
        name: String,
        /// Its value before; `None` if it was not set.
        before: Option<String>,
        /// Its value now; `None` if it was removed.
        after: Option<String>,
    },
}

/// Collects steps.
#[derive(Debug)]
pub(super) struct Tracer {
    of: Trace,
    steps: Vec<Step>,
}

impl Tracer {
    pub(super) fn new(of: Trace) -> Self {
        Self { of, steps: Vec::new() }
    }

    pub(super) fn steps(self) -> Vec<Step> {
        self.steps
    }

    pub(super) fn wants_looks(&self, rule: u64, matched: bool) -> bool {
        match self.of {
            Trace::Matches => matched,
            Trace::Rule(id) => rule == id,
        }
    }

    pub(super) fn wants_sets(&self) -> bool {
        self.of == Trace::Matches
    }

    pub(super) fn push(&mut self, step: Step) {
        if self.steps.len() < MAX_STEPS {
            self.steps.push(step);
        }
    }
}

/// The start of a text.
pub(super) fn short(text: &[u8]) -> Vec<u8> {
    text.get(..MAX_TEXT).unwrap_or(text).to_vec()
}

/// The start of a text, readable.
pub(super) fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(&short(text)).into_owned()
}

/// The names of a chain's transformations.
pub(super) fn names(rules: &Ruleset, chain: ChainId) -> Vec<&'static str> {
    rules.chains.path(chain).into_iter().map(|(_, kind)| kind.transformation.name()).collect()
}
