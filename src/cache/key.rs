//! The cache key: which stored response a request may be answered with (RFC 9111 section 2).
//!
//! Made only of what the request model settled and what is forwarded: scheme, authority, path, query. No forwarding
//! header of the client's takes part, and none may change what the replica is asked. The parts are framed by their
//! lengths, so no two requests can be written to the same bytes; the stored response keeps those bytes and a lookup
//! compares them, so a collision of the 128-bit hash gives a miss, not another page.

use crate::facts::Scheme;
use sha2::{Digest, Sha256};

/// A 128-bit name of a primary key or of a variant: the first half of a SHA-256.
pub type Hash = [u8; 16];

/// Hashes framed parts.
pub(super) fn hash(bytes: &[u8]) -> Hash {
    let mut half = Hash::default();
    half.iter_mut().zip(Sha256::digest(bytes)).for_each(|(to, from)| *to = from);
    half
}

/// Adds a part behind its length.
pub(super) fn frame(to: &mut Vec<u8>, part: &[u8]) {
    to.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
    to.extend_from_slice(part);
}

/// Who may be answered from an entry. Requests that carry cookies keep entries of their own, of which every one is
/// explicitly `public`; so an entry made for one kind is never looked at for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Requests without credentials.
    Anonymous,
    /// Requests with cookies, or with credentials where the configuration allows it.
    Credentialed,
}

impl Audience {
    /// Both, for purging a target whole.
    pub const ALL: [Self; 2] = [Self::Anonymous, Self::Credentialed];
}

/// The request's target as the request model normalised it and as it is forwarded.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// As the listener received it.
    pub scheme: Scheme,
    /// Host and optional port.
    pub authority: &'a str,
    /// Normalised path.
    pub path: &'a str,
    /// Query without `?`; `None` and the empty one are different targets.
    pub query: Option<&'a str>,
}

/// A primary cache key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary {
    framed: Vec<u8>,
    hash: Hash,
}

impl Primary {
    /// The key of a target for an audience. The authority is compared without case and without the scheme's own port
    /// (RFC 9110 section 4.2.3).
    pub fn new(target: &Target<'_>, audience: Audience) -> Self {
        let authority = target.authority.to_ascii_lowercase();
        let authority = match authority.rsplit_once(':') {
            Some((host, port)) if port.is_empty() || port.parse() == Ok(target.scheme.default_port()) => host,
            _ => &authority,
        };
        let query_len = target.query.map_or(0, str::len);
        let mut framed = Vec::with_capacity(48 + authority.len() + target.path.len() + query_len);
        framed.push(match audience {
            Audience::Anonymous => 0,
            Audience::Credentialed => 1,
        });
        frame(&mut framed, target.scheme.as_str().as_bytes());
        frame(&mut framed, authority.as_bytes());
        frame(&mut framed, target.path.as_bytes());
        framed.push(u8::from(target.query.is_some()));
        frame(&mut framed, target.query.unwrap_or_default().as_bytes());
        let hash = hash(&framed);
        Self { framed, hash }
    }

    /// The framed parts, for comparing.
    pub fn framed(&self) -> &[u8] {
        &self.framed
    }

    /// The hash of the framed parts.
    pub fn hash(&self) -> Hash {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scheme: Scheme, authority: &str, path: &str, query: Option<&str>) -> Hash {
        Primary::new(&Target { scheme, authority, path, query }, Audience::Anonymous).hash()
    }

    #[test]
    fn equal_targets_have_one_key() {
        let base = key(Scheme::Https, "a.test", "/x", Some("q=1"));
        for (authority, why) in [("A.TEST", "case"), ("a.test:443", "default port"), ("a.test:", "empty port")] {
            assert_eq!(base, key(Scheme::Https, authority, "/x", Some("q=1")), "{why}");
        }
        assert_eq!(key(Scheme::Http, "[::1]:80", "/", None), key(Scheme::Http, "[::1]", "/", None));
    }

    #[test]
    fn different_targets_have_different_keys() {
        let all = [
            key(Scheme::Https, "a.test", "/x", None),
            key(Scheme::Http, "a.test", "/x", None),
            key(Scheme::Https, "b.test", "/x", None),
            key(Scheme::Https, "a.test:8443", "/x", None),
            key(Scheme::Https, "a.test:80", "/x", None),
            key(Scheme::Https, "a.test", "/X", None),
            key(Scheme::Https, "a.test", "/x", Some("")),
            key(Scheme::Https, "a.test", "/x", Some("q=1")),
            key(Scheme::Https, "a.test", "/x?", Some("q=1")),
            key(Scheme::Https, "a.test", "/x?q=1", None),
            key(Scheme::Https, "a.test/x", "", None),
            key(Scheme::Https, "[::1]", "/x", None),
            key(Scheme::Https, "[::1]:1", "/x", None),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(!all[..i].contains(one), "{i}");
        }
    }

    #[test]
    fn audiences_never_meet() {
        let target = Target { scheme: Scheme::Https, authority: "a.test", path: "/", query: None };
        let [anonymous, credentialed] = Audience::ALL.map(|audience| Primary::new(&target, audience));
        assert_ne!(anonymous.hash(), credentialed.hash());
        assert_ne!(anonymous.framed(), credentialed.framed());
    }
}
