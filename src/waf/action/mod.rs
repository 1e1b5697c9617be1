//! The actions of SecLang: from `name:value` as written to what it means.
//!
//! Knows every action by name and the form of its value. What needs the other rules (the targets of an exclusion, the
//! rules a tag names) or the names of a rule set (TX slots) is left to `compile`. Source: the ModSecurity v3 reference
//! manual, "Actions". Actions that this engine does not carry out are refused with the reason, never ignored, unless
//! they change nothing about detection.

mod ctl;
mod setvar;

pub(crate) use ctl::parse_ids;
pub use ctl::{AuditEngine, Ctl, Ids, Processor};
pub use setvar::{Operation, SetVar, Store};

use crate::diagnostic::nearest;
use crate::seclang::ast;
use crate::transform::Transformation;

/// One of the five points at which rules run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// 1: the request's head is known.
    RequestHeaders,
    /// 2: the request's body is known.
    RequestBody,
    /// 3: the response's head is known.
    ResponseHeaders,
    /// 4: the response's body is known.
    ResponseBody,
    /// 5: everything is over, also after an interruption.
    Logging,
}

impl Phase {
    /// In order.
    pub const ALL: [Self; 5] =
        [Self::RequestHeaders, Self::RequestBody, Self::ResponseHeaders, Self::ResponseBody, Self::Logging];

    /// 1 to 5.
    pub fn number(self) -> u8 {
        match self {
            Self::RequestHeaders => 1,
            Self::RequestBody => 2,
            Self::ResponseHeaders => 3,
            Self::ResponseBody => 4,
            Self::Logging => 5,
        }
    }

    /// 0 to 4, for tables.
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    fn parse(value: &str) -> Option<Self> {
        match value.to_ascii_lowercase().as_str() {
            "1" => Some(Self::RequestHeaders),
            "2" | "request" => Some(Self::RequestBody),
            "3" => Some(Self::ResponseHeaders),
            "4" | "response" => Some(Self::ResponseBody),
            "5" | "logging" => Some(Self::Logging),
            _ => None,
        }
    }
}

/// How grave a rule's author thinks its match is (syslog's levels).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "syslog's names")]
pub enum Severity {
    Emergency,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

impl Severity {
    const NAMES: [(Self, &'static str); 8] = [
        (Self::Emergency, "EMERGENCY"),
        (Self::Alert, "ALERT"),
        (Self::Critical, "CRITICAL"),
        (Self::Error, "ERROR"),
        (Self::Warning, "WARNING"),
        (Self::Notice, "NOTICE"),
        (Self::Info, "INFO"),
        (Self::Debug, "DEBUG"),
    ];

    /// The name in upper case.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(s, _)| *s == self).map_or("", |(_, name)| name)
    }

    /// 0 (emergency) to 7 (debug).
    pub fn number(self) -> u8 {
        self as u8
    }

    fn parse(value: &str) -> Option<Self> {
        let by_number = value.parse().ok().and_then(|n: usize| Self::NAMES.get(n));
        by_number.or_else(|| Self::NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(value))).map(|(s, _)| *s)
    }
}

/// How far `allow` reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowScope {
    /// `allow:phase`: the rest of this phase.
    Phase,
    /// `allow:request`: the rest of phases 1 and 2.
    Request,
    /// `allow`: the rest of this phase and all later ones but the fifth.
    All,
}

/// What a full match does to the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disruptive {
    /// Nothing.
    Pass,
    /// What the phase's `SecDefaultAction` says.
    Block,
    /// Refuse with a status.
    Deny,
    /// Close the connection.
    Drop,
    /// Answer with a redirection to this location (macros allowed).
    Redirect(String),
    /// End inspection without refusing.
    Allow(AllowScope),
}

/// An action with its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The rule's id.
    Id(u64),
    /// When it runs.
    Phase(Phase),
    /// What it says (macros allowed).
    Msg(String),
    /// What else it says (macros allowed).
    LogData(String),
    /// A tag (macros allowed).
    Tag(String),
    /// How grave.
    Severity(Severity),
    /// The version of the rule set.
    Version(String),
    /// The next rule is another link of this one.
    Chain,
    /// Rules of the phase to leave out after this one.
    Skip(usize),
    /// The marker to go on after.
    SkipAfter(String),
    /// What a match does to the transaction.
    Disruptive(Disruptive),
    /// The status of deny and redirect.
    Status(u16),
    /// `log` and `nolog`.
    Log(bool),
    /// `auditlog` and `noauditlog`.
    AuditLog(bool),
    /// Groups go to TX:0 to TX:9.
    Capture,
    /// The operator also sees the value between transformations.
    MultiMatch,
    /// A transformation; `None` is `t:none`.
    Transform(Option<Transformation>),
    /// A change of TX or of a persistent collection.
    SetVar(SetVar),
    /// `expirevar:collection.name=seconds`
    Expire {
        /// The collection.
        store: Store,
        /// The member (macros allowed).
        name: String,
        /// The life time in seconds (macros allowed).
        seconds: String,
    },
    /// `initcol`, `setsid`, `setuid`, `setrsc`: which record of a persistent collection this transaction works on.
    Open {
        /// The collection.
        store: Store,
        /// The record's key (macros allowed).
        key: String,
    },
    /// A change of the engine for the rest of the transaction.
    Ctl(Ctl),
    /// Known, and without consequence here: `rev`, `maturity`, `accuracy`, `deprecatevar`.
    Remark,
}

