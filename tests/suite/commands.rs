//! `gatehouse rules`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

fn rules(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatehouse")).arg("rules").args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_core_rules_pass_their_tests_in_both_modes() {
    let output = rules(&["test", "--cross-check", &text(&root().join("rules/tests"))]);
    assert!(output.status.success(), "{}", said(&output));
    let stages: usize = said(&output).split(' ').next().unwrap().parse().unwrap();
    assert!(stages > 1_300, "{stages} stages only");
}

#[test]
fn the_core_rule_set_passes_its_tests_in_both_modes() {
    let Ok(crs) = std::env::var("GATEHOUSE_CRS_DIR").map(PathBuf::from) else {
        println!("skipped: GATEHOUSE_CRS_DIR is not set");
        return;
    };
    let tests = crs.join("tests");
    if !tests.is_dir() {
        println!("skipped: {} holds no tests", crs.display());
        return;
    }
    let setup = crs.join("crs-setup.conf.example");
    let conformance = root().join("config/conformance");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(crs.join("rules")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "conf"));
    files.sort();
    let mut arguments = vec!["test".to_owned(), text(&tests), "--cross-check".to_owned(), "--overrides".to_owned()];
    arguments.push(text(&conformance.join("crs-overrides.yaml")));
    arguments.push("--rules".to_owned());
    arguments.extend([text(&setup), text(&conformance.join("crs-tests.conf"))]);
    arguments.extend(files.iter().map(|path| text(path)));
    let output = rules(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    println!("{}", said(&output).lines().last().unwrap_or_default());
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn debians_package_loads_and_blocks_classic_attacks() {
    let setup = Path::new("/etc/modsecurity/crs/crs-setup.conf");
    let Ok(folder) = std::fs::read_dir("/usr/share/modsecurity-crs/rules") else {
        println!("skipped: the package modsecurity-crs is not installed");
        return;
    };
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "conf"));
    files.sort();
    files.insert(0, setup.to_owned());
    let files: Vec<String> = files.iter().map(|path| text(path)).collect();
    for (query, refused) in [
        ("q=1%27%20UNION%20SELECT%20a,b%20FROM%20users--", true),
        ("q=%3Cscript%3Ealert(1)%3C/script%3E", true),
        ("q=../../../../etc/passwd", true),
        ("q=;cat%20/etc/passwd", true),
        ("q=the+weather+in+Lisbon", false),
    ] {
        let command = format!("curl 'http://localhost/?{query}'");
        let mut arguments = vec!["explain", "--curl", &command, "--rules"];
        arguments.extend(files.iter().map(String::as_str));
        let output = rules(&arguments);
        let answer = said(&output).lines().last().unwrap_or_default().to_owned();
        let want = if refused { "answer: 403 by rule 949110" } else { "answer: let through" };
        assert_eq!(answer, want, "{query}: {}", said(&output));
    }
}

#[test]
fn a_failing_test_shows_what_the_rule_saw() {
    let dir = TempDir::new().unwrap();
    let own = dir.path().join("own.conf");
    let rule = r#"SecRule ARGS "@contains evil" "id:7,phase:2,deny,status:418,t:none,t:lowercase,t:trim,msg:'no'""#;
    std::fs::write(&own, rule).unwrap();
    let tests = dir.path().join("7.yaml");
    let stage = |query: &str, output: &str| {
        format!("stages: [{{input: {{uri: \"/?{query}\", headers: {{Host: h}}}}, output: {{{output}}}}}]")
    };
    let file = |expected: &str| {
        format!(
            "rule_id: 7\ntests:\n  - test_id: 1\n    {}\n  - test_id: 2\n    {}\n",
            stage("a=EVIL", "status: 418, log: {expect_ids: [7]}"),
            stage("a=+Good", expected)
        )
    };
    std::fs::write(&tests, file("log: {no_expect_ids: [7]}")).unwrap();
    let arguments = ["test", tests.to_str().unwrap(), "--rules", own.to_str().unwrap()];
    let output = rules(&arguments);
    assert!(output.status.success(), "{}", said(&output));
    std::fs::write(&tests, file("log: {expect_ids: [7]}")).unwrap();
    let output = rules(&arguments);
    assert_eq!(output.status.code(), Some(1));
    for part in [
        "FAIL 7-2 (detect): rule 7 is missing",
        "ARGS:a = \" Good\"",
        "t:lowercase,t:trim -> \"good\"",
        "@contains evil",
    ] {
        assert!(said(&output).contains(part), "{part} is not in\n{}", said(&output));
    }
    let output = rules(&["test", tests.to_str().unwrap(), "--rules", own.to_str().unwrap(), "--only", "7-1"]);
    assert!(output.status.success() && said(&output).starts_with("1 stages"), "{}", said(&output));
    assert_eq!(rules(&["test", dir.path().join("none").to_str().unwrap()]).status.code(), Some(1));
}

