//! The table of one operation: which class each of its fields has.
//!
//! Built once from a policy, then only read: [`Fields`] is `Send + Sync`, and a look-up by the bytes of a name is a
//! binary search without allocation (of a header without regard to case). Every look-up has an answer: what no entry
//! names gets what the policy says of such fields. What is equal in many operations is shared between them.
//!
//! It decides nothing by itself; it fails closed where the policy says `refuse`, and to the rules at full strength
//! where it says `scored`.

use super::class::{Class, SpecError};
use super::grammar::Grammar;
use super::json_tree::JsonTree;
use super::media::MediaRange;
use std::cmp::Ordering;
use std::sync::Arc;

/// Names, sorted, each with what it names.
type Named<T> = Box<[(Box<[u8]>, T)]>;

/// What a field's value is held against.
#[derive(Debug, Clone, Copy)]
pub enum Expect<'a> {
    /// It has to fit the class.
    Class(&'a Class),
    /// Nothing is known of it: the rules judge it at full strength.
    Scored,
    /// The field must not be there at all.
    Refuse,
}

/// What a field is for, as a policy spells it, and what follows from it.
#[derive(Debug)]
pub struct Purpose {
    spec: Box<str>,
    own: Own,
}

#[derive(Debug)]
enum Own {
    Class(Class),
    Scored,
    Refuse,
}

/// The words that a policy may write in place of a class.
const WORDS: [&str; 2] = ["scored", "refuse"];

/// The classes that are no grammars.
const TEXTS: [&str; 4] = ["short", "free", "opaque", "json"];

impl Purpose {
    /// Reads a class spec, or `scored`, or `refuse`.
    ///
    /// # Errors
    /// What is wrong with the spec, and where in it.
    pub fn parse(spec: &str) -> Result<Self, SpecError> {
        let own = match spec.trim() {
            "scored" => Own::Scored,
            "refuse" => Own::Refuse,
            _ => Own::Class(Class::parse(spec)?),
        };
        Ok(Self { spec: spec.trim().into(), own })
    }

    /// That nothing is known.
    pub fn scored() -> Self {
        Self { spec: "scored".into(), own: Own::Scored }
    }

    /// What a value is held against.
    pub fn expect(&self) -> Expect<'_> {
        match &self.own {
            Own::Class(class) => Expect::Class(class),
            Own::Scored => Expect::Scored,
            Own::Refuse => Expect::Refuse,
        }
    }

    /// As the policy spells it.
    pub fn spec(&self) -> &str {
        &self.spec
    }

    /// The spec's name, without arguments: `integer` of `integer(0..9)?`.
    pub(super) fn name(&self) -> &str {
        self.spec.split(['(', '?']).next().unwrap_or_default().trim()
    }

    /// Whether JSON's `null` may stand for a value: where the spec ends in `?`, or nothing is known.
    pub(super) fn nullable(&self) -> bool {
        match &self.own {
            Own::Class(class) => class.takes_null(),
            Own::Scored | Own::Refuse => true,
        }
    }

    /// Whether a policy cannot give this name to a type of its own, for a class or word has it.
    pub fn is_reserved(name: &str) -> bool {
        WORDS.contains(&name) || TEXTS.contains(&name) || Grammar::NAMES.contains(&name)
    }
}

/// Whether two spellings of a name in upper and lower case are one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// They are two.
    Matters,
    /// They are one (header field names, RFC 9110 section 5.1).
    Ignored,
}

/// Fields of one kind, by name.
#[derive(Debug)]
pub struct Table {
    /// Sorted by name; in lower case where case is ignored.
    named: Named<Arc<Purpose>>,
    other: Arc<Purpose>,
    case: Case,
}

impl Table {
    /// A table of `named` fields; of several of one name the last counts. `other` is what all else is for.
    pub fn new(named: impl IntoIterator<Item = (Vec<u8>, Arc<Purpose>)>, other: Arc<Purpose>, case: Case) -> Self {
        let spelled = |mut name: Vec<u8>| {
            if case == Case::Ignored {
                name.make_ascii_lowercase();
            }
            name.into_boxed_slice()
        };
        let unique: std::collections::BTreeMap<Box<[u8]>, Arc<Purpose>> =
            named.into_iter().map(|(name, purpose)| (spelled(name), purpose)).collect();
        Self { named: unique.into_iter().collect(), other, case }
    }

