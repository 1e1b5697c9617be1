//! Whole transactions of the reference's own regression suite, where `GATEHOUSE_SECLANG_VECTORS` names its folder.
//!
//! Of a case's expectations these are kept: whether the rules load, the status, where a redirect leads, and which rules
//! with which message are logged. Wording of logs that is no part of the language is left out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use gatehouse_waf::files::{Disk, Files};
use gatehouse_waf::{AuditEngine, Connection, Disruption, Ruleset, Source, Transaction};
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Cases that are not followed: file, numbers in it (none: all that fail), and why.
const LEFT_OUT: &[(&str, &[usize], &str)] = &[
    // Not offered: the rules are refused with the reason.
    ("action-exec", &[1, 2], "programs"),
    ("collection-lua", &[], "programs"),
    ("directive-sec_rule_script", &[2, 3], "programs"),
    ("operator-inpectFile", &[], "programs"),
    ("issue-2427", &[], "programs"),
    ("request-body-parser-multipart", &[40], "uploads as files on disk"),
    ("action-setenv", &[], "the process environment"),
    ("variable-ENV", &[], "the process environment"),
    ("config-secremoterules", &[0, 2], "rules and lists from the network"),
    ("operator-ipMatchFromFile", &[2], "rules and lists from the network"),
    ("operator-fuzzyhash", &[], "ssdeep"),
    ("variable-GEO", &[], "a database of places"),
    ("variable-MODSEC_BUILD", &[], "the version of another engine"),
    ("request-body-parser-xml", &[], "schemas and DTDs"),
    ("request-body-parser-xml-validade-dtd", &[], "schemas and DTDs"),
    ("config-xml_external_entity", &[1, 2], "schemas and DTDs"),
    ("config-xml_external_entity", &[0], "XPaths other than /* and //@*"),
    ("variable-XML", &[], "XPaths other than /* and //@*"),
    ("action-ctl_request_body_processor", &[0, 1, 2], "XPaths other than /* and //@*"),
    ("action-xmlns", &[3], "XPaths other than /* and //@*"),
    // Decided otherwise.
    ("issue-1831", &[0, 1], "a quote that is never closed is a mistake"),
    ("issue-1960", &[0], "a quote that is never closed is a mistake"),
    ("rule-920200", &[], "a quote that is never closed is a mistake"),
    ("operator-rx", &[2], "a pattern that does not compile is a mistake"),
    ("operator-rx", &[3, 4, 5], "patterns take linear time and have no limit to run into"),
    ("config-secdefaultaction", &[5], "a later SecDefaultAction takes the place of an earlier one, as in v2"),
    ("config-update-action-by-id", &[3], "a rule without a disruptive action takes the default's, as the manual says"),
    ("config-update-target-by-id", &[3], "excluding ARGS does not exclude ARGS_NAMES"),
    ("config-body_limits", &[0], "a response that is not looked at has no limit"),
    ("config-body_limits", &[2], "the status of a body over its limit is 413 (RFC 9110 section 15.5.14)"),
    (
        "variable-INBOUND_DATA_ERROR",
        &[1],
        "a request over its limit is refused unless told otherwise, as the manual says",
    ),
    ("issue-1825", &[6], "filename and filename* together are two readings (RFC 7578 section 4.2 forbids the second)"),
    ("issue-1941", &[], "the map of code page 20127 is built in, no other is read"),
];

/// The data files of the suite, under the names its rules use.
struct Data(PathBuf);

impl Data {
    fn place(&self, path: &Path) -> PathBuf {
        match path.to_str().and_then(|path| path.split_once("test-cases/data/")) {
            Some((_, name)) => self.0.join(name),
            None => path.to_owned(),
        }
    }
}

impl Files for Data {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Disk.read(&self.place(path))
    }

    fn list(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        Disk.list(&self.place(pattern))
    }
}

/// The suite writes a body as one text or as lines, each of which it ends with LF.
fn body(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(lines) => lines.iter().flat_map(|line| line.as_str().unwrap().bytes().chain([b'\n'])).collect(),
        _ => Vec::new(),
    }
}

