//! Masking of secrets, before anything is written. The mask is `***`.
//!
//! What is masked:
//! - values of header fields that carry credentials (all of [`HEADERS`], more by configuration): of `Authorization` the
//!   scheme stays, of `Cookie` and `Set-Cookie` the cookies' names;
//! - values of parameters and fields whose name says secret ([`NAMES`], [`ENDINGS`], more by configuration), wherever
//!   they stand: in the target, in `Referer`, in form, JSON, XML or multipart text, in a rule's matched value and data;
//! - whatever looks like a secret by itself: bearer and basic credentials, JSON Web Tokens, private-key blocks, the keys
//!   of well-known services, passwords in URLs, card numbers that pass Luhn's check;
//! - texts masked once in an event (a token, a session cookie) wherever else they occur in it; of what looks random in
//!   them, as they are and decoded, every part of [`GRAM`] bytes or more, for a rule may log a part;
//! - the user part of an authority.
//!
//! Names are compared by their letters and digits, without case and a plural's `s`, so `X-Api-Key`, `api_keys` and
//! `apiKey` are one. Texts are read as they
//! are and again with percent-escapes undone, twice, because what a rule matched may be either. Where the end of a secret
//! is uncertain more is masked rather than less: an audit file that says too little is better than one that must be
//! kept as secret as what it records. What this cannot know: a secret under an innocent name, and a transformed one
//! (reversed, hex, base64).
//!
//! Cost: a few passes over each text, linear, no backtracking; memory: a copy of the text.

mod scan;
mod tokens;
mod view;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use view::View;

/// Base64 with padding or without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What stands for a secret.
pub const MASK: &[u8] = b"***";

/// Header fields that carry credentials, in the normal form of [`normal`].
const HEADERS: &[&str] = &[
    "authorization",
    "proxyauthorization",
    "cookie",
    "setcookie",
    "xapikey",
    "apikey",
    "xgoogapikey",
    "xauth",
    "xauthtoken",
    "xamzsecuritytoken",
    "xcsrftoken",
    "xxsrftoken",
    "xvaulttoken",
    "privatetoken",
    "xhubsignature",
    "xhubsignature256",
    "xgitlabtoken",
    "secwebsocketkey",
    "xauthkey",
    "xkey",
    "authenticationinfo",
    "proxyauthenticationinfo",
];

/// Names of parameters and fields that hold a secret, in normal form.
const NAMES: &[&str] = &[
    "password",
    "passwd",
    "passwort",
    "pwd",
    "pass",
    "passphrase",
    "secret",
    "token",
    "jwt",
    "apikey",
    "accesskey",
    "privatekey",
    "secretkey",
    "signingkey",
    "encryptionkey",
    "authorization",
    "proxyauthorization",
    "cookie",
    "setcookie",
    "auth",
    "bearer",
    "credential",
    "credentials",
    "session",
    "sessionid",
    "sessid",
    "sid",
    "jsessionid",
    "phpsessid",
    "aspsessionid",
    "csrf",
    "xsrf",
    "otp",
    "totp",
    "mfacode",
    "pin",
    "cvv",
    "cvc",
    "ssn",
    "cardnumber",
    "creditcard",
    "assertion",
    "samlresponse",
    "codeverifier",
    "sig",
    "signature",
    "xamzsignature",
];

/// Endings of names that hold a secret, in normal form: `db_password`, `refresh_token`, `client_secret`.
const ENDINGS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "secretkey",
    "accesskey",
    "authkey",
    "credential",
    "passcode",
    "signature",
    "sessionid",
];

/// Longest name looked at, in bytes; a longer one is cut at its beginning.
const MAX_NAME: usize = 64;

/// Known secrets remembered for one event, and how long one must be to be looked for elsewhere.
const MAX_KNOWN: usize = 32;
const MIN_KNOWN: usize = 8;
const MAX_KNOWN_LEN: usize = 1024;
/// How long a run of letters and digits is that may be random, and a part of it that is looked for: the bytes of a `u64`.
const MIN_RANDOM: usize = 12;
const GRAM: usize = 8;
/// Parts looked for in one event.
const MAX_GRAMS: usize = 8192;

