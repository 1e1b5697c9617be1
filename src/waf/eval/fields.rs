//! The fields of a request, each held against what it is for.
//!
//! Before the rules run, every field that the operation's table says something of gets a verdict. What fits a closed
//! grammar, is free text of sound structure, or reads as ordinary where it is short, is no longer shown to the rules,
//! nor is the raw text around it once nothing else is in it; all else they see at full strength. Header fields they see
//! always, for they also ask what kind of message it is. Nothing is refused here: the verdicts are told, and whoever
//! drives the transaction carries them out.
//!
//! A JSON document is judged while it is read, so what is hidden is never copied, and a field counts wherever in the
//! body it stands. Memory: at most [`MOST_NOTED`] fields are noted; of a JSON document the hashes of its keys; of each
//! thread [`KNOWN`] short texts and as many header fields. Time: linear in the fields.

use super::message::{Field, Message};
use super::texts::Texts;
use crate::body::json::{self, Container, Kind};
use crate::body::multipart::FilePart;
use crate::field::class::Misfit;
use crate::field::grammar::Grammar;
use crate::field::short::{self, Reading, Sign, Verdict};
use crate::field::{Class, Expect, Fields, JsonTree, Node, Purpose, Table, sniff};
use crate::variable::Variable;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::thread::LocalKey;

/// Most fields whose verdicts are kept; those that fit leave room for those that do not.
const MOST_NOTED: usize = 64;
const MOST_FITTING: usize = 32;
/// Bytes of text with signs of anything that are read closely, of one value and of one request; what is beyond is not
/// read, but shown to the rules. A text made of scraps of attacks costs a microsecond for each few bytes.
const MOST_READ: usize = 16 << 10;
const MOST_READ_IN_ALL: usize = 256 << 10;
/// Most bytes of a name that are kept.
const NAME_BYTES: usize = 96;

/// Where in a request a field stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldPlace {
    /// A parameter in the path.
    Path,
    /// A query parameter.
    Query,
    /// A header field.
    Header,
    /// A cookie.
    Cookie,
    /// A field of a form.
    Form,
    /// A value in a JSON document.
    Json,
    /// An uploaded file.
    File,
    /// The body as one value.
    Body,
}

impl FieldPlace {
    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
            Self::Form => "form",
            Self::Json => "json",
            Self::File => "file",
            Self::Body => "body",
        }
    }
}

impl fmt::Display for FieldPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What came of holding a field against what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldVerdict {
    /// It is what it should be.
    Fits,
    /// Text with signs of an attack that honest text has too: the rules decide.
    Doubtful(Vec<Sign>),
    /// Text that is an attack.
    Attack(Vec<Sign>),
    /// It is not what it should be; why.
    Misfit(String),
}

impl FieldVerdict {
    /// Whether the request should be refused for it.
    pub fn refuses(&self) -> bool {
        matches!(self, Self::Attack(_) | Self::Misfit(_))
    }

    /// One word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::Doubtful(_) => "doubtful",
            Self::Attack(_) => "attack",
            Self::Misfit(_) => "misfit",
        }
    }

    /// Of two verdicts the worse.
    fn or(self, other: impl FnOnce() -> Self) -> Self {
        let rank = |verdict: &Self| match verdict {
            Self::Fits => 0,
            Self::Doubtful(_) => 1,
            Self::Misfit(_) => 2,
            Self::Attack(_) => 3,
        };
        if rank(&self) == 3 {
            return self;
        }
        let other = other();
        if rank(&other) > rank(&self) { other } else { self }
    }
}

impl fmt::Display for FieldVerdict {
    /// The reasons, in a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fits => f.write_str("fits"),
            Self::Misfit(what) => f.write_str(what),
            Self::Doubtful(signs) if signs.is_empty() => f.write_str("more text than is read closely"),
            Self::Doubtful(signs) | Self::Attack(signs) => {
                for (sign, joint) in signs.iter().take(4).zip(["", ", ", ", ", ", "]) {
                    write!(f, "{joint}{sign}")?;
                }
                Ok(())
            }
        }
    }
}

