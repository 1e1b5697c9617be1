//! A pool's replicas at one moment, with what is made of them beforehand.

use super::affinity::Token;
use super::replica::Replica;
use super::ring::Ring;
use parking_lot::Mutex;
use std::sync::Arc;

/// One replica of the pool.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) replica: Arc<Replica>,
    /// From 1.
    pub(super) weight: u32,
    /// Its name in the affinity cookie.
    pub(super) token: Option<Token>,
}

/// All of them. Never changed: others take their place.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) list: Vec<Member>,
    /// What each has gained towards its turn.
    pub(super) gained: Mutex<Vec<f64>>,
    /// Empty where keys decide nothing.
    pub(super) ring: Ring,
}

impl Members {
    pub(super) fn new(list: Vec<Member>, hashing: bool) -> Self {
        let names: Vec<(String, u32)> = if hashing {
            list.iter().map(|member| (member.replica.address().to_string(), member.weight)).collect()
        } else {
            Vec::new()
        };
        let ring = Ring::new(names.iter().map(|(name, weight)| (name.as_str(), *weight)));
        Self { gained: Mutex::new(vec![0.0; list.len()]), ring, list }
    }

    /// Whether these are the same replicas at the same weights.
    pub(super) fn same(&self, other: &[Member]) -> bool {
        self.list.len() == other.len()
            && self.list.iter().zip(other).all(|(a, b)| Arc::ptr_eq(&a.replica, &b.replica) && a.weight == b.weight)
    }
}
