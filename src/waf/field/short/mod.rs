//! Reads short human text (a search box, a title, a name) and says whether it is an attack on whoever reads it next.
//!
//! Rules that look for single words refuse people who write *about* code. This reader weighs instead: every shape
//! (`shape`, one file for each family of attacks) has a weight, from what needs company to what no ordinary text has,
//! and only together do the shapes of one text make an [`Verdict::Attack`]: a break-out and what it is for, a command
//! with the argument that makes it one, a tag with a handler that runs by itself. What a decoder behind the gate might
//! make of the value is read as well, step by step (`ladder`), and weighs more the harder it was hidden. Code that is
//! told weighs less than code that is sent: what the text begins with says in whose language all of it is (`opening`),
//! and words around a path, a command or a call say that nothing reads it as one (`prose`).
//!
//! In goes the value as the application will see it first, any bytes. Out comes a [`Reading`]. A value of letters,
//! digits and mild punctuation without a trigger word (`plain`) is read once and costs nothing more. All else is
//! linear: a fixed number of automata over the value and over what the ladder makes of it, at most eight
//! times its length (4 KiB are free). The automata are built once for the process ([`prepare`]) and keep what they learn
//! of texts, at most 2 MiB for each of 14 in each thread. Fails closed: a value that decodes to more than that is at least
//! [`Verdict::Doubtful`].

mod breakout;
mod code;
mod entity;
mod header;
mod ladder;
mod markup;
mod opening;
mod path;
mod plain;
mod prose;
mod query;
mod remote;
mod shape;
mod shell;
mod sql;
mod steps;
mod template;

#[cfg(test)]
mod tests;

pub use ladder::{Decoded, Step};
pub use plain::is_plain;

use crate::operator::{reads_as_html, reads_as_sql};
use opening::Opening;
use shape::{Hit, Sets};
use std::borrow::Cow;
use std::fmt;

/// What a text of one field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nobody need look at it.
    Ordinary,
    /// It has a sign of an attack, and so has much honest text: the rule set decides.
    Doubtful,
    /// Refuse it.
    Attack,
}

/// A verdict and the reasons for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What the text is.
    pub verdict: Verdict,
    /// The signs that were found, at most 16, of the reading of the text that weighs most. Ordinary text may have some
    /// that are too weak to matter.
    pub signs: Vec<Sign>,
}

/// One shape that was found in the text, or in what decoding made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sign {
    /// What kind of interpreter it is meant for.
    pub family: Family,
    /// What it shows.
    pub role: Role,
    /// The shape in a few words. Never a piece of the value.
    pub what: &'static str,
    /// What had to be decoded before it was seen.
    pub after: Decoded,
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} `{}`{}", self.family, self.role, self.what, self.after)
    }
}

/// What a sign shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It ends the string, tag or command it stands in.
    BreakOut,
    /// It does something.
    Payload,
    /// It asks whether an attack would work.
    Probe,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BreakOut => "break-out",
            Self::Payload => "payload",
            Self::Probe => "probe",
        })
    }
}

/// Whose language an attack speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// SQL.
    Sql,
    /// HTML and script in it.
    Markup,
    /// Command shells, Unix and Windows.
    Shell,
    /// Template and expression languages, lookups of loggers.
    Template,
    /// Queries that are not SQL: LDAP filters, XPath, documents with operators.
    Query,
    /// Paths out of a folder, files of the system.
    Path,
    /// URLs a server should not fetch.
    Remote,
    /// Lines of a header or a mail.
    Header,
    /// Program text and serialised objects.
    Code,
    /// XML entities, includes.
    Entity,
    /// More layers of encoding than are read.
    Layers,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sql => "sql",
            Self::Markup => "markup",
            Self::Shell => "shell",
            Self::Template => "template",
            Self::Query => "query",
            Self::Path => "path",
            Self::Remote => "remote",
            Self::Header => "header",
            Self::Code => "code",
            Self::Entity => "entity",
            Self::Layers => "layers",
        })
    }
}

