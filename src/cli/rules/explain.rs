//! `gatehouse rules explain`: what rules, and a policy of fields, do with one request.

use super::curl;
use super::front::{Passage, Policed, Watch, pass};
use super::ftw::reflect;
use crate::cli::check::printable;
use crate::policy::field::FieldPolicy;
use gatehouse_waf::{Costs, Ruleset, Step, Trace};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Largest request that is read, in bytes.
const MAX_REQUEST: u64 = 256 << 20;
/// Longest text that is shown.
const MAX_SHOWN: usize = 160;

/// Rules that a list of costs shows.
const MOST_COSTS: usize = 20;

/// What is to be explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// What matched, and the score.
    Matches,
    /// What one rule looked at.
    Rule(u64),
    /// What it cost.
    Cost,
}

pub(super) fn run(
    rules: &Arc<Ruleset>,
    policy: Option<&FieldPolicy>,
    request: Option<&Path>,
    command: Option<&str>,
    wanted: Wanted,
) -> ExitCode {
    let raw = match (request, command) {
        (_, Some(command)) => curl::request(command),
        (Some(path), None) => read(path).map(|raw| in_wire_form(&raw)),
        (None, None) => Err("name a file with a request, or give --curl".to_owned()),
    };
    let raw = match raw {
        Ok(raw) => raw,
        Err(fault) => {
            let _ = writeln!(io::stderr(), "error: {fault}");
            return ExitCode::FAILURE;
        }
    };
    let mut out = io::stdout().lock();
    let pass = |watch| pass(rules, policy, None, &raw, watch, reflect);
    let _ = match wanted {
        Wanted::Matches => tell(rules, &pass(Watch::Trace(Trace::Matches)), None, &mut out),
        Wanted::Rule(id) => tell(rules, &pass(Watch::Trace(Trace::Rule(id))), Some(id), &mut out),
        Wanted::Cost => tell_costs(rules, &pass(Watch::Costs).costs, &mut out),
    };
    ExitCode::SUCCESS
}

fn tell_costs(rules: &Ruleset, costs: &Costs, out: &mut dyn Write) -> io::Result<()> {
    let own: u64 = costs.rules.iter().map(|(_, bytes)| bytes).sum();
    writeln!(out, "{:>12} bytes read by transformations", costs.transformations)?;
    writeln!(out, "{:>12} bytes read for all patterns at once", costs.passes)?;
    writeln!(out, "{own:>12} bytes read by the operators of {} rules:", costs.rules.len())?;
    for (id, bytes) in costs.rules.iter().take(MOST_COSTS) {
        let info = rules.rules().find(|rule| rule.id == *id);
        let place = info.map(|rule| format!("{} ({}:{})", shown(rule.msg.as_bytes()), rule.file, rule.line));
        writeln!(out, "{bytes:>12} {id} {}", place.unwrap_or_default())?;
    }
    let all = costs.transformations + costs.passes + own;
    writeln!(out, "{all:>12} bytes of {} that SecGatehouseWorkLimit allows", rules.settings().work_limit)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut raw = Vec::new();
    let done = if path == Path::new("-") {
        io::stdin().lock().take(MAX_REQUEST).read_to_end(&mut raw)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_REQUEST).read_to_end(&mut raw))
    };
    done.map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(raw)
}

