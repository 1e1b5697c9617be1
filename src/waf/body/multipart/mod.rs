//! `multipart/form-data`, read strictly.
//!
//! The body is split into lines; a line is a boundary when it is `--` and the boundary of Content-Type, or that and
//! `--`. What a lenient application might read differently raises a flag (the `MULTIPART_*` variables) or is a fault:
//! what stands before the first boundary and behind the last, lines that end in LF alone, folded headers, quoting
//! other than with `"`, a part without a name, a repeated header, name or boundary. After a fault reading stops; the
//! parts before it count, and so does what there is of the part it was met in.
//!
//! Memory: the values of parts that are not files are copied, files are not (their place is handed out); headers have
//! limits. Source: RFC 7578, RFC 2046 section 5.1; ModSecurity reference, MULTIPART_STRICT_ERROR. We depart from the
//! reference where it counts LF inside a part's content as a line of the form (a text file is full of them) and where
//! a boundary stands right behind the headers, with no line between: that raises MULTIPART_INVALID_PART here.

mod boundary;
mod disposition;

use std::ops::Range;

/// Bounds.
#[derive(Debug, Clone, Copy)]
pub struct MultipartLimits {
    /// Most parts that are not files (SecArgumentsLimit).
    pub args: usize,
    /// Most files (SecUploadFileLimit). More raise a flag; `args` and `files` together are the most parts read.
    pub files: usize,
    /// Most header lines of one part.
    pub headers: usize,
    /// Most bytes of the header lines of one part together.
    pub header_bytes: usize,
}

impl Default for MultipartLimits {
    fn default() -> Self {
        Self { args: 1000, files: 100, headers: 32, header_bytes: 16 << 10 }
    }
}

/// An uploaded file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilePart {
    /// The form field's name.
    pub field: Vec<u8>,
    /// The name the client gave the file.
    pub filename: Vec<u8>,
    /// Bytes of content.
    pub size: usize,
    /// Where the content lies in the body.
    pub content: Range<usize>,
    /// Header lines `Name: value`, unfolded, without line ends.
    pub headers: Vec<Vec<u8>>,
}

/// The `MULTIPART_*` variables: what in the body two readers may read differently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MultipartFlags {
    /// MULTIPART_BOUNDARY_QUOTED: Content-Type gives the boundary in quotes.
    pub boundary_quoted: bool,
    /// MULTIPART_BOUNDARY_WHITESPACE: blanks around the boundary's name, `=` or value.
    pub boundary_whitespace: bool,
    /// MULTIPART_DATA_BEFORE: something stands before the first boundary.
    pub data_before: bool,
    /// MULTIPART_DATA_AFTER: something stands behind the final boundary.
    pub data_after: bool,
    /// MULTIPART_HEADER_FOLDING: a header of a part goes on in the next line.
    pub header_folding: bool,
    /// MULTIPART_LF_LINE: a boundary or a header ends in LF alone.
    pub lf_line: bool,
    /// MULTIPART_CRLF_LF_LINES: some end in CRLF, some in LF.
    pub crlf_lf_lines: bool,
    /// MULTIPART_MISSING_SEMICOLON: a parameter follows another without one.
    pub missing_semicolon: bool,
    /// MULTIPART_INVALID_QUOTING: single quotes, or a quote inside an unquoted value.
    pub invalid_quoting: bool,
    /// MULTIPART_INVALID_PART: a part without a name, or without the line end that parts it from the next boundary.
    pub invalid_part: bool,
    /// MULTIPART_INVALID_HEADER_FOLDING: a folded line begins with a blank that is neither space nor tab.
    pub invalid_header_folding: bool,
    /// MULTIPART_FILE_LIMIT_EXCEEDED: more files than the limit.
    pub file_limit_exceeded: bool,
    /// MULTIPART_UNMATCHED_BOUNDARY is 1: a line looks like a boundary and is none, and the first or the final
    /// boundary is missing.
    pub unmatched_boundary: bool,
    /// MULTIPART_UNMATCHED_BOUNDARY is 2: a line looks like a boundary and is none, in a body that is otherwise whole.
    pub foreign_boundary: bool,
}

impl MultipartFlags {
    /// MULTIPART_STRICT_ERROR without REQBODY_PROCESSOR_ERROR, which is whether [`Multipart::error`] is set.
    pub fn strict_error(&self) -> bool {
        self.boundary_quoted
            || self.boundary_whitespace
            || self.data_before
            || self.data_after
            || self.header_folding
            || self.lf_line
            || self.missing_semicolon
            || self.invalid_quoting
            || self.invalid_part
            || self.invalid_header_folding
            || self.file_limit_exceeded
    }
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Multipart {
    /// Parts that are not files: name and content.
    pub args: Vec<(Vec<u8>, Vec<u8>)>,
    /// Parts with a filename.
    pub files: Vec<FilePart>,
    /// MULTIPART_PART_HEADERS: the part's field name and a header line `Name: value`, without line ends. A part whose
    /// name is not known has an empty one.
    pub part_headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// What was noticed.
    pub flags: MultipartFlags,
    /// `Multipart parsing error: ...`
    pub error: Option<String>,
}

/// Reads a body under the Content-Type it was sent with.
pub fn parse(body: &[u8], content_type: &[u8], limits: &MultipartLimits) -> Multipart {
    let mut form = Multipart::default();
    let fault = boundary::of_content_type(content_type, &mut form.flags).and_then(|boundary| {
        let mut reader = Reader { body, boundary, limits, form: &mut form, headers: Vec::new(), seen: Seen::default() };
        let outcome = reader.read();
        reader.conclude(outcome.is_err());
        outcome
    });
    form.error = fault.err().map(|fault| format!("Multipart parsing error: Multipart: {fault}"));
    form
}

type Fault = String;

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Crlf,
    Lf,
    Body,
}

