//! The paths of operations: how they are written, and which of them takes a request.
//!
//! `/api/tasks/{id}` has a parameter that is one whole segment, never empty; `/files/{rest...}` one that is all that
//! remains, slashes and all, and may be empty. A literal segment beats a parameter, a parameter beats the rest; where
//! the more particular path does not take the method, the next is asked, but for the rest: that takes what nothing more
//! particular describes, whatever the method.
//!
//! Cost of a look-up: at most one visit to each node that fits, no allocation; as deep as the deepest path.

use super::operation::Operation;
use http::Method;
use std::collections::BTreeMap;

/// Most segments of a path.
const MAX_SEGMENTS: usize = 64;

/// A segment of an operation's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Itself; the last may be empty.
    Literal(Box<str>),
    /// `{name}`
    Parameter(Box<str>),
    /// `{name...}`
    Rest(Box<str>),
}

/// Where in a path, in bytes; what is wrong; the mend.
pub(super) type PathFault = (usize, String, String);

/// Reads an operation's path.
pub(super) fn parse(path: &str) -> Result<Vec<Segment>, PathFault> {
    let fault = |at: usize, what: &str, mend: &str| Err((at, what.to_owned(), mend.to_owned()));
    let Some(below) = path.strip_prefix('/') else {
        return fault(0, "the path does not begin with /", "write it from the root, as \"/api/tasks/{id}\"");
    };
    if let Some((at, c)) = path.char_indices().find(|(_, c)| "?#*%\\;".contains(*c) || c.is_control()) {
        return match c {
            '?' | '#' => fault(at, "the path has a query or fragment", "describe the query under `query`"),
            '*' => fault(at, "the path has a wildcard", "write {name} for one segment, {name...} for all that remain"),
            _ => {
                let mend = "write it decoded, without backslashes, parameters and controls";
                fault(at, "the path is not canonical: no request comes with this", mend)
            }
        };
    }
    let mut segments = Vec::new();
    let mut at = 1;
    let last = below.split('/').count() - 1;
    for (index, text) in below.split('/').enumerate() {
        if index == MAX_SEGMENTS {
            let mend = "end it in {name...}";
            return fault(at, &format!("the path has more than {MAX_SEGMENTS} segments"), mend);
        }
        let segment = match text {
            "" if index < last => return fault(at, "an empty segment", "remove one slash: requests come without"),
            "." | ".." => return fault(at, "a dot segment", "write the path without: requests come with it resolved"),
            _ if !text.contains(['{', '}']) => Segment::Literal(text.into()),
            _ => {
                let Some(inner) = text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) else {
                    let mend = "make it all of the segment, and describe its form by its class";
                    return fault(at, "a parameter is only a part of this segment", mend);
                };
                let (name, rest) = inner.strip_suffix("...").map_or((inner, false), |name| (name, true));
                if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
                    let mend = "use letters, digits, _ and -, as {task_id}";
                    return fault(at, &format!("{inner:?} is no name of a parameter"), mend);
                }
                if rest && index < last {
                    return fault(at, "{name...} takes all that remains", "put it last");
                }
                if segments.iter().any(|other| parameter(other) == Some(name)) {
                    let what = format!("the parameter {name:?} is here for the second time");
                    return fault(at, &what, "give each a name of its own");
                }
                if rest { Segment::Rest(name.into()) } else { Segment::Parameter(name.into()) }
            }
        };
        segments.push(segment);
        at += text.len() + 1;
    }
    Ok(segments)
}

/// The name of a parameter segment.
pub(super) fn parameter(segment: &Segment) -> Option<&str> {
    match segment {
        Segment::Literal(_) => None,
        Segment::Parameter(name) | Segment::Rest(name) => Some(name),
    }
}

/// All paths, by segment.
#[derive(Debug, Default)]
pub(super) struct Paths {
    nodes: Vec<Branch>,
}

/// Where some segments lead.
#[derive(Debug, Default)]
struct Branch {
    literals: BTreeMap<Box<str>, usize>,
    parameter: Option<usize>,
    /// Operations whose path ends here.
    here: Vec<usize>,
    /// Operations that take all that remains.
    rest: Vec<usize>,
}

