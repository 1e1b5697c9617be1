//! What a text begins with, where that says in whose language the whole of it is written.
//!
//! A value that an attacker sends is put *into* a command, a statement or a path, so it has to end something before it
//! begins anything of its own. A text that begins as a command line, a statement or a path does not: `df -h; du -sh *`
//! and `select a from x union select b from y` are what people write down, search for and ask about. What joins the
//! parts of such a text is then part of the language, and no sign. What would be told anywhere keeps its weight: a
//! shell that is sent away, a file of secrets, a delay, whatever stands behind a quote.

use super::Role::BreakOut;
use super::shape::Shape;
use super::{Family, prose, query, shell, sql};

/// How a text begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// With nothing that tells.
    Any,
    /// With a program's name and what belongs to it.
    Command,
    /// With the verb of a statement and what it is about.
    Statement,
    /// With a path of XPath, from the root or from anywhere.
    Path,
    /// With a call of a document store's shell.
    Store,
}

/// Verbs that statements of SQL begin with.
const VERBS: &[&str] = &["select", "with", "insert", "update", "delete", "create", "alter", "explain", "drop", "grant"];

impl Opening {
    pub(super) fn of(text: &[u8]) -> Self {
        if text.starts_with(b"db.") {
            return Self::Store;
        }
        if let [b'/', rest @ ..] = text.strip_prefix(b"xpath=").unwrap_or(text) {
            let rest = rest.strip_prefix(b"/").unwrap_or(rest);
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
            let steps = rest.iter().take_while(|byte| is_name(byte) || **byte == b'/').count();
            let is_path = rest.first().is_some_and(is_name) && rest.get(steps) == Some(&b'[');
            let is_path = is_path || rest.starts_with(b"*[@");
            return if is_path { Self::Path } else { Self::Any };
        }
        let Some(first) = prose::first_word(text) else { return Self::Any };
        // What is glued to the word makes it a value: `ls|id`. A capital makes it a word of a sentence.
        let stands_free = matches!(text.get(first.len()..), Some([b' ', ..] | [b';', b' ', ..]));
        if !stands_free {
            Self::Any
        } else if shell::COMMANDS.iter().any(|command| first == command.as_bytes()) {
            Self::Command
        } else if VERBS.iter().any(|verb| first.eq_ignore_ascii_case(verb.as_bytes())) {
            Self::Statement
        } else {
            Self::Any
        }
    }

    /// What a shape weighs in a text that begins so.
    pub(super) fn weight(self, family: Family, shape: &Shape) -> u8 {
        let joins = match (self, family) {
            (Self::Command, Family::Shell) if shape.role == BreakOut => return 0,
            (Self::Command, Family::Shell) => shell::JOINS,
            (Self::Statement, Family::Sql) => sql::JOINS,
            (Self::Path | Self::Store, Family::Query) => query::JOINS,
            _ => &[],
        };
        if joins.contains(&shape.what) { 0 } else { shape.weight }
    }
}