/// One field and its verdict.
#[derive(Debug, Clone)]
pub struct FieldNote {
    /// Where it stands.
    pub place: FieldPlace,
    /// Its name, a JSON value's as `json.tasks.0.status`; at most 96 bytes, what is not UTF-8 replaced. Client's text.
    pub name: String,
    /// Whether the verdict is on the name, which the policy does not know.
    pub of_name: bool,
    /// Whether the policy describes the field; else its class is that of all others of its place.
    pub described: bool,
    /// Whether the rules are not shown its value, or the name where the verdict is on that.
    pub hidden: bool,
    /// What came of it.
    pub verdict: FieldVerdict,
    purpose: Arc<Purpose>,
}

impl FieldNote {
    /// The class, as the policy spells it.
    pub fn class(&self) -> &str {
        self.purpose.spec()
    }

    /// What kind of class it is: `typed`, `short`, `free`, `opaque`, `json`, or the policy's own word, `scored` or `refuse`.
    pub fn kind(&self) -> &'static str {
        match self.purpose.expect() {
            Expect::Class(Class::Typed(_)) => "typed",
            Expect::Class(Class::Short(_)) => "short",
            Expect::Class(Class::Free(_)) => "free",
            Expect::Class(Class::Opaque(_)) => "opaque",
            Expect::Class(Class::Json(_)) => "json",
            Expect::Scored => "scored",
            Expect::Refuse => "refuse",
        }
    }
}

impl fmt::Display for FieldNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = if self.of_name { "name of " } else { "" };
        write!(f, "{of}{} {} ({}): {}", self.place, self.name, self.class(), self.verdict)
    }
}

/// Values that are as they should be and come again and again, as a browser's name of itself: by hash, the last of each.
const KNOWN: usize = 256;
/// Longest value that is remembered, in bytes.
const KNOWN_BYTES: usize = 512;

/// Values, each with what it was held against; a value that was fine for one purpose may not be for another.
type Memo = LocalKey<RefCell<Vec<(String, Vec<u8>)>>>;

thread_local! {
    /// Texts that read as ordinary, by the way they were read.
    static ORDINARY: RefCell<Vec<(String, Vec<u8>)>> = const { RefCell::new(Vec::new()) };
    /// Header fields that fitted a grammar, as the policy spells it: a client sends most of them with each of its requests.
    static FITTING: RefCell<Vec<(String, Vec<u8>)>> = const { RefCell::new(Vec::new()) };
}

fn known_place(value: &[u8]) -> Option<usize> {
    (value.len() <= KNOWN_BYTES).then(|| usize::try_from(crate::hashing::of(value) % KNOWN as u64).ok()).flatten()
}

/// Whether this very value was found to be fine for this.
fn is_known(memo: &'static Memo, purpose: &str, value: &[u8]) -> bool {
    let is = |(known, text): &(String, Vec<u8>)| text == value && known == purpose;
    let known = |place| memo.try_with(|all| all.try_borrow().is_ok_and(|all| all.get(place).is_some_and(is)));
    known_place(value).and_then(|place| known(place).ok()).unwrap_or(false)
}

fn know(memo: &'static Memo, purpose: &str, value: &[u8]) {
    let Some(place) = known_place(value) else { return };
    // A thread that is ending remembers nothing.
    let _ = memo.try_with(|all| {
        if let Ok(mut all) = all.try_borrow_mut() {
            all.resize(KNOWN, Default::default());
            if let Some((known, text)) = all.get_mut(place) {
                known.clear();
                known.push_str(purpose);
                text.clear();
                text.extend_from_slice(value);
            }
        }
    });
}

/// The verdicts on one request.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) noted: Vec<FieldNote>,
    fitting: usize,
    /// Bytes of text that were read closely.
    read: usize,
    /// Texts around fields that nothing is left of, or of whose query nothing is.
    pub(super) emptied: Vec<Variable>,
}

impl Notes {
    /// The one to refuse the request for: an attack before what does not fit.
    pub(super) fn refusal(&self) -> Option<&FieldNote> {
        let attack = self.noted.iter().find(|note| matches!(note.verdict, FieldVerdict::Attack(_)));
        attack.or_else(|| self.noted.iter().find(|note| note.verdict.refuses()))
    }

    /// Notes a verdict on a value; whether it need not be shown. Header fields and paths always are.
    fn value(&mut self, field: Place<'_>, purpose: &Arc<Purpose>, verdict: FieldVerdict) -> bool {
        let hide = verdict == FieldVerdict::Fits
            && !matches!(purpose.expect(), Expect::Scored)
            && !matches!(field.place, FieldPlace::Header | FieldPlace::Path);
        self.note(field, About { of_name: false, hidden: hide }, purpose, verdict);
        hide
    }

