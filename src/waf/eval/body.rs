//! The request body as variables: through the processor that the head or a rule chose.

use super::fields::{self, Notes};
use super::message::{Field, File, Message};
use super::state::State;
use super::texts::Texts;
use crate::action::Processor;
use crate::body::{json, multipart, urlencoded, xml};
use crate::field::Fields;
use crate::ruleset::Ruleset;
use crate::variable::Variable;

/// Reads a body of any length that is within the limits, and holds its fields against what they are for, if that is
/// known. Returns why it could not be read whole.
pub(super) fn read(
    rules: &Ruleset,
    message: &mut Message,
    texts: &mut Texts,
    state: &State,
    body: &[u8],
    mut known: Option<(&Fields, &mut Notes)>,
) -> Option<String> {
    let settings = &rules.settings;
    let length = texts.add(body.len().to_string().as_bytes());
    message.set(Variable::RequestBodyLength, Some(length));
    // A body that is one value is nothing else beside.
    let hidden = match &mut known {
        Some((fields, notes)) => fields.body.as_ref().is_some_and(|purpose| fields::whole(purpose, body, notes)),
        None => false,
    };
    // A raw body beside its parsed fields would be looked at twice, and differently: only a form has both.
    let raw = match state.processor {
        Some(Processor::UrlEncoded) => true,
        None => state.force_request_body,
        Some(_) => false,
    };
    if raw {
        match known.as_mut().filter(|_| hidden) {
            Some((_, notes)) => fields::without_body(message, texts, notes),
            None => {
                let text = texts.add_owned(body.to_vec());
                message.set(Variable::RequestBody, Some(text));
            }
        }
    }
    if body.is_empty() || hidden {
        return None;
    }
    match state.processor? {
        Processor::UrlEncoded => {
            let limits = urlencoded::Limits { args: settings.arguments_limit };
            let form = urlencoded::parse(body, settings.argument_separator, &limits);
            arguments(message, texts, form.args);
            if form.error.is_some() {
                flag(message, texts, Variable::UrlencodedError, true);
            } else if let Some((fields, notes)) = known
                && fields::form(fields, message, texts, notes)
            {
                fields::without_body(message, texts, notes);
            }
            form.error
        }
        Processor::Json => {
            let limits = json::JsonLimits {
                depth: settings.json_depth,
                args: settings.arguments_limit,
                ..json::JsonLimits::default()
            };
            if let Some((fields, notes)) = known {
                let by_name = rules.counts_named_arguments;
                return fields::document(fields, body, &limits, message, texts, notes, by_name);
            }
            let fields = json::flatten(body, &limits);
            arguments(message, texts, fields.args);
            fields.error.map(|e| titled("JSON parsing error: ", e))
        }
        Processor::Xml => {
            let document =
                xml::parse(body, &xml::XmlLimits { depth: settings.json_depth, ..xml::XmlLimits::default() });
            message.xml_texts = document.texts.into_iter().map(|text| texts.add_owned(text)).collect();
            message.xml_attributes = document.attributes.into_iter().map(|text| texts.add_owned(text)).collect();
            document.error.map(|e| titled("XML parsing error: ", e))
        }
        Processor::Multipart => {
            let content_type = message.request_header(texts, "content-type");
            let content_type = content_type.map(|id| texts.get(id).to_vec()).unwrap_or_default();
            let limits = multipart::MultipartLimits {
                args: settings.arguments_limit,
                files: settings.upload_file_limit,
                ..multipart::MultipartLimits::default()
            };
            let form = multipart::parse(body, &content_type, &limits);
            parts(rules, message, texts, form, body, known).map(|e| titled("Multipart parsing error: ", e))
        }
    }
}

/// `message` with the words that rules and tests look for before it, once.
fn titled(title: &str, message: String) -> String {
    if message.starts_with(title) { message } else { format!("{title}{message}") }
}

/// The bytes of a multipart body that are no file's content: headers and fields. 0 for any other body.
pub(super) fn without_files(message: &Message, texts: &Texts) -> usize {
    if message.part_headers.is_empty() {
        return 0;
    }
    let headers: usize = message.part_headers.iter().map(|f| texts.get(f.value).len()).sum();
    headers + message.args_post.iter().map(|f| texts.get(f.value).len()).sum::<usize>()
}

fn arguments(message: &mut Message, texts: &mut Texts, pairs: Vec<(Vec<u8>, Vec<u8>)>) {
    for (name, value) in pairs {
        let field = Field::shown(texts.add_owned(name), texts.add_owned(value));
        message.args_post.push(field);
    }
}

pub(super) fn flag(message: &mut Message, texts: &mut Texts, variable: Variable, set: bool) {
    let text = texts.add(if set { b"1" } else { b"0" });
    message.set(variable, Some(text));
}

fn parts(
    rules: &Ruleset,
    message: &mut Message,
    texts: &mut Texts,
    form: multipart::Multipart,
    body: &[u8],
    mut known: Option<(&Fields, &mut Notes)>,
) -> Option<String> {
    arguments(message, texts, form.args);
    if let Some((fields, notes)) = &mut known {
        fields::form(fields, message, texts, notes);
    }
    let total: usize = form.files.iter().map(|f| f.size).sum();
    for (index, file) in form.files.iter().enumerate() {
        let hidden = known.as_mut().is_some_and(|(fields, notes)| {
            let nth = form.files.iter().take(index).filter(|other| other.field == file.field).count();
            fields::file(fields, file, body, nth, notes)
        });
        let content = rules.needs_file_contents.then(|| body.get(file.content.clone()).unwrap_or_default());
        let file = File {
            field: texts.add(&file.field),
            filename: texts.add(&file.filename),
            size: texts.add(file.size.to_string().as_bytes()),
            content: content.map(|bytes| texts.add(bytes)),
            hidden,
        };
        message.files.push(file);
    }
    for (name, line) in form.part_headers {
        let field = Field::shown(texts.add_owned(name), texts.add_owned(line));
        message.part_headers.push(field);
    }
    let size = texts.add(total.to_string().as_bytes());
    message.set(Variable::FilesCombinedSize, Some(size));
    let flags = form.flags;
    let strict = flags.strict_error() || form.error.is_some();
    for (variable, set) in [
        (Variable::MultipartStrictError, strict),
        (Variable::MultipartBoundaryQuoted, flags.boundary_quoted),
        (Variable::MultipartBoundaryWhitespace, flags.boundary_whitespace),
        (Variable::MultipartDataBefore, flags.data_before),
        (Variable::MultipartDataAfter, flags.data_after),
        (Variable::MultipartHeaderFolding, flags.header_folding),
        (Variable::MultipartLfLine, flags.lf_line),
        (Variable::MultipartCrlfLfLines, flags.crlf_lf_lines),
        (Variable::MultipartMissingSemicolon, flags.missing_semicolon),
        (Variable::MultipartInvalidQuoting, flags.invalid_quoting),
        (Variable::MultipartInvalidPart, flags.invalid_part),
        (Variable::MultipartInvalidHeaderFolding, flags.invalid_header_folding),
        (Variable::MultipartFileLimitExceeded, flags.file_limit_exceeded),
    ] {
        if set {
            flag(message, texts, variable, true);
        }
    }
    // 1 and 2 are not equally suspicious: 2 is a file that holds a multipart message of its own.
    if flags.unmatched_boundary || flags.foreign_boundary {
        let text = texts.add(if flags.unmatched_boundary { b"1" } else { b"2" });
        message.set(Variable::MultipartUnmatchedBoundary, Some(text));
    }
    form.error
}
