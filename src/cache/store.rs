//! A store of finished responses, bounded in bytes and split over shards.
//!
//! *Bound.* Every byte is reserved from one [`Account`] before it is allocated and given back when the last holder
//! lets go: published entries, bodies being written, and entries evicted while a slow client still reads them. The sum
//! never exceeds the capacity. Bodies being written have a quarter of it at most, so a flood of large misses cannot
//! drive out what is stored. What finds no room is not stored; nobody waits.
//!
//! *Order.* S3-FIFO (Yang et al., SOSP 2023) per shard: new entries pass through a small queue, and only what was asked
//! for again reaches the main one, so a scan of one-time pages leaves the working set alone. A hit takes a shard's read
//! lock and one atomic; eviction takes the shards in turn.
//!
//! *Publishing.* A [`Write`] is invisible until [`Write::publish`]; dropped before, it leaves nothing. It carries a
//! [`Ticket`] drawn before the replica was asked: if its target was purged since, it is not published, so an answer
//! from before a change cannot outlive the change.

mod account;
mod shard;

use super::key::{Audience, Hash, Primary, Target};
use account::{Account, Reserved};
use bytes::Bytes;
use parking_lot::RwLock;
use shard::Shard;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Bytes charged for an entry besides key, metadata and body: its place in map, queues and ghost list, and the heap
/// blocks that hold it.
pub const ENTRY_OVERHEAD: usize = 768;

/// Largest block a body is kept in; each is charged with [`BLOCK_OVERHEAD`] more.
pub const BLOCK: usize = 64 * 1024;

/// Bytes charged for a block besides its content.
pub const BLOCK_OVERHEAD: usize = 96;

/// Largest metadata (serialised header fields) of an entry.
pub const MAX_META: usize = 256 * 1024;

/// Names an entry: the primary key's hash and the variant, if the response varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Hash of the primary key.
    pub primary: Hash,
    /// Hash of the fields named by `Vary`; `None` for the first variant and where nothing varies.
    pub variant: Option<Hash>,
}

/// Why something was not stored. A closed set: it labels metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// Larger than an object may be.
    #[error("larger than an object may be")]
    TooLarge,
    /// No room, or too much being written at once.
    #[error("no room")]
    Full,
    /// Its target was purged after the replica was asked.
    #[error("purged meanwhile")]
    Purged,
    /// The body is not as long as it was said to be.
    #[error("incomplete body")]
    Incomplete,
}

impl Rejected {
    /// The name used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Full => "full",
            Self::Purged => "purged",
            Self::Incomplete => "incomplete",
        }
    }
}

/// A moment in the order of purges: what is written under it is void if its target was purged later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// A stored body. Its bytes stay charged until the last reader drops it.
#[derive(Debug)]
pub struct Body {
    blocks: Vec<Bytes>,
    len: usize,
    _held: Reserved,
}

impl Body {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes from `start` up to `end` that lie in one block, without copying; `None` when there are none.
    pub fn read(&self, start: usize, end: usize) -> Option<Bytes> {
        let block = self.blocks.get(start / BLOCK)?;
        let from = start % BLOCK;
        let to = block.len().min(end.checked_sub(start)?.saturating_add(from));
        (from < to).then(|| block.slice(from..to))
    }
}

/// A published entry.
#[derive(Debug)]
pub struct Entry {
    label: Arc<[u8]>,
    meta: Box<[u8]>,
    body: Arc<Body>,
    _held: Reserved,
}

impl Entry {
    /// The metadata it was published with, or that replaced it.
    pub fn meta(&self) -> &[u8] {
        &self.meta
    }

    /// The body.
    pub fn body(&self) -> &Arc<Body> {
        &self.body
    }

    /// Whether somebody besides the map holds it or its body, so that evicting it would free nothing yet.
    fn is_pinned(entry: &Arc<Self>) -> bool {
        Arc::strong_count(entry) > 1 || Arc::strong_count(&entry.body) > 1
    }
}

