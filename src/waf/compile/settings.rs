//! The directives that are no rules.

use super::Report;
use crate::action::AuditEngine;
use crate::diagnostic::nearest;
use crate::ruleset::{LimitAction, Mode, Settings};
use crate::seclang::ast::{Directive, Text};

/// Why a directive of other engines has no effect here.
const NO_EFFECT: &[(&str, &str)] = &[
    ("SecAuditLog", "audit events are configured in the gate"),
    ("SecAuditLog2", "audit events are configured in the gate"),
    ("SecAuditLogDirMode", "audit events are configured in the gate"),
    ("SecAuditLogFileMode", "audit events are configured in the gate"),
    ("SecAuditLogFormat", "audit events are configured in the gate"),
    ("SecAuditLogParts", "audit events are configured in the gate"),
    ("SecAuditLogPrefix", "audit events are configured in the gate"),
    ("SecAuditLogRelevantStatus", "audit events are configured in the gate"),
    ("SecAuditLogStorageDir", "audit events are configured in the gate"),
    ("SecAuditLogType", "audit events are configured in the gate"),
    ("SecConnEngine", "connections are limited by the gate"),
    ("SecConnReadStateLimit", "connections are limited by the gate"),
    ("SecConnWriteStateLimit", "connections are limited by the gate"),
    ("SecDataDir", "persistent collections are kept in memory"),
    ("SecDebugLog", "there is no debug log"),
    ("SecDebugLogLevel", "there is no debug log"),
    ("SecDisableBackendCompression", "the gate decides about compression"),
    ("SecGeoLookupDb", "there is no geographic database"),
    ("SecGuardianLog", "audit events are configured in the gate"),
    ("SecHttpBlKey", "there are no look-ups over the network"),
    ("SecInterceptOnError", "rules cannot fail at run time"),
    ("SecPcreMatchLimit", "patterns take linear time"),
    ("SecPcreMatchLimitRecursion", "patterns take linear time"),
    ("SecRequestBodyInMemoryLimit", "the gate decides how bodies are held"),
    ("SecRulePerfTime", "durations are metrics of the gate"),
    ("SecSensorId", "audit events are configured in the gate"),
    ("SecServerSignature", "the gate decides about response headers"),
    ("SecStatusEngine", "nothing is ever reported to anyone"),
    ("SecTmpDir", "uploads are never written to disk"),
    ("SecTmpSaveUploadedFiles", "uploads are never written to disk"),
    ("SecUploadDir", "uploads are never written to disk"),
    ("SecUploadFileMode", "uploads are never written to disk"),
    ("SecUploadKeepFiles", "uploads are never written to disk"),
    ("SecXmlExternalEntity", "external entities are never loaded"),
];

/// Directives that would change what is detected, so that leaving them out silently would mislead.
const REFUSED: &[(&str, &str)] = &[
    ("SecCacheTransformations", "equal transformations are always computed once"),
    ("SecContentInjection", "responses are never rewritten"),
    ("SecChrootDir", "set it where the gate is started"),
    ("SecGsbLookupDb", "there are no look-ups over the network"),
    ("SecHashEngine", "responses are never rewritten"),
    ("SecHashKey", "responses are never rewritten"),
    ("SecHashMethodPm", "responses are never rewritten"),
    ("SecHashMethodRx", "responses are never rewritten"),
    ("SecHashParam", "responses are never rewritten"),
    ("SecReadStateLimit", "connections are limited by the gate"),
    ("SecRemoteRules", "rules are files"),
    ("SecRemoteRulesFailAction", "rules are files"),
    ("SecRuleInheritance", "there is one context"),
    ("SecRuleScript", "rules run no programs"),
    ("SecStreamInBodyInspection", "use REQUEST_BODY"),
    ("SecStreamOutBodyInspection", "use RESPONSE_BODY"),
    ("SecWriteStateLimit", "connections are limited by the gate"),
];

const KNOWN: &[&str] = &[
    "Include",
    "IncludeOptional",
    "SecAction",
    "SecArgumentSeparator",
    "SecArgumentsLimit",
    "SecAuditEngine",
    "SecCollectionTimeout",
    "SecComponentSignature",
    "SecCookieFormat",
    "SecDefaultAction",
    "SecGatehouseWorkLimit",
    "SecMarker",
    "SecRequestBodyAccess",
    "SecRequestBodyJsonDepthLimit",
    "SecRequestBodyLimit",
    "SecRequestBodyLimitAction",
    "SecRequestBodyNoFilesLimit",
    "SecResponseBodyAccess",
    "SecResponseBodyLimit",
    "SecResponseBodyLimitAction",
    "SecResponseBodyMimeType",
    "SecResponseBodyMimeTypesClear",
    "SecRule",
    "SecRuleEngine",
    "SecRuleRemoveById",
    "SecRuleRemoveByMsg",
    "SecRuleRemoveByTag",
    "SecRuleUpdateActionById",
    "SecRuleUpdateTargetById",
    "SecRuleUpdateTargetByMsg",
    "SecRuleUpdateTargetByTag",
    "SecUnicodeMapFile",
    "SecUploadFileLimit",
    "SecWebAppId",
];

/// Largest body that may be asked for: what fits in memory many times over is no protection.
const MAX_BODY: usize = 1 << 30;

