//! JSON, flattened to names and values.
//!
//! `{"a": {"b": [1, "x"]}}` gives `json.a.b.0` = `1`, `json.a.b.1` = `x`, and `json.a.b` = `2`: the key of an array
//! stands with its length, for rules that read names. Every occurrence of a repeated key is kept, for which of them the
//! application takes is its own choice. Strings and keys are unescaped; numbers, `true` and `false` stand as written;
//! `null` is empty; a container without members is an empty value, so that its key is seen. A whole document that is
//! one value is called `json`.
//!
//! Strict as RFC 8259: UTF-8 only, no comments, no trailing commas or bytes, no `NaN`, no lone surrogates, no control
//! characters in strings. An empty body is no document and no fault. Nothing recurses: an explicit stack holds one
//! entry for each open container.
//!
//! Memory: a name is repeated for each member beneath it, so names and values together have a bound of their own.
//! Source: RFC 8259; ModSecurity, SecRequestBodyJsonDepthLimit and SecArgumentsLimit.

/// Bounds.
#[derive(Debug, Clone, Copy)]
pub struct JsonLimits {
    /// Deepest nesting of objects and arrays (SecRequestBodyJsonDepthLimit).
    pub depth: usize,
    /// The number of fields that is a fault to reach (SecArgumentsLimit).
    pub args: usize,
    /// Most bytes of flattened names and values together.
    pub flattened: usize,
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self { depth: 512, args: 1000, flattened: 16 << 20 }
    }
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonFields {
    /// Names and values in document order.
    pub args: Vec<(Vec<u8>, Vec<u8>)>,
    /// `JSON parsing error: ...` with the place in bytes; what was read before it is in `args`.
    pub error: Option<String>,
}

/// Flattens a document.
pub fn flatten(input: &[u8], limits: &JsonLimits) -> JsonFields {
    if input.is_empty() {
        return JsonFields::default();
    }
    // Valid UTF-8 is read as far as it goes; where it ends, the document is broken anyway.
    let (text, broken) = match std::str::from_utf8(input) {
        Ok(text) => (text.as_bytes(), None),
        Err(error) => (input.get(..error.valid_up_to()).unwrap_or_default(), Some(error.valid_up_to())),
    };
    let mut reader =
        Reader { input: text, at: 0, limits, path: b"json".to_vec(), open: Vec::new(), args: Vec::new(), flattened: 0 };
    let fault = match (reader.document(), broken) {
        (Err(fault), Some(place)) if reader.at >= place => Some(format!("invalid UTF-8 at byte {place}, {fault}")),
        (Ok(()), Some(place)) => Some(format!("invalid UTF-8 at byte {place}")),
        (Err(fault), _) => Some(format!("{fault} at byte {}", reader.at)),
        (Ok(()), None) => None,
    };
    JsonFields { args: reader.args, error: fault.map(|fault| format!("JSON parsing error: {fault}")) }
}

/// A container that is open, with the length of the path that names it.
#[derive(Debug, Clone, Copy)]
enum Open {
    Object { path: usize },
    Array { path: usize, next: usize },
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    limits: &'a JsonLimits,
    /// The name of the value being read.
    path: Vec<u8>,
    open: Vec<Open>,
    args: Vec<(Vec<u8>, Vec<u8>)>,
    flattened: usize,
}

type Fault = String;

