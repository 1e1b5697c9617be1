use super::*;
use crate::policy::RouteSettings;
use crate::units::ByteSize;
use gatehouse_waf::field::json_tree::Kind;
use gatehouse_waf::field::{Expect, Purpose};

fn build(text: &str) -> Result<FieldPolicy, Vec<Fault>> {
    FieldPolicy::build(&[("p.toml".to_owned(), text.to_owned())])
}

/// The first line of each fault.
fn said(faults: Vec<Fault>) -> Vec<String> {
    faults.iter().map(|fault| fault.to_string().lines().next().unwrap().to_owned()).collect()
}

fn faults(text: &str) -> Vec<String> {
    said(build(text).unwrap_err())
}

const POLICY: &str = r#"
[policy]
name = "archon"
unknown = { query = "short(200)", cookies = "cookie", parts = "refuse" }

[headers]
accept = "media-type"
User-Agent = "user-agent"

[cookies]
"better-auth.session_token" = "cookie"

[types]
id = "uuid"
title = "short(300)"

[path_fields]
project_id = "id"

[[operation]]
path = "/api/tasks/{id}"
methods = ["GET", "PUT", "DELETE"]
content = ["application/json"]
max_body = "2MiB"
path_fields.id = "id"
query.status = "enum(todo, doing, review, done)?"
headers.if-none-match = "etag"
unknown.json = "refuse"
[operation.json]
"$.title" = "title?"
"$.description" = "free"
"$.sources[*].url" = "fetch-url"
"$.order" = "integer"

[[operation]]
path = "/api/tasks/counts"
methods = ["GET"]
name = "counts"

[[operation]]
path = "/api/{kind}/counts"
methods = ["DELETE"]
path_fields.kind = "slug"

[[operation]]
path = "/api/projects/{project_id}/docs"
methods = ["POST"]
quoted = true
json."$.n" = "integer"

[[operation]]
path = "/api/documents/upload"
methods = ["POST"]
[operation.form]
tags = "short(500)"
[operation.parts]
file = { name = "file-name(md, txt)", types = ["text/*"], content = "free", max = "50MiB", count = 5 }
other = {}

[[operation]]
path = "/files/{rest...}"
methods = ["GET"]
path_fields.rest = "short(500)"

[[operation]]
path = "/webhooks/github"
methods = ["POST"]
body = "opaque(25MiB)"
"#;

fn found<'p>(policy: &'p FieldPolicy, method: &str, path: &'p str) -> Option<Match<'p, 'p>> {
    match policy.find(&Method::from_bytes(method.as_bytes()).unwrap(), path) {
        Found::Operation(found) => Some(found),
        Found::OtherMethod(_) | Found::Unknown => None,
    }
}

#[test]
fn the_most_particular_path_takes_the_request() {
    let policy = build(POLICY).unwrap();
    for (method, path, want) in [
        ("GET", "/api/tasks/7", "GET|PUT|DELETE /api/tasks/{id} id=7"),
        ("HEAD", "/api/tasks/7", "GET|PUT|DELETE /api/tasks/{id} id=7"),
        ("GET", "/api/tasks/counts", "counts"),
        ("PUT", "/api/tasks/counts", "GET|PUT|DELETE /api/tasks/{id} id=counts"),
        ("DELETE", "/api/x/counts", "DELETE /api/{kind}/counts kind=x"),
        ("GET", "/api/x/counts", "other method"),
        ("get", "/api/tasks/7", "other method"),
        ("POST", "/api/tasks/7", "other method"),
        ("GET", "/api/tasks/", "unknown"),
        ("GET", "/api/tasks", "unknown"),
        ("GET", "/api/tasks/7/", "unknown"),
        ("GET", "/API/tasks/7", "unknown"),
        ("POST", "/api/projects/p/docs", "POST /api/projects/{project_id}/docs project_id=p"),
        ("GET", "/files/a/b/c.txt", "GET /files/{rest...} rest=a/b/c.txt"),
        ("GET", "/files/", "GET /files/{rest...} rest="),
        ("GET", "/files//x/", "GET /files/{rest...} rest=/x/"),
        ("GET", "/files", "unknown"),
        ("GET", "*", "unknown"),
        ("GET", "", "unknown"),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let got = match policy.find(&method, path) {
            Found::Operation(found) => {
                let values = found.parameters().map(|(name, value, _)| format!(" {name}={value}"));
                found.operation().name().to_owned() + &values.collect::<String>()
            }
            Found::OtherMethod(_) => "other method".to_owned(),
            Found::Unknown => "unknown".to_owned(),
        };
        assert_eq!(got, want, "{method} {path}");
    }
}

