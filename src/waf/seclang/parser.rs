//! Logical lines → [`Directive`]s. Reads every line, so that all faults of a file are found at once.

use super::ast::{Action, Body, Directive, Operator, Selector, Target, Text};
use super::lexer::{LogicalLine, Word, logical_lines, unescape, words};
use crate::diagnostic::Place;

/// A line that is not SecLang.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxFault {
    /// Where.
    pub at: Place,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

/// Parses one file; `file` is its number in the places of the tree.
///
/// Whatever could be read comes back beside the faults.
pub fn parse(file: usize, text: &str) -> (Vec<Directive>, Vec<SyntaxFault>) {
    let mut directives = Vec::new();
    let mut faults = Vec::new();
    for line in logical_lines(file, text) {
        match directive(&line) {
            Ok(directive) => directives.push(directive),
            Err(fault) => faults.push(fault),
        }
    }
    (directives, faults)
}

type Parsed<T> = Result<T, SyntaxFault>;

/// One logical line under the parser.
struct Cursor<'a> {
    line: &'a LogicalLine,
}

impl Cursor<'_> {
    fn fault<T>(&self, offset: usize, what: impl Into<String>, mend: impl Into<String>) -> Parsed<T> {
        Err(SyntaxFault { at: self.line.place(offset), what: what.into(), mend: mend.into() })
    }

    fn slice(&self, start: usize, end: usize) -> &str {
        self.line.text.get(start..end).unwrap_or_default()
    }

    fn text(&self, word: &Word) -> Text {
        let raw = self.slice(word.range.start, word.range.end);
        Text {
            value: word.quote.map_or_else(|| raw.to_owned(), |q| unescape(raw, q)),
            at: self.line.place(word.range.start),
        }
    }
}

fn directive(line: &LogicalLine) -> Parsed<Directive> {
    let cursor = Cursor { line };
    let mut all = match words(&line.text) {
        Ok(all) => all.into_iter(),
        Err(fault) => return cursor.fault(fault.offset, fault.what, fault.mend),
    };
    let Some(first) = all.next() else { return cursor.fault(0, "an empty line", "") };
    let name = cursor.text(&first);
    let arguments: Vec<Word> = all.collect();
    let count = |least: usize, most: usize, form: &str| -> Parsed<()> {
        match arguments.get(most) {
            Some(extra) => cursor.fault(extra.range.start, format!("{} has too many arguments", name.value), form),
            None if arguments.len() < least => {
                cursor.fault(first.range.start, format!("{} has too few arguments", name.value), form)
            }
            None => Ok(()),
        }
    };
    let body = match name.value.to_ascii_lowercase().as_str() {
        "secrule" => {
            count(2, 3, "the form is SecRule TARGETS \"@operator argument\" \"actions\"")?;
            match arguments.as_slice() {
                [targets, operator, rest @ ..] => Body::Rule {
                    targets: parse_targets(&cursor, targets)?,
                    operator: parse_operator(&cursor, operator)?,
                    actions: rest.first().map_or(Ok(Vec::new()), |word| parse_actions(&cursor, word))?,
                },
                _ => Body::Words(Vec::new()),
            }
        }
        "secaction" | "secdefaultaction" => {
            count(1, 1, "the form is a directive and one list of actions in quotes")?;
            Body::Actions(arguments.first().map_or(Ok(Vec::new()), |word| parse_actions(&cursor, word))?)
        }
        "secruleupdatetargetbyid" | "secruleupdatetargetbytag" | "secruleupdatetargetbymsg" => {
            count(2, 3, "the form is a rule selector and \"!TARGET[:selector]\"")?;
            match arguments.as_slice() {
                [which, targets] => {
                    Body::UpdateTargets { which: cursor.text(which), targets: parse_targets(&cursor, targets)? }
                }
                [_, _, replaced, ..] => {
                    return cursor.fault(
                        replaced.range.start,
                        "replacing a target is not supported",
                        "exclude the old target with !NAME and add the new one in a second directive",
                    );
                }
                _ => Body::Words(Vec::new()),
            }
        }
        "secruleupdateactionbyid" => {
            count(2, 2, "the form is SecRuleUpdateActionById ID \"actions\"")?;
            match arguments.as_slice() {
                [which, actions] => {
                    Body::UpdateActions { which: cursor.text(which), actions: parse_actions(&cursor, actions)? }
                }
                _ => Body::Words(Vec::new()),
            }
        }
        _ => Body::Words(arguments.iter().map(|word| cursor.text(word)).collect()),
    };
    Ok(Directive { name, body })
}

