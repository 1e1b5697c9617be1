//! The request and the response as variables: single values by name, collections as lists of fields.

use super::texts::{TextId, Texts};
use crate::variable::{Shape, Variable};

/// A named value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: TextId,
    pub(super) value: TextId,
    pub(super) hidden: Hidden,
}

impl Field {
    pub(super) fn shown(name: TextId, value: TextId) -> Self {
        Self { name, value, hidden: Hidden::default() }
    }
}

/// What of a field the rules do not see, for it has been judged by what it is for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hidden {
    pub(super) name: bool,
    pub(super) value: bool,
    /// It is no field of its own, but the name of the next one, and not to be counted.
    pub(super) again: bool,
}

/// Which members of a collection are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that rules see.
    Shown,
    /// All that the message has, to be counted.
    All,
}

/// A file of a multipart body.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    pub(super) field: TextId,
    pub(super) filename: TextId,
    /// Its size as decimal text.
    pub(super) size: TextId,
    pub(super) content: Option<TextId>,
    /// Its name, and that of its field.
    pub(super) hidden: bool,
}

/// What is known of the message so far.
#[derive(Debug)]
pub(super) struct Message {
    singles: Vec<Option<TextId>>,
    pub(super) args_get: Vec<Field>,
    pub(super) args_post: Vec<Field>,
    /// Arguments of the body that are hidden and not in the list, and the bytes of hidden ones that are in no text here.
    pub(super) unlisted: usize,
    pub(super) unlisted_bytes: usize,
    pub(super) cookies: Vec<Field>,
    pub(super) request_headers: Vec<Field>,
    pub(super) response_headers: Vec<Field>,
    pub(super) files: Vec<File>,
    pub(super) part_headers: Vec<Field>,
    pub(super) xml_texts: Vec<TextId>,
    pub(super) xml_attributes: Vec<TextId>,
}

impl Message {
    pub(super) fn new() -> Self {
        Self {
            singles: vec![None; Variable::ALL.len()],
            args_get: Vec::new(),
            args_post: Vec::new(),
            unlisted: 0,
            unlisted_bytes: 0,
            cookies: Vec::new(),
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            files: Vec::new(),
            part_headers: Vec::new(),
            xml_texts: Vec::new(),
            xml_attributes: Vec::new(),
        }
    }

    pub(super) fn single(&self, variable: Variable) -> Option<TextId> {
        self.singles.get(variable.index()).copied().flatten()
    }

    pub(super) fn set(&mut self, variable: Variable, text: Option<TextId>) {
        if let Some(single) = self.singles.get_mut(variable.index()) {
            *single = text;
        }
    }

    /// Whether there is surely no value of a variable of the message.
    pub(super) fn has_none(&self, variable: Variable) -> bool {
        match variable {
            Variable::Args | Variable::ArgsNames => self.args_get.is_empty() && self.args_post.is_empty(),
            Variable::ArgsGet | Variable::ArgsGetNames => self.args_get.is_empty(),
            Variable::ArgsPost | Variable::ArgsPostNames => self.args_post.is_empty(),
            Variable::RequestCookies | Variable::RequestCookiesNames => self.cookies.is_empty(),
            Variable::MultipartPartHeaders => self.part_headers.is_empty(),
            Variable::ResponseHeaders | Variable::ResponseHeadersNames => self.response_headers.is_empty(),
            Variable::Files
            | Variable::FilesNames
            | Variable::FilesSizes
            | Variable::FilesTmpContent
            | Variable::MultipartFilename
            | Variable::MultipartName => self.files.is_empty(),
            Variable::Xml => self.xml_texts.is_empty() && self.xml_attributes.is_empty(),
            _ => variable.shape() == Shape::Single && self.single(variable).is_none(),
        }
    }

    /// Calls `take` with the name and value of each member of a collection of the message, in order.
    pub(super) fn each(&self, variable: Variable, which: Which, mut take: impl FnMut(TextId, TextId)) {
        let all = which == Which::All;
        let value = |f: &&Field| if all { !f.hidden.again } else { !f.hidden.value };
        let name = |f: &&Field| if all { !f.hidden.again } else { !f.hidden.name };
        let mut values = |fields: &[Field]| fields.iter().filter(value).for_each(|f| take(f.name, f.value));
        let names = |fields: &[Field], take: &mut dyn FnMut(TextId, TextId)| {
            fields.iter().filter(name).for_each(|f| take(f.name, f.name));
        };
        match variable {
            Variable::Args => {
                values(&self.args_get);
                values(&self.args_post);
            }
            Variable::ArgsGet => values(&self.args_get),
            Variable::ArgsPost => values(&self.args_post),
            Variable::RequestCookies => values(&self.cookies),
            Variable::RequestHeaders => values(&self.request_headers),
            Variable::ResponseHeaders => values(&self.response_headers),
            Variable::MultipartPartHeaders => values(&self.part_headers),
            Variable::ArgsNames => {
                names(&self.args_get, &mut take);
                names(&self.args_post, &mut take);
            }
            Variable::ArgsGetNames => names(&self.args_get, &mut take),
            Variable::ArgsPostNames => names(&self.args_post, &mut take),
            Variable::RequestCookiesNames => names(&self.cookies, &mut take),
            Variable::RequestHeadersNames => names(&self.request_headers, &mut take),
            Variable::ResponseHeadersNames => names(&self.response_headers, &mut take),
            Variable::Files | Variable::MultipartFilename => {
                self.files.iter().filter(|f| all || !f.hidden).for_each(|f| take(f.field, f.filename));
            }
            Variable::FilesNames | Variable::MultipartName => {
                self.files.iter().filter(|f| all || !f.hidden).for_each(|f| take(f.field, f.field));
            }
            Variable::FilesSizes => self.files.iter().for_each(|f| take(f.field, f.size)),
            Variable::FilesTmpContent => {
                self.files.iter().filter_map(|f| Some((f.field, f.content?))).for_each(|(n, c)| take(n, c));
            }
            _ => {}
        }
    }

    /// How many members of a collection are in no list, for nothing is shown of them and none is asked for by name.
    pub(super) fn unlisted(&self, variable: Variable) -> usize {
        match variable {
            Variable::Args | Variable::ArgsPost | Variable::ArgsNames | Variable::ArgsPostNames => self.unlisted,
            _ => 0,
        }
    }

    /// The first request header of this name.
    pub(super) fn request_header(&self, texts: &Texts, name: &str) -> Option<TextId> {
        find(&self.request_headers, texts, name)
    }

    /// The first response header of this name.
    pub(super) fn response_header(&self, texts: &Texts, name: &str) -> Option<TextId> {
        find(&self.response_headers, texts, name)
    }
}

fn find(fields: &[Field], texts: &Texts, name: &str) -> Option<TextId> {
    fields.iter().find(|f| texts.get(f.name).eq_ignore_ascii_case(name.as_bytes())).map(|f| f.value)
}
