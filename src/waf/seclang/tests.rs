use super::ast::{Body, Directive, Selector};
use super::parse;

fn one(text: &str) -> Directive {
    let (mut directives, faults) = parse(0, text);
    assert_eq!(faults, [], "{text}");
    assert_eq!(directives.len(), 1, "{text}");
    directives.remove(0)
}

#[test]
fn targets() {
    // For each text, its targets: excluded, counted, name, selector as printed.
    type Written = (bool, bool, &'static str, &'static str);
    let table: &[(&str, &[Written])] = &[
        ("ARGS", &[(false, false, "ARGS", "")]),
        (
            "ARGS|!ARGS:foo|&TX:/a|b/",
            &[(false, false, "ARGS", ""), (true, false, "ARGS", "foo"), (false, true, "TX", "/a|b/")],
        ),
        ("XML:/*|XML://@*", &[(false, false, "XML", "/*"), (false, false, "XML", "//@*")]),
        ("ARGS:'/x y|z/'|ARGS:'a|b'", &[(false, false, "ARGS", "/x y|z/"), (false, false, "ARGS", "a|b")]),
        (r"REQUEST_COOKIES:/\x22?\x24Version/", &[(false, false, "REQUEST_COOKIES", r"/\x22?\x24Version/")]),
        (r"ARGS:/a\/b/|ARGS:json.a.0", &[(false, false, "ARGS", "/a/b/"), (false, false, "ARGS", "json.a.0")]),
    ];
    for (text, want) in table {
        let Body::Rule { targets, .. } = one(&format!("SecRule \"{text}\" \"@rx x\"")).body else { panic!("{text}") };
        let got: Vec<_> = targets
            .iter()
            .map(|t| {
                let selector = match &t.selector {
                    None => String::new(),
                    Some(Selector::Name(name)) => name.clone(),
                    Some(Selector::Regex(regex)) => format!("/{regex}/"),
                };
                (t.excluded, t.counted, t.name.clone(), selector)
            })
            .collect();
        let got: Vec<_> = got.iter().map(|(e, c, n, s)| (*e, *c, n.as_str(), s.as_str())).collect();
        assert_eq!(got, *want, "{text}");
    }
}