    /// Reads a line of somebody's own, which may speak of what it must not be.
    fn line(&mut self, value: &[u8]) -> FieldVerdict {
        self.read(value, "line", short::read_line)
    }

    /// Reads a text.
    fn text(&mut self, value: &[u8]) -> FieldVerdict {
        self.read(value, "text", short::read)
    }

    /// Reads a value in a way that has this name.
    fn read(&mut self, value: &[u8], way: &str, read: fn(&[u8]) -> Reading) -> FieldVerdict {
        if short::is_plain(value) || is_known(&ORDINARY, way, value) {
            return FieldVerdict::Fits;
        }
        self.read = self.read.saturating_add(value.len());
        if value.len() > MOST_READ || self.read > MOST_READ_IN_ALL {
            return FieldVerdict::Doubtful(Vec::new());
        }
        let reading = read(value);
        match reading.verdict {
            Verdict::Ordinary => {
                know(&ORDINARY, way, value);
                FieldVerdict::Fits
            }
            Verdict::Doubtful => FieldVerdict::Doubtful(reading.signs),
            Verdict::Attack => FieldVerdict::Attack(reading.signs),
        }
    }

    /// Holds a value against what it is for.
    fn judge(&mut self, purpose: &Purpose, value: &[u8]) -> FieldVerdict {
        let class = match purpose.expect() {
            Expect::Scored => return self.text(value),
            Expect::Refuse => {
                return FieldVerdict::Misfit("is not taken here".to_owned()).or(|| self.text(value));
            }
            Expect::Class(class) => class,
        };
        if let Err(Misfit { what, .. }) = class.check(value) {
            return FieldVerdict::Misfit(what).or(|| self.text(value));
        }
        match class {
            Class::Json(json) => {
                let scalars = json.scalars(value).unwrap_or_default();
                scalars.iter().fold(FieldVerdict::Fits, |so_far, text| so_far.or(|| self.fitting(&json.each, text)))
            }
            class => self.fitting(class, value),
        }
    }

    /// Reads what a value of sound structure says.
    fn fitting(&mut self, class: &Class, value: &[u8]) -> FieldVerdict {
        match class {
            Class::Short(_) => self.line(value),
            // Of JSON in a text each value is read by itself.
            Class::Free(_) | Class::Opaque(_) | Class::Json(_) => FieldVerdict::Fits,
            Class::Typed(grammar) => {
                let texts = grammar.texts(value);
                texts.iter().fold(FieldVerdict::Fits, |so_far, (_, text)| so_far.or(|| self.text(text)))
            }
        }
    }

    /// As [`judge`](Self::judge), for a header field: what it says of a grammar is remembered.
    fn judge_header(&mut self, purpose: &Purpose, value: &[u8]) -> FieldVerdict {
        if !matches!(purpose.expect(), Expect::Class(Class::Typed(_))) {
            return self.judge(purpose, value);
        }
        if is_known(&FITTING, purpose.spec(), value) {
            return FieldVerdict::Fits;
        }
        let verdict = self.judge(purpose, value);
        if verdict == FieldVerdict::Fits {
            know(&FITTING, purpose.spec(), value);
        }
        verdict
    }

    /// Judges a name that the policy does not know; whether it need not be shown.
    fn name(&mut self, place: FieldPlace, name: &[u8], purpose: &Arc<Purpose>) -> bool {
        let mut verdict = self.text(name);
        // Keys within free text are a part of it.
        let is_text = matches!(purpose.expect(), Expect::Class(Class::Free(_)));
        if !is_text && !Grammar::is_field_name(name) {
            verdict = verdict.or(|| FieldVerdict::Misfit("is no name of a field".to_owned()));
        }
        let hide = verdict == FieldVerdict::Fits && !matches!(purpose.expect(), Expect::Scored);
        if verdict != FieldVerdict::Fits {
            let field = Place { place, name, described: false };
            self.note(field, About { of_name: true, hidden: hide }, purpose, verdict);
        }
        hide
    }