#[test]
fn a_path_tells_its_methods_and_the_rest_takes_none_of_them() {
    let operation = |path: &str, methods: &str, more: &str| {
        format!("[[operation]]\npath = '{path}'\nmethods = [{methods}]\n{more}\n")
    };
    let (id, rest) = ("path_fields.id = 'uuid'", "path_fields.rest = 'slug'");
    let all = "'GET', 'POST', 'PUT', 'DELETE', 'PURGE'";
    let text = [
        operation("/a/{id}", "'GET'", id),
        operation("/a/{id}", "'PUT'", id),
        operation("/a/new", "'POST'", ""),
        operation("/b/{rest...}", "'GET'", rest),
        operation("/{rest...}", all, rest),
    ];
    for (refuse, none) in [(false, 200), (true, 403)] {
        let default = if refuse { "[policy.unknown]\nroute = 'refuse'\n" } else { "" };
        let known = |text: &[String], method: &str, path: &str| {
            let policy = build(&format!("{default}{}", text.concat())).unwrap();
            let known = policy.known(&Method::from_bytes(method.as_bytes()).unwrap(), path);
            match known {
                Ok(known) => (200, known.operation().map(|o| o.path().to_owned()).unwrap_or_default()),
                Err(refusal) => {
                    let allow =
                        refusal.methods().unwrap_or_default().iter().map(Method::as_str).collect::<Vec<_>>().join(" ");
                    (refusal.reason.status(), allow)
                }
            }
        };
        for (method, path, status, want) in [
            ("PUT", "/a/7", 200, "/a/{id}"),
            ("HEAD", "/a/7", 200, "/a/{id}"),
            // Not what takes all that remains, whose grammar would be another's.
            ("DELETE", "/a/7", 405, "GET HEAD PUT OPTIONS"),
            ("PURGE", "/a/new", 405, "GET HEAD POST PUT OPTIONS"),
            ("PUT", "/a/new", 200, "/a/{id}"),
            ("POST", "/b/x/y", 405, "GET HEAD OPTIONS"),
            ("PURGE", "/c/x", 200, "/{rest...}"),
            ("PATCH", "/c/x", 405, "GET HEAD POST PUT DELETE PURGE OPTIONS"),
            ("OPTIONS", "/a/7", 200, ""),
            ("OPTIONS", "/c", 200, ""),
        ] {
            assert_eq!(known(&text, method, path), (status, want.to_owned()), "{method} {path}");
        }
        // What nothing describes, whatever the method.
        for method in ["GET", "OPTIONS", "PURGE"] {
            assert_eq!(known(&text[..4], method, "/c/x"), (none, String::new()), "{method}");
        }
    }
    // A path that a preflight asks about is held to what it is for.
    let policy = build(&text.concat()).unwrap();
    let preflight = policy.known(&Method::OPTIONS, "/a/7").unwrap();
    let of_path: Vec<_> = preflight.path().map(|(name, value, purpose)| (name, value, purpose.spec())).collect();
    assert_eq!(of_path, [("id", &b"7"[..], "uuid")]);
}

