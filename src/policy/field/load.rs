//! Policy files from disk.

use super::FieldPolicy;
use crate::fault::Fault;
use gatehouse_waf::files::{Disk, Files as _};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The largest policy file that is read, in bytes.
const MAX_SIZE: u64 = 4 << 20;

/// What loading gave.
#[derive(Debug)]
pub struct Loaded {
    /// The policy.
    pub policy: FieldPolicy,
    /// The files it was read from, and the folders of patterns: to be watched.
    pub files: Vec<PathBuf>,
}

/// Reads and builds the policy of all files that the patterns name (`*` and `?` in the last component); relative ones
/// start at `base`.
///
/// # Errors
/// What cannot be read, by a key relative to the list of patterns, as `[0]`; else every fault of every file, each at
/// its place.
pub fn load(patterns: &[PathBuf], base: &Path) -> Result<Loaded, Vec<Fault>> {
    let (mut files, mut texts, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (index, pattern) in patterns.iter().enumerate() {
        let key = format!("[{index}]");
        let pattern = base.join(pattern);
        let mend = "name a policy file, or a folder and a pattern, as \"rules/archon/*.toml\"";
        let mut fault = |what: String| faults.push(Fault::key(key.as_str(), what, mend));
        let found = match Disk.list(&pattern) {
            Ok(found) => found,
            Err(error) => {
                fault(format!("{}: {error}", pattern.display()));
                continue;
            }
        };
        if found.is_empty() {
            fault(format!("no file fits {}", pattern.display()));
        }
        // A file that appears or goes changes its folder.
        files.extend(pattern.parent().map(Path::to_owned));
        for path in found {
            // A file that two patterns name is one file.
            if files.contains(&path) {
                continue;
            }
            match read(&path) {
                Ok(text) => texts.push((path.display().to_string(), text)),
                Err(error) => fault(format!("{}: {error}", path.display())),
            }
            files.push(path);
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let policy = FieldPolicy::build(&texts)?;
    // Not in the middle of the first request.
    gatehouse_waf::field::short::prepare();
    Ok(Loaded { policy, files })
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let size = File::open(path)?.take(MAX_SIZE + 1).read_to_string(&mut text)?;
    if u64::try_from(size).is_ok_and(|size| size > MAX_SIZE) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {MAX_SIZE} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_patterns_are_one_policy() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.toml"), "[types]\nid = 'uuid'").unwrap();
        std::fs::write(dir.path().join("b.toml"), "[[operation]]\npath = '/a'\nmethods = ['GET']\nquery.x = 'id'")
            .unwrap();
        let loaded = load(&["*.toml".into(), "b.toml".into()], dir.path()).unwrap();
        assert_eq!((loaded.policy.operations().len(), loaded.files.len()), (1, 4));

        std::fs::write(dir.path().join("c.toml"), "[type]").unwrap();
        std::fs::write(dir.path().join("d.toml"), b"\xff").unwrap();
        let keys = |patterns: &[PathBuf]| -> Vec<String> {
            load(patterns, dir.path()).unwrap_err().iter().map(ToString::to_string).collect()
        };
        let unread = keys(&["d.toml".into(), "e.toml".into(), "*.conf".into(), "x/*.toml".into()]);
        for (index, fault) in unread.iter().enumerate() {
            assert!(fault.starts_with(&format!("[{index}]: ")), "{fault}");
        }
        assert_eq!(unread.len(), 4);
        let faulty = keys(&["c.toml".into()]);
        assert!(faulty[0].contains("c.toml:1:2: unknown key \"type\"; did you mean \"types\"?"), "{faulty:?}");

        std::fs::write(dir.path().join("c.toml"), "# soon\n").unwrap();
        assert!(keys(&["c.toml".into()])[0].contains("c.toml:1:1: this file says nothing"));
    }
}
