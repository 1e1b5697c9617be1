//! XML that reads files, and includes that a server or a cache runs.

use super::Role::Payload;
use super::shape::{Shape, shape};

/// Wherever it stands. `<!DOCTYPE html>` is everyday.
pub(super) const SHAPES: &[Shape] = &[
    shape(
        4,
        Payload,
        "declaration of an entity",
        r"<!ENTITY\s+(?:%\s*|&#x25;\s*)?[\w.-]+\s+(?:SYSTEM\b|PUBLIC\b|['\x22])|<!ENTITY\s+%",
    ),
    shape(4, Payload, "document type with a subset", r"<!DOCTYPE\s+[\w:.-]+\s*\["),
    shape(
        4,
        Payload,
        "document type fetched",
        r"<!DOCTYPE\s+[\w:.-]+\s+SYSTEM\s+['\x22](?:file|https?|ftp|jar|php|netdoc):",
    ),
    shape(
        3,
        Payload,
        "document type from elsewhere",
        r"<!DOCTYPE\s+[\w:.-]+\s+SYSTEM\s+['\x22]|<!DOCTYPE\s+[\w:.-]+\s+PUBLIC\s+['\x22][^'\x22]*['\x22]\s+['\x22](?:file|https?://(?:[^w]|w[^w])|ftp|jar|netdoc|php)",
    ),
    shape(2, Payload, "declaration in a subset", r"<!(?:ELEMENT|ATTLIST|NOTATION)\s+[\w%.-]+\s"),
    shape(
        4,
        Payload,
        "inclusion in XML",
        r"<(?:xi|xinclude):include\b|<[\w:]+[^>]*xmlns:xi\s*=|<\w+\s+xmlns:xi|\bxsi:schemaLocation\s*=\s*['\x22][^'\x22]*(?:file:|https?://(?:\d|evil|attacker))|<\?xml-stylesheet\s",
    ),
    shape(
        4,
        Payload,
        "program in a style sheet",
        r"<xsl:(?:value-of|copy-of|variable|include|import|template|stylesheet|output)\b[^>]*(?:system-property|document\s*\(|unparsed-text|php:function|Runtime|file:|https?://(?:[^w]|w[^w]))|\bmsxsl:script|\bphp:function\s*\(|\bxmlns:\w+\s*=\s*['\x22](?:http://php\.net/xsl|java:|http://xml\.apache\.org/xalan|xalan://|urn:schemas-microsoft-com:xslt)|<xsl:value-of\b[^>]*select",
    ),
    shape(
        4,
        Payload,
        "server-side include",
        r"<!--\s*#\s*(?:printenv\b|(?:exec|include|echo|config|set|flastmod|fsize|if|call)\s*\+?\s*\w+\s*=)|<!--\s*esi\b|<esi:(?:include|inline|vars|assign|debug|remove|try)\b",
    ),
    shape(
        3,
        Payload,
        "section of raw text that holds a tag",
        r"<!\[CDATA\[\s*<\]\]>|<!\[CDATA\[[^\]]*(?:<script|<img|alert\(|<\?php)|<\?xml\b[^>]*\?>\s*<!(?:DOCTYPE|ENTITY)|<soap(?:env)?:\w+.*<!",
    ),
    shape(
        2,
        Payload,
        "XML declaration, then an element that runs",
        r"<\?xml\b[^>]*\?>\s*<(?:\w+:)?(?:methodCall|java|stylesheet|svg|script|Envelope)\b",
    ),
];