/// Masks secrets. Immutable; built once for each configuration.
#[derive(Debug, Clone)]
pub struct Redactor {
    headers: HashSet<Vec<u8>>,
    names: HashSet<Vec<u8>>,
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new::<&str>(&[], &[])
    }
}

/// A name's letters and digits, without case. Bytes that are no text stay.
fn normal(name: &[u8]) -> Vec<u8> {
    let tail = name.get(name.len().saturating_sub(MAX_NAME)..).unwrap_or(name);
    tail.iter().filter(|b| b.is_ascii_alphanumeric() || !b.is_ascii()).map(u8::to_ascii_lowercase).collect()
}

impl Redactor {
    /// A redactor for the built-in names and these.
    pub fn new<S: AsRef<str>>(headers: &[S], parameters: &[S]) -> Self {
        let join = |own: &[&str], more: &[S]| {
            let own = own.iter().map(|name| normal(name.as_bytes()));
            own.chain(more.iter().map(|name| normal(name.as_ref().as_bytes()))).collect()
        };
        Self { headers: join(HEADERS, headers), names: join(NAMES, parameters) }
    }

    /// Whether a name, as a whole, says that its value is a secret.
    fn name_is_secret(&self, name: &[u8]) -> bool {
        let name = normal(name);
        // Several tokens are most often a number of them: `max_tokens`.
        let ends = |name: &[u8], several: bool| {
            let mut endings = ENDINGS.iter().filter(|ending| !several || **ending != "token");
            endings.any(|ending| name.ends_with(ending.as_bytes()))
        };
        self.names.contains(&name)
            || ends(&name, false)
            || name.strip_suffix(b"s").is_some_and(|name| self.names.contains(name) || ends(name, true))
    }

    /// Whether a header field carries a credential.
    fn header_is_secret(&self, name: &[u8]) -> bool {
        self.headers.contains(&normal(name)) || self.name_is_secret(name)
    }

    /// Whether any part of a structured name says secret: `json.session.id`, `user[password]`.
    fn path_is_secret(&self, path: &[u8]) -> bool {
        self.name_is_secret(path)
            || path.split(|b| matches!(b, b'.' | b'[' | b']' | b':' | b'/')).any(|part| self.name_is_secret(part))
    }

    /// Whether a SecLang variable (`ARGS:password`, `REQUEST_HEADERS:Cookie`, `REQUEST_COOKIES:sid`) holds a secret.
    fn variable_is_secret(&self, variable: &[u8]) -> bool {
        let mut parts = variable.splitn(2, |b| *b == b':');
        let collection = parts.next().unwrap_or_default().to_ascii_uppercase();
        let Some(key) = parts.next() else {
            return matches!(collection.as_slice(), b"AUTH_TYPE" | b"SESSIONID" | b"REMOTE_USER_PASSWORD");
        };
        match collection.as_slice() {
            b"REQUEST_COOKIES" => true,
            b"REQUEST_HEADERS" | b"RESPONSE_HEADERS" => self.header_is_secret(key),
            // Their values are names.
            b"ARGS_NAMES"
            | b"ARGS_GET_NAMES"
            | b"ARGS_POST_NAMES"
            | b"REQUEST_COOKIES_NAMES"
            | b"REQUEST_HEADERS_NAMES"
            | b"RESPONSE_HEADERS_NAMES" => false,
            _ => self.path_is_secret(key),
        }
    }

