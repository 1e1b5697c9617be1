//! Directives → settings, rules with their chains, markers and exclusions, in file order.

use std::collections::HashMap;

use super::{Report, settings};
use crate::action::{Action, Disruptive, Phase};
use crate::diagnostic::Place;
use crate::ruleset::Settings;
use crate::seclang::ast::{self, Body, Directive, Operator, Target, Text};

/// All that the files say.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) settings: Settings,
    pub(super) rules: Vec<DraftRule>,
    /// Label and order.
    pub(super) markers: Vec<(String, usize)>,
    /// Each `SecDefaultAction` that some rule was written under.
    pub(super) defaults: Vec<Defaults>,
    pub(super) exclusions: Vec<Exclusion>,
}

/// A rule with its links.
#[derive(Debug)]
pub(super) struct DraftRule {
    pub(super) at: Place,
    pub(super) id: u64,
    pub(super) phase: Phase,
    /// Its place among rules and markers.
    pub(super) order: usize,
    /// At least one.
    pub(super) links: Vec<DraftLink>,
    /// Number in [`Draft::defaults`].
    pub(super) defaults: Option<usize>,
}

/// One link.
#[derive(Debug)]
pub(super) struct DraftLink {
    pub(super) at: Place,
    /// `None`: SecAction.
    pub(super) test: Option<(Vec<Target>, Operator)>,
    pub(super) actions: Vec<(Place, Action)>,
}

/// What a `SecDefaultAction` says.
#[derive(Debug, Clone)]
pub(super) struct Defaults {
    pub(super) actions: Vec<(Place, Action)>,
}

/// A directive that removes or changes rules.
#[derive(Debug)]
pub(super) enum Exclusion {
    Remove(Which),
    UpdateTargets(Which, Vec<Target>),
    UpdateActions(Which, Vec<(Place, Action)>),
}

/// How such a directive names its rules.
#[derive(Debug)]
pub(super) struct Which {
    pub(super) by: By,
    pub(super) text: Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Id,
    Tag,
    Msg,
}

pub(super) fn collect(directives: Vec<Directive>, report: &mut Report) -> Draft {
    let mut collector = Collector {
        draft: Draft::default(),
        report,
        current: [None; 5],
        chain: None,
        order: 0,
        ids: HashMap::new(),
        mime_types_written: false,
    };
    for directive in directives {
        collector.directive(directive);
    }
    collector.end_chain();
    collector.draft
}

struct Collector<'a> {
    draft: Draft,
    report: &'a mut Report,
    /// For each phase the number of the default actions in force.
    current: [Option<usize>; 5],
    /// The rule whose chain is still open.
    chain: Option<OpenChain>,
    order: usize,
    ids: HashMap<u64, Place>,
    mime_types_written: bool,
}

/// A chain that waits for its next link.
struct OpenChain {
    rule: DraftRule,
    /// The link that said `chain`.
    last: Place,
    /// Whether the head is sound enough to be kept.
    sound: bool,
}

