//! Requests made again from events: what was recorded of one, and the same with one field's value replaced.
//!
//! An event holds the target and the header fields, but of a body only what rules matched in it. A body is made of these
//! values alone, in the form its `Content-Type` names. What was masked or cut is not made up: such a request cannot be
//! rebuilt, and a proof says how many could.

use super::event::{Record, altered};
use super::field::{Field, Place};
use serde_json::Value;

/// Items of a JSON array that are made at most: an index of a client's is not a size.
const MAX_ITEMS: usize = 16;
/// Nesting of a JSON body at most.
const MAX_DEPTH: usize = 32;

impl Record {
    /// The first value of a header field, as text.
    pub(super) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok()).unwrap_or_default()
    }

    /// The media type of its body.
    pub(super) fn content_type(&self) -> String {
        self.header("content-type").split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Its path as it came.
    pub(super) fn path(&self) -> &[u8] {
        self.target.split(|b| *b == b'?').next().unwrap_or_default()
    }

    /// Its query parameters, decoded.
    pub(super) fn query(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let Some(at) = memchr::memchr(b'?', &self.target) else { return Vec::new() };
        let query = self.target.get(at + 1..).unwrap_or_default();
        let pairs = query.split(|b| *b == b'&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, value) =
                    pair.split_at_checked(memchr::memchr(b'=', pair).unwrap_or(pair.len())).unwrap_or((pair, &[]));
                (decoded(name), decoded(value.get(1..).unwrap_or_default()))
            })
            .collect()
    }

    /// The values of a field, as far as the event has them whole.
    pub(super) fn values(&self, field: &Field) -> Vec<Vec<u8>> {
        let mut values: Vec<Vec<u8>> = match field.place {
            Place::Query => {
                let of_name = |(name, _): &(Vec<u8>, Vec<u8>)| name == field.name.as_bytes();
                self.query().into_iter().filter(of_name).map(|(_, value)| value).collect()
            }
            Place::Header => {
                let of_name = |(name, _): &&(String, Vec<u8>)| name.eq_ignore_ascii_case(&field.name);
                self.headers.iter().filter(of_name).map(|(_, value)| value.clone()).collect()
            }
            Place::Cookie => Vec::new(),
            Place::Form | Place::Json => {
                let of_field = |(known, ..): &&(Field, String, Vec<u8>)| known == field;
                self.body_values().iter().filter(of_field).map(|(.., value)| value.clone()).collect()
            }
        };
        values.retain(|value| !altered(value));
        values
    }

    /// What rules matched in the body: field, name as the rule saw it, value. Of several values of one name the longest,
    /// which the least was taken away from by transformations.
    fn body_values(&self) -> Vec<(Field, String, Vec<u8>)> {
        let mut values: Vec<(Field, String, Vec<u8>)> = Vec::new();
        for hit in &self.rules {
            let Some((field, _)) = Field::of_variable(&hit.variable, self) else { continue };
            if !matches!(field.place, Place::Form | Place::Json) {
                continue;
            }
            let variable = String::from_utf8_lossy(&hit.variable);
            let name = variable.split_once(':').map_or("", |(_, name)| name).to_owned();
            match values.iter_mut().find(|(_, known, _)| *known == name) {
                Some((.., value)) if value.len() >= hit.value.len() => {}
                Some((.., value)) => value.clone_from(&hit.value),
                None => values.push((field, name, hit.value.clone())),
            }
        }
        values
    }

    /// The request as it was, or none if the event does not say enough of it.
    pub(super) fn rebuilt(&self) -> Option<Vec<u8>> {
        let body = self.body_values();
        (body.iter().all(|(.., value)| !altered(value)) && (body.len() + usize::from(self.body_bytes == 0) > 0))
            .then(|| self.made(None))
            .flatten()
    }

    /// The request with this field's value replaced, or the field added.
    pub(super) fn with(&self, field: &Field, value: &[u8]) -> Option<Vec<u8>> {
        self.made(Some((field, value)))
    }

    fn made(&self, put: Option<(&Field, &[u8])>) -> Option<Vec<u8>> {
        let put_in = |place: Place| put.filter(|(field, _)| field.place == place);
        let token = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
        if !token(&self.target) || !token(self.method.as_bytes()) {
            return None;
        }
        let mut target = self.target.clone();
        if let Some((field, value)) = put_in(Place::Query) {
            let mut pairs = self.query();
            pairs.retain(|(name, _)| name != field.name.as_bytes());
            pairs.push((field.name.clone().into_bytes(), value.to_vec()));
            target = [self.path(), b"?", &form(pairs.iter().map(|(n, v)| (n.as_slice(), v.as_slice())))].concat();
        }
        let (kind, body) = self.body(put)?;
        let mut out = [self.method.as_bytes(), b" ", &target, b" HTTP/1.1\r\n"].concat();
        let mut add = |name: &str, value: &[u8]| {
            if !value.iter().any(u8::is_ascii_control) {
                out.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
            }
        };
        add("host", if self.host.is_empty() { b"localhost" } else { self.host.as_bytes() });
        const FRAMING: [&str; 9] = [
            "host",
            "content-length",
            "transfer-encoding",
            "content-type",
            "connection",
            "expect",
            "te",
            "upgrade",
            "content-encoding",
        ];
        let replaced = put_in(Place::Header).map_or("", |(field, _)| &field.name);
        for (name, value) in &self.headers {
            let own = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if own && !FRAMING.contains(&name.as_str()) && !name.eq_ignore_ascii_case(replaced) {
                add(name, value);
            }
        }
        if let Some((field, value)) = put_in(Place::Header) {
            add(&field.name, value);
        }
        if let Some((field, value)) = put_in(Place::Cookie) {
            add("cookie", &[field.name.as_bytes(), b"=", &encoded(value)].concat());
        }
        if let Some(kind) = kind {
            add("content-type", kind.as_bytes());
            add("content-length", body.len().to_string().as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&body);
        Some(out)
    }

    /// A body of what is known, and its media type.
    fn body(&self, put: Option<(&Field, &[u8])>) -> Option<(Option<String>, Vec<u8>)> {
        let mut values: Vec<(String, Vec<u8>)> = self
            .body_values()
            .into_iter()
            .filter(|(field, ..)| put.is_none_or(|(replaced, _)| field != replaced))
            .map(|(_, name, value)| (name, value))
            .collect();
        if let Some((field, value)) = put.filter(|(field, _)| matches!(field.place, Place::Form | Place::Json)) {
            let name = match field.place {
                Place::Json if field.name.is_empty() => "json".to_owned(),
                Place::Json => format!("json.{}", field.name),
                _ => field.name.clone(),
            };
            values.push((name, value.to_vec()));
        }
        let kind = self.content_type();
        if kind.contains("json") {
            let mut tree = Value::Null;
            for (name, value) in &values {
                let text = std::str::from_utf8(value).ok()?;
                plant(&mut tree, name.split('.').skip(1).take(MAX_DEPTH), text);
            }
            return Some((Some(kind), if values.is_empty() { Vec::new() } else { tree.to_string().into_bytes() }));
        }
        if values.is_empty() {
            return Some((None, Vec::new()));
        }
        if kind == "multipart/form-data" {
            const BOUNDARY: &str = "gatehouse-tune-9b1f0c7d";
            let mut body = Vec::new();
            for (name, value) in &values {
                if name.contains('"') || memchr::memmem::find(value, BOUNDARY.as_bytes()).is_some() {
                    return None;
                }
                let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
                body.extend_from_slice(&[head.as_bytes(), value, b"\r\n"].concat());
            }
            body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
            return Some((Some(format!("{kind}; boundary={BOUNDARY}")), body));
        }
        let kind = "application/x-www-form-urlencoded".to_owned();
        Some((Some(kind), form(values.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))))
    }
}

