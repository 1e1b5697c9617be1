use crate::files::Memory;
use crate::{
    Connection, Disruption, Interruption, MAX_LOGGED_BYTES, Mode, Outcome, Ruleset, Source, Step, Trace, Transaction,
};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

fn compiled(text: &str) -> Arc<Ruleset> {
    let source = Source { name: "own.conf".to_owned(), text: text.to_owned() };
    Arc::new(Ruleset::compile(&[source], &Memory::default()).unwrap_or_else(|f| panic!("{text}: {f:#?}")).0)
}

fn begin(rules: &Arc<Ruleset>) -> Transaction {
    let connection = Connection {
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        client_port: 1,
        server: IpAddr::V4(Ipv4Addr::LOCALHOST),
        server_port: 2,
        unique_id: "u".to_owned(),
        now: SystemTime::UNIX_EPOCH,
    };
    Transaction::new(rules.clone(), Some(Mode::On), connection)
}

fn send(transaction: &mut Transaction, target: &str, body: &[u8]) -> Option<Interruption> {
    transaction.request_line(b"POST", target.as_bytes(), b"HTTP/1.1");
    transaction.request_header(b"Host", b"h");
    transaction.request_header(b"Content-Type", b"application/x-www-form-urlencoded");
    transaction.request_headers_done().or_else(|| transaction.request_body(body))
}

fn outcome(text: &str, target: &str, body: &[u8]) -> Outcome {
    let mut transaction = begin(&compiled(text));
    if send(&mut transaction, target, body).is_none() {
        transaction.response_line(200, b"HTTP/1.1");
        transaction.response_header(b"Content-Type", b"text/html");
        transaction.response_headers_done();
        transaction.response_body(b"secret");
    }
    transaction.finish();
    transaction.outcome().clone()
}

fn ids(outcome: &Outcome) -> Vec<u64> {
    outcome.matches.iter().map(|m| m.id).collect()
}

#[test]
fn every_matching_value_counts_even_if_the_chain_fails() {
    let text = "SecRule ARGS \"@rx x\" \"id:1,phase:2,pass,nolog,setvar:tx.n=+1,chain\"\n\
                SecRule ARGS \"@rx never\" \"t:none\"\n\
                SecRule TX:n \"@eq 2\" \"id:2,phase:2,pass,msg:'%{tx.n} of %{MATCHED_VAR_NAME}'\"";
    let outcome = outcome(text, "/?a=x&b=y", b"c=xx");
    assert_eq!(ids(&outcome), [2]);
    assert_eq!(outcome.matches[0].msg, "2 of TX:n");
}

#[test]
fn a_variable_of_tx_counts_beside_values_of_the_message_whoever_sets_it_and_when() {
    let rules = |early: &str, between: &str| {
        format!(
            "SecRule ARGS:early \"@rx .\" \"id:1,phase:1,pass,nolog,setvar:tx.{early}=evil\"\n\
             SecRule ARGS|TX:extra \"@contains evil\" \"id:2,phase:2,pass,log\"\n\
             SecRule ARGS:late \"@rx (.*)\" \"id:3,phase:2,pass,nolog,capture,setvar:tx.{between}=evil\"\n\
             SecRule ARGS|TX:extra|!ARGS:x \"@contains evil\" \"id:4,phase:2,pass,log\"\n\
             SecRule ARGS|TX:extra \"!@contains evil\" \"id:5,phase:2,pass,log\""
        )
    };
    for (early, between) in [("extra", "extra"), ("other", "extra"), ("extra", "%{tx.1}")] {
        let text = rules(early, between);
        let first = early == "extra";
        for (target, want) in [
            ("/", vec![]),
            ("/?x=evil", vec![2]),
            ("/?y=evil", vec![2, 4]),
            ("/?y=good", vec![5]),
            ("/?early=1", if first { vec![2, 4, 5] } else { vec![5] }),
            ("/?late=extra", vec![4, 5]),
        ] {
            assert_eq!(ids(&outcome(&text, target, b"")), want, "{early} {between} {target}");
        }
    }
}

