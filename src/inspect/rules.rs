//! Which rules are loaded, and in which order.
//!
//! ```text
//! engine.conf (ours: engine settings, body parsers, strictness)
//! core/*.conf of ours: set-up               if core_rules
//! crs-setup.conf of the Core Rule Set       if crs_dir
//! the operator's own files                  waf.rules
//! core/*.conf of ours: rules, verdict       if core_rules
//! rules/*.conf of the Core Rule Set         if crs_dir
//! ```
//! What an operator writes comes after the set-up files, whose variables it may change, and before the rules that read
//! them. Engine settings and exclusions written there hold for everything.

use super::Settings;
use crate::fault::Fault;
use gatehouse_waf::files::Disk;
use gatehouse_waf::{Diagnostic, Files, Gravity, Ruleset, Source};
use std::path::{Path, PathBuf};

macro_rules! embedded {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$((concat!("<", $folder, $name, ">"),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/", $folder, $name)))),*]
    };
}

/// Engine settings that hold whatever rules are loaded.
const ENGINE: &[(&str, &str)] = embedded!["": "engine.conf"];
/// The core rules' variables.
const CORE_SETUP: &[(&str, &str)] = embedded!["core/": "00-setup.conf"];
/// The core rules, in the order of evaluation.
const CORE: &[(&str, &str)] = embedded![
    "core/":
    "10-protocol.conf",
    "12-disguises.conf",
    "15-scanners.conf",
    "20-traversal.conf",
    "30-command-injection.conf",
    "35-sql-injection.conf",
    "40-xss.conf",
    "45-template-injection.conf",
    "50-headers.conf",
    "55-query-languages.conf",
    "60-xml.conf",
    "65-ssrf.conf",
    "70-deserialisation.conf",
    "80-leakage.conf",
    "90-blocking.conf",
];

/// What loading gave.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The compiled rules.
    pub rules: Option<Ruleset>,
    /// The files they were read from, to be watched.
    pub files: Vec<PathBuf>,
    /// What the compiler warned of.
    pub warnings: Vec<Fault>,
}

/// Reads and compiles everything the settings name; relative paths start at `base`.
///
/// # Errors
/// Every fault of every rule file, each at its place.
pub fn load(settings: &Settings, base: &Path) -> Result<Loaded, Vec<Fault>> {
    load_with(settings, base, None)
}

/// The same with one more text, a name and what is in it, read as the last of the operator's own files.
///
/// # Errors
/// As [`load`].
pub fn load_with(settings: &Settings, base: &Path, more: Option<(&str, &str)>) -> Result<Loaded, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut files = Vec::new();
    let mut sources = embedded(ENGINE);
    if settings.core_rules {
        sources.extend(embedded(CORE_SETUP));
    }
    let crs = settings.crs_dir.as_deref().map(|dir| base.join(dir));
    if let Some(dir) = &crs {
        let named = dir.join("crs-setup.conf");
        let setup = if named.exists() { named } else { dir.join("crs-setup.conf.example") };
        read(&setup, "crs_dir", &mut sources, &mut files, &mut faults);
    }
    for (index, pattern) in settings.rules.iter().enumerate() {
        let key = format!("rules[{index}]");
        read_all(&base.join(pattern), &key, &mut sources, &mut files, &mut faults);
    }
    sources.extend(embedded(more.as_slice()));
    if settings.core_rules {
        sources.extend(embedded(CORE));
    }
    if let Some(dir) = &crs {
        read_all(&dir.join("rules/*.conf"), "crs_dir", &mut sources, &mut files, &mut faults);
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    match Ruleset::compile(&sources, &Disk) {
        Ok((rules, warnings)) => {
            Ok(Loaded { rules: Some(rules), files, warnings: warnings.into_iter().map(fault).collect() })
        }
        Err(diagnostics) => {
            Err(diagnostics.into_iter().filter(|found| found.severity == Gravity::Error).map(fault).collect())
        }
    }
}

fn embedded(files: &[(&str, &str)]) -> Vec<Source> {
    files.iter().map(|(name, text)| Source { name: (*name).to_owned(), text: (*text).to_owned() }).collect()
}

/// Reads every file a pattern names; a pattern that names none is a fault.
fn read_all(pattern: &Path, key: &str, sources: &mut Vec<Source>, files: &mut Vec<PathBuf>, faults: &mut Vec<Fault>) {
    let mend = "name a rule file, or a folder and a pattern, as \"rules/local/*.conf\"";
    match Disk.list(pattern) {
        Ok(found) if found.is_empty() => {
            faults.push(Fault::key(key, format!("no file fits {}", pattern.display()), mend));
        }
        Ok(found) => {
            // A file that appears or goes changes its folder.
            files.extend(pattern.parent().map(Path::to_owned));
            for path in found {
                read(&path, key, sources, files, faults);
            }
        }
        Err(e) => faults.push(Fault::key(key, format!("{}: {e}", pattern.display()), mend)),
    }
}

fn read(path: &Path, key: &str, sources: &mut Vec<Source>, files: &mut Vec<PathBuf>, faults: &mut Vec<Fault>) {
    files.push(path.to_owned());
    let mend = "make it a readable rule file in UTF-8";
    match Disk.read(path).map(String::from_utf8) {
        Ok(Ok(text)) => sources.push(Source { name: path.display().to_string(), text }),
        Ok(Err(e)) => {
            let at = e.utf8_error().valid_up_to();
            faults.push(Fault::key(key, format!("{}: byte {at} is not UTF-8", path.display()), mend));
        }
        Err(e) => faults.push(Fault::key(key, format!("{}: {e}", path.display()), mend)),
    }
}

fn fault(diagnostic: Diagnostic) -> Fault {
    let Diagnostic { file, line, column, text, what, mend, .. } = diagnostic;
    Fault::file(file, (line, column), text, what, mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_core_rules_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/core");
        let mut on_disk: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".conf"))
            .map(|name| format!("<core/{name}>"))
            .collect();
        on_disk.sort();
        let embedded: Vec<_> = CORE_SETUP.iter().chain(CORE).map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(embedded, on_disk, "in the order of evaluation, which is that of the names");
    }

    #[test]
    fn the_core_rules_compile_without_a_warning() {
        let loaded = load(&Settings::default(), Path::new("/")).unwrap_or_else(|faults| panic!("{faults:#?}"));
        assert_eq!(loaded.warnings, []);
        assert!(loaded.rules.unwrap().rules().count() > 50);
    }

    #[test]
    fn files_are_named_in_faults() {
        let settings = Settings { rules: vec!["/nowhere/*.conf".into()], ..Settings::default() };
        let faults = load(&settings, Path::new("/")).err().unwrap();
        assert!(faults[0].to_string().contains("/nowhere/*.conf"), "{}", faults[0]);
    }
}