impl Collector<'_> {
    fn directive(&mut self, directive: Directive) {
        let name = directive.name.value.to_ascii_lowercase();
        if !matches!(name.as_str(), "secrule" | "secaction") {
            self.end_chain();
        }
        match (name.as_str(), directive.body) {
            (_, Body::Rule { targets, operator, actions }) => {
                self.link(directive.name.at, Some((targets, operator)), &actions);
            }
            ("secaction", Body::Actions(actions)) => self.link(directive.name.at, None, &actions),
            (_, Body::Actions(actions)) => self.defaults(directive.name.at, &actions),
            (_, Body::UpdateTargets { which, targets }) => {
                let by = match name.as_str() {
                    "secruleupdatetargetbytag" => By::Tag,
                    "secruleupdatetargetbymsg" => By::Msg,
                    _ => By::Id,
                };
                self.draft.exclusions.push(Exclusion::UpdateTargets(Which { by, text: which }, targets));
            }
            (_, Body::UpdateActions { which, actions }) => {
                let actions = self.actions(&actions);
                self.draft.exclusions.push(Exclusion::UpdateActions(Which { by: By::Id, text: which }, actions));
            }
            ("secmarker", Body::Words(words)) => match words.as_slice() {
                [label] => {
                    self.draft.markers.push((label.value.clone(), self.order));
                    self.order += 1;
                }
                _ => self.report.error(directive.name.at, "SecMarker takes one label", "write SecMarker LABEL"),
            },
            ("secruleremovebyid" | "secruleremovebytag" | "secruleremovebymsg", Body::Words(words)) => {
                let by = match name.as_str() {
                    "secruleremovebytag" => By::Tag,
                    "secruleremovebymsg" => By::Msg,
                    _ => By::Id,
                };
                let Some(first) = words.first() else {
                    return self.report.error(directive.name.at, "which rules?", "name ids, a tag or a message");
                };
                let value = words.iter().map(|w| w.value.as_str()).collect::<Vec<_>>().join(" ");
                self.draft.exclusions.push(Exclusion::Remove(Which { by, text: Text { value, at: first.at } }));
            }
            (_, Body::Words(words)) => {
                // The first directive that lists media types replaces the built-in list.
                if name == "secresponsebodymimetype" && !std::mem::replace(&mut self.mime_types_written, true) {
                    self.draft.settings.response_mime_types.clear();
                }
                let directive = Directive { name: directive.name, body: Body::Words(Vec::new()) };
                settings::apply(&directive, &words, &mut self.draft.settings, self.report);
            }
        }
    }

    fn end_chain(&mut self) {
        if let Some(open) = self.chain.take() {
            self.report.error(
                open.last,
                "this chain has no next rule",
                "put a SecRule after it, or take out \"chain\"",
            );
        }
    }

    fn actions(&mut self, written: &[ast::Action]) -> Vec<(Place, Action)> {
        let mut actions = Vec::with_capacity(written.len());
        for action in written {
            match Action::parse(action) {
                Ok(parsed) => actions.push((action.name.at, parsed)),
                Err(fault) => self.report.error(action.name.at, fault.what, fault.mend),
            }
        }
        actions
    }

    fn link(&mut self, at: Place, test: Option<(Vec<Target>, Operator)>, written: &[ast::Action]) {
        let actions = self.actions(written);
        let chained = actions.iter().any(|(_, a)| *a == Action::Chain);
        // Faults in the list may have hidden an id, so none is asked for then.
        let whole = actions.len() == written.len();
        let open = match self.chain.take() {
            Some(mut open) => {
                self.check_link(&actions);
                open.rule.links.push(DraftLink { at, test, actions });
                open.last = at;
                open
            }
            None => self.head(at, test, actions, whole),
        };
        if chained {
            self.chain = Some(open);
        } else if open.sound {
            self.draft.rules.push(open.rule);
        }
    }

    fn head(
        &mut self,
        at: Place,
        test: Option<(Vec<Target>, Operator)>,
        actions: Vec<(Place, Action)>,
        whole: bool,
    ) -> OpenChain {
        let action = test.is_none();
        let id = actions.iter().rev().find_map(|(place, a)| match a {
            Action::Id(id) => Some((*id, *place)),
            _ => None,
        });
        let phase = actions.iter().rev().find_map(|(_, a)| match a {
            Action::Phase(phase) => Some(*phase),
            _ => None,
        });
        match id {
            None if whole && action => {
                self.report.warning(at, "this SecAction has no id, so nothing can name it", "add id:NUMBER");
            }
            None if whole => self.report.error(at, "this rule has no id", "add id:NUMBER to its actions"),
            Some((id, place)) => {
                if let Some(first) = self.ids.get(&id) {
                    let what = format!("the id {id} is taken by the rule at {}", self.report.words(*first));
                    self.report.error(place, what, "give each rule an id of its own");
                } else {
                    self.ids.insert(id, at);
                }
            }
            None => {}
        }
        let phase = phase.unwrap_or(Phase::RequestBody);
        let order = self.order;
        self.order += 1;
        OpenChain {
            rule: DraftRule {
                at,
                id: id.map_or(0, |(id, _)| id),
                phase,
                order,
                links: vec![DraftLink { at, test, actions }],
                defaults: self.current.get(phase.index()).copied().flatten(),
            },
            last: at,
            sound: id.is_some() || action,
        }
    }

    /// What a chained rule may not say.
    fn check_link(&mut self, actions: &[(Place, Action)]) {
        for (at, action) in actions {
            let name = match action {
                Action::Phase(_) => "phase",
                Action::Skip(_) => "skip",
                Action::SkipAfter(_) => "skipAfter",
                Action::Disruptive(Disruptive::Pass) => continue,
                Action::Disruptive(_) => "a disruptive action",
                Action::Id(_)
                | Action::Msg(_)
                | Action::LogData(_)
                | Action::Tag(_)
                | Action::Severity(_)
                | Action::Log(_)
                | Action::AuditLog(_) => {
                    self.report.warning(
                        *at,
                        "this has no effect in a chained rule",
                        "move it to the head of the chain",
                    );
                    continue;
                }
                _ => continue,
            };
            self.report.error(*at, format!("a chained rule cannot have {name}"), "move it to the head of the chain");
        }
    }

    fn defaults(&mut self, at: Place, written: &[ast::Action]) {
        let actions = self.actions(written);
        let mut phase = None;
        let block = |action: &Action| matches!(action, Action::Disruptive(Disruptive::Block));
        let other = actions.iter().any(|(_, a)| matches!(a, Action::Disruptive(_)) && !block(a));
        for (place, action) in &actions {
            match action {
                Action::Phase(p) => phase = Some(*p),
                action if block(action) && !other => {
                    self.report.error(*place, "block cannot be its own default", "write pass, deny, drop or redirect");
                }
                Action::Disruptive(_)
                | Action::Status(_)
                | Action::Log(_)
                | Action::AuditLog(_)
                | Action::Tag(_)
                | Action::Transform(Some(_))
                | Action::Remark => {}
                _ => self.report.error(
                    *place,
                    "SecDefaultAction cannot set this",
                    "it takes phase, a disruptive action, status, log and auditlog, tag and t",
                ),
            }
        }
        let Some(phase) = phase else {
            if actions.len() == written.len() {
                self.report.error(at, "SecDefaultAction needs a phase", "add phase:NUMBER");
            }
            return;
        };
        let actions = actions.into_iter().filter(|(_, action)| !block(action)).collect();
        self.draft.defaults.push(Defaults { actions });
        if let Some(current) = self.current.get_mut(phase.index()) {
            *current = Some(self.draft.defaults.len() - 1);
        }
    }
}
