//! Users by API key.
//!
//! A key is looked up by its SHA-256 digest. The table's hash is keyed with random bytes of this process and digests are
//! compared in constant time, so how long an answer takes says nothing about the digests held: an attacker could not even
//! learn how many leading bits of a guess's digest are right, which would allow to test guesses offline.

use super::{Key, Requirement, Settings, header_name};
use crate::facts::{ClientAddr, UserKey};
use crate::fault::Fault;
use crate::verdict::{Reason, Refusal};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Longest credential that is looked at, in bytes.
pub(super) const MAX_CREDENTIAL: usize = 1024;
/// Shortest key that is accepted: fewer characters can be guessed.
const MIN_SECRET: usize = 16;
/// Longest user name.
const MAX_NAME: usize = 64;

/// A SHA-256 digest that is compared in constant time.
#[derive(Clone, Copy)]
struct KeyDigest([u8; 32]);

impl KeyDigest {
    fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    fn from_hex(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut digest = [0; 32];
        if !rest.is_empty() || pairs.len() != digest.len() {
            return None;
        }
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            let nibble = |c: u8| char::from(c).to_digit(16).and_then(|n| u8::try_from(n).ok());
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(digest))
    }
}

impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyDigest {}

impl Hash for KeyDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Everybody who has a key.
pub struct Users {
    by_key: HashMap<KeyDigest, Arc<str>>,
    key_header: HeaderName,
    required: bool,
    files: Vec<PathBuf>,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").field("keys", &self.by_key.len()).field("required", &self.required).finish()
    }
}

/// The credentials of one request.
#[derive(Debug, Default)]
struct Presented {
    user: Option<Arc<str>>,
    /// The headers whose credential was ours.
    ours: Vec<HeaderName>,
    any: bool,
}