    /// Masks one header field's value.
    pub fn header<'a>(&self, name: &[u8], value: &'a [u8], known: &mut Known) -> Cow<'a, [u8]> {
        if name.eq_ignore_ascii_case(b"host") {
            return self.authority(value, known);
        }
        if !self.header_is_secret(name) {
            return self.text(value, known);
        }
        match normal(name).as_slice() {
            b"cookie" => Cow::Owned(mask_cookies(value, known)),
            b"setcookie" => Cow::Owned(mask_set_cookie(value, known)),
            b"authorization" | b"proxyauthorization" => {
                known.add_basic(value);
                Cow::Owned(mask_credentials(value, known))
            }
            _ => {
                known.add(value);
                Cow::Borrowed(MASK)
            }
        }
    }

    /// Masks the user part of an authority (RFC 3986 section 3.2.1), or of a target in authority-form.
    pub fn authority<'a>(&self, value: &'a [u8], known: &mut Known) -> Cow<'a, [u8]> {
        match value.iter().rposition(|b| *b == b'@') {
            Some(at) if !value.contains(&b'/') => {
                known.add(value.get(..at).unwrap_or_default());
                Cow::Owned([MASK, value.get(at..).unwrap_or_default()].concat())
            }
            _ => self.text(value, known),
        }
    }

    /// Remembers what a rule's variable shows to be secret, before anything of the event is written.
    pub fn learn(&self, variable: &[u8], value: &[u8], known: &mut Known) {
        if self.variable_is_secret(variable) {
            known.add(value);
        } else if [&b"REQUEST_BODY"[..], b"FULL_REQUEST", b"RESPONSE_BODY"].contains(&variable) {
            self.text(value, known);
        }
    }

    /// Masks a rule's message, in which a macro may have put the value of the variable that it matched.
    pub fn message<'a>(&self, variable: &[u8], value: &[u8], message: &'a [u8], known: &mut Known) -> Cow<'a, [u8]> {
        if value.is_empty() || !self.variable_is_secret(variable) {
            return self.text(message, known);
        }
        let (mut spans, mut at) = (Vec::new(), 0);
        while let Some(found) = message.get(at..).and_then(|rest| find(rest, value)) {
            spans.push(at + found..at + found + value.len());
            at += found + value.len();
        }
        let masked = apply(message, spans);
        Cow::Owned(self.text(&masked, known).into_owned())
    }

    /// Masks what is secret in a text of any form: a target, a body, a message.
    pub fn text<'a>(&self, text: &'a [u8], known: &mut Known) -> Cow<'a, [u8]> {
        let mut spans: Vec<Range<usize>> = Vec::new();
        let mut view = Some(View::plain(text));
        while let Some(layer) = view {
            let start = spans.len();
            scan::find(self, &layer, &mut spans);
            tokens::find(&layer, &mut spans);
            for span in spans.get_mut(start..).unwrap_or_default() {
                *span = layer.original(span);
            }
            view = layer.decoded();
        }
        for span in &spans {
            if let Some(secret) = text.get(span.clone()) {
                known.add(secret);
            }
        }
        known.find(text, &mut spans);
        apply(text, spans)
    }

    /// Masks the value of a variable that a rule matched.
    pub fn value<'a>(&self, variable: &[u8], value: &'a [u8], known: &mut Known) -> Cow<'a, [u8]> {
        if self.variable_is_secret(variable) {
            known.add(value);
            return Cow::Borrowed(MASK);
        }
        self.text(value, known)
    }

    /// Masks a rule's expanded logdata, which holds what matched and where.
    pub fn data<'a>(&self, variable: &[u8], data: &'a [u8], known: &mut Known) -> Cow<'a, [u8]> {
        // The Core Rule Set's usual form: "Matched Data: … found within ARGS:name: …".
        const WITHIN: &[u8] = b" found within ";
        let named = find(data, WITHIN).and_then(|at| {
            let rest = data.get(at + WITHIN.len()..)?;
            let colon = rest.iter().position(|b| *b == b':')?;
            let after = rest.get(colon + 1..)?;
            let end = after.iter().position(|b| *b == b':' || b.is_ascii_whitespace()).unwrap_or(after.len());
            rest.get(..colon + 1 + end)
        });
        match named {
            Some(named) if self.variable_is_secret(named) => {
                Cow::Owned([b"Matched Data: ***", WITHIN, named, b": ***"].concat())
            }
            _ if self.variable_is_secret(variable) && !data.is_empty() => Cow::Borrowed(MASK),
            _ => self.text(data, known),
        }
    }
}

/// Secrets seen so far in one event, to be masked wherever else they occur in it.
///
/// Only what looks like a token is remembered (no spaces, quotes or brackets, [`MIN_KNOWN`] bytes or more), and what may
/// be random in it: else a cookie that holds an attack could blank the attack's evidence elsewhere.
#[derive(Debug, Default)]
pub struct Known {
    whole: Vec<Vec<u8>>,
    parts: Parts,
}

