//! `gatehouse policy`.

use std::process::{Command, Output};
use tempfile::TempDir;

fn policy(dir: &TempDir, arguments: &[&str]) -> (Option<i32>, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .arg("policy")
        .args(arguments)
        .current_dir(dir.path())
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn with(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[test]
fn files_are_checked_and_shown() {
    let operation = "[[operation]]\npath = '/a/{id}'\nmethods = ['PUT']\nmax_body = '2MiB'\nquery.q = 'short(9)'\n";
    let more = "path_fields.id = 'id'\n[operation.json]\n'$.x[*]' = 'uuid'\n";
    let dir = with(&[("types.toml", "[types]\nid = 'hex(4..8)'\n"), ("a.toml", &format!("{operation}{more}"))]);
    assert_eq!(policy(&dir, &["check", "."]), (Some(0), "ok, 1 operation\n".to_owned()));
    let (code, said) = policy(&dir, &["show", "PUT", "//a/%62c?q=1", "a.toml", "types.toml"]);
    assert_eq!(code, Some(0));
    for line in [
        "PUT /a/{id}\n",
        "  path id = hex(4..8)  (here \"bc\")\n",
        "  content application/json\n  max_body 2MiB\n",
        "  query q = short(9)\n  query (any other) = short(1024)\n",
        "  header (any other) = scored\n",
        "  json $.x[*] = uuid\n",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    for (method, path, line) in [
        ("GET", "/a/b", "operations of this path take other methods: PUT, OPTIONS\n"),
        ("OPTIONS", "/a/b", "operations of this path take other methods: PUT, OPTIONS\n  path id = hex(4..8)"),
        ("GET", "/b", "no operation has this path"),
        ("GET", "/a/%00", "every request for this is refused"),
    ] {
        assert!(policy(&dir, &["show", method, path, "."]).1.starts_with(line), "{method} {path}");
    }
}

#[test]
fn faults_name_the_place_and_the_mend() {
    let dir =
        with(&[("a.toml", "[types]\nid = 'uuuid'\n"), ("b.toml", "[[operation]]\npath = '/a'\nmethods = ['get']\n")]);
    let (code, said) = policy(&dir, &["check", "a.toml", "b.toml"]);
    assert_eq!(code, Some(1));
    for line in [
        "error: a.toml:2:7: there is no class `uuuid`; did you mean `uuid`?\n    id = 'uuuid'\n          ^\n",
        "error: b.toml:3:13: \"get\" is no method; write \"GET\": methods are case-sensitive\n",
        "2 faults found",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert!(policy(&dir, &["check", "none.toml"]).1.contains("none.toml"));
}

#[test]
fn a_draft_builds() {
    let yaml = "openapi: 3.1.0\ninfo: {title: T}\npaths:\n  /a/{b}:\n    get:\n      parameters:\n        \
                - {name: b, in: path, required: true, schema: {type: string, format: uuid}}\n";
    let dir = with(&[("api.yaml", yaml), ("bad.json", "{\"openapi\": 3")]);
    let (code, said) = policy(&dir, &["from-openapi", "api.yaml"]);
    assert!(code == Some(0) && said.contains("path = \"/a/{b}\""), "{said}");
    assert_eq!(policy(&dir, &["from-openapi", "api.yaml", "--out", "t.toml"]), (Some(0), String::new()));
    assert_eq!(std::fs::read_to_string(dir.path().join("t.toml")).unwrap(), said);
    assert_eq!(policy(&dir, &["check", "t.toml"]), (Some(0), "ok, 1 operation\n".to_owned()));
    // It would be a person's work that is lost.
    assert_eq!(policy(&dir, &["from-openapi", "api.yaml", "--out", "t.toml"]).0, Some(1));
    assert_eq!(policy(&dir, &["from-openapi", "bad.json"]).0, Some(1));
}
