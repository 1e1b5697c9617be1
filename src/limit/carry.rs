//! Buckets as bytes, to go on in another process: whoever had spent a limit has spent it there too.
//!
//! ```text
//! for each policy:  name length (2), name, interval in ns (8), burst (4), max_keys (8), buckets (4), then each bucket:
//!                   kind (1): 4 and an IPv4 address (4), 6 and an IPv6 address (16), or 1 (API key) or 2 (certificate),
//!                   length (2) and the user's name
//!                   nanoseconds until it is whole (8)
//! ```
//! Numbers are big endian. Times are relative, because clocks are a process's own. Buckets of a policy whose shape has
//! changed are left behind, as at a reload; a bucket is never emptier than its policy allows. Overflow buckets, which
//! strangers share during a flood, begin anew.

use super::{Limits, Policy};
use crate::facts::UserKey;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

/// The layout above.
const VERSION: u16 = 1;
/// What is written of one policy at most, in bytes; buckets beyond are left behind.
const MAX_POLICY: usize = 48 << 20;

impl Limits {
    /// The version of what [`export`](Self::export) gives.
    pub const CARRIED: u16 = VERSION;

    /// All buckets that are not whole, as bytes.
    pub fn export(&self, now: Instant) -> Vec<u8> {
        let mut out = Vec::new();
        for policy in self.all() {
            let Ok(length) = u16::try_from(policy.name.len()) else { continue };
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(policy.name.as_bytes());
            out.extend_from_slice(&shape(policy));
            let (mut buckets, mut count) = (Vec::new(), 0_u32);
            policy.buckets.each(now, |key, whole_in| {
                if buckets.len() < MAX_POLICY && write_key(&mut buckets, key) {
                    buckets.extend_from_slice(&whole_in.to_be_bytes());
                    count += 1;
                }
            });
            out.extend_from_slice(&count.to_be_bytes());
            out.extend_from_slice(&buckets);
        }
        out
    }

    /// Takes over buckets from bytes; how many, or `None` once the bytes turn out to be no buckets: those before stay.
    pub fn import(&self, bytes: &[u8], now: Instant) -> Option<usize> {
        let (mut rest, mut taken) = (bytes, 0);
        while !rest.is_empty() {
            let name = text(&mut rest)?;
            let (carried, after) = rest.split_first_chunk::<SHAPE>()?;
            rest = after;
            let policy = self.exact(name).filter(|policy| shape(policy) == *carried);
            for _ in 0..u32::from_be_bytes(*chunk(&mut rest)?) {
                let key = read_key(&mut rest)?;
                let whole_in = u64::from_be_bytes(*chunk(&mut rest)?);
                if let Some(policy) = policy {
                    let window = u64::try_from(policy.shape.window().as_nanos()).unwrap_or(u64::MAX);
                    policy.buckets.put(key, whole_in.min(window), now);
                    taken += 1;
                }
            }
        }
        Some(taken)
    }
}

const SHAPE: usize = 20;

fn shape(policy: &Policy) -> [u8; SHAPE] {
    let shape = policy.shape;
    let interval = u64::try_from(shape.interval.as_nanos()).unwrap_or(u64::MAX);
    let mut out = [0; SHAPE];
    let parts = interval.to_be_bytes().into_iter().chain(shape.burst.get().to_be_bytes());
    for (to, from) in out.iter_mut().zip(parts.chain((shape.max_keys as u64).to_be_bytes())) {
        *to = from;
    }
    out
}

fn write_key(out: &mut Vec<u8>, key: &UserKey) -> bool {
    match key {
        UserKey::Address(IpAddr::V4(address)) => {
            out.push(4);
            out.extend_from_slice(&address.octets());
        }
        UserKey::Address(IpAddr::V6(address)) => {
            out.push(6);
            out.extend_from_slice(&address.octets());
        }
        UserKey::ApiKey(name) | UserKey::Certificate(name) => {
            let Ok(length) = u16::try_from(name.len()) else { return false };
            out.push(if matches!(key, UserKey::ApiKey(_)) { 1 } else { 2 });
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(name.as_bytes());
        }
    }
    true
}

fn read_key(rest: &mut &[u8]) -> Option<UserKey> {
    let [kind] = *chunk(rest)?;
    match kind {
        4 => Some(UserKey::Address(IpAddr::V4(Ipv4Addr::from(*chunk(rest)?)))),
        6 => Some(UserKey::Address(IpAddr::V6(Ipv6Addr::from(*chunk::<16>(rest)?)))),
        1 => Some(UserKey::ApiKey(text(rest)?.into())),
        2 => Some(UserKey::Certificate(text(rest)?.into())),
        _ => None,
    }
}

fn chunk<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (chunk, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(chunk)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = u16::from_be_bytes(*chunk(rest)?);
    let (text, after) = rest.split_at_checked(usize::from(length))?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Now;
    use crate::limit::Settings;
    use std::time::{Duration, SystemTime};

    fn limits(rate: &str) -> Limits {
        let settings: Settings = toml::from_str(&format!("[default]\nrate = \"{rate}\"\nburst = 3")).unwrap();
        Limits::build(&settings, None).unwrap()
    }

    fn users() -> [UserKey; 4] {
        let address = |text: &str| UserKey::Address(text.parse().unwrap());
        [address("192.0.2.1"), address("2001:db8::"), UserKey::ApiKey("ci".into()), UserKey::Certificate("ci".into())]
    }

    #[test]
    fn what_was_spent_stays_spent_and_refills_as_it_would_have() {
        let start = Instant::now();
        let at = |seconds| Now { mono: start + Duration::from_secs(seconds), wall: SystemTime::UNIX_EPOCH };
        let old = limits("1/m");
        for user in users() {
            for _ in 0..3 {
                old.take(&user, None, at(0)).unwrap();
            }
        }
        let bytes = old.export(start + Duration::from_secs(30));
        let new = limits("1/m");
        assert_eq!(new.import(&bytes, start + Duration::from_secs(30)), Some(4));
        // Time never goes back: all users at one moment, then all at the next.
        for user in users() {
            assert!(new.take(&user, None, at(59)).is_err());
        }
        for user in users() {
            assert_eq!(new.take(&user, None, at(61)).unwrap().unwrap().remaining, 0);
        }
        assert_eq!(limits("2/m").import(&bytes, start), Some(0), "another shape has buckets of its own");
    }

    #[test]
    fn no_bucket_is_emptier_than_the_policy_allows_and_any_bytes_are_read_without_harm() {
        let start = Instant::now();
        let old = limits("1/m");
        let user = users()[0].clone();
        old.take(&user, None, Now { mono: start, wall: SystemTime::UNIX_EPOCH }).unwrap();
        let mut bytes = old.export(start);
        let whole_in = bytes.len() - 8;
        bytes[whole_in..].fill(0xFF);
        let new = limits("1/m");
        assert_eq!(new.import(&bytes, start), Some(1));
        let later = Now { mono: start + Duration::from_secs(60), wall: SystemTime::UNIX_EPOCH };
        assert!(new.take(&user, None, later).is_ok());
        for cut in 1..bytes.len() {
            assert_eq!(limits("1/m").import(&bytes[..cut], start), None, "{cut}");
        }
    }
}
