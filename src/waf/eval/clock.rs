//! The TIME_* variables, in UTC, from the time the transaction was given.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::variable::Variable;

/// Writes a time variable; `false` if `variable` is none.
pub(super) fn write(variable: Variable, now: SystemTime, out: &mut Vec<u8>) -> bool {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    // Writing to a Vec cannot fail.
    let _ = match variable {
        Variable::TimeEpoch => write!(out, "{seconds}"),
        Variable::Time => write!(out, "{hour:02}:{minute:02}:{second:02}"),
        Variable::TimeHour => write!(out, "{hour:02}"),
        Variable::TimeMin => write!(out, "{minute:02}"),
        Variable::TimeSec => write!(out, "{second:02}"),
        Variable::TimeYear => write!(out, "{year}"),
        Variable::TimeMon => write!(out, "{month:02}"),
        Variable::TimeDay => write!(out, "{day}"),
        // 1970-01-01 was a Thursday; Sunday is 0.
        Variable::TimeWday => write!(out, "{}", (days + 4) % 7),
        _ => return false,
    };
    true
}

/// Days since 1970-01-01 → year, month, day in the Gregorian calendar, counted in eras of 400 years from March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times() {
        for (seconds, variable, want) in [
            (0, Variable::TimeYear, "1970"),
            (0, Variable::TimeWday, "4"),
            (951_782_400, Variable::TimeDay, "29"),
            (951_782_400, Variable::TimeMon, "02"),
            (1_785_000_000, Variable::Time, "17:20:00"),
            (1_785_000_000, Variable::TimeEpoch, "1785000000"),
            (1_785_000_000, Variable::TimeYear, "2026"),
        ] {
            let mut out = Vec::new();
            assert!(write(variable, UNIX_EPOCH + Duration::from_secs(seconds), &mut out));
            assert_eq!(String::from_utf8(out).unwrap(), want, "{variable:?} {seconds}");
        }
        assert!(!write(Variable::Args, UNIX_EPOCH, &mut Vec::new()));
    }
}
