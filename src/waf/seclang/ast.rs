//! The tree of a rule file: what was written and where, before any meaning is given to it.

use crate::diagnostic::Place;

/// A piece of text and the place where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text, without its quotes and with `\"` (and in action values `\'`) undone.
    pub value: String,
    /// Where it starts.
    pub at: Place,
}

/// One directive: a logical line of a rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Its name as written.
    pub name: Text,
    /// Its arguments.
    pub body: Body,
}

/// The arguments of a directive by their form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// `SecRule TARGETS OPERATOR [ACTIONS]`
    Rule {
        /// What is looked at.
        targets: Vec<Target>,
        /// The test.
        operator: Operator,
        /// What follows from a match.
        actions: Vec<Action>,
    },
    /// `SecAction ACTIONS` and `SecDefaultAction ACTIONS`
    Actions(Vec<Action>),
    /// `SecRuleUpdateTargetBy… SELECTOR TARGETS`
    UpdateTargets {
        /// Ids, a tag or a message.
        which: Text,
        /// Targets to add or exclude.
        targets: Vec<Target>,
    },
    /// `SecRuleUpdateActionById ID ACTIONS`
    UpdateActions {
        /// The rule.
        which: Text,
        /// Actions to add or replace.
        actions: Vec<Action>,
    },
    /// Every other directive: plain words.
    Words(Vec<Text>),
}

/// `[!|&]NAME[:selector]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it starts, its `!` or `&` included.
    pub at: Place,
    /// `!`: taken out of what the other targets name.
    pub excluded: bool,
    /// `&`: the number of values instead of the values.
    pub counted: bool,
    /// The variable's name as written.
    pub name: String,
    /// What follows the colon.
    pub selector: Option<Selector>,
}

/// Which members of a collection a target names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// One member by name, or an XPath.
    Name(String),
    /// `/…/`: the members whose name matches, ignoring case.
    Regex(String),
}

/// `[!]@name argument`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// `!`: matches where the operator does not.
    pub negated: bool,
    /// The name without `@`; `rx` where none was written.
    pub name: Text,
    /// The rest.
    pub argument: Text,
}

/// `name[:value]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The name as written.
    pub name: Text,
    /// The value without its quotes.
    pub value: Option<Text>,
}
