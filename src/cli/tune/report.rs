//! What was found, as a person reads it.

use super::cluster::Group;
use super::event::Reading;
use super::propose::Change;
use super::{Proposal, Together, Unsolved};
use crate::cli::check::printable;
use std::io::{self, Write};

/// Most names of what a change loses, field verdicts first.
const MOST_LOST: usize = 12;
/// Causes of a group that are shown.
const MOST_CAUSES: usize = 6;
/// Groups without a proposal that are shown.
const MOST_UNSOLVED: usize = 20;

/// Writes proposals, the most useful first, and what is left.
///
/// # Errors
/// What writing gave.
pub(super) fn table(
    out: &mut dyn Write,
    reading: &Reading,
    groups: usize,
    tests: usize,
    proposals: &[Proposal],
    unsolved: &[Unsolved],
) -> io::Result<()> {
    writeln!(
        out,
        "{} refused requests for {groups} fields; {} other events, {} lines that are none; {tests} attacks in the suite",
        reading.records.len(),
        reading.other,
        reading.unreadable,
    )?;
    if reading.full {
        writeln!(out, "the events are more than are read at once: some were left out")?;
    }
    for (number, proposal) in (1..).zip(proposals) {
        writeln!(out, "\n{number:>3}  {}", group(&proposal.group))?;
        match &proposal.change {
            Change::Class(class) => {
                let (key, name) = proposal.group.field.in_policy().unwrap_or_default();
                writeln!(out, "     policy: {key}.\"{}\" = \"{class}\"", printable(&name))?;
            }
            Change::Exclude(_) => {
                for line in proposal.text.lines().skip(1) {
                    writeln!(out, "     {}", printable(line))?;
                }
            }
        }
        let proof = &proposal.proof;
        let among = if proposal.alone { ", once the other fields of these requests pass" } else { "" };
        writeln!(
            out,
            "     removes {} refusals, loses {} of {} detections ({} requests replayed{among}; of {} attacks put into this \
             field {} pass)",
            proof.removed, proof.lost, proof.detections, proof.replayed, proof.placed, proof.placed_lost,
        )?;
        if !proof.lost_to.is_empty() {
            let more = proof.lost_to.len().saturating_sub(MOST_LOST);
            let mut ids: Vec<&str> = proof.lost_to.iter().rev().take(MOST_LOST).map(String::as_str).collect();
            let rest = format!("{more} more rules");
            ids.extend((more > 0).then_some(rest.as_str()));
            writeln!(out, "     lost in this field: {}", ids.join(", "))?;
        }
        for warning in &proposal.warnings {
            writeln!(out, "     warning: {warning}")?;
        }
    }
    if !unsolved.is_empty() {
        writeln!(out, "\nnothing is proposed for")?;
    }
    for left in unsolved.iter().take(MOST_UNSOLVED) {
        writeln!(out, "     {}\n         {}", group(&left.group), printable(&left.why))?;
    }
    if unsolved.len() > MOST_UNSOLVED {
        writeln!(out, "     and {} more", unsolved.len() - MOST_UNSOLVED)?;
    }
    Ok(())
}

/// Says what all changes that carry no warning do together.
///
/// # Errors
/// What writing gave.
pub(super) fn together(out: &mut dyn Write, together: &Option<Together>) -> io::Result<()> {
    let Some(Together { changes, replayed, removed, detections, lost }) = together else { return Ok(()) };
    writeln!(
        out,
        "\n{changes} without a warning, together: {removed} of {replayed} replayed refusals go away, {lost} of \
         {detections} attacks of the suite pass",
    )
}

fn group(group: &Group) -> String {
    let mut causes: Vec<_> = group.causes.iter().collect();
    causes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let more = causes.len().saturating_sub(MOST_CAUSES);
    let mut causes: Vec<String> =
        causes.into_iter().take(MOST_CAUSES).map(|(cause, count)| format!("{cause} x{count}")).collect();
    if more > 0 {
        causes.push(format!("{more} more"));
    }
    let (requests, clients) = (group.requests, group.clients);
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    printable(&format!(
        "{} | {} | {requests} request{}, {clients} client{} | {}",
        group.site,
        group.field,
        plural(requests),
        plural(clients),
        causes.join(", ")
    ))
}
