//! Sets of HTTP statuses, written as numbers and ranges.

use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Statuses from 200 to 599: `200`, `"200-299"`, or a list of such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// The given ranges, ends included.
    pub fn of(ranges: &[(u16, u16)]) -> Self {
        Self(ranges.to_vec())
    }

    /// Whether a status is among them.
    pub fn has(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    (from >= 200 && from <= to && to <= 599).then_some((from, to))
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct One((u16, u16));
        struct Visit;
        fn bad<E: de::Error>(what: impl fmt::Display) -> E {
            E::custom(format!("{what} is no status; write one from 200 to 599, or a range as \"200-299\""))
        }
        impl de::Visitor<'_> for Visit {
            type Value = One;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status, or a range of them as \"200-299\"")
            }
            fn visit_i64<E: de::Error>(self, status: i64) -> Result<One, E> {
                range(&status.to_string()).map(One).ok_or_else(|| bad(status))
            }
            fn visit_u64<E: de::Error>(self, status: u64) -> Result<One, E> {
                range(&status.to_string()).map(One).ok_or_else(|| bad(status))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<One, E> {
                range(text).map(One).ok_or_else(|| bad(format!("{text:?}")))
            }
        }
        impl<'de> Deserialize<'de> for One {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                input.deserialize_any(Visit)
            }
        }
        struct All;
        impl<'de> de::Visitor<'de> for All {
            type Value = Statuses;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status, a range as \"200-299\", or a list of these")
            }
            fn visit_i64<E: de::Error>(self, status: i64) -> Result<Statuses, E> {
                Visit.visit_i64(status).map(|One(range)| Statuses(vec![range]))
            }
            fn visit_u64<E: de::Error>(self, status: u64) -> Result<Statuses, E> {
                Visit.visit_u64(status).map(|One(range)| Statuses(vec![range]))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Statuses, E> {
                Visit.visit_str(text).map(|One(range)| Statuses(vec![range]))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Statuses, A::Error> {
                let mut ranges = Vec::new();
                while let Some(One(range)) = items.next_element()? {
                    ranges.push(range);
                }
                Ok(Statuses(ranges))
            }
        }
        input.deserialize_any(All)
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        if let [(from, to)] = self.0.as_slice()
            && from == to
        {
            return output.serialize_u16(*from);
        }
        let mut list = output.serialize_seq(Some(self.0.len()))?;
        for (from, to) in &self.0 {
            if from == to {
                list.serialize_element(from)?;
            } else {
                list.serialize_element(&format!("{from}-{to}"))?;
            }
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, Serialize)]
    struct File {
        status: Statuses,
    }

    #[test]
    fn statuses_read_as_number_range_and_list() {
        for (text, yes, no) in [
            ("status = 200", &[200][..], &[199, 201, 204][..]),
            ("status = '200-299'", &[200, 204, 299], &[300, 500]),
            ("status = [204, '500-502']", &[204, 500, 502], &[200, 503]),
            ("status = []", &[], &[200, 500]),
        ] {
            let file: File = toml::from_str(text).unwrap();
            assert!(yes.iter().all(|status| file.status.has(*status)), "{text}");
            assert!(!no.iter().any(|status| file.status.has(*status)), "{text}");
            let again: File = toml::from_str(&toml::to_string(&file).unwrap()).unwrap();
            assert_eq!(again.status, file.status, "{text}");
        }
        for bad in ["99", "600", "'300-200'", "'x'", "['200', 1]", "true", "'100-200'"] {
            assert!(toml::from_str::<File>(&format!("status = {bad}")).is_err(), "{bad}");
        }
    }
}