/// Parts of [`GRAM`] bytes, as numbers, letters of either case alike; before them a bit for each by its hash, so that
/// what is no part is told quickly.
#[derive(Debug)]
struct Parts {
    parts: HashSet<u64>,
    hints: [u64; 64],
}

impl Default for Parts {
    fn default() -> Self {
        Self { parts: HashSet::new(), hints: [0; 64] }
    }
}

impl Parts {
    /// The number of the part that ends with `byte`, from that of the one before.
    fn next(before: u64, byte: u8) -> u64 {
        before << 8 | u64::from(byte | 0x20)
    }

    /// The place of a part's bit: a word, and the bit in it.
    fn hint(part: u64) -> (usize, u64) {
        let hash = part.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52;
        (usize::try_from(hash >> 6).unwrap_or(0), 1 << (hash & 63))
    }

    /// Adds all parts of a text.
    fn add(&mut self, text: &[u8]) {
        let mut part = 0;
        for (at, byte) in text.iter().enumerate() {
            part = Self::next(part, *byte);
            if at + 1 >= GRAM && self.parts.len() < MAX_GRAMS && self.parts.insert(part) {
                let (word, bit) = Self::hint(part);
                if let Some(word) = self.hints.get_mut(word) {
                    *word |= bit;
                }
            }
        }
    }

    fn find(&self, text: &[u8], spans: &mut Vec<Range<usize>>) {
        let mut part = 0;
        for (at, byte) in text.iter().enumerate().take(if self.parts.is_empty() { 0 } else { text.len() }) {
            part = Self::next(part, *byte);
            let (word, bit) = Self::hint(part);
            let hinted = self.hints.get(word).is_some_and(|word| word & bit != 0);
            if hinted && at + 1 >= GRAM && self.parts.contains(&part) {
                spans.push(at + 1 - GRAM..at + 1);
            }
        }
    }
}

impl Known {
    fn add(&mut self, secret: &[u8]) {
        self.add_parts(secret);
        let mut view = View::plain(secret).decoded();
        while let Some(layer) = view {
            self.add_parts(layer.bytes());
            view = layer.decoded();
        }
        let token = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+/=|:%".contains(b);
        let fits = (MIN_KNOWN..=MAX_KNOWN_LEN).contains(&secret.len());
        let known = |own: &Vec<u8>| own == secret;
        if fits && self.whole.len() < MAX_KNOWN && secret.iter().all(token) && !self.whole.iter().any(known) {
            self.whole.push(secret.to_vec());
        }
    }

    /// The user and password in `Basic` credentials (RFC 7617 section 2): a rule may have decoded them.
    fn add_basic(&mut self, credentials: &[u8]) {
        let encoded = credentials.split(|b| *b == b' ').next_back().unwrap_or_default();
        let decoded = (encoded.len() <= MAX_KNOWN_LEN).then(|| LENIENT.decode(encoded.trim_ascii_end()).ok());
        for part in decoded.flatten().unwrap_or_default().split(|b| *b == b':') {
            self.add(part);
        }
    }

    /// Remembers all parts of what may be random: letters and digits, some of each.
    fn add_parts(&mut self, secret: &[u8]) {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        for run in secret.split(|b| !plain(b)).filter(|run| run.len() >= MIN_RANDOM) {
            if run.iter().any(u8::is_ascii_digit) && run.iter().any(u8::is_ascii_alphabetic) {
                self.parts.add(run);
            }
        }
    }

    fn find(&self, text: &[u8], spans: &mut Vec<Range<usize>>) {
        self.parts.find(text, spans);
        if self.whole.is_empty() {
            return;
        }
        let mut firsts = [false; 256];
        for first in self.whole.iter().filter_map(|secret| secret.first()) {
            if let Some(flag) = firsts.get_mut(usize::from(first.to_ascii_lowercase())) {
                *flag = true;
            }
        }
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let first = rest.first().map_or(0, u8::to_ascii_lowercase);
            let begins = firsts.get(usize::from(first)).is_some_and(|flag| *flag);
            let same = |secret: &&Vec<u8>| rest.get(..secret.len()).is_some_and(|t| t.eq_ignore_ascii_case(secret));
            match begins.then(|| self.whole.iter().find(same)).flatten() {
                Some(secret) => {
                    spans.push(at..at + secret.len());
                    at += secret.len();
                }
                None => at += 1,
            }
        }
    }
}

