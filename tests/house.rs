//! The house: which part may use which. A table, so that a new edge is a decision and not an accident.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// What every part may use.
const GROUND: &[&str] = &["facts", "fault", "units", "verdict", "telemetry"];

/// Part (a folder or file of `src/`) and what it may use of the others, besides [`GROUND`] and itself.
const TABLE: &[(&str, &[&str])] = &[
    ("facts", &[]),
    ("fault", &[]),
    ("units", &[]),
    ("verdict", &[]),
    ("telemetry", &[]),
    ("tls", &[]),
    // No stage of a request: it orders what `tls` serves.
    ("acme", &["tls"]),
    ("client", &[]),
    ("reputation", &[]),
    ("request", &[]),
    ("limit", &[]),
    ("policy", &[]),
    ("inspect", &[]),
    ("cache", &[]),
    // It speaks to replicas, to probe them: over TLS too.
    ("balance", &["tls"]),
    ("audit", &[]),
    // Its settings belong to the tree; the listener itself is started by `server`.
    ("admin", &[]),
    ("config", &STAGES_AND_ADMIN),
    (
        "snapshot",
        &[
            "config",
            "request",
            "admin",
            "tls",
            "acme",
            "client",
            "reputation",
            "limit",
            "policy",
            "inspect",
            "cache",
            "balance",
            "audit",
        ],
    ),
    ("gate", &["snapshot", "config", "request", "inspect", "policy", "reputation", "limit", "audit"]),
    ("edge", &["gate", "snapshot", "config", "request", "cache", "balance", "limit", "audit", "client", "tls", "acme"]),
    // Processes, sockets and bytes; what the bytes mean is for `server` to know.
    ("handover", &[]),
    (
        "server",
        &[
            "edge", "gate", "snapshot", "config", "admin", "audit", "balance", "cache", "limit", "tls", "acme",
            "handover",
        ],
    ),
    ("cli", &["server", "config", "inspect", "policy", "request", "handover"]),
];

const STAGES_AND_ADMIN: [&str; 11] =
    ["tls", "client", "reputation", "request", "limit", "policy", "inspect", "cache", "balance", "audit", "admin"];

/// Crates that only some parts may name.
const CRATES: &[(&str, &[&str])] = &[
    ("pingora", &["edge"]),
    // `policy` for the nouns of fields alone: classes and the tables of them.
    ("gatehouse_waf", &["inspect", "gate", "cli", "policy"]),
    ("axum", &["admin", "cli"]),
    ("anyhow", &["cli"]),
    ("prometheus", &["telemetry", "server"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().unwrap() != "waf" {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Whether a path of the crate, or of one whose name begins so, is used: `name_more::`.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let after = code.get(at + name.len()..).unwrap_or_default();
        let rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        rest.starts_with("::")
    })
}

/// The parts of the crate that a source file names, with the line: `crate::part`, and each first segment of
/// `crate::{part::…, part}` over however many lines; `super::` that leaves its part counts as the part it reaches.
fn used(text: &str, depth: usize) -> Vec<(usize, String)> {
    let name = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    let out = "super::".repeat(depth);
    let starts = text.match_indices("crate::").chain(text.match_indices(out.as_str()));
    for (at, path) in starts {
        let before = text.get(..at).unwrap_or_default();
        if before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let line = before.matches('\n').count() + 1;
        let rest = text.get(at + path.len()..).unwrap_or_default();
        let Some(group) = rest.strip_prefix('{') else {
            found.push((line, name(rest)));
            continue;
        };
        let (mut open, mut line, mut fresh) = (1, line, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => open += 1,
                '}' => open -= 1,
                '\n' => line += 1,
                ',' if open == 1 => fresh = true,
                c if open == 1 && fresh && !c.is_whitespace() => {
                    found.push((line, name(group.get(at..).unwrap_or_default())));
                    fresh = false;
                }
                _ => {}
            }
            if open == 0 {
                break;
            }
        }
    }
    found.sort();
    found
}

/// Without comments and what stands in quotes; lines stay where they are.
fn code(text: &str) -> String {
    let line = |line: &str| {
        let code: String = line.split('"').step_by(2).collect();
        code.split("//").next().unwrap_or_default().to_owned()
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// What a file breaks of the table; `local` is its path below `src/`.
fn faults(local: &Path, text: &str) -> Vec<String> {
    let part = local.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
    if matches!(part, "lib" | "main") {
        return Vec::new();
    }
    let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == part) else {
        return vec![format!("src/{}: no row in the table for {part}", local.display())];
    };
    let mut broken = Vec::new();
    let code = code(text);
    // As many `super` as lead from the file's own module out of its part: `a/mod.rs` is one below the crate, `a/b.rs` two.
    let depth = local.with_extension("").components().filter(|c| c.as_os_str() != "mod").count();
    for (line, used) in used(&code, depth) {
        let is_part = TABLE.iter().any(|(name, _)| *name == used);
        if is_part && used != part && !GROUND.contains(&used.as_str()) && !allowed.contains(&used.as_str()) {
            broken.push(format!("src/{}:{line}: {part} may not use {used}", local.display()));
        }
    }
    for (number, line) in code.lines().enumerate() {
        for (name, users) in CRATES {
            if names_crate(line, name) && !users.contains(&part) {
                broken.push(format!("src/{}:{}: {part} may not name {name}", local.display(), number + 1));
            }
        }
    }
    broken
}

#[test]
fn parts_use_only_what_lies_behind_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 50, "{} files", files.len());
    let broken: Vec<_> = files
        .iter()
        .flat_map(|path| faults(path.strip_prefix(&root).unwrap(), &fs::read_to_string(path).unwrap()))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_way_to_name_a_part_is_seen() {
    for (file, text, expected) in [
        (
            "limit/mod.rs",
            "use crate::facts::Now;\nuse crate::cache::Cache;",
            vec!["src/limit/mod.rs:2: limit may not use cache"],
        ),
        (
            "limit/store.rs",
            "use crate::{\n    facts::{Now, ClientAddr},\n    cache::{Cache, key},\n    audit,\n};",
            vec!["src/limit/store.rs:3: limit may not use cache", "src/limit/store.rs:4: limit may not use audit"],
        ),
        ("limit/store.rs", "use super::super::cache::Cache;", vec!["src/limit/store.rs:1: limit may not use cache"]),
        ("limit/mod.rs", "fn f(x: &crate::gate::Gate) {}", vec!["src/limit/mod.rs:1: limit may not use gate"]),
        ("gate/admit.rs", "use pingora_core::Error;", vec!["src/gate/admit.rs:1: gate may not name pingora"]),
        (
            "cache/mod.rs",
            "let x = gatehouse_waf::load();",
            vec!["src/cache/mod.rs:1: cache may not name gatehouse_waf"],
        ),
        ("new/mod.rs", "", vec!["src/new/mod.rs: no row in the table for new"]),
        (
            "limit/mod.rs",
            "// crate::cache::Cache\nlet x = \"crate::cache\"; use super::store; use crate::units::Rate;",
            vec![],
        ),
        ("edge/hooks.rs", "use super::cache_hooks; use pingora_core::Error; use crate::{gate, cache};", vec![]),
    ] {
        assert_eq!(faults(Path::new(file), text), expected, "{file}: {text}");
    }
}
