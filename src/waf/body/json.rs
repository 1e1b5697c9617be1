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

use std::borrow::Cow;

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
    let mut flat = Flat { limits, args: Vec::new(), flattened: 0 };
    let fault = read(input, limits.depth, &mut flat);
    JsonFields { args: flat.args, error: fault.map(|fault| format!("JSON parsing error: {fault}")) }
}

/// The kinds of JSON values (RFC 8259 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true`, `false`
    Boolean,
    /// A number.
    Number,
    /// A string.
    String,
    /// An object.
    Object,
    /// An array.
    Array,
}

/// Who looks at a document while it is read. Paths are flattened names, as `json.a.0`.
pub trait Visitor {
    /// A place in the document, as far as the visitor tells them apart.
    type Place: Copy;

    /// The place of the whole document.
    fn root(&self) -> Self::Place;
    /// The place of an array's items.
    fn item(&self, array: Self::Place) -> Self::Place;
    /// The place behind a key of the object that was opened as the `object`th container; `path` ends in the key.
    ///
    /// # Errors
    /// Why the document is not read any further.
    fn member(&mut self, place: Self::Place, object: usize, path: &[u8], key: &[u8]) -> Result<Self::Place, Fault>;
    /// A container begins.
    ///
    /// # Errors
    /// Why the document is not read any further.
    fn opens(&mut self, place: Self::Place, path: &[u8], kind: Kind) -> Result<(), Fault>;
    /// A container ends that had so many members; `named` if it stands behind a key, `whole` if it is the document.
    ///
    /// # Errors
    /// Why the document is not read any further.
    fn closes(&mut self, place: Self::Place, path: &[u8], container: Container) -> Result<(), Fault>;
    /// A scalar: unescaped, or as written; empty for `null`.
    ///
    /// # Errors
    /// Why the document is not read any further.
    fn scalar(&mut self, place: Self::Place, path: &[u8], kind: Kind, value: Cow<'_, [u8]>) -> Result<(), Fault>;
}

/// A container that has been read.
#[derive(Debug, Clone, Copy)]
pub struct Container {
    /// An object or an array.
    pub kind: Kind,
    /// How many members it has.
    pub members: usize,
    /// Whether it stands behind a key.
    pub named: bool,
    /// Whether it is the whole document.
    pub whole: bool,
}

/// Reads a document in one pass. Returns what is wrong with it, and where in bytes; the visitor has seen what stands
/// before that. An empty input is no document and no fault.
pub fn read<V: Visitor>(input: &[u8], depth: usize, visitor: &mut V) -> Option<Fault> {
    if input.is_empty() {
        return None;
    }
    // Valid UTF-8 is read as far as it goes; where it ends, the document is broken anyway.
    let (text, broken) = match std::str::from_utf8(input) {
        Ok(text) => (text.as_bytes(), None),
        Err(error) => (input.get(..error.valid_up_to()).unwrap_or_default(), Some(error.valid_up_to())),
    };
    let here = visitor.root();
    let mut reader =
        Reader { input: text, at: 0, depth, path: b"json".to_vec(), open: Vec::new(), opened: 0, here, visitor };
    match (reader.document(), broken) {
        (Err(fault), Some(place)) if reader.at >= place => Some(format!("invalid UTF-8 at byte {place}, {fault}")),
        (Ok(()), Some(place)) => Some(format!("invalid UTF-8 at byte {place}")),
        (Err(fault), _) => Some(format!("{fault} at byte {}", reader.at)),
        (Ok(()), None) => None,
    }
}

/// Keeps names and values.
struct Flat<'a> {
    limits: &'a JsonLimits,
    args: Vec<(Vec<u8>, Vec<u8>)>,
    flattened: usize,
}

impl Flat<'_> {
    fn field(&mut self, path: &[u8], value: Vec<u8>) -> Result<(), Fault> {
        let size = path.len().saturating_add(value.len());
        self.flattened = self.flattened.saturating_add(size);
        if self.flattened > self.limits.flattened {
            return Err(format!("names and values take more than {} bytes", self.limits.flattened));
        }
        if self.args.len() < self.limits.args {
            self.args.push((path.to_vec(), value));
        }
        if self.args.len() >= self.limits.args {
            return Err(format!("the limit of {} arguments (SecArgumentsLimit) is reached", self.limits.args));
        }
        Ok(())
    }
}

impl Visitor for Flat<'_> {
    type Place = ();

    fn root(&self) {}

    fn item(&self, (): ()) {}

    fn member(&mut self, (): (), _: usize, _: &[u8], _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }

    fn opens(&mut self, (): (), _: &[u8], _: Kind) -> Result<(), Fault> {
        Ok(())
    }

    fn closes(&mut self, (): (), path: &[u8], container: Container) -> Result<(), Fault> {
        match container {
            // A container without members counts as an empty value, unless it is the whole document.
            Container { members: 0, whole: false, .. } => self.field(path, Vec::new()),
            // The key alone, which no rule would see otherwise; the value is the array's length.
            Container { kind: Kind::Array, named: true, members: members @ 1.., .. } => {
                self.field(path, members.to_string().into_bytes())
            }
            _ => Ok(()),
        }
    }

    fn scalar(&mut self, (): (), path: &[u8], _: Kind, value: Cow<'_, [u8]>) -> Result<(), Fault> {
        self.field(path, value.into_owned())
    }
}

/// A container that is open, with the length of the path that names it.
#[derive(Debug, Clone, Copy)]
struct Open<P> {
    kind: Kind,
    path: usize,
    /// Which container of the document it is.
    number: usize,
    /// Members so far.
    members: usize,
    place: P,
}