/// Why an action cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionFault {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

impl ActionFault {
    pub(crate) fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: mend.into() }
    }
}

const NAMES: &[&str] = &[
    "accuracy",
    "allow",
    "auditlog",
    "block",
    "capture",
    "chain",
    "ctl",
    "deny",
    "deprecatevar",
    "drop",
    "expirevar",
    "id",
    "initcol",
    "log",
    "logdata",
    "maturity",
    "msg",
    "multiMatch",
    "noauditlog",
    "nolog",
    "pass",
    "phase",
    "redirect",
    "rev",
    "setrsc",
    "setsid",
    "setuid",
    "setvar",
    "severity",
    "skip",
    "skipAfter",
    "status",
    "t",
    "tag",
    "ver",
];

const REFUSED: &[(&str, &str)] = &[
    ("append", "responses are never rewritten"),
    ("prepend", "responses are never rewritten"),
    ("exec", "rules run no programs; act on the audit events instead"),
    ("pause", "rules do not delay; use the limits of the gate"),
    ("proxy", "rules do not choose the replica; use routes"),
    ("sanitiseArg", "masking is a setting of the audit events"),
    ("sanitiseMatched", "masking is a setting of the audit events"),
    ("sanitiseMatchedBytes", "masking is a setting of the audit events"),
    ("sanitiseRequestHeader", "masking is a setting of the audit events"),
    ("sanitiseResponseHeader", "masking is a setting of the audit events"),
    ("setenv", "there is no environment to set; use setvar:tx.name=value"),
    ("xmlns", "only the XPaths /* and //@* are read, which need no name space"),
];

impl Action {
    /// Reads one action.
    ///
    /// # Errors
    /// An unknown name, a value that is missing, superfluous or not of its form.
    pub fn parse(written: &ast::Action) -> Result<Self, ActionFault> {
        let name = written.name.value.as_str();
        let lower = name.to_ascii_lowercase();
        let given = written.value.as_ref().map(|v| v.value.as_str());
        let value = || match given {
            Some(value) if !value.trim().is_empty() => Ok(value.trim()),
            _ => Err(ActionFault::new(format!("{name} needs a value"), format!("write {name}:VALUE"))),
        };
        let none = |action: Self| match given {
            None => Ok(action),
            Some(_) => Err(ActionFault::new(format!("{name} takes no value"), format!("write {name} alone"))),
        };
        let bad = |form: &str| Err(ActionFault::new(format!("{name} cannot take this value"), form.to_owned()));
        match lower.as_str() {
            "id" => match value()?.parse() {
                Ok(id) if id > 0 => Ok(Self::Id(id)),
                _ => bad("an id is a whole number from 1 up"),
            },
            "phase" => Phase::parse(value()?)
                .map_or_else(|| bad("phases are 1 to 5, request, response and logging"), |p| Ok(Self::Phase(p))),
            "msg" => Ok(Self::Msg(given.unwrap_or_default().to_owned())),
            "logdata" => Ok(Self::LogData(given.unwrap_or_default().to_owned())),
            "tag" => Ok(Self::Tag(value()?.to_owned())),
            "severity" => Severity::parse(value()?)
                .map_or_else(|| bad("severities are 0 to 7 or EMERGENCY to DEBUG"), |s| Ok(Self::Severity(s))),
            "ver" => Ok(Self::Version(value()?.to_owned())),
            "rev" | "maturity" | "accuracy" | "deprecatevar" => value().map(|_| Self::Remark),
            "chain" => none(Self::Chain),
            "skip" => match value()?.parse() {
                Ok(n) if n > 0 => Ok(Self::Skip(n)),
                _ => bad("skip takes a number of rules from 1 up"),
            },
            "skipafter" => Ok(Self::SkipAfter(value()?.to_owned())),
            "pass" => none(Self::Disruptive(Disruptive::Pass)),
            "block" => none(Self::Disruptive(Disruptive::Block)),
            "deny" => none(Self::Disruptive(Disruptive::Deny)),
            "drop" => none(Self::Disruptive(Disruptive::Drop)),
            "redirect" => Ok(Self::Disruptive(Disruptive::Redirect(value()?.to_owned()))),
            "allow" => match given.map(str::to_ascii_lowercase).as_deref() {
                None => Ok(Self::Disruptive(Disruptive::Allow(AllowScope::All))),
                Some("phase") => Ok(Self::Disruptive(Disruptive::Allow(AllowScope::Phase))),
                Some("request") => Ok(Self::Disruptive(Disruptive::Allow(AllowScope::Request))),
                Some(_) => bad("write allow, allow:phase or allow:request"),
            },
            "status" => match value()?.parse() {
                Ok(status) if (100..600).contains(&status) => Ok(Self::Status(status)),
                _ => bad("a status is a number from 100 to 599"),
            },
            "log" => none(Self::Log(true)),
            "nolog" => none(Self::Log(false)),
            "auditlog" => none(Self::AuditLog(true)),
            "noauditlog" => none(Self::AuditLog(false)),
            "capture" => none(Self::Capture),
            "multimatch" => none(Self::MultiMatch),
            "t" => {
                let value = value()?;
                if value.eq_ignore_ascii_case("none") {
                    return Ok(Self::Transform(None));
                }
                Transformation::from_name(value).map(|t| Self::Transform(Some(t))).ok_or_else(|| {
                    ActionFault::new(format!("unknown transformation \"{value}\""), "see the list of t: in the manual")
                })
            }
            "setvar" => SetVar::parse(value()?).map(Self::SetVar),
            "expirevar" => setvar::parse_expire(value()?),
            "initcol" => setvar::parse_initcol(value()?),
            "setsid" => Ok(Self::Open { store: Store::Session, key: value()?.to_owned() }),
            "setuid" => Ok(Self::Open { store: Store::User, key: value()?.to_owned() }),
            "setrsc" => Ok(Self::Open { store: Store::Resource, key: value()?.to_owned() }),
            "ctl" => Ctl::parse(value()?).map(Self::Ctl),
            _ => Err(unknown(name)),
        }
    }
}

