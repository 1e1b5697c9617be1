//! Reading `Cache-Control` and `Pragma` (RFC 9111 sections 5.2 and 5.4).
//!
//! Lenient in form, strict in meaning: what restricts is taken even when it is badly written, what permits is taken
//! only when it is well written. A directive given twice counts by its strictest value (section 4.2.1), an unknown one
//! is ignored, a lifetime that is no whole number of seconds is none at all (0), and a quoted string that never ends
//! makes the whole field suspect, since it may have swallowed a `no-store`.

use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName, PRAGMA};
use std::borrow::Cow;

/// What an overflowing number of seconds becomes (RFC 9111 section 1.2.2).
pub(super) const MANY_SECONDS: u32 = 1 << 31;

/// What a response says about its own caching. Times in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache`, with or without field names (a list is treated as none, as section 5.2.2.4 allows).
    pub no_cache: bool,
    /// `private`, with or without field names.
    pub private: bool,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `s-maxage`; 0 when badly written.
    pub s_maxage: Option<u32>,
    /// `max-age`; 0 when badly written.
    pub max_age: Option<u32>,
    /// `stale-while-revalidate` (RFC 5861 section 3).
    pub stale_while_revalidate: Option<u32>,
    /// `stale-if-error` (RFC 5861 section 4).
    pub stale_if_error: Option<u32>,
    /// A quoted string did not end.
    pub broken: bool,
}

impl ResponseDirectives {
    /// Reads every `Cache-Control` line of a response.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        for_each(headers, &CACHE_CONTROL, |d| {
            match d.name.as_ref() {
                b"no-store" => all.no_store = true,
                b"no-cache" => all.no_cache = true,
                b"private" => all.private = true,
                b"must-revalidate" => all.must_revalidate = true,
                b"proxy-revalidate" => all.proxy_revalidate = true,
                b"public" => all.public |= d.is_flag(),
                b"must-understand" => all.must_understand |= d.is_flag(),
                b"s-maxage" => strictest(&mut all.s_maxage, d.seconds().unwrap_or(0)),
                b"max-age" => strictest(&mut all.max_age, d.seconds().unwrap_or(0)),
                b"stale-while-revalidate" => strictest(&mut all.stale_while_revalidate, d.seconds().unwrap_or(0)),
                b"stale-if-error" => strictest(&mut all.stale_if_error, d.seconds().unwrap_or(0)),
                _ => {}
            }
            all.broken |= d.form == Form::Endless;
        });
        all
    }

    /// Whether serving it stale is forbidden (RFC 9111 section 4.2.4: these four, whatever else the response says).
    pub fn forbids_stale(&self) -> bool {
        self.no_cache || self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some()
    }
}

/// How stale a response the client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxStale {
    /// `max-stale` without a value.
    Any,
    /// Seconds past its lifetime.
    Seconds(u32),
}

/// What a request says about caching. Times in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// `no-cache`, or `Pragma: no-cache` where there is no `Cache-Control` (section 5.4).
    pub no_cache: bool,
    /// `no-store`.
    pub no_store: bool,
    /// `only-if-cached`.
    pub only_if_cached: bool,
    /// `max-age`; 0 when badly written.
    pub max_age: Option<u32>,
    /// `min-fresh`.
    pub min_fresh: Option<u32>,
    /// `max-stale`.
    pub max_stale: Option<MaxStale>,
}

impl RequestDirectives {
    /// Reads every `Cache-Control` line of a request, or its `Pragma` lines when there is none.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            for_each(headers, &PRAGMA, |d| all.no_cache |= d.name.as_ref() == b"no-cache");
            return all;
        }
        for_each(headers, &CACHE_CONTROL, |d| match d.name.as_ref() {
            b"no-cache" => all.no_cache = true,
            b"no-store" => all.no_store = true,
            b"only-if-cached" => all.only_if_cached |= d.is_flag(),
            b"max-age" => strictest(&mut all.max_age, d.seconds().unwrap_or(0)),
            b"min-fresh" => all.min_fresh = all.min_fresh.max(d.seconds()),
            b"max-stale" => {
                let asked = if d.is_flag() { Some(MaxStale::Any) } else { d.seconds().map(MaxStale::Seconds) };
                all.max_stale = match (all.max_stale, asked) {
                    (Some(MaxStale::Seconds(a)), Some(MaxStale::Seconds(b))) => Some(MaxStale::Seconds(a.min(b))),
                    (Some(MaxStale::Any) | None, asked) => asked,
                    (already, _) => already,
                };
            }
            _ => {}
        });
        all
    }
}

