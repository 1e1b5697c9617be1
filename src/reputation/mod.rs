//! IP reputation: who may not, or may always, come in.
//!
//! Decides, right after the client's address is known and before anything of the request is read, whether the address
//! stands on a list. In goes a [`ClientAddr`]; out comes its [`Standing`], or a refusal (403) that names the list for the
//! audit event. The longest prefix wins over all lists together; where two lists hold the same prefix, allow wins over
//! deny, and then the list that stands first. An IPv4-mapped address or network (RFC 4291 section 2.5.5.2) is the IPv4
//! one; a shorter IPv6 network such as `::/0` says nothing about IPv4.
//!
//! Lists are text files, one network or address a line, `#` and `;` start a comment. They are parsed into sorted,
//! disjoint ranges (`table`): at most two for each line, 6 bytes each for IPv4 and 18 for IPv6. A look-up is two binary
//! searches without a lock or an allocation. A trie would answer as fast, but needs pointers, several times the memory,
//! and a crate to keep up with; a table that is built whole and never changed needs no insertion.
//!
//! *Open or closed.* A list that is missing or has a bad line refuses the whole load, so that a broken download cannot
//! silently let everybody in; a running gate then keeps the lists it has. An address on no list passes.

mod list;
mod table;

use crate::facts::ClientAddr;
use crate::fault::Fault;
use crate::verdict::{Mode, Reason, Refusal};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use table::{Entry, Ranges};

/// The `[reputation]` section.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether listed addresses are refused or only recorded.
    pub mode: Mode,
    /// The lists, in any order.
    pub lists: Vec<ListSettings>,
}

/// One list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListSettings {
    /// The file: one IPv4 or IPv6 network or address a line.
    pub path: PathBuf,
    /// What being on it means.
    pub action: ListAction,
    /// What audit events call it; empty: the file's name without its extension.
    #[serde(default)]
    pub name: String,
}

/// What being on a list means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListAction {
    /// Let in, even from within a denied network.
    Allow,
    /// Refuse.
    Deny,
}

/// How an address that may come in stands with the lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// On no list.
    Unlisted,
    /// On the allow list of this name.
    Allowed(Arc<str>),
}

/// All lists, merged into one table for each address family.
#[derive(Debug)]
pub struct Reputation {
    mode: Mode,
    /// Allow lists first; a range's value is a position here.
    lists: Vec<(Arc<str>, ListAction)>,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    files: Vec<PathBuf>,
    entries: usize,
}

impl Reputation {
    /// Reads all lists; relative paths start at `base`.
    ///
    /// # Errors
    ///
    /// Every list that cannot be read, and the first bad lines of each list with their place.
    pub fn build(settings: &Settings, base: &Path) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        if settings.lists.len() >= usize::from(table::NOBODY) {
            let what = format!("{} lists are more than can be told apart", settings.lists.len());
            return Err(vec![Fault::key("lists", what, "join some of them into one file")]);
        }
        // Allow lists come first, so that of two equal prefixes the smaller value is the one that wins.
        let mut order: Vec<(usize, &ListSettings)> = settings.lists.iter().enumerate().collect();
        order.sort_by_key(|(_, list)| list.action);

