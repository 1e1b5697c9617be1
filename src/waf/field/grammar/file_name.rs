//! `file-name`: one segment of a path, as people and programs name files.
//!
//! Letters of all scripts, digits, blanks and `. _ - ( ) [ ] , ; = + @ # ! & %` where names have them (`report (1).pdf`,
//! `Résumé (final) v2.pdf`, `R&D notes.md`, `C#.md`, `[slug].tsx`, `logo@2x.png`, `.env.example`). Not: separators,
//! control and invisible characters, quotes other than the apostrophe of `Rob's`, signs of shells and markup, two dots
//! together, a dash before, a dot or blank at the end, devices of Windows, extensions that a server runs wherever they
//! stand, and a name with blanks but without an extension, which is a sentence. Words are for the scorer.

use super::Fit;
use super::plain::{inner_name, utf7};
use crate::field::class::{Arguments, SpecError, excerpt};
use crate::field::text::nameable;

/// Bytes of a name, as on common file systems.
const MOST: usize = 255;

/// What web servers run, or browsers and desktops: refused at the end unless it is listed, and before the end always.
const RUN: [&str; 40] = [
    "php", "php2", "php3", "php4", "php5", "php6", "php7", "php8", "phps", "pht", "phtm", "phtml", "phar", "pgif",
    "jsp", "jspx", "jspf", "jsw", "jsv", "jhtml", "asp", "aspx", "asa", "asax", "ascx", "ashx", "asmx", "cgi", "fcgi",
    "cfm", "cfml", "cfc", "shtml", "shtm", "stm", "exe", "dll", "scr", "hta", "msi",
];
/// Run too, but only as the last: before it they are parts of ordinary names (`foo.com.md`, `run.sh.txt`).
const RUN_LAST: [&str; 13] =
    ["com", "pif", "vbs", "vbe", "jse", "wsf", "lnk", "jar", "war", "ear", "cpl", "msp", "scf"];
/// Names that change what a web server does.
const NAMES: [&str; 5] = [".htaccess", ".htpasswd", ".user.ini", "php.ini", "web.config"];
/// Names that are devices, with any extension.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// The extensions of a `file-name(…)`.
pub(super) fn extensions(arguments: Arguments<'_>) -> Result<Vec<String>, SpecError> {
    let mut extensions = Vec::new();
    for extension in arguments.split(',') {
        let name = extension.text.strip_prefix('.').unwrap_or(extension.text).to_ascii_lowercase();
        if name.is_empty() || name.len() > 16 || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(SpecError::new(
                extension.at,
                format!("`{}` is no extension", excerpt(extension.text)),
                "write extensions as in `file-name(md, txt)`",
            ));
        }
        if !extensions.contains(&name) {
            extensions.push(name);
        }
    }
    Ok(extensions)
}

/// A file's name; with one of `extensions`, if there are any.
pub(super) fn fits(value: &[u8], extensions: &[String]) -> Fit {
    if value.len() > MOST {
        return Err("longer than 255 bytes");
    }
    let text = std::str::from_utf8(value).map_err(|_| "not UTF-8")?;
    characters(text)?;
    if inner_name(value) || utf7(value) {
        return Err("a name inside an interpreter, or UTF-7");
    }
    let is = |a: &str, list: &[&str]| list.iter().any(|b| a.eq_ignore_ascii_case(b));
    if text.starts_with(['-', ' ', '@', '!', '#', '%', ','])
        || text.ends_with(['.', ' '])
        || text.contains("..")
        || text.contains("--")
    {
        return Err("two dots or dashes together, or a sign at an end");
    }
    if is(text, &NAMES) {
        return Err("a name that a web server obeys");
    }
    let mut parts = text.split('.');
    let stem = parts.next().unwrap_or_default();
    let numbered = |stem: &str| {
        stem.len() == 4
            && stem.get(..3).is_some_and(|start| is(start, &["com", "lpt"]))
            && stem.ends_with(|c: char| c.is_ascii_digit())
    };
    if is(stem.trim_end(), &DEVICES) || numbered(stem.trim_end()) {
        return Err("the name of a device");
    }
    let last = text.rsplit_once('.').map(|(_, last)| last);
    let mut between = parts.clone().count().saturating_sub(1);
    for part in parts {
        let inner = between > 0;
        between = between.saturating_sub(1);
        if part.is_empty() {
            return Err("two dots together");
        }
        if inner && is(part.trim(), &RUN) {
            return Err("an extension that is run");
        }
    }
    let Some(last) = last else {
        if !extensions.is_empty() {
            return Err("no extension");
        }
        return if text.contains([' ', '(', ';', '=']) { Err("words without an extension") } else { Ok(()) };
    };
    if !extensions.is_empty() {
        return extensions
            .iter()
            .any(|known| last.eq_ignore_ascii_case(known))
            .then_some(())
            .ok_or("another extension");
    }
    if is(last, &RUN) || is(last, &RUN_LAST) {
        return Err("an extension that is run");
    }
    // `v2.0 of it` has a dot and no extension either.
    let extension = !last.contains(' ')
        && (1..=16).contains(&last.len())
        && last.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if text.contains(' ') && !extension { Err("words without an extension") } else { Ok(()) }
}

