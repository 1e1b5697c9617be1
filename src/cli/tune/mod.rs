//! `gatehouse tune`: from audit events to the narrowest changes that end false refusals, each with its proof.
//!
//! ```text
//! events → records → groups (operation or path, field) → changes, narrowest first → proof → table → files
//! ```
//! Events hold what clients sent: they are read within bounds, names that no rule or policy should be made of are passed
//! over, and a change that few clients ask for carries a warning and is written only where it is named, for whoever can
//! send requests can train a tuner. Exit codes: 0, or 1 when a fault was found.

mod attacks;
mod bench;
mod cluster;
mod event;
mod field;
mod propose;
mod prove;
mod rebuild;
mod report;
mod setup;
mod write;

use super::check::{coloured, report as faults_of};
use super::rules::ftw;
use crate::fault::Fault;
use bench::Bench;
use clap::Args;
use cluster::{Cause, Group};
use event::{Reading, Record};
use gatehouse_waf::field::short::{self, Verdict};
use propose::Change;
use prove::{Attack, Proof};
use setup::{Setup, Texts};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Most groups that changes are looked for; the largest come first.
const MOST_GROUPS: usize = 64;
/// Most tests of attack suites.
const MOST_TESTS: usize = 20_000;
/// From so many kinds of requests on, an exclusion is said once for all.
const MANY_SITES: usize = 3;
/// Longest value that is read for signs of an attack, in bytes; longer ones are documents.
const SHORT_VALUE: usize = 256;
/// The tests that prove a change where none are named.
const SUITE: &str = "rules/tests";

/// What to tune, and from what.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Audit events: files of JSON lines.
    #[arg(long, required = true, num_args = 1.., value_name = "FILES")]
    audit: Vec<PathBuf>,
    /// The configuration whose rules and policy are tuned.
    #[arg(long, value_name = "FILE", required_unless_present = "rules")]
    config: Option<PathBuf>,
    /// Rules in place of a configuration's: files, folders with `*.conf`, or a Core Rule Set laid out as released.
    #[arg(long, num_args = 1.., value_name = "FILES", conflicts_with = "config")]
    rules: Vec<PathBuf>,
    /// Policy files in place of the configuration's, or folders with `*.toml`.
    #[arg(long, num_args = 1.., value_name = "FILES")]
    policy: Vec<PathBuf>,
    /// Attack suites in the form of go-ftw: files, or folders with some. None: `rules/tests`, if it is there.
    #[arg(long, num_args = 1.., value_name = "TESTS")]
    attacks: Vec<PathBuf>,
    /// Writes the changes that carry no warning: classes into the policy's files, exclusions into a rules file.
    #[arg(long)]
    write: bool,
    /// Writes these changes, by number, with a warning or not, and no others.
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "N", requires = "write")]
    only: Vec<usize>,
    /// Clients that must stand behind a change for it to carry no warning.
    #[arg(long, value_name = "N", default_value_t = 3)]
    min_clients: usize,
    /// Where exclusions are written. Not given: `tuned.conf` in the folder of the first pattern of `waf.rules`, else in
    /// `rules/local` beside the configuration.
    #[arg(long, value_name = "FILE")]
    exclusions: Option<PathBuf>,
}

/// A change with its proof.
struct Proposal {
    group: Group,
    change: Change,
    /// The change as it is written.
    text: String,
    /// Whether an exclusion holds for all paths.
    everywhere: bool,
    id: u64,
    proof: Proof,
    /// Whether refusals only go away with those of other fields of the same requests.
    alone: bool,
    warnings: Vec<String>,
}

/// What all changes that carry no warning do together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Together {
    changes: usize,
    /// Recorded requests that were rebuilt and are refused without them.
    replayed: usize,
    removed: usize,
    /// Attacks of the suite.
    detections: usize,
    lost: usize,
}

/// A group for which nothing is proposed, and why.
struct Unsolved {
    group: Group,
    why: String,
}

/// Runs the command.
pub(super) fn run(options: &Options) -> ExitCode {
    match tune(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(faults) => {
            // A reader that went away wants no more.
            let _ = faults_of(&mut io::stderr().lock(), &faults, coloured());
            ExitCode::FAILURE
        }
    }
}

