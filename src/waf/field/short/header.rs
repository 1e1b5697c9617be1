//! Line ends that begin another line of a header, of a mail or of a response.

use super::Role::{BreakOut, Payload};
use super::shape::{Shape, shape};

/// Wherever it stands. A short text seldom has a second line, and that line is no header field.
pub(super) const SHAPES: &[Shape] = &[
    shape(
        4,
        BreakOut,
        "line end, then a field of a response",
        r"[\r\n][\s\r\n]*(?:set-cookie2?|location|content-(?:length|type|disposition|encoding|security-policy|location)|transfer-encoding|access-control-\w[\w-]+|x-[a-z][\w-]+|refresh|link|www-authenticate|cache-control|clear-site-data|host|referer|user-agent|cookie|authorization|connection|last-modified|expires|status|proxy-\w+|server|date|etag|vary|origin|strict-transport-\w+|upgrade)\s*:",
    ),
    shape(
        4,
        BreakOut,
        "line end, then a status or a request line",
        r"[\r\n]\s*(?:HTTP/\d(?:\.\d)?\s+\d{3}|(?:GET|POST|PUT|DELETE|HEAD|OPTIONS|TRACE|CONNECT|PATCH)\s+\S+\s+HTTP/\d)",
    ),
    shape(
        4,
        BreakOut,
        "line end, then a field of a mail",
        r"[\r\n]\s*(?:bcc|cc|to|from|reply-to|return-path|sender|mime-version|resent-\w+|errors-to|disposition-\w+)\s*:\s*\S*[@\w]|[\r\n]\s*subject\s*:\s*\S",
    ),
    shape(4, BreakOut, "line end, then an envelope", r"[\r\n]\s*(?:mail\s+from|rcpt\s+to)\s*:"),
    shape(
        3,
        BreakOut,
        "line end, then a command of a mail server",
        r"[\r\n]\s*(?:data|ehlo|helo|quit|rset|vrfy|a\d+\s+(?:login|fetch|capability|logout|select|delete)|user\s+\w+\s*$|retr\s+\d|dele\s+\d)\b\s*(?::|\r|\n|$|\S)",
    ),
    shape(
        3,
        BreakOut,
        "empty line, then a page",
        r"(?:\r\n|\n|\r){2}\s*<(?:html|script|body|svg|img|h1|iframe|!doctype)",
    ),
    shape(2, Payload, "line end, then markup", r"[\r\n]\s*<(?:script|svg|img|iframe)\b"),
    shape(2, BreakOut, "lone line end, then a made-up field", r"\r\n\s*[a-z][\w-]{2,30}:\s?\S"),
];
