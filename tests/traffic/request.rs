//! One request in pieces, and how texts are written where they stand in it.

use std::fmt::Write as _;

/// A request over HTTP/1.1. `host` and `content-length` are added when it is written.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(method: &'static str, target: impl Into<String>) -> Self {
        Self { method, target: target.into(), fields: Vec::new(), body: None }
    }

    pub(crate) fn field(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// Sets a field that may be there already.
    pub(crate) fn instead(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
        self.field(name, value)
    }

    pub(crate) fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.instead("content-type", kind)
    }

    pub(crate) fn json(self, body: impl Into<Vec<u8>>) -> Self {
        self.body("application/json", body)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: archon.example.org\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            let _ = write!(head, "content-length: {}\r\n", body.len());
        } else if self.method == "POST" {
            head.push_str("content-length: 0\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// Percent-encoding of all but RFC 3986's unreserved characters and `keep`.
pub(crate) fn percent(text: &str, keep: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-._~".contains(c) || c.is_ascii() && keep.contains(c) {
            out.push(c);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// As browsers write a query parameter's value, with `+` for a space.
pub(crate) fn query(text: &str) -> String {
    percent(text, " ").replace(' ', "+")
}

/// A JSON string, all beyond ASCII as it is (as browsers send it) or as `\uXXXX` (as Python does).
pub(crate) fn json(text: &str, ascii: bool) -> String {
    let raw = serde_json::to_string(text).unwrap();
    if !ascii {
        return raw;
    }
    let mut out = String::with_capacity(raw.len());
    let mut units = [0; 2];
    for c in raw.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// A multipart form (RFC 7578), as browsers write names: `"` and line ends percent-encoded.
pub(crate) struct Form {
    boundary: String,
    out: Vec<u8>,
}

impl Form {
    pub(crate) fn new(boundary: String) -> Self {
        Self { boundary, out: Vec::new() }
    }

    fn head(&mut self, name: &str, more: &str) {
        let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A").replace('\0', "%00");
        let head = format!("--{}\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n", self.boundary);
        self.out.extend_from_slice(head.as_bytes());
    }

    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        self.head(name, "");
        self.out.extend_from_slice(value.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self
    }

    pub(crate) fn file(mut self, name: &str, file: &str, kind: &str, content: &[u8]) -> Self {
        let file = file.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A").replace('\0', "%00");
        self.head(name, &format!("; filename=\"{file}\"\r\nContent-Type: {kind}"));
        self.out.extend_from_slice(content);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Makes it the body of a request.
    pub(crate) fn on(mut self, request: Request) -> Request {
        self.out.extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        request.body(&format!("multipart/form-data; boundary={}", self.boundary), self.out)
    }
}
