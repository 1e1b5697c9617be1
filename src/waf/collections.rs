//! The persistent collections (GLOBAL, IP, RESOURCE, SESSION, USER): counters and flags that outlive a transaction.
//!
//! Kept in memory by the process, not on disk; a rule set that replaces another may adopt its collections. Bounded:
//! [`MAX_RECORDS`] records of [`MAX_VARIABLES`] variables of [`MAX_VALUE_BYTES`] each; when full, the records unused for
//! longest are forgotten (they are hints for scoring, so this fails open). The time is an argument. One lock guards the
//! whole store and is held for one read or change; rule sets that open no collection never touch it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::action::Store;

/// Most records of all collections together.
pub const MAX_RECORDS: usize = 65_536;
/// Most variables in one record.
pub const MAX_VARIABLES: usize = 64;
/// Longest value; a longer one is cut.
pub const MAX_VALUE_BYTES: usize = 1024;
/// Longest key of a record; a longer one is cut.
const MAX_KEY_BYTES: usize = 512;

/// All persistent collections of one gate.
#[derive(Debug)]
pub struct Collections {
    records: Mutex<HashMap<(Store, Vec<u8>), Record>>,
    /// How long an unused record is kept.
    idle: Duration,
}

#[derive(Debug)]
struct Record {
    used: SystemTime,
    variables: Vec<Stored>,
}

#[derive(Debug)]
struct Stored {
    name: Vec<u8>,
    value: Vec<u8>,
    expires: Option<SystemTime>,
}

impl Stored {
    fn lives(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|at| at > now)
    }
}

impl Collections {
    /// An empty store whose records are forgotten after `idle` without use.
    pub fn new(idle: Duration) -> Self {
        Self { records: Mutex::new(HashMap::new()), idle }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Store, Vec<u8>), Record>> {
        // A panic elsewhere leaves whole values behind: every change below is one assignment.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The variables of a record that have not expired.
    pub(crate) fn read(&self, store: Store, key: &[u8], now: SystemTime) -> Vec<(Vec<u8>, Vec<u8>)> {
        let records = self.lock();
        let Some(record) = records.get(&(store, cut(key, MAX_KEY_BYTES))) else { return Vec::new() };
        if self.is_stale(record, now) {
            return Vec::new();
        }
        let live = record.variables.iter().filter(|v| v.lives(now));
        live.map(|v| (v.name.clone(), v.value.clone())).collect()
    }

    /// Replaces a variable by what `change` makes of its present value; `None` removes it.
    pub(crate) fn change(
        &self,
        (store, key): (Store, &[u8]),
        name: &[u8],
        now: SystemTime,
        change: impl FnOnce(Option<&[u8]>) -> Option<Vec<u8>>,
    ) {
        let mut records = self.lock();
        if records.len() >= MAX_RECORDS {
            self.evict(&mut records, now);
        }
        let record = records
            .entry((store, cut(key, MAX_KEY_BYTES)))
            .or_insert_with(|| Record { used: now, variables: Vec::new() });
        if self.is_stale(record, now) {
            record.variables.clear();
        }
        record.used = now;
        record.variables.retain(|v| v.lives(now));
        let found = record.variables.iter().position(|v| v.name.eq_ignore_ascii_case(name));
        let present = found.and_then(|i| record.variables.get(i)).map(|v| v.value.as_slice());
        match (change(present), found) {
            (Some(value), Some(i)) => {
                if let Some(variable) = record.variables.get_mut(i) {
                    variable.value = cut(&value, MAX_VALUE_BYTES);
                }
            }
            (Some(value), None) if record.variables.len() < MAX_VARIABLES => {
                let (name, value) = (cut(name, MAX_KEY_BYTES), cut(&value, MAX_VALUE_BYTES));
                record.variables.push(Stored { name, value, expires: None });
            }
            (None, Some(i)) => {
                record.variables.swap_remove(i);
            }
            _ => {}
        }
    }

    /// Lets a variable end at `at`.
    pub(crate) fn expire(&self, store: Store, key: &[u8], name: &[u8], at: SystemTime) {
        let mut records = self.lock();
        let record = records.get_mut(&(store, cut(key, MAX_KEY_BYTES)));
        let variable = record.and_then(|r| r.variables.iter_mut().find(|v| v.name.eq_ignore_ascii_case(name)));
        if let Some(variable) = variable {
            variable.expires = Some(at);
        }
    }

    fn is_stale(&self, record: &Record, now: SystemTime) -> bool {
        now.duration_since(record.used).is_ok_and(|unused| unused >= self.idle)
    }

    /// Makes room: drops stale records, else the eighth unused for longest.
    fn evict(&self, records: &mut HashMap<(Store, Vec<u8>), Record>, now: SystemTime) {
        records.retain(|_, record| !self.is_stale(record, now));
        if records.len() < MAX_RECORDS {
            return;
        }
        let mut used: Vec<SystemTime> = records.values().map(|r| r.used).collect();
        let eighth = used.len() / 8;
        let (_, cutoff, _) = used.select_nth_unstable(eighth);
        let cutoff = *cutoff;
        // Equal times must not empty the store: count what goes.
        let mut left = eighth.max(1);
        records.retain(|_, record| {
            let drop = left > 0 && record.used <= cutoff;
            left -= usize::from(drop);
            !drop
        });
    }
}

fn cut(bytes: &[u8], most: usize) -> Vec<u8> {
    bytes.get(..most).unwrap_or(bytes).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(present: Option<&[u8]>) -> Option<Vec<u8>> {
        let n: u32 = present.map_or(0, |v| String::from_utf8_lossy(v).parse().unwrap());
        Some((n + 1).to_string().into_bytes())
    }

    #[test]
    fn counts_expires_and_forgets() {
        let store = Collections::new(Duration::from_secs(100));
        let at = |s: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        let ip = (Store::Ip, b"1.2.3.4".as_slice());
        let read = |s: u64| store.read(ip.0, ip.1, at(s));
        store.change(ip, b"hits", at(0), add);
        store.change(ip, b"HITS", at(1), add);
        assert_eq!(read(2), [(b"hits".to_vec(), b"2".to_vec())]);
        assert_eq!(store.read(Store::Global, ip.1, at(2)), []);
        store.expire(ip.0, ip.1, b"hits", at(10));
        assert_eq!(read(9).len(), 1);
        assert_eq!(read(10).len(), 0);
        store.change(ip, b"hits", at(11), add);
        assert_eq!(read(12), [(b"hits".to_vec(), b"1".to_vec())]);
        assert_eq!(read(111), [], "unused for the idle time");
        store.change(ip, b"hits", at(12), |_| None);
        assert_eq!(read(12), []);
    }

    #[test]
    fn is_bounded() {
        let store = Collections::new(Duration::from_secs(100));
        for n in 0..(MAX_RECORDS + 10) {
            store.change((Store::Ip, n.to_string().as_bytes()), b"x", SystemTime::UNIX_EPOCH, add);
        }
        let kept = store.lock().len();
        assert!(kept <= MAX_RECORDS && kept > MAX_RECORDS / 2, "{kept}");
        for n in 0..(MAX_VARIABLES + 10) {
            store.change((Store::Global, b"g"), n.to_string().as_bytes(), SystemTime::UNIX_EPOCH, |_| {
                Some(vec![b'a'; 2 * MAX_VALUE_BYTES])
            });
        }
        let global = store.read(Store::Global, b"g", SystemTime::UNIX_EPOCH);
        assert_eq!(global.len(), MAX_VARIABLES);
        assert!(global.iter().all(|(_, v)| v.len() == MAX_VALUE_BYTES));
    }
}