/// Every character, with what stands around it.
fn characters(text: &str) -> Fit {
    let mut before = None::<char>;
    let mut dotted = false;
    let mut round = 0usize;
    let mut square = 0usize;
    for (at, c) in text.char_indices() {
        let rest = text.get(at + c.len_utf8()..).unwrap_or_default();
        let after = rest.chars().next();
        let letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
        let wordless = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        let sound = match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' | ',' | '+' => true,
            ' ' => before != Some(' '),
            // Of a word, not a call: `report(1)`, `report (final)`.
            '(' => {
                round += 1;
                let number = rest.bytes().take_while(u8::is_ascii_digit).count();
                let numbered =
                    (1..=4).contains(&number) && rest.get(number..).is_some_and(|rest| rest.starts_with(')'));
                round == 1 && (wordless(before) || numbered) && after != Some(')')
            }
            ')' => {
                let open = round == 1;
                round = 0;
                open
            }
            '[' => {
                square += 1;
                square == 1 && after != Some(']')
            }
            ']' => {
                let open = square == 1;
                square = 0;
                open
            }
            '\'' | '\u{2019}' => {
                let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
                let ending = rest.get(..end).unwrap_or_default();
                // `O'Reilly`, `d'Angelo`: behind a word of one letter.
                let one = text.get(..at).is_some_and(|word| !letter(word.chars().rev().nth(1)));
                letter(before)
                    && ((one && letter(after))
                        || ["s", "t", "re", "ve", "ll", "d", "m"]
                            .iter()
                            .any(|known| ending.eq_ignore_ascii_case(known)))
            }
            '&' => {
                let capital = |c: Option<char>| c.is_some_and(char::is_uppercase);
                let words = before == Some(' ') && after == Some(' ') && capital(rest.chars().nth(1));
                (capital(before) && capital(after)) || words
            }
            '#' => matches!(before, Some('C' | 'F')) || after.is_some_and(|c| c.is_ascii_digit()),
            // `report;final=2.txt`: within a word, where nothing is called.
            ';' | '=' => {
                before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_alphanumeric) && !dotted
            }
            '@' | '!' => before.is_some_and(|c| c != ' ') && after != Some(c),
            '%' => before.is_some_and(|c| c.is_ascii_digit()) && wordless(after),
            '\u{0}'..='\u{7f}' => false,
            // The dashes and quotes of word processors.
            '\u{2010}'..='\u{2015}' | '\u{2026}' => true,
            // Of emoji, and of scripts whose letters join.
            '\u{fe0f}' => before.is_some_and(|c| !c.is_ascii()),
            '\u{200c}' | '\u{200d}' => [before, after].into_iter().all(|c| c.is_some_and(|c| !c.is_ascii())),
            // What keyboards of East Asia write, where folding to ASCII would make nothing of it.
            '\u{3000}'
            | '\u{3008}'..='\u{3011}'
            | '\u{3014}'..='\u{301c}'
            | '\u{ff08}'
            | '\u{ff09}'
            | '\u{ff65}'..='\u{ff9f}' => true,
            '\u{ff10}'..='\u{ff19}' | '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}' => !dotted,
            c => nameable(c),
        };
        if !sound {
            return Err("a character that stands in no name, or not there");
        }
        dotted |= c == '.';
        before = Some(c);
    }
    if round + square > 0 { Err("a parenthesis that does not close") } else { Ok(()) }
}
