//! Groups, proposals and proofs over rules and a policy on disk.

use super::*;
use std::path::Path;
use tempfile::TempDir;

const RULES: &str = "SecRuleEngine On\n\
    SecRule ARGS \"@contains evil\" \"id:1,phase:2,deny,status:403,t:none,log,msg:'evil'\"\n\
    SecRule ARGS \"@contains worse\" \"id:2,phase:2,deny,status:403,t:none,log,msg:'worse'\"\n";
const POLICY: &str = "[policy]\nunknown = { query = \"scored\" }\n[[operation]]\npath = \"/items\"\nmethods = [\"GET\"]\n\
                      query.n = \"integer\"\n";

struct Tuned {
    proposals: Vec<String>,
    unsolved: Vec<String>,
    together: Option<Together>,
    dir: TempDir,
    written: Vec<String>,
}

/// An event as the gate writes it; `hits` are rules and the parameters they found.
fn event(client: &str, target: &str, hits: &[(u64, &str, &str)], misfits: &[&str]) -> String {
    let rules: Vec<_> = hits
        .iter()
        .map(|(id, name, value)| {
            serde_json::json!({ "id": id, "matched": { "variable": format!("ARGS:{name}"), "value": value } })
        })
        .collect();
    let fields: Vec<_> =
        misfits.iter().map(|name| serde_json::json!({ "place": "query", "name": name, "verdict": "misfit" })).collect();
    serde_json::json!({
        "action": "block", "rules": rules, "request": { "headers": { "accept": "*/*" } }, "client": { "ip": client },
        "http": { "request": { "method": "GET" } }, "url": { "domain": "h", "original": target },
        "gatehouse": { "route": "r", "findings": [{ "reason": "request_rules" }], "fields": fields },
    })
    .to_string()
}

fn tuned(events: &[String], suite: &[&str]) -> Tuned {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("own.conf"), RULES).unwrap();
    std::fs::write(dir.path().join("own.toml"), POLICY).unwrap();
    let exclusions = dir.path().join("tuned.conf");
    let path = |name: &str| vec![dir.path().join(name)];
    let setup = Setup::read(None, &path("own.conf"), &path("own.toml"), Some(&exclusions)).unwrap();
    let bench = setup.bench().unwrap();
    let mut reading = Reading::default();
    reading.add(events.join("\n").as_bytes()).unwrap();
    assert_eq!(reading.records.len(), events.len());
    let request =
        |target: &&str| (format!("GET {target} HTTP/1.1\r\nhost: h\r\naccept: */*\r\n\r\n").into_bytes(), None);
    let suite = prove::attacks(&bench, suite.iter().map(request));
    let groups = cluster::groups(&reading.records, |record| setup::site(&bench, record));
    let (proposals, unsolved) = look(&setup, &bench, &reading.records, &groups, &suite, 3);
    let together = together(&setup, &bench, &reading.records, &proposals, &suite);
    let written = accept(&setup, &bench, &chosen(&proposals, &[]).unwrap()).unwrap();
    let said = |p: &Proposal| {
        let change = match &p.change {
            Change::Class(class) => class.clone(),
            Change::Exclude(rules) => format!("{:?}", rules.iter().map(|(id, _)| *id).collect::<Vec<_>>()),
        };
        let (removed, lost, detections) = (p.proof.removed, p.proof.lost, p.proof.detections);
        let warned = if p.warnings.is_empty() { "" } else { " !" };
        format!("{} {}: {change} removes {removed}, loses {lost} of {detections}{warned}", p.group.site, p.group.field)
    };
    Tuned {
        proposals: proposals.iter().map(said).collect(),
        unsolved: unsolved.iter().map(|u| format!("{} {}: {}", u.group.site, u.group.field, u.why)).collect(),
        together,
        dir,
        written,
    }
}

fn text(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap_or_default()
}

#[test]
fn values_of_a_grammar_widen_the_class() {
    let events: Vec<String> =
        (1..=4).map(|n| event(&format!("192.0.2.{n}"), &format!("/items?n={n}.5"), &[], &["n"])).collect();
    let tuned = tuned(&events, &["/items?n=evil", "/?x=evil"]);
    assert!(
        tuned.proposals[0].starts_with("GET /items query n: number removes 4, loses 0 of "),
        "{:?}",
        tuned.proposals
    );
    assert_eq!(text(tuned.dir.path(), "own.toml"), POLICY.replace("\"integer\"", "\"number\""));
    assert_eq!(tuned.written.len(), 1);
}

