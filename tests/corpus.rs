//! Replays every fuzz corpus, and inputs bent from it, with the bodies the fuzzer runs, on the stable toolchain and without
//! instruments. `GATEHOUSE_FUZZ=100000 cargo test --test corpus -- policy` bends so many.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "../fuzz/bodies.rs"]
mod bodies;

/// Random numbers that are the same every time (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n.max(1)
    }
}

/// An input bent in a few places: bytes changed, doubled, lost, moved, and pieces of others put in.
fn bent(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    const TELLING: &[u8] = b"\0\t\r\n \"#$%&'()*+,-./0159:;<=>?@[\\]^_`afx{|}~\x7f\x80\xc0\xff";
    let mut input = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(6) {
        let (at, other) = (dice.below(input.len() + 1), &seeds[dice.below(seeds.len())]);
        let from = dice.below(other.len());
        let piece = &other[from..(from + dice.below(48)).min(other.len())];
        match dice.below(6) {
            0 if at < input.len() => input[at] = TELLING[dice.below(TELLING.len())],
            1 => input.insert(at, TELLING[dice.below(TELLING.len())]),
            2 => drop(input.drain(at..(at + dice.below(16)).min(input.len()))),
            3 => drop(input.splice(at..at, piece.iter().copied())),
            4 => drop(input.splice(at..(at + piece.len()).min(input.len()), piece.iter().copied())),
            _ => {
                let again = input[at..(at + dice.below(32)).min(input.len())].to_vec();
                let times = 1 + dice.below(4);
                input.splice(at..at, again.repeat(times));
            }
        }
    }
    input
}

/// Runs the corpus, nothing, and so many inputs bent from the corpus; `few`, unless more are asked for.
fn replay(target: &str, run: fn(&[u8]), few: usize) {
    let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{folder}: {e}"))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!seeds.is_empty(), "{folder} is empty");
    let asked = std::env::var("GATEHOUSE_FUZZ").ok().and_then(|number| number.parse().ok());
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let bent = (0..asked.unwrap_or(few)).map(|_| bent(&mut dice, &seeds));
    for input in seeds.iter().cloned().chain([Vec::new()]).chain(bent) {
        let done = std::panic::catch_unwind(|| run(&input));
        assert!(done.is_ok(), "{target} fails on b\"{}\"", input.escape_ascii());
    }
}

macro_rules! corpora {
    ($($target:ident $few:literal),*) => {$(
        #[test]
        fn $target() {
            replay(stringify!($target), bodies::$target, $few);
        }
    )*};
}

corpora!(
    seclang 100, transform 100, body 200, transaction 3, request 1_000, chunks 1_000, cache_control 200, config 50,
    policy 100, openapi 100,
    proxy_header 1_000, client_hello 1_000
);
