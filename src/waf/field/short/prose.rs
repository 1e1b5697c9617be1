//! Sentences that speak of code: what is quoted in one is told, not sent.
//!
//! People write "Why is `<script>` shown as text?" and "Search breaks on ' OR 1=1". An attack is no sentence: it begins
//! at once or behind a value that is whole by itself, and runs to the end. Two forms are known. *Quotations* stand in
//! back-ticks or quotation marks, with blanks around them, in a sentence that goes on outside; what is left when they are
//! taken out is read again, so that a break-out cannot be hidden by quoting something else. *Objects* stand bare: in
//! front of the sentence's rest, or behind a word that leaves it open (a preposition, a colon, a verb that wants one); such code stays doubtful.
//!
//! Only lines of people's own are read so, and only those that would be refused otherwise. Time is linear.

/// Words that make a row of words a sentence. None of them belongs to SQL or to a shell.
const JOINTS: &[&str] = &[
    "a", "about", "after", "although", "an", "are", "be", "because", "before", "but", "can", "cannot", "could", "does",
    "doesn't", "don't", "for", "get", "has", "have", "how", "if", "instead", "into", "is", "isn't", "it", "its",
    "just", "may", "must", "my", "no", "now", "of", "on", "only", "our", "should", "so", "still", "than", "that",
    "the", "their", "this", "through", "to", "too", "under", "unless", "was", "we", "were", "what", "when", "where",
    "which", "while", "why", "will", "with", "without", "would", "you", "your", "in", "inside", "at", "by", "as",
];

/// Words behind which a sentence wants something more: no title ends in one.
const OPENERS: &[&str] = &[
    "a",
    "about",
    "against",
    "allows",
    "an",
    "are",
    "as",
    "at",
    "blocked",
    "blocks",
    "by",
    "called",
    "calling",
    "catches",
    "contain",
    "containing",
    "contains",
    "detects",
    "e.g.",
    "equals",
    "escapes",
    "escaping",
    "explain",
    "flags",
    "for",
    "found",
    "handles",
    "has",
    "how",
    "if",
    "ignores",
    "in",
    "inside",
    "into",
    "is",
    "like",
    "matches",
    "mean",
    "means",
    "mentions",
    "named",
    "near",
    "not",
    "of",
    "on",
    "parses",
    "prevent",
    "prints",
    "refuses",
    "rejects",
    "renders",
    "returns",
    "running",
    "runs",
    "saying",
    "says",
    "see",
    "shows",
    "strips",
    "than",
    "that",
    "the",
    "through",
    "to",
    "typing",
    "unescaped",
    "uses",
    "using",
    "via",
    "vs",
    "was",
    "what",
    "when",
    "with",
    "without",
];

/// Verbs that want an object and are nouns as well: they open where they are an order, at the start, behind a colon or
/// behind another word that opens.
const ORDERS: &[&str] = &[
    "add",
    "allow",
    "avoid",
    "block",
    "call",
    "catch",
    "detect",
    "disable",
    "document",
    "drop",
    "escape",
    "explain",
    "filter",
    "find",
    "fix",
    "flag",
    "handle",
    "hide",
    "highlight",
    "ignore",
    "parse",
    "prevent",
    "print",
    "quote",
    "refuse",
    "reject",
    "remove",
    "render",
    "replace",
    "return",
    "run",
    "sanitize",
    "show",
    "strip",
    "support",
    "test",
    "treat",
    "try",
    "type",
    "unescape",
    "use",
    "write",
    "search",
];

/// Words behind which a verb comes.
const MODALS: &[&str] = &[
    "should", "must", "can", "cannot", "can't", "could", "would", "will", "don't", "doesn't", "does", "do", "i", "we",
    "and",
];

/// Words in capitals that are SQL rather than somebody's emphasis.
const KEYWORDS: &[&str] = &[
    "ALL", "ALTER", "AND", "BY", "CREATE", "DELETE", "DROP", "EXEC", "FROM", "GROUP", "HAVING", "INSERT", "INTO",
    "LIKE", "LIMIT", "NOT", "NULL", "OR", "ORDER", "SELECT", "TABLE", "TRUNCATE", "UNION", "UPDATE", "VALUES",
    "WAITFOR", "DELAY", "WHERE", "XOR",
];

