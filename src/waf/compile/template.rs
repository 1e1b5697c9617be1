//! Text with macros: `%{NAME}`, `%{NAME.member}`, `%{NAME:member}` and `%{NAME:/regex/}`, the first that matches.

use super::Report;
use crate::diagnostic::{Place, nearest};
use crate::ruleset::{Piece, Template, TxNames};
use crate::variable::{Selector, Shape, Variable};

/// Compiles a text. A macro that names nothing expands to nothing, as in ModSecurity, with a warning.
pub(super) fn compile(text: &str, at: Place, tx: &mut TxNames, report: &mut Report) -> Template {
    let mut pieces = Vec::new();
    let mut literal: Vec<u8> = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("%{") {
        let Some((name, remaining)) = after.split_once('}') else { break };
        literal.extend_from_slice(before.as_bytes());
        rest = remaining;
        if let Some(piece) = resolve(name, at, tx, report) {
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
            }
            pieces.push(piece);
        }
    }
    literal.extend_from_slice(rest.as_bytes());
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.into()));
    }
    Template(pieces.into())
}

fn resolve(name: &str, at: Place, tx: &mut TxNames, report: &mut Report) -> Option<Piece> {
    let (base, member) = match name.split_once(['.', ':']) {
        Some((base, member)) => (base, Some(member)),
        None => (name, None),
    };
    let Some(variable) = Variable::from_name(base) else {
        let mend = match nearest(base, Variable::ALL.iter().map(|v| v.name())) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "it expands to nothing".to_owned(),
        };
        report.warning(at, format!("the macro %{{{name}}} names no variable"), mend);
        return None;
    };
    match (variable, member) {
        (_, Some(member)) if member.len() > 1 && member.starts_with('/') && member.ends_with('/') => {
            match Selector::regex(member.get(1..member.len() - 1).unwrap_or_default()) {
                Ok(selector) => Some(Piece::Variable(variable, selector)),
                Err(fault) => {
                    report.error(at, format!("%{{{name}}}: this selector is no regular expression"), fault);
                    None
                }
            }
        }
        (Variable::Tx, Some(member)) => Some(Piece::Tx(tx.intern(member.as_bytes()))),
        (_, Some(_)) if variable.shape() == Shape::Single => {
            report.warning(at, format!("%{{{name}}}: {} has no members", variable.name()), "it expands to nothing");
            None
        }
        (_, member) => Some(Piece::Variable(variable, member.map_or(Selector::All, Selector::name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces() {
        let table: &[(&str, &str, usize)] = &[
            ("plain", "'plain'", 0),
            ("a %{TX.x} b", "'a ' tx:x ' b'", 0),
            ("%{tx.X}%{matched_var_name}", "tx:x MATCHED_VAR_NAME", 0),
            ("%{REQUEST_HEADERS.User-Agent}", "REQUEST_HEADERS:user-agent", 0),
            ("a%{NOPE}b", "'ab'", 1),
            ("100%{ and %{open", "'100%{ and %{open'", 0),
            ("%{REQUEST_LINE.x}", "", 1),
            ("%{ARGS:/^a.b/} %{tx./c/}", "ARGS:/…/ ' ' TX:/…/", 0),
        ];
        for (text, want, warnings) in table {
            let (mut tx, mut report) = (TxNames::new(), Report::default());
            let template = compile(text, Place::default(), &mut tx, &mut report);
            let shown: Vec<String> = template
                .0
                .iter()
                .map(|piece| match piece {
                    Piece::Literal(l) => format!("'{}'", String::from_utf8_lossy(l)),
                    Piece::Tx(slot) => format!("tx:{}", String::from_utf8_lossy(tx.name(*slot))),
                    Piece::Variable(v, Selector::All) => v.name().to_owned(),
                    Piece::Variable(v, Selector::Name(m)) => format!("{}:{}", v.name(), String::from_utf8_lossy(m)),
                    Piece::Variable(v, _) => format!("{}:/…/", v.name()),
                })
                .collect();
            assert_eq!(shown.join(" "), *want, "{text}");
            assert_eq!(report.found.len(), *warnings, "{text}");
        }
    }
}
