//! `SecRuleRemoveBy…`, `SecRuleUpdateTargetBy…`, `SecRuleUpdateActionById`: applied to the rules of all files, wherever
//! the directive stands.
//!
//! Ids may be ranges. Tags and messages are compared whole and exactly, or, written `/…/`, as a regular expression
//! without regard to case. An exclusion reaches every link of a chain, an added target or action its head.

use super::Report;
use super::draft::{By, Draft, DraftRule, Exclusion, Which};
use crate::action::{Action, Ids, parse_ids};
use crate::variable::Selector;

pub(super) fn apply(draft: &mut Draft, report: &mut Report) {
    for exclusion in std::mem::take(&mut draft.exclusions) {
        match exclusion {
            Exclusion::Remove(which) => {
                let Some(matcher) = Matcher::new(&which, report) else { continue };
                let before = draft.rules.len();
                draft.rules.retain(|rule| !matcher.takes(rule));
                note_idle(before != draft.rules.len(), &which, report);
            }
            Exclusion::UpdateTargets(which, targets) => {
                let Some(matcher) = Matcher::new(&which, report) else { continue };
                let mut used = false;
                for rule in draft.rules.iter_mut().filter(|rule| matcher.takes(rule)) {
                    used = true;
                    for (position, link) in rule.links.iter_mut().enumerate() {
                        let Some((list, _)) = &mut link.test else { continue };
                        list.extend(targets.iter().filter(|t| t.excluded || position == 0).cloned());
                    }
                }
                note_idle(used, &which, report);
            }
            Exclusion::UpdateActions(which, actions) => {
                let Some(matcher) = Matcher::new(&which, report) else { continue };
                for (at, action) in &actions {
                    if matches!(action, Action::Id(_) | Action::Phase(_) | Action::Chain) {
                        report.error(
                            *at,
                            "id, phase and chain cannot be changed",
                            "write the rule anew under another id",
                        );
                    }
                }
                let mut used = false;
                for rule in draft.rules.iter_mut().filter(|rule| matcher.takes(rule)) {
                    used = true;
                    if let Some(head) = rule.links.first_mut() {
                        head.actions.extend(actions.iter().cloned());
                    }
                }
                note_idle(used, &which, report);
            }
        }
    }
}

fn note_idle(used: bool, which: &Which, report: &mut Report) {
    if !used {
        let mend = match which.by {
            By::Id => "check the id",
            By::Tag | By::Msg => "it is compared whole; write /…/ for a regular expression",
        };
        report.warning(which.text.at, format!("no rule is named by \"{}\"", which.text.value), mend);
    }
}

/// A choice of rules.
pub(super) enum Matcher {
    Ids(Ids),
    Tag(TextMatcher),
    Msg(TextMatcher),
}

pub(super) enum TextMatcher {
    Exact(String),
    Regex(Selector),
}

impl TextMatcher {
    fn takes(&self, text: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == text,
            Self::Regex(regex) => regex.takes(text.as_bytes()),
        }
    }
}

impl Matcher {
    fn new(which: &Which, report: &mut Report) -> Option<Self> {
        let (text, at) = (&which.text.value, which.text.at);
        if which.by == By::Id {
            let ids = parse_ids(text);
            if ids.is_none() {
                report.error(
                    at,
                    format!("\"{text}\" is no list of rule ids"),
                    "write ids and ranges, as in 942100 1-999",
                );
            }
            return ids.map(Self::Ids);
        }
        let matcher = match text.strip_prefix('/').and_then(|t| t.strip_suffix('/')) {
            None => TextMatcher::Exact(text.clone()),
            Some(pattern) => match Selector::regex(pattern) {
                Ok(regex) => TextMatcher::Regex(regex),
                Err(fault) => {
                    report.error(at, "this is no regular expression", fault);
                    return None;
                }
            },
        };
        Some(if which.by == By::Tag { Self::Tag(matcher) } else { Self::Msg(matcher) })
    }

    /// Whether the rule is meant.
    pub(super) fn takes(&self, rule: &DraftRule) -> bool {
        let mut head = rule.links.first().into_iter().flat_map(|link| &link.actions);
        match self {
            Self::Ids(ids) => ids.iter().any(|(from, to)| (*from..=*to).contains(&rule.id)),
            Self::Tag(text) => head.any(|(_, a)| matches!(a, Action::Tag(tag) if text.takes(tag))),
            Self::Msg(text) => head.any(|(_, a)| matches!(a, Action::Msg(msg) if text.takes(msg))),
        }
    }
}