/// The marks that quotations stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marks {
    /// Those of code in a text.
    BackTicks,
    /// Quotation marks too.
    All,
}

/// What closes a quotation of each kind, by what opens it; back-ticks first.
const MARKS: &[(&[u8], &[u8])] =
    &[(b"`", b"`"), (b"\"", b"\""), (b"'", b"'"), ("\u{201c}".as_bytes(), "\u{201d}".as_bytes())];

/// Words of prose that a sentence has at least; with a joint among them fewer are enough.
const WORDS: usize = 3;
const WORDS_WITH_JOINT: usize = 2;

fn is_one_of(word: &[u8], list: &[&str]) -> bool {
    list.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

/// The letters of a word of prose, without the marks around it; `None` for all else. A keyword of SQL in capitals is none.
fn word(token: &[u8]) -> Option<&[u8]> {
    let token = token.strip_prefix(b"(").unwrap_or(token);
    let end = token.iter().rposition(|byte| !b".,:;!?)".contains(byte)).map_or(0, |last| last + 1);
    let letters = token.get(..end).unwrap_or_default();
    let marks = token.len() - letters.len();
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte >= 0x80;
    let inner = |(at, byte): (usize, &u8)| {
        let around = at.checked_sub(1).and_then(|at| letters.get(at)).is_some_and(is_letter)
            && letters.get(at + 1).is_some_and(is_letter);
        is_letter(byte) || matches!(byte, b'\'' | b'-' | b'.' | b'/') && around
    };
    let is_word = !letters.is_empty() && marks <= 2 && letters.iter().enumerate().all(inner);
    let is_keyword = || KEYWORDS.iter().any(|keyword| letters == keyword.as_bytes());
    (is_word && !is_keyword()).then_some(letters)
}

/// Whether the token is a number, as in `finding 4:`.
fn is_number(token: &[u8]) -> bool {
    let digits = token.strip_suffix(b":").unwrap_or(token);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

fn tokens(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|token| !token.is_empty())
}

/// Whether these tokens make a sentence together: enough words, of some language, and nothing that acts.
fn is_sentence<'t>(tokens: impl Iterator<Item = &'t [u8]>) -> bool {
    let (mut words, mut joints, mut others) = (0usize, 0usize, 0usize);
    for token in tokens {
        match word(token) {
            Some(word) => {
                words += 1;
                joints += usize::from(is_one_of(word, JOINTS));
            }
            None if token.iter().any(|byte| b";|&<>$`'\"=\\{}%".contains(byte)) || token.starts_with(b"--") => {
                return false;
            }
            None => others += 1,
        }
    }
    words >= others && words >= if joints > 0 { WORDS_WITH_JOINT } else { WORDS }
}

/// Whether the words that end here leave their sentence open.
fn is_open<'t>(mut reversed: impl Iterator<Item = &'t [u8]>) -> bool {
    let Some(last) = reversed.next() else { return false };
    if last.ends_with(b":") {
        return true;
    }
    let Some(last) = word(last) else { return false };
    let opens = |token: &[u8]| {
        token.ends_with(b":") || word(token).is_some_and(|word| is_one_of(word, OPENERS) || is_one_of(word, MODALS))
    };
    is_one_of(last, OPENERS) || is_one_of(last, ORDERS) && reversed.next().is_none_or(opens)
}

/// Whether what follows a quotation goes on as a sentence: two words, neither of them an operator of SQL.
pub(super) fn begins_clause(rest: &[u8]) -> bool {
    const OPERATORS: &[&str] = &["or", "and", "like", "union", "in", "is", "not", "having", "xor", "where", "order"];
    let mut words = tokens(rest).map(word);
    rest.first().is_some_and(u8::is_ascii_whitespace)
        && words.next().flatten().is_some_and(|word| !is_one_of(word, OPERATORS) || matches!(word, b"is" | b"in"))
        && words.next().flatten().is_some_and(|word| !is_one_of(word, &["select", "null", "not"]))
}

