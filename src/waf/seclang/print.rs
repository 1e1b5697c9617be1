//! The tree back into text, in one normal form: parsing what is printed gives the same tree.

use std::fmt::{self, Write};

use super::ast::{Action, Body, Directive, Operator, Selector, Target};

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name.value)?;
        match &self.body {
            Body::Rule { targets, operator, actions } => {
                write!(f, " {} {}", quoted(&joined(targets, '|')), quoted(&operator.to_string()))?;
                if !actions.is_empty() {
                    write!(f, " {}", quoted(&joined(actions, ',')))?;
                }
                Ok(())
            }
            Body::Actions(actions) => write!(f, " {}", quoted(&joined(actions, ','))),
            Body::UpdateTargets { which, targets } => {
                write!(f, " {} {}", quoted(&which.value), quoted(&joined(targets, '|')))
            }
            Body::UpdateActions { which, actions } => {
                write!(f, " {} {}", quoted(&which.value), quoted(&joined(actions, ',')))
            }
            Body::Words(words) => words.iter().try_for_each(|word| write!(f, " {}", quoted(&word.value))),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.excluded {
            f.write_char('!')?;
        }
        if self.counted {
            f.write_char('&')?;
        }
        f.write_str(&self.name)?;
        match &self.selector {
            None => Ok(()),
            Some(Selector::Name(name)) if name.contains('|') || name.starts_with('/') && !self.is_xml() => {
                write!(f, ":'{name}'")
            }
            Some(Selector::Name(name)) => write!(f, ":{name}"),
            Some(Selector::Regex(regex)) => write!(f, ":/{regex}/"),
        }
    }
}

impl Target {
    fn is_xml(&self) -> bool {
        self.name.eq_ignore_ascii_case("XML")
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.negated { "!" } else { "" };
        write!(f, "{not}@{}", self.name.value)?;
        if self.argument.value.is_empty() { Ok(()) } else { write!(f, " {}", self.argument.value) }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name.value)?;
        match &self.value {
            None => Ok(()),
            Some(value) => write!(f, ":'{}'", escaped(&value.value, '\'')),
        }
    }
}

fn joined<T: fmt::Display>(parts: &[T], separator: char) -> String {
    let mut out = String::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            out.push(separator);
        }
        let _ = write!(out, "{part}");
    }
    out
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text, '"'))
}

/// Puts a `\` before each quote that no backslash pair precedes already.
fn escaped(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                out.push(c);
                // The second half of a pair cannot be a lone quote here: the parser would have undone it.
                out.extend(chars.next());
            }
            c if c == quote => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}
