//! What a policy says of one request: its operation, or what holds where none takes it.

use super::operation::Match;
use super::{FieldPolicy, Found, Operation};
use crate::verdict::{Hint, Reason, Refusal};
use gatehouse_waf::field::{Fields, Purpose};
use http::Method;
use std::sync::Arc;

/// What the fields of a request are for.
#[derive(Debug)]
pub struct Known<'p> {
    fields: &'p Arc<Fields>,
    path: Vec<(Box<str>, Box<str>, Arc<Purpose>)>,
    operation: Option<&'p Operation>,
}

impl<'p> Known<'p> {
    fn of(fields: &'p Arc<Fields>, path: Option<&Match<'p, '_>>, operation: Option<&'p Operation>) -> Self {
        let parameters = path.into_iter().flat_map(Match::parameters);
        let path = parameters.map(|(name, value, purpose)| (name.into(), value.into(), Arc::clone(purpose)));
        Self { fields, path: path.collect(), operation }
    }

    /// The operation, if one takes it.
    pub fn operation(&self) -> Option<&'p Operation> {
        self.operation
    }

    /// All fields but those in the path.
    pub fn fields(&self) -> &'p Arc<Fields> {
        self.fields
    }

    /// The parameters in the path: name, value, and what it is for.
    pub fn path(&self) -> impl Iterator<Item = (&str, &[u8], &Arc<Purpose>)> {
        self.path.iter().map(|(name, value, purpose)| (&**name, value.as_bytes(), purpose))
    }

    /// Most bytes of its body, if the policy says so.
    pub fn max_body(&self) -> Option<u64> {
        self.operation?.max_body().map(|size| size.0)
    }

    /// Whether it takes a body of this type; the value of Content-Type, empty where the request has none.
    ///
    /// # Errors
    /// [`Reason::MediaType`]
    pub fn takes_body(&self, content_type: &[u8]) -> Result<(), Refusal> {
        if self.operation.is_none_or(|operation| operation.takes_content(content_type)) {
            return Ok(());
        }
        Err(Refusal::new(Reason::MediaType, "the operation does not take a body of this media type"))
    }
}

impl FieldPolicy {
    /// What is known of a request; the path is the canonical one.
    ///
    /// OPTIONS of a path that is described passes: browsers ask before they send (Fetch, "CORS-preflight request"), and
    /// no policy need name that. Its path is held to the same classes as that of any other method.
    ///
    /// # Errors
    /// [`Reason::MethodNotAllowed`] with the methods that the path takes, where it is described with others alone;
    /// [`Reason::Policy`] where nothing describes it and the policy refuses that.
    pub fn known(&self, method: &Method, path: &str) -> Result<Known<'_>, Refusal> {
        match self.find(method, path) {
            Found::Operation(found) => Ok(Known::of(found.operation().fields(), Some(&found), Some(found.operation()))),
            Found::OtherMethod(near) if method == Method::OPTIONS => Ok(Known::of(self.other(), Some(&near), None)),
            Found::OtherMethod(_) => {
                let methods = self.methods(path).into_iter().cloned().collect();
                let refusal = Refusal::new(Reason::MethodNotAllowed, "no operation of this path takes it");
                Err(refusal.hint(Hint::Methods(methods)))
            }
            Found::Unknown if self.refuses_unknown() => Err(Refusal::new(Reason::Policy, "no operation has this path")),
            Found::Unknown => Ok(Known::of(self.other(), None, None)),
        }
    }
}
