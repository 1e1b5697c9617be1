//! Recognises SQL that was injected into a statement, by the method of libinjection (Nick Galbreath) and with its
//! tables of words and shapes.
//!
//! A value is cut into tokens, and each token is a letter: a number, a string, an operator, a keyword and so on
//! ([`tokens`]). Rules of folding make one token of several wherever SQL would see one thing: `1+1` is a number, `a.b`
//! a name ([`fold`]). What is left, five letters at most, is the shape of the value. If the shape is one of those known
//! from attacks ([`words`]), and the value is no ordinary text that happens to have it (below), it is an injection.
//!
//! Where the value lands in the statement is not known, so it is read as it stands, then as if it stood behind a single
//! quote, then behind a double quote. And what is a comment depends on the database: `#`, and `--` with no space behind
//! it, are read the ANSI way first, then MySQL's.
//!
//! Nothing is allocated, and the time is linear in the length of the value.

mod fold;
mod tokens;
mod words;

#[cfg(test)]
mod tests;

use fold::Row;
use memchr::{memchr, memchr2, memchr2_iter};
use tokens::{Dialect, Reader};
use words::Tables;

/// The shape of the attack, up to five token types then zeros, if the value is SQL injected into a statement.
pub(super) fn detect(value: &[u8]) -> Option<[u8; 8]> {
    let tables = Tables::get();
    let read = |quote, dialect| fold::fold(Reader::new(value, quote, dialect, tables));
    let either_dialect = |quote| {
        let ansi = read(quote, Dialect::Ansi);
        attack(&ansi, value, tables).or_else(|| {
            let mysql = ansi.dialects_differ().then(|| read(quote, Dialect::MySql))?;
            attack(&mysql, value, tables)
        })
    };
    if let Some(shape) = either_dialect(None) {
        return Some(shape);
    }
    let quotes = value.get(memchr2(b'\'', b'"', value)?..)?;
    let behind_single = memchr(b'\'', quotes).and_then(|_| either_dialect(Some(b'\'')));
    // Only MySQL has strings in double quotes.
    let mysql = || attack(&read(Some(b'"'), Dialect::MySql), value, tables);
    behind_single.or_else(|| memchr(b'"', quotes).and_then(|_| mysql()))
}

/// The shape of what was read, if it is an attack.
fn attack(read: &Row<'_>, value: &[u8], tables: &Tables) -> Option<[u8; 8]> {
    let shape = read.shape();
    if !tables.is_attack(shape) {
        return None;
    }
    let harmless = match read.tokens() {
        [first, second] => is_harmless_pair([first.kind, second.kind], read, value),
        [first, second, third] => is_harmless_triple([first.kind, second.kind, third.kind], read, value),
        _ => false,
    };
    // The name of this procedure in a comment keeps a statement out of the log of SQL Server.
    let hides = || shape.iter().rfind(|kind| **kind != 0) == Some(&b'c') && names_sp_password(value);
    (!harmless || hides()).then_some(shape)
}

/// Whether two tokens that look like an attack are ordinary text: so few need a closer look.
fn is_harmless_pair(kinds: [u8; 2], read: &Row<'_>, value: &[u8]) -> bool {
    let [first, second] = read.tokens() else { return false };
    let begin = (second.length > 0).then(|| value.get(second.start)).flatten().copied();
    match (kinds, begin) {
        // `1union` alone is no statement.
        ([_, b'U'], _) => read.read == 2,
        (_, Some(b'#')) => true,
        // Behind a name only the comments of C are rare in text.
        ([b'n', b'c'], begin) => begin != Some(b'/'),
        ([b'1', b'c'], Some(b'/')) => false,
        ([b'1', b'c'], _) => {
            // Where the number would end if the value began with it; libinjection looks there.
            let behind = value.get(usize::from(first.length)..).unwrap_or_default();
            let cut_off = match behind {
                [b'/', b'*', ..] | [b'-', b'-', ..] => true,
                [byte, ..] => matches!(byte, 0..=b' ' | 0x80..),
                [] => false,
            };
            read.read == 2 && !cut_off
        }
        // `--` with text behind it is a dash more often than a comment.
        (_, Some(b'-')) => second.length > 2,
        _ => false,
    }
}

/// Whether three are.
fn is_harmless_triple(kinds: [u8; 3], read: &Row<'_>, value: &[u8]) -> bool {
    let [first, second, third] = read.tokens() else { return false };
    match &kinds {
        // Text with quoted words in it, unless it is cut at both ends as what stood inside quotes is: `foo' + 'bar`.
        b"sos" | b"s&s" => (first.opened_by, third.closed_by) != (0, 0) || first.closed_by != third.opened_by,
        // `sexy and 17`, but not `sexy and 17<18`.
        b"s&n" | b"n&1" | b"1&1" | b"1&v" | b"1&s" => read.read == 3,
        // Of keywords between two tokens, only `INTO OUTFILE` and `INTO DUMPFILE` matter.
        [_, b'k', _] => second.length < 5 || value.get(second.start..).is_none_or(|text| !text.starts_with(b"INTO")),
        _ => false,
    }
}

/// Whether the value holds this name, and is text.
fn names_sp_password(value: &[u8]) -> bool {
    const NAME: &[u8] = b"sp_password";
    let is_here = |at| value.get(at..at + NAME.len()).is_some_and(|text| text.eq_ignore_ascii_case(NAME));
    memchr2_iter(b's', b'S', value).any(is_here) && str::from_utf8(value).is_ok()
}
