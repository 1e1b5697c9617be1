//! The `[limits]` section.

use crate::units::Rate;
use crate::verdict::Mode;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// The limits of the whole gate; routes choose among them by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether requests over a limit are refused or only recorded.
    pub mode: Mode,
    /// Whether requests are counted at all; `true`, `false`, or as an environment variable has it, `"on"`, `"off"`.
    #[serde(deserialize_with = "switch")]
    pub enabled: bool,
    /// Most users with a bucket of their own, for each policy; those beyond share overflow buckets while a flood lasts.
    pub max_keys: usize,
    /// The limit of every route that names none.
    pub default: Allowance,
    /// Further limits, by the name that a route gives.
    pub policies: BTreeMap<String, Allowance>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            enabled: true,
            max_keys: 1_000_000,
            default: Allowance::default(),
            policies: BTreeMap::new(),
        }
    }
}

/// What one user may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allowance {
    /// In the long run, as `"100/m"`.
    pub rate: Rate,
    /// At once after a quiet time, in requests; unset: as many as the rate counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<NonZeroU32>,
}

impl Default for Allowance {
    fn default() -> Self {
        const HUNDRED: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);
        Self { rate: Rate { count: HUNDRED, per: Duration::from_secs(60) }, burst: None }
    }
}

/// A boolean, or the text an environment variable holds for one.
fn switch<'de, D: Deserializer<'de>>(input: D) -> Result<bool, D::Error> {
    struct Visit;
    impl de::Visitor<'_> for Visit {
        type Value = bool;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true, false, \"on\" or \"off\"")
        }
        fn visit_bool<E>(self, on: bool) -> Result<bool, E> {
            Ok(on)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<bool, E> {
            match text.trim().to_ascii_lowercase().as_str() {
                "on" | "true" => Ok(true),
                "off" | "false" => Ok(false),
                _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
            }
        }
    }
    input.deserialize_any(Visit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_reads_what_people_and_environments_write() {
        for (text, on) in [("true", true), ("\"on\"", true), ("\"Off\"", false), ("false", false), ("\"true\"", true)] {
            let settings: Settings = toml::from_str(&format!("enabled = {text}")).unwrap();
            assert_eq!(settings.enabled, on, "{text}");
        }
        for bad in ["\"\"", "\"yes please\"", "1"] {
            assert!(toml::from_str::<Settings>(&format!("enabled = {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_print_in_the_form_they_read() {
        let text = "mode = \"detect\"\n[default]\nrate = \"20/s\"\nburst = 60\n[policies.login]\nrate = \"5/m\"\n";
        let settings: Settings = toml::from_str(text).unwrap();
        let printed = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<Settings>(&printed).unwrap(), settings);
        assert_eq!(settings.policies["login"].burst, None);
        assert!(toml::from_str::<Settings>("[default]\nbrust = 3\n").is_err());
        assert!(toml::from_str::<Settings>("[default]\nburst = 0\n").is_err());
    }
}
