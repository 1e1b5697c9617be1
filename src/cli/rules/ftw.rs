//! Regression tests in the form of go-ftw (schema v2): what a file says, the bytes a stage sends, the backend's answer.

use super::front::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize as Derive;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::fmt;
use std::path::{Path, PathBuf};

/// A test file.
#[derive(Debug, Derive)]
pub(in crate::cli) struct File {
    #[serde(default)]
    pub(in crate::cli) rule_id: Option<u64>,
    #[serde(default)]
    pub(in crate::cli) tests: Vec<Test>,
}

/// A test: its stages in order.
#[derive(Debug, Derive)]
pub(in crate::cli) struct Test {
    pub(in crate::cli) test_id: u64,
    #[serde(default = "yes")]
    pub(in crate::cli) enabled: bool,
    pub(in crate::cli) stages: Vec<Stage>,
}

/// One request and what is expected.
#[derive(Debug, Derive)]
pub(in crate::cli) struct Stage {
    pub(in crate::cli) input: Input,
    #[serde(default)]
    pub(in crate::cli) output: Output,
}

/// A request.
#[derive(Debug, Derive)]
#[serde(default)]
pub(in crate::cli) struct Input {
    method: String,
    uri: String,
    version: String,
    headers: Fields,
    data: Option<String>,
    encoded_data: Option<String>,
    encoded_request: Option<String>,
    autocomplete_headers: Option<bool>,
    stop_magic: Option<bool>,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            uri: "/".to_owned(),
            version: "HTTP/1.1".to_owned(),
            headers: Fields::default(),
            data: None,
            encoded_data: None,
            encoded_request: None,
            autocomplete_headers: None,
            stop_magic: None,
        }
    }
}

/// Header fields in the file's order.
#[derive(Debug, Default)]
struct Fields(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("header fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry::<String, Option<String>>()? {
                    fields.push((field.0, field.1.unwrap_or_default()));
                }
                Ok(Fields(fields))
            }

            fn visit_unit<E>(self) -> Result<Fields, E> {
                Ok(Fields::default())
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// What is expected; all of it.
#[derive(Debug, Clone, Default, Derive)]
#[serde(default)]
pub(in crate::cli) struct Output {
    pub(in crate::cli) status: Option<u16>,
    pub(in crate::cli) expect_error: Option<bool>,
    pub(in crate::cli) log: Log,
    pub(in crate::cli) log_contains: Option<String>,
    pub(in crate::cli) no_log_contains: Option<String>,
}

/// What is expected of the log.
#[derive(Debug, Clone, Default, Derive)]
#[serde(default)]
pub(in crate::cli) struct Log {
    pub(in crate::cli) expect_ids: Vec<u64>,
    pub(in crate::cli) no_expect_ids: Vec<u64>,
    pub(in crate::cli) match_regex: Option<String>,
    pub(in crate::cli) no_match_regex: Option<String>,
}

/// Expectations of one platform.
#[derive(Debug, Default, Derive)]
pub(in crate::cli) struct Overrides {
    #[serde(default)]
    pub(in crate::cli) test_overrides: Vec<Override>,
}

/// Expectations that take the place of a test's own.
#[derive(Debug, Derive)]
pub(in crate::cli) struct Override {
    pub(in crate::cli) rule_id: u64,
    pub(in crate::cli) test_ids: Vec<u64>,
    #[serde(default)]
    pub(in crate::cli) stage_ids: Vec<usize>,
    #[serde(default)]
    pub(in crate::cli) output: Output,
}

fn yes() -> bool {
    true
}

/// The YAML files that paths name: themselves, or all beneath a folder.
///
/// # Errors
/// A place that cannot be read, in words.
pub(in crate::cli) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for path in paths {
        walk(path, &mut found)?;
    }
    found.sort();
    Ok(found)
}

fn walk(path: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let fault = |e: std::io::Error| format!("{}: {e}", path.display());
    if !path.is_dir() {
        std::fs::metadata(path).map_err(fault)?;
        found.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(fault)? {
        let entry = entry.map_err(fault)?.path();
        if entry.is_dir() {
            walk(&entry, found)?;
        } else if entry.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            found.push(entry);
        }
    }
    Ok(())
}