    fn note(&mut self, field: Place<'_>, about: About, purpose: &Arc<Purpose>, verdict: FieldVerdict) {
        let fits = verdict == FieldVerdict::Fits;
        // What a request is refused for is kept whatever else there is, an attack whatever else does not fit.
        let most = match verdict {
            FieldVerdict::Fits | FieldVerdict::Doubtful(_) => MOST_NOTED,
            FieldVerdict::Misfit(_) => MOST_NOTED + MOST_NOTED / 2,
            FieldVerdict::Attack(_) => 2 * MOST_NOTED,
        };
        if self.noted.len() >= most || fits && self.fitting >= MOST_FITTING {
            return;
        }
        self.fitting += usize::from(fits);
        let Place { place, name, described } = field;
        let About { of_name, hidden } = about;
        let name = String::from_utf8_lossy(name.get(..NAME_BYTES).unwrap_or(name)).into_owned();
        self.noted.push(FieldNote { place, name, of_name, described, hidden, verdict, purpose: Arc::clone(purpose) });
    }
}

/// Which field, and whether the policy describes it.
#[derive(Clone, Copy)]
struct Place<'a> {
    place: FieldPlace,
    name: &'a [u8],
    described: bool,
}

impl<'a> Place<'a> {
    fn described(place: FieldPlace, name: &'a [u8]) -> Self {
        Self { place, name, described: true }
    }
}

/// What a verdict is on, and what follows from it.
struct About {
    of_name: bool,
    hidden: bool,
}

/// A parameter in the path.
pub(super) fn path(notes: &mut Notes, name: &str, value: &[u8], purpose: &Arc<Purpose>) {
    let verdict = notes.judge(purpose, value);
    notes.value(Place::described(FieldPlace::Path, name.as_bytes()), purpose, verdict);
}

/// Query parameters, header fields and cookies. `whole`: nothing of the query is left that is no parameter.
pub(super) fn head(fields: &Fields, message: &mut Message, texts: &mut Texts, notes: &mut Notes, whole: bool) {
    let all = named(&fields.query, FieldPlace::Query, &mut message.args_get, texts, notes);
    if all && whole {
        without_query(message, texts, notes);
    }
    for field in &message.request_headers {
        let (name, value) = (texts.get(field.name), texts.get(field.value));
        // Cookies are judged one by one; Host and the framing are the request model's.
        if FRAMING.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name)) {
            continue;
        }
        let (purpose, described) = fields.headers.look_up(name);
        let verdict = notes.judge_header(purpose, value);
        notes.value(Place { place: FieldPlace::Header, name, described }, purpose, verdict);
        if !described {
            notes.name(FieldPlace::Header, name, purpose);
        }
    }
    named(&fields.cookies, FieldPlace::Cookie, &mut message.cookies, texts, notes);
}

/// Header fields that are judged elsewhere.
const FRAMING: [&str; 6] = ["cookie", "host", "content-length", "transfer-encoding", "connection", "te"];

/// Judges fields by a table; whether nothing of them need be shown.
fn named(table: &Table, place: FieldPlace, fields: &mut [Field], texts: &Texts, notes: &mut Notes) -> bool {
    let mut all = true;
    for field in fields {
        let (name, value) = (texts.get(field.name), texts.get(field.value));
        let (purpose, described) = table.look_up(name);
        let verdict = notes.judge(purpose, value);
        field.hidden.value = notes.value(Place { place, name, described }, purpose, verdict);
        field.hidden.name = described || notes.name(place, name, purpose);
        all &= field.hidden.value && field.hidden.name;
    }
    all
}

/// What is left of the request line when nothing in the query need be shown.
fn without_query(message: &mut Message, texts: &mut Texts, notes: &mut Notes) {
    if message.single(Variable::QueryString).is_none_or(|query| texts.get(query).is_empty()) {
        return;
    }
    for (variable, stop) in
        [(Variable::RequestUri, None), (Variable::RequestUriRaw, None), (Variable::RequestLine, Some(b' '))]
    {
        let Some(id) = message.single(variable) else { continue };
        let text = texts.get(id);
        let Some(at) = memchr::memchr(b'?', text) else { continue };
        // A fragment is no part of the query: it stays.
        let fragment = memchr::memchr(b'#', text.get(at..).unwrap_or_default()).map(|after| at + after);
        let behind = fragment.or_else(|| stop.and_then(|stop| memchr::memrchr(stop, text)).filter(|stop| *stop > at));
        let rest = behind.and_then(|behind| text.get(behind..)).unwrap_or_default();
        let kept = [text.get(..at).unwrap_or_default(), rest].concat();
        message.set(variable, Some(texts.add_owned(kept)));
        notes.emptied.push(variable);
    }
    let nothing = texts.add(b"");
    message.set(Variable::QueryString, Some(nothing));
    notes.emptied.push(Variable::QueryString);
}

