//! The compiled program: what `compile` makes of the rule files and `eval` runs, as plain data.
//!
//! Everything is flat and indexed: rules, links and operators lie in vectors, phases are lists of rule numbers in file
//! order, markers are positions in those lists, TX variables whose names are written in the rules are numbered slots,
//! chains of transformations are nodes of one tree. A [`Ruleset`] holds no state of any request, is never changed after
//! it was compiled, and is shared by all transactions.

use std::ops::Range;
use std::sync::Arc;

use crate::action::{AllowScope, AuditEngine, Phase, Processor, Severity, Store};
use crate::byteset::ByteSet;
use crate::collections::Collections;
use crate::eval::Prelude;
use crate::hashing::Map;
use crate::operator::Operator;
use crate::plan::Plan;
use crate::transform::Transformation;
use crate::variable::{Selector, Variable};

/// Whether rules run and whether what they decide is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Rules run, interruptions are carried out.
    On,
    /// Rules run, interruptions are only recorded.
    DetectionOnly,
    /// Rules do not run.
    Off,
}

impl Mode {
    /// Reads the argument of `SecRuleEngine`.
    pub fn parse(value: &str) -> Option<Self> {
        match value.to_ascii_lowercase().as_str() {
            "on" => Some(Self::On),
            "off" => Some(Self::Off),
            "detectiononly" => Some(Self::DetectionOnly),
            _ => None,
        }
    }
}

/// What happens to a body over its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitAction {
    /// The transaction is interrupted.
    Reject,
    /// What fits is inspected, the rest is not.
    ProcessPartial,
}

/// What the directives that are no rules say. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `SecRuleEngine`; off unless it is written, as in ModSecurity.
    pub mode: Mode,
    /// `SecRequestBodyAccess`: whether phase 2 sees the body; it does unless told otherwise, as in libmodsecurity.
    pub request_body_access: bool,
    /// `SecRequestBodyLimit`: largest body with files.
    pub request_body_limit: usize,
    /// `SecRequestBodyNoFilesLimit`: largest body, without the contents of files.
    pub request_body_no_files_limit: usize,
    /// `SecRequestBodyLimitAction`
    pub request_body_limit_action: LimitAction,
    /// `SecRequestBodyJsonDepthLimit`: deepest nesting of JSON.
    pub json_depth: usize,
    /// `SecArgumentsLimit`: most arguments read from the query and from the body, each.
    pub arguments_limit: usize,
    /// `SecArgumentSeparator`
    pub argument_separator: u8,
    /// `SecUploadFileLimit`: most files in a multipart body.
    pub upload_file_limit: usize,
    /// `SecResponseBodyAccess`: whether phase 4 sees the body.
    pub response_body_access: bool,
    /// `SecResponseBodyMimeType`: media types whose bodies are looked at, in lower case.
    pub response_mime_types: Vec<String>,
    /// `SecResponseBodyLimit`
    pub response_body_limit: usize,
    /// `SecResponseBodyLimitAction`; what fits is inspected unless told otherwise, as in libmodsecurity.
    pub response_body_limit_action: LimitAction,
    /// `SecAuditEngine`
    pub audit_engine: AuditEngine,
    /// `SecCollectionTimeout`: seconds after which an unused record of a persistent collection is forgotten.
    pub collection_timeout: u64,
    /// `SecGatehouseWorkLimit` (this engine's own): most bytes that the transformations and operators of one
    /// transaction read together.
    pub work_limit: u64,
    /// `SecWebAppId`: WEBAPPID.
    pub web_app_id: String,
    /// `SecComponentSignature`, one text a directive.
    pub component_signatures: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Off,
            request_body_access: true,
            request_body_limit: 128 << 20,
            request_body_no_files_limit: 1 << 20,
            request_body_limit_action: LimitAction::Reject,
            json_depth: 512,
            arguments_limit: 1000,
            argument_separator: b'&',
            upload_file_limit: 100,
            response_body_access: false,
            response_mime_types: vec!["text/plain".to_owned(), "text/html".to_owned()],
            response_body_limit: 512 << 10,
            response_body_limit_action: LimitAction::ProcessPartial,
            audit_engine: AuditEngine::RelevantOnly,
            collection_timeout: 3600,
            work_limit: 1 << 30,
            web_app_id: String::new(),
            component_signatures: Vec::new(),
        }
    }
}

