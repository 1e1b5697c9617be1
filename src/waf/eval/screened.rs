//! A segment's questions put to the values of the message: which rules can match?

use super::gather::Spot;
use super::known::{Known, is_clean};
use super::run::Run;
use super::texts::TextId;
use crate::hashing::Map;
use crate::plan::{Group, Lane, Layout, Positions};
use crate::screen::{Scratch, Screen, Start, is_set, set};
use std::ops::Range;
use std::sync::Arc;

/// Most texts whose answers are kept; rules that ask more of them are run without.
const MAX_ROWS: usize = 1 << 19;
/// "No row" in a table.
const NONE: u32 = u32::MAX;

/// Answers to a layout's questions, and the buffers to find them.
#[derive(Debug, Default)]
pub(super) struct Screened {
    /// For each text the number of its row, or [`NONE`].
    numbers: Vec<u32>,
    rows: Vec<Row>,
    /// The candidates that are asked for.
    wanted: Sets,
    /// Row by row the candidates that match.
    hits: Vec<u16>,
    /// The candidates that match one text, as bits.
    found: Vec<u64>,
    /// Row and candidate of matches, with what is known of where they begin.
    starts: Vec<(u32, u16, Start)>,
    /// Which lanes ask which row, value by value.
    asked: Vec<Asked>,
    /// The values that were asked about.
    pending: Vec<Pending>,
    /// Whether nothing is known to match the value that is being asked about.
    clean: bool,
    /// For each text the number of what is known of it, or [`NONE`].
    sighted: Vec<u32>,
    sights: Vec<Sight>,
    values: Vec<TextId>,
    /// What the steps of a group made of a value; `None` where there was no room to keep it.
    results: Vec<Option<TextId>>,
    scratch: Scratch,
    /// Whose candidates these are.
    layout: Option<Arc<Layout>>,
    /// The rules to run.
    pub(super) live: Positions,
    /// The values that a question of the layout is answered by, as bits; whether that is known of all values.
    hot: Vec<u64>,
    all_told: bool,
    /// The rules of which that is not known.
    untold: Positions,
    /// Whether the rules that look at TX beside the message are among them.
    awake: bool,
}

/// What is asked and known of a text.
#[derive(Debug, Clone, Copy)]
struct Row {
    text: TextId,
    /// Which of the [`Sets`] of candidates is asked for.
    wanted: u32,
    /// Where in [`Screened::hits`] those stand that match, and how many do.
    first_hit: u32,
    hits: u32,
}

/// Sets of candidates as bits, each kept once: most texts are asked one of few.
#[derive(Debug, Default)]
struct Sets {
    /// Words of a set; set 0 is empty, set 1 holds all.
    words: usize,
    bits: Vec<u64>,
    /// The set that a set and a lane's candidates make.
    unions: Map<(u32, u32), u32>,
}

/// Most sets; beyond, all candidates are asked for, which only takes time.
const MAX_SETS: u32 = 2048;
const EVERYTHING: u32 = 1;

impl Sets {
    fn clear(&mut self, words: usize) {
        self.words = words;
        self.bits.clear();
        self.bits.resize(words, 0);
        self.bits.resize(2 * words, u64::MAX);
        self.unions.clear();
    }

    fn get(&self, number: u32) -> &[u64] {
        let start = number as usize * self.words;
        self.bits.get(start..start + self.words).unwrap_or_default()
    }

    /// The set with the candidates of a lane.
    fn with(&mut self, number: u32, lane: &Lane) -> u32 {
        if let Some(known) = self.unions.get(&(number, lane.number)) {
            return *known;
        }
        let bits: Vec<u64> = self.get(number).iter().zip(&lane.wanted).map(|(set, more)| set | more).collect();
        let count = u32::try_from(self.bits.len() / self.words.max(1)).unwrap_or(MAX_SETS);
        let known = (0..count).find(|known| self.get(*known) == bits);
        let union = known.unwrap_or_else(|| {
            if count >= MAX_SETS {
                return EVERYTHING;
            }
            self.bits.extend_from_slice(&bits);
            count
        });
        self.unions.insert((number, lane.number), union);
        union
    }
}

/// Which lanes of the group of a value ask for a row.
#[derive(Debug, Clone, Copy)]
struct Asked {
    row: u32,
    /// Lanes come in chunks of 64; [`PLAIN`] stands for [`Group::plain`].
    chunk: u32,
    lanes: u64,
}

