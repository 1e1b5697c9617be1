//! Makes one token of several where SQL would see one thing, until at most five are left.
//!
//! The tokens stand in a row that is read from left to right. A rule looks at two or three of them from a mark on; if
//! one applies, the row gets shorter and mostly is looked at from its beginning again, and otherwise the mark moves on.
//! More tokens are read only when a rule wants them, so a value whose tokens do not fold is not read to its end. The
//! row and the order of the rules are those of libinjection to the letter, for the shapes were collected with them; so
//! a rule takes away the last token of the row, which need not be the one it looked at.

use super::tokens::{Reader, Token};
use super::words::{Word, traits};

/// Most tokens of a shape.
const MOST: usize = 5;

/// Reads a value and folds it.
pub(super) fn fold(reader: Reader<'_>) -> Row<'_> {
    let mut row =
        Row { reader, tokens: [Token::NONE; 8], length: 0, mark: 0, comment: Token::NONE, more: true, read: 0 };
    row.begin();
    loop {
        row.shorten_a_full_one();
        if !row.more || row.mark >= MOST {
            break;
        }
        if row.has(2) {
            match row.fold_two() {
                Outcome::Folded => continue,
                Outcome::Attack => break,
                Outcome::Nothing => {}
            }
            if row.has(3) {
                if !row.fold_three() {
                    row.mark += 1;
                }
                continue;
            }
        }
        row.mark = row.length;
    }
    row.end();
    row
}

/// What two tokens came to.
enum Outcome {
    Folded,
    Nothing,
    /// The value need not be read on.
    Attack,
}

/// The tokens of a value, as far as it was read.
pub(super) struct Row<'a> {
    reader: Reader<'a>,
    tokens: [Token; 8],
    length: usize,
    /// From here on the row is looked at; at most `length`.
    mark: usize,
    /// The comment behind the last token, if there is one. It counts if it ends the value.
    comment: Token,
    /// Whether the end of the value was not met yet.
    more: bool,
    /// How many tokens there were before folding.
    pub(super) read: usize,
}

