//! Session tickets that any process with the same secret can open.
//!
//! *Keys.* Time is cut into epochs of `rotate`. The key of an epoch is derived from the secret and the epoch's number
//! (HKDF, RFC 5869), so replicas of one secret and roughly one clock agree on keys without speaking to each other. A ticket
//! is sealed under the epoch that runs, and opened under that, the two before, and, for clocks that differ, the one that
//! comes. A secret file may hold several secrets: the first seals, all open, so that a secret can be changed without
//! losing sessions. Without a secret each process draws one for itself, and passes it on to the one that takes over from
//! it.
//!
//! *Form.* `key name (16) ‖ nonce (12) ‖ AES-256-GCM(session) (n + 16)`, in bytes. The additional data is the name and the
//! [context](Tickets::ticketer): a digest of what the listener asks of its clients. A ticket of a listener that asks for no
//! certificate therefore opens at none that does, and none outlives a change of authorities or revocation lists.
//!
//! *Bounds.* A few keys; sessions are held by clients. A random nonce is good for 2³² tickets a key (NIST SP 800-38D
//! section 8.3), some 200,000 a second over six hours.
//!
//! What a ticket's key could give away: nothing of TLS 1.3's traffic, since every resumption runs a key exchange of its
//! own (RFC 8446 section 2.2, `psk_dhe_ke`); with TLS 1.2 the traffic of resumed sessions (RFC 5077 section 5).

use crate::fault::Fault;
use crate::units::{Secret, Span};
use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Shortest secret, in bytes.
const MIN_SECRET: usize = 32;
/// Most secrets at once.
const MAX_SECRETS: usize = 8;
/// Largest secret file, in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// Epochs before the running one whose tickets are opened.
const EARLIER: u64 = 2;
const NAME: usize = 16;
const NONCE: usize = 12;

/// `[tls.tickets]`: how sessions are resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TicketSettings {
    /// A file of secrets, one a line, each at least 32 bytes in hex or 32 characters: the first is used, the others still
    /// open what they sealed. The same file on all replicas lets a client resume at any of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// One secret, in place of a file; an empty text, as an unset environment variable leaves it, is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// How long a key is used. A ticket is good for twice this.
    pub rotate: Span,
}

impl Default for TicketSettings {
    fn default() -> Self {
        Self { file: None, secret: None, rotate: Span::secs(6 * 3600) }
    }
}

/// The secrets, and the keys made of them for the epoch that runs.
pub struct Tickets {
    secrets: ArcSwap<Vec<Vec<u8>>>,
    /// Whether the secret is this process's own.
    drawn: bool,
    /// Seconds an epoch lasts, at least one.
    rotate: u64,
    keys: ArcSwap<Epoch>,
    file: Option<PathBuf>,
}

/// The keys of one moment: the first seals, all open.
struct Epoch {
    number: u64,
    keys: Vec<Key>,
}

struct Key {
    name: [u8; NAME],
    key: LessSafeKey,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("drawn", &self.drawn).field("rotate", &self.rotate).finish_non_exhaustive()
    }
}