#[test]
fn a_check_names_every_fault_and_its_mend() {
    let dir = TempDir::new().unwrap();
    for (name, line, part) in [
        ("quote", "SecRule ARGS \"@rx x\" \"id:1,phase:2,deny", "quote.conf:1:22: this quote is never closed"),
        ("file", "SecRule ARGS \"@pmFromFile gone.data\" \"id:1,phase:2,deny\"", "gone.data"),
        (
            "again",
            "SecAction \"id:1,phase:1,pass\"\nSecAction \"id:1,phase:1,pass\"",
            "again.conf:2:12: the id 1 is taken",
        ),
        ("circle", "Include circle.conf", "circle.conf:1:9:"),
        ("regex", "SecRule ARGS \"@rx (\" \"id:1,phase:2,deny\"", "unclosed group"),
        ("name", "SecRule ARGZ \"@rx x\" \"id:1,phase:2,deny\"", "did you mean \"ARGS\"?"),
    ] {
        let path = dir.path().join(format!("{name}.conf"));
        std::fs::write(&path, line).unwrap();
        let output = rules(&["check", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(said(&output).contains(part), "{part} is not in\n{}", said(&output));
    }
    let path = dir.path().join("warned.conf");
    let odd = "SecRule ARGS \"@rx (?=a)\\w\" \"id:1,phase:2,deny\"\nSecRuleRemoveByTag nobody\n\
               SecRule ARGS_POST \"@rx x\" \"id:2,phase:1,deny\"\n\
               SecRule ARGS \"@contains Evil\" \"id:3,phase:2,deny,t:none,t:lowercase\"\n";
    std::fs::write(&path, odd).unwrap();
    let output = rules(&["check", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    for part in [
        "warned.conf:2:20: no rule is named by \"nobody\"",
        "warned.conf:3:9: ARGS_POST has no value before phase 2",
        "warned.conf:4:25: @contains compares with letters that t:lowercase has changed",
        "outside what runs in linear time, run with limits: rules 1",
    ] {
        assert!(said(&output).contains(part), "{part} is not in\n{}", said(&output));
    }
}

#[test]
fn large_rule_sets_load_and_oversized_data_is_refused() {
    let dir = TempDir::new().unwrap();
    let many: String = (1..=20_000)
        .map(|n| format!("SecRule ARGS:a{n} \"@streq {n}\" \"id:{n},phase:2,deny,t:none,t:lowercase\"\n"))
        .collect();
    let path = dir.path().join("many.conf");
    std::fs::write(&path, many).unwrap();
    let output = rules(&["check", path.to_str().unwrap()]);
    assert!(output.status.success() && said(&output).starts_with("ok: 2000"), "{}", said(&output));
    // A file of 200 MB without its bytes on disk.
    let data = std::fs::File::create(dir.path().join("huge.data")).unwrap();
    data.set_len(200 << 20).unwrap();
    let path = dir.path().join("huge.conf");
    std::fs::write(&path, "SecRule ARGS \"@pmFromFile huge.data\" \"id:1,phase:2,deny\"").unwrap();
    let output = rules(&["check", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("huge.conf:1:27:") && said(&output).contains("64 MiB"), "{}", said(&output));
}

#[test]
fn an_explanation_shows_the_match_and_the_sum() {
    let output = rules(&["explain", "--curl", "curl 'https://h/?q=1%27%20UNION%20SELECT%20password%20FROM%20users--'"]);
    assert!(output.status.success(), "{}", said(&output));
    for part in ["UNION SELECT", "ARGS:q = \"1' UNION SELECT", "inbound_score: 0 -> 5", "answer: 403 by rule"] {
        assert!(said(&output).contains(part), "{part} is not in\n{}", said(&output));
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .args(["rules", "explain", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"GET /hello HTTP/1.1\nHost: h\nUser-Agent: me\nAccept: */*\n\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(said(&output).ends_with("answer: let through\n"), "{}", said(&output));
    let output = rules(&["explain", "--curl", "curl h/?q=x", "--rule", "1003010"]);
    assert!(said(&output).contains("does not match"), "{}", said(&output));
    let output = rules(&["explain", "--curl", "curl 'h/"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_bench_prints_a_line_for_each_request() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("own.conf");
    std::fs::write(&path, "SecRuleEngine On\nSecRule ARGS \"@rx evil\" \"id:7,phase:2,deny,status:418\"").unwrap();
    let mut packed = Vec::new();
    let text = |packed: &mut Vec<u8>, text: &str| {
        packed.extend_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
        packed.extend_from_slice(text.as_bytes());
    };
    for (id, uri) in [("good", "/?a=b"), ("bad", "/?a=evil")] {
        text(&mut packed, id);
        text(&mut packed, "GET");
        text(&mut packed, uri);
        packed.extend_from_slice(&1u32.to_le_bytes());
        text(&mut packed, "Host");
        text(&mut packed, "h");
        text(&mut packed, "");
    }
    let requests = dir.path().join("work.pack");
    std::fs::write(&requests, &packed).unwrap();
    let arguments = ["bench", path.to_str().unwrap(), requests.to_str().unwrap(), "0.01"];
    let output = rules(&arguments);
    let lines: Vec<serde_json::Value> = said(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["rules"], 1);
    assert_eq!((&lines[1]["status"], &lines[1]["rules"]), (&0.into(), &"".into()));
    assert_eq!((&lines[2]["status"], &lines[2]["rules"]), (&418.into(), &"7".into()));
    assert!(lines[2]["n"].as_u64().unwrap() >= 3 && lines[2]["p50"].as_f64().unwrap() > 0.0);
    packed.pop();
    packed.pop();
    std::fs::write(&requests, &packed).unwrap();
    let output = rules(&arguments);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn explain_tells_what_each_field_is_for_and_what_the_rules_do_not_see() {
    let dir = TempDir::new().unwrap();
    let policy = dir.path().join("fields.toml");
    std::fs::write(
        &policy,
        "[policy.unknown]\nquery = 'short(50)'\n[[operation]]\npath = '/a/{id}'\nmethods = ['GET', 'PUT']\n\
         max_body = '1KiB'\npath_fields.id = 'uuid'\nquery.status = 'enum(todo, done)'\nquery.raw = 'scored'\n\
         [operation.json]\n'$.text' = 'free'\n'$.n' = 'integer(0..9)'\n",
    )
    .unwrap();
    let policy = policy.to_str().unwrap();
    let id = "2f1e9c1a-7d2b-4c69-9a5d-0a6a3f1b2c3d";
    let explain = |command: &str| said(&rules(&["explain", "--policy", policy, "--curl", command]));
    for (command, lines) in [
        (
            format!("curl 'http://h/a/{id}?status=todo&new=fish' -H 'X-A: b'"),
            &[
                "operation GET|PUT /a/{id}\n",
                "  path id = uuid [typed]: fits\n",
                "  query status = enum(todo, done) [typed]: fits; the rules do not see it\n",
                "  query new = short(50) [not described]: fits; the rules do not see it\n",
                "  header X-A = scored [not described]: fits\n",
                "  nothing of these fields in REQUEST_URI, REQUEST_URI_RAW, REQUEST_LINE, QUERY_STRING\n",
                "answer: let through\n",
            ][..],
        ),
        (
            format!("curl 'http://h/a/{id}?raw=1&status=doing'"),
            &[
                "  query raw = scored: fits\n",
                "  query status = enum(todo, done) [typed]: misfit, ",
                "answer: 422 before",
            ],
        ),
        (
            format!(
                "curl -X PUT 'http://h/a/{id}' -H 'Content-Type: application/json' \
                 -d '{{\"text\":\"<script>alert(1)</script>\",\"n\":1}}'"
            ),
            &["  json json.text = free: fits; the rules do not see it\n", "answer: let through\n"],
        ),
        (
            format!("curl -X PUT 'http://h/a/{id}' -H 'Content-Type: text/plain' -d x"),
            &["answer: 415 before any verdict, the operation does not take"],
        ),
        (
            format!("curl -X PUT 'http://h/a/{id}' -H 'Content-Type: application/json' -d '{}'", "1".repeat(1025)),
            &["answer: 413 before any verdict, the operation takes bodies of at most 1024 bytes"],
        ),
        (
            format!("curl -X DELETE 'http://h/a/{id}'"),
            &["answer: 405 before any verdict, no operation of this path takes it, only GET, HEAD, PUT, OPTIONS"],
        ),
        ("curl 'http://h/b?q=1'".to_owned(), &["no operation\n", "  query q = short(50) [not described]: fits"]),
    ] {
        let output = explain(&command);
        for line in lines {
            assert!(output.contains(line), "{command}\n{line}\n{output}");
        }
    }
    let faulty = rules(&["explain", "--policy", "none.toml", "--curl", "curl http://h/"]);
    assert_eq!(faulty.status.code(), Some(1));
    assert!(said(&faulty).contains("none.toml"));
}
