//! XML, as the texts and the attribute values it holds (`XML:/*` and `XML://@*`).
//!
//! Only the five entities of XML itself and character references are expanded. A document type declaration that
//! declares anything or names a file is a fault, and so is any other entity: what a reader with a DTD would put in
//! their place cannot be inspected here. So nothing is fetched and nothing grows: what is handed out is never longer
//! than the body. Bytes are UTF-8, and a declaration of an encoding that reads ASCII otherwise is a fault too.
//!
//! Strict about well-formedness: one root, tags that pair, no attribute twice. Nesting is a counter, not a recursion.
//! Source: XML 1.0 (fifth edition), XPath 1.0 section 5 (declarations of namespaces are no attributes).

use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::name::PrefixDeclaration;
use quick_xml::{Reader, XmlVersion};

/// Bounds.
#[derive(Debug, Clone, Copy)]
pub struct XmlLimits {
    /// Deepest nesting of elements.
    pub depth: usize,
    /// Most texts and attributes together.
    pub nodes: usize,
}

impl Default for XmlLimits {
    fn default() -> Self {
        Self { depth: 256, nodes: 10_000 }
    }
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Xml {
    /// Text nodes in document order, trimmed, without those that are blank. CDATA is text.
    pub texts: Vec<Vec<u8>>,
    /// Attribute values in document order, without declarations of namespaces.
    pub attributes: Vec<Vec<u8>>,
    /// `XML parsing error: ...`; what was read before it is in the other fields.
    pub error: Option<String>,
}

/// Reads a document. An empty body is none, and no fault.
pub fn parse(input: &[u8], limits: &XmlLimits) -> Xml {
    let mut document = Document { limits, xml: Xml::default(), pending: String::new(), depth: 0, roots: 0, nodes: 0 };
    if input.is_empty() {
        return document.xml;
    }
    // Valid UTF-8 is read as far as it goes; where it ends, the document is broken anyway.
    let (text, broken) = match std::str::from_utf8(input) {
        Ok(text) => (text, None),
        Err(error) => {
            let valid = input.get(..error.valid_up_to()).unwrap_or_default();
            (std::str::from_utf8(valid).unwrap_or_default(), Some(error.valid_up_to()))
        }
    };
    let outcome = document.read(text);
    document.end_text().ok();
    let fault = match (outcome, broken) {
        (_, Some(place)) => Some(format!("invalid UTF-8 at byte {place}")),
        (Err(fault), None) => Some(fault),
        (Ok(()), None) => None,
    };
    document.xml.error = fault.map(|fault| format!("XML parsing error: {fault}"));
    document.xml
}

type Fault = String;

struct Document<'a> {
    limits: &'a XmlLimits,
    xml: Xml,
    /// The text node being read: its pieces come one by one.
    pending: String,
    depth: usize,
    roots: usize,
    /// Attributes (declarations included) and texts so far.
    nodes: usize,
}

