//! What the tests of transformations, operators and bodies share: the notation of the reference vectors, and bytes
//! without a pattern.

use super::in_place::hex_digit;

/// The bytes of a string of the vectors. Their own harness makes one byte of `\x` and two letters or digits, and of
/// `\u` and four, by reading the hexadecimal digits it begins with; we read them alike.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, tail)) = rest.split_first() {
        let length = match rest {
            [b'\\', b'x', ..] => 2,
            [b'\\', b'u', ..] => 4,
            _ => 0,
        };
        match rest.get(2..2 + length).filter(|digits| length > 0 && digits.iter().all(u8::is_ascii_alphanumeric)) {
            Some(digits) => {
                let value = digits.iter().map_while(|&d| hex_digit(d)).fold(0u32, |v, d| (v << 4) | u32::from(d));
                out.push(value.to_be_bytes()[3]);
                rest = &rest[2 + length..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

/// `length` bytes drawn from `alphabet` (xorshift64*): the same on every run.
pub(crate) fn noise(seed: &mut u64, alphabet: &[u8], length: usize) -> Vec<u8> {
    let mut draw = || {
        *seed ^= *seed >> 12;
        *seed ^= *seed << 25;
        *seed ^= *seed >> 27;
        usize::try_from(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap()
    };
    (0..length).map(|_| alphabet[draw() % alphabet.len()]).collect()
}
