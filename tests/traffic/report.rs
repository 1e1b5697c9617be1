//! What came out: tables, the goals, and the list of wrong verdicts.

use crate::About;
use crate::dice::Half;
use crate::drive::{Case, Fate};
use crate::legitimate::Carries;
use crate::lines;
use crate::payloads::Family;
use crate::places::Kind;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

/// What the gate has to reach. Parts of one.
pub(crate) struct Goals {
    /// Of requests with prose, code or logs, at most so many may be refused.
    pub(crate) refused_text: f64,
    /// Of requests with one line of somebody's own.
    pub(crate) refused_short: f64,
    /// Of all other requests.
    pub(crate) refused_typed: f64,
    /// Of attacks where a value has a form of its own, at least so many must be caught.
    pub(crate) caught_typed: f64,
    /// Of attacks in lines of people's own.
    pub(crate) caught_short: f64,
}

/// What holds with a margin. The goals were: of requests with text 0.003, with a line 0.005, of all others none; of attacks
/// 0.99 in typed places and 0.92 in lines.
pub(crate) const GOALS: Goals =
    Goals { refused_text: 0.003, refused_short: 0.005, refused_typed: 0.0, caught_typed: 0.997, caught_short: 0.96 };

/// Where a Core Rule Set is loaded beside the core rules, it has its say on what the scorer leaves to rules, and refuses
/// more of it.
pub(crate) const GOALS_BESIDE: Goals = Goals { refused_text: 0.005, refused_short: 0.0075, ..GOALS };

/// How many, and how many of them with the wrong verdict; by half.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    all: [usize; 2],
    wrong: [usize; 2],
}

impl Tally {
    fn add(&mut self, half: Half, wrong: bool) {
        self.all[half as usize] += 1;
        self.wrong[half as usize] += usize::from(wrong);
    }

    fn count(&self) -> usize {
        self.all.iter().sum()
    }

    fn faults(&self) -> usize {
        self.wrong.iter().sum()
    }

    fn join(mut self, other: &Self) -> Self {
        for i in 0..2 {
            self.all[i] += other.all[i];
            self.wrong[i] += other.wrong[i];
        }
        self
    }

    /// Wrong ones in percent, of all and of each half.
    fn rates(&self) -> String {
        let rate = |wrong: usize, all: usize| 100.0 * wrong as f64 / all.max(1) as f64;
        format!(
            "{:6} of {:6}  {:7.3} %   open {:7.3} %   held out {:7.3} %",
            self.faults(),
            self.count(),
            rate(self.faults(), self.count()),
            rate(self.wrong[0], self.all[0]),
            rate(self.wrong[1], self.all[1])
        )
    }

    /// Right ones in percent, short.
    fn caught(&self) -> String {
        if self.count() == 0 {
            return ".".to_owned();
        }
        format!("{:.1}", 100.0 - 100.0 * self.faults() as f64 / self.count() as f64)
    }
}

