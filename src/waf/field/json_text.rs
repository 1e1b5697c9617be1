//! JSON in a text: a list of tags in a field of a form, an object in a parameter.
//!
//! `json(tag)` is a document of which each string, number and truth is of the class in the parentheses, whatever holds
//! it: arrays and objects nest at most [`DEPTH`] deep, and an object's keys are names of fields, each once. The strict
//! reader of bodies reads it, so what two parsers could take for two documents is none. Nothing is known of the
//! document's shape: an application that needs one checks it.
//!
//! Memory: what it holds is copied, at most [`MAX_BYTES`] of it. Fails closed.

use super::class::{Class, Misfit};
use super::grammar::Grammar;
use crate::body::json::{self, Container, Kind, Visitor};
use std::borrow::Cow;
use std::collections::HashSet;

/// Most bytes of a document in a text.
pub const MAX_BYTES: usize = 64 << 10;
/// Deepest nesting.
pub const DEPTH: usize = 8;
/// Most values of one document.
const MOST: usize = 1000;

/// A document in a text.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonText {
    /// What each of its scalars is for.
    pub each: Box<Class>,
    /// The empty text fits, and JSON null.
    pub optional: bool,
}

impl JsonText {
    /// Whether `value` is such a document.
    ///
    /// # Errors
    /// It is none, or one of its values or keys is not as it should be.
    pub fn check(&self, value: &[u8]) -> Result<(), Misfit> {
        self.scalars(value).map(|_| ())
    }

    /// The scalars of the document, unescaped, each of which has the structure of its class. Keys are names of fields:
    /// nothing can be said in them.
    ///
    /// # Errors
    /// As of [`Self::check`].
    pub fn scalars(&self, value: &[u8]) -> Result<Vec<Vec<u8>>, Misfit> {
        if value.len() > MAX_BYTES {
            return Err(Misfit::new(format!("longer than {MAX_BYTES} bytes")));
        }
        if value.is_empty() {
            return if self.optional { Ok(Vec::new()) } else { Err(Misfit::new("empty, not JSON")) };
        }
        let mut gather = Gather { each: &self.each, scalars: Vec::new(), keys: HashSet::new() };
        match json::read(value, DEPTH, &mut gather) {
            Some(fault) => Err(Misfit::new(format!("not the JSON that is taken here: {fault}"))),
            None => Ok(gather.scalars),
        }
    }
}

struct Gather<'a> {
    each: &'a Class,
    scalars: Vec<Vec<u8>>,
    /// Objects by number, each with its keys' hashes.
    keys: HashSet<(usize, u64)>,
}

impl Visitor for Gather<'_> {
    type Place = ();

    fn root(&self) {}

    fn item(&self, (): ()) {}

    fn member(&mut self, (): (), object: usize, _: &[u8], key: &[u8]) -> Result<(), json::Fault> {
        if !Grammar::is_field_name(key) {
            return Err("a key is no name of a field".to_owned());
        }
        if !self.keys.insert((object, crate::hashing::of(key))) {
            return Err("a key is repeated".to_owned());
        }
        if self.keys.len() > MOST {
            return Err(format!("more than {MOST} keys"));
        }
        Ok(())
    }

    fn opens(&mut self, (): (), _: &[u8], _: Kind) -> Result<(), json::Fault> {
        Ok(())
    }

    fn closes(&mut self, (): (), _: &[u8], _: Container) -> Result<(), json::Fault> {
        Ok(())
    }

    fn scalar(&mut self, (): (), _: &[u8], kind: Kind, value: Cow<'_, [u8]>) -> Result<(), json::Fault> {
        if kind == Kind::Null {
            return if self.each.takes_null() { Ok(()) } else { Err("null is not taken".to_owned()) };
        }
        if self.scalars.len() == MOST {
            return Err(format!("more than {MOST} values"));
        }
        self.each.check(&value).map_err(|misfit| format!("a value is {misfit}"))?;
        self.scalars.push(value.into_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_hold_what_they_are_for() {
        let tags = |text: &str| Class::parse("json(short(20))").unwrap().check(text.as_bytes());
        for fits in ["[]", r#"["a","b & c"]"#, r#"{"a":["x",{"b":"y"}]}"#, r#""one""#, "[1, true]", r#"["\u00e9"]"#] {
            assert!(tags(fits).is_ok(), "{fits}: {:?}", tags(fits));
        }
        for (text, what) in [
            ("", "empty"),
            ("a, b", "not the JSON"),
            (r#"["a"]x"#, "bytes after the document"),
            (r#"["a",]"#, "not the JSON"),
            (r#"["this is far too long a tag"]"#, "longer than 20"),
            (r#"{"a":1,"\u0061":2}"#, "repeated"),
            (r#"{"<script>":1}"#, "no name"),
            ("[null]", "null"),
            ("[[[[[[[[[[1]]]]]]]]]]", "not the JSON"),
        ] {
            let fault = tags(text).expect_err(text).what;
            assert!(fault.contains(what), "{text}: {fault}");
        }
        assert!(Class::parse("json(short)?").unwrap().check(b"").is_ok());
        assert!(tags(&format!("[{}0]", "0,".repeat(MOST))).is_err());
        assert!(Class::parse("json(free)").unwrap().check(&vec![b' '; MAX_BYTES + 1]).is_err());
    }
}
