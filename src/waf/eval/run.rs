//! One phase: its rules in order, each link over its values, and what a match brings about.
//!
//! For each link: every target's values (less what is excluded) are transformed and tested, all of them, not only up to
//! the first match. Each matching value at once becomes MATCHED_VAR, writes its captures and runs the link's own
//! effects, even if a later link fails. When the last link has matched, the head's message is recorded and its verdict
//! and jump take effect.

use std::borrow::Cow;

use super::cost::Counter;
use super::expand::MAX_EXPANSION;
use super::gather::{Gathered, Item, Spot, View, count};
use super::message::{Message, Which};
use super::outcome::{Disruption, Interruption, MAX_LOGGED_BYTES, Outcome, RuleMatch};
use super::prelude::Prelude;
use super::screened::Screened;
use super::state::{Bytes, Held, Matched, State};
use super::texts::{TextId, Texts, transform_bytes};
use super::trace::{Step, Tracer, names, short, shown};
use super::{Allowed, Connection};
use crate::action::{AllowScope, Phase};
use crate::operator::{Captures, GROUPS, Operator};
use crate::plan::Switch;
use crate::ruleset::{ChainId, Link, Mode, Rule, Ruleset, Target, Template, Test, Verdict};
use crate::variable::{Selector, Variable};

/// What looking at a value costs beside reading it, in bytes.
const LOOK_COST: u64 = 32;

/// Buffers kept from rule to rule.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    pub(super) gathered: Gathered,
    pub(super) captures: Captures,
    /// The target removals that concern the rule that is running.
    removals: Vec<usize>,
    pub(super) trace: Option<Tracer>,
    pub(super) costs: Option<Counter>,
    pub(super) screened: Screened,
    /// Every rule looks at every value; nothing is screened.
    pub(super) unscreened: bool,
    /// Matches have no effects: it is only to be found out whether there are any.
    pub(super) dry: bool,
}

impl Workspace {
    /// Forgets everything but the room.
    pub(super) fn clear(&mut self) {
        let (mut gathered, mut removals) = (std::mem::take(&mut self.gathered), std::mem::take(&mut self.removals));
        let (mut captures, mut screened) = (std::mem::take(&mut self.captures), std::mem::take(&mut self.screened));
        gathered.clear();
        removals.clear();
        captures.clear();
        screened.forget();
        *self = Self { gathered, captures, removals, screened, ..Self::default() };
    }
}

/// A phase that is running.
pub(super) struct Run<'a> {
    pub(super) rules: &'a Ruleset,
    pub(super) connection: &'a Connection,
    pub(super) message: &'a Message,
    pub(super) texts: &'a mut Texts,
    pub(super) state: &'a mut State,
    pub(super) outcome: &'a mut Outcome,
    pub(super) workspace: &'a mut Workspace,
    pub(super) phase: Phase,
    /// Whether the link being run can match no value but those the screen found something in.
    pub(super) only_hot: bool,
}

/// A link with what is the same for all its values.
struct Looking<'a> {
    link: &'a Link,
    operator: &'a Operator,
    test: &'a Test,
    /// The expanded argument, where it holds macros.
    argument: Option<Vec<u8>>,
    /// Whether the groups of a match must be found at once.
    needs_groups: bool,
}

impl Looking<'_> {
    fn holds(&self, value: &[u8], captures: &mut Captures) -> bool {
        captures.clear();
        let matches = match &self.argument {
            Some(argument) => {
                self.operator.matches_expanded(value, argument, self.link.capture && !self.test.negated, captures)
            }
            None => self.operator.matches(value, self.link.capture && !self.test.negated, captures),
        };
        matches != self.test.negated
    }
}

