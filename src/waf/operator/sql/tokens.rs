//! Cuts a value into tokens.
//!
//! Kinds of tokens, the letters of a shape:
//! `1` number, `s` string, `n` name, `v` variable, `f` function, `k` keyword, `E` and `T` keyword that begins a
//! statement, `U` union, `B` grouping, `A` collation, `t` type of data, `o` operator, `&` logic operator, `c` comment,
//! `X` comment that no honest value holds, `\` backslash, `?` anything else; and `( ) { } . , : ;` for themselves.

use super::words::{Tables, Word, marks, traits};
use libinjectionrs::sqli::sqli_data::CharType;
use memchr::{memchr, memchr_iter};

/// More bytes of a token than these have never been looked at.
const MOST_KEPT: u8 = 31;

/// Whose comments are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `--` begins a comment, `#` does not.
    Ansi,
    /// `#` begins a comment, `--` only before space.
    MySql,
}

/// A piece of the value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: u8,
    /// Bytes of the text, without quotes, up to [`MOST_KEPT`].
    pub(super) length: u8,
    /// The quote it began with, 0 without one.
    pub(super) opened_by: u8,
    /// The quote it ended with.
    pub(super) closed_by: u8,
    /// The number of the word in the table of words.
    pub(super) word: u16,
    /// A set of [`traits`].
    pub(super) traits: u16,
    /// Where the text begins in the value.
    pub(super) start: usize,
}

impl Token {
    pub(super) const NONE: Self = Self { kind: 0, length: 0, opened_by: 0, closed_by: 0, word: 0, traits: 0, start: 0 };

    fn new(kind: u8, start: usize, length: usize) -> Self {
        Self { kind, start, length: u8::try_from(length).unwrap_or(MOST_KEPT).min(MOST_KEPT), ..Self::NONE }
    }

    pub(super) fn has(self, traits: u16) -> bool {
        self.traits & traits != 0
    }

    /// Whether it is an operator that can stand before a value.
    pub(super) fn is_unary(self) -> bool {
        self.kind == b'o' && self.has(traits::UNARY)
    }

    /// Makes it this word.
    pub(super) fn become_word(&mut self, word: Word) {
        (self.kind, self.traits, self.word) = (word.kind, word.traits, word.number);
    }
}

