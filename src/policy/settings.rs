//! The `[policy]` section: what the fields of requests are for.

use crate::units;
use crate::verdict::Mode;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What the `[policy]` section says. Relative paths are relative to the configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Policy files, or patterns with `*` in the file name: together they are one policy. None: rules see every field.
    #[serde(deserialize_with = "units::list")]
    pub files: Vec<PathBuf>,
    /// Whether what a field is not is refused or only recorded.
    pub mode: Mode,
}
