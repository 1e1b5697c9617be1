//! When a certificate is ordered: pure functions of times and chance, and the record of attempts that failed.

use super::files;
use crate::tls::{AcmeSettings, Stored};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// No wait is longer, whatever an authority or a file says: a clock that was wrong must not stop renewals for years.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);
/// The share of its lifetime over which renewals of certificates made at once are spread, as its divisor.
const SPREAD: u32 = 20;

/// What is remembered of orders that failed, in a file beside the certificate's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attempt {
    /// Since the last order that did not fail.
    pub(super) failures: u32,
    /// No order before, in seconds since 1970.
    pub(super) next: u64,
    /// Why the last one failed.
    pub(super) error: String,
}

/// When the authority would have a certificate renewed (RFC 9773).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advice {
    pub(super) renew_at: Option<SystemTime>,
    pub(super) ask_again: SystemTime,
}

impl Attempt {
    /// The record for a certificate's file; a damaged one counts as none.
    pub(super) fn read(certificate: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(file(certificate)).ok()?).ok()
    }

    fn write(&self, certificate: &Path) -> io::Result<()> {
        files::write(&file(certificate), &serde_json::to_string(self).map_err(io::Error::other)?)
    }

    /// The record after one more failure.
    fn after(
        previous: Option<&Self>,
        settings: &AcmeSettings,
        now: SystemTime,
        error: &str,
        retry_after: Option<SystemTime>,
        chance: f64,
    ) -> Self {
        let failures = previous.map_or(0, |attempt| attempt.failures).saturating_add(1);
        let doubled = settings.retry_min.0.saturating_mul(2_u32.saturating_pow(failures - 1));
        let wait = doubled.min(settings.retry_max.0).mul_f64(0.75 + 0.5 * chance.clamp(0.0, 1.0));
        let asked = retry_after.and_then(|at| at.duration_since(now).ok()).unwrap_or_default();
        let next = now + wait.max(asked).min(LONGEST);
        Self { failures, next: seconds(next), error: error.to_owned() }
    }
}

/// When a certificate is to be ordered: at once where none is stored, else some time before its end, never before a failed
/// attempt allows it.
pub(super) fn due(
    settings: &AcmeSettings,
    stored: Option<&Stored>,
    attempt: Option<&Attempt>,
    advice: &HashMap<Vec<u8>, Advice>,
) -> SystemTime {
    due_at(settings, stored, attempt, advice, SystemTime::now())
}

fn due_at(
    settings: &AcmeSettings,
    stored: Option<&Stored>,
    attempt: Option<&Attempt>,
    advice: &HashMap<Vec<u8>, Advice>,
    now: SystemTime,
) -> SystemTime {
    let wanted = stored.map_or(SystemTime::UNIX_EPOCH, |stored| {
        let ours = renewal(settings, stored);
        let theirs = advice.get(&stored.der).and_then(|advice| advice.renew_at);
        // An authority that issues what is due already, or advises so, is not asked without end.
        theirs.map_or(ours, |theirs| theirs.min(ours)).max(stored.since + settings.retry_min.0)
    });
    let allowed = attempt.map_or(SystemTime::UNIX_EPOCH, |attempt| {
        let next = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(attempt.next));
        // Further off than any wait: the clock was wrong when it was written.
        next.filter(|next| *next <= now + LONGEST).unwrap_or(SystemTime::UNIX_EPOCH)
    });
    wanted.max(allowed)
}

/// When a stored certificate is renewed by the settings alone.
fn renewal(settings: &AcmeSettings, stored: &Stored) -> SystemTime {
    let lifetime = stored.not_after.duration_since(stored.not_before).unwrap_or_default();
    let before = settings.renew_before.of(lifetime);
    let spread = (lifetime / SPREAD).mul_f64(fraction(&stored.der));
    stored.not_after.checked_sub(before + spread).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A number from 0 to 1 that a certificate always has: chance, but the same in every process and after every restart.
pub(super) fn fraction(der: &[u8]) -> f64 {
    let digest = Sha256::digest(der);
    let first = digest.iter().take(4).fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
    f64::from(first) / f64::from(u32::MAX)
}

/// The record of an attempt that is under way: already written as a failure, for the case that this process does not live
/// to say how it ended. Dropped without a word, as when the gate stops, it becomes what it was before.
pub(super) struct Record<'a> {
    settings: &'a AcmeSettings,
    certificate: PathBuf,
    previous: Option<Attempt>,
    written: Attempt,
    ended: bool,
}

/// Writes that an attempt has begun.
///
/// # Errors
/// The record cannot be written; then nothing must be ordered, for nobody would know of it.
pub(super) fn begin<'a>(
    settings: &'a AcmeSettings,
    certificate: &Path,
    previous: Option<Attempt>,
) -> io::Result<Record<'a>> {
    let what = "the process ended while it ordered";
    let written = Attempt::after(previous.as_ref(), settings, SystemTime::now(), what, None, rand::random());
    written.write(certificate)?;
    Ok(Record { settings, certificate: certificate.to_owned(), previous, written, ended: false })
}

/// Removes the record: the certificate is due at once.
pub(super) fn forget(certificate: &Path) {
    let _ = std::fs::remove_file(file(certificate));
}

impl Record<'_> {
    /// The certificate is there.
    pub(super) fn succeeded(&mut self) {
        self.ended = true;
        forget(&self.certificate);
    }

    /// It is not.
    pub(super) fn failed(&mut self, error: &str, retry_after: Option<SystemTime>) -> io::Result<()> {
        self.ended = true;
        let (previous, now) = (self.previous.as_ref(), SystemTime::now());
        self.written = Attempt::after(previous, self.settings, now, error, retry_after, rand::random());
        self.written.write(&self.certificate)
    }

    /// When it is tried again.
    pub(super) fn next(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.written.next)
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if !self.ended {
            match &self.previous {
                Some(previous) => drop(previous.write(&self.certificate)),
                None => forget(&self.certificate),
            }
        }
    }
}

