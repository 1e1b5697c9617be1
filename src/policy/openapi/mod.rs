//! A first draft of a field policy, made from an OpenAPI document (3.0 and 3.1, <https://spec.openapis.org/oas/>).
//!
//! The document says what an application takes; a policy also says what text is for, which no schema does. So the draft
//! guesses, and writes `check:` beside each guess for a person to look at. It is a help for whoever writes a policy, not
//! a part of deciding anything: no request comes near it.
//!
//! In: a document as a tree, which may be anybody's: references may be missing or turn in circles, schemas may nest
//! without end or have thousands of properties. Out: the text of a policy that builds, bounded: what is past a bound is left out or
//! described together (`.**`), and said so. Local references only; nothing is fetched.

mod class;
mod schema;

use super::field::FieldPolicy;
use class::{Guess, Place, guess};
use schema::Reader;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Most lines of fields in the whole draft.
const MAX_LINES: usize = 30_000;

/// Most operations, a few below what a policy may have.
const MAX_BLOCKS: usize = 9_000;

/// Longest name of a field, in bytes; what has a longer one is left out.
const MAX_NAME: usize = 256;

/// Beside a parameter in a path that the document does not describe.
const UNDESCRIBED: &str = "the document does not describe it";

/// The methods an OpenAPI path may have, but for TRACE, which is never forwarded.
const METHODS: [(&str, &str); 7] = [
    ("get", "GET"),
    ("head", "HEAD"),
    ("post", "POST"),
    ("put", "PUT"),
    ("patch", "PATCH"),
    ("delete", "DELETE"),
    ("options", "OPTIONS"),
];

/// Why a document is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// Another format, or another version of it.
    #[error("this is no OpenAPI 3.0 or 3.1 document: {0}")]
    Format(&'static str),
    /// Nothing to describe.
    #[error("the document describes no path")]
    Empty,
}

/// Writes the draft.
///
/// # Errors
/// Where the document is not of a version that is understood, or describes nothing.
pub fn draft(document: &Value) -> Result<String, DraftError> {
    let Some(root) = document.as_object() else { return Err(DraftError::Format("it is no object")) };
    match root.get("openapi") {
        Some(Value::String(version)) if version.starts_with("3.") => {}
        Some(Value::String(_)) => return Err(DraftError::Format("the version is not 3.x")),
        _ if root.contains_key("swagger") => return Err(DraftError::Format("it is Swagger 2.0: convert it first")),
        _ => return Err(DraftError::Format("the key `openapi` is missing")),
    }
    let paths = root.get("paths").and_then(Value::as_object).filter(|paths| !paths.is_empty());
    let mut drafter = Drafter::new(document);
    for (path, item) in paths.ok_or(DraftError::Empty)? {
        drafter.path(path, item);
    }
    Ok(drafter.print(root))
}

/// A field's line: its key, as the file spells it, its class, and what a person should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    key: String,
    value: String,
    check: Option<String>,
}

impl Line {
    fn new(key: &str, guess: Guess) -> Self {
        Self { key: toml_key(key), value: toml_text(&guess.spec), check: guess.check }
    }

    fn write(&self, out: &mut String) {
        let _ = write!(out, "{} = {}", self.key, self.value);
        write_check(out, self.check.as_deref());
    }
}

fn write_check(out: &mut String, check: Option<&str>) {
    if let Some(check) = check {
        let _ = write!(out, "  # check: {}", comment(check));
    }
    out.push('\n');
}

/// Lines of one kind of field; a name stands once.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Lines(Vec<Line>);

impl Lines {
    fn add(&mut self, line: Line) {
        if !self.0.iter().any(|other| other.key == line.key) {
            self.0.push(line);
        }
    }
}

/// What one method of a path takes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Described {
    notes: Vec<String>,
    /// By the name in the path.
    path_fields: BTreeMap<String, Guess>,
    query: Lines,
    headers: Lines,
    cookies: Lines,
    content: Vec<String>,
    body: Option<Guess>,
    json: Vec<Line>,
    form: Lines,
    /// Whole lines: the table of an upload.
    parts: Lines,
}

/// An operation: methods of one path that take the same.
#[derive(Debug)]
struct Block {
    path: String,
    methods: Vec<&'static str>,
    what: Described,
}