/// All that is counted.
#[derive(Default)]
pub(crate) struct Report {
    requests: BTreeMap<(Carries, &'static str), Tally>,
    lines: BTreeMap<&'static str, Tally>,
    controls: BTreeMap<(Kind, &'static str), Tally>,
    attacks: BTreeMap<(Kind, Family), Tally>,
    places: BTreeMap<(Kind, &'static str), Tally>,
    disguises: BTreeMap<(bool, &'static str), Tally>,
    /// Of the lines and payloads that were written later: lines, attacks in typed places, attacks in lines.
    later: BTreeMap<&'static str, Tally>,
    /// Attacks where ordinary values are refused too: that they are is no merit.
    uncounted: usize,
    lost: Vec<String>,
    list: String,
}

impl Report {
    /// Counts cases; ordinary values have to be counted before attacks are.
    pub(crate) fn add(&mut self, cases: &[Case<About>], fates: &[Fate], reasons: &HashMap<String, String>) {
        for (case, fate) in cases.iter().zip(fates) {
            let caught = matches!(fate, Fate::Refused(..));
            if let (Fate::Lost(_) | Fate::Changed, Half::Open) = (fate, case.half) {
                self.lost.push(format!("{fate:?} {}", case.about.tell()));
            }
            let is_attack = matches!(case.about, About::Attack(_));
            let wrong = if is_attack { !caught } else { *fate != Fate::Passed };
            match &case.about {
                About::Request(route) => {
                    self.requests.entry((route.carries, route.name)).or_default().add(case.half, wrong);
                }
                About::Line(place, line) => {
                    self.lines.entry(place.name).or_default().add(case.half, wrong);
                    if lines::is_later(line) {
                        self.later.entry("lines").or_default().add(case.half, wrong);
                    }
                }
                About::Control(place, _) => {
                    self.controls.entry((place.kind, place.name)).or_default().add(case.half, wrong);
                }
                About::Attack(attack) => {
                    let (kind, name) = (attack.place.kind, attack.place.name);
                    if self.is_closed(kind, name) {
                        self.uncounted += 1;
                        continue;
                    }
                    self.attacks.entry((kind, attack.family)).or_default().add(case.half, wrong);
                    self.places.entry((kind, name)).or_default().add(case.half, wrong);
                    if attack.is_later {
                        let name = if kind.is_typed() { "missed typed" } else { "missed short" };
                        self.later.entry(name).or_default().add(case.half, wrong);
                    }
                    let disguise = (kind.is_typed(), attack.disguise.name());
                    self.disguises.entry(disguise).or_default().add(case.half, wrong);
                }
            }
            // Of what is held out nobody reads more than the rate.
            if wrong && case.half == Half::Open {
                let (status, reason) = match fate {
                    Fate::Passed => ("passed".to_owned(), ""),
                    Fate::Changed => ("changed".to_owned(), ""),
                    Fate::Lost(status) => (format!("lost {status}"), ""),
                    Fate::Refused(status, id) => {
                        (status.to_string(), reasons.get(id).map_or("no event", String::as_str))
                    }
                };
                let _ = writeln!(self.list, "{}\t{status}\t{reason}", case.about.tell());
            }
        }
    }

    /// Whether most ordinary values are refused in a place.
    fn is_closed(&self, kind: Kind, name: &'static str) -> bool {
        self.controls.get(&(kind, name)).is_some_and(|tally| tally.faults() * 2 > tally.count())
    }

    /// Wrong verdicts of the open half, a line each: kind, route, place, family, payload, status, what the event says.
    pub(crate) fn list(&self) -> &str {
        &self.list
    }

    fn carrying(&self, carries: Carries) -> Tally {
        let of = self.requests.iter().filter(|((have, _), _)| *have == carries);
        let sum = of.fold(Tally::default(), |sum, (_, tally)| sum.join(tally));
        // Lines have a corpus of their own, one place at a time.
        if carries == Carries::Short { self.lines.values().fold(sum, Tally::join) } else { sum }
    }

    fn caught(&self, typed: bool) -> Tally {
        let of = self.attacks.iter().filter(|((kind, _), _)| kind.is_typed() == typed);
        of.fold(Tally::default(), |sum, (_, tally)| sum.join(tally))
    }

    /// The tables.
    pub(crate) fn text(&self, title: &str) -> String {
        let mut out = format!("\n=== {title}\n\nRefused of what is legitimate:\n");
        for carries in Carries::ALL {
            let _ = writeln!(out, "  {:14}{}", carries.name(), self.carrying(carries).rates());
        }
        let controls = self.controls.values().fold(Tally::default(), Tally::join);
        let _ = writeln!(out, "  {:14}{}", "controls", controls.rates());
        out.push_str("\nBy route (only where any was refused):\n");
        for ((carries, name), tally) in self.requests.iter().filter(|(_, tally)| tally.faults() > 0) {
            let _ = writeln!(out, "  {:6}{name:32}{}", carries.name(), tally.rates());
        }
        for (name, tally) in self.lines.iter().filter(|(_, tally)| tally.faults() > 0) {
            let _ = writeln!(out, "  {:6}{name:32}{}", "line", tally.rates());
        }
        for ((kind, name), tally) in self.controls.iter().filter(|(_, tally)| tally.faults() > 0) {
            let _ = writeln!(out, "  control {:8}{name:32}{}", kind.name(), tally.rates());
        }

        out.push_str("\nMissed of attacks:\n");
        for (name, typed) in [("typed", true), ("short", false)] {
            let _ = writeln!(out, "  {name:14}{}", self.caught(typed).rates());
        }
        let _ = writeln!(out, "  not counted    {} where ordinary values are refused too", self.uncounted);
        out.push_str("\nOf the lines and payloads written later alone:\n");
        for (name, tally) in &self.later {
            let _ = writeln!(out, "  {name:14}{}", tally.rates());
        }
        out.push_str("\nCaught, in percent, by family and place:\n");
        let _ = write!(out, "  {:9}{:>7}", "", "all");
        for kind in Kind::ALL {
            let _ = write!(out, "{:>7}", kind.name());
        }
        out.push('\n');
        for family in Family::ALL.map(Some).into_iter().chain([None]) {
            let of = |kind: Option<Kind>| {
                let own = self.attacks.iter().filter(|((k, f), _)| {
                    kind.is_none_or(|kind| kind == *k) && family.is_none_or(|family| family == *f)
                });
                own.fold(Tally::default(), |sum, (_, tally)| sum.join(tally))
            };
            let _ = write!(out, "  {:9}{:>7}", family.map_or("all", Family::name), of(None).caught());
            for kind in Kind::ALL {
                let _ = write!(out, "{:>7}", of(Some(kind)).caught());
            }
            out.push('\n');
        }
        out.push_str("\nMissed, by disguise:\n");
        for ((typed, name), tally) in &self.disguises {
            let _ = writeln!(out, "  {:6}{name:10}{}", if *typed { "typed" } else { "short" }, tally.rates());
        }
        out.push_str("\nMissed, by place (the worst):\n");
        let mut places: Vec<_> = self.places.iter().filter(|(_, tally)| tally.faults() > 0).collect();
        places.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.faults() * 10_000 / tally.count()));
        for ((kind, name), tally) in places.iter().take(40) {
            let _ = writeln!(out, "  {:8}{name:32}{}", kind.name(), tally.rates());
        }
        for lost in self.lost.iter().take(20) {
            let _ = writeln!(out, "lost: {lost}");
        }
        out
    }

    /// What falls short of the goals. A sample is small: a part of one counts for one.
    pub(crate) fn failures(&self, goals: &Goals) -> Vec<String> {
        let mut out = Vec::new();
        let mut check = |what: &str, tally: Tally, most: f64| {
            if tally.faults() as f64 > (tally.count() as f64 * most).ceil() {
                out.push(format!("{what}: {} of {} wrong, goal {:.1} %", tally.faults(), tally.count(), most * 100.0));
            }
        };
        check("refused with text", self.carrying(Carries::Text), goals.refused_text);
        check("refused with a line", self.carrying(Carries::Short), goals.refused_short);
        check("refused without text", self.carrying(Carries::Typed), goals.refused_typed);
        check(
            "refused ordinary values",
            self.controls.values().fold(Tally::default(), Tally::join),
            goals.refused_short,
        );
        check("missed in typed places", self.caught(true), 1.0 - goals.caught_typed);
        check("missed in lines", self.caught(false), 1.0 - goals.caught_short);
        out
    }
}
