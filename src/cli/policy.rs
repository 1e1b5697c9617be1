//! `gatehouse policy`: field policies without a gate: checked, shown, and drafted from OpenAPI.
//!
//! Exit codes: 0, or 1 when a fault was found or nothing could be drafted.

use super::check::{coloured, printable, report};
use crate::fault::Fault;
use crate::policy::field::{self, FieldPolicy, Found, Match, Operation};
use crate::policy::openapi;
use crate::request::path::Target;
use clap::Subcommand;
use gatehouse_waf::field::Purpose;
use http::Method;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The largest OpenAPI document that is read, in bytes.
const MAX_DOCUMENT: u64 = 32 << 20;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Reads policy files and says what is wrong in them, where, and how to mend it.
    Check {
        /// Policy files, or folders with `*.toml`; all of them are one policy.
        #[arg(required = true, value_name = "FILES")]
        files: Vec<PathBuf>,
    },
    /// Says which operation takes a request, and which class each of its fields has.
    Show {
        /// The method, as GET.
        method: String,
        /// The request's path.
        path: String,
        /// Policy files, or folders with `*.toml`.
        #[arg(required = true, value_name = "FILES")]
        files: Vec<PathBuf>,
    },
    /// Writes a first draft of a policy from an OpenAPI document (3.0 or 3.1, JSON or YAML).
    ///
    /// What a schema does not say is guessed; `check:` stands beside each guess.
    FromOpenapi {
        /// The document; `-` for standard input.
        #[arg(value_name = "FILE")]
        document: PathBuf,
        /// Where to write the draft; standard output if not given. A file that exists is not replaced.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Runs a command.
pub(super) fn run(command: Command) -> ExitCode {
    match command {
        Command::Check { files } => with(&files, |policy, out| {
            let operations = policy.operations().len();
            writeln!(out, "ok, {operations} operation{}", if operations == 1 { "" } else { "s" })
        }),
        Command::Show { method, path, files } => with(&files, |policy, out| show(policy, &method, &path, out)),
        Command::FromOpenapi { document, out } => match drafted(&document, out.as_deref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(what) => {
                let _ = writeln!(io::stderr().lock(), "error: {}", printable(&what));
                ExitCode::FAILURE
            }
        },
    }
}

/// Loads a policy and says something of it, or its faults.
fn with(files: &[PathBuf], say: impl FnOnce(&FieldPolicy, &mut dyn Write) -> io::Result<()>) -> ExitCode {
    match load(files) {
        Ok(policy) => {
            // A reader that went away wants no more.
            let _ = say(&policy, &mut io::stdout().lock());
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// The policy of these files and folders, or the exit code once its faults are told.
pub(super) fn load(files: &[PathBuf]) -> Result<FieldPolicy, ExitCode> {
    let pattern = |path: &PathBuf| if path.is_dir() { path.join("*.toml") } else { path.clone() };
    let patterns: Vec<PathBuf> = files.iter().map(pattern).collect();
    field::load(&patterns, Path::new("")).map(|loaded| loaded.policy).map_err(|faults| {
        let faults: Vec<Fault> = faults.into_iter().map(|fault| fault.under("FILES")).collect();
        let _ = report(&mut io::stderr().lock(), &faults, coloured());
        ExitCode::FAILURE
    })
}

fn show(policy: &FieldPolicy, method: &str, path: &str, out: &mut dyn Write) -> io::Result<()> {
    let target = match Target::read(path.as_bytes(), false) {
        Ok(target) => target,
        Err(what) => return writeln!(out, "every request for this is refused: {what}"),
    };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return writeln!(out, "{} is no method", printable(method));
    };
    match policy.find(&method, target.canonical()) {
        Found::Operation(found) => {
            writeln!(out, "{}", printable(found.operation().name()))?;
            parameters(&found, out)?;
            operation(found.operation(), out)
        }
        Found::OtherMethod(near) => {
            let methods: Vec<&str> = policy.methods(target.canonical()).into_iter().map(Method::as_str).collect();
            writeln!(out, "operations of this path take other methods: {}", methods.join(", "))?;
            if method != Method::OPTIONS {
                return Ok(());
            }
            parameters(&near, out)?;
            fields(policy.other(), out)
        }
        Found::Unknown if policy.refuses_unknown() => writeln!(out, "no operation has this path: refused"),
        Found::Unknown => {
            writeln!(out, "no operation has this path")?;
            fields(policy.other(), out)
        }
    }
}

fn parameters(found: &Match<'_, '_>, out: &mut dyn Write) -> io::Result<()> {
    for (name, value, purpose) in found.parameters() {
        writeln!(out, "  path {name} = {}  (here {})", purpose.spec(), printable(&format!("{value:?}")))?;
    }
    Ok(())
}

fn operation(operation: &Operation, out: &mut dyn Write) -> io::Result<()> {
    let types: Vec<String> = operation.content().iter().map(ToString::to_string).collect();
    if !types.is_empty() {
        writeln!(out, "  content {}", types.join(", "))?;
    }
    if let Some(size) = operation.max_body() {
        writeln!(out, "  max_body {size}")?;
    }
    fields(operation.fields(), out)
}

fn fields(fields: &gatehouse_waf::field::Fields, out: &mut dyn Write) -> io::Result<()> {
    let mut line = |kind: &str, name: &[u8], purpose: &Purpose| {
        writeln!(out, "  {kind} {} = {}", printable(&String::from_utf8_lossy(name)), printable(purpose.spec()))
    };
    if let Some(body) = &fields.body {
        line("body", b"", body)?;
    }
    let tables =
        [("query", &fields.query), ("header", &*fields.headers), ("cookie", &*fields.cookies), ("form", &fields.form)];
    for (kind, table) in tables {
        for (name, purpose) in table.named() {
            line(kind, name, purpose)?;
        }
        line(kind, b"(any other)", table.other())?;
    }
    for (path, purpose) in fields.json.paths() {
        line("json", path.to_string().as_bytes(), purpose)?;
    }
    line("json", b"(any other)", fields.json.other())?;
    for (name, part) in fields.parts.named() {
        line("file", name, &part.content)?;
        line("file name of", name, &part.name)?;
    }
    line("file", b"(any other)", fields.parts.other())
}

/// Reads a document and writes the draft of its policy.
fn drafted(document: &Path, out: Option<&Path>) -> Result<(), String> {
    let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", document.display());
    let mut text = String::new();
    let size = if document == Path::new("-") {
        io::stdin().lock().take(MAX_DOCUMENT + 1).read_to_string(&mut text)
    } else {
        File::open(document).and_then(|file| file.take(MAX_DOCUMENT + 1).read_to_string(&mut text))
    };
    if u64::try_from(size.map_err(|error| fault(&error))?).is_ok_and(|size| size > MAX_DOCUMENT) {
        return Err(fault(&format!("larger than {MAX_DOCUMENT} bytes")));
    }
    let tree = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| fault(&error))?
    } else {
        serde_saphyr::from_str(&text).map_err(|error| fault(&error))?
    };
    let draft = openapi::draft(&tree).map_err(|error| fault(&error))?;
    let Some(out) = out else {
        let _ = io::stdout().lock().write_all(draft.as_bytes());
        return Ok(());
    };
    let written = File::create_new(out).and_then(|mut file| file.write_all(draft.as_bytes()));
    written.map_err(|error| format!("{}: {error}", out.display()))
}
