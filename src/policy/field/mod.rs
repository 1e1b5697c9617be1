//! What every field of a request is for, operation by operation: policy files, and the tables made of them.
//!
//! After the route and before the rules: [`FieldPolicy::find`] gives the operation that takes a request, which
//! names the class of each of its fields; what that means for a value is the engine's (`gatehouse_waf::field`). In:
//! method and canonical path. Out: a reference into tables that were built when the files were loaded; no allocation,
//! and no more visits than the policy's paths have nodes that fit. It fails as the policy says of what it does not
//! name: `refuse`, a class, or `scored`, which leaves it to the rules at full strength.
//!
//! ```toml
//! [policy]                       # in one of the files; all that are named together are one policy
//! name = "archon"
//! unknown = { query = "short(200)", headers = "scored" }   # what nothing names; also json, form, parts, cookies, route
//! quoted = true                  # JSON numbers, true and false may come as strings
//!
//! [types]                        # names for classes
//! id = "uuid"
//! title = "short(300)"
//!
//! [path_fields]                  # {task_id} in whatever path
//! task_id = "id"
//!
//! [headers]                      # of every operation; [cookies] too
//! accept = "media-type"
//!
//! [[operation]]
//! path = "/api/tasks/{task_id}"  # {name...} at the end: all that remains, where no other path describes it
//! methods = ["GET", "PUT"]       # GET takes HEAD too; all but these and OPTIONS get 405
//! name = "task"                  # for audit events; else methods and path
//! content = ["application/json", "multipart/form-data"]    # others get 415; left out: what the fields need, or what is read
//! max_body = "2MiB"
//! path_fields.task_id = "uuid"   # beats [path_fields]
//! query.status = "enum(todo, doing, review, done)?"
//! unknown = { json = "refuse" }
//! [operation.json]
//! "$.title" = "title"
//! "$.description" = "free?"
//! "$.sources[*].url" = "fetch-url"
//! "$.data.**" = "free"           # the value and everything below it
//! [operation.form]               # and [operation.headers], [operation.cookies]
//! tags = "short(500)"
//! [operation.parts]              # uploads; all but the name may be left out
//! file = { name = "file-name(md, txt)", types = ["text/*"], content = "free(10MiB)", max = "10MiB", count = 5 }
//! # body = "opaque(25MiB)"       # in place of json, form and parts: the body is one value
//! ```
//!
//! Where a class is expected, `scored` and `refuse` may stand too, and the name of a type, with `?` behind it or not.

mod build;
mod file;
mod known;
mod load;
mod operation;
mod paths;

pub use known::Known;
pub use load::{Loaded, load};
pub use operation::{Match, Operation};

use super::Policy;
use crate::fault::Fault;
use gatehouse_waf::field::Fields;
use http::Method;
use paths::{Hit, Paths, Segment};
use std::sync::Arc;

/// A field policy.
#[derive(Debug)]
pub struct FieldPolicy {
    name: Box<str>,
    operations: Vec<Operation>,
    /// Every method that an operation takes, once.
    methods: Vec<Method>,
    paths: Paths,
    other: Arc<Fields>,
    refuses: bool,
}

/// What a policy knows of a request.
#[derive(Debug, Clone, Copy)]
pub enum Found<'p, 'r> {
    /// The operation that takes it.
    Operation(Match<'p, 'r>),
    /// Its path is that of this operation, the most particular of it, but none of that path takes the method.
    OtherMethod(Match<'p, 'r>),
    /// Nothing.
    Unknown,
}

impl FieldPolicy {
    /// Builds the policy of these files, each a name and a text.
    ///
    /// # Errors
    /// Every fault of every file, each at its place, in the order of the files.
    pub fn build(files: &[(String, String)]) -> Result<Self, Vec<Fault>> {
        build::build(files)
    }

    /// The operation that takes a request; the path is the canonical one.
    pub fn find<'r>(&self, method: &Method, path: &'r str) -> Found<'_, 'r> {
        let of = |index: usize| Some(Match { operation: self.operations.get(index)?, path });
        let found = match self.paths.find(&self.operations, method, path) {
            Hit::Operation(index) => of(index).map(Found::Operation),
            Hit::OtherMethod(index) => of(index).map(Found::OtherMethod),
            Hit::Nothing => None,
        };
        found.unwrap_or(Found::Unknown)
    }

    /// The methods that a path is described with, for `Allow` (RFC 9110 section 10.2.1): those of every operation that
    /// could take it, HEAD with GET, and OPTIONS, which every path that is described takes. None where it is not.
    pub fn methods(&self, path: &str) -> Vec<&Method> {
        let takes = |method: &&Method| matches!(self.find(method, path), Found::Operation(_));
        let mut methods: Vec<&Method> = self.methods.iter().filter(takes).collect();
        if !methods.is_empty() && !methods.contains(&&Method::OPTIONS) {
            methods.push(&Method::OPTIONS);
        }
        methods
    }

    /// Its name; empty where it has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All operations, in the order of the files.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The fields of requests that no operation takes, unless [`refuses_unknown`](Self::refuses_unknown).
    pub fn other(&self) -> &Arc<Fields> {
        &self.other
    }

    /// Whether requests that no operation takes are refused.
    pub fn refuses_unknown(&self) -> bool {
        self.refuses
    }

    /// Operations that no request reaches, because the routes refuse all of their paths.
    pub fn unreachable(&self, routes: &Policy) -> Vec<Fault> {
        let mut faults = Vec::new();
        for operation in &self.operations {
            // A segment that no route can name stands for each parameter.
            let stand_in = |segment: &Segment| match segment {
                Segment::Literal(text) => text.to_string(),
                Segment::Parameter(_) | Segment::Rest(_) => "\u{1}".to_owned(),
            };
            let path: Vec<String> = operation.segments.iter().map(stand_in).collect();
            let route = routes.find(&format!("/{}", path.join("/")));
            let opened = || routes.routes().iter().any(|route| !route.refuse && within(route.path(), operation));
            if route.refuse && !opened() {
                let mut fault = operation.place.clone();
                fault.what = format!("no request reaches this operation: route {} refuses its path", route.name);
                fault.mend = "remove the operation, or open a route for it".to_owned();
                faults.push(fault);
            }
        }
        faults
    }
}

/// Whether a route names, or names a part of, what the parameters of an operation's path leave open.
fn within(route: &str, operation: &Operation) -> bool {
    let below = route.strip_prefix('/').unwrap_or(route);
    let (names, prefix) = match below.strip_suffix('/') {
        Some(names) => (names, true),
        None => (below, false),
    };
    let mut segments = operation.segments.iter();
    let mut particular = false;
    for name in names.split('/') {
        match segments.next() {
            Some(Segment::Literal(text)) if &**text == name => {}
            Some(Segment::Parameter(_)) => particular = true,
            Some(Segment::Rest(_)) => return true,
            Some(Segment::Literal(_)) | None => return false,
        }
    }
    particular && (prefix || segments.next().is_none())
}

#[cfg(test)]
mod tests;
