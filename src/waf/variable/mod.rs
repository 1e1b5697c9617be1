//! The variables of SecLang: their names and shapes.
//!
//! A rule names a variable as a target (`ARGS:x`, `&TX:y`, `!REQUEST_COOKIES:/z/`) or in a macro (`%{ARGS.x}`). This
//! module knows which names exist, which are collections, and how a selector picks members; `eval` knows where the
//! values are. Source: the ModSecurity v3 reference manual, "Variables". Names are case-insensitive. `TLS_JA4` is our own: the
//! fingerprint of the client's TLS greeting, unset without TLS.

mod selector;

pub use selector::Selector;

use crate::action::Phase;

/// What a variable holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// At most one value, no selector.
    Single,
    /// Any number of named values.
    Collection,
    /// A store that outlives the transaction; named values.
    Persistent,
    /// The document of an XML body; needs an XPath.
    Document,
}

macro_rules! variables {
    ($($variant:ident $name:literal $shape:ident,)*) => {
        /// A variable of SecLang.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "each variant is the name in the reference manual")]
        pub enum Variable {
            $($variant,)*
        }

        impl Variable {
            /// Every variable, in the order of their names.
            pub const ALL: &[Variable] = &[$(Variable::$variant,)*];

            /// The name in the manual.
            pub fn name(self) -> &'static str {
                match self {
                    $(Variable::$variant => $name,)*
                }
            }

            /// Whether its members are arguments or their names.
            pub(crate) fn is_argument(self) -> bool {
                matches!(
                    self,
                    Variable::Args
                        | Variable::ArgsGet
                        | Variable::ArgsPost
                        | Variable::ArgsNames
                        | Variable::ArgsGetNames
                        | Variable::ArgsPostNames
                )
            }

            /// What it holds.
            pub fn shape(self) -> Shape {
                match self {
                    $(Variable::$variant => Shape::$shape,)*
                }
            }
        }
    };
}

variables! {
    Args "ARGS" Collection,
    ArgsCombinedSize "ARGS_COMBINED_SIZE" Single,
    ArgsGet "ARGS_GET" Collection,
    ArgsGetNames "ARGS_GET_NAMES" Collection,
    ArgsNames "ARGS_NAMES" Collection,
    ArgsPost "ARGS_POST" Collection,
    ArgsPostNames "ARGS_POST_NAMES" Collection,
    AuthType "AUTH_TYPE" Single,
    Duration "DURATION" Single,
    Files "FILES" Collection,
    FilesCombinedSize "FILES_COMBINED_SIZE" Single,
    FilesNames "FILES_NAMES" Collection,
    FilesSizes "FILES_SIZES" Collection,
    FilesTmpContent "FILES_TMP_CONTENT" Collection,
    FullRequest "FULL_REQUEST" Single,
    FullRequestLength "FULL_REQUEST_LENGTH" Single,
    Geo "GEO" Collection,
    Global "GLOBAL" Persistent,
    HighestSeverity "HIGHEST_SEVERITY" Single,
    InboundDataError "INBOUND_DATA_ERROR" Single,
    Ip "IP" Persistent,
    MatchedVar "MATCHED_VAR" Single,
    MatchedVarName "MATCHED_VAR_NAME" Single,
    MatchedVars "MATCHED_VARS" Collection,
    MatchedVarsNames "MATCHED_VARS_NAMES" Collection,
    MultipartBoundaryQuoted "MULTIPART_BOUNDARY_QUOTED" Single,
    MultipartBoundaryWhitespace "MULTIPART_BOUNDARY_WHITESPACE" Single,
    MultipartCrlfLfLines "MULTIPART_CRLF_LF_LINES" Single,
    MultipartDataAfter "MULTIPART_DATA_AFTER" Single,
    MultipartDataBefore "MULTIPART_DATA_BEFORE" Single,
    MultipartFileLimitExceeded "MULTIPART_FILE_LIMIT_EXCEEDED" Single,
    MultipartFilename "MULTIPART_FILENAME" Collection,
    MultipartHeaderFolding "MULTIPART_HEADER_FOLDING" Single,
    MultipartInvalidHeaderFolding "MULTIPART_INVALID_HEADER_FOLDING" Single,
    MultipartInvalidPart "MULTIPART_INVALID_PART" Single,
    MultipartInvalidQuoting "MULTIPART_INVALID_QUOTING" Single,
    MultipartLfLine "MULTIPART_LF_LINE" Single,
    MultipartMissingSemicolon "MULTIPART_MISSING_SEMICOLON" Single,
    MultipartName "MULTIPART_NAME" Collection,
    MultipartPartHeaders "MULTIPART_PART_HEADERS" Collection,
    MultipartStrictError "MULTIPART_STRICT_ERROR" Single,
    MultipartUnmatchedBoundary "MULTIPART_UNMATCHED_BOUNDARY" Single,
    OutboundDataError "OUTBOUND_DATA_ERROR" Single,
    PathInfo "PATH_INFO" Single,
    QueryString "QUERY_STRING" Single,
    RemoteAddr "REMOTE_ADDR" Single,
    RemoteHost "REMOTE_HOST" Single,
    RemotePort "REMOTE_PORT" Single,
    RemoteUser "REMOTE_USER" Single,
    ReqbodyError "REQBODY_ERROR" Single,
    ReqbodyErrorMsg "REQBODY_ERROR_MSG" Single,
    ReqbodyProcessor "REQBODY_PROCESSOR" Single,
    ReqbodyProcessorError "REQBODY_PROCESSOR_ERROR" Single,
    ReqbodyProcessorErrorMsg "REQBODY_PROCESSOR_ERROR_MSG" Single,
    RequestBasename "REQUEST_BASENAME" Single,
    RequestBody "REQUEST_BODY" Single,
    RequestBodyLength "REQUEST_BODY_LENGTH" Single,
    RequestCookies "REQUEST_COOKIES" Collection,
    RequestCookiesNames "REQUEST_COOKIES_NAMES" Collection,
    RequestFilename "REQUEST_FILENAME" Single,
    RequestHeaders "REQUEST_HEADERS" Collection,
    RequestHeadersNames "REQUEST_HEADERS_NAMES" Collection,
    RequestLine "REQUEST_LINE" Single,
    RequestMethod "REQUEST_METHOD" Single,
    RequestProtocol "REQUEST_PROTOCOL" Single,
    RequestUri "REQUEST_URI" Single,
    RequestUriRaw "REQUEST_URI_RAW" Single,
    Resource "RESOURCE" Persistent,
    ResponseBody "RESPONSE_BODY" Single,
    ResponseContentLength "RESPONSE_CONTENT_LENGTH" Single,
    ResponseContentType "RESPONSE_CONTENT_TYPE" Single,
    ResponseHeaders "RESPONSE_HEADERS" Collection,
    ResponseHeadersNames "RESPONSE_HEADERS_NAMES" Collection,
    ResponseProtocol "RESPONSE_PROTOCOL" Single,
    ResponseStatus "RESPONSE_STATUS" Single,
    Rule "RULE" Collection,
    ServerAddr "SERVER_ADDR" Single,
    ServerName "SERVER_NAME" Single,
    ServerPort "SERVER_PORT" Single,
    Session "SESSION" Persistent,
    SessionId "SESSIONID" Single,
    StatusLine "STATUS_LINE" Single,
    Time "TIME" Single,
    TimeDay "TIME_DAY" Single,
    TimeEpoch "TIME_EPOCH" Single,
    TimeHour "TIME_HOUR" Single,
    TimeMin "TIME_MIN" Single,
    TimeMon "TIME_MON" Single,
    TimeSec "TIME_SEC" Single,
    TimeWday "TIME_WDAY" Single,
    TimeYear "TIME_YEAR" Single,
    TlsJa4 "TLS_JA4" Single,
    Tx "TX" Collection,
    UniqueId "UNIQUE_ID" Single,
    UrlencodedError "URLENCODED_ERROR" Single,
    User "USER" Persistent,
    UserId "USERID" Single,
    WebAppId "WEBAPPID" Single,
    Xml "XML" Document,
}

