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
    ("client", &[]),
    ("reputation", &[]),
    ("request", &[]),
    ("limit", &[]),
    ("policy", &[]),
    ("inspect", &[]),
    ("cache", &[]),
    ("balance", &[]),
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
    ("edge", &["gate", "config", "request", "cache", "balance", "audit"]),
    ("server", &["edge", "gate", "snapshot", "config", "admin", "audit", "cache", "tls"]),
    ("cli", &["server", "config"]),
];

const STAGES_AND_ADMIN: [&str; 11] =
    ["tls", "client", "reputation", "request", "limit", "policy", "inspect", "cache", "balance", "audit", "admin"];

/// Crates that only some parts may name.
const CRATES: &[(&str, &[&str])] = &[
    ("pingora", &["edge"]),
    ("gatehouse_waf", &["inspect", "gate", "cli"]),
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

#[test]
fn parts_use_only_what_lies_behind_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut broken = Vec::new();
    for path in files {
        let local = path.strip_prefix(&root).unwrap();
        let part = local.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if matches!(part, "lib" | "main") {
            continue;
        }
        let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == part) else {
            broken.push(format!("src/{}: no row in the table for {part}", local.display()));
            continue;
        };
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            // Without what stands in quotes, and without comments.
            let code: String = line.split('"').step_by(2).collect();
            let code = code.split("//").next().unwrap_or_default();
            for used in code.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let is_part = TABLE.iter().any(|(name, _)| *name == used);
                if is_part && used != part && !GROUND.contains(&used.as_str()) && !allowed.contains(&used.as_str()) {
                    broken.push(format!("src/{}:{}: {part} may not use {used}", local.display(), number + 1));
                }
            }
            for (name, users) in CRATES {
                if names_crate(code, name) && !users.contains(&part) {
                    broken.push(format!("src/{}:{}: {part} may not name {name}", local.display(), number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
