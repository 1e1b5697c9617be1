//! `@eq`, `@lt`, `@le`, `@gt`, `@ge`: both sides as decimal integers.

use std::cmp::Ordering;

/// Which outcomes of the comparison match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    pub(super) fn holds(self, value: &[u8], argument: i64) -> bool {
        let ordering = integer(value).cmp(&argument);
        match self {
            Self::Equal => ordering == Ordering::Equal,
            Self::Less => ordering == Ordering::Less,
            Self::LessOrEqual => ordering != Ordering::Greater,
            Self::Greater => ordering == Ordering::Greater,
            Self::GreaterOrEqual => ordering != Ordering::Less,
        }
    }
}

/// The integer that a text begins with, blanks and a sign before it allowed; 0 if there is none. Beyond 64 bits it
/// stays at the bound: a length of forty digits is large, not negative.
pub(super) fn integer(text: &[u8]) -> i64 {
    let blanks = text.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0B).count();
    let text = text.get(blanks..).unwrap_or_default();
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        _ => (false, text),
    };
    digits.iter().take_while(|byte| byte.is_ascii_digit()).fold(0i64, |number, &digit| {
        let digit = i64::from(digit.wrapping_sub(b'0'));
        let number = number.saturating_mul(10);
        if negative { number.saturating_sub(digit) } else { number.saturating_add(digit) }
    })
}
