//! STAND-IN until the grammars are merged.

/// A grammar.
#[derive(Clone, Debug, PartialEq)]
pub struct Grammar {
    /// Empty and null fit.
    pub optional: bool,
}

impl Grammar {
    /// What classes with a grammar are called.
    pub const NAMES: &'static [&'static str] = &[
        "uuid",
        "integer",
        "number",
        "boolean",
        "enum",
        "slug",
        "identifier",
        "host",
        "url",
        "fetch-url",
        "etag",
        "token68",
        "jwt",
        "cookie",
        "date",
        "datetime",
        "http-date",
        "email",
        "semver",
        "hex",
        "base64",
        "base64url",
        "file-name",
        "media-type",
        "language",
        "user-agent",
        "pattern",
    ];
}