/// Counts since start, and what is held now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries that can be found.
    pub entries: u64,
    /// Bytes reserved, all told.
    pub bytes: u64,
    /// Of those, bytes of bodies being written.
    pub writing_bytes: u64,
    /// The bound.
    pub capacity_bytes: u64,
    /// Lookups that found an entry.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Entries published.
    pub published: u64,
    /// Entries removed to make room.
    pub evicted: u64,
    /// Entries removed by a purge.
    pub purged: u64,
    /// Writes refused or not published.
    pub rejected: u64,
}

/// The store. Cheap to share; all methods take `&self`.
#[derive(Debug)]
pub struct Store {
    shards: Box<[RwLock<Shard>]>,
    account: Arc<Account>,
    max_object: AtomicUsize,
    purges: AtomicU64,
    turn: AtomicUsize,
    hits: AtomicU64,
    misses: AtomicU64,
    published: AtomicU64,
    evicted: AtomicU64,
    purged: AtomicU64,
    rejected: AtomicU64,
}

impl Store {
    /// An empty store of `capacity` bytes for bodies of up to `max_object` bytes, split over `shards` locks.
    pub fn new(capacity: usize, max_object: usize, shards: usize) -> Arc<Self> {
        Arc::new(Self {
            shards: (0..shards.max(1)).map(|_| RwLock::default()).collect(),
            account: Account::new(capacity),
            max_object: AtomicUsize::new(max_object),
            purges: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            published: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            purged: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
        })
    }

    /// Changes the bounds and evicts down to them.
    pub fn resize(&self, capacity: usize, max_object: usize) {
        self.account.set_capacity(capacity);
        self.max_object.store(max_object, Relaxed);
        while self.account.is_over() && self.evict_one() {}
    }

    /// Largest body that is stored now, in bytes.
    pub fn max_object(&self) -> usize {
        self.max_object.load(Relaxed)
    }

