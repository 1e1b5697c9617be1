//! The rules by which one of several replicas is chosen. Pure: what is known of each and a random number go in.

/// What is known of one candidate. `weight` is its own times its warmth; above zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Its index in the pool.
    pub(super) index: usize,
    pub(super) weight: f64,
    pub(super) in_flight: usize,
}

/// Smooth weighted round robin (nginx's): each candidate gains its weight, the one with most is taken and pays for all.
/// With equal weights this is their order. `current` holds what each of the pool's replicas has gained.
pub(super) fn smooth(candidates: &[Candidate], current: &mut [f64]) -> Option<usize> {
    let mut total = 0.0;
    let mut best: Option<(usize, f64)> = None;
    for candidate in candidates {
        let gained = current.get_mut(candidate.index)?;
        *gained += candidate.weight;
        total += candidate.weight;
        // Sums of fractions drift: what is equal but for that goes in order.
        if best.is_none_or(|(_, most)| *gained > most + 1e-6) {
            best = Some((candidate.index, *gained));
        }
    }
    let (index, _) = best?;
    *current.get_mut(index)? -= total;
    Some(index)
}

/// The fewest requests in hand for its weight; among equals the one whose `turn` it is.
pub(super) fn least(candidates: &[Candidate], turn: usize) -> Option<usize> {
    let first = turn.checked_rem(candidates.len())?;
    let (before, after) = candidates.split_at_checked(first)?;
    let load = |candidate: &Candidate| (candidate.in_flight as f64 + 1.0) / candidate.weight;
    let in_turn = after.iter().chain(before);
    in_turn.min_by(|a, b| load(a).total_cmp(&load(b))).map(|candidate| candidate.index)
}

/// Of two drawn at random the one with the lower cost: the seconds its answers take, times the requests it then has, for
/// its weight. `seconds` is asked for these two alone.
pub(super) fn two_choices(candidates: &[Candidate], dice: u64, seconds: impl Fn(usize) -> f64) -> Option<usize> {
    let n = u64::try_from(candidates.len()).ok().filter(|n| *n > 0)?;
    let draw = |dice: u64, n: u64| usize::try_from((dice & 0xffff_ffff).wrapping_mul(n) >> 32).unwrap_or(0);
    let one = draw(dice, n);
    let Some(others) = n.checked_sub(1).filter(|others| *others > 0) else {
        return candidates.first().map(|candidate| candidate.index);
    };
    let other = draw(dice >> 32, others);
    let other = if other >= one { other + 1 } else { other };
    let (one, other) = (candidates.get(one)?, candidates.get(other)?);
    let cost = |candidate: &Candidate| seconds(candidate.index) * (candidate.in_flight as f64 + 1.0) / candidate.weight;
    Some(if cost(other) < cost(one) { other.index } else { one.index })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates(weights: &[f64]) -> Vec<Candidate> {
        weights.iter().enumerate().map(|(index, weight)| Candidate { index, weight: *weight, in_flight: 0 }).collect()
    }

    fn turns(weights: &[f64], n: usize) -> Vec<usize> {
        let (candidates, mut current) = (candidates(weights), vec![0.0; weights.len()]);
        (0..n).map(|_| smooth(&candidates, &mut current).unwrap()).collect()
    }

    #[test]
    fn turns_are_smooth() {
        assert_eq!(turns(&[1.0, 1.0, 1.0], 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(turns(&[5.0, 1.0, 1.0], 7), [0, 0, 1, 0, 2, 0, 0], "nginx's own example");
        assert_eq!(smooth(&[], &mut []), None);
    }

    #[test]
    fn the_least_busy_for_its_weight() {
        let mut all = candidates(&[1.0, 1.0, 4.0]);
        for (candidate, busy) in all.iter_mut().zip([3, 2, 9]) {
            candidate.in_flight = busy;
        }
        assert_eq!(least(&all, 0), Some(2), "ten for four");
        all[2].in_flight = 20;
        assert_eq!(least(&all, 0), Some(1));
        let idle = candidates(&[1.0, 1.0, 1.0]);
        assert_eq!((0..4).map(|turn| least(&idle, turn).unwrap()).collect::<Vec<_>>(), [0, 1, 2, 0]);
        assert_eq!(least(&[], 3), None);
    }

    #[test]
    fn of_two_the_cheaper() {
        let seconds = |index: usize| [0.1, 0.1, 5.0][index];
        let all = candidates(&[1.0, 1.0, 1.0]);
        let mut got = [0; 3];
        let mut dice = 1_u64;
        for _ in 0..3000 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            got[two_choices(&all, dice, seconds).unwrap()] += 1;
        }
        assert!(got[0] > 1200 && got[1] > 1200 && got[2] == 0, "{got:?}");
        assert_eq!(two_choices(&all[2..], 7, seconds), Some(2));
        assert_eq!(two_choices(&[], 7, seconds), None);
    }

    proptest! {
        #[test]
        fn every_replica_gets_its_share(weights in prop::collection::vec(1_u32..20, 1..6)) {
            let total: u32 = weights.iter().sum();
            let floats: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
            let turns = turns(&floats, total as usize * 3);
            for (index, weight) in weights.iter().enumerate() {
                prop_assert_eq!(turns.iter().filter(|turn| **turn == index).count(), *weight as usize * 3);
            }
        }

        #[test]
        fn two_choices_stay_among_the_candidates(n in 1_usize..9, dice: u64) {
            let all = candidates(&vec![1.0; n]);
            prop_assert!(two_choices(&all, dice, |_| 1.0).unwrap() < n);
        }
    }
}
