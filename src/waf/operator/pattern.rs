//! Patterns written for PCRE, rewritten for a linear-time engine that reads a few spellings differently.
//!
//! Out comes a pattern for the `regex` family with Unicode off (bytes in, ASCII classes), and whether it asks for what
//! only backtracking can do: lookaround, backreferences, atomic groups, possessive quantifiers, conditions, recursion.
//! Rewritten: `\x{HH}`, short and octal escapes, `\h \v \R \N \Z \G \e \cX \Q..\E \< \>`, comments, names in quotes,
//! a brace that is no quantifier, and in classes `[`, `&&`, `--`, `~~`, `#`, blanks and non-ASCII characters, which PCRE
//! without its UTF mode reads byte by byte. Refused: Unicode properties, verbs, code points above 0xFF.

/// A pattern in the dialect of the `regex` family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rewritten {
    /// The pattern.
    pub(super) text: String,
    /// What in it only a backtracking engine can do.
    pub(super) backtracking: Option<&'static str>,
}

/// Rewrites `pattern`.
///
/// # Errors
/// What the pattern asks for that no engine here can do, in words.
pub(super) fn rewrite(pattern: &str) -> Result<Rewritten, String> {
    let chars: Vec<char> = pattern.chars().collect();
    let groups = chars.iter().filter(|&&c| c == '(').count();
    let mut rewriter = Rewriter { chars, at: 0, out: String::with_capacity(pattern.len()), backtracking: None, groups };
    rewriter.pattern()?;
    Ok(Rewritten { text: rewriter.out, backtracking: rewriter.backtracking })
}

const HORIZONTAL: &str = r"\t\x20\xA0";
const VERTICAL: &str = r"\n\x0B\f\r\x85";
const NOT_HORIZONTAL: &str = r"\x00-\x08\x0A-\x1F\x21-\x9F\xA1-\xFF";
const NOT_VERTICAL: &str = r"\x00-\x09\x0E-\x84\x86-\xFF";

struct Rewriter {
    chars: Vec<char>,
    at: usize,
    out: String,
    backtracking: Option<&'static str>,
    /// An upper bound of the number of groups, which tells `\12` the reference from `\12` the character.
    groups: usize,
}

/// One member of a class.
enum Member {
    /// A single byte, which may begin or end a range.
    Byte(String),
    /// Anything else.
    Set(String),
}

