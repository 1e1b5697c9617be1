//! Schemas (JSON Schema 2020-12 as OpenAPI 3.1 has it, and what 3.0 has in its place), read as places and scalars.
//!
//! A schema is taken apart into alternatives (`anyOf`, `oneOf`), each a list of keyword maps that all hold (`allOf`,
//! references). What the alternatives say is joined: a place takes what any of them takes. References that lead nowhere
//! or back to where they came from, and nesting past a bound, become a place of which nothing is known.

use super::MAX_NAME;
use super::class::{Guess, Place, Scalar, Type, guess, is_prose};
use gatehouse_waf::field::JsonPath;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Deepest place in a document that is described by itself.
const MAX_DEPTH: usize = 12;
/// Most places of one document.
const MAX_FIELDS: usize = 2_000;
/// Most alternatives of one place.
const MAX_ALTERNATIVES: usize = 32;
/// How deep references and `allOf` may lead without a step in the document.
const MAX_NESTED: usize = 16;
/// Most schemas that are looked at.
const MAX_WORK: usize = 300_000;

/// A schema, and the references that led to it.
#[derive(Debug, Clone)]
struct Child<'d> {
    schema: &'d Value,
    trail: Vec<&'d str>,
}

/// Keyword maps that all hold, each with the references that led to it.
type Conjunct<'d> = Vec<(&'d Map<String, Value>, Vec<&'d str>)>;

/// What is known of a place.
#[derive(Debug, Default)]
struct View<'d> {
    scalar: Option<Scalar<'d>>,
    object: Option<Object<'d>>,
    /// Schemas of items.
    array: Option<Vec<Child<'d>>>,
    most_items: Option<u64>,
    nullable: bool,
    /// Why nothing is known.
    unknown: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Object<'d> {
    /// By name, in the order of the document.
    properties: BTreeMap<&'d str, Vec<Child<'d>>>,
    additional: Vec<Child<'d>>,
    required: Vec<&'d str>,
}

/// What a parameter may be: a scalar, a list of them, or named members.
#[derive(Debug, Default)]
pub(super) struct Flat<'d> {
    pub scalar: Option<Scalar<'d>>,
    pub listed: bool,
    pub members: Vec<(String, Guess)>,
}

/// A field of a form.
#[derive(Debug)]
pub(super) enum FormField<'d> {
    /// An upload: its media type, and how many there may be of it where it is a list.
    File {
        media: Option<&'d str>,
        many: Option<u64>,
    },
    Value(Guess),
}

/// Reads the schemas of one document.
pub(super) struct Reader<'d> {
    document: &'d Value,
    work: usize,
    /// Whether a description was longer than [`MAX_FIELDS`].
    pub cut: bool,
}

impl<'d> Reader<'d> {
    pub(super) fn new(document: &'d Value) -> Self {
        Self { document, work: 0, cut: false }
    }

    /// What a reference leads to, if the value is one; a few in a row are followed.
    pub(super) fn resolve(&self, value: &'d Value) -> Option<&'d Value> {
        let mut value = value;
        for _ in 0..MAX_NESTED {
            match value.get("$ref") {
                Some(Value::String(reference)) => value = self.target(reference)?,
                _ => return Some(value),
            }
        }
        None
    }

    /// What a local reference names (RFC 6901).
    fn target(&self, reference: &str) -> Option<&'d Value> {
        let pointer = reference.strip_prefix('#')?;
        self.document.pointer(pointer).or_else(|| self.document.pointer(&decoded(pointer)?))
    }

    /// The places of a JSON document, each with its class.
    pub(super) fn json(&mut self, schema: &'d Value) -> Vec<(JsonPath, Guess)> {
        let mut fields = Vec::new();
        self.walk(&JsonPath::root(), "", &[Child { schema, trail: Vec::new() }], 0, &mut fields);
        fields
    }

