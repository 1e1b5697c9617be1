//! What the gate refuses of legitimate traffic, and what it catches of attacks: the real program on `config/archon.toml`
//! in front of a replica.
//!
//! Requests are made from a seed, so that each run sends the same. Texts, lines and payloads are split in two halves by
//! what they are ([`dice::Half`]): the open half may be looked at when rules or policies are written, of the held-out
//! half only the rate is reported. A sample runs with every `cargo test`.
//!
//! | variable | |
//! |---|---|
//! | `GATEHOUSE_TRAFFIC=whole` | everything, as `make traffic` |
//! | `GATEHOUSE_TRAFFIC_LIST=FILE` | wrong verdicts of the open half go there, a line each (with a Core Rule Set: `FILE.crs`) |
//! | `GATEHOUSE_TRAFFIC_SEED=N` | the same texts and payloads, put together and placed differently |
//! | `GATEHOUSE_CRS_DIR=FOLDER` | once more with that Core Rule Set |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::large_futures,
    reason = "a test fails by panicking"
)]

#[path = "../suite/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the suite uses the rest")]
mod harness;

mod agents;
mod attack;
mod dice;
mod drive;
mod legitimate;
mod lines;
mod maker;
mod payloads;
mod places;
mod report;
mod request;
mod texts;

use attack::{Attack, attacks, ordinary};
use dice::{Dice, Half, seed};
use drive::{Case, Stand};
use legitimate::{ROUTES, Route};
use places::{Kind, PLACES, Place};
use report::{GOALS, GOALS_BESIDE, Report};
use std::sync::Arc;
use std::time::Instant;

/// What a case is.
pub(crate) enum About {
    /// One request of a route.
    Request(&'static Route),
    /// A line of somebody's own in one place.
    Line(&'static Place, String),
    /// What ordinarily stands in a place.
    Control(&'static Place, &'static str),
    Attack(Attack),
}

impl About {
    /// Kind, route, place, family and payload, with tabs between.
    fn tell(&self) -> String {
        match self {
            Self::Request(route) => format!("{}\t{}\t\t\t", route.carries.name(), route.name),
            Self::Line(place, line) => format!("line\t{}\t{}\t\t{line:?}", place.target, place.name),
            Self::Control(place, value) => {
                format!("control {}\t{}\t{}\t\t{value:?}", place.kind.name(), place.target, place.name)
            }
            Self::Attack(attack) => {
                let (place, family, how) = (attack.place, attack.family.name(), attack.disguise.name());
                format!(
                    "attack {}\t{}\t{}\t{family} {how}\t{:?}",
                    place.kind.name(),
                    place.target,
                    place.name,
                    attack.payload
                )
            }
        }
    }
}

/// How much is sent.
struct Extent {
    requests: usize,
    lines: usize,
    /// How often each ordinary value is sent, or none but the first of each place, once.
    controls: Option<usize>,
    attacks: usize,
}

const SAMPLE: Extent = Extent { requests: 300, lines: 200, controls: None, attacks: 500 };
const WHOLE: Extent = Extent { requests: usize::MAX, lines: 6_000, controls: Some(3), attacks: usize::MAX };

fn case(half: Half, about: About, make: impl Fn() -> request::Request + Send + Sync + 'static) -> Case<About> {
    Case { half, about, make: Box::new(make) }
}

/// What has to pass.
fn legitimate_cases(extent: &Extent) -> Vec<Case<About>> {
    let mut dice = Dice::new(seed());
    let mut all = Vec::new();
    for route in ROUTES {
        for half in Half::BOTH {
            all.extend(
                (0..route.times).map(|n| case(half, About::Request(route), move || route.request(seed(), half, n))),
            );
        }
    }
    dice.shuffle(&mut all);
    all.truncate(extent.requests);

    let mut more = Vec::new();
    for half in Half::BOTH {
        for line in maker::lines(half) {
            for place in PLACES.iter().filter(|place| place.kind == Kind::Short) {
                let (own, text) = (dice.next(), line.clone());
                more.push(case(half, About::Line(place, line.clone()), move || ordinary(place, &text, own)));
            }
        }
    }
    dice.shuffle(&mut more);
    more.truncate(extent.lines);
    all.append(&mut more);

    for place in PLACES {
        let values = if extent.controls.is_some() { place.ordinary.len() } else { 1 };
        for value in place.ordinary.iter().take(values) {
            for _ in 0..extent.controls.unwrap_or(1) {
                let own = dice.next();
                let half = Half::of(&format!("{}{value}", place.name));
                all.push(case(half, About::Control(place, value), move || ordinary(place, value, own)));
            }
        }
    }
    all
}

/// What must not pass.
fn attack_cases(extent: &Extent) -> Vec<Case<About>> {
    let mut dice = Dice::new(seed());
    let mut all = attacks(dice.next(), 2);
    dice.shuffle(&mut all);
    all.truncate(extent.attacks);
    let make = |attack: Attack| case(attack.half, About::Attack(attack.clone()), move || attack.request());
    all.into_iter().map(make).collect()
}

async fn measure(title: &str, rules: Option<&str>) {
    // One gate at a time: they share the machine.
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = TURN.lock().await;
    let whole = std::env::var("GATEHOUSE_TRAFFIC").is_ok_and(|extent| extent == "whole");
    let extent = if whole { &WHOLE } else { &SAMPLE };
    let (begin, mut report, mut sent) = (Instant::now(), Report::default(), 0);
    for cases in [legitimate_cases(extent), attack_cases(extent)] {
        let stand = Stand::start(rules).await;
        let cases = Arc::new(cases);
        sent += cases.len();
        let fates = stand.run(&cases).await;
        assert!(stand.is_sound().await, "the replica is gone");
        let reasons = stand.reasons(&fates).await;
        report.add(&cases, &fates, &reasons);
    }
    println!("{}\n{sent} requests in {:.1} s", report.text(title), begin.elapsed().as_secs_f64());
    if let Ok(path) = std::env::var("GATEHOUSE_TRAFFIC_LIST") {
        let path = if rules.is_some() { format!("{path}.crs") } else { path };
        std::fs::write(&path, report.list()).unwrap_or_else(|e| panic!("{path}: {e}"));
    }
    let failures = report.failures(if rules.is_some() { &GOALS_BESIDE } else { &GOALS });
    assert!(failures.is_empty(), "{title}: {failures:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archon_behind_the_core_rules() {
    measure("Core rules", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archon_behind_a_core_rule_set_too() {
    let Ok(rules) = std::env::var("GATEHOUSE_CRS_DIR") else {
        println!("skipped: GATEHOUSE_CRS_DIR is not set");
        return;
    };
    measure("Core rules and a Core Rule Set", Some(&rules)).await;
}
