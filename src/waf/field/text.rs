//! The structure of texts: what any text has, whatever it says.
//!
//! A text is UTF-8 without NUL and without control characters, save tab, line feed and carriage return; and it is not
//! binary in disguise. In a [`Free`] text form feeds (RFCs and listings have them) and the escape sequences that colour
//! a terminal's log (`ESC [ 1 ; 31 m`) are content too; no other escape sequence is, because it could move the cursor
//! or set a title when someone prints the log. A [`Short`] text has neither, and no override of the writing direction.
//! Deleting (U+007F) and backspace are in no text.
//!
//! Out of more than eight characters that are for no exchange of text (U+FFFD, private use, non-characters, C1
//! controls), one may be among sixteen: icon fonts and a broken encoding here and there are everyday, a picture that
//! was read as Latin-1 is not.
//!
//! One pass over 64-byte blocks that the compiler turns into vector instructions; only blocks with something other than
//! printable ASCII are looked at character by character. No allocation. Fails closed.

use super::class::{Free, Misfit, Opaque, Short};

/// Bytes that are looked at together.
const BLOCK: usize = 64;
/// As many odd characters are in any text.
const ODD_ALWAYS: usize = 8;
/// Beyond those, one among as many.
const ODD_SHARE: usize = 16;

/// Whether `value` has the structure of a free text.
///
/// # Errors
/// Too long, not UTF-8, a control character, or binary.
pub fn check(value: &[u8], free: &Free) -> Result<(), Misfit> {
    if value.len() > free.max_bytes {
        return Err(Misfit::new(format!("longer than {} bytes", free.max_bytes)));
    }
    structure(value, Kind::Free).map_err(Misfit::new)
}

/// Whether `value` has the structure of a short text. What it says is for the scorer.
///
/// # Errors
/// Too long, not UTF-8, a control character, a direction override, or binary.
pub fn check_short(value: &[u8], short: &Short) -> Result<(), Misfit> {
    // No character has more than four bytes: an endless value is not read to its end.
    let long = || Misfit::new(format!("longer than {} characters", short.max_chars));
    if value.len() > short.max_chars.saturating_mul(4) {
        return Err(long());
    }
    structure(value, Kind::Short).map_err(Misfit::new)?;
    let continued = |b: &&u8| (**b & 0xc0) == 0x80;
    if value.len() > short.max_chars && value.len() - value.iter().filter(continued).count() > short.max_chars {
        return Err(long());
    }
    Ok(())
}

/// Whether `value` is within its size.
///
/// # Errors
/// It is longer.
pub fn check_opaque(value: &[u8], opaque: &Opaque) -> Result<(), Misfit> {
    if value.len() > opaque.max_bytes {
        return Err(Misfit::new(format!("longer than {} bytes", opaque.max_bytes)));
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Free,
    Short,
}

/// Whether all of `block` is printable ASCII, tab, line feed or carriage return. Without a branch per byte.
#[inline]
fn plain(block: &[u8]) -> bool {
    let mut odd = 0u8;
    for &b in block {
        let printable = u8::from(b.wrapping_sub(0x20) < 0x5f);
        let blank = u8::from(b == b'\n') | u8::from(b == b'\t') | u8::from(b == b'\r');
        odd |= (printable | blank) ^ 1;
    }
    odd == 0
}

fn structure(value: &[u8], kind: Kind) -> Result<(), &'static str> {
    let mut rest = value;
    let mut odd = 0usize;
    let mut seen = 0usize;
    while let Some((block, behind)) = rest.split_at_checked(BLOCK) {
        if plain(block) {
            rest = behind;
            seen += BLOCK;
            continue;
        }
        rest = characters(rest, kind, &mut odd, &mut seen)?;
    }
    while !rest.is_empty() {
        if plain(rest) {
            seen += rest.len();
            break;
        }
        rest = characters(rest, kind, &mut odd, &mut seen)?;
    }
    if odd > ODD_ALWAYS && odd > seen / ODD_SHARE {
        return Err("binary, not text");
    }
    Ok(())
}

