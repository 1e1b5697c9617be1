//! STAND-IN until the grammars are merged: the signatures of the real module, with a loose reading of specs.

/// What a field's value must be.
#[derive(Debug)]
pub enum Class {
    /// A grammar.
    Typed(Grammar),
    /// Human text of bounded length.
    Short(Short),
    /// Prose, markdown, code.
    Free(Free),
    /// Bytes.
    Opaque(Opaque),
}

/// A grammar.
#[derive(Debug)]
pub struct Grammar;

/// Short text.
#[derive(Debug)]
pub struct Short {
    /// Most characters.
    pub max_chars: usize,
}

/// Free text.
#[derive(Debug)]
pub struct Free {
    /// Most bytes.
    pub max_bytes: usize,
}

/// Bytes.
#[derive(Debug)]
pub struct Opaque {
    /// Most bytes.
    pub max_bytes: usize,
}

/// What is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// Byte offset in the spec.
    pub at: usize,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

const NAMES: &[&str] = &[
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
    "short",
    "free",
    "opaque",
];

impl Class {
    /// Reads a spec.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(spec: &str) -> Result<Self, SpecError> {
        let spec = spec.strip_suffix('?').unwrap_or(spec);
        let (name, arguments) = match spec.split_once('(') {
            Some((name, rest)) => {
                let end = SpecError { at: spec.len(), what: "`)` is missing".into(), mend: "close it".into() };
                (name, Some(rest.strip_suffix(')').ok_or(end)?))
            }
            None => (spec, None),
        };
        if !NAMES.contains(&name) {
            return Err(SpecError {
                at: 0,
                what: format!("unknown class {name:?}"),
                mend: format!("the classes are {}", NAMES.join(", ")),
            });
        }
        if name == "enum" && arguments.is_none_or(str::is_empty) {
            return Err(SpecError { at: name.len(), what: "enum without values".into(), mend: "list them".into() });
        }
        if name == "integer"
            && let Some(range) = arguments
        {
            let fine =
                range.split_once("..").is_some_and(|(a, b)| a.parse::<i64>().is_ok() && b.parse::<i64>().is_ok());
            if !fine {
                let at = name.len() + 1;
                return Err(SpecError { at, what: "no range".into(), mend: "write integer(0..100)".into() });
            }
        }
        Ok(match name {
            "short" => Self::Short(Short { max_chars: arguments.and_then(|n| n.parse().ok()).unwrap_or(256) }),
            "free" => Self::Free(Free { max_bytes: 1 << 20 }),
            "opaque" => Self::Opaque(Opaque { max_bytes: 1 << 20 }),
            _ => Self::Typed(Grammar),
        })
    }
}
