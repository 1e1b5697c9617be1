//! Requests judged as the gate would judge them: the policy's fields, phases 1 and 2 of the rules, no sockets.
//!
//! Everything runs as if in enforcing mode, whatever the configuration's mode is: the question is what would be refused.

use crate::cli::rules::front::{local, sound};
use crate::policy::field::FieldPolicy;
use crate::request::path::Target;
use crate::request::wire;
use gatehouse_waf::{FieldVerdict, Mode, Ruleset, Transaction};
use http::Method;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Rules and a policy.
#[derive(Clone)]
pub(super) struct Bench {
    pub(super) rules: Arc<Ruleset>,
    pub(super) policy: Option<Arc<FieldPolicy>>,
}

/// What was found in a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sight {
    /// Whether it would be refused by the rules or for a field.
    pub(super) refused: bool,
    /// The rules that match and log, each with its variable.
    pub(super) hits: BTreeSet<(u64, String)>,
    /// The fields it would be refused for, by place and name, each with its verdict.
    pub(super) fields: BTreeSet<(&'static str, String, &'static str)>,
}

impl Bench {
    /// Judges a request as it goes over the wire; none where it would be refused before fields and rules are asked.
    pub(super) fn judge(&self, raw: &[u8]) -> Option<Sight> {
        let end = wire::find_end(raw, 0).unwrap_or(raw.len());
        let (head, rest) = raw.split_at_checked(end).unwrap_or((raw, &[]));
        let read = wire::lenient(head);
        let body = sound(head, &read, rest).ok()?;
        let method = Method::from_bytes(read.method).ok()?;
        let target = Target::read(read.target, method == Method::OPTIONS).ok()?;
        let mut transaction = Transaction::new(self.rules.clone(), Some(Mode::DetectionOnly), local());
        transaction.request_line(read.method, read.target, read.version);
        if let Some(policy) = &self.policy {
            let known = policy.known(&method, target.canonical()).ok()?;
            transaction.hold_against(Arc::clone(known.fields()));
            for (name, value, purpose) in known.path() {
                transaction.path_parameter(name, value, purpose);
            }
        }
        for (name, value) in &read.headers {
            transaction.request_header(name, value);
        }
        transaction.request_headers_done();
        transaction.request_body(&body);
        let outcome = transaction.outcome();
        let logged = outcome.matches.iter().filter(|matched| matched.log);
        let refuses = |note: &&gatehouse_waf::FieldNote| note.verdict.refuses();
        Some(Sight {
            refused: outcome.interruption.is_some() || transaction.field_refusal().is_some(),
            hits: logged.map(|matched| (matched.id, matched.variable.clone())).collect(),
            fields: transaction
                .field_notes()
                .iter()
                .filter(refuses)
                .map(|note| {
                    let verdict = if matches!(note.verdict, FieldVerdict::Attack(_)) { "attack" } else { "misfit" };
                    (note.place.as_str(), note.name.clone(), verdict)
                })
                .collect(),
        })
    }
}
