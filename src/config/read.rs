//! From the text of a file to the tree of settings, with every fault that can be found on the way.
//!
//! Serde stops at the first fault, so the table it points at is taken out of the tree and the reading starts again. What
//! serde says is put into the words of a configuration file, with the mend.

use super::document::Document;
use super::environment::{self, Expanded, Variables};
use super::source::Source;
use crate::fault::{Fault, Place, suggestion};
use serde::Deserialize as _;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// More faults than this are not looked for in one file.
const MAX_FAULTS: usize = 50;

/// Reads the settings out of `text` and notes in `source` where each stands.
pub(super) fn read(source: &mut Source, text: &str, variables: &Variables<'_>) -> Result<Document, Vec<Fault>> {
    let expanded = environment::expand(text, variables);
    let mut faults: Vec<Fault> =
        expanded.faults.iter().map(|(offset, what, mend)| source.fault(*offset, what, mend)).collect();
    let replaced: Vec<usize> = faults.iter().filter_map(line).collect();
    let (mut tree, errors) = DeTable::parse_recoverable(&expanded.text);
    if !errors.is_empty() {
        for error in &errors {
            push(&mut faults, &replaced, at(source, &expanded, error.span(), syntax(error.message())));
        }
        return Err(faults);
    }
    let mut places = BTreeMap::new();
    note_table(tree.get_ref(), "", &expanded, &mut places);
    source.set_places(places);
    let mut pruned: Vec<String> = Vec::new();
    while faults.len() < MAX_FAULTS {
        let error = match Document::deserialize(toml::Deserializer::from(tree.clone())) {
            Ok(document) if faults.is_empty() => return Ok(document),
            Ok(_) => break,
            Err(error) => error,
        };
        let taken = error.span().and_then(|span| prune_table(tree.get_mut(), &span, ""));
        let path = taken.as_deref().unwrap_or_default();
        // A key that was taken out a moment ago is not missing.
        let gone = missing(error.message()).is_some_and(|name| pruned.contains(&joined(path, name)));
        if !gone {
            let words = explain(error.message(), path);
            push(&mut faults, &replaced, at(source, &expanded, error.span(), words));
        }
        let Some(path) = taken else { break };
        pruned.retain(|other| !other.starts_with(&path));
        pruned.push(path);
    }
    Err(faults)
}

fn line(fault: &Fault) -> Option<usize> {
    match fault.place {
        Place::File { line, .. } => Some(line),
        Place::Key(_) => None,
    }
}

/// Adds a fault, unless it is only what a missing variable on that line leads to, or the second of a line.
fn push(faults: &mut Vec<Fault>, replaced: &[usize], fault: Fault) {
    let place = line(&fault);
    if !place.is_some_and(|line| replaced.contains(&line)) && !faults.iter().any(|other| other.place == fault.place) {
        faults.push(fault);
    }
}

/// The fault for a span of the expanded text.
fn at(source: &Source, expanded: &Expanded, span: Option<Range<usize>>, (what, mend): (String, String)) -> Fault {
    let (offset, reference) = expanded.origin(span.map_or(0, |span| span.start));
    match reference {
        Some(reference) => source.fault(offset, format!("{what} (from {reference})"), mend),
        None => source.fault(offset, what, mend),
    }
}

fn joined(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

fn note_table(table: &DeTable<'_>, parent: &str, expanded: &Expanded, places: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let path = joined(parent, key.get_ref());
        // A table without a header of its own stands where its key stands.
        let span = if value.get_ref().is_table() && value.span().is_empty() { key.span() } else { value.span() };
        note_value(value.get_ref(), span, path, expanded, places);
    }
}

fn note_value(
    value: &DeValue<'_>,
    span: Range<usize>,
    path: String,
    expanded: &Expanded,
    places: &mut BTreeMap<String, usize>,
) {
    match value {
        DeValue::Table(table) => note_table(table, &path, expanded, places),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                note_value(item.get_ref(), item.span(), format!("{path}[{index}]"), expanded, places);
            }
        }
        _ => {}
    }
    places.insert(path, expanded.origin(span.start).0);
}

/// Takes the innermost key or value with exactly this span out of the tree, and says what its path was.
fn prune_table(table: &mut DeTable<'_>, span: &Range<usize>, parent: &str) -> Option<String> {
    let mut own = None;
    for (key, value) in table.iter_mut() {
        let path = joined(parent, key.get_ref());
        if let Some(found) = prune_value(value, span, &path) {
            return Some(found);
        }
        if key.span() == *span || value.span() == *span {
            own = Some((key.get_ref().to_string(), path));
        }
    }
    let (key, path) = own?;
    table.remove(key.as_str());
    Some(path)
}

