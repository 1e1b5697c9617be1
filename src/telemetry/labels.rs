//! The closed sets of label values.

use crate::verdict::{Action, Mode, Reason};

/// A closed set of values of one label.
pub trait Label: Copy + 'static {
    /// Every value, in the order of [`Label::slot`].
    const ALL: &'static [Self];
    /// The value as the label shows it.
    fn text(self) -> &'static str;
    /// The position in [`Label::ALL`].
    fn slot(self) -> usize;
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// The name in metrics and audit events.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];
            fn text(self) -> &'static str {
                self.as_str()
            }
            fn slot(self) -> usize {
                self as usize
            }
        }
    )+};
}

labels! {
    /// Which phase of the rules ran, by SecLang's numbers.
    WafPhase {
        /// Phase 1.
        RequestHead = "1",
        /// Phase 2.
        RequestBody = "2",
        /// Phase 3.
        ResponseHead = "3",
        /// Phase 4.
        ResponseBody = "4",
    }

    /// What a rate limit said.
    LimitDecision {
        /// There was a token.
        Allow = "allow",
        /// There was none, and the request was refused.
        Refuse = "refuse",
        /// There was none, and detect mode let the request pass.
        Detect = "detect",
    }

    /// What reputation said about the client's address.
    ReputationDecision {
        /// On no list.
        Unlisted = "unlisted",
        /// On an allow list.
        Allow = "allow",
        /// On a deny list, and refused.
        Deny = "deny",
        /// On a deny list, and detect mode let the request pass.
        Detect = "detect",
    }

    /// What the response cache did for a request.
    CacheStatus {
        /// Answered with a fresh stored response.
        Hit = "hit",
        /// Answered with a stale stored response (RFC 9111 section 4.2.4).
        Stale = "stale",
        /// A stored response was validated by the replica and used again.
        Revalidated = "revalidated",
        /// A stored response was there, but it had expired and was replaced.
        Expired = "expired",
        /// Nothing was stored.
        Miss = "miss",
        /// The cache was not asked: method, route or request forbid it.
        Bypass = "bypass",
    }

    /// How a replica treated one forwarded request.
    ReplicaOutcome {
        /// It answered, below 500.
        Answered = "answered",
        /// It answered 500 or above.
        ServerError = "server_error",
        /// No connection could be made.
        ConnectFailed = "connect_failed",
        /// It was not believed over TLS, or no handshake came about.
        TlsFailed = "tls_failed",
        /// It broke off or garbled its answer.
        BrokeOff = "broke_off",
        /// It did not answer in time.
        TimedOut = "timed_out",
        /// Another was asked beside it, and answered first.
        Overtaken = "overtaken",
    }

    /// Why a replica was ejected.
    EjectionCause {
        /// Failures in a row.
        Consecutive = "consecutive",
        /// Too many failures among its answers.
        FailureRate = "failure_rate",
        /// Answers many times slower than the others'.
        Latency = "latency",
        /// It failed the trial at the end of an ejection.
        Trial = "trial",
    }

    /// What became of a request that met only busy replicas.
    QueueOutcome {
        /// It waited and got one.
        Served = "served",
        /// It waited for as long as it may, and got 503.
        TimedOut = "timed_out",
        /// Too many waited already: 503 at once.
        Full = "full",
    }

    /// What became of a request that could be sent again.
    RetryOutcome {
        /// It was.
        Retried = "retried",
        /// The budget was spent.
        OverBudget = "over_budget",
        /// It had been sent as often as it may.
        Exhausted = "exhausted",
        /// There was nobody else to ask.
        Nobody = "nobody",
    }

    /// What became of a request that could be asked of a second replica.
    HedgeOutcome {
        /// The second one answered first.
        Won = "won",
        /// The first one answered first after all.
        Lost = "lost",
        /// Neither answered.
        Failed = "failed",
        /// The budget was spent.
        OverBudget = "over_budget",
        /// No second one was free.
        Nobody = "nobody",
    }

    /// What became of the copy of a request.
    MirrorOutcome {
        /// Sent and answered, however.
        Answered = "answered",
        /// Not sent, or not answered.
        Failed = "failed",
        /// Not sent: too many were under way.
        Busy = "busy",
        /// Not sent: its body was too large, or not held.
        TooLarge = "too_large",
    }

    /// What a look at where replicas are found brought.
    DiscoveryOutcome {
        /// Other replicas.
        Changed = "changed",
        /// The same.
        Unchanged = "unchanged",
        /// No answer, or one that cannot be read: the last good set stays.
        Failed = "failed",
        /// Nobody: the last good set stays.
        Empty = "empty",
    }

    /// How a TLS handshake ended.
    HandshakeOutcome {
        /// Completed.
        Done = "done",
        /// Failed: no common parameters, garbage, an alert, or the peer left.
        Failed = "failed",
        /// Not completed in time.
        TimedOut = "timed_out",
    }

    /// Which figure said that the gate is saturated.
    ShedCause {
        /// Requests in flight.
        Requests = "requests",
        /// Bytes of responses held.
        Memory = "memory",
        /// The lag of the event loop.
        Lag = "lag",
    }

    /// What a connection of a peer that may speak for others began with.
    ProxyOutcome {
        /// A PROXY header that names a client.
        Client = "client",
        /// One that names nobody: the peer's own.
        Peer = "peer",
        /// None, where that is allowed.
        Absent = "absent",
        /// None where one has to be, or one that breaks the protocol; the connection was closed.
        Malformed = "malformed",
        /// None in time; the connection was closed.
        TimedOut = "timed_out",
        /// The peer is not trusted on a listener for trusted ones; the connection was closed at once.
        Untrusted = "untrusted",
    }

    /// How an order for a certificate ended.
    AcmeOutcome {
        /// With a certificate that is in use.
        Issued = "issued",
        /// The authority did not find that the names are ours.
        ChallengeFailed = "challenge_failed",
        /// There were too many orders for the authority.
        RateLimited = "rate_limited",
        /// Otherwise: the authority out of reach or at fault, the account, the state directory.
        Failed = "failed",
    }

    /// What became of an audit event that was to be written.
    AuditOutcome {
        /// Handed to the operating system whole.
        Written = "written",
        /// Dropped: the queue was full, or the file could not be written before the end.
        Lost = "lost",
    }

    /// What a candidate said of a request beside the rules in force.
    ShadowOutcome {
        /// Both refuse it, or neither.
        Same = "same",
        /// The rules in force refuse it, the candidate would not.
        OnlyLive = "only_live",
        /// The candidate would refuse it, the rules in force do not.
        OnlyShadow = "only_shadow",
        /// Something else ended it first, or its body was not read: nothing to compare.
        Skipped = "skipped",
        /// There was no room to judge it.
        Dropped = "dropped",
    }

    /// What became of a reload.
    ReloadOutcome {
        /// The new configuration runs.
        Applied = "applied",
        /// It had faults; what ran before runs on.
        Refused = "refused",
    }
}

