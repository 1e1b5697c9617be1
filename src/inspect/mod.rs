//! Inspection: requests and responses through the rule engine.
//!
//! Decides, after the route is known, whether the rules refuse a request (phases 1 and 2) or a response (phases 3 and
//! 4). In go the normalised request's raw parts, so that the rules see what was sent, and whole bodies; out comes a
//! refusal or nothing. What the rules matched is kept for the audit event either way.
//!
//! Memory: one transaction a request, its body borrowed from what is held anyway. Fails closed: rules that cannot be
//! loaded stop the start, or leave the running rules in place at a reload; a body that cannot be parsed is the rules'
//! to judge (`REQBODY_ERROR`), and the core rules refuse it.

mod rules;
mod settings;

pub use rules::{Loaded, load as load_rules, load_with as load_rules_with};
pub use settings::{Engine, OnBudget, Settings, ShadowSettings};

use crate::facts::{ClientAddr, Connection, RequestId};
use crate::fault::Fault;
use crate::units::ByteSize;
use crate::verdict::{Hint, Mode, Reason, Refusal};
use gatehouse_waf as waf;
use gatehouse_waf::field::{Class, Expect, Fields, Purpose};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// The names of anomaly scores in events, and the variables that the core rules and the Core Rule Set keep them in.
const SCORES: [(&str, &str); 4] = [
    ("inbound", "inbound_score"),
    ("outbound", "outbound_score"),
    ("crs_inbound", "blocking_inbound_anomaly_score"),
    ("crs_outbound", "blocking_outbound_anomaly_score"),
];

/// What is said of an inspection that ran into its work limit.
const OVERRUN: &str = "inspection took more work than its limit";

/// The stage: one compiled rule set and how much of a message it gets to see.
pub struct Inspect {
    rules: Option<Arc<waf::Ruleset>>,
    mode: Mode,
    engine: Option<waf::Mode>,
    max_body: ByteSize,
    response_bodies: bool,
    response_window: usize,
    on_budget: OnBudget,
    rule_costs: bool,
    files: Vec<PathBuf>,
    warnings: Vec<Fault>,
}

/// What the rules are told about a request's origin.
pub struct Origin<'a> {
    /// Who is behind it.
    pub client: ClientAddr,
    /// The connection it came on.
    pub connection: &'a Connection,
    /// Its identifier: `UNIQUE_ID`.
    pub id: &'a RequestId,
    /// When it began.
    pub at: SystemTime,
}

/// A request's head as it was sent.
pub struct RawHead<'a> {
    /// Any bytes.
    pub method: &'a [u8],
    /// Any bytes, as sent.
    pub target: &'a [u8],
    /// `HTTP/1.1` or whatever was sent in its place.
    pub protocol: &'a [u8],
    /// The fields in their order, names as sent.
    pub headers: &'a mut dyn Iterator<Item = (&'a [u8], &'a [u8])>,
}

impl Inspect {
    /// Loads and compiles the rules. Relative paths start at `base`.
    ///
    /// # Errors
    /// Every fault of the settings and of every rule file, each at its place.
    pub fn build(settings: &Settings, base: &Path) -> Result<Self, Vec<Fault>> {
        let engine = settings.engine.map(|engine| match engine {
            Engine::On => waf::Mode::On,
            Engine::DetectionOnly => waf::Mode::DetectionOnly,
            Engine::Off => waf::Mode::Off,
        });
        let loaded = if settings.enabled { rules::load(settings, base)? } else { rules::Loaded::default() };
        Ok(Self {
            rules: loaded.rules.map(Arc::new),
            mode: settings.mode,
            engine,
            max_body: settings.max_body,
            response_bodies: settings.response_bodies,
            response_window: settings.response_window.bytes(),
            on_budget: settings.on_budget,
            rule_costs: settings.rule_costs,
            files: loaded.files,
            warnings: loaded.warnings,
        })
    }

    /// Whether there is anything to inspect with.
    pub fn enabled(&self) -> bool {
        self.rules.is_some()
    }

    /// Whether refusals are carried out.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The largest body held for inspection where a route says nothing else.
    pub fn max_body(&self) -> ByteSize {
        self.max_body
    }

    /// How much of a response body is held, in bytes.
    pub fn response_window(&self) -> usize {
        self.response_window
    }

