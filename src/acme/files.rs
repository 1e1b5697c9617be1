//! Files of the state directory: written whole or not at all, for the gate's user alone.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Makes the folders.
pub(super) fn prepare(folder: &Path) -> io::Result<()> {
    for part in ["certificates", "challenges"] {
        DirBuilder::new().recursive(true).mode(0o700).create(folder.join(part))?;
    }
    Ok(())
}

/// The lock that is held while ordering, unless another process has it. Given back when the file is closed, so the end of
/// a process, whatever its cause, gives it back too.
pub(super) fn lock(folder: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes what a process left that was killed over an order; for the one that holds the lock, since all else is nobody's.
pub(super) fn tidy(folder: &Path) -> io::Result<()> {
    for (part, all) in [("challenges", true), ("certificates", false), ("", false)] {
        for entry in std::fs::read_dir(folder.join(part))? {
            let path = entry?.path();
            if path.is_file() && (all || path.extension().is_some_and(|extension| extension == "new")) {
                std::fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// Writes `text` to a new file beside `path`, on the disk when this returns.
pub(super) fn aside(path: &Path, text: &str) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    // Left over from a process of the same number that was killed here.
    let _ = std::fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.map(|()| temporary)
}

/// Puts a file written [`aside`] in its place, and the change of the folder on the disk.
pub(super) fn settle(temporary: &Path, path: &Path) -> io::Result<()> {
    if let Err(error) = std::fs::rename(temporary, path) {
        let _ = std::fs::remove_file(temporary);
        return Err(error);
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Both in one.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    settle(&aside(path, text)?, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn files_are_for_their_owner_alone_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("acme");
        prepare(&folder).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        let file = folder.join("certificates/a.pem");
        write(&file, "one").unwrap();
        let other = aside(&file, "two").unwrap();
        assert_eq!((std::fs::read_to_string(&file).unwrap().as_str(), mode(&other)), ("one", 0o600));
        settle(&other, &file).unwrap();
        assert_eq!((std::fs::read_to_string(&file).unwrap().as_str(), mode(&file)), ("two", 0o600));
        assert!(!other.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path()).unwrap();
        let names = ["lock", "account-1.json", "certificates/a.pem", "certificates/a.attempt.json"];
        let left = ["challenges/token", "certificates/a.pem.7.new", "account-1.json.7.new"];
        for name in names.iter().chain(&left) {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        tidy(dir.path()).unwrap();
        assert!(names.iter().all(|name| dir.path().join(name).exists()));
        assert!(!left.iter().any(|name| dir.path().join(name).exists()));
    }

    #[test]
    fn one_at_a_time_has_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        assert!(first.is_some());
        assert!(lock(dir.path()).unwrap().is_none());
        drop(first);
        assert!(lock(dir.path()).unwrap().is_some());
    }
}
