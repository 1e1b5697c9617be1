//! The proof of a change: the same requests judged with it and without it.
//!
//! In go the recorded requests of a group, and attacks: tests of an attack suite as they are, and attack values put into
//! the group's very field and into the fields beside it. Out comes how many refusals go away and which detections go
//! with them. A change that loses anything outside the field it names is no proposal.

use super::attacks;
use super::bench::{Bench, Sight};
use super::cluster::Group;
use super::event::Record;
use super::field::{Field, Place};
use gatehouse_waf::field::{Fields, Purpose};
use std::collections::BTreeSet;

/// Fields beside the one that changes that attacks are put into, at most.
const MOST_BESIDE: usize = 4;
/// Of the attack values, every which is put into each field beside.
const EVERY: usize = 3;

/// An attack that the present rules and policy refuse.
pub(super) struct Attack {
    raw: Vec<u8>,
    before: Sight,
    /// Where the attack value was put; none for a test of a suite.
    field: Option<Field>,
}

impl Attack {
    /// Whether it would be let through.
    pub(super) fn passes(&self, bench: &Bench) -> bool {
        bench.judge(&self.raw).is_some_and(|sight| !sight.refused)
    }
}

/// What a change does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Proof {
    /// Recorded requests that were rebuilt and are refused without the change.
    pub(super) replayed: usize,
    /// Of these, refused no longer.
    pub(super) removed: usize,
    /// Attacks that are refused without the change.
    pub(super) detections: usize,
    /// Of these, refused no longer; all of them in the field that changes.
    pub(super) lost: usize,
    /// Of the attacks, those put into the field that changes.
    pub(super) placed: usize,
    /// Of these, refused no longer.
    pub(super) placed_lost: usize,
    /// The rules that found the lost ones, and `field attack` and the like.
    pub(super) lost_to: BTreeSet<String>,
    /// What is no longer found in other fields.
    pub(super) elsewhere: BTreeSet<String>,
}

/// Attacks that `bench` refuses, of these requests.
pub(super) fn attacks(bench: &Bench, raw: impl IntoIterator<Item = (Vec<u8>, Option<Field>)>) -> Vec<Attack> {
    let attack = |(raw, field): (Vec<u8>, Option<Field>)| {
        let before = bench.judge(&raw).filter(|sight| sight.refused)?;
        Some(Attack { raw, before, field })
    };
    raw.into_iter().filter_map(attack).collect()
}

/// The recorded requests of a group as far as they can be rebuilt and are still refused.
pub(super) fn replays(bench: &Bench, group: &Group, records: &[Record]) -> Vec<Vec<u8>> {
    let rebuilt = group.samples.iter().filter_map(|index| records.get(*index)?.rebuilt());
    rebuilt.filter(|raw| bench.judge(raw).is_some_and(|sight| sight.refused)).collect()
}

/// The group's values in requests that have no other recorded field: for requests that are refused for more than one.
pub(super) fn alone(bench: &Bench, group: &Group, records: &[Record]) -> Vec<Vec<u8>> {
    let samples = group.samples.iter().filter_map(|index| records.get(*index));
    let made = samples.flat_map(|record| {
        let mut bare = record.clone();
        bare.rules.clear();
        bare.target = record.path().to_vec();
        let values = record.values(&group.field).into_iter();
        values.filter_map(|value| bare.with(&group.field, &value)).collect::<Vec<_>>()
    });
    made.filter(|raw| bench.judge(raw).is_some_and(|sight| sight.refused)).collect()
}

/// Attack values put into the group's field, and into fields beside it; `known` are those the policy names there.
pub(super) fn placed(
    bench: &Bench,
    group: &Group,
    records: &[Record],
    known: Option<&Fields>,
) -> Vec<(Vec<u8>, Option<Field>)> {
    let samples = || group.samples.iter().filter_map(|index| records.get(*index));
    // What a request is refused for beside the field would be found whatever is put into it, and prove nothing.
    let Some(record) = samples().find(|record| is_sound(bench, group, record)).or_else(|| samples().next()) else {
        return Vec::new();
    };
    let put = |field: &Field, value: &str| Some((record.with(field, value.as_bytes())?, Some(field.clone())));
    let mut requests: Vec<_> = attacks::VALUES.iter().filter_map(|(_, value)| put(&group.field, value)).collect();
    // What the event has of the group's field must not be found in place of the attack beside it.
    let mut plain = record.clone();
    plain.rules.retain(|hit| Field::of_variable(&hit.variable, record).is_none_or(|(field, _)| field != group.field));
    if group.field.place == Place::Query {
        plain.target = record.path().to_vec();
    }
    plain.headers.retain(|(name, _)| group.field.place != Place::Header || *name != group.field.name);
    for field in beside(&group.field, known) {
        let values = attacks::VALUES.iter().step_by(EVERY);
        requests
            .extend(values.filter_map(|(_, value)| Some((plain.with(&field, value.as_bytes())?, Some(field.clone())))));
    }
    requests
}