/// Reads a file of type `T`.
///
/// # Errors
/// What is wrong, with the file's name and the place.
pub(in crate::cli) fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_saphyr::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

impl Input {
    /// The bytes to send.
    ///
    /// # Errors
    /// Base64 that is none.
    pub(in crate::cli) fn bytes(&self) -> Result<Vec<u8>, String> {
        let decode = |text: &str| {
            let text: String = text.split_ascii_whitespace().collect();
            STANDARD.decode(text).map_err(|e| format!("this is no base64: {e}"))
        };
        if let Some(whole) = &self.encoded_request {
            return decode(whole);
        }
        let automatic = self.autocomplete_headers.unwrap_or(!self.stop_magic.unwrap_or(false));
        let mut fields = self.headers.0.clone();
        let has = |fields: &[(String, String)], name: &str| fields.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut data = match (&self.encoded_data, &self.data) {
            (Some(encoded), _) => decode(encoded)?,
            (None, Some(text)) => repeated(text).into_bytes(),
            (None, None) => Vec::new(),
        };
        const FORM: &str = "application/x-www-form-urlencoded";
        if automatic && !data.is_empty() && !has(&fields, "content-type") {
            fields.push(("Content-Type".to_owned(), FORM.to_owned()));
        }
        let kind = fields.iter().find(|(n, _)| n.eq_ignore_ascii_case("content-type")).map(|(_, v)| v.clone());
        let kind = kind.unwrap_or_default();
        if automatic && kind == FORM && !data.iter().any(|b| matches!(b, b'%' | b'+')) {
            data = form_encoded(&data);
        }
        if kind.starts_with("multipart/form-data;") {
            data = with_crlf(&data);
        }
        if automatic {
            if !has(&fields, "connection") {
                fields.push(("Connection".to_owned(), "close".to_owned()));
            }
            let sends = matches!(self.method.as_str(), "POST" | "PUT" | "PATCH" | "DELETE");
            let framed = has(&fields, "content-length") || has(&fields, "transfer-encoding");
            if (sends || !data.is_empty()) && !framed {
                fields.push(("Content-Length".to_owned(), data.len().to_string()));
            }
        }
        let mut out = format!("{} {} {}\r\n", self.method, self.uri, self.version).into_bytes();
        for (name, value) in &fields {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&data);
        Ok(out)
    }
}

/// `{{ "x" | repeat 3 }}` as `xxx`: of the templates that data may hold the one that tests use.
fn repeated(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inside, behind)) = after.split_once("}}") else { break };
        out.push_str(before);
        let expanded = inside.split_once('|').and_then(|(what, how)| {
            let what = what.trim().strip_prefix('"')?.strip_suffix('"')?;
            let count: usize = how.trim().strip_prefix("repeat")?.trim().parse().ok()?;
            (what.len().checked_mul(count)? <= 64 << 20).then(|| what.repeat(count))
        });
        match expanded {
            Some(expanded) => out.push_str(&expanded),
            None => out.push_str(&format!("{{{{{inside}}}}}")),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// Names and values percent-encoded, as an HTML form sends them (blanks as `+`).
fn form_encoded(data: &[u8]) -> Vec<u8> {
    let encode = |part: &[u8]| {
        let mut out = Vec::with_capacity(part.len());
        for byte in part {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(*byte),
                b' ' => out.push(b'+'),
                _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            }
        }
        out
    };
    let pairs = data.split(|b| *b == b'&').map(|pair| match pair.iter().position(|b| *b == b'=') {
        Some(at) => {
            let (name, value) = pair.split_at_checked(at).unwrap_or((pair, &[]));
            [encode(name), b"=".to_vec(), encode(value.get(1..).unwrap_or_default())].concat()
        }
        None => encode(pair),
    });
    pairs.collect::<Vec<_>>().join(&b'&')
}

fn with_crlf(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 16);
    let mut before = 0;
    for &byte in data {
        if byte == b'\n' && before != b'\r' {
            out.push(b'\r');
        }
        out.push(byte);
        before = byte;
    }
    out
}

