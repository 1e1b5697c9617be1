//! Rates over five lists: text and attacks that the shapes were developed on, and more of both, written later to see how
//! the shapes generalise. At first sight the later attacks were found at 96 % and 94 %, and of the later texts, chosen
//! to be hard, some 5 % were called attacks; what a class of them had in common was then mended, so these are no longer
//! unseen. `ordinary_code.txt` is what people write when code is the subject: error messages, statements and command
//! lines told, written in three turns of which the last two (323 lines) were refused at 2 % and 1 % at first sight; of all
//! 982 lines 44 were left out, for they act where they stand. In the lists ␍, ␊ and ␀ stand for control characters.

use super::ladder::{FACTOR, Ladder};
use super::shape::Sets;
use super::{Decoded, Family, Step, Verdict, read, read_line};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::collections::BTreeMap;
use std::fmt::Write as _;

mod told;

const ORDINARY: &str = include_str!("tests/ordinary.txt");
const ORDINARY_LATER: &str = include_str!("tests/ordinary_later.txt");
const ORDINARY_CODE: &str = include_str!("tests/ordinary_code.txt");
const ATTACKS: &str = include_str!("tests/attacks.txt");
const ATTACKS_LATER: &str = include_str!("tests/attacks_later.txt");

fn unmark(line: &str) -> Vec<u8> {
    line.replace('␍', "\r").replace('␊', "\n").replace('␀', "\0").into_bytes()
}

fn attacks(list: &str) -> impl Iterator<Item = (&str, Vec<u8>)> {
    list.lines().map(|line| {
        let (family, payload) = line.split_once('\t').expect("family, tab, payload");
        (family, unmark(payload))
    })
}

fn spell(value: &[u8], spell: impl Fn(u8) -> String) -> Vec<u8> {
    let spelt = |text: String, byte: &u8| {
        if byte.is_ascii_alphanumeric() {
            text + char::from(*byte).encode_utf8(&mut [0; 4])
        } else {
            text + &spell(*byte)
        }
    };
    value.iter().fold(String::new(), spelt).into_bytes()
}

fn percent(value: &[u8]) -> Vec<u8> {
    spell(value, |byte| format!("%{byte:02X}"))
}

/// Per mille of `values` with this verdict.
fn per_mille(values: &[Vec<u8>], verdict: Verdict) -> usize {
    values.iter().filter(|value| read(value).verdict == verdict).count() * 1000 / values.len()
}

#[test]
fn ordinary_text_passes() {
    for (list, attack, doubtful) in [(ORDINARY, 0, 15), (ORDINARY_LATER, 5, 40), (ORDINARY_CODE, 0, 10)] {
        let verdicts: Vec<_> = list.lines().map(|line| read_line(&unmark(line)).verdict).collect();
        let rate = |of| verdicts.iter().filter(|verdict| **verdict == of).count() * 1000 / verdicts.len();
        let rates = (rate(Verdict::Attack), rate(Verdict::Doubtful));
        assert!(rates.0 <= attack && rates.1 <= doubtful, "per mille of {}: {rates:?}", verdicts.len());
    }
}

#[test]
fn attacks_of_every_family_are_found() {
    for (list, all, each) in [(ATTACKS, 980, 940), (ATTACKS_LATER, 960, 850)] {
        let mut families: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
        for (family, payload) in attacks(list) {
            families.entry(family).or_default().push(payload);
        }
        let together: Vec<_> = families.values().flatten().cloned().collect();
        let rate = per_mille(&together, Verdict::Attack);
        assert!(rate >= all, "{rate} per mille");
        for (family, payloads) in families {
            let rate = per_mille(&payloads, Verdict::Attack);
            assert!(rate >= each, "{family}: {rate} per mille");
        }
    }
}