#[test]
fn a_chain_takes_its_status_from_its_last_link_and_its_message_from_its_head() {
    let text = "SecRule ARGS \"@rx (x)(y)?\" \"id:1,phase:2,deny,capture,msg:'%{tx.0}-%{tx.1}-%{tx.2}',chain\"\n\
                SecRule MATCHED_VAR \"@streq x\" \"status:418\"";
    let outcome = outcome(text, "/?a=x", b"");
    assert_eq!(outcome.interruption, Some(Interruption { action: Disruption::Deny, status: 418, rule_id: 1 }));
    assert_eq!(outcome.matches[0].msg, "x-x-");
}

#[test]
fn a_long_match_is_logged_in_part_and_read_whole() {
    let whole = format!("a{}-{}z", "b".repeat(900), "c".repeat(3000));
    let body = format!("v=xx{whole}");
    for reader in [
        "SecRule TX:0 \"@endsWith ccz\" \"id:2,phase:2,pass\"",
        "SecRule TX:1 \"@rx ^b{900}$\" \"id:2,phase:2,pass\"",
        "SecAction \"id:3,phase:2,pass,nolog,setvar:tx.kept=%{tx.0}\"\nSecRule TX:kept \"@endsWith ccz\" \"id:2,phase:2,pass\"",
    ] {
        let rule = "SecRule ARGS:v \"@rx a(b+)-.*\" \"id:1,phase:2,pass,capture,msg:'%{TX.0}'\"";
        let outcome = outcome(&format!("{rule}\n{reader}"), "/", body.as_bytes());
        assert_eq!(ids(&outcome), [1, 2], "{reader}");
        assert_eq!(Some(&*outcome.matches[0].msg), whole.get(..MAX_LOGGED_BYTES), "{reader}");
    }
}

#[test]
fn the_control_actions_hold_from_the_next_rule_on() {
    for (control, want) in [
        ("ctl:ruleRemoveById=2", vec![3]),
        ("ctl:ruleRemoveById=2-9", vec![]),
        ("ctl:ruleRemoveByTag=t", vec![2]),
        ("ctl:ruleRemoveTargetById=2;ARGS:a", vec![3]),
        ("ctl:ruleRemoveTargetByTag=t;ARGS:/^A$/", vec![2]),
        ("ctl:ruleEngine=Off", vec![]),
        ("allow:phase", vec![]),
        ("t:none", vec![2, 3]),
    ] {
        let text = format!(
            "SecAction \"id:1,phase:2,nolog,pass,{control}\"\nSecRule ARGS \"@rx x\" \"id:2,phase:2,pass\"\n\
             SecRule ARGS \"@rx x\" \"id:3,phase:2,pass,tag:t\""
        );
        let text = text.replace("pass,allow", "allow");
        assert_eq!(ids(&outcome(&text, "/?a=x", b"")), want, "{control}");
    }
}

#[test]
fn how_a_transaction_ends() {
    for (action, ended, later) in [
        ("deny", Some((403, Disruption::Deny)), vec![1, 9]),
        ("deny,status:451", Some((451, Disruption::Deny)), vec![1, 9]),
        ("drop", Some((403, Disruption::Drop)), vec![1, 9]),
        (
            "redirect:'https://%{REQUEST_HEADERS.host}/x'",
            Some((302, Disruption::Redirect("https://h/x".into()))),
            vec![1, 9],
        ),
        ("allow", None, vec![1, 9]),
        ("allow:request", None, vec![1, 4, 9]),
        ("pass", None, vec![1, 2, 4, 9]),
    ] {
        let text = format!(
            "SecResponseBodyAccess On\nSecRule ARGS \"@rx x\" \"id:1,phase:1,{action}\"\nSecAction \"id:2,phase:2,pass\"\n\
             SecRule RESPONSE_BODY \"@rx secret\" \"id:4,phase:4,pass\"\nSecAction \"id:9,phase:5,pass\""
        );
        let outcome = outcome(&text, "/?a=x", b"");
        let got = outcome.interruption.as_ref().map(|i| (i.status, i.action.clone()));
        assert_eq!((got, ids(&outcome)), (ended, later), "{action}");
    }
}

