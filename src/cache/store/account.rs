//! The one account all memory of the store is taken from.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Of the capacity, the part that bodies being written may have: one in this many.
const WRITING_SHARE: usize = 4;

/// Why bytes were not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Not until something is given back.
    Now,
    /// Not even from an empty store, or too much is being written.
    Never,
}

/// Bytes used, of a capacity. Relaxed order is enough: each counter is exact by itself, and nothing is read through it.
#[derive(Debug)]
pub(super) struct Account {
    used: AtomicUsize,
    writing: AtomicUsize,
    capacity: AtomicUsize,
}

impl Account {
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), writing: AtomicUsize::new(0), capacity: AtomicUsize::new(capacity) })
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub(super) fn writing(&self) -> usize {
        self.writing.load(Relaxed)
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity.load(Relaxed)
    }

    pub(super) fn set_capacity(&self, capacity: usize) {
        self.capacity.store(capacity, Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.used() > self.capacity()
    }

    /// Takes `bytes`, counted as being written or not.
    pub(super) fn reserve(self: &Arc<Self>, bytes: usize, writing: bool) -> Result<Reserved, Refused> {
        let capacity = self.capacity();
        let add = |counter: &AtomicUsize, limit: usize| {
            let added = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= limit);
            counter.fetch_update(Relaxed, Relaxed, added).is_ok()
        };
        if bytes > capacity || (writing && !add(&self.writing, capacity / WRITING_SHARE)) {
            return Err(Refused::Never);
        }
        if !add(&self.used, capacity) {
            if writing {
                self.writing.fetch_sub(bytes, Relaxed);
            }
            return Err(Refused::Now);
        }
        Ok(Reserved { account: Arc::clone(self), bytes, writing: if writing { bytes } else { 0 } })
    }

    pub(super) fn nothing(self: &Arc<Self>) -> Reserved {
        Reserved { account: Arc::clone(self), bytes: 0, writing: 0 }
    }
}

/// Bytes taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    account: Arc<Account>,
    bytes: usize,
    /// How many of `bytes` count as being written.
    writing: usize,
}

impl Reserved {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds what another one of the same account holds.
    pub(super) fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
        self.writing += std::mem::take(&mut other.writing);
    }

    /// No longer counted as being written.
    pub(super) fn settle(&mut self) {
        self.account.writing.fetch_sub(std::mem::take(&mut self.writing), Relaxed);
    }

    /// Splits off up to `bytes` of a settled one.
    pub(super) fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { account: Arc::clone(&self.account), bytes, writing: 0 }
    }

    /// Gives back what is above `bytes`.
    pub(super) fn shrink(&mut self, bytes: usize) {
        drop(self.split(self.bytes.saturating_sub(bytes)));
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.account.used.fetch_sub(self.bytes, Relaxed);
        self.account.writing.fetch_sub(self.writing, Relaxed);
    }
}
