//! From a file to settings that a gate can be built from, and from faults to places in that file.
//!
//! ```text
//! text → ${…} replaced (environment) → TOML with spans → settings (document) → Config
//!                                                              key of a fault → file:line:column (source)
//! ```
//!
//! It decides nothing about traffic: each stage owns its section's `Settings` and builds itself from them. What comes in is
//! one file of at most [`MAX_SIZE`] bytes and the environment; what comes out is a [`Config`], or every fault found, each with the
//! place, the line, and the mend. Nothing starts on a faulty file, and a reload that meets one changes nothing.
//!
//! The format is TOML; relative paths in it are relative to the file.

mod document;
mod environment;
mod read;
mod source;

pub use document::{Document, HeadLimits, ListenerSettings, Listeners, PlainMode, ServerSettings, TimeoutSettings};
pub use environment::Variables;

use crate::fault::Fault;
use source::Source;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest configuration file that is read, in bytes.
pub const MAX_SIZE: u64 = 4 << 20;

/// A configuration as loaded: the settings, and what is needed to say where in the file they stand.
#[derive(Debug, Clone)]
pub struct Config {
    /// The settings.
    pub document: Document,
    /// The directory of the file: relative paths in the settings start here.
    pub base: PathBuf,
    source: Arc<Source>,
}

impl Config {
    /// The file it came from.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// Where the gate keeps what it makes itself.
    pub fn state_dir(&self) -> PathBuf {
        self.base.join(&self.document.server.state_dir)
    }

    /// Turns the place of a fault from a key, such as `reputation.lists[0].path`, into file, line and column. A place in
    /// another file stays as it is.
    pub fn locate(&self, fault: Fault) -> Fault {
        self.source.locate(fault)
    }
}

/// Loads a configuration file, with variables from the environment.
///
/// # Errors
///
/// Every fault found, each at its place in the file.
pub fn load(path: &Path) -> Result<Config, Vec<Fault>> {
    let unreadable = |what: String, mend: &str| vec![Fault::file(path, (0, 0), "", what, mend)];
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_string(&mut text)) {
        Err(error) => Err(unreadable(format!("cannot be read: {error}"), "name a readable configuration file")),
        Ok(size) if u64::try_from(size).is_ok_and(|size| size > MAX_SIZE) => {
            Err(unreadable(format!("is larger than {MAX_SIZE} bytes"), "name a configuration file"))
        }
        Ok(_) => parse(path, &text, &|name: &str| std::env::var(name)),
    }
}

/// Reads a configuration from text, as if it stood in the file `path`.
///
/// # Errors
///
/// Every fault found, each at its place in the text.
pub fn parse(path: &Path, text: &str, variables: &Variables<'_>) -> Result<Config, Vec<Fault>> {
    let mut source = Source::new(path, text);
    let document = read::read(&mut source, text, variables)?;
    let faults = document.contradictions();
    if !faults.is_empty() {
        return Err(faults.into_iter().map(|fault| source.locate(fault)).collect());
    }
    let base = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    Ok(Config { document, base, source: Arc::new(source) })
}

/// The settings as TOML that loads again, with every default filled in and secrets as `***`.
pub fn effective(document: &Document) -> String {
    match toml::to_string(document) {
        // A dollar in a value is one, not the start of a reference, when this is read again.
        Ok(text) => text.replace('$', "$$"),
        Err(error) => format!("# cannot be printed: {error}\n"),
    }
}

#[cfg(test)]
mod tests;
