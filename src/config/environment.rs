//! `${NAME}`, `${NAME:-default}` and `$$` in the text of a configuration file, before it is read as TOML.
//!
//! A small lexer knows where in TOML it is, so a value can never become more than a value: in a double-quoted string it
//! is escaped, in a single-quoted one it must need no escaping, and outside of strings only a plain word or number
//! may stand (there `on`, `yes`, `off` and `no` mean `true` and `false`). Comments are left alone. A default is taken as it
//! is written in the file and may hold further references. An empty variable counts as unset where there is a default.
//! A reference never crosses a line, so line numbers stay; columns are mapped back with [`Expanded::origin`].

use std::env::VarError;
use std::ops::Range;

/// How variables are looked up: [`std::env::var`], or a table in tests.
pub type Variables<'a> = dyn Fn(&str) -> Result<String, VarError> + 'a;

/// The text with its references replaced, and what was found wrong.
#[derive(Debug, Default)]
pub(super) struct Expanded {
    /// What TOML reads.
    pub(super) text: String,
    /// Byte offset in the original text, what is wrong, how to mend it.
    pub(super) faults: Vec<(usize, String, String)>,
    edits: Vec<Edit>,
}

/// One replacement: where it stands now, and what stood there.
#[derive(Debug)]
struct Edit {
    now: Range<usize>,
    original: Range<usize>,
    reference: String,
}

impl Expanded {
    /// The byte offset in the original text that `offset` in the new text comes from, and the reference it is part of.
    pub(super) fn origin(&self, offset: usize) -> (usize, Option<&str>) {
        let before = self.edits.partition_point(|edit| edit.now.start <= offset);
        match before.checked_sub(1).and_then(|last| self.edits.get(last)) {
            Some(edit) if offset < edit.now.end => (edit.original.start, Some(&edit.reference)),
            Some(edit) => (edit.original.end + (offset - edit.now.end), None),
            None => (offset, None),
        }
    }
}

/// Where in TOML a character stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Bare,
    Comment,
    Basic,
    BasicLines,
    Literal,
    LiteralLines,
}

impl Within {
    /// The quote that would end the string.
    fn quote(self) -> Option<char> {
        match self {
            Self::Bare | Self::Comment => None,
            Self::Basic | Self::BasicLines => Some('"'),
            Self::Literal | Self::LiteralLines => Some('\''),
        }
    }

    /// The bytes taken at the start of `rest`, and where the text after them stands.
    fn step(self, rest: &str) -> (usize, Self) {
        let first = rest.chars().next();
        let one = first.map_or(0, char::len_utf8);
        let quotes = |quote: char| rest.chars().take_while(|c| *c == quote).count();
        match (self, first) {
            (Self::Bare, Some('#')) => (one, Self::Comment),
            (Self::Bare, Some('"')) if quotes('"') >= 3 => (3, Self::BasicLines),
            (Self::Bare, Some('\'')) if quotes('\'') >= 3 => (3, Self::LiteralLines),
            (Self::Bare, Some('"')) => (one, Self::Basic),
            (Self::Bare, Some('\'')) => (one, Self::Literal),
            (Self::Comment | Self::Basic | Self::Literal, Some('\n')) => (one, Self::Bare),
            (Self::Basic | Self::BasicLines, Some('\\')) => {
                (one + rest.chars().nth(1).filter(|c| *c != '\n').map_or(0, char::len_utf8), self)
            }
            (Self::Basic, Some('"')) | (Self::Literal, Some('\'')) => (one, Self::Bare),
            // Up to two quotes may stand before the three that end the string.
            (Self::BasicLines, Some('"')) if quotes('"') >= 3 => (quotes('"').min(5), Self::Bare),
            (Self::LiteralLines, Some('\'')) if quotes('\'') >= 3 => (quotes('\'').min(5), Self::Bare),
            _ => (one, self),
        }
    }
}

/// How deep defaults may nest.
const MAX_DEPTH: usize = 4;

/// Replaces every reference in `text`. A faulty one is replaced by `0`, so that reading can go on and find more faults.
pub(super) fn expand(text: &str, variables: &Variables<'_>) -> Expanded {
    let mut out = Expanded::default();
    let mut rest = text;
    let mut within = Within::Bare;
    while !rest.is_empty() {
        let at = text.len() - rest.len();
        let replaced = if within == Within::Comment { None } else { reference(rest, within, variables) };
        if let Some((taken, value)) = replaced {
            let (reference, after) = rest.split_at(taken);
            let value = value.unwrap_or_else(|(what, mend)| {
                out.faults.push((at, what, mend));
                "0".to_owned()
            });
            let start = out.text.len();
            out.text.push_str(&value);
            out.edits.push(Edit {
                now: start..out.text.len(),
                original: at..at + taken,
                reference: reference.to_owned(),
            });
            rest = after;
        } else {
            let (taken, next) = within.step(rest);
            let (kept, after) = rest.split_at(taken);
            out.text.push_str(kept);
            (rest, within) = (after, next);
        }
    }
    out
}

/// What is wrong, and the mend.
type Problem = (String, String);