fn file(certificate: &Path) -> PathBuf {
    certificate.with_extension("attempt.json")
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::RenewBefore;
    use crate::units::Span;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(days: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * days
    }

    fn stored(from: u32, to: u32, der: &[u8]) -> Stored {
        Stored { not_before: at(from), not_after: at(to), der: der.to_vec(), since: at(from) }
    }

    #[test]
    fn renewal_is_at_two_thirds_or_the_time_given_less_a_jitter_that_stays() {
        let share = AcmeSettings::default();
        let time = AcmeSettings { renew_before: RenewBefore::Time(30 * DAY), ..AcmeSettings::default() };
        for (settings, lifetime, before) in [(&share, 90, 29.7), (&time, 90, 30.0), (&time, 6, 3.0), (&share, 1, 0.33)]
        {
            let spread = f64::from(lifetime) / f64::from(SPREAD);
            let mut seen = Vec::new();
            for der in 0..50_u8 {
                let stored = stored(100, 100 + lifetime, &[der]);
                let renewed = renewal(settings, &stored);
                assert_eq!(renewed, renewal(settings, &stored.clone()));
                let left = stored.not_after.duration_since(renewed).unwrap().as_secs_f64() / DAY.as_secs_f64();
                assert!((before - 0.01..=before + spread + 0.01).contains(&left), "{lifetime} days, {left} left");
                seen.push(renewed);
            }
            seen.sort();
            let (first, last) = (seen.first().unwrap(), seen.last().unwrap());
            assert!(last.duration_since(*first).unwrap() > DAY.mul_f64(spread / 2.0), "they are spread");
        }
    }

    #[test]
    fn waits_double_to_the_longest_and_are_never_shorter_than_asked_for() {
        let settings =
            AcmeSettings { retry_min: Span::secs(60), retry_max: Span::secs(3600), ..AcmeSettings::default() };
        let mut attempt = None;
        let mut waits = Vec::new();
        for _ in 0..70 {
            let next = Attempt::after(attempt.as_ref(), &settings, at(1), "why", None, 0.5);
            waits.push(next.next - seconds(at(1)));
            attempt = Some(next);
        }
        assert_eq!(waits[..8], [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!((waits[69], attempt.unwrap().failures), (3600, 70));
        let wait = |asked: Option<Duration>, chance: f64| {
            let asked = asked.map(|asked| at(1) + asked);
            Attempt::after(None, &settings, at(1), "why", asked, chance).next - seconds(at(1))
        };
        assert_eq!((wait(None, 0.0), wait(None, 1.0)), (45, 75));
        assert_eq!((wait(Some(DAY), 0.5), wait(Some(DAY * 30), 0.5)), (86_400, 7 * 86_400));
    }

    #[test]
    fn an_order_is_due_when_nothing_is_stored_and_no_failure_forbids_it() {
        let (settings, none) = (AcmeSettings::default(), HashMap::new());
        let now = at(100);
        assert!(due_at(&settings, None, None, &none, now) <= now);
        let failed = |next| Attempt { failures: 1, next: seconds(next), error: String::new() };
        assert_eq!(due_at(&settings, None, Some(&failed(at(101))), &none, now), at(101));
        // A record from a clock that was wrong does not count.
        assert!(due_at(&settings, None, Some(&failed(at(5000))), &none, now) <= now);
        assert!(due_at(&settings, None, Some(&Attempt { next: u64::MAX, ..failed(now) }), &none, now) <= now);
        // However old it was when it came, the next one is not ordered at once.
        let new = Stored { since: now, ..stored(10, 101, b"a") };
        assert_eq!(due_at(&settings, Some(&new), None, &none, now), now + settings.retry_min.0);
        // What the authority advises only makes it earlier.
        let stored = stored(90, 180, b"a");
        let ours = due_at(&settings, Some(&stored), None, &none, now);
        for (advised, expected) in [(at(95), at(95)), (at(179), ours)] {
            let advice = Advice { renew_at: Some(advised), ask_again: now };
            let advice = HashMap::from([(stored.der.clone(), advice)]);
            assert_eq!(due_at(&settings, Some(&stored), None, &advice, now), expected);
        }
    }

    #[test]
    fn an_attempt_is_on_record_before_it_begins() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, file) = (AcmeSettings::default(), dir.path().join("a.pem"));
        let now = SystemTime::now();
        // Killed: the record stays.
        std::mem::forget(begin(&settings, &file, None).unwrap());
        let killed = Attempt::read(&file).unwrap();
        assert!(killed.failures == 1 && killed.next > seconds(now));
        // Stopped in an orderly way: as before.
        drop(begin(&settings, &file, Some(killed.clone())).unwrap());
        assert_eq!(Attempt::read(&file), Some(killed.clone()));
        let mut record = begin(&settings, &file, Some(killed)).unwrap();
        record.failed("why", None).unwrap();
        drop(record);
        let failed = Attempt::read(&file).unwrap();
        assert_eq!((failed.failures, failed.error.as_str()), (2, "why"));
        let mut record = begin(&settings, &file, Some(failed)).unwrap();
        record.succeeded();
        drop(record);
        assert_eq!(Attempt::read(&file), None);
        assert!(begin(&settings, &dir.path().join("nowhere/a.pem"), None).is_err());
    }
}