struct Drafter<'d> {
    reader: Reader<'d>,
    blocks: Vec<Block>,
    left_out: Vec<String>,
    /// The names of parameters by the shape of a path, and the methods that it has.
    shapes: BTreeMap<String, (Vec<String>, BTreeSet<&'static str>)>,
    /// What stands before every path.
    base: String,
    notes: Vec<String>,
    lines: usize,
}

impl<'d> Drafter<'d> {
    fn new(document: &'d Value) -> Self {
        let mut notes = Vec::new();
        let server = document.pointer("/servers/0/url").and_then(Value::as_str).unwrap_or_default();
        let path = match server.split_once("://") {
            Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default(),
            None => server,
        };
        let base = path.trim_end_matches('/').to_owned();
        let plain = base.is_empty() || (base.starts_with('/') && !base.contains(['{', '}', '?', '#', '%']));
        if !plain {
            notes.push(format!("check: the server's path {base} is not put before the paths"));
        } else if !base.is_empty() {
            notes.push(format!("check: the server's path {base} is put before every path"));
        }
        Self {
            reader: Reader::new(document),
            blocks: Vec::new(),
            left_out: Vec::new(),
            shapes: BTreeMap::new(),
            base: if plain { base } else { String::new() },
            notes,
            lines: 0,
        }
    }

    fn path(&mut self, template: &str, item: &'d Value) {
        let Some(item) = self.reader.resolve(item).and_then(Value::as_object) else {
            self.left_out.push(format!("{template}: it is no object, or its reference leads nowhere"));
            return;
        };
        let (path, mut names) = segments(&format!("{}{template}", self.base));
        if !builds(&path, &names) {
            self.left_out.push(format!("{template}: no request has such a path"));
            return;
        }
        // Two spellings of one path are one, with the names of the first.
        let shape = shape_of(&path);
        let (first, taken) = self.shapes.entry(shape.clone()).or_insert_with(|| (names.clone(), BTreeSet::new()));
        let mut taken = std::mem::take(taken);
        let called: Vec<(String, String)> = names.drain(..).zip(first.iter().cloned()).collect();
        let mut next = called.iter().map(|(_, name)| format!("{{{name}}}"));
        let own = |text: &str| if text.starts_with('{') { next.next().unwrap_or_default() } else { text.to_owned() };
        let path = path.split('/').map(own).collect::<Vec<String>>().join("/");

        let mut blocks: Vec<Block> = Vec::new();
        for (key, method) in METHODS {
            let Some(operation) = item.get(key).and_then(Value::as_object) else { continue };
            if self.lines > MAX_LINES || self.blocks.len() > MAX_BLOCKS {
                self.left_out.push(format!("{method} {template}: the draft is long enough"));
                continue;
            }
            if !taken.insert(method) {
                self.left_out.push(format!("{method} {template}: another spelling of this path has it"));
                continue;
            }
            let what = self.operation(item, operation, method, &called);
            self.lines += what.json.len() + what.query.0.len() + what.form.0.len() + 1;
            match blocks.iter_mut().find(|block| block.what == what) {
                Some(block) => block.methods.push(method),
                None => blocks.push(Block { path: path.clone(), methods: vec![method], what }),
            }
        }
        self.blocks.extend(blocks);
        if let Some((_, own)) = self.shapes.get_mut(&shape) {
            own.append(&mut taken);
        }
    }

