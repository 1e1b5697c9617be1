//! The response cache: RFC 9111 as pure functions, and a bounded store.
//!
//! *Decides*, after the rules have passed a request, whether it may be answered from a stored response; and, after a
//! replica answered, whether that response may be stored and for how long. A response is published only after its body
//! was judged, see [`store::Write`].
//!
//! *In*: method, header fields, the target as the request model normalised it, times; *out*: [`policy::Lookup`],
//! [`policy::Storable`], [`policy::Reuse`], a key, the text of `Cache-Status`. Nothing here has a clock or does I/O.
//!
//! *Never another user's response.* Unless the response says `public`, a request with `Cookie` is neither answered
//! from the cache nor stored; one with `Authorization`, or whose sender the gate has verified, has no part in it at
//! all, unless [`Settings::authorized`] allows what section 3.5 allows. Requests with credentials have keys of their
//! own. `Set-Cookie`, `private`, `no-store`, `Vary: *` and `Vary` on a field that the gate sets are never stored.
//!
//! *Bound*: [`Settings::size`] bytes over all shards, exact, with keys, metadata, overhead, bodies being written and
//! evicted ones still being read. A lookup is one hash and one read lock. *Fails* open: what cannot be stored is
//! passed on, what cannot be found is asked for.
//!
//! *Departs* from RFC 9111 by guessing no lifetime unless [`Settings::default_ttl`] is set, by storing only the
//! statuses it understands unless [`Settings::error_statuses`] is set, by taking a malformed `Age` for a high one, and by never serving stale after `s-maxage` even where RFC 5861 directives stand beside
//! it (section 4.2.4 forbids it).

pub mod directives;
pub mod key;
pub mod policy;
pub mod status;
pub mod store;
pub mod vary;

