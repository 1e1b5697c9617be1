//! `gatehouse rules bench`: whole transactions, timed one by one.

use super::front::local;
use gatehouse_waf::files::Disk;
use gatehouse_waf::{Outcome, Ruleset, Source, Transaction};
use serde_json::json;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Fewest and most runs of one request.
const RUNS: std::ops::RangeInclusive<usize> = 3..=1_000_000;

/// One packed request.
struct Record<'a> {
    id: String,
    method: &'a [u8],
    uri: &'a [u8],
    headers: Vec<(&'a [u8], &'a [u8])>,
    body: &'a [u8],
}

pub(super) fn run(rules: &Path, requests: &Path, seconds: f64) -> ExitCode {
    match measure(rules, requests, seconds, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(faults) => {
            for fault in faults {
                let _ = writeln!(io::stderr(), "error: {fault}");
            }
            ExitCode::FAILURE
        }
    }
}

fn measure(rules: &Path, requests: &Path, seconds: f64, out: &mut dyn Write) -> Result<(), Vec<String>> {
    let one = |path: &Path, e: io::Error| vec![format!("{}: {e}", path.display())];
    let text = std::fs::read_to_string(rules).map_err(|e| one(rules, e))?;
    let packed = std::fs::read(requests).map_err(|e| one(requests, e))?;
    let started = Instant::now();
    let source = Source { name: rules.display().to_string(), text };
    let (compiled, _) =
        Ruleset::compile(&[source], &Disk).map_err(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let load = started.elapsed();
    let compiled = Arc::new(compiled);
    let count: usize = compiled.rules().map(|rule| rule.links).sum();
    let write = |out: &mut dyn Write, value: serde_json::Value| {
        writeln!(out, "{value}").and_then(|()| out.flush()).map_err(|e| vec![e.to_string()])
    };
    let screens = compiled.screen_memory() as f64 / f64::from(1 << 20);
    write(
        out,
        json!({
            "engine": "gatehouse", "rules": count, "load_ms": millis(load), "rss_mib": resident(),
            "screens_mib": screens,
        }),
    )?;
    let mut rest = packed.as_slice();
    while !rest.is_empty() {
        let record = record(&mut rest).ok_or_else(|| vec![format!("{}: cut off", requests.display())])?;
        let first = Instant::now();
        let outcome = transact(&compiled, &record);
        let first = first.elapsed();
        let mut times = Vec::new();
        let begun = Instant::now();
        while times.len() < *RUNS.start() || (begun.elapsed().as_secs_f64() < seconds && times.len() < *RUNS.end()) {
            let start = Instant::now();
            transact(&compiled, &record);
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let at = |share: usize| times.get((times.len() - 1) * share / 100).copied().unwrap_or_default();
        let total: Duration = times.iter().sum();
        let status = outcome.interruption.as_ref().filter(|_| outcome.enforced).map_or(0, |i| i.status);
        let mut ids: Vec<u64> = outcome.matches.iter().filter(|m| m.log).map(|m| m.id).collect();
        ids.dedup();
        let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
        write(
            out,
            json!({
                "id": record.id, "bytes": record.body.len(), "n": times.len(),
                "mean": micros(total) / times.len() as f64, "min": micros(at(0)), "p50": micros(at(50)),
                "p99": micros(at(99)), "first": micros(first), "status": status, "rules": ids.join(" "),
            }),
        )?;
    }
    Ok(())
}

fn transact(rules: &Arc<Ruleset>, record: &Record<'_>) -> Outcome {
    let mut transaction = Transaction::new(rules.clone(), None, local());
    transaction.request_line(record.method, record.uri, b"HTTP/1.1");
    for (name, value) in &record.headers {
        transaction.request_header(name, value);
    }
    if transaction.request_headers_done().is_none() {
        transaction.request_body(record.body);
    }
    transaction.finish();
    transaction.outcome().clone()
}

fn record<'a>(rest: &mut &'a [u8]) -> Option<Record<'a>> {
    let id = String::from_utf8_lossy(text(rest)?).into_owned();
    let (method, uri) = (text(rest)?, text(rest)?);
    let count = number(rest)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        headers.push((text(rest)?, text(rest)?));
    }
    Some(Record { id, method, uri, headers, body: text(rest)? })
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    let (bytes, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest)?;
    let (text, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(text)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Resident memory in MiB, where the system tells.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
