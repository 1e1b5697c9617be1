//! What each place in a JSON document is for: paths of a policy, compiled into one tree of places.
//!
//! A reader goes down the document and the tree together: [`JsonTree::root`] for the document, [`Node::member`] for the
//! value behind a key, [`Node::item`] for each item of an array. All of them have an answer: what no path names leads to
//! the default place, from which every step leads back to it. At each value it asks [`Node::takes`] whether a value of that kind may
//! stand here, and holds a scalar against [`Node::expect`].
//!
//! ```text
//! $                    the document            $.a            the member a
//! $[*]                 each item               $['odd key']   a member with any name; \' and \\ inside
//! $.context.*          any member              $.content.**   the value and all below it, whatever keys
//! ```
//!
//! Where two paths fit one place, the first step in which they differ decides: a name before `*` before `**`. The paths
//! are merged for that when the tree is built, as an automaton's states are, so a step of a reader is one binary search
//! and no allocation, and keys of a client cost nothing but that. Memory: at most [`MAX_NODES`] places, more is a fault.
//!
//! A place that a path goes *through* takes objects, arrays, or both, as its paths say, and `null`; the last place of a path takes
//! scalars, as its class says. So what the application does not expect there, as an object where a name should stand,
//! is told from what it does.

use super::fields::{Expect, Purpose};
pub use crate::body::json::Kind;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// Most places of one tree.
pub const MAX_NODES: usize = 1 << 16;

/// Most steps of one path.
pub const MAX_STEPS: usize = 64;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// `.name`, `['name']`
    Member(Box<str>),
    /// `.*`
    AnyMember,
    /// `[*]`
    Item,
    /// `.**`, always the last.
    Below,
}

/// A path in a JSON document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JsonPath(Vec<Step>);

/// What is wrong with a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathError {
    /// Where in the text, in bytes.
    pub at: usize,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

impl JsonPath {
    /// The whole document.
    pub fn root() -> Self {
        Self(Vec::new())
    }

    /// This path, and then the member of that name.
    pub fn member(&self, name: &str) -> Self {
        self.then(Step::Member(name.into()))
    }

    /// This path, and then any member.
    pub fn any_member(&self) -> Self {
        self.then(Step::AnyMember)
    }

    /// This path, and then each item.
    pub fn item(&self) -> Self {
        self.then(Step::Item)
    }

    /// This path, and all below it.
    pub fn below(&self) -> Self {
        self.then(Step::Below)
    }

    /// How many steps lead to it.
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Reads a path.
    ///
    /// # Errors
    /// The first place that is no part of one.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let fault = |rest: &str, what: &str, mend: &str| PathError {
            at: text.len() - rest.len(),
            what: what.to_owned(),
            mend: mend.to_owned(),
        };
        let Some(mut rest) = text.strip_prefix('$') else {
            return Err(fault(text, "a JSON path begins with $", "write it as \"$.title\" or \"$[*].id\""));
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if steps.last() == Some(&Step::Below) {
                return Err(fault(rest, "`.**` is the end of a path", "end the path there, or name the way"));
            }
            if steps.len() == MAX_STEPS {
                let mend = "describe all below it at once, with `.**`";
                return Err(fault(rest, &format!("the path has more than {MAX_STEPS} steps"), mend));
            }
            if let Some(name) = rest.strip_prefix('.') {
                let end = name.find(['.', '[']).unwrap_or(name.len());
                let (name, after) = name.split_at_checked(end).unwrap_or_default();
                let odd = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '$'));
                steps.push(match name {
                    "*" => Step::AnyMember,
                    "**" => Step::Below,
                    "" => {
                        let mend = "write a name, `*` or `**`; there is no `..` here";
                        return Err(fault(rest.get(1..).unwrap_or_default(), "a name is missing", mend));
                    }
                    _ => match name.find(odd) {
                        None => Step::Member(name.into()),
                        Some(at) => {
                            let place = rest.get(1 + at..).unwrap_or_default();
                            let mend = format!("write it in brackets, as ['{name}']");
                            return Err(fault(place, "this character cannot stand in a plain name", &mend));
                        }
                    },
                });
                rest = after;
            } else if let Some(after) = rest.strip_prefix("[*]") {
                steps.push(Step::Item);
                rest = after;
            } else if let Some(quote) = ['\'', '"']
                .into_iter()
                .find(|quote| rest.starts_with(['[']) && rest.get(1..).is_some_and(|inner| inner.starts_with(*quote)))
            {
                let inner = rest.get(2..).unwrap_or_default();
                let Some((name, after)) = quoted(inner, quote) else {
                    return Err(fault(rest, "this name has no end", &format!("end it with {quote}]")));
                };
                steps.push(Step::Member(name.into()));
                rest = after;
            } else if rest.starts_with('[') {
                let number = rest.get(1..).is_some_and(|inner| inner.starts_with(|c: char| c.is_ascii_digit()));
                return Err(if number {
                    fault(rest, "single items of an array cannot be told apart", "write [*] for each of them")
                } else {
                    fault(rest, "no such step", "write [*] for items, ['name'] for a member")
                });
            } else {
                return Err(fault(rest, "no step begins here", "write `.name`, `.*`, `.**`, `[*]` or `['name']`"));
            }
        }
        Ok(Self(steps))
    }
}