/// What a look-up met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hit {
    /// The operation, by index.
    Operation(usize),
    /// The path is known, the method is not: the most particular operation of that path, by index.
    OtherMethod(usize),
    /// Nothing.
    Nothing,
}

impl Paths {
    /// Adds the path of an operation, and gives the operations that have the same.
    pub(super) fn add(&mut self, segments: &[Segment], operation: usize) -> Vec<usize> {
        if self.nodes.is_empty() {
            self.nodes.push(Branch::default());
        }
        let mut at = 0;
        for segment in segments {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { break };
            at = match segment {
                Segment::Literal(text) => *node.literals.entry(text.clone()).or_insert(next),
                Segment::Parameter(_) => *node.parameter.get_or_insert(next),
                Segment::Rest(_) => {
                    let others = node.rest.clone();
                    node.rest.push(operation);
                    return others;
                }
            };
            if at == next {
                self.nodes.push(Branch::default());
            }
        }
        let Some(node) = self.nodes.get_mut(at) else { return Vec::new() };
        let others = node.here.clone();
        node.here.push(operation);
        others
    }

    /// The operation that takes a request.
    pub(super) fn find(&self, operations: &[Operation], method: &Method, path: &str) -> Hit {
        let Some(below) = path.strip_prefix('/') else { return Hit::Nothing };
        let mut hit = Hit::Nothing;
        self.seek(0, Some(below), &mut |candidates: &[usize], rest: bool| {
            let Some(first) = candidates.first() else { return false };
            if rest && hit != Hit::Nothing {
                return false;
            }
            let takes = |index: &&usize| operations.get(**index).is_some_and(|operation| operation.takes(method));
            match candidates.iter().find(takes) {
                Some(index) => hit = Hit::Operation(*index),
                None if hit == Hit::Nothing => hit = Hit::OtherMethod(*first),
                None => {}
            }
            matches!(hit, Hit::Operation(_))
        });
        hit
    }

    /// Offers the operations at every node that the path fits, the most particular first, until they are taken; with
    /// them, whether they are those of the rest. It calls itself once for each segment of a path that was added, at most [`MAX_SEGMENTS`] deep.
    fn seek(&self, at: usize, remaining: Option<&str>, offer: &mut impl FnMut(&[usize], bool) -> bool) -> bool {
        let Some(node) = self.nodes.get(at) else { return false };
        let Some(text) = remaining else { return offer(&node.here, false) };
        let (segment, next) = match text.split_once('/') {
            Some((segment, next)) => (segment, Some(next)),
            None => (text, None),
        };
        if node.literals.get(segment).is_some_and(|child| self.seek(*child, next, offer)) {
            return true;
        }
        if !segment.is_empty() && node.parameter.is_some_and(|child| self.seek(child, next, offer)) {
            return true;
        }
        offer(&node.rest, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_no_request_can_have() {
        for (path, at) in [
            ("api", 0),
            ("", 0),
            ("/a?x", 2),
            ("/a/*", 3),
            ("/a%20b", 2),
            ("/a;b", 2),
            ("/a\\b", 2),
            ("/a//b", 3),
            ("/a/../b", 3),
            ("/a/.", 3),
            ("/a/{id}.json", 3),
            ("/a/x{id}", 3),
            ("/a/{id", 3),
            ("/a/id}", 3),
            ("/a/{}", 3),
            ("/a/{...}", 3),
            ("/a/{a b}", 3),
            ("/a/{id}/{id}", 8),
            ("/a/{id}/{id...}", 8),
            ("/a/{rest...}/b", 3),
        ] {
            let (found, what, mend) = parse(path).unwrap_err();
            assert_eq!(found, at, "{path}: {what}");
            assert!(!what.is_empty() && !mend.is_empty());
        }
        assert_eq!(parse(&format!("/{}", "a/".repeat(64))).unwrap_err().0, 129);
        for path in ["/", "/a/", "/a/{b}/c/{d...}", "/größe", "/a b", "/.well-known/x"] {
            assert!(parse(path).is_ok(), "{path}");
        }
    }
}