impl Variable {
    /// By name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|v| v.name().eq_ignore_ascii_case(name))
    }

    /// The first phase in which it can have a value of the message, for those that have none in phase 1.
    pub(crate) fn known_from(self) -> Option<Phase> {
        match self {
            Self::ArgsPost
            | Self::ArgsPostNames
            | Self::Files
            | Self::FilesNames
            | Self::FilesSizes
            | Self::FilesTmpContent
            | Self::MultipartFilename
            | Self::MultipartName
            | Self::MultipartPartHeaders
            | Self::RequestBody
            | Self::RequestBodyLength
            | Self::Xml => Some(Phase::RequestBody),
            Self::ResponseContentLength
            | Self::ResponseContentType
            | Self::ResponseHeaders
            | Self::ResponseHeadersNames
            | Self::ResponseProtocol
            | Self::ResponseStatus
            | Self::StatusLine => Some(Phase::ResponseHeaders),
            Self::ResponseBody => Some(Phase::ResponseBody),
            _ => None,
        }
    }

    /// Its position in [`Variable::ALL`], for tables.
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// Why a variable of other engines is not among ours, as words for a mend.
pub(crate) fn refused(name: &str) -> Option<&'static str> {
    const REFUSED: &[(&[&str], &str)] = &[
        (&["FILES_TMPNAMES"], "uploads are never written to disk; use FILES, FILES_SIZES or FILES_TMP_CONTENT"),
        (&["ENV"], "the process environment is no input of the rules; keep state in TX"),
        (&["USERAGENT_IP"], "the gate hands over the client address as REMOTE_ADDR"),
        (
            &["PERF_ALL", "PERF_COMBINED", "PERF_GC", "PERF_LOGGING", "PERF_PHASE1", "PERF_PHASE2", "PERF_RULES"],
            "the engine has no clock; durations are metrics of the gate",
        ),
        (
            &["SCRIPT_BASENAME", "SCRIPT_FILENAME", "SCRIPT_GID", "SCRIPT_MODE", "SCRIPT_UID", "SCRIPT_USERNAME"],
            "there are no local scripts behind a proxy; use REQUEST_FILENAME",
        ),
        (&["STREAM_INPUT_BODY", "STREAM_OUTPUT_BODY"], "use REQUEST_BODY or RESPONSE_BODY; bodies are never rewritten"),
        (&["WEBSERVER_ERROR_LOG", "MODSEC_BUILD", "SDBM_DELETE_ERROR"], "it has no meaning here"),
    ];
    REFUSED.iter().find(|(names, _)| names.iter().any(|n| n.eq_ignore_ascii_case(name))).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_in_any_case() {
        for (i, variable) in Variable::ALL.iter().enumerate() {
            assert_eq!(variable.index(), i);
            assert_eq!(Variable::from_name(&variable.name().to_ascii_lowercase()), Some(*variable));
            assert!(refused(variable.name()).is_none(), "{variable:?}");
        }
        let names: std::collections::HashSet<_> = Variable::ALL.iter().map(|variable| variable.name()).collect();
        assert_eq!(names.len(), Variable::ALL.len());
        assert_eq!(Variable::from_name("ARGSX"), None);
        assert!(refused("env").is_some());
    }
}