/// What go-ftw's reflecting backend answers.
pub(in crate::cli) fn reflect(method: &[u8], target: &[u8], body: &[u8]) -> Response {
    let plain = |status: u16, body: &str| Response { status, headers: Vec::new(), body: body.into() }.typed();
    let path = target.split(|b| *b == b'?').next().unwrap_or_default();
    if method != b"POST" || path != b"/reflect" {
        return plain(200, "");
    }
    let Ok(said) = serde_json::from_slice::<serde_json::Value>(body) else {
        return plain(400, "Invalid JSON in request body");
    };
    let text = |key: &str| said.get(key).and_then(|v| v.as_str());
    let status = said.get("status").and_then(serde_json::Value::as_u64).unwrap_or(200);
    let Some(status) = u16::try_from(status).ok().filter(|s| (100..600).contains(s)) else {
        return plain(400, "Invalid status");
    };
    let body = match text("encodedBody").map(|encoded| STANDARD.decode(encoded)) {
        Some(Ok(bytes)) => bytes,
        Some(Err(_)) => return plain(400, "Invalid body"),
        None => text("body").unwrap_or_default().into(),
    };
    let fields = said.get("headers").and_then(|h| h.as_object()).into_iter().flatten();
    let headers = fields.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    Response { status, headers, body }.typed()
}

impl Response {
    /// With a Content-Type, guessed from the body where none is given.
    fn typed(mut self) -> Self {
        if !self.body.is_empty() && !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            let start = self.body.trim_ascii_start();
            let html = [
                &b"<!doctype html"[..],
                b"<html",
                b"<head",
                b"<script",
                b"<iframe",
                b"<h1",
                b"<div",
                b"<font",
                b"<table",
                b"<a",
                b"<style",
                b"<title",
                b"<b",
                b"<body",
                b"<br",
                b"<p",
                b"<!--",
            ];
            let is_html = html.iter().any(|tag| {
                let ends = start.get(tag.len()).is_none_or(|b| matches!(b, b' ' | b'>')) || *tag == b"<!--";
                ends && start.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag))
            });
            let binary = |b: &u8| matches!(b, 0..=8 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F);
            let kind = match (is_html, self.body.iter().take(512).any(binary)) {
                (true, _) => "text/html; charset=utf-8",
                (false, false) => "text/plain; charset=utf-8",
                (false, true) => "application/octet-stream",
            };
            self.headers.push(("Content-Type".to_owned(), kind.to_owned()));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_completed_as_go_ftw_does() {
        let text = "rule_id: 1\ntests:\n  - test_id: 2\n    stages:\n      - input:\n          method: POST\n          \
                    headers: {Host: h, X-B: 7, X-A: yes}\n          data: \"a=<b c>&d\"\n        output: {log: \
                    {expect_ids: [5]}}\n";
        let file: File = serde_saphyr::from_str(text).unwrap();
        let bytes = file.tests[0].stages[0].input.bytes().unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "POST / HTTP/1.1\r\nHost: h\r\nX-B: 7\r\nX-A: yes\r\nContent-Type: \
             application/x-www-form-urlencoded\r\nConnection: close\r\nContent-Length: 13\r\n\r\na=%3Cb+c%3E&d"
        );
        assert_eq!(file.tests[0].stages[0].output.log.expect_ids, [5]);
        assert_eq!(repeated(r#"a{{ "xy" | repeat 3 }}b{{ z }}"#), "axyxyxyb{{ z }}");
        assert_eq!(with_crlf(b"a\nb\r\n"), b"a\r\nb\r\n");
    }

    #[test]
    fn the_backend_reflects() {
        let answer = reflect(b"POST", b"/reflect", br#"{"status":201,"body":"<html>","headers":{"x":"y"}}"#);
        assert_eq!((answer.status, answer.body.as_slice()), (201, &b"<html>"[..]));
        assert_eq!(
            answer.headers,
            [("x".into(), "y".into()), ("Content-Type".into(), "text/html; charset=utf-8".into())]
        );
        assert_eq!(reflect(b"POST", b"/reflect", b"no").status, 400);
        assert_eq!(reflect(b"GET", b"/reflect", b"{}").body, b"");
    }
}