impl Users {
    /// Reads the keys; relative paths start at `base`.
    ///
    /// # Errors
    ///
    /// Keys without a usable name or secret, two users with one key, and files that cannot be read.
    pub fn build(settings: &Settings, base: &Path) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let key_header = header_name(&settings.key_header, "key_header", &mut faults);
        let (mut by_key, mut files) = (HashMap::<KeyDigest, Arc<str>>::new(), Vec::new());
        for (i, key) in settings.keys.iter().enumerate() {
            if let Some(fault) = name_fault(&key.name) {
                faults.push(fault.under(&format!("keys[{i}]")));
            }
            files.extend(key.file.as_ref().map(|file| base.join(file)));
            match digest(key, base) {
                Ok(None) => {}
                Ok(Some(digest)) => {
                    if let Some(other) = by_key.insert(digest, key.name.as_str().into())
                        && *other != *key.name
                    {
                        let what = format!("{:?} and {other:?} have the same key", key.name);
                        faults.push(Fault::key(format!("keys[{i}]"), what, "give each user a key of their own"));
                    }
                }
                Err(fault) => faults.push(fault.under(&format!("keys[{i}]"))),
            }
        }
        let required = settings.required == Requirement::Required;
        if faults.is_empty() { Ok(Self { by_key, key_header, required, files }) } else { Err(faults) }
    }

    /// Finds the user: the name in a verified `certificate`, else that of a verified key, else the client's address.
    ///
    /// # Errors
    ///
    /// [`Reason::Malformed`] for two credentials in one header or keys of two users, where gate and replica might choose
    /// differently; [`Reason::Unauthorized`] without a known key where the settings require one.
    pub fn identify(
        &self,
        headers: &HeaderMap,
        client: ClientAddr,
        certificate: Option<&Arc<str>>,
    ) -> Result<UserKey, Refusal> {
        let presented = self.presented(headers)?;
        if let Some(name) = certificate {
            return Ok(UserKey::Certificate(name.clone()));
        }
        match presented.user {
            Some(name) => Ok(UserKey::ApiKey(name)),
            None if self.required => {
                let what = if presented.any { "the credentials are not known" } else { "no credentials" };
                Err(Refusal::new(Reason::Unauthorized, what))
            }
            None => Ok(UserKey::Address(client.subscriber())),
        }
    }

    /// The headers of a request that carry one of our own keys. They are spent here: a replica has no use for them, and
    /// what it never sees it cannot log. Credentials unknown to us are not among them.
    pub fn spent(&self, headers: &HeaderMap) -> Vec<HeaderName> {
        self.presented(headers).map(|presented| presented.ours).unwrap_or_default()
    }

    /// What will surprise whoever set this up, though it is sound: closed to everybody is a state one may want.
    pub fn warnings(&self) -> Vec<Fault> {
        let what = "a key is required, but nobody has one, so every request is answered 401";
        let closed = self.required && self.by_key.is_empty();
        closed.then(|| Fault::key("required", what, "add [[client.keys]] or write \"optional\"")).into_iter().collect()
    }

    /// Files that keys were read from: when one changes, the configuration is to be loaded anew.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    fn presented(&self, headers: &HeaderMap) -> Result<Presented, Refusal> {
        let mut presented = Presented::default();
        if self.by_key.is_empty() {
            return Ok(presented);
        }
        let bearer = (self.key_header != AUTHORIZATION).then_some(&AUTHORIZATION);
        for name in std::iter::once(&self.key_header).chain(bearer) {
            let mut lines = headers.get_all(name).iter();
            let Some(line) = lines.next() else { continue };
            if lines.next().is_some() {
                return Err(Refusal::new(Reason::Malformed, format!("more than one {name} header")));
            }
            presented.any = true;
            let bytes = line.as_bytes();
            let secret = if *name == AUTHORIZATION { bearer_token(bytes) } else { Some(bytes) };
            let Some(user) = secret.and_then(|secret| self.verify(secret)) else { continue };
            presented.ours.push(name.clone());
            if presented.user.replace(user.clone()).is_some_and(|other| other != user) {
                return Err(Refusal::new(Reason::Malformed, "keys of two users"));
            }
        }
        Ok(presented)
    }

    fn verify(&self, secret: &[u8]) -> Option<Arc<str>> {
        let fits = secret.len() <= MAX_CREDENTIAL;
        fits.then(|| KeyDigest::of(secret)).and_then(|digest| self.by_key.get(&digest).cloned())
    }
}

/// The token of `Bearer <token>`; the scheme's name has no case (RFC 9110 section 11.1).
fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn name_fault(name: &str) -> Option<Fault> {
    let clean = name.bytes().all(|b| b.is_ascii_graphic());
    let what = match name.len() {
        0 => "the key has no name",
        MAX_NAME.. => "the name is longer than 63 characters",
        _ if !clean => "the name holds other than visible ASCII characters",
        _ => return None,
    };
    Some(Fault::key("name", what, "write a short name, as \"ci\" or \"alice\": limits and audit events use it"))
}

/// The digest a key's settings give; none for an empty text.
fn digest(key: &Key, base: &Path) -> Result<Option<KeyDigest>, Fault> {
    let given = [key.secret.is_some(), key.sha256.is_some(), key.file.is_some()];
    if given.iter().filter(|given| **given).count() != 1 {
        let what = format!("the key of {:?} needs exactly one of secret, sha256 and file", key.name);
        return Err(Fault::key("", what, "write one of them"));
    }
    if let Some(hex) = &key.sha256 {
        let hex = hex.expose().trim();
        let mend = "write the 64 hex digits that `printf %s KEY | sha256sum` prints";
        let fault = || Fault::key("sha256", "this is no SHA-256 digest", mend);
        return if hex.is_empty() { Ok(None) } else { KeyDigest::from_hex(hex).map(Some).ok_or_else(fault) };
    }
    if let Some(file) = &key.file {
        let path = base.join(file);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let what = format!("cannot read {}: {error}", path.display());
            Fault::key("file", what, "create the file with the key in it, readable for the gate")
        })?;
        return strong("file", text.trim()).map(Some);
    }
    let secret = key.secret.as_ref().map(|secret| secret.expose().trim()).unwrap_or_default();
    if secret.is_empty() { Ok(None) } else { strong("secret", secret).map(Some) }
}