fn parse_targets(cursor: &Cursor<'_>, word: &Word) -> Parsed<Vec<Target>> {
    let mut targets = Vec::new();
    let mut at = word.range.start;
    loop {
        at += blanks(cursor, at, word.range.end);
        let (target, next) = parse_target(cursor, at, word)?;
        targets.push(target);
        match cursor.slice(next, word.range.end).chars().next() {
            None => return Ok(targets),
            Some('|') => at = next + 1,
            Some(_) => {
                return cursor.fault(next, "unexpected text after a target", "targets are separated by |");
            }
        }
    }
}

fn blanks(cursor: &Cursor<'_>, start: usize, end: usize) -> usize {
    cursor.slice(start, end).bytes().take_while(u8::is_ascii_whitespace).count()
}

fn parse_target(cursor: &Cursor<'_>, start: usize, word: &Word) -> Parsed<(Target, usize)> {
    let end = word.range.end;
    let mut at = start;
    let (mut excluded, mut counted) = (false, false);
    loop {
        match cursor.slice(at, end).bytes().next() {
            Some(b'!') => excluded = true,
            Some(b'&') => counted = true,
            _ => break,
        }
        at += 1;
    }
    let name = cursor.slice(at, end).bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    if name == 0 {
        return cursor.fault(at, "a variable's name is missing", "write NAME, NAME:selector, &NAME or !NAME");
    }
    let name = cursor.slice(at, at + name).to_owned();
    at += name.len();
    let mut selector = None;
    // Macros write TX.name, and so do some rules.
    if cursor.slice(at, end).starts_with([':', '.']) {
        let (found, next) = parse_selector(cursor, at + 1, word, name.eq_ignore_ascii_case("XML"))?;
        selector = Some(found);
        at = next;
    }
    at += blanks(cursor, at, end);
    Ok((Target { at: cursor.line.place(start), excluded, counted, name, selector }, at))
}

/// A selector and the offset after it. An XPath starts with `/` too, so XML takes everything up to the next `|`.
fn parse_selector(cursor: &Cursor<'_>, start: usize, word: &Word, xpath: bool) -> Parsed<(Selector, usize)> {
    let end = word.range.end;
    let rest = cursor.slice(start, end);
    let undo = |raw: &str| word.quote.map_or_else(|| raw.to_owned(), |q| unescape(raw, q));
    if let Some(inner) = rest.strip_prefix('\'') {
        let Some(length) = inner.find('\'') else {
            return cursor.fault(start, "this selector's quote is never closed", "close it with '");
        };
        let raw = undo(inner.get(..length).unwrap_or_default());
        let regex = raw.len() > 1 && raw.starts_with('/') && raw.ends_with('/') && !xpath;
        let selector = if regex {
            Selector::Regex(raw.get(1..raw.len() - 1).unwrap_or_default().to_owned())
        } else {
            Selector::Name(raw)
        };
        return Ok((selector, start + length + 2));
    }
    if rest.starts_with('/') && !xpath {
        let Some(length) = regex_end(rest) else {
            return cursor.fault(
                start,
                "this selector's regular expression is never closed",
                "end it with / before the next | or the end",
            );
        };
        let raw = undo(rest.get(1..length).unwrap_or_default()).replace("\\/", "/");
        return Ok((Selector::Regex(raw), start + length + 1));
    }
    let length = rest.find('|').unwrap_or(rest.len());
    let raw = rest.get(..length).unwrap_or_default().trim_end();
    if raw.is_empty() {
        return cursor.fault(start, "a selector is missing after the colon", "name a member, or drop the colon");
    }
    Ok((Selector::Name(undo(raw)), start + length))
}

