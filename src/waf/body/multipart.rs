//! skeleton
use std::ops::Range;
/// Bounds.
#[derive(Debug, Clone, Copy)]
pub struct MultipartLimits {
    /// Most fields that are not files (SecArgumentsLimit).
    pub args: usize,
    /// Most files (SecUploadFileLimit).
    pub files: usize,
    /// Most header lines of one part.
    pub headers: usize,
    /// Most bytes of the header lines of one part.
    pub header_bytes: usize,
}
impl Default for MultipartLimits { fn default() -> Self { Self { args: 1000, files: 100, headers: 32, header_bytes: 16 << 10 } } }
/// An uploaded file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilePart {
    /// Form field name.
    pub field: Vec<u8>,
    /// The name the client gave.
    pub filename: Vec<u8>,
    /// Bytes of content.
    pub size: usize,
    /// Where the content lies in the body.
    pub content: Range<usize>,
    /// Header lines `Name: value`.
    pub headers: Vec<Vec<u8>>,
}
/// The MULTIPART_* variables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MultipartFlags {
    /// MULTIPART_BOUNDARY_QUOTED
    pub boundary_quoted: bool,
    /// MULTIPART_BOUNDARY_WHITESPACE
    pub boundary_whitespace: bool,
    /// MULTIPART_DATA_BEFORE
    pub data_before: bool,
    /// MULTIPART_DATA_AFTER
    pub data_after: bool,
    /// MULTIPART_HEADER_FOLDING
    pub header_folding: bool,
    /// MULTIPART_LF_LINE
    pub lf_line: bool,
    /// MULTIPART_CRLF_LF_LINES
    pub crlf_lf_lines: bool,
    /// MULTIPART_MISSING_SEMICOLON
    pub missing_semicolon: bool,
    /// MULTIPART_INVALID_QUOTING
    pub invalid_quoting: bool,
    /// MULTIPART_INVALID_PART
    pub invalid_part: bool,
    /// MULTIPART_INVALID_HEADER_FOLDING
    pub invalid_header_folding: bool,
    /// MULTIPART_FILE_LIMIT_EXCEEDED
    pub file_limit_exceeded: bool,
    /// MULTIPART_UNMATCHED_BOUNDARY
    pub unmatched_boundary: bool,
}
impl MultipartFlags {
    /// MULTIPART_STRICT_ERROR without REQBODY_PROCESSOR_ERROR: the caller ors in `error.is_some()`.
    pub fn strict_error(&self) -> bool { false }
}
/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Multipart {
    /// Parts that are not files.
    pub args: Vec<(Vec<u8>, Vec<u8>)>,
    /// Parts with a filename.
    pub files: Vec<FilePart>,
    /// MULTIPART_PART_HEADERS: field name, header line without CRLF.
    pub part_headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The flags.
    pub flags: MultipartFlags,
    /// `Multipart parsing error: ...`
    pub error: Option<String>,
}
/// Reads a multipart/form-data body.
pub fn parse(_body: &[u8], _content_type: &[u8], _limits: &MultipartLimits) -> Multipart { Multipart::default() }
