use super::*;
use crate::field::{Case, JsonPath, MediaRange, Part, Parts};
use crate::files::Memory;
use crate::{Connection, Ruleset, Source, Transaction};

fn purpose(spec: &str) -> Arc<Purpose> {
    Arc::new(Purpose::parse(spec).unwrap())
}

fn table(named: &[(&str, &str)], other: &str, case: Case) -> Table {
    Table::new(named.iter().map(|(name, spec)| (name.as_bytes().to_vec(), purpose(spec))), purpose(other), case)
}

fn fields() -> Fields {
    let paths = [
        ("$.title", "short(50)"),
        ("$.n", "integer(1..5)"),
        ("$.status", "enum(todo, done)?"),
        ("$.text", "free(1KiB)"),
        ("$.meta.**", "free"),
        ("$.tags[*]", "short(20)"),
    ];
    let paths = paths.map(|(path, spec)| (JsonPath::parse(path).unwrap(), purpose(spec)));
    let part = Part {
        name: purpose("file-name(md, txt)"),
        types: [MediaRange::parse("text/*").unwrap()].into(),
        content: purpose("free"),
        max: Some(100),
        count: 1,
    };
    let query =
        [("id", "uuid"), ("status", "enum(todo, done)"), ("q", "short(200)"), ("u", "url(https)"), ("raw", "scored")];
    Fields {
        query: table(&query, "short(20)", Case::Matters),
        headers: table(&[("if-none-match", "etag"), ("x-any", "scored")], "short(100)", Case::Ignored).into(),
        cookies: table(&[("sid", "hex")], "cookie", Case::Matters).into(),
        form: table(&[("name", "short(50)"), ("note", "free")], "refuse", Case::Matters),
        parts: Parts::new([(b"file".to_vec(), part)], purpose("refuse")),
        json: JsonTree::build(paths.into(), &purpose("short(20)"), false).unwrap(),
        body: None,
    }
}

/// Every rule names what it has seen.
const RULES: &str = r#"
SecRuleEngine On
SecRequestBodyAccess On
SecRule REQUEST_HEADERS:Content-Type "@contains json" "id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule ARGS "@rx (?s)^(.*)$" "id:10,phase:2,pass,log,msg:'arg'"
SecRule ARGS_NAMES "@unconditionalMatch" "id:11,phase:2,pass,log,msg:'name'"
SecRule REQUEST_COOKIES "@unconditionalMatch" "id:12,phase:2,pass,log,msg:'cookie'"
SecRule FILES "@unconditionalMatch" "id:13,phase:2,pass,log,msg:'file'"
SecRule QUERY_STRING|REQUEST_URI|REQUEST_URI_RAW|REQUEST_LINE|REQUEST_BODY "@contains secret" "id:14,phase:2,pass,log,msg:'raw'"
"#;

struct Seen {
    /// `place name verdict`, but for what fits.
    notes: Vec<String>,
    /// Names of what the rules saw.
    shown: Vec<String>,
    error: Option<String>,
}