/// The word that the text begins with.
pub(super) fn first_word(text: &[u8]) -> Option<&[u8]> {
    tokens(text).next().and_then(word)
}

/// What stands behind the words that the text begins with, from the first token that is none.
pub(super) fn behind_words(text: &[u8]) -> &[u8] {
    let mut rest = text;
    loop {
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        let Some((token, behind)) = rest.split_at_checked(end) else { return rest };
        if word(token).is_none() || rest.first().is_none_or(|byte| byte.is_ascii_whitespace()) {
            return rest;
        }
        // A line end may be what an attack begins with.
        match behind {
            [b' ', behind @ ..] => rest = behind,
            _ => return behind,
        }
    }
}

/// The text without its quotations, each replaced by a word; `None` if it has none or is no sentence without them.
pub(super) fn without_quotations(text: &[u8], marks: Marks) -> Option<Vec<u8>> {
    if memchr::memchr2(b'\n', b'\r', text).is_some() {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let (mut rest, mut found) = (text, false);
    let mut runs_to_end = false;
    while let Some((first, behind)) = rest.split_first() {
        match quotation(rest, &out, marks) {
            Some(length) => {
                rest = rest.get(length..).unwrap_or_default();
                found = true;
                // At the end only what the sentence asks for is told.
                runs_to_end = rest.iter().all(|byte| b" .,:;!?)".contains(byte));
                if runs_to_end && !is_open(tokens(&out).rev()) {
                    return None;
                }
                out.extend_from_slice(QUOTED);
            }
            None => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    let sentence = || tokens(&out).filter(|token| !token.starts_with(QUOTED));
    (found
        && (is_sentence(sentence())
            || runs_to_end && sentence().all(|token| word(token).is_some() || is_number(token))))
    .then_some(out)
}

/// What stands for a quotation.
const QUOTED: &[u8] = b"it";

/// The length of the quotation that begins here, its marks included. It stands behind a word or at the start.
fn quotation(text: &[u8], before: &[u8], marks: Marks) -> Option<usize> {
    let known = if marks == Marks::All { MARKS.len() } else { 1 };
    let (open, close) = MARKS.iter().take(known).find(|(open, _)| text.starts_with(open))?;
    let front = before.strip_suffix(b"(").unwrap_or(before);
    let stands_free = front.last().is_none_or(|byte| *byte == b' ');
    if !stands_free || tokens(front).next_back().is_some_and(|token| word(token).is_none() && !is_number(token)) {
        return None;
    }
    let inside = text.get(open.len()..)?;
    let length = memchr::memmem::find(inside, close).filter(|length| *length > 0)?;
    let content = inside.get(..length)?;
    // Such quotes end strings of somebody's program as well, and then something joins on to them.
    let joins = |byte: Option<&u8>| byte.is_none_or(|byte| b" ;|&)]=+,*/-^%<>.~!".contains(byte));
    let is_string = matches!(*open, b"'" | b"\"");
    if is_string
        && (joins(content.first())
            && !content.starts_with(b"<")
            && !content.starts_with(b"..")
            && !content.starts_with(b"/")
            || content.ends_with(b" "))
    {
        return None;
    }
    let end = open.len() + length + close.len();
    let ends = match text.get(end..)? {
        [] => true,
        [b' ' | b'\t', ..] => true,
        [b'.' | b',' | b':' | b';' | b'!' | b'?' | b')', rest @ ..] => {
            rest.first().is_none_or(|byte| matches!(byte, b' ' | b'.' | b'?' | b'!'))
        }
        _ => false,
    };
    ends.then_some(end)
}

/// The words around code in a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    /// Words that the line begins with, and ends in.
    pub(super) lead: usize,
    pub(super) tail: usize,
    /// Whether one of them makes the others a sentence.
    joined: bool,
    /// Whether the code between begins with a name or a path, and not with what would end something else.
    is_named: bool,
    /// Whether it begins with a mark that ends something else.
    closes: bool,
}

impl Around {
    /// Whether there are words enough: for what acts only where it stands by itself.
    pub(super) fn worded(self) -> bool {
        !self.closes && self.lead + self.tail >= WORDS_WITH_JOINT && (self.tail > 0 || self.is_named)
    }

    /// Whether they say something: for what words are a part of as well.
    pub(super) fn speaks(self) -> bool {
        self.worded() && (self.joined || self.lead + self.tail >= WORDS)
    }
}

/// The words around the code in a line; `None` where there is no code, or more than a line.
pub(super) fn around(text: &[u8]) -> Option<Around> {
    if memchr::memchr2(b'\n', b'\r', text).is_some() {
        return None;
    }
    let lead = lead(text);
    let first = tokens(text).nth(lead)?;
    let tail = tokens(text).rev().take_while(|token| word(token).is_some()).count();
    let is_named = first.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"/.~".contains(byte));
    let closes = first.first().is_some_and(|byte| b"'\"`)]};|&,#*-=+>".contains(byte));
    let words = tokens(text).take(lead).chain(tokens(text).rev().take(tail)).filter_map(word);
    let joined = { words }.any(|word| is_one_of(word, JOINTS) || is_one_of(word, &["vs", "versus", "not"]));
    Some(Around { lead, tail, joined, is_named, closes })
}

/// How many words a text begins with; a number may stand among them.
fn lead(text: &[u8]) -> usize {
    let is_lead =
        |(at, token): &(usize, &[u8])| word(token).is_some() || is_scope(token) || *at > 0 && is_number(token);
    tokens(text).enumerate().take_while(is_lead).count()
}

/// Whether bare code stands in the text as the object of a sentence: prose stands on both sides of it, or it ends a
/// sentence that the prose before leaves open.
pub(super) fn speaks_of_code(text: &[u8]) -> bool {
    if memchr::memchr2(b'\n', b'\r', text).is_some() {
        return false;
    }
    let lead = lead(text);
    let Some(first) = tokens(text).nth(lead) else { return false };
    // What is glued to a word is no object of its own: `name' or 1=1`.
    let letters = first.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    if letters > 0 && matches!(first.get(letters), Some(b'\'' | b'"' | b'`' | b';' | b'|' | b'&')) {
        return false;
    }
    let behind = tokens(text).count() - lead;
    let mark = |token: &[u8]| token.iter().all(|byte| b".,:;!?)".contains(byte));
    let is_tail = |token: &&[u8]| word(token).is_some() || is_number(token) || mark(token);
    let tail = tokens(text).rev().take_while(is_tail).count();
    let joined = || tokens(text).rev().take(tail).filter_map(word).any(|word| is_one_of(word, JOINTS));
    let within = match lead {
        0 => tail >= 4 && tail < behind && is_subject(text, tail),
        _ => tail >= 2 && lead + tail >= 4 && joined(),
    };
    // One word may be what an attack is hidden behind, as in `test ; id`.
    within || lead >= 2 && is_open(tokens(text).rev().skip(behind))
}

/// Whether the code that a text begins with is what the words behind it speak of: they go on with a joint or a verb, and
/// the code does not end in the mark of a comment, which would hide them.
fn is_subject(text: &[u8], tail: usize) -> bool {
    let mut reversed = tokens(text).rev().skip(tail - 1);
    let goes_on = reversed.next().and_then(word).is_some_and(|word| {
        is_one_of(word, JOINTS) || word.len() > 3 && word.ends_with(b"s") && !word.ends_with(b"ss")
    });
    let comments = |token: &[u8]| [&b"--"[..], b"#", b"/*", b"//", b"-"].iter().any(|mark| token.ends_with(mark));
    goes_on && reversed.next().is_some_and(|last| !comments(last))
}

/// `fix(parser):`
fn is_scope(token: &[u8]) -> bool {
    let Some(inner) = token.strip_suffix(b"):") else { return false };
    let mut halves = inner.splitn(2, |byte| *byte == b'(');
    let named = |half: Option<&[u8]>| {
        half.is_some_and(|half| {
            !half.is_empty() && half.iter().all(|b| b.is_ascii_alphanumeric() || b"-_/".contains(b))
        })
    };
    named(halves.next()) && named(halves.next())
}
