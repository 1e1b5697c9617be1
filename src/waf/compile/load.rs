//! Sources and what they include → one list of directives.

use std::path::{Path, PathBuf};

use super::{Report, Source};
use crate::diagnostic::Place;
use crate::files::Files;
use crate::seclang::ast::{Body, Directive, Text};
use crate::seclang::parse;

/// Deepest nesting of `Include`.
const MAX_DEPTH: usize = 16;
/// Most files of one rule set.
const MAX_FILES: usize = 4096;

pub(super) fn load(sources: &[Source], files: &dyn Files, report: &mut Report) -> Vec<Directive> {
    let mut loader = Loader { files, report, directives: Vec::new(), open: Vec::new(), count: 0 };
    for source in sources {
        loader.source(PathBuf::from(&source.name), &source.name, &source.text);
    }
    loader.directives
}

struct Loader<'a> {
    files: &'a dyn Files,
    report: &'a mut Report,
    directives: Vec<Directive>,
    /// The files being read, outermost first.
    open: Vec<PathBuf>,
    count: usize,
}

impl Loader<'_> {
    fn source(&mut self, path: PathBuf, name: &str, text: &str) {
        let file = self.report.map.add(name, text);
        let (directives, faults) = parse(file, text);
        for fault in faults {
            self.report.error(fault.at, fault.what, fault.mend);
        }
        self.open.push(path);
        for directive in directives {
            match directive.name.value.to_ascii_lowercase().as_str() {
                "include" => self.include(&directive, false),
                "includeoptional" => self.include(&directive, true),
                _ => self.directives.push(directive),
            }
        }
        self.open.pop();
    }

    fn include(&mut self, directive: &Directive, optional: bool) {
        let name = &directive.name;
        let Body::Words(words) = &directive.body else { return };
        let [word] = words.as_slice() else {
            return self.report.error(name.at, "Include takes one path", "write Include PATH, with * for many files");
        };
        let pattern = beside(&self.open.last().cloned().unwrap_or_default(), &word.value);
        match self.files.list(&pattern) {
            Ok(paths) => {
                if paths.is_empty() && !optional {
                    let mend = "check the path, or write IncludeOptional";
                    self.report.error(word.at, format!("no file fits \"{}\"", word.value), mend);
                }
                for path in paths {
                    self.include_one(&path, word, optional);
                }
            }
            Err(error) if optional && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => self.unreadable(word.at, &pattern, &error.to_string()),
        }
    }

    fn include_one(&mut self, path: &Path, word: &Text, optional: bool) {
        if self.open.iter().any(|open| same(open, path)) {
            let what = format!("{} includes itself", path.display());
            return self.report.error(word.at, what, "take out one of the Include directives");
        }
        self.count += 1;
        if self.open.len() >= MAX_DEPTH || self.count > MAX_FILES {
            let what = format!("more than {MAX_DEPTH} nested or {MAX_FILES} included files");
            return self.report.error(word.at, what, "include fewer files");
        }
        let bytes = match self.files.read(path) {
            Ok(bytes) => bytes,
            Err(error) if optional && error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return self.unreadable(word.at, path, &error.to_string()),
        };
        match String::from_utf8(bytes) {
            Ok(text) => self.source(path.to_owned(), &path.display().to_string(), &text),
            Err(error) => {
                let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
                let line = good.filter(|b| **b == b'\n').count() + 1;
                let file = self.report.map.add(path.display().to_string(), "");
                let at = Place { file, line, column: 1 };
                self.report.error(at, "the file is not UTF-8", "write other bytes as \\xHH");
            }
        }
    }

    fn unreadable(&mut self, at: Place, path: &Path, error: &str) {
        self.report.error(at, format!("cannot read {}: {error}", path.display()), "check the path and its permissions");
    }
}

/// `name` as seen from the folder of `file`.
pub(super) fn beside(file: &Path, name: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(name)
}

/// Whether two paths are the same when `.` and `x/..` are left out.
fn same(a: &Path, b: &Path) -> bool {
    fn plain(path: &Path) -> PathBuf {
        let mut out = PathBuf::new();
        for part in path.components() {
            match part {
                std::path::Component::CurDir => {}
                std::path::Component::ParentDir if out.file_name().is_some() => {
                    out.pop();
                }
                other => out.push(other),
            }
        }
        out
    }
    plain(a) == plain(b)
}
