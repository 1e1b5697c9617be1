//! What a replica is told about who is asking, and which claims of the client's own it must not see.
//!
//! The gate is the only one who says who a client is: every header that some framework, proxy or application believes on
//! that matter is taken out of the client's request, and the few that we vouch for are set. Setting replaces, it never
//! appends: a replica that believes the left end of `X-Forwarded-For` would otherwise believe the client.
//!
//! Order matters to the caller: first drop hop-by-hop headers, which `Connection` names and a client could use to have ours
//! dropped behind us, then strip, then set.

use super::{Settings, header_name};
use crate::facts::{ClientAddr, Scheme, UserKey};
use crate::fault::Fault;
use http::header::{HeaderName, HeaderValue};
use std::path::Path;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Headers that say what the request is and where it ends.
const FRAMING: [&str; 8] =
    ["host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "authorization"];

/// Names that begin so speak of identity, whatever follows.
const PREFIXES: [&str; 6] = ["x-forwarded", "x-archon-", "x-auth-", "x-remote-", "x-webauth-", "x-ssl-client"];

/// Other names that servers believe on who is asking, for which host, or for which path. Sorted.
const NAMES: [&str; 32] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "forwarded-for",
    "proxy-user",
    "remote-addr",
    "remote-user",
    "ssl-client-cert",
    "ssl-client-s-dn",
    "ssl-client-verify",
    "true-client-ip",
    "x-appengine-user-ip",
    "x-authenticated-groups",
    "x-authenticated-user",
    "x-authenticated-userid",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-cert",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-host",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-url",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-rewrite-url",
];

/// Whether some server behind may believe a header of this name on identity. Any case; an underscore counts as a hyphen,
/// because servers that hand headers on as CGI variables (RFC 3875 section 4.1.18) cannot tell the two apart.
fn speaks_of_identity(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.binary_search(&name).is_ok()
}

/// What is taken out of and put into the request that a replica gets.
#[derive(Debug, Clone)]
pub struct Forwarding {
    user_header: HeaderName,
    /// The configured headers as [`folded`] writes them.
    own: [String; 2],
}

/// A header's name as a server sees it that cannot tell hyphen and underscore apart.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

impl Forwarding {
    /// Checks the settings. `_base` is unused: nothing is read from files.
    ///
    /// # Errors
    ///
    /// A `user_header` or `header` that is no header name, or one that would change what the request means.
    pub fn build(settings: &Settings, _base: &Path) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let user_header = header_name(&settings.user_header, "user_header", &mut faults);
        if FRAMING.contains(&user_header.as_str()) {
            let what = format!("{user_header:?} is not free to carry a user's name");
            faults.push(Fault::key("user_header", what, "choose a header of the application's, as \"x-archon-user\""));
        }
        // A fault of `header` is reported by the stage that reads it.
        let hop_header = header_name(&settings.header, "header", &mut Vec::new());
        let own = [folded(user_header.as_str()), folded(hop_header.as_str())];
        if faults.is_empty() { Ok(Self { user_header, own }) } else { Err(faults) }
    }

    /// Whether a client's header of this name must not reach a replica, in any case and with `_` for `-`.
    pub fn strips(&self, name: &str) -> bool {
        let one_of = |name: &str| speaks_of_identity(name) || self.own.iter().any(|own| own == name);
        // Header maps hold names in lower case, and hardly any has an underscore.
        if name.bytes().any(|b| b == b'_' || b.is_ascii_uppercase()) { one_of(&folded(name)) } else { one_of(name) }
    }

    /// The headers to set, once the client's own that [`Forwarding::strips`] names are removed: at most four. `authority`
    /// is what the request model read; one that no header can carry is left out.
    pub fn headers(
        &self,
        client: ClientAddr,
        scheme: Scheme,
        authority: &str,
        user: &UserKey,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let mut set = Vec::with_capacity(4);
        let mut put = |name: &HeaderName, value: &str| {
            set.extend(HeaderValue::from_str(value).ok().map(|value| (name.clone(), value)));
        };
        put(&X_FORWARDED_FOR, &client.to_string());
        put(&X_FORWARDED_PROTO, scheme.as_str());
        put(&X_FORWARDED_HOST, authority);
        if let Some(name) = user.verified() {
            put(&self.user_header, name);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarding(toml: &str) -> Forwarding {
        Forwarding::build(&toml::from_str(toml).unwrap(), Path::new("")).unwrap()
    }

    #[test]
    fn identity_headers_are_stripped_in_every_spelling() {
        assert!(NAMES.is_sorted());
        let forwarding = forwarding("header = \"X-Our-CDN\"\nuser_header = \"X-Who\"");
        for name in [
            "X-Forwarded-For",
            "x_forwarded_for",
            "x-forwarded-client-cert",
            "X-Forwarded-User",
            "Forwarded",
            "X-Real-IP",
            "X_Real_IP",
            "X-Archon-User",
            "x-archon-user-id",
            "X-Auth-User",
            "x-auth_user",
            "X-Remote-User",
            "Remote_User",
            "True-Client-IP",
            "CF-Connecting-IP",
            "X-Original-URL",
            "X-Our_CDN",
            "x_who",
        ] {
            assert!(forwarding.strips(name), "{name}");
        }
        for name in ["host", "authorization", "x-api-key", "x-request-id", "x-authority", "cookie", "user-agent", ""] {
            assert!(!forwarding.strips(name), "{name}");
        }
    }

    #[test]
    fn configured_names_with_underscores_are_stripped_too() {
        let forwarding = forwarding("header = \"our_cdn\"\nuser_header = \"X_Who\"");
        for name in ["x_who", "X-Who", "our_cdn", "Our-CDN"] {
            assert!(forwarding.strips(name), "{name}");
        }
    }

    #[test]
    fn what_is_set_is_what_we_know() {
        let forwarding = forwarding("");
        let client = ClientAddr::new("2001:db8::1".parse().unwrap());
        let text = |user: &UserKey, authority: &str| {
            let set = forwarding.headers(client, Scheme::Https, authority, user);
            set.into_iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect::<Vec<_>>()
        };
        let mut expected = vec![
            "x-forwarded-for: 2001:db8::1",
            "x-forwarded-proto: https",
            "x-forwarded-host: archon.example:8443",
            "x-archon-user: ci",
        ];
        assert_eq!(text(&UserKey::ApiKey("ci".into()), "archon.example:8443"), expected);
        expected.pop();
        assert_eq!(
            text(&UserKey::Address(client.subscriber()), "archon.example:8443"),
            expected,
            "an address is no name"
        );
        expected.pop();
        assert_eq!(text(&UserKey::Address(client.subscriber()), "a\r\nb"), expected);
    }

    #[test]
    fn the_users_name_cannot_take_the_place_of_framing() {
        for (name, part) in [("Host", "is not free"), ("content-length", "is not free"), ("a b", "is no header name")] {
            let settings = Settings { user_header: name.into(), ..Settings::default() };
            let shown = Forwarding::build(&settings, Path::new("")).unwrap_err()[0].to_string();
            assert!(shown.starts_with("user_header: ") && shown.contains(part), "{shown}");
        }
    }
}
