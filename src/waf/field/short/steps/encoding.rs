//! Encodings of bytes and characters: URL, entities, escapes, look-alikes, base64, hexadecimal.

use crate::field::short::plain::RUN;
use memchr::memchr;

fn digit(byte: Option<&u8>, radix: u32) -> Option<u32> {
    byte.and_then(|byte| char::from(*byte).to_digit(radix))
}

/// The number that at most `most` digits at the front of `text` write, and how many there are.
fn number(text: &[u8], radix: u32, most: usize) -> Option<(u32, usize)> {
    let digits = text.iter().take(most).take_while(|byte| digit(Some(byte), radix).is_some()).count();
    let value = text
        .iter()
        .take(digits)
        .fold(0u32, |value, byte| value.saturating_mul(radix).saturating_add(digit(Some(byte), radix).unwrap_or(0)));
    (digits > 0).then_some((value, digits))
}

fn push_char(out: &mut Vec<u8>, code: u32) {
    let mut buffer = [0; 4];
    out.extend_from_slice(
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut buffer).as_bytes(),
    );
}

/// Copies `text` and lets `decode` replace what begins at a byte of `leads`: it gives the length that it took.
fn replace(text: &[u8], leads: u8, mut decode: impl FnMut(&[u8], &mut Vec<u8>) -> Option<usize>) -> Option<Vec<u8>> {
    memchr(leads, text)?;
    let mut out = Vec::with_capacity(text.len());
    let (mut rest, mut changed) = (text, false);
    while let Some((byte, behind)) = rest.split_first() {
        if *byte == leads
            && let Some(taken) = decode(rest, &mut out)
        {
            changed = true;
            rest = rest.get(taken..).unwrap_or_default();
        } else {
            out.push(*byte);
            rest = behind;
        }
    }
    changed.then_some(out)
}

/// `%41`, `%u0041`; with any of them, and no blank in the text, `+` is a blank.
pub(in crate::field::short) fn url(text: &[u8]) -> Option<Vec<u8>> {
    let plus = memchr(b' ', text).is_none();
    let pluses = || text.iter().filter(|byte| **byte == b'+').count();
    let decoded = replace(text, b'%', |rest, out| match rest {
        [_, b'u' | b'U', hex @ ..] => {
            let (code, 4) = number(hex, 16, 4)? else { return None };
            push_char(out, code);
            Some(6)
        }
        [_, hex @ ..] => {
            let (code, 2) = number(hex, 16, 2)? else { return None };
            out.push(u8::try_from(code).ok()?);
            Some(3)
        }
        [] => None,
    });
    // A form writes blanks so even where nothing else needs an escape.
    let mut out = decoded.or_else(|| (plus && pluses() > 1).then(|| text.to_vec()))?;
    if plus && memchr(b'+', text).is_some() {
        // A `+` that was itself written `%2B` stays one in few payloads: both are read as blanks.
        out.iter_mut().filter(|byte| **byte == b'+').for_each(|byte| *byte = b' ');
    }
    Some(out)
}

/// The named entities that stand for ASCII.
const NAMES: &[(&str, u8)] = &[
    ("lt", b'<'),
    ("gt", b'>'),
    ("amp", b'&'),
    ("quot", b'"'),
    ("apos", b'\''),
    ("nbsp", b' '),
    ("Tab", b'\t'),
    ("NewLine", b'\n'),
    ("colon", b':'),
    ("lpar", b'('),
    ("rpar", b')'),
    ("sol", b'/'),
    ("bsol", b'\\'),
    ("lowbar", b'_'),
    ("equals", b'='),
    ("excl", b'!'),
    ("num", b'#'),
    ("dollar", b'$'),
    ("percnt", b'%'),
    ("lcub", b'{'),
    ("lbrace", b'{'),
    ("rcub", b'}'),
    ("rbrace", b'}'),
    ("lsqb", b'['),
    ("lbrack", b'['),
    ("rsqb", b']'),
    ("rbrack", b']'),
    ("grave", b'`'),
    ("semi", b';'),
    ("comma", b','),
    ("period", b'.'),
    ("plus", b'+'),
    ("ast", b'*'),
    ("verbar", b'|'),
    ("vert", b'|'),
    ("commat", b'@'),
    ("quest", b'?'),
    ("Hat", b'^'),
];