    /// Describes a place and what lies below it. It calls itself at most [`MAX_DEPTH`] deep.
    fn walk(
        &mut self,
        path: &JsonPath,
        name: &str,
        children: &[Child<'d>],
        depth: usize,
        fields: &mut Vec<(JsonPath, Guess)>,
    ) {
        if fields.len() >= MAX_FIELDS || name.len() > MAX_NAME {
            self.cut = true;
            return;
        }
        if depth > MAX_DEPTH {
            fields.push((path.below(), anything(name, "the document goes deeper")));
            return;
        }
        let view = self.view(children);
        let containers = view.object.is_some() || view.array.is_some();
        let unknown =
            view.unknown.or_else(|| (view.scalar.is_some() && containers).then_some("a value, or a list or object"));
        if let Some(reason) = unknown {
            fields.push((path.below(), anything(name, reason)));
            return;
        }
        if let Some(scalar) = &view.scalar {
            let scalar = Scalar { nullable: scalar.nullable || view.nullable, ..scalar.clone() };
            fields.push((path.clone(), guess(name, &scalar, Place::Body)));
        }
        if let Some(object) = view.object {
            if object.properties.is_empty() && object.additional.is_empty() && view.array.is_none() {
                fields.push((path.below(), anything(name, "an object with any members")));
                return;
            }
            for (name, children) in object.properties {
                self.walk(&path.member(name), name, &children, depth + 1, fields);
            }
            if !object.additional.is_empty() {
                self.walk(&path.any_member(), name, &object.additional, depth + 1, fields);
            }
        }
        if let Some(items) = view.array {
            if items.is_empty() {
                fields.push((path.item().below(), anything(name, "a list of anything")));
            } else {
                self.walk(&path.item(), name, &items, depth + 1, fields);
            }
        }
    }

    /// What a parameter may be.
    pub(super) fn flat(&mut self, schema: &'d Value) -> Flat<'d> {
        let view = self.view(&[Child { schema, trail: Vec::new() }]);
        let mut flat = Flat { scalar: view.scalar, ..Flat::default() };
        if let Some(items) = view.array {
            flat.listed = true;
            flat.scalar = match (flat.scalar, self.view(&items).scalar) {
                (Some(own), Some(item)) => Some(own.or(item)),
                (own, item) => own.or(item),
            };
        }
        for (name, children) in view.object.into_iter().flat_map(|object| object.properties).take(100) {
            if let Some(scalar) = self.view(&children).scalar {
                flat.members.push((name.to_owned(), guess(name, &scalar, Place::Query).optional()));
            }
        }
        flat
    }

    /// The fields of a form.
    pub(super) fn form(&mut self, schema: &'d Value) -> Vec<(String, FormField<'d>)> {
        let view = self.view(&[Child { schema, trail: Vec::new() }]);
        let Some(object) = view.object else { return Vec::new() };
        let mut fields = Vec::new();
        for (name, children) in object.properties {
            if fields.len() >= MAX_FIELDS || name.len() > MAX_NAME {
                self.cut = true;
                continue;
            }
            let view = self.view(&children);
            let (scalar, many) = match (view.scalar, view.array) {
                (None, Some(items)) => (self.view(&items).scalar, Some(view.most_items.unwrap_or(10))),
                (scalar, _) => (scalar, None),
            };
            let required = object.required.contains(&name);
            let field = match scalar {
                Some(scalar) if scalar.format == Some("binary") => FormField::File { media: scalar.media, many },
                Some(scalar) => {
                    let guess = guess(name, &scalar, Place::Body);
                    FormField::Value(if required { guess } else { guess.optional() })
                }
                None => FormField::Value(anything(name, "JSON in a field of a form")),
            };
            fields.push((name.to_owned(), field));
        }
        fields
    }

    /// What all of these schemas together may be.
    fn view(&mut self, children: &[Child<'d>]) -> View<'d> {
        let mut view = View::default();
        for child in children {
            match self.alternatives(child, 0) {
                Err(reason) => view.unknown = Some(reason),
                Ok(alternatives) => alternatives.iter().for_each(|conjunct| view.add(conjunct)),
            }
        }
        view
    }

    /// The alternatives of a schema, or why nothing is known of it.
    fn alternatives(&mut self, child: &Child<'d>, nested: usize) -> Result<Vec<Conjunct<'d>>, &'static str> {
        self.work += 1;
        if self.work > MAX_WORK || nested > MAX_NESTED {
            return Err("the document is too long to follow");
        }
        let map = match child.schema {
            Value::Object(map) => map,
            Value::Bool(false) => return Ok(Vec::new()),
            _ => return Err("the document says nothing of it"),
        };
        let mut all: Vec<Conjunct<'d>> = vec![vec![(map, child.trail.clone())]];
        if let Some(Value::String(reference)) = map.get("$ref") {
            if child.trail.contains(&reference.as_str()) {
                return Err("it holds itself");
            }
            let schema = self.target(reference).ok_or("its reference leads nowhere")?;
            let mut trail = child.trail.clone();
            trail.push(reference);
            all = joined(all, self.alternatives(&Child { schema, trail }, nested + 1)?);
        }
        let parts = |key: &str| map.get(key).and_then(Value::as_array).into_iter().flatten();
        for schema in parts("allOf") {
            let part = self.alternatives(&Child { schema, trail: child.trail.clone() }, nested + 1)?;
            all = joined(all, part);
        }
        for key in ["anyOf", "oneOf"] {
            let mut any = Vec::new();
            for schema in parts(key) {
                any.extend(self.alternatives(&Child { schema, trail: child.trail.clone() }, nested + 1)?);
                if any.len() > MAX_ALTERNATIVES {
                    return Err("there are too many alternatives");
                }
            }
            if map.contains_key(key) {
                all = joined(all, any);
            }
        }
        if all.len() > MAX_ALTERNATIVES { Err("there are too many alternatives") } else { Ok(all) }
    }
}

/// Each of `some` with each of `others`; a few too many show that there are too many.
fn joined<'d>(some: Vec<Conjunct<'d>>, others: Vec<Conjunct<'d>>) -> Vec<Conjunct<'d>> {
    let pairs = some.iter().flat_map(|one| others.iter().map(move |other| [one.as_slice(), other].concat()));
    pairs.take(MAX_ALTERNATIVES + 1).collect()
}

impl<'d> View<'d> {
    /// Takes in one alternative.
    fn add(&mut self, conjunct: &Conjunct<'d>) {
        let find = |key: &str| conjunct.iter().find_map(|(map, _)| map.get(key));
        let number = |key: &str| find(key).and_then(Value::as_f64);
        let text = |key: &str| find(key).and_then(Value::as_str);
        if find("nullable").and_then(Value::as_bool) == Some(true) {
            self.nullable = true;
        }
        let values = match (find("enum"), find("const")) {
            (Some(Value::Array(values)), _) => Some(values.iter().take(1_000).collect::<Vec<_>>()),
            (_, Some(value)) => Some(vec![value]),
            _ => None,
        };
        let mut types: Vec<&str> = match find("type") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).take(7).collect(),
            _ => Vec::new(),
        };
        if types.is_empty() {
            types = inferred(conjunct, values.as_deref());
        }
        if types.is_empty() {
            self.unknown = Some("the document says nothing of it");
        }
        self.nullable |= values.iter().flatten().any(|value| value.is_null());

        let encoded = find("contentEncoding").is_some();
        let media = text("contentMediaType").filter(|_| !encoded);
        let exclusive = |key: &str, bound: Option<f64>, step: f64| match find(key) {
            // In 3.0 a flag beside the bound, in 3.1 the bound itself.
            Some(Value::Bool(true)) => bound.map(|bound| bound + step),
            Some(Value::Number(number)) => number.as_f64().map(|bound| bound + step),
            _ => bound,
        };
        for name in types {
            let kind = match name {
                "boolean" => Type::Boolean,
                "integer" => Type::Integer,
                "number" => Type::Number,
                "string" => Type::String,
                "object" => {
                    self.add_object(conjunct);
                    continue;
                }
                "array" => {
                    self.add_array(conjunct);
                    continue;
                }
                "null" => {
                    self.nullable = true;
                    continue;
                }
                _ => {
                    self.unknown = Some("its type is none");
                    continue;
                }
            };
            // A number's exclusive bound is written as an inclusive one: nearly the same, and never less.
            let step = if kind == Type::Integer { 1.0 } else { 0.0 };
            let scalar = Scalar {
                types: vec![kind],
                format: if media.is_some() { Some("binary") } else { text("format") },
                values: values.clone(),
                least: exclusive("exclusiveMinimum", number("minimum"), step),
                most: exclusive("exclusiveMaximum", number("maximum"), -step),
                max_length: find("maxLength").and_then(Value::as_u64),
                pattern: text("pattern"),
                media: media.filter(|media| *media != "application/octet-stream"),
                nullable: self.nullable,
            };
            self.scalar = Some(match self.scalar.take() {
                Some(other) => other.or(scalar),
                None => scalar,
            });
        }
        if let Some(scalar) = &mut self.scalar {
            scalar.nullable |= self.nullable;
        }
    }

    fn add_object(&mut self, conjunct: &Conjunct<'d>) {
        let object = self.object.get_or_insert_with(Object::default);
        for (map, trail) in conjunct {
            let child = |schema: &'d Value| Child { schema, trail: trail.clone() };
            for (name, schema) in
                map.get("properties").and_then(Value::as_object).into_iter().flatten().take(MAX_FIELDS + 1)
            {
                object.properties.entry(name).or_default().push(child(schema));
            }
            if let Some(schema) = map.get("additionalProperties").filter(|schema| schema.is_object()) {
                object.additional.push(child(schema));
            }
            for schema in
                map.get("patternProperties").and_then(Value::as_object).into_iter().flatten().map(|(_, s)| s).take(100)
            {
                object.additional.push(child(schema));
            }
            let required = map.get("required").and_then(Value::as_array).into_iter().flatten();
            object.required.extend(required.filter_map(Value::as_str).take(MAX_FIELDS));
        }
    }

    fn add_array(&mut self, conjunct: &Conjunct<'d>) {
        let items = self.array.get_or_insert_with(Vec::new);
        for (map, trail) in conjunct {
            let listed = map.get("prefixItems").and_then(Value::as_array).into_iter().flatten().take(100);
            let all = map.get("items").into_iter().filter(|schema| schema.is_object());
            items.extend(listed.chain(all).map(|schema| Child { schema, trail: trail.clone() }));
            self.most_items = map.get("maxItems").and_then(Value::as_u64).or(self.most_items);
        }
    }
}

/// The types of a schema that does not say.
fn inferred(conjunct: &Conjunct<'_>, values: Option<&[&Value]>) -> Vec<&'static str> {
    let has = |keys: &[&str]| keys.iter().any(|key| conjunct.iter().any(|(map, _)| map.contains_key(*key)));
    if let Some(values) = values {
        let mut types: Vec<&'static str> = values
            .iter()
            .map(|value| match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(number) if number.is_f64() => "number",
                Value::Number(_) => "integer",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            })
            .collect();
        types.sort_unstable();
        types.dedup();
        return types;
    }
    let guesses = [
        ("object", has(&["properties", "additionalProperties", "patternProperties"])),
        ("array", has(&["items", "prefixItems", "maxItems"])),
        ("string", has(&["format", "pattern", "maxLength", "minLength", "contentMediaType"])),
        ("number", has(&["minimum", "maximum", "multipleOf"])),
    ];
    guesses.iter().find(|(_, said)| *said).map(|(name, _)| *name).into_iter().collect()
}

/// The class of a place of which nothing is known, with all below it.
fn anything(name: &str, reason: &str) -> Guess {
    Guess::checked(if is_prose(name) { "free?" } else { "short(1024)?" }, reason)
}

/// Percent-encoded triplets decoded, which a reference may have, being a URI.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |b: u8| char::from(b).to_digit(16);
                bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
                rest = after;
            }
            _ => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}