const PLAIN: u32 = u32::MAX;

/// What this thread remembers of a value.
#[derive(Debug, Clone, Copy)]
struct Sight {
    text: TextId,
    /// Where it may be remembered.
    place: Option<u64>,
    /// The groups in which nothing was found, for [`is_clean`].
    clean: u128,
}

/// A value of a group, with its part of [`Screened::asked`].
#[derive(Debug, Clone, Copy)]
struct Pending {
    group: u32,
    value: TextId,
    /// Where it may be remembered if nothing matches it.
    place: Option<u64>,
    asked: (usize, usize),
}

impl Screened {
    /// Forgets everything but the room.
    pub(super) fn forget(&mut self) {
        self.clear(0);
        self.layout = None;
    }

    /// Bytes of the buffers that grow with the message.
    pub(super) fn footprint(&self) -> usize {
        let rows = self.rows.capacity() * size_of::<Row>() + self.hits.capacity() * 2;
        let lists = self.asked.capacity() * size_of::<Asked>() + self.pending.capacity() * size_of::<Pending>();
        let numbers = self.numbers.capacity() + self.values.capacity() + self.sighted.capacity();
        rows + lists + numbers * 4 + self.sights.capacity() * size_of::<Sight>()
    }

    fn clear(&mut self, words: usize) {
        for row in self.rows.drain(..) {
            if let Some(number) = self.numbers.get_mut(row.text.index()) {
                *number = NONE;
            }
        }
        for sight in self.sights.drain(..) {
            if let Some(sighted) = self.sighted.get_mut(sight.text.index()) {
                *sighted = NONE;
            }
        }
        self.wanted.clear(words);
        self.hits.clear();
        self.found.clear();
        self.found.resize(words, 0);
        self.starts.clear();
        self.asked.clear();
        self.pending.clear();
        self.hot.clear();
        self.all_told = false;
        self.untold.clear();
    }

    fn heat(&mut self, value: TextId) {
        let word = value.index() / 64;
        if self.hot.len() <= word {
            self.hot.resize(word + 1, 0);
        }
        set(&mut self.hot, value.index());
    }

    /// Whether the rule at a position was screened: then it can match only values that are [`Screened::is_hot`].
    pub(super) fn tells_all_of(&self, position: usize) -> bool {
        self.all_told
            && !self.untold.contains(position)
            && self.layout.as_ref().is_some_and(|layout| !layout.always.contains(position))
    }

    /// Whether some rule of the layout may match a value of the message.
    pub(super) fn is_hot(&self, value: TextId) -> bool {
        is_set(&self.hot, value.index())
    }

    /// What this thread remembers of a value, looked up once for all groups.
    fn sight(&mut self, known: &mut Known, layout: u64, text: TextId, bytes: &[u8]) -> Sight {
        if self.sighted.len() <= text.index() {
            self.sighted.resize(text.index() + 1, NONE);
        }
        let number = self.sighted.get(text.index()).copied().unwrap_or(NONE);
        if let Some(sight) = self.sights.get(number as usize) {
            return *sight;
        }
        let place = Known::place(layout, bytes);
        let clean = place.map_or(0, |place| known.clean(place, layout, bytes));
        let sight = Sight { text, place, clean };
        if let (Some(sighted), Ok(number)) = (self.sighted.get_mut(text.index()), u32::try_from(self.sights.len())) {
            *sighted = number;
            self.sights.push(sight);
        }
        sight
    }

    fn row(&mut self, text: TextId) -> Option<u32> {
        if self.numbers.len() <= text.index() {
            self.numbers.resize(text.index() + 1, NONE);
        }
        let number = self.numbers.get_mut(text.index())?;
        if *number == NONE {
            if self.rows.len() >= MAX_ROWS {
                return None;
            }
            *number = u32::try_from(self.rows.len()).ok()?;
            self.rows.push(Row { text, wanted: 0, first_hit: 0, hits: 0 });
        }
        Some(*number)
    }

    fn hits_of(&self, row: &Row) -> &[u16] {
        let first = row.first_hit as usize;
        self.hits.get(first..first + row.hits as usize).unwrap_or_default()
    }