/// `&lt;`, `&#60;`, `&#x3c;`; of numbers and of the five names of XML the semicolon may be missing.
pub(in crate::field::short) fn entities(text: &[u8]) -> Option<Vec<u8>> {
    replace(text, b'&', |rest, out| {
        let (code, taken) = match rest {
            [_, b'#', b'x' | b'X', digits @ ..] => number(digits, 16, 10).map(|(code, length)| (code, 3 + length))?,
            [_, b'#', digits @ ..] => number(digits, 10, 10).map(|(code, length)| (code, 2 + length))?,
            [_, name @ ..] => NAMES.iter().find_map(|(known, byte)| {
                let found = name.get(..known.len())?.eq_ignore_ascii_case(known.as_bytes());
                let ended = name.get(known.len()) == Some(&b';');
                let may_end = matches!(*known, "lt" | "gt" | "quot" | "apos") || ended;
                (found && may_end).then_some((u32::from(*byte), 1 + known.len()))
            })?,
            [] => return None,
        };
        push_char(out, code);
        Some(taken + usize::from(rest.get(taken) == Some(&b';')))
    })
}

/// `\x41`, `\u0041`, `\u{41}`, `\101`, `\r`, `\n`, `\t`.
pub(in crate::field::short) fn escapes(text: &[u8]) -> Option<Vec<u8>> {
    replace(text, b'\\', |rest, out| {
        let (code, taken) = match rest {
            [_, b'x', hex @ ..] => match number(hex, 16, 2)? {
                (code, 2) => (code, 4),
                _ => return None,
            },
            [_, b'u', b'{', hex @ ..] => {
                let (code, length) = number(hex, 16, 6)?;
                (hex.get(length) == Some(&b'}')).then_some((code, length + 4))?
            }
            [_, b'u', hex @ ..] => match number(hex, 16, 4)? {
                (code, 4) => (code, 6),
                _ => return None,
            },
            [_, b'0'..=b'3', ..] => {
                let (code, length) = number(rest.get(1..)?, 8, 3)?;
                (length >= 2).then_some((code, length + 1))?
            }
            [_, b'r', ..] => (13, 2),
            [_, b'n', ..] => (10, 2),
            [_, b't', ..] => (9, 2),
            _ => return None,
        };
        // Bytes that `\x` writes one by one are UTF-8 or nothing: only ASCII matters here.
        push_char(out, code);
        Some(taken)
    })
}

/// The ASCII that a character is read as, if any; 0 for one that is not seen at all.
fn ascii_of(c: char) -> Option<u8> {
    let code = u32::from(c);
    let letter = |first: u8, from: u32| u8::try_from((code - from) % 26).ok().map(|at| first + at);
    Some(match code {
        0xff01..=0xff5e => u8::try_from(code - 0xfee0).ok()?,
        0xad | 0x34f | 0x61c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180e | 0x200b..=0x200f => 0,
        0x202a..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff | 0xe0000..=0xe007f => 0,
        0x85 | 0xa0 | 0x1680 | 0x2000..=0x200a | 0x2028 | 0x2029 | 0x202f | 0x205f | 0x3000 => b' ',
        0x2018 | 0x2019 | 0x201a | 0x201b | 0x2032 | 0x2b9 | 0x2bc | 0x2c8 | 0x275b | 0x275c => b'\'',
        0x201c..=0x201f | 0x2033 | 0x2ba | 0x275d | 0x275e | 0x301d | 0x301e => b'"',
        0x2039 | 0x2329 | 0x3008 | 0xfe64 => b'<',
        0x203a | 0x232a | 0x3009 | 0xfe65 => b'>',
        0x2044 | 0x2215 | 0x29f8 => b'/',
        0x29f5 | 0x2216 | 0xfe68 => b'\\',
        0x2024 | 0xfe52 => b'.',
        0xfe50 => b',',
        0xfe54 => b';',
        0xfe55 | 0x2236 | 0xa789 => b':',
        0xfe59 => b'(',
        0xfe5a => b')',
        0xfe5b => b'{',
        0xfe5c => b'}',
        0xfe60 => b'&',
        0xfe61 | 0x2217 => b'*',
        0xfe66 => b'=',
        0xfe69 => b'$',
        0x2212 | 0x2010 | 0x2011 | 0xfe63 => b'-',
        // Servers that keep the low byte of each character alone make line ends of these.
        0x560a => b'\n',
        0x560d => b'\r',
        0x17f => b's',
        0x131 => b'i',
        0x212a => b'K',
        0x2460..=0x2468 => u8::try_from(code - 0x2460).ok()? + b'1',
        0x249c..=0x24b5 => letter(b'a', 0x249c)?,
        0x24b6..=0x24cf => letter(b'A', 0x24b6)?,
        0x24d0..=0x24e9 => letter(b'a', 0x24d0)?,
        // The mathematical alphabets: 26 capitals, then 26 small letters, thirteen times.
        0x1d400..=0x1d6a3 => letter(b'a', 0x1d400)?,
        0x1d7ce..=0x1d7ff => u8::try_from((code - 0x1d7ce) % 10).ok()? + b'0',
        0x2070 | 0x2080 => b'0',
        0xb9 => b'1',
        0xb2 => b'2',
        0xb3 => b'3',
        _ => return None,
    })
}

