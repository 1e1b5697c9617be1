//! From what a schema says of a scalar to a class, and where that is a guess.

use gatehouse_waf::field::Purpose;
use serde_json::Value;

/// A class, and what a person should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guess {
    pub spec: String,
    pub check: Option<String>,
}

impl Guess {
    pub(super) fn sure(spec: impl Into<String>) -> Self {
        Self { spec: spec.into(), check: None }
    }

    pub(super) fn checked(spec: impl Into<String>, check: impl Into<String>) -> Self {
        Self { spec: spec.into(), check: Some(check.into()) }
    }

    /// The value may be empty, or null.
    pub(super) fn optional(mut self) -> Self {
        let is_word = matches!(self.spec.as_str(), "scored" | "refuse");
        if !is_word && !self.spec.ends_with('?') {
            self.spec.push('?');
        }
        self
    }
}

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    /// Also headers and cookies.
    Query,
    /// JSON and forms.
    Body,
}

/// The types of JSON Schema that are scalars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Type {
    Boolean,
    Integer,
    Number,
    String,
}

/// What schemas say of a scalar; several that differ are joined to what fits all of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scalar<'d> {
    /// Sorted; none: any.
    pub types: Vec<Type>,
    pub format: Option<&'d str>,
    pub values: Option<Vec<&'d Value>>,
    pub least: Option<f64>,
    pub most: Option<f64>,
    pub max_length: Option<u64>,
    pub pattern: Option<&'d str>,
    /// Of an upload.
    pub media: Option<&'d str>,
    pub nullable: bool,
}

impl<'d> Scalar<'d> {
    /// What fits either.
    pub(super) fn or(mut self, other: Self) -> Self {
        let kept = |same: bool| same.then_some(());
        self.types.extend(other.types.iter().copied());
        self.types.sort_unstable();
        self.types.dedup();
        self.format = kept(self.format == other.format).and(self.format);
        self.pattern = kept(self.pattern == other.pattern).and(self.pattern);
        self.media = kept(self.media == other.media).and(self.media);
        self.values = self.values.zip(other.values).map(|(own, others)| [own, others].concat());
        self.least = self.least.zip(other.least).map(|(a, b)| a.min(b));
        self.most = self.most.zip(other.most).map(|(a, b)| a.max(b));
        self.max_length = self.max_length.zip(other.max_length).map(|(a, b)| a.max(b));
        self.nullable |= other.nullable;
        self
    }
}

/// Names of fields that hold prose or code, whole or as the last word of a name.
const PROSE: &[&str] = &[
    "abstract",
    "answer",
    "body",
    "code",
    "comment",
    "content",
    "contents",
    "context",
    "data",
    "definition",
    "description",
    "details",
    "html",
    "input",
    "instructions",
    "log",
    "logs",
    "markdown",
    "message",
    "messages",
    "note",
    "notes",
    "output",
    "prompt",
    "question",
    "script",
    "snippet",
    "source",
    "stacktrace",
    "summary",
    "system",
    "text",
    "transcript",
    "yaml",
];

/// Longest `short` that a draft writes.
const MAX_SHORT: u64 = 1024;

/// Longest `enum` that a draft writes, in bytes.
const MAX_ENUM: usize = 2_000;

/// Whether a field of that name holds prose or code.
pub(super) fn is_prose(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let last = name.rsplit(['_', '-', '.']).next().unwrap_or_default();
    PROSE.contains(&name.as_str()) || PROSE.contains(&last)
}

/// The class of a scalar field.
pub(super) fn guess(name: &str, scalar: &Scalar<'_>, place: Place) -> Guess {
    let guess = plain(name, scalar, place);
    // Whatever was made of the document's words, it has to be a class.
    let guess = if Purpose::parse(&guess.spec).is_ok() { guess } else { text(name, scalar, place) };
    if scalar.nullable { guess.optional() } else { guess }
}

fn plain(name: &str, scalar: &Scalar<'_>, place: Place) -> Guess {
    if let Some(spec) = scalar.values.as_deref().and_then(enumeration) {
        return Guess::sure(spec);
    }
    match scalar.types.as_slice() {
        [Type::Boolean] => Guess::sure("boolean"),
        [Type::Integer] => {
            let whole = |bound: Option<f64>, round: fn(f64) -> f64| {
                let bound = bound.map(round).filter(|bound| bound.abs() < 9e15);
                bound.map(|bound| format!("{bound:.0}")).unwrap_or_default()
            };
            let (least, most) = (whole(scalar.least, f64::ceil), whole(scalar.most, f64::floor));
            let free = least.is_empty() && most.is_empty();
            Guess::sure(if free { "integer".to_owned() } else { format!("integer({least}..{most})") })
        }
        [Type::Number] | [Type::Integer, Type::Number] => match (scalar.least, scalar.most) {
            (Some(least), Some(most)) => Guess::sure(format!("number({least}..{most})")),
            _ => Guess::sure("number"),
        },
        [Type::String] => string(name, scalar, place),
        _ => text(name, scalar, place),
    }
}

