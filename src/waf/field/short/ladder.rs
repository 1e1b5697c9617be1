//! What decoders behind the gate might make of a value: a bounded set of texts, each one step from another.
//!
//! Every step is tried on every text, four steps deep; a step that changes nothing gives no text, and no text is given
//! twice. Together they are at most [`FACTOR`] times the value's bytes and [`FREE`], and at most [`TEXTS`]; a ladder
//! that would go on says so ([`Ladder::ran_out`]). Each step is one pass over the text. They live in `steps`
//! by what they undo: encodings of bytes, and ways of writing that an interpreter sees through.

use super::steps::{encoding, writing};
use std::collections::VecDeque;
use std::fmt;

/// Steps from the value to a text, at most.
const DEPTH: usize = 4;
/// Texts of one value, at most.
const TEXTS: usize = 24;
/// Bytes of all texts per byte of the value.
pub(super) const FACTOR: usize = 8;
/// Bytes of texts that any value may have.
const FREE: usize = 4 << 10;

/// One way to decode a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// `%41` and `%u0041`.
    Url,
    /// `&lt;`, `&#60;`, `&#x3c`.
    Entities,
    /// `\x41`, `\u0041`, `\u{41}`, `\101`.
    Escapes,
    /// Full-width and look-alike characters, overlong UTF-8, invisible characters.
    Folding,
    /// `/* */` taken for a blank.
    Comments,
    /// `/* */` taken for nothing.
    CommentsCut,
    /// `c""at`, `c\at`, `${IFS}`.
    Shell,
    /// `'al'+'ert'`.
    Joining,
    /// `${lower:j}`, `${::-j}`.
    Lookups,
    /// Base64, of both alphabets.
    Base64,
    /// Pairs of hexadecimal digits.
    Hex,
}

impl Step {
    const ALL: [Self; 11] = [
        Self::Url,
        Self::Entities,
        Self::Escapes,
        Self::Folding,
        Self::Base64,
        Self::Hex,
        Self::Shell,
        Self::Comments,
        Self::CommentsCut,
        Self::Joining,
        Self::Lookups,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Url => "URL-decoding",
            Self::Entities => "HTML entities",
            Self::Escapes => "escapes",
            Self::Folding => "Unicode folding",
            Self::Comments => "comments as blanks",
            Self::CommentsCut => "comments cut",
            Self::Shell => "shell unquoting",
            Self::Joining => "joined strings",
            Self::Lookups => "lookups",
            Self::Base64 => "base64",
            Self::Hex => "hexadecimal",
        }
    }

    /// The text after this step, if it changes.
    fn apply(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Url => encoding::url(text),
            Self::Entities => encoding::entities(text),
            Self::Escapes => encoding::escapes(text),
            Self::Folding => encoding::fold(text),
            Self::Base64 => encoding::base64(text),
            Self::Hex => encoding::hex(text),
            Self::Comments => writing::comments(text, true),
            Self::CommentsCut => writing::comments(text, false),
            Self::Shell => writing::shell(text),
            Self::Joining => writing::joined(text),
            Self::Lookups => writing::lookups(text),
        }
    }
}

/// The steps that led to a text, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Decoded([Option<Step>; DEPTH]);

impl Decoded {
    /// The steps, first to last; none for the value itself.
    pub fn steps(&self) -> impl Iterator<Item = Step> + '_ {
        self.0.iter().flatten().copied()
    }

    /// How much an attack found only after these steps weighs more: nobody writes ordinary text this way.
    pub(super) fn suspicion(&self) -> u8 {
        let count = |wanted| self.steps().filter(|step| *step == wanted).count();
        let hidden = [Step::Base64, Step::Hex, Step::Lookups].iter().any(|step| count(*step) > 0);
        if hidden || count(Step::Url) > 1 || count(Step::Entities) > 1 {
            2
        } else {
            u8::from(count(Step::Url) + count(Step::Escapes) + count(Step::Entities) > 0)
        }
    }

    fn and(mut self, step: Step) -> Option<Self> {
        *self.0.iter_mut().find(|place| place.is_none())? = Some(step);
        Some(self)
    }
}

/// ` after URL-decoding, base64`, or nothing.
impl fmt::Display for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps().enumerate() {
            write!(f, "{}{}", if at == 0 { " after " } else { ", " }, step.name())?;
        }
        Ok(())
    }
}

/// The texts of one value, shallow ones first, made as they are asked for.
pub(super) struct Ladder<'a> {
    value: &'a [u8],
    made: Vec<(Vec<u8>, Decoded)>,
    /// Which text is being decoded (0: the value, else one more than its place in `made`) and by which steps still.
    from: usize,
    pending: VecDeque<Step>,
    bytes_left: usize,
    ran_out: bool,
}

impl<'a> Ladder<'a> {
    pub(super) fn new(value: &'a [u8]) -> Self {
        Self {
            value,
            made: Vec::new(),
            from: 0,
            pending: Step::ALL.into(),
            bytes_left: value.len().saturating_mul(FACTOR).saturating_add(FREE),
            ran_out: false,
        }
    }

    /// Whether there was more to decode than the bounds allow.
    pub(super) fn ran_out(&self) -> bool {
        self.ran_out
    }

    /// The next text.
    pub(super) fn next(&mut self) -> Option<(&[u8], Decoded)> {
        loop {
            let (source, path) = match self.from.checked_sub(1) {
                None => (self.value, Decoded::default()),
                Some(at) => self.made.get(at).map(|(text, path)| (text.as_slice(), *path))?,
            };
            let Some(step) = self.pending.pop_front() else {
                self.from += 1;
                self.pending = Step::ALL.into();
                continue;
            };
            let Some(after) = path.and(step) else { continue };
            let Some(text) = step.apply(source) else { continue };
            if text.is_empty() || text == self.value || self.made.iter().any(|(known, _)| *known == text) {
                continue;
            }
            if self.made.len() >= TEXTS || text.len() > self.bytes_left {
                self.ran_out = true;
                return None;
            }
            self.bytes_left -= text.len();
            self.made.push((text, after));
            return self.made.last().map(|(text, after)| (text.as_slice(), *after));
        }
    }
}