fn fields(message: &Value) -> Vec<(String, String)> {
    let headers = message["headers"].as_object();
    headers.into_iter().flatten().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// The part of an expected log line that says what matched. Byte offsets (`v23,6`) and how the operator is worded are
/// the reference's own.
fn of_the_language(pattern: &str) -> Option<&str> {
    let offsets = regex::Regex::new(r"^[ov]?\d+,\d+").unwrap();
    let pattern = match pattern.find("' with parameter") {
        Some(_) => pattern.find("against variable").and_then(|at| pattern.get(at..)).unwrap_or_default(),
        None => pattern,
    };
    (!pattern.is_empty() && !offsets.is_match(pattern)).then_some(pattern)
}

/// Runs a case; gives what differs.
fn follow(case: &Value, file: &str, data: &Data) -> Result<(), String> {
    let mut lines: Vec<&str> = case["rules"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    // The reference overlooks a chain that never goes on; to us it is a mistake in the file.
    lines.pop_if(|line| line.contains("\"chain,"));
    let source = Source { name: file.to_owned(), text: lines.join("\n") };
    let expected = &case["expected"];
    let refused = expected["parser_error"].as_str().is_some_and(|text| !text.is_empty());
    let rules = match Ruleset::compile(&[source], data) {
        Ok((rules, _)) if !refused => rules,
        Ok(_) => return Err(format!("the rules load, but should not: {}", expected["parser_error"])),
        Err(_) if refused => return Ok(()),
        Err(faults) => return Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    };
    let address = |side: &str| case[side]["ip"].as_str().unwrap_or("127.0.0.1").parse().unwrap();
    let port = |side: &str| u16::try_from(case[side]["port"].as_u64().unwrap_or(80)).unwrap();
    let connection = Connection {
        client: address("client"),
        client_port: port("client"),
        server: address("server"),
        server_port: port("server"),
        unique_id: "vector".to_owned(),
        now: SystemTime::UNIX_EPOCH,
    };
    let rules = Arc::new(rules);
    let mut transaction = Transaction::new(rules.clone(), None, connection);
    let request = &case["request"];
    let text = |key: &str, default: &str| request[key].as_str().unwrap_or(default).to_owned();
    let version = request["http_version"].as_f64().map_or("1.1".to_owned(), |version| version.to_string());
    let protocol = format!("HTTP/{version}");
    transaction.request_line(text("method", "GET").as_bytes(), text("uri", "/").as_bytes(), protocol.as_bytes());
    for (name, value) in fields(request) {
        transaction.request_header(name.as_bytes(), value.as_bytes());
    }
    transaction.request_headers_done();
    transaction.request_body(&body(&request["body"]));
    let response = &case["response"];
    transaction.response_line(200, response["protocol"].as_str().unwrap_or("HTTP/1.1").as_bytes());
    for (name, value) in fields(response) {
        transaction.response_header(name.as_bytes(), value.as_bytes());
    }
    transaction.response_headers_done();
    transaction.response_body(&body(&response["body"]));
    transaction.finish();
    let outcome = transaction.outcome();
    let carried_out = outcome.interruption.as_ref().filter(|_| outcome.enforced);
    let status = carried_out.map_or(200, |interruption| interruption.status);
    let wanted = expected["http_code"].as_u64().unwrap_or(200);
    if u64::from(status) != wanted {
        return Err(format!("status {status}, expected {wanted}; {:?}", outcome.matches));
    }
    if let Some(location) = expected["redirect_url"].as_str()
        && carried_out.map(|i| &i.action) != Some(&Disruption::Redirect(location.to_owned()))
    {
        return Err(format!("{carried_out:?}, expected a redirect to {location}"));
    }
    for (key, audit) in [("error_log", false), ("audit_log", true)] {
        let Some(pattern) = expected[key].as_str().and_then(of_the_language) else { continue };
        let written = outcome.audit != AuditEngine::Off;
        let of_log = outcome.matches.iter().filter(|m| if audit { m.audit_log && written } else { m.log });
        let mut lines: Vec<String> = of_log
            .map(|m| {
                let value = String::from_utf8_lossy(&m.value);
                let tags: String = m.tags.iter().map(|tag| format!(" [tag \"{tag}\"]")).collect();
                let severity = m.severity.map_or(0, |s| s.number());
                let line = rules.rules().find(|rule| rule.id == m.id).map_or(0, |rule| rule.line);
                format!(
                    "against variable `{}' (Value: `{value}' ) [line \"{line}\"] [id \"{}\"] [msg \"{}\"] [data \"{}\"] [severity \
                     \"{severity}\"] [ver \"\"] [maturity \"0\"] [accuracy \"0\"]{tags}",
                    m.variable, m.id, m.msg, m.data
                )
            })
            .collect();
        if let Some(decided) = carried_out.filter(|_| !audit) {
            lines.push(format!("Access denied with code {}", decided.status));
        }
        if audit && outcome.audit == AuditEngine::On {
            lines.insert(0, "--A--".to_owned());
        }
        let pattern = regex::Regex::new(pattern).unwrap();
        if !pattern.is_match(&lines.join("\n")) {
            return Err(format!("{key} lacks {pattern}: {lines:#?}"));
        }
    }
    Ok(())
}

#[test]
fn the_reference_suite_is_followed() {
    let Some(folder) = std::env::var_os("GATEHOUSE_SECLANG_VECTORS").map(PathBuf::from) else {
        println!("skipped: GATEHOUSE_SECLANG_VECTORS does not name the folder of the vectors");
        return;
    };
    let data = Data(folder.join("data"));
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder.join("regression")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut followed, mut left_out, mut failed) = (0, 0, Vec::new());
    for path in files {
        let file = path.file_stem().unwrap().to_str().unwrap();
        let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for (number, case) in cases.iter().enumerate() {
            let excused = LEFT_OUT.iter().any(|(f, n, _)| *f == file && (n.is_empty() || n.contains(&number)));
            match (follow(case, file, &data), excused) {
                (Ok(()), false) => followed += 1,
                (Err(_), true) => left_out += 1,
                (Ok(()), true) if !LEFT_OUT.iter().any(|(f, n, _)| *f == file && n.is_empty()) => {
                    failed.push(format!("{file} {number} is followed: take it off the list"))
                }
                (Ok(()), true) => followed += 1,
                (Err(what), false) => failed.push(format!("{file} {number} ({}): {what}", case["title"])),
            }
        }
    }
    println!("{followed} cases followed, {left_out} left out");
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), followed + left_out, failed.join("\n"));
    assert!(followed > 500, "only {followed} cases in {}", folder.display());
}
