//! One operation: which requests it takes, and what their fields are for.

use super::paths::Segment;
use crate::fault::Fault;
use crate::units::ByteSize;
use gatehouse_waf::field::{Fields, MediaRange, Purpose};
use http::Method;
use std::sync::Arc;

/// A parameter in an operation's path.
#[derive(Debug)]
pub(super) struct Parameter {
    pub name: Box<str>,
    /// Which segment, from 0.
    pub at: usize,
    /// Whether it is all that remains.
    pub rest: bool,
    pub purpose: Arc<Purpose>,
}

/// What one kind of request is for.
#[derive(Debug)]
pub struct Operation {
    pub(super) name: Box<str>,
    pub(super) path: Box<str>,
    pub(super) segments: Vec<Segment>,
    pub(super) methods: Vec<Method>,
    pub(super) content: Box<[MediaRange]>,
    pub(super) max_body: Option<ByteSize>,
    pub(super) parameters: Box<[Parameter]>,
    pub(super) fields: Arc<Fields>,
    /// The place of its path, with nothing said of it.
    pub(super) place: Fault,
}

impl Operation {
    /// Its name, for audit events: its own, else its methods and path. The operator's text, not the client's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its path as the policy writes it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The methods it takes, as the policy writes them.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Whether it takes a method. What takes GET takes HEAD (RFC 9110 section 9.3.2).
    pub fn takes(&self, method: &Method) -> bool {
        self.methods.contains(method) || method == Method::HEAD && self.methods.contains(&Method::GET)
    }

    /// Whether it takes a body of that type: the value of Content-Type, empty where the request has none. Else: 415. An
    /// operation that says nothing of bodies takes every type that is read: nothing of a request passes unread.
    pub fn takes_content(&self, content_type: &[u8]) -> bool {
        if self.content.is_empty() {
            return self.fields.body.is_some() || is_read(content_type);
        }
        self.content.iter().any(|range| range.fits(content_type))
    }

    /// The media types of bodies it takes; none: every one.
    pub fn content(&self) -> &[MediaRange] {
        &self.content
    }

    /// Most bytes of a body, if the policy says so; above: 413.
    pub fn max_body(&self) -> Option<ByteSize> {
        self.max_body
    }

    /// What the parameters in the path are for, by name.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Purpose)> {
        self.parameters.iter().map(|parameter| (&*parameter.name, &*parameter.purpose))
    }

    /// All other fields.
    pub fn fields(&self) -> &Arc<Fields> {
        &self.fields
    }
}

/// Whether the rules see what a body of that media type says: a parser of its own, or the text as it is.
fn is_read(content_type: &[u8]) -> bool {
    let essence = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    let Some((kind, subtype)) = std::str::from_utf8(&essence).ok().and_then(|essence| essence.split_once('/')) else {
        return false;
    };
    match kind {
        "text" => true,
        "multipart" => subtype == "form-data",
        "application" => {
            matches!(subtype, "json" | "xml" | "x-www-form-urlencoded")
                || subtype.ends_with("+json")
                || subtype.ends_with("+xml")
        }
        "image" => subtype.ends_with("+xml"),
        _ => false,
    }
}

/// An operation that takes a request, and the request's path.
#[derive(Debug, Clone, Copy)]
pub struct Match<'p, 'r> {
    pub(super) operation: &'p Operation,
    pub(super) path: &'r str,
}

impl<'p, 'r> Match<'p, 'r> {
    /// The operation.
    pub fn operation(&self) -> &'p Operation {
        self.operation
    }

    /// The parameters in the path: name, value as the canonical path has it, and what it is for.
    pub fn parameters(&self) -> impl Iterator<Item = (&'p str, &'r str, &'p Arc<Purpose>)> + use<'p, 'r> {
        let below = self.path.strip_prefix('/').unwrap_or(self.path);
        self.operation.parameters.iter().map(move |parameter| {
            let value = if parameter.rest {
                below.splitn(parameter.at + 1, '/').nth(parameter.at)
            } else {
                below.split('/').nth(parameter.at)
            };
            (&*parameter.name, value.unwrap_or_default(), &parameter.purpose)
        })
    }
}
