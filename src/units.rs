//! Quantities as people write them in configuration: sizes, durations, rates, networks, secrets.
//!
//! Each type parses from text, refuses what cannot be right with the mend in the message, and prints in the form it
//! reads, so that the effective configuration can be fed back in.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A network, `"10.0.0.0/8"` or `"2001:db8::/32"`, or one address, which is the network of itself (RFC 4632, RFC 4291).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr(pub ipnet::IpNet);

impl FromStr for Cidr {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let address = || text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from);
        text.parse::<ipnet::IpNet>().or_else(|_| address()).map(Self).map_err(|_| {
            UnitError(format!("{text:?} is no address and no network: write them as \"192.0.2.1\" or \"10.0.0.0/8\""))
        })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// Why a quantity was not understood; the text names the accepted forms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(String);

fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// A number of bytes: `"512"`, `"64KiB"`, `"13MiB"`, `"2GiB"`, `"10kB"`, `"1MB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `n` KiB.
    pub const fn kib(n: u64) -> Self {
        Self(n * 1024)
    }

    /// `n` MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n * 1024 * 1024)
    }

    /// The size as a buffer length; saturates where the address space is smaller.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const SIZE_UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
    ("", 1),
];

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split_number(text.trim());
        let scale = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, scale)| *scale);
        match (number.parse::<u64>().ok(), scale) {
            (Some(n), Some(scale)) => n
                .checked_mul(scale)
                .map(Self)
                .ok_or_else(|| UnitError(format!("size {text:?} is larger than 16 EiB: write a smaller one"))),
            _ => {
                Err(UnitError(format!("{text:?} is no size: write a whole number and B, KiB, MiB, GiB, kB, MB or GB")))
            }
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = SIZE_UNITS[..3]
            .iter()
            .find(|(_, scale)| self.0 != 0 && self.0.is_multiple_of(*scale))
            .copied()
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

/// A span of time: `"250ms"`, `"5s"`, `"2m"`, `"1h"`, `"7d"`, or `"0s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl Span {
    /// `n` seconds.
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// `n` milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }
}

const SPAN_UNITS: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split_number(text.trim());
        let scale = SPAN_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
        match (number.parse::<u64>().ok(), scale) {
            (Some(n), Some(scale)) => n
                .checked_mul(scale)
                .map(|micros| Self(Duration::from_micros(micros)))
                .ok_or_else(|| UnitError(format!("{text:?} is too long: write a smaller duration"))),
            _ => {
                Err(UnitError(format!("{text:?} is no duration: write a whole number and ms, s, m, h or d, as \"5s\"")))
            }
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        if micros == 0 {
            return f.write_str("0s");
        }
        let (unit, scale) = SPAN_UNITS
            .iter()
            .find(|(_, scale)| micros.is_multiple_of(u128::from(*scale)))
            .copied()
            .unwrap_or(("us", 1));
        write!(f, "{}{unit}", micros / u128::from(scale))
    }
}

/// An allowance over time: `"100/m"`, `"20/s"`, `"1000/h"`, `"5/d"`, or over any span, `"30/10s"`. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least 1.
    pub count: std::num::NonZeroU32,
    /// In this time, above zero.
    pub per: Duration,
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let fault = || UnitError(format!("{text:?} is no rate: write a count and a time, as \"100/m\" or \"30/10s\""));
        let (count, per) = text.trim().split_once('/').ok_or_else(fault)?;
        let count = count.trim().parse().map_err(|_| fault())?;
        let per = per.trim();
        let counted = per.starts_with(|c: char| c.is_ascii_digit());
        let span: Span = if counted { per.parse() } else { format!("1{per}").parse() }.map_err(|_| fault())?;
        if span.0.is_zero() {
            return Err(fault());
        }
        Ok(Self { count, per: span.0 })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = Span(self.per).to_string();
        write!(
            f,
            "{}/{}",
            self.count,
            per.strip_prefix('1').filter(|u| u.starts_with(char::is_alphabetic)).unwrap_or(&per)
        )
    }
}

macro_rules! text_serde {
    ($($name:ty, $form:literal);* $(;)?) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                struct Visit;
                impl de::Visitor<'_> for Visit {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($form)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_i64<E: de::Error>(self, n: i64) -> Result<$name, E> {
                        n.to_string().parse().map_err(E::custom)
                    }
                }
                input.deserialize_any(Visit)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
                output.collect_str(self)
            }
        }
    )*};
}
text_serde! {
    ByteSize, "a size such as \"64KiB\"";
    Span, "a duration such as \"5s\"";
    Rate, "a rate such as \"100/m\"";
    Cidr, "an address or a network such as \"10.0.0.0/8\"";
}

/// A share of requests, from 0 to 1, in steps of a millionth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

