//! The files that a rule set names: data lists of operators and included rule files.
//!
//! The engine opens nothing by itself. Whoever compiles a rule set says through [`Files`] what may be read;
//! evaluation never reads a file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Largest rule or data file that is read: 64 MiB.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// What a rule set may read while it is compiled.
pub trait Files {
    /// The whole content of a file. Relative names have already been joined to the folder of the file that names them.
    ///
    /// # Errors
    /// Whatever the source of files reports; it is shown at the place that names the file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The files that `pattern` names (`*` and `?` in its last component), sorted by name. A pattern without a
    /// wildcard names one file, which need not exist.
    ///
    /// # Errors
    /// As [`Files::read`].
    fn list(&self, pattern: &Path) -> io::Result<Vec<PathBuf>>;
}

/// Files on disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let size = std::fs::metadata(path)?.len();
        if size > MAX_FILE_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{size} bytes, the limit is 64 MiB")));
        }
        std::fs::read(path)
    }

    fn list(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let Some(name) = wildcard_name(pattern) else { return Ok(vec![pattern.to_owned()]) };
        let folder = pattern.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|n| glob(name.as_bytes(), n.as_bytes())) {
                found.push(pattern.with_file_name(entry.file_name()));
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Files held in memory, by path: embedded rules and tests.
#[derive(Debug, Clone, Default)]
pub struct Memory(BTreeMap<PathBuf, Vec<u8>>);

impl Memory {
    /// Adds a file; a later one of the same path replaces it.
    pub fn with(mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        self.0.insert(plain(&path.into()), content.into());
        self
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(&plain(path)).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn list(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let Some(name) = wildcard_name(pattern) else { return Ok(vec![pattern.to_owned()]) };
        let folder = plain(pattern.parent().unwrap_or(Path::new("")));
        let fits = |p: &&PathBuf| {
            p.parent() == Some(folder.as_path())
                && p.file_name().and_then(|n| n.to_str()).is_some_and(|n| glob(name.as_bytes(), n.as_bytes()))
        };
        Ok(self.0.keys().filter(fits).cloned().collect())
    }
}

/// `./a/../b` as `b`, so that one file has one name.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if out.file_name().is_some() => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

fn wildcard_name(pattern: &Path) -> Option<&str> {
    pattern.file_name()?.to_str().filter(|n| n.contains(['*', '?']))
}

/// Whether `name` fits `pattern`, where `*` stands for any run of bytes and `?` for one.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    // One restart point suffices: a later star makes every earlier one irrelevant.
    let (mut p, mut n) = (0, 0);
    let mut restart: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), name.get(n)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                restart = Some((p + 1, n));
                p += 1;
            }
            (Some(b'?'), Some(_)) => (p, n) = (p + 1, n + 1),
            (Some(a), Some(b)) if a == b => (p, n) = (p + 1, n + 1),
            _ => match restart {
                Some((after, from)) if from < name.len() => {
                    restart = Some((after, from + 1));
                    (p, n) = (after, from + 1);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, name, fits) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.example", false),
            ("REQUEST-9?1*", "REQUEST-901-INIT.conf", true),
            ("*", "", true),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXb", false),
            ("?", "", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn memory_lists_in_order_and_resolves_dots() {
        let files = Memory::default().with("r/b.conf", "2").with("r/a.conf", "1").with("r/x.data", "3").with("c", "4");
        let names = files.list(Path::new("./r/*.conf")).unwrap();
        assert_eq!(names, [PathBuf::from("r/a.conf"), PathBuf::from("r/b.conf")]);
        assert_eq!(files.read(Path::new("r/../c")).unwrap(), b"4");
        assert!(files.read(Path::new("r/none")).is_err());
        assert_eq!(files.list(Path::new("r/none")).unwrap(), [PathBuf::from("r/none")]);
    }
}
