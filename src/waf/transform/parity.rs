//! `parityEven7bit`, `parityOdd7bit`, `parityZero7bit`: the eighth bit set by the parity of the other seven.

use std::borrow::Cow;

pub(super) fn even(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    each(value, |byte| with_parity(byte, 1))
}

pub(super) fn odd(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    each(value, |byte| with_parity(byte, 0))
}

pub(super) fn zero(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    each(value, |byte| byte & 0x7F)
}

/// Sets the eighth bit where the number of ones in the other seven is `set_when` modulo 2.
fn with_parity(byte: u8, set_when: u32) -> u8 {
    let seven = byte & 0x7F;
    if seven.count_ones() % 2 == set_when { seven | 0x80 } else { seven }
}

fn each(value: Cow<'_, [u8]>, convert: fn(u8) -> u8) -> Cow<'_, [u8]> {
    let Some(first) = value.iter().position(|&byte| convert(byte) != byte) else { return value };
    let mut owned = value.into_owned();
    for byte in owned.iter_mut().skip(first) {
        *byte = convert(*byte);
    }
    Cow::Owned(owned)
}