use crate::fault::Fault;
use crate::units::{ByteSize, Span};
use http::header::HeaderName;
use policy::{Bypass, Lookup, RequestFacts, ResponseFacts, Reuse, Storable, StorePolicy, Stored, Use};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The `[cache]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether responses are cached at all.
    pub enabled: bool,
    /// Memory for stored responses, all of it: bodies, fields, keys, overhead. At least 1MiB.
    pub size: ByteSize,
    /// Largest body that is stored. At most an eighth of `size`.
    pub max_object: ByteSize,
    /// Locks the store is split over, 1 to 1024. Takes effect at start.
    pub shards: usize,
    /// A lifetime for responses that name none. Absent: such responses are not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_ttl: Option<Span>,
    /// Store error responses too (any status but 206 and 304) where they name a lifetime. Off, so that an error one
    /// client's odd request provokes is not handed to the others.
    pub error_statuses: bool,
    /// How long a request waits for an equal one in flight before it asks a replica itself. Takes effect at start for
    /// the age of a lock, at once for the wait.
    pub lock_timeout: Span,
    /// Share responses to requests with credentials where the response allows it by `public`, `s-maxage` or
    /// `must-revalidate` (RFC 9111 section 3.5).
    pub authorized: bool,
    /// Heed the clients' own `Cache-Control` and `Pragma` (a browser's reload asks a replica).
    pub client_directives: bool,
    /// Request fields that the gate sets for the replicas: a response that varies by one is not stored.
    pub set_by_gate: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            size: ByteSize::mib(128),
            max_object: ByteSize::mib(8),
            shards: 16,
            default_ttl: None,
            error_statuses: false,
            lock_timeout: Span::secs(5),
            authorized: false,
            client_directives: true,
            set_by_gate: ["x-archon-user", "x-auth-user", "x-request-id"].map(str::to_owned).to_vec(),
        }
    }
}

/// The stage: what may be answered from the cache and what may go into it. The store itself outlives it.
#[derive(Debug, Clone)]
pub struct Cache {
    settings: Settings,
    set_by_gate: Vec<HeaderName>,
}

impl Cache {
    /// Checks the settings. `base` is not used: the section names no files.
    ///
    /// # Errors
    ///
    /// Every setting that cannot be right.
    pub fn build(settings: &Settings, _base: &Path) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        if settings.size < ByteSize::mib(1) {
            let what = format!("{} holds hardly anything", settings.size);
            faults.push(Fault::key("size", what, "write at least 1MiB, or enabled = false"));
        }
        if settings.max_object.0 == 0 || settings.max_object.0 > settings.size.0 / 8 {
            let what = format!("{} is not between 1B and an eighth of cache.size", settings.max_object);
            faults.push(Fault::key("max_object", what, format!("write at most {}", ByteSize(settings.size.0 / 8))));
        }
        if !(1..=1024).contains(&settings.shards) {
            faults.push(Fault::key("shards", format!("{} is out of range", settings.shards), "write 1 to 1024"));
        }
        if settings.lock_timeout.0.is_zero() || settings.lock_timeout > Span::secs(300) {
            let what = format!("{} is out of range", settings.lock_timeout);
            faults.push(Fault::key("lock_timeout", what, "write more than 0s and at most 5m"));
        }
        let mut set_by_gate = Vec::new();
        for (i, name) in settings.set_by_gate.iter().enumerate() {
            match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) => set_by_gate.push(name),
                Err(_) => {
                    let what = format!("{name:?} is no field name");
                    faults.push(Fault::key(format!("set_by_gate[{i}]"), what, "write a name such as \"x-user\""));
                }
            }
        }
        if faults.is_empty() { Ok(Self { settings: settings.clone(), set_by_gate }) } else { Err(faults) }
    }

    /// The checked settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How long a request waits for an equal one in flight.
    pub fn lock_timeout(&self) -> Duration {
        self.settings.lock_timeout.0
    }

    /// Whether the cache takes part in an admitted request.
    pub fn lookup(&self, request: &RequestFacts<'_>) -> Lookup {
        if !self.settings.enabled {
            return Lookup::Bypass(Bypass::Disabled);
        }
        policy::request_cacheability(request, self.settings.authorized, self.settings.client_directives)
    }

    /// Whether a replica's response may be stored, by its header; its body is judged later.
    pub fn storable(&self, using: &Use, response: &ResponseFacts<'_>) -> Storable {
        let policy = StorePolicy {
            default_lifetime: self.settings.default_ttl.map(|span| span.0),
            error_statuses: self.settings.error_statuses,
            set_by_gate: &self.set_by_gate,
        };
        policy::response_storable(using, response, &policy)
    }

    /// Whether a stored response may answer a request.
    pub fn reuse(&self, using: &Use, stored: &Stored<'_>, now: SystemTime) -> Reuse {
        policy::reuse(using, stored, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_build() {
        let cache = Cache::build(&Settings::default(), Path::new(".")).unwrap();
        assert!(cache.settings().enabled);
        assert_eq!(cache.settings().default_ttl, None);
    }

    #[test]
    fn all_faults_are_reported_with_their_keys() {
        let settings = Settings {
            size: ByteSize::kib(1),
            max_object: ByteSize::mib(8),
            shards: 0,
            lock_timeout: Span::secs(0),
            set_by_gate: vec!["ok".to_owned(), "not ok".to_owned()],
            ..Settings::default()
        };
        let faults = Cache::build(&settings, Path::new(".")).unwrap_err();
        let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
        for key in ["size:", "max_object:", "shards:", "lock_timeout:", "set_by_gate[1]:"] {
            assert!(text.iter().any(|fault| fault.starts_with(key)), "{key} in {text:?}");
        }
        assert_eq!(faults.len(), 5);
    }

    #[test]
    fn settings_survive_being_written_and_read() {
        let text = toml::to_string(&Settings::default()).unwrap();
        let read: Settings = toml::from_str(&text).unwrap();
        assert_eq!(toml::to_string(&read).unwrap(), text);
        assert!(toml::from_str::<Settings>("sise = \"1MiB\"").is_err());
        let ttl: Settings = toml::from_str("default_ttl = \"30s\"").unwrap();
        assert_eq!(ttl.default_ttl, Some(Span::secs(30)));
    }
}