impl End {
    fn length(self) -> usize {
        match self {
            Self::Crlf => 2,
            Self::Lf => 1,
            Self::Body => 0,
        }
    }
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boundary,
    FinalBoundary,
    Text,
}

/// Where the reader is.
#[derive(Debug)]
enum Place {
    Before,
    Headers,
    Content { part: disposition::Disposition, start: usize },
    After,
}

/// What has been met so far, for the flags that need the whole body.
#[derive(Debug, Default)]
struct Seen {
    crlf: bool,
    boundary: bool,
    final_boundary: bool,
    foreign: bool,
}

struct Reader<'a> {
    body: &'a [u8],
    boundary: Vec<u8>,
    limits: &'a MultipartLimits,
    form: &'a mut Multipart,
    /// The header lines of the part being read.
    headers: Vec<Vec<u8>>,
    seen: Seen,
}

impl Reader<'_> {
    fn read(&mut self) -> Result<(), Fault> {
        let mut place = Place::Before;
        let mut at = 0usize;
        let mut previous = End::Body;
        while at < self.body.len() {
            let (line, end) = line_at(self.body, at);
            let next = at.saturating_add(line.len()).saturating_add(end.length());
            let kind = match self.kind(line) {
                Ok(kind) => kind,
                Err(fault) => {
                    self.leave(place, at, previous);
                    return Err(fault);
                }
            };
            place = match (kind, place) {
                (Kind::Text, Place::Before) => {
                    self.form.flags.data_before |= !line.is_empty();
                    Place::Before
                }
                (Kind::Text, Place::Headers) => {
                    self.note(end);
                    if line.is_empty() {
                        let part = self.part()?;
                        Place::Content { part, start: next }
                    } else if let Err(fault) = self.header(line) {
                        self.leave(Place::Headers, at, previous);
                        return Err(fault);
                    } else {
                        Place::Headers
                    }
                }
                (Kind::Text, Place::Content { part, start }) => Place::Content { part, start },
                (_, Place::After) => {
                    self.form.flags.data_after |= !line.is_empty();
                    Place::After
                }
                (Kind::Boundary | Kind::FinalBoundary, before) => {
                    if end != End::Body {
                        self.note(end);
                    }
                    if let Place::Headers = before {
                        self.form.flags.invalid_part = true;
                        self.leave(before, at, previous);
                        return Err("Part missing Content-Disposition header.".to_owned());
                    }
                    self.leave(before, at, previous);
                    self.seen.boundary = true;
                    if kind == Kind::FinalBoundary {
                        self.seen.final_boundary = true;
                        Place::After
                    } else {
                        Place::Headers
                    }
                }
            };
            previous = end;
            at = next;
        }
        match place {
            Place::After => Ok(()),
            Place::Before => Err("No boundaries found in payload.".to_owned()),
            unfinished => {
                // What there is of the last part is looked at all the same, to its last byte.
                self.leave(unfinished, self.body.len(), End::Body);
                Err("Final boundary missing.".to_owned())
            }
        }
    }

    fn kind(&mut self, line: &[u8]) -> Result<Kind, Fault> {
        let Some(rest) = line.strip_prefix(b"--") else { return Ok(Kind::Text) };
        match rest.strip_prefix(self.boundary.as_slice()) {
            Some(b"") => Ok(Kind::Boundary),
            Some(b"--") => Ok(Kind::FinalBoundary),
            _ if self.seen.final_boundary => Ok(Kind::Text),
            Some(_) => {
                self.seen.foreign = true;
                Err("Invalid boundary: something stands behind it.".to_owned())
            }
            None => {
                self.seen.foreign = true;
                Ok(Kind::Text)
            }
        }
    }

    /// Records how a line of the form (not of a part's content) ended.
    fn note(&mut self, end: End) {
        match end {
            End::Crlf => self.seen.crlf = true,
            End::Lf => self.form.flags.lf_line = true,
            End::Body => {}
        }
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Fault> {
        let used: usize = self.headers.iter().map(Vec::len).sum();
        if used.saturating_add(line.len()) > self.limits.header_bytes {
            return Err(format!("Part headers longer than {} bytes.", self.limits.header_bytes));
        }
        if line.contains(&0) {
            return Err("Nul byte in part headers.".to_owned());
        }
        if line.contains(&b'\r') {
            return Err("Invalid part header (contains invalid character).".to_owned());
        }
        let folded = matches!(line.first(), Some(b' ' | b'\t' | 0x0B | 0x0C));
        if folded {
            self.form.flags.header_folding = true;
            self.form.flags.invalid_header_folding |= !matches!(line.first(), Some(b' ' | b'\t'));
            let Some(last) = self.headers.last_mut() else {
                return Err("Invalid part header (folding error).".to_owned());
            };
            last.push(b' ');
            last.extend(line.iter().skip_while(|byte| matches!(byte, b' ' | b'\t' | 0x0B | 0x0C)));
            return Ok(());
        }
        if self.headers.len() >= self.limits.headers {
            return Err(format!("A part has more than {} headers.", self.limits.headers));
        }
        let colon = line.iter().position(|&byte| byte == b':');
        let name = colon.and_then(|at| line.get(..at)).map(<[u8]>::to_ascii_lowercase);
        let repeated =
            self.headers.iter().any(|header| name.as_deref().is_some_and(|name| header_name(header) == name));
        self.headers.push(line.to_vec());
        let fault = match name {
            None => "Invalid part header (colon missing).",
            Some(name) if name.is_empty() => "Invalid part header (header name missing).",
            Some(name) if name.iter().any(|byte| !(33..=126).contains(byte)) => {
                "Invalid part header (contains invalid character)."
            }
            Some(_) if repeated => "Duplicate part header.",
            Some(_) => return Ok(()),
        };
        Err(fault.to_owned())
    }

    /// The headers of a part have ended: what does its Content-Disposition say?
    fn part(&mut self) -> Result<disposition::Disposition, Fault> {
        let parts = self.form.args.len().saturating_add(self.form.files.len());
        let most = self.limits.args.saturating_add(self.limits.files);
        if parts >= most {
            return Err(format!("More than {most} parts (SecArgumentsLimit and SecUploadFileLimit)."));
        }
        let header = self.headers.iter().find(|header| header_name(header) == b"content-disposition");
        let value = header.and_then(|header| header.get(b"content-disposition:".len()..)).map(<[u8]>::to_vec);
        let part = match value {
            Some(value) => disposition::parse(&value, &mut self.form.flags),
            None => Err("Part missing Content-Disposition header.".to_owned()),
        };
        let name = part.as_ref().map(|part| part.name.clone()).unwrap_or_default();
        self.list_headers(&name);
        self.form.flags.invalid_part |= part.is_err();
        let part = part?;
        if part.filename.is_none() && self.form.args.len() >= self.limits.args {
            return Err(format!("More than {} arguments (SecArgumentsLimit).", self.limits.args));
        }
        Ok(part)
    }

    fn list_headers(&mut self, name: &[u8]) {
        self.form.part_headers.extend(self.headers.iter().map(|header| (name.to_vec(), header.clone())));
    }

    /// Ends the part being read, if one is, before the line at `at`, the line before which ended in `previous`.
    fn leave(&mut self, place: Place, at: usize, previous: End) {
        if let Place::Headers = place {
            self.list_headers(b"");
        }
        let headers = std::mem::take(&mut self.headers);
        let Place::Content { part, start } = place else { return };
        // The line end before a boundary belongs to the boundary (RFC 2046, section 5.1.1).
        let end = at.saturating_sub(previous.length());
        if end < start {
            self.form.flags.invalid_part = true;
        } else {
            self.note(previous);
        }
        let content = start..end.max(start);
        let bytes = self.body.get(content.clone()).unwrap_or_default();
        match part.filename {
            Some(filename) => {
                self.form.flags.file_limit_exceeded |= self.form.files.len() >= self.limits.files;
                self.form.files.push(FilePart { field: part.name, filename, size: bytes.len(), content, headers });
            }
            None => self.form.args.push((part.name, bytes.to_vec())),
        }
    }

    fn conclude(&mut self, fault: bool) {
        let flags = &mut self.form.flags;
        flags.crlf_lf_lines = self.seen.crlf && flags.lf_line;
        let whole = self.seen.boundary && self.seen.final_boundary && !fault;
        flags.unmatched_boundary = self.seen.foreign && !whole;
        flags.foreign_boundary = self.seen.foreign && whole;
    }
}

/// The line that begins at `at`, without its end.
fn line_at(body: &[u8], at: usize) -> (&[u8], End) {
    let rest = body.get(at..).unwrap_or_default();
    match memchr::memchr(b'\n', rest) {
        None => (rest, End::Body),
        Some(length) => {
            let line = rest.get(..length).unwrap_or_default();
            line.strip_suffix(b"\r").map_or((line, End::Lf), |line| (line, End::Crlf))
        }
    }
}

/// A header line's name in lower case.
fn header_name(header: &[u8]) -> Vec<u8> {
    header.split(|&byte| byte == b':').next().unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