fn tune(options: &Options) -> Result<(), Vec<Fault>> {
    let setup = Setup::read(options.config.as_deref(), &options.rules, &options.policy, options.exclusions.as_deref())?;
    let bench = setup.bench()?;
    let mut reading = Reading::default();
    for path in &options.audit {
        let read = File::open(path).and_then(|file| reading.add(BufReader::new(file)));
        read.map_err(|e| vec![Fault::key(path.display().to_string(), e.to_string(), "name a file of audit events")])?;
    }
    let suite = prove::attacks(&bench, suite(&options.attacks)?.into_iter().map(|raw| (raw, None)));
    let groups = cluster::groups(&reading.records, |record| setup::site(&bench, record));
    let (proposals, unsolved) = look(&setup, &bench, &reading.records, &groups, &suite, options.min_clients);
    let together = together(&setup, &bench, &reading.records, &proposals, &suite);
    let mut out = io::stdout().lock();
    let _ = report::table(&mut out, &reading, groups.len(), suite.len(), &proposals, &unsolved);
    let _ = report::together(&mut out, &together);
    if options.write {
        let chosen = chosen(&proposals, &options.only)?;
        let written = accept(&setup, &bench, &chosen)?;
        for line in written {
            let _ = writeln!(out, "{line}");
        }
    }
    Ok(())
}

/// The requests of attack suites.
fn suite(named: &[PathBuf]) -> Result<Vec<Vec<u8>>, Vec<Fault>> {
    let fault = |what: String| vec![Fault::key("attacks", what, "name tests in go-ftw's form")];
    let default = PathBuf::from(SUITE);
    let paths = match named {
        [] if default.is_dir() => vec![default],
        named => named.to_vec(),
    };
    let mut requests = Vec::new();
    for path in ftw::files(&paths).map_err(fault)? {
        let file: ftw::File = ftw::read(&path).map_err(fault)?;
        let stages = file.tests.into_iter().filter(|test| test.enabled).flat_map(|test| test.stages);
        for stage in stages.take(MOST_TESTS - requests.len()) {
            requests.push(stage.input.bytes().map_err(|what| fault(format!("{}: {what}", path.display())))?);
        }
    }
    Ok(requests)
}

/// Looks for changes, the most useful first.
fn look(
    setup: &Setup,
    bench: &Bench,
    records: &[Record],
    groups: &[Group],
    suite: &[Attack],
    min_clients: usize,
) -> (Vec<Proposal>, Vec<Unsolved>) {
    let mut sites: BTreeMap<&field::Field, usize> = BTreeMap::new();
    for group in groups {
        *sites.entry(&group.field).or_default() += 1;
    }
    let taken = setup.ids(bench);
    let mut ids = write::free_ids(&taken);
    let (mut proposals, mut unsolved): (Vec<Proposal>, Vec<Unsolved>) = (Vec::new(), Vec::new());
    for group in groups.iter().take(MOST_GROUPS) {
        let everywhere = sites.get(&group.field).is_some_and(|count| *count >= MANY_SITES);
        let mut why = "the events do not say enough of its requests to make them again".to_owned();
        let covered = |proposal: &Proposal| match &proposal.change {
            Change::Exclude(rules) if proposal.everywhere && proposal.group.field == group.field => {
                let of_rule = |cause: &cluster::Cause| match cause {
                    cluster::Cause::Rule(id, collection) => rules.contains(&(*id, collection.clone())),
                    cluster::Cause::Verdict(_) => false,
                };
                group.causes.keys().all(of_rule)
            }
            _ => false,
        };
        if let Some(other) = proposals.iter().find(|proposal| covered(proposal)) {
            unsolved.push(Unsolved { group: group.clone(), why: format!("solved with {}", other.group.field) });
            continue;
        }
        let Some(id) = ids.next() else { break };
        let proof = best(setup, bench, records, group, suite, everywhere, id, &mut why);
        match proof {
            Some((change, proof, alone)) => {
                let text = match &change {
                    Change::Class(class) => class.clone(),
                    Change::Exclude(rules) => write::exclusion(group, rules, everywhere, id),
                };
                let warnings = warnings(group, &change, min_clients);
                let group = group.clone();
                proposals.push(Proposal { group, change, text, everywhere, id, proof, alone, warnings });
            }
            None => unsolved.push(Unsolved { group: group.clone(), why }),
        }
    }
    // A field of many in the same requests is worth nothing while another has no proposal.
    let all: Vec<&Proposal> = proposals.iter().collect();
    if let Some(joint) = proposals.iter().any(|p| p.alone).then(|| joint(setup, bench, &all)).flatten() {
        let passes = |raw: &Vec<u8>| joint.judge(raw).is_some_and(|sight| !sight.refused);
        let idle = |p: &Proposal| p.alone && !prove::replays(bench, &p.group, records).iter().any(passes);
        for proposal in proposals.extract_if(.., |proposal| idle(proposal)) {
            let why = "its requests are refused for other fields too, and not for all of them there is a proposal";
            unsolved.push(Unsolved { group: proposal.group, why: why.to_owned() });
        }
    }
    proposals.sort_by_key(|p| (p.alone, std::cmp::Reverse((p.proof.removed, p.group.requests)), p.proof.lost));
    (proposals, unsolved)
}