/// Replaces the spans, which may overlap and come in any order.
fn apply(text: &[u8], mut spans: Vec<Range<usize>>) -> Cow<'_, [u8]> {
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    spans.sort_unstable_by_key(|span| span.start);
    let mut out = Vec::with_capacity(text.len());
    let mut done = 0;
    for span in spans {
        if span.start >= done {
            out.extend_from_slice(text.get(done..span.start).unwrap_or_default());
            // What touches a secret that was masked is one with it.
            if span.start > done || !out.ends_with(MASK) {
                out.extend_from_slice(MASK);
            }
        }
        done = done.max(span.end);
    }
    out.extend_from_slice(text.get(done..).unwrap_or_default());
    Cow::Owned(out)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn find_caseless(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window.eq_ignore_ascii_case(what))
}

/// `a=1; b=2` → `a=***; b=***`; a part without `=` is a value, and masked.
fn mask_cookies(value: &[u8], known: &mut Known) -> Vec<u8> {
    let parts = value.split(|b| *b == b';').map(|part| mask_pair(part.trim_ascii(), known));
    parts.collect::<Vec<_>>().join(&b"; "[..])
}

/// The cookie's value is masked, its attributes stay (RFC 6265 section 4.1.1).
fn mask_set_cookie(value: &[u8], known: &mut Known) -> Vec<u8> {
    let (cookie, attributes) = value.split_at(value.iter().position(|b| *b == b';').unwrap_or(value.len()));
    [mask_pair(cookie, known).as_slice(), attributes].concat()
}

fn mask_pair(pair: &[u8], known: &mut Known) -> Vec<u8> {
    let (name, secret) = pair.split_at(pair.iter().position(|b| *b == b'=').map_or(0, |at| at + 1));
    known.add(secret);
    [name, if pair.is_empty() { b"" } else { MASK }].concat()
}

