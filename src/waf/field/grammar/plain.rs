//! Values without inner structure: numbers, truth, names of things, versions.

use super::Fit;
use crate::field::text::nameable;

/// RFC 9562, section 4: 8-4-4-4-12 hexadecimal digits, either case; any version, nil and max included.
pub(super) fn uuid(value: &[u8]) -> Fit {
    let right = value.len() == 36
        && value.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        });
    right.then_some(()).ok_or("not 8-4-4-4-12 hexadecimal digits")
}

/// `-` and digits without a leading zero, within 64 bits.
pub(super) fn integer(value: &[u8]) -> Result<i64, &'static str> {
    let negative = value.first() == Some(&b'-');
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err("not digits");
    }
    if (digits.first() == Some(&b'0') && digits.len() > 1) || (negative && digits == b"0") {
        return Err("a leading zero");
    }
    // Accumulated downwards, where there is one value more.
    let number = digits.iter().try_fold(0i64, |sum, b| sum.checked_mul(10)?.checked_sub(i64::from(b & 0x0f)));
    let number = if negative { number } else { number.and_then(i64::checked_neg) };
    number.ok_or("beyond 64 bits")
}

/// RFC 8259, section 6, at most 40 bytes, finite.
pub(super) fn number(value: &[u8]) -> Result<f64, &'static str> {
    let wrong = "not a decimal number";
    if value.len() > 40 {
        return Err("longer than 40 bytes");
    }
    let rest = value.strip_prefix(b"-").unwrap_or(value);
    let whole = digits(rest);
    let (whole, rest) = rest.split_at_checked(whole).ok_or(wrong)?;
    if whole.is_empty() || (whole.len() > 1 && whole.first() == Some(&b'0')) {
        return Err(wrong);
    }
    let rest = match rest.strip_prefix(b".") {
        None => rest,
        Some(fraction) => match digits(fraction) {
            0 => return Err(wrong),
            n => fraction.get(n..).unwrap_or_default(),
        },
    };
    if let Some((b'e' | b'E', exponent)) = rest.split_first() {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        if !(1..=3).contains(&exponent.len()) || digits(exponent) != exponent.len() {
            return Err(wrong);
        }
    } else if !rest.is_empty() {
        return Err(wrong);
    }
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<f64>().ok()).ok_or(wrong)?;
    number.is_finite().then_some(number).ok_or("too large")
}

/// How many digits there are at the start.
fn digits(value: &[u8]) -> usize {
    value.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// What web frameworks read as truth in a query or form, in any case; JSON's own two words among them.
pub(super) fn boolean(value: &[u8]) -> Fit {
    const WORDS: [&[u8]; 12] = [b"true", b"false", b"1", b"0", b"yes", b"no", b"on", b"off", b"t", b"f", b"y", b"n"];
    WORDS.iter().any(|word| value.eq_ignore_ascii_case(word)).then_some(()).ok_or("neither true nor false")
}

/// Lower-case letters and digits, with single `-` or `_` between.
pub(super) fn slug(value: &[u8]) -> Fit {
    let mut joined = true;
    for b in value {
        match b {
            b'a'..=b'z' | b'0'..=b'9' => joined = false,
            b'-' | b'_' if !joined => joined = true,
            b'-' | b'_' => return Err("`-` and `_` stand singly between letters and digits"),
            _ => return Err("not lower-case letters, digits, `-` and `_`"),
        }
    }
    (!joined).then_some(()).ok_or("`-` and `_` stand singly between letters and digits")
}

/// Names that open a way into an interpreter's inside when an application uses them as keys.
const INNER_NAMES: [&[u8]; 12] = [
    b"__proto__",
    b"__class__",
    b"__globals__",
    b"__builtins__",
    b"__import__",
    b"__subclasses__",
    b"__mro__",
    b"__bases__",
    b"__base__",
    b"__init__",
    b"__dict__",
    b"__getattribute__",
];

/// Letters, digits, `_`, `-`, `.` and `:`, beginning with a letter, digit or `_`, unless it is random. Not two dots
/// together, no scheme that runs script, no way into an interpreter, and no `--` at the end.
pub(super) fn identifier(value: &[u8]) -> Fit {
    if !value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':')) {
        return Err("not letters, digits, `_`, `-`, `.` and `:`");
    }
    if !value.first().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_') && !random(value) {
        return Err("begins with a sign");
    }
    if value.windows(2).any(|pair| pair == b"..") {
        return Err("two dots together");
    }
    if scheme_of_script(value) {
        return Err("begins as a script");
    }
    word(value)
}

