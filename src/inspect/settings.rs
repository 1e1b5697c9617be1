//! The `[waf]` section: which rules run, over how much of a request and a response.

use crate::units::{self, ByteSize, Share};
use crate::verdict::Mode;
use serde::{Deserialize, Deserializer, Serialize};
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
    /// A candidate that judges a share of the requests beside the rules in force.
    pub shadow: ShadowSettings,
}

/// `[waf.shadow]`: rules and policy files that are tried on real requests and refuse none. What is left out is as in
/// force, so that a candidate is promoted by moving its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShadowSettings {
    /// The share of requests that the candidate judges; 0: none, and it is not even loaded.
    pub share: Share,
    /// In place of `waf.core_rules`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_rules: Option<bool>,
    /// In place of `waf.crs_dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crs_dir: Option<PathBuf>,
    /// In place of `waf.rules`.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<PathBuf>>,
    /// In place of `policy.files`.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub policy_files: Option<Vec<PathBuf>>,
}

fn given<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<PathBuf>>, D::Error> {
    units::list(input).map(Some)
}

impl Settings {
    /// The settings of the candidate; none where it judges nothing.
    pub fn candidate(&self) -> Option<Self> {
        let shadow = &self.shadow;
        (self.enabled && !shadow.share.is_none()).then(|| Self {
            core_rules: shadow.core_rules.unwrap_or(self.core_rules),
            crs_dir: shadow.crs_dir.clone().or_else(|| self.crs_dir.clone()).filter(|dir| !dir.as_os_str().is_empty()),
            rules: shadow.rules.clone().unwrap_or_else(|| self.rules.clone()),
            rule_costs: false,
            shadow: ShadowSettings::default(),
            ..self.clone()
        })
    }
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
            shadow: ShadowSettings::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_takes_as_many_as_it_says() {
        for (share, taken) in [("0.0", 0), ("0.25", 250), ("1.0", 1_000), ("0.05", 50)] {
            let share: Share = serde_json::from_str(share).unwrap();
            let dice = (0..1_000_u32).map(|n| n * (u32::MAX / 1_000) + 2_000_000);
            assert_eq!(dice.filter(|dice| share.takes(*dice)).count(), taken, "{share:?}");
        }
        for wrong in ["-0.1", "1.5", "\"half\""] {
            assert!(serde_json::from_str::<Share>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_candidate_is_what_is_in_force_but_for_what_it_says() {
        let mut settings = Settings { rules: vec!["a.conf".into()], ..Settings::default() };
        assert_eq!(settings.candidate(), None);
        settings.shadow = serde_json::from_str(r#"{"share": 0.5, "core_rules": false}"#).unwrap();
        let candidate = settings.candidate().unwrap();
        assert_eq!((candidate.core_rules, candidate.rules.len()), (false, 1));
        settings.shadow.rules = Some(Vec::new());
        assert!(settings.candidate().unwrap().rules.is_empty());
        settings.enabled = false;
        assert_eq!(settings.candidate(), None);
    }
}
