//! The tables of the detector: classes of bytes, words and phrases of SQL, shapes of attacks.
//!
//! They are those of libinjection, read from the port of it and laid out anew for quick look-ups.

use libinjectionrs::sqli::sqli_data::{CharType, SQL_KEYWORDS, get_char_type};
use std::array;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

/// The lengths of words and phrases (a test holds them to the table). Nothing else is looked up.
const LENGTHS: RangeInclusive<usize> = 2..=29;

/// What a token is apart from its kind, for the rules of folding.
pub(super) mod traits {
    /// An operator that can stand before a value: `+ - ! ~ !!` and `NOT`.
    pub(in super::super) const UNARY: u16 = 1;
    /// One of `+ - * / %`.
    pub(in super::super) const ARITHMETIC: u16 = 1 << 1;
    /// PostgreSQL's `::`.
    pub(in super::super) const CAST: u16 = 1 << 2;
    /// `IN` and `NOT IN`.
    pub(in super::super) const IN: u16 = 1 << 3;
    /// `LIKE` and `NOT LIKE`.
    pub(in super::super) const LIKE: u16 = 1 << 4;
    /// A word that begins with `IF`.
    pub(in super::super) const IF: u16 = 1 << 5;
    /// `USER`.
    pub(in super::super) const USER: u16 = 1 << 6;
    /// A name that is a function if a bracket follows.
    pub(in super::super) const CALLABLE: u16 = 1 << 7;
    /// Holds an underscore.
    pub(in super::super) const UNDERSCORE: u16 = 1 << 8;
    /// Some phrase begins with it.
    pub(in super::super) const OPENS_PHRASE: u16 = 1 << 9;
    /// Some phrase ends with it.
    pub(in super::super) const ENDS_PHRASE: u16 = 1 << 10;

    /// Those of an operator of one character.
    pub(in super::super) fn of_operator(byte: u8) -> u16 {
        match byte {
            b'+' | b'-' => UNARY | ARITHMETIC,
            b'!' | b'~' => UNARY,
            b'*' | b'/' | b'%' => ARITHMETIC,
            _ => 0,
        }
    }
}

/// Names that are common for columns, and functions only if a bracket follows.
const CALLABLE: [&str; 11] = [
    "USER_ID",
    "USER_NAME",
    "DATABASE",
    "PASSWORD",
    "USER",
    "CURRENT_USER",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "LOCALTIME",
    "LOCALTIMESTAMP",
];

/// What is known of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    /// The kind of token it is.
    pub(super) kind: u8,
    /// A set of [`traits`].
    pub(super) traits: u16,
    /// Its number in the table, from 1; 0 for a word that is not there.
    pub(super) number: u16,
}

impl Word {
    /// A word without a meaning in SQL.
    pub(super) const BARE: Self = Self { kind: b'n', traits: 0, number: 0 };
}

/// What a byte does to the word that is being read; any number of these.
pub(super) mod marks {
    /// It ends the word.
    pub(in super::super) const ENDS_WORD: u8 = 1;
    /// It ends the word if what stands before it is one of SQL.
    pub(in super::super) const MAY_END_WORD: u8 = 1 << 1;
    /// It ends the name of a variable.
    pub(in super::super) const ENDS_VARIABLE: u8 = 1 << 2;
    /// Databases take it for space.
    pub(in super::super) const SPACE: u8 = 1 << 3;
}

/// How a token begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begin {
    pub(super) class: CharType,
    /// The kind of the token if this byte is all of it, or 0.
    pub(super) kind: u8,
    /// Its traits.
    pub(super) traits: u16,
}

/// All tables.
pub(super) struct Tables {
    begins: [Begin; 256],
    marks: [u8; 256],
    /// The kind of an operator of two characters by these, or 0.
    pairs: [[u8; 128]; 128],
    words: Vec<Entry>,
    words_by_hash: Index,
    /// The phrase that two words make, by the numbers of these; in order.
    phrases: Vec<((u16, u16), Word)>,
    shapes: Vec<u64>,
    shapes_by_hash: Index,
}

/// A word of the table, in upper case.
struct Entry {
    length: usize,
    /// The first eight bytes.
    head: u64,
    /// The others.
    tail: &'static [u8],
    word: Word,
}