impl ReplicaOutcome {
    /// The outcome of an answer with this status.
    pub fn of(status: http::StatusCode) -> Self {
        if status.is_server_error() { Self::ServerError } else { Self::Answered }
    }
}

impl Label for Action {
    const ALL: &'static [Self] = &[Self::Pass, Self::Block, Self::Limit, Self::Deny, Self::Error];

    fn text(self) -> &'static str {
        self.as_str()
    }

    fn slot(self) -> usize {
        match self {
            Self::Pass => 0,
            Self::Block => 1,
            Self::Limit => 2,
            Self::Deny => 3,
            Self::Error => 4,
        }
    }
}

impl Label for Mode {
    const ALL: &'static [Self] = &[Self::Enforce, Self::Detect];

    fn text(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Detect => "detect",
        }
    }

    fn slot(self) -> usize {
        match self {
            Self::Enforce => 0,
            Self::Detect => 1,
        }
    }
}

impl Label for Reason {
    // The statuses the two kinds of rules carry are no part of the label.
    const ALL: &'static [Self] = &[
        Self::Malformed,
        Self::MethodNotAllowed,
        Self::TargetTooLong,
        Self::HeadTooLarge,
        Self::BodyTooLarge,
        Self::TooSlow,
        Self::UnknownTransferCoding,
        Self::Misdirected,
        Self::Reputation,
        Self::Unauthorized,
        Self::RateLimited,
        Self::Policy,
        Self::RequestRules(403),
        Self::ResponseRules(403),
        Self::Overloaded,
        Self::NoReplica,
        Self::UpstreamFailed,
        Self::UpstreamTimeout,
        Self::Internal,
        Self::Aborted,
        Self::NotStored,
        Self::MediaType,
        Self::Field(422),
    ];

    fn text(self) -> &'static str {
        self.as_str()
    }

    fn slot(self) -> usize {
        match self {
            Self::Malformed => 0,
            Self::MethodNotAllowed => 1,
            Self::TargetTooLong => 2,
            Self::HeadTooLarge => 3,
            Self::BodyTooLarge => 4,
            Self::TooSlow => 5,
            Self::UnknownTransferCoding => 6,
            Self::Misdirected => 7,
            Self::Reputation => 8,
            Self::Unauthorized => 9,
            Self::RateLimited => 10,
            Self::Policy => 11,
            Self::RequestRules(_) => 12,
            Self::ResponseRules(_) => 13,
            Self::Overloaded => 14,
            Self::NoReplica => 15,
            Self::UpstreamFailed => 16,
            Self::UpstreamTimeout => 17,
            Self::Internal => 18,
            Self::Aborted => 19,
            Self::NotStored => 20,
            Self::MediaType => 21,
            Self::Field(_) => 22,
        }
    }
}