/// Whether the value looks drawn from the 64 digits of base64url: such a one may begin and end in any of them.
pub(super) fn random(value: &[u8]) -> bool {
    value.len() >= 10
        && value.iter().any(u8::is_ascii_digit)
        && value.iter().any(u8::is_ascii_lowercase)
        && value.iter().any(u8::is_ascii_uppercase)
        && value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// What no name and no token is, even where all its characters are right: SQL's comment behind it (a random
/// identifier may end so), and what opens a way into an interpreter.
pub(super) fn word(value: &[u8]) -> Fit {
    if value.ends_with(b"--") && !random(value) {
        return Err("`--` at the end");
    }
    if inner_name(value) { Err("a name inside an interpreter") } else { Ok(()) }
}

/// Whether a name that opens a way into an interpreter is part of the value.
pub(super) fn inner_name(value: &[u8]) -> bool {
    value.windows(2).any(|pair| pair == b"__")
        && INNER_NAMES.iter().any(|name| value.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name)))
}

/// Whether there is a sign of ASCII in UTF-7 (`+ADw-` for `<`).
pub(super) fn utf7(value: &[u8]) -> bool {
    value.windows(5).any(|part| matches!(part, [b'+', b'A', b'A'..=b'H', _, b'-']))
}

/// Whether a browser would take the value for a script's address.
pub(super) fn scheme_of_script(value: &[u8]) -> bool {
    const SCHEMES: [&[u8]; 5] = [b"javascript:", b"vbscript:", b"data:", b"livescript:", b"jndi:"];
    SCHEMES.iter().any(|s| value.get(..s.len()).is_some_and(|start| start.eq_ignore_ascii_case(s)))
}

/// Whether a field that nobody described might be called so: at most 256 bytes of letters of any script, digits and
/// `_ - . : [ ] $ @`, as programs name their fields. The empty name is one too.
pub(in crate::field) fn field_name(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let sign = |c: char| matches!(c, '_' | '-' | '.' | ':' | '[' | ']' | '$' | '@');
    let double = |pair: &[u8]| matches!(pair, b".." | b"--" | b"$$" | b"@@");
    value.len() <= 256
        && text.chars().all(|c| if c.is_ascii() { c.is_ascii_alphanumeric() || sign(c) } else { nameable(c) })
        && !value.windows(2).any(double)
        && word(value).is_ok()
}

/// Hexadecimal digits, either case.
pub(super) fn hex(value: &[u8]) -> Fit {
    value.iter().all(u8::is_ascii_hexdigit).then_some(()).ok_or("not hexadecimal digits")
}

/// Semantic Versioning 2.0.0, at most 128 bytes.
pub(super) fn semver(value: &[u8]) -> Fit {
    let wrong = "not MAJOR.MINOR.PATCH";
    if value.len() > 128 {
        return Err("longer than 128 bytes");
    }
    let mut build = value.splitn(2, |b| *b == b'+');
    let mut pre = build.next().unwrap_or_default().splitn(2, |b| *b == b'-');
    let numeric = |part: &[u8]| {
        !part.is_empty() && part.iter().all(u8::is_ascii_digit) && (part.len() == 1 || part.first() != Some(&b'0'))
    };
    let mut core = pre.next().unwrap_or_default().split(|b| *b == b'.');
    if !(core.by_ref().take(3).filter(|part| numeric(part)).count() == 3 && core.next().is_none()) {
        return Err(wrong);
    }
    let lettered = |part: &[u8]| !part.is_empty() && part.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
    let pre_fits = pre.next().is_none_or(|pre| {
        pre.split(|b| *b == b'.').all(|part| lettered(part) && (numeric(part) || !part.iter().all(u8::is_ascii_digit)))
    });
    let build_fits = build.next().is_none_or(|build| build.split(|b| *b == b'.').all(lettered));
    if pre_fits && build_fits { word(value) } else { Err("not a sound pre-release or build") }
}