    /// A table that names nothing.
    pub fn empty(other: Arc<Purpose>) -> Self {
        Self::new([], other, Case::Matters)
    }

    /// What the value of the field of that name is held against.
    pub fn expect(&self, name: &[u8]) -> Expect<'_> {
        self.purpose(name).expect()
    }

    /// What the field of that name is for, and whether the policy names it.
    pub fn look_up(&self, name: &[u8]) -> (&Arc<Purpose>, bool) {
        self.find(name).map_or((&self.other, false), |purpose| (purpose, true))
    }

    /// What the field of that name is for.
    pub fn purpose(&self, name: &[u8]) -> &Arc<Purpose> {
        self.find(name).unwrap_or(&self.other)
    }

    /// Whether the policy names the field. A name that it does not is the client's own, and to be judged as text is.
    pub fn knows(&self, name: &[u8]) -> bool {
        self.find(name).is_some()
    }

    /// The fields that are named, by name, each with what it is for.
    pub fn named(&self) -> impl Iterator<Item = (&[u8], &Purpose)> {
        self.named.iter().map(|(name, purpose)| (&**name, &**purpose))
    }

    /// What all other fields are for.
    pub fn other(&self) -> &Purpose {
        &self.other
    }

    fn find(&self, name: &[u8]) -> Option<&Arc<Purpose>> {
        let order = |own: &[u8]| match self.case {
            Case::Matters => own.cmp(name),
            Case::Ignored => lower_order(own, name),
        };
        let at = self.named.binary_search_by(|(own, _)| order(own)).ok()?;
        self.named.get(at).map(|(_, purpose)| purpose)
    }
}

/// The order of a name in lower case and one in any case.
fn lower_order(lower: &[u8], name: &[u8]) -> Ordering {
    lower.iter().copied().cmp(name.iter().map(u8::to_ascii_lowercase))
}

/// What an uploaded file has to be.
#[derive(Debug)]
pub struct Part {
    /// Of the file's name.
    pub name: Arc<Purpose>,
    /// Media types it may have by its own Content-Type; none: any.
    pub types: Box<[MediaRange]>,
    /// Of its content.
    pub content: Arc<Purpose>,
    /// Most bytes of each; `None`: what the class and the body's own limit say.
    pub max: Option<u64>,
    /// Most files under this field's name.
    pub count: usize,
}

impl Part {
    /// Whether a file may say it is of this media type; the value of the part's Content-Type field, empty where it has
    /// none (then it is `text/plain`, RFC 7578 section 4.4).
    pub fn takes(&self, content_type: &[u8]) -> bool {
        let content_type = if content_type.trim_ascii().is_empty() { b"text/plain" } else { content_type };
        self.types.is_empty() || self.types.iter().any(|range| range.fits(content_type))
    }
}

/// Uploaded files, by the name of the form field.
#[derive(Debug)]
pub struct Parts {
    /// Sorted by name.
    named: Named<Part>,
    other: Arc<Purpose>,
}

impl Parts {
    /// Files under these names; of several of one name the last counts. `other` is the content of all other files.
    pub fn new(named: impl IntoIterator<Item = (Vec<u8>, Part)>, other: Arc<Purpose>) -> Self {
        let unique: std::collections::BTreeMap<Box<[u8]>, Part> =
            named.into_iter().map(|(name, part)| (name.into_boxed_slice(), part)).collect();
        Self { named: unique.into_iter().collect(), other }
    }

    /// What files under that name have to be, if the policy names it.
    pub fn get(&self, name: &[u8]) -> Option<&Part> {
        let at = self.named.binary_search_by(|(own, _)| (**own).cmp(name)).ok()?;
        self.named.get(at).map(|(_, part)| part)
    }

    /// What the content of a file under any other name is held against.
    pub fn other(&self) -> &Arc<Purpose> {
        &self.other
    }