#[test]
fn a_body_without_files_over_its_limit_is_the_rules_to_judge_and_refused_at_last() {
    let limit = "SecRequestBodyNoFilesLimit 8\n";
    let judged = format!(
        "{limit}SecRule REQBODY_ERROR \"!@eq 0\" \"id:1,phase:2,deny,status:400,msg:'%{{REQBODY_ERROR_MSG}}'\""
    );
    let outcome_of = |text: &str| outcome(text, "/", b"a=1234567890");
    let by_rule = outcome_of(&judged);
    assert_eq!(by_rule.interruption.map(|i| (i.status, i.rule_id)), Some((400, 1)));
    assert!(by_rule.matches[0].msg.contains("exceeds 8 bytes (SecRequestBodyNoFilesLimit)"));
    assert_eq!(outcome_of(limit).interruption.map(|i| (i.status, i.rule_id)), Some((413, 0)));
    let partly = format!(
        "{limit}SecRequestBodyLimitAction ProcessPartial\nSecRule ARGS:a \"@streq 123456\" \"id:1,phase:2,pass\""
    );
    let partly = outcome_of(&partly);
    assert_eq!((partly.interruption.as_ref(), ids(&partly)), (None, vec![1]));
    let whole = outcome_of("SecRequestBodyLimit 8\n");
    assert_eq!(whole.interruption.map(|i| i.status), Some(413));
    assert!(whole.body_error.unwrap().contains("SecRequestBodyLimit"));
}

#[test]
fn a_transaction_that_costs_too_much_is_interrupted() {
    let text = "SecGatehouseWorkLimit 1048576\nSecRule ARGS \"@rx never|x{9}y\" \"id:1,phase:2,pass\"";
    let body = format!("a={}", "x".repeat(2 << 20));
    let text = format!("SecRequestBodyNoFilesLimit 10000000\n{text}\nSecAction \"id:2,phase:2,pass\"");
    let outcome = outcome(&text, "/", body.as_bytes());
    assert!(outcome.exhausted);
    assert_eq!(outcome.interruption.map(|i| (i.status, i.rule_id)), Some((413, 0)));
}

#[test]
fn a_transaction_that_tolerates_its_limit_goes_on() {
    let rules = compiled(
        "SecGatehouseWorkLimit 1048576\nSecRequestBodyNoFilesLimit 10000000\n\
         SecRule ARGS \"@rx never|x{9}y\" \"id:1,phase:2,deny\"",
    );
    let body = format!("a={}", "x".repeat(2 << 20));
    let mut transaction = begin(&rules);
    transaction.tolerate_exhaustion();
    assert_eq!(send(&mut transaction, "/", body.as_bytes()), None);
    assert!(transaction.outcome().exhausted && transaction.outcome().interruption.is_none());
}

#[test]
fn costs_tell_who_read_how_much() {
    let rules = compiled(
        "SecRule ARGS \"@rx a[0-9]+z\" \"id:1,phase:2,pass,t:none,t:lowercase\"\n\
         SecRule ARGS \"@rx q\" \"id:2,phase:2,pass\"\nSecRule ARGS \"@contains 5\" \"id:3,phase:2,pass\"",
    );
    let mut transaction = begin(&rules);
    send(&mut transaction, "/", b"");
    assert_eq!(transaction.costs(), crate::Costs::default(), "nobody has asked");
    let mut transaction = begin(&rules);
    transaction.count_costs();
    send(&mut transaction, &format!("/?x={}", "A1".repeat(500)), b"");
    let costs = transaction.costs();
    let of = |id: u64| costs.rules.iter().find(|(rule, _)| *rule == id).map_or(0, |(_, bytes)| *bytes);
    assert!(costs.transformations >= 1000 && of(3) >= 1000, "{costs:?}");
    assert_eq!(of(2), 0, "no value holds what its pattern needs: {costs:?}");
}

#[test]
fn persistent_collections_outlive_a_transaction() {
    let rules = compiled(
        "SecAction \"id:1,phase:1,nolog,pass,initcol:ip=%{REMOTE_ADDR},setvar:ip.n=+1\"\n\
         SecRule IP:n \"@ge 3\" \"id:2,phase:1,deny,status:429\"",
    );
    let ended: Vec<_> = (0..4).map(|_| send(&mut begin(&rules), "/", b"").map(|i| i.status)).collect();
    assert_eq!(ended, [None, None, Some(429), Some(429)]);
}