impl Rewriter {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at.checked_add(ahead)?).copied()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at = self.at.saturating_add(1);
        Some(c)
    }

    fn looking_at(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, c)| self.peek(ahead) == Some(c))
    }

    fn pattern(&mut self) -> Result<(), String> {
        let mut extended = false;
        while let Some(c) = self.take() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => extended |= self.group()?,
                '*' | '+' | '?' => self.quantifier(c.to_string()),
                '{' => match self.repetition() {
                    Some(text) => self.quantifier(text),
                    None => self.out.push_str(r"\{"),
                },
                '}' | ']' => self.out.extend(['\\', c]),
                '#' if extended => while self.take().is_some_and(|c| c != '\n') {},
                _ => self.out.push(c),
            }
        }
        Ok(())
    }

    fn quantifier(&mut self, text: String) {
        self.out.push_str(&text);
        match self.peek(0) {
            Some('+') => {
                self.backtracking = Some("a possessive quantifier");
                self.out.push('+');
                self.take();
            }
            Some('?') => {
                self.out.push('?');
                self.take();
            }
            _ => {}
        }
    }

    /// `{n}`, `{n,}` or `{n,m}` behind an opening brace that has been taken; anything else is no quantifier to PCRE.
    fn repetition(&mut self) -> Option<String> {
        let close = self.chars.get(self.at..)?.iter().position(|&c| c == '}')?;
        let inside: String = self.chars.get(self.at..self.at.checked_add(close)?)?.iter().collect();
        let (least, most) = inside.split_once(',').unwrap_or((&inside, ""));
        let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
        if least.is_empty() || !digits(least) || !digits(most) {
            return None;
        }
        self.at = self.at.saturating_add(close).saturating_add(1);
        Some(format!("{{{inside}}}"))
    }

    /// Behind an opening parenthesis. Tells whether it turns extended mode on.
    fn group(&mut self) -> Result<bool, String> {
        const BACKTRACKING: &[(&str, &str)] = &[
            ("?=", "a lookahead"),
            ("?!", "a lookahead"),
            ("?<=", "a lookbehind"),
            ("?<!", "a lookbehind"),
            ("?>", "an atomic group"),
            ("?(", "a condition"),
            ("?R", "a recursion"),
            ("?&", "a recursion"),
            ("?P>", "a recursion"),
            ("?P=", "a backreference"),
        ];
        if self.looking_at("*") {
            return Err("a verb `(*...)` cannot be used".to_owned());
        }
        if self.looking_at("?|") {
            return Err("a group `(?|...)` that resets the numbers of groups cannot be used".to_owned());
        }
        if self.looking_at("?#") {
            while self.take().is_some_and(|c| c != ')') {}
            return Ok(false);
        }
        self.out.push('(');
        if self.looking_at("?'") {
            self.at = self.at.saturating_add(2);
            self.out.push_str("?<");
            while let Some(c) = self.take().filter(|&c| c != '\'') {
                self.out.push(c);
            }
            self.out.push('>');
            return Ok(false);
        }
        if let Some((begins, what)) = BACKTRACKING.iter().find(|(begins, _)| self.looking_at(begins)) {
            self.backtracking = Some(what);
            self.copy(begins.len());
            return Ok(false);
        }
        if self.looking_at("?<") || self.looking_at("?P<") {
            let name = self.chars.get(self.at..).unwrap_or_default();
            let length = name.iter().position(|&c| c == '>').ok_or("the name of a group does not close")?;
            self.copy(length.saturating_add(1));
            return Ok(false);
        }
        if !self.looking_at("?") {
            return Ok(false);
        }
        // Flags. Copied here, so that the `?` is not taken for a quantifier.
        self.copy(1);
        if self.peek(0).is_some_and(|c| c.is_ascii_digit()) {
            self.backtracking = Some("a recursion");
        }
        let mut extended = false;
        let mut on = true;
        while let Some(c) = self.peek(0).filter(|c| c.is_ascii_alphabetic() || matches!(c, '-' | '^')) {
            on &= c != '-';
            extended |= on && c == 'x';
            self.copy(1);
        }
        Ok(extended)
    }

    fn copy(&mut self, count: usize) {
        for _ in 0..count {
            let c = self.take();
            self.out.extend(c);
        }
    }

    /// Behind a backslash outside a class.
    fn escape(&mut self) -> Result<(), String> {
        let Some(c) = self.take() else {
            return Err("it ends in a lone backslash".to_owned());
        };
        match c {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'b' | 'B' | 'A' | 'z' | 'n' | 'r' | 't' | 'f' => {
                self.out.extend(['\\', c])
            }
            'h' => self.out.push_str(&format!("[{HORIZONTAL}]")),
            'H' => self.out.push_str(&format!("[{NOT_HORIZONTAL}]")),
            'v' => self.out.push_str(&format!("[{VERTICAL}]")),
            'V' => self.out.push_str(&format!("[{NOT_VERTICAL}]")),
            'R' => self.out.push_str(&format!(r"(?:\r\n|[{VERTICAL}])")),
            'N' => self.out.push_str(r"[^\n]"),
            'C' => self.out.push_str(r"[\x00-\xFF]"),
            // PCRE does not take in the newline; only the bounds of the whole match can tell.
            'Z' => self.out.push_str(r"(?:\n?\z)"),
            'G' => self.out.push_str(r"\A"),
            'K' => {
                self.backtracking = Some(r"`\K`");
                self.out.push_str(r"\K");
            }
            'k' | 'g' => {
                self.backtracking = Some("a backreference");
                self.out.extend(['\\', c]);
            }
            '1'..='9' if self.is_backreference(c) => {
                self.backtracking = Some("a backreference");
                self.out.extend(['\\', c]);
            }
            'Q' => {
                for c in self.quoted() {
                    self.literal(c);
                }
            }
            'E' => {}
            _ => match self.byte_escape(c)? {
                Some(byte) => self.out.push_str(&byte),
                None => self.literal(c),
            },
        }
        Ok(())
    }

    /// `\1` to `\9` always refer to a group; more digits do if there are that many groups.
    fn is_backreference(&self, first: char) -> bool {
        let more = (0..3).map_while(|ahead| self.peek(ahead).filter(char::is_ascii_digit));
        let number: String = std::iter::once(first).chain(more).collect();
        number.len() == 1 || number.parse::<usize>().is_ok_and(|number| number <= self.groups)
    }

    /// The escapes that stand for one byte, in and outside classes, as `\xHH`.
    fn byte_escape(&mut self, c: char) -> Result<Option<String>, String> {
        let code = match c {
            'x' if self.peek(0) == Some('{') => self.braced(16)?,
            'o' if self.peek(0) == Some('{') => self.braced(8)?,
            'x' => self.digits(16, 2, 0),
            '0'..='7' => self.digits(8, 2, c.to_digit(8).unwrap_or(0)),
            'a' => 0x07,
            'e' => 0x1B,
            'c' => match self.take().filter(char::is_ascii) {
                Some(c) => u32::from(c.to_ascii_uppercase()) ^ 0x40,
                None => return Err(r"`\c` needs an ASCII character".to_owned()),
            },
            'p' | 'P' | 'X' => {
                return Err(format!(r"`\{c}` reads Unicode, and values are bytes: name the bytes in a class"));
            }
            _ => return Ok(None),
        };
        if code > 0xFF {
            return Err(format!(r"`\x{{{code:X}}}` is above 0xFF, and values are bytes: write its UTF-8 bytes"));
        }
        Ok(Some(format!(r"\x{code:02X}")))
    }

    fn braced(&mut self, radix: u32) -> Result<u32, String> {
        self.take();
        let mut digits = String::new();
        loop {
            match self.take() {
                Some('}') => break,
                Some(c) => digits.push(c),
                None => return Err("a brace of an escape does not close".to_owned()),
            }
        }
        u32::from_str_radix(digits.trim(), radix).map_err(|_| format!("`{{{digits}}}` is no number in base {radix}"))
    }

    fn digits(&mut self, radix: u32, most: usize, first: u32) -> u32 {
        let mut number = first;
        for _ in 0..most {
            let Some(digit) = self.peek(0).and_then(|c| c.to_digit(radix)) else { break };
            number = number.saturating_mul(radix).saturating_add(digit);
            self.take();
        }
        number
    }

    /// What stands between `\Q` and `\E`.
    fn quoted(&mut self) -> Vec<char> {
        let mut quoted = Vec::new();
        while !self.looking_at(r"\E") {
            match self.take() {
                Some(c) => quoted.push(c),
                None => return quoted,
            }
        }
        self.at = self.at.saturating_add(2);
        quoted
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&literal(c));
    }

    /// Behind an opening bracket.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.peek(0) == Some('^') {
            self.take();
            self.out.push('^');
        }
        let mut first = true;
        loop {
            if !first && self.peek(0) == Some(']') {
                self.take();
                self.out.push(']');
                return Ok(());
            }
            first = false;
            let start = match self.member()? {
                Member::Set(text) => {
                    self.out.push_str(&text);
                    continue;
                }
                Member::Byte(text) => text,
            };
            self.out.push_str(&start);
            if self.peek(0) == Some('-') && !matches!(self.peek(1), Some(']') | None) {
                self.take();
                match self.member()? {
                    Member::Byte(end) => {
                        self.out.push('-');
                        self.out.push_str(&end);
                    }
                    // `[a-\d]`: to PCRE the hyphen is itself.
                    Member::Set(text) => {
                        self.out.push_str(r"\-");
                        self.out.push_str(&text);
                    }
                }
            }
        }
    }

    fn member(&mut self) -> Result<Member, String> {
        let Some(c) = self.take() else {
            return Err("a class `[...]` does not close".to_owned());
        };
        if c == '[' && self.peek(0) == Some(':') {
            let rest = self.chars.get(self.at..).unwrap_or_default();
            if let Some(close) = rest.windows(2).position(|pair| pair == [':', ']']).filter(|&close| close > 0) {
                let name: String = rest.get(1..close).unwrap_or_default().iter().collect();
                if name.chars().all(|c| c.is_ascii_lowercase() || c == '^') && !name.is_empty() {
                    self.at = self.at.saturating_add(close).saturating_add(2);
                    return Ok(Member::Set(format!("[:{name}:]")));
                }
            }
        }
        if c != '\\' {
            return Ok(if c.is_ascii() { Member::Byte(literal(c)) } else { Member::Set(bytes_of(c)) });
        }
        let Some(c) = self.take() else {
            return Err("a class `[...]` does not close".to_owned());
        };
        Ok(match c {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' => Member::Set(format!(r"\{c}")),
            'h' => Member::Set(HORIZONTAL.to_owned()),
            'H' => Member::Set(NOT_HORIZONTAL.to_owned()),
            'v' => Member::Set(VERTICAL.to_owned()),
            'V' => Member::Set(NOT_VERTICAL.to_owned()),
            'b' => Member::Byte(r"\x08".to_owned()),
            'n' | 'r' | 't' | 'f' => Member::Byte(format!(r"\{c}")),
            'Q' => Member::Set(
                self.quoted().into_iter().map(|c| if c.is_ascii() { literal(c) } else { bytes_of(c) }).collect(),
            ),
            'E' => Member::Set(String::new()),
            _ => match self.byte_escape(c)? {
                Some(byte) => Member::Byte(byte),
                None if c.is_ascii() => Member::Byte(literal(c)),
                None => Member::Set(bytes_of(c)),
            },
        })
    }
}

