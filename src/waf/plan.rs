//! How a phase's rules are run without looking at each: the rule set, rearranged by what the rules look at.
//!
//! Most rules ask whether some value of the message matches, and most often none does. So before such rules would run,
//! their questions are gathered by target and chain of transformations, each distinct value is read once for all of
//! them ([`crate::screen`]), and only the rules that some value matches are then run, in order, exactly as if all had been.
//! Rules that ask anything else (TX, counts, macros, what matched before) are always run; those that ask of TX only
//! beside values of the message, from the moment on when a variable they name is set. So the plan can cost time but not
//! change a verdict: a rule left out is one whose first link cannot match.
//!
//! Rules that skip others by a number in TX (the paranoia levels of the Core Rule Set) are *switches*. What they are
//! expected to skip is not screened; if it is reached all the same, it is run like a rule that was never screened. The
//! rules between two changes of such a number are a *segment*; a segment as seen under one setting of its switches is a
//! [`Layout`], made when it is first needed and kept.

use crate::byteset::ByteSet;
use crate::operator::{GROUPS, Operator};
use crate::ruleset::{ChainId, Effect, Kind, Link, Rule, Ruleset, Target, TxName};
use crate::screen::{Checks, Screen, is_set, set};
use crate::variable::{Selector, Shape, Variable};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};

/// Most switches of one phase; further ones are rules like any other.
const MAX_SWITCHES: usize = 64;
/// Most layouts kept of a segment. A rule set has a handful; one that counts in a switch's variable could ask for many.
const MAX_LAYOUTS: usize = 16;

/// Positions in a phase's list of rules, as bits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Positions(Vec<u64>);

impl Positions {
    pub(crate) fn insert(&mut self, position: usize) {
        let word = position / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        set(&mut self.0, position);
    }

    pub(crate) fn contains(&self, position: usize) -> bool {
        is_set(&self.0, position)
    }

    /// The first member from `at` on.
    pub(crate) fn next(&self, at: usize) -> Option<usize> {
        let mut number = at / 64;
        let mut word = self.0.get(number)? & (u64::MAX << (at % 64));
        while word == 0 {
            number += 1;
            word = *self.0.get(number)?;
        }
        Some(number * 64 + word.trailing_zeros() as usize)
    }

    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.0.clone_from(&other.0);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
    }
}

/// The segments of all phases and the layouts made so far.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    phases: [PhasePlan; 5],
    checks: Checks,
    /// Held by who makes a layout.
    making: Mutex<()>,
}

#[derive(Debug, Default)]
struct PhasePlan {
    segments: Vec<Segment>,
    switches: Vec<Switch>,
    /// For each position the switch that stands there.
    switched: Vec<Option<usize>>,
}

#[derive(Debug)]
struct Segment {
    range: Range<usize>,
    /// By setting of the switches.
    layouts: RwLock<Vec<(u64, Arc<Layout>)>>,
}

impl Segment {
    fn layout(&self, setting: u64) -> Option<Arc<Layout>> {
        let layouts = self.layouts.read().unwrap_or_else(PoisonError::into_inner);
        layouts.iter().find(|(known, _)| *known == setting).map(|(_, layout)| Arc::clone(layout))
    }
}

/// A test of one TX variable that decides whether rules are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Switch {
    pub(crate) slot: usize,
    pub(crate) operator: usize,
    pub(crate) negated: bool,
}

/// A segment under one setting of its switches.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// No other layout has had it.
    pub(crate) id: u64,
    /// The rules to run whatever the values are, and all that lie outside.
    pub(crate) always: Positions,
    /// The rules that look at TX beside what is screened.
    pub(crate) beside_tx: Positions,
    /// What of TX these look at.
    pub(crate) watched: Watched,
    pub(crate) groups: Vec<Group>,
    pub(crate) screen: Screen,
}

