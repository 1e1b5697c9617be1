//! From what is written in policy files to a [`FieldPolicy`], with every fault that has a meaning: names, classes,
//! paths, and what does not go together.
//!
//! What can be shared is: each spelling of a class is read once, and operations without headers or cookies of their
//! own have the same tables.

use super::FieldPolicy;
use super::file::{Book, Entries, Entry, Head, PartEntry, Place, Sheet, Written};
use super::operation::{Operation, Parameter};
use super::paths::{self, Paths, Segment};
use crate::fault::nearest;
use crate::units::ByteSize;
use gatehouse_waf::field::fields::{Case, Parts};
use gatehouse_waf::field::{Fields, JsonPath, JsonTree, MediaRange, Part, Purpose, Table};
use http::Method;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Most operations of one policy.
const MAX_OPERATIONS: usize = 10_000;

/// What `unknown` may name, and what holds where it does not.
const UNKNOWN: [(&str, &str); 7] = [
    ("query", "short(1024)"),
    ("json", "short(1024)"),
    ("form", "short(1024)"),
    ("parts", "scored"),
    ("headers", "scored"),
    ("cookies", "scored"),
    ("route", "scored"),
];

/// The order in which methods are told.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Types of bodies whose fields can be described, and the key that does.
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

pub(super) fn build(files: &[(String, String)]) -> Result<FieldPolicy, Vec<crate::fault::Fault>> {
    let mut book = Book::new(files);
    let sheets = book.sheets();
    let policy = Builder::new(book, &sheets).run(&sheets);
    policy.map_err(Book::into_faults)
}

/// What is for everything of its kind that nothing names, by the keys of [`UNKNOWN`].
type Unknown = BTreeMap<&'static str, Arc<Purpose>>;

struct Builder<'s> {
    book: Book,
    /// Classes that were read, by spelling; `None` where there was a fault.
    read: HashMap<String, Option<Arc<Purpose>>>,
    types: BTreeMap<&'s str, &'s Written>,
    /// `[path_fields]`, and which of them some path has.
    path_fields: BTreeMap<&'s str, &'s Written>,
    used: BTreeSet<&'s str>,
    scored: Arc<Purpose>,
}

impl<'s> Builder<'s> {
    fn new(book: Book, sheets: &'s [Sheet]) -> Self {
        let mut builder = Self {
            book,
            read: HashMap::new(),
            types: BTreeMap::new(),
            path_fields: BTreeMap::new(),
            used: BTreeSet::new(),
            scored: Arc::new(Purpose::scored()),
        };
        builder.types = builder.names(sheets.iter().map(|sheet| &sheet.types), "type");
        builder.path_fields = builder.names(sheets.iter().map(|sheet| &sheet.path_fields), "path field");
        for (name, spec) in sheets.iter().flat_map(|sheet| &sheet.types) {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
            if Purpose::is_reserved(&name.text) {
                let what = format!("{:?} is a class already", name.text);
                builder.book.fault(name.place(), what, "give the type a name of its own");
            } else if name.text.is_empty() || !name.text.chars().all(plain) {
                let what = format!("{:?} is no name of a type", name.text);
                builder.book.fault(name.place(), what, "use lower-case letters, digits, - and _");
            }
            builder.class(&spec.text, spec);
        }
        builder
    }

    /// Names that may be given once in all files.
    fn names(&mut self, of: impl Iterator<Item = &'s Entries>, what: &str) -> BTreeMap<&'s str, &'s Written> {
        let mut names: BTreeMap<&str, (&Written, &Written)> = BTreeMap::new();
        for (name, spec) in of.flatten() {
            match names.get(name.text.as_str()) {
                Some((first, _)) => {
                    let what = format!("the {what} {:?} is in {} too", name.text, self.book.words(first.place()));
                    self.book.fault(name.place(), what, "remove one of them: all files are one policy");
                }
                None => drop(names.insert(&name.text, (name, spec))),
            }
        }
        names.into_iter().map(|(name, (_, spec))| (name, spec)).collect()
    }