/// The statuses that are counted by number: the IANA registry's, and what proxies are known to answer beyond it. Any
/// other counts as `other`, so a replica cannot make series. Ascending.
pub(super) const STATUSES: &[u16] = &[
    100, 101, 102, 103, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308, 400,
    401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425,
    426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511,
];

/// The position of a status in [`STATUSES`]; its length for any other.
pub(super) fn status_slot(status: u16) -> usize {
    STATUSES.binary_search(&status).unwrap_or(STATUSES.len())
}

/// What the label `status` shows.
pub(super) fn status_text(status: u16) -> String {
    if STATUSES.binary_search(&status).is_ok() { status.to_string() } else { "other".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn slots_agree<L: Label>() {
        let mut seen = HashSet::new();
        for (position, value) in L::ALL.iter().enumerate() {
            assert_eq!(value.slot(), position, "{}", value.text());
            assert!(seen.insert(value.text()), "{} twice", value.text());
        }
    }

    #[test]
    fn every_value_has_its_own_slot_and_text() {
        slots_agree::<WafPhase>();
        slots_agree::<LimitDecision>();
        slots_agree::<ReputationDecision>();
        slots_agree::<CacheStatus>();
        slots_agree::<ReplicaOutcome>();
        slots_agree::<EjectionCause>();
        slots_agree::<QueueOutcome>();
        slots_agree::<RetryOutcome>();
        slots_agree::<MirrorOutcome>();
        slots_agree::<DiscoveryOutcome>();
        slots_agree::<HandshakeOutcome>();
        slots_agree::<ProxyOutcome>();
        slots_agree::<AuditOutcome>();
        slots_agree::<ShedCause>();
        slots_agree::<ReloadOutcome>();
        slots_agree::<Action>();
        slots_agree::<Mode>();
        slots_agree::<Reason>();
    }

    #[test]
    fn statuses_are_ascending_and_unknown_ones_share_a_label() {
        assert!(STATUSES.is_sorted());
        assert_eq!(status_text(404), "404");
        for odd in [0, 99, 299, 599, 999, u16::MAX] {
            assert_eq!(status_slot(odd), STATUSES.len());
            assert_eq!(status_text(odd), "other");
        }
    }
}