    /// The names, each with its files.
    pub fn named(&self) -> impl Iterator<Item = (&[u8], &Part)> {
        self.named.iter().map(|(name, part)| (&**name, part))
    }
}

/// All fields of one operation but those in its path, whose places the policy's own table of paths knows.
#[derive(Debug)]
pub struct Fields {
    /// Query parameters, names decoded.
    pub query: Table,
    /// Header fields.
    pub headers: Arc<Table>,
    /// Cookies.
    pub cookies: Arc<Table>,
    /// Fields of a form, `application/x-www-form-urlencoded` or `multipart/form-data`, that are no files.
    pub form: Table,
    /// Uploaded files.
    pub parts: Parts,
    /// What a JSON body holds.
    pub json: JsonTree,
    /// The body as one value, where it is one: signed, binary, or plain text. Then `form`, `parts` and `json` name nothing.
    pub body: Option<Arc<Purpose>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purpose(spec: &str) -> Arc<Purpose> {
        Arc::new(Purpose::parse(spec).unwrap())
    }

    #[test]
    fn names_are_found_by_their_bytes() {
        let entries = || ["status", "q", "tags[]"].map(|name| (name.as_bytes().to_vec(), purpose("slug")));
        let table = Table::new(entries(), purpose("short(9)"), Case::Matters);
        for (name, known) in
            [(&b"q"[..], true), (b"status", true), (b"tags[]", true), (b"Q", false), (b"", false), (b"\xff", false)]
        {
            assert_eq!(table.knows(name), known, "{name:?}");
            assert_eq!(table.purpose(name).spec(), if known { "slug" } else { "short(9)" });
        }
        let headers = [("If-None-Match", "etag"), ("accept", "scored")].map(|(n, s)| (n.into(), purpose(s)));
        let headers = Table::new(headers, purpose("refuse"), Case::Ignored);
        assert!(matches!(headers.expect(b"IF-NONE-match"), Expect::Class(_)));
        assert!(matches!(headers.expect(b"Accept"), Expect::Scored));
        assert!(matches!(headers.expect(b"accepts"), Expect::Refuse));
        assert!(matches!(headers.expect(b"accep"), Expect::Refuse));
        let names: Vec<_> = headers.named().map(|(name, purpose)| (name.to_vec(), purpose.spec())).collect();
        assert_eq!(names, [(b"accept".to_vec(), "scored"), (b"if-none-match".to_vec(), "etag")]);
    }

    #[test]
    fn a_purpose_knows_its_name_and_null() {
        for (spec, name, nullable) in [
            ("uuid", "uuid", false),
            ("uuid?", "uuid", true),
            ("integer(0..9)", "integer", false),
            (" short(20) ", "short", false),
            ("free?", "free", true),
            ("scored", "scored", true),
        ] {
            let purpose = Purpose::parse(spec).unwrap();
            assert_eq!((purpose.name(), purpose.nullable()), (name, nullable), "{spec}");
        }
        assert!(Purpose::parse("uuidd").is_err());
        for (name, reserved) in [("uuid", true), ("enum", true), ("free", true), ("refuse", true), ("id", false)] {
            assert_eq!(Purpose::is_reserved(name), reserved, "{name}");
        }
    }

    #[test]
    fn files_say_their_type() {
        let part = |types: &[&str]| Part {
            name: purpose("file-name"),
            types: types.iter().map(|text| MediaRange::parse(text).unwrap()).collect(),
            content: purpose("opaque"),
            max: None,
            count: 1,
        };
        let parts = Parts::new([(b"file".to_vec(), part(&["text/*", "application/pdf"]))], purpose("refuse"));
        let file = parts.get(b"file").unwrap();
        for (value, taken) in [("application/PDF", true), ("text/x", true), ("", true), ("image/svg+xml", false)] {
            assert_eq!(file.takes(value.as_bytes()), taken, "{value}");
        }
        assert!(parts.get(b"files").is_none() && matches!(parts.other().expect(), Expect::Refuse));
        assert!(part(&[]).takes(b"any/thing"));
    }
}