fn see(target: &str, headers: &[(&str, &str)], body: &[u8]) -> Seen {
    let source = Source { name: "t.conf".into(), text: RULES.into() };
    let (rules, _) = Ruleset::compile(&[source], &Memory::default()).unwrap();
    let mut transaction = Transaction::new(Arc::new(rules), None, Connection::nobody());
    transaction.hold_against(Arc::new(fields()));
    transaction.request_line(b"POST", target.as_bytes(), b"HTTP/1.1");
    for (name, value) in headers {
        transaction.request_header(name.as_bytes(), value.as_bytes());
    }
    transaction.request_headers_done();
    transaction.request_body(body);
    let outcome = transaction.outcome();
    let noted = transaction.field_notes().iter().filter(|note| note.verdict != FieldVerdict::Fits);
    let name = |note: &FieldNote| if note.of_name { format!("{}!", note.name) } else { note.name.clone() };
    Seen {
        notes: noted.map(|note| format!("{} {} {}", note.place, name(note), note.verdict.as_str())).collect(),
        shown: outcome.matches.iter().map(|matched| format!("{} {}", matched.msg, matched.variable)).collect(),
        error: outcome.body_error.clone(),
    }
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[test]
fn what_fits_is_hidden_and_what_does_not_is_told() {
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a [&'a str], &'a [&'a str]);
    let table: &[Case<'_>] = &[
        ("/?status=todo&q=union+select+performance&secret=1", &[], "", &[], &[]),
        // A name that the policy does not know is text too.
        ("/?<script>alert(1)</script>=1", &[], "", &["query <script>alert(1)</script>! attack"], &["name"]),
        ("/?status=secret", &[], "", &["query status misfit"], &["arg ARGS:status", "raw"]),
        ("/?status='+or+1=1--+secret", &[], "", &["query status attack"], &["arg ARGS:status", "raw"]),
        ("/?q='+or+1=1--", &[], "", &["query q attack"], &["arg ARGS:q"]),
        ("/?raw=1", &[], "", &[], &["arg ARGS:raw"]),
        ("/?u=https://a.example/x%3Fq=%3Cscript%3Ealert(1)%3C/script%3E", &[], "", &["query u"], &["arg ARGS:u"]),
        ("/?id=", &[], "", &["query id misfit"], &["arg ARGS:id"]),
        ("/", &[("If-None-Match", "\"a\", W/\"b\""), ("X-Any", "1"), ("X-New", "a b")], "", &[], &[]),
        ("/", &[("if-none-match", "'or 1=1--")], "", &["header if-none-match"], &[]),
        ("/", &[("x-new", "() { :;}; /bin/cat /etc/passwd")], "", &["header x-new attack"], &[]),
        ("/", &[("Cookie", "sid=00ff; theme=dark")], "", &[], &[]),
        ("/", &[("Cookie", "sid=zz")], "", &["cookie sid misfit"], &["cookie REQUEST_COOKIES:sid"]),
        ("/", &[form], "name=Ann&note=<script>secret", &[], &[]),
        ("/", &[form], "name=Ann&new=secret", &["form new misfit"], &["arg ARGS:new", "raw"]),
    ];
    for (target, headers, body, notes, shown) in table {
        let seen = see(target, headers, body.as_bytes());
        let same = |got: &[String], want: &[&str]| {
            want.iter().all(|want| got.iter().any(|got| got.starts_with(want))) && got.is_empty() == want.is_empty()
        };
        assert!(same(&seen.notes, notes), "{target} {headers:?} {body}: {:?}", seen.notes);
        assert!(same(&seen.shown, shown), "{target} {headers:?} {body}: {:?}", seen.shown);
    }
}

#[test]
fn documents_are_judged_as_they_are_read() {
    let long = "prose; '$(`<script> ".repeat(40);
    let padded = format!(r#"{{"meta":{{"a":["{}"]}},"n":9}}"#, "x".repeat(600_000));
    let huge = format!(r#"{{"text":"{}"}}"#, "x".repeat(2_000));
    let table: &[(&str, &[&str], &[&str], &str)] = &[
        (r#"{"title":"Fix: SELECT returns null","n":3,"status":null,"meta":{"any":[1,{"x":true}]}}"#, &[], &[], ""),
        (r#"{"n":9}"#, &["json json.n misfit"], &["arg ARGS:json.n"], ""),
        (r#"{"n":"3"}"#, &["json json.n misfit"], &["arg ARGS:json.n"], ""),
        (r#"{"n":1e999}"#, &["json json.n misfit"], &["arg ARGS:json.n"], ""),
        (r#"{"status":"doing"}"#, &["json json.status misfit"], &["arg ARGS:json.status"], ""),
        (r#"{"title":["a"]}"#, &["json json.title misfit"], &[], ""),
        (r#"{"title":{"$gt":""}}"#, &["json json.title misfit"], &[], ""),
        (r#"{"title":"' or 1=1--"}"#, &["json json.title attack"], &["arg ARGS:json.title"], ""),
        (r#"{"new":"' or 1=1--"}"#, &["json json.new attack"], &["arg ARGS:json.new"], ""),
        (r#"{"new":"a word"}"#, &[], &[], ""),
        (r#"{"<script>alert(1)</script>":"a"}"#, &["json <script>alert(1)</script>! attack"], &["name"], ""),
        (r#"{"tags":["a","' or 1=1--"]}"#, &["json json.tags.1 attack"], &["arg ARGS:json.tags.1"], ""),
        (&format!(r#"{{"text":{}}}"#, serde_text(&long)), &[], &[], ""),
        (&huge, &["json json.text misfit"], &["arg ARGS:json.text"], ""),
        (r#"{"text":"a\u0000b"}"#, &["json json.text misfit"], &["arg ARGS:json.text"], ""),
        // However much stands before it.
        (&padded, &["json json.n misfit"], &["arg ARGS:json.n"], ""),
        (r#"{"n":1,"n":2}"#, &[], &[], "a key is repeated"),
        (r#"{"n":1,"\u006e":2}"#, &[], &[], "a key is repeated"),
        (r#"{"meta":{"a":1,"b":{"a":1}}}"#, &[], &[], ""),
        (r#"{"n":1}x"#, &[], &[], "bytes after the document"),
    ];
    for (body, notes, shown, error) in table {
        let seen = see("/", &[JSON], body.as_bytes());
        let start = body.get(..80).unwrap_or(body);
        assert!(
            notes.iter().all(|want| seen.notes.iter().any(|got| got.starts_with(want))),
            "{start}: {:?}",
            seen.notes
        );
        assert_eq!(notes.is_empty(), seen.notes.is_empty(), "{start}: {:?}", seen.notes);
        assert!(
            shown.iter().all(|want| seen.shown.iter().any(|got| got.starts_with(want))),
            "{start}: {:?}",
            seen.shown
        );
        assert_eq!(shown.is_empty(), seen.shown.is_empty(), "{start}: {:?}", seen.shown);
        let told = seen.error.unwrap_or_default();
        assert!(told.contains(error) && error.is_empty() == told.is_empty(), "{start}: {told}");
    }
}

/// A JSON string.
fn serde_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[test]
fn files_are_what_they_say() {
    let multipart = ("Content-Type", "multipart/form-data; boundary=b");
    let upload = |name: &str, kind: &str, content: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n\
             {content}\r\n--b--\r\n"
        )
    };
    for (body, notes) in [
        (upload("notes (final).md", "text/markdown", "# <script>"), ""),
        (upload("notes.php", "text/markdown", "x"), "file file misfit"),
        (upload("../notes.md", "text/markdown", "x"), "file file"),
        (upload("a.md", "application/pdf", "%PDF-"), "file file misfit"),
        (upload("a.md", "text/markdown", "\x7fELF\x02"), "file file misfit"),
        (upload("a.md", "text/xml", "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'c'>]>"), "file file misfit"),
        (upload("a.md", "text/plain", &"x".repeat(101)), "file file misfit"),
        (
            upload("a.md", "text/plain", "x").replace("--b--", "") + &upload("b.md", "text/plain", "x"),
            "file file misfit",
        ),
        (upload("a.md", "text/plain", "x").replace("\"file\"", "\"other\""), "file other misfit"),
    ] {
        let seen = see("/", &[multipart], body.as_bytes());
        let first = seen.notes.first().map(String::as_str).unwrap_or_default();
        assert!(first.starts_with(notes) && first.is_empty() == notes.is_empty(), "{body}: {:?}", seen.notes);
        // The rules see names that are not what they should be, whatever the content is.
        let named = body.contains("notes.php") || body.contains("../") || body.contains("other");
        assert_eq!(named, !seen.shown.is_empty(), "{body}: {:?}", seen.shown);
    }
}

#[test]
fn the_worst_is_told_and_little_is_kept() {
    let many: Vec<String> = (0..200).map(|n| format!("n{n}=%01")).collect();
    let target = format!("/?{}&q='+or+1=1--", many.join("&"));
    let seen = see(&target, &[], b"");
    assert!(seen.notes.len() <= 2 * MOST_NOTED, "{}", seen.notes.len());
    assert!(seen.notes.iter().any(|note| note == "query q attack"), "{:?}", seen.notes.last());
    // What is too much to be read is shown to the rules.
    let text = "' or 1=1-- ".repeat(2);
    let many: Vec<String> = (0..20_000).map(|_| format!("\"{text}\"")).collect();
    let seen = see("/", &[JSON], format!("{{\"tags\":[{}]}}", many.join(",")).as_bytes());
    assert!(seen.error.unwrap().contains("SecArgumentsLimit"));
}

#[test]
fn what_refuses_is_kept_whatever_came_before() {
    let purpose = purpose("uuid");
    let mut notes = Notes::default();
    let field = Place::described(FieldPlace::Query, b"a");
    let mut note = |verdict: &FieldVerdict, times: usize| {
        (0..times).for_each(|_| notes.note(field, About { of_name: false, hidden: false }, &purpose, verdict.clone()));
        (notes.noted.len(), notes.refusal().map(|note| note.verdict.as_str()))
    };
    assert_eq!(note(&FieldVerdict::Fits, 500), (MOST_FITTING, None));
    assert_eq!(note(&FieldVerdict::Doubtful(Vec::new()), 500), (MOST_NOTED, None));
    assert_eq!(note(&FieldVerdict::Misfit("no".into()), 500), (96, Some("misfit")));
    assert_eq!(note(&FieldVerdict::Attack(Vec::new()), 500), (128, Some("attack")));
}

/// What rules count, with the fields judged and without.
#[test]
fn counts_are_those_of_the_message_whatever_is_hidden() {
    const COUNTS: &[&str] = &[
        "&ARGS",
        "&ARGS_GET",
        "&ARGS_POST",
        "&ARGS_NAMES",
        "&ARGS_POST_NAMES",
        "&ARGS:status",
        "&ARGS:json.meta.a",
        "&ARGS:/^json/",
        "&ARGS|!ARGS:q",
        "&REQUEST_COOKIES",
        "&REQUEST_COOKIES:sid",
        "&REQUEST_COOKIES_NAMES",
        "&REQUEST_HEADERS:If-None-Match",
        "&REQUEST_HEADERS",
        "&FILES",
        "&FILES_NAMES",
        "&QUERY_STRING",
        "&REQUEST_BODY",
        "ARGS_COMBINED_SIZE",
        "FILES_COMBINED_SIZE",
        "REQUEST_BODY_LENGTH",
    ];
    // Rules that count by name make the names be kept; both ways have to give the same.
    for counted in [COUNTS, &COUNTS[..5], &COUNTS[9..]] {
        let rule = |(index, target): (usize, &&str)| {
            let id = 100 + index;
            format!("SecRule {target} \"@ge 0\" \"id:{id},phase:2,pass,log,msg:'%{{MATCHED_VAR}}'\"\n")
        };
        let head = "SecRuleEngine On\nSecRequestBodyAccess On\n\
            SecRule REQUEST_HEADERS:Content-Type \"@contains json\" \
            \"id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON\"\n";
        let text = head.to_owned() + &counted.iter().enumerate().map(rule).collect::<String>();
        let source = Source { name: "t.conf".into(), text };
        let (rules, _) = Ruleset::compile(&[source], &Memory::default()).unwrap();
        let rules = Arc::new(rules);
        let count = |judged: bool, target: &str, headers: &[(&str, &str)], body: &str| -> Vec<(u64, String)> {
            let mut transaction = Transaction::new(Arc::clone(&rules), None, Connection::nobody());
            if judged {
                transaction.hold_against(Arc::new(fields()));
            }
            transaction.request_line(b"POST", target.as_bytes(), b"HTTP/1.1");
            for (name, value) in headers {
                transaction.request_header(name.as_bytes(), value.as_bytes());
            }
            transaction.request_headers_done();
            transaction.request_body(body.as_bytes());
            transaction.outcome().matches.iter().map(|matched| (matched.id, matched.msg.clone())).collect()
        };
        let form = ("Content-Type", "application/x-www-form-urlencoded");
        let multipart = ("Content-Type", "multipart/form-data; boundary=b");
        let upload = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.md\"\r\n\
            Content-Type: text/plain\r\n\r\nx\r\n--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nAnn\r\n--b--\r\n";
        let cookies = ("Cookie", "sid=00ff; theme=dark; sid=11");
        for (target, headers, body) in [
            ("/?status=todo&q=fish&new=1&q=x", &[cookies, ("If-None-Match", "\"a\""), ("X-Any", "1")][..], ""),
            ("/?status=todo", &[form], "name=Ann&note=prose&other=1"),
            ("/?status=nothing&q='+or+1=1--", &[form], "name=Ann&note=prose"),
            (
                "/?q=1",
                &[JSON],
                r#"{"title":"a","n":9,"status":null,"meta":{"a":[1,"x",{"b":[]}],"c":{}},"new":"<b>","tags":["a","b"]}"#,
            ),
            ("/", &[JSON], r#"{"<script>alert(1)</script>":"a","x;y":"' or 1=1--"}"#),
            ("/", &[JSON], "[]"),
            ("/", &[multipart], upload),
        ] {
            let (judged, plain) = (count(true, target, headers, body), count(false, target, headers, body));
            assert_eq!(judged, plain, "{target} {body}");
            assert!(plain.len() >= counted.len() - 2, "{plain:?}");
        }
    }
}

#[test]
fn the_path_is_seen_whatever_becomes_of_the_query() {
    const PATHS: &str = r#"
SecRuleEngine On
SecRule REQUEST_URI_RAW "@rx ^[^?#]*/([A-Za-z0-9+]*=)(?:[?#]|$)" "id:1,phase:2,pass,log,capture,msg:'%{TX.1}'"
SecRule REQUEST_URI_RAW "@rx ^(?:/[\w.~-]*)*/([^/?#]*[^\w.~/?#-][^/?#]*)" "id:2,phase:2,pass,log,capture,msg:'%{TX.1}'"
SecRule REQUEST_URI_RAW|REQUEST_LINE "@contains #" "id:3,phase:2,pass,log,msg:'fragment'"
SecRule REQUEST_LINE "@endsWith HTTP/1.1" "id:4,phase:2,pass,log,msg:'line'"
"#;
    let source = Source { name: "t.conf".into(), text: PATHS.into() };
    let (rules, _) = Ruleset::compile(&[source], &Memory::default()).unwrap();
    let rules = Arc::new(rules);
    for target in ["/a/JyBvciAx=?status=todo", "/a/x%27;y?status=todo", "/a?status=todo#<script>", "/a?status=todo"] {
        let see = |judged: bool| -> Vec<(u64, String)> {
            let mut transaction = Transaction::new(Arc::clone(&rules), None, Connection::nobody());
            if judged {
                transaction.hold_against(Arc::new(fields()));
            }
            transaction.request_line(b"GET", target.as_bytes(), b"HTTP/1.1");
            transaction.request_headers_done();
            transaction.request_body(b"");
            assert_eq!(judged, !transaction.emptied().is_empty());
            transaction.outcome().matches.iter().map(|matched| (matched.id, matched.msg.clone())).collect()
        };
        assert_eq!(see(true), see(false), "{target}");
        assert!(!see(true).is_empty());
    }
}