/// Applies one directive.
pub(super) fn apply(directive: &Directive, words: &[Text], settings: &mut Settings, report: &mut Report) {
    let name = directive.name.value.as_str();
    let lower = name.to_ascii_lowercase();
    let joined = words.iter().map(|w| w.value.as_str()).collect::<Vec<_>>().join(" ");
    let at = words.first().map_or(directive.name.at, |w| w.at);
    let mut reader = Reader { name, joined: &joined, at, report };
    match lower.as_str() {
        "secruleengine" => reader.choice(Mode::parse, "On, DetectionOnly or Off", &mut settings.mode),
        "secrequestbodyaccess" => reader.on_off(&mut settings.request_body_access),
        "secresponsebodyaccess" => reader.on_off(&mut settings.response_body_access),
        "secrequestbodylimit" => reader.number(1, MAX_BODY, &mut settings.request_body_limit),
        "secrequestbodynofileslimit" => reader.number(1, MAX_BODY, &mut settings.request_body_no_files_limit),
        "secresponsebodylimit" => reader.number(1, MAX_BODY, &mut settings.response_body_limit),
        "secrequestbodyjsondepthlimit" => reader.number(1, 10_000, &mut settings.json_depth),
        "secargumentslimit" => reader.number(1, 100_000, &mut settings.arguments_limit),
        "secuploadfilelimit" => reader.number(1, 10_000, &mut settings.upload_file_limit),
        "seccollectiontimeout" => reader.number(1, 1 << 31, &mut settings.collection_timeout),
        "secgatehouseworklimit" => reader.number(1 << 20, 1 << 40, &mut settings.work_limit),
        "secrequestbodylimitaction" => reader.limit_action(&mut settings.request_body_limit_action),
        "secresponsebodylimitaction" => reader.limit_action(&mut settings.response_body_limit_action),
        "secargumentseparator" => {
            let one = |v: &str| <[u8; 1]>::try_from(v.as_bytes()).ok().map(|[byte]| byte);
            reader.choice(one, "one character", &mut settings.argument_separator);
        }
        "seccookieformat" => {
            let zero = |v: &str| (v == "0").then_some(());
            reader.choice(zero, "0: version 1 cookies are obsolete (RFC 6265)", &mut ());
        }
        "secauditengine" => {
            let parse = |v: &str| match v.to_ascii_lowercase().as_str() {
                "on" => Some(AuditEngine::On),
                "off" => Some(AuditEngine::Off),
                "relevantonly" => Some(AuditEngine::RelevantOnly),
                _ => None,
            };
            reader.choice(parse, "On, Off or RelevantOnly", &mut settings.audit_engine);
        }
        "secresponsebodymimetype" => {
            for word in words {
                let types = &mut settings.response_mime_types;
                let value = word.value.to_ascii_lowercase();
                if !types.contains(&value) {
                    types.push(value);
                }
            }
            if words.is_empty() {
                reader.fault("at least one media type, as in text/html");
            }
        }
        "secresponsebodymimetypesclear" => settings.response_mime_types.clear(),
        "secwebappid" => settings.web_app_id = joined,
        "seccomponentsignature" => settings.component_signatures.push(joined),
        "secunicodemapfile" => {
            if words.get(1).is_some_and(|page| page.value != "20127") {
                report.warning(at, "only code page 20127 is built in", "the map of 20127 is used");
            }
        }
        _ => unknown(directive, report),
    }
}

fn unknown(directive: &Directive, report: &mut Report) {
    let (name, at) = (directive.name.value.as_str(), directive.name.at);
    let find =
        |table: &[(&str, &'static str)]| table.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, why)| *why);
    if let Some(why) = find(NO_EFFECT) {
        return report.warning(at, format!("{name} has no effect"), why);
    }
    if let Some(why) = find(REFUSED) {
        return report.error(at, format!("{name} is not supported"), why);
    }
    let mend = match nearest(name, KNOWN.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "see the list of directives in the manual".to_owned(),
    };
    report.error(at, format!("unknown directive \"{name}\""), mend);
}

/// The argument of one directive.
struct Reader<'a> {
    name: &'a str,
    joined: &'a str,
    at: crate::diagnostic::Place,
    report: &'a mut Report,
}

impl Reader<'_> {
    fn fault(&mut self, form: &str) {
        let what = format!("{} cannot take \"{}\"", self.name, self.joined);
        self.report.error(self.at, what, format!("write {form}"));
    }

    fn choice<T>(&mut self, parse: impl FnOnce(&str) -> Option<T>, form: &str, into: &mut T) {
        match parse(self.joined) {
            Some(value) => *into = value,
            None => self.fault(form),
        }
    }

    fn on_off(&mut self, into: &mut bool) {
        let parse = |v: &str| match v.to_ascii_lowercase().as_str() {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        };
        self.choice(parse, "On or Off", into);
    }

    fn limit_action(&mut self, into: &mut LimitAction) {
        let parse = |v: &str| match v.to_ascii_lowercase().as_str() {
            "reject" => Some(LimitAction::Reject),
            "processpartial" => Some(LimitAction::ProcessPartial),
            _ => None,
        };
        self.choice(parse, "Reject or ProcessPartial", into);
    }

    fn number<T: std::str::FromStr + PartialOrd + std::fmt::Display>(&mut self, least: T, most: T, into: &mut T) {
        match self.joined.parse::<T>() {
            Ok(value) if value >= least && value <= most => *into = value,
            _ => self.fault(&format!("a whole number from {least} to {most}")),
        }
    }
}