/// Reads one token after the other.
pub(super) struct Reader<'a> {
    pub(super) input: &'a [u8],
    pub(super) tables: &'static Tables,
    dialect: Dialect,
    /// The quote that the value is taken to stand behind, if any.
    behind: Option<u8>,
    at: usize,
    /// Whether the other dialect would have read something otherwise.
    pub(super) dialects_differ: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(input: &'a [u8], behind: Option<u8>, dialect: Dialect, tables: &'static Tables) -> Self {
        Self { input, tables, dialect, behind, at: 0, dialects_differ: false }
    }

    /// The first token: a string, if the value is taken to stand behind a quote.
    pub(super) fn first(&mut self) -> Token {
        match self.behind {
            Some(quote) => Token { opened_by: 0, ..self.quoted(0, quote) },
            None => self.next(),
        }
    }

    /// The next token, or [`Token::NONE`] at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Token {
        loop {
            let Some(&byte) = self.input.get(self.at) else { return Token::NONE };
            let begin = self.tables.begin(byte);
            if begin.kind != 0 {
                let token = Token { traits: begin.traits, ..Token::new(begin.kind, self.at, 1) };
                self.at += 1;
                return token;
            }
            if begin.class != CharType::White {
                return self.longer(byte, begin.class);
            }
            self.at += 1;
        }
    }

    /// A token that may be more than one byte.
    fn longer(&mut self, byte: u8, class: CharType) -> Token {
        match class {
            CharType::Word => self.word(),
            CharType::Number => self.number(),
            CharType::Op2 | CharType::Bang => self.long_operator(byte),
            CharType::Dash => self.dash(),
            CharType::Slash => self.slash(),
            CharType::Hash => self.hash(),
            CharType::Backslash => self.backslash(),
            CharType::String => self.quoted(1, byte),
            CharType::Tick => self.name_in_ticks(),
            CharType::BWord => self.name_in_brackets(),
            CharType::Variable => self.variable(),
            CharType::Money => self.dollar(),
            CharType::BString => self.digits_in_quotes(|digit| matches!(digit, b'0' | b'1')),
            CharType::XString => self.digits_in_quotes(|digit| digit.is_ascii_hexdigit()),
            CharType::EString => self.string_behind_letter(),
            CharType::UString => self.unicode_string(),
            CharType::QString => self.oracle_string(1),
            CharType::NQString => self.national_string(),
            _ => self.take(b'?', 1),
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.input.get(self.at + ahead).copied()
    }

    fn take(&mut self, kind: u8, length: usize) -> Token {
        let token = Token::new(kind, self.at, length);
        self.at += length;
        token
    }

    fn operator(&mut self, byte: u8) -> Token {
        let traits = traits::of_operator(byte);
        Token { traits, ..self.take(b'o', 1) }
    }

    /// An operator of up to three characters.
    fn long_operator(&mut self, first: u8) -> Token {
        let Some(second) = self.peek(1) else { return self.operator(first) };
        if (first, second, self.peek(2)) == (b'<', b'=', Some(b'>')) {
            return self.take(b'o', 3);
        }
        if let Some(kind) = self.tables.pair(first, second) {
            let traits = match (first, second) {
                (b'!', b'!') => traits::UNARY,
                (b':', b':') => traits::CAST,
                _ => 0,
            };
            return Token { traits, ..self.take(kind, 2) };
        }
        // A colon that ends the value counts as an operator, above.
        if first == b':' { self.take(b':', 1) } else { self.operator(first) }
    }

    fn dash(&mut self) -> Token {
        if self.peek(1) != Some(b'-') {
            return self.operator(b'-');
        }
        if self.peek(2).is_none_or(|byte| self.tables.has(byte, marks::SPACE)) {
            return self.line_comment();
        }
        self.dialects_differ = true;
        if self.dialect == Dialect::Ansi { self.line_comment() } else { self.operator(b'-') }
    }

    fn hash(&mut self) -> Token {
        self.dialects_differ = true;
        if self.dialect == Dialect::MySql { self.line_comment() } else { self.operator(b'#') }
    }

    fn line_comment(&mut self) -> Token {
        let rest = self.rest();
        let end = memchr(b'\n', rest);
        let token = self.take(b'c', end.unwrap_or(rest.len()));
        self.at += usize::from(end.is_some());
        token
    }

    fn slash(&mut self) -> Token {
        let rest = self.rest();
        let Some(body) = rest.strip_prefix(b"/*") else { return self.operator(b'/') };
        // A comment in a comment, which ends at the first end, and one that MySQL runs are only written to evade.
        let mut nested = false;
        for star in memchr_iter(b'*', body) {
            nested |= star.checked_sub(1).is_some_and(|before| body.get(before) == Some(&b'/'));
            if body.get(star + 1) == Some(&b'/') {
                let kind = if nested || body.starts_with(b"!") { b'X' } else { b'c' };
                return self.take(kind, star + 4);
            }
        }
        self.take(if body.starts_with(b"!") { b'X' } else { b'c' }, rest.len())
    }

    /// `\N` is a null of MySQL.
    fn backslash(&mut self) -> Token {
        if self.peek(1) == Some(b'N') { self.take(b'1', 2) } else { self.take(b'\\', 1) }
    }

    /// A string whose text begins `lead` bytes ahead. A quote is no end behind an odd number of backslashes, nor twice.
    fn quoted(&mut self, lead: usize, quote: u8) -> Token {
        let start = self.at + lead;
        let text = self.input.get(start..).unwrap_or_default();
        let mut from = 0;
        let end = loop {
            let Some(at) = text.get(from..).and_then(|text| find(quote, text)).map(|at| from + at) else {
                break None;
            };
            let before = text.get(from..at).unwrap_or_default();
            let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\');
            if backslashes.count() % 2 == 1 {
                from = at + 1;
            } else if text.get(at + 1) == Some(&quote) {
                from = at + 2;
            } else {
                break Some(at);
            }
        };
        let mut token = Token::new(b's', start, end.unwrap_or(text.len()));
        token.opened_by = quote;
        token.closed_by = end.map_or(0, |_| quote);
        self.at = end.map_or(self.input.len(), |end| start + end + 1);
        token
    }

    /// `e'..'`, and `n'..'`.
    fn string_behind_letter(&mut self) -> Token {
        if self.peek(1) == Some(b'\'') && self.peek(2).is_some() { self.quoted(2, b'\'') } else { self.word() }
    }

    /// `u&'..'`
    fn unicode_string(&mut self) -> Token {
        if self.peek(1) != Some(b'&') || self.peek(2) != Some(b'\'') {
            return self.word();
        }
        let token = self.quoted(3, b'\'');
        Token { opened_by: b'u', closed_by: if token.closed_by == 0 { 0 } else { b'u' }, ..token }
    }

    fn national_string(&mut self) -> Token {
        match self.peek(1) {
            Some(b'\'') => self.string_behind_letter(),
            Some(b'q' | b'Q') => self.oracle_string(2),
            _ => self.word(),
        }
    }

    /// `q'[..]'`, with any printable character or pair of brackets, behind `letters`.
    fn oracle_string(&mut self, letters: usize) -> Token {
        let (Some(b'\''), Some(open @ 0x21..=0x7F)) = (self.peek(letters), self.peek(letters + 1)) else {
            return self.word();
        };
        let close = match open {
            b'(' => b')',
            b'[' => b']',
            b'{' => b'}',
            b'<' => b'>',
            other => other,
        };
        let text = self.rest().get(letters + 2..).unwrap_or_default();
        let quotes = memchr_iter(b'\'', text.get(1..).unwrap_or_default());
        let end = { quotes }.find(|at| text.get(*at) == Some(&close));
        self.delimited(letters + 2, b'q', end, 2)
    }

    /// A string whose text begins `lead` bytes ahead and ends at `end`, if it does, with a delimiter of `tail` bytes.
    fn delimited(&mut self, lead: usize, mark: u8, end: Option<usize>, tail: usize) -> Token {
        let start = self.at + lead;
        let length = end.unwrap_or(self.input.len().saturating_sub(start));
        self.at = start + length + end.map_or(0, |_| tail);
        Token { opened_by: mark, closed_by: end.map_or(0, |_| mark), ..Token::new(b's', start, length) }
    }

    /// `b'01'` and `x'9f'`.
    fn digits_in_quotes(&mut self, is_digit: impl Fn(u8) -> bool) -> Token {
        if self.peek(1) == Some(b'\'') {
            let digits = count(self.rest().get(2..), is_digit);
            if self.peek(2 + digits) == Some(b'\'') {
                return self.take(b'1', digits + 3);
            }
        }
        self.word()
    }

    /// A word, or what of it stands before a dot or backtick and is one of SQL.
    fn word(&mut self) -> Token {
        let (rest, tables) = (self.rest(), self.tables);
        let mut length = 0;
        loop {
            let stops = |byte: &u8| tables.has(*byte, marks::ENDS_WORD | marks::MAY_END_WORD);
            let tail = rest.get(length..).unwrap_or_default();
            length += tail.iter().position(stops).unwrap_or(tail.len());
            let goes_on = rest.get(length).is_some_and(|byte| tables.has(*byte, marks::MAY_END_WORD));
            let word = tables.word(self.input, self.at, length);
            if !goes_on || word.kind != b'n' {
                let mut token = self.take(b'n', length);
                token.become_word(word);
                return token;
            }
            length += 1;
        }
    }

    /// MySQL's names. Only functions keep their meaning in ticks.
    fn name_in_ticks(&mut self) -> Token {
        let token = self.quoted(1, b'`');
        let word = self.word_of(token);
        let kind = if word.kind == b'f' { b'f' } else { b'n' };
        Token { kind, word: word.number, traits: word.traits, ..token }
    }

    fn word_of(&self, token: Token) -> Word {
        self.tables.word(self.input, token.start, usize::from(token.length))
    }

    /// SQL Server's names.
    fn name_in_brackets(&mut self) -> Token {
        let rest = self.rest();
        self.take(b'n', memchr(b']', rest).map_or(rest.len(), |end| end + 1))
    }

    fn variable(&mut self) -> Token {
        let signs = if self.peek(1) == Some(b'@') { 2 } else { 1 };
        match self.peek(signs) {
            Some(b'`') => {
                self.at += signs;
                Token { kind: b'v', ..self.name_in_ticks() }
            }
            Some(quote @ (b'\'' | b'"')) => {
                self.at += signs;
                let token = self.quoted(1, quote);
                let word = self.word_of(token);
                Token { kind: b'v', word: word.number, traits: word.traits, ..token }
            }
            _ => {
                let name = count(self.rest().get(signs..), |byte| !self.tables.has(byte, marks::ENDS_VARIABLE));
                self.take(b'v', signs + name)
            }
        }
    }

    /// Money, or a string of PostgreSQL: `$$..$$`, `$tag$..$tag$`.
    fn dollar(&mut self) -> Token {
        let rest = self.rest();
        let behind = rest.get(1..);
        match count(behind, |byte| byte.is_ascii_digit() || matches!(byte, b'.' | b',')) {
            0 => {}
            1 if self.peek(1) == Some(b'.') => return self.word(),
            digits => return self.take(b'1', 1 + digits),
        }
        let letters = count(behind, |byte| byte.is_ascii_alphabetic());
        if self.peek(1 + letters) != Some(b'$') {
            return self.take(b'n', 1);
        }
        let (tag, text) = rest.split_at_checked(letters + 2).unwrap_or_default();
        let end = memchr_iter(b'$', text).find(|at| text.get(*at..).is_some_and(|text| text.starts_with(tag)));
        self.delimited(tag.len(), b'$', end, tag.len())
    }

    fn number(&mut self) -> Token {
        let rest = self.rest();
        let digits = count(Some(rest), |byte| byte.is_ascii_digit());
        match rest.get(digits) {
            Some(b'.' | b'x' | b'X' | b'b' | b'B' | b'e' | b'E' | b'd' | b'D' | b'f' | b'F') => self.odd_number(),
            _ => self.take(b'1', digits),
        }
    }

    /// A number that is not just digits, or something that begins like one.
    fn odd_number(&mut self) -> Token {
        let rest = self.rest();
        let prefixed = match rest {
            [b'0', b'x' | b'X', digits @ ..] => Some(count(Some(digits), |byte| byte.is_ascii_hexdigit())),
            [b'0', b'b' | b'B', digits @ ..] => Some(count(Some(digits), |byte| matches!(byte, b'0' | b'1'))),
            _ => None,
        };
        match prefixed {
            Some(0) => return self.take(b'n', 2),
            Some(digits) => return self.take(b'1', 2 + digits),
            None => {}
        }
        let digits = |from| count(rest.get(from..), |byte| byte.is_ascii_digit());
        let mut kind = b'1';
        let mut end = digits(0);
        if rest.get(end) == Some(&b'.') {
            end += 1 + digits(end + 1);
            if end == 1 {
                return self.take(b'.', 1);
            }
        }
        if let Some(b'e' | b'E') = rest.get(end) {
            end += 1 + usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end);
            end += exponent;
            if exponent == 0 {
                kind = b'n';
            }
        }
        // A suffix of Oracle, or the letter before `UNION` that hides it from filters.
        if let Some(b'd' | b'D' | b'f' | b'F') = rest.get(end)
            && rest
                .get(end + 1)
                .is_none_or(|byte| self.tables.has(*byte, marks::SPACE) || matches!(byte, b';' | b'u' | b'U'))
        {
            end += 1;
        }
        self.take(kind, end)
    }
}

/// The place of a byte. Most strings are short, and [`memchr`] takes longer to begin.
fn find(byte: u8, text: &[u8]) -> Option<usize> {
    const SHORT: usize = 16;
    let near = text.iter().take(SHORT).position(|other| *other == byte);
    near.or_else(|| Some(SHORT + memchr(byte, text.get(SHORT..)?)?))
}

/// How many bytes at the front are of a kind.
fn count(text: Option<&[u8]>, holds: impl Fn(u8) -> bool) -> usize {
    text.unwrap_or_default().iter().take_while(|byte| holds(**byte)).count()
}