/// Puts a text into a tree, making objects and arrays on the way; what is in the way of another is left.
fn plant<'a>(tree: &mut Value, mut path: impl Iterator<Item = &'a str>, text: &str) {
    let mut at = tree;
    for part in path.by_ref() {
        let item = part == "*" || !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if at.is_null() {
            *at = if item { Value::Array(Vec::new()) } else { Value::Object(serde_json::Map::new()) };
        }
        at = match at {
            Value::Array(items) => {
                let index = part.parse().unwrap_or(0).min(items.len()).min(MAX_ITEMS);
                if index == items.len() {
                    items.push(Value::Null);
                }
                match items.get_mut(index) {
                    Some(item) => item,
                    None => return,
                }
            }
            Value::Object(members) => members.entry(part).or_insert(Value::Null),
            _ => return,
        };
    }
    if at.is_null() {
        *at = Value::String(text.to_owned());
    }
}

fn form<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    pairs.map(|(name, value)| [encoded(name), encoded(value)].join(&b'=')).collect::<Vec<_>>().join(&b'&')
}

fn encoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'*' => out.push(*byte),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    out
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        let byte = (first == b'%')
            .then(|| behind.get(..2))
            .flatten()
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(byte.unwrap_or(if first == b'+' { b' ' } else { first }));
        rest = if byte.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::event::RuleHit;
    use super::*;

    fn record(kind: &str, hits: &[(&str, &str)]) -> Record {
        Record {
            method: "POST".to_owned(),
            target: b"/a/b?x=1%202&x=3".to_vec(),
            host: "h".to_owned(),
            headers: vec![
                ("content-type".to_owned(), kind.as_bytes().to_vec()),
                ("content-length".to_owned(), b"999".to_vec()),
                ("x-note".to_owned(), b"n".to_vec()),
            ],
            body_bytes: 9,
            rules: hits
                .iter()
                .map(|(variable, value)| RuleHit {
                    id: 1,
                    variable: variable.as_bytes().to_vec(),
                    value: value.as_bytes().to_vec(),
                })
                .collect(),
            ..Record::default()
        }
    }

    fn sent(raw: Option<Vec<u8>>) -> String {
        String::from_utf8(raw.unwrap()).unwrap()
    }

    #[test]
    fn bodies_are_made_of_what_rules_matched() {
        let hits = [("ARGS:json.a.7.b", "x"), ("ARGS:json.a.7.b", "x y"), ("ARGS:json.c", "\"z"), ("ARGS:x", "3")];
        let json = sent(record("application/json; charset=utf-8", &hits).rebuilt());
        assert!(json.starts_with("POST /a/b?x=1%202&x=3 HTTP/1.1\r\nhost: h\r\nx-note: n\r\n"), "{json}");
        assert!(json.ends_with("content-length: 29\r\n\r\n{\"a\":[{\"b\":\"x y\"}],\"c\":\"\\\"z\"}"), "{json}");
        let form = sent(record("application/x-www-form-urlencoded", &[("ARGS:n", "a b&c")]).rebuilt());
        assert!(form.ends_with("content-length: 11\r\n\r\nn=a%20b%26c"), "{form}");
        let parts = sent(record("multipart/form-data; boundary=x", &[("ARGS_POST:n", "v")]).rebuilt());
        assert!(parts.contains("name=\"n\"\r\n\r\nv\r\n--") && parts.ends_with("--\r\n"), "{parts}");
    }

    #[test]
    fn what_is_masked_or_unknown_is_not_made_up() {
        assert_eq!(record("application/json", &[]).rebuilt(), None);
        assert_eq!(record("application/json", &[("ARGS:json.a", "***")]).rebuilt(), None);
        assert_eq!(record("application/json", &[("ARGS:json.a", "b…[+9 bytes]")]).rebuilt(), None);
        let split = Record { target: b"/a HTTP/1.1\r\nx: y".to_vec(), ..record("", &[("ARGS:a", "b")]) };
        assert_eq!(split.rebuilt(), None);
    }

    #[test]
    fn one_field_is_replaced_where_it_stands() {
        let record = record("application/json", &[("ARGS:json.a", "old"), ("ARGS:json.b", "kept")]);
        for (place, name, part) in [
            ("query", "x", "POST /a/b?x=%27 HTTP/1.1"),
            ("query", "y", "POST /a/b?x=1%202&x=3&y=%27 HTTP/1.1"),
            ("json", "json.a", "{\"a\":\"'\",\"b\":\"kept\"}"),
            ("json", "json.l.0", "\"l\":[\"'\"]"),
            ("header", "x-note", "x-note: '\r\n"),
            ("cookie", "c", "cookie: c=%27\r\n"),
        ] {
            let raw = sent(record.with(&Field::of_note(place, name).unwrap(), b"'"));
            assert!(raw.contains(part) && !raw.contains("x-note: n\r\nx-note"), "{part}\n{raw}");
        }
        assert_eq!(record.values(&Field::of_note("query", "x").unwrap()), [b"1 2".to_vec(), b"3".to_vec()]);
        assert_eq!(record.values(&Field::of_note("json", "json.b").unwrap()), [b"kept".to_vec()]);
    }
}
