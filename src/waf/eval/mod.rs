//! [`Ruleset`] × one transaction → [`Outcome`].
//!
//! Decides which rules match and whether the transaction is interrupted. In: the message as bytes, in the order of its
//! phases, and the facts of the connection. Out: an [`Interruption`] where one is to be carried out, and the
//! [`Outcome`] to be recorded. No I/O, no clock, no log line, no global: what time it is, is an argument.
//!
//! Memory: the message once, transformed values up to 64 MiB, TX up to 32 MiB. Time: operators and transformations are
//! linear in what they read, and a transaction reads no more than `SecGatehouseWorkLimit` bytes with them together; past
//! that it is interrupted (fails closed: a request too costly to inspect is not an inspected one). Source: the
//! ModSecurity reference manual; where v2, libmodsecurity and Coraza differ, the regression tests of the Core Rule Set
//! decide.

mod body;
mod clock;
mod cost;
mod effect;
mod expand;
mod fields;
mod gather;
mod known;
mod message;
mod outcome;
mod prelude;
mod request;
mod run;
mod screened;
mod spare;
mod state;
mod texts;
mod trace;
mod warm;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use cost::Costs;
pub use fields::{FieldNote, FieldPlace, FieldVerdict};
pub use outcome::{Disruption, Interruption, MAX_LOGGED_BYTES, Outcome, RuleMatch};
pub(crate) use prelude::Prelude;
pub use trace::{Step, Trace};
pub(crate) use warm::warm;

use crate::action::{Phase, Processor};
use crate::field::{Fields, Purpose};
use crate::ruleset::{LimitAction, Mode, Ruleset};
use crate::variable::Variable;
use fields::Notes;
use message::{Field, Message};
use run::{Run, Workspace};
use state::State;
use texts::Texts;

/// The facts of a connection that rules can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// REMOTE_ADDR
    pub client: IpAddr,
    /// REMOTE_PORT
    pub client_port: u16,
    /// SERVER_ADDR
    pub server: IpAddr,
    /// SERVER_PORT
    pub server_port: u16,
    /// UNIQUE_ID
    pub unique_id: String,
    /// The time of the TIME variables and of the persistent collections.
    pub now: SystemTime,
}

impl Connection {
    /// Of requests that nobody sends: those the engine makes itself.
    fn nobody() -> Self {
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            client: nobody,
            client_port: 0,
            server: nobody,
            server_port: 0,
            unique_id: String::new(),
            now: SystemTime::UNIX_EPOCH,
        }
    }
}

/// What `allow` let pass beyond the phase it was said in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    /// Phases 1 and 2.
    Request,
    /// Phases 1 to 4.
    All,
}

/// One request and its response on their way through the phases.
///
/// Call in this order, leaving out what does not happen: [`request_line`](Self::request_line),
/// [`request_header`](Self::request_header) for each field, [`request_headers_done`](Self::request_headers_done),
/// [`request_body`](Self::request_body) (also without a body: phase 2 always runs), [`response_line`](Self::response_line),
/// [`response_header`](Self::response_header) for each field, [`response_headers_done`](Self::response_headers_done),
/// [`response_body`](Self::response_body), and always [`finish`](Self::finish). After an interruption that is carried
/// out only `finish` does anything; the other calls give the same interruption again.
#[derive(Debug)]
pub struct Transaction {
    rules: Arc<Ruleset>,
    connection: Connection,
    message: Message,
    texts: Texts,
    state: State,
    outcome: Outcome,
    workspace: Workspace,
    allowed: Option<Allowed>,
    /// Whether the phase of this index has run.
    ran: [bool; 5],
    /// Why the query could not be read whole; reported with the body.
    query_error: Option<String>,
    /// Whether running into the work limit interrupts.
    strict: bool,
    /// What the request's fields are for, and how they were found.
    fields: Option<Arc<Fields>>,
    notes: Notes,
}

