//! Puts payloads and ordinary values into places, plain and in disguise.

use crate::agents;
use crate::dice::{Dice, Half};
use crate::maker::{Maker, call};
use crate::payloads::{Family, PROBES};
use crate::places::{Kind, PLACES, Place, Way};
use crate::request::{Form, Request, json, percent, query};
use crate::texts::prose;
use base64::Engine as _;
use std::fmt::Write as _;
use std::sync::OnceLock;

/// How a payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Disguise {
    Plain,
    /// Percent-encoded once more than the place itself asks for.
    Percent,
    /// `%u003c`, as old servers took it.
    PercentU,
    /// Character references of HTML.
    Entities,
    /// `\u003c`.
    Escapes,
    Base64,
    /// Plain, behind half a MiB of prose in a field of the same body.
    Padded,
}

impl Disguise {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Percent => "percent",
            Self::PercentU => "%u",
            Self::Entities => "entities",
            Self::Escapes => "escapes",
            Self::Base64 => "base64",
            Self::Padded => "padded",
        }
    }

    fn write(self, text: &str) -> String {
        let each = |write: fn(&mut String, u32)| {
            let mut out = String::new();
            for c in text.chars() {
                if c.is_ascii_alphanumeric() || c == ' ' { out.push(c) } else { write(&mut out, u32::from(c)) }
            }
            out
        };
        match self {
            Self::Plain | Self::Padded => text.to_owned(),
            Self::Percent => percent(text, ""),
            Self::PercentU => each(|out, c| {
                let _ = write!(out, "%u{c:04x}");
            }),
            Self::Entities => each(|out, c| {
                let _ = if c % 2 == 0 { write!(out, "&#x{c:x};") } else { write!(out, "&#{c};") };
            }),
            Self::Escapes => each(|out, c| {
                let _ = write!(out, "\\u{c:04x}");
            }),
            Self::Base64 => base64::engine::general_purpose::STANDARD.encode(text),
        }
    }

    /// One that makes sense where it stands, half of the time none.
    fn for_place(place: &Place, family: Family, dice: &mut Dice) -> Self {
        let in_json = place.way == Way::Json;
        let is_name = matches!(place.kind, Kind::FileName | Kind::PartName | Kind::ParamName | Kind::JsonKey);
        match dice.below(120) {
            0..3 if in_json && place.body.contains('¤') || matches!(place.way, Way::FormText(_)) => Self::Padded,
            0..60 => Self::Plain,
            _ if place.kind == Kind::Target => Self::Percent,
            60..84 => Self::Percent,
            84..92
                if place.kind.is_typed()
                    || matches!(family, Family::Sql | Family::Xss | Family::Unix | Family::Traversal) =>
            {
                Self::PercentU
            }
            92..102 if place.kind.is_typed() || matches!(family, Family::Xss | Family::Xml) => Self::Entities,
            102..112 if in_json || place.kind.is_typed() => Self::Escapes,
            // A token or a name of any kind may be base64.
            112..120 if place.kind.is_typed() && !place.loose && !is_name => Self::Base64,
            _ => Self::Plain,
        }
    }
}

/// One attack in one place.
#[derive(Debug, Clone)]
pub(crate) struct Attack {
    pub(crate) place: &'static Place,
    pub(crate) family: Family,
    pub(crate) payload: &'static str,
    /// The payload, behind what ordinarily stands in the place or alone.
    pub(crate) value: String,
    pub(crate) disguise: Disguise,
    pub(crate) half: Half,
    /// Whether the payload is one of those written later.
    pub(crate) is_later: bool,
    seed: u64,
}

impl Attack {
    pub(crate) fn request(&self) -> Request {
        fill(self.place, &self.value, self.disguise, self.seed)
    }
}