#[test]
fn an_exclusion_is_of_one_rule_one_field_and_one_path() {
    let events: Vec<String> =
        (1..=3).map(|n| event(&format!("192.0.2.{n}"), "/a?q=not+evil", &[(1, "q", "not evil")], &[])).collect();
    let tuned = tuned(&events, &["/a?q=evil", "/a?r=evil", "/b?q=evil", "/a?q=worse"]);
    assert_eq!(tuned.proposals.len(), 1);
    assert!(tuned.proposals[0].starts_with("GET /a query q: [1] removes 3, loses 1 of "), "{:?}", tuned.proposals);
    let together = Together { changes: 1, replayed: 3, removed: 3, detections: 4, lost: 1 };
    assert_eq!(tuned.together, Some(together));
    let rule = "SecRule REQUEST_FILENAME \"@streq /a\" \"id:90000,phase:1,pass,nolog,t:none,ctl:ruleRemoveTargetById=1;ARGS:q\"";
    assert!(text(tuned.dir.path(), "tuned.conf").contains(rule));
}

#[test]
fn who_is_alone_gets_a_warning_and_nothing_is_written() {
    let events: Vec<String> = (0..9).map(|_| event("198.51.100.1", "/a?q=evil", &[(1, "q", "evil")], &[])).collect();
    let tuned = tuned(&events, &[]);
    assert!(tuned.proposals[0].ends_with(" !"), "{:?}", tuned.proposals);
    assert_eq!((tuned.together, tuned.written), (None, vec!["nothing to write".to_owned()]));
    assert_eq!(text(tuned.dir.path(), "tuned.conf"), "");
}

#[test]
fn requests_refused_for_two_fields_need_both_changes_or_get_none() {
    let both =
        |n: usize| event(&format!("192.0.2.{n}"), "/a?q=evil&r=worse", &[(1, "q", "evil"), (2, "r", "worse")], &[]);
    let tuned_both = tuned(&(1..=3).map(both).collect::<Vec<_>>(), &[]);
    assert_eq!(tuned_both.proposals.len(), 2, "{:?}", tuned_both.unsolved);
    let together = tuned_both.together.unwrap();
    assert_eq!((together.replayed, together.removed), (3, 3));
    // The second field is nothing that a rule could name.
    let one = |n: usize| {
        event(&format!("192.0.2.{n}"), "/a?q=evil&r%22=worse", &[(1, "q", "evil"), (2, "r\"", "worse")], &[])
    };
    let tuned_one = tuned(&(1..=3).map(one).collect::<Vec<_>>(), &[]);
    assert!(tuned_one.proposals.is_empty(), "{:?}", tuned_one.proposals);
    assert!(tuned_one.unsolved[0].contains("refused for other fields too"), "{:?}", tuned_one.unsolved);
}

/// Attack values prove nothing in a request that is refused for another field whatever stands in this one.
#[test]
fn attacks_are_put_into_a_request_that_nothing_else_refuses() {
    let code = "/items?n=def+f(x):%0A++return+(x);%0A%23+a+program+of+some+words%0Aprint(f(1))";
    let mut events = vec![event("192.0.2.9", &format!("{code}&q=evil"), &[(1, "q", "evil")], &["n"])];
    events.extend((1..=3).map(|n| event(&format!("192.0.2.{n}"), code, &[], &["n"])));
    let tuned = tuned(&events, &[]);
    let free = tuned.proposals.iter().find(|said| said.contains("query n: free(64KiB) removes 3")).unwrap();
    assert!(!free.contains("loses 0 of"), "{free}");
}

#[test]
fn what_loses_detections_in_other_fields_is_told() {
    let dir = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Setup::read(None, &[path], &[], None).unwrap().bench().unwrap()
    };
    let before = write("a.conf", RULES);
    // As if the rule had been taken out whole.
    let after = write("b.conf", &RULES.replace("contains evil", "contains nothing"));
    let raw = |query: &str| format!("GET /?{query} HTTP/1.1\r\nhost: h\r\n\r\n").into_bytes();
    let field = field::Field::of_note("query", "q").unwrap();
    for (query, lost, elsewhere) in [("q=evil", 1, 0), ("r=evil", 0, 2), ("q=worse", 0, 0), ("q=worse&r=evil", 0, 1)] {
        let attacks = prove::attacks(&before, [(raw(query), None)]);
        let proof = prove::prove(&after, &field, &[raw("q=evil")], attacks.iter());
        assert_eq!((proof.lost, proof.elsewhere.len()), (lost, elsewhere), "{query}: {proof:?}");
    }
}
