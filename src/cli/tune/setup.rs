//! The rules and the policy that requests are judged by, as they are and with a change.

use super::bench::Bench;
use super::cluster::{Group, Site, pattern};
use super::event::Record;
use super::propose::Change;
use super::write::{self, Entry};
use crate::cli::rules;
use crate::config;
use crate::fault::Fault;
use crate::inspect;
use crate::policy::field::{self, FieldPolicy, Found, Operation};
use crate::request::path::Target;
use gatehouse_waf::Ruleset;
use http::Method;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of the file that exclusions go to, where no other is named.
const TUNED: &str = "tuned.conf";

/// Files by path, each with its text.
pub(super) type Texts = Vec<(String, String)>;

/// Where rules and policy come from.
pub(super) struct Setup {
    settings: inspect::Settings,
    base: PathBuf,
    pub(super) policy: Texts,
    /// Where exclusions go.
    pub(super) exclusions: PathBuf,
    /// Whether the configuration reads that file already.
    pub(super) reads_exclusions: bool,
}

impl Setup {
    /// Of a configuration, or of rules named one by one; a policy named one by one goes before the configuration's.
    ///
    /// # Errors
    /// What the configuration's or the policy's files say wrong.
    pub(super) fn read(
        config: Option<&Path>,
        rule_files: &[PathBuf],
        policy: &[PathBuf],
        exclusions: Option<&Path>,
    ) -> Result<Self, Vec<Fault>> {
        let (settings, base, mut patterns, mut policy_base) = match config {
            Some(path) => {
                let config = config::load(path)?;
                let (waf, files) = (config.document.waf.clone(), config.document.policy.files.clone());
                (waf, config.base.clone(), files, config.base)
            }
            None => (rules::settings(rule_files, false), PathBuf::new(), Vec::new(), PathBuf::new()),
        };
        if !policy.is_empty() {
            let all = |path: &PathBuf| if path.is_dir() { path.join("*.toml") } else { path.clone() };
            patterns = policy.iter().map(all).collect();
            policy_base = PathBuf::new();
        }
        let mut texts = Vec::new();
        if !patterns.is_empty() {
            let loaded = field::load(&patterns, &policy_base)
                .map_err(|faults| faults.into_iter().map(|fault| fault.under("policy.files")).collect::<Vec<_>>())?;
            for path in loaded.files.iter().filter(|path| path.is_file()) {
                let fault = |e: std::io::Error| vec![Fault::key(path.display().to_string(), e.to_string(), "")];
                texts.push((path.display().to_string(), std::fs::read_to_string(path).map_err(fault)?));
            }
        }
        let pattern = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains('*'));
        let folder = settings.rules.iter().find(pattern).and_then(|path| path.parent()).map(|folder| base.join(folder));
        let default = folder.unwrap_or_else(|| base.join("rules/local")).join(TUNED);
        let exclusions = exclusions.map_or(default, Path::to_owned);
        let reads = |path: &PathBuf| {
            let path = base.join(path);
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let own = exclusions.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let fits = match name.split_once('*') {
                Some((start, end)) => own.len() >= name.len() - 1 && own.starts_with(start) && own.ends_with(end),
                None => name == own,
            };
            fits && path.parent() == exclusions.parent()
        };
        let reads_exclusions = settings.rules.iter().any(reads);
        Ok(Self { settings, base, policy: texts, exclusions, reads_exclusions })
    }

    /// Rules and policy as they are.
    ///
    /// # Errors
    /// Every fault of theirs.
    pub(super) fn bench(&self) -> Result<Bench, Vec<Fault>> {
        Ok(Bench { rules: self.rules("")?, policy: self.built(&self.policy)? })
    }

    /// The rules with more exclusions.
    ///
    /// # Errors
    /// Every fault of every file.
    pub(super) fn rules(&self, more: &str) -> Result<Arc<Ruleset>, Vec<Fault>> {
        let more = (!more.is_empty()).then_some(("exclusions", more));
        let loaded = inspect::load_rules_with(&self.settings, &self.base, more)?;
        Ok(Arc::new(loaded.rules.unwrap_or_else(Ruleset::empty)))
    }

    /// The policy of these texts; none where there are none.
    ///
    /// # Errors
    /// Every fault of every file.
    pub(super) fn built(&self, texts: &[(String, String)]) -> Result<Option<Arc<FieldPolicy>>, Vec<Fault>> {
        if texts.is_empty() {
            return Ok(None);
        }
        FieldPolicy::build(texts).map(|policy| Some(Arc::new(policy)))
    }

    /// The operation's entry in the policy's files.
    pub(super) fn entry(&self, bench: &Bench, site: &Site) -> Option<Entry> {
        let operation = operation(bench, site)?;
        let methods: Vec<String> = operation.methods().iter().map(ToString::to_string).collect();
        write::entry(&self.policy, operation.path(), &methods)
    }

    /// Rules and policy with one change; none where it cannot be said or does not build.
    pub(super) fn with(
        &self,
        bench: &Bench,
        group: &Group,
        change: &Change,
        everywhere: bool,
        id: u64,
    ) -> Option<Bench> {
        match change {
            Change::Class(class) => {
                let entry = self.entry(bench, &group.site)?;
                let mut texts = self.policy.clone();
                let (_, text) = texts.get_mut(entry.file)?;
                *text = write::with_class(text, entry.at, &group.field, class)?;
                Some(Bench { rules: bench.rules.clone(), policy: self.built(&texts).ok()? })
            }
            Change::Exclude(rules) => {
                let text = write::exclusion(group, rules, everywhere, id);
                Some(Bench { rules: self.rules(&text).ok()?, policy: bench.policy.clone() })
            }
        }
    }

    /// What the file of exclusions holds now.
    pub(super) fn written(&self) -> String {
        std::fs::read_to_string(&self.exclusions).unwrap_or_default()
    }

    /// The ids that rules have, loaded or written.
    pub(super) fn ids(&self, bench: &Bench) -> BTreeSet<u64> {
        bench.rules.rules().map(|rule| rule.id).chain(write::ids(&self.written())).collect()
    }
}

/// The operation of a group's requests.
pub(super) fn operation<'b>(bench: &'b Bench, site: &Site) -> Option<&'b Operation> {
    bench.policy.as_ref()?.operations().get(site.operation?)
}

/// Which requests a record belongs to.
pub(super) fn site(bench: &Bench, record: &Record) -> Site {
    let plain = |text: &str| text.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>();
    let method = plain(&record.method);
    let target = Target::read(&record.target, false);
    let path = target.as_ref().map(Target::canonical).unwrap_or_default();
    if let (Some(policy), Ok(known)) = (&bench.policy, Method::from_bytes(record.method.as_bytes()))
        && let Found::Operation(found) = policy.find(&known, path)
    {
        let at = policy.operations().iter().position(|operation| std::ptr::eq(operation, found.operation()));
        return Site { method, path: found.operation().path().to_owned(), operation: at };
    }
    Site { method, path: plain(&pattern(path)), operation: None }
}