/// The reference at the start of `rest`, if there is one: its length in bytes, and its value written for `within`.
fn reference(rest: &str, within: Within, variables: &Variables<'_>) -> Option<(usize, Result<String, Problem>)> {
    if rest.starts_with("$$") {
        return Some((2, Ok("$".to_owned())));
    }
    let body = rest.strip_prefix("${")?;
    let Some(inner) = inside(body, within.quote()) else {
        return Some((
            2,
            Err(("\"${\" is never closed".to_owned(), "close it with \"}\" on the same line, or write $${".to_owned())),
        ));
    };
    let mut value = resolve(inner, within, variables, 0);
    if within == Within::Bare {
        value = value.and_then(|value| scalar(&value, inner));
    }
    Some((inner.len() + 3, value))
}

/// What stands between `${` and its `}`; `None` if the line or the string ends first.
fn inside(body: &str, quote: Option<char>) -> Option<&str> {
    let mut depth = 0_usize;
    let mut previous = ' ';
    for (at, c) in body.char_indices() {
        match c {
            '\n' => return None,
            '}' if depth == 0 => return body.get(..at),
            '}' => depth -= 1,
            '{' if previous == '$' => depth += 1,
            c if Some(c) == quote && previous != '\\' => return None,
            _ => {}
        }
        previous = c;
    }
    None
}

/// The value of `NAME` or `NAME:-default`.
fn resolve(inner: &str, within: Within, variables: &Variables<'_>, depth: usize) -> Result<String, Problem> {
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, after) = inner.split_at(end);
    let default = after.strip_prefix(":-");
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || (default.is_none() && !after.is_empty()) {
        let what = format!("\"${{{inner}}}\" names no environment variable");
        return Err((what, "write ${NAME} or ${NAME:-default}".to_owned()));
    }
    match (variables(name), default) {
        (Ok(value), default) if !(value.is_empty() && default.is_some()) => written(&value, name, within),
        (Err(VarError::NotUnicode(_)), _) => {
            Err((format!("the value of {name} is no UTF-8 text"), format!("set {name} to another value")))
        }
        (_, Some(default)) => expand_default(default, within, variables, depth),
        (_, None) => Err((
            format!("the environment variable {name} is not set"),
            format!("set it, or give a default: ${{{name}:-…}}"),
        )),
    }
}

