//! Every way to say no: the reason, its status, who is at fault, and whether a detect-only gate may let it pass.
//!
//! A [`Refusal`] is an outcome, not an error. Stages return it; `gate` records and enforces it; `edge` alone turns it
//! into a response. The texts here may reach a client, so they say nothing that helps an attacker; `detail` goes to the
//! audit event only.

use std::borrow::Cow;
use std::time::Duration;

/// Whether a stage's refusals are carried out or only recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Refuse.
    #[default]
    Enforce,
    /// Record what would have been refused and let it pass.
    Detect,
}

/// What became of a request, as audit events and metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Answered by a replica or the cache.
    Pass,
    /// Refused by the rules, a policy, or because it was malformed.
    Block,
    /// Refused by a rate limit.
    Limit,
    /// Refused by reputation or missing identity.
    Deny,
    /// Not answered: no replica, a failed replica, or a fault of ours.
    Error,
}

impl Action {
    /// The closed set of names used in audit events and as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Block => "block",
            Self::Limit => "limit",
            Self::Deny => "deny",
            Self::Error => "error",
        }
    }
}

/// Why a request was refused. A closed set: it labels metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Framing or syntax that RFC 9110, 9112 or 9113 forbids, or that two parsers may read in two ways.
    Malformed,
    /// A method the gate does not forward (CONNECT, TRACE, …).
    MethodNotAllowed,
    /// The target is longer than the limit.
    TargetTooLong,
    /// The head is larger, or has more fields, than the limit.
    HeadTooLarge,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The client did not send its request in time.
    TooSlow,
    /// A transfer coding other than chunked.
    UnknownTransferCoding,
    /// The authority belongs to no host served here.
    Misdirected,
    /// On a deny list.
    Reputation,
    /// No accepted credentials where the route requires them.
    Unauthorized,
    /// Over a rate limit.
    RateLimited,
    /// The route's policy does not allow it.
    Policy,
    /// A body of a media type that is not taken here.
    MediaType,
    /// A field is not what it should be (422), or an attack (403).
    Field(u16),
    /// The rules refused the request; carries the status they chose.
    RequestRules(u16),
    /// The rules refused the response; carries the status they chose.
    ResponseRules(u16),
    /// Too much work or memory in use right now.
    Overloaded,
    /// No healthy replica.
    NoReplica,
    /// The replica could not be reached, or broke off or garbled its answer.
    UpstreamFailed,
    /// The replica did not answer in time.
    UpstreamTimeout,
    /// The client allows only a stored response, and there is none (RFC 9111 section 5.2.1.7).
    NotStored,
    /// The client went away before it was answered.
    Aborted,
    /// A fault of the gate itself.
    Internal,
}

impl Reason {
    /// The HTTP status to answer with.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unauthorized => 401,
            Self::Reputation | Self::Policy => 403,
            Self::MethodNotAllowed => 405,
            Self::TooSlow => 408,
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::MediaType => 415,
            Self::Misdirected => 421,
            Self::RateLimited => 429,
            Self::HeadTooLarge => 431,
            Self::Field(status) | Self::RequestRules(status) | Self::ResponseRules(status) => status,
            // Nobody is left to be told; the number is for the record (nginx's).
            Self::Aborted => 499,
            Self::Internal => 500,
            Self::UnknownTransferCoding => 501,
            Self::UpstreamFailed => 502,
            Self::Overloaded | Self::NoReplica => 503,
            Self::UpstreamTimeout | Self::NotStored => 504,
        }
    }

    /// What the audit event calls the outcome.
    pub fn action(self) -> Action {
        match self {
            Self::Reputation | Self::Unauthorized => Action::Deny,
            Self::RateLimited => Action::Limit,
            Self::Overloaded
            | Self::NoReplica
            | Self::UpstreamFailed
            | Self::UpstreamTimeout
            | Self::NotStored
            | Self::Aborted
            | Self::Internal => Action::Error,
            _ => Action::Block,
        }
    }

    /// Whether detect mode may let the request pass all the same. Framing, ambiguity, size and failure always enforce.
    pub fn may_detect(self) -> bool {
        matches!(
            self,
            Self::Reputation
                | Self::RateLimited
                | Self::Policy
                | Self::MediaType
                | Self::Field(_)
                | Self::RequestRules(_)
                | Self::ResponseRules(_)
        )
    }

    /// Whether the connection must be closed after the answer because its framing can no longer be trusted.
    pub fn closes(self) -> bool {
        matches!(
            self,
            Self::Malformed
                | Self::TargetTooLong
                | Self::HeadTooLarge
                | Self::BodyTooLarge
                | Self::TooSlow
                | Self::UnknownTransferCoding
                | Self::Aborted
        )
    }

    /// A short name for logs, audit events and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::MethodNotAllowed => "method",
            Self::TargetTooLong => "target_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::BodyTooLarge => "body_too_large",
            Self::TooSlow => "too_slow",
            Self::UnknownTransferCoding => "transfer_coding",
            Self::Misdirected => "misdirected",
            Self::Reputation => "reputation",
            Self::Unauthorized => "unauthorized",
            Self::RateLimited => "rate_limited",
            Self::Policy => "policy",
            Self::MediaType => "media_type",
            Self::Field(_) => "field",
            Self::RequestRules(_) => "request_rules",
            Self::ResponseRules(_) => "response_rules",
            Self::Overloaded => "overloaded",
            Self::NoReplica => "no_replica",
            Self::UpstreamFailed => "upstream_failed",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::NotStored => "not_stored",
            Self::Aborted => "aborted",
            Self::Internal => "internal",
        }
    }

    /// What the client is told, besides the status.
    pub fn public_text(self) -> &'static str {
        match self {
            Self::Malformed => "The request is malformed.",
            Self::MethodNotAllowed => "This method is not allowed here.",
            Self::TargetTooLong => "The request target is too long.",
            Self::HeadTooLarge => "The request header is too large.",
            Self::BodyTooLarge => "The request body is too large.",
            Self::TooSlow => "The request did not arrive in time.",
            Self::UnknownTransferCoding => "This transfer coding is not supported.",
            Self::Misdirected => "This host is not served here.",
            Self::MediaType => "A body of this media type or content coding is not taken here.",
            Self::Field(422) => "A field of the request is not what it should be.",
            Self::Unauthorized => "Valid credentials are required.",
            Self::RateLimited => "Too many requests. Try again later.",
            Self::Reputation | Self::Policy | Self::Field(_) | Self::RequestRules(_) | Self::ResponseRules(_) => {
                "The request was refused."
            }
            Self::Overloaded | Self::NoReplica => "The service is not available right now. Try again later.",
            Self::UpstreamFailed => "The service failed to answer.",
            Self::UpstreamTimeout => "The service did not answer in time.",
            Self::NotStored => "No stored response is available.",
            Self::Aborted | Self::Internal => "Something went wrong here.",
        }
    }
}

