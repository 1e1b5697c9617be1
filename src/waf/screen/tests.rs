//! The screen says what the operators say, on texts made of what the patterns are made of.

use super::*;
use crate::transform::vectors::noise;

fn operator(name: &str, argument: &str) -> Operator {
    Operator::compile(name, argument, &mut |_| Err(String::new())).unwrap()
}

fn built(operators: &[Operator]) -> Screen {
    Screen::build(operators, 0..operators.len(), &Checks::of(operators))
}

/// Every screened operator must answer as it does alone.
fn agree(screen: &Screen, operators: &[Operator], text: &[u8], scratch: &mut Scratch) -> usize {
    let mut wanted = vec![0; screen.words()];
    (0..screen.candidates.len()).for_each(|candidate| set(&mut wanted, candidate));
    let mut hits = vec![0; screen.words()];
    screen.scan(operators, text, ByteSet::of(text), &wanted, &mut hits, scratch);
    let mut found = 0;
    for (number, operator) in operators.iter().enumerate() {
        let Some(candidate) = screen.candidate(number) else { continue };
        let screened = hits[candidate / 64] >> (candidate % 64) & 1 == 1;
        let alone = operator.matches(text, false, &mut crate::operator::Captures::new());
        assert_eq!(screened, alone, "@{} {} on {}", operator.name(), operator.argument(), text.escape_ascii());
        found += usize::from(alone);
    }
    found
}

#[test]
fn patterns_and_phrases() {
    let operators: Vec<Operator> = [
        ("rx", r"(?i)\bunion\s+(?:all\s+)?select\b"),
        ("rx", "^ab*c$"),
        ("rx", r"x*y+z{2,}w?"),
        ("rx", r"(?m)^b"),
        ("rx", r"\B-"),
        ("rx", r"[^a]a.{3}b"),
        ("rx", r"(?:a|b)*abb"),
        ("rx", r"\xff[\x80-\xbf]"),
        ("rx", "a.*b.*c.*d.*e"),
        ("rx", r"(?:a(?:b.*|c)|x.+)\bz"),
        ("rx", r"(?:ab.*?|aab)b.*a[^b]"),
        ("rx", r"^.*ya.*$"),
        ("rx", r"d.*\be(?:c.*)?d"),
        ("rx", r"a.*$.*b|z.*^c"),
        ("rx", "a?"),
        ("rx", r"$"),
        ("rx", r"\n\z"),
        ("pm", "ab abc B--c |00|a yz"),
        ("pm", "select"),
    ]
    .map(|(name, argument)| operator(name, argument))
    .into();
    let screen = built(&operators);
    assert_eq!(screen.candidates.len(), operators.len() - 2, "what matches without a byte is not screened");
    let mut scratch = Scratch::default();
    let mut found = 0;
    for text in
        [&b""[..], b"UNION  all select", b"abbc", b"xyzz", b"a\nb", b"a--", b"caxxxb", b"babb", b"\xff\x80", b"x\n"]
    {
        found += agree(&screen, &operators, text, &mut scratch);
    }
    assert!(found >= 9, "{found}");
    let mut seed = 5;
    for round in 0..20_000 {
        let text = noise(&mut seed, b"abcdexyzwB-\n \0\xff\x80unioselct", round % 24);
        found += agree(&screen, &operators, &text, &mut scratch);
    }
    assert!(found > 5_000, "{found}");
}

/// A pattern whose checks read on and on is decided by one ordinary search.
#[test]
fn no_text_costs_more_than_a_few_passes() {
    // The last is too large for its table, so that most answers come from elsewhere.
    let large =
        format!("a(?:{}).*x[0-9]{{1,200}}y", (0..900).map(|n| format!("{n:x}k?")).collect::<Vec<_>>().join("|"));
    let operators =
        [operator("rx", "a.*b.*c$"), operator("rx", "aa+b"), operator("pm", "aaaaaaab"), operator("rx", &large)];
    let screen = built(&operators);
    let mut scratch = Scratch::default();
    for length in [1000, 10_000, 100_000] {
        for text in [vec![b'a'; length], b"a1k".repeat(length / 3), b"a=".repeat(length / 2)] {
            let mut hits = [0];
            let work = screen.scan(&operators, &text, ByteSet::of(&text), &[0b1111], &mut hits, &mut scratch);
            assert_eq!(hits, [0]);
            assert!(work < 16 * length + 1000, "{work} for {length}");
        }
    }
}
