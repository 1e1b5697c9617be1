//! What is wrong in a rule file, said so that a person can mend it.

use std::fmt;

/// Whether a [`Diagnostic`] keeps the rules from loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// The rules load, but something has no effect or probably not the one meant.
    Warning,
    /// Nothing loads.
    Error,
}

/// A place in a rule file. Line and column count from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    /// Which file, as an index into [`SourceMap`].
    pub file: usize,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
}

/// One finding in a rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Gravity,
    /// The file's name as it was given, or as `Include` found it.
    pub file: String,
    /// From 1; 0 where the whole file is meant.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line itself.
    pub text: String,
    /// What is wrong.
    pub what: String,
    /// How to mend it; may be empty where `what` says it.
    pub mend: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.severity == Gravity::Warning { "warning: " } else { "" };
        match self.line {
            0 => write!(f, "{}: {kind}{}", self.file, self.what)?,
            _ => write!(f, "{}:{}:{}: {kind}{}", self.file, self.line, self.column, self.what)?,
        }
        if !self.mend.is_empty() {
            write!(f, "; {}", self.mend)?;
        }
        if self.line > 0 && self.column > 0 && !self.text.is_empty() {
            // A long line is shown around the column, so that the caret is seen.
            let start = self.column.saturating_sub(60);
            let shown: String =
                self.text.chars().skip(start).take(120).map(|c| if c.is_control() { ' ' } else { c }).collect();
            write!(f, "\n    {shown}\n    {}^", " ".repeat((self.column - 1).saturating_sub(start)))?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// The files of one load, so that a [`Place`] can be shown.
#[derive(Debug, Default)]
pub struct SourceMap {
    files: Vec<(String, String)>,
}

impl SourceMap {
    /// Adds a file and returns its index.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> usize {
        self.files.push((name.into(), text.into()));
        self.files.len() - 1
    }

    /// The name of a file; empty for an index that [`SourceMap::add`] never gave.
    pub fn name(&self, file: usize) -> &str {
        self.files.get(file).map_or("", |(name, _)| name)
    }

    /// The text of a file.
    pub fn text(&self, file: usize) -> &str {
        self.files.get(file).map_or("", |(_, text)| text)
    }

    fn line(&self, place: Place) -> String {
        let line = place.line.checked_sub(1).and_then(|n| self.text(place.file).lines().nth(n));
        line.unwrap_or_default().to_owned()
    }

    /// A finding at `place`.
    pub fn diagnostic(
        &self,
        severity: Gravity,
        place: Place,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic {
            severity,
            file: self.name(place.file).to_owned(),
            line: place.line,
            column: place.column,
            text: self.line(place),
            what: what.into(),
            mend: mend.into(),
        }
    }
}

/// The name in `known` that is nearest to `given`, as words to append to a mend; `None` if none is near.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    let limit = (given.len() / 3).max(1);
    known
        .into_iter()
        .map(|name| (distance(&given, &name.to_ascii_lowercase(), limit), name))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, name)| name)
}

/// Edit distance; anything over `limit` comes back as `limit + 1`.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    if a.len().abs_diff(b.len()) > limit || a.len() > 64 {
        return limit + 1;
    }
    let b: Vec<u8> = b.bytes().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let above = *cell;
            let swap = diagonal + usize::from(x != *y);
            *cell = swap.min(above + 1).min(left + 1);
            diagonal = above;
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(limit + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_shows_place_mend_and_caret() {
        let mut map = SourceMap::default();
        let file = map.add("a.conf", "# x\nSecRuleEngin On\n");
        let d = map.diagnostic(Gravity::Error, Place { file, line: 2, column: 1 }, "unknown directive", "mend it");
        assert_eq!(d.to_string(), "a.conf:2:1: unknown directive; mend it\n    SecRuleEngin On\n    ^");
        let w = Diagnostic { severity: Gravity::Warning, line: 0, ..d };
        assert_eq!(w.to_string(), "a.conf: warning: unknown directive; mend it");
    }

    #[test]
    fn nearest_names() {
        let known = ["SecRule", "SecRuleEngine", "SecAction", "deny", "msg"];
        for (given, want) in [
            ("SecRuleEngin", Some("SecRuleEngine")),
            ("secruleengine", Some("SecRuleEngine")),
            ("SecActoin", Some("SecAction")),
            ("dney", None),
            ("deyn", None),
            ("den", Some("deny")),
            ("zzzzzz", None),
        ] {
            assert_eq!(nearest(given, known), want, "{given}");
        }
    }
}