    /// What is known of where the leftmost match of an operator in a text begins, and of a long one the first `enough`
    /// bytes or more.
    pub(super) fn span(
        &self,
        text: (TextId, &[u8]),
        operator: usize,
        enough: usize,
    ) -> (Option<Start>, Option<Range<usize>>) {
        let known = || {
            let layout = self.layout.as_ref()?;
            let candidate = layout.screen.candidate(operator)?;
            let row = *self.numbers.get(text.0.index())?;
            // Rows are read in order, so the matches of one stand together.
            let first = self.starts.partition_point(|(before, ..)| *before < row);
            let of_row = self.starts.get(first..)?.iter().take_while(|(r, ..)| *r == row);
            let (.., start) = { of_row }.find(|(_, p, _)| usize::from(*p) == candidate)?;
            let end = || layout.screen.end(candidate, text.1, start.at, enough);
            Some((*start, start.likely.then(end).flatten().map(|end| start.at..end)))
        };
        known().map_or((None, None), |(start, span)| (Some(start), span))
    }

    /// Whether an operator matches a text; `None` if it was not asked.
    pub(super) fn answer(&self, text: TextId, operator: usize) -> Option<bool> {
        let candidate = self.layout.as_ref()?.screen.candidate(operator)?;
        let row = self.rows.get(*self.numbers.get(text.index())? as usize)?;
        is_set(self.wanted.get(row.wanted), candidate)
            .then(|| self.hits_of(row).iter().any(|hit| usize::from(*hit) == candidate))
    }
}

