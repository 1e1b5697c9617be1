//! Quotes that end a string which the value did not begin.
//!
//! A value lands inside a string of somebody's statement, tag or program. To get out it needs that string's quote, and
//! behind the quote the text goes on in the language outside. In honest text quotes come in pairs: the second of a
//! pair closes what the value itself opened, and whatever follows it proves nothing. So only a quote that would *open*
//! a pair is looked behind. Apostrophes inside words (`it's`, `O'Reilly`) belong to no pair.
//!
//! Each quote costs one look at most [`TAIL`] bytes ahead, and only if what follows can begin something.

use super::opening::Opening;
use super::prose;
use super::shape::{Hit, Sets};

/// Bytes that are read behind a quote.
const TAIL: usize = 160;
/// What a break-out weighs less behind a word to which the apostrophe may belong.
const POSSESSIVE: u8 = 3;

/// Adds what stands behind quotes that break out.
pub(super) fn find(text: &[u8], sets: &Sets, hits: &mut Vec<Hit>) {
    let look = |tail: &[u8], hits: &mut Vec<Hit>| {
        sets.behind_quote.iter().for_each(|set| set.find(tail, Opening::Any, hits));
    };
    let mut open: Option<u8> = None;
    let mut before: Option<u8> = None;
    for (at, &byte) in text.iter().enumerate() {
        if matches!(byte, b'\'' | b'"' | b'`') {
            let after = text.get(at + 1).copied();
            match open {
                Some(quote) if quote == byte => open = None,
                Some(_) => {}
                None if is_quotation(text, at, before, byte) => open = Some(byte),
                None if is_mentioned(before, after) => {}
                None => {
                    if goes_on(text.get(at + 1..).unwrap_or_default()) {
                        let tail = text.get(at..text.len().min(at + TAIL)).unwrap_or_default();
                        if is_possessive(text, at) {
                            // Nouns stand there that are words of SQL as well.
                            let known = hits.len();
                            look(tail, hits);
                            for hit in hits.iter_mut().skip(known) {
                                hit.weight = hit.weight.saturating_sub(POSSESSIVE);
                            }
                        } else {
                            look(tail, hits);
                        }
                    }
                    let in_word = is_word(before) && is_word(after);
                    // `users' data`: behind a word and before a space, nothing is opened.
                    let ends_word = is_word(before) && after.is_none_or(|next| next == b' ');
                    if !(byte == b'\'' && (in_word || ends_word)) && text_has(text.get(at + 1..), byte) {
                        open = Some(byte);
                    }
                }
            }
        }
        before = Some(byte);
    }
}

/// Whether the quote begins a well-formed quotation: it stands before a word and behind none, and the next one of its
/// kind, near by, stands behind a word and before none.
fn is_quotation(text: &[u8], at: usize, before: Option<u8>, quote: u8) -> bool {
    let Some(inside) = text.get(at + 1..text.len().min(at + TAIL)) else { return false };
    // `attribute="value">`, and the same within a string of its own (`attribute=\"value\">`).
    let is_value = text.get(..at).is_some_and(|front| front.ends_with(b"=") || front.ends_with(b"=\\"));
    let starts = before.is_none_or(|byte| b" ([{,:\n=&|<>".contains(&byte)) || is_value || is_prefixed(text, at);
    if !starts {
        return false;
    }
    let Some(length) = memchr::memchr(quote, inside) else { return false };
    let behind = inside.get(length + 1..).unwrap_or_default();
    let ends = behind.first().is_none_or(|byte| b" ,.;:!?)]}\n|".contains(byte) || is_value && *byte == b'>');
    let worded = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80);
    let content = inside.get(..length).unwrap_or_default();
    // `'&&'` in a sentence, `'\n'` in a program.
    if ends && (1..=3).contains(&length) && (before.is_some() || is_told(behind) || prose::begins_clause(behind)) {
        return true;
    }
    ends && worded(content.first()) && content.last().is_some_and(|byte| !byte.is_ascii_whitespace())
}

/// Whether a clause ends behind a quotation.
fn is_told(behind: &[u8]) -> bool {
    matches!(behind, [b',' | b'.' | b':' | b'?', b' ', ..])
}

/// Whether the quote stands alone between parentheses, as a mark that is spoken of: `(')`.
fn is_mentioned(before: Option<u8>, after: Option<u8>) -> bool {
    before == Some(b'(') && after == Some(b')')
}

/// Whether the quote may be the genitive of a plural: `users' rights`.
fn is_possessive(text: &[u8], at: usize) -> bool {
    let word = text.get(..at).unwrap_or_default().rsplit(|byte| !byte.is_ascii_alphabetic()).next().unwrap_or_default();
    let words = text.get(at + 1..).unwrap_or_default();
    text.get(at) == Some(&b'\'')
        && word.len() > 2
        && matches!(word.last(), Some(b's' | b'x' | b'z' | b'S'))
        && words.first() == Some(&b' ')
        && words.get(1).is_some_and(u8::is_ascii_alphabetic)
}

/// Whether a letter that marks a kind of string stands before the quote, and no word before that: `b'x'`, `r"x"`.
fn is_prefixed(text: &[u8], at: usize) -> bool {
    let mut front = text.get(..at).unwrap_or_default().iter().rev();
    matches!(front.next(), Some(b'b' | b'r' | b'u' | b'f'))
        && front.next().is_none_or(|byte| b" ([{,:=&".contains(byte))
}

fn is_word(byte: Option<u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte >= 0x80)
}

fn text_has(rest: Option<&[u8]>, quote: u8) -> bool {
    rest.is_some_and(|rest| memchr::memchr(quote, rest.get(..rest.len().min(TAIL)).unwrap_or_default()).is_some())
}

/// Whether what follows a quote can be an operator, a keyword, the end of a tag or a comment.
fn goes_on(rest: &[u8]) -> bool {
    let skipped =
        rest.iter().take(TAIL).find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b')' | b']' | b'}'));
    skipped.is_some_and(|byte| {
        matches!(
            byte,
            b'o' | b'O'
                | b'a'
                | b'A'
                | b'x'
                | b'X'
                | b'u'
                | b'U'
                | b'h'
                | b'H'
                | b'g'
                | b'G'
                | b'l'
                | b'L'
                | b'i'
                | b'I'
                | b'n'
                | b'N'
                | b'r'
                | b'R'
                | b'b'
                | b'B'
                | b'w'
                | b'W'
                | b's'
                | b'S'
                | b'd'
                | b'D'
                | b'm'
                | b'M'
                | b'p'
                | b'P'
                | b'c'
                | b'C'
                | b'f'
                | b'F'
                | b'e'
                | b'E'
                | b't'
                | b'T'
                | b'|'
                | b'&'
                | b';'
                | b'-'
                | b'#'
                | b'/'
                | b'*'
                | b'+'
                | b'='
                | b'<'
                | b'>'
                | b'!'
                | b'^'
                | b'%'
                | b','
                | b'.'
                | b'\\'
                | b'\''
                | b'"'
                | b'`'
                | b'('
        )
    })
}