/// The raw body, where nothing of it need be shown: it is there, and empty.
pub(super) fn without_body(message: &mut Message, texts: &mut Texts, notes: &mut Notes) {
    let nothing = texts.add(b"");
    message.set(Variable::RequestBody, Some(nothing));
    notes.emptied.push(Variable::RequestBody);
}

/// Fields of a form; whether nothing of them need be shown.
pub(super) fn form(fields: &Fields, message: &mut Message, texts: &Texts, notes: &mut Notes) -> bool {
    named(&fields.form, FieldPlace::Form, &mut message.args_post, texts, notes)
}

/// The whole body, where it is one value; whether it need not be shown.
pub(super) fn whole(purpose: &Arc<Purpose>, body: &[u8], notes: &mut Notes) -> bool {
    let verdict = notes.judge(purpose, body);
    notes.value(Place::described(FieldPlace::Body, b"body"), purpose, verdict)
}

/// An uploaded file; whether its name need not be shown. `nth` counts the files of that field from 0.
pub(super) fn file(fields: &Fields, file: &FilePart, body: &[u8], nth: usize, notes: &mut Notes) -> bool {
    let content = body.get(file.content.clone()).unwrap_or_default();
    let Some(part) = fields.parts.get(&file.field) else {
        let other = fields.parts.other();
        let verdict = notes.judge(other, content).or(|| notes.text(&file.filename));
        notes.value(Place { place: FieldPlace::File, name: &file.field, described: false }, other, verdict);
        notes.name(FieldPlace::File, &file.field, other);
        return false;
    };
    let verdict = notes.judge(&part.name, &file.filename);
    let field = Place::described(FieldPlace::File, &file.field);
    let hide = notes.value(field, &part.name, verdict);
    let declared = file.headers.iter().find_map(|line| {
        let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
        name.eq_ignore_ascii_case(b"content-type").then(|| value.get(1..).unwrap_or_default().trim_ascii())
    });
    let declared = declared.unwrap_or_default();
    let verdict = if nth >= part.count {
        FieldVerdict::Misfit(format!("more than {} files", part.count))
    } else if part.max.is_some_and(|max| content.len() as u64 > max) {
        FieldVerdict::Misfit(format!("larger than {} bytes", part.max.unwrap_or_default()))
    } else if !part.takes(declared) {
        FieldVerdict::Misfit("this media type is not taken".to_owned())
    } else if let Some(what) = sniff::contradicts(declared, content) {
        FieldVerdict::Misfit(what.to_owned())
    } else {
        notes.judge(&part.content, content)
    };
    notes.value(field, &part.content, verdict);
    hide
}

/// Reads a JSON document and judges what it holds. What has to be shown becomes arguments. Returns why it could not be
/// read whole. `by_name`: the names of what is not shown are asked for, to be counted.
pub(super) fn document(
    fields: &Fields,
    body: &[u8],
    limits: &json::JsonLimits,
    message: &mut Message,
    texts: &mut Texts,
    notes: &mut Notes,
    by_name: bool,
) -> Option<String> {
    let (tree, keys) = (&fields.json, HashSet::new());
    let mut judge = Judge { tree, keys, shown: 0, arguments: 0, by_name, limits, message, texts, notes };
    json::read(body, limits.depth, &mut judge).map(|fault| format!("JSON parsing error: {fault}"))
}

struct Judge<'t, 'm> {
    tree: &'t JsonTree,
    /// Objects by number, each with its keys' hashes.
    keys: HashSet<(usize, u64)>,
    /// Bytes that are shown, and arguments.
    shown: usize,
    arguments: usize,
    by_name: bool,
    limits: &'m json::JsonLimits,
    message: &'m mut Message,
    texts: &'m mut Texts,
    notes: &'m mut Notes,
}