/// A quoted name up to its `quote` and bracket, unescaped, and what comes after.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '\\' => name.push(chars.next().filter(|c| *c == quote || *c == '\\')?),
            c if c == quote => return Some((name, chars.as_str().strip_prefix(']')?)),
            c => name.push(c),
        }
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('$')?;
        for step in &self.0 {
            match step {
                Step::AnyMember => f.write_str(".*")?,
                Step::Item => f.write_str("[*]")?,
                Step::Below => f.write_str(".**")?,
                Step::Member(name) => {
                    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '$');
                    if !name.is_empty() && name.chars().all(plain) {
                        write!(f, ".{name}")?;
                    } else {
                        write!(f, "['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kinds(u8);

impl Kinds {
    const ALL: Self = Self(0x3f);
    const NONE: Self = Self(0);

    fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The scalars that may stand for a value of that purpose. A class of text takes numbers and `true` too, which are
    /// then judged as they are written.
    fn scalars(purpose: &Purpose, quoted: bool) -> Self {
        let kinds = match (purpose.expect(), purpose.name()) {
            (Expect::Scored | Expect::Refuse, _) => return Self::ALL,
            (_, "integer" | "number") => Self::NONE.with(Kind::Number),
            (_, "boolean") => Self::NONE.with(Kind::Boolean),
            _ => Self::NONE.with(Kind::String).with(Kind::Number).with(Kind::Boolean),
        };
        let kinds = if quoted { kinds.with(Kind::String) } else { kinds };
        if purpose.nullable() { kinds.with(Kind::Null) } else { kinds }
    }
}

impl fmt::Display for Kinds {
    /// `a string or a number`, without `null`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (Kind::Object, "an object"),
            (Kind::Array, "an array"),
            (Kind::String, "a string"),
            (Kind::Number, "a number"),
            (Kind::Boolean, "true or false"),
        ];
        let mut joint = "";
        for (_, word) in words.iter().filter(|(kind, _)| self.has(*kind)) {
            write!(f, "{joint}{word}")?;
            joint = " or ";
        }
        Ok(())
    }
}

/// A place and where its steps lead.
#[derive(Debug)]
struct Place {
    /// Sorted by key.
    named: Box<[(Box<[u8]>, u32)]>,
    /// Any other key.
    any: u32,
    item: u32,
    purpose: Arc<Purpose>,
    kinds: Kinds,
}

/// Leads to the default place: an index that no other place has.
const DEFAULT: u32 = u32::MAX;

/// The places of one operation's documents.
#[derive(Debug)]
pub struct JsonTree {
    default: Place,
    places: Box<[Place]>,
    /// As they were described, for whoever lists them.
    paths: Box<[(JsonPath, Arc<Purpose>)]>,
}

/// One place of a [`JsonTree`].
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    tree: &'a JsonTree,
    place: &'a Place,
}

/// Why paths make no tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeError {
    /// Which path, by its position.
    pub path: usize,
    /// The other one that it does not go with.
    pub other: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

impl JsonTree {
    /// The tree of these paths; `other` is what everything else is for. With `quoted`, numbers, `true` and `false` may
    /// also come as strings.
    ///
    /// # Errors
    /// Every path that contradicts another.
    pub fn build(
        paths: Vec<(JsonPath, Arc<Purpose>)>,
        other: &Arc<Purpose>,
        quoted: bool,
    ) -> Result<Self, Vec<TreeError>> {
        let drafts = draft(&paths)?;
        let places = Merge { drafts: &drafts, paths: &paths, other, quoted }.places().ok_or_else(|| {
            let what = "the paths with `*` make too many places together".to_owned();
            vec![TreeError {
                path: 0,
                other: None,
                what,
                mend: "describe less in single places, more with `.**`".into(),
            }]
        })?;
        Ok(Self { default: Place::default_for(other), places, paths: paths.into() })
    }

    /// A tree that names nothing.
    pub fn empty(other: &Arc<Purpose>) -> Self {
        Self { default: Place::default_for(other), places: Box::new([]), paths: Box::new([]) }
    }

    /// The place of the whole document.
    pub fn root(&self) -> Node<'_> {
        self.at(0)
    }

    /// Whether nothing is described: every document is what `other` says, through and through.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The paths as they were described, each with what it is for.
    pub fn paths(&self) -> impl Iterator<Item = (&JsonPath, &Purpose)> {
        self.paths.iter().map(|(path, purpose)| (path, &**purpose))
    }

    /// What everything else is for.
    pub fn other(&self) -> &Purpose {
        &self.default.purpose
    }

    fn at(&self, index: u32) -> Node<'_> {
        let place = usize::try_from(index).ok().and_then(|index| self.places.get(index));
        Node { tree: self, place: place.unwrap_or(&self.default) }
    }
}