        let (mut lists, mut v4, mut v6) = (Vec::new(), Vec::new(), Vec::new());
        for ((position, list), value) in order.into_iter().zip(0_u16..) {
            lists.push((name_of(list), list.action));
            let path = base.join(&list.path);
            match list::read(&path, &format!("lists[{position}].path")) {
                Ok(read) => {
                    v4.extend(read.v4.into_iter().map(|(first, last)| Entry { first, last, value }));
                    v6.extend(read.v6.into_iter().map(|(first, last)| Entry { first, last, value }));
                }
                Err(more) => faults.extend(more),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let entries = v4.len() + v6.len();
        let files = settings.lists.iter().map(|list| base.join(&list.path)).collect();
        Ok(Self { mode: settings.mode, lists, v4: Ranges::build(v4), v6: Ranges::build(v6), files, entries })
    }

    /// Whether refusals are carried out.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Finds the list with the longest prefix that holds the address.
    ///
    /// # Errors
    ///
    /// [`Reason::Reputation`] when that is a deny list; the detail names it.
    pub fn check(&self, client: ClientAddr) -> Result<Standing, Refusal> {
        let value = match client.ip() {
            IpAddr::V4(v4) => self.v4.find(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.find(v6.to_bits()),
        };
        match value.and_then(|value| self.lists.get(usize::from(value))) {
            None => Ok(Standing::Unlisted),
            Some((name, ListAction::Allow)) => Ok(Standing::Allowed(name.clone())),
            Some((name, ListAction::Deny)) => {
                Err(Refusal::new(Reason::Reputation, format!("{client} is on the deny list \"{name}\"")))
            }
        }
    }

    /// The files the lists were read from: when one changes, the configuration is to be loaded anew.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// How many networks and addresses all lists hold together.
    pub fn entries(&self) -> usize {
        self.entries
    }
}

fn name_of(list: &ListSettings) -> Arc<str> {
    if list.name.is_empty() {
        list.path.file_stem().unwrap_or_default().to_string_lossy().into()
    } else {
        list.name.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(lists: &[(&str, ListAction, &str)]) -> Result<Reputation, Vec<Fault>> {
        let dir = tempfile::tempdir().unwrap();
        let settings = lists.iter().map(|(file, action, text)| {
            std::fs::write(dir.path().join(file), text).unwrap();
            ListSettings { path: file.into(), action: *action, name: String::new() }
        });
        let settings = Settings { mode: Mode::Enforce, lists: settings.collect() };
        Reputation::build(&settings, dir.path())
    }

    fn verdict(reputation: &Reputation, address: &str) -> String {
        match reputation.check(ClientAddr::new(address.parse().unwrap())) {
            Ok(Standing::Unlisted) => "unlisted".into(),
            Ok(Standing::Allowed(name)) => format!("allow {name}"),
            Err(refusal) => {
                assert_eq!(refusal.reason, Reason::Reputation);
                format!("deny {}", refusal.detail.split('"').nth(1).unwrap())
            }
        }
    }

    #[test]
    fn the_longest_prefix_wins_over_all_lists() {
        use ListAction::{Allow, Deny};
        let bad =
            "# bad hosts\n10.0.0.0/8 ; whole\n\n192.0.2.7\r\n2001:db8::/32\n198.51.100.0/24\n::ffff:203.0.113.0/120";
        let good = "10.1.0.0/16\n2001:db8:1::/48\n198.51.100.0/24";
        let worse = "10.1.2.0/24\n2001:db8:1:2::1\n255.255.255.255\nffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\n";
        let reputation =
            build(&[("bad.txt", Deny, bad), ("good.txt", Allow, good), ("worse.txt", Deny, worse)]).unwrap();
        for (address, expected) in [
            ("10.0.0.0", "deny bad"),
            ("10.255.255.255", "deny bad"),
            ("9.255.255.255", "unlisted"),
            ("11.0.0.0", "unlisted"),
            ("10.1.0.0", "allow good"),
            ("10.1.255.255", "allow good"),
            ("10.1.2.3", "deny worse"),
            ("10.1.3.0", "allow good"),
            ("192.0.2.7", "deny bad"),
            ("192.0.2.6", "unlisted"),
            ("192.0.2.8", "unlisted"),
            ("::ffff:192.0.2.7", "deny bad"),
            ("203.0.113.9", "deny bad"),
            ("198.51.100.1", "allow good"),
            ("255.255.255.255", "deny worse"),
            ("2001:db8:ffff::", "deny bad"),
            ("2001:db8:1::5", "allow good"),
            ("2001:db8:1:2::1", "deny worse"),
            ("2001:db8:1:2::2", "allow good"),
            ("2001:db9::", "unlisted"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "deny worse"),
        ] {
            assert_eq!(verdict(&reputation, address), expected, "{address}");
        }
        assert_eq!((reputation.entries(), reputation.files().len()), (12, 3));
    }

    #[test]
    fn everything_can_be_listed_and_nothing_need_be() {
        let reputation = build(&[("all", ListAction::Deny, "0.0.0.0/0\n::/0")]).unwrap();
        assert_eq!(verdict(&reputation, "255.255.255.255"), "deny all");
        assert_eq!(verdict(&reputation, "::"), "deny all");
        let v6_only = build(&[("all", ListAction::Deny, "::/0")]).unwrap();
        assert_eq!(verdict(&v6_only, "192.0.2.1"), "unlisted", "::/0 says nothing about IPv4");
        assert_eq!(verdict(&build(&[("none", ListAction::Deny, "# nothing\n")]).unwrap(), "192.0.2.1"), "unlisted");
        assert_eq!(verdict(&build(&[]).unwrap(), "192.0.2.1"), "unlisted");
    }

    #[test]
    fn a_missing_list_names_its_key_and_other_lists_are_read_too() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("b"), "nonsense\n").unwrap();
        let list = |path: &str| ListSettings { path: path.into(), action: ListAction::Deny, name: String::new() };
        let settings = Settings { mode: Mode::Enforce, lists: vec![list("a"), list("b")] };
        let faults = Reputation::build(&settings, dir.path()).unwrap_err();
        assert_eq!(faults.len(), 2);
        assert!(faults[0].to_string().starts_with("lists[0].path: cannot read "), "{}", faults[0]);
        assert!(faults[1].to_string().contains("b:1:1: \"nonsense\" is no address"), "{}", faults[1]);
    }

    #[test]
    fn settings_read_and_print() {
        let text = "mode = \"detect\"\n[[lists]]\npath = \"drop.txt\"\naction = \"deny\"\nname = \"drop\"\n";
        let settings: Settings = toml::from_str(text).unwrap();
        assert_eq!(toml::from_str::<Settings>(&toml::to_string(&settings).unwrap()).unwrap(), settings);
        assert!(toml::from_str::<Settings>("[[lists]]\npath = \"a\"\naction = \"refuse\"\n").is_err());
        assert!(toml::from_str::<Settings>("lits = []").is_err());
    }
}