impl Judge<'_, '_> {
    fn show(&mut self, path: &[u8], name: bool, value: &[u8]) -> Result<(), json::Fault> {
        self.shown = self.shown.saturating_add(path.len()).saturating_add(value.len());
        if self.shown > self.limits.flattened {
            return Err(format!("names and values take more than {} bytes", self.limits.flattened));
        }
        if self.arguments >= self.limits.args {
            return Err(format!("the limit of {} arguments (SecArgumentsLimit) is reached", self.limits.args));
        }
        self.arguments += 1;
        let mut field = Field::shown(self.texts.add(path), self.texts.add(value));
        // A name that is shown stands before its value, which is an argument of its own or hidden.
        (field.hidden.name, field.hidden.value, field.hidden.again) = (!name, name, name);
        self.message.args_post.push(field);
        Ok(())
    }

    /// What rules count of a value that they are not shown.
    fn hide(&mut self, path: &[u8], size: usize) {
        if self.by_name && self.message.args_post.len() < self.limits.args {
            let mut field = Field::shown(self.texts.add(path), self.texts.add(b""));
            (field.hidden.name, field.hidden.value) = (true, true);
            self.message.args_post.push(field);
            self.message.unlisted_bytes = self.message.unlisted_bytes.saturating_add(size);
        } else {
            self.message.unlisted += 1;
            self.message.unlisted_bytes = self.message.unlisted_bytes.saturating_add(path.len() + size);
        }
    }

    fn misplaced(&mut self, place: Node<'_>, path: &[u8], kind: &str) {
        let verdict = FieldVerdict::Misfit(format!("is {kind}, not {}", place.kinds()));
        self.judged(place, path, verdict);
    }

    /// Notes a verdict; whether the value need not be shown.
    fn judged(&mut self, place: Node<'_>, path: &[u8], verdict: FieldVerdict) -> bool {
        let field = Place { place: FieldPlace::Json, name: path, described: place.is_described() };
        self.notes.value(field, place.purpose(), verdict)
    }
}

impl<'t> json::Visitor for Judge<'t, '_> {
    type Place = Node<'t>;

    fn root(&self) -> Node<'t> {
        self.tree.root()
    }

    fn item(&self, array: Node<'t>) -> Node<'t> {
        array.item()
    }

    fn member(&mut self, place: Node<'t>, object: usize, path: &[u8], key: &[u8]) -> Result<Node<'t>, json::Fault> {
        // Which of two the application takes is its own choice (RFC 8259 section 4).
        if !self.keys.insert((object, crate::hashing::of(key))) {
            return Err("a key is repeated".to_owned());
        }
        let member = place.member(key);
        if !place.spells(key) && !self.notes.name(FieldPlace::Json, key, member.purpose()) {
            self.show(path, true, b"")?;
        }
        Ok(member)
    }

    fn opens(&mut self, place: Node<'t>, path: &[u8], kind: Kind) -> Result<(), json::Fault> {
        if !place.takes(kind) {
            self.misplaced(place, path, if kind == Kind::Object { "an object" } else { "an array" });
        }
        Ok(())
    }

    fn closes(&mut self, _: Node<'t>, path: &[u8], container: Container) -> Result<(), json::Fault> {
        // As without a policy: an argument for what is empty, and for an array behind a key.
        match container {
            Container { members: 0, whole: false, .. } => self.hide(path, 0),
            Container { kind: Kind::Array, named: true, members: members @ 1.., .. } => {
                self.hide(path, members.to_string().len());
            }
            _ => {}
        }
        Ok(())
    }

    fn scalar(&mut self, place: Node<'t>, path: &[u8], kind: Kind, value: Cow<'_, [u8]>) -> Result<(), json::Fault> {
        let purpose = place.purpose();
        let word = match kind {
            _ if place.takes(kind) => "",
            Kind::Null => "null",
            Kind::Boolean => "true or false",
            Kind::Number => "a number",
            _ => "a string",
        };
        if !word.is_empty() {
            self.misplaced(place, path, word);
            let verdict = self.notes.text(&value);
            if verdict.refuses() {
                self.judged(place, path, verdict);
            }
            return self.show(path, false, &value);
        }
        if kind == Kind::Null {
            self.hide(path, 0);
            return Ok(());
        }
        let endless = kind == Kind::Number
            && std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok()).is_none_or(f64::is_infinite);
        let verdict = if endless {
            FieldVerdict::Misfit("is a number that no number type holds".to_owned())
        } else {
            self.notes.judge(purpose, &value)
        };
        if self.judged(place, path, verdict) {
            self.hide(path, value.len());
            return Ok(());
        }
        self.show(path, false, &value)
    }
}

#[cfg(test)]
mod tests;