impl Tables {
    /// The tables, made at the first call.
    pub(super) fn get() -> &'static Self {
        static TABLES: LazyLock<Tables> = LazyLock::new(Tables::new);
        &TABLES
    }

    fn new() -> Self {
        let meaning = |kind| if b"kfUETto&v1AB".contains(&kind) { kind } else { b'n' };
        let (shapes, keywords): (Vec<_>, Vec<_>) = SQL_KEYWORDS.iter().partition(|keyword| keyword.token_type == b'F');
        let mut kinds: BTreeMap<&'static str, u8> =
            keywords.iter().map(|keyword| (keyword.word, meaning(keyword.token_type))).collect();
        let splits: Vec<_> = keywords.iter().filter(|phrase| meaning(phrase.token_type) != b'n').collect();
        let splits: Vec<_> = splits.iter().flat_map(|phrase| ways_to_split(phrase.word)).collect();
        for (_, begin, end) in &splits {
            kinds.entry(begin).or_insert(b'n');
            kinds.entry(end).or_insert(b'n');
        }

        let opens = |text: &str| splits.iter().any(|(_, begin, _)| *begin == text);
        let ends = |text: &str| splits.iter().any(|(_, _, end)| *end == text);
        let phrasing = |text: &str| {
            [(opens(text), traits::OPENS_PHRASE), (ends(text), traits::ENDS_PHRASE)]
                .iter()
                .fold(0, |set, (holds, one)| if *holds { set | one } else { set })
        };
        let mut numbers = BTreeMap::new();
        let (mut words, mut words_by_hash) = (Vec::new(), Index::with_room_for(kinds.len()));
        for (number, (text, kind)) in (1..).zip(&kinds) {
            let word = Word { kind: *kind, traits: traits_of(text) | phrasing(text), number };
            let entry = Entry {
                length: text.len(),
                head: head(text.as_bytes(), 0, text.len()),
                tail: text.as_bytes().get(8..).unwrap_or_default(),
                word,
            };
            words_by_hash.insert(hash(entry.head, entry.length), number);
            words.push(entry);
            numbers.insert(*text, word);
        }
        let of = |text: &str| numbers.get(text).copied().unwrap_or(Word::BARE);
        let mut phrases: Vec<_> =
            splits.iter().map(|(phrase, begin, end)| ((of(begin).number, of(end).number), of(phrase))).collect();
        phrases.sort_unstable_by_key(|(parts, _)| *parts);

        let mut pairs = [[0; 128]; 128];
        for keyword in &keywords {
            if let [first, second] = *keyword.word.as_bytes()
                && !first.is_ascii_alphanumeric()
                && let Some(kind) = pairs.get_mut(usize::from(first)).and_then(|row| row.get_mut(usize::from(second)))
            {
                *kind = keyword.token_type;
            }
        }

        // The shapes stand in the list of words behind a zero.
        let shapes: Vec<u64> = shapes.iter().filter_map(|shape| shape.word.strip_prefix('0')).map(shape_key).collect();
        let mut shapes_by_hash = Index::with_room_for(shapes.len());
        for (number, shape) in (1..).zip(&shapes) {
            shapes_by_hash.insert(hash(*shape, 0), number);
        }

        let byte = |at: usize| u8::try_from(at).unwrap_or_default();
        Self {
            begins: array::from_fn(|at| begin_of(byte(at))),
            marks: array::from_fn(|at| marks_of(byte(at))),
            pairs,
            words,
            words_by_hash,
            phrases,
            shapes,
            shapes_by_hash,
        }
    }

    /// What kind of token begins with the byte.
    pub(super) fn begin(&self, byte: u8) -> Begin {
        self.begins.get(usize::from(byte)).copied().unwrap_or(Begin { class: CharType::Other, kind: b'?', traits: 0 })
    }

    /// Whether the byte has one of the `wanted` [`marks`].
    pub(super) fn has(&self, byte: u8, wanted: u8) -> bool {
        self.marks.get(usize::from(byte)).is_some_and(|marks| marks & wanted != 0)
    }

    /// The kind of the operator that two characters make.
    pub(super) fn pair(&self, first: u8, second: u8) -> Option<u8> {
        self.pairs.get(usize::from(first))?.get(usize::from(second)).copied().filter(|kind| *kind != 0)
    }

    /// What is known of the word of this length that begins at `start`.
    pub(super) fn word(&self, input: &[u8], start: usize, length: usize) -> Word {
        if !LENGTHS.contains(&length) {
            return Word::BARE;
        }
        let head = head(input, start, length);
        for number in self.words_by_hash.candidates(hash(head, length)) {
            if let Some(entry) = self.words.get(number)
                && entry.head == head
                && entry.length == length
                && (length <= 8 || ends_with(input, start + length, entry.tail))
            {
                return entry.word;
            }
        }
        Word::BARE
    }

    /// The phrase that two words make, by their numbers.
    pub(super) fn phrase(&self, begin: u16, end: u16) -> Option<Word> {
        let at = self.phrases.binary_search_by_key(&(begin, end), |(parts, _)| *parts).ok()?;
        self.phrases.get(at).map(|(_, phrase)| *phrase)
    }

    /// Whether the shape is known from attacks.
    pub(super) fn is_attack(&self, shape: [u8; 8]) -> bool {
        // The table does not tell the two kinds apart that differ in case only.
        let shape = upper(u64::from_le_bytes(shape));
        self.shapes_by_hash.candidates(hash(shape, 0)).any(|number| self.shapes.get(number) == Some(&shape))
    }
}