/// A request written in an editor: lines of the head end in CRLF, and a body without a length gets one.
fn in_wire_form(raw: &[u8]) -> Vec<u8> {
    if raw.windows(4).any(|w| w == b"\r\n\r\n") {
        return raw.to_vec();
    }
    let split = raw.windows(2).position(|w| w == b"\n\n");
    let (head, body) = match split {
        Some(at) => (raw.get(..at).unwrap_or(raw), raw.get(at + 2..).unwrap_or_default()),
        None => (raw.trim_ascii_end(), &[][..]),
    };
    let mut out = Vec::with_capacity(raw.len() + 64);
    let mut framed = false;
    for line in head.split(|b| *b == b'\n') {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        framed |= name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding");
        out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        out.extend_from_slice(b"\r\n");
    }
    if !framed && !body.is_empty() {
        out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

fn tell(rules: &Ruleset, passage: &Passage, rule: Option<u64>, out: &mut dyn Write) -> io::Result<()> {
    if let Some(id) = rule {
        if passage.steps.is_empty() {
            let known = rules.rules().any(|rule| rule.id == id);
            let why = if known { "looked at nothing: no such value, skipped, or removed" } else { "is not loaded" };
            writeln!(out, "rule {id} {why}")?;
        }
        for line in passage.steps.iter().flat_map(step_lines) {
            writeln!(out, "{line}")?;
        }
        return Ok(());
    }
    if let Some(known) = &passage.known {
        tell_fields(known, out)?;
    }
    // What a rule looked at and set, under the message it logs.
    let mut by_rule: BTreeMap<u64, Vec<&Step>> = BTreeMap::new();
    for step in &passage.steps {
        let (Step::Looked { rule, .. } | Step::Set { rule, .. }) = step;
        by_rule.entry(*rule).or_default().push(step);
    }
    for m in passage.outcome.matches.iter().filter(|m| m.log) {
        let info = rules.rules().find(|rule| rule.id == m.id);
        let place = info.map(|rule| format!(" ({}:{})", rule.file, rule.line)).unwrap_or_default();
        let severity = m.severity.map_or("", |s| s.name());
        writeln!(out, "{} phase {} {severity} {}{place}", m.id, m.phase.number(), shown(m.msg.as_bytes()))?;
        if !m.data.is_empty() {
            writeln!(out, "    data: {}", shown(m.data.as_bytes()))?;
        }
        for line in by_rule.get(&m.id).into_iter().flatten().filter(|s| is_look(s)).flat_map(|s| step_lines(s)) {
            writeln!(out, "    {line}")?;
        }
    }
    let mut sums = Vec::new();
    for step in &passage.steps {
        if let Step::Set { rule, name, before, after } = step
            && name.contains("score")
            && before != after
            && before.is_some()
        {
            let zero = "0".to_owned();
            sums.push(format!(
                "    {name}: {} -> {}   rule {rule}",
                before.as_ref().unwrap_or(&zero),
                after.as_deref().unwrap_or("removed")
            ));
        }
    }
    if !sums.is_empty() {
        writeln!(out, "score:\n{}", sums.join("\n"))?;
    }
    for (name, score, threshold) in &passage.scores {
        let compared = if score >= threshold { "reaches" } else { "stays below" };
        writeln!(out, "{name} score {score} {compared} the threshold of {threshold}")?;
    }
    if let Some(why) = &passage.malformed {
        return writeln!(out, "answer: {} before any verdict, {why}", passage.status);
    }
    match &passage.outcome.interruption {
        Some(i) if passage.outcome.enforced => {
            writeln!(out, "answer: {} by {}", i.status, decider(i.rule_id, passage))
        }
        Some(i) => {
            writeln!(out, "answer: let through (detection only); else {} by {}", i.status, decider(i.rule_id, passage))
        }
        None => writeln!(out, "answer: let through"),
    }
}

/// The operation, and each field in the words of the audit event (`gatehouse.fields`).
fn tell_fields(known: &Policed, out: &mut dyn Write) -> io::Result<()> {
    match &known.operation {
        Some(name) => writeln!(out, "operation {}", printable(name))?,
        None => writeln!(out, "no operation")?,
    }
    for note in &known.fields {
        let kind = if note.class().starts_with(note.kind()) { "" } else { note.kind() };
        let described = if note.described { "" } else { "not described" };
        let extra: Vec<&str> = [kind, described].into_iter().filter(|text| !text.is_empty()).collect();
        let extra = if extra.is_empty() { String::new() } else { format!(" [{}]", extra.join(", ")) };
        let (of, hidden) = match (note.of_name, note.hidden) {
            (true, true) => ("name of ", "; the rules do not see the name"),
            (true, false) => ("name of ", ""),
            (false, true) => ("", "; the rules do not see it"),
            (false, false) => ("", ""),
        };
        let why = match note.verdict.to_string() {
            why if why == note.verdict.as_str() => String::new(),
            why => format!(", {why}"),
        };
        let verdict = note.verdict.as_str();
        let line = format!("{of}{} {} = {}{extra}: {verdict}{why}{hidden}", note.place, note.name, note.class());
        writeln!(out, "  {}", printable(&line.replace('\n', "\\n")))?;
    }
    if !known.emptied.is_empty() {
        writeln!(out, "  nothing of these fields in {}", known.emptied.join(", "))?;
    }
    Ok(())
}

fn decider(rule: u64, passage: &Passage) -> String {
    match (rule, &passage.outcome.body_error) {
        (0, Some(why)) => why.clone(),
        (0, None) => "a limit of the engine".to_owned(),
        (rule, _) => format!("rule {rule}"),
    }
}

fn is_look(step: &Step) -> bool {
    matches!(step, Step::Looked { .. })
}

/// One step as lines for a person.
pub(super) fn step_lines(step: &Step) -> Vec<String> {
    match step {
        Step::Looked { rule, link, variable, before, transformations, after, operator, matched } => {
            let verdict = if *matched { "matches" } else { "does not match" };
            let which = if *link == 0 { rule.to_string() } else { format!("{rule} link {link}") };
            let mut lines = vec![format!("{which}: {variable} = {}", shown(before))];
            if !transformations.is_empty() {
                let chain: Vec<String> = transformations.iter().map(|t| format!("t:{t}")).collect();
                let result = if before == after { "unchanged".to_owned() } else { shown(after) };
                lines.push(format!("  {} -> {result}", chain.join(",")));
            }
            lines.push(format!("  {verdict} {}", shown(operator.as_bytes())));
            lines
        }
        Step::Set { rule, name, after, .. } => {
            vec![format!("{rule}: TX:{name} = {}", after.as_deref().unwrap_or("removed"))]
        }
    }
}

/// A text in quotes, escaped, cut.
pub(super) fn shown(text: &[u8]) -> String {
    let cut = text.get(..MAX_SHOWN).unwrap_or(text);
    let more = if cut.len() < text.len() { format!("… ({} bytes)", text.len()) } else { String::new() };
    let readable: String = String::from_utf8_lossy(cut)
        .chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect();
    format!("\"{readable}\"{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_from_an_editor_gets_its_form() {
        let raw = in_wire_form(b"POST / HTTP/1.1\nHost: h\n\na=1");
        assert_eq!(raw, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na=1");
        assert_eq!(in_wire_form(b"GET / HTTP/1.1\nHost: h\n"), b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let whole = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(in_wire_form(whole), whole);
    }
}