/// Variables of TX that rules look at: by slot, and those without one by name.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) slots: Vec<usize>,
    pub(crate) selectors: Vec<Selector>,
}

impl Watched {
    fn add(&mut self, target: &Target) {
        let new: Vec<usize> = target.slots.iter().copied().filter(|slot| !self.slots.contains(slot)).collect();
        self.slots.extend(new);
        // A name that a rule writes out has a slot.
        if !matches!(target.selector, Selector::Name(_)) && !self.selectors.contains(&target.selector) {
            self.selectors.push(target.selector.clone());
        }
    }
}

/// What is asked of the values of one target.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) variable: Variable,
    pub(crate) selector: Selector,
    pub(crate) exclusions: Box<[Selector]>,
    /// By chain of transformations.
    pub(crate) lanes: Vec<Lane>,
    /// All lanes whose chains leave some values as they are, as one.
    pub(crate) plain: Lane,
    /// How many lanes, at the front, are part of `plain`.
    pub(crate) in_plain: usize,
    /// The way from a value to all lanes, each step once.
    pub(crate) steps: Vec<LaneStep>,
    /// Whether a lane asks for values that do not match.
    pub(crate) has_negated: bool,
}

/// A step on the way to the lanes of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneStep {
    /// The step before, by number; `None`: the value itself.
    pub(crate) before: Option<usize>,
    /// What is done; `None`: nothing.
    pub(crate) kind: Option<Kind>,
    /// The lane that ends here.
    pub(crate) lane: Option<usize>,
    chain: ChainId,
}

/// What is asked of the values of one target after one chain.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Its number among those of the layout.
    pub(crate) number: u32,
    pub(crate) chain: ChainId,
    /// A value without any of these is not changed by the chain.
    pub(crate) acts_on: ByteSet,
    /// The candidates of `screened`.
    pub(crate) wanted: Box<[u64]>,
    pub(crate) has_negated: bool,
    pub(crate) screened: Vec<Question>,
    /// What is asked of each operator by itself.
    pub(crate) direct: Vec<Question>,
}

/// One rule's question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) operator: usize,
    pub(crate) candidate: usize,
    pub(crate) negated: bool,
    pub(crate) position: usize,
}

impl Lane {
    fn new(chain: ChainId, acts_on: ByteSet, words: usize) -> Self {
        Self {
            number: 0,
            chain,
            acts_on,
            wanted: vec![0; words].into(),
            has_negated: false,
            screened: Vec::new(),
            direct: Vec::new(),
        }
    }

    fn add(&mut self, question: Question, screened: bool) {
        if !screened {
            if !self.direct.contains(&question) {
                self.direct.push(question);
            }
            return;
        }
        set(&mut self.wanted, question.candidate);
        self.has_negated |= question.negated;
        if !self.screened.contains(&question) {
            self.screened.push(question);
        }
    }
}

impl Plan {
    /// Finds the switches and segments of a rule set.
    pub(crate) fn build(rules: &[Rule], links: &[Link], operators: &[Operator], phases: &[Vec<usize>; 5]) -> Self {
        let of_phase = |list: &Vec<usize>| {
            let mut plan = PhasePlan { switched: vec![None; list.len()], ..PhasePlan::default() };
            let in_list = || list.iter().enumerate().filter_map(|(at, number)| Some((at, rules.get(*number)?)));
            for (at, rule) in in_list() {
                let Some(switch) = switch(rule, links, operators) else { continue };
                let known = plan.switches.iter().position(|known| *known == switch);
                if known.is_none() && plan.switches.len() == MAX_SWITCHES {
                    continue;
                }
                let number = known.unwrap_or_else(|| {
                    plan.switches.push(switch);
                    plan.switches.len() - 1
                });
                if let Some(switched) = plan.switched.get_mut(at) {
                    *switched = Some(number);
                }
            }
            let mut start = 0;
            for (at, rule) in in_list() {
                if at + 1 == list.len() || sets_a_switch(rule, links, &plan.switches) {
                    plan.segments.push(Segment { range: start..at + 1, layouts: RwLock::default() });
                    start = at + 1;
                }
            }
            plan
        };
        Self {
            phases: [0, 1, 2, 3, 4].map(|n| phases.get(n).map(of_phase).unwrap_or_default()),
            checks: Checks::of(operators),
            ..Self::default()
        }
    }

