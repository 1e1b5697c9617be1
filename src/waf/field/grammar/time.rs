//! Dates and times: only days that there are.

use super::Fit;

const NO_DATE: &str = "not YYYY-MM-DD, or no such day";
const NO_TIME: &str = "not hh:mm:ss, or no such time";
const NO_HTTP_DATE: &str = "not as `Sun, 06 Nov 1994 08:49:37 GMT`, or no such day";

/// RFC 3339, section 5.6: `full-date`.
pub(super) fn date(value: &[u8]) -> Fit {
    match value {
        [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] => {
            let year = pair(*y1, *y2).zip(pair(*y3, *y4)).map(|(a, b)| u32::from(a) * 100 + u32::from(b));
            let day = year.zip(pair(*m1, *m2)).zip(pair(*d1, *d2));
            match day {
                Some(((year, month), day)) if (1..=days(year, month)).contains(&day) => Ok(()),
                _ => Err(NO_DATE),
            }
        }
        _ => Err(NO_DATE),
    }
}

/// RFC 3339, section 5.6: `date-time`, with `T` or a blank. Departs from it for what common writers leave out: the
/// offset (Python's `isoformat`), the seconds (HTML's `datetime-local`).
pub(super) fn datetime(value: &[u8]) -> Fit {
    let (day, rest) = value.split_at_checked(10).ok_or(NO_DATE)?;
    date(day)?;
    let rest = match rest.split_first() {
        Some((b'T' | b't' | b' ', rest)) => rest,
        _ => return Err("no `T` between date and time"),
    };
    let rest = match rest {
        [h1, h2, b':', m1, m2, rest @ ..] if hour_and_minute([*h1, *h2, *m1, *m2]) => rest,
        _ => return Err(NO_TIME),
    };
    let rest = match rest {
        // A leap second is one.
        [b':', s1, s2, rest @ ..] if pair(*s1, *s2).is_some_and(|s| s <= 60) => rest,
        [b':', ..] => return Err(NO_TIME),
        rest => rest,
    };
    let rest = match rest.split_first() {
        Some((b'.', fraction)) => {
            let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            if !(1..=12).contains(&digits) {
                return Err(NO_TIME);
            }
            fraction.get(digits..).unwrap_or_default()
        }
        _ => rest,
    };
    match rest {
        [] | [b'Z' | b'z'] => Ok(()),
        [b'+' | b'-', h1, h2, b':', m1, m2] if hour_and_minute([*h1, *h2, *m1, *m2]) => Ok(()),
        _ => Err("not an offset as `Z` or `+01:00`"),
    }
}

/// RFC 9110, section 5.6.7: `IMF-fixdate`. The two obsolete forms are read by nobody's client and refused.
pub(super) fn http_date(value: &[u8]) -> Fit {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
    let (weekday, rest) = value.split_at_checked(3).ok_or(NO_HTTP_DATE)?;
    let [b',', b' ', d1, d2, b' ', n1, n2, n3, b' ', y1, y2, y3, y4, b' ', time @ ..] = rest else {
        return Err(NO_HTTP_DATE);
    };
    let [h1, h2, b':', m1, m2, b':', s1, s2, b' ', b'G', b'M', b'T'] = time else { return Err(NO_HTTP_DATE) };
    let name = [*n1, *n2, *n3];
    let month = (1u8..).zip(MONTHS).find(|(_, month)| *month == name).map(|(n, _)| n).ok_or(NO_HTTP_DATE)?;
    let day = pair(*d1, *d2).ok_or(NO_HTTP_DATE)?;
    let (century, year) = pair(*y1, *y2).zip(pair(*y3, *y4)).ok_or(NO_HTTP_DATE)?;
    let year = u32::from(century) * 100 + u32::from(year);
    let there = (1..=days(year, month)).contains(&day)
        && WEEKDAYS.contains(&weekday)
        && hour_and_minute([*h1, *h2, *m1, *m2])
        && pair(*s1, *s2).is_some_and(|s| s <= 60);
    there.then_some(()).ok_or(NO_HTTP_DATE)
}

/// A number of two digits.
fn pair(tens: u8, ones: u8) -> Option<u8> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| (tens & 0x0f) * 10 + (ones & 0x0f))
}

fn hour_and_minute([h1, h2, m1, m2]: [u8; 4]) -> bool {
    pair(h1, h2).is_some_and(|h| h <= 23) && pair(m1, m2).is_some_and(|m| m <= 59)
}

/// How many days a month has; none for a month that is none.
fn days(year: u32, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 0,
    }
}