#[test]
fn a_trace_tells_what_was_seen_and_set() {
    let rules = compiled("SecRule ARGS \"!@streq good\" \"id:1,phase:2,pass,t:none,t:lowercase,setvar:tx.score=+5\"");
    let mut transaction = begin(&rules);
    transaction.trace(Trace::Matches);
    send(&mut transaction, "/?a=GOOD&b=BAD", b"");
    let steps = transaction.take_trace();
    assert_eq!(
        steps,
        [
            Step::Set { rule: 1, name: "score".into(), before: None, after: Some("5".into()) },
            Step::Looked {
                rule: 1,
                link: 0,
                variable: "ARGS:b".into(),
                before: b"BAD".to_vec(),
                transformations: vec!["lowercase"],
                after: b"bad".to_vec(),
                operator: "!@streq good".into(),
                matched: true,
            },
        ]
        .into_iter()
        .rev()
        .collect::<Vec<_>>()
    );
    let mut transaction = begin(&rules);
    transaction.trace(Trace::Rule(1));
    send(&mut transaction, "/?a=GOOD", b"");
    assert!(matches!(transaction.take_trace().as_slice(), [Step::Looked { matched: false, .. }]));
}

/// What phase 1 does for every request alike is done beforehand; no request may tell.
#[test]
fn the_prelude_leaves_what_its_rules_would() {
    let text = "
        SecRule REQUEST_HEADERS:X \"@streq a\" \"id:1,phase:1,pass,log,msg:'a',ctl:ruleRemoveById=7\"
        SecRule &TX:a \"@eq 0\" \"id:2,phase:1,pass,nolog,setvar:tx.a=1\"
        SecRule TX:a \"@eq 2\" \"id:3,phase:1,pass,nolog,setvar:tx.b=wrong,chain\"
            SecRule REQUEST_URI \"@contains /\" \"setvar:tx.b=wrong\"
        SecRule TX:a \"@eq 1\" \"id:4,phase:1,pass,nolog,setvar:tx.c=+%{tx.a},skipAfter:END\"
        SecAction \"id:5,phase:1,pass,nolog,setvar:tx.c=wrong\"
        SecMarker END
        SecRule REQUEST_HEADERS:X \"@rx .\" \"id:6,phase:1,pass,log,msg:'b',logdata:'%{MATCHED_VAR}'\"
        SecAction \"id:10,phase:1,pass,nolog,setvar:tx.f=1\"
        SecAction \"id:7,phase:1,pass,nolog,setvar:tx.d=1\"
        SecAction \"id:8,phase:1,pass,nolog,setvar:tx.e=%{tx.d}\"
        SecAction \"id:9,phase:1,pass,log,msg:'%{MATCHED_VAR} %{tx.c}'\"";
    let rules = compiled(text);
    let prelude = rules.prelude.as_ref().unwrap();
    // Rule 7 may be taken out by rule 1, so it has to wait for the request.
    let between = (0..10).filter(|at| prelude.between.contains(*at)).collect::<Vec<_>>();
    assert_eq!((prelude.end, between), (7, vec![0, 5]));
    for header in [&b"a"[..], b"b", b""] {
        let [known, without] = [true, false].map(|planned| {
            let mut transaction = begin(&rules);
            if !planned {
                transaction.unscreened();
            }
            transaction.request_line(b"GET", b"/", b"HTTP/1.1");
            if !header.is_empty() {
                transaction.request_header(b"X", header);
            }
            transaction.request_headers_done();
            let tx = ["a", "b", "c", "d", "e"].map(|name| transaction.tx_var(name).map(<[u8]>::to_vec));
            (transaction.outcome().clone(), tx)
        });
        assert_eq!(known, without);
        let d = (header != b"a").then(|| b"1".to_vec());
        let e = d.clone().unwrap_or_default();
        assert_eq!(known.1, [Some(b"1".to_vec()), None, Some(b"1".to_vec()), d, Some(e)]);
        let messages: Vec<&str> = known.0.matches.iter().map(|m| m.msg.as_str()).collect();
        let all: &[&str] = match header {
            b"a" => &["a", "b", "a 1"],
            b"b" => &["b", "b 1"],
            _ => &["1 1"],
        };
        assert_eq!(messages, all);
    }
    assert!(compiled("SecRule ARGS \"@rx a\" \"id:1,phase:1,pass,setvar:tx.a=1\"").prelude.is_none());
}