struct Reader<'a, 'v, V: Visitor> {
    input: &'a [u8],
    at: usize,
    depth: usize,
    /// The name of the value being read, and its place.
    path: Vec<u8>,
    here: V::Place,
    open: Vec<Open<V::Place>>,
    opened: usize,
    visitor: &'v mut V,
}

/// What is wrong, in a line.
pub type Fault = String;

impl<'a, V: Visitor> Reader<'a, '_, V> {
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
                match (self.peek(), container.kind) {
                    (Some(b','), _) => {
                        self.step();
                        self.blanks();
                        self.member()?;
                        break;
                    }
                    (Some(b'}'), Kind::Object) | (Some(b']'), Kind::Array) => self.close(container)?,
                    (None, _) => return Err("the document ends too early".to_owned()),
                    (_, Kind::Object) => return Err("`,` or `}` is missing".to_owned()),
                    _ => return Err("`,` or `]` is missing".to_owned()),
                }
            }
        }
    }

    /// Reads a scalar, or opens a container and tells so.
    fn value(&mut self) -> Result<bool, Fault> {
        self.blanks();
        let kind = match self.peek() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => {
                let text = self.string()?;
                self.scalar(Kind::String, text)?;
                return Ok(false);
            }
            Some(b'-' | b'0'..=b'9') => {
                let text = self.number()?;
                self.scalar(Kind::Number, Cow::Borrowed(text))?;
                return Ok(false);
            }
            Some(b't') => return self.word(b"true", b"true", Kind::Boolean),
            Some(b'f') => return self.word(b"false", b"false", Kind::Boolean),
            Some(b'n') => return self.word(b"null", b"", Kind::Null),
            Some(_) => return Err("a value is missing".to_owned()),
            None => return Err("the document ends too early".to_owned()),
        };
        if self.open.len() >= self.depth {
            let limit = self.depth;
            return Err(format!("nested more than {limit} deep (SecRequestBodyJsonDepthLimit)"));
        }
        self.visitor.opens(self.here, &self.path, kind)?;
        self.step();
        self.open.push(Open { kind, path: self.path.len(), number: self.opened, members: 0, place: self.here });
        self.opened = self.opened.saturating_add(1);
        Ok(true)
    }

    fn scalar(&mut self, kind: Kind, value: Cow<'_, [u8]>) -> Result<(), Fault> {
        self.visitor.scalar(self.here, &self.path, kind, value)
    }

    /// At a closing bracket: back to the container's own name.
    fn close(&mut self, container: Open<V::Place>) -> Result<(), Fault> {
        self.step();
        self.path.truncate(container.path);
        self.open.pop();
        let named = matches!(self.open.last(), Some(Open { kind: Kind::Object, .. }));
        let Open { kind, members, place, .. } = container;
        let container = Container { kind, members, named, whole: self.open.is_empty() };
        self.visitor.closes(place, &self.path, container)
    }

    /// After an opening bracket: whether a first member follows; else the container is closed.
    fn begin_member(&mut self) -> Result<bool, Fault> {
        self.blanks();
        let Some(&container) = self.open.last() else { return Ok(false) };
        let closing = if container.kind == Kind::Object { b'}' } else { b']' };
        if self.peek() == Some(closing) {
            self.close(container)?;
            return Ok(false);
        }
        self.member()?;
        Ok(true)
    }

    /// Names the next member: reads the key and its colon, or counts on.
    fn member(&mut self) -> Result<(), Fault> {
        let Some(&Open { kind, path, number, members, place }) = self.open.last() else { return Ok(()) };
        if kind == Kind::Object {
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
            self.here = self.visitor.member(place, number, &self.path, &key)?;
        } else {
            self.path.truncate(path);
            self.path.push(b'.');
            push_number(&mut self.path, members);
            self.here = self.visitor.item(place);
        }
        if let Some(container) = self.open.last_mut() {
            container.members = members.saturating_add(1);
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8], value: &'static [u8], kind: Kind) -> Result<bool, Fault> {
        if !self.rest().starts_with(word) {
            return Err("a value is missing".to_owned());
        }
        self.at = self.at.saturating_add(word.len());
        self.scalar(kind, Cow::Borrowed(value))?;
        Ok(false)
    }

    fn number(&mut self) -> Result<&'a [u8], Fault> {
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
        Ok(self.input.get(start..self.at).unwrap_or_default())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        if !self.accept(|byte| byte.is_ascii_digit()) {
            return Err("a digit is missing".to_owned());
        }
        while self.accept(|byte| byte.is_ascii_digit()) {}
        Ok(())
    }

    /// A string in quotes, unescaped. One without escapes is borrowed.
    fn string(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        self.step();
        let mut text = Cow::Borrowed(&[][..]);
        loop {
            let rest: &'a [u8] = self.input.get(self.at..).unwrap_or_default();
            let run = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            let run = rest.get(..run).unwrap_or_default();
            // Without a branch for each byte: nearly no string holds one.
            let plain = if run.iter().fold(false, |any, byte| any | (*byte < 0x20)) {
                run.iter().position(|byte| *byte < 0x20).unwrap_or(run.len())
            } else {
                run.len()
            };
            let plain = rest.get(..plain).unwrap_or_default();
            if text.is_empty() {
                text = Cow::Borrowed(plain);
            } else {
                text.to_mut().extend_from_slice(plain);
            }
            self.at = self.at.saturating_add(plain.len());
            match self.peek() {
                Some(b'"') => {
                    self.step();
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.step();
                    let c = self.escape()?;
                    text.to_mut().extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
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

/// Appends a number in decimal.
fn push_number(path: &mut Vec<u8>, number: usize) {
    let mut digits = [0u8; 20];
    let (mut left, mut from) = (number, digits.len());
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        from -= 1;
        if left == 0 {
            break;
        }
    }
    path.extend_from_slice(digits.get(from..).unwrap_or_default());
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
