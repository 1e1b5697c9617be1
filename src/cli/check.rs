//! `gatehouse check`: loads everything a gate would run on, without listening, and says what is wrong and how to mend it.

use crate::config::{self, Config};
use crate::fault::Fault;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// Checks a configuration file; `verify` builds what it configures and gives the lines of a summary. With `effective`, the
/// merged configuration goes to standard output, secrets masked, and the summary to standard error.
///
/// Exit code 0, or 1 when a fault was found; faults go to standard error.
pub(super) fn run(
    path: &Path,
    effective: bool,
    verify: impl FnOnce(&Config) -> Result<Vec<String>, Vec<Fault>>,
) -> ExitCode {
    let outcome = config::load(path).and_then(|config| {
        if effective {
            // A reader that went away wants no more.
            let _ = io::stdout().lock().write_all(config::effective(&config.document).as_bytes());
        }
        verify(&config).map_err(|faults| faults.into_iter().map(|fault| config.locate(fault)).collect())
    });
    match outcome {
        Ok(summary) => {
            let mut out: Box<dyn Write> = if effective { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
            let _ = summarise(&mut out, path, &summary);
            ExitCode::SUCCESS
        }
        Err(faults) => {
            let _ = report(&mut io::stderr().lock(), &faults, coloured());
            ExitCode::FAILURE
        }
    }
}

/// Writes faults as a person reads them: one after the other, then how many.
///
/// # Errors
///
/// What writing gave.
pub(super) fn report(out: &mut dyn Write, faults: &[Fault], colour: bool) -> io::Result<()> {
    let (red, plain) = if colour { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    for fault in faults {
        writeln!(out, "{red}error{plain}: {}", printable(&fault.to_string()))?;
    }
    let plural = if faults.len() == 1 { "" } else { "s" };
    writeln!(out, "{} fault{plural} found; nothing was started", faults.len())
}

/// Whether standard error is a terminal that wants colour (<https://no-color.org>).
pub(super) fn coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn summarise(out: &mut dyn Write, path: &Path, summary: &[String]) -> io::Result<()> {
    writeln!(out, "{}: ok", path.display())?;
    for line in summary {
        writeln!(out, "  {line}")?;
    }
    out.flush()
}

/// A faulty file may hold anything: what could steer a terminal, or turn the direction of a line, is shown as an escape.
pub(super) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        let turns = matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
        if (c.is_control() && c != '\n') || turns {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_lists_every_fault_and_colours_only_when_asked() {
        let faults = [
            Fault::file("a.toml", (3, 1), "brust = 5", "unknown key \"brust\"", "did you mean \"burst\"?"),
            Fault::key("waf", "odd \x1b[2J \u{202E}", ""),
        ];
        let mut out = Vec::new();
        report(&mut out, &faults, false).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "error: a.toml:3:1: unknown key \"brust\"; did you mean \"burst\"?\n    brust = 5\n    ^\n\
             error: waf: odd \\u{1b}[2J \\u{202e}\n2 faults found; nothing was started\n"
        );
        let mut out = Vec::new();
        report(&mut out, &faults[..1], true).unwrap();
        assert!(String::from_utf8(out).unwrap().starts_with("\x1b[1;31merror\x1b[0m: a.toml:3:1: "));
    }
}
