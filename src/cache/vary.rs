//! `Vary`: which request fields chose the stored response (RFC 9111 section 4.1).
//!
//! A response whose `Vary` is `*`, unreadable, or longer than [`MAX_FIELDS`] is never stored. Neither is one that
//! varies by a field that the gate itself sets for the replica: what the client sent under that name is not what the
//! replica saw, so a variant chosen by it would be shared by everybody.

use super::directives::is_token;
use super::key::{Hash, frame, hash};
use http::HeaderMap;
use http::header::{HeaderName, VARY};

/// Most field names a stored response may vary by.
pub const MAX_FIELDS: usize = 10;

/// What a response varies by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vary {
    /// These fields, sorted, each once; none when it is empty.
    Fields(Vec<HeaderName>),
    /// `*`, a bad name, or too many: no request can be shown to match.
    Unmatchable,
}

/// Reads every `Vary` line.
pub fn read(headers: &HeaderMap) -> Vary {
    let mut fields: Vec<HeaderName> = Vec::new();
    for line in headers.get_all(VARY) {
        for name in line.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()) {
            // `*` is a token too, hence the first test.
            match HeaderName::from_bytes(name) {
                Ok(field) if name != b"*" && name.iter().copied().all(is_token) => {
                    if !fields.contains(&field) {
                        fields.push(field);
                    }
                }
                _ => return Vary::Unmatchable,
            }
            if fields.len() > MAX_FIELDS {
                return Vary::Unmatchable;
            }
        }
    }
    fields.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    Vary::Fields(fields)
}

/// The variant a request asks for, `None` where the response does not vary. Two requests have one variant when each
/// field is absent from both or equal in both, its lines joined and the space around commas left out.
pub fn variant(fields: &[HeaderName], request: &HeaderMap) -> Option<Hash> {
    if fields.is_empty() {
        return None;
    }
    let mut framed = Vec::with_capacity(fields.len() * 48);
    for field in fields {
        frame(&mut framed, field.as_str().as_bytes());
        framed.push(u8::from(request.contains_key(field)));
        let mut value = Vec::new();
        let members = request.get_all(field).into_iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
        for member in members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()) {
            if !value.is_empty() {
                value.push(b',');
            }
            value.extend_from_slice(member);
        }
        frame(&mut framed, &value);
    }
    Some(hash(&framed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut all = HeaderMap::new();
        for (name, value) in lines {
            all.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        all
    }

    #[test]
    fn rfc9111_4_1_vary_star_matches_nothing() {
        for text in ["*", "Accept, *", " * ", "Accept,*,Origin", "a b", "a:b", "\"x\"", "a,b,c,d,e,f,g,h,i,j,k"] {
            assert_eq!(read(&headers(&[("vary", text)])), Vary::Unmatchable, "{text}");
        }
        assert_eq!(read(&headers(&[("vary", "accept"), ("vary", "*")])), Vary::Unmatchable);
    }

    #[test]
    fn names_are_sorted_and_counted_once() {
        let one = read(&headers(&[("vary", "Origin, accept-encoding"), ("vary", "ACCEPT-ENCODING,,")]));
        assert_eq!(one, read(&headers(&[("vary", "Accept-Encoding, origin")])));
        assert_eq!(read(&headers(&[])), Vary::Fields(Vec::new()));
        assert_eq!(read(&headers(&[("vary", " , ")])), Vary::Fields(Vec::new()));
    }

    #[test]
    fn rfc9111_4_1_matching_fields() {
        let fields = [HeaderName::from_static("accept-encoding"), HeaderName::from_static("origin")];
        let of = |lines: &[(&str, &str)]| variant(&fields, &headers(lines));
        let base = of(&[("accept-encoding", "gzip, br")]);
        for same in [
            &[("accept-encoding", "gzip,br")][..],
            &[("accept-encoding", "gzip ,\tbr")],
            &[("accept-encoding", "gzip"), ("accept-encoding", "br")],
            &[("accept-encoding", "gzip, br"), ("x-other", "1")],
        ] {
            assert_eq!(base, of(same), "{same:?}");
        }
        for other in [
            &[][..],
            &[("accept-encoding", "br, gzip")],
            &[("accept-encoding", "gzip, Br")],
            &[("accept-encoding", "")],
            &[("accept-encoding", "gzip, br"), ("origin", "https://a.test")],
            &[("accept-encoding", "gzip, br"), ("origin", "")],
            &[("origin", "gzip, br")],
        ] {
            assert_ne!(base, of(other), "{other:?}");
        }
        assert_ne!(of(&[]), of(&[("origin", "")]), "absent is not empty");
        assert_eq!(variant(&[], &headers(&[])), None);
    }

    #[test]
    fn different_field_sets_never_share_a_variant() {
        let request = headers(&[]);
        let one = variant(&[HeaderName::from_static("accept")], &request);
        assert_ne!(one, variant(&[HeaderName::from_static("origin")], &request));
    }
}