/// What is known of a rule without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleInfo {
    /// Its id.
    pub id: u64,
    /// When it runs.
    pub phase: Phase,
    /// `msg` as written.
    pub msg: String,
    /// `severity`
    pub severity: Option<Severity>,
    /// `tag`, as written.
    pub tags: Arc<[String]>,
    /// `ver`
    pub version: String,
    /// The file it stands in.
    pub file: String,
    /// The line it starts on, from 1.
    pub line: usize,
    /// The links of its chain, itself included.
    pub links: usize,
}

/// The compiled rules. Cheap to share, `Send + Sync`.
#[derive(Debug)]
pub struct Ruleset {
    pub(crate) settings: Settings,
    pub(crate) infos: Vec<RuleInfo>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) links: Vec<Link>,
    /// For each phase, the numbers of its rules in the order of the files.
    pub(crate) phases: [Vec<usize>; 5],
    pub(crate) operators: Vec<Operator>,
    pub(crate) chains: Chains,
    pub(crate) tx: TxNames,
    pub(crate) constants: Vec<Box<[u8]>>,
    pub(crate) removals: Vec<TargetRemoval>,
    /// Whether any rule reads FULL_REQUEST, which costs a copy of the request.
    pub(crate) needs_full_request: bool,
    /// Whether any rule reads FILES_TMP_CONTENT, which costs a copy of the files.
    pub(crate) needs_file_contents: bool,
    /// Whether any rule counts arguments by their names, so that those have to be kept which it is not shown.
    pub(crate) counts_named_arguments: bool,
    pub(crate) collections: Arc<Collections>,
    pub(crate) plan: Plan,
    /// The part of phase 1 that is the same for every request, once it has run.
    pub(crate) prelude: Option<Prelude>,
}

impl Ruleset {
    /// What the directives that are no rules say.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The rules in the order of the files; a chain counts as one.
    pub fn rules(&self) -> impl Iterator<Item = &RuleInfo> {
        self.infos.iter()
    }

    /// No rules at all.
    pub fn empty() -> Self {
        Self {
            settings: Settings::default(),
            infos: Vec::new(),
            rules: Vec::new(),
            links: Vec::new(),
            phases: Default::default(),
            operators: Vec::new(),
            chains: Chains::default(),
            tx: TxNames::new(),
            constants: Vec::new(),
            removals: Vec::new(),
            needs_full_request: false,
            needs_file_contents: false,
            counts_named_arguments: false,
            collections: Arc::new(Collections::new(std::time::Duration::from_secs(3600))),
            plan: Plan::default(),
            prelude: None,
        }
    }

    /// The ids of rules with a pattern that needs backtracking: such patterns run within limits.
    pub fn backtracking(&self) -> Vec<u64> {
        let backtracks = |rule: &Rule| {
            let links = self.links.get(rule.links.clone()).unwrap_or_default();
            let operators = links.iter().filter_map(|link| self.operators.get(link.test.as_ref()?.operator));
            operators.into_iter().any(Operator::backtracks)
        };
        let rules = self.rules.iter().zip(&self.infos).filter(|(rule, _)| backtracks(rule));
        rules.map(|(_, info)| info.id).collect()
    }

    /// Takes over the persistent collections of the rule set that this one replaces.
    pub fn adopt_collections(&mut self, previous: &Self) {
        self.collections = Arc::clone(&previous.collections);
    }
}

/// A rule: a chain of one or more links and what a full match does.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) phase: Phase,
    pub(crate) links: Range<usize>,
    pub(crate) verdict: Verdict,
    /// Where the phase goes on after a full match, as a position in the phase's list; `None`: at the next rule.
    pub(crate) jump: Option<usize>,
    pub(crate) msg: Option<Template>,
    pub(crate) logdata: Option<Template>,
    /// All tags, where one of them holds a macro.
    pub(crate) tags: Option<Box<[Template]>>,
    pub(crate) log: bool,
    pub(crate) audit_log: bool,
    /// Whether it reads or sets what a match left in `TX:0` to `TX:9`, other than to log the whole match, so that all of
    /// it must be there.
    pub(crate) needs_groups: bool,
}