/// Every payload in every place where it is an attack; of them one in `of`.
pub(crate) fn attacks(seed: u64, of: usize) -> Vec<Attack> {
    let mut dice = Dice::new(seed);
    let mut all = Vec::new();
    for family in Family::ALL {
        let later = family.later();
        for (list, bare, is_later) in
            [(family.plain(), false, false), (family.bare(), true, false), (later.as_slice(), false, true)]
        {
            for payload in list {
                for place in PLACES.iter().filter(|place| is_attack(place, family, payload, bare)) {
                    // Those in lines of people's own are few enough to take them all.
                    let of = if !is_later {
                        of
                    } else if place.kind == Kind::Short {
                        1
                    } else {
                        2 * of
                    };
                    if dice.one_in(of) {
                        let disguise = Disguise::for_place(place, family, &mut dice);
                        let is_behind = !bare && disguise <= Disguise::Percent && dice.one_in(4);
                        let behind = if is_behind { behind(place, family, payload, &mut dice) } else { None };
                        all.push(Attack {
                            place,
                            family,
                            payload,
                            value: behind.unwrap_or_else(|| (*payload).to_owned()),
                            disguise,
                            half: Half::of(payload),
                            is_later,
                            seed: dice.next(),
                        });
                    }
                }
            }
        }
    }
    let probed = PLACES.iter().find(|place| place.kind == Kind::Target).unwrap();
    for payload in PROBES {
        let (family, disguise) = (Family::Scanner, Disguise::Plain);
        let (value, half) = ((*payload).to_owned(), Half::of(payload));
        let (is_later, seed) = (false, dice.next());
        all.push(Attack { place: probed, family, payload, value, disguise, half, is_later, seed });
    }
    all
}

fn is_attack(place: &Place, family: Family, payload: &str, bare: bool) -> bool {
    let is_agent = place.way == Way::Header("user-agent", "");
    let is_address = payload.starts_with("http:") || payload.starts_with("https:") || payload.starts_with("ftp:");
    let is_token = payload.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b));
    let tells_addresses = matches!(place.way, Way::Header("user-agent" | "referer" | "origin", _));
    match (place.kind, family) {
        // These are about the whole path.
        (Kind::Target, _) => family == Family::Traversal && !bare,
        // Elsewhere the name of a tool is but a name.
        (_, Family::Scanner) => is_agent,
        (Kind::Short, _) if bare => false,
        (Kind::Url, Family::Ssrf) => place.fetched,
        // Any address may stand where addresses are told or looked up, and be one of many.
        (Kind::Url, _) if is_address => false,
        _ if is_address && tells_addresses => false,
        (_, Family::Ssrf) => {
            matches!(place.kind, Kind::PathId | Kind::Query | Kind::Enum | Kind::Number | Kind::JsonTyped)
                && !place.loose
        }
        // Nobody makes an object of these.
        (Kind::Header, Family::Prototype) if place.loose => false,
        (Kind::Cookie, Family::Prototype) if place.way != Way::Cookie("") => false,
        // What a word, a token or a line of dots is in such places cannot be told.
        _ if place.loose && (is_token || bare) => false,
        (Kind::FileName, _) if bare && family != Family::Traversal => false,
        (Kind::FileName, _) if is_token => payload.contains('/'),
        (Kind::JsonKey | Kind::PartName | Kind::ParamName, _) if bare && is_token => false,
        // A client that tidies up a path sends nothing of it.
        (Kind::PathId, _) if payload == ".." => false,
        _ => true,
    }
}

/// A payload that breaks out of something, behind an ordinary value; `None` for others and where there is nothing to be
/// behind.
fn behind(place: &Place, family: Family, payload: &str, dice: &mut Dice) -> Option<String> {
    let breaks_out = matches!(
        family,
        Family::Sql | Family::Xss | Family::Unix | Family::Windows | Family::Template | Family::Ldap | Family::Xpath
    );
    if !breaks_out || payload.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let before = place.ordinary.get(dice.below(place.ordinary.len().max(1)))?;
    Some(match place.kind {
        Kind::Short => format!("{before} {payload}"),
        Kind::FileName => format!("report{payload}.pdf"),
        _ => format!("{before}{payload}"),
    })
}

/// What ordinarily stands in a place.
pub(crate) fn ordinary(place: &Place, value: &str, seed: u64) -> Request {
    fill(place, value, Disguise::Plain, seed)
}