impl Document<'_> {
    fn read(&mut self, text: &str) -> Result<(), Fault> {
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_comments = true;
        loop {
            let event = reader
                .read_event()
                .map_err(|error| format!("{} at byte {}", short(&error.to_string()), reader.error_position()))?;
            let step = match event {
                Event::Start(tag) => self.begin(&tag),
                Event::Empty(tag) => self.begin(&tag).and_then(|()| self.end()),
                Event::End(_) => self.end(),
                Event::Text(text) => self.text(&text.xml10_content()),
                Event::CData(text) => self.text(&text.xml10_content()),
                Event::GeneralRef(reference) => self.reference(&reference),
                Event::Decl(declaration) => encoding(&declaration),
                Event::DocType(declaration) => doctype(&declaration),
                Event::Comment(_) | Event::PI(_) => Ok(()),
                Event::Eof => {
                    return match (self.depth, self.roots) {
                        (0, 1) => Ok(()),
                        (0, _) => Err("there is no element".to_owned()),
                        (open, _) => Err(format!("{open} elements do not end")),
                    };
                }
            };
            step.map_err(|fault| format!("{fault} at byte {}", reader.buffer_position()))?;
        }
    }

    fn begin(&mut self, tag: &BytesStart<'_>) -> Result<(), Fault> {
        self.end_text()?;
        if self.depth == 0 {
            self.roots = self.roots.saturating_add(1);
            if self.roots > 1 {
                return Err("a second root element".to_owned());
            }
        }
        if self.depth >= self.limits.depth {
            return Err(format!("elements are nested more than {} deep", self.limits.depth));
        }
        self.depth = self.depth.saturating_add(1);
        for attribute in tag.attributes() {
            // Counted before the next is read: each is compared with those before it.
            self.count()?;
            let attribute = attribute.map_err(|error| short(&error.to_string()))?;
            let value = attribute
                .normalized_value_with(XmlVersion::Implicit1_0, 1, resolve_xml_entity)
                .map_err(|error| short(&error.to_string()))?;
            if !matches!(
                attribute.key.as_namespace_binding(),
                Some(PrefixDeclaration::Default | PrefixDeclaration::Named(_))
            ) {
                self.xml.attributes.push(value.into_owned().into_bytes());
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.depth = self.depth.saturating_sub(1);
        self.end_text()
    }

    fn text(&mut self, text: &str) -> Result<(), Fault> {
        if self.depth == 0 && !text.trim_matches([' ', '\t', '\r', '\n', '\u{FEFF}']).is_empty() {
            return Err("text outside the root element".to_owned());
        }
        self.pending.push_str(text);
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), Fault> {
        if let Some(c) = reference.resolve_char_ref().map_err(|error| short(&error.to_string()))? {
            return self.text(c.encode_utf8(&mut [0; 4]));
        }
        match resolve_xml_entity(reference) {
            Some(text) => self.text(text),
            None => Err(format!("the entity `&{};` is not expanded", short(reference))),
        }
    }

    fn end_text(&mut self) -> Result<(), Fault> {
        let text = self.pending.trim_ascii();
        if !text.is_empty() {
            self.xml.texts.push(text.as_bytes().to_vec());
            self.pending.clear();
            self.count()?;
        }
        self.pending.clear();
        Ok(())
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > self.limits.nodes {
            return Err(format!("more than {} texts and attributes", self.limits.nodes));
        }
        Ok(())
    }
}

/// `<!DOCTYPE name>` declares nothing; anything more is a DTD.
fn doctype(declaration: &str) -> Result<(), Fault> {
    match declaration.split_ascii_whitespace().count() {
        0 | 1 if !declaration.contains('[') => Ok(()),
        _ => Err("a document type declaration that declares or names anything is not read".to_owned()),
    }
}

/// Encodings in which every ASCII byte is itself. In UTF-7 or EBCDIC a reader would see other text than we do.
fn encoding(declaration: &BytesDecl<'_>) -> Result<(), Fault> {
    const KNOWN: [&str; 7] = ["utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-15", "windows-1252"];
    let name = match declaration.encoding() {
        None => return Ok(()),
        Some(name) => name.map_err(|error| short(&error.to_string()))?,
    };
    if KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    Err(format!("the encoding `{}` is not read", short(&name)))
}

/// The start of a text that may quote the document at any length.
fn short(text: &str) -> String {
    const MOST: usize = 120;
    text.chars().take(MOST).map(|c| if c.is_control() { '.' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> (Vec<String>, Vec<String>, Option<String>) {
        let xml = parse(input, &XmlLimits::default());
        let text = |all: Vec<Vec<u8>>| all.into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect();
        (text(xml.texts), text(xml.attributes), xml.error)
    }

    #[test]
    fn documents() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("", &[], &[]),
            ("<a/>", &[], &[]),
            ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a>\n <b> x </b>y\n</a>\n", &["x", "y"], &[]),
            ("<a b='1' c=\"&lt;&#x41;&quot;\">t&amp;u<![CDATA[<v>]]>w</a>", &["t&u<v>w"], &["1", "<A\""]),
            ("<s:a xmlns:s='urn:x' xmlns='urn:y' s:b='z'><!-- c --><?pi d?>e</s:a>", &["e"], &["z"]),
            ("<!DOCTYPE a><a>\u{e9}&#233;</a>", &["\u{e9}\u{e9}"], &[]),
            ("<a>&#60;script&#62;</a>", &["<script>"], &[]),
        ];
        for (input, texts, attributes) in table {
            let (got_texts, got_attributes, error) = read(input.as_bytes());
            assert_eq!(
                (got_texts, got_attributes, error),
                (
                    texts.iter().map(|t| (*t).to_owned()).collect(),
                    attributes.iter().map(|t| (*t).to_owned()).collect(),
                    None
                ),
                "{input}"
            );
        }
    }

    #[test]
    fn faults_keep_what_was_read() {
        let table: &[(&[u8], usize, &str)] = &[
            (b"text", 0, "outside the root"),
            (b" ", 0, "no element"),
            (b"<a>x", 1, "1 elements do not end"),
            (b"<a>x</b>", 1, "at byte"),
            (b"<a>x</a><b/>", 1, "second root"),
            (b"<a>x</a>y", 1, "outside"),
            (b"<a b='1' b='2'/>", 0, "uplicate"),
            (b"<a b=1/>", 0, "at byte"),
            (b"<a>x<b>&y;</b></a>", 1, "`&y;`"),
            (b"<a b='&y;'/>", 0, "at byte"),
            (b"<a>x & y</a>", 1, "at byte"),
            (b"<!DOCTYPE a [<!ENTITY y 'z'>]><a>&y;</a>", 0, "document type"),
            (b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", 0, "document type"),
            (b"<?xml version='1.0' encoding='UTF-7'?><a/>", 0, "UTF-7"),
            (b"<a>x\xFF</a>", 1, "invalid UTF-8 at byte 4"),
            (b"\xFE\xFF\0<\0a", 0, "invalid UTF-8 at byte 0"),
            (b"<a><b>x</a></b>", 1, "at byte"),
            (b"<a>x<b", 1, "at byte"),
        ];
        for (input, texts, word) in table {
            let (got, _, error) = read(input);
            let error = error.unwrap_or_default();
            assert!(
                error.starts_with("XML parsing error: ") && error.contains(word),
                "{}: {error}",
                input.escape_ascii()
            );
            assert_eq!(got.len(), *texts, "{}: {error}", input.escape_ascii());
        }
    }

    #[test]
    fn limits() {
        let limits = XmlLimits { depth: 3, nodes: 4 };
        assert_eq!(parse(b"<a><b><c/></b></a>", &limits).error, None);
        assert!(parse(b"<a><b><c><d/></c></b></a>", &limits).error.unwrap().contains("more than 3 deep"));
        assert!(parse(b"<a b='1' c='2' d='3' e='4' f='5'/>", &limits).error.unwrap().contains("more than 4 texts"));
        assert!(parse(b"<a>1<b/>2<b/>3<b/>4<b/>5</a>", &limits).error.unwrap().contains("more than 4 texts"));
        let deep = "<a>".repeat(200_000);
        assert!(
            parse(deep.as_bytes(), &XmlLimits { depth: usize::MAX, nodes: 10 }).error.unwrap().contains("do not end")
        );
        let name = "n".repeat(100_000);
        assert!(parse(format!("<{name}></b>").as_bytes(), &limits).error.unwrap().len() < 300);
    }
}