/// A text of this weight is an attack.
const ATTACK: u8 = 4;
/// A text of this weight is doubtful.
const DOUBTFUL: u8 = 3;
/// From this weight on it counts beside how well a text was hidden.
const NOTABLE: u8 = 2;
/// What code weighs less in a sentence that is about it. Doubtful it stays: the rules see it.
const TOLD: u8 = 4;
/// What signs weigh less that are only seen when the words in front are left out.
const BEHIND_WORDS: u8 = 1;
/// Signs that are reported.
const REPORTED: usize = 16;

/// Builds the automata, a tenth of a second of work, so that no request waits for them.
pub fn prepare() {
    let _ = (Sets::get(), plain::is_plain(b""));
}

/// Reads one value, as the application will see it. Any bytes, any length; time linear in the length.
///
/// ```
/// use gatehouse_waf::field::short::{Verdict, read};
/// assert_eq!(read(b"Fix: SELECT query returns null, it's O'Reilly's && mine").verdict, Verdict::Ordinary);
/// assert_eq!(read(b"O' or 'a'='a").verdict, Verdict::Attack);
/// ```
#[must_use]
pub fn read(value: &[u8]) -> Reading {
    let (weight, signs) = weigh_all(value);
    Reading { verdict: verdict(weight), signs }
}

/// Reads one value that is a line of somebody's own: a title, a question, a name. In a sentence code may be quoted, and
/// what is quoted is told, not sent (`prose`); all else is as with [`read`].
///
/// ```
/// use gatehouse_waf::field::short::{Verdict, read, read_line};
/// let title = b"How is `<script>alert(1)</script>` shown in the preview?";
/// assert_eq!((read(title).verdict, read_line(title).verdict), (Verdict::Attack, Verdict::Ordinary));
/// assert_eq!(read_line(b"My list <script>alert(1)</script> of things to do").verdict, Verdict::Attack);
/// assert_eq!(read_line(b"Login ' OR 1=1 --").verdict, Verdict::Attack);
/// ```
#[must_use]
pub fn read_line(value: &[u8]) -> Reading {
    let (mut weight, mut signs) = weigh_all(value);
    // A page that shows the line as it is runs its markup wherever it stands; only back-ticks say that it is code.
    let acts = signs.iter().any(|sign| sign.family == Family::Markup && sign.role == Role::Payload);
    let mut line = Cow::Borrowed(value);
    if weight >= DOUBTFUL
        && let Some(rest) =
            prose::without_quotations(value, if acts { prose::Marks::BackTicks } else { prose::Marks::All })
    {
        (weight, signs) = weigh_all(&rest);
        line = Cow::Owned(rest);
    } else if weight >= DOUBTFUL && !acts && prose::speaks_of_code(value) {
        weight = weight.saturating_sub(TOLD).max(DOUBTFUL);
    }
    if weight >= DOUBTFUL && signs.iter().all(|sign| sign.after == Decoded::default()) && is_told(&line) {
        weight = weight.min(DOUBTFUL - 1);
    }
    Reading { verdict: verdict(weight), signs }
}

/// Whether all that a line shows of attacks is of a kind that has to stand by itself, and words stand around it: a path
/// with words behind it is the path of nothing, and a program with words before it is not run, unless it ends what it
/// stands in first. Markup and templates act wherever they stand.
fn is_told(line: &[u8]) -> bool {
    let Some(around) = prose::around(line) else { return false };
    let sets = Sets::get();
    let mut hits = Vec::new();
    for text in [line, prose::behind_words(line)] {
        sets.find(text, Opening::of(text), true, &mut hits);
        breakout::find(text, sets, &mut hits);
    }
    let joins = line.iter().any(|byte| b";|&`\n\r".contains(byte)) || memchr::memmem::find(line, b"$(").is_some();
    let told = |hit: &Hit| match hit.family {
        Family::Path | Family::Remote => around.worded(),
        Family::Code => hit.role != Role::BreakOut && around.speaks(),
        Family::Shell => hit.role != Role::BreakOut && !joins && around.speaks(),
        Family::Sql | Family::Query => {
            hit.role != Role::BreakOut && !line.contains(&b';') && prose::speaks_of_code(line)
        }
        Family::Template => hit.role == Role::Probe && around.tail >= 2 && prose::speaks_of_code(line),
        Family::Markup | Family::Header | Family::Entity | Family::Layers => false,
    };
    hits.iter().filter(|hit| hit.weight >= NOTABLE).all(told)
}