fn unknown(name: &str) -> ActionFault {
    if let Some((_, why)) = REFUSED.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
        return ActionFault::new(format!("the action \"{name}\" is not supported"), *why);
    }
    let mend = match nearest(name, NAMES.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "see the list of actions in the manual".to_owned(),
    };
    ActionFault::new(format!("unknown action \"{name}\""), mend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Place;

    fn parse(name: &str, value: Option<&str>) -> Result<Action, ActionFault> {
        let text = |s: &str| ast::Text { value: s.to_owned(), at: Place::default() };
        Action::parse(&ast::Action { name: text(name), value: value.map(text) })
    }

    #[test]
    fn good_ones() {
        for (name, value, want) in [
            ("id", Some("942100"), Action::Id(942100)),
            ("PHASE", Some("request"), Action::Phase(Phase::RequestBody)),
            ("severity", Some("'CRITICAL'").map(|_| "critical"), Action::Severity(Severity::Critical)),
            ("severity", Some("2"), Action::Severity(Severity::Critical)),
            ("skip", Some("3"), Action::Skip(3)),
            ("allow", None, Action::Disruptive(Disruptive::Allow(AllowScope::All))),
            ("allow", Some("request"), Action::Disruptive(Disruptive::Allow(AllowScope::Request))),
            ("t", Some("none"), Action::Transform(None)),
            ("status", Some("403"), Action::Status(403)),
            ("rev", Some("1"), Action::Remark),
        ] {
            assert_eq!(parse(name, value), Ok(want), "{name}");
        }
    }

    #[test]
    fn bad_ones() {
        for (name, value, what) in [
            ("id", None, "needs a value"),
            ("id", Some("x"), "cannot take"),
            ("phase", Some("6"), "cannot take"),
            ("deny", Some("403"), "takes no value"),
            ("status", Some("42"), "cannot take"),
            ("t", Some("lowcase"), "unknown transformation"),
            ("exec", Some("/bin/x"), "not supported"),
            ("noLogg", None, "unknown action"),
            ("severity", Some("9"), "cannot take"),
            ("skip", Some("0"), "cannot take"),
        ] {
            let fault = parse(name, value).unwrap_err();
            assert!(fault.what.contains(what), "{name}: {fault:?}");
            assert!(!fault.mend.is_empty());
        }
        assert_eq!(parse("noLogg", None).unwrap_err().mend, "did you mean \"nolog\"?");
    }
}