    /// The entry of a key, if its framed primary key is `label`.
    pub fn get(&self, key: &Key, label: &[u8]) -> Option<Arc<Entry>> {
        let found = self.shard(key).and_then(|shard| shard.read().get(key)).filter(|entry| *entry.label == *label);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Relaxed);
        found
    }

    /// The entry of a key, whatever its label and without counting it as asked for: for maintenance, not for answers.
    pub fn peek(&self, key: &Key) -> Option<Arc<Entry>> {
        self.shard(key).and_then(|shard| shard.read().peek(key).map(Arc::clone))
    }

    /// Whether a primary key has an entry, without counting it as asked for.
    pub fn holds(&self, primary: Hash) -> bool {
        let key = Key { primary, variant: None };
        self.shard(&key).is_some_and(|shard| shard.read().holds(&key))
    }

    /// The present moment in the order of purges; draw it before the replica is asked.
    pub fn ticket(&self) -> Ticket {
        Ticket(self.purges.load(Relaxed))
    }

    /// Begins a write. `expected`: the body's length where it is known.
    ///
    /// # Errors
    ///
    /// [`Rejected::TooLarge`] or [`Rejected::Full`] when it is known now that it will not fit.
    pub fn begin(
        self: &Arc<Self>,
        key: Key,
        label: &[u8],
        ticket: Ticket,
        expected: Option<u64>,
    ) -> Result<Write, Rejected> {
        let result = self.try_begin(key, label, ticket, expected);
        if result.is_err() {
            self.rejected.fetch_add(1, Relaxed);
        }
        result
    }

    fn try_begin(
        self: &Arc<Self>,
        key: Key,
        label: &[u8],
        ticket: Ticket,
        expected: Option<u64>,
    ) -> Result<Write, Rejected> {
        let max = self.max_object();
        if expected.is_some_and(|expected| usize::try_from(expected).map_or(true, |expected| expected > max)) {
            return Err(Rejected::TooLarge);
        }
        let held = self.reserve(label.len() + ENTRY_OVERHEAD, true)?;
        Ok(Write {
            store: Arc::clone(self),
            key,
            label: label.into(),
            ticket,
            expected,
            blocks: Vec::new(),
            open: Vec::new(),
            room: 0,
            len: 0,
            held,
            done: false,
        })
    }

    /// Replaces an entry's metadata, keeping its body, if `body` is still the body it has.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when there is no room. `Ok(false)` when the entry is gone or has another body.
    pub fn replace_meta(&self, key: &Key, body: &Arc<Body>, meta: &[u8]) -> Result<bool, Rejected> {
        if meta.len() > MAX_META {
            return Err(Rejected::TooLarge);
        }
        let Some(label) = self.peek(key).map(|entry| Arc::clone(&entry.label)) else {
            return Ok(false);
        };
        let held = self.reserve(label.len() + meta.len() + ENTRY_OVERHEAD, false)?;
        let entry = Arc::new(Entry { label, meta: meta.into(), body: Arc::clone(body), _held: held });
        Ok(self.shard(key).is_some_and(|shard| shard.write().swap(key, entry)))
    }

    /// Removes what is stored for a primary key. Its variants can no longer be reached either: they are found by way of
    /// the entry removed. Writes under older tickets are void.
    pub fn purge(&self, primary: Hash) -> bool {
        let key = Key { primary, variant: None };
        let ticket = self.purges.fetch_add(1, Relaxed) + 1;
        let found = self.shard(&key).and_then(|shard| {
            let mut shard = shard.write();
            shard.remember_purge(primary, ticket);
            shard.remove(&key)
        });
        self.purged.fetch_add(u64::from(found.is_some()), Relaxed);
        found.is_some()
    }

    /// Removes what is stored for a target, for every audience. Returns whether there was anything.
    pub fn purge_target(&self, target: &Target<'_>) -> bool {
        let purged = Audience::ALL.map(|audience| self.purge(Primary::new(target, audience).hash()));
        purged.contains(&true)
    }

    /// Removes one variant.
    pub fn purge_variant(&self, key: &Key) -> bool {
        let found = self.shard(key).and_then(|shard| shard.write().remove(key));
        self.purged.fetch_add(u64::from(found.is_some()), Relaxed);
        found.is_some()
    }

    /// Removes everything and voids every write under way. Returns how many entries there were.
    pub fn purge_all(&self) -> u64 {
        let ticket = self.purges.fetch_add(1, Relaxed) + 1;
        let count = self.shards.iter().map(|shard| shard.write().clear(ticket)).sum();
        self.purged.fetch_add(count, Relaxed);
        count
    }

    /// What is held and what was counted.
    pub fn stats(&self) -> Stats {
        Stats {
            entries: self.shards.iter().map(|shard| shard.read().len() as u64).sum(),
            bytes: self.account.used() as u64,
            writing_bytes: self.account.writing() as u64,
            capacity_bytes: self.account.capacity() as u64,
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            published: self.published.load(Relaxed),
            evicted: self.evicted.load(Relaxed),
            purged: self.purged.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
        }
    }

    /// The shard of a key: a primary key and its variants live in one. `None` cannot be, there is at least one.
    fn shard(&self, key: &Key) -> Option<&RwLock<Shard>> {
        let (half, _) = key.primary.split_first_chunk::<8>()?;
        let count = self.shards.len() as u64;
        let index = u64::from_le_bytes(*half).checked_rem(count)?;
        self.shards.get(usize::try_from(index).ok()?)
    }

    /// Takes bytes from the account, evicting until they fit.
    fn reserve(&self, bytes: usize, writing: bool) -> Result<Reserved, Rejected> {
        loop {
            match self.account.reserve(bytes, writing) {
                Ok(held) => return Ok(held),
                Err(account::Refused::Never) => return Err(Rejected::Full),
                Err(account::Refused::Now) => {}
            }
            if !self.evict_one() {
                return Err(Rejected::Full);
            }
        }
    }

    /// Evicts one entry nobody reads, from the shard whose turn it is or the next that has one.
    fn evict_one(&self) -> bool {
        let first = self.turn.fetch_add(1, Relaxed);
        let evicted = (0..self.shards.len()).any(|step| {
            let index = first.wrapping_add(step).checked_rem(self.shards.len()).unwrap_or(0);
            // The entry is dropped after the lock.
            let victim = self.shards.get(index).and_then(|shard| shard.write().evict());
            victim.is_some()
        });
        self.evicted.fetch_add(u64::from(evicted), Relaxed);
        evicted
    }
}

