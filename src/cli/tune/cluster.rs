//! Refused requests in groups: the same operation (or route and path), the same field, and in each why.
//!
//! One group is one question: what is this field for? Its causes, rules and field verdicts, are counted apart. Memory
//! is bounded by the records and by [`MAX_GROUPS`], [`MAX_VALUES`] and [`MAX_SAMPLES`].

use super::event::Record;
use super::field::Field;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Most groups; fields beyond are a client's invention.
const MAX_GROUPS: usize = 2_000;
/// Most different values of a group that are looked at.
const MAX_VALUES: usize = 256;
/// Most requests of a group that are replayed.
const MAX_SAMPLES: usize = 200;
/// A client whose requests were refused for more fields than this is looking for holes.
const PROBING: usize = 6;

/// Which requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Site {
    pub(super) method: String,
    /// The operation's path, or the request's with what looks like an identifier as `{id}`.
    pub(super) path: String,
    /// The operation of the policy, if one takes it: the place of its entry.
    pub(super) operation: Option<usize>,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// A rule, and the collection it found the field in.
    Rule(u64, String),
    /// `attack` or `misfit`.
    Verdict(String),
}

/// Refusals of one field.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) site: Site,
    pub(super) field: Field,
    /// Each with how many requests it was in.
    pub(super) causes: BTreeMap<Cause, usize>,
    pub(super) requests: usize,
    pub(super) clients: usize,
    /// Of the clients, those refused for many other fields.
    pub(super) probing: usize,
    pub(super) values: BTreeSet<Vec<u8>>,
    /// Which records, at most so many.
    pub(super) samples: Vec<usize>,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(id, _) => write!(f, "rule {id}"),
            Self::Verdict(verdict) => write!(f, "field {verdict}"),
        }
    }
}

/// Groups of these records, the largest first. `site` says which requests one belongs to.
pub(super) fn groups(records: &[Record], site: impl Fn(&Record) -> Site) -> Vec<Group> {
    let mut groups: BTreeMap<(Site, Field), (Group, BTreeSet<&str>)> = BTreeMap::new();
    let mut fields_of: BTreeMap<&str, BTreeSet<&Field>> = BTreeMap::new();
    let hits: Vec<BTreeMap<Field, BTreeSet<Cause>>> = records.iter().map(hits).collect();
    for (index, (record, hits)) in records.iter().zip(&hits).enumerate() {
        let site = site(record);
        for (field, causes) in hits {
            let fields = fields_of.entry(record.client.as_str()).or_default();
            if fields.len() <= PROBING {
                fields.insert(field);
            }
            let key = (site.clone(), field.clone());
            if groups.len() >= MAX_GROUPS && !groups.contains_key(&key) {
                continue;
            }
            let (group, clients) = groups.entry(key).or_insert_with_key(|(site, field)| {
                let group = Group {
                    site: site.clone(),
                    field: field.clone(),
                    causes: BTreeMap::new(),
                    requests: 0,
                    clients: 0,
                    probing: 0,
                    values: BTreeSet::new(),
                    samples: Vec::new(),
                };
                (group, BTreeSet::new())
            });
            group.requests += 1;
            clients.insert(&record.client);
            for cause in causes {
                *group.causes.entry(cause.clone()).or_default() += 1;
            }
            for value in record.values(field) {
                if group.values.len() < MAX_VALUES {
                    group.values.insert(value);
                }
            }
            if group.samples.len() < MAX_SAMPLES {
                group.samples.push(index);
            }
        }
    }
    let probes = |client: &&&str| fields_of.get(**client).is_some_and(|fields| fields.len() > PROBING);
    let mut groups: Vec<Group> = groups
        .into_values()
        .map(|(mut group, clients)| {
            group.clients = clients.len();
            group.probing = clients.iter().filter(probes).count();
            group
        })
        .collect();
    groups.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| (&a.site, &a.field).cmp(&(&b.site, &b.field))));
    groups
}

/// The fields a request was refused for, each with why.
fn hits(record: &Record) -> BTreeMap<Field, BTreeSet<Cause>> {
    let mut hits: BTreeMap<Field, BTreeSet<Cause>> = BTreeMap::new();
    for hit in &record.rules {
        if let Some((field, collection)) = Field::of_variable(&hit.variable, record) {
            hits.entry(field).or_default().insert(Cause::Rule(hit.id, collection));
        }
    }
    for hit in &record.fields {
        if let Some(field) = Field::of_note(&hit.place, &hit.name) {
            hits.entry(field).or_default().insert(Cause::Verdict(hit.verdict.clone()));
        }
    }
    hits
}

/// A path with what looks like an identifier as `{id}`.
pub(super) fn pattern(path: &str) -> String {
    let id = |part: &str| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        let hex = part.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        !part.is_empty() && (digits == part.len() || part.len() >= 8 && hex && digits > 0)
    };
    path.split('/').map(|part| if id(part) { "{id}" } else { part }).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::super::event::{FieldHit, RuleHit};
    use super::*;

    fn record(client: &str, target: &str, hits: &[(u64, &str)]) -> Record {
        Record {
            client: client.to_owned(),
            method: "GET".to_owned(),
            target: target.as_bytes().to_vec(),
            rules: hits
                .iter()
                .map(|(id, variable)| RuleHit { id: *id, variable: variable.as_bytes().to_vec(), value: b"v".to_vec() })
                .collect(),
            ..Record::default()
        }
    }

    fn site(record: &Record) -> Site {
        let path = pattern(&String::from_utf8_lossy(record.path()));
        Site { method: record.method.clone(), path, operation: None }
    }

    #[test]
    fn the_same_field_of_the_same_requests_is_one_group() {
        let mut records = vec![
            record("a", "/n/1?q=x", &[(1, "ARGS:q"), (2, "ARGS:q"), (9, "TX:score")]),
            record("b", "/n/2?q=y", &[(1, "ARGS:q")]),
            record("b", "/m?q=y", &[(1, "ARGS:q")]),
        ];
        records[1].fields.push(FieldHit { place: "query".into(), name: "q".into(), verdict: "misfit".into() });
        let groups = groups(&records, site);
        let seen: Vec<_> =
            groups.iter().map(|g| (g.site.path.as_str(), g.requests, g.clients, g.values.len())).collect();
        assert_eq!(seen, [("/n/{id}", 2, 2, 2), ("/m", 1, 1, 1)]);
        let causes: Vec<_> = groups[0].causes.iter().map(|(cause, count)| (cause.to_string(), *count)).collect();
        assert_eq!(causes, [("rule 1".into(), 2), ("rule 2".into(), 1), ("field misfit".into(), 1)]);
    }

    #[test]
    fn who_is_refused_for_many_fields_is_probing() {
        let mut records: Vec<Record> =
            (0..8).map(|n| record("a", &format!("/?f{n}=x"), &[(1, &format!("ARGS:f{n}"))])).collect();
        records.push(record("b", "/?f0=y", &[(1, "ARGS:f0")]));
        let groups = groups(&records, site);
        assert_eq!((groups[0].clients, groups[0].probing), (2, 1));
    }

    #[test]
    fn identifiers_in_paths_are_one_pattern() {
        for (path, expected) in [
            ("/api/tasks/17/notes", "/api/tasks/{id}/notes"),
            ("/api/0191f3c2-a5d4-7e0b-8000-000000000000", "/api/{id}"),
            ("/api/deadbeef", "/api/deadbeef"),
            ("/", "/"),
        ] {
            assert_eq!(pattern(path), expected);
        }
    }
}