    /// What a field is for, as written: a class, a word, or the name of a type.
    fn purpose(&mut self, written: &Written) -> Option<Arc<Purpose>> {
        let text = written.text.trim();
        let (name, optional) = text.strip_suffix('?').map_or((text, ""), |name| (name.trim_end(), "?"));
        match self.types.get(name) {
            Some(spec) if !Purpose::is_reserved(name) => {
                let spec = spec.text.trim();
                if let Some(None) = self.read.get(spec) {
                    return None;
                }
                let optional = if spec.ends_with('?') { "" } else { optional };
                self.class(&format!("{spec}{optional}"), written)
            }
            _ => self.class(text, written),
        }
    }

    /// A class or word, read once; a fault in it is told where it is met first.
    fn class(&mut self, spec: &str, written: &Written) -> Option<Arc<Purpose>> {
        if let Some(read) = self.read.get(spec) {
            return read.clone();
        }
        let purpose = match Purpose::parse(spec) {
            Ok(purpose) => Some(Arc::new(purpose)),
            Err(error) => {
                let name = spec.trim().trim_end_matches('?');
                let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
                let types: Vec<&str> = self.types.keys().copied().collect();
                let mend = match nearest(name, &types).filter(|_| bare && !Purpose::is_reserved(name)) {
                    Some(name) => format!("did you mean the type \"{name}\"?"),
                    None => error.mend,
                };
                // A class that is none may be a type of a file that could not be read.
                if !(bare && self.book.torn) {
                    let indent = written.text.len() - written.text.trim_start().len();
                    self.book.fault(written.at(indent + error.at), error.what, mend);
                }
                None
            }
        };
        self.read.insert(spec.to_owned(), purpose.clone());
        purpose
    }

    /// As [`Self::purpose`]; after a fault it does not matter what.
    fn any(&mut self, written: &Written) -> Arc<Purpose> {
        self.purpose(written).unwrap_or_else(|| Arc::clone(&self.scored))
    }