/// A response being written. Invisible until published; dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Write {
    store: Arc<Store>,
    key: Key,
    label: Arc<[u8]>,
    ticket: Ticket,
    expected: Option<u64>,
    blocks: Vec<Bytes>,
    open: Vec<u8>,
    /// How long `open` may get, as reserved.
    room: usize,
    len: usize,
    held: Reserved,
    done: bool,
}

impl Write {
    /// Adds to the body. The bytes are copied: what comes from the network is mostly a slice of a larger buffer, which
    /// keeping it would keep alive uncounted.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when it would be too large or there is no room. The write is then of no more use: drop it.
    pub fn push(&mut self, mut data: &[u8]) -> Result<(), Rejected> {
        let len = self.len.saturating_add(data.len());
        if len > self.store.max_object() {
            return Err(Rejected::TooLarge);
        }
        if self.expected.is_some_and(|expected| len as u64 > expected) {
            return Err(Rejected::Incomplete);
        }
        while !data.is_empty() {
            if self.open.len() >= self.room {
                self.make_room(data.len())?;
            }
            let (now, later) = data.split_at_checked(self.room - self.open.len()).unwrap_or((data, &[]));
            self.open.extend_from_slice(now);
            data = later;
        }
        self.len = len;
        Ok(())
    }

    /// Closes a full block, or gives a smaller one more room, and reserves what that takes. Every block but the last
    /// one is [`BLOCK`] bytes long.
    fn make_room(&mut self, wanted: usize) -> Result<(), Rejected> {
        if self.room >= BLOCK {
            self.blocks.push(Bytes::from(std::mem::take(&mut self.open)));
            self.room = 0;
        }
        let left =
            self.expected.map(|expected| usize::try_from(expected).unwrap_or(usize::MAX).saturating_sub(self.len));
        let room = left.unwrap_or_else(|| self.room.saturating_mul(2).max(4096));
        let room = room.max(self.room.saturating_add(wanted)).min(BLOCK);
        let overhead = if self.room == 0 { BLOCK_OVERHEAD } else { 0 };
        let more = self.store.reserve(room - self.room + overhead, true)?;
        self.held.join(more);
        self.open.reserve_exact(room - self.open.len());
        self.room = room;
        Ok(())
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes the entry visible, in place of any that was there. Returns the bytes it is charged with.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when the body is incomplete, the target was purged meanwhile, or there is no room.
    pub fn publish(mut self, meta: &[u8]) -> Result<usize, Rejected> {
        if self.expected.is_some_and(|expected| expected != self.len as u64) {
            return Err(Rejected::Incomplete);
        }
        if meta.len() > MAX_META {
            return Err(Rejected::TooLarge);
        }
        let mut blocks = std::mem::take(&mut self.blocks);
        let mut open = std::mem::take(&mut self.open);
        if !open.is_empty() {
            open.shrink_to_fit();
            blocks.push(Bytes::from(open));
        }
        blocks.shrink_to_fit();
        let body_cost = self.len + blocks.len() * BLOCK_OVERHEAD;
        let entry_cost = self.label.len() + meta.len() + ENTRY_OVERHEAD;
        let mut held = std::mem::replace(&mut self.held, self.store.account.nothing());
        held.settle();
        if held.bytes() < body_cost + entry_cost {
            let more = self.store.reserve(body_cost + entry_cost - held.bytes(), false)?;
            held.join(more);
        }
        let body_held = held.split(body_cost);
        held.shrink(entry_cost);
        let body = Arc::new(Body { blocks, len: self.len, _held: body_held });
        let entry = Arc::new(Entry { label: Arc::clone(&self.label), meta: meta.into(), body, _held: held });
        let shard = self.store.shard(&self.key).ok_or(Rejected::Full)?;
        let replaced = {
            let mut shard = shard.write();
            if shard.purged_since(self.key.primary, self.ticket.0) {
                return Err(Rejected::Purged);
            }
            shard.insert(self.key, entry)
        };
        drop(replaced);
        self.done = true;
        self.store.published.fetch_add(1, Relaxed);
        Ok(body_cost + entry_cost)
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        self.store.rejected.fetch_add(u64::from(!self.done), Relaxed);
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
