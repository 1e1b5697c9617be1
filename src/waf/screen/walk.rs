//! A pattern or a list of phrases, read from its first byte on, one byte at a time, while the rules are compiled.

use crate::hashing::Map;
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::NFA;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};
use std::hash::Hash;

/// How far a walk has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Walk {
    Matched,
    State(LazyStateID),
    /// The phrases from one to the other (not included) begin with what was read, so many bytes.
    Phrases(u32, u32, u32),
    /// The walk could not go on: anything may follow.
    Unknown,
}

/// What can be walked.
pub(super) enum Walker<'a> {
    Pattern(Box<(DFA, Cache)>),
    Phrases(&'a Phrases),
}

/// Memory of a lazily built automaton while the tables are built: only states near its start are ever built.
const CACHE: usize = 32 << 20;

/// Bytes before a match that patterns may tell apart (`\b`, `(?m)^`): one of a word, one of none, the ends of lines.
const BEFORE: [u8; 4] = [b'a', b' ', b'\n', b'\r'];

impl Walker<'_> {
    pub(super) fn pattern(nfa: NFA) -> Result<Self, String> {
        let config =
            DFA::config().match_kind(MatchKind::LeftmostFirst).cache_capacity(CACHE).skip_cache_capacity_check(true);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).map_err(|error| error.to_string())?;
        let cache = dfa.create_cache();
        Ok(Self::Pattern(Box::new((dfa, cache))))
    }

    /// The state before the first byte: at the start of a text, then behind each of [`BEFORE`]; `None` if no match can
    /// begin there.
    pub(super) fn starts(&mut self) -> [Option<Walk>; 5] {
        let befores = [None, Some(BEFORE[0]), Some(BEFORE[1]), Some(BEFORE[2]), Some(BEFORE[3])];
        befores.map(|before| match self {
            Self::Pattern(pattern) => {
                let (dfa, cache) = pattern.as_mut();
                let config = start::Config::new().anchored(Anchored::Yes).look_behind(before);
                match dfa.start_state(cache, &config) {
                    Err(_) => Some(Walk::Unknown),
                    Ok(state) if state.is_dead() => None,
                    Ok(state) => Some(Walk::State(state)),
                }
            }
            Self::Phrases(phrases) => Some(Walk::Phrases(0, phrases.len(), 0)),
        })
    }

    /// Whether a walk has matched if the text ends; `None`: nobody knows.
    pub(super) fn end(&mut self, walk: Walk) -> Option<bool> {
        match (walk, self) {
            (Walk::Matched, _) => Some(true),
            (Walk::Unknown, _) => None,
            (Walk::State(state), Self::Pattern(pattern)) => {
                let (dfa, cache) = pattern.as_mut();
                dfa.next_eoi_state(cache, state).ok().map(|end| end.is_match())
            }
            _ => Some(false),
        }
    }

    /// Bytes that are not told apart share a class; a sample of each.
    pub(super) fn classes(&self) -> (Box<[u8; 256]>, Vec<u8>) {
        classes(|byte| self.class(byte))
    }

    /// One byte further; `None` if no match begins with what was read.
    pub(super) fn step(&mut self, walk: Walk, byte: u8) -> Option<Walk> {
        match (walk, self) {
            (Walk::State(state), Self::Pattern(pattern)) => {
                let (dfa, cache) = pattern.as_mut();
                match dfa.next_state(cache, state, byte) {
                    Err(_) => Some(Walk::Unknown),
                    Ok(next) if next.is_dead() => None,
                    Ok(next) if next.is_match() => Some(Walk::Matched),
                    Ok(next) if next.is_quit() => Some(Walk::Unknown),
                    Ok(next) => Some(Walk::State(next)),
                }
            }
            (Walk::Phrases(from, to, read), Self::Phrases(phrases)) => {
                phrases.narrow((from, to), read, byte).map(|(from, to)| {
                    if phrases.is_whole(from, read + 1) { Walk::Matched } else { Walk::Phrases(from, to, read + 1) }
                })
            }
            (done, _) => Some(done),
        }
    }

    /// A number that bytes share which this walker does not tell apart.
    fn class(&self, byte: u8) -> u8 {
        match self {
            Self::Pattern(pattern) => pattern.0.byte_classes().get(byte),
            Self::Phrases(phrases) => phrases.class(byte),
        }
    }
}

