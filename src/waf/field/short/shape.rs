//! Shapes: patterns with a weight, and the automata that look for all of one family at once.
//!
//! Weights: 4 is what no ordinary text has; 2 and 3 need one more sign and are doubtful alone; 1 is everyday in text
//! about code and only lends weight to others. Patterns are bytes without regard to ASCII case, `^` and `$` are the
//! ends of the value, `.` is any byte but a line feed. Where a pattern must not run on, it says so with a short class.

use super::opening::Opening;
use super::{ATTACK, Family, Role, code, entity, header, markup, path, query, remote, shell, sql, template};
use regex::bytes::{RegexSet, RegexSetBuilder};
use std::sync::LazyLock;

/// A pattern and what it tells.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) weight: u8,
    pub(super) role: Role,
    /// A few words for the log.
    pub(super) what: &'static str,
    pub(super) pattern: &'static str,
}

/// A [`Shape`] in one line of a table.
pub(super) const fn shape(weight: u8, role: Role, what: &'static str, pattern: &'static str) -> Shape {
    Shape { weight, role, what, pattern }
}

/// A shape that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) family: Family,
    pub(super) role: Role,
    pub(super) what: &'static str,
    pub(super) weight: u8,
}

/// The shapes of one family.
pub(super) struct Set {
    family: Family,
    shapes: &'static [Shape],
    automaton: RegexSet,
    /// A text with none of these bytes has none of the shapes.
    needs: [bool; 256],
}

impl Set {
    #[allow(clippy::expect_used, reason = "the patterns are constants, and the tests build them all")]
    fn new(family: Family, needs: &[u8], shapes: &'static [Shape]) -> Self {
        let automaton = RegexSetBuilder::new(shapes.iter().map(|shape| shape.pattern))
            .unicode(false)
            .case_insensitive(true)
            .size_limit(64 << 20)
            .dfa_size_limit(2 << 20)
            .build()
            .expect("patterns of shapes are sound");
        let mut table = [needs.is_empty(); 256];
        for byte in needs {
            if let Some(entry) = table.get_mut(usize::from(*byte)) {
                *entry = true;
            }
        }
        Self { family, shapes, automaton, needs: table }
    }

    /// Adds the shapes found in `text`, each once; the whole text begins as `opening` says.
    pub(super) fn find(&self, text: &[u8], opening: Opening, hits: &mut Vec<Hit>) {
        if !text.iter().any(|byte| self.needs.get(usize::from(*byte)) == Some(&true)) {
            return;
        }
        // Whether there is any is a faster question than which, and mostly the last.
        if !self.automaton.is_match(text) {
            return;
        }
        for at in &self.automaton.matches(text) {
            let Some(shape) = self.shapes.get(at) else { continue };
            let weight = opening.weight(self.family, shape);
            let hit = Hit { family: self.family, role: shape.role, what: shape.what, weight };
            if !hits.contains(&hit) {
                hits.push(hit);
            }
        }
    }
}

/// All of them, built at the first use.
pub(super) struct Sets {
    whole: Vec<Set>,
    /// What may stand behind a quote that breaks out, each from the quote's own place on.
    pub(super) behind_quote: [Set; 3],
}

impl Sets {
    /// The one instance.
    pub(super) fn get() -> &'static Self {
        static SETS: LazyLock<Sets> = LazyLock::new(|| Sets {
            whole: vec![
                Set::new(Family::Sql, b"", sql::SHAPES),
                Set::new(Family::Markup, b"<=(:[`", markup::SHAPES),
                Set::new(Family::Shell, b";|&`$\n\r<>(/\\%{", shell::SHAPES),
                Set::new(Family::Shell, b";|&`$\n\r", shell::PROGRAMS),
                Set::new(Family::Shell, b"", shell::BARE),
                Set::new(Family::Template, b"{}%#$@(?:", template::SHAPES),
                Set::new(Family::Query, b"$)[{*/|:&", query::SHAPES),
                Set::new(Family::Path, b"./\\:", path::SHAPES),
                Set::new(Family::Remote, b":.", remote::SHAPES),
                Set::new(Family::Header, b"\r\n", header::SHAPES),
                Set::new(Family::Code, b"", code::SHAPES),
                Set::new(Family::Entity, b"<", entity::SHAPES),
            ],
            behind_quote: [
                Set::new(Family::Sql, b"", sql::BEHIND_QUOTE),
                Set::new(Family::Markup, b"", markup::BEHIND_QUOTE),
                Set::new(Family::Query, b"", query::BEHIND_QUOTE),
            ],
        });
        &SETS
    }

    /// Adds the shapes found in `text` wherever they stand, family by family, until they make an attack or, where
    /// `all` is asked for, to the end.
    pub(super) fn find(&self, text: &[u8], opening: Opening, all: bool, hits: &mut Vec<Hit>) {
        for set in &self.whole {
            set.find(text, opening, hits);
            if !all && hits.iter().map(|hit| usize::from(hit.weight)).sum::<usize>() >= usize::from(ATTACK) {
                return;
            }
        }
    }
}