/// What a full match does to the transaction, defaults resolved.
#[derive(Debug)]
pub(crate) enum Verdict {
    Pass,
    Deny(u16),
    Drop(u16),
    Redirect(Template, u16),
    Allow(AllowScope),
}

/// One link of a chain.
#[derive(Debug)]
pub(crate) struct Link {
    /// `None`: SecAction, which matches once without looking at anything.
    pub(crate) test: Option<Test>,
    pub(crate) targets: Box<[Target]>,
    /// The end of the chain of transformations.
    pub(crate) chain: ChainId,
    /// The nodes on the way to `chain`, where the operator also sees what lies between (`multiMatch`); else empty.
    pub(crate) steps: Box<[ChainId]>,
    pub(crate) multi_match: bool,
    pub(crate) capture: bool,
    /// What each matching value does, in the order written.
    pub(crate) effects: Box<[Effect]>,
}

/// An operator as a link uses it.
#[derive(Debug)]
pub(crate) struct Test {
    /// Number in [`Ruleset::operators`].
    pub(crate) operator: usize,
    pub(crate) negated: bool,
    /// The argument, where it holds macros.
    pub(crate) argument: Option<Template>,
}

/// What a link looks at.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) variable: Variable,
    pub(crate) counted: bool,
    pub(crate) selector: Selector,
    /// For TX: the numbered slots that the selector takes.
    pub(crate) slots: Box<[usize]>,
    /// Members left out.
    pub(crate) exclusions: Box<[Selector]>,
}

/// A change that a matching value makes.
#[derive(Debug)]
pub(crate) enum Effect {
    SetTx {
        name: TxName,
        change: Change,
    },
    SetStored {
        store: Store,
        name: Template,
        change: Change,
    },
    Expire {
        store: Store,
        name: Template,
        seconds: Template,
    },
    Open {
        store: Store,
        key: Template,
    },
    RemoveRules(Box<[usize]>),
    /// Number in [`Ruleset::removals`].
    RemoveTargets(usize),
    Mode(Mode),
    Audit(AuditEngine),
    Processor(Processor),
    ForceRequestBody(bool),
    RequestBodyAccess(bool),
    ResponseBodyAccess(bool),
}

/// A TX variable by slot, or by a name that is known only at run time.
#[derive(Debug)]
pub(crate) enum TxName {
    Slot(usize),
    Named(Template),
}

/// What happens to a variable.
#[derive(Debug)]
pub(crate) enum Change {
    /// Number in [`Ruleset::constants`].
    Constant(usize),
    Assign(Template),
    Add(Template),
    Subtract(Template),
    Unset,
}

/// `ctl:ruleRemoveTargetBy…`: these rules no longer look at this.
#[derive(Debug)]
pub(crate) struct TargetRemoval {
    /// Sorted.
    pub(crate) rules: Box<[usize]>,
    pub(crate) variable: Variable,
    pub(crate) selector: Selector,
}

/// Text with macros.
#[derive(Debug, Default)]
pub(crate) struct Template(pub(crate) Box<[Piece]>);