#[test]
fn every_field_has_its_class() {
    let policy = build(POLICY).unwrap();
    assert_eq!((policy.name(), policy.operations().len()), ("archon", 7));
    let task = found(&policy, "PUT", "/api/tasks/7").unwrap();
    let fields = task.operation().fields();
    let purpose = |purpose: &Purpose| purpose.spec().to_owned();
    for (got, want) in [
        (purpose(fields.query.purpose(b"status")), "enum(todo, doing, review, done)?"),
        (purpose(fields.query.purpose(b"q")), "short(200)"),
        (purpose(fields.headers.purpose(b"USER-AGENT")), "user-agent"),
        (purpose(fields.headers.purpose(b"If-None-Match")), "etag"),
        (purpose(fields.headers.purpose(b"X-Other")), "scored"),
        (purpose(fields.cookies.purpose(b"better-auth.session_token")), "cookie"),
        (purpose(fields.form.purpose(b"x")), "short(1024)"),
        (purpose(fields.parts.other()), "refuse"),
        (purpose(fields.json.root().member(b"title").purpose()), "short(300)?"),
        (purpose(fields.json.root().member(b"sources").item().member(b"url").purpose()), "fetch-url"),
        (purpose(fields.json.root().member(b"$where").purpose()), "refuse"),
    ] {
        assert_eq!(got, want);
    }
    assert!(task.operation().takes_content(b"application/json; charset=utf-8"));
    assert!(!task.operation().takes_content(b"text/plain") && !task.operation().takes_content(b""));
    assert_eq!(task.operation().max_body(), Some(ByteSize::mib(2)));
    assert!(!fields.json.root().member(b"order").takes(Kind::String));

    let docs = found(&policy, "POST", "/api/projects/p/docs").unwrap();
    assert!(docs.parameters().all(|(_, _, purpose)| matches!(purpose.expect(), Expect::Class(_))));
    assert!(docs.operation().fields().json.root().member(b"n").takes(Kind::String));
    assert!(docs.operation().takes_content(b"application/json") && !docs.operation().takes_content(b"text/plain"));
    // The same for all that have none of their own.
    assert!(std::ptr::eq(&*docs.operation().fields().headers, &*policy.other().headers));

    let upload = found(&policy, "POST", "/api/documents/upload").unwrap();
    let file = upload.operation().fields().parts.get(b"file").unwrap();
    assert_eq!((file.name.spec(), file.content.spec()), ("file-name(md, txt)", "free"));
    assert_eq!((file.max, file.count, file.takes(b"text/markdown")), (Some(50 << 20), 5, true));
    let other = upload.operation().fields().parts.get(b"other").unwrap();
    assert_eq!((other.name.spec(), other.content.spec(), other.max, other.count), ("file-name", "scored", None, 1));
    let types: Vec<String> = upload.operation().content().iter().map(ToString::to_string).collect();
    assert_eq!(types, ["multipart/form-data"]);

    let webhook = found(&policy, "POST", "/webhooks/github").unwrap();
    assert_eq!(webhook.operation().fields().body.as_ref().unwrap().spec(), "opaque(25MiB)");
    assert!(webhook.operation().takes_content(b"any/thing"));
    // Where nothing is said of bodies, those are taken that somebody reads.
    let counts = found(&policy, "DELETE", "/api/x/counts").unwrap();
    for read in ["application/json", "Application/Problem+JSON; a=b", "text/plain", "multipart/form-data; boundary=x"] {
        assert!(counts.operation().takes_content(read.as_bytes()), "{read}");
    }
    for unread in ["", "application/octet-stream", "image/png", "image/x+json", "application/jsonx", "json"] {
        assert!(!counts.operation().takes_content(unread.as_bytes()), "{unread}");
    }
    assert!(!policy.refuses_unknown());
    assert_eq!(policy.other().query.other().spec(), "short(200)");
    assert!(build("policy.unknown.route = 'refuse'").unwrap().refuses_unknown());
    assert!(build("[policy]").unwrap().operations().is_empty());
}

/// An operation with these lines, which begin in line 4.
fn with(lines: &str) -> String {
    format!("[[operation]]\nmethods = ['POST']\npath = '/a'\n{lines}")
}