/// Bytes of one kind share a class; a sample of each.
pub(super) fn classes<K: Eq + Hash>(kind: impl Fn(u8) -> K) -> (Box<[u8; 256]>, Vec<u8>) {
    let mut numbers: Map<K, u8> = Map::default();
    let (mut classes, mut samples) = (Box::new([0u8; 256]), Vec::new());
    for (byte, class) in (0..=u8::MAX).zip(classes.iter_mut()) {
        // There are no more classes than bytes, so their numbers fit.
        let next = u8::try_from(samples.len()).unwrap_or(u8::MAX);
        *class = *numbers.entry(kind(byte)).or_insert_with(|| {
            samples.push(byte);
            next
        });
    }
    (classes, samples)
}

/// Phrases in lower case and order, none the beginning of another.
#[derive(Debug)]
pub(super) struct Phrases {
    list: Vec<Box<[u8]>>,
    used: Box<[bool; 256]>,
}

impl Phrases {
    pub(super) fn new(phrases: &[Vec<u8>]) -> Self {
        let mut list: Vec<Box<[u8]>> = phrases.iter().map(|phrase| phrase.to_ascii_lowercase().into()).collect();
        list.sort_unstable();
        // The beginning of another stands right before it: what holds the longer holds the shorter.
        list.dedup_by(|later, earlier| later.starts_with(earlier));
        let mut used = Box::new([false; 256]);
        for byte in list.iter().flatten() {
            if let Some(used) = used.get_mut(usize::from(*byte)) {
                *used = true;
            }
        }
        Self { list, used }
    }

    pub(super) fn list(&self) -> &[Box<[u8]>] {
        &self.list
    }

    fn len(&self) -> u32 {
        u32::try_from(self.list.len()).unwrap_or(u32::MAX)
    }

    fn class(&self, byte: u8) -> u8 {
        let byte = byte.to_ascii_lowercase();
        // No phrase in lower case holds an `A`: it stands for all bytes that none holds.
        if self.used.get(usize::from(byte)) == Some(&true) { byte } else { b'A' }
    }

    /// Those of a range whose byte behind `read` ones is `byte`.
    fn narrow(&self, (from, to): (u32, u32), read: u32, byte: u8) -> Option<(u32, u32)> {
        let range = self.list.get(from as usize..to as usize)?;
        let byte = byte.to_ascii_lowercase();
        let at = |phrase: &[u8]| phrase.get(read as usize).copied();
        let lower = range.partition_point(|phrase| at(phrase) < Some(byte));
        let upper = range.partition_point(|phrase| at(phrase) <= Some(byte));
        let offset = |n: usize| from + u32::try_from(n).unwrap_or(0);
        (lower < upper).then(|| (offset(lower), offset(upper)))
    }

    fn is_whole(&self, phrase: u32, read: u32) -> bool {
        self.list.get(phrase as usize).is_some_and(|phrase| phrase.len() == read as usize)
    }

    /// Whether a phrase begins at the start of `text`, and how many bytes it took to tell.
    pub(super) fn begin(&self, text: &[u8]) -> (bool, usize) {
        let mut range = (0, self.len());
        for (byte, read) in text.iter().zip(0u32..) {
            match self.narrow(range, read, *byte) {
                Some(narrower) => range = narrower,
                None => return (false, read as usize + 1),
            }
            if self.is_whole(range.0, read + 1) {
                return (true, read as usize + 1);
            }
        }
        (false, text.len())
    }
}
