//! Which fields end at the gate (RFC 9110 section 7.6.1): they speak of one connection, not of the message.

use super::bytes::list;
use http::header::{self, HeaderMap, HeaderName};

/// Fields of one hop, whether `Connection` names them or not.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Fields every recipient needs: a `Connection` that names one would have the gate cut it away from the replica, so the
/// request is refused instead (RFC 9110 section 7.6.1: a sender must not nominate them).
const END_TO_END: [&str; 13] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "authorization",
    "cookie",
    "cache-control",
    "range",
    "expect",
    "date",
    "origin",
    "max-forwards",
];

/// Whether `Connection` may not nominate this field.
pub(super) fn is_end_to_end(name: &[u8]) -> bool {
    END_TO_END.iter().any(|field| name.eq_ignore_ascii_case(field.as_bytes()))
}

/// Whether the field always ends here.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(&name.as_str())
}

/// The fields to remove before a message goes on, in either direction: those of one hop and those its `Connection`
/// fields nominate. Call it before the gate sets fields of its own, so that a client cannot nominate those away.
pub fn fields(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut out: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    for nominated in headers.get_all(header::CONNECTION).iter().flat_map(|value| list(value.as_bytes())) {
        // Options such as `close` name no field; a name that is no token cannot be one.
        if let Ok(name) = HeaderName::from_bytes(nominated)
            && headers.contains_key(&name)
            && !is_end_to_end(nominated)
            && !out.contains(&name)
        {
            out.push(name);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hop_fields_and_nominated_ones_go() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "a"),
            ("connection", "close, X-Hop, Host"),
            ("connection", "x-other,,"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("te", "trailers"),
            ("keep-alive", "timeout=5"),
            ("x-stays", "1"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let mut gone: Vec<_> = fields(&headers).iter().map(|n| n.as_str().to_owned()).collect();
        gone.sort();
        assert_eq!(gone, ["connection", "keep-alive", "te", "x-hop", "x-other"]);
    }
}
