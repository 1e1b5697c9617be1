//! The record: metrics and the audit event of one finished exchange.

use super::Gate;
use super::exchange::Exchange;
use super::shadow;
use crate::audit::{self, Event, FieldFound, RuleMatch, Severity, Tls};
use crate::telemetry::{ShadowOutcome, WafPhase};
use crate::verdict::Action;
use bytes::Bytes;
use std::time::Duration;

const PHASES: [WafPhase; 4] =
    [WafPhase::RequestHead, WafPhase::RequestBody, WafPhase::ResponseHead, WafPhase::ResponseBody];

impl Gate {
    /// Counts an exchange and hands its event to the audit trail. The last thing done for it.
    pub fn record(&self, mut x: Box<Exchange>) {
        let total = x.now.mono.elapsed();
        let action = x.action();
        if let Some(inspection) = &mut x.inspection {
            inspection.finish();
        }
        self.count(&x, action, total);
        let matched = x.inspection.as_ref().is_some_and(|inspection| inspection.matches().next().is_some());
        let relevant = action != Action::Pass || !x.findings.is_empty() || matched;
        if x.shadowed {
            return self.compare(x, action, total, relevant);
        }
        if self.kept.audit.wants(relevant) {
            self.kept.audit.record(event(&mut x, action, total));
        }
    }

    /// Hands an exchange to the candidate of rules, its event with it: that says where the two differ.
    fn compare(&self, mut x: Box<Exchange>, action: Action, total: Duration, relevant: bool) {
        let Some(live) = shadow::live(&x) else {
            self.shadow.count(&x, ShadowOutcome::Skipped);
            if self.kept.audit.wants(relevant) {
                self.kept.audit.record(event(&mut x, action, total));
            }
            return;
        };
        let line = x.line.clone();
        let event = event(&mut x, action, total);
        x.line = line;
        x.inspection = None;
        if let Err(event) = self.shadow.take(x, live, event, relevant)
            && self.kept.audit.wants(relevant)
        {
            self.kept.audit.record(*event);
        }
    }

    fn count(&self, x: &Exchange, action: Action, total: Duration) {
        let metrics = &self.kept.metrics;
        let meters = &x.snapshot.meters;
        let route = x.route.as_ref().and_then(|route| meters.routes.get(route.index)).unwrap_or(&meters.unrouted);
        route.record(x.status, action, total);
        for finding in &x.findings {
            let mode = if finding.enforced { crate::verdict::Mode::Enforce } else { crate::verdict::Mode::Detect };
            metrics.refusal(finding.reason, mode);
        }
        for (phase, spent) in PHASES.into_iter().zip(x.spent.phases) {
            if !spent.is_zero() {
                metrics.waf_seconds.observe(phase, spent);
            }
        }
        if let Some(upstream) = x.spent.upstream {
            metrics.upstream_seconds.observe(upstream);
        }
        if let Some(status) = x.cache {
            metrics.cache.count(status);
        }
        if let Some(inspection) = &x.inspection {
            if inspection.exhausted() {
                metrics.waf_exhausted.inc();
                tracing::warn!(id = x.id.as_str(), "inspection took more work than SecGatehouseWorkLimit allows");
            }
            for matched in inspection.matches() {
                meters.rules.hit(matched.id);
            }
            for (id, bytes) in inspection.costs() {
                meters.rules.read(id, bytes);
            }
        }
    }
}

fn event(x: &mut Exchange, action: Action, total: Duration) -> Event {
    let mut event = Event::new(x.now.wall, x.id.clone(), x.connection.peer, x.client);
    event.user = Some(x.user.clone());
    event.route = x.route.as_ref().map(|route| route.name.clone());
    event.scheme = x.connection.scheme;
    event.protocol = match &x.line.protocol[..] {
        b"HTTP/2.0" => "2",
        b"HTTP/1.0" => "1.0",
        _ => "1.1",
    };
    event.method = std::mem::take(&mut x.line.method);
    event.target = std::mem::take(&mut x.line.target);
    event.host = match &x.request {
        Some(request) => Bytes::copy_from_slice(request.authority().host().as_bytes()),
        None => x.headers.get(http::header::HOST).map(|v| Bytes::copy_from_slice(v.as_bytes())).unwrap_or_default(),
    };
    event.headers = x
        .headers
        .iter()
        .map(|(name, value)| {
            (Bytes::copy_from_slice(name.as_str().as_bytes()), Bytes::copy_from_slice(value.as_bytes()))
        })
        .collect();
    event.mode = x.snapshot.inspect.mode();
    event.action = action;
    event.status = x.status;
    event.findings = std::mem::take(&mut x.findings);
    if let Some(inspection) = &x.inspection {
        event.rules = inspection.matches().map(rule).collect();
        event.scores = inspection.scores();
        event.fields = inspection.fields().iter().map(field).collect();
    }
    event.cache = x.cache;
    event.replica = x.replica.clone();
    let waf: Duration = x.spent.phases.iter().sum();
    event.durations =
        audit::Durations { total, upstream: x.spent.upstream, waf: x.inspection.is_some().then_some(waf) };
    event.bytes_in = x.bytes_in;
    event.bytes_out = x.bytes_out;
    event.tls = x.connection.tls.as_ref().map(|tls| Tls {
        version: tls.version.into(),
        cipher: tls.cipher.into(),
        group: Some(tls.group.into()),
        sni: tls.sni.as_ref().map(|sni| Bytes::copy_from_slice(sni.as_bytes())),
        alpn: tls.alpn.map(|alpn| Bytes::from_static(alpn.as_bytes())),
        resumed: tls.resumed,
        ja4: tls.ja4.clone(),
        client: tls.client.clone(),
    });
    event
}

fn field(note: &gatehouse_waf::FieldNote) -> FieldFound {
    let fits = note.verdict == gatehouse_waf::FieldVerdict::Fits;
    let of_name = if note.of_name { "the name itself: " } else { "" };
    FieldFound {
        place: note.place.as_str(),
        name: Bytes::copy_from_slice(note.name.as_bytes()),
        class: Bytes::copy_from_slice(note.class().as_bytes()),
        verdict: note.verdict.as_str(),
        detail: if fits { Bytes::new() } else { Bytes::from(format!("{of_name}{}", note.verdict)) },
    }
}

fn rule(matched: &gatehouse_waf::RuleMatch) -> RuleMatch {
    RuleMatch {
        id: matched.id,
        phase: matched.phase.number(),
        severity: matched.severity.and_then(|severity| Severity::new(severity.number())),
        msg: Bytes::copy_from_slice(matched.msg.as_bytes()),
        data: Bytes::copy_from_slice(matched.data.as_bytes()),
        tags: matched.tags.iter().map(|tag| tag.as_str().into()).collect(),
        variable: Bytes::copy_from_slice(matched.variable.as_bytes()),
        value: Bytes::copy_from_slice(&matched.value),
    }
}