#[test]
fn every_fault_has_a_place_and_a_mend() {
    for (text, want) in [
        // Keys and values.
        ("", "1:1: this file says nothing"),
        ("[polcy]", "1:2: unknown key \"polcy\"; did you mean \"policy\"?"),
        ("[policy]\nnmae = 'x'", "2:1: unknown key \"nmae\" in [policy]; did you mean \"name\"?"),
        (&with("querry.x = 'uuid'"), "4:1: unknown key \"querry\" in [[operation]]; did you mean \"query\"?"),
        (
            &with("[operation.parts]\nf = { nam = 'file-name' }"),
            "5:7: unknown key \"nam\" of an upload; did you mean \"name\"?",
        ),
        ("[policy]\nunknown.qery = 'free'", "2:9: unknown key \"qery\" in unknown; did you mean \"query\"?"),
        (&with("unknown.route = 'free'"), "4:9: unknown key \"route\" in unknown; the keys here are query"),
        ("[policy]\nunknown.route = 'uuid'", "2:18: a path that no operation has is either scored or refused; write"),
        ("policy = 1", "1:10: \"policy\" must be a table, not a number"),
        ("operation = {}", "1:13: \"operation\" must be a list of tables, not a table; write [[operation]]"),
        (&with("query.x = 3"), "4:7: \"x\" must be a class in quotes, not a number; write it as"),
        (
            &with("query.x.y = 'uuid'"),
            "4:7: \"x\" must be a class in quotes, not a table; write it as \"short(200)\"; a name with dots",
        ),
        (&with("max_body = 3"), "4:12: \"max_body\" must be a text in quotes, not a number"),
        (&with("quoted = 'yes'"), "4:10: \"quoted\" must be true or false, not a text"),
        (&with("content = 'x/y'"), "4:11: \"content\" must be a list of texts, not a text; write it in brackets"),
        ("[headers]\na = 'uuid'\na = 'uuid'", "3:1: this key is here for the second time; remove one"),
        ("[headers\n", "1:9: "),
        // Classes and types.
        (&with("query.x = 'uuuid'"), "4:12: there is no class `uuuid`; "),
        (&with("query.x = ' integer(1..b)'"), "4:24: "),
        (&with("query.x = \"\"\"enum\"\"\""), "4:18: "),
        (
            "[types]\ntitle = 'short(300)'\n[headers]\nx = 'titel'",
            "4:6: there is no class `titel`; did you mean the type \"title\"?",
        ),
        ("[types]\nuuid = 'hex'", "2:1: \"uuid\" is a class already; give the type a name of its own"),
        ("[types]\nenum = 'hex'", "2:1: \"enum\" is a class already; "),
        ("[types]\nA = 'hex'", "2:1: \"A\" is no name of a type; use lower-case letters"),
        ("[types]\na = 'hexx'\n[headers]\nx = 'a'\ny = 'a?'", "2:6: there is no class `hexx`; "),
        // Paths.
        ("[[operation]]\nmethods = ['GET']", "1:1: the key \"path\" is missing in [[operation]]; add a line: path = …"),
        (
            "[[operation]]\nmethods = ['GET']\npath = 'api'",
            "3:9: the path does not begin with /; write it from the root",
        ),
        (
            "[[operation]]\nmethods = ['GET']\npath = '/a/*'",
            "3:12: the path has a wildcard; write {name} for one segment",
        ),
        ("[[operation]]\nmethods = ['GET']\npath = '/a/../b'", "3:12: a dot segment; write the path without"),
        (
            "[[operation]]\nmethods = ['GET']\npath = '/a%20b'",
            "3:11: the path is not canonical: no request comes with this; write it decoded",
        ),
        (
            "[[operation]]\nmethods = ['GET']\npath = '/a/{id}'",
            "3:12: the parameter {id} has no class; add a line: path_fields.id = \"uuid\"",
        ),
        ("[[operation]]\nmethods = ['GET']\npath = '/a/{b...}'", "3:12: the parameter {b} has no class; add a line"),
        (
            "[[operation]]\nmethods = ['GET']\npath = '/{id}/{id}'\npath_fields.id = 'uuid'",
            "3:15: the parameter \"id\" is here for the second time; give each a name",
        ),
        (&with("path_fields.id = 'uuid'"), "4:13: \"id\" names no segment of the path; remove it"),
        (
            "[[operation]]\nmethods = ['GET']\npath = '/a/{task}'\npath_fields.taks = 'uuid'\npath_fields.task = 'uuid'",
            "4:13: \"taks\" names no segment of the path; did you mean \"task\"?",
        ),
        ("[path_fields]\nid = 'uuid'", "2:1: no path has a parameter {id}; remove it"),
        // Methods and bodies.
        (
            "[[operation]]\npath = '/a'",
            "1:1: the key \"methods\" is missing in [[operation]]; add a line: methods = [\"GET\"]",
        ),
        ("[[operation]]\npath = '/a'\nmethods = []", "3:1: no method is named; write those it takes"),
        (
            "[[operation]]\npath = '/a'\nmethods = ['GET', 'post']",
            "3:20: \"post\" is no method; write \"POST\": methods are case-sensitive",
        ),
        ("[[operation]]\npath = '/a'\nmethods = ['TRACE']", "3:13: TRACE is never forwarded; remove it"),
        ("[[operation]]\npath = '/a'\nmethods = ['*']", "3:13: an operation does not take every method; name those"),
        ("[[operation]]\npath = '/a'\nmethods = ['PUT', 'PUT']", "3:20: PUT is here for the second time; remove it"),
        (
            "[[operation]]\npath = '/a'\nmethods = ['GET', 'HEAD']\njson.'$' = 'free'",
            "4:1: a body is described, but GET and HEAD has none; remove it, or name",
        ),
        (
            "[[operation]]\npath = '/a'\nmethods = ['GET']\nmax_body = '1MiB'",
            "4:1: a body is described, but GET has none; remove it",
        ),
        (
            &with("content = ['application/json', 'json']"),
            "4:33: \"json\" is no media type; write it as \"application/json\"",
        ),
        (&with("content = ['text/x; q=1']"), "4:19: a media type is named without parameters; write it as"),
        (&with("content = []"), "4:1: no media type is named; "),
        (
            &with("content = ['text/plain']\njson.'$' = 'free'"),
            "4:1: json is described, but no body that has it is taken; add \"application/json\"",
        ),
        (
            &with("content = ['application/json']\nparts.f = {}"),
            "4:1: parts is described, but no body that has it is taken; add \"multipart/form-data\"",
        ),
        (&with("max_body = '2 apples'"), "4:13: \"2 apples\" is no size; write a whole number and B, KiB"),
        (&with("max_body = '0B'"), "4:13: a size of zero takes nothing; write a size above zero"),
        (&with("parts.f = { max = '1XB' }"), "4:20: \"1XB\" is no size; write"),
        (&with("parts.f = { count = 0 }"), "4:21: \"count\" must be a whole number above zero; write how many"),
        (&with("parts.f = { types = ['pdf'] }"), "4:23: \"pdf\" is no media type; write it as"),
        (&with("parts.f = 'opaque'"), "4:11: \"f\" must be a table, not a text; write it as {"),
        (
            &with("body = 'opaque'\nform.x = 'uuid'"),
            "5:1: \"body\" says that the body is one value, form that it has fields; keep one",
        ),
        // Names.
        (
            "[headers]\nAccept = 'free'\naccept = 'free'",
            "3:1: the header \"accept\" is in p.toml:2 too; remove one of them",
        ),
        ("[headers]\n'a b' = 'free'", "2:2: \"a b\" cannot be the name of a header; use letters"),
        ("[cookies]\n'a;b' = 'free'", "2:2: \"a;b\" cannot be the name of a cookie; use letters"),
        // JSON.
        (&with("json.'title' = 'free'"), "4:7: a JSON path begins with $; write it as"),
        (
            &with("[operation.json]\n'$.tasks[0].id' = 'uuid'"),
            "5:9: single items of an array cannot be told apart; write [*]",
        ),
        (
            &with("[operation.json]\n\"$.ta sk\" = 'uuid'"),
            "5:6: this character cannot stand in a plain name; write it in brackets, as ['ta sk']",
        ),
        (
            &with("[operation.json]\n'$.a' = 'uuid'\n\"$['a']\" = 'slug'"),
            "6:2: `$.a` is described for the second time (see p.toml:5); remove one",
        ),
        (
            &with("[operation.json]\n'$.a' = 'free'\n'$.a.b' = 'slug'"),
            "6:2: `$.a.b` lies below `$.a`, which is a value (free) (see p.toml:5); remove one of them, or write `$.a.**`",
        ),
    ] {
        let faults = faults(text);
        let want = format!("p.toml:{want}");
        assert!(faults.len() == 1 && faults[0].starts_with(&want), "{text}\nwant {want}\ngot  {faults:#?}");
    }
}

