#![forbid(unsafe_code)]
//! A rule engine for SecLang, the language of ModSecurity and of the OWASP Core Rule Set.
//!
//! Text goes one way: `seclang` parses it into a tree with places, `compile` turns the tree into a [`Ruleset`] (flat,
//! immutable, `Send + Sync`) or reports every fault, and a [`Transaction`] runs the rules of five phases over one
//! request and its response. The engine knows bytes, not sockets: no I/O, clock or log line, and threads only while it
//! compiles.
//!
//! ```
//! use std::net::{IpAddr, Ipv4Addr};
//! use std::sync::Arc;
//! use std::time::SystemTime;
//! use gatehouse_waf::{Connection, Ruleset, Source, Transaction, files::Memory};
//!
//! let source = Source {
//!     name: "demo.conf".to_owned(),
//!     text: r#"
//!         SecRuleEngine On
//!         SecRule ARGS "@contains <script" "id:1,phase:2,deny,status:403,t:none,t:lowercase,msg:'XSS in %{MATCHED_VAR_NAME}'"
//!     "#.to_owned(),
//! };
//! let (rules, warnings) = Ruleset::compile(&[source], &Memory::default()).expect("the rules are sound");
//! assert!(warnings.is_empty());
//!
//! let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
//! let mut transaction = Transaction::new(Arc::new(rules), None, Connection {
//!     client: local, client_port: 4711, server: local, server_port: 443,
//!     unique_id: "1".to_owned(), now: SystemTime::UNIX_EPOCH,
//! });
//! transaction.request_line(b"GET", b"/?q=%3CScript%3E", b"HTTP/1.1");
//! transaction.request_header(b"Host", b"localhost");
//! assert!(transaction.request_headers_done().is_none());
//! let interruption = transaction.request_body(b"").expect("rule 1 denies");
//! assert_eq!((interruption.status, interruption.rule_id), (403, 1));
//! transaction.finish();
//! assert_eq!(transaction.outcome().matches[0].msg, "XSS in ARGS:q");
//! ```
//!
//! # Choices
//! `^` and `$` in `@rx` are not multi-line and `.` matches newlines, as in ModSecurity v2. Names of variables, members,
//! operators, transformations and actions are compared without regard to case. Patterns take linear time; one
//! transaction's work is bounded; a transaction past that bound is interrupted.

pub mod action;
pub mod body;
mod byteset;
pub mod collections;
mod compile;
pub mod diagnostic;
mod eval;
pub mod field;
pub mod files;
mod hashing;
pub mod operator;
mod plan;
pub mod ruleset;
mod screen;
pub mod seclang;
pub mod transform;
pub mod variable;

pub use action::{AuditEngine, Phase, Severity};
pub use compile::Source;
pub use diagnostic::{Diagnostic, Gravity};
pub use eval::{
    Connection, Costs, Disruption, FieldNote, FieldPlace, FieldVerdict, Interruption, MAX_LOGGED_BYTES, Outcome,
    RuleMatch, Step, Trace, Transaction,
};
pub use files::Files;
pub use ruleset::{LimitAction, Mode, RuleInfo, Ruleset, Settings};
