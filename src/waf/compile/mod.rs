//! Tree → [`Ruleset`]: every name resolved, every default applied, every fault reported.
//!
//! The passes, in order: [`load`] parses the sources and follows `Include`; [`draft`] walks the directives in file order
//! and gathers settings, defaults, rules with their chains, markers and exclusions; [`exclude`] applies the directives
//! that remove or change rules, wherever they stand (as libmodsecurity does); [`lower`] turns each rule that is left
//! into the flat form of `ruleset`, with numbered TX variables, interned chains of transformations and markers resolved
//! to positions. At last one plain request goes through, so that what screens its rules is there when traffic comes.
//! Whatever can fail because of a rule fails here: evaluation has no error of that kind. Cost is linear in
//! the rules, apart from compiling their patterns; memory is bounded by the files read and the operators' own limits.

mod draft;
mod exclude;
mod groups;
mod load;
mod lower;
mod settings;
mod template;

use crate::diagnostic::{Diagnostic, Gravity, Place, SourceMap};
use crate::eval::warm;
use crate::files::Files;
use crate::ruleset::Ruleset;

/// A rule file in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name in diagnostics; files it names are looked up relative to the folder of this name.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Ruleset {
    /// Compiles rule files, in order, as if they were one.
    ///
    /// # Errors
    /// Every error found, with the warnings among them; nothing is compiled then.
    pub fn compile(sources: &[Source], files: &dyn Files) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut report = Report::default();
        let directives = load::load(sources, files, &mut report);
        let mut draft = draft::collect(directives, &mut report);
        exclude::apply(&mut draft, &mut report);
        let ruleset = lower::lower(draft, files, &mut report);
        report.found.sort_by_key(|(place, d)| (*place, std::cmp::Reverse(d.severity)));
        let failed = report.found.iter().any(|(_, d)| d.severity == Gravity::Error);
        let found = report.found.into_iter().map(|(_, d)| d).collect();
        if failed { Err(found) } else { Ok((warm(ruleset), found)) }
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Report {
    map: SourceMap,
    found: Vec<(Place, Diagnostic)>,
}

impl Report {
    fn error(&mut self, at: Place, what: impl Into<String>, mend: impl Into<String>) {
        self.found.push((at, self.map.diagnostic(Gravity::Error, at, what, mend)));
    }

    fn warning(&mut self, at: Place, what: impl Into<String>, mend: impl Into<String>) {
        self.found.push((at, self.map.diagnostic(Gravity::Warning, at, what, mend)));
    }

    /// A place in words, for a diagnostic that points to a second one.
    fn words(&self, at: Place) -> String {
        format!("{}:{}", self.map.name(at.file), at.line)
    }
}

#[cfg(test)]
mod tests;