impl Run<'_> {
    /// Has the rules run that look at TX beside the message, once a variable they look at is set.
    pub(super) fn wake(&mut self) {
        let screened = &mut self.workspace.screened;
        let Some(layout) = screened.layout.as_ref().filter(|_| !screened.awake) else { return };
        if self.state.tx.has_any(self.rules, &layout.watched) {
            screened.live.add_all(&layout.beside_tx);
            screened.awake = true;
        }
    }

    /// Fills [`Screened::live`] with the positions of the rules to run in a layout.
    pub(super) fn screen(&mut self, layout: Arc<Layout>) {
        let mut screened = std::mem::take(&mut self.workspace.screened);
        screened.clear(layout.screen.words());
        screened.live.copy_from(&layout.always);
        screened.awake = layout.beside_tx.is_empty();
        // Who counts what rules cost wants all of it.
        let mut known = self.workspace.costs.is_none().then(Known::take);
        for (number, group) in (0u32..).zip(&layout.groups) {
            if self.message.has_none(group.variable) {
                continue;
            }
            self.values(group, &mut screened.values);
            for at in 0..screened.values.len() {
                let Some(value) = screened.values.get(at).copied() else { break };
                let bytes = self.texts.get(value);
                let sight = known.as_deref_mut().map(|known| screened.sight(known, layout.id, value, bytes));
                if sight.is_some_and(|sight| is_clean(sight.clean, number)) {
                    self.state.work += bytes.len() as u64;
                    continue;
                }
                let place = sight.and_then(|sight| sight.place);
                let since = screened.asked.len();
                screened.clean = true;
                self.ask_group(&mut screened, since, group, value);
                let (place, asked) = (place.filter(|_| screened.clean), (since, screened.asked.len()));
                screened.pending.push(Pending { group: number, value, place, asked });
            }
            if self.is_exhausted() {
                break;
            }
        }
        self.scan(&mut screened, &layout.screen);
        self.settle_asked(&mut screened, &layout, known.as_deref_mut());
        screened.all_told = !self.is_exhausted();
        if let Some(known) = known {
            known.give_back();
        }
        screened.layout = Some(layout);
        self.workspace.screened = screened;
    }

    /// From what matched, the rules to run; values that nothing matched are remembered.
    fn settle_asked(&mut self, screened: &mut Screened, layout: &Layout, mut known: Option<&mut Known>) {
        // Where work ran out, not all was read.
        if self.is_exhausted() {
            known = None;
        }
        for number in 0..screened.pending.len() {
            let Some(pending) = screened.pending.get(number).copied() else { break };
            let Some(group) = layout.groups.get(pending.group as usize) else { continue };
            let mut matched = false;
            for at in pending.asked.0..pending.asked.1 {
                let Some(asked) = screened.asked.get(at).copied() else { break };
                let Some(row) = screened.rows.get(asked.row as usize).copied() else { continue };
                if !group.has_negated && row.hits == 0 {
                    continue;
                }
                let mut found = std::mem::take(&mut screened.found);
                found.fill(0);
                screened.hits_of(&row).iter().for_each(|hit| set(&mut found, usize::from(*hit)));
                matched |= any_matches(group, &asked, &found, &mut screened.live);
                screened.found = found;
            }
            if matched {
                screened.heat(pending.value);
            } else if let (Some(place), Some(known)) = (pending.place, &mut known) {
                known.note(place, layout.id, pending.group, self.texts.get(pending.value));
            }
        }
    }

    /// The values of a target; those of the variables that are screened are all texts of the message.
    fn values(&mut self, group: &Group, into: &mut Vec<TextId>) {
        let mut gathered = std::mem::take(&mut self.workspace.gathered);
        gathered.clear();
        let view = self.view();
        view.gather(group.variable, &group.selector, &[], &mut gathered);
        let excluded = |key| {
            let name = || view.bytes(key, &gathered).unwrap_or_default();
            !group.exclusions.is_empty() && group.exclusions.iter().any(|selector| selector.takes(name()))
        };
        into.clear();
        into.extend(gathered.items.iter().filter(|item| !excluded(item.key)).filter_map(|item| match item.value {
            Spot::Text(text) => Some(text),
            _ => None,
        }));
        self.workspace.gathered = gathered;
    }

    fn ask_group(&mut self, screened: &mut Screened, since: usize, group: &Group, value: TextId) {
        if !self.texts.bytes_in(value).meets(group.plain.acts_on) {
            self.ask_lane(screened, (PLAIN, 0, since), &group.plain, (value, value));
            for (place, lane) in group.lanes.iter().enumerate().skip(group.in_plain) {
                let text = self.texts.transform(&self.rules.chains, value, lane.chain);
                self.ask(screened, (since, value), (place, lane), text);
            }
            return;
        }
        screened.results.clear();
        for step in &group.steps {
            let before = match step.before {
                Some(before) => screened.results.get(before).copied().flatten(),
                None => Some(value),
            };
            let text = match step.kind {
                Some(kind) => before.and_then(|text| self.texts.step(text, kind)),
                None => before,
            };
            screened.results.push(text);
            if let Some((place, lane)) = step.lane.and_then(|place| Some((place, group.lanes.get(place)?))) {
                self.ask(screened, (since, value), (place, lane), text);
            }
        }
    }

    fn ask(
        &mut self,
        screened: &mut Screened,
        (since, raw): (usize, TextId),
        (place, lane): (usize, &Lane),
        text: Option<TextId>,
    ) {
        match text {
            Some(text) => {
                let chunk = u32::try_from(place / 64).unwrap_or(0);
                self.ask_lane(screened, (chunk, place % 64, since), lane, (raw, text));
            }
            // No room to keep the result: the rules have to make it for themselves.
            None => run_all(screened, lane, raw),
        }
    }

    fn ask_lane(
        &mut self,
        screened: &mut Screened,
        (chunk, bit, since): (u32, usize, usize),
        lane: &Lane,
        (raw, text): (TextId, TextId),
    ) {
        if !lane.screened.is_empty() {
            match screened.row(text) {
                Some(row) => {
                    if let Some(row) = screened.rows.get_mut(row as usize) {
                        row.wanted = screened.wanted.with(row.wanted, lane);
                    }
                    let mut known = screened.asked.get_mut(since..).unwrap_or_default().iter_mut();
                    match known.find(|asked| asked.row == row && asked.chunk == chunk) {
                        Some(asked) => asked.lanes |= 1 << bit,
                        None => screened.asked.push(Asked { row, chunk, lanes: 1 << bit }),
                    }
                }
                None => run_all(screened, lane, raw),
            }
        }
        if lane.direct.is_empty() {
            return;
        }
        let bytes = self.texts.bytes_in(text);
        let value = self.texts.get(text);
        for question in &lane.direct {
            if screened.live.contains(question.position) {
                // The rule is run anyway, and then asks for itself.
                screened.untold.insert(question.position);
                screened.clean = false;
                continue;
            }
            let Some(operator) = self.rules.operators.get(question.operator) else { continue };
            let hit = operator.answer(bytes).unwrap_or_else(|| {
                self.state.work += value.len() as u64;
                if let Some(costs) = &mut self.workspace.costs {
                    costs.operator(question.operator, value.len() as u64);
                }
                operator.matches(value, false, &mut self.workspace.captures)
            });
            if hit != question.negated {
                screened.live.insert(question.position);
                screened.clean = false;
                screened.heat(raw);
            }
        }
    }

    fn scan(&mut self, screened: &mut Screened, screen: &Screen) {
        screened.scratch.count_reads(self.workspace.costs.is_some());
        for (row, number) in screened.rows.iter_mut().zip(0u32..) {
            let bytes = self.texts.bytes_in(row.text);
            let value = self.texts.get(row.text);
            screened.found.fill(0);
            let wanted = screened.wanted.get(row.wanted);
            let (found, scratch) = (&mut screened.found, &mut screened.scratch);
            let work = screen.scan(&self.rules.operators, value, bytes, wanted, found, scratch);
            row.first_hit = u32::try_from(screened.hits.len()).unwrap_or(NONE);
            // There are no more candidates than such numbers.
            let members =
                (0..=u16::MAX).zip(found.iter().flat_map(|word| (0..64).map(move |bit| word >> bit & 1 == 1)));
            if found.iter().any(|word| *word != 0) {
                screened.hits.extend(members.filter(|(_, matches)| *matches).map(|(candidate, _)| candidate));
            }
            row.hits = u32::try_from(screened.hits.len()).unwrap_or(NONE) - row.first_hit;
            self.state.work += work as u64;
            if let Some(costs) = &mut self.workspace.costs {
                let mut own = 0;
                for (operator, bytes) in screen.reads(&mut screened.scratch) {
                    costs.operator(operator, bytes as u64);
                    own += bytes as u64;
                }
                costs.passes += (work as u64).saturating_sub(own);
            }
            let starts = screened.scratch.starts().iter().map(|(candidate, start)| (number, *candidate, *start));
            screened.starts.extend(starts);
            if self.is_exhausted() {
                break;
            }
        }
    }
}

