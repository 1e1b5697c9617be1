//! A field of requests by the place it stands in and its name, however an event, a policy or a rule spells it.

use super::event::Record;
use std::fmt;

/// Where a field stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    Query,
    Form,
    Json,
    Header,
    Cookie,
}

/// A field. An item of a JSON array stands for all: `tasks.*.title`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Field {
    pub(super) place: Place,
    pub(super) name: String,
}

/// The longest name that anything is proposed for, in bytes: longer ones are cut in events.
const MAX_NAME: usize = 96;

impl Field {
    /// The field that a rule looked at, with the collection it was found in; none for what is no single field.
    pub(super) fn of_variable(variable: &[u8], record: &Record) -> Option<(Self, String)> {
        let (collection, name) = std::str::from_utf8(variable).ok()?.split_once(':')?;
        let place = match collection {
            "ARGS" | "ARGS_GET" | "ARGS_POST" => {
                let json = record.content_type().contains("json") && (name == "json" || name.starts_with("json."));
                if collection != "ARGS_POST" && record.query().iter().any(|(known, _)| known == name.as_bytes()) {
                    Place::Query
                } else if json {
                    Place::Json
                } else if collection == "ARGS_GET" {
                    Place::Query
                } else {
                    Place::Form
                }
            }
            "REQUEST_HEADERS" => Place::Header,
            "REQUEST_COOKIES" => Place::Cookie,
            _ => return None,
        };
        Some((Self::new(place, name)?, collection.to_owned()))
    }

    /// The field of a verdict in an event.
    pub(super) fn of_note(place: &str, name: &str) -> Option<Self> {
        let place = match place {
            "query" => Place::Query,
            "form" => Place::Form,
            "json" => Place::Json,
            "header" => Place::Header,
            "cookie" => Place::Cookie,
            _ => return None,
        };
        Self::new(place, name)
    }

    /// None for names that no policy or rule should be made of.
    fn new(place: Place, name: &str) -> Option<Self> {
        let sound = |c: char| c.is_ascii_alphanumeric() || "_-.[]:$@".contains(c);
        let name = match place {
            Place::Json => {
                let item = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
                let parts = name.strip_prefix("json").unwrap_or(name).split('.').skip(1);
                parts.map(|part| if item(part) { "*" } else { part }).collect::<Vec<_>>().join(".")
            }
            Place::Header => name.to_ascii_lowercase(),
            _ => name.to_owned(),
        };
        let sound = |c: char| sound(c) || place == Place::Json && c == '*';
        ((place == Place::Json || !name.is_empty()) && name.len() < MAX_NAME && name.chars().all(sound))
            .then_some(Self { place, name })
    }

    /// The key of a policy's operation, and the name under it.
    pub(super) fn in_policy(&self) -> Option<(&'static str, String)> {
        match self.place {
            Place::Query => Some(("query", self.name.clone())),
            Place::Form => Some(("form", self.name.clone())),
            Place::Header => Some(("headers", self.name.clone())),
            Place::Cookie => Some(("cookies", self.name.clone())),
            Place::Json => {
                let plain =
                    |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !part.is_empty();
                let mut path = "$".to_owned();
                for part in self.name.split('.').filter(|_| !self.name.is_empty()) {
                    match part {
                        "*" => path.push_str("[*]"),
                        part if plain(part) => path.push_str(&format!(".{part}")),
                        _ => return None,
                    }
                }
                Some(("json", path))
            }
        }
    }

    /// The target of a rule's exclusion, in this collection.
    pub(super) fn target(&self, collection: &str) -> String {
        match self.place {
            Place::Json if self.name.split('.').any(|part| part == "*") => {
                let quoted = |part: &str| {
                    let keep = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    part.chars().map(|c| if keep(c) { c.to_string() } else { format!("[{c}]") }).collect::<String>()
                };
                let parts: Vec<String> = self
                    .name
                    .split('.')
                    .map(|part| if part == "*" { "[0-9]+".to_owned() } else { quoted(part) })
                    .collect();
                format!("{collection}:/^json[.]{}$/", parts.join("[.]"))
            }
            Place::Json if self.name.is_empty() => format!("{collection}:json"),
            Place::Json => format!("{collection}:json.{}", self.name),
            _ => format!("{collection}:{}", self.name),
        }
    }

    /// Whether a rule's variable is this field, wherever its collection gathers it from.
    pub(super) fn is_in(&self, variable: &str) -> bool {
        let Some((collection, name)) = variable.split_once(':') else { return false };
        let collections: &[&str] = match self.place {
            Place::Header => &["REQUEST_HEADERS"],
            Place::Cookie => &["REQUEST_COOKIES"],
            _ => &["ARGS", "ARGS_GET", "ARGS_POST"],
        };
        collections.contains(&collection) && Self::new(self.place, name).is_some_and(|other| other.name == self.name)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Place::Query => "query",
            Place::Form => "form",
            Place::Json => "json",
            Place::Header => "header",
            Place::Cookie => "cookie",
        };
        write!(f, "{place} {}", if self.name.is_empty() { "(root)" } else { &self.name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json() -> Record {
        let headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
        Record { target: b"/a?q=1&r%5B%5D=2".to_vec(), headers, ..Record::default() }
    }

    #[test]
    fn variables_name_fields() {
        for (variable, expected) in [
            ("ARGS:q", Some((Place::Query, "q"))),
            ("ARGS_GET:r[]", Some((Place::Query, "r[]"))),
            ("ARGS_POST:q", Some((Place::Form, "q"))),
            ("ARGS:json.a.0.b", Some((Place::Json, "a.*.b"))),
            ("ARGS:json", Some((Place::Json, ""))),
            ("ARGS:note", Some((Place::Form, "note"))),
            ("REQUEST_HEADERS:User-Agent", Some((Place::Header, "user-agent"))),
            ("REQUEST_COOKIES:sid", Some((Place::Cookie, "sid"))),
            ("ARGS_NAMES:q", None),
            ("REQUEST_BODY", None),
            ("ARGS:a b\"", None),
            ("TX:score", None),
        ] {
            let found = Field::of_variable(variable.as_bytes(), &json()).map(|(field, _)| field);
            let expected = expected.map(|(place, name)| Field { place, name: name.to_owned() });
            assert_eq!(found, expected, "{variable}");
        }
    }

    #[test]
    fn a_field_is_spelt_for_policies_and_for_rules() {
        for (place, name, policy, target) in [
            ("query", "q", Some(("query", "q")), "ARGS:q"),
            ("json", "json.a.3.b", Some(("json", "$.a[*].b")), "ARGS:/^json[.]a[.][0-9]+[.]b$/"),
            ("json", "json.title", Some(("json", "$.title")), "ARGS:json.title"),
            ("json", "json.a-b", None, "ARGS:json.a-b"),
            ("header", "X-Note", Some(("headers", "x-note")), "ARGS:x-note"),
        ] {
            let field = Field::of_note(place, name).unwrap();
            assert_eq!(field.in_policy(), policy.map(|(key, name)| (key, name.to_owned())), "{name}");
            assert_eq!(field.target("ARGS"), target);
        }
        let field = Field::of_note("json", "json.a.3.b").unwrap();
        assert!(field.is_in("ARGS:json.a.0.b") && !field.is_in("ARGS:json.a.0.c") && !field.is_in("REQUEST_BODY"));
    }
}