impl Template {
    /// The text, if it holds no macro.
    pub(crate) fn literal(&self) -> Option<&[u8]> {
        match self.0.as_ref() {
            [] => Some(b""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }
}

/// A piece of a [`Template`].
#[derive(Debug)]
pub(crate) enum Piece {
    Literal(Box<[u8]>),
    Tx(usize),
    Variable(Variable, Selector),
}

/// The TX variables that the rules name, each with its slot. The first ten are the captures.
#[derive(Debug, Default)]
pub(crate) struct TxNames {
    /// In lower case.
    names: Vec<Box<[u8]>>,
    slots: Map<Box<[u8]>, usize>,
}

impl TxNames {
    /// The captures only.
    pub(crate) fn new() -> Self {
        let mut names = Self::default();
        for n in 0..10 {
            names.intern(n.to_string().as_bytes());
        }
        names
    }

    /// The slot of a name, made if need be.
    pub(crate) fn intern(&mut self, name: &[u8]) -> usize {
        let name: Box<[u8]> = name.to_ascii_lowercase().into();
        if let Some(slot) = self.slots.get(&name) {
            return *slot;
        }
        self.names.push(name.clone());
        self.slots.insert(name, self.names.len() - 1);
        self.names.len() - 1
    }

    /// The slot of a name in any case.
    pub(crate) fn slot(&self, name: &[u8]) -> Option<usize> {
        match self.slots.get(name) {
            Some(slot) => Some(*slot),
            None => self.slots.get(name.to_ascii_lowercase().as_slice()).copied(),
        }
    }

    /// The name of a slot.
    pub(crate) fn name(&self, slot: usize) -> &[u8] {
        self.names.get(slot).map_or(b"", |name| name)
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.names.iter().enumerate().map(|(slot, name)| (slot, name.as_ref()))
    }
}

/// Number of a node in [`Chains`]; 0 is the empty chain.
pub(crate) type ChainId = usize;

/// A transformation, with what is asked of it for each value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) transformation: Transformation,
    /// Its number among the distinct ones of a rule set.
    pub(crate) number: u32,
    /// A value without any of these bytes is not changed.
    pub(crate) acts_on: ByteSet,
}

/// All chains of transformations as one tree, so that chains which start alike share their start.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    /// Node n (from 1): the node before it and what it adds.
    nodes: Vec<(ChainId, Kind)>,
}

impl Chains {
    /// The node for `transformation` after `parent`.
    pub(crate) fn intern(&mut self, parent: ChainId, transformation: Transformation) -> ChainId {
        let known = |(before, kind): &(ChainId, Kind)| *before == parent && kind.transformation == transformation;
        if let Some(found) = self.nodes.iter().position(known) {
            return found + 1;
        }
        let kinds = || self.nodes.iter().map(|(_, kind)| kind);
        let like = kinds().find(|kind| kind.transformation == transformation).copied();
        let kind = like.unwrap_or_else(|| {
            let number = kinds().map(|kind| kind.number + 1).max().unwrap_or(0);
            Kind { transformation, number, acts_on: transformation.acts_on() }
        });
        self.nodes.push((parent, kind));
        self.nodes.len()
    }

    /// The node before `chain` and what `chain` adds; `None` for the empty chain.
    pub(crate) fn node(&self, chain: ChainId) -> Option<(ChainId, Kind)> {
        self.nodes.get(chain.checked_sub(1)?).copied()
    }

    /// The bytes that `chain` acts on: a value without them stays as it is.
    pub(crate) fn acts_on(&self, chain: ChainId) -> ByteSet {
        self.path(chain).into_iter().fold(ByteSet::EMPTY, |set, (_, step)| set.union(step.acts_on))
    }

    /// The nodes from the first transformation to the end of `chain`.
    pub(crate) fn path(&self, chain: ChainId) -> Vec<(ChainId, Kind)> {
        let mut path = Vec::new();
        let mut at = chain;
        while let Some((parent, kind)) = self.node(at) {
            path.push((at, kind));
            at = parent;
        }
        path.reverse();
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_share_their_start() {
        let mut chains = Chains::default();
        let lower = chains.intern(0, Transformation::Lowercase);
        let a = chains.intern(lower, Transformation::UrlDecodeUni);
        let b = chains.intern(lower, Transformation::RemoveNulls);
        assert_eq!(chains.intern(chains.node(a).unwrap().0, Transformation::UrlDecodeUni), a);
        assert_ne!(a, b);
        let path: Vec<_> = chains.path(b).into_iter().map(|(_, kind)| kind.transformation).collect();
        assert_eq!(path, [Transformation::Lowercase, Transformation::RemoveNulls]);
    }

    #[test]
    fn tx_names_ignore_case_and_captures_come_first() {
        let mut names = TxNames::new();
        assert_eq!(names.slot(b"9"), Some(9));
        let slot = names.intern(b"Anomaly_Score");
        assert_eq!(slot, 10);
        assert_eq!(names.slot(b"ANOMALY_SCORE"), Some(10));
        assert_eq!(names.name(10), b"anomaly_score");
        assert_eq!(names.slot(b"x"), None);
    }
}