impl Tickets {
    /// Reads the secrets; a relative path starts at `base`. Where none is given the one `previous` drew stays in use, so
    /// that a reload ends no session.
    ///
    /// # Errors
    /// Both a file and a secret, an unreadable file, a secret that can be guessed, a time of no use.
    pub fn build(
        settings: &TicketSettings,
        base: &Path,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, Vec<Fault>> {
        let mut faults = Vec::new();
        let rotate = settings.rotate.0.as_secs();
        // A ticket may be good for seven days (RFC 8446 section 4.6.1).
        if !(60..=302_400).contains(&rotate) {
            let mend = "write a time from \"1m\" to \"84h\"";
            faults.push(Fault::key("rotate", format!("keys cannot change every {}", settings.rotate), mend));
        }
        let secret = settings.secret.as_ref().map(|secret| secret.expose().trim()).filter(|secret| !secret.is_empty());
        if settings.file.is_some() && secret.is_some() {
            faults.push(Fault::key("secret", "there is a file of secrets too", "write one of the two"));
        }
        let file = settings.file.as_ref().map(|file| base.join(file));
        let secrets = match (&file, secret) {
            (Some(path), _) => from_file(path),
            (None, Some(secret)) => decoded(secret)
                .map(|secret| vec![secret])
                .map_err(|what| Fault::key("secret", what, "make one with `openssl rand -hex 32`")),
            (None, None) => Ok(Vec::new()),
        };
        let secrets = secrets.unwrap_or_else(|fault| {
            faults.push(fault);
            Vec::new()
        });
        if !faults.is_empty() {
            return Err(faults);
        }
        let drawn = secrets.is_empty();
        if let Some(previous) = previous
            && previous.rotate == rotate
            && (**previous.secrets.load() == secrets || (drawn && previous.drawn))
        {
            return Ok(previous.clone());
        }
        let secrets = match previous.filter(|previous| drawn && previous.drawn) {
            Some(previous) => previous.secrets.load_full(),
            None if drawn => Arc::new(vec![rand::random::<[u8; MIN_SECRET]>().to_vec()]),
            None => Arc::new(secrets),
        };
        let secrets = ArcSwap::new(secrets);
        let keys = ArcSwap::from_pointee(Epoch { number: u64::MAX, keys: Vec::new() });
        Ok(Arc::new(Self { secrets, drawn, rotate, keys, file }))
    }

    /// The file the secrets were read from.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The version of what [`export`](Self::export) gives.
    pub const CARRIED: u16 = 1;

    /// The secrets this process has drawn, for the one that takes over, each [`MIN_SECRET`] bytes; none where they are of
    /// the configuration.
    pub fn export(&self) -> Vec<u8> {
        if self.drawn { self.secrets.load().concat() } else { Vec::new() }
    }

    /// Opens what another process has sealed, and seals as it did, where both draw their secrets; how many were taken
    /// over, or `None` of bytes that are no secrets.
    pub fn import(&self, bytes: &[u8]) -> Option<usize> {
        let (carried, rest) = bytes.as_chunks::<MIN_SECRET>();
        if !rest.is_empty() || carried.len() > MAX_SECRETS {
            return None;
        }
        if !self.drawn || carried.is_empty() {
            return Some(0);
        }
        // What this process has sealed before opens too.
        let own = self.secrets.load_full();
        let all = carried.iter().map(|secret| secret.to_vec()).chain(own.iter().cloned());
        self.secrets.store(Arc::new(all.take(MAX_SECRETS).collect()));
        self.keys.store(Arc::new(Epoch { number: u64::MAX, keys: Vec::new() }));
        Some(carried.len())
    }

    /// What seals and opens tickets of one listener; `context` is a digest of all that makes its sessions differ from
    /// those of others.
    pub(super) fn ticketer(self: &Arc<Self>, context: [u8; 32]) -> Arc<dyn ProducesTickets> {
        Arc::new(Ticketer { tickets: self.clone(), context })
    }

    /// The keys of the epoch that `now` is in.
    fn keys(&self, now: SystemTime) -> arc_swap::Guard<Arc<Epoch>> {
        let number = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) / self.rotate.max(1);
        let keys = self.keys.load();
        if keys.number == number {
            return keys;
        }
        // Two threads that come here at once derive the same.
        self.keys.store(Arc::new(Epoch { number, keys: self.derive(number) }));
        self.keys.load()
    }

    fn derive(&self, number: u64) -> Vec<Key> {
        let epochs = std::iter::once(number)
            .chain((1..=EARLIER).filter_map(|back| number.checked_sub(back)))
            .chain(number.checked_add(1));
        let secrets = self.secrets.load();
        let pairs = epochs.flat_map(|epoch| secrets.iter().map(move |secret| (epoch, secret)));
        pairs.filter_map(|(epoch, secret)| Key::derive(secret, epoch)).collect()
    }
}

impl Key {
    /// `None` only where the library fails.
    fn derive(secret: &[u8], epoch: u64) -> Option<Self> {
        let base = Salt::new(HKDF_SHA256, b"gatehouse session tickets").extract(secret);
        let epoch = epoch.to_be_bytes();
        let mut name = [0; NAME];
        base.expand(&[b"name", &epoch], Length(NAME)).ok()?.fill(&mut name).ok()?;
        let info: [&[u8]; 2] = [b"key", &epoch];
        let key = UnboundKey::from(base.expand(&info, &AES_256_GCM).ok()?);
        Some(Self { name, key: LessSafeKey::new(key) })
    }
}

/// How many bytes a derivation is asked for.
struct Length(usize);

impl aws_lc_rs::hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn from_file(path: &Path) -> Result<Vec<Vec<u8>>, Fault> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
    if let Err(error) = read {
        let what = format!("cannot read {}: {error}", path.display());
        return Err(Fault::key("file", what, "create it with `openssl rand -hex 32`, readable for the gate alone"));
    }
    let lines = text.lines().zip(1_usize..).filter(|(line, _)| !line.trim().is_empty() && !line.starts_with('#'));
    let mut secrets = Vec::new();
    for (line, number) in lines {
        // The line itself is a secret: it is not shown.
        let secret = decoded(line.trim())
            .map_err(|what| Fault::file(path, (number, 0), "", what, "make one with `openssl rand -hex 32`"))?;
        secrets.push(secret);
    }
    match secrets.len() {
        0 => Err(Fault::file(
            path,
            (0, 0),
            "",
            "there is no secret in this file",
            "make one with `openssl rand -hex 32`",
        )),
        1..=MAX_SECRETS => Ok(secrets),
        _ => {
            let what = format!("more than {MAX_SECRETS} secrets");
            Err(Fault::file(path, (0, 0), "", what, "remove those that no ticket is sealed under any more"))
        }
    }
}