/// Look-alikes become ASCII, invisible characters go, and so do the extra bytes of overlong UTF-8; a lone 0xa0 is a
/// blank, as for MySQL. NUL bytes go too.
pub(in crate::field::short) fn fold(text: &[u8]) -> Option<Vec<u8>> {
    if text.iter().all(|byte| (1..0x80).contains(byte)) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut changed = false;
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match ascii_of(c).or((c == '\0').then_some(0)) {
                Some(ascii) => {
                    changed = true;
                    out.extend((ascii != 0).then_some(ascii));
                }
                None => {
                    let mut buffer = [0; 4];
                    out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
                }
            }
        }
        out.extend_from_slice(chunk.invalid());
    }
    let overlong = replace_overlong(&out);
    changed |= overlong.is_some();
    changed.then(|| overlong.unwrap_or(out))
}

fn replace_overlong(text: &[u8]) -> Option<Vec<u8>> {
    let low = |byte: u8| u32::from(byte & 0x3f);
    let mut out = Vec::with_capacity(text.len());
    let (mut rest, mut changed, mut in_character) = (text, false, false);
    while let Some((byte, behind)) = rest.split_first() {
        let (code, taken) = match rest {
            [a @ (0xc0 | 0xc1), b, ..] => (u32::from(a & 1) << 6 | low(*b), 2),
            [0xe0, a @ 0x80..=0x9f, b @ 0x80..=0xbf, ..] => (low(*a) << 6 | low(*b), 3),
            [0xf0, 0x80, a @ 0x80..=0x9f, b @ 0x80..=0xbf, ..] => (low(*a) << 6 | low(*b), 4),
            [0xa0, ..] if !in_character => (u32::from(b' '), 1),
            _ => (0x80, 1),
        };
        match u8::try_from(code) {
            Ok(ascii) if ascii < 0x80 => {
                out.push(ascii);
                changed = true;
            }
            _ => out.push(*byte),
        }
        in_character = *byte >= 0x80;
        rest = if code < 0x80 { rest.get(taken..).unwrap_or_default() } else { behind };
    }
    changed.then_some(out)
}

/// Runs of at least [`RUN`] bytes of an alphabet, each replaced by what `decode` makes of it.
fn runs(text: &[u8], of: fn(u8) -> bool, decode: fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut changed = false;
    for run in text.chunk_by(|a, b| of(*a) == of(*b)) {
        match (run.len() >= RUN && run.first().is_some_and(|byte| of(*byte))).then(|| decode(run)).flatten() {
            Some(decoded) => {
                out.extend_from_slice(&decoded);
                changed = true;
            }
            None => out.extend_from_slice(run),
        }
    }
    changed.then_some(out)
}

/// Whether decoding gave text: hardly anything that is not is printable by chance.
fn is_text(decoded: &[u8]) -> bool {
    let printable = decoded.iter().filter(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r')).count();
    decoded.len() >= 6 && printable * 20 >= decoded.len() * 19
}

/// Runs of base64, either alphabet, with or without padding, that decode to text.
pub(in crate::field::short) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let of = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    runs(text, of, |run| {
        let mut out = Vec::with_capacity(run.len() / 4 * 3 + 3);
        let (mut bits, mut held) = (0u32, 0u32);
        for byte in run {
            let six = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => continue,
            };
            (bits, held) = (bits << 6 | u32::from(six), held + 6);
            if held >= 8 {
                held -= 8;
                out.push(bits.checked_shr(held).unwrap_or(0).to_le_bytes()[0]);
                bits &= (1 << held) - 1;
            }
        }
        is_text(&out).then_some(out)
    })
}

/// Runs of pairs of hexadecimal digits that decode to text; a `0x` before them goes.
pub(in crate::field::short) fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let of = |byte: u8| byte.is_ascii_hexdigit() || byte == b'x' || byte == b'X';
    runs(text, of, |run| {
        let run = run.strip_prefix(b"0x").or_else(|| run.strip_prefix(b"0X")).unwrap_or(run);
        let pairs = run.chunks_exact(2);
        if run.len() < RUN || !pairs.remainder().is_empty() {
            return None;
        }
        let byte = |pair: &[u8]| u8::try_from(digit(pair.first(), 16)? * 16 + digit(pair.last(), 16)?).ok();
        let out: Vec<u8> = pairs.map(byte).collect::<Option<_>>()?;
        (is_text(&out) && out.iter().any(|byte| !byte.is_ascii_digit())).then_some(out)
    })
}
