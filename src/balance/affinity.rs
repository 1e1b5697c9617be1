//! The affinity cookie: it names a replica without telling what or where it is.
//!
//! Its value is an HMAC-SHA-256 over the pool's name and the replica's address, cut to 128 bits, in base64url. A value
//! that fits no replica, or one that is away, is taken as none: nothing is learned by guessing, and a client can at most
//! choose among replicas that it was given before.

use super::settings::AffinitySettings;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

/// A replica's name in the cookie.
pub(super) type Token = Arc<str>;

/// Made at each start, for where none is configured.
static OWN_SECRET: LazyLock<[u8; 32]> = LazyLock::new(rand::random);

/// How one pool names its replicas.
#[derive(Debug)]
pub(super) struct Affinity {
    cookie: Option<Box<str>>,
    pool: Box<str>,
    key: Box<[u8]>,
}

impl Affinity {
    pub(super) fn new(pool: &str, settings: &AffinitySettings) -> Self {
        let key = settings.secret.as_ref().map_or_else(|| &OWN_SECRET[..], |secret| secret.expose().as_bytes());
        let cookie = (!settings.cookie.is_empty()).then(|| settings.cookie.as_str().into());
        Self { cookie, pool: pool.into(), key: key.into() }
    }

    /// The cookie's name, if there is one.
    pub(super) fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    pub(super) fn token(&self, address: SocketAddr) -> Option<Token> {
        self.cookie.as_ref()?;
        // Any length of key will do (RFC 2104 section 2).
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(self.pool.as_bytes());
        mac.update(b"\0");
        mac.update(address.to_string().as_bytes());
        let digest = mac.finalize().into_bytes();
        Some(URL_SAFE_NO_PAD.encode(digest.get(..16)?).into())
    }

    /// The value of `Set-Cookie` (RFC 6265 section 4.1).
    pub(super) fn set_cookie(&self, token: &str) -> Option<String> {
        Some(format!("{}={token}; Path=/; Secure; HttpOnly; SameSite=Lax", self.cookie.as_ref()?))
    }
}

/// The value of a cookie in a `Cookie` field (RFC 6265 section 4.2.1), the first of that name.
pub(super) fn value<'a>(field: &'a [u8], name: &str) -> Option<&'a [u8]> {
    field.split(|b| *b == b';').find_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=").map(<[u8]>::trim_ascii)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Secret;

    #[test]
    fn tokens_tell_replicas_and_pools_apart_and_stay() {
        let settings =
            |secret: &str| AffinitySettings { cookie: "stay".into(), secret: Some(Secret::new(secret.repeat(16))) };
        let (one, two) = ("10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let pool = Affinity::new("default", &settings("a"));
        let token = pool.token(one).unwrap();
        assert_eq!(token.len(), 22);
        assert_eq!(Affinity::new("default", &settings("a")).token(one).unwrap(), token);
        assert_ne!(pool.token(two).unwrap(), token);
        assert_ne!(Affinity::new("other", &settings("a")).token(one).unwrap(), token);
        assert_ne!(Affinity::new("default", &settings("b")).token(one).unwrap(), token);
        let header = pool.set_cookie(&token).unwrap();
        assert_eq!(header, format!("stay={token}; Path=/; Secure; HttpOnly; SameSite=Lax"));
        assert!(Affinity::new("default", &AffinitySettings::default()).token(one).is_none());
    }

    #[test]
    fn rfc6265_4_2_1_a_cookie_is_found_by_its_whole_name() {
        for (field, found) in [
            (&b"stay=a"[..], Some(&b"a"[..])),
            (b"x=1; stay=a; y=2", Some(b"a")),
            (b"x=1;stay=a", Some(b"a")),
            (b"xstay=1; stayx=2; stay=b; stay=c", Some(b"b")),
            (b"stay", None),
            (b"STAY=a", None),
            (b"x=stay=a", None),
            (b"", None),
            (b"stay=", Some(b"")),
        ] {
            assert_eq!(value(field, "stay"), found, "{}", String::from_utf8_lossy(field));
        }
    }
}