/// A secret's bytes: of hex digits, else the text itself.
fn decoded(text: &str) -> Result<Vec<u8>, &'static str> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let nibble = |c: u8| char::from(c).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let hex = || pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect::<Option<Vec<u8>>>();
    let bytes = match hex().filter(|_| rest.is_empty()) {
        Some(bytes) => bytes,
        None => text.as_bytes().to_vec(),
    };
    if bytes.len() < MIN_SECRET { Err("a secret shorter than 32 bytes can be guessed") } else { Ok(bytes) }
}

/// Seals and opens the tickets of one listener.
struct Ticketer {
    tickets: Arc<Tickets>,
    context: [u8; 32],
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tickets.fmt(f)
    }
}

impl Ticketer {
    fn aad(&self, name: &[u8; NAME]) -> Aad<[u8; NAME + 32]> {
        let mut aad = [0; NAME + 32];
        for (to, from) in aad.iter_mut().zip(name.iter().chain(&self.context)) {
            *to = *from;
        }
        Aad::from(aad)
    }

    fn seal(&self, plain: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        let keys = self.tickets.keys(now);
        let key = keys.keys.first()?;
        let nonce: [u8; NONCE] = rand::random();
        let mut sealed = plain.to_vec();
        key.key.seal_in_place_append_tag(Nonce::from(&nonce), self.aad(&key.name), &mut sealed).ok()?;
        Some([&key.name[..], &nonce, &sealed].concat())
    }