/// `Scheme credentials` → `Scheme ***` (RFC 9110 section 11.4); anything else is masked whole.
fn mask_credentials(value: &[u8], known: &mut Known) -> Vec<u8> {
    let value = value.trim_ascii();
    let scheme = value.iter().position(|b| *b == b' ').and_then(|at| value.split_at_checked(at + 1));
    let plain = |s: &[u8]| s.len() <= 20 && s.iter().all(|b| b.is_ascii_alphabetic() || b" -".contains(b));
    match scheme {
        Some((scheme, secret)) if plain(scheme) => {
            known.add(secret.trim_ascii());
            [scheme, MASK].concat()
        }
        _ => {
            known.add(value);
            MASK.to_vec()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(text: &str) -> String {
        let out = Redactor::default().text(text.as_bytes(), &mut Known::default()).into_owned();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_of_secret_names_are_masked() {
        for (text, expected) in [
            ("/a?token=tok-8841&q=1", "/a?token=***&q=1"),
            ("/a?q=1&access_token=x,y;z'w", "/a?q=1&access_token=***"),
            ("user=ann&password=hunter%2022&x=2", "user=ann&password=***&x=2"),
            ("user%5Bpassword%5D=hunter2&x=2", "user%5Bpassword%5D=***&x=2"),
            ("user[password]=hunter2&x=2", "user[password]=***&x=2"),
            ("next=%2Flogin%3Ftoken%3Dabc%26x%3D1&y=2", "next=%2Flogin%3Ftoken%3D***%26x%3D1&y=2"),
            ("next=%252Flogin%253Ftoken%253Dabc%2526x&y=2", "next=%252Flogin%253Ftoken%253D***%2526x&y=2"),
            (r#"{"user":"ann","password":"hun\"ter 2","n":1}"#, r#"{"user":"ann","password":"***","n":1}"#),
            (r#"{"pin": 1234, "n": 1}"#, r#"{"pin": ***, "n": 1}"#),
            (r#"{"apiKey":["a","b]"],"n":1}"#, r#"{"apiKey":***,"n":1}"#),
            (r#"{"session":{"id":{"a":"}"}},"n":1}"#, r#"{"session":***,"n":1}"#),
            (r#"{"q":"{\"secret\":\"abc\",\"n\":1}"}"#, r#"{"q":"{\"secret\":\"***\",\"n\":1}"}"#),
            ("{'token': 'abc def', 'n': 1}", "{'token': '***', 'n': 1}"),
            ("<login><password>hunter2</password></login>", "<login><password>***</password></login>"),
            ("<ns:password type=\"t\">x</ns:password>", "<ns:password type=\"t\">***</ns:password>"),
            ("db_password: hunter 22\nnext: line", "db_password: ***\nnext: line"),
            ("Authorization: Bearer abc.def.ghi\r\nHost: x", "Authorization: ***\r\nHost: x"),
            ("Cookie: sid=1; theme=dark\r\nHost: x", "Cookie: ***\r\nHost: x"),
            (
                "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nhunter2\r\n--b--",
                "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n***\r\n--b--",
            ),
            ("PASSWORD=x", "PASSWORD=***"),
            ("X-Api-Key=x", "X-Api-Key=***"),
            ("client_secret = x y", "client_secret = *** y"),
        ] {
            assert_eq!(masked(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "",
            "/a?q=1&max_tokens=100&passage=3&tokenize=1",
            "session.referer_check=t found within ARGS:var:session.referer_check=t",
            "Matched Data: $u found within REQUEST_HEADERS:Referer: #x=foo;cat$u /etc$u/passwd",
            "found within ARGS:password",
            "Inbound Anomaly Score Exceeded (Total Score: 5)",
            "1' or 1=1 -- ",
            "a=&b==&=&:::>>>\"\"''",
            "1730000000000 4111111111111112 0191f3c2-a5d4-4e0b-8111-111111111111",
            "the bearer of bad news; basic understanding",
            "sk-short ghp_x AKIA eyJ",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
            "http://example.test/a@b?x=c@d",
            "%zz%%%2",
        ] {
            assert_eq!(masked(text), text);
        }
    }

    #[test]
    fn what_looks_like_a_secret_is_masked_without_a_name() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
        for (text, expected) in [
            (format!("x {jwt} y"), "x *** y"),
            (format!("q={jwt}&y=2"), "q=***&y=2"),
            ("Bearer abc.def.ghi, x".into(), "Bearer ***, x"),
            ("basic YW5uOmh1bnRlcjI= x".into(), "basic *** x"),
            ("(sk-proj-abcdefghijklmnop1234)".into(), "(***)"),
            ("a=ghp_abcdefghijklmnopqrstuvwxyz0123456789".into(), "a=***"),
            ("AKIAIOSFODNN7EXAMPLE!".into(), "***!"),
            ("'AIzaSyA1234567890abcdefghijklmnopqrstuv'".into(), "'***'"),
            ("https://ann:hunter2@db.test/x".into(), "https://***@db.test/x"),
            ("card 4111 1111 1111 1111.".into(), "card ***."),
            ("n=5500-0000-0000-0004&x".into(), "n=***&x"),
            ("378282246310005".into(), "***"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nAB\n-----END RSA PRIVATE KEY-----\nx".into(), "***\nx"),
            ("-----BEGIN PRIVATE KEY-----\nMIIE cut".into(), "***"),
            ("k=-----BEGIN%20EC%20PRIVATE%20KEY-----%0AMIIE".into(), "k=***"),
        ] {
            assert_eq!(masked(&text), expected, "{text}");
        }
    }

    #[test]
    fn headers_are_masked_by_name() {
        let redactor = Redactor::new(&["X-Internal-Id"], &["Colour"]);
        for (name, value, expected) in [
            ("Authorization", "Bearer abc", "Bearer ***"),
            ("authorization", "abc", "***"),
            ("Authorization", "", "***"),
            ("Proxy-Authorization", "Basic YTpi", "Basic ***"),
            ("Authorization", "Digest username=\"a\", response=\"b\"", "Digest ***"),
            ("Cookie", "sid=s3cr3t-77; theme=dark", "sid=***; theme=***"),
            ("Cookie", "bare;;a=b=c", "***; ; a=***"),
            ("Set-Cookie", "sid=abc; Path=/; HttpOnly", "sid=***; Path=/; HttpOnly"),
            ("X-API-Key", "k", "***"),
            ("x-internal-id", "k", "***"),
            ("My-Token", "k", "***"),
            ("Referer", "https://a.test/?token=x&colour=red&z=1", "https://a.test/?token=***&colour=***&z=1"),
            ("Accept", "text/html", "text/html"),
        ] {
            let out = redactor.header(name.as_bytes(), value.as_bytes(), &mut Known::default());
            assert_eq!(String::from_utf8_lossy(&out), expected, "{name}: {value}");
        }
    }

    #[test]
    fn matched_values_and_data_are_masked_by_variable() {
        let redactor = Redactor::default();
        let mut known = Known::default();
        for (variable, value, data, masked_value, masked_data) in [
            (
                "REQUEST_COOKIES:sid",
                "<x>",
                "Matched Data: <x> found within REQUEST_COOKIES:sid: <x>",
                "***",
                "Matched Data: *** found within REQUEST_COOKIES:sid: ***",
            ),
            ("ARGS:password", "a b", "a b", "***", "***"),
            ("ARGS:json.session.id", "a b", "", "***", ""),
            ("ARGS_NAMES:password", "password", "password", "password", "password"),
            (
                "TX:score",
                "5",
                "Matched Data: x found within ARGS:user[token]: x",
                "5",
                "Matched Data: *** found within ARGS:user[token]: ***",
            ),
            ("REQUEST_HEADERS:Cookie", "a=b", "a=b", "***", "***"),
            ("REQUEST_BODY", "q=1&token=a", "token=a", "q=1&token=***", "token=***"),
            (
                "ARGS:q",
                "1=1",
                "Matched Data: 1=1 found within ARGS:q: 1=1",
                "1=1",
                "Matched Data: 1=1 found within ARGS:q: 1=1",
            ),
        ] {
            let value = redactor.value(variable.as_bytes(), value.as_bytes(), &mut known);
            assert_eq!(String::from_utf8_lossy(&value), masked_value, "{variable}");
            let data = redactor.data(variable.as_bytes(), data.as_bytes(), &mut known);
            assert_eq!(String::from_utf8_lossy(&data), masked_data, "{variable}");
        }
    }

    #[test]
    fn a_secret_seen_once_is_masked_wherever_it_occurs_again() {
        let redactor = Redactor::default();
        let mut known = Known::default();
        redactor.header(b"authorization", b"Bearer abc.def.ghi", &mut known);
        redactor.header(b"cookie", b"sid=s3cr3t-77; q=<script>", &mut known);
        let out = redactor.text(b"saw ABC.DEF.GHI and s3cr3t-77 and <script>", &mut known);
        assert_eq!(out.as_ref(), b"saw *** and *** and <script>");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_and_masking_twice_changes_nothing_secret(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"%=:&\"'\\<>[]{}4 -token"[..])], 0..200)
        ) {
            let redactor = Redactor::default();
            let mut known = Known::default();
            redactor.text(&bytes, &mut known);
            redactor.header(b"cookie", &bytes, &mut known);
            redactor.header(b"authorization", &bytes, &mut known);
            redactor.data(&bytes, &bytes, &mut known);
        }

        #[test]
        fn a_password_never_shows(secret in "[A-Za-z0-9]{8,20}", before in "[ -~]{0,20}", after in "[ -~]{0,20}") {
            let secret = format!("Zq9{secret}");
            for text in [
                format!("{before}&password={secret}&{after}"),
                format!("{{\"a\":\"x\",\"password\":\"{secret}\",\"b\":\"{after}\"}}"),
                format!("{before}&a%5Btoken%5D%3D{secret}&{after}"),
            ] {
                prop_assert!(!masked(&text).contains(&secret), "{}", text);
            }
        }
    }
}