    fn run(mut self, sheets: &'s [Sheet]) -> Result<FieldPolicy, Book> {
        let head = self.head(sheets);
        let mut unknown: Unknown = UNKNOWN.iter().map(|(key, _)| (*key, Arc::clone(&self.scored))).collect();
        for (key, default) in UNKNOWN {
            if let Ok(purpose) = Purpose::parse(default) {
                unknown.insert(key, Arc::new(purpose));
            }
        }
        if let Some(head) = head {
            self.unknown(&head.unknown, &mut unknown, true);
        }
        let route = unknown.remove("route").unwrap_or_else(|| Arc::clone(&self.scored));
        let headers = self.tokens(sheets.iter().flat_map(|sheet| &sheet.headers), Case::Ignored);
        let cookies = self.tokens(sheets.iter().flat_map(|sheet| &sheet.cookies), Case::Matters);
        let quoted = head.and_then(|head| head.quoted).unwrap_or_default();
        let general = General {
            tables: Tables {
                headers: Arc::new(Table::new(headers.iter().cloned(), other(&unknown, "headers"), Case::Ignored)),
                cookies: Arc::new(Table::new(cookies.iter().cloned(), other(&unknown, "cookies"), Case::Matters)),
            },
            headers,
            cookies,
            unknown,
            quoted,
        };

        let mut operations = Vec::new();
        let mut paths = Paths::default();
        let mut named: BTreeMap<&str, Place> = BTreeMap::new();
        for entry in sheets.iter().flat_map(|sheet| &sheet.operations) {
            if operations.len() == MAX_OPERATIONS {
                let what = format!("more than {MAX_OPERATIONS} operations");
                self.book.fault(entry.place, what, "describe them together with {name...}");
                break;
            }
            if let Some(name) = &entry.name
                && let Some(first) = named.insert(&name.text, name.place())
            {
                let what =
                    format!("the name {:?} is that of an operation in {} too", name.text, self.book.words(first));
                self.book.fault(name.place(), what, "give each operation a name of its own");
            }
            if let Some(operation) = self.operation(entry, &general) {
                let others = paths.add(&operation.segments, operations.len());
                self.overlaps(entry, &operation, others.iter().filter_map(|other| operations.get(*other)));
                operations.push(operation);
            }
        }
        // A path that could not be read may have them.
        let all = operations.len() == sheets.iter().map(|sheet| sheet.operations.len()).sum::<usize>();
        for sheet in sheets {
            for (name, _) in &sheet.path_fields {
                if !self.used.contains(name.text.as_str()) && all && !self.book.torn {
                    let what = format!("no path has a parameter {{{}}}", name.text);
                    let used: Vec<&str> = operations
                        .iter()
                        .flat_map(|o: &Operation| o.segments.iter())
                        .filter_map(paths::parameter)
                        .collect();
                    self.book.fault(name.place(), what, meant(&name.text, &used, "remove it"));
                }
            }
        }
        if !self.book.sound() {
            return Err(self.book);
        }
        let name = head.and_then(|head| head.name.as_ref()).map_or("", |name| &name.text);
        let unknown = &general.unknown;
        let other = Fields {
            query: Table::empty(other(unknown, "query")),
            headers: general.tables.headers,
            cookies: general.tables.cookies,
            form: Table::empty(other(unknown, "form")),
            parts: Parts::new([], other(unknown, "parts")),
            json: JsonTree::empty(&other(unknown, "json")),
            body: None,
        };
        let order =
            |method: &Method| METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len());
        let mut methods: Vec<Method> = operations.iter().flat_map(|operation| &operation.methods).cloned().collect();
        if methods.contains(&Method::GET) {
            methods.push(Method::HEAD);
        }
        methods.sort_by(|a, b| (order(a), a.as_str()).cmp(&(order(b), b.as_str())));
        methods.dedup();
        Ok(FieldPolicy {
            name: name.into(),
            operations,
            methods,
            paths,
            other: Arc::new(other),
            refuses: route.spec() == "refuse",
        })
    }

    /// `[policy]`, which one file may have.
    fn head(&mut self, sheets: &'s [Sheet]) -> Option<&'s Head> {
        let mut heads = sheets.iter().filter_map(|sheet| sheet.policy.as_ref());
        let first = heads.next()?;
        for head in heads {
            let what = format!("[policy] is in {} too", self.book.words(first.place));
            self.book.fault(head.place, what, "keep one of them: all files are one policy");
        }
        Some(first)
    }

    /// Takes over what `unknown` names; `route` only where it can be meant.
    fn unknown(&mut self, entries: &Entries, unknown: &mut Unknown, route: bool) {
        let keys: Vec<&'static str> =
            UNKNOWN.iter().map(|(key, _)| *key).filter(|key| route || *key != "route").collect();
        for (name, spec) in entries {
            let Some(key) = keys.iter().find(|key| **key == name.text) else {
                let what = format!("unknown key {:?} in unknown", name.text);
                let mend = crate::fault::suggestion(&name.text, &keys, "the keys here are");
                self.book.fault(name.place(), what, mend);
                continue;
            };
            let Some(purpose) = self.purpose(spec) else { continue };
            if *key == "route" && !matches!(purpose.spec(), "scored" | "refuse") {
                let what = "a path that no operation has is either scored or refused";
                self.book.fault(spec.place(), what, "write \"scored\" or \"refuse\"");
            }
            unknown.insert(key, purpose);
        }
    }

    /// Headers or cookies, whose names are tokens (RFC 9110 section 5.1, RFC 6265 section 4.1.1).
    fn tokens<'e>(&mut self, entries: impl Iterator<Item = &'e (Written, Written)>, case: Case) -> Fielded {
        let mut first: BTreeMap<String, Place> = BTreeMap::new();
        let mut named = Vec::new();
        for (name, spec) in entries {
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.text.is_empty() || !name.text.bytes().all(token) {
                let what = format!("{:?} cannot be the name of a {}", name.text, kind(case));
                self.book.fault(name.place(), what, "use letters, digits and - . _");
            }
            let key = if case == Case::Ignored { name.text.to_ascii_lowercase() } else { name.text.clone() };
            if let Some(place) = first.insert(key, name.place()) {
                let what = format!("the {} {:?} is in {} too", kind(case), name.text, self.book.words(place));
                self.book.fault(name.place(), what, "remove one of them");
            }
            named.push((name.text.clone().into_bytes(), self.any(spec)));
        }
        named
    }

    fn named(&mut self, entries: &Entries) -> Fielded {
        entries.iter().map(|(name, spec)| (name.text.clone().into_bytes(), self.any(spec))).collect()
    }

    /// An operation; none where it has no path to be found by.
    fn operation(&mut self, entry: &'s Entry, general: &General) -> Option<Operation> {
        let methods = self.methods(entry);
        let mut unknown = general.unknown.clone();
        self.unknown(&entry.unknown, &mut unknown, false);
        let tables = self.tables(entry, general, &unknown);
        let fields = Fields {
            query: Table::new(self.named(&entry.query), other(&unknown, "query"), Case::Matters),
            headers: tables.headers,
            cookies: tables.cookies,
            form: Table::new(self.named(&entry.form), other(&unknown, "form"), Case::Matters),
            parts: Parts::new(self.parts(entry), other(&unknown, "parts")),
            json: self.json(entry, &other(&unknown, "json"), entry.quoted.unwrap_or(general.quoted)),
            body: entry.body.as_ref().map(|body| self.any(body)),
        };
        self.bodies(entry, &methods);
        let content = self.content(entry);
        let max_body = entry.max_body.as_ref().and_then(|size| self.size(size));

        let Some(path) = &entry.path else {
            if !entry.keys.contains_key("path") {
                self.book.fault(entry.place, "the key \"path\" is missing in [[operation]]", "add a line: path = …");
            }
            return None;
        };
        let segments = match paths::parse(&path.text) {
            Ok(segments) => segments,
            Err((at, what, mend)) => {
                self.book.fault(path.at(at), what, mend);
                return None;
            }
        };
        let parameters = self.parameters(entry, path, &segments);
        let listed: Vec<&str> = methods.iter().map(Method::as_str).collect();
        let name =
            entry.name.as_ref().map_or_else(|| format!("{} {}", listed.join("|"), path.text), |n| n.text.clone());
        Some(Operation {
            name: name.into(),
            path: path.text.as_str().into(),
            segments,
            methods,
            content,
            max_body,
            parameters,
            fields: Arc::new(fields),
            place: self.book.show(path.place()),
        })
    }

    /// Headers and cookies: those of every operation, and its own before them.
    fn tables(&mut self, entry: &Entry, general: &General, unknown: &Unknown) -> Tables {
        let mut tables = general.tables.clone();
        let same = |of: &str| Arc::ptr_eq(&other(unknown, of), &other(&general.unknown, of));
        let own = self.tokens(entry.headers.iter(), Case::Ignored);
        if !own.is_empty() || !same("headers") {
            let all = general.headers.iter().cloned().chain(own);
            tables.headers = Arc::new(Table::new(all, other(unknown, "headers"), Case::Ignored));
        }
        let own = self.tokens(entry.cookies.iter(), Case::Matters);
        if !own.is_empty() || !same("cookies") {
            let all = general.cookies.iter().cloned().chain(own);
            tables.cookies = Arc::new(Table::new(all, other(unknown, "cookies"), Case::Matters));
        }
        tables
    }

    fn methods(&mut self, entry: &Entry) -> Vec<Method> {
        match (&entry.methods, entry.keys.get("methods")) {
            (Some(none), Some(place)) if none.is_empty() => {
                self.book.fault(*place, "no method is named", "write those it takes, as [\"GET\"]");
            }
            (None, None) => {
                let mend = "add a line: methods = [\"GET\"]";
                self.book.fault(entry.place, "the key \"methods\" is missing in [[operation]]", mend);
            }
            _ => {}
        }
        let mut methods = Vec::new();
        for written in entry.methods.iter().flatten() {
            let text = &written.text;
            let named = !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
            match Method::from_bytes(text.as_bytes()).ok().filter(|_| named) {
                None if text == "*" => {
                    let mend = "name those it takes: each reads its fields in its own way";
                    self.book.fault(written.place(), "an operation does not take every method", mend);
                }
                None => {
                    let mend = format!("write \"{}\": methods are case-sensitive", text.to_ascii_uppercase());
                    self.book.fault(written.place(), format!("{text:?} is no method"), mend);
                }
                Some(method) if matches!(text.as_str(), "CONNECT" | "TRACE") => {
                    self.book.fault(written.place(), format!("{method} is never forwarded"), "remove it");
                }
                Some(method) if methods.contains(&method) => {
                    self.book.fault(written.place(), format!("{method} is here for the second time"), "remove it");
                }
                Some(method) => methods.push(method),
            }
        }
        methods
    }

    /// The parameters in a path, each with its class.
    fn parameters(&mut self, entry: &'s Entry, path: &Written, segments: &[Segment]) -> Box<[Parameter]> {
        let mut parameters = Vec::new();
        let mut offset = 1;
        for (at, segment) in segments.iter().enumerate() {
            let place = path.at(offset);
            let Some(name) = paths::parameter(segment) else {
                if let Segment::Literal(text) = segment {
                    offset += text.len() + 1;
                }
                continue;
            };
            let rest = matches!(segment, Segment::Rest(_));
            offset += name.len() + if rest { 6 } else { 3 };
            let own = entry.path_fields.iter().find(|(own, _)| own.text == name).map(|(_, spec)| spec);
            let general = self.path_fields.get_key_value(name).map(|(key, spec)| (*key, *spec));
            if let Some((key, _)) = general {
                self.used.insert(key);
            }
            match own.or(general.map(|(_, spec)| spec)) {
                Some(spec) => parameters.push(Parameter { name: name.into(), at, rest, purpose: self.any(spec) }),
                None if self.book.torn => {}
                None => {
                    let mend = format!("add a line: path_fields.{name} = \"uuid\", or whatever class it has");
                    self.book.fault(place, format!("the parameter {{{name}}} has no class"), mend);
                }
            }
        }
        let names: Vec<&str> = segments.iter().filter_map(paths::parameter).collect();
        for (name, _) in entry.path_fields.iter().filter(|(name, _)| !names.contains(&name.text.as_str())) {
            let what = format!("{:?} names no segment of the path", name.text);
            self.book.fault(name.place(), what, meant(&name.text, &names, "remove it"));
        }
        parameters.into()
    }

    fn json(&mut self, entry: &Entry, other: &Arc<Purpose>, quoted: bool) -> JsonTree {
        let mut paths = Vec::new();
        let mut places = Vec::new();
        for (path, spec) in &entry.json {
            let purpose = self.any(spec);
            match JsonPath::parse(&path.text) {
                Ok(parsed) => {
                    paths.push((parsed, purpose));
                    places.push(path.place());
                }
                Err(error) => self.book.fault(path.at(error.at), error.what, error.mend),
            }
        }
        JsonTree::build(paths, other, quoted).unwrap_or_else(|errors| {
            for error in errors {
                let Some(place) = places.get(error.path) else { continue };
                let other = error.other.and_then(|other| places.get(other));
                let beside = other.map(|other| format!(" (see {})", self.book.words(*other))).unwrap_or_default();
                self.book.fault(*place, format!("{}{beside}", error.what), error.mend);
            }
            JsonTree::empty(other)
        })
    }

    fn parts(&mut self, entry: &Entry) -> Vec<(Vec<u8>, Part)> {
        entry.parts.iter().map(|(name, part)| (name.text.clone().into_bytes(), self.part(part))).collect()
    }

    fn part(&mut self, part: &PartEntry) -> Part {
        let default = |spec: &str| Purpose::parse(spec).unwrap_or_else(|_| Purpose::scored());
        Part {
            name: part.name.as_ref().map_or_else(|| Arc::new(default("file-name")), |name| self.any(name)),
            types: self.media(&part.types).into(),
            content: part.content.as_ref().map_or_else(|| Arc::new(default("scored")), |spec| self.any(spec)),
            max: part.max.as_ref().and_then(|size| self.size(size)).map(|size| size.0),
            count: part.count.unwrap_or(1),
        }
    }

    fn media(&mut self, written: &[Written]) -> Vec<MediaRange> {
        let mut ranges = Vec::new();
        for text in written {
            match MediaRange::parse(&text.text) {
                Ok(range) => ranges.push(range),
                Err((at, what, mend)) => self.book.fault(text.at(at), what, mend),
            }
        }
        ranges
    }

    fn size(&mut self, written: &Written) -> Option<ByteSize> {
        match written.text.parse::<ByteSize>() {
            Ok(ByteSize(0)) => {
                self.book.fault(written.place(), "a size of zero takes nothing", "write a size above zero");
                None
            }
            Ok(size) => Some(size),
            Err(error) => {
                let words = error.to_string();
                let (what, mend) = words.split_once(": ").unwrap_or((&words, "write a size, as \"2MiB\""));
                self.book.fault(written.place(), what, mend);
                None
            }
        }
    }

    /// The types of bodies: as written, else what the fields need.
    fn content(&mut self, entry: &Entry) -> Box<[MediaRange]> {
        let form = !entry.form.is_empty();
        let needs = [
            ("json", !entry.json.is_empty(), &[JSON][..]),
            ("parts", !entry.parts.is_empty(), &[MULTIPART]),
            ("form", form, if entry.parts.is_empty() { &[FORM, MULTIPART][..] } else { &[MULTIPART] }),
        ];
        if let (Some(written), Some(place)) = (&entry.content, entry.keys.get("content")) {
            let ranges = self.media(written);
            if written.is_empty() {
                self.book.fault(*place, "no media type is named", "write those of its bodies, or remove the key");
            } else if ranges.len() == written.len() {
                for (key, described, types) in needs.iter().filter(|(_, described, _)| *described) {
                    let taken = ranges.iter().any(|range| types.iter().any(|t| range.fits(t.as_bytes())))
                        || *key == "json" && ranges.iter().any(|range| range.to_string().ends_with("+json"));
                    if *described && !taken {
                        let what = format!("{key} is described, but no body that has it is taken");
                        self.book.fault(*place, what, format!("add \"{}\"", types.first().unwrap_or(&JSON)));
                    }
                }
            }
            return ranges.into();
        }
        let mut types: Vec<&str> =
            needs.iter().filter(|(_, described, _)| *described).flat_map(|n| n.2).copied().collect();
        types.dedup();
        types.into_iter().filter_map(|text| MediaRange::parse(text).ok()).collect()
    }

    /// What is said of bodies has to go together, and with the methods.
    fn bodies(&mut self, entry: &Entry, methods: &[Method]) {
        let bodiless = |method: &Method| [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
        let keys = ["json", "form", "parts", "body", "content", "max_body"];
        if !methods.is_empty() && methods.iter().all(bodiless) {
            let listed: Vec<&str> = methods.iter().map(Method::as_str).collect();
            for place in keys.iter().filter_map(|key| entry.keys.get(key)) {
                let what = format!("a body is described, but {} has none", listed.join(" and "));
                self.book.fault(*place, what, "remove it, or name the method that has a body");
            }
        } else if entry.keys.contains_key("body") {
            for key in ["json", "form", "parts"] {
                if let Some(place) = entry.keys.get(key) {
                    let what = format!("\"body\" says that the body is one value, {key} that it has fields");
                    self.book.fault(*place, what, "keep one of them");
                }
            }
        }
    }

    /// Operations of the same shape: their methods must differ and their parameters be called the same.
    fn overlaps<'o>(&mut self, entry: &Entry, operation: &Operation, others: impl Iterator<Item = &'o Operation>) {
        let Some(path) = &entry.path else { return };
        for other in others {
            let place = match &other.place.place {
                crate::fault::Place::File { path, line, .. } => format!("{}:{line}", path.display()),
                crate::fault::Place::Key(key) => key.clone(),
            };
            if let Some(method) = operation.methods.iter().find(|method| other.methods.contains(method)) {
                let what = format!("{method} of this path is described in {place} too");
                self.book.fault(path.place(), what, "make one operation of the two, or part their methods");
            }
            let names = |operation: &Operation| -> Vec<String> {
                operation.segments.iter().filter_map(paths::parameter).map(str::to_owned).collect()
            };
            let (own, theirs) = (names(operation), names(other));
            if let Some((own, theirs)) = own.iter().zip(&theirs).find(|(own, theirs)| own != theirs) {
                let what = format!("{{{own}}} is called {{{theirs}}} in {place}, which is the same path");
                self.book.fault(path.place(), what, "give the parameter one name");
            }
        }
    }
}

/// The nearest of `choices` to a name, or what to do otherwise.
fn meant(name: &str, choices: &[&str], otherwise: &str) -> String {
    nearest(name, choices).map_or_else(|| otherwise.to_owned(), |choice| format!("did you mean \"{choice}\"?"))
}

fn kind(case: Case) -> &'static str {
    if case == Case::Ignored { "header" } else { "cookie" }
}

/// Fields by name, before they are a table.
type Fielded = Vec<(Vec<u8>, Arc<Purpose>)>;

/// What holds for every operation that says nothing else.
struct General {
    headers: Fielded,
    cookies: Fielded,
    /// Made of these.
    tables: Tables,
    unknown: Unknown,
    quoted: bool,
}

#[derive(Clone)]
struct Tables {
    headers: Arc<Table>,
    cookies: Arc<Table>,
}

/// What a field is for that nothing names.
fn other(unknown: &Unknown, key: &str) -> Arc<Purpose> {
    unknown.get(key).map_or_else(|| Arc::new(Purpose::scored()), Arc::clone)
}