fn expand_default(text: &str, within: Within, variables: &Variables<'_>, depth: usize) -> Result<String, Problem> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((plain, body)) = rest.split_once("${") {
        let Some(inner) = inside(body, within.quote()).filter(|_| depth < MAX_DEPTH) else {
            return Err((
                format!("a default nests deeper than {MAX_DEPTH} references"),
                "write the innermost value".to_owned(),
            ));
        };
        out.push_str(plain);
        out.push_str(&resolve(inner, within, variables, depth + 1)?);
        rest = body.get(inner.len() + 1..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(out)
}

/// A variable's value as it must be written at such a place. Faults do not show the value: it may be a secret.
fn written(value: &str, name: &str, within: Within) -> Result<String, Problem> {
    match within {
        Within::Bare | Within::Comment => Ok(value.to_owned()),
        Within::Basic | Within::BasicLines => {
            let mut out = String::with_capacity(value.len());
            for c in value.chars() {
                match c {
                    '"' | '\\' => out.extend(['\\', c]),
                    c if c.is_control() => out.push_str(&format!("\\U{:08X}", u32::from(c))),
                    c => out.push(c),
                }
            }
            Ok(out)
        }
        Within::Literal | Within::LiteralLines => {
            if value.contains(|c: char| c == '\'' || c.is_control()) {
                let what = format!("the value of {name} cannot stand between single quotes");
                return Err((what, "use double quotes here".to_owned()));
            }
            Ok(value.to_owned())
        }
    }
}

/// A value that may stand outside of quotes: a number, a date, `true` or `false`, or a switch.
fn scalar(value: &str, inner: &str) -> Result<String, Problem> {
    match value {
        "on" | "yes" => return Ok("true".to_owned()),
        "off" | "no" => return Ok("false".to_owned()),
        _ => {}
    }
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-.:".contains(&b)) {
        return Ok(value.to_owned());
    }
    let name = inner.split(':').next().unwrap_or_default();
    Err((
        format!("the value of {name} is no number, true, false, on or off"),
        format!("give {name} such a value; a text needs quotes here: \"${{{inner}}}\""),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Result<String, VarError> {
        match name {
            "HOST" => Ok("edge".into()),
            "PORT" => Ok("8443".into()),
            "EMPTY" => Ok(String::new()),
            "ODD" => Ok("a\"b\\c\nd = 1".into()),
            "QUOTE" => Ok("it's".into()),
            "OFF" => Ok("off".into()),
            _ => Err(VarError::NotPresent),
        }
    }

    #[test]
    fn references_are_replaced_by_what_may_stand_there() {
        for (text, expected) in [
            ("a = \"${HOST}:${PORT}\"", "a = \"edge:8443\""),
            ("a = ${PORT}", "a = 8443"),
            ("a = ${NONE:-0} # ${NONE}", "a = 0 # ${NONE}"),
            ("a = ${OFF}\nb = ${NONE:-on}", "a = false\nb = true"),
            ("a = '${HOST}'", "a = 'edge'"),
            ("a = \"${EMPTY:-x}${EMPTY}\"", "a = \"x\""),
            ("a = \"${ODD}\"", "a = \"a\\\"b\\\\c\\U0000000Ad = 1\""),
            ("a = \"$${HOST} $5 $$ ^x$\"", "a = \"${HOST} $5 $ ^x$\""),
            ("a = \"${NONE:-${NONE:-${HOST}}/cert}\"", "a = \"edge/cert\""),
            ("a = \"${NONE:-${EMPTY:-x}}\"", "a = \"x\""),
            ("a = \"# ${HOST}\" # \" ${HOST}", "a = \"# edge\" # \" ${HOST}"),
            ("a = \"\\\"${HOST}\" # ${HOST}", "a = \"\\\"edge\" # ${HOST}"),
            ("a = \"\"\"x\" # ${HOST}\n\"\"\" # ${HOST}", "a = \"\"\"x\" # edge\n\"\"\" # ${HOST}"),
            ("a = \"\"\"x\"\"\"\"\" # ${HOST}", "a = \"\"\"x\"\"\"\"\" # ${HOST}"),
            ("a = '''\n${HOST}'''", "a = '''\nedge'''"),
            ("a = \"${NONE:-a\\\"b}\"", "a = \"a\\\"b\""),
        ] {
            let expanded = expand(text, &variables);
            assert_eq!(expanded.faults, [], "{text}");
            assert_eq!(expanded.text, expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_a_fault_at_its_place() {
        for (text, at, words) in [
            ("a = \"x${NONE}\"", 6, "the environment variable NONE is not set"),
            ("a = ${EMPTY}", 4, "the value of EMPTY is no number"),
            ("a = ${HOST:-x} ${ODD}", 15, "the value of ODD is no number"),
            ("a = '${QUOTE}'", 5, "cannot stand between single quotes"),
            ("a = \"${HOST\"\nb = \"}\"", 5, "never closed"),
            ("a = \"${HOST-x}\"", 5, "names no environment variable"),
            ("a = \"${1}\"", 5, "names no environment variable"),
            ("a = \"${A:-${B:-${C:-${D:-${E:-${F}}}}}}\"", 5, "nests deeper than 4"),
        ] {
            let faults = expand(text, &variables).faults;
            assert_eq!(faults.len(), 1, "{text}: {faults:?}");
            assert_eq!(faults[0].0, at, "{text}");
            assert!(faults[0].1.contains(words), "{text}: {faults:?}");
        }
    }

    #[test]
    fn places_map_back_to_the_original_text() {
        let text = "a = \"${HOST}\" \"${PORT}\" end";
        let expanded = expand(text, &variables);
        let end = expanded.text.find("end").unwrap();
        assert_eq!(expanded.origin(end), (text.find("end").unwrap(), None));
        assert_eq!(expanded.origin(0), (0, None));
        let port = expanded.text.find("443").unwrap();
        assert_eq!(expanded.origin(port), (text.find("${PORT").unwrap(), Some("${PORT}")));
    }

    #[test]
    fn a_value_stays_a_value() {
        for value in
            ["\"", "\"\nb = 2\n#", "\\", "\\\"", "a\r\n[x]", "\u{0}\u{7f}\u{85}", "${HOST}", "'''", "\"\"\"", "é"]
        {
            let variables = |_: &str| Ok::<_, VarError>(value.to_owned());
            for quote in ["\"", "\"\"\"", "'", "'''"] {
                let text = format!("a = {quote}x${{V}}y{quote}\nc = 1");
                let expanded = expand(&text, &variables);
                if expanded.faults.is_empty() {
                    let table: toml::Table = toml::from_str(&expanded.text).unwrap();
                    assert_eq!(table["a"].as_str(), Some(format!("x{value}y").as_str()), "{text}");
                    assert_eq!((table.len(), table["c"].as_integer()), (2, Some(1)), "{text}");
                } else {
                    assert!(quote.contains('\''), "double quotes take any value: {value:?} in {text}");
                }
            }
        }
    }

    #[test]
    fn a_text_without_references_stays_as_it_is() {
        let pieces = ["\"", "'", "\"\"\"", "'''", "#", "\\", "\n", "a = ", "{", "}", "é"];
        // Every text of four pieces.
        for number in 0..pieces.len().pow(4) {
            let text: String = (0..4).map(|digit| pieces[number / pieces.len().pow(digit) % pieces.len()]).collect();
            let expanded = expand(&text, &variables);
            assert_eq!((expanded.text.as_str(), expanded.faults.len()), (text.as_str(), 0));
        }
    }

    #[test]
    fn no_text_is_too_odd_for_the_lexer() {
        for text in ["", "$", "${", "\"", "\"\\", "'''", "\"\"\"\"", "${${${", "é${É}", "\"${A:-é}\"", "\\\n${}"] {
            let expanded = expand(text, &variables);
            assert!(expanded.origin(expanded.text.len()).0 <= text.len(), "{text:?}");
        }
    }
}
