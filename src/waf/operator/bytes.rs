//! The operators that match on malformed values: `@validateByteRange`, `@validateUrlEncoding`,
//! `@validateUtf8Encoding`.

use super::OperatorFault;
use crate::byteset::ByteSet;

/// The bytes a value may hold.
#[derive(Debug, Clone)]
pub(super) struct ByteRange(ByteSet);

impl ByteRange {
    /// From `32-126, 9, 13`. An empty list allows no byte.
    ///
    /// # Errors
    /// What is no number up to 255, or a range that ends before it begins.
    pub(super) fn parse(argument: &str) -> Result<Self, OperatorFault> {
        let mut allowed = ByteSet::EMPTY;
        for item in argument.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            match (first.trim().parse::<u8>(), last.trim().parse::<u8>()) {
                (Ok(first), Ok(last)) if first <= last => {
                    allowed = allowed.union(ByteSet::of_those(|byte| (first..=last).contains(&byte)));
                }
                _ => {
                    return Err(OperatorFault {
                        what: format!("`{item}` is no range of bytes"),
                        mend: "write numbers from 0 to 255 and ranges of them, as in `9,10,13,32-126`".to_owned(),
                    });
                }
            }
        }
        Ok(Self(allowed))
    }

    /// The bytes it allows.
    pub(super) fn allowed(&self) -> ByteSet {
        self.0
    }

    /// Whether any byte lies outside.
    pub(super) fn is_left_by(&self, value: &[u8]) -> bool {
        !ByteSet::of(value).within(self.0)
    }
}

/// Whether a `%` is not followed by two hexadecimal digits.
pub(super) fn breaks_url_encoding(value: &[u8]) -> bool {
    let mut rest = value;
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        rest = rest.get(at.saturating_add(1)..).unwrap_or_default();
        match rest {
            [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {}
            _ => return true,
        }
    }
    false
}

/// Whether the value is not UTF-8: truncated, overlong, a surrogate, above U+10FFFF (RFC 3629).
pub(super) fn breaks_utf8(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_err()
}
