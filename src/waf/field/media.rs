//! Media types as a policy names them: `application/json`, `text/*`, `*/*`.
//!
//! Compared without regard to case and without parameters (RFC 9110 sections 8.3.1 and 12.5.1). What is no media type
//! fits no range but `*/*`.

use std::fmt;

/// A media type, or all subtypes of one, or every one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MediaRange {
    /// Lower case; `*` for every one.
    kind: Box<str>,
    /// Lower case; `*` for every one.
    subtype: Box<str>,
}

impl MediaRange {
    /// Reads a range without parameters.
    ///
    /// # Errors
    /// Where in the text, in bytes, what is wrong, and the mend.
    pub fn parse(text: &str) -> Result<Self, (usize, String, String)> {
        let form = || "write it as \"application/json\" or \"text/*\"".to_owned();
        if let Some(at) = text.find(';') {
            return Err((at, "a media type is named without parameters".to_owned(), form()));
        }
        let Some((kind, subtype)) = text.split_once('/') else {
            return Err((0, format!("{text:?} is no media type"), form()));
        };
        let known = |part: &str| part == "*" || (!part.is_empty() && part.bytes().all(is_token));
        if !known(kind) {
            return Err((0, format!("{text:?} is no media type"), form()));
        }
        if !known(subtype) || (kind == "*" && subtype != "*") || (subtype != "*" && subtype.contains('*')) {
            return Err((kind.len() + 1, format!("{text:?} is no media type"), form()));
        }
        Ok(Self { kind: kind.to_ascii_lowercase().into(), subtype: subtype.to_ascii_lowercase().into() })
    }

    /// Whether the value of a Content-Type field is in the range. No allocation, linear in the value.
    pub fn fits(&self, content_type: &[u8]) -> bool {
        if &*self.kind == "*" {
            return true;
        }
        let essence = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let mut parts = essence.splitn(2, |b| *b == b'/');
        let (kind, subtype) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let subtype_fits = match &*self.subtype {
            "*" => !subtype.is_empty(),
            own => own.as_bytes().eq_ignore_ascii_case(subtype),
        };
        subtype_fits && self.kind.as_bytes().eq_ignore_ascii_case(kind)
    }
}

impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.subtype)
    }
}

/// A character of a token (RFC 9110 section 5.6.2).
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_a_range() {
        for (range, value, fits) in [
            ("application/json", "application/json", true),
            ("application/json", "Application/JSON; charset=utf-8", true),
            ("application/json", " application/json ;x", true),
            ("application/json", "application/jsonp", false),
            ("application/json", "application/json/x", false),
            ("application/json", "", false),
            ("text/*", "text/markdown", true),
            ("text/*", "text/", false),
            ("text/*", "text", false),
            ("text/*", "application/json", false),
            ("*/*", "", true),
        ] {
            assert_eq!(MediaRange::parse(range).unwrap().fits(value.as_bytes()), fits, "{range} {value}");
        }
    }

    #[test]
    fn faults_have_a_place() {
        for (text, at) in
            [("json", 0), ("", 0), ("/json", 0), ("text/", 5), ("text/x y", 5), ("text/x; q=1", 6), ("*/json", 2)]
        {
            assert_eq!(MediaRange::parse(text).unwrap_err().0, at, "{text}");
        }
    }
}