impl<'a> Node<'a> {
    /// The place of the value behind a key, unescaped.
    pub fn member(self, key: &[u8]) -> Self {
        self.tree.at(self.place.named(key).unwrap_or(self.place.any))
    }

    /// The place of each item of an array.
    pub fn item(self) -> Self {
        self.tree.at(self.place.item)
    }

    /// Whether some path names a member of this key, or any member. A key that none does is the client's own, and to be
    /// judged as text is.
    pub fn knows(self, key: &[u8]) -> bool {
        self.place.named(key).is_some_and(|index| index != DEFAULT)
            || self.place.any != DEFAULT && self.place.named(key).is_none()
    }

    /// Whether the key itself is spelled in the policy; else it is the client's own, though `*` may take it.
    pub fn spells(self, key: &[u8]) -> bool {
        self.place.named(key).is_some()
    }

    /// Whether the policy describes this place; else it is one of all others.
    pub fn is_described(self) -> bool {
        !std::ptr::eq(self.place, &self.tree.default)
    }

    /// What a scalar here is held against.
    pub fn expect(self) -> Expect<'a> {
        self.place.purpose.expect()
    }

    /// What a scalar here is for.
    pub fn purpose(self) -> &'a Arc<Purpose> {
        &self.place.purpose
    }

    /// Whether a value of that kind may stand here.
    pub fn takes(self, kind: Kind) -> bool {
        self.place.kinds.has(kind)
    }

    /// The kinds that may stand here, in words: `a string or a number`. For the reason of a refusal.
    pub fn kinds(self) -> impl fmt::Display + 'a {
        self.place.kinds
    }
}

