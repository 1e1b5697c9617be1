//! Attacks by family, written as somebody who tries them would.

mod code;
mod command;
mod file;
mod markup;
mod query;
mod scanner;

use std::sync::OnceLock;

/// What is attacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Sql,
    Xss,
    Unix,
    Windows,
    Traversal,
    Inclusion,
    Template,
    Code,
    Ldap,
    Xpath,
    Nosql,
    Crlf,
    Xml,
    Ssrf,
    Deserialise,
    Prototype,
    Scanner,
}

impl Family {
    pub(crate) const ALL: [Self; 17] = [
        Self::Sql,
        Self::Xss,
        Self::Unix,
        Self::Windows,
        Self::Traversal,
        Self::Inclusion,
        Self::Template,
        Self::Code,
        Self::Ldap,
        Self::Xpath,
        Self::Nosql,
        Self::Crlf,
        Self::Xml,
        Self::Ssrf,
        Self::Deserialise,
        Self::Prototype,
        Self::Scanner,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Xss => "xss",
            Self::Unix => "unix",
            Self::Windows => "windows",
            Self::Traversal => "path",
            Self::Inclusion => "include",
            Self::Template => "template",
            Self::Code => "code",
            Self::Ldap => "ldap",
            Self::Xpath => "xpath",
            Self::Nosql => "nosql",
            Self::Crlf => "crlf",
            Self::Xml => "xml",
            Self::Ssrf => "ssrf",
            Self::Deserialise => "object",
            Self::Prototype => "proto",
            Self::Scanner => "scanner",
        }
    }

    /// What is an attack wherever it stands, even where people write what they like.
    pub(crate) fn plain(self) -> &'static [&'static str] {
        match self {
            Self::Sql => query::SQL,
            Self::Xss => markup::XSS,
            Self::Unix => command::UNIX,
            Self::Windows => command::WINDOWS,
            Self::Traversal => file::TRAVERSAL,
            Self::Inclusion => file::INCLUSION,
            Self::Template => code::TEMPLATE,
            Self::Code => code::CODE,
            Self::Ldap => query::LDAP,
            Self::Xpath => query::XPATH,
            Self::Nosql => query::NOSQL,
            Self::Crlf => file::CRLF,
            Self::Xml => markup::XML,
            Self::Deserialise => code::OBJECTS,
            Self::Prototype => code::PROTOTYPE,
            Self::Ssrf | Self::Scanner => &[],
        }
    }

    /// More of these, written later, before anything was changed for them. `␍` and `␊` stand for line ends.
    pub(crate) fn later(self) -> Vec<&'static str> {
        static ALL: OnceLock<Vec<(&str, String)>> = OnceLock::new();
        let all = ALL.get_or_init(|| {
            let lines = include_str!("../lists/attacks.txt").lines();
            let read = |line: &'static str| {
                let (family, payload) = line.split_once('\t').expect("family, tab, payload");
                (family, payload.replace('␍', "\r").replace('␊', "\n"))
            };
            lines.map(read).collect()
        });
        all.iter().filter(|(family, _)| *family == self.name()).map(|(_, payload)| payload.as_str()).collect()
    }

    /// What somebody may write in a title without any harm, but has no place where an id, a number or a name stands.
    pub(crate) fn bare(self) -> &'static [&'static str] {
        match self {
            Self::Sql => query::SQL_BARE,
            Self::Xss => markup::XSS_BARE,
            Self::Unix => command::UNIX_BARE,
            Self::Windows => command::WINDOWS_BARE,
            Self::Traversal => file::TRAVERSAL_BARE,
            Self::Inclusion => file::INCLUSION_BARE,
            Self::Deserialise => code::OBJECTS_BARE,
            Self::Ssrf => file::SSRF,
            Self::Scanner => scanner::AGENTS,
            _ => &[],
        }
    }
}

/// Paths that only somebody who looks for holes asks for.
pub(crate) const PROBES: &[&str] = scanner::PROBES;

#[test]
fn every_family_has_its_payloads() {
    for family in Family::ALL {
        let mut all = [family.plain(), family.bare(), &family.later()].concat();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert!(all.len() == count && count >= 25, "{}: {count}, different {}", family.name(), all.len());
    }
    let later: usize = Family::ALL.iter().map(|family| family.later().len()).sum();
    assert_eq!(later, include_str!("../lists/attacks.txt").lines().count());
}
