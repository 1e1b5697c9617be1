//! Where things stand in a configuration file: from byte offsets and keys to `file:line:column` and the line itself.

use crate::fault::{Fault, Page, Place};
use std::collections::BTreeMap;
use std::path::Path;

/// A configuration file as it was read, with the place of every key in it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    page: Page,
    /// Dotted key, spelled as stages spell it in a [`Fault`], to the byte offset of its value.
    places: BTreeMap<String, usize>,
}

impl Source {
    pub(super) fn new(path: &Path, text: &str) -> Self {
        Self { page: Page::new(path, text), places: BTreeMap::new() }
    }

    pub(super) fn path(&self) -> &Path {
        self.page.path()
    }

    pub(super) fn set_places(&mut self, places: BTreeMap<String, usize>) {
        self.places = places;
    }

    /// A fault at a byte offset of the file.
    pub(super) fn fault(&self, offset: usize, what: impl Into<String>, mend: impl Into<String>) -> Fault {
        self.page.fault(offset, what, mend)
    }

    /// Turns the place of a fault from a key into a place in this file: the key's own value, else that of the nearest
    /// table around it, else the whole file. A place that is none of its own is said in words.
    pub(super) fn locate(&self, fault: Fault) -> Fault {
        let Place::Key(key) = &fault.place else { return fault };
        let mut around = key.as_str();
        loop {
            if let Some(offset) = self.places.get(around) {
                let what = if around == key { fault.what } else { format!("{key}: {}", fault.what) };
                return self.fault(*offset, what, fault.mend);
            }
            match around.rfind(['.', '[']).and_then(|end| around.get(..end)) {
                Some(shorter) => around = shorter,
                None => {
                    return Fault::file(self.path(), (0, 0), "", format!("{key}: {}", fault.what), fault.mend);
                }
            }
        }
    }
}