    /// The files the rules were read from, to be watched.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What the compiler warned of.
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }

    /// The ids of all rules: a closed set that may label metrics.
    pub fn rule_ids(&self) -> Vec<u64> {
        self.rules.iter().flat_map(|rules| rules.rules().map(|rule| rule.id)).collect()
    }

    /// Whether a response body may have to be read, so that the replica must send it uncompressed.
    pub fn reads_response_bodies(&self) -> bool {
        self.response_bodies && self.rules.as_ref().is_some_and(|rules| rules.settings().response_body_access)
    }

    /// Begins a transaction and shows it the head; `None` when there are no rules.
    pub fn begin(&self, origin: &Origin<'_>, head: RawHead<'_>) -> Option<Inspection> {
        let rules = self.rules.clone()?;
        let connection = waf::Connection {
            client: origin.client.ip(),
            client_port: origin.connection.peer.0.port(),
            server: origin.connection.local.ip().to_canonical(),
            server_port: origin.connection.local.port(),
            unique_id: origin.id.as_str().to_owned(),
            now: origin.at,
        };
        let mut transaction = waf::Transaction::new(rules, self.engine, connection);
        if self.on_budget == OnBudget::Detect {
            transaction.tolerate_exhaustion();
        }
        if self.rule_costs {
            transaction.count_costs();
        }
        if let Some(ja4) = origin.connection.tls.as_ref().and_then(|tls| tls.ja4.as_deref()) {
            transaction.fingerprint(ja4);
        }
        transaction.request_line(head.method, head.target, head.protocol);
        let mut coded = false;
        for (name, value) in head.headers {
            coded |= name.eq_ignore_ascii_case(b"content-encoding") && is_coded(value);
            transaction.request_header(name, value);
        }
        let (response_bodies, on_budget) = (self.response_bodies, self.on_budget);
        Some(Inspection { transaction, response_bodies, on_budget, coded, overrun_told: false, fields_told: false })
    }
}

/// One request and its response before the rules.
pub struct Inspection {
    transaction: waf::Transaction,
    response_bodies: bool,
    on_budget: OnBudget,
    /// Whether the request's body is compressed, so that rules and policy read nothing of it.
    coded: bool,
    /// Whether it was told that the work limit was reached.
    overrun_told: bool,
    /// Whether a field was told that is not what it should be.
    fields_told: bool,
}

impl Inspection {
    /// What the request's fields are for, those in its path with their values; before its head is judged.
    pub fn hold_against<'a>(
        &mut self,
        fields: &Arc<Fields>,
        path: impl Iterator<Item = (&'a str, &'a [u8], &'a Arc<Purpose>)>,
    ) {
        self.transaction.hold_against(Arc::clone(fields));
        // What nobody is to look into may be written in any way.
        self.coded &=
            !fields.body.as_ref().is_some_and(|body| matches!(body.expect(), Expect::Class(Class::Opaque(_))));
        for (name, value, purpose) in path {
            self.transaction.path_parameter(name, value, purpose);
        }
    }

    /// Once, what the first field that is not what it should be is refused for: 403 for an attack, else 422.
    pub fn field(&mut self) -> Option<Refusal> {
        if self.fields_told {
            return None;
        }
        let note = self.transaction.field_refusal()?;
        self.fields_told = true;
        Some(match note.verdict {
            waf::FieldVerdict::Attack(_) => Refusal::new(Reason::Field(403), note.to_string()),
            _ => Refusal::new(Reason::Field(422), note.to_string())
                .hint(Hint::Field(format!("{} {}", note.place, note.name))),
        })
    }

    /// Whether the request will be refused for a field, so that its body need not be read.
    pub fn fields_refuse(&self) -> bool {
        self.transaction.field_refusal().is_some()
    }

    /// The verdicts on fields.
    pub fn fields(&self) -> &[waf::FieldNote] {
        self.transaction.field_notes()
    }

    /// Phase 1: the head.
    ///
    /// # Errors
    /// The rules refuse it.
    pub fn head(&mut self) -> Result<(), Refusal> {
        let interruption = self.transaction.request_headers_done();
        self.verdict(interruption, Reason::RequestRules)
    }

    /// Whether the body has to be held and shown.
    pub fn wants_body(&self) -> bool {
        self.transaction.wants_request_body()
    }

