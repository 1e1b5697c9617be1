//! Text → logical lines → words, each byte of which still knows its place in the file.
//!
//! A `\` at the end of a physical line joins the next one, whose leading blanks are dropped. A line that starts with
//! `#` (blanks before it allowed) is a comment, also between joined lines; a `\` at its own end joins nothing.

use std::ops::Range;

use crate::diagnostic::Place;

/// Physical lines joined into one, without the joints.
#[derive(Debug)]
pub(crate) struct LogicalLine {
    file: usize,
    pub(crate) text: String,
    /// Offset in `text` where each physical line starts, its number and the column of that first byte.
    joints: Vec<(usize, usize, usize)>,
}

impl LogicalLine {
    /// The place of a byte of `text`.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let after = self.joints.partition_point(|(start, _, _)| *start <= offset);
        let Some(&(start, line, column)) = after.checked_sub(1).and_then(|i| self.joints.get(i)) else {
            return Place { file: self.file, line: 1, column: 1 };
        };
        let chars = self.text.get(start..offset).map_or(0, |s| s.chars().count());
        Place { file: self.file, line, column: column + chars }
    }
}

/// Cuts a file into its logical lines; empty ones and comments are left out.
pub(crate) fn logical_lines(file: usize, text: &str) -> Vec<LogicalLine> {
    let mut lines = Vec::new();
    let mut open: Option<LogicalLine> = None;
    for (index, physical) in text.split('\n').enumerate() {
        let physical = physical.strip_suffix('\r').unwrap_or(physical);
        let content = physical.trim_start_matches([' ', '\t']);
        if content.starts_with('#') {
            continue;
        }
        let column = physical.chars().count() - content.chars().count() + 1;
        let (content, joined) = match content.strip_suffix('\\') {
            Some(rest) => (rest, true),
            None => (content, false),
        };
        let line = open.get_or_insert_with(|| LogicalLine { file, text: String::new(), joints: Vec::new() });
        line.joints.push((line.text.len(), index + 1, column));
        line.text.push_str(content);
        if !joined && let Some(done) = open.take() {
            lines.push(done);
        }
    }
    lines.extend(open);
    lines.retain(|line| !line.text.trim().is_empty());
    lines
}

/// A word of a logical line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its bytes in the line, without the quotes.
    pub(crate) range: Range<usize>,
    /// Whether it stood in `"…"` or `'…'`.
    pub(crate) quote: Option<char>,
}

/// A word that is not one: where and what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LexFault {
    pub(crate) offset: usize,
    pub(crate) what: &'static str,
    pub(crate) mend: &'static str,
}

/// Cuts a line at its blanks. Inside `"…"` a backslash keeps the next byte from closing the word.
pub(crate) fn words(text: &str) -> Result<Vec<Word>, LexFault> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        if byte == b'"' || byte == b'\'' {
            let start = at + 1;
            let Some(end) = closing(bytes, start, byte) else {
                return Err(LexFault {
                    offset: at,
                    what: "this quote is never closed",
                    mend: "close it, or end each line but the last with \\",
                });
            };
            found.push(Word { range: start..end, quote: Some(char::from(byte)) });
            at = end + 1;
            if bytes.get(at).is_some_and(|b| !b.is_ascii_whitespace()) {
                return Err(LexFault {
                    offset: at,
                    what: "text right after a closing quote",
                    mend: "write \\\" for a quote inside the text, or put a blank between two arguments",
                });
            }
        } else {
            let length = bytes.get(at..).map_or(0, |rest| rest.iter().take_while(|b| !b.is_ascii_whitespace()).count());
            found.push(Word { range: at..at + length, quote: None });
            at += length;
        }
    }
    Ok(found)
}

/// The offset of the `quote` that closes what starts at `from`.
fn closing(bytes: &[u8], from: usize, quote: u8) -> Option<usize> {
    let mut at = from;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b if *b == quote => return Some(at),
            _ => at += 1,
        }
    }
}

/// Undoes `\` before `quote`; every other backslash stays.
pub(crate) fn unescape(raw: &str, quote: char) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(&next)) if next == quote => {
                out.push(quote);
                chars.next();
            }
            // A pair stays a pair, so that its second half escapes nothing.
            ('\\', Some('\\')) => {
                out.push_str("\\\\");
                chars.next();
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_join_and_keep_their_places() {
        let lines = logical_lines(0, "# c \\\nSecRule A \\\n   \"b\" \\\r\n# inside\n\t\"id:1\"\n\n  X y\nZ \\");
        let texts: Vec<_> = lines.iter().map(|l| l.text.as_str()).collect();
        assert_eq!(texts, ["SecRule A \"b\" \"id:1\"", "X y", "Z "]);
        let first = &lines[0];
        for (needle, line, column) in [("SecRule", 2, 1), ("\"b\"", 3, 4), ("\"id", 5, 2)] {
            let place = first.place(first.text.find(needle).unwrap());
            assert_eq!((place.line, place.column), (line, column), "{needle}");
        }
        assert_eq!(lines[1].place(2), Place { file: 0, line: 7, column: 5 });
    }

    #[test]
    fn columns_count_characters() {
        let lines = logical_lines(0, "é \"ü\" x");
        assert_eq!(lines[0].place(lines[0].text.find('x').unwrap()).column, 7);
    }

    #[test]
    fn words_and_quotes() {
        let text = |line: &str| -> Vec<String> {
            words(line).unwrap().into_iter().map(|w| line.get(w.range).unwrap().to_owned()).collect()
        };
        assert_eq!(text(r#"SecRule A|B "@rx a\"b c" "id:1""#), ["SecRule", "A|B", r#"@rx a\"b c"#, "id:1"]);
        assert_eq!(text(r#"X "a\\" 'b "c'"#), ["X", r"a\\", "b \"c"]);
        assert_eq!(text(r#"X """#), ["X", ""]);
        for (line, offset) in [(r#"X "abc"#, 2), (r#"X "abc\""#, 2), (r#"X "a"b"#, 5)] {
            assert_eq!(words(line).unwrap_err().offset, offset, "{line}");
        }
    }

    #[test]
    fn only_the_quote_is_unescaped() {
        for (raw, want) in [(r#"a\"b"#, "a\"b"), (r"a\nb", r"a\nb"), (r#"\\"#, r"\\"), (r#"\\\""#, "\\\\\"")] {
            assert_eq!(unescape(raw, '"'), want);
        }
    }
}