impl Transaction {
    /// A transaction under `rules`; `mode` stands above `SecRuleEngine`, and under `ctl:ruleEngine`.
    pub fn new(rules: Arc<Ruleset>, mode: Option<Mode>, connection: Connection) -> Self {
        let mode = mode.unwrap_or(rules.settings.mode);
        let (texts, workspace) = spare::take();
        let mut transaction = Self {
            state: State::new(&rules, mode),
            outcome: Outcome::new(rules.settings.audit_engine),
            connection,
            message: Message::new(),
            texts,
            workspace,
            allowed: None,
            ran: [false; 5],
            query_error: None,
            strict: true,
            fields: None,
            notes: Notes::default(),
            rules,
        };
        let zero = transaction.texts.add(b"0");
        for variable in request::FLAGS {
            transaction.message.set(variable, Some(zero));
        }
        transaction.message.set(Variable::Duration, Some(zero));
        transaction
    }

    /// DURATION: the time since the transaction began, to be told before a phase that reads it. In microseconds.
    pub fn elapsed(&mut self, since_start: Duration) {
        let text = self.texts.add(since_start.as_micros().to_string().as_bytes());
        self.message.set(Variable::Duration, Some(text));
    }

    /// TLS_JA4: the fingerprint of the client's TLS greeting, to be told before the head is whole.
    pub fn fingerprint(&mut self, ja4: &str) {
        let text = self.texts.add(ja4.as_bytes());
        self.message.set(Variable::TlsJa4, Some(text));
    }

    /// The request line as sent; `protocol` with its name, as in `HTTP/1.1`.
    pub fn request_line(&mut self, method: &[u8], uri: &[u8], protocol: &[u8]) {
        request::line(&mut self.message, &mut self.texts, method, uri, protocol);
    }

    /// What the request's fields are for, to be told before the head is whole. Each is then held against its class, see
    /// [`field_notes`](Self::field_notes); what is as it should be the rules no longer see.
    pub fn hold_against(&mut self, fields: Arc<Fields>) {
        self.fields = Some(fields);
    }

    /// A parameter in the request's path, and what it is for.
    pub fn path_parameter(&mut self, name: &str, value: &[u8], purpose: &Arc<Purpose>) {
        fields::path(&mut self.notes, name, value, purpose);
    }

    /// The verdicts on fields so far, at most 128; those that fit are the first few only.
    pub fn field_notes(&self) -> &[FieldNote] {
        &self.notes.noted
    }

    /// The variables that hold fields as they were sent and of which rules are shown nothing, or nothing of the query.
    pub fn emptied(&self) -> &[Variable] {
        &self.notes.emptied
    }

    /// The field that the request should be refused for, if there is one.
    pub fn field_refusal(&self) -> Option<&FieldNote> {
        self.notes.refusal()
    }

    /// A field of the request's head, in the order they came; repeated ones stay apart.
    pub fn request_header(&mut self, name: &[u8], value: &[u8]) {
        request::header(&mut self.message, &mut self.texts, name, value);
    }

    /// The request's head is whole: runs phase 1.
    pub fn request_headers_done(&mut self) -> Option<Interruption> {
        if self.is_off() {
            return None;
        }
        let rules = Arc::clone(&self.rules);
        let settings = &rules.settings;
        let content_type = self.message.request_header(&self.texts, "content-type");
        self.state.processor = content_type.and_then(|id| request::processor(self.texts.get(id)));
        let (message, texts) = (&mut self.message, &mut self.texts);
        self.query_error = request::query(message, texts, settings.argument_separator, settings.arguments_limit);
        if let Some(fields) = &self.fields {
            fields::head(fields, message, texts, &mut self.notes, self.query_error.is_none());
        }
        request::combined_size(message, texts);
        if rules.needs_full_request {
            request::full(message, texts, b"");
        }
        self.phase(Phase::RequestHeaders)
    }

    /// Whether phase 2 looks at the body. If not, [`request_body`](Self::request_body) may be given an empty one.
    pub fn wants_request_body(&self) -> bool {
        !self.is_off() && self.state.request_body_access && self.allowed.is_none()
    }