impl Place {
    fn default_for(other: &Arc<Purpose>) -> Self {
        Self { named: Box::new([]), any: DEFAULT, item: DEFAULT, purpose: Arc::clone(other), kinds: Kinds::ALL }
    }

    fn named(&self, key: &[u8]) -> Option<u32> {
        let at = self.named.binary_search_by(|(own, _)| (**own).cmp(key)).ok()?;
        self.named.get(at).map(|(_, index)| *index)
    }
}

/// A place by the steps that lead to it, before paths that fit the same places are merged.
#[derive(Debug, Default)]
struct Draft<'p> {
    members: BTreeMap<&'p str, usize>,
    any: Option<usize>,
    item: Option<usize>,
    /// The path that ends here.
    own: Option<usize>,
    /// The path that ends in `.**` here.
    below: Option<usize>,
}

/// The places of all paths, the document first.
fn draft(paths: &[(JsonPath, Arc<Purpose>)]) -> Result<Vec<Draft<'_>>, Vec<TreeError>> {
    let mut drafts = vec![Draft::default()];
    let mut ways = Vec::with_capacity(paths.len());
    let mut errors = Vec::new();
    for (index, (path, _)) in paths.iter().enumerate() {
        let (mut at, mut way) = (0, Vec::new());
        let mut taken = None;
        for step in &path.0 {
            way.push(at);
            let next = drafts.len();
            let Some(here) = drafts.get_mut(at) else { break };
            at = match step {
                Step::Member(name) => *here.members.entry(name).or_insert(next),
                Step::AnyMember => *here.any.get_or_insert(next),
                Step::Item => *here.item.get_or_insert(next),
                Step::Below => {
                    taken = Some(*here.below.get_or_insert(index));
                    break;
                }
            };
            if at == next {
                drafts.push(Draft::default());
            }
        }
        let first = taken.or_else(|| drafts.get_mut(at).map(|here| *here.own.get_or_insert(index)));
        if let Some(first) = first.filter(|first| *first != index) {
            let what = format!("`{path}` is described for the second time");
            errors.push(TreeError { path: index, other: Some(first), what, mend: "remove one of them".to_owned() });
        }
        ways.push(way);
    }
    for (index, (way, (path, _))) in ways.iter().zip(paths).enumerate() {
        let leaf = way.iter().find_map(|at| drafts.get(*at).and_then(|here| here.own));
        if let Some((other, (above, purpose))) = leaf.and_then(|other| Some((other, paths.get(other)?))) {
            let what = format!("`{path}` lies below `{above}`, which is a value ({})", purpose.spec());
            let mend = format!("remove one of them, or write `{}` for what may be either", above.below());
            errors.push(TreeError { path: index, other: Some(other), what, mend });
        }
    }
    if errors.is_empty() { Ok(drafts) } else { Err(errors) }
}

/// One path's progress at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Thread {
    /// At this draft.
    At(usize),
    /// Below the end of this path, for good.
    Below(usize),
}

/// Most threads followed while paths are merged.
const MAX_WORK: usize = 1 << 21;

/// Paths that fit the same places become one place for each set of them: what is known of a value is all of its paths
/// that still fit, the most particular first.
struct Merge<'p> {
    drafts: &'p [Draft<'p>],
    paths: &'p [(JsonPath, Arc<Purpose>)],
    other: &'p Arc<Purpose>,
    quoted: bool,
}

/// The sets of threads that have a place, by index.
#[derive(Default)]
struct States {
    all: Vec<Vec<Thread>>,
    known: HashMap<Vec<Thread>, u32>,
    work: usize,
}

impl States {
    /// The place of a set; `None` when there are too many.
    fn place(&mut self, threads: Vec<Thread>) -> Option<u32> {
        self.work += threads.len() + 1;
        if threads.is_empty() {
            return Some(DEFAULT);
        }
        if let Some(index) = self.known.get(&threads) {
            return Some(*index);
        }
        if self.all.len() >= MAX_NODES || self.work > MAX_WORK {
            return None;
        }
        let index = u32::try_from(self.all.len()).ok()?;
        self.all.push(threads.clone());
        self.known.insert(threads, index);
        Some(index)
    }
}