#[test]
fn encoding_hides_nothing() {
    type Encode = fn(&[u8]) -> Vec<u8>;
    let encodings: [(&str, Encode, usize); 7] = [
        ("URL", percent, 970),
        ("URL twice", |value| percent(&percent(value)), 970),
        ("entities", |value| spell(value, |byte| format!("&#{byte};")), 960),
        ("escapes", |value| spell(value, |byte| format!("\\u{byte:04x}")), 960),
        (
            "full width",
            |value| {
                spell(value, |byte| match byte {
                    0x21..0x7f => char::from_u32(u32::from(byte) + 0xfee0).unwrap().to_string(),
                    _ => char::from(byte).to_string(),
                })
            },
            960,
        ),
        ("base64", |value| STANDARD.encode(value).into_bytes(), 940),
        ("base64url", |value| URL_SAFE_NO_PAD.encode(value).into_bytes(), 910),
    ];
    for list in [ATTACKS, ATTACKS_LATER] {
        for (name, encode, least) in &encodings {
            let values: Vec<_> = attacks(list).map(|(_, value)| encode(&value)).collect();
            let rate = per_mille(&values, Verdict::Attack);
            assert!(rate >= *least, "{name}: {rate} per mille");
        }
        let behind_a_word: Vec<_> = attacks(list).map(|(_, value)| [b"hello ".to_vec(), value].concat()).collect();
        let rate = per_mille(&behind_a_word, Verdict::Attack);
        assert!(rate >= 900, "behind a word: {rate} per mille");
    }
}

/// What the first pass lets through has nothing that a full reading would call more than ordinary.
#[test]
fn plain_values_have_no_shapes() {
    let words =
        ["union", "select", "1", "or", "and", "php", "alert", "admin", "drop", "table", "x", "..", ",", "-", ":", "/"];
    let (sets, mut seed, mut plain) = (Sets::get(), 7u64, 0);
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..6 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pick = usize::try_from(seed >> 33).unwrap() % words.len();
            write!(text, "{} ", words[pick]).unwrap();
        }
        if super::plain::is_plain(text.as_bytes()) {
            plain += 1;
            assert!(super::weigh_placed(text.as_bytes(), Decoded::default(), sets).0 < super::DOUBTFUL, "{text}");
        }
    }
    assert!(plain > 1000, "{plain}");
}

#[test]
fn padding_hides_nothing() {
    for filler in ["lorem ipsum ", "a", "' ", "/*x*/", "%41", "🚀"] {
        let padding = filler.repeat((64 << 10) / filler.len());
        for attack in ["<script>alert(1)</script>", "' union select 1,2,user()-- "] {
            for value in
                [format!("{attack} {padding}"), format!("{padding} {attack}"), format!("{padding}{attack}{padding}")]
            {
                assert_ne!(read(value.as_bytes()).verdict, Verdict::Ordinary, "{attack} in {filler}");
            }
        }
    }
}

/// The ladder ends, within its bound, on whatever it is given.
#[test]
fn the_ladder_is_bounded() {
    let hard = [
        "%25",
        "%",
        "&#38;#38;",
        "\\u005c",
        "/*",
        "'+'",
        "${lower:a}",
        "YWFhYWFhYWFh",
        "c''",
        "\u{ff05}",
        "${",
        "\\\\",
        "0x4141414141414141",
        "%u0025",
        "$IFS",
    ];
    for piece in hard {
        for length in [1, 100, 20_000] {
            let value = piece.repeat(length);
            let (mut ladder, mut bytes) = (Ladder::new(value.as_bytes()), 0);
            while let Some((text, after)) = ladder.next() {
                bytes += text.len();
                assert!(after.steps().count() <= 4);
            }
            assert!(bytes <= value.len() * FACTOR + (4 << 10), "{piece}");
            let _ = read(value.as_bytes());
        }
    }
}

#[test]
fn signs_tell_what_was_decoded() {
    let reading = read(b"%2527%2520or%25201%253D1--");
    let sign = reading.signs.first().unwrap();
    assert_eq!((reading.verdict, sign.family), (Verdict::Attack, Family::Sql));
    assert_eq!(sign.after.steps().collect::<Vec<_>>(), [Step::Url, Step::Url]);
    assert!(sign.to_string().ends_with(" after URL-decoding, URL-decoding"), "{sign}");
    assert!(reading.signs.iter().all(|sign| sign.to_string().len() < 256));
}