    /// The whole body, empty if there is none: parses it and runs phase 2.
    pub fn request_body(&mut self, body: &[u8]) -> Option<Interruption> {
        if self.is_off() || self.interruption().is_some() {
            return self.interruption();
        }
        let rules = Arc::clone(&self.rules);
        let body = if self.state.request_body_access { body } else { &[] };
        let settings = &rules.settings;
        let reject = settings.request_body_limit_action == LimitAction::Reject;
        let (body, over) = within(body, settings.request_body_limit);
        if over {
            body::flag(&mut self.message, &mut self.texts, Variable::InboundDataError, true);
            let limit = settings.request_body_limit;
            self.outcome.body_error = Some(format!("The request body exceeds {limit} bytes (SecRequestBodyLimit)."));
            if reject && self.over_limit(413) {
                return self.interruption();
            }
        }
        // A form with files is measured by what is no file, once that is known.
        let limit = settings.request_body_no_files_limit;
        let (body, mut too_long) = match self.state.processor {
            Some(Processor::Multipart) => (body, false),
            _ => within(body, limit),
        };
        let (message, texts) = (&mut self.message, &mut self.texts);
        let known = self.fields.as_deref().map(|fields| (fields, &mut self.notes));
        let error = body::read(&rules, message, texts, &self.state, body, known);
        too_long |= body::without_files(message, texts) > limit;
        let too_long = too_long
            .then(|| format!("The request body without files exceeds {limit} bytes (SecRequestBodyNoFilesLimit)."));
        let rejects = reject && too_long.is_some();
        if let Some(error) = too_long.or(error).or_else(|| self.query_error.take()) {
            for variable in [Variable::ReqbodyError, Variable::ReqbodyProcessorError] {
                body::flag(message, texts, variable, true);
            }
            let text = texts.add(error.as_bytes());
            message.set(Variable::ReqbodyErrorMsg, Some(text));
            message.set(Variable::ReqbodyProcessorErrorMsg, Some(text));
            self.outcome.body_error = Some(error);
        }
        request::combined_size(message, texts);
        if rules.needs_full_request {
            request::full(message, texts, body);
        }
        // Rules that know REQBODY_ERROR have their say first: they choose the status and name themselves.
        let decided = self.phase(Phase::RequestBody);
        if decided.is_none() && rejects && self.over_limit(413) {
            return self.interruption();
        }
        decided
    }

    /// The status of the response, and the protocol it came by.
    pub fn response_line(&mut self, status: u16, protocol: &[u8]) {
        let status = status.to_string();
        let mut line = protocol.to_vec();
        line.push(b' ');
        line.extend_from_slice(status.as_bytes());
        for (variable, bytes) in [
            (Variable::ResponseStatus, status.as_bytes()),
            (Variable::ResponseProtocol, protocol),
            (Variable::StatusLine, line.as_slice()),
        ] {
            let text = self.texts.add(bytes);
            self.message.set(variable, Some(text));
        }
    }

    /// A field of the response's head, in the order they came.
    pub fn response_header(&mut self, name: &[u8], value: &[u8]) {
        let field = Field::shown(self.texts.add(name), self.texts.add(value));
        self.message.response_headers.push(field);
        if name.eq_ignore_ascii_case(b"content-type") {
            self.message.set(Variable::ResponseContentType, Some(field.value));
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.message.set(Variable::ResponseContentLength, Some(field.value));
        }
    }

    /// The response's head is whole: runs phase 3.
    pub fn response_headers_done(&mut self) -> Option<Interruption> {
        self.phase(Phase::ResponseHeaders)
    }

    /// Whether phase 4 looks at the body: access is on and the media type is listed. A compressed body is to be
    /// inflated before, or it is looked at as it is.
    pub fn wants_response_body(&self) -> bool {
        if self.is_off() || !self.state.response_body_access || self.allowed == Some(Allowed::All) {
            return false;
        }
        let value = self.message.response_header(&self.texts, "content-type").map(|id| self.texts.get(id));
        let media = value.unwrap_or_default().split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        self.rules.settings.response_mime_types.iter().any(|m| m.as_bytes().eq_ignore_ascii_case(media))
    }

    /// The whole body if it is wanted, else an empty one: runs phase 4.
    pub fn response_body(&mut self, body: &[u8]) -> Option<Interruption> {
        if self.is_off() || self.interruption().is_some() {
            return self.interruption();
        }
        if self.wants_response_body() {
            let settings = &self.rules.settings;
            let (body, over) = within(body, settings.response_body_limit);
            let reject = settings.response_body_limit_action == LimitAction::Reject;
            if over {
                body::flag(&mut self.message, &mut self.texts, Variable::OutboundDataError, true);
                if reject && self.over_limit(502) {
                    return self.interruption();
                }
            }
            let text = self.texts.add_owned(body.to_vec());
            self.message.set(Variable::ResponseBody, Some(text));
        }
        self.phase(Phase::ResponseBody)
    }

