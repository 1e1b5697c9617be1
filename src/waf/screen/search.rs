//! One pattern, searched for in a whole text: where few patterns are asked for, or where checks did not decide.
//!
//! An automaton whose states are built as texts ask for them, forward only: the engine behind `@rx` has strategies that
//! read backwards from a literal inside the pattern, and where these fail it falls back to one a hundred times slower.
//! Memory: up to [`STATES`] for each pattern and thread that searches. A text that makes it build states without end is
//! handed back undecided.

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::pool::{Pool, PoolGuard};
use regex_automata::util::prefilter::Prefilter;
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::Hir;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Bytes of states.
const STATES: usize = 2 << 20;
/// So often the states may be thrown away, unless they have served for so many bytes each.
const CLEARS: usize = 3;
const BYTES_PER_STATE: usize = 10;

type MakeCache = Box<dyn Fn() -> Cache + Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>;

/// The text made a search build states without end.
#[derive(Debug)]
pub(super) struct Undecided;

/// A compiled search.
pub(super) struct Search {
    dfa: DFA,
    /// What a thread begins with.
    warm: Arc<OnceLock<Cache>>,
    used: AtomicBool,
    caches: Pool<Cache, MakeCache>,
}

/// A pattern as the automata are built from: on bytes, without groups.
pub(super) fn nfa(pattern: &Hir) -> Option<thompson::NFA> {
    let config = thompson::Config::new().utf8(false).which_captures(thompson::WhichCaptures::None);
    thompson::Compiler::new().configure(config).build_from_hir(pattern).ok()
}

impl Search {
    /// Of a pattern and the automaton made of it.
    pub(super) fn of(pattern: &Hir, nfa: thompson::NFA) -> Option<Self> {
        let prefilter = Prefilter::from_hir_prefix(MatchKind::LeftmostFirst, pattern).filter(Prefilter::is_fast);
        let config = DFA::config()
            .cache_capacity(STATES)
            .minimum_cache_clear_count(Some(CLEARS))
            .minimum_bytes_per_state(Some(BYTES_PER_STATE))
            .specialize_start_states(prefilter.is_some())
            .prefilter(prefilter);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).ok()?;
        let warm = Arc::new(OnceLock::new());
        let (source, known) = (dfa.clone(), Arc::<OnceLock<Cache>>::clone(&warm));
        let make: MakeCache = Box::new(move || known.get().cloned().unwrap_or_else(|| source.create_cache()));
        Some(Self { dfa, warm, used: AtomicBool::new(false), caches: Pool::new(make) })
    }

    /// Keeps the states that have been made so far for threads that will begin to search.
    pub(super) fn keep_warm(&self) {
        if self.used.load(Ordering::Relaxed) {
            let _ = self.warm.set(self.caches.get().clone());
        }
    }

    fn cache(&self) -> PoolGuard<'_, Cache, MakeCache> {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        self.caches.get()
    }

    /// Whether a match begins at byte `at` exactly, `None` if it cannot be told, and how many bytes were read; of a match
    /// how long it is at least.
    pub(super) fn begins_at(&self, text: &[u8], at: usize) -> (Option<bool>, usize) {
        let mut cache = self.cache();
        let rest = text.get(at..).unwrap_or_default();
        let input = Input::new(text).range(at.min(text.len())..).anchored(Anchored::Yes);
        let Ok(mut state) = self.dfa.start_state_forward(&mut cache, &input) else { return (None, 0) };
        for (read, byte) in rest.iter().enumerate() {
            match self.dfa.next_state(&mut cache, state, *byte) {
                Err(_) => return (None, read),
                // It shows when the byte behind it is read.
                Ok(next) if next.is_match() => return (Some(true), read),
                Ok(next) if next.is_dead() => return (Some(false), read + 1),
                Ok(next) => state = next,
            }
        }
        let end = self.dfa.next_eoi_state(&mut cache, state);
        (end.ok().map(|end| end.is_match()), rest.len())
    }

    /// Where the preferred one of the matches that begin at byte `at` exactly ends, if there is one. The answer may be
    /// any end of it behind the first `enough` bytes.
    ///
    /// # Errors
    /// [`Undecided`] if it cannot be told.
    pub(super) fn end(&self, text: &[u8], at: usize, enough: usize) -> Result<Option<usize>, Undecided> {
        let mut cache = self.cache();
        let at = at.min(text.len());
        let input = Input::new(text).range(at..).anchored(Anchored::Yes);
        let mut state = self.dfa.start_state_forward(&mut cache, &input).map_err(|_| Undecided)?;
        let mut end = None;
        for (place, byte) in (at..).zip(text.get(at..).unwrap_or_default()) {
            state = self.dfa.next_state(&mut cache, state, *byte).map_err(|_| Undecided)?;
            if state.is_match() {
                // What is preferred to it ends behind it.
                end = Some(place);
                if place - at >= enough {
                    return Ok(end);
                }
            } else if state.is_dead() {
                return Ok(end);
            }
        }
        let last = self.dfa.next_eoi_state(&mut cache, state).map_err(|_| Undecided)?;
        Ok(if last.is_match() { Some(text.len()) } else { end })
    }

    /// The earliest end of a match that begins at byte `from` or later, if there is one.
    ///
    /// # Errors
    /// [`Undecided`] if it cannot be told.
    pub(super) fn first_end(&self, text: &[u8], from: usize) -> Result<Option<usize>, Undecided> {
        let input = Input::new(text).range(from.min(text.len())..).earliest(true);
        let found = self.dfa.try_search_fwd(&mut self.cache(), &input);
        found.map(|found| found.map(|end| end.offset())).map_err(|_| Undecided)
    }
}