fn strictest(slot: &mut Option<u32>, seconds: u32) {
    *slot = Some(slot.map_or(seconds, |already| already.min(seconds)));
}

/// How well a directive was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// By the grammar.
    Good,
    /// With something before the next comma that does not belong there.
    Bad,
    /// With a quoted string that does not end.
    Endless,
}

struct Directive<'a> {
    /// In lower case.
    name: Cow<'a, [u8]>,
    value: Option<Cow<'a, [u8]>>,
    form: Form,
}

impl Directive<'_> {
    fn is_flag(&self) -> bool {
        self.value.is_none() && self.form == Form::Good
    }

    /// The value as whole seconds; `None` when it is anything but digits.
    fn seconds(&self) -> Option<u32> {
        let digits = self.value.as_deref().filter(|_| self.form == Form::Good)?;
        delta_seconds(digits)
    }
}

/// A whole number of seconds, capped (RFC 9111 section 1.2.2); `None` when it is anything but digits.
pub(super) fn delta_seconds(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(digit).min(MANY_SECONDS))
    })
}

fn for_each(headers: &HeaderMap, name: &HeaderName, mut take: impl FnMut(&Directive<'_>)) {
    for line in headers.get_all(name) {
        let mut rest = Rest(line.as_bytes());
        while let Some(directive) = rest.directive() {
            take(&directive);
        }
    }
}

/// What is left of one field line.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Takes bytes as long as they fit.
    fn take(&mut self, fits: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|b| !fits(*b)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at_checked(end).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken
    }

    fn skip(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// The next directive, `None` at the end. Empty list elements are passed over (RFC 9110 section 5.6.1.2).
    fn directive(&mut self) -> Option<Directive<'a>> {
        self.take(|b| is_space(b) || b == b',');
        if self.0.is_empty() {
            return None;
        }
        let name = self.take(is_token);
        let mut form = if name.is_empty() { Form::Bad } else { Form::Good };
        let mut value = None;
        if self.skip(b'=') {
            value = if self.skip(b'"') {
                match self.quoted() {
                    Some(text) => Some(text),
                    None => {
                        form = Form::Endless;
                        None
                    }
                }
            } else {
                Some(Cow::Borrowed(self.take(is_token)))
            };
        }
        self.take(is_space);
        if !self.0.is_empty() && !self.0.starts_with(b",") {
            form = if self.junk() { Form::Bad } else { Form::Endless };
        }
        let name = if name.iter().any(u8::is_ascii_uppercase) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        Some(Directive { name, value, form })
    }

    /// The rest of a quoted string, without its escapes (RFC 9110 section 5.6.4); `None` when it does not end.
    fn quoted(&mut self) -> Option<Cow<'a, [u8]>> {
        let plain = self.take(|b| b != b'"' && b != b'\\');
        if self.skip(b'"') {
            return Some(Cow::Borrowed(plain));
        }
        let mut text = plain.to_vec();
        loop {
            if self.skip(b'"') {
                return Some(Cow::Owned(text));
            }
            self.skip(b'\\');
            let (next, rest) = self.0.split_first()?;
            text.push(*next);
            self.0 = rest;
            text.extend_from_slice(self.take(|b| b != b'"' && b != b'\\'));
        }
    }

    /// Passes over everything up to the next comma outside quotes; false when a quote does not end.
    fn junk(&mut self) -> bool {
        loop {
            self.take(|b| b != b',' && b != b'"');
            if !self.skip(b'"') {
                return true;
            }
            if self.quoted().is_none() {
                return false;
            }
        }
    }
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// A `tchar` (RFC 9110 section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn lines(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn response(values: &[&str]) -> ResponseDirectives {
        ResponseDirectives::read(&lines(CACHE_CONTROL, values))
    }

    #[test]
    fn rfc9111_5_2_max_age_takes_only_whole_seconds() {
        for (text, seconds) in [
            ("max-age=60", Some(60)),
            ("MAX-AGE=60", Some(60)),
            ("max-age=\"60\"", Some(60)),
            ("max-age=\"6\\0\"", Some(60)),
            ("max-age=0060", Some(60)),
            ("max-age=4294967296", Some(MANY_SECONDS)),
            ("max-age=99999999999999999999999999", Some(MANY_SECONDS)),
            ("max-age=2147483648", Some(MANY_SECONDS)),
            ("max-age=-1", Some(0)),
            ("max-age=+60", Some(0)),
            ("max-age=60.5", Some(0)),
            ("max-age=6e1", Some(0)),
            ("max-age=60s", Some(0)),
            ("max-age='60'", Some(0)),
            ("max-age=", Some(0)),
            ("max-age", Some(0)),
            ("max-age =60", Some(0)),
            ("max-age= 60", Some(0)),
            ("max-age=60 1", Some(0)),
            ("max-age:60", Some(0)),
            ("x-max-age=60", None),
            ("a=\"max-age=60\"", None),
            ("a=\"\\\"max-age=60\"", None),
            ("", None),
            (",, ,", None),
            (" , max-age=60 ,", Some(60)),
            ("max-age=60, max-age=30", Some(30)),
            ("max-age=30, max-age=60", Some(30)),
            ("max-age=60, max-age=x", Some(0)),
            ("ext=\"a, max-age=1\", max-age=60", Some(60)),
            ("ext=\"\", max-age=60", Some(60)),
            ("=, max-age=60", Some(60)),
        ] {
            assert_eq!(response(&[text]).max_age, seconds, "{text}");
        }
        assert_eq!(response(&["max-age=60", "max-age=5"]).max_age, Some(5), "lines add up");
    }

    #[test]
    fn restrictions_hold_however_they_are_written() {
        for text in
            ["no-store", "No-Store", "no-store=1", "no-store foo", "no-store=\"x\"", "a b c, no-store", "é, no-store"]
        {
            assert!(response(&[text]).no_store, "{text:?}");
        }
        assert!(response(&["private=\"set-cookie\""]).private);
        assert!(response(&["no-cache=\"set-cookie\""]).no_cache);
        assert!(response(&["max-age=60, ext=\"a", "no-store"]).no_store, "a quoted string ends with its line");
    }

    #[test]
    fn permissions_hold_only_when_well_written() {
        assert!(response(&["public"]).public);
        assert!(response(&["Public , max-age=1"]).public);
        for text in ["public=1", "public x", "x=\"public\"", "publicly", "=public"] {
            assert!(!response(&[text]).public, "{text}");
        }
        assert_eq!(response(&["stale-if-error=x"]).stale_if_error, Some(0));
        assert_eq!(response(&["stale-while-revalidate=30"]).stale_while_revalidate, Some(30));
    }

    #[test]
    fn an_endless_quoted_string_is_noticed() {
        for (text, broken) in [
            ("max-age=60, ext=\"no-store", true),
            ("max-age=60, ext \"no-store", true),
            ("ext=\"a\\", true),
            ("ext=\"a\\\"", true),
            ("ext=\"a\\\"\"", false),
            ("ext=\"a\", max-age=60", false),
        ] {
            assert_eq!(response(&[text]).broken, broken, "{text}");
        }
    }

    #[test]
    fn rfc9111_5_2_1_request_directives() {
        let read = |text: &str| RequestDirectives::read(&lines(CACHE_CONTROL, &[text]));
        assert!(read("no-cache").no_cache);
        assert!(read("no-store").no_store);
        assert!(read("only-if-cached").only_if_cached);
        assert!(!read("only-if-cached=1").only_if_cached);
        assert_eq!(read("max-age=5").max_age, Some(5));
        assert_eq!(read("max-age=x").max_age, Some(0));
        assert_eq!(read("min-fresh=5, min-fresh=9, min-fresh=x").min_fresh, Some(9));
        assert_eq!(read("max-stale").max_stale, Some(MaxStale::Any));
        assert_eq!(read("max-stale=5").max_stale, Some(MaxStale::Seconds(5)));
        assert_eq!(read("max-stale, max-stale=5").max_stale, Some(MaxStale::Seconds(5)));
        assert_eq!(read("max-stale=5, max-stale=3, max-stale").max_stale, Some(MaxStale::Seconds(3)));
        assert_eq!(read("max-stale=x").max_stale, None);
    }

    #[test]
    fn rfc9111_5_4_pragma_counts_only_without_cache_control() {
        let mut headers = lines(PRAGMA, &["No-Cache"]);
        assert!(RequestDirectives::read(&headers).no_cache);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=1"));
        assert!(!RequestDirectives::read(&headers).no_cache);
    }
}
