//! What the gate has to know of gRPC over HTTP/2 (grpc.io, "gRPC over HTTP2"): which messages are its, and a call's
//! deadline.

use http::{HeaderMap, header};
use std::time::Duration;

const TYPE: &[u8] = b"application/grpc";

/// Whether a request or response is of gRPC: `application/grpc`, or with `+proto` and the like behind it. gRPC-Web
/// (`application/grpc-web`), which carries its trailers in the body, is not.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    kind.get(..TYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(TYPE))
        && matches!(kind.get(TYPE.len()), None | Some(b'+' | b';' | b' '))
}

/// How long the client waits for a call: `grpc-timeout`, up to eight digits and a unit. What is written otherwise says
/// nothing; the replica refuses it.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(n * 3600)),
        "M" => Some(Duration::from_secs(n * 60)),
        "S" => Some(Duration::from_secs(n)),
        "m" => Some(Duration::from_millis(n)),
        "u" => Some(Duration::from_micros(n)),
        "n" => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn grpc_is_told_from_what_looks_like_it() {
        for (kind, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpcx", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(&with("content-type", kind)), is, "{kind}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn deadlines_are_digits_and_a_unit() {
        for (text, millis) in [
            ("1H", Some(3_600_000)),
            ("2M", Some(120_000)),
            ("3S", Some(3_000)),
            ("4m", Some(4)),
            ("5000u", Some(5)),
            ("6000000n", Some(6)),
            ("99999999H", Some(359_999_996_400_000)),
            ("123456789m", None),
            ("m", None),
            ("", None),
            ("+1m", None),
            ("1s", None),
            ("1é", None),
        ] {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-timeout"),
                HeaderValue::from_bytes(text.as_bytes()).unwrap(),
            )]);
            assert_eq!(timeout(&headers).map(|t| t.as_millis()), millis, "{text}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }
}