    /// Everything is over, however it ended: runs phase 5.
    pub fn finish(&mut self) {
        self.phase(Phase::Logging);
    }

    /// The rules are shown no more: runs phase 5, and gives back what only they need, which may be several times the
    /// bodies. What was found stays; where costs are counted or a trace is kept, so does the rest.
    pub fn settle(&mut self) {
        self.finish();
        if self.workspace.costs.is_none() && self.workspace.trace.is_none() {
            self.message = Message::new();
            spare::give_back(std::mem::take(&mut self.texts), std::mem::take(&mut self.workspace));
        }
    }

    /// A transaction that runs into its work limit goes on uninspected, which its outcome tells, instead of being
    /// interrupted.
    pub fn tolerate_exhaustion(&mut self) {
        self.strict = false;
    }

    /// From now on every rule looks at every value, in order, without the plan that leaves out what cannot match: the
    /// same verdicts at a higher price. For tests that compare the two.
    pub fn unscreened(&mut self) {
        self.workspace.unscreened = true;
    }

    /// Counts from now on what each rule reads, to be asked for with [`costs`](Self::costs).
    pub fn count_costs(&mut self) {
        self.workspace.costs = Some(cost::Counter::default());
    }

    /// What the rules have read since [`count_costs`](Self::count_costs).
    pub fn costs(&self) -> Costs {
        let counter = self.workspace.costs.as_ref();
        counter.map(|counter| counter.costs(&self.rules, self.texts.work)).unwrap_or_default()
    }

    /// Keeps from now on what the rules do, to be read with [`take_trace`](Self::take_trace).
    pub fn trace(&mut self, of: Trace) {
        self.workspace.trace = Some(trace::Tracer::new(of));
    }

    /// What the rules did since [`trace`](Self::trace).
    pub fn take_trace(&mut self) -> Vec<Step> {
        self.workspace.trace.take().map(trace::Tracer::steps).unwrap_or_default()
    }

    /// What was found and decided so far.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// A TX variable, by name in any case: anomaly scores, for example.
    pub fn tx_var(&self, name: &str) -> Option<&[u8]> {
        self.state.tx.named(&self.rules, name.as_bytes())
    }

    /// The mode in force.
    pub fn mode(&self) -> Mode {
        self.state.mode
    }

    fn is_off(&self) -> bool {
        self.state.mode == Mode::Off
    }

    /// The interruption that is being carried out.
    fn interruption(&self) -> Option<Interruption> {
        self.outcome.interruption.clone().filter(|_| self.outcome.enforced)
    }

    /// Decides on a body over its limit; `true` if the transaction ends.
    fn over_limit(&mut self, status: u16) -> bool {
        let interruption = Interruption { action: Disruption::Deny, status, rule_id: 0 };
        run::decide(&mut self.outcome, self.state.mode, interruption)
    }

    fn phase(&mut self, phase: Phase) -> Option<Interruption> {
        if phase != Phase::Logging && self.interruption().is_some() {
            return self.interruption();
        }
        let passed = match self.allowed {
            Some(Allowed::All) => phase != Phase::Logging,
            Some(Allowed::Request) => phase <= Phase::RequestBody,
            None => false,
        };
        let ran = self.ran.get_mut(phase.index()).is_some_and(|ran| std::mem::replace(ran, true));
        if self.is_off() || passed || ran {
            return None;
        }
        let rules = Arc::clone(&self.rules);
        let allowed = Run {
            rules: &rules,
            connection: &self.connection,
            message: &self.message,
            texts: &mut self.texts,
            state: &mut self.state,
            outcome: &mut self.outcome,
            workspace: &mut self.workspace,
            phase,
            only_hot: false,
        }
        .run();
        self.allowed = allowed.or(self.allowed);
        if phase == Phase::Logging {
            return None;
        }
        if self.outcome.exhausted && self.strict {
            self.over_limit(if phase <= Phase::RequestBody { 413 } else { 502 });
        }
        self.interruption()
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        spare::give_back(std::mem::take(&mut self.texts), std::mem::take(&mut self.workspace));
    }
}

/// The part of a body that is within the limit, and whether there is more.
fn within(body: &[u8], limit: usize) -> (&[u8], bool) {
    match body.get(..limit) {
        Some(part) if part.len() < body.len() => (part, true),
        _ => (body, false),
    }
}

#[cfg(test)]
mod tests;
