//! What a person got wrong in a file, said so that they can mend it.
//!
//! Stages report a [`Fault`] against a configuration key or a place in a file of their own; `config` turns keys into
//! `file:line:column` and shows the line with a caret. All faults found are reported together.

use std::fmt;
use std::path::PathBuf;

/// Where a fault is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A configuration key, dotted, with array positions in brackets: `reputation.lists[0].path`.
    Key(String),
    /// A place in a named file; line and column count from 1 (column in characters), 0 means the whole file or line.
    File {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// The line itself, to be shown; may be empty.
        text: String,
    },
}

/// One fault: where, what is wrong, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What is wrong, in one sentence without a full stop.
    pub what: String,
    /// What to do about it; may be empty where `what` says it.
    pub mend: String,
}

impl Fault {
    /// A fault of a configuration key.
    pub fn key(key: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { place: Place::Key(key.into()), what: what.into(), mend: mend.into() }
    }

    /// A fault in a file; `line` and `column` from 1, 0 where they mean nothing.
    pub fn file(
        path: impl Into<PathBuf>,
        (line, column): (usize, usize),
        text: impl Into<String>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            place: Place::File { path: path.into(), line, column, text: text.into() },
            what: what.into(),
            mend: mend.into(),
        }
    }

    /// Puts `prefix` before the key, for a stage that was configured below another key.
    pub fn under(mut self, prefix: &str) -> Self {
        if let Place::Key(key) = &mut self.place {
            let joint = if key.is_empty() || key.starts_with('[') { "" } else { "." };
            *key = format!("{prefix}{joint}{key}");
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Key(key) => write!(f, "{key}: ")?,
            Place::File { path, line: 0, .. } => write!(f, "{}: ", path.display())?,
            Place::File { path, line, column: 0, .. } => write!(f, "{}:{line}: ", path.display())?,
            Place::File { path, line, column, .. } => write!(f, "{}:{line}:{column}: ", path.display())?,
        }
        f.write_str(&self.what)?;
        if !self.mend.is_empty() {
            write!(f, "; {}", self.mend)?;
        }
        if let Place::File { text, column, .. } = &self.place
            && !text.is_empty()
        {
            // A long line is shown around the column, so that the caret is seen.
            let start = column.saturating_sub(60);
            let shown: String = text.chars().skip(start).take(120).map(|c| if c == '\t' { ' ' } else { c }).collect();
            write!(f, "\n    {shown}")?;
            if *column > 0 {
                write!(f, "\n    {}^", " ".repeat(column - 1 - start))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_in_a_file_shows_the_line_with_a_caret() {
        let fault = Fault::file("a.toml", (3, 1), "brust = 5", "unknown key \"brust\"", "did you mean \"burst\"?");
        assert_eq!(
            fault.to_string(),
            "a.toml:3:1: unknown key \"brust\"; did you mean \"burst\"?\n    brust = 5\n    ^"
        );
    }

    #[test]
    fn keys_nest() {
        assert_eq!(Fault::key("lists[0]", "x", "").under("reputation").to_string(), "reputation.lists[0]: x");
        assert_eq!(Fault::key("[0].path", "x", "").under("route").to_string(), "route[0].path: x");
    }
}
