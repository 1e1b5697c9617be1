//! Which members of a collection are meant.

use regex::bytes::{Regex, RegexBuilder};

/// Largest compiled selector: 1 MiB.
const SIZE_LIMIT: usize = 1 << 20;

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
            .map_err(|e| e.to_string())
    }

    /// Whether `name` is chosen.
    pub fn takes(&self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Name(wanted) => wanted.eq_ignore_ascii_case(name),
            Self::Regex(regex) => regex.is_match(name),
        }
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, Self::All) => true,
            (Self::Name(a), Self::Name(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
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
        ] {
            assert_eq!(selector.takes(name.as_bytes()), want, "{selector:?} {name}");
        }
        assert!(Selector::regex("(").is_err());
    }
}
