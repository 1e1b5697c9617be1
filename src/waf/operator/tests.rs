//! The manual's examples, the reference vectors (where `GATEHOUSE_SECLANG_VECTORS` names their folder), and what every
//! operator keeps on bytes of any kind.

use super::*;
use crate::transform::vectors::{noise, unescape};

fn compile(name: &str, argument: &str) -> Result<Operator, OperatorFault> {
    Operator::compile(name, argument, &mut |file| match file {
        "phrases.data" => Ok(b"# list\nunion select\r\n".to_vec()),
        "addresses.txt" => Ok(b"10.0.0.0/8 # inside\n\n2001:db8::1,192.0.2.1".to_vec()),
        _ => Err("no such file".to_owned()),
    })
}

#[test]
fn each_operator_matches_what_it_should() {
    let table: &[(&str, &str, &[u8], bool)] = &[
        ("RX", "a.c", b"xa\ncx", true),
        ("pm", "foo bar", b"a BAR", true),
        ("pmf", "phrases.data", b"UNION SELECT", true),
        ("pmFromFile", "phrases.data", b"list", false),
        ("streq", "a b", b"a b", true),
        ("strmatch", "b", b"abc", true),
        ("within", "GET,POST", b"POST", true),
        ("eq", "1", b"1x", true),
        ("lt", "0", b" -7", true),
        ("gt", "99999999999999999999", b"999999999999999999999999", false),
        ("ge", "99999999999999999999", b"999999999999999999999999", true),
        ("le", "-99999999999999999999", b"-999999999999999999999999", true),
        ("validateByteRange", "32-36, 38-126", b"a%", true),
        ("validateByteRange", "32-36, 38-126", b"a b", false),
        ("validateUrlEncoding", "", b"%4", true),
        ("validateUtf8Encoding", "", b"\xED\xA0\x80", true),
        ("validateUtf8Encoding", "", b"\xC0\xAF", true),
        ("validateUtf8Encoding", "", b"\xF4\x90\x80\x80", true),
        ("validateUtf8Encoding", "", "é€😀".as_bytes(), false),
        ("ipMatch", "10.0.0.0/8,::1", b"::1", true),
        ("ipMatchFromFile", "addresses.txt", b"192.0.2.1", true),
        ("ipMatchF", "addresses.txt", b"11.0.0.0", false),
        ("detectSQLi", "", b"1' or '1'='1", true),
        ("detectXSS", "", b"<script>", true),
        ("unconditionalMatch", "", b"", true),
        ("noMatch", "", b"x", false),
    ];
    let mut captures = Captures::new();
    for (name, argument, value, expected) in table {
        let operator = compile(name, argument).unwrap();
        for want in [false, true] {
            let got = operator.matches(value, want, &mut captures);
            assert_eq!(got, *expected, "@{name} {argument} on {}", value.escape_ascii());
            assert!(captures.is_empty() || (want && got), "@{name}");
        }
    }
}

#[test]
fn macros_where_the_argument_is_compared() {
    let mut captures = Captures::new();
    for (name, expanded, value) in [
        ("streq", "abc", "abc"),
        ("within", "x,abc", "abc"),
        ("ge", "5", "7"),
        ("endsWith", "c", "abc"),
        ("rx", "^a.c$", "abc"),
    ] {
        let operator = compile(name, "%{tx.allowed}").unwrap();
        assert!(operator.has_macro() && operator.takes_macro());
        assert!(operator.matches_expanded(value.as_bytes(), expanded.as_bytes(), false, &mut captures), "@{name}");
        assert!(!operator.matches_expanded(value.as_bytes(), b"99", false, &mut captures), "@{name}");
    }
    for name in ["rxGlobal", "pm", "ipMatch", "validateByteRange", "pmFromFile"] {
        let fault = compile(name, "^%{tx.allowed}$").unwrap_err();
        assert!(fault.what.contains("macro"), "@{name}: {fault}");
    }
    for (text, expected) in [
        ("%{2}", false),
        ("%{a-b}", true),
        ("%{REQUEST_HEADERS.X-Y}z", true),
        ("%{", false),
        ("%{a b}", false),
        ("%%{a}", true),
    ] {
        assert_eq!(has_macro(text), expected, "{text}");
    }
}

#[test]
fn an_operator_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Operator>();
}