    /// What one method takes; `names` pairs the parameters of its own path with what the draft calls them.
    fn operation(
        &mut self,
        item: &'d Map<String, Value>,
        operation: &'d Map<String, Value>,
        method: &str,
        names: &[(String, String)],
    ) -> Described {
        let mut what = Described::default();
        // Those of the method stand before those of the path, which they replace.
        let lists = [operation, item].map(|from| from.get("parameters").and_then(Value::as_array));
        let mut seen = BTreeSet::new();
        for parameter in lists.into_iter().flatten().flatten().take(1_000) {
            let Some(parameter) = self.reader.resolve(parameter).and_then(Value::as_object) else {
                what.notes.push("check: a parameter's reference leads nowhere".to_owned());
                continue;
            };
            let text = |key: &str| parameter.get(key).and_then(Value::as_str);
            if let (Some(name), Some(place)) = (text("name"), text("in"))
                && name.len() <= MAX_NAME
                && seen.insert((name, place))
            {
                self.parameter(name, place, parameter, names, &mut what);
            }
        }
        for (_, name) in names {
            what.path_fields.entry(name.clone()).or_insert_with(|| Guess::checked("short(200)", UNDESCRIBED));
        }
        if let Some(body) = operation.get("requestBody").and_then(|body| self.reader.resolve(body)) {
            self.reader.cut = false;
            if matches!(method, "GET" | "HEAD" | "OPTIONS") {
                what.notes.push(format!("check: the document describes a body, but {method} has none"));
            } else {
                self.body(body, &mut what);
            }
            if self.reader.cut {
                what.notes.push("check: the document describes more fields than these".to_owned());
            }
        }
        what
    }

    fn parameter(
        &mut self,
        name: &str,
        place: &str,
        parameter: &'d Map<String, Value>,
        names: &[(String, String)],
        what: &mut Described,
    ) {
        let optional = !parameter.get("required").and_then(Value::as_bool).unwrap_or_default();
        let Some(schema) = parameter.get("schema") else {
            let guess = Guess::checked("short(1024)", "the document describes it as a document of its own");
            return put(name, place, guess, names, what);
        };
        let place_of = if place == "path" { Place::Path } else { Place::Query };
        let value = self.reader.flat(schema);
        if !value.members.is_empty() && value.scalar.is_none() {
            // `deepObject` and its like: name[member].
            for (member, guess) in value.members {
                put(&format!("{name}[{member}]"), place, guess, names, what);
            }
            return;
        }
        let mut guess = match &value.scalar {
            Some(scalar) => guess(name, scalar, place_of),
            None => Guess::checked("short(1024)", "the document says nothing of its values"),
        };
        let joined = parameter.get("explode").and_then(Value::as_bool) == Some(false) || place != "query";
        if value.listed && joined {
            guess = Guess::checked("short(1024)", "a list in one value");
        }
        if optional && place != "path" {
            guess = guess.optional();
        }
        put(name, place, guess, names, what);
    }

    fn body(&mut self, body: &'d Value, what: &mut Described) {
        let Some(content) = body.get("content").and_then(Value::as_object) else { return };
        let mut whole = None;
        for (media, described) in content.iter().take(50) {
            let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let schema = described.get("schema");
            if gatehouse_waf::field::MediaRange::parse(&essence).is_err() {
                what.notes.push(format!("check: {media} is no media type"));
                continue;
            }
            if !what.content.contains(&essence) {
                what.content.push(essence.clone());
            }
            match (essence.as_str(), schema) {
                ("multipart/form-data" | "application/x-www-form-urlencoded", Some(schema)) => {
                    let multipart = essence.starts_with("multipart");
                    self.form(schema, described.get("encoding"), multipart, what);
                }
                (json, Some(schema)) if json == "application/json" || json.ends_with("+json") => {
                    let lines = self.reader.json(schema);
                    let known: BTreeSet<String> = what.json.iter().map(|line| line.key.clone()).collect();
                    // A second description of the same body adds to the first only where there is none.
                    if known.is_empty() {
                        what.json =
                            lines.into_iter().map(|(path, guess)| Line::new(&path.to_string(), guess)).collect();
                    }
                }
                (text, _) if text.starts_with("text/") => whole = Some(Guess::checked("free", "the body is one text")),
                (_, None) if essence.ends_with("json") || essence.contains("form") => {}
                _ => whole = whole.or_else(|| Some(Guess::checked("opaque(10MiB)", "nothing reads this body"))),
            }
        }
        let fields = !what.json.is_empty() || !what.form.0.is_empty() || !what.parts.0.is_empty();
        match whole {
            Some(_) if fields => {
                what.notes.push("check: bodies of other types than those described are taken".to_owned())
            }
            whole => what.body = whole,
        }
    }