fn fill(place: &Place, value: &str, disguise: Disguise, seed: u64) -> Request {
    static LONG: OnceLock<String> = OnceLock::new();
    let mut dice = Dice::new(seed);
    let text = disguise.write(value);
    // What is written with `%u` is sent as it is.
    let raw = disguise == Disguise::PercentU;
    let sent = |text: &str, write: &dyn Fn(&str) -> String| if raw { text.replace(' ', "%20") } else { write(text) };
    let mut maker = Maker::new(seed, Half::Open);
    let aim = maker.fill(place.target);
    let target = match place.way {
        Way::Path if place.kind == Kind::Target && value.starts_with('/') => percent(value, "/%?&=@.\\:;+,"),
        Way::Path if place.kind == Kind::Target => format!("/{}", percent(&text, "/%\\;:")),
        Way::Path => aim.replace('§', &sent(&text, &|text| percent(text, ""))),
        Way::Query => aim.replace(
            '§',
            &sent(&text, &|text| if place.kind == Kind::ParamName { percent(text, "[]") } else { query(text) }),
        ),
        _ => aim,
    };
    let mut request = Request::new(place.method, target);
    let filler: &str = match disguise {
        Disguise::Padded => LONG.get_or_init(|| prose(512 << 10)),
        _ => "The boats lay on the sand.",
    };
    let body = match place.tool {
        "" => place.body.to_owned(),
        tool => call(3, tool, place.body, ""),
    };
    let body = maker.fill(&body).replace('¤', filler);
    let mut form = Form::new(format!("----WebKitFormBoundary{}", dice.hex(16)));
    request = match place.way {
        Way::Json => {
            let literal = match disguise {
                // One reading by a JSON parser gives the payload.
                Disguise::Escapes => format!("\"{}\"", escaped(value)),
                Disguise::Plain | Disguise::Padded
                    if place.kind.is_typed() && place.kind != Kind::JsonKey && is_json(&text) =>
                {
                    text.clone()
                }
                Disguise::Plain if is_plain_value(place, &text) => text.clone(),
                _ => json(&text, dice.one_in(2)),
            };
            request.json(body.replace('§', &literal))
        }
        Way::FormText(name) => {
            let value = if name == "tags" { format!("[{}]", json(&text, false)) } else { text.clone() };
            form = form.file("file", "notes.txt", "text/plain", filler.as_bytes());
            form.text(name, &value).on(request)
        }
        Way::FileName => {
            let part = if place.target.ends_with("upload") { "file" } else { "files" };
            form.file(part, &text, "text/plain", filler.as_bytes()).text("tags", "[]").on(request)
        }
        Way::PartName => {
            form = form.file(&text, "notes.txt", "text/plain", filler.as_bytes());
            form.text("message", "see the file").on(request)
        }
        _ if !body.is_empty() => request.json(body),
        _ => request,
    };
    request = agents::anyone(request, &mut dice);
    match place.way {
        Way::Header(name, before) => {
            let text =
                if name == "content-type" && disguise == Disguise::Padded { String::new() } else { in_a_line(&text) };
            request.instead(name, format!("{before}{text}"))
        }
        Way::Cookie("") => request.instead("cookie", format!("theme=dark; {}=1", cookie_octets(&text))),
        Way::Cookie(name) => request.instead("cookie", format!("theme=light; {name}={}", cookie_octets(&text))),
        _ => request,
    }
}

/// Every character that JSON does not have to escape, escaped.
fn escaped(text: &str) -> String {
    text.encode_utf16().fold(String::new(), |mut out, unit| {
        let _ = write!(out, "\\u{unit:04x}");
        out
    })
}

fn is_json(text: &str) -> bool {
    text.starts_with('{') && serde_json::from_str::<serde_json::Value>(text).is_ok()
}

/// Numbers and truths stand without quotes where such are expected.
fn is_plain_value(place: &Place, text: &str) -> bool {
    place.ordinary.contains(&text) && (place.kind == Kind::Number || matches!(text, "true" | "false"))
}

/// A field's value has no control characters: who wants them there writes them encoded.
fn in_a_line(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if c.is_ascii_control() {
            let _ = write!(out, "%{:02x}", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

/// Cookies end at `;` and `,`: those are written encoded.
fn cookie_octets(text: &str) -> String {
    in_a_line(text).replace(';', "%3B").replace(',', "%2C")
}

#[test]
fn attacks_are_many_and_written_as_meant() {
    let all = attacks(1, 2);
    assert!((30_000..=60_000).contains(&all.len()), "{}", all.len());
    for half in Half::BOTH {
        let own = all.iter().filter(|attack| attack.half == half).count();
        assert!(own * 10 >= all.len() * 3, "{half:?}: {own}");
    }
    assert_eq!(Disguise::PercentU.write("<a b"), "%u003ca b");
    assert_eq!(Disguise::Entities.write("<'"), "&#x3c;&#39;");
    assert_eq!(escaped("<"), "\\u003c");
    for attack in all.iter().step_by(7) {
        let request = attack.request();
        let line = |text: &str| !text.bytes().any(|byte| byte < b' ' || byte == 0x7f);
        assert!(line(&request.target) && !request.target.contains(' '), "{attack:?}");
        assert!(request.fields.iter().all(|(name, value)| line(name) && line(value)), "{attack:?}");
    }
}