    fn open(&self, ticket: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let keys = self.tickets.keys(now);
        let key = keys.keys.iter().find(|key| key.name == *name)?;
        let mut sealed = sealed.to_vec();
        let length = key.key.open_in_place(Nonce::from(nonce), self.aad(name), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.tickets.rotate.saturating_mul(EARLIER)).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, SystemTime::now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, SystemTime::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn tickets(secrets: &[&[u8]]) -> Arc<Tickets> {
        Arc::new(Tickets {
            secrets: ArcSwap::from_pointee(secrets.iter().map(|secret| secret.to_vec()).collect()),
            drawn: false,
            rotate: 100,
            keys: ArcSwap::from_pointee(Epoch { number: u64::MAX, keys: Vec::new() }),
            file: None,
        })
    }

    fn ticketer(tickets: &Arc<Tickets>, context: u8) -> Ticketer {
        Ticketer { tickets: tickets.clone(), context: [context; 32] }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn any_process_with_the_secret_opens_a_ticket_for_two_epochs() {
        let (one, other) = (tickets(&[&[1; 32]]), tickets(&[&[1; 32]]));
        let sealed = ticketer(&one, 0).seal(b"session", at(1_050)).unwrap();
        assert_ne!(sealed, ticketer(&one, 0).seal(b"session", at(1_050)).unwrap(), "each with a nonce of its own");
        for (moment, opens) in [(899, false), (901, true), (1_050, true), (1_199, true), (1_299, true), (1_300, false)]
        {
            let opened = ticketer(&other, 0).open(&sealed, at(moment));
            assert_eq!(opened.as_deref(), opens.then_some(&b"session"[..]), "{moment}");
        }
        assert_eq!(ticketer(&one, 0).lifetime(), 200);
    }

    #[test]
    fn a_ticket_opens_in_its_own_context_only_and_only_whole() {
        let keys = tickets(&[&[1; 32]]);
        let ours = ticketer(&keys, 0);
        let sealed = ours.seal(b"session", at(1_000)).unwrap();
        assert!(ticketer(&keys, 1).open(&sealed, at(1_000)).is_none(), "another listener's demands");
        assert!(ticketer(&tickets(&[&[2; 32]]), 0).open(&sealed, at(1_000)).is_none(), "another secret");
        for end in 0..sealed.len() {
            assert!(ours.open(&sealed[..end], at(1_000)).is_none(), "{end}");
        }
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert!(ours.open(&changed, at(1_000)).is_none(), "{position}");
        }
    }

    #[test]
    fn an_earlier_secret_still_opens() {
        let sealed = ticketer(&tickets(&[&[1; 32]]), 0).seal(b"session", at(1_000)).unwrap();
        let both = tickets(&[&[2; 32], &[1; 32]]);
        assert!(ticketer(&both, 0).open(&sealed, at(1_000)).is_some());
        let new = ticketer(&both, 0).seal(b"session", at(1_000)).unwrap();
        assert!(ticketer(&tickets(&[&[2; 32]]), 0).open(&new, at(1_000)).is_some(), "the first seals");
    }

    #[test]
    fn the_next_process_goes_on_with_drawn_secrets_and_with_no_others() {
        let build = |toml: &str| Tickets::build(&toml::from_str(toml).unwrap(), Path::new(""), None).unwrap();
        let (old, new) = (build(""), build(""));
        let sealed = ticketer(&old, 0).seal(b"session", at(1_000)).unwrap();
        let own = ticketer(&new, 0).seal(b"session", at(1_000)).unwrap();
        assert!(ticketer(&new, 0).open(&sealed, at(1_000)).is_none());
        assert_eq!(new.import(&old.export()), Some(1));
        assert!(ticketer(&new, 0).open(&sealed, at(1_000)).is_some(), "the old one's");
        assert!(ticketer(&new, 0).open(&own, at(1_000)).is_some(), "and its own from before");
        let next = ticketer(&new, 0).seal(b"session", at(1_000)).unwrap();
        assert!(ticketer(&old, 0).open(&next, at(1_000)).is_some(), "while it drains, the old one opens the new one's");

        let given = build(&format!("secret = \"{}\"", "ab".repeat(32)));
        assert!(given.export().is_empty(), "a secret of the configuration is not passed on");
        assert_eq!((given.import(&old.export()), new.import(b"")), (Some(0), Some(0)));
        assert!(ticketer(&given, 0).open(&sealed, at(1_000)).is_none());
        assert_eq!((new.import(b"nonsense"), new.import(&[7; 32 * 9])), (None, None));
        for _ in 0..20 {
            let later = build("");
            assert_eq!(later.import(&new.export()[..MIN_SECRET]), Some(1));
            new.import(&later.export()).unwrap();
        }
        assert!(new.secrets.load().len() <= MAX_SECRETS, "however often it is handed over");
    }

    #[test]
    fn secrets_come_from_a_file_a_text_or_chance() {
        let dir = tempfile::tempdir().unwrap();
        let build = |toml: &str, previous: Option<&Arc<Tickets>>| {
            Tickets::build(&toml::from_str(toml).unwrap(), dir.path(), previous)
        };
        let write = |text: &str| std::fs::write(dir.path().join("secrets"), text).unwrap();
        let (one, two) = ("ab".repeat(32), "a phrase of at least thirty-two characters");
        write(&format!("# ours\n{one}\n\n{two}\n"));
        let read = build("file = \"secrets\"", None).unwrap();
        let secrets = |tickets: &Arc<Tickets>| tickets.secrets.load().to_vec();
        assert_eq!(secrets(&read), [vec![0xAB; 32], two.as_bytes().to_vec()]);
        assert_eq!(read.file(), Some(&*dir.path().join("secrets")));
        assert!(Arc::ptr_eq(&read, &build("file = \"secrets\"", Some(&read)).unwrap()), "nothing changed");
        write(&one);
        let fewer = build("file = \"secrets\"", Some(&read)).unwrap();
        assert_eq!(secrets(&fewer).len(), 1);

        let drawn = build("secret = \"\"", Some(&fewer)).unwrap();
        assert!(drawn.drawn && secrets(&drawn) != secrets(&fewer));
        let faster = build("rotate = \"1h\"", Some(&drawn)).unwrap();
        assert_eq!(secrets(&faster), secrets(&drawn), "a reload ends no session");
        assert_ne!(secrets(&build("", None).unwrap()), secrets(&drawn), "each process draws its own");
        assert!(!format!("{read:?}").contains("171"), "no secret is shown");

        for (toml, file, part) in [
            ("file = \"nowhere\"", "", "file: cannot read "),
            ("file = \"secrets\"", "# nothing", "secrets: there is no secret in this file; make one"),
            ("file = \"secrets\"", "\nshort", "secrets:2: a secret shorter than 32 bytes"),
            ("secret = \"short\"", "", "secret: a secret shorter than 32 bytes"),
            ("file = \"secrets\"\nsecret = \"abc\"", &one, "secret: there is a file of secrets too"),
            ("rotate = \"59s\"", "", "rotate: keys cannot change every "),
            ("rotate = \"85h\"", "", "rotate: keys cannot change every "),
        ] {
            write(file);
            let faults = build(toml, None).unwrap_err();
            let shown = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            assert!(shown.contains(part) && !shown.contains("\nshort"), "{toml}: {shown}");
        }
    }
}