impl<'a> Run<'a> {
    pub(super) fn view(&self) -> View<'_> {
        View {
            rules: self.rules,
            connection: self.connection,
            message: self.message,
            texts: self.texts,
            state: self.state,
            which: Which::Shown,
        }
    }

    /// Runs the phase; returns what `allow` let pass, if it did.
    pub(super) fn run(&mut self) -> Option<Allowed> {
        let rules = self.rules;
        let list = rules.phases.get(self.phase.index()).map_or(&[][..], Vec::as_slice);
        // A trace shows what a rule looked at in vain, too.
        let unscreened = self.workspace.unscreened || self.workspace.trace.is_some();
        // From where to where the rules to run are known.
        let (mut at, mut screened, mut screened_to) = (0, !unscreened, if unscreened { list.len() } else { 0 });
        let mut prelude = self.begin_with_prelude();
        let mut last = prelude.and_then(|prelude| prelude.last.as_ref());
        while let Some(&number) = list.get(at) {
            if let Some(Prelude { end, between, .. }) = prelude {
                let next = between.next(at).filter(|next| next < end);
                if let Some((_, last)) = last.take_if(|(place, _)| next.is_none_or(|next| next > *place)) {
                    self.state.last = Some(last.clone());
                }
                match next {
                    Some(next) if next == at => {}
                    Some(next) => {
                        at = next;
                        continue;
                    }
                    None => {
                        (at, prelude) = ((*end).max(at), None);
                        continue;
                    }
                }
            }
            if self.state.mode == Mode::Off || self.is_exhausted() {
                break;
            }
            if at >= screened_to {
                (screened, screened_to) = self.enter(at);
            }
            if screened {
                self.wake();
                match self.workspace.screened.live.next(at) {
                    Some(live) if live == at => {}
                    Some(live) if live < screened_to => {
                        at = live;
                        continue;
                    }
                    _ => {
                        at = screened_to;
                        continue;
                    }
                }
            }
            let place = at;
            at += 1;
            let Some(rule) = rules.rules.get(number).filter(|_| !self.state.is_removed(number)) else { continue };
            if self.passes_switch(place) {
                continue;
            }
            let before = self.state.work;
            let links = rules.links.get(rule.links.clone()).unwrap_or_default();
            self.only_hot = screened && self.workspace.screened.tells_all_of(place);
            let matches = self.chain(number, rule, links);
            if let Some(costs) = &mut self.workspace.costs {
                costs.rule(number, self.state.work - before);
            }
            if !matches {
                continue;
            }
            self.record(number, rule);
            match self.settle(number, &rule.verdict) {
                Next::Rule => at = rule.jump.unwrap_or(at),
                Next::Stop(allowed) => return allowed,
            }
        }
        None
    }

    /// Takes over what the prelude left, if this phase begins with one and nobody watches the rules.
    fn begin_with_prelude(&mut self) -> Option<&'a Prelude> {
        let watched = self.workspace.unscreened || self.workspace.trace.is_some() || self.workspace.costs.is_some();
        let prelude = self.rules.prelude.as_ref().filter(|_| self.phase == Phase::RequestHeaders && !watched)?;
        self.state.tx.clone_from(&prelude.tx);
        self.state.highest_severity = prelude.highest_severity;
        self.state.work += prelude.work;
        Some(prelude)
    }

    /// Screens the segment that begins at or before `at`; returns whether it could be done, and where the segment ends.
    fn enter(&mut self, at: usize) -> (bool, usize) {
        let (rules, phase) = (self.rules, self.phase.index());
        let Some((segment, end)) = rules.plan.segment(phase, at) else { return (false, usize::MAX) };
        let mut setting = 0;
        for (number, switch) in rules.plan.switches(phase).iter().enumerate() {
            setting |= u64::from(self.switches(*switch)) << number;
        }
        let layout = rules.layout(phase, segment, setting);
        let screened = layout.is_some();
        if let Some(layout) = layout {
            self.screen(layout);
        }
        (screened, end)
    }

    /// Whether a switch matches now.
    fn switches(&mut self, switch: Switch) -> bool {
        let value = self.state.tx.slot(self.rules, switch.slot);
        let operator = self.rules.operators.get(switch.operator);
        value.zip(operator).is_some_and(|(value, operator)| {
            operator.matches(value, false, &mut self.workspace.captures) != switch.negated
        })
    }

    /// Whether a switch stands here that does not match: nothing else would come of running it.
    fn passes_switch(&mut self, place: usize) -> bool {
        let switch = self.rules.plan.switch_at(self.phase.index(), place);
        switch.is_some_and(|switch| !self.switches(switch))
    }

    /// Whether the transaction has used up its work. The logging phase has twice as much, so that what was found is
    /// still reported.
    pub(super) fn is_exhausted(&mut self) -> bool {
        let limit = self.rules.settings.work_limit;
        let (limit, full) = match self.phase {
            Phase::Logging => (limit.saturating_mul(2), false),
            _ => (limit, self.state.tx.full),
        };
        let exhausted = full || self.state.work.saturating_add(self.texts.work) > limit;
        self.outcome.exhausted |= exhausted;
        exhausted
    }

    /// Whether the links of a rule, or the first of them, all match.
    pub(super) fn chain(&mut self, number: usize, rule: &Rule, links: &[Link]) -> bool {
        self.state.rule = number;
        self.state.matched.clear();
        self.workspace.removals.clear();
        if rule.needs_groups {
            self.find_groups();
        }
        if !self.state.target_removals.is_empty() {
            let concern = |n: &&usize| {
                self.rules.removals.get(**n).is_some_and(|removal| removal.rules.binary_search(&number).is_ok())
            };
            self.workspace.removals.extend(self.state.target_removals.iter().filter(concern));
        }
        let mut links = links.iter();
        // Only first links are screened.
        let first = links.next().is_none_or(|link| self.link(link, rule.needs_groups));
        self.only_hot = false;
        first && links.all(|link| self.link(link, rule.needs_groups))
    }

    /// Finds all that the last match caught, if that was put off.
    fn find_groups(&mut self) {
        let Some((text, operator)) = self.state.groups.take() else { return };
        let captures = &mut self.workspace.captures;
        if let Some(operator) = self.rules.operators.get(operator) {
            let value = self.texts.get(text);
            self.state.work += value.len() as u64;
            operator.matches(value, true, captures);
        }
        self.set_groups();
    }

    /// What was caught becomes TX.
    fn set_groups(&mut self) {
        for slot in 0..GROUPS {
            match self.workspace.captures.get(slot) {
                Some(group) => self.state.tx.set_slot(slot, group),
                None => self.state.tx.unset_slot(slot),
            }
        }
    }

    fn link(&mut self, link: &Link, needs_groups: bool) -> bool {
        let Some(test) = &link.test else {
            self.effects(link);
            return true;
        };
        let Some(operator) = self.rules.operators.get(test.operator) else { return false };
        let argument = test.argument.as_ref().map(|template| self.expanded(template));
        let looking = Looking { link, operator, test, argument, needs_groups };
        if let Some(slot) = self.only_slot(link) {
            return self.look_at_slot(&looking, slot);
        }
        let mut gathered = std::mem::take(&mut self.workspace.gathered);
        let mut matched = false;
        for target in &link.targets {
            gathered.clear();
            let which = if target.counted { Which::All } else { Which::Shown };
            let view = View { which, ..self.view() };
            view.gather(target.variable, &target.selector, &target.slots, &mut gathered);
            self.exclude(target, &mut gathered);
            if target.counted {
                let unlisted = match target.selector {
                    Selector::All => self.message.unlisted(target.variable),
                    _ => 0,
                };
                let number = gathered.items.len() + unlisted;
                gathered.clear();
                count(number, &mut gathered.bytes);
                gathered.items.push(Item { key: Spot::None, value: Spot::Here(0, gathered.bytes.len()) });
            }
            for item in &gathered.items {
                if self.is_exhausted() {
                    break;
                }
                if let Spot::Text(value) = item.value
                    && self.only_hot
                    && !self.workspace.screened.is_hot(value)
                {
                    self.state.work += LOOK_COST;
                    continue;
                }
                matched |= self.look(&looking, target.variable, *item, &gathered);
            }
        }
        self.workspace.gathered = gathered;
        matched
    }

    /// The TX variable that a link looks at, if that is all it does, as in rules that compare and add up scores.
    fn only_slot(&self, link: &Link) -> Option<usize> {
        let [target] = &*link.targets else { return None };
        let (Variable::Tx, Selector::Name(_), [slot]) = (target.variable, &target.selector, &*target.slots) else {
            return None;
        };
        let plain = !target.counted && target.exclusions.is_empty() && link.chain == 0 && !link.multi_match;
        let watched = self.workspace.trace.is_some() || !self.workspace.removals.is_empty();
        (plain && !watched).then_some(*slot)
    }

    fn look_at_slot(&mut self, looking: &Looking<'_>, slot: usize) -> bool {
        let rules = self.rules;
        if self.is_exhausted() {
            return false;
        }
        let Some(value) = self.state.tx.slot(rules, slot) else { return false };
        let work = 2 * value.len() as u64 + LOOK_COST;
        let holds = looking.holds(value, &mut self.workspace.captures);
        let value = holds.then(|| Bytes::from_slice(value));
        self.state.work += work;
        if let Some(value) = value {
            self.hit(looking.link, Variable::Tx, Spot::Slot(slot), &Gathered::default(), Held::Own(value), None);
        }
        holds
    }

    /// Takes out the members that the rule or an earlier `ctl` excludes.
    fn exclude(&self, target: &Target, gathered: &mut Gathered) {
        if target.exclusions.is_empty() && self.workspace.removals.is_empty() {
            return;
        }
        let removals = self.workspace.removals.iter().filter_map(|n| self.rules.removals.get(*n));
        let removals: Vec<_> = removals.filter(|r| r.variable == target.variable).map(|r| &r.selector).collect();
        let mut items = std::mem::take(&mut gathered.items);
        items.retain(|item| {
            let name = self.view().bytes(item.key, gathered).unwrap_or_default();
            !target.exclusions.iter().chain(removals.iter().copied()).any(|selector| selector.takes(name))
        });
        gathered.items = items;
    }

    fn look(&mut self, looking: &Looking<'_>, variable: Variable, item: Item, gathered: &Gathered) -> bool {
        if looking.link.multi_match {
            return self.look_at_each_step(looking, variable, item, gathered);
        }
        self.look_after(looking, looking.link.chain, variable, item, gathered)
    }

    /// Tests the value that `chain` makes of an item.
    fn look_after(
        &mut self,
        looking: &Looking<'_>,
        chain: ChainId,
        variable: Variable,
        item: Item,
        gathered: &Gathered,
    ) -> bool {
        let chains = &self.rules.chains;
        let captures = &mut self.workspace.captures;
        if let Spot::Text(id) = item.value
            && let Some(done) = self.texts.transform(chains, id, chain)
        {
            let known = self.workspace.screened.answer(done, looking.test.operator);
            let value = self.texts.get(done);
            let captures_it = looking.link.capture && !looking.test.negated;
            let mut put_off = None;
            let holds = match known {
                Some(hit) if !hit || !captures_it => {
                    captures.clear();
                    hit != looking.test.negated
                }
                // Of a long match what is logged of it; who needs more finds it.
                Some(_) if !looking.needs_groups => {
                    let (start, span) =
                        self.workspace.screened.span((done, value), looking.test.operator, MAX_LOGGED_BYTES);
                    let (from, likely) = start.map_or((0, false), |start| (start.at, start.likely));
                    let length = span.as_ref().map_or(value.len().saturating_sub(from), |span| span.len());
                    self.state.work += length as u64;
                    let (found, more) = match span {
                        Some(span) => looking.operator.caught(value, span, captures),
                        None => looking.operator.find(value, from, likely, captures),
                    };
                    put_off = (more || length >= MAX_LOGGED_BYTES).then_some((done, looking.test.operator));
                    found
                }
                _ => {
                    self.state.work += value.len() as u64;
                    looking.holds(value, captures)
                }
            };
            self.state.work += LOOK_COST;
            if self.workspace.trace.is_some() {
                let after = self.texts.get(done).to_vec();
                self.trace_look(looking, chain, variable, item, gathered, &after, holds);
            }
            if !holds {
                return false;
            }
            self.hit(looking.link, variable, item.key, gathered, Held::Text(done), put_off);
            return true;
        }
        let bytes = match item.value {
            Spot::Text(id) => self.texts.get(id),
            Spot::Here(start, end) => gathered.bytes.get(start..end).unwrap_or_default(),
            Spot::Slot(_) | Spot::Static(_) | Spot::None => &[],
        };
        let value = transform_bytes(chains, Cow::Borrowed(bytes), chain);
        self.state.work += (bytes.len() + value.len()) as u64 + LOOK_COST;
        let holds = looking.holds(&value, captures);
        let traced = self.workspace.trace.is_some();
        if !holds && !traced {
            return false;
        }
        let after = Bytes::from_slice(&value);
        if traced {
            self.trace_look(looking, chain, variable, item, gathered, &after, holds);
        }
        if holds {
            self.hit(looking.link, variable, item.key, gathered, Held::Own(after), None);
        }
        holds
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one step")]
    fn trace_look(
        &mut self,
        looking: &Looking<'_>,
        chain: ChainId,
        variable: Variable,
        item: Item,
        gathered: &Gathered,
        after: &[u8],
        matched: bool,
    ) {
        let rule = self.rules.infos.get(self.state.rule).map_or(0, |info| info.id);
        if !self.workspace.trace.as_ref().is_some_and(|tracer| tracer.wants_looks(rule, matched)) {
            return;
        }
        let start = self.rules.rules.get(self.state.rule).map_or(0, |rule| rule.links.start);
        let links = self.rules.links.iter().skip(start);
        let link = links.take_while(|link| !std::ptr::eq(*link, looking.link)).count();
        let key = self.view().bytes(item.key, gathered).map(shown);
        let before = self.view().bytes(item.value, gathered).unwrap_or_default();
        let not = if looking.test.negated { "!" } else { "" };
        let argument = match &looking.argument {
            Some(argument) => shown(argument),
            None => looking.operator.argument().to_owned(),
        };
        let step = Step::Looked {
            rule,
            link,
            variable: key.map_or_else(|| variable.name().to_owned(), |key| format!("{}:{key}", variable.name())),
            before: short(before),
            transformations: names(self.rules, chain),
            after: short(after),
            operator: format!("{not}@{} {argument}", looking.operator.name()),
            matched,
        };
        if let Some(tracer) = &mut self.workspace.trace {
            tracer.push(step);
        }
    }

    /// Notes a change of TX, where `before` is the value it had.
    pub(super) fn trace_set(&mut self, name: &[u8], before: Option<Vec<u8>>) {
        let after = self.state.tx.named(self.rules, name).map(shown);
        let rule = self.rules.infos.get(self.state.rule).map_or(0, |info| info.id);
        if let Some(tracer) = &mut self.workspace.trace {
            tracer.push(Step::Set { rule, name: shown(name), before: before.as_deref().map(shown), after });
        }
    }

    /// `multiMatch`: tests the value as it is and after each transformation that changed it.
    fn look_at_each_step(
        &mut self,
        looking: &Looking<'_>,
        variable: Variable,
        item: Item,
        gathered: &Gathered,
    ) -> bool {
        let mut matched = self.look_after(looking, 0, variable, item, gathered);
        let mut before = 0;
        for node in &looking.link.steps {
            if self.changes(before, *node, item, gathered) {
                matched |= self.look_after(looking, *node, variable, item, gathered);
            }
            before = *node;
        }
        matched
    }

    /// Whether two chains make different values of an item.
    fn changes(&mut self, before: ChainId, after: ChainId, item: Item, gathered: &Gathered) -> bool {
        let chains = &self.rules.chains;
        if let Spot::Text(id) = item.value
            && let Some(old) = self.texts.transform(chains, id, before)
            && let Some(new) = self.texts.transform(chains, id, after)
        {
            return self.texts.get(old) != self.texts.get(new);
        }
        let bytes = match item.value {
            Spot::Text(id) => self.texts.get(id),
            Spot::Here(start, end) => gathered.bytes.get(start..end).unwrap_or_default(),
            Spot::Slot(_) | Spot::Static(_) | Spot::None => &[],
        };
        self.state.work += 2 * bytes.len() as u64;
        transform_bytes(chains, Cow::Borrowed(bytes), before) != transform_bytes(chains, Cow::Borrowed(bytes), after)
    }

    /// A value matches. `put_off` is the text and the operator, if not all that they catch has been found.
    fn hit(
        &mut self,
        link: &Link,
        variable: Variable,
        key: Spot,
        gathered: &Gathered,
        value: Held,
        put_off: Option<(TextId, usize)>,
    ) {
        let key = match key {
            Spot::Text(id) => Held::Text(id),
            Spot::Here(start, end) => Held::Own(Bytes::from_slice(gathered.bytes.get(start..end).unwrap_or_default())),
            Spot::Slot(slot) => Held::Slot(slot),
            Spot::Static(text) => Held::Static(text),
            Spot::None => Held::None,
        };
        let matched = Matched { variable, key, value };
        self.state.matched.push(matched.clone());
        self.state.last = Some(matched);
        if link.capture && !self.workspace.captures.is_empty() {
            self.state.groups = put_off;
            match (put_off, self.workspace.captures.get(0)) {
                (Some(_), Some(whole)) => self.state.tx.set_slot(0, whole),
                _ => self.set_groups(),
            }
        }
        if self.workspace.captures.limit_exceeded() {
            self.state.tx.set_named(self.rules, b"MSC_PCRE_LIMITS_EXCEEDED", Some(b"1"));
        }
        if !self.workspace.dry {
            self.effects(link);
        }
    }

    /// The expansion of a text; too long a one ends the transaction's work.
    pub(super) fn expanded(&mut self, template: &Template) -> Vec<u8> {
        let mut out = Vec::new();
        let whole = self.view().expand(template, &mut out);
        self.state.work += out.len() as u64;
        self.state.tx.full |= !whole;
        debug_assert!(out.len() <= MAX_EXPANSION);
        out
    }

    pub(super) fn record(&mut self, number: usize, rule: &Rule) {
        let Some(info) = self.rules.infos.get(number) else { return };
        if let Some(severity) = info.severity {
            let gravest = self.state.highest_severity.unwrap_or(u8::MAX);
            self.state.highest_severity = Some(gravest.min(severity.number()));
        }
        if !rule.log && !rule.audit_log {
            return;
        }
        let mut text = |template: &Option<Template>| match template {
            Some(template) => logged(&self.expanded(template)),
            None => String::new(),
        };
        let (msg, data) = (text(&rule.msg), text(&rule.logdata));
        let tags = match &rule.tags {
            Some(templates) => templates.iter().map(|tag| logged(&self.expanded(tag))).collect::<Vec<_>>().into(),
            None => info.tags.clone(),
        };
        let (mut variable, mut value) = (Vec::new(), Vec::new());
        // SecAction looks at nothing, so what an earlier rule matched is none of its business.
        if !self.state.matched.is_empty()
            && let Some(last) = &self.state.last
        {
            last.write_name(self.texts, self.rules, &mut variable);
            let bytes = last.value.get(self.texts, self.rules).unwrap_or_default();
            value.extend(bytes.iter().take(MAX_LOGGED_BYTES));
        }
        self.outcome.matches.push(RuleMatch {
            id: info.id,
            msg,
            data,
            severity: info.severity,
            tags,
            phase: rule.phase,
            variable: logged(&variable),
            value,
            log: rule.log,
            audit_log: rule.audit_log,
        });
    }

    /// Carries out, or in detection-only mode records, what a full match decides.
    fn settle(&mut self, number: usize, verdict: &Verdict) -> Next {
        let (action, status) = match verdict {
            Verdict::Pass => return Next::Rule,
            Verdict::Allow(scope) if self.state.mode == Mode::On => {
                return Next::Stop(match scope {
                    AllowScope::Phase => None,
                    AllowScope::Request => Some(Allowed::Request),
                    AllowScope::All => Some(Allowed::All),
                });
            }
            Verdict::Allow(_) => return Next::Rule,
            Verdict::Deny(status) => (Disruption::Deny, *status),
            Verdict::Drop(status) => (Disruption::Drop, *status),
            Verdict::Redirect(location, status) => (Disruption::Redirect(logged(&self.expanded(location))), *status),
        };
        // In the logging phase everything is over.
        if self.phase == Phase::Logging {
            return Next::Rule;
        }
        let rule_id = self.rules.infos.get(number).map_or(0, |info| info.id);
        let stopped = decide(self.outcome, self.state.mode, Interruption { action, status, rule_id });
        if stopped { Next::Stop(None) } else { Next::Rule }
    }
}

/// Where a phase goes on.
enum Next {
    Rule,
    Stop(Option<Allowed>),
}

/// Records an interruption and returns whether it is carried out.
pub(super) fn decide(outcome: &mut Outcome, mode: Mode, interruption: Interruption) -> bool {
    let enforced = mode == Mode::On;
    if outcome.interruption.is_none() || enforced && !outcome.enforced {
        outcome.interruption = Some(interruption);
        outcome.enforced = enforced;
    }
    enforced
}

/// Bytes as text for a record: valid UTF-8, bounded.
fn logged(bytes: &[u8]) -> String {
    let bytes = bytes.get(..MAX_LOGGED_BYTES).unwrap_or(bytes);
    // Most texts are valid, which is found out many times faster than where one is not.
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes).into_owned(), str::to_owned)
}
