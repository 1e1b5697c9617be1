//! Policy files as they are written: from TOML to texts that know their place, before anything is made of them.
//!
//! It refuses what has no meaning in a policy file, wherever it stands: unknown keys, values of the wrong type. All
//! faults are kept, none ends the reading but TOML that cannot be read.

use crate::fault::{Fault, Page, suggestion};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// More faults than this are not kept.
const MAX_FAULTS: usize = 1_000;

/// The files of one policy, and what is wrong in them.
pub(super) struct Book {
    pages: Vec<Page>,
    faults: Vec<(Place, Fault)>,
    /// Whether some file could not be read: what seems to be missing may be there.
    pub torn: bool,
}

/// A byte offset in one of the files; they order as they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    file: usize,
    offset: usize,
}

/// A text in a file.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub text: String,
    /// Of its first character, or of the quote before it.
    place: Place,
    /// Whether it stands in the file as it reads, without escapes.
    plain: bool,
}

impl Written {
    /// Where it begins.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Where its byte `at` stands.
    pub(super) fn at(&self, at: usize) -> Place {
        let offset = if self.plain { self.place.offset + at } else { self.place.offset };
        Place { offset, ..self.place }
    }
}

/// A key and a text, in the order of the file.
pub(super) type Entries = Vec<(Written, Written)>;

impl Book {
    pub(super) fn new(files: &[(String, String)]) -> Self {
        let pages = files.iter().map(|(name, text)| Page::new(name.as_str(), text.as_str())).collect();
        Self { pages, faults: Vec::new(), torn: false }
    }

    /// Notes a fault.
    pub(super) fn fault(&mut self, place: Place, what: impl Into<String>, mend: impl Into<String>) {
        if self.faults.len() < MAX_FAULTS
            && let Some(page) = self.pages.get(place.file)
        {
            self.faults.push((place, page.fault(place.offset, what, mend)));
        }
    }

    /// A place with nothing said of it yet.
    pub(super) fn show(&self, place: Place) -> Fault {
        match self.pages.get(place.file) {
            Some(page) => page.fault(place.offset, "", ""),
            None => Fault::file("", (0, 0), "", "", ""),
        }
    }

    /// `file:line` of a place, to be named in the fault of another.
    pub(super) fn words(&self, place: Place) -> String {
        match self.show(place).place {
            crate::fault::Place::File { path, line, .. } => format!("{}:{line}", path.display()),
            crate::fault::Place::Key(key) => key,
        }
    }

    pub(super) fn sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// All faults, in the order of the files.
    pub(super) fn into_faults(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|(place, _)| *place);
        self.faults.dedup_by(|(_, later), (_, earlier)| later == earlier);
        self.faults.into_iter().map(|(_, fault)| fault).collect()
    }

    /// Reads every file.
    pub(super) fn sheets(&mut self) -> Vec<Sheet> {
        (0..self.pages.len()).map(|file| self.sheet(file)).collect()
    }

    fn sheet(&mut self, file: usize) -> Sheet {
        let text = self.pages.get(file).map(|page| page.text().to_owned()).unwrap_or_default();
        let (tree, errors) = DeTable::parse_recoverable(&text);
        for error in &errors {
            let (what, mend) = match error.message() {
                "duplicate key" => ("this key is here for the second time", "remove one of them"),
                other => (other, ""),
            };
            let offset = error.span().map_or(0, |span| span.start);
            self.fault(Place { file, offset }, what, mend);
            self.torn = true;
        }
        if !errors.is_empty() {
            return Sheet::default();
        }
        if tree.get_ref().is_empty() {
            // As a file looks that is just being written: taken at its word, it would describe nothing, and hold nobody.
            let mend = "describe operations in it, or take it out of the policy's files";
            self.fault(Place { file, offset: 0 }, "this file says nothing", mend);
        }
        let mut reader = Reader { book: self, file, text: &text };
        reader.sheet(tree.get_ref())
    }
}

/// One file.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub policy: Option<Head>,
    pub types: Entries,
    pub path_fields: Entries,
    pub headers: Entries,
    pub cookies: Entries,
    pub operations: Vec<Entry>,
}

/// `[policy]`
#[derive(Debug)]
pub(super) struct Head {
    pub place: Place,
    pub name: Option<Written>,
    pub unknown: Entries,
    pub quoted: Option<bool>,
}

/// `[[operation]]`
#[derive(Debug)]
pub(super) struct Entry {
    pub place: Place,
    /// Where each of its keys stands.
    pub keys: BTreeMap<&'static str, Place>,
    pub name: Option<Written>,
    pub path: Option<Written>,
    /// None where there is no list.
    pub methods: Option<Vec<Written>>,
    pub content: Option<Vec<Written>>,
    pub max_body: Option<Written>,
    pub quoted: Option<bool>,
    pub body: Option<Written>,
    pub unknown: Entries,
    pub path_fields: Entries,
    pub query: Entries,
    pub headers: Entries,
    pub cookies: Entries,
    pub form: Entries,
    pub json: Entries,
    pub parts: Vec<(Written, PartEntry)>,
}

