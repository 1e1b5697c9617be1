//! Values in which nothing was found, remembered from request to request.
//!
//! A client sends the same User-Agent, Accept and cookies with each of its requests, and paths and names of arguments
//! come again and again. What a layout's questions say of a value depends on its bytes alone, so a value that none of
//! them matched need not be asked again. Only whole values are remembered, and compared byte for byte: nothing rests on
//! a hash.
//!
//! One memory for each thread, so nobody waits for it: at most [`SETS`] times two values and [`MOST_BYTES`], the older
//! value of a set gives way. A value is kept when it comes the second time ([`Known::doors`]), so that a flood of
//! new ones drives out little and costs next to nothing. Who could push others' values out would gain that they are
//! read again.

use crate::hashing;
use std::cell::Cell;

/// Sets of two values.
const SETS: usize = 2048;
/// Marks of what came once.
const DOORS: usize = 4096;
/// Longest value that is remembered: a header with large cookies.
const LONGEST: usize = 4096;
/// Most bytes of values; beyond, all are forgotten.
const MOST_BYTES: usize = 4 << 20;

thread_local! {
    static KNOWN: Cell<Option<Box<Known>>> = const { Cell::new(None) };
}

/// What this thread remembers.
#[derive(Debug)]
pub(super) struct Known {
    sets: Vec<[Option<Entry>; 2]>,
    bytes: usize,
    /// By hash: who came last and was not kept.
    doors: Vec<u16>,
}

#[derive(Debug)]
struct Entry {
    layout: u64,
    value: Box<[u8]>,
    /// The groups of the layout none of whose questions the value matches, as bits; groups of higher numbers have none.
    clean: u128,
}

impl Known {
    /// Takes this thread's memory, to be given back.
    pub(super) fn take() -> Box<Self> {
        KNOWN.take().unwrap_or_else(|| {
            let sets = (0..SETS).map(|_| [None, None]).collect();
            Box::new(Self { sets, bytes: 0, doors: vec![0; DOORS] })
        })
    }

    pub(super) fn give_back(self: Box<Self>) {
        KNOWN.set(Some(self));
    }

    /// Where a value of a layout is looked for; `None` if it is too long.
    pub(super) fn place(layout: u64, value: &[u8]) -> Option<u64> {
        (value.len() <= LONGEST).then(|| hashing::of(value).wrapping_add(layout.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// The groups none of whose questions a value matches, as bits: see [`is_clean`].
    pub(super) fn clean(&mut self, place: u64, layout: u64, value: &[u8]) -> u128 {
        self.find(place, layout, value).map_or(0, |entry| entry.clean)
    }

    /// Remembers that nothing of a group matches a value, if it comes the second time.
    pub(super) fn note(&mut self, place: u64, layout: u64, group: u32, value: &[u8]) {
        if let Some(entry) = self.find(place, layout, value) {
            entry.clean |= bit(group);
            return;
        }
        let [a, b, c, d, ..] = place.wrapping_add(u64::from(group).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)).to_be_bytes();
        let (door, mark) = (usize::from(u16::from_be_bytes([a, b])) % DOORS, u16::from_be_bytes([c, d]));
        let Some(last) = self.doors.get_mut(door) else { return };
        if std::mem::replace(last, mark) != mark {
            return;
        }
        if self.bytes + value.len() > MOST_BYTES {
            self.sets.fill_with(|| [None, None]);
            self.bytes = 0;
        }
        if let Some(set) = self.sets.get_mut(set(place)) {
            set.swap(0, 1);
            let [first, _] = set;
            let old = first.replace(Entry { layout, value: value.into(), clean: bit(group) });
            self.bytes += value.len();
            self.bytes -= old.map_or(0, |old| old.value.len());
        }
    }

    fn find(&mut self, place: u64, layout: u64, value: &[u8]) -> Option<&mut Entry> {
        let set = self.sets.get_mut(set(place))?;
        let is = |entry: &Option<Entry>| entry.as_ref().is_some_and(|e| e.layout == layout && *e.value == *value);
        let [first, second] = &*set;
        if !is(first) {
            if !is(second) {
                return None;
            }
            set.swap(0, 1);
        }
        set.first_mut()?.as_mut()
    }
}

/// Whether a group is among those in which nothing was found.
pub(super) fn is_clean(clean: u128, group: u32) -> bool {
    clean & bit(group) != 0
}

fn set(place: u64) -> usize {
    usize::try_from(place % SETS as u64).unwrap_or(0)
}

fn bit(group: u32) -> u128 {
    1u128.checked_shl(group).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_when_it_comes_again() {
        let mut known = Known::take();
        let is_clean =
            |known: &mut Known, place, layout, group, value: &[u8]| is_clean(known.clean(place, layout, value), group);
        let place = Known::place(7, b"curl/8").unwrap();
        for round in 0..3 {
            assert_eq!(is_clean(&mut known, place, 7, 3, b"curl/8"), round == 2, "{round}");
            known.note(place, 7, 3, b"curl/8");
        }
        assert!(!is_clean(&mut known, place, 7, 4, b"curl/8"), "another group");
        assert!(!is_clean(&mut known, place, 8, 3, b"curl/8"), "another layout at the same place");
        assert!(!is_clean(&mut known, place, 7, 3, b"curl/9"), "another value at the same place");
        known.note(place, 7, 4, b"curl/8");
        assert!(is_clean(&mut known, place, 7, 4, b"curl/8") && is_clean(&mut known, place, 7, 3, b"curl/8"));
        known.note(place, 7, 500, b"curl/8");
        assert!(!is_clean(&mut known, place, 7, 500, b"curl/8"), "no bit for it");
        known.give_back();
        assert!(is_clean(&mut Known::take(), place, 7, 3, b"curl/8"));
        assert_eq!(Known::place(7, &[b'a'; LONGEST + 1]), None);
    }

    #[test]
    fn new_values_drive_out_little() {
        let mut known = Known::take();
        let place = |value: &[u8]| Known::place(1, value).unwrap();
        let kept: Vec<String> = (0..200).map(|n| format!("kept {n}")).collect();
        for value in kept.iter().chain(&kept) {
            known.note(place(value.as_bytes()), 1, 0, value.as_bytes());
        }
        for n in 0..100_000 {
            let value = format!("flood {n}");
            known.note(place(value.as_bytes()), 1, 0, value.as_bytes());
        }
        let still = kept.iter().filter(|v| is_clean(known.clean(place(v.as_bytes()), 1, v.as_bytes()), 0)).count();
        assert!(still > 180, "{still}");
        for n in 0..10_000 {
            let value = format!("{n:4096}");
            (0..2).for_each(|_| known.note(place(value.as_bytes()), 2, 0, value.as_bytes()));
        }
        let held = known.sets.iter().flatten().flatten().map(|entry| entry.value.len()).sum::<usize>();
        assert!(held == known.bytes && held <= MOST_BYTES, "{held} {}", known.bytes);
    }
}