impl<'p> Merge<'p> {
    fn draft(&self, thread: Thread) -> Option<&'p Draft<'p>> {
        match thread {
            Thread::At(index) => self.drafts.get(index),
            Thread::Below(_) => None,
        }
    }

    /// What `.**` leads to: it fits all that follows, so nothing less particular is ever asked.
    fn settle(&self, threads: impl IntoIterator<Item = Thread>) -> Vec<Thread> {
        let mut settled = Vec::new();
        for thread in threads {
            settled.push(thread);
            match self.draft(thread).map(|draft| draft.below) {
                Some(None) => {}
                Some(Some(path)) => {
                    settled.push(Thread::Below(path));
                    break;
                }
                None => break,
            }
        }
        settled
    }

    /// Where all threads are one step further.
    fn step(&self, threads: &[Thread], to: impl Fn(&Draft<'p>) -> [Option<usize>; 2]) -> Vec<Thread> {
        self.settle(
            threads
                .iter()
                .flat_map(|thread| match self.draft(*thread) {
                    Some(draft) => to(draft).map(|next| next.map(Thread::At)),
                    None => [Some(*thread), None],
                })
                .flatten(),
        )
    }

    /// All places, the document's first; `None` when there are too many.
    fn places(&self) -> Option<Box<[Place]>> {
        let mut states = States::default();
        if !self.paths.is_empty() {
            states.place(self.settle([Thread::At(0)]))?;
        }
        let mut places = Vec::new();
        while let Some(threads) = states.all.get(places.len()).cloned() {
            let keys: BTreeSet<&str> =
                threads.iter().filter_map(|t| self.draft(*t)).flat_map(|d| d.members.keys().copied()).collect();
            let mut named = Vec::with_capacity(keys.len());
            for key in keys {
                let next = self.step(&threads, |draft| [draft.members.get(key).copied(), draft.any]);
                named.push((key.as_bytes().into(), states.place(next)?));
            }
            let any = states.place(self.step(&threads, |draft| [draft.any, None]))?;
            let item = states.place(self.step(&threads, |draft| [draft.item, None]))?;
            let (purpose, kinds) = self.value(&threads);
            places.push(Place { named: named.into(), any, item, purpose: Arc::clone(purpose), kinds });
        }
        Some(places.into())
    }

    /// What a value is for, and of which kinds it may be: as the most particular path says that ends here.
    fn value(&self, threads: &[Thread]) -> (&'p Arc<Purpose>, Kinds) {
        let purpose = |path: usize| self.paths.get(path).map_or(self.other, |(_, purpose)| purpose);
        let scalars = |purpose: &Purpose| Kinds::scalars(purpose, self.quoted);
        let containers = Kinds::NONE.with(Kind::Object).with(Kind::Array).with(Kind::Null);
        let below = threads.iter().find_map(|thread| match thread {
            Thread::Below(path) => Some(purpose(*path)),
            Thread::At(_) => None,
        });
        match (threads.first().and_then(|thread| self.draft(*thread)), below) {
            (Some(Draft { own: Some(path), .. }), _) => (purpose(*path), scalars(purpose(*path))),
            (_, Some(below)) => (below, scalars(below).and(containers)),
            (Some(draft), None) => {
                let mut kinds = Kinds::NONE.with(Kind::Null);
                if draft.any.is_some() || !draft.members.is_empty() {
                    kinds = kinds.with(Kind::Object);
                }
                if draft.item.is_some() {
                    kinds = kinds.with(Kind::Array);
                }
                (self.other, kinds)
            }
            (None, None) => (self.other, Kinds::ALL),
        }
    }
}

#[cfg(test)]
mod tests;