#[test]
fn operations_that_overlap() {
    let operation = |path: &str, methods: &str, more: &str| {
        format!("[[operation]]\npath = '{path}'\nmethods = [{methods}]\n{more}\n")
    };
    let id = "path_fields.id = 'uuid'";
    for (first, second, want) in [
        (
            operation("/a/{id}", "'GET', 'PUT'", id),
            operation("/a/{id}", "'PUT'", id),
            "6:9: PUT of this path is described in p.toml:2 too; make one operation",
        ),
        (
            operation("/a", "'GET'", ""),
            operation("/a", "'GET'", ""),
            "6:9: GET of this path is described in p.toml:2 too",
        ),
        (
            operation("/a/{id}", "'GET'", id),
            operation("/a/{x}", "'PUT'", "path_fields.x = 'uuid'"),
            "6:9: {x} is called {id} in p.toml:2, which is the same path; give the parameter one name",
        ),
        (
            operation("/a", "'GET'", "name = 'a'"),
            operation("/b", "'GET'", "name = 'a'"),
            "8:9: the name \"a\" is that of an operation in p.toml:4 too; give each",
        ),
    ] {
        let faults = faults(&(first + &second));
        assert!(faults.len() == 1 && faults[0].starts_with(&format!("p.toml:{want}")), "{faults:#?}");
    }
    let sound =
        [("/a/{id}", "'GET'", id), ("/a/{id}", "'PUT'", id), ("/a/b", "'GET'", ""), ("/a/{id...}", "'GET'", id)];
    build(&sound.map(|(path, methods, more)| operation(path, methods, more)).concat()).unwrap();
}

