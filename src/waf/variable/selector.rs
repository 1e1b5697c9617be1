//! Which members of a collection are meant.

use fancy_regex::BytesMode;
use regex::bytes::{Regex, RegexBuilder};
use std::sync::Arc;

/// Largest compiled selector: 1 MiB.
const SIZE_LIMIT: usize = 1 << 20;
/// Steps back of a selector that looks around, and the longest name it is tried on.
const BACKTRACKS: usize = 10_000;
const BACKTRACKED_NAME: usize = 4096;

/// A choice among the members of a collection, by name. Names are compared without regard to ASCII case, as both
/// ModSecurity lines do for every collection.
#[derive(Debug, Clone)]
pub enum Selector {
    /// All members; the only choice for variables that are no collections.
    All,
    /// The members of this name (kept in lower case).
    Name(Box<[u8]>),
    /// The members whose name the expression matches anywhere.
    Regex(Regex),
    /// As `Regex`, for an expression that looks around; on names past its limits it takes nothing.
    Backtracking(Arc<fancy_regex::Regex>),
}

impl Selector {
    /// The member `name`.
    pub fn name(name: &str) -> Self {
        Self::Name(name.to_ascii_lowercase().into_bytes().into())
    }

    /// The members that match `pattern`.
    ///
    /// # Errors
    /// The expression's fault in words.
    pub fn regex(pattern: &str) -> Result<Self, String> {
        RegexBuilder::new(pattern)
            .unicode(false)
            .case_insensitive(true)
            .dot_matches_new_line(true)
            .size_limit(SIZE_LIMIT)
            .build()
            .map(Self::Regex)
            .or_else(|linear| {
                fancy_regex::RegexBuilder::new(pattern)
                    .bytes_mode(BytesMode::Ascii)
                    .case_insensitive(true)
                    .dot_matches_new_line(true)
                    .backtrack_limit(BACKTRACKS)
                    .delegate_size_limit(SIZE_LIMIT)
                    .build()
                    .map(|regex| Self::Backtracking(Arc::new(regex)))
                    .map_err(|_| linear.to_string().lines().last().unwrap_or_default().to_owned())
            })
    }

    /// Whether `name` is chosen.
    pub fn takes(&self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Name(wanted) => wanted.eq_ignore_ascii_case(name),
            Self::Regex(regex) => regex.is_match(name),
            Self::Backtracking(regex) => name.len() <= BACKTRACKED_NAME && regex.is_match(name).unwrap_or(false),
        }
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, Self::All) => true,
            (Self::Name(a), Self::Name(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            (Self::Backtracking(a), Self::Backtracking(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes() {
        let regex = |p: &str| Selector::regex(p).unwrap();
        for (selector, name, want) in [
            (Selector::All, "", true),
            (Selector::name("User-Agent"), "user-agent", true),
            (Selector::name("User-Agent"), "user-agen", false),
            (regex("^_ga(?:_\\w+)?$"), "_ga_5WLQ", true),
            (regex("^_ga(?:_\\w+)?$"), "x_ga", false),
            (regex("PARAMCOUNTER_.*"), "paramcounter_args:x", true),
            (regex(r"\x22?\x24Version"), "$version", true),
            (regex("^(?!ref)"), "Reference", false),
            (regex("^(?!ref)"), "other", true),
        ] {
            assert_eq!(selector.takes(name.as_bytes()), want, "{selector:?} {name}");
        }
        assert!(Selector::regex("(").is_err());
    }
}