impl Reader<'_> {
    fn document(&mut self) -> Result<(), Fault> {
        loop {
            // A value begins here, named by `path`.
            let opened = self.value()?;
            if opened && self.begin_member()? {
                continue;
            }
            // A value has ended: close what ends with it, up to a container that has another member.
            loop {
                let Some(&container) = self.open.last() else {
                    self.blanks();
                    return if self.peek().is_none() { Ok(()) } else { Err("bytes after the document".to_owned()) };
                };
                self.blanks();
                match (self.peek(), container) {
                    (Some(b','), _) => {
                        self.step();
                        self.blanks();
                        self.member()?;
                        break;
                    }
                    (Some(b'}'), Open::Object { path }) => self.close(path),
                    (Some(b']'), Open::Array { path, next }) => {
                        self.close(path);
                        // The key alone, which no rule would see otherwise; the value is the array's length.
                        if matches!(self.open.last(), Some(Open::Object { .. })) {
                            self.field(next.to_string().into_bytes())?;
                        }
                    }
                    (None, _) => return Err("the document ends too early".to_owned()),
                    (_, Open::Object { .. }) => return Err("`,` or `}` is missing".to_owned()),
                    (_, Open::Array { .. }) => return Err("`,` or `]` is missing".to_owned()),
                }
            }
        }
    }

    /// Reads a scalar, or opens a container and tells so.
    fn value(&mut self) -> Result<bool, Fault> {
        self.blanks();
        let path = self.path.len();
        match self.peek() {
            Some(b'{') => self.push(Open::Object { path })?,
            Some(b'[') => self.push(Open::Array { path, next: 0 })?,
            Some(b'"') => {
                let text = self.string()?;
                self.field(text)?;
                return Ok(false);
            }
            Some(b'-' | b'0'..=b'9') => {
                let text = self.number()?;
                self.field(text)?;
                return Ok(false);
            }
            Some(b't') => return self.word(b"true", b"true"),
            Some(b'f') => return self.word(b"false", b"false"),
            Some(b'n') => return self.word(b"null", b""),
            Some(_) => return Err("a value is missing".to_owned()),
            None => return Err("the document ends too early".to_owned()),
        }
        Ok(true)
    }

    fn push(&mut self, container: Open) -> Result<(), Fault> {
        if self.open.len() >= self.limits.depth {
            let limit = self.limits.depth;
            return Err(format!("nested more than {limit} deep (SecRequestBodyJsonDepthLimit)"));
        }
        self.step();
        self.open.push(container);
        Ok(())
    }

    /// Behind a closing bracket: back to the container's own name.
    fn close(&mut self, path: usize) {
        self.step();
        self.path.truncate(path);
        self.open.pop();
    }

    /// After an opening bracket: whether a first member follows. An empty container is closed and counts as an empty
    /// value, unless it is the whole document.
    fn begin_member(&mut self) -> Result<bool, Fault> {
        self.blanks();
        let (closing, path) = match self.open.last() {
            Some(&Open::Object { path }) => (b'}', path),
            Some(&Open::Array { path, .. }) => (b']', path),
            None => return Ok(false),
        };
        if self.peek() == Some(closing) {
            self.step();
            self.open.pop();
            self.path.truncate(path);
            if !self.open.is_empty() {
                self.field(Vec::new())?;
            }
            return Ok(false);
        }
        self.member()?;
        Ok(true)
    }

    /// Names the next member: reads the key and its colon, or counts on.
    fn member(&mut self) -> Result<(), Fault> {
        match self.open.last_mut() {
            Some(Open::Object { path }) => {
                let path = *path;
                if self.peek() != Some(b'"') {
                    return Err(if self.peek().is_none() {
                        "the document ends too early".to_owned()
                    } else {
                        "a key in quotes is missing".to_owned()
                    });
                }
                let key = self.string()?;
                self.blanks();
                if self.peek() != Some(b':') {
                    return Err("`:` is missing".to_owned());
                }
                self.step();
                self.path.truncate(path);
                self.path.push(b'.');
                self.path.extend_from_slice(&key);
            }
            Some(Open::Array { path, next }) => {
                let (path, index) = (*path, *next);
                *next = next.saturating_add(1);
                self.path.truncate(path);
                self.path.push(b'.');
                self.path.extend_from_slice(index.to_string().as_bytes());
            }
            None => {}
        }
        Ok(())
    }

    fn field(&mut self, value: Vec<u8>) -> Result<(), Fault> {
        let size = self.path.len().saturating_add(value.len());
        self.flattened = self.flattened.saturating_add(size);
        if self.flattened > self.limits.flattened {
            return Err(format!("names and values take more than {} bytes", self.limits.flattened));
        }
        if self.args.len() < self.limits.args {
            self.args.push((self.path.clone(), value));
        }
        if self.args.len() >= self.limits.args {
            return Err(format!("the limit of {} arguments (SecArgumentsLimit) is reached", self.limits.args));
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8], value: &[u8]) -> Result<bool, Fault> {
        if !self.rest().starts_with(word) {
            return Err("a value is missing".to_owned());
        }
        self.at = self.at.saturating_add(word.len());
        self.field(value.to_vec())?;
        Ok(false)
    }

    fn number(&mut self) -> Result<Vec<u8>, Fault> {
        let start = self.at;
        self.accept(|byte| byte == b'-');
        match self.peek() {
            Some(b'0') => self.step(),
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err("a digit is missing".to_owned()),
        }
        if self.accept(|byte| byte == b'.') {
            self.digits()?;
        }
        if self.accept(|byte| matches!(byte, b'e' | b'E')) {
            self.accept(|byte| matches!(byte, b'+' | b'-'));
            self.digits()?;
        }
        Ok(self.input.get(start..self.at).unwrap_or_default().to_vec())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        if !self.accept(|byte| byte.is_ascii_digit()) {
            return Err("a digit is missing".to_owned());
        }
        while self.accept(|byte| byte.is_ascii_digit()) {}
        Ok(())
    }

    /// A string in quotes, unescaped.
    fn string(&mut self) -> Result<Vec<u8>, Fault> {
        self.step();
        let mut text = Vec::new();
        loop {
            let rest = self.rest();
            let plain = rest.iter().position(|&byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)).unwrap_or(rest.len());
            text.extend_from_slice(rest.get(..plain).unwrap_or_default());
            self.at = self.at.saturating_add(plain);
            match self.peek() {
                Some(b'"') => {
                    self.step();
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.step();
                    let c = self.escape()?;
                    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(_) => return Err("a control character stands in a string".to_owned()),
                None => return Err("a string does not end".to_owned()),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let Some(letter) = self.peek() else { return Err("a string does not end".to_owned()) };
        self.step();
        Ok(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{C}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                let pair = matches!(unit, 0xD800..=0xDBFF) && self.rest().starts_with(b"\\u");
                let second = if pair {
                    self.at = self.at.saturating_add(2);
                    Some(self.unit()?)
                } else {
                    None
                };
                match char::decode_utf16(std::iter::once(unit).chain(second)).next() {
                    Some(Ok(c)) => c,
                    _ => return Err("a lone surrogate stands in a string".to_owned()),
                }
            }
            _ => return Err("an unknown escape stands in a string".to_owned()),
        })
    }

    fn unit(&mut self) -> Result<u16, Fault> {
        let digits = self.rest().get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let unit = digits.and_then(|digits| u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        self.at = self.at.saturating_add(if unit.is_some() { 4 } else { 0 });
        unit.ok_or_else(|| "four hexadecimal digits are missing".to_owned())
    }

    fn blanks(&mut self) {
        while self.accept(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {}
    }

    fn accept(&mut self, wanted: fn(u8) -> bool) -> bool {
        let accepted = self.peek().is_some_and(wanted);
        if accepted {
            self.step();
        }
        accepted
    }

    fn rest(&self) -> &[u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> (Vec<(String, String)>, Option<String>) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let fields = flatten(input, &JsonLimits::default());
        (fields.args.iter().map(|(name, value)| (text(name), text(value))).collect(), fields.error)
    }

    #[test]
    fn documents() {
        let table: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            ("{}", &[]),
            (" [ ] ", &[]),
            (r#"{"foo":"bar","mod":"sec"}"#, &[("json.foo", "bar"), ("json.mod", "sec")]),
            (
                r#"{"a":{"b":[1,"x",{"c":null}]},"d":true}"#,
                &[
                    ("json.a.b.0", "1"),
                    ("json.a.b.1", "x"),
                    ("json.a.b.2.c", ""),
                    ("json.a.b", "3"),
                    ("json.d", "true"),
                ],
            ),
            (r#"{"a":1,"a":2}"#, &[("json.a", "1"), ("json.a", "2")]),
            (r#"[-0.5e+10, 1E5,0]"#, &[("json.0", "-0.5e+10"), ("json.1", "1E5"), ("json.2", "0")]),
            (r#"{"<k>":{},"l":[]}"#, &[("json.<k>", ""), ("json.l", "")]),
            (r#""a\u0041\n\/\ud83d\ude00é""#, &[("json", "aA\n/😀é")]),
            (r#"{"a\u002eb":false}"#, &[("json.a.b", "false")]),
            ("[[[7]],8]", &[("json.0.0.0", "7"), ("json.1", "8")]),
        ];
        for (input, expected) in table {
            let expected: Vec<_> = expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(read(input.as_bytes()), (expected, None), "{input}");
        }
    }

    #[test]
    fn faults_keep_what_was_read() {
        let table: &[(&[u8], usize, &str)] = &[
            (b"a", 0, "a value is missing at byte 0"),
            (b" ", 0, "ends too early"),
            (b"{\"a\":1", 1, "ends too early"),
            (b"{\"a\":1,}", 1, "a key"),
            (b"[1,]", 1, "a value"),
            (b"[1 2]", 1, "`,` or `]`"),
            (b"{\"a\" 1}", 0, "`:`"),
            (b"{\"a\":1}x", 1, "after the document at byte 7"),
            (b"{\"a\":1}{\"b\":2}", 1, "after the document"),
            (b"[01]", 1, "`,` or `]`"),
            (b"[1.]", 0, "digit"),
            (b"[NaN]", 0, "a value"),
            (b"[tru]", 0, "a value"),
            (b"[\"\\ud800\"]", 0, "surrogate"),
            (b"[\"\\ud800\\u0041\"]", 0, "surrogate"),
            (b"[\"\\x\"]", 0, "escape"),
            (b"[\"\\u12g4\"]", 0, "hexadecimal"),
            (b"[\"a\nb\"]", 0, "control"),
            (b"[1,\"\xFF\"]", 1, "invalid UTF-8 at byte 4"),
            (b"[1]\xFF", 1, "invalid UTF-8 at byte 3"),
            (b"\xEF\xBB\xBF[1]", 0, "a value"),
            (b"[1}", 1, "`,` or `]`"),
            (b"[1]/**/", 1, "after"),
        ];
        for (input, fields, word) in table {
            let (args, error) = read(input);
            let error = error.unwrap_or_default();
            assert!(
                error.starts_with("JSON parsing error: ") && error.contains(word),
                "{}: {error}",
                input.escape_ascii()
            );
            assert_eq!(args.len(), *fields, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn limits() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        let limits = JsonLimits { depth: 5, args: 6, flattened: 200 };
        assert_eq!(flatten(&nested(5), &limits).error, None);
        assert!(flatten(&nested(6), &limits).error.unwrap().contains("more than 5 deep"));
        assert!(
            flatten(&nested(1_000_000), &JsonLimits { depth: usize::MAX, flattened: usize::MAX, ..limits })
                .error
                .is_none()
        );
        assert_eq!(flatten(b"[1,2,3,4,5]", &limits).error, None);
        let reached = flatten(b"[1,2,3,4,5,6,7]", &limits);
        assert_eq!(reached.args.len(), 6);
        assert!(reached.error.unwrap().contains("limit of 6 arguments"));
        let long = format!(r#"{{"{}":[1,2,3,4]}}"#, "k".repeat(80));
        assert!(flatten(long.as_bytes(), &limits).error.unwrap().contains("200 bytes"));
    }
}