#[test]
fn all_faults_of_all_files_are_told_in_order() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let faults = FieldPolicy::build(&[
        file("a.toml", "[policy]\nname = 'a'\n[types]\nid = 'uuid'\nx = 'hexx'"),
        file("b.toml", "[policy]\n[types]\nid = 'hex'\n[headers]\nb = 'idd'\na = 'x'"),
        file("c.toml", "[headers]\nB = 'id'\n[[operation]]\npath = '/x/{id}'\nmethods = ['get']\nquery = 1"),
    ])
    .unwrap_err();
    let starts = [
        "a.toml:5:6: there is no class `hexx`",
        "b.toml:1:2: [policy] is in a.toml:1 too; keep one of them",
        "b.toml:3:1: the type \"id\" is in a.toml:4 too; remove one",
        "b.toml:5:6: there is no class `idd`; did you mean the type \"id\"?",
        "c.toml:2:1: the header \"B\" is in b.toml:5 too; remove one",
        "c.toml:4:12: the parameter {id} has no class",
        "c.toml:5:13: \"get\" is no method",
        "c.toml:6:9: \"query\" must be a table, not a number",
    ];
    let said = said(faults);
    assert_eq!(said.len(), starts.len(), "{said:#?}");
    assert!(said.iter().zip(starts).all(|(fault, start)| fault.starts_with(start)), "{said:#?}");

    // What a file that cannot be read may have named is not told to be missing elsewhere.
    let faults = FieldPolicy::build(&[
        file("a.toml", "[types]\nid = 'uuid'\nx = "),
        file("b.toml", "[[operation]]\npath = '/a/{id}'\nmethods = ['GET']\nquery.x = 'id'\nquery.y = 'integer(3'"),
    ])
    .unwrap_err();
    let said = super::tests::said(faults);
    assert!(said[0].starts_with("a.toml:3:") && said.len() == 2, "{said:#?}");
    assert!(said[1].starts_with("b.toml:5:"), "{said:#?}");
}

#[test]
fn operations_that_no_request_reaches() {
    let route = |name: &str, path: &str, refuse| RouteSettings {
        name: name.to_owned(),
        path: path.to_owned(),
        refuse,
        ..RouteSettings::default()
    };
    let routes = Policy::build(&[
        route("internal", "/internal/", true),
        route("open", "/internal/open", false),
        route("deep", "/internal/deep/er/", false),
        route("debug", "/debug", true),
    ])
    .unwrap();
    for (path, reached) in [
        ("/internal", false),
        ("/internal/keys", false),
        ("/internal/open", true),
        ("/internal/{name}", true),
        ("/internal/{a}/x", false),
        ("/internal/{a}/{b}", true),
        ("/internal/{a}/{b}/{c}", true),
        ("/internal/deep/{b}/{c}", true),
        ("/internal/deep/{b}", true),
        ("/internal/deep/er/{b}", true),
        ("/internal/{rest...}", true),
        ("/debug", false),
        ("/debug/x", true),
        ("/api/{name}", true),
        ("/{name}/open", true),
    ] {
        let names: String = ["name", "a", "b", "c", "rest"]
            .iter()
            .filter(|name| path.contains(&format!("{{{name}")))
            .map(|name| format!("path_fields.{name} = 'slug'\n"))
            .collect();
        let policy = build(&format!("[[operation]]\nmethods = ['GET']\npath = '{path}'\n{names}")).unwrap();
        let faults = said(policy.unreachable(&routes));
        assert_eq!(faults.is_empty(), reached, "{path} {faults:?}");
        assert!(faults.iter().all(|fault| fault.starts_with("p.toml:3:9: no request reaches this operation: route ")));
    }
}

#[test]
fn the_example_of_the_manual_builds() {
    let lines = include_str!("mod.rs").lines().skip_while(|line| *line != "//! ```toml").skip(1);
    let example: Vec<&str> =
        lines.take_while(|line| *line != "//! ```").map(|line| line.trim_start_matches("//!")).collect();
    let policy = build(&example.join("\n")).unwrap_or_else(|faults| panic!("{:#?}", said(faults)));
    let task = found(&policy, "PUT", "/api/tasks/7").unwrap().operation();
    assert_eq!((example.len() > 30, task.name()), (true, "task"));
}

#[test]
fn a_hostile_file_is_bounded() {
    let many = "[[operation]]\npath = 'x'\n".repeat(20_000);
    let faults = build(&many).unwrap_err();
    assert_eq!(faults.len(), 1_000);
}
