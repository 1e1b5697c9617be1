//! Fields that the gate puts on every response, or takes off, whoever made it: security fields above all.
//!
//! `Strict-Transport-Security` (RFC 6797) goes on responses over TLS alone (section 7.2). A field that is set takes the
//! place of the replica's.

use crate::fault::Fault;
use crate::units::{self, Span};
use http::header::{HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most fields that are set.
const MOST: usize = 32;

/// `[response]`: what all responses say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResponseSettings {
    /// How long browsers are to come over TLS only; unset: they are not told.
    #[serde(deserialize_with = "units::unless_empty", skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Span>,
    /// Whether that holds for names below the host's, too.
    pub hsts_subdomains: bool,
    /// Fields by name; an empty value takes the replica's off.
    pub headers: BTreeMap<String, String>,
}

/// The same, ready to be put on a response.
#[derive(Debug, Clone, Default)]
pub struct ResponseFields {
    set: Vec<(HeaderName, HeaderValue)>,
    removed: Vec<HeaderName>,
    hsts: Option<HeaderValue>,
}

impl ResponseFields {
    /// Reads the names and values.
    ///
    /// # Errors
    /// What is no field, and fields that framing, connections or the gate itself decide.
    pub fn build(settings: &ResponseSettings) -> Result<Self, Vec<Fault>> {
        let (mut fields, mut faults) = (Self::default(), Vec::new());
        if settings.headers.len() > MOST {
            let what = format!("{} fields are too many", settings.headers.len());
            faults.push(Fault::key("headers", what, format!("write at most {MOST}")));
        }
        for (name, value) in &settings.headers {
            let key = format!("headers.{name}");
            let Ok(known) = name.parse::<HeaderName>() else {
                faults.push(Fault::key(key, "this is no field name (RFC 9110 section 5.1)", "write it as \"x-name\""));
                continue;
            };
            if is_ours(&known) {
                let mend = "leave it out: the gate decides what it says";
                faults.push(Fault::key(key, "this field belongs to one connection or to the gate", mend));
                continue;
            }
            // Bytes beyond ASCII are read differently by different clients.
            match HeaderValue::from_str(value).ok().filter(|value| value.to_str().is_ok()) {
                Some(_) if value.trim().is_empty() => fields.removed.push(known),
                Some(value) => fields.set.push((known, value)),
                None => {
                    faults.push(Fault::key(key, "this is no field value (RFC 9110 section 5.5)", "write plain ASCII"))
                }
            }
        }
        if let Some(span) = settings.hsts {
            let more = if settings.hsts_subdomains { "; includeSubDomains" } else { "" };
            fields.hsts = HeaderValue::from_str(&format!("max-age={}{more}", span.0.as_secs())).ok();
        } else if settings.hsts_subdomains {
            faults.push(Fault::key("hsts_subdomains", "nothing is said of hosts", "write hsts = \"365d\" too"));
        }
        if faults.is_empty() { Ok(fields) } else { Err(faults) }
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty() && self.hsts.is_none()
    }

    /// What is taken off a response.
    pub fn removed(&self) -> &[HeaderName] {
        &self.removed
    }

    /// What is put on a response; `secure`: over TLS.
    pub fn set(&self, secure: bool) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let hsts = self.hsts.as_ref().filter(|_| secure).map(|value| (&STRICT_TRANSPORT_SECURITY, value));
        hsts.into_iter().chain(self.set.iter().map(|(name, value)| (name, value)))
    }
}

/// Whether a field says how a message is framed, carried or cached, or is the gate's own.
fn is_ours(name: &HeaderName) -> bool {
    const OURS: [&str; 27] = [
        // Of one connection (RFC 9110 section 7.6.1).
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "content-type",
        "content-encoding",
        "content-range",
        "date",
        "age",
        "etag",
        "vary",
        "cache-control",
        "cache-status",
        "location",
        "set-cookie",
        "www-authenticate",
        "x-request-id",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "sec-websocket-accept",
        "strict-transport-security",
    ];
    OURS.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HeaderMap;

    fn build(toml: &str) -> Result<ResponseFields, String> {
        let settings = toml::from_str(toml).unwrap();
        ResponseFields::build(&settings)
            .map_err(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn fields_are_set_taken_off_and_strict_transport_said_over_tls_alone() {
        let fields = build(
            "hsts = \"1h\"\nhsts_subdomains = true\n[headers]\nx-content-type-options = \"nosniff\"\nServer = \"\"\n",
        )
        .unwrap();
        for secure in [true, false] {
            let mut headers = HeaderMap::new();
            for (name, value) in
                [("server", "uvicorn"), ("x-content-type-options", "a"), ("x-content-type-options", "b")]
            {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            fields.removed().iter().for_each(|name| drop(headers.remove(name)));
            fields.set(secure).for_each(|(name, value)| drop(headers.insert(name.clone(), value.clone())));
            assert!(!headers.contains_key("server"));
            assert_eq!(headers.get_all("x-content-type-options").iter().collect::<Vec<_>>(), ["nosniff"]);
            let hsts = headers.get(STRICT_TRANSPORT_SECURITY).map(|value| value.to_str().unwrap());
            assert_eq!(hsts, secure.then_some("max-age=3600; includeSubDomains"));
        }
        assert!(build("hsts = \"\"").unwrap().is_empty() && build("").unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_set_is_a_fault_with_a_mend() {
        for (toml, part) in [
            ("[headers]\n\"a b\" = \"x\"", "headers.a b: this is no field name"),
            ("[headers]\nx-a = \"one\\ntwo\"", "headers.x-a: this is no field value"),
            ("[headers]\nx-a = \"\u{e9}\"", "headers.x-a: this is no field value"),
            ("[headers]\ncontent-length = \"1\"", "headers.content-length: this field belongs to one connection"),
            ("[headers]\nConnection = \"close\"", "headers.Connection: this field belongs to one connection"),
            ("[headers]\nx-request-id = \"1\"", "headers.x-request-id: this field belongs"),
            ("hsts_subdomains = true", "hsts_subdomains: nothing is said of hosts; write hsts = \"365d\" too"),
        ] {
            let fault = build(toml).err().unwrap();
            assert!(fault.contains(part), "{toml}: {fault}");
        }
        let many: String = (0..33).map(|n| format!("x-{n} = \"1\"\n")).collect();
        assert!(build(&format!("[headers]\n{many}")).err().unwrap().contains("33 fields are too many"));
    }
}
