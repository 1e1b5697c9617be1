//! The `[waf]` section: which rules run, over how much of a request and a response.

use crate::units::{self, ByteSize};
use crate::verdict::Mode;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What the `[waf]` section says. Relative paths are relative to the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether requests and responses are inspected at all.
    pub enabled: bool,
    /// Whether a refusal by the rules is carried out or only recorded.
    pub mode: Mode,
    /// Overrides the rules' own `SecRuleEngine`.
    #[serde(deserialize_with = "units::unless_empty", skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// Whether the embedded core rules run.
    pub core_rules: bool,
    /// The OWASP Core Rule Set laid out as released: `crs-setup.conf` (else `crs-setup.conf.example`), then
    /// `rules/*.conf` by name. Empty: none.
    #[serde(deserialize_with = "units::unless_empty", skip_serializing_if = "Option::is_none")]
    pub crs_dir: Option<PathBuf>,
    /// Rule files, or patterns with `*` in the file name, included after the setup file of `crs_dir` and before its
    /// rules; also taken as one text with commas.
    #[serde(deserialize_with = "units::list")]
    pub rules: Vec<PathBuf>,
    /// The largest request body that is held and inspected; a larger one is refused with 413. At least 1 KiB.
    pub max_body: ByteSize,
    /// What all held request bodies together may take; above it a request is refused with 503. At least `max_body`.
    pub held_total: ByteSize,
    /// What becomes of a request or response that takes more work to inspect than `SecGatehouseWorkLimit` allows.
    pub on_budget: OnBudget,
    /// Whether metrics tell what each rule reads; costs a few microseconds a request.
    pub rule_costs: bool,
    /// Whether response bodies are inspected (response heads always are).
    pub response_bodies: bool,
    /// How much of a response body is held for inspection before its head is released.
    pub response_window: ByteSize,
}

/// ModSecurity's three states of `SecRuleEngine`, spelled as there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum Engine {
    /// Rules run and refuse.
    On,
    /// Rules run and record; disruptive actions are not carried out.
    DetectionOnly,
    /// Rules do not run.
    Off,
}

/// What an inspection that ran into its work limit decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBudget {
    /// Refuse with 413, a response with 502: what is too costly to inspect is not inspected.
    Block,
    /// Let it pass as far as it was inspected, with a warning in the log.
    Detect,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            mode: Mode::Enforce,
            engine: None,
            core_rules: true,
            crs_dir: None,
            rules: Vec::new(),
            max_body: ByteSize::mib(32),
            held_total: ByteSize::mib(256),
            on_budget: OnBudget::Block,
            rule_costs: false,
            response_bodies: true,
            response_window: ByteSize::kib(512),
        }
    }
}