/// What is left of the limit that decided, for `RateLimit` and `RateLimit-Policy`
/// (draft-ietf-httpapi-ratelimit-headers).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The limit's name in the configuration.
    pub policy: std::sync::Arc<str>,
    /// The bucket's size, in requests.
    pub limit: u32,
    /// The time in which an empty bucket refills whole.
    pub window: Duration,
    /// Requests left now.
    pub remaining: u32,
    /// Until the bucket is whole again.
    pub reset: Duration,
}

/// One refusal: the reason, and what the audit event should say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, and with it the status and the action.
    pub reason: Reason,
    /// For the audit event and the log, never for the client.
    pub detail: Cow<'static, str>,
    /// When a retry may succeed, for `Retry-After` (RFC 9110 section 10.2.3).
    pub retry_after: Option<Duration>,
    /// The limit that refused, if one did.
    pub quota: Option<Quota>,
    /// What the client may do about it.
    pub hint: Option<Box<Hint>>,
}

/// What a client is told, for it to mend its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// The field that is not what it should be: its place and its name as the client wrote it.
    Field(String),
    /// The methods that the path takes, for `Allow` (RFC 9110 section 15.5.6).
    Methods(Vec<http::Method>),
}

impl Refusal {
    /// A refusal without retry time or quota.
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into(), retry_after: None, quota: None, hint: None }
    }

    /// Says what the client may do about it.
    pub fn hint(mut self, hint: Hint) -> Self {
        self.hint = Some(Box::new(hint));
        self
    }

    /// The methods that the path takes, where it was refused for its method by who knows them.
    pub fn methods(&self) -> Option<&[http::Method]> {
        match self.hint.as_deref() {
            Some(Hint::Methods(methods)) => Some(methods),
            _ => None,
        }
    }

    /// Says when to try again.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_and_size_can_never_be_detect_only() {
        for reason in [Reason::Malformed, Reason::BodyTooLarge, Reason::HeadTooLarge, Reason::TargetTooLong] {
            assert!(!reason.may_detect(), "{reason:?}");
            assert!(reason.closes(), "{reason:?}");
        }
        assert!(Reason::RequestRules(403).may_detect());
    }

    #[test]
    fn statuses_follow_the_published_surface() {
        for (reason, status, action) in [
            (Reason::RequestRules(403), 403, "block"),
            (Reason::Malformed, 400, "block"),
            (Reason::RateLimited, 429, "limit"),
            (Reason::Reputation, 403, "deny"),
            (Reason::NoReplica, 503, "error"),
            (Reason::UpstreamTimeout, 504, "error"),
            (Reason::Field(422), 422, "block"),
            (Reason::MediaType, 415, "block"),
        ] {
            assert_eq!((reason.status(), reason.action().as_str()), (status, action), "{reason:?}");
        }
    }
}