impl Row<'_> {
    /// What is left.
    pub(super) fn tokens(&self) -> &[Token] {
        self.tokens.get(..self.length).unwrap_or_default()
    }

    /// The kinds of the tokens.
    pub(super) fn shape(&self) -> [u8; 8] {
        let mut shape = [0; 8];
        shape.iter_mut().zip(self.tokens()).for_each(|(letter, token)| *letter = token.kind);
        shape
    }

    /// Whether the other dialect would have read something otherwise.
    pub(super) fn dialects_differ(&self) -> bool {
        self.reader.dialects_differ
    }

    /// The first token that says something.
    fn begin(&mut self) {
        let mut token = self.reader.first();
        while matches!(token.kind, b'c' | b'(' | b't') || token.is_unary() {
            self.read += 1;
            token = self.reader.next();
        }
        self.add(token);
    }

    fn add(&mut self, token: Token) {
        if token.kind == 0 {
            self.more = false;
        } else if let Some(place) = self.tokens.get_mut(self.length) {
            *place = token;
            self.length += 1;
            self.read += 1;
            self.comment.kind = 0;
        }
    }

    /// Reads on until so many tokens stand from the mark on, if the value and the row have room for them.
    fn has(&mut self, wanted: usize) -> bool {
        while self.length < self.mark + wanted {
            if self.length > MOST || !self.more {
                return false;
            }
            let token = self.reader.next();
            if token.kind == b'c' {
                self.comment = token;
                self.read += 1;
            } else {
                self.add(token);
            }
        }
        true
    }

    /// Some full rows are nothing but one expression: they make room for what follows.
    fn shorten_a_full_one(&mut self) {
        if self.length < MOST {
            return;
        }
        let [a, b, c, d, e, next, ..] = &mut self.tokens;
        if matches!(
            (a.kind, b.kind, c.kind, d.kind, e.kind),
            (b'1', b'o' | b',', b'(', b'1', b')')
                | (b'n', b'o', b'(', b'n' | b'1', b')')
                | (b'1', b')', b',', b'(', b'1')
                | (b'n', b')', b'o', b'(', b'n')
        ) {
            if self.length > MOST {
                *b = *next;
                self.length = 2;
            } else {
                self.length = 1;
            }
            self.mark = 0;
        }
    }

    /// Takes away the last tokens, and looks at the row from its beginning.
    fn restart_without(&mut self, last: usize) {
        self.length = self.length.saturating_sub(last);
        self.mark = 0;
    }

    /// Takes away the last token, and looks from one before the mark.
    fn back_without_last(&mut self) {
        self.length = self.length.saturating_sub(1);
        self.mark = self.mark.saturating_sub(1);
    }

    fn fold_two(&mut self) -> Outcome {
        let Some([a, b, ..]) = self.tokens.get_mut(self.mark..) else { return Outcome::Nothing };
        match (a.kind, b.kind) {
            // Strings side by side are one.
            (b's', b's') | (b';', b';') => self.length -= 1,
            (b'o' | b'&', b't') => self.restart_without(1),
            (b'o' | b'&', b'o') if b.is_unary() => self.restart_without(1),
            (b'(', b'o') if b.is_unary() => self.back_without_last(),
            (
                b'k' | b'n' | b'o' | b'U' | b'f' | b'E' | b'T' | b't',
                b'k' | b'n' | b'o' | b'U' | b'f' | b'E' | b'T' | b't' | b'&',
            ) if phrase(&self.reader, *a, *b).is_some() => {
                a.become_word(phrase(&self.reader, *a, *b).unwrap_or(Word::BARE));
                a.length = a.length.saturating_add(b.length).saturating_add(1);
                self.back_without_last();
            }
            // Behind a semicolon it is not the function but a statement of SQL Server.
            (b';', b'f') if b.has(traits::IF) => b.kind = b'T',
            (b'n' | b'v', b'(') if a.has(traits::CALLABLE) => a.kind = b'f',
            (b'k', after) if a.has(traits::IN) => a.kind = if after == b'(' { b'o' } else { b'n' },
            (b'o', after) if a.has(traits::LIKE) => {
                if after == b'(' {
                    a.kind = b'f';
                }
                return Outcome::Nothing;
            }
            (b't', b'n' | b'1' | b't' | b'(' | b'f' | b'v' | b's') => {
                *a = *b;
                self.restart_without(1);
            }
            // There are too many names of collations for a list.
            (b'A', b'n') => {
                if has_underscore(&self.reader, *b) {
                    b.kind = b't';
                    self.mark = 0;
                }
                return Outcome::Nothing;
            }
            // SQL Server reads `\%1` as 0 % 1, and `\1` as 1.
            (b'\\', b'o') if b.has(traits::ARITHMETIC) => {
                a.kind = b'1';
                self.mark = 0;
            }
            (b'\\', _) => {
                *a = *b;
                self.restart_without(1);
            }
            (b'(', b'(') | (b')', b')') => self.restart_without(1),
            // MySQL takes {``.``.id}; too rare to be told from honest values.
            (b'{', b'n') if b.length == 0 => {
                a.kind = b'X';
                self.length = self.mark + 1;
                return Outcome::Attack;
            }
            // {d '2001-02-03'} is an expression behind a name.
            (b'{', b'n') => self.restart_without(2),
            (_, b'}') => self.restart_without(1),
            _ => return Outcome::Nothing,
        }
        Outcome::Folded
    }

    fn fold_three(&mut self) -> bool {
        let Some([a, b, c, ..]) = self.tokens.get_mut(self.mark..) else { return false };
        match (a.kind, b.kind, c.kind) {
            // Expressions of operators are their first part.
            (b'1' | b'n', b'o', b'1' | b'n') | (b'v', b'o', b'v' | b'1' | b'n') => self.restart_without(2),
            (b'o', between, b'o') if between != b'(' => self.restart_without(2),
            (b'&', _, b'&') => self.restart_without(2),
            (b'n' | b'1' | b'v' | b's', b'o', b't') if b.has(traits::CAST) => self.restart_without(2),
            // So are lists.
            (b'n' | b'1' | b'v' | b's', b',', b'n' | b'1' | b'v' | b's') => self.restart_without(2),
            // A sign or `NOT` before a value says nothing.
            (b'E' | b'B' | b',', b'o', b'(')
            | (b'k' | b'E' | b'B', b'o', b'1' | b'n' | b'v' | b's' | b'f')
            | (b',', b'o', b'f')
                if b.is_unary() =>
            {
                *b = *c;
                self.restart_without(1);
            }
            // What stands before the comma may be part of the list too.
            (b',', b'o', b'1' | b'n' | b'v' | b's') if b.is_unary() => {
                *b = *c;
                self.restart_without(3);
            }
            // The table of a database is a name.
            (b'n', b'.', b'n') => self.restart_without(2),
            (b'E', b'.', b'n') => {
                *b = *c;
                self.restart_without(1);
            }
            // The function has no arguments: with some, it is another thing.
            (b'f', b'(', inside) if inside != b')' => {
                if a.has(traits::USER) {
                    a.kind = b'n';
                }
                return false;
            }
            _ => return false,
        }
        true
    }

    fn end(&mut self) {
        self.length = self.length.min(MOST);
        // PHP's way to cut a statement off: a backtick at the end that nothing closes.
        if self.length > 2
            && let Some(last) = self.tokens.get_mut(self.length - 1)
            && (last.kind, last.opened_by, last.closed_by, last.length) == (b'n', b'`', 0, 0)
        {
            last.kind = b'c';
        }
        if self.length < MOST
            && self.comment.kind != 0
            && let Some(place) = self.tokens.get_mut(self.length)
        {
            *place = self.comment;
            self.length += 1;
        }
        // Next to such a comment nothing else matters.
        if let Some(evil) = self.tokens().iter().position(|token| token.kind == b'X') {
            self.tokens.swap(0, evil);
            self.length = 1;
        }
    }
}

/// The phrase that two words make.
fn phrase(reader: &Reader<'_>, a: Token, b: Token) -> Option<Word> {
    let may_be = a.has(traits::OPENS_PHRASE) && b.has(traits::ENDS_PHRASE);
    may_be.then(|| reader.tables.phrase(a.word, b.word)).flatten()
}

/// Whether a name holds an underscore and is text at all.
fn has_underscore(reader: &Reader<'_>, name: Token) -> bool {
    let text = reader.input.get(name.start..name.start + usize::from(name.length)).unwrap_or_default();
    // A phrase does not stand in the value as it is.
    if name.word > 0 { name.has(traits::UNDERSCORE) } else { text.contains(&b'_') && str::from_utf8(text).is_ok() }
}
