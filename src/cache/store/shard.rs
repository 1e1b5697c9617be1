//! One shard: a map, the two queues of S3-FIFO, its ghosts, and the purges it remembers.

use super::{Entry, Key};
use crate::cache::key::Hash;
use std::collections::hash_map::Entry as Place;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Purges a shard remembers; older ones void every write that began before them.
const REMEMBERED_PURGES: usize = 512;

/// How often an entry's use counts at most.
const MAX_USES: u8 = 3;

/// Ghosts kept at least, however few entries there are.
const MIN_GHOSTS: usize = 64;

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    /// Tells this stay in the queues from an earlier one under the same key.
    stay: u64,
    uses: AtomicU8,
    is_main: bool,
}

/// Entries whose primary key falls here. Queues may hold keys of entries that are gone; such places are passed over,
/// and swept out before they outnumber the rest.
#[derive(Debug, Default)]
pub(super) struct Shard {
    map: HashMap<Key, Slot>,
    small: VecDeque<(Key, u64)>,
    main: VecDeque<(Key, u64)>,
    /// Live entries in `small`.
    small_len: usize,
    ghosts: HashSet<Key>,
    ghost_order: VecDeque<Key>,
    stays: u64,
    purges: VecDeque<(Hash, u64)>,
    /// The newest purge no longer remembered by name.
    forgotten: u64,
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// The entry, counted as used.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        let slot = self.map.get(key)?;
        let uses = slot.uses.load(Relaxed);
        if uses < MAX_USES {
            // Two readers may count as one: the order is a guess anyway.
            slot.uses.store(uses + 1, Relaxed);
        }
        Some(Arc::clone(&slot.entry))
    }

    pub(super) fn peek(&self, key: &Key) -> Option<&Arc<Entry>> {
        self.map.get(key).map(|slot| &slot.entry)
    }

    pub(super) fn holds(&self, key: &Key) -> bool {
        self.map.contains_key(key)
    }

    /// Puts an entry in; returns the one it replaces, to be dropped outside the lock.
    pub(super) fn insert(&mut self, key: Key, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        if let Some(slot) = self.map.get_mut(&key) {
            return Some(std::mem::replace(&mut slot.entry, entry));
        }
        let is_main = self.ghosts.remove(&key);
        self.stays += 1;
        let slot = Slot { entry, stay: self.stays, uses: AtomicU8::new(0), is_main };
        self.map.insert(key, slot);
        self.small_len += usize::from(!is_main);
        let queue = if is_main { &mut self.main } else { &mut self.small };
        queue.push_back((key, self.stays));
        self.sweep();
        None
    }

    /// Puts `entry` in the place of one with the same body; false when there is none.
    pub(super) fn swap(&mut self, key: &Key, entry: Arc<Entry>) -> bool {
        match self.map.get_mut(key) {
            Some(slot) if Arc::ptr_eq(&slot.entry.body, &entry.body) => {
                slot.entry = entry;
                true
            }
            _ => false,
        }
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Arc<Entry>> {
        let slot = self.map.remove(key)?;
        self.small_len -= usize::from(!slot.is_main);
        self.sweep();
        Some(slot.entry)
    }

    /// Takes out the entry that is worth least, among those nobody reads right now.
    pub(super) fn evict(&mut self) -> Option<Arc<Entry>> {
        // Each live place is looked at no more often than its uses allow, and once more.
        let mut tries = self.small.len() + self.main.len() * (usize::from(MAX_USES) + 1) + 1;
        while tries > 0 && !self.map.is_empty() {
            tries -= 1;
            let from_small = self.small_len * 10 >= self.map.len() || self.main.is_empty();
            let taken = if from_small {
                self.small.pop_front().or_else(|| self.main.pop_front())
            } else {
                self.main.pop_front()
            };
            let (key, stay) = taken?;
            let Place::Occupied(mut place) = self.map.entry(key) else { continue };
            let slot = place.get_mut();
            if slot.stay != stay {
                continue;
            }
            let uses = slot.uses.load(Relaxed);
            let is_pinned = Entry::is_pinned(&slot.entry);
            if slot.is_main {
                if uses > 0 || is_pinned {
                    slot.uses.store(uses.saturating_sub(1), Relaxed);
                    self.main.push_back((key, stay));
                    continue;
                }
                return Some(place.remove().entry);
            }
            self.small_len -= 1;
            if uses > 0 || is_pinned {
                slot.is_main = true;
                slot.uses.store(0, Relaxed);
                self.main.push_back((key, stay));
                continue;
            }
            let entry = place.remove().entry;
            self.haunt(key);
            return Some(entry);
        }
        None
    }

    /// Remembers that a key was here once; at most as many as there are entries.
    fn haunt(&mut self, key: Key) {
        if self.ghosts.insert(key) {
            self.ghost_order.push_back(key);
        }
        while self.ghost_order.len() > self.map.len().max(MIN_GHOSTS) {
            if let Some(oldest) = self.ghost_order.pop_front() {
                self.ghosts.remove(&oldest);
            }
        }
    }

    /// Drops places of entries that are gone, once they are the larger part.
    fn sweep(&mut self) {
        if self.small.len() + self.main.len() <= 2 * self.map.len() + MIN_GHOSTS {
            return;
        }
        let map = &self.map;
        let is_live = |place: &(Key, u64)| map.get(&place.0).is_some_and(|slot| slot.stay == place.1);
        self.small.retain(is_live);
        self.main.retain(is_live);
    }

    pub(super) fn remember_purge(&mut self, primary: Hash, ticket: u64) {
        self.purges.push_back((primary, ticket));
        while self.purges.len() > REMEMBERED_PURGES {
            if let Some((_, oldest)) = self.purges.pop_front() {
                self.forgotten = self.forgotten.max(oldest);
            }
        }
    }

    /// Whether a primary key was, or may have been, purged after `ticket` was drawn.
    pub(super) fn purged_since(&self, primary: Hash, ticket: u64) -> bool {
        self.forgotten > ticket || self.purges.iter().any(|(purged, at)| *at > ticket && *purged == primary)
    }

    /// Empties the shard; everything begun before `ticket` is void.
    pub(super) fn clear(&mut self, ticket: u64) -> u64 {
        let count = self.map.len() as u64;
        let emptied = Self { stays: self.stays, forgotten: ticket, ..Self::default() };
        *self = emptied;
        count
    }
}
