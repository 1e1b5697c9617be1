//! `ctl`: changes of the engine for the rest of one transaction.

use super::ActionFault;
use crate::diagnostic::nearest;
use crate::ruleset::Mode;

/// Ranges of rule ids, both ends included.
pub type Ids = Vec<(u64, u64)>;

/// Who parses the request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processor {
    /// `application/x-www-form-urlencoded`
    UrlEncoded,
    /// `multipart/form-data`
    Multipart,
    /// JSON
    Json,
    /// XML
    Xml,
}

impl Processor {
    /// The value of REQBODY_PROCESSOR.
    pub fn name(self) -> &'static str {
        match self {
            Self::UrlEncoded => "URLENCODED",
            Self::Multipart => "MULTIPART",
            Self::Json => "JSON",
            Self::Xml => "XML",
        }
    }
}

/// What the audit record of a transaction depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditEngine {
    /// Always written.
    On,
    /// Never written.
    Off,
    /// Written when a rule with `auditlog` matched or the status is relevant.
    RelevantOnly,
}

/// A `ctl` with its argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ctl {
    /// `ruleRemoveById`
    RemoveById(Ids),
    /// `ruleRemoveByTag`: the whole tag, exactly.
    RemoveByTag(String),
    /// `ruleRemoveByMsg`: the whole message, exactly.
    RemoveByMsg(String),
    /// `ruleRemoveTargetById`
    RemoveTargetById(Ids, String),
    /// `ruleRemoveTargetByTag`
    RemoveTargetByTag(String, String),
    /// `ruleRemoveTargetByMsg`
    RemoveTargetByMsg(String, String),
    /// `ruleEngine`
    RuleEngine(Mode),
    /// `auditEngine`
    AuditEngine(AuditEngine),
    /// `requestBodyProcessor`
    RequestBodyProcessor(Processor),
    /// `forceRequestBodyVariable`
    ForceRequestBodyVariable(bool),
    /// `requestBodyAccess`
    RequestBodyAccess(bool),
    /// `responseBodyAccess`
    ResponseBodyAccess(bool),
    /// `auditLogParts`, `debugLogLevel`: nothing that depends on them exists here.
    Remark,
}

const NAMES: &[&str] = &[
    "auditEngine",
    "auditLogParts",
    "debugLogLevel",
    "forceRequestBodyVariable",
    "requestBodyAccess",
    "requestBodyProcessor",
    "responseBodyAccess",
    "ruleEngine",
    "ruleRemoveById",
    "ruleRemoveByMsg",
    "ruleRemoveByTag",
    "ruleRemoveTargetById",
    "ruleRemoveTargetByMsg",
    "ruleRemoveTargetByTag",
];

impl Ctl {
    /// Reads `name=value`.
    ///
    /// # Errors
    /// An unknown name or a value not of its form.
    pub fn parse(text: &str) -> Result<Self, ActionFault> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(ActionFault::new("ctl needs a name and a value", "write ctl:name=value"));
        };
        let (name, value) = (name.trim(), value.trim());
        let bad = |form: &str| ActionFault::new(format!("ctl:{name} cannot take \"{value}\""), form.to_owned());
        let on_off = || on_off(value).ok_or_else(|| bad("write On or Off"));
        let pair = || {
            let form = "write a rule selector, a semicolon and a target, as in 942100;ARGS:name";
            value.split_once(';').map(|(a, b)| (a.trim(), b.trim().to_owned())).ok_or_else(|| bad(form))
        };
        let ids = |text: &str| parse_ids(text).ok_or_else(|| bad("write an id or a range, as in 942100 or 1-999"));
        Ok(match name.to_ascii_lowercase().as_str() {
            "ruleremovebyid" => Self::RemoveById(ids(value)?),
            "ruleremovebytag" => Self::RemoveByTag(value.to_owned()),
            "ruleremovebymsg" => Self::RemoveByMsg(value.to_owned()),
            "ruleremovetargetbyid" => {
                let (which, target) = pair()?;
                Self::RemoveTargetById(ids(which)?, target)
            }
            "ruleremovetargetbytag" => {
                let (which, target) = pair()?;
                Self::RemoveTargetByTag(which.to_owned(), target)
            }
            "ruleremovetargetbymsg" => {
                let (which, target) = pair()?;
                Self::RemoveTargetByMsg(which.to_owned(), target)
            }
            "ruleengine" => Self::RuleEngine(Mode::parse(value).ok_or_else(|| bad("write On, DetectionOnly or Off"))?),
            "auditengine" => Self::AuditEngine(match value.to_ascii_lowercase().as_str() {
                "on" => AuditEngine::On,
                "off" => AuditEngine::Off,
                "relevantonly" => AuditEngine::RelevantOnly,
                _ => return Err(bad("write On, Off or RelevantOnly")),
            }),
            "requestbodyprocessor" => Self::RequestBodyProcessor(match value.to_ascii_uppercase().as_str() {
                "URLENCODED" => Processor::UrlEncoded,
                "MULTIPART" => Processor::Multipart,
                "JSON" => Processor::Json,
                "XML" => Processor::Xml,
                _ => return Err(bad("the processors are URLENCODED, MULTIPART, JSON and XML")),
            }),
            "forcerequestbodyvariable" => Self::ForceRequestBodyVariable(on_off()?),
            "requestbodyaccess" => Self::RequestBodyAccess(on_off()?),
            "responsebodyaccess" => Self::ResponseBodyAccess(on_off()?),
            "auditlogparts" | "debugloglevel" => Self::Remark,
            _ => {
                let mend = match nearest(name, NAMES.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("the names are {}", NAMES.join(", ")),
                };
                return Err(ActionFault::new(format!("unknown ctl \"{name}\""), mend));
            }
        })
    }
}

pub(crate) fn on_off(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "1" => Some(true),
        "off" | "false" | "0" => Some(false),
        _ => None,
    }
}

/// `1,5-9 12`: ids and ranges, separated by commas or blanks.
pub(crate) fn parse_ids(text: &str) -> Option<Ids> {
    let mut ids = Ids::new();
    for part in text.split([',', ' ', '\t']).filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let range: (u64, u64) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        ids.push(Some(range).filter(|(from, to)| from <= to)?);
    }
    Some(ids).filter(|ids| !ids.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, want) in [
            ("ruleRemoveById=1-999999", Ctl::RemoveById(vec![(1, 999_999)])),
            ("ruleRemoveByTag=OWASP_CRS", Ctl::RemoveByTag("OWASP_CRS".to_owned())),
            (
                "ruleRemoveTargetByTag=xss-perf-disable;REQUEST_FILENAME",
                Ctl::RemoveTargetByTag("xss-perf-disable".to_owned(), "REQUEST_FILENAME".to_owned()),
            ),
            ("requestbodyprocessor=json", Ctl::RequestBodyProcessor(Processor::Json)),
            ("auditEngine=Off", Ctl::AuditEngine(AuditEngine::Off)),
            ("ruleEngine=DetectionOnly", Ctl::RuleEngine(Mode::DetectionOnly)),
        ] {
            assert_eq!(Ctl::parse(text), Ok(want), "{text}");
        }
        for text in [
            "ruleRemoveById",
            "ruleRemoveById=x",
            "ruleRemoveById=9-1",
            "ruleEngine=Maybe",
            "ruleEngin=On",
            "ruleRemoveTargetById=1",
            "requestBodyProcessor=YAML",
        ] {
            assert!(Ctl::parse(text).is_err(), "{text}");
        }
    }
}