/// The files of one field: `{ name, types, content, max, count }`
#[derive(Debug)]
pub(super) struct PartEntry {
    pub name: Option<Written>,
    pub types: Vec<Written>,
    pub content: Option<Written>,
    pub max: Option<Written>,
    pub count: Option<usize>,
}

const SECTIONS: &[&str] = &["policy", "types", "path_fields", "headers", "cookies", "operation"];
const HEAD_KEYS: &[&str] = &["name", "unknown", "quoted"];
const PART_KEYS: &[&str] = &["name", "types", "content", "max", "count"];
const ENTRY_KEYS: &[&str] = &[
    "path",
    "methods",
    "name",
    "content",
    "max_body",
    "quoted",
    "unknown",
    "path_fields",
    "query",
    "headers",
    "cookies",
    "form",
    "json",
    "parts",
    "body",
];

type Value<'t> = Spanned<DeValue<'t>>;

/// Reads one file.
struct Reader<'b, 't> {
    book: &'b mut Book,
    file: usize,
    text: &'t str,
}

impl Reader<'_, '_> {
    fn place(&self, span: &Range<usize>) -> Place {
        Place { file: self.file, offset: span.start }
    }

    /// A text in the file: in quotes, or a bare key.
    fn written(&self, text: &str, span: &Range<usize>) -> Written {
        let raw = self.text.get(span.clone()).unwrap_or_default();
        // Past one quote, or three.
        let inner = raw.find(|c| c != '"' && c != '\'').map(|quotes| if quotes >= 3 { 3 } else { quotes });
        let plain = inner.and_then(|start| raw.get(start..)).is_some_and(|inner| inner.starts_with(text));
        let offset = span.start + if plain { inner.unwrap_or_default() } else { 0 };
        Written { text: text.to_owned(), place: Place { file: self.file, offset }, plain }
    }

    fn fault(&mut self, span: &Range<usize>, what: impl Into<String>, mend: impl Into<String>) {
        self.book.fault(self.place(span), what, mend);
    }

    fn wrong(&mut self, key: &str, value: &Value<'_>, expected: &str, mend: &str) {
        let what = format!("\"{key}\" must be {expected}, not {}", kind(value.get_ref()));
        self.fault(&value.span(), what, mend);
    }

    /// Refuses keys that mean nothing here.
    fn known(&mut self, table: &DeTable<'_>, keys: &[&str], section: &str) {
        for (key, _) in table.iter() {
            if !keys.contains(&key.get_ref().as_ref()) {
                let mend = suggestion(key.get_ref(), keys, "the keys here are");
                let what = format!("unknown key {:?}{section}", key.get_ref());
                self.fault(&key.span(), what, mend);
            }
        }
    }