/// The narrowest change that removes all of a group's refusals, else the one that removes most. `why`: there is none.
#[allow(clippy::too_many_arguments, reason = "the parts of one look")]
fn best(
    setup: &Setup,
    bench: &Bench,
    records: &[Record],
    group: &Group,
    suite: &[Attack],
    everywhere: bool,
    id: u64,
    why: &mut String,
) -> Option<(Change, Proof, bool)> {
    let whole = prove::replays(bench, group, records);
    let alone = prove::alone(bench, group, records);
    if whole.is_empty() && alone.is_empty() {
        return None;
    }
    let known = setup::operation(bench, &group.site).map(|operation| operation.fields().as_ref());
    let placed = prove::attacks(bench, prove::placed(bench, group, records, known));
    let changes = propose::changes(group, group.site.operation.is_some());
    let mut best: Option<(Change, Proof, bool)> = None;
    *why = if group.causes.contains_key(&Cause::Verdict("attack".to_owned())) {
        "its values read as attacks, and no rule decides that: only another class in the policy ends its refusals, and \
         `free` lets through whatever is sent"
    } else {
        "no change of this field alone ends its refusals"
    }
    .to_owned();
    for change in changes {
        let Some(changed) = setup.with(bench, group, &change, everywhere, id) else { continue };
        let prove = |replays: &[Vec<u8>]| prove::prove(&changed, &group.field, replays, suite.iter().chain(&placed));
        let mut proof = prove(&whole);
        let only_alone = proof.removed == 0;
        if only_alone {
            proof = prove(&alone);
        }
        if proof.removed == 0 {
            continue;
        }
        if let Some(loss) = proof.elsewhere.first() {
            *why = format!("what would end its refusals loses detections elsewhere: {loss}");
            continue;
        }
        let all = proof.removed == proof.replayed;
        let rank = |proof: &Proof, alone: bool| (!alone, proof.removed);
        let better = best.as_ref().is_none_or(|(_, known, alone)| rank(&proof, only_alone) > rank(known, *alone));
        if better {
            best = Some((change, proof, only_alone));
        }
        if all && !only_alone {
            break;
        }
    }
    best
}

/// What a person should think of before a change is made.
fn warnings(group: &Group, change: &Change, min_clients: usize) -> Vec<String> {
    let mut warnings = Vec::new();
    let honest = group.clients.saturating_sub(group.probing);
    if honest < min_clients {
        let who = match honest {
            0 => "no client stands".to_owned(),
            1 => "only 1 client stands".to_owned(),
            more => format!("only {more} clients stand"),
        };
        let probing = match group.probing {
            0 => String::new(),
            probing => format!(", not counting {probing} refused for many other fields"),
        };
        warnings.push(format!("{who} behind it{probing}: an attacker can train a tuner"));
    }
    let attack = |value: &&Vec<u8>| {
        value.len() <= SHORT_VALUE && !propose::is_document(value) && short::read_line(value).verdict == Verdict::Attack
    };
    let attacks = group.values.iter().filter(attack).count();
    if attacks * 2 > group.values.len() {
        warnings.push(format!("{attacks} of its {} values read as attacks", group.values.len()));
    }
    if group.values.is_empty() && matches!(change, Change::Exclude(_)) {
        warnings.push("its values are masked or cut in the events: look at them before".to_owned());
    }
    warnings
}

/// The proposals to be written.
fn chosen<'p>(proposals: &'p [Proposal], only: &[usize]) -> Result<Vec<&'p Proposal>, Vec<Fault>> {
    if only.is_empty() {
        return Ok(proposals.iter().filter(|proposal| proposal.warnings.is_empty()).collect());
    }
    let unknown = |number: &&usize| number.checked_sub(1).and_then(|at| proposals.get(at)).is_none();
    if let Some(number) = only.iter().find(unknown) {
        let what = format!("there is no proposal {number}");
        return Err(vec![Fault::key("only", what, format!("name numbers from 1 to {}", proposals.len()))]);
    }
    let numbers: BTreeSet<usize> = only.iter().copied().collect();
    Ok(numbers.into_iter().filter_map(|number| proposals.get(number - 1)).collect())
}

