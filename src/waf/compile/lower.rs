//! Draft → [`Ruleset`]: names to numbers, text to programs.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::draft::{Draft, DraftLink, DraftRule};
use super::{Report, groups, load, template};
use crate::action::{Action, Ctl, Disruptive, Ids, Operation, Phase, SetVar, Severity, Store};
use crate::collections::Collections;
use crate::diagnostic::{Place, nearest};
use crate::files::Files;
use crate::operator::{Operator, OperatorFault};
use crate::plan::Plan;
use crate::ruleset::{
    Chains, Change, Effect, Link, Piece, Rule, RuleInfo, Ruleset, Settings, Target, TargetRemoval, Template, Test,
    TxName, TxNames, Verdict,
};
use crate::seclang::ast;
use crate::transform::Transformation;
use crate::variable::{Selector, Shape, Variable, refused};

/// Longest chain of transformations and of links: more is a mistake, and costs every request.
const MAX_CHAIN: usize = 32;

pub(super) fn lower(draft: Draft, files: &dyn Files, report: &mut Report) -> Ruleset {
    let mut catalogue = Vec::with_capacity(draft.rules.len());
    for rule in &draft.rules {
        catalogue.push(Known::of(rule));
    }
    let mut lowering = Lowering {
        files,
        report,
        catalogue,
        tx: TxNames::new(),
        chains: Chains::default(),
        operators: Vec::new(),
        operator_numbers: HashMap::new(),
        links: Vec::new(),
        constants: Vec::new(),
        removals: Vec::new(),
        needs_full_request: false,
        needs_file_contents: false,
        counts: (false, false),
    };
    let mut phases: [Vec<usize>; 5] = Default::default();
    for (number, rule) in draft.rules.iter().enumerate() {
        if let Some(list) = phases.get_mut(rule.phase.index()) {
            list.push(number);
        }
    }
    let mut rules = Vec::with_capacity(draft.rules.len());
    let mut infos = Vec::with_capacity(draft.rules.len());
    for (number, rule) in draft.rules.iter().enumerate() {
        let list = phases.get(rule.phase.index()).map_or(&[][..], Vec::as_slice);
        let (lowered, info) = lowering.rule(&draft, rule, number, list);
        rules.push(lowered);
        infos.push(info);
    }
    lowering.finish(draft.settings, phases, rules, infos)
}

/// What `ctl` compares a rule by.
struct Known {
    id: u64,
    tags: Vec<String>,
    msg: Option<String>,
}

impl Known {
    fn of(rule: &DraftRule) -> Self {
        let head = rule.links.first().map_or(&[][..], |link| link.actions.as_slice());
        Self {
            id: rule.id,
            tags: head
                .iter()
                .filter_map(|(_, a)| match a {
                    Action::Tag(tag) => Some(tag.clone()),
                    _ => None,
                })
                .collect(),
            msg: head.iter().rev().find_map(|(_, a)| match a {
                Action::Msg(msg) => Some(msg.clone()),
                _ => None,
            }),
        }
    }
}

struct Lowering<'a> {
    files: &'a dyn Files,
    report: &'a mut Report,
    catalogue: Vec<Known>,
    tx: TxNames,
    chains: Chains,
    operators: Vec<Operator>,
    /// By name, argument and, where the operator reads files, folder.
    operator_numbers: HashMap<(String, String, String), usize>,
    links: Vec<Link>,
    constants: Vec<Box<[u8]>>,
    removals: Vec<TargetRemoval>,
    needs_full_request: bool,
    needs_file_contents: bool,
    /// Whether a rule counts arguments, and whether one counts some of them by name.
    counts: (bool, bool),
}