/// A character that stands for itself wherever it is put: in a class, in extended mode.
fn literal(c: char) -> String {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => c.to_string(),
        _ if c.is_ascii() => format!(r"\x{:02X}", u32::from(c)),
        _ => c.to_string(),
    }
}

fn bytes_of(c: char) -> String {
    c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!(r"\x{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rewritten() {
        let table = [
            (r"a\x{41}\x4\x", r"a\x41\x04\x00"),
            (r"\0\012\101x", r"\x00\x0A\x41x"),
            (r"\h\v\Z", r"[\t\x20\xA0][\n\x0B\f\r\x85](?:\n?\z)"),
            (r"\e\cA\a\<\>\i\_", r"\x1B\x01\x07\x3C\x3Ei_"),
            (r"\Qa.b\Ec", r"a\x2Ebc"),
            (r"a{,3}b{2}c{2,}d{2,3}?{", r"a\{,3\}b{2}c{2,}d{2,3}?\{"),
            (r"x(?#comment)y(?'name'z)", r"xy(?<name>z)"),
            (r"(?<extra>a)#b", r"(?<extra>a)#b"),
            (r"(?x) a # b [\n", r"(?x) a "),
            (r"(?i-s:a)(?:x)(?P<x>#)#", r"(?i-s:a)(?:x)(?P<x>#)#"),
            (r"[]a]", r"[\x5Da]"),
            (r"[^]a]", r"[^\x5Da]"),
            (r"[[a&&+--c~~#]", r"[\x5Ba\x26\x26\x2B-\x2Dc\x7E\x7E\x23]"),
            (r"[\w-.]", r"[\w\x2D\x2E]"),
            (r"[a-\d]", r"[a\-\d]"),
            (r"[a-z0-9-]", r"[a-z0-9\x2D]"),
            (r"[[:alpha:]_]", r"[[:alpha:]_]"),
            (r"[\b\h\n\x{20}-\x7e]", r"[\x08\t\x20\xA0\n\x20-\x7E]"),
            ("[\u{e9}]", r"[\xC3\xA9]"),
            (r"\d+\s*?]", r"\d+\s*?\]"),
        ];
        for (pattern, expected) in table {
            let got = rewrite(pattern).unwrap();
            assert_eq!((got.text.as_str(), got.backtracking), (expected, None), "{pattern}");
        }
    }

    #[test]
    fn what_needs_backtracking() {
        for pattern in
            [r"a(?!b)", r"(?<=a)b", r"(a)\1", r"(?>a)", r"a++", r"a{2}+", r"(?<n>a)\k<n>", r"\Ka", "(?(1)a|b)"]
        {
            assert!(rewrite(pattern).unwrap().backtracking.is_some(), "{pattern}");
        }
        // No such group: the character U+000B.
        assert_eq!(rewrite(r"\13").unwrap(), Rewritten { text: r"\x0B".to_owned(), backtracking: None });
    }

    #[test]
    fn what_is_refused() {
        for (pattern, word) in [
            (r"\x{100}", "0xFF"),
            (r"\p{L}", "bytes"),
            ("[a", "close"),
            (r"a\", "backslash"),
            ("(*UTF8)a", "verb"),
            (r"\x{4", "brace"),
        ] {
            let fault = rewrite(pattern).unwrap_err();
            assert!(fault.contains(word), "{pattern}: {fault}");
        }
    }

    #[test]
    fn any_text_is_read_to_its_end() {
        let mut seed = 7;
        for round in 0..3000 {
            let text = crate::transform::vectors::noise(&mut seed, br"\[]{}()?:=!<>^-&~#xQE019,az.*+|$pk'", round % 40);
            let _ = rewrite(std::str::from_utf8(&text).unwrap());
        }
    }
}
