//! What a person got wrong in a file, said so that they can mend it.
//!
//! Stages report a [`Fault`] against a configuration key or a place in a file of their own; `config` turns keys into
//! `file:line:column` and shows the line with a caret. All faults found are reported together.

use std::fmt;
use std::path::{Path, PathBuf};

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

/// A file as it was read, so that a byte offset can be said as line and column.
#[derive(Debug, Clone)]
pub struct Page {
    path: PathBuf,
    text: String,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl Page {
    /// A file and its text.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let text = text.into();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path: path.into(), text, lines }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A fault at a byte offset; one past the end is at the end. Cost: a search in the lines, and one line.
    pub fn fault(&self, offset: usize, what: impl Into<String>, mend: impl Into<String>) -> Fault {
        let line = self.lines.partition_point(|start| *start <= offset.min(self.text.len())).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let rest = self.text.get(start..).unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or(rest);
        let column = before.chars().count() + 1;
        Fault::file(&self.path, (line, column), rest.lines().next().unwrap_or_default(), what, mend)
    }
}

/// The mend for a name that is none of `choices`: the nearest of them, or, after the words `all`, all of them.
pub fn suggestion(written: &str, choices: &[&str], all: &str) -> String {
    match nearest(written, choices) {
        Some(choice) => format!("did you mean \"{choice}\"?"),
        None if choices.is_empty() => "remove it".to_owned(),
        None => format!("{all} {}", choices.join(", ")),
    }
}

/// The one of `choices` that was probably meant.
pub fn nearest<'a>(written: &str, choices: &[&'a str]) -> Option<&'a str> {
    // Who wrote more than this meant none of them.
    if written.len() > 128 {
        return None;
    }
    let near = choices.iter().map(|choice| (distance(written, choice), *choice)).min()?;
    (near.0 <= (written.len() / 3).max(2) && near.0 < near.1.len()).then_some(near.1)
}

/// The Levenshtein distance: how many characters to insert, delete or change.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (above, a) in one.chars().enumerate() {
        let (mut diagonal, mut left) = (above, above + 1);
        let mut cells = row.iter_mut();
        if let Some(first) = cells.next() {
            *first = left;
        }
        for (cell, b) in cells.zip(other.chars()) {
            let change = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = change.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

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

    #[test]
    fn distances() {
        for (one, other, expected) in
            [("", "", 0), ("a", "", 1), ("brust", "burst", 2), ("listners", "listener", 2), ("same", "same", 0)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{one} {other}");
        }
    }

    #[test]
    fn offsets_become_lines_and_columns() {
        let page = Page::new("a.toml", "one\ntwö = 2\r\n\nlast");
        for (offset, place) in [
            (0, "a.toml:1:1: x\n    one\n    ^"),
            (3, "a.toml:1:4: x\n    one\n       ^"),
            (4, "a.toml:2:1: x\n    twö = 2\n    ^"),
            (9, "a.toml:2:5: x\n    twö = 2\n        ^"),
            (14, "a.toml:3:1: x"),
            (15, "a.toml:4:1: x\n    last\n    ^"),
            (99, "a.toml:4:5: x\n    last\n        ^"),
        ] {
            assert_eq!(page.fault(offset, "x", "").to_string(), place, "{offset}");
        }
        assert_eq!(Page::new("b", "").fault(0, "x", "y").to_string(), "b:1:1: x; y");
    }

    #[test]
    fn what_was_meant() {
        let choices = ["burst", "rate", "per"];
        assert_eq!(suggestion("brust", &choices, "write one of"), "did you mean \"burst\"?");
        assert_eq!(suggestion("colour", &choices, "write one of"), "write one of burst, rate, per");
        assert_eq!(suggestion("colour", &[], "write one of"), "remove it");
    }
}
