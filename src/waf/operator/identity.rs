//! `@verifyCC`, `@verifyCPF`, `@verifySSN`, `@verifySVNR`: numbers with a check, found by a pattern.
//!
//! A candidate may begin at any byte, as in the reference, which would be quadratic where candidates are long; so the
//! candidates of one value together are limited to [`OVERLAP`] times its length, and beyond that they do not overlap.

use super::OperatorFault;
use super::captures::Captures;
use super::rx::Rx;

/// How often a byte may be part of a candidate, on average.
const OVERLAP: usize = 32;

/// Which number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Payment cards: the Luhn check (ISO/IEC 7812-1).
    Card,
    /// Brazil: Cadastro de Pessoas Físicas.
    Cpf,
    /// United States: Social Security number.
    Ssn,
    /// Austria: Sozialversicherungsnummer.
    Svnr,
}

/// A pattern and the check on what it finds.
#[derive(Debug)]
pub(super) struct Identity {
    scheme: Scheme,
    pattern: Rx,
}

impl Identity {
    /// # Errors
    /// A pattern that cannot be compiled.
    pub(super) fn compile(scheme: Scheme, pattern: &str) -> Result<Self, OperatorFault> {
        Ok(Self { scheme, pattern: Rx::compile(pattern)? })
    }

    /// Whether a candidate passes its check. With `want`, group 0 is the candidate.
    pub(super) fn matches(&self, value: &[u8], want: bool, captures: &mut Captures) -> bool {
        let mut budget = value.len().saturating_mul(OVERLAP);
        let mut from = 0;
        while let Some((start, end)) = self.pattern.find_from(value, from) {
            let candidate = value.get(start..end).unwrap_or_default();
            if self.scheme.holds(candidate) {
                if want {
                    captures.push(Some(candidate));
                }
                return true;
            }
            // The way from `from` to the candidate was read too.
            budget = budget.saturating_sub(end.saturating_sub(from));
            let overlaps = budget > 0;
            from = if overlaps || start == end { start.saturating_add(1) } else { end };
            if from > value.len() {
                break;
            }
        }
        false
    }
}

impl Scheme {
    fn holds(self, candidate: &[u8]) -> bool {
        // No scheme has more digits; reading on would only cost time.
        const MOST: usize = 64;
        let digits: Vec<u32> = candidate
            .iter()
            .filter(|byte| byte.is_ascii_digit())
            .take(MOST)
            .map(|&digit| u32::from(digit.wrapping_sub(b'0')))
            .collect();
        match self {
            Self::Card => digits.len() < MOST && luhn(&digits),
            Self::Cpf => cpf(&digits),
            Self::Ssn => ssn(&digits),
            Self::Svnr => svnr(&digits),
        }
    }
}

/// From the right every second digit doubled, digits of the products summed: a multiple of ten. All zeros are no card.
fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| match (place % 2, digit) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit.saturating_mul(2).saturating_sub(9),
            (_, digit) => digit.saturating_mul(2),
        })
        .sum();
    sum > 0 && sum.is_multiple_of(10)
}

/// Eleven digits, the last two computed from those before; eleven times the same digit is none.
fn cpf(digits: &[u32]) -> bool {
    let check = |count: usize| {
        let weighted = digits.iter().take(count).zip((2..=11u32).rev().skip(10usize.saturating_sub(count)));
        let rest = weighted.map(|(digit, weight)| digit.saturating_mul(weight)).sum::<u32>() % 11;
        if rest < 2 { 0 } else { 11u32.saturating_sub(rest) }
    };
    digits.len() == 11
        && digits.windows(2).any(|pair| pair.first() != pair.last())
        && digits.get(9) == Some(&check(9))
        && digits.get(10) == Some(&check(10))
}

/// Nine digits: area, group and serial are not zero, the area is below 740 and not 666, and the number is neither a
/// count up or down nor one digit repeated.
fn ssn(digits: &[u32]) -> bool {
    let number = |from: usize, to: usize| {
        digits
            .get(from..to)
            .unwrap_or_default()
            .iter()
            .fold(0u32, |number, digit| number.saturating_mul(10).saturating_add(*digit))
    };
    let steps_by = |step: i64| {
        digits.windows(2).all(|pair| match pair {
            [a, b] => i64::from(*b).saturating_sub(i64::from(*a)) == step,
            _ => false,
        })
    };
    let (area, group, serial) = (number(0, 3), number(3, 5), number(5, 9));
    digits.len() == 9
        && (1..740).contains(&area)
        && area != 666
        && group > 0
        && serial > 0
        && ![-1, 0, 1].into_iter().any(steps_by)
}

/// Ten digits, the fourth computed from the others.
fn svnr(digits: &[u32]) -> bool {
    const WEIGHTS: [u32; 10] = [3, 7, 9, 0, 5, 8, 4, 2, 1, 6];
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| digit.saturating_mul(weight)).sum();
    digits.len() == 10 && digits.iter().any(|&digit| digit > 0) && digits.get(3) == Some(&(sum % 11))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_their_checks() {
        let table: &[(Scheme, &str, &[u8], bool)] = &[
            (Scheme::Card, r"\d{13,16}", b"card 4111111111111111.", true),
            (Scheme::Card, r"\d{16}", b"card 4111111111111112.", false),
            (Scheme::Card, r"\d{13,16}", b"0000000000000000", false),
            (Scheme::Card, r"\d{16}", b"94111111111111111", true),
            (Scheme::Cpf, r"[\d.-]{11,14}", b"010.817.514-60", true),
            (Scheme::Cpf, r"[\d.-]{11,14}", b"010.817.514-61", false),
            (Scheme::Cpf, r"[\d.-]{11,14}", b"111.111.111-11", false),
            (Scheme::Ssn, r"\d{3}-?\d{2}-?\d{4}", b"574-57-8065", true),
            (Scheme::Ssn, r"\d{3}-?\d{2}-?\d{4}", b"000-57-8065", false),
            (Scheme::Ssn, r"\d{3}-?\d{2}-?\d{4}", b"123456789", false),
            (Scheme::Svnr, r"\d{4} ?\d{6}", b"1237 010180", true),
            (Scheme::Svnr, r"\d{4} ?\d{6}", b"1238 010180", false),
        ];
        for (scheme, pattern, value, expected) in table {
            let mut captures = Captures::new();
            let got = Identity::compile(*scheme, pattern).unwrap().matches(value, true, &mut captures);
            assert_eq!((got, captures.is_empty()), (*expected, !*expected), "{scheme:?} {}", value.escape_ascii());
        }
    }

    #[test]
    fn long_candidates_end() {
        let identity = Identity::compile(Scheme::Card, r"\d*").unwrap();
        let value = vec![b'1'; 200_000];
        assert!(!identity.matches(&value, false, &mut Captures::new()));
    }
}
