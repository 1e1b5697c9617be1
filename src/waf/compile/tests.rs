use crate::files::Memory;
use crate::{Connection, Ruleset, Source, Transaction};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

fn source(text: &str) -> Source {
    Source { name: "r/own.conf".to_owned(), text: text.to_owned() }
}

/// What is said of a text, a line each, without the lines it quotes.
fn said(text: &str, files: &Memory) -> Vec<String> {
    let found = match Ruleset::compile(&[source(text)], files) {
        Ok((_, warnings)) => warnings,
        Err(faults) => faults,
    };
    found.iter().map(|d| d.to_string().lines().next().unwrap_or_default().to_owned()).collect()
}

/// The ids that a GET of `/?a=x` logs.
fn logged(text: &str) -> Vec<u64> {
    let (rules, _) = Ruleset::compile(&[source(text)], &Memory::default()).unwrap();
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let connection = Connection {
        client: local,
        client_port: 1,
        server: local,
        server_port: 2,
        unique_id: String::new(),
        now: SystemTime::UNIX_EPOCH,
    };
    let mut transaction = Transaction::new(Arc::new(rules), Some(crate::Mode::DetectionOnly), connection);
    transaction.request_line(b"GET", b"/?a=x", b"HTTP/1.1");
    transaction.request_headers_done();
    transaction.request_body(b"");
    transaction.finish();
    transaction.outcome().matches.iter().map(|m| m.id).collect()
}

#[test]
fn faults_name_place_and_mend() {
    let files = Memory::default().with("r/loop.conf", "Include loop.conf").with("r/words", "a\nb\n");
    for (text, want) in [
        ("SecRul ARGS x", "r/own.conf:1:1: unknown directive \"SecRul\"; did you mean \"SecRule\"?"),
        ("SecRule ARGS \"@rx x\" \"phase:2\"", "r/own.conf:1:1: this rule has no id; add id:NUMBER to its actions"),
        ("SecRule ARGS \"@rxx x\" \"id:1\"", "r/own.conf:1:15: there is no operator @rxx; did you mean @rx?"),
        ("SecRule ARGS \"@pmFromFile none\" \"id:1\"", "cannot read r/none"),
        ("Include loop.conf", "loop.conf"),
        ("Include gone.conf", "gone.conf"),
        ("SecRule !ARGS:a \"@rx x\" \"id:1\"", "looks at nothing"),
        ("SecRule ARGS \"@rx x\" \"id:1,chain\"", "this chain has no next rule"),
        (
            "SecRule ARGS \"@rx x\" \"id:1,chain\"\nSecRule ARGS \"@rx y\" \"deny\"",
            "a chained rule cannot have a disruptive",
        ),
        ("SecDefaultAction \"phase:1,block\"", "block cannot be its own default"),
        ("SecDefaultAction \"phase:1,pass,t:none\"", "SecDefaultAction cannot set this"),
        ("SecRule ARGS \"@pm %{tx.a}\" \"id:1\"", "cannot take a macro"),
        ("SecRule REMOTE_ADDR \"@rbl x.example\" \"id:1\"", "never matches"),
        ("SecRule GEO:COUNTRY_CODE \"@rx x\" \"id:1\"", "GEO is always empty"),
        ("SecRequestBodyLimit many", "write a whole number from 1"),
        ("SecRuleScript x.lua", "SecRuleScript is not supported; rules run no programs"),
        ("SecAction \"id:1,skipAfter:NOWHERE\"", "no SecMarker \"NOWHERE\" follows"),
        ("SecRuleRemoveById 5", "no rule is named by \"5\""),
        ("SecAction \"pass\"", "this SecAction has no id"),
        ("SecAction \"id:1,msg:'%{nope}'\"", "names no variable"),
    ] {
        let said = said(text, &files);
        assert!(said.iter().any(|line| line.contains(want)), "{text}: {said:#?}");
    }
    assert_eq!(said("SecRule ARGS \"@pmFromFile words\" \"id:1\"", &files), [""; 0]);
}

#[test]
fn every_fault_of_a_file_is_found_at_once() {
    let text = "SecRul x\nSecRule ARGZ \"@rx (\" \"id:1,phase:9\"\nSecRule ARGS \"@rx x\" \"id:2,deny";
    let lines: Vec<usize> =
        Ruleset::compile(&[source(text)], &Memory::default()).unwrap_err().iter().map(|d| d.line).collect();
    assert_eq!((lines.first(), lines.last()), (Some(&1), Some(&3)));
    assert!(lines.iter().filter(|line| **line == 2).count() >= 2, "{lines:?}");
}

#[test]
fn defaults_exclusions_and_markers() {
    for (text, want) in [
        // A later default takes the place of an earlier one; a rule's own t:none empties the default's list.
        ("SecDefaultAction \"phase:2,nolog,pass\"\nSecRule ARGS \"@rx x\" \"id:1\"", &[][..]),
        ("SecDefaultAction \"phase:2,log,pass,t:uppercase\"\nSecRule ARGS \"@rx x\" \"id:1\"", &[]),
        ("SecDefaultAction \"phase:2,log,pass,t:uppercase\"\nSecRule ARGS \"@rx x\" \"id:1,t:none\"", &[1]),
        // Exclusions hold for rules before and after them, by id, range, tag and message.
        ("SecRuleRemoveById 1 3-4\nSecAction \"id:1\"\nSecAction \"id:2\"\nSecAction \"id:3\"", &[2]),
        ("SecAction \"id:1,tag:a/b\"\nSecAction \"id:2,tag:a\"\nSecRuleRemoveByTag a", &[1]),
        ("SecAction \"id:1,tag:a/b\"\nSecAction \"id:2,tag:c\"\nSecRuleRemoveByTag /^A/", &[2]),
        ("SecAction \"id:1,msg:'one two'\"\nSecAction \"id:2\"\nSecRuleRemoveByMsg \"one two\"", &[2]),
        ("SecRule ARGS \"@rx x\" \"id:1\"\nSecRuleUpdateTargetById 1 !ARGS:a", &[]),
        ("SecRule ARGS \"@rx x\" \"id:1\"\nSecRuleUpdateTargetById 1 !ARGS:/^(?!b)/", &[]),
        ("SecRule ARGS:b \"@rx x\" \"id:1\"\nSecRuleUpdateTargetById 1 ARGS_GET", &[1]),
        ("SecRule ARGS \"@rx x\" \"id:1\"\nSecRuleUpdateActionById 1 nolog", &[]),
        // Markers end jumps in every phase; skip counts rules of its own phase.
        ("SecAction \"id:1,nolog,skipAfter:END\"\nSecAction \"id:2\"\nSecMarker END\nSecAction \"id:3\"", &[3]),
        (
            "SecAction \"id:1,nolog,skip:1\"\nSecAction \"id:2,phase:1\"\nSecAction \"id:3\"\nSecAction \"id:4\"",
            &[2, 4],
        ),
        // A pattern with a macro is compiled for the request.
        ("SecAction \"id:1,nolog,setvar:tx.p=[w-y]\"\nSecRule ARGS \"@rx ^%{tx.p}$\" \"id:2\"", &[2]),
        ("SecAction \"id:1,nolog,setvar:tx.p=(\"\nSecRule ARGS \"@rx ^%{tx.p}$\" \"id:2\"", &[]),
        // A dot selects as a colon does.
        ("SecAction \"id:1,nolog,setvar:tx.y=1\"\nSecRule TX.y \"@eq 1\" \"id:2\"", &[2]),
    ] {
        assert_eq!(logged(text), want, "{text}");
    }
}