fn prune_value(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>, path: &str) -> Option<String> {
    match value.get_mut() {
        DeValue::Table(table) => prune_table(table, span, path),
        DeValue::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let path = format!("{path}[{index}]");
                if let Some(found) = prune_value(item, span, &path) {
                    return Some(found);
                }
                if item.span() == *span {
                    let others = items.iter().enumerate().filter(|(other, _)| *other != index);
                    *items = others.map(|(_, item)| item.clone()).collect();
                    return Some(path);
                }
            }
            None
        }
        _ => None,
    }
}

/// The key that serde misses.
fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

fn syntax(message: &str) -> (String, String) {
    match message {
        "duplicate key" => ("this key is here for the second time".to_owned(), "remove one of them".to_owned()),
        _ => (message.to_owned(), String::new()),
    }
}

/// Puts serde's words into ours; `path` is the key it is about.
fn explain(message: &str, path: &str) -> (String, String) {
    let (parent, key) = match path.rsplit_once('.') {
        Some((parent, key)) => (section(parent), key),
        None => (String::new(), path),
    };
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (named, choices) = quoted.split_first().map_or(("", &[][..]), |(first, others)| (*first, others));
    if message.starts_with("unknown field") {
        (format!("unknown key \"{named}\"{parent}"), suggestion(named, choices, "the keys here are"))
    } else if message.starts_with("unknown variant") {
        (format!("\"{named}\" is no value of \"{key}\""), suggestion(named, choices, "write one of"))
    } else if let Some(name) = missing(message) {
        (format!("the key \"{name}\" is missing{}", section(path)), format!("add a line: {name} = …"))
    } else if let Some((found, expected)) =
        message.strip_prefix("invalid type: ").and_then(|words| words.split_once(", expected "))
    {
        let (expected, found) = (kind(expected), thing(found));
        (format!("\"{key}\" must be {expected}, not {found}"), String::new())
    } else if let Some((found, expected)) =
        message.strip_prefix("invalid value: ").and_then(|words| words.split_once(", expected "))
    {
        (format!("\"{key}\" cannot be {}", thing(found)), format!("write {}", kind(expected)))
    } else if let Some((what, mend)) = message.split_once(": write ") {
        (what.to_owned(), format!("write {mend}"))
    } else if message.starts_with("invalid socket address") {
        (format!("\"{key}\" must be an address and a port"), "write it as 127.0.0.1:8443 or [::1]:8443".to_owned())
    } else {
        (format!("\"{key}\": {message}"), String::new())
    }
}

/// ` in [a.b]`, or ` in [[a]]` for an element of a list; nothing for the top of the file.
fn section(path: &str) -> String {
    match path.rsplit_once('[') {
        _ if path.is_empty() => String::new(),
        Some((list, index)) if index.ends_with(']') => format!(" in [[{list}]]"),
        _ => format!(" in [{path}]"),
    }
}

/// What a number type, or what serde calls a type, is to a person.
fn kind(expected: &str) -> String {
    let most = match expected {
        "u8" => u64::from(u8::MAX),
        "u16" => u64::from(u16::MAX),
        "u32" => u64::from(u32::MAX),
        "a nonzero u32" => return format!("a whole number from 1 to {}", u32::MAX),
        "u64" | "usize" => return "a whole number, 0 or above".to_owned(),
        "i64" | "isize" | "i32" => return "a whole number".to_owned(),
        "f64" | "f32" => return "a number".to_owned(),
        "a boolean" => return "true or false".to_owned(),
        "a string" | "string" | "path string" => return "a text in quotes".to_owned(),
        "a sequence" => return "a list in brackets".to_owned(),
        "a map" => return "a table".to_owned(),
        other if other.starts_with("struct ") => return "a table".to_owned(),
        other => return other.to_owned(),
    };
    format!("a whole number from 0 to {most}")
}

/// What was found, without serde's name for it: `string "x"` is the text "x".
fn thing(found: &str) -> String {
    if let Some(text) = found.strip_prefix("string ") {
        return format!("the text {text}");
    }
    match found {
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        _ => match found.split('`').nth(1) {
            Some(value) => value.to_owned(),
            None => found.to_owned(),
        },
    }
}
