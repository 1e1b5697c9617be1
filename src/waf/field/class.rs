//! STAND-IN until the grammars are merged: the signatures of the real module, with a loose reading of specs.

use super::grammar::Grammar;

/// What a field's value must be.
#[derive(Clone, Debug, PartialEq)]
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

/// Short text.
#[derive(Clone, Debug, PartialEq)]
pub struct Short {
    /// Most characters.
    pub max_chars: usize,
    /// Null fits.
    pub optional: bool,
}

/// Free text.
#[derive(Clone, Debug, PartialEq)]
pub struct Free {
    /// Most bytes.
    pub max_bytes: usize,
    /// Null fits.
    pub optional: bool,
}

/// Bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Opaque {
    /// Most bytes.
    pub max_bytes: usize,
    /// Null fits.
    pub optional: bool,
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

impl Class {
    /// Reads a spec.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(spec: &str) -> Result<Self, SpecError> {
        let (spec, optional) = spec.strip_suffix('?').map_or((spec, false), |spec| (spec, true));
        let (name, arguments) = match spec.split_once('(') {
            Some((name, rest)) => {
                let end = SpecError { at: spec.len(), what: "`)` is missing".into(), mend: "close it".into() };
                (name, Some(rest.strip_suffix(')').ok_or(end)?))
            }
            None => (spec, None),
        };
        if !Grammar::NAMES.contains(&name) && !["short", "free", "opaque"].contains(&name) {
            return Err(SpecError {
                at: 0,
                what: format!("there is no class `{name}`"),
                mend: format!("the classes are {}", Grammar::NAMES.join(", ")),
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
            "short" => {
                Self::Short(Short { max_chars: arguments.and_then(|n| n.parse().ok()).unwrap_or(256), optional })
            }
            "free" => Self::Free(Free { max_bytes: 1 << 20, optional }),
            "opaque" => Self::Opaque(Opaque { max_bytes: 1 << 20, optional }),
            _ => Self::Typed(Grammar { optional }),
        })
    }

    /// Whether null fits.
    pub fn takes_null(&self) -> bool {
        match self {
            Self::Typed(grammar) => grammar.optional,
            Self::Short(short) => short.optional,
            Self::Free(free) => free.optional,
            Self::Opaque(opaque) => opaque.optional,
        }
    }
}