#[test]
fn a_fault_names_the_mend() {
    for (name, argument, what, mend) in [
        ("rx", "(", "@rx: ", "PCRE"),
        ("contians", "a", "no operator", "@contains"),
        ("inspectFile", "x", "run a program", "behind"),
        ("pmFromFile", "missing.data", "missing.data", "file"),
        ("pmFromFile", "https://example.org/a", "remote", "fetch"),
        ("ipMatch", "10.0.0.999", "10.0.0.999", "CIDR"),
        ("validateByteRange", "1-300", "1-300", "255"),
        ("pm", "", "phrase", "one"),
    ] {
        let fault = compile(name, argument).unwrap_err();
        assert!(fault.what.contains(what) && fault.mend.contains(mend), "@{name}: {fault}");
    }
}

#[test]
fn any_bytes_and_captures_of_the_value() {
    let operators: Vec<Operator> = OPERATORS
        .iter()
        .map(|(name, maker)| {
            let argument = match maker {
                Maker::Rx | Maker::RxGlobal => r"(\w+)=?(['\x22<%])|(.)\x00",
                Maker::Identity(_) => r"\d{2,}",
                Maker::PmFromFile => "phrases.data",
                Maker::IpMatchFromFile => "addresses.txt",
                Maker::IpMatch => "10.0.0.0/8",
                Maker::ByteRange => "0-127",
                _ => "or 1",
            };
            compile(name, argument).unwrap()
        })
        .collect();
    let all: Vec<u8> = (0..=255).collect();
    let alphabets: [&[u8]; 3] = [&all, b"'\"<>/= \tor1-;#*()selctunio\0%", b"0123456789-. :"];
    let (mut seed, mut captures) = (11, Captures::new());
    for round in 0..600 {
        let value = noise(&mut seed, alphabets[round % 3], round % 80);
        for operator in &operators {
            let quiet = operator.matches(&value, false, &mut captures);
            assert!(captures.is_empty());
            assert_eq!(
                operator.matches(&value, true, &mut captures),
                quiet,
                "@{} {}",
                operator.name(),
                value.escape_ascii()
            );
            for group in (0..captures.len()).filter_map(|n| captures.get(n)) {
                let inside = group.is_empty() || value.windows(group.len()).any(|window| window == group);
                assert!(inside || operator.name() == "detectSQLi", "@{} {}", operator.name(), value.escape_ascii());
            }
        }
    }
}

/// Vectors that we do not follow: name, argument, why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("ipMatch", "10.0.0.0/100", "refused when loaded: no block of IPv4 has 100 bits"),
    ("validateByteRange", "xxx", "refused when loaded: the reference reads it as 0 and hides the mistake"),
];

/// Of `@rxGlobal` the vectors list the first groups, not always all.
fn compare(expected: &[&str], groups: &[String], begins: bool) -> bool {
    expected == groups || begins && groups.len() > expected.len() && expected == &groups[..expected.len()]
}

#[test]
fn reference_vectors() {
    let Some(folder) = std::env::var_os("GATEHOUSE_SECLANG_VECTORS") else {
        eprintln!("skipped: GATEHOUSE_SECLANG_VECTORS does not name the folder of the vectors");
        return;
    };
    let folder = std::path::Path::new(&folder).join("language/operators");
    let mut data = |name: &str| {
        let file = name.rsplit('/').next().unwrap_or_default();
        std::fs::read(folder.join("op").join(file)).map_err(|error| error.to_string())
    };
    let (mut failures, mut followed) = (Vec::new(), 0);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let vectors: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for vector in vectors {
            let text = |key: &str| vector[key].as_str().unwrap_or_default().to_owned();
            let (name, argument, input) = (text("name"), text("param"), unescape(&text("input")));
            let mut captures = Captures::new();
            let outcome = Operator::compile(&name, &argument, &mut data).map(|operator| {
                let matched = operator.matches(&input, true, &mut captures);
                let groups: Vec<String> = (0..captures.len())
                    .map(|n| String::from_utf8_lossy(captures.get(n).unwrap_or_default()).into_owned())
                    .collect();
                let expected: Option<Vec<&str>> = vector["re_groups"]
                    .as_array()
                    .map(|groups| groups.iter().map(|group| group.as_str().unwrap()).collect());
                matched == (vector["ret"] == 1)
                    && expected.is_none_or(|expected| compare(&expected, &groups, name == "rxGlobal"))
            });
            let excepted = EXCEPTIONS.iter().any(|(n, a, _)| *n == name && *a == argument);
            match (&outcome, excepted) {
                (Ok(true), false) => followed += 1,
                (Err(_) | Ok(false), true) => {}
                _ => failures
                    .push(format!("@{name} {argument:?} on {:?}: {outcome:?}", input.escape_ascii().to_string())),
            }
        }
    }
    assert!(failures.is_empty(), "{} fail, {followed} pass:\n{}", failures.len(), failures.join("\n"));
    assert!(followed > 3900, "only {followed} vectors in {}", folder.display());
}