/// Whether a recorded request with an everyday word in the group's field is refused for nothing but that field.
fn is_sound(bench: &Bench, group: &Group, record: &Record) -> bool {
    let control = record.with(&group.field, b"release");
    let Some(sight) = control.and_then(|raw| bench.judge(&raw)) else { return false };
    let elsewhere =
        |(place, name, _): &(&str, String, &str)| Field::of_note(place, name).is_none_or(|field| field != group.field);
    !sight.refused
        || !sight.hits.iter().any(|(_, variable)| is_field(variable) && !group.field.is_in(variable))
            && !sight.fields.iter().any(elsewhere)
}

/// Fields beside one: those of the same place that the policy names, one it does not, a header field and a parameter.
fn beside(field: &Field, known: Option<&Fields>) -> BTreeSet<Field> {
    let own = |place: &str, name: &str| Field::of_note(place, name);
    let (place, mut names): (&str, Vec<String>) = match (field.place, known) {
        (Place::Query, Some(fields)) => ("query", table(fields.query.named())),
        (Place::Form, Some(fields)) => ("form", table(fields.form.named())),
        (Place::Json, Some(fields)) => {
            let paths = fields.json.paths().map(|(path, _)| path.to_string());
            let plain = |path: String| Some(format!("json{}", path.strip_prefix('$')?.replace("[*]", ".0")));
            ("json", paths.filter_map(plain).filter(|path| !path.contains(['*', '['])).collect())
        }
        (Place::Query, None) => ("query", Vec::new()),
        (Place::Form, None) => ("form", Vec::new()),
        (Place::Json, None) => ("json", Vec::new()),
        (Place::Header | Place::Cookie, _) => ("query", Vec::new()),
    };
    names.retain(|name| own(place, name).is_some_and(|other| other != *field));
    names.truncate(MOST_BESIDE);
    names.push(if place == "json" { "json.gatehouse_other".to_owned() } else { "gatehouse_other".to_owned() });
    let mut fields: BTreeSet<Field> = names.iter().filter_map(|name| own(place, name)).collect();
    fields.extend(
        [own("query", "gatehouse_other"), own("header", "referer"), own("header", "user-agent")].into_iter().flatten(),
    );
    fields.remove(field);
    fields
}

fn table<'a>(named: impl Iterator<Item = (&'a [u8], &'a Purpose)>) -> Vec<String> {
    named.map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
}

/// Proves a change of `field`: `replays` and `attacks` are refused without it.
pub(super) fn prove<'a>(
    changed: &Bench,
    field: &Field,
    replays: &[Vec<u8>],
    attacks: impl Iterator<Item = &'a Attack>,
) -> Proof {
    let mut proof = Proof { replayed: replays.len(), ..Proof::default() };
    let refused = |raw: &Vec<u8>| changed.judge(raw).is_some_and(|sight| sight.refused);
    proof.removed = replays.iter().filter(|raw| !refused(raw)).count();
    if proof.removed == 0 {
        return proof;
    }
    for attack in attacks {
        proof.detections += 1;
        let placed = usize::from(attack.field.as_ref() == Some(field));
        proof.placed += placed;
        let Some(after) = changed.judge(&attack.raw) else { continue };
        let gone: Vec<&(u64, String)> = attack.before.hits.difference(&after.hits).collect();
        // A rule names the last of the values it matched: where that is gone, it may name the one before.
        let still = |id: u64| after.hits.iter().any(|(other, _)| *other == id);
        for (id, variable) in &gone {
            if is_field(variable) && !field.is_in(variable) && !still(*id) {
                proof.elsewhere.insert(format!("rule {id} in {variable}"));
            }
        }
        if after.refused {
            continue;
        }
        proof.placed_lost += placed;
        match &attack.field {
            Some(put) if put != field => drop(proof.elsewhere.insert(format!("an attack in {put}"))),
            Some(_) => proof.lost += 1,
            None if gone.iter().any(|(_, variable)| field.is_in(variable)) => proof.lost += 1,
            None => drop(proof.elsewhere.insert("a test of the suite that does not have the field".to_owned())),
        }
        let rules = gone.iter().filter(|(_, variable)| field.is_in(variable)).map(|(id, _)| id.to_string());
        proof.lost_to.extend(rules);
        let verdicts = attack.before.fields.difference(&after.fields);
        proof.lost_to.extend(verdicts.map(|(_, _, verdict)| format!("field {verdict}")));
    }
    proof
}

/// Whether a variable is a field of a request, not a whole part of it or what rules keep.
fn is_field(variable: &str) -> bool {
    ["ARGS:", "ARGS_GET:", "ARGS_POST:", "REQUEST_HEADERS:", "REQUEST_COOKIES:"].iter().any(|c| variable.starts_with(c))
}
