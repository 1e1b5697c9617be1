//! What became of a transaction.

use std::sync::Arc;

use crate::action::{AuditEngine, Phase, Severity};

/// How a transaction is interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disruption {
    /// Answer with the status.
    Deny,
    /// Close the connection without an answer.
    Drop,
    /// Answer with the status and this location.
    Redirect(String),
}

/// A decision to end the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interruption {
    /// How.
    pub action: Disruption,
    /// The status to answer with.
    pub status: u16,
    /// The rule that decided; 0 where a limit did.
    pub rule_id: u64,
}

/// A rule whose whole chain matched and that logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMatch {
    /// The id of the chain's head.
    pub id: u64,
    /// `msg` with its macros expanded.
    pub msg: String,
    /// `logdata` with its macros expanded.
    pub data: String,
    /// `severity`
    pub severity: Option<Severity>,
    /// `tag`
    pub tags: Arc<[String]>,
    /// The phase it ran in.
    pub phase: Phase,
    /// The name of the last variable that matched, as in `ARGS:x`; empty for SecAction.
    pub variable: String,
    /// Its value after transformations, cut to [`MAX_LOGGED_BYTES`].
    pub value: Vec<u8>,
    /// Whether the rule says `log`.
    pub log: bool,
    /// Whether the rule says `auditlog`.
    pub audit_log: bool,
}

/// Longest message, data or value in a [`RuleMatch`].
pub const MAX_LOGGED_BYTES: usize = 1024;

/// Everything that rules found and decided so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The rules that matched and log, in the order they ran.
    pub matches: Vec<RuleMatch>,
    /// The first interruption that rules decided on, carried out or not.
    pub interruption: Option<Interruption>,
    /// Whether [`Outcome::interruption`] was carried out; not so in detection-only mode.
    pub enforced: bool,
    /// Why the body could not be parsed whole, as REQBODY_ERROR_MSG has it.
    pub body_error: Option<String>,
    /// Whether the transaction ran into its work limit. Later rules did not run; the transaction is interrupted (in
    /// detection-only mode this is only recorded) unless it was told to tolerate it.
    pub exhausted: bool,
    /// Whether and when an audit record is wanted (`SecAuditEngine`, `ctl:auditEngine`).
    pub audit: AuditEngine,
}

impl Outcome {
    pub(super) fn new(audit: AuditEngine) -> Self {
        Self { matches: Vec::new(), interruption: None, enforced: false, body_error: None, exhausted: false, audit }
    }
}