fn verdict(weight: u8) -> Verdict {
    match weight {
        ATTACK.. => Verdict::Attack,
        DOUBTFUL.. => Verdict::Doubtful,
        _ => Verdict::Ordinary,
    }
}

/// What the text weighs that weighs most, of the value and of what the ladder makes of it.
fn weigh_all(value: &[u8]) -> (u8, Vec<Sign>) {
    if plain::is_plain(value) {
        return (0, Vec::new());
    }
    let inert = markup::without_inert(value);
    let value = inert.as_deref().unwrap_or(value);
    let sets = Sets::get();
    let mut best = weigh_placed(value, Decoded::default(), sets);
    let mut texts = ladder::Ladder::new(value);
    while best.0 < ATTACK {
        let Some((text, after)) = texts.next() else { break };
        let found = weigh_placed(text, after, sets);
        if found.0 > best.0 {
            best = found;
        }
    }
    let (mut weight, mut signs) = best;
    if texts.ran_out() {
        weight = weight.saturating_add(DOUBTFUL);
        let what = "more layers than are read";
        signs.push(Sign { family: Family::Layers, role: Role::Probe, what, after: Decoded::default() });
    }
    (weight, signs)
}

/// What a text weighs, also without the words it begins with: many shapes ask where a value begins, and a harmless title
/// in front must not hide them. What is found only so weighs less.
fn weigh_placed(text: &[u8], after: Decoded, sets: &Sets) -> (u8, Vec<Sign>) {
    let whole = weigh(text, after, sets);
    if whole.0 >= ATTACK || prose::first_word(text).is_some_and(is_command) {
        return whole;
    }
    let rest = prose::behind_words(text);
    if rest.is_empty() || rest.len() == text.len() || plain::is_plain(rest) {
        return whole;
    }
    let (weight, signs) = weigh(rest, after, sets);
    let weight = weight.saturating_sub(BEHIND_WORDS);
    if weight > whole.0 { (weight, signs) } else { whole }
}

/// Whether a command line begins with this word: what follows is its argument.
fn is_command(word: &[u8]) -> bool {
    shell::COMMANDS.iter().any(|command| word.eq_ignore_ascii_case(command.as_bytes()))
}

/// What the shapes in one text weigh together.
fn weigh(text: &[u8], after: Decoded, sets: &Sets) -> (u8, Vec<Sign>) {
    let mut hits: Vec<Hit> = Vec::new();
    sets.find(text, Opening::of(text), false, &mut hits);
    breakout::find(text, sets, &mut hits);
    let mut weight = hits.iter().fold(0u8, |sum, hit| sum.saturating_add(hit.weight));
    if weight < ATTACK {
        // The detectors find shapes in much prose: they count for something only beside a break-out.
        let broke_out = hits.iter().any(|hit| hit.role == Role::BreakOut);
        if broke_out && reads_as_sql(text) {
            hits.push(Hit { family: Family::Sql, role: Role::Payload, what: "reads as SQL", weight: 1 });
            weight += 1;
        }
        if broke_out && hits.iter().any(|hit| hit.family == Family::Markup) && reads_as_html(text) {
            hits.push(Hit { family: Family::Markup, role: Role::Payload, what: "reads as HTML", weight: 1 });
            weight += 1;
        }
    }
    if weight >= NOTABLE {
        weight = weight.saturating_add(after.suspicion());
    }
    let signs =
        hits.iter().take(REPORTED).map(|hit| Sign { family: hit.family, role: hit.role, what: hit.what, after });
    (weight, signs.collect())
}