    fn form(&mut self, schema: &'d Value, encoding: Option<&'d Value>, multipart: bool, what: &mut Described) {
        for (name, field) in self.reader.form(schema) {
            let own = encoding.and_then(|encoding| encoding.get(&name));
            match field {
                schema::FormField::File { media, many } if multipart => {
                    let types = own.and_then(|own| own.get("contentType")).and_then(Value::as_str).or(media);
                    what.parts.add(upload(&name, types, many));
                }
                schema::FormField::File { .. } => {
                    what.form.add(Line::new(&name, Guess::checked("base64", "a file in a form")));
                }
                schema::FormField::Value(guess) => what.form.add(Line::new(&name, guess)),
            }
        }
    }

    fn print(mut self, root: &Map<String, Value>) -> String {
        let shared = self.share();
        let info = |key: &str| root.get("info").and_then(|info| info.get(key)).and_then(Value::as_str);
        let title = info("title").unwrap_or("a document without a title");
        let mut out = String::new();
        let _ = writeln!(out, "# A first draft of a field policy, from the OpenAPI document of {}", comment(title));
        out.push_str(
            "# (gatehouse policy from-openapi). What says `check:` is a guess: a person has to look at it. What\n",
        );
        out.push_str("# is prose or code (free), and what the server fetches (fetch-url), no schema says.\n");
        for note in self.notes.iter().chain(&self.left_out).take(200) {
            let prefix = if self.left_out.contains(note) { "left out: " } else { "" };
            let _ = writeln!(out, "# {prefix}{}", comment(note));
        }
        let _ = writeln!(out, "\n[policy]\nname = {}", toml_text(&policy_name(title)));
        if !shared.is_empty() {
            out.push_str("\n[path_fields]\n");
            for (name, guess) in &shared {
                Line::new(name, guess.clone()).write(&mut out);
            }
        }
        for block in &self.blocks {
            block.print(&mut out);
        }
        out
    }

    /// The parameters in paths that have one class wherever they are described. Where they are not, they have it too.
    fn share(&mut self) -> BTreeMap<String, Guess> {
        let mut shared: BTreeMap<String, Option<Guess>> = BTreeMap::new();
        let described = |guess: &Guess| guess.check.as_deref() != Some(UNDESCRIBED);
        let all = || self.blocks.iter().flat_map(|block| &block.what.path_fields);
        for (name, guess) in all().filter(|(_, guess)| described(guess)) {
            let first = shared.entry(name.clone()).or_insert_with(|| Some(guess.clone()));
            if first.as_ref().is_some_and(|first| first.spec != guess.spec) {
                *first = None;
            }
        }
        for (name, guess) in all() {
            shared.entry(name.clone()).or_insert_with(|| Some(guess.clone()));
        }
        let shared: BTreeMap<String, Guess> =
            shared.into_iter().filter_map(|(name, guess)| Some((name, guess?))).collect();
        for block in &mut self.blocks {
            block.what.path_fields.retain(|name, _| !shared.contains_key(name));
        }
        shared
    }
}

impl Block {
    fn print(&self, out: &mut String) {
        let what = &self.what;
        out.push('\n');
        for note in what.notes.iter().take(20) {
            let _ = writeln!(out, "# {}", comment(note));
        }
        let methods: Vec<String> = self.methods.iter().map(|method| toml_text(method)).collect();
        let _ = writeln!(out, "[[operation]]\npath = {}\nmethods = [{}]", toml_text(&self.path), methods.join(", "));
        if !what.content.is_empty() {
            let types: Vec<String> = what.content.iter().map(|media| toml_text(media)).collect();
            let _ = writeln!(out, "content = [{}]", types.join(", "));
        }
        if let Some(body) = &what.body {
            let _ = write!(out, "body = {}", toml_text(&body.spec));
            write_check(out, body.check.as_deref());
        }
        for (name, guess) in &what.path_fields {
            out.push_str("path_fields.");
            Line::new(name, guess.clone()).write(out);
        }
        for (prefix, lines) in [("query", &what.query), ("headers", &what.headers), ("cookies", &what.cookies)] {
            for line in &lines.0 {
                let _ = write!(out, "{prefix}.");
                line.write(out);
            }
        }
        for (section, lines) in [("json", &what.json), ("form", &what.form.0), ("parts", &what.parts.0)] {
            if !lines.is_empty() {
                let _ = writeln!(out, "[operation.{section}]");
                lines.iter().for_each(|line| line.write(out));
            }
        }
    }
}