    /// Phase 2: the whole body, empty if there is none.
    ///
    /// # Errors
    /// The rules refuse it, or it is in a content coding (RFC 9110 section 8.4): no replica is to inflate what was not
    /// read.
    pub fn body(&mut self, body: &[u8]) -> Result<(), Refusal> {
        let interruption = self.transaction.request_body(body);
        self.verdict(interruption, Reason::RequestRules)?;
        if self.coded && !body.is_empty() && self.transaction.mode() == waf::Mode::On {
            return Err(Refusal::new(
                Reason::MediaType,
                "the body is in a content coding, so it could not be inspected",
            ));
        }
        Ok(())
    }

    /// Phase 3: the response's head.
    ///
    /// # Errors
    /// The rules refuse it.
    pub fn response_head(&mut self, status: u16, headers: &http::HeaderMap) -> Result<(), Refusal> {
        self.transaction.response_line(status, b"HTTP/1.1");
        for (name, value) in headers {
            self.transaction.response_header(name.as_str().as_bytes(), value.as_bytes());
        }
        let interruption = self.transaction.response_headers_done();
        self.verdict(interruption, Reason::ResponseRules)
    }

    /// Whether the response's body has to be held and shown.
    pub fn wants_response_body(&self) -> bool {
        self.response_bodies && self.transaction.wants_response_body()
    }

    /// Phase 4: the response's body, as far as the window reaches.
    ///
    /// # Errors
    /// The rules refuse it.
    pub fn response_body(&mut self, body: &[u8]) -> Result<(), Refusal> {
        let interruption = self.transaction.response_body(body);
        self.verdict(interruption, Reason::ResponseRules)
    }

    fn verdict(&self, interruption: Option<waf::Interruption>, reason: fn(u16) -> Reason) -> Result<(), Refusal> {
        interruption.map_or(Ok(()), |interruption| Err(refused(&self.transaction, &interruption, reason)))
    }

    /// Phase 5, after everything else.
    pub fn finish(&mut self) {
        self.transaction.finish();
    }

    /// All has been shown: what is held for the rules is given back, for the response may go on for long.
    pub fn settle(&mut self) {
        self.transaction.settle();
    }

    /// Once, where the work limit was reached and lets pass: what is to be recorded of it.
    pub fn overrun(&mut self) -> Option<Refusal> {
        let tell = self.on_budget == OnBudget::Detect && self.exhausted() && !self.overrun_told;
        self.overrun_told |= tell;
        tell.then(|| Refusal::new(Reason::RequestRules(413), OVERRUN))
    }

    /// The ids of the rules that have read anything and how many bytes; empty unless `waf.rule_costs` is on.
    pub fn costs(&self) -> Vec<(u64, u64)> {
        self.transaction.costs().rules
    }

    /// Whether it ran into the work limit, so that not all rules have looked at everything.
    pub fn exhausted(&self) -> bool {
        self.transaction.outcome().exhausted
    }

    /// The rules that matched and log, in order.
    pub fn matches(&self) -> impl Iterator<Item = &waf::RuleMatch> {
        self.transaction.outcome().matches.iter().filter(|matched| matched.log)
    }

    /// The anomaly scores the loaded rules keep, by name.
    pub fn scores(&self) -> Vec<(Cow<'static, str>, i64)> {
        let score = |name: &str| std::str::from_utf8(self.transaction.tx_var(name)?).ok()?.trim().parse().ok();
        SCORES.iter().filter_map(|(name, variable)| Some((Cow::Borrowed(*name), score(variable)?))).collect()
    }
}

/// Whether a Content-Encoding names any coding but `identity`.
fn is_coded(value: &[u8]) -> bool {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).any(|c| !c.is_empty() && !c.eq_ignore_ascii_case(b"identity"))
}

/// An interruption as a refusal; one without a rule is the engine's own, for a limit it reached.
fn refused(transaction: &waf::Transaction, interruption: &waf::Interruption, reason: fn(u16) -> Reason) -> Refusal {
    let status = match interruption.status {
        status @ 400..=599 => status,
        // `redirect` and whatever else a rule may write: the gate answers refusals itself.
        _ => 403,
    };
    let outcome = transaction.outcome();
    let detail = match (interruption.rule_id, &outcome.body_error) {
        (0, Some(error)) => error.clone(),
        (0, None) if outcome.exhausted => OVERRUN.to_owned(),
        (0, None) => "a limit of the rule engine".to_owned(),
        (id, _) => format!("rule {id}"),
    };
    Refusal::new(reason(status), detail)
}