/// Rules and policy with all of these changes.
fn joint(setup: &Setup, bench: &Bench, chosen: &[&Proposal]) -> Option<Bench> {
    let (texts, exclusions) = changed(setup, bench, chosen).ok()?;
    Some(Bench { rules: setup.rules(&exclusions).ok()?, policy: setup.built(&texts).ok()? })
}

/// What the changes do together that carry no warning.
fn together(
    setup: &Setup,
    bench: &Bench,
    records: &[Record],
    proposals: &[Proposal],
    suite: &[Attack],
) -> Option<Together> {
    let chosen: Vec<&Proposal> = proposals.iter().filter(|proposal| proposal.warnings.is_empty()).collect();
    let joint = (!chosen.is_empty()).then(|| joint(setup, bench, &chosen)).flatten()?;
    let samples: BTreeSet<usize> = chosen.iter().flat_map(|proposal| proposal.group.samples.iter().copied()).collect();
    let refused = |bench: &Bench, raw: &Vec<u8>| bench.judge(raw).is_some_and(|sight| sight.refused);
    let replays = samples.iter().filter_map(|at| records.get(*at)?.rebuilt()).filter(|raw| refused(bench, raw));
    let mut together = Together { changes: chosen.len(), detections: suite.len(), ..Together::default() };
    for raw in replays {
        together.replayed += 1;
        together.removed += usize::from(!refused(&joint, &raw));
    }
    together.lost = suite.iter().filter(|attack| attack.passes(&joint)).count();
    Some(together)
}

/// The policy's texts and the exclusions, with these changes made.
fn changed(setup: &Setup, bench: &Bench, chosen: &[&Proposal]) -> Result<(Texts, String), Vec<Fault>> {
    let mut texts = setup.policy.clone();
    let mut exclusions = String::new();
    for proposal in chosen {
        match &proposal.change {
            Change::Class(class) => {
                let changed = setup.entry(bench, &proposal.group.site).and_then(|entry| {
                    let (_, text) = texts.get_mut(entry.file)?;
                    *text = write::with_class(text, entry.at, &proposal.group.field, class)?;
                    Some(())
                });
                if changed.is_none() {
                    let what = format!("{} cannot be put into the policy's file", proposal.group.field);
                    return Err(vec![Fault::key("policy", what, "")]);
                }
            }
            Change::Exclude(rules) => {
                exclusions.push_str(&write::exclusion(&proposal.group, rules, proposal.everywhere, proposal.id));
            }
        }
    }
    Ok((texts, exclusions))
}

/// Writes proposals, after all of them together were built; what was written, in lines.
fn accept(setup: &Setup, bench: &Bench, chosen: &[&Proposal]) -> Result<Vec<String>, Vec<Fault>> {
    let (texts, exclusions) = changed(setup, bench, chosen)?;
    setup.built(&texts)?;
    setup.rules(&exclusions)?;
    let fault = |path: &str, e: io::Error| vec![Fault::key(path, e.to_string(), "make it a file that can be written")];
    let mut lines = Vec::new();
    for ((path, new), (_, old)) in texts.iter().zip(&setup.policy).filter(|((_, new), (_, old))| new != old) {
        // What an editor wrote meanwhile is not lost.
        if std::fs::read_to_string(path).ok().as_ref() != Some(old) {
            return Err(vec![Fault::key(path.as_str(), "changed while it was tuned", "run the command again")]);
        }
        write::replace_file(path.as_ref(), new).map_err(|e| fault(path, e))?;
        lines.push(format!("wrote {path}"));
    }
    if !exclusions.is_empty() {
        let path = setup.exclusions.display().to_string();
        let before = setup.written();
        let joint = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        write::replace_file(&setup.exclusions, &format!("{before}{joint}{exclusions}")).map_err(|e| fault(&path, e))?;
        lines.push(format!("wrote {path}"));
        if !setup.reads_exclusions {
            lines.push(format!("name it in waf.rules of the configuration: {path}"));
        }
    }
    if lines.is_empty() {
        lines.push("nothing to write".to_owned());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests;