/// Notes the rules that a row matches on behalf of a value; whether there are any.
fn any_matches(group: &Group, asked: &Asked, hits: &[u64], live: &mut Positions) -> bool {
    let mut any = false;
    let mut lanes = asked.lanes;
    while lanes != 0 {
        let bit = lanes.trailing_zeros();
        lanes &= lanes - 1;
        let lane = match asked.chunk {
            PLAIN => Some(&group.plain),
            chunk => group.lanes.get(chunk as usize * 64 + bit as usize),
        };
        let Some(lane) = lane else { continue };
        if !lane.has_negated && hits.iter().zip(&lane.wanted).all(|(hits, wanted)| hits & wanted == 0) {
            continue;
        }
        for question in &lane.screened {
            if is_set(hits, question.candidate) != question.negated {
                live.insert(question.position);
                any = true;
            }
        }
    }
    any
}

/// All rules of a lane are run, for nothing is known of a value.
fn run_all(screened: &mut Screened, lane: &Lane, value: TextId) {
    screened.clean = false;
    screened.heat(value);
    for question in lane.screened.iter().chain(&lane.direct) {
        screened.live.insert(question.position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::byteset::ByteSet;

    #[test]
    fn sets_are_kept_once_and_too_many_ask_for_everything() {
        let lane = |number: u32, wanted: [u64; 2]| Lane {
            number,
            chain: 0,
            acts_on: ByteSet::EMPTY,
            wanted: wanted.into(),
            has_negated: false,
            screened: Vec::new(),
            direct: Vec::new(),
        };
        let mut sets = Sets::default();
        sets.clear(2);
        let (a, b) = (lane(0, [1, 0]), lane(1, [0, 8]));
        let (left, right) = (sets.with(0, &a), sets.with(0, &b));
        let both = sets.with(left, &b);
        assert_eq!((sets.with(right, &a), sets.get(both)), (both, &[1, 8][..]));
        assert_eq!(sets.with(both, &a), both);
        // Whatever a value makes of the chains, what is asked of it is never less than its lanes want.
        let mut set = 0;
        for n in 0..10_000 {
            let lane = lane(10 + n, [1 << (n % 61) | 1 << (n % 7), 1 << (n % 59) | u64::from(n % 1009) << 20]);
            let with = sets.with(set, &lane);
            assert!(sets.get(with).iter().zip(&lane.wanted).all(|(asked, wanted)| asked & wanted == *wanted), "{n}");
            set = if n % 3 == 0 { 0 } else { with };
        }
        assert!(sets.bits.len() <= 2 * MAX_SETS as usize);
        sets.clear(1);
        assert_eq!((sets.get(0), sets.get(EVERYTHING)), (&[0][..], &[u64::MAX][..]));
    }
}