/// Judges characters until at least a block's bytes are behind them (or the text's end), and gives what is left.
fn characters<'a>(value: &'a [u8], kind: Kind, odd: &mut usize, seen: &mut usize) -> Result<&'a [u8], &'static str> {
    // Four more bytes hold the character that straddles the block's end, and the end of a colour sequence may lie
    // further still: those are few bytes, and are looked for in the whole rest.
    let window = value.get(..BLOCK + 4).unwrap_or(value);
    let text = match std::str::from_utf8(window) {
        Ok(text) => text,
        // Cut within a character, which is only right when there is more to come.
        Err(e) if e.error_len().is_none() && window.len() < value.len() => {
            std::str::from_utf8(window.get(..e.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(_) => return Err("not UTF-8"),
    };
    for (at, c) in text.char_indices() {
        if at >= BLOCK {
            return Ok(value.get(at..).unwrap_or_default());
        }
        *seen += 1;
        match c {
            '\t' | '\n' | '\r' | ' '..='~' => {}
            '\u{c}' if kind == Kind::Free => {}
            '\u{1b}' if kind == Kind::Free => {
                let behind = value.get(at + 1..).unwrap_or_default();
                let sequence = colour(behind).ok_or("a terminal's escape sequence that does more than colour")?;
                *seen += sequence;
                return Ok(behind.get(sequence..).unwrap_or_default());
            }
            '\0' => return Err("a NUL character"),
            '\u{1}'..='\u{1f}' | '\u{7f}' => return Err("a control character"),
            '\u{202d}' | '\u{202e}' if kind == Kind::Short => return Err("a character that overrides direction"),
            c if foreign(c) => *odd += 1,
            _ => {}
        }
    }
    Ok(value.get(text.len()..).unwrap_or_default())
}

/// The length of `[`, numbers and `m` (ECMA-48, SGR) at the start of `text`.
fn colour(text: &[u8]) -> Option<usize> {
    let numbers = text.strip_prefix(b"[")?;
    let end = numbers.iter().take(48).position(|b| !matches!(b, b'0'..=b'9' | b';' | b':'))?;
    (numbers.get(end) == Some(&b'm')).then_some(end + 2)
}

/// Whether the character is for no exchange of text.
fn foreign(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fffd}' | '\u{f0000}'..='\u{10ffff}')
        || u32::from(c) & 0xfffe == 0xfffe
}

/// Whether a character beyond ASCII may stand in a name or an address: a letter, mark, digit or symbol of some script,
/// but no blank, no invisible or direction character, and none that folds to an ASCII one (full width).
pub(super) fn nameable(c: char) -> bool {
    c >= '\u{a1}'
        && !c.is_whitespace()
        && !foreign(c)
        && !matches!(c,
            '\u{a8}' | '\u{ad}' | '\u{af}' | '\u{b4}' | '\u{b8}' | '\u{2b0}'..='\u{2ff}' | '\u{34f}' | '\u{37e}'
            | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{2000}'..='\u{206f}' | '\u{2100}'..='\u{218f}' | '\u{2215}'..='\u{2216}' | '\u{2223}' | '\u{2236}'
            | '\u{2329}'..='\u{232a}' | '\u{2460}'..='\u{24ff}' | '\u{29f5}'..='\u{29f9}' | '\u{3000}'..='\u{3004}'
            | '\u{3008}'..='\u{3020}' | '\u{3164}' | '\u{fe00}'..='\u{fe6f}' | '\u{feff}'..='\u{ffff}' | '\u{1d400}'..='\u{1d7ff}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(value: &[u8]) -> bool {
        check(value, &Free { max_bytes: 1 << 20, optional: false }).is_ok()
    }

    fn short(value: &[u8]) -> bool {
        check_short(value, &Short { max_chars: 20, optional: false }).is_ok()
    }

    #[test]
    fn texts() {
        for (value, in_free, in_short) in [
            (&b""[..], true, true),
            (b"plain", true, true),
            (b"two\r\nlines\tand a tab", true, true),
            ("Größe, 日本語, 🎉👩‍💻".as_bytes(), true, true),
            ("שלום \u{200f}(hi)".as_bytes(), true, true),
            ("a\u{202e}fdp.exe".as_bytes(), true, false),
            (b"a\0b", false, false),
            (b"a\x08b", false, false),
            (b"a\x7fb", false, false),
            (b"a\x0cb", true, false),
            (b"\x1b[1;31mred\x1b[0m", true, false),
            (b"\x1b[mred", true, false),
            (b"\x1b[2Jgone", false, false),
            (b"\x1b]0;title\x07", false, false),
            (b"\x1b", false, false),
            (b"\x1b[", false, false),
            (b"\xff\xfe", false, false),
            (b"\xc3", false, false),
            (b"\xc0\xaf", false, false),
            (b"\xed\xa0\x80", false, false),
            ("\u{e0a0} main".as_bytes(), true, true),
            ("broken \u{fffd}\u{fffd}".as_bytes(), true, true),
            ("\u{fffd}PNG\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}".as_bytes(), false, false),
            ("exactly twenty chars".as_bytes(), true, true),
            ("exactly twenty chars.".as_bytes(), true, false),
            ("ääääääääääääääääääää".as_bytes(), true, true),
            ("äääääääääääääääääääää".as_bytes(), true, false),
        ] {
            let shown = String::from_utf8_lossy(value);
            assert_eq!((free(value), short(value)), (in_free, in_short), "{shown:?}");
        }
        assert!(check(b"123", &Free { max_bytes: 2, optional: false }).is_err());
        assert!(check_opaque(b"\0\xff", &Opaque { max_bytes: 2, optional: false }).is_ok());
        assert!(check_opaque(b"\0\xff\0", &Opaque { max_bytes: 2, optional: false }).is_err());
    }

    /// Wherever something stands, in whatever block, the verdict is the same.
    #[test]
    fn the_place_does_not_matter() {
        for (piece, fits) in [
            (&b"\0"[..], false),
            (b"\x1b[38;5;200m", true),
            (b"\x1b[38;5;200K", false),
            ("🎉".as_bytes(), true),
            ("é".as_bytes(), true),
            (b"\xf0\x9f\x8e", false),
            (b"\xff", false),
            ("日本".as_bytes(), true),
        ] {
            for at in 0..200 {
                for behind in [0, 1, 3, 70] {
                    let mut value = vec![b'a'; at];
                    value.extend_from_slice(piece);
                    value.extend(std::iter::repeat_n(b'b', behind));
                    assert_eq!(free(&value), fits, "{piece:?} at {at}, {behind} behind");
                }
            }
        }
    }
}