/// The offset of the `/` that ends a regular expression: the first one before a `|` or the end.
fn regex_end(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'/' if matches!(bytes.get(at + 1), None | Some(b'|')) => return Some(at),
            _ => at += 1,
        }
    }
}

fn parse_operator(cursor: &Cursor<'_>, word: &Word) -> Parsed<Operator> {
    let end = word.range.end;
    let mut at = word.range.start;
    at += blanks(cursor, at, end);
    let negated = cursor.slice(at, end).starts_with('!');
    if negated {
        at += 1;
        at += blanks(cursor, at, end);
    }
    let place = cursor.line.place(at);
    let undo = |raw: &str| word.quote.map_or_else(|| raw.to_owned(), |q| unescape(raw, q));
    if !cursor.slice(at, end).starts_with('@') {
        let name = Text { value: "rx".to_owned(), at: place };
        let argument = Text { value: undo(cursor.slice(at, end)), at: place };
        return Ok(Operator { negated, name, argument });
    }
    let length = cursor.slice(at + 1, end).bytes().take_while(|b| !b.is_ascii_whitespace()).count();
    let name = Text { value: cursor.slice(at + 1, at + 1 + length).to_owned(), at: place };
    at += 1 + length;
    at += blanks(cursor, at, end);
    let argument = Text { value: undo(cursor.slice(at, end)), at: cursor.line.place(at) };
    Ok(Operator { negated, name, argument })
}

fn parse_actions(cursor: &Cursor<'_>, word: &Word) -> Parsed<Vec<Action>> {
    let end = word.range.end;
    let mut at = word.range.start;
    let mut actions = Vec::new();
    loop {
        at += blanks(cursor, at, end);
        // A comma at the end of the list is common in hand-written rules and means nothing.
        if at >= end {
            return Ok(actions);
        }
        let length = cursor.slice(at, end).bytes().take_while(|b| !b.is_ascii_whitespace() && !b":,'=".contains(b));
        let length = length.count();
        if length == 0 {
            return cursor.fault(
                at,
                "an action's name is missing",
                "actions are name or name:value, separated by commas",
            );
        }
        let name = Text { value: cursor.slice(at, at + length).to_owned(), at: cursor.line.place(at) };
        at += length;
        at += blanks(cursor, at, end);
        let mut value = None;
        if cursor.slice(at, end).starts_with(':') {
            at += 1;
            at += blanks(cursor, at, end);
            let (text, next) = parse_action_value(cursor, at, word)?;
            value = Some(text);
            at = next;
        }
        actions.push(Action { name, value });
        match cursor.slice(at, end).bytes().next() {
            None => return Ok(actions),
            Some(b',') => at += 1,
            Some(_) => {
                return cursor.fault(at, "unexpected text in the list of actions", "separate actions by commas");
            }
        }
    }
}

/// A value, bare up to the next comma or in `'…'`, and the offset after it and its blanks.
fn parse_action_value(cursor: &Cursor<'_>, start: usize, word: &Word) -> Parsed<(Text, usize)> {
    let end = word.range.end;
    let rest = cursor.slice(start, end);
    let undo = |raw: &str| word.quote.map_or_else(|| raw.to_owned(), |q| unescape(raw, q));
    if let Some(inner) = rest.strip_prefix('\'') {
        let bytes = inner.as_bytes();
        let mut length = 0;
        loop {
            match bytes.get(length) {
                None => return cursor.fault(start, "this value's quote is never closed", "close it with '"),
                Some(b'\\') => length += 2,
                Some(b'\'') => break,
                Some(_) => length += 1,
            }
        }
        let value = unescape(&undo(inner.get(..length).unwrap_or_default()), '\'');
        let next = start + length + 2;
        return Ok((Text { value, at: cursor.line.place(start + 1) }, next + blanks(cursor, next, end)));
    }
    let length = rest.find(',').unwrap_or(rest.len());
    let value = undo(rest.get(..length).unwrap_or_default().trim_end());
    Ok((Text { value, at: cursor.line.place(start) }, start + length))
}