    /// Hands the states that searches have made so far to every thread that begins to search.
    pub(crate) fn keep_warm(&self) {
        self.checks.keep_warm();
    }

    /// The number and the end of the segment that position `at` of a phase is in.
    pub(crate) fn segment(&self, phase: usize, at: usize) -> Option<(usize, usize)> {
        let segments = &self.phases.get(phase)?.segments;
        let number = segments.partition_point(|segment| segment.range.end <= at);
        segments.get(number).map(|segment| (number, segment.range.end))
    }

    /// The switches of a phase.
    pub(crate) fn switches(&self, phase: usize) -> &[Switch] {
        self.phases.get(phase).map_or(&[], |plan| &plan.switches)
    }

    /// The switch at a position of a phase.
    pub(crate) fn switch_at(&self, phase: usize, at: usize) -> Option<Switch> {
        let plan = self.phases.get(phase)?;
        plan.switches.get((*plan.switched.get(at)?)?).copied()
    }
}

impl Ruleset {
    /// A segment of a phase under a setting of its switches: bit n tells whether switch n would match. `None` while
    /// another thread makes a layout, which can take some tenths of a second: the segment's rules are then run as they
    /// stand, for no request is to wait.
    pub(crate) fn layout(&self, phase: usize, segment: usize, setting: u64) -> Option<Arc<Layout>> {
        let place = self.plan.phases.get(phase)?.segments.get(segment)?;
        if let Some(layout) = place.layout(setting) {
            return Some(layout);
        }
        let _making = match self.plan.making.try_lock() {
            Ok(making) => making,
            Err(TryLockError::Poisoned(making)) => making.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if let Some(layout) = place.layout(setting) {
            return Some(layout);
        }
        let room = place.layouts.read().unwrap_or_else(PoisonError::into_inner).len() < MAX_LAYOUTS;
        room.then(|| {
            let layout = Arc::new(self.make_layout(phase, segment, setting));
            place.layouts.write().unwrap_or_else(PoisonError::into_inner).push((setting, Arc::clone(&layout)));
            layout
        })
    }

    /// Bytes of the automata and tables made so far.
    pub fn screen_memory(&self) -> usize {
        let segments = self.plan.phases.iter().flat_map(|phase| &phase.segments);
        let of_segment = |segment: &Segment| {
            let layouts = segment.layouts.read().unwrap_or_else(PoisonError::into_inner);
            layouts.iter().map(|(_, layout)| layout.screen.memory()).sum::<usize>()
        };
        self.plan.checks.memory() + segments.map(of_segment).sum::<usize>()
    }

    fn make_layout(&self, phase: usize, segment: usize, setting: u64) -> Layout {
        static LAYOUTS: AtomicU64 = AtomicU64::new(0);
        let mut layout = Layout { id: LAYOUTS.fetch_add(1, Ordering::Relaxed), ..Layout::default() };
        let Some((plan, list)) = self.plan.phases.get(phase).zip(self.phases.get(phase)) else { return layout };
        let Some(range) = plan.segments.get(segment).map(|segment| segment.range.clone()) else { return layout };
        let mut next = range.start;
        for at in range {
            let rule = list.get(at).and_then(|number| self.rules.get(*number));
            let head = rule.and_then(|rule| self.links.get(rule.links.start));
            let expected = at == next;
            if expected {
                let skips = plan.switched.get(at).copied().flatten().is_some_and(|number| setting >> number & 1 == 1);
                next = rule.and_then(|rule| rule.jump).filter(|_| skips).unwrap_or(at + 1);
            }
            match head {
                Some(head) if expected && can_be_screened(head, &self.operators) => {
                    self.ask(&mut layout, head, at);
                    for target in head.targets.iter().filter(|target| target.variable == Variable::Tx) {
                        layout.beside_tx.insert(at);
                        layout.watched.add(target);
                    }
                }
                _ => layout.always.insert(at),
            }
        }
        let lanes = || layout.groups.iter().flat_map(|group| &group.lanes);
        let chosen = lanes().flat_map(|lane| &lane.direct).map(|question| question.operator);
        layout.screen = Screen::build(&self.operators, chosen, &self.plan.checks);
        let words = layout.screen.words();
        for group in &mut layout.groups {
            group.plain = Lane::new(0, ByteSet::EMPTY, words);
            for lane in &mut group.lanes {
                let questions = std::mem::replace(lane, Lane::new(lane.chain, lane.acts_on, words)).direct;
                for question in questions {
                    let candidate = layout.screen.candidate(question.operator);
                    lane.add(Question { candidate: candidate.unwrap_or(0), ..question }, candidate.is_some());
                }
            }
            // Lanes whose chains always act cannot be part of what is asked of a value as it is.
            group.lanes.sort_by_key(|lane| lane.acts_on == ByteSet::ALL);
            group.in_plain = group.lanes.partition_point(|lane| lane.acts_on != ByteSet::ALL);
            for lane in group.lanes.iter().take(group.in_plain) {
                group.plain.acts_on = group.plain.acts_on.union(lane.acts_on);
                lane.screened.iter().for_each(|question| group.plain.add(*question, true));
                lane.direct.iter().for_each(|question| group.plain.add(*question, false));
            }
            group.has_negated = group.lanes.iter().any(|lane| lane.has_negated);
            group.steps = self.steps_to(&group.lanes);
        }
        let lanes =
            layout.groups.iter_mut().flat_map(|group| std::iter::once(&mut group.plain).chain(&mut group.lanes));
        lanes.zip(0..).for_each(|(lane, number)| lane.number = number);
        layout
    }

    /// The steps to all of the lanes, each behind the one it follows.
    fn steps_to(&self, lanes: &[Lane]) -> Vec<LaneStep> {
        let mut steps: Vec<LaneStep> = Vec::new();
        for (number, lane) in lanes.iter().enumerate() {
            let mut before = None;
            let whole = self.chains.path(lane.chain);
            let way = whole.iter().map(|(chain, kind)| (*chain, Some(*kind)));
            for (chain, kind) in way.chain(whole.is_empty().then_some((0, None))) {
                let known = steps.iter().position(|step| step.chain == chain);
                before = Some(known.unwrap_or_else(|| {
                    steps.push(LaneStep { before, kind, lane: None, chain });
                    steps.len() - 1
                }));
            }
            if let Some(last) = before.and_then(|at| steps.get_mut(at)) {
                last.lane = Some(number);
            }
        }
        steps
    }

    /// Adds what a rule's first link asks.
    fn ask(&self, layout: &mut Layout, link: &Link, position: usize) {
        let Some(test) = &link.test else { return };
        let question = Question { operator: test.operator, candidate: 0, negated: test.negated, position };
        for target in link.targets.iter().filter(|target| is_steady(target.variable)) {
            let same = |group: &Group| {
                group.variable == target.variable
                    && group.selector == target.selector
                    && group.exclusions == target.exclusions
            };
            let known = layout.groups.iter().position(same);
            if known.is_none() {
                layout.groups.push(Group {
                    variable: target.variable,
                    selector: target.selector.clone(),
                    exclusions: target.exclusions.clone(),
                    lanes: Vec::new(),
                    plain: Lane::new(0, ByteSet::EMPTY, 0),
                    in_plain: 0,
                    steps: Vec::new(),
                    has_negated: false,
                });
            }
            let last = layout.groups.len().saturating_sub(1);
            let Some(group) = layout.groups.get_mut(known.unwrap_or(last)) else { continue };
            let chains = link.multi_match.then_some(0).into_iter().chain(link.steps.iter().copied());
            let chains = chains.chain((!link.multi_match).then_some(link.chain));
            for chain in chains {
                if !group.lanes.iter().any(|lane| lane.chain == chain) {
                    group.lanes.push(Lane::new(chain, self.chains.acts_on(chain), 0));
                }
                if let Some(lane) = group.lanes.iter_mut().find(|lane| lane.chain == chain) {
                    lane.add(question, false);
                }
            }
        }
    }
}

/// Whether a link asks only what the message answers, value by value, and perhaps TX as well.
fn can_be_screened(link: &Link, operators: &[Operator]) -> bool {
    let Some(test) = &link.test else { return false };
    let steady = |target: &Target| !target.counted && is_steady(target.variable);
    // What the last match caught comes and goes.
    let set_once = |target: &Target| !target.counted && !target.slots.iter().any(|slot| (0..GROUPS).contains(slot));
    let beside = |target: &Target| target.variable == Variable::Tx && set_once(target);
    test.argument.is_none()
        && operators.get(test.operator).is_some_and(|operator| !operator.has_macro() && !operator.backtracks())
        && link.targets.iter().any(steady)
        && link.targets.iter().all(|target| steady(target) || beside(target))
}

/// Whether the values of a variable are texts of the message, which no rule changes while its phase runs.
fn is_steady(variable: Variable) -> bool {
    match variable.shape() {
        Shape::Document => true,
        Shape::Persistent => false,
        Shape::Collection => !matches!(
            variable,
            Variable::Tx | Variable::MatchedVars | Variable::MatchedVarsNames | Variable::Rule | Variable::Geo
        ),
        Shape::Single => !matches!(
            variable,
            Variable::HighestSeverity
                | Variable::MatchedVar
                | Variable::MatchedVarName
                | Variable::RemoteAddr
                | Variable::RemoteHost
                | Variable::RemotePort
                | Variable::ReqbodyProcessor
                | Variable::ServerAddr
                | Variable::ServerPort
                | Variable::SessionId
                | Variable::Time
                | Variable::TimeDay
                | Variable::TimeEpoch
                | Variable::TimeHour
                | Variable::TimeMin
                | Variable::TimeMon
                | Variable::TimeSec
                | Variable::TimeWday
                | Variable::TimeYear
                | Variable::UniqueId
                | Variable::UserId
                | Variable::WebAppId
        ),
    }
}

/// A rule that does nothing but skip others where one TX variable has a certain value.
fn switch(rule: &Rule, links: &[Link], operators: &[Operator]) -> Option<Switch> {
    rule.jump?;
    let [link] = links.get(rule.links.clone())? else { return None };
    let ([target], Some(test)) = (&*link.targets, &link.test) else { return None };
    let operator = operators.get(test.operator)?;
    let plain = test.argument.is_none() && !operator.has_macro() && link.chain == 0 && !target.counted;
    match (target.variable, &target.selector, &*target.slots) {
        (Variable::Tx, Selector::Name(_), [slot])
            if plain && target.exclusions.is_empty() && !(0..GROUPS).contains(slot) =>
        {
            Some(Switch { slot: *slot, operator: test.operator, negated: test.negated })
        }
        _ => None,
    }
}

/// Whether a rule changes a variable that a switch tests.
fn sets_a_switch(rule: &Rule, links: &[Link], switches: &[Switch]) -> bool {
    let effects = links.get(rule.links.clone()).unwrap_or_default().iter().flat_map(|link| &link.effects);
    effects.into_iter().any(|effect| match effect {
        Effect::SetTx { name: TxName::Slot(slot), .. } => switches.iter().any(|switch| switch.slot == *slot),
        _ => false,
    })
}