fn string(name: &str, scalar: &Scalar<'_>, place: Place) -> Guess {
    let sure = |spec: &str| Guess::sure(spec);
    match scalar.format.unwrap_or_default() {
        "uuid" | "uuid1" | "uuid3" | "uuid4" | "uuid5" => return sure("uuid"),
        "date-time" => return sure("datetime"),
        "date" => return sure("date"),
        "uri" | "url" | "http-url" | "iri" => return fetched("url"),
        "email" | "idn-email" | "name-email" => return sure("email"),
        "hostname" | "idn-hostname" => return sure("host"),
        "byte" | "base64" => return sure("base64"),
        "base64url" => return sure("base64url"),
        "binary" => return Guess::checked("opaque(10MiB)", "bytes in a text"),
        "json" | "json-string" => return Guess::checked("free", "JSON in a text"),
        "password" => return Guess::checked("opaque(1KiB)", "a secret: nothing reads it"),
        _ => {}
    }
    if let Some(pattern) = scalar.pattern.filter(|pattern| is_safe(pattern)) {
        return Guess::checked(format!("pattern({pattern})"), "the pattern is the document's");
    }
    let name = name.to_ascii_lowercase();
    if name == "url" || name.ends_with("_url") || name == "uri" || name.ends_with("_uri") {
        return fetched("url?");
    }
    text(&name, scalar, place)
}

fn fetched(spec: &str) -> Guess {
    Guess::checked(spec, "fetch-url where the server fetches it")
}

/// Text of which only its name tells what it is for.
fn text(name: &str, scalar: &Scalar<'_>, place: Place) -> Guess {
    match (scalar.max_length.filter(|length| *length > 0), place) {
        (Some(length), _) if length <= 512 => Guess::sure(format!("short({length})")),
        (_, Place::Body) if is_prose(name) => Guess::checked("free", "prose or code, by its name"),
        (Some(length), _) if length <= MAX_SHORT => Guess::checked(format!("short({length})"), "free, if it is prose"),
        (_, Place::Path) => Guess::checked("short(200)", "a slug, an identifier or a pattern would be stricter"),
        (_, Place::Query) => Guess::checked("short(1024)", "the document sets no bound"),
        (_, Place::Body) => Guess::checked("short(1024)", "the document sets no bound; free, if it is prose"),
    }
}

/// Values that a policy can list.
fn enumeration(values: &[&Value]) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    for value in values.iter().filter(|value| !value.is_null()) {
        let word = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return None,
        };
        let plain = |c: char| c.is_alphanumeric() || " -_.:/+@#".contains(c);
        if word.is_empty() || word.trim() != word || word.chars().count() > 100 || !word.chars().all(plain) {
            return None;
        }
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let spec = format!("enum({})", words.join(", "));
    (!words.is_empty() && spec.len() <= MAX_ENUM).then_some(spec)
}

/// Whether a pattern says enough to be a class: from end to end, of named characters only, and nothing that engines
/// read in different ways.
fn is_safe(pattern: &str) -> bool {
    let ends = pattern.starts_with('^') && pattern.ends_with('$') && !pattern.ends_with("\\$");
    let plain = pattern.len() <= 200 && pattern.bytes().all(|b| (b' '..=b'~').contains(&b));
    ends && plain && !pattern.contains('|') && !has_any(pattern)
}

/// Whether a pattern has an element that takes almost everything.
fn has_any(pattern: &str) -> bool {
    let (mut escaped, mut class, mut before) = (false, false, ' ');
    for c in pattern.chars() {
        match (escaped, c) {
            (true, 'S' | 'W' | 'D' | 'P' | 'p' | 'u' | 'x' | 'c' | 'k' | 'b' | 'B' | 's') => return true,
            (true, _) => escaped = false,
            (false, '\\') => escaped = true,
            (false, '.') if !class => return true,
            (false, '[') if !class => class = true,
            (false, '^') if class && before == '[' => return true,
            (false, ']') => class = false,
            (false, '?') if before == '(' => return true,
            _ => {}
        }
        before = c;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_say_enough() {
        for (pattern, safe) in [
            ("^[a-z]{1,20}$", true),
            (r"^v\d+\.\d+$", true),
            ("^[a-z.]+$", true),
            ("[a-z]+", false),
            ("^.*$", false),
            ("^[^/]+$", false),
            (r"^\S+$", false),
            ("^(?=a)a$", false),
            ("^a|b$", false),
            (r"^a\$", false),
        ] {
            assert_eq!(is_safe(pattern), safe, "{pattern}");
        }
    }

    #[test]
    fn names_of_prose() {
        for (name, prose) in [
            ("description", true),
            ("change_summary", true),
            ("Content", true),
            ("title", false),
            ("context_id", false),
        ] {
            assert_eq!(is_prose(name), prose, "{name}");
        }
    }
}