#[test]
fn operators() {
    for (text, negated, name, argument) in [
        ("@rx ^a b$", false, "rx", "^a b$"),
        ("!@within %{tx.a}", true, "within", "%{tx.a}"),
        ("^plain", false, "rx", "^plain"),
        ("!^plain", true, "rx", "^plain"),
        ("@detectSQLi", false, "detectSQLi", ""),
        (r#"@rx a\"b\\"#, false, "rx", r#"a"b\\"#),
        ("@endsWith (internal dummy connection)", false, "endsWith", "(internal dummy connection)"),
    ] {
        let Body::Rule { operator, .. } = one(&format!("SecRule ARGS \"{text}\"")).body else { panic!("{text}") };
        assert_eq!(
            (operator.negated, operator.name.value.as_str(), operator.argument.value.as_str()),
            (negated, name, argument),
            "{text}"
        );
    }
}

#[test]
fn actions() {
    for (text, want) in [
        ("id:1,phase:2,pass", vec![("id", Some("1")), ("phase", Some("2")), ("pass", None)]),
        (
            "msg:'a, \\'b\\' c',t:none, t:lowercase,",
            vec![("msg", Some("a, 'b' c")), ("t", Some("none")), ("t", Some("lowercase"))],
        ),
        ("setvar:'tx.a=%{TX.0}: x',chain", vec![("setvar", Some("tx.a=%{TX.0}: x")), ("chain", None)]),
        ("setvar:tx.score=+5,deny", vec![("setvar", Some("tx.score=+5")), ("deny", None)]),
        ("logdata:'a \\\"b\\\"'", vec![("logdata", Some("a \"b\""))]),
        ("ctl:ruleRemoveTargetByTag=t;ARGS:x", vec![("ctl", Some("ruleRemoveTargetByTag=t;ARGS:x"))]),
    ] {
        let Body::Actions(actions) = one(&format!("SecAction \"{text}\"")).body else { panic!("{text}") };
        let got: Vec<_> =
            actions.iter().map(|a| (a.name.value.as_str(), a.value.as_ref().map(|v| v.value.as_str()))).collect();
        assert_eq!(got, want, "{text}");
    }
}

#[test]
fn other_directives() {
    let Body::Words(words) = one("SecResponseBodyMimeType text/plain \"text/html\"").body else { panic!() };
    assert_eq!(words.iter().map(|w| w.value.as_str()).collect::<Vec<_>>(), ["text/plain", "text/html"]);
    let Body::UpdateTargets { which, targets } = one("SecRuleUpdateTargetById 920540 !ARGS_NAMES:json.profile").body
    else {
        panic!()
    };
    assert_eq!(which.value, "920540");
    assert!(targets[0].excluded);
    let Body::UpdateActions { actions, .. } = one("SecRuleUpdateActionById 1 \"deny,status:429\"").body else {
        panic!()
    };
    assert_eq!(actions.len(), 2);
}

#[test]
fn faults_name_line_and_column() {
    for (text, line, column, what) in [
        ("SecRule ARGS \"@rx a", 1, 14, "never closed"),
        ("\nSecRule ARGS \"@rx a\" \\\n  \"id:1", 3, 3, "never closed"),
        ("SecRule ARGS", 1, 1, "too few"),
        ("SecRule ARGS a b c d", 1, 18, "too many"),
        ("SecRule |ARGS \"@rx a\"", 1, 9, "name is missing"),
        ("SecRule ARGS: \"@rx a\"", 1, 14, "selector is missing"),
        ("SecRule ARGS:/a \"@rx a\"", 1, 14, "never closed"),
        ("SecRule \"ARGS,REQUEST_URI\" \"@rx a\"", 1, 14, "unexpected text after a target"),
        ("SecRule ARGS \"@rx a\" \"id:1,,deny\"", 1, 28, "name is missing"),
        ("SecRule ARGS \"@rx a\" \"id:1,msg:'x\"", 1, 32, "never closed"),
        ("SecRule ARGS \"@rx a\" \"msg:'x'y\"", 1, 30, "unexpected text in the list"),
        ("SecAction", 1, 1, "too few"),
        ("SecRule ARGS \"@rx a\"x", 1, 21, "right after a closing quote"),
    ] {
        let (_, faults) = parse(0, text);
        assert_eq!(faults.len(), 1, "{text}");
        let fault = &faults[0];
        assert!(fault.what.contains(what), "{text}: {}", fault.what);
        assert_eq!((fault.at.line, fault.at.column), (line, column), "{text}");
    }
}

#[test]
fn every_faulty_line_is_reported_and_the_others_are_read() {
    let (directives, faults) = parse(0, "SecRule ARGS\nSecRuleEngine On\nSecAction \"id:1,msg:'x\"\nSecMarker A\n");
    assert_eq!(directives.len(), 2);
    assert_eq!(faults.iter().map(|f| f.at.line).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn printing_then_parsing_gives_the_same_tree() {
    let text = r#"
SecRuleEngine On
SecRule ARGS|!ARGS:/^a|b$/|&TX:x|XML:/* "!@rx a\"b\\ \d" "id:1,phase:2,msg:'it\'s, so',t:none,chain"
SecRule TX:1 "@streq %{TX.2}"
SecAction "id:2,pass,setvar:'tx.a=b c',nolog"
SecMarker "END"
SecRuleUpdateTargetById 1-5 "!ARGS:x"
SecRuleUpdateActionById 1 "deny,status:400"
"#;
    let (first, faults) = parse(0, text);
    assert_eq!(faults, []);
    let printed: Vec<String> = first.iter().map(ToString::to_string).collect();
    let (second, faults) = parse(0, &printed.join("\n"));
    assert_eq!(faults, []);
    let again: Vec<String> = second.iter().map(ToString::to_string).collect();
    assert_eq!(printed, again);
    assert_eq!(first.len(), second.len());
    let strip = |d: &Directive| match &d.body {
        Body::Rule { operator, actions, .. } => {
            let mut parts = vec![operator.argument.value.clone()];
            parts.extend(actions.iter().filter_map(|a| a.value.as_ref().map(|v| v.value.clone())));
            parts
        }
        Body::Actions(actions) | Body::UpdateActions { actions, .. } => {
            actions.iter().map(|a| a.name.value.clone()).collect()
        }
        Body::UpdateTargets { which, .. } => vec![which.value.clone()],
        Body::Words(words) => words.iter().map(|w| w.value.clone()).collect(),
    };
    for (a, b) in first.iter().zip(&second) {
        assert_eq!(strip(a), strip(b));
    }
}
