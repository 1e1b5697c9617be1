//! The log: the `[log]` section, and setting up the subscriber once per process.
//!
//! Everything goes to standard error, one record a line, as text or JSON; records of libraries that use the `log` crate
//! come along. Nothing is logged per request: a request's record is its audit event and the metrics it moves. Values
//! from the network must be logged with `?value`, which escapes line ends and control characters.

use crate::fault::Fault;
use serde::{Deserialize, Serialize};
use std::io::IsTerminal;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// Libraries that report single connections and requests at `info` and below, which any client can cause at will.
const CHATTY: &str = "pingora_core=warn,pingora_proxy=warn,pingora_cache=warn,pingora_pool=warn,h2=warn,hyper=warn,\
                      hyper_util=warn,rustls=warn,tokio_rustls=warn,notify=warn,mio=warn";

/// How a log record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people; in colour on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the `[log]` section says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// `text` or `json`.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`, and after commas a level for single modules:
    /// `info,gatehouse::audit=debug`. Libraries below the gate stay at `warn` unless named here.
    pub level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into() }
    }
}

impl LogSettings {
    /// Reads the level.
    ///
    /// # Errors
    ///
    /// One fault if it is no level.
    pub fn check(&self) -> Result<(), Vec<Fault>> {
        self.filter().map(drop)
    }

    fn filter(&self) -> Result<EnvFilter, Vec<Fault>> {
        let parse = |directives: &str| {
            EnvFilter::builder().parse(directives).map_err(|error| {
                let what = format!("{:?} is no log level ({error})", self.level);
                let mend = "write error, warn, info, debug, trace or off, and module=level after commas";
                vec![Fault::key("level", what, mend)]
            })
        };
        // EnvFilter takes a bare unknown word for a module's name and then logs nothing but that module.
        let level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
        let known = |word: &str| level(word) || word.contains(['=', '[']);
        if let Some(word) = self.level.split(',').map(str::trim).find(|word| !known(word)) {
            let what = format!("{word:?} is no log level");
            let mend = "write error, warn, info, debug, trace or off, and module=level after commas";
            return Err(vec![Fault::key("level", what, mend)]);
        }
        let own = parse(&self.level)?;
        if own.max_level_hint().is_some_and(|most| most <= LevelFilter::WARN) {
            return Ok(own);
        }
        // The later directive for the same module wins, so what the settings name is theirs.
        parse(&format!("{CHATTY},{}", self.level))
    }
}

/// Sets up the process's log on standard error, for `tracing` and the `log` crate.
///
/// # Errors
///
/// A level that is none, or a process whose log was set up before.
pub fn init(settings: &LogSettings) -> Result<(), Vec<Fault>> {
    let subscriber = subscriber(settings, std::io::stderr, std::io::stderr().is_terminal())?;
    subscriber
        .try_init()
        .map_err(|error| vec![Fault::key("", format!("the log could not be set up: {error}"), "set it up once")])
}

fn subscriber<W>(
    settings: &LogSettings,
    writer: W,
    colour: bool,
) -> Result<Box<dyn Subscriber + Send + Sync>, Vec<Fault>>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(settings.filter()?).with_writer(writer).with_ansi(colour);
    Ok(match settings.format {
        LogFormat::Text => Box::new(builder.finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).with_current_span(false).finish()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str, act: impl Fn()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let settings = LogSettings { format, level: level.into() };
        let guard = subscriber(&settings, move || writer.clone(), false).unwrap().set_default();
        act();
        drop(guard);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn records_of_tracing_and_of_the_log_crate_are_written_as_json() {
        let text = logged(LogFormat::Json, "info", || {
            tracing::info!(port = 8443, "listening");
            log::warn!(target: "pingora_core::listeners", "a warning below us");
            log::info!(target: "pingora_core::listeners", "chatter below us");
        });
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!((&lines[0]["message"], &lines[0]["port"]), (&"listening".into(), &8443.into()));
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[1]["message"], "a warning below us");
    }

    #[test]
    fn levels_filter_and_a_named_library_speaks() {
        for (level, expected) in [("info", 0), ("info,pingora_core=info", 1), ("error", 0), ("off", 0)] {
            let text = logged(LogFormat::Text, level, || log::info!(target: "pingora_core", "chatter"));
            assert_eq!(text.lines().count(), expected, "{level}: {text}");
        }
    }

    #[test]
    fn values_from_the_network_cannot_start_a_line() {
        let text = logged(LogFormat::Text, "info", || tracing::info!(host = ?"a\nINFO forged", "seen"));
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn a_level_that_is_none_is_a_fault() {
        for level in ["loud", "info,gatehouse=loud", "", "info,,warn"] {
            let faults = LogSettings { level: level.into(), ..LogSettings::default() }.check().unwrap_err();
            assert!(faults[0].to_string().starts_with("level: "), "{level}");
        }
        for level in ["info", "OFF", "warn,gatehouse::audit=debug"] {
            assert!(LogSettings { level: level.into(), ..LogSettings::default() }.check().is_ok(), "{level}");
        }
    }
}