fn strong(place: &str, secret: &str) -> Result<KeyDigest, Fault> {
    let mend = "make one with `openssl rand -hex 32`";
    if secret.len() < MIN_SECRET {
        return Err(Fault::key(place, format!("a key shorter than {MIN_SECRET} characters can be guessed"), mend));
    }
    if secret.len() > MAX_CREDENTIAL || !secret.bytes().all(|b| b.is_ascii_graphic()) {
        let what = format!("a header cannot carry this key: it is longer than {MAX_CREDENTIAL} or not visible ASCII");
        return Err(Fault::key(place, what, mend));
    }
    Ok(KeyDigest::of(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CI: &str = "0123456789abcdef-ci";
    const OPS: &str = "0123456789abcdef-ops";

    fn users(extra: &str) -> Users {
        let ops: String = Sha256::digest(OPS.as_bytes()).iter().map(|b| format!("{b:02X}")).collect();
        let toml =
            format!("{extra}\n[[keys]]\nname=\"ci\"\nsecret=\"{CI}\"\n[[keys]]\nname=\"ops\"\nsha256=\"{ops}\"\n");
        Users::build(&toml::from_str(&toml).unwrap(), Path::new("")).unwrap()
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn identify(users: &Users, lines: &[(&str, &str)]) -> String {
        let client = ClientAddr::new("2001:db8::1".parse().unwrap());
        match users.identify(&headers(lines), client, None) {
            Ok(user) => user.to_string(),
            Err(refusal) => refusal.reason.status().to_string(),
        }
    }

    #[test]
    fn a_verified_key_is_the_user_else_the_address() {
        let (optional, required) = (users(""), users("required = \"required\""));
        let ci_bearer = format!("bEARER  {CI}");
        let other = format!("{CI}x");
        let long = "x".repeat(MAX_CREDENTIAL + 1);
        for (lines, expected, when_required) in [
            (vec![], "addr:2001:db8::", "401"),
            (vec![("x-api-key", CI)], "key:ci", "key:ci"),
            (vec![("x-api-key", OPS)], "key:ops", "key:ops"),
            (vec![("authorization", &*ci_bearer)], "key:ci", "key:ci"),
            (vec![("authorization", CI)], "addr:2001:db8::", "401"),
            (vec![("authorization", "Bearer")], "addr:2001:db8::", "401"),
            (vec![("x-api-key", &*other)], "addr:2001:db8::", "401"),
            (vec![("x-api-key", "")], "addr:2001:db8::", "401"),
            (vec![("x-api-key", &*long)], "addr:2001:db8::", "401"),
            (vec![("x-api-key", &*other), ("authorization", &*ci_bearer)], "key:ci", "key:ci"),
            (vec![("x-api-key", CI), ("authorization", &*ci_bearer)], "key:ci", "key:ci"),
            (vec![("x-api-key", OPS), ("authorization", &*ci_bearer)], "400", "400"),
            (vec![("x-api-key", CI), ("x-api-key", CI)], "400", "400"),
            (vec![("x-archon-user", "ci")], "addr:2001:db8::", "401"),
        ] {
            assert_eq!(identify(&optional, &lines), expected, "{lines:?}");
            assert_eq!(identify(&required, &lines), when_required, "required {lines:?}");
        }
    }

    #[test]
    fn a_certificate_comes_before_any_key() {
        let client = ClientAddr::new("192.0.2.1".parse().unwrap());
        let name: Arc<str> = "alice".into();
        for required in ["", "required = \"required\""] {
            let users = users(required);
            for lines in [vec![], vec![("x-api-key", CI)], vec![("x-api-key", "unknown")]] {
                let user = users.identify(&headers(&lines), client, Some(&name)).unwrap();
                assert_eq!((user.to_string().as_str(), user.verified()), ("cert:alice", Some("alice")), "{lines:?}");
            }
            let two = headers(&[("x-api-key", CI), ("x-api-key", CI)]);
            assert!(
                users.identify(&two, client, Some(&name)).is_err(),
                "what has two readings is refused all the same"
            );
        }
    }

    #[test]
    fn our_keys_are_spent_and_others_passed_on() {
        let users = users("");
        let bearer = format!("Bearer {CI}");
        let spent = |lines: &[(&str, &str)]| users.spent(&headers(lines));
        assert_eq!(spent(&[("x-api-key", CI), ("authorization", "Bearer upstream-token")]), ["x-api-key"]);
        assert_eq!(spent(&[("x-api-key", "theirs"), ("authorization", &bearer)]), ["authorization"]);
        assert!(spent(&[("x-api-key", "theirs")]).is_empty());
    }

    #[test]
    fn another_header_may_carry_the_key() {
        let users = users("key_header = \"Authorization\"");
        assert_eq!(identify(&users, &[("authorization", &format!("Bearer {CI}"))]), "key:ci");
        let users = self::users("key_header = \"X-Token\"");
        assert_eq!(identify(&users, &[("x-token", CI)]), "key:ci");
        assert_eq!(identify(&users, &[("x-api-key", CI)]), "addr:2001:db8::");
    }

    #[test]
    fn keys_come_from_files_and_empty_ones_are_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), format!("{CI}\n")).unwrap();
        let toml = "keys = [{ name = \"ci\", file = \"key\" }, { name = \"off\", secret = \"\" }]";
        let users = Users::build(&toml::from_str(toml).unwrap(), dir.path()).unwrap();
        assert_eq!(identify(&users, &[("x-api-key", CI)]), "key:ci");
        assert_eq!(users.files(), [dir.path().join("key")]);
        assert_eq!(users.by_key.len(), 1);
    }

    #[test]
    fn what_cannot_be_right_is_refused_with_key_and_mend() {
        for (keys, part) in [
            ("{ name = \"a\" }", "keys[0]: the key of \"a\" needs exactly one"),
            ("{ name = \"a\", secret = \"0123456789abcdef\", file = \"x\" }", "exactly one"),
            ("{ name = \"a\", secret = \"short\" }", "keys[0].secret: a key shorter than 16"),
            ("{ name = \"a\", secret = \"0123456789 abcdef\" }", "keys[0].secret: a header cannot carry"),
            ("{ name = \"a\", sha256 = \"abc\" }", "keys[0].sha256: this is no SHA-256"),
            ("{ name = \"a\", file = \"/nowhere/key\" }", "keys[0].file: cannot read /nowhere/key"),
            ("{ name = \"\", secret = \"0123456789abcdef\" }", "keys[0].name: the key has no name"),
            ("{ name = \"a b\", secret = \"0123456789abcdef\" }", "keys[0].name: the name holds"),
            (
                "{ name = \"a\", secret = \"0123456789abcdef\" }, { name = \"b\", secret = \"0123456789abcdef\" }",
                "keys[1]: \"b\" and \"a\" have the same key",
            ),
        ] {
            let settings: Settings = toml::from_str(&format!("keys = [{keys}]")).unwrap();
            let faults = Users::build(&settings, Path::new("")).unwrap_err();
            let shown = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            assert!(shown.contains(part), "{keys}: {shown}");
            assert!(faults.iter().all(|fault| !fault.mend.is_empty()));
            assert!(!shown.contains("0123456789"), "no secret is shown");
        }
        let nobody = Settings { required: Requirement::Required, ..Settings::default() };
        let closed = Users::build(&nobody, Path::new("")).unwrap();
        assert!(closed.warnings()[0].to_string().starts_with("required: "));
        assert!(users("required = \"required\"").warnings().is_empty());
        assert_eq!(identify(&closed, &[("x-api-key", "anything that is a key")]), "401");
    }

    #[test]
    fn nothing_shows_a_digest() {
        assert_eq!(format!("{:?}", users("")), "Users { keys: 2, required: false }");
    }
}