    fn table<'v, 't>(&mut self, key: &str, value: &'v Value<'t>) -> Option<&'v DeTable<'t>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong(key, value, "a table", "");
        }
        table
    }

    fn text(&mut self, key: &str, value: &Value<'_>) -> Option<Written> {
        match value.get_ref() {
            DeValue::String(text) => Some(self.written(text, &value.span())),
            _ => {
                self.wrong(key, value, "a text in quotes", "");
                None
            }
        }
    }

    fn texts(&mut self, key: &str, value: &Value<'_>) -> Option<Vec<Written>> {
        match value.get_ref() {
            DeValue::Array(items) => Some(items.iter().filter_map(|item| self.text(key, item)).collect()),
            _ => {
                self.wrong(key, value, "a list of texts", "write it in brackets, as [\"…\"]");
                None
            }
        }
    }

    fn flag(&mut self, key: &str, value: &Value<'_>) -> Option<bool> {
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong(key, value, "true or false", "");
        }
        flag
    }

    /// A table of names and classes.
    fn entries(&mut self, key: &str, value: &Value<'_>) -> Entries {
        let mut entries = Vec::new();
        for (name, value) in self.table(key, value).into_iter().flat_map(|table| table.iter()) {
            match value.get_ref() {
                DeValue::String(spec) => {
                    let name = self.written(name.get_ref(), &name.span());
                    let spec = self.written(spec, &value.span());
                    entries.push((name, spec));
                }
                found => {
                    let what = format!("{:?} must be a class in quotes, not {}", name.get_ref(), kind(found));
                    let dotted = if found.is_table() { "; a name with dots is written in quotes" } else { "" };
                    self.fault(&name.span(), what, format!("write it as \"short(200)\"{dotted}"));
                }
            }
        }
        entries.sort_by_key(|(name, _)| name.place());
        entries
    }

    fn sheet(&mut self, tree: &DeTable<'_>) -> Sheet {
        self.known(tree, SECTIONS, "");
        let mut sheet = Sheet::default();
        for (key, value) in tree.iter() {
            match key.get_ref().as_ref() {
                "policy" => sheet.policy = self.head(&key.span(), value),
                "types" => sheet.types = self.entries("types", value),
                "path_fields" => sheet.path_fields = self.entries("path_fields", value),
                "headers" => sheet.headers = self.entries("headers", value),
                "cookies" => sheet.cookies = self.entries("cookies", value),
                "operation" => match value.get_ref() {
                    DeValue::Array(items) => {
                        sheet.operations = items.iter().filter_map(|item| self.entry(item)).collect();
                    }
                    _ => self.wrong("operation", value, "a list of tables", "write [[operation]]"),
                },
                _ => {}
            }
        }
        sheet
    }

    fn head(&mut self, span: &Range<usize>, value: &Value<'_>) -> Option<Head> {
        let table = self.table("policy", value)?;
        self.known(table, HEAD_KEYS, " in [policy]");
        let mut head = Head { place: self.place(span), name: None, unknown: Vec::new(), quoted: None };
        for (key, value) in table.iter() {
            match key.get_ref().as_ref() {
                "name" => head.name = self.text("name", value),
                "unknown" => head.unknown = self.entries("unknown", value),
                "quoted" => head.quoted = self.flag("quoted", value),
                _ => {}
            }
        }
        Some(head)
    }

    fn entry(&mut self, value: &Value<'_>) -> Option<Entry> {
        let table = self.table("operation", value)?;
        self.known(table, ENTRY_KEYS, " in [[operation]]");
        let mut entry = Entry {
            place: self.place(&value.span()),
            keys: BTreeMap::new(),
            name: None,
            path: None,
            methods: None,
            content: None,
            max_body: None,
            quoted: None,
            body: None,
            unknown: Vec::new(),
            path_fields: Vec::new(),
            query: Vec::new(),
            headers: Vec::new(),
            cookies: Vec::new(),
            form: Vec::new(),
            json: Vec::new(),
            parts: Vec::new(),
        };
        for (key, value) in table.iter() {
            let Some(name) = ENTRY_KEYS.iter().find(|name| **name == key.get_ref().as_ref()) else { continue };
            entry.keys.insert(name, self.place(&key.span()));
            match *name {
                "path" => entry.path = self.text(name, value),
                "methods" => entry.methods = self.texts(name, value),
                "name" => entry.name = self.text(name, value),
                "content" => entry.content = self.texts(name, value),
                "max_body" => entry.max_body = self.text(name, value),
                "quoted" => entry.quoted = self.flag(name, value),
                "body" => entry.body = self.text(name, value),
                "unknown" => entry.unknown = self.entries(name, value),
                "path_fields" => entry.path_fields = self.entries(name, value),
                "query" => entry.query = self.entries(name, value),
                "headers" => entry.headers = self.entries(name, value),
                "cookies" => entry.cookies = self.entries(name, value),
                "form" => entry.form = self.entries(name, value),
                "json" => entry.json = self.entries(name, value),
                _ => entry.parts = self.parts(value),
            }
        }
        Some(entry)
    }

    fn parts(&mut self, value: &Value<'_>) -> Vec<(Written, PartEntry)> {
        let mut parts = Vec::new();
        for (name, value) in self.table("parts", value).into_iter().flat_map(|table| table.iter()) {
            let DeValue::Table(table) = value.get_ref() else {
                let mend = "write it as { types = [\"text/plain\"], content = \"free\", max = \"10MiB\" }";
                self.wrong(name.get_ref(), value, "a table", mend);
                continue;
            };
            self.known(table, PART_KEYS, " of an upload");
            let mut part = PartEntry { name: None, types: Vec::new(), content: None, max: None, count: None };
            for (key, value) in table.iter() {
                match key.get_ref().as_ref() {
                    "name" => part.name = self.text("name", value),
                    "types" => part.types = self.texts("types", value).unwrap_or_default(),
                    "content" => part.content = self.text("content", value),
                    "max" => part.max = self.text("max", value),
                    "count" => part.count = self.count(value),
                    _ => {}
                }
            }
            parts.push((self.written(name.get_ref(), &name.span()), part));
        }
        parts
    }

    fn count(&mut self, value: &Value<'_>) -> Option<usize> {
        let number = match value.get_ref() {
            DeValue::Integer(number) => usize::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let count = number.filter(|count| *count > 0);
        if count.is_none() {
            self.fault(&value.span(), "\"count\" must be a whole number above zero", "write how many files may come");
        }
        count
    }
}

/// What a value is, in words.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
