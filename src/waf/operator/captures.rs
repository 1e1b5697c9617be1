//! What a capturing match leaves for `TX:0` to `TX:9`.

use std::ops::Range;

/// Groups kept: `TX:0`, the whole match, to `TX:9`.
pub const GROUPS: usize = 10;

/// What the last match caught. Reuse one for many matches: its buffer keeps its capacity.
///
/// Memory: the bytes of the groups of one match, so at most ten times the value that was matched.
#[derive(Debug, Clone, Default)]
pub struct Captures {
    text: Vec<u8>,
    groups: [Option<(usize, usize)>; GROUPS],
    count: usize,
    limit_exceeded: bool,
}

impl Captures {
    /// Nothing caught yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes of group `n`; `None` if it took no part in the match, or nothing was caught.
    pub fn get(&self, n: usize) -> Option<&[u8]> {
        let &(start, end) = self.groups.get(n)?.as_ref()?;
        self.text.get(start..end)
    }

    /// How many groups the match had, the whole match included, at most [`GROUPS`]. 0: nothing was caught, and the
    /// variables of an earlier match stay.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing was caught.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the match was given up because a pattern that needs backtracking took too many steps or met too long
    /// a value (`TX:MSC_PCRE_LIMITS_EXCEEDED`).
    pub fn limit_exceeded(&self) -> bool {
        self.limit_exceeded
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        self.text.clear();
        self.groups = [None; GROUPS];
        self.count = 0;
        self.limit_exceeded = false;
    }

    pub(super) fn exceed_limit(&mut self) {
        self.limit_exceeded = true;
    }

    /// Adds the next group; those past the last are dropped.
    pub(super) fn push(&mut self, group: Option<&[u8]>) {
        let Some(slot) = self.groups.get_mut(self.count) else { return };
        if let Some(bytes) = group {
            let start = self.text.len();
            self.text.extend_from_slice(bytes);
            *slot = Some((start, self.text.len()));
        }
        self.count = self.count.saturating_add(1);
    }

    /// Adds all groups of one match in `value`. Those inside the whole match share its bytes.
    pub(super) fn push_match(&mut self, value: &[u8], mut groups: impl Iterator<Item = Option<Range<usize>>>) {
        let Some(whole) = groups.next().flatten() else { return };
        let base = self.text.len();
        self.push(value.get(whole.clone()));
        for group in groups {
            let shared = group.clone().filter(|group| whole.start <= group.start && group.end <= whole.end);
            match (shared, self.groups.get_mut(self.count)) {
                (Some(group), Some(slot)) => {
                    let at = |place: usize| base.saturating_add(place.saturating_sub(whole.start));
                    *slot = Some((at(group.start), at(group.end)));
                    self.count = self.count.saturating_add(1);
                }
                // A group in a lookaround may lie outside the match.
                _ => self.push(group.and_then(|group| value.get(group))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_inside_and_outside_the_match() {
        let mut captures = Captures::new();
        captures.push_match(b"0123456789", [Some(2..5), Some(3..4), None, Some(7..9), Some(5..5)].into_iter());
        let got: Vec<_> = (0..6).map(|n| captures.get(n)).collect();
        assert_eq!(got, [Some(&b"234"[..]), Some(b"3"), None, Some(b"78"), Some(b""), None]);
        assert_eq!(captures.len(), 5);
        captures.clear();
        assert!(captures.is_empty() && captures.get(0).is_none());
    }

    #[test]
    fn an_eleventh_group_is_dropped() {
        let mut captures = Captures::new();
        captures.push_match(b"abc", (0..12).map(|_| Some(0..1)));
        assert_eq!((captures.len(), captures.get(9), captures.get(10)), (GROUPS, Some(&b"a"[..]), None));
    }
}