/// The actions of a head, defaults applied, the last of each kind winning.
#[derive(Default)]
struct Head<'a> {
    disruptive: Option<&'a Disruptive>,
    default_disruptive: Option<&'a Disruptive>,
    status: Option<u16>,
    log: Option<bool>,
    audit_log: Option<bool>,
    skip: Option<usize>,
    skip_after: Option<(&'a str, Place)>,
    msg: Option<(&'a str, Place)>,
    logdata: Option<(&'a str, Place)>,
    severity: Option<Severity>,
    version: &'a str,
    tags: Vec<(&'a str, Place)>,
}

impl<'a> Head<'a> {
    fn take(&mut self, at: Place, action: &'a Action) {
        match action {
            Action::Disruptive(disruptive) => self.disruptive = Some(disruptive),
            Action::Status(status) => self.status = Some(*status),
            Action::Log(log) => (self.log, self.audit_log) = (Some(*log), Some(*log)),
            Action::AuditLog(audit) => self.audit_log = Some(*audit),
            Action::Skip(count) => self.skip = Some(*count),
            Action::SkipAfter(label) => self.skip_after = Some((label, at)),
            Action::Msg(msg) => self.msg = Some((msg, at)),
            Action::LogData(data) => self.logdata = Some((data, at)),
            Action::Severity(severity) => self.severity = Some(*severity),
            Action::Version(version) => self.version = version,
            Action::Tag(tag) => self.tags.push((tag, at)),
            _ => {}
        }
    }
}

impl Lowering<'_> {
    fn rule(&mut self, draft: &Draft, rule: &DraftRule, number: usize, list: &[usize]) -> (Rule, RuleInfo) {
        let defaults = rule.defaults.and_then(|n| draft.defaults.get(n)).map_or(&[][..], |d| d.actions.as_slice());
        let mut head = Head::default();
        for (at, action) in defaults {
            head.take(*at, action);
        }
        head.default_disruptive = head.disruptive;
        for (at, action) in rule.links.first().into_iter().flat_map(|link| &link.actions) {
            head.take(*at, action);
        }
        // The last link to say it decides the status of the whole chain.
        for (_, action) in rule.links.iter().skip(1).flat_map(|link| &link.actions) {
            if let Action::Status(status) = action {
                head.status = Some(*status);
            }
        }
        if rule.links.len() > MAX_CHAIN {
            self.report.error(rule.at, format!("a chain of more than {MAX_CHAIN} rules"), "split it");
        }
        let start = self.links.len();
        for link in &rule.links {
            let lowered = self.link(link, defaults, rule.phase);
            self.links.push(lowered);
        }
        let verdict = self.verdict(&head, rule.at);
        let jump = self.jump(draft, rule, &head, number, list);
        let msg = head.msg.map(|(text, at)| self.template(text, at));
        let logdata = head.logdata.map(|(text, at)| self.template(text, at));
        let expanded = head.tags.iter().any(|(tag, _)| tag.contains("%{"));
        let tags = expanded.then(|| head.tags.iter().map(|(tag, at)| self.template(tag, *at)).collect());
        let info = RuleInfo {
            id: rule.id,
            phase: rule.phase,
            msg: head.msg.map_or_else(String::new, |(msg, _)| msg.to_owned()),
            severity: head.severity,
            tags: head.tags.iter().map(|(tag, _)| (*tag).to_owned()).collect::<Vec<_>>().into(),
            version: head.version.to_owned(),
            file: self.report.map.name(rule.at.file).to_owned(),
            line: rule.at.line,
            links: rule.links.len(),
        };
        let rule = Rule {
            phase: rule.phase,
            links: start..self.links.len(),
            verdict,
            jump,
            msg,
            logdata,
            tags,
            log: head.log.unwrap_or(true),
            audit_log: head.audit_log.unwrap_or(true),
            needs_groups: true,
        };
        (rule, info)
    }

    fn verdict(&mut self, head: &Head<'_>, at: Place) -> Verdict {
        let chosen = match head.disruptive {
            None | Some(Disruptive::Block) => head.default_disruptive,
            own => own,
        };
        match chosen {
            None | Some(Disruptive::Pass | Disruptive::Block) => Verdict::Pass,
            Some(Disruptive::Deny) => Verdict::Deny(head.status.unwrap_or(403)),
            Some(Disruptive::Drop) => Verdict::Drop(head.status.unwrap_or(403)),
            Some(Disruptive::Allow(scope)) => Verdict::Allow(*scope),
            Some(Disruptive::Redirect(location)) => {
                let status = head.status.filter(|s| (300..400).contains(s)).unwrap_or(302);
                Verdict::Redirect(self.template(location, at), status)
            }
        }
    }

    /// Where a full match goes on, as a position in the phase's list.
    fn jump(
        &mut self,
        draft: &Draft,
        rule: &DraftRule,
        head: &Head<'_>,
        number: usize,
        list: &[usize],
    ) -> Option<usize> {
        let own = list.partition_point(|n| *n < number);
        if let Some((label, at)) = head.skip_after {
            let marker = draft.markers.iter().find(|(name, order)| name == label && *order > rule.order);
            let Some((_, order)) = marker else {
                let what = format!("no SecMarker \"{label}\" follows: the rest of the phase is left out");
                self.report.warning(at, what, "write the marker after this rule, with the same letters");
                return Some(list.len());
            };
            return Some(list.partition_point(|n| draft.rules.get(*n).is_some_and(|r| r.order < *order)));
        }
        head.skip.map(|count| (own + 1 + count).min(list.len()))
    }

    fn link(&mut self, link: &DraftLink, defaults: &[(Place, Action)], phase: Phase) -> Link {
        let (targets, test) = match &link.test {
            None => (Box::default(), None),
            Some((targets, operator)) => (self.targets(link.at, targets), Some(self.test(operator))),
        };
        let (mut capture, mut multi_match) = (false, false);
        let mut steps: Vec<Transformation> = Vec::new();
        let mut effects = Vec::new();
        for (at, action) in defaults.iter().filter(|(_, a)| matches!(a, Action::Transform(_))).chain(&link.actions) {
            match action {
                Action::Capture => capture = true,
                Action::MultiMatch => multi_match = true,
                Action::Transform(None) => steps.clear(),
                Action::Transform(Some(step)) => steps.push(*step),
                Action::SetVar(set) => effects.push(self.set(set, *at)),
                Action::Expire { store, name, seconds } => effects.push(Effect::Expire {
                    store: *store,
                    name: self.template(name, *at),
                    seconds: self.template(seconds, *at),
                }),
                Action::Open { store, key } => {
                    effects.push(Effect::Open { store: *store, key: self.template(key, *at) });
                }
                Action::Ctl(ctl) => effects.extend(self.ctl(ctl, *at)),
                _ => {}
            }
        }
        if steps.len() > MAX_CHAIN {
            self.report.error(link.at, format!("more than {MAX_CHAIN} transformations"), "take some out");
        }
        if let Some((targets, operator)) = &link.test {
            self.warn_of_never(targets, operator, &steps, phase);
        }
        let chain = steps.iter().fold(0, |parent, step| self.chains.intern(parent, *step));
        let steps = if multi_match {
            self.chains.path(chain).into_iter().map(|(node, _)| node).collect()
        } else {
            Box::default()
        };
        Link { test, targets, chain, steps, multi_match, capture, effects: effects.into() }
    }

    /// Warns of a test that no request can meet.
    fn warn_of_never(
        &mut self,
        targets: &[ast::Target],
        operator: &ast::Operator,
        steps: &[Transformation],
        phase: Phase,
    ) {
        for target in targets.iter().filter(|t| !t.excluded && !t.counted) {
            let Some(known) = Variable::from_name(&target.name).and_then(Variable::known_from) else { continue };
            if phase < known {
                let what = format!("{} has no value before phase {}", target.name, known.number());
                self.report.warning(target.at, what, format!("move the rule to phase {}", known.number()));
            }
        }
        let case = steps.iter().rev().find(|s| matches!(s, Transformation::Lowercase | Transformation::Uppercase));
        let argument = operator.argument.value.as_str();
        let compares = ["streq", "contains", "beginswith", "endswith", "containsword", "strmatch"];
        let lost = match case {
            Some(Transformation::Lowercase) => argument.bytes().any(|b| b.is_ascii_uppercase()),
            Some(Transformation::Uppercase) => argument.bytes().any(|b| b.is_ascii_lowercase()),
            _ => false,
        };
        // What decodes after the change of case may bring the other one back.
        let last = steps.last().is_some_and(|step| Some(step) == case);
        let name = operator.name.value.to_ascii_lowercase();
        if lost && last && !operator.negated && !argument.contains("%{") && compares.contains(&name.as_str()) {
            let what = format!(
                "@{} compares with letters that t:{} has changed",
                operator.name.value,
                case.map_or("", |c| c.name())
            );
            self.report.warning(operator.argument.at, what, "write the argument in the other case");
        }
    }

    fn template(&mut self, text: &str, at: Place) -> Template {
        let template = template::compile(text, at, &mut self.tx, self.report);
        for piece in &template.0 {
            if let Piece::Variable(variable, _) = piece {
                self.note(*variable);
            }
        }
        template
    }

    /// Some variables cost a copy of the message, made only for rule sets that read them.
    fn note(&mut self, variable: Variable) {
        self.needs_full_request |= matches!(variable, Variable::FullRequest | Variable::FullRequestLength);
        self.needs_file_contents |= variable == Variable::FilesTmpContent;
    }

    fn targets(&mut self, at: Place, written: &[ast::Target]) -> Box<[Target]> {
        let mut exclusions: Vec<(Variable, Selector)> = Vec::new();
        for target in written.iter().filter(|t| t.excluded) {
            let Some((variable, selector)) = self.target(target) else { continue };
            if !written.iter().any(|t| !t.excluded && t.name.eq_ignore_ascii_case(&target.name)) {
                let what = format!("the rule does not look at {}, so nothing is excluded", variable.name());
                self.report.warning(target.at, what, "take the exclusion out, or name the variable the rule uses");
            }
            if !exclusions.contains(&(variable, selector.clone())) {
                exclusions.push((variable, selector));
            }
        }
        if !written.iter().any(|t| !t.excluded) {
            self.report.error(at, "this rule looks at nothing", "add a target that is no exclusion");
        }
        let mut targets = Vec::new();
        for target in written.iter().filter(|t| !t.excluded) {
            let Some((variable, selector)) = self.target(target) else { continue };
            let own = exclusions.iter().filter(|(v, _)| *v == variable);
            let exclusions: Box<[Selector]> = own.map(|(_, s)| s.clone()).collect();
            if exclusions.iter().any(|s| matches!(s, Selector::All)) {
                continue;
            }
            self.note(variable);
            if variable == Variable::Geo {
                let mend = "use the reputation lists of the gate";
                self.report.warning(target.at, "GEO is always empty: there is no geographic database", mend);
            }
            if let (Variable::Tx, Selector::Name(name)) = (variable, &selector) {
                self.tx.intern(name);
            }
            if target.counted && variable.is_argument() {
                self.counts.0 = true;
                self.counts.1 |= !matches!(selector, Selector::All) || !exclusions.is_empty();
            }
            // The slots are filled in at the end, when all names are known.
            targets.push(Target { variable, counted: target.counted, selector, slots: Box::default(), exclusions });
        }
        targets.into()
    }

    fn target(&mut self, target: &ast::Target) -> Option<(Variable, Selector)> {
        let Some(variable) = Variable::from_name(&target.name) else {
            let (what, mend) = unknown_variable(&target.name);
            self.report.error(target.at, what, mend);
            return None;
        };
        self.selector(variable, target.selector.as_ref(), target.at).map(|selector| (variable, selector))
    }

    fn selector(&mut self, variable: Variable, written: Option<&ast::Selector>, at: Place) -> Option<Selector> {
        let name = variable.name();
        match (variable.shape(), written) {
            (Shape::Document, Some(ast::Selector::Name(path))) if path == "/*" || path == "//@*" => {
                Some(Selector::name(path))
            }
            (Shape::Document, None) => Some(Selector::name("/*")),
            (Shape::Document, _) => {
                self.report.error(
                    at,
                    format!("{name} needs a known XPath"),
                    "write XML:/* (texts) or XML://@* (attributes)",
                );
                None
            }
            (_, None) => Some(Selector::All),
            (Shape::Single, Some(_)) => {
                self.report.error(
                    at,
                    format!("{name} has no members to select"),
                    "take out the colon and what follows",
                );
                None
            }
            (_, Some(ast::Selector::Name(member))) => Some(Selector::name(member)),
            (_, Some(ast::Selector::Regex(pattern))) => match Selector::regex(pattern) {
                Ok(selector) => Some(selector),
                Err(fault) => {
                    self.report.error(at, "this selector is no regular expression", fault);
                    None
                }
            },
        }
    }

    fn test(&mut self, written: &ast::Operator) -> Test {
        let folder = if written.name.value.to_ascii_lowercase().contains("file") {
            self.report.map.name(written.name.at.file).to_owned()
        } else {
            String::new()
        };
        let key = (written.name.value.to_ascii_lowercase(), written.argument.value.clone(), folder);
        let operator = match self.operator_numbers.get(&key) {
            Some(number) => *number,
            None => {
                let number = self.operator(written);
                self.operator_numbers.insert(key, number);
                number
            }
        };
        let compiled = self.operators.get(operator);
        let macros = compiled.is_some_and(Operator::has_macro);
        if macros && !compiled.is_some_and(Operator::takes_macro) {
            let what = format!("@{} takes no macros", written.name.value);
            self.report.error(written.argument.at, what, "write the value itself");
        }
        let argument = macros.then(|| self.template(&written.argument.value, written.argument.at));
        Test { operator, negated: written.negated, argument }
    }

    /// Compiles an operator and returns its number; of a faulty one the number is never used.
    fn operator(&mut self, written: &ast::Operator) -> usize {
        let file = self.report.map.name(written.name.at.file).to_owned();
        let files = self.files;
        let mut data = |name: &str| {
            let path = load::beside(Path::new(&file), name);
            files.read(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))
        };
        match Operator::compile(&written.name.value, &written.argument.value, &mut data) {
            Ok(operator) => {
                if let Some((why, mend)) = operator.idle() {
                    self.report.warning(written.name.at, format!("@{} {why}", operator.name()), mend);
                }
                self.operators.push(operator);
            }
            Err(OperatorFault { what, mend }) => {
                let at = if written.argument.value.is_empty() { written.name.at } else { written.argument.at };
                let at = if what.starts_with("there is no operator") { written.name.at } else { at };
                self.report.error(at, what, mend);
                return usize::MAX;
            }
        }
        self.operators.len() - 1
    }

    fn change(&mut self, operation: &Operation, at: Place) -> Change {
        match operation {
            Operation::Assign(text) => {
                let template = self.template(text, at);
                match template.literal() {
                    Some(literal) => {
                        let literal: Box<[u8]> = literal.into();
                        let found = self.constants.iter().position(|c| *c == literal);
                        Change::Constant(found.unwrap_or_else(|| {
                            self.constants.push(literal);
                            self.constants.len() - 1
                        }))
                    }
                    None => Change::Assign(template),
                }
            }
            Operation::Add(text) => Change::Add(self.template(text, at)),
            Operation::Subtract(text) => Change::Subtract(self.template(text, at)),
            Operation::Unset => Change::Unset,
        }
    }

    fn set(&mut self, set: &SetVar, at: Place) -> Effect {
        let change = self.change(&set.operation, at);
        let name = self.template(&set.name, at);
        if set.store != Store::Tx {
            return Effect::SetStored { store: set.store, name, change };
        }
        let slot = name.literal().map(|name| self.tx.intern(name));
        Effect::SetTx { name: slot.map_or(TxName::Named(name), TxName::Slot), change }
    }

    fn ctl(&mut self, ctl: &Ctl, at: Place) -> Option<Effect> {
        let by_id = |ids: &Ids, known: &Known| ids.iter().any(|(from, to)| (*from..=*to).contains(&known.id));
        let by_tag = |tag: &str, known: &Known| known.tags.iter().any(|t| t == tag);
        let by_msg = |msg: &str, known: &Known| known.msg.as_deref() == Some(msg);
        Some(match ctl {
            Ctl::RemoveById(ids) => Effect::RemoveRules(self.numbers(|k| by_id(ids, k))),
            Ctl::RemoveByTag(tag) => Effect::RemoveRules(self.numbers(|k| by_tag(tag, k))),
            Ctl::RemoveByMsg(msg) => Effect::RemoveRules(self.numbers(|k| by_msg(msg, k))),
            Ctl::RemoveTargetById(ids, target) => self.removal(self.numbers(|k| by_id(ids, k)), target, at)?,
            Ctl::RemoveTargetByTag(tag, target) => self.removal(self.numbers(|k| by_tag(tag, k)), target, at)?,
            Ctl::RemoveTargetByMsg(msg, target) => self.removal(self.numbers(|k| by_msg(msg, k)), target, at)?,
            Ctl::RuleEngine(mode) => Effect::Mode(*mode),
            Ctl::AuditEngine(audit) => Effect::Audit(*audit),
            Ctl::RequestBodyProcessor(processor) => Effect::Processor(*processor),
            Ctl::ForceRequestBodyVariable(force) => Effect::ForceRequestBody(*force),
            Ctl::RequestBodyAccess(access) => Effect::RequestBodyAccess(*access),
            Ctl::ResponseBodyAccess(access) => Effect::ResponseBodyAccess(*access),
            Ctl::Remark => return None,
        })
    }

    /// The numbers of the rules that `takes` takes, in order.
    fn numbers(&self, takes: impl Fn(&Known) -> bool) -> Box<[usize]> {
        self.catalogue.iter().enumerate().filter(|(_, known)| takes(known)).map(|(number, _)| number).collect()
    }

    fn removal(&mut self, rules: Box<[usize]>, target: &str, at: Place) -> Option<Effect> {
        let (name, member) = target.split_once(':').map_or((target, None), |(n, m)| (n, Some(m)));
        let Some(variable) = Variable::from_name(name.trim()) else {
            let (what, mend) = unknown_variable(name.trim());
            self.report.error(at, what, mend);
            return None;
        };
        let written = member.map(|m| match m.strip_prefix('/').and_then(|m| m.strip_suffix('/')) {
            Some(pattern) if variable != Variable::Xml => ast::Selector::Regex(pattern.to_owned()),
            _ => ast::Selector::Name(m.to_owned()),
        });
        let selector = match (variable, &written) {
            // The whole document may be taken out at once.
            (Variable::Xml, None) => Selector::All,
            _ => self.selector(variable, written.as_ref(), at)?,
        };
        self.removals.push(TargetRemoval { rules, variable, selector });
        Some(Effect::RemoveTargets(self.removals.len() - 1))
    }

    fn finish(
        mut self,
        settings: Settings,
        phases: [Vec<usize>; 5],
        mut rules: Vec<Rule>,
        infos: Vec<RuleInfo>,
    ) -> Ruleset {
        for target in self.links.iter_mut().flat_map(|link| link.targets.iter_mut()) {
            if target.variable == Variable::Tx {
                let taken = self.tx.iter().filter(|(_, name)| target.selector.takes(name));
                target.slots = taken.map(|(slot, _)| slot).collect();
            }
        }
        for rule in &mut rules {
            rule.needs_groups = groups::needed(rule, self.links.get(rule.links.clone()).unwrap_or_default());
        }
        let idle = Duration::from_secs(settings.collection_timeout);
        let plan = Plan::build(&rules, &self.links, &self.operators, &phases);
        let removed = self.counts.0 && self.removals.iter().any(|removal| removal.variable.is_argument());
        let counts_named_arguments = self.counts.1 || removed;
        Ruleset {
            settings,
            infos,
            rules,
            links: self.links,
            phases,
            operators: self.operators,
            chains: self.chains,
            tx: self.tx,
            constants: self.constants,
            removals: self.removals,
            needs_full_request: self.needs_full_request,
            needs_file_contents: self.needs_file_contents,
            counts_named_arguments,
            collections: Arc::new(Collections::new(idle)),
            plan,
            prelude: None,
        }
    }
}

fn unknown_variable(name: &str) -> (String, String) {
    if let Some(why) = refused(name) {
        return (format!("the variable {name} is not supported"), why.to_owned());
    }
    let mend = match nearest(name, Variable::ALL.iter().map(|v| v.name())) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "see the list of variables in the manual".to_owned(),
    };
    (format!("unknown variable \"{name}\""), mend)
}