/// A hash table that holds numbers, from 1, of what stands elsewhere.
struct Index {
    /// Zero for a free one; a power of two of them, three in four are free.
    slots: Vec<u16>,
}

impl Index {
    fn with_room_for(entries: usize) -> Self {
        Self { slots: vec![0; (entries * 4).next_power_of_two()] }
    }

    fn place(&self, hash: u64) -> usize {
        usize::try_from(hash >> 32).unwrap_or_default() & (self.slots.len() - 1)
    }

    /// The slots from that place on, and round.
    fn slots_from(&self, hash: u64) -> impl Iterator<Item = u16> {
        let (before, from) = self.slots.split_at_checked(self.place(hash)).unwrap_or_default();
        from.iter().chain(before).copied()
    }

    fn insert(&mut self, hash: u64, number: u16) {
        let steps = self.slots_from(hash).take_while(|number| *number > 0).count();
        let place = (self.place(hash) + steps) % self.slots.len();
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = number;
        }
    }

    /// The places, from 0, of those that may have the hash.
    fn candidates(&self, hash: u64) -> impl Iterator<Item = usize> {
        self.slots_from(hash).take_while(|number| *number > 0).map(|number| usize::from(number - 1))
    }
}

fn hash(head: u64, length: usize) -> u64 {
    (head ^ (length as u64) << 59).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The first eight of `length` bytes from `start` in upper case, zeros behind a shorter word.
fn head(input: &[u8], start: usize, length: usize) -> u64 {
    let excess = u32::try_from(8usize.saturating_sub(length) * 8).unwrap_or_default();
    if let Some(from) = input.get(start..).and_then(|from| from.first_chunk()) {
        return upper(u64::from_le_bytes(*from) & u64::MAX.unbounded_shr(excess));
    }
    // Near the end of the value; so the word is shorter, and what stands before it is read with it.
    if let Some(to) = input.get(..start + length).and_then(|to| to.last_chunk()) {
        return upper(u64::from_le_bytes(*to).unbounded_shr(excess));
    }
    let word = input.get(start..start + length).unwrap_or_default();
    upper(word.iter().rev().fold(0, |head, byte| head << 8 | u64::from(*byte)))
}

/// Whether the word that ends at `end` ends with this, in any case.
fn ends_with(input: &[u8], end: usize, tail: &[u8]) -> bool {
    input.get(end.saturating_sub(tail.len())..end).is_some_and(|text| text.eq_ignore_ascii_case(tail))
}

/// Eight bytes in upper case. The high bit of each byte tells whether the sum went past 0x7F.
fn upper(bytes: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = bytes & (0x7F * EACH);
    let from_a = low + (0x80 - u64::from(b'a')) * EACH;
    let past_z = low + (0x7F - u64::from(b'z')) * EACH;
    bytes ^ ((from_a & !past_z & !bytes & (0x80 * EACH)) >> 2)
}

fn shape_key(letters: &str) -> u64 {
    head(letters.as_bytes(), 0, letters.len())
}

/// A phrase, and every way to make it of two shorter texts.
fn ways_to_split(phrase: &'static str) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    phrase.match_indices(' ').filter_map(move |(at, _)| Some((phrase, phrase.get(..at)?, phrase.get(at + 1..)?)))
}

fn traits_of(text: &str) -> u16 {
    [
        (text == "NOT", traits::UNARY),
        (matches!(text, "IN" | "NOT IN"), traits::IN),
        (matches!(text, "LIKE" | "NOT LIKE"), traits::LIKE),
        (text.starts_with("IF"), traits::IF),
        (text == "USER", traits::USER),
        (CALLABLE.contains(&text), traits::CALLABLE),
        (text.contains('_'), traits::UNDERSCORE),
    ]
    .iter()
    .fold(0, |set, (holds, one)| if *holds { set | one } else { set })
}

fn begin_of(byte: u8) -> Begin {
    use CharType::{Comma, LeftBrace, LeftParens, Op1, Other, RightBrace, RightParens, Semicolon, Unary};
    let class = get_char_type(byte);
    let (kind, traits) = match class {
        LeftParens | RightParens | Comma | Semicolon | LeftBrace | RightBrace => (byte, 0),
        Op1 | Unary => (b'o', traits::of_operator(byte)),
        Other => (b'?', 0),
        _ => (0, 0),
    };
    Begin { class, kind, traits }
}

fn marks_of(byte: u8) -> u8 {
    [
        (b" []{}<>:\\?=@!#~+-*/&|^%(),';\t\n\x0B\x0C\r\"\xA0\0".contains(&byte), marks::ENDS_WORD),
        (b".`".contains(&byte), marks::MAY_END_WORD),
        (b" <>:\\?=@!#~+-*/&|^%(),;'\t\n\x0B\x0C\r`\"".contains(&byte), marks::ENDS_VARIABLE),
        (b" \t\n\x0B\x0C\r\xA0\0".contains(&byte), marks::SPACE),
    ]
    .iter()
    .fold(0, |set, (holds, one)| if *holds { set | one } else { set })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_hold_what_they_should() {
        let tables = Tables::get();
        let words = SQL_KEYWORDS.iter().filter(|keyword| keyword.token_type != b'F');
        let lengths = words.clone().map(|keyword| keyword.word.len());
        assert_eq!(lengths.clone().min()..=lengths.max(), Some(*LENGTHS.start())..=Some(*LENGTHS.end()));
        for keyword in words {
            let kind = if keyword.token_type == b'n' { b'n' } else { keyword.token_type };
            for text in [keyword.word.to_owned(), keyword.word.to_lowercase()] {
                for (before, after) in [("", ""), ("", "longer than it"), ("x", ""), ("12345678", ""), ("a=", " b")] {
                    let all = format!("{before}{text}{after}");
                    assert_eq!(tables.word(all.as_bytes(), before.len(), text.len()).kind, kind, "{all}");
                }
            }
        }
        for keyword in SQL_KEYWORDS.iter().filter(|keyword| keyword.token_type == b'F') {
            let mut shape = [0; 8];
            shape[..keyword.word.len() - 1].copy_from_slice(&keyword.word.as_bytes()[1..]);
            assert!(tables.is_attack(shape), "{}", keyword.word);
        }
        let none = tables.word(b"", 0, 0);
        assert_eq!((none, tables.word(b"select1", 0, 7)), (Word::BARE, Word::BARE));
        assert!(!tables.is_attack([0; 8]) && !tables.is_attack(*b"nnnnn\0\0\0"));
        assert_eq!(
            (tables.pair(b'|', b'|'), tables.pair(b'=', b'='), tables.pair(b'|', 0xFF)),
            (Some(b'&'), None, None)
        );
    }

    #[test]
    fn upper_case_is_exact() {
        for byte in 0..=u8::MAX {
            assert_eq!(upper(u64::from_le_bytes([byte; 8])), u64::from_le_bytes([byte.to_ascii_uppercase(); 8]));
        }
    }
}
