//! The `Cache-Status` field (RFC 9211): what the cache did with a request, for people and tools.
//!
//! Only closed words and numbers are written, so nothing of a request or of the configuration can get in.

use std::fmt;

/// The name this cache goes by in the field.
pub const NAME: &str = "Gatehouse";

/// Why a request went to a replica (RFC 9211 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forward {
    /// The cache was told to have no part in it.
    Bypass,
    /// The method's semantics require it.
    Method,
    /// Nothing is stored for this target.
    UriMiss,
    /// Something is stored, but no variant that fits.
    VaryMiss,
    /// Not one of the two above can be told apart.
    Miss,
    /// The request's own directives asked for it.
    Request,
    /// What is stored is stale.
    Stale,
    /// Only part of what is asked is stored.
    Partial,
}

impl Forward {
    /// The registered token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// One member of the field; `Display` writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Answered from the cache without asking a replica.
    Hit {
        /// Seconds of freshness left, below zero when served stale.
        ttl: i64,
        /// More, as a token.
        detail: Option<&'static str>,
    },
    /// A replica was asked.
    Forwarded {
        /// Why.
        why: Forward,
        /// The status the replica gave, where it is not the one the client gets or it explains a revalidation.
        status: Option<u16>,
        /// The response was taken into the cache.
        stored: bool,
        /// The request waited for another one that asked the same.
        collapsed: bool,
        /// More, as a token.
        detail: Option<&'static str>,
    },
    /// Nobody was asked and nothing was stored: `only-if-cached` could not be met.
    Unsatisfied,
}

impl Status {
    /// Forwarded, without more to say.
    pub fn forwarded(why: Forward) -> Self {
        Self::Forwarded { why, status: None, stored: false, collapsed: false, detail: None }
    }

    /// Forwarded because the cache has no part in the request.
    pub fn bypass(detail: &'static str) -> Self {
        Self::Forwarded { why: Forward::Bypass, status: None, stored: false, collapsed: false, detail: Some(detail) }
    }

    /// A closed set of names for metrics: `hit`, `stale`, `revalidated`, `miss`, `bypass`, `unsatisfied`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Hit { ttl: 0.., .. } => "hit",
            Self::Hit { .. } => "stale",
            Self::Forwarded { why: Forward::Bypass | Forward::Method, .. } => "bypass",
            Self::Forwarded { status: Some(304), .. } => "revalidated",
            Self::Forwarded { .. } => "miss",
            Self::Unsatisfied => "unsatisfied",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        let detail = match *self {
            Self::Hit { ttl, detail } => {
                write!(f, "; hit; ttl={ttl}")?;
                detail
            }
            Self::Forwarded { why, status, stored, collapsed, detail } => {
                write!(f, "; fwd={}", why.as_str())?;
                if let Some(status) = status {
                    write!(f, "; fwd-status={status}")?;
                }
                if stored {
                    f.write_str("; stored")?;
                }
                if collapsed {
                    f.write_str("; collapsed")?;
                }
                detail
            }
            Self::Unsatisfied => Some("only-if-cached"),
        };
        detail.map_or(Ok(()), |detail| write!(f, "; detail={detail}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9211_2_renders_each_outcome() {
        let miss =
            Status::Forwarded { why: Forward::UriMiss, status: None, stored: true, collapsed: true, detail: None };
        let validated =
            Status::Forwarded { why: Forward::Stale, status: Some(304), stored: true, collapsed: false, detail: None };
        for (status, text, label) in [
            (Status::Hit { ttl: 376, detail: None }, "Gatehouse; hit; ttl=376", "hit"),
            (Status::Hit { ttl: -5, detail: Some("updating") }, "Gatehouse; hit; ttl=-5; detail=updating", "stale"),
            (miss, "Gatehouse; fwd=uri-miss; stored; collapsed", "miss"),
            (validated, "Gatehouse; fwd=stale; fwd-status=304; stored", "revalidated"),
            (Status::bypass("authorization"), "Gatehouse; fwd=bypass; detail=authorization", "bypass"),
            (Status::forwarded(Forward::Method), "Gatehouse; fwd=method", "bypass"),
            (Status::forwarded(Forward::Request), "Gatehouse; fwd=request", "miss"),
            (Status::Unsatisfied, "Gatehouse; detail=only-if-cached", "unsatisfied"),
        ] {
            assert_eq!((status.to_string().as_str(), status.as_str()), (text, label));
        }
    }
}