/// Files the guess of a parameter under its place.
fn put(name: &str, place: &str, guess: Guess, names: &[(String, String)], what: &mut Described) {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let is_token = !name.is_empty() && name.bytes().all(token);
    match place {
        "path" => {
            let own = sanitised(name);
            if let Some((_, name)) = names.iter().find(|(listed, _)| *listed == own) {
                what.path_fields.insert(name.clone(), guess);
            }
        }
        "query" => what.query.add(Line::new(name, guess)),
        // These three are described elsewhere (OpenAPI, Parameter Object).
        "header" if ["accept", "content-type", "authorization"].contains(&name.to_ascii_lowercase().as_str()) => {}
        "header" if is_token => what.headers.add(Line::new(&name.to_ascii_lowercase(), guess)),
        "cookie" if is_token => what.cookies.add(Line::new(name, guess)),
        _ => what.notes.push(format!("check: the parameter {name:?} in {place:?} is left out")),
    }
}

/// The table of an uploaded file.
fn upload(name: &str, types: Option<&str>, many: Option<u64>) -> Line {
    let types: Vec<String> = types
        .into_iter()
        .flat_map(|types| types.split(','))
        .map(str::trim)
        .filter(|media| gatehouse_waf::field::MediaRange::parse(media).is_ok() && *media != "application/octet-stream")
        .map(toml_text)
        .take(50)
        .collect();
    let types = if types.is_empty() { String::new() } else { format!("types = [{}], ", types.join(", ")) };
    let count = many.map(|many| format!(", count = {}", many.clamp(1, 100))).unwrap_or_default();
    Line {
        key: toml_key(name),
        value: format!("{{ name = \"file-name\", {types}content = \"opaque(10MiB)\", max = \"10MiB\"{count} }}"),
        check: Some("its extensions, types, size, and whether it is text (free)".to_owned()),
    }
}

/// A path as a policy writes it, and its parameters. A parameter that is a part of a segment takes all of it.
fn segments(template: &str) -> (String, Vec<String>) {
    let mut names: Vec<String> = Vec::new();
    let mut name = |text: &str| {
        let own = sanitised(text);
        let taken = names.contains(&own);
        let own = if taken { format!("{own}_{}", names.len()) } else { own };
        names.push(own.clone());
        format!("{{{own}}}")
    };
    let path: Vec<String> = template
        .split('/')
        .map(|segment| match segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
            Some(inner) if !inner.contains(['{', '}']) => name(inner),
            _ if segment.contains(['{', '}']) => name(segment),
            _ => segment.to_owned(),
        })
        .collect();
    (path.join("/"), names)
}

fn shape_of(path: &str) -> String {
    let shape: Vec<&str> = path.split('/').map(|text| if text.starts_with('{') { "{}" } else { text }).collect();
    shape.join("/")
}

/// A name that a parameter in a path may have.
fn sanitised(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = name.trim_matches(['{', '}']).chars().take(64).map(plain).collect();
    let odd = name.contains("__") || name.is_empty();
    let words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).collect();
    match (odd, words.is_empty()) {
        (_, true) => "value".to_owned(),
        (true, false) => words.join("_"),
        (false, false) => name,
    }
}

/// Whether a policy can have this path.
fn builds(path: &str, names: &[String]) -> bool {
    let fields: String = names.iter().map(|name| format!("path_fields.{name} = \"scored\"\n")).collect();
    let text = format!("[[operation]]\nmethods = [\"GET\"]\npath = {}\n{fields}", toml_text(path));
    FieldPolicy::build(&[(String::new(), text)]).is_ok()
}

/// A name for the policy, of a title.
fn policy_name(title: &str) -> String {
    let name: String =
        title.chars().take(64).map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let name: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
    if name.is_empty() { "draft".to_owned() } else { name.join("-") }
}

/// Text of the document, made fit for a comment.
fn comment(text: &str) -> String {
    text.chars().take(160).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A TOML basic string.
fn toml_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A TOML key: bare where it can be.
fn toml_key(text: &str) -> String {
    let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if bare { text.to_owned() } else { toml_text(text) }
}

#[cfg(test)]
mod tests;