/// What [`Share`] counts in.
const MILLION: u32 = 1_000_000;

impl Share {
    /// A whole number of hundredths, at most all.
    pub const fn percent(percent: u32) -> Self {
        let percent = if percent > 100 { 100 } else { percent };
        Self(percent * (MILLION / 100))
    }

    /// Whether a request is among them; `dice` is drawn anew for each, over the whole range of `u32`.
    pub fn takes(self, dice: u32) -> bool {
        (u64::from(dice) * u64::from(MILLION)) >> 32 < u64::from(self.0)
    }

    /// From 0 to 1000, what is below one cut off.
    pub fn thousandths(self) -> u32 {
        self.0 / (MILLION / 1000)
    }

    /// Whether it is none.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// From 0 to 1.
    pub fn value(self) -> f64 {
        f64::from(self.0) / f64::from(MILLION)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let share = f64::deserialize(input)?;
        if !(0.0..=1.0).contains(&share) {
            return Err(serde::de::Error::custom(format!("{share} is no share; write a number from 0.0 to 1.0")));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to a million")]
        let millionths = (share * f64::from(MILLION)).round() as u32;
        Ok(Self(millionths))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.serialize_f64(self.value())
    }
}

/// A list written as an array or, as an environment variable gives it, as one text with commas: `["a", "b"]`, `"a, b"`;
/// an empty text is an empty list. For `#[serde(deserialize_with = "units::list")]`.
///
/// # Errors
///
/// What is neither, or an item that `T` refuses.
pub fn list<'de, D, T>(input: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Visit<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visit<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array, or a text with commas between its items")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(|item| T::deserialize(de::value::StrDeserializer::new(item))).collect()
        }
        fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                list.push(item);
            }
            Ok(list)
        }
    }
    input.deserialize_any(Visit(std::marker::PhantomData))
}

/// An optional text, where the empty text means none, as an unset environment variable leaves it. For
/// `#[serde(default, deserialize_with = "units::unless_empty")]`.
///
/// # Errors
///
/// What is no text, or a text that `T` refuses.
pub fn unless_empty<'de, D, T>(input: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let text = String::deserialize(input)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    T::deserialize(de::value::StringDeserializer::new(text)).map(Some)
}

/// A value that must not be seen: prints as `***`, in debug output and in the effective configuration alike.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself; callers compare it in constant time or hash it, never print it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.serialize_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes, printed) in [
            ("64KiB", 65_536, "64KiB"),
            ("13 MiB", 13 << 20, "13MiB"),
            ("10kB", 10_000, "10000B"),
            ("0", 0, "0B"),
            ("2GiB", 2 << 30, "2GiB"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string(), printed);
            assert_eq!(printed.parse::<ByteSize>().unwrap(), size);
        }
        for bad in ["", "KiB", "1.5MiB", "-1", "99999999999GiB", "1 parsec"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_read_and_print() {
        for (text, millis) in [("250ms", 250), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000), ("0s", 0)] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.0.as_millis(), millis);
            assert_eq!(span.to_string(), text);
        }
        for bad in ["", "5", "s", "5 weeks", "1.5s", "18446744073709551615h"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_read_and_print() {
        for (text, count, secs) in [("100/m", 100, 60), ("20/s", 20, 1), ("30/10s", 30, 10), ("5/d", 5, 86_400)] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.count.get(), rate.per.as_secs()), (count, secs));
            assert_eq!(rate.to_string(), text);
        }
        for bad in ["", "100", "0/s", "1/0s", "x/s", "1/", "-1/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_is_an_array_or_a_text_with_commas() {
        #[derive(Deserialize)]
        struct Holder {
            #[serde(deserialize_with = "list")]
            items: Vec<std::net::SocketAddr>,
            #[serde(default, deserialize_with = "unless_empty")]
            path: Option<std::path::PathBuf>,
        }
        for (json, count) in [
            (r#"{"items": ["127.0.0.1:1", "[::1]:2"]}"#, 2),
            (r#"{"items": "127.0.0.1:1, [::1]:2", "path": ""}"#, 2),
            (r#"{"items": "127.0.0.1:1", "path": " "}"#, 1),
            (r#"{"items": ""}"#, 0),
        ] {
            let holder: Holder = serde_json::from_str(json).unwrap();
            assert_eq!((holder.items.len(), holder.path), (count, None), "{json}");
        }
        assert!(serde_json::from_str::<Holder>(r#"{"items": "127.0.0.1"}"#).is_err());
        assert!(serde_json::from_str::<Holder>(r#"{"items": 3}"#).is_err());
    }

    #[test]
    fn networks_read_and_print() {
        for text in ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        for bad in ["", "10.0.0.0/33", "10.0.0", "localhost", "10.0.0.0/"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let secret = Secret::new("hunter2".into());
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
    }
}
