//! No secret is written anywhere: one is planted in every place where clients and replicas put them, in requests that
//! are refused for every kind of reason, under rules that log all they see; then the audit file, the log and every
//! answer are searched.

use crate::harness::{Answer, Gate, H1, Replica, until};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Rules that log whatever they are shown, in all ways that rules can: values, captures, captures of captures, macros in
/// messages and tags.
const SPIES: &str = r#"
SecRule REQUEST_HEADERS|REQUEST_COOKIES|ARGS|ARGS_NAMES|REQUEST_LINE|REQUEST_URI|QUERY_STRING|REQUEST_BODY|FULL_REQUEST|REMOTE_USER "@rx ^(.*)$" \
    "id:1,phase:2,pass,log,capture,t:none,msg:'seen %{MATCHED_VAR}',logdata:'%{TX.1} found within %{MATCHED_VAR_NAME}',tag:'%{MATCHED_VAR}'"
SecRule REQUEST_HEADERS "@rx (?s)(.{4,})$" "id:2,phase:1,pass,log,capture,msg:'part %{TX.1}',logdata:'%{TX.0}',chain"
    SecRule TX:1 "@rx .(.*)." "t:none,t:urlDecodeUni,t:lowercase,capture"
SecRule REQUEST_HEADERS:Authorization "@rx ^Basic (.*)" "id:3,phase:1,pass,log,capture,msg:'basic',chain"
    SecRule TX:1 "@rx (.*)" "t:none,t:base64Decode,capture,logdata:'%{MATCHED_VAR}'"
SecRule ARGS|REQUEST_COOKIES "@rx (.{6,})" "id:4,phase:2,pass,log,capture,t:none,t:urlDecodeUni,msg:'%{TX.1}',logdata:'%{TX.0}',chain"
    SecRule TX:0 "@rx .(.*)" "capture"
SecRule RESPONSE_HEADERS "@rx (.*)" "id:5,phase:3,pass,log,capture,msg:'%{TX.1}',logdata:'%{MATCHED_VAR}'"
SecRule RESPONSE_HEADERS:X-Refuse "@streq yes" "id:6,phase:3,deny,status:403,log,msg:'refused answer'"
SecRule ARGS:refuse "@streq rule" "id:7,phase:2,deny,status:403,log,msg:'told to'"
"#;

const POLICY: &str = r#"
[policy.unknown]
query = "scored"
json = "scored"
form = "scored"
[[operation]]
path = "/policed"
methods = ["POST"]
query.n = "integer(1..5)"
content = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"]
"#;

/// A request that is put together.
#[derive(Clone, Default)]
struct Draft {
    method: &'static str,
    /// In place of a path, for targets of other forms.
    target: String,
    query: Vec<String>,
    fields: Vec<String>,
    host: String,
    kind: &'static str,
    body: String,
}

impl Draft {
    fn raw(&self) -> String {
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query.join("&")) };
        let fields: String = self.fields.iter().map(|field| format!("{field}\r\n")).collect();
        let kind = if self.kind.is_empty() { String::new() } else { format!("content-type: {}\r\n", self.kind) };
        let length = if fields.contains("content-length") {
            String::new()
        } else {
            format!("content-length: {}\r\n", self.body.len())
        };
        format!(
            "{} {}{query} HTTP/1.1\r\nhost: {}\r\nuser-agent: suite\r\n{fields}{kind}{length}\r\n{}",
            self.method, self.target, self.host, self.body
        )
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02x}")).collect()
}

/// Puts a secret into a request.
type Plant = fn(&mut Draft, &str);
/// Makes of a request one that is refused.
type Spoil = fn(&mut Draft);

/// Where a secret is planted.
fn places() -> Vec<(&'static str, Plant)> {
    fn json(draft: &mut Draft, body: String) {
        (draft.kind, draft.body) = ("application/json", body);
    }
    vec![
        ("basic", |d, s| d.fields.push(format!("authorization: Basic {}", STANDARD.encode(format!("ann:{s}"))))),
        ("bearer", |d, s| d.fields.push(format!("Authorization: bearer {s}"))),
        ("other scheme", |d, s| d.fields.push(format!("proxy-authorization: Digest username=\"a\", response=\"{s}\""))),
        ("spaced name", |d, s| d.fields.push(format!("authorization : Bearer {s}"))),
        ("cookie", |d, s| d.fields.push(format!("cookie: theme=dark; sid={s}; x=1"))),
        ("encoded cookie", |d, s| d.fields.push(format!("cookie: data=%7B%22id%22%3A%22{s}%22%7D"))),
        ("quoted cookie", |d, s| d.fields.push(format!("cookie: sid=\"a {s} <b>\""))),
        ("api key", |d, s| d.fields.push(format!("x-api-key: {s}"))),
        ("auth key", |d, s| d.fields.push(format!("X-Auth-Key: {s}"))),
        ("csrf", |d, s| d.fields.push(format!("x-csrf-token: {s}"))),
        ("referer", |d, s| d.fields.push(format!("referer: https://h/a?access_token={s}&b=1"))),
        ("token", |d, s| d.query.push(format!("token={s}"))),
        ("access token", |d, s| d.query.push(format!("a=1&access_token={s}&b=2"))),
        ("encoded name", |d, s| d.query.push(format!("{}={s}", percent("api_key")))),
        ("encoded value", |d, s| d.query.push(format!("client_secret={}", percent(s)))),
        ("twice encoded", |d, s| d.query.push(format!("next={}", percent(&format!("/a?token={}", percent(s)))))),
        ("user of a url", |d, s| d.query.push(format!("u=http://ann:{s}@h.test/a"))),
        ("encoded user of a url", |d, s| d.query.push(format!("u={}", percent(&format!("https://ann:{s}@h.test/a"))))),
        ("json in the query", |d, s| d.query.push(format!("q={}", percent(&format!("{{\"password\":\"{s}\"}}"))))),
        ("absolute form", |d, s| d.target = format!("http://ann:{s}@gate.test{}", d.target)),
        ("authority form", |d, s| (d.method, d.target) = ("CONNECT", format!("ann:{s}@gate.test:443"))),
        ("host", |d, s| d.host = format!("ann:{s}@gate.test")),
        ("password", |d, s| json(d, format!("{{\"user\":\"ann\",\"password\":\"{s}\"}}"))),
        ("nested key", |d, s| json(d, format!("{{\"a\":[{{\"b\":{{\"private_key\":\"{s}\"}}}}]}}"))),
        ("below a secret name", |d, s| json(d, format!("{{\"credentials\":{{\"main\":[\"x\",\"{s}\"]}}}}"))),
        ("plural", |d, s| json(d, format!("{{\"api_keys\":[\"{s}\"],\"n\":1}}"))),
        ("camel case", |d, s| json(d, format!("{{\"provider\":{{\"apiKey\":\"{s}\"}}}}"))),
        ("broken json", |d, s| json(d, format!("{{\"password\":\"{s}\",\"password\":\"{s}\","))),
        ("form", |d, s| {
            d.kind = "application/x-www-form-urlencoded";
            d.body = format!("user=ann&password={s}&x=1");
        }),
        ("encoded form", |d, s| {
            d.kind = "application/x-www-form-urlencoded";
            d.body = format!("user%5Bpassword%5D={}&x=1", percent(s));
        }),
        ("multipart", |d, s| {
            d.kind = "multipart/form-data; boundary=b";
            d.body = format!("--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n{s}\r\n--b--\r\n");
        }),
        ("private key", |d, s| {
            json(d, format!("{{\"text\":\"-----BEGIN PRIVATE KEY-----\\n{s}\\n-----END PRIVATE KEY-----\"}}"));
        }),
        ("service key", |d, s| d.query.push(format!("q=my+key+is+sk-{s}{s}"))),
        ("answer's cookie", |d, s| d.fields.push(format!("x-give: {}", STANDARD.encode(s)))),
    ]
}

/// Why a request is refused.
fn reasons() -> Vec<(&'static str, Spoil)> {
    vec![
        ("not at all", |_| ()),
        ("a rule", |d| d.query.push("refuse=rule".into())),
        ("sql", |d| d.query.push("q=%27%20or%201=1--%20-".into())),
        ("script in a header", |d| d.fields.push("x-note: <script>alert(1)</script>".into())),
        ("two hosts", |d| d.fields.push("host: other.test".into())),
        ("nothing", |d| d.fields.push("nothing".into())),
        ("a folded line", |d| d.fields.push("x-a: b\r\n c".into())),
        ("too large", |d| d.fields.push("content-length: 99999999999".into())),
        ("a field", |d| (d.target, d.method) = (d.target.replace("/open", "/policed"), "POST")),
        ("a field's value", |d| {
            d.target = d.target.replace("/open", "/policed");
            d.query.push("n=77".into());
        }),
        ("the method", |d| {
            d.target = d.target.replace("/open", "/policed");
            d.method = "DELETE";
        }),
        ("the answer", |d| d.query.push("answer=refuse".into())),
        ("a broken replica", |d| d.query.push("answer=break".into())),
        ("a closed route", |d| d.target = d.target.replace("/open", "/closed")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_written_anywhere() {
    let replica = Replica::start(|seen| {
        let given = seen.header("x-give").and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        let cookie = format!("sid={}; Path=/; HttpOnly", String::from_utf8_lossy(&given));
        let refuse = if seen.target().contains("answer=refuse") { "yes" } else { "no" };
        match seen.target().contains("answer=break") {
            true => Answer::Closes,
            false => {
                Answer::with(&[("content-type", "text/plain"), ("set-cookie", &cookie), ("x-refuse", refuse)], "ok")
            }
        }
    })
    .await;
    let more = "[waf]\nrules = \"spies.conf\"\n[policy]\nfiles = \"fields.toml\"\n[log]\nlevel = \"debug\"\n\
        [cache]\nenabled = false\n[[route]]\nname = \"closed\"\npath = \"/closed\"\nrefuse = true\n";
    let gate = Gate::start_with(&[replica.address], more, |dir| {
        std::fs::write(dir.path().join("spies.conf"), SPIES).unwrap();
        std::fs::write(dir.path().join("fields.toml"), POLICY).unwrap();
    })
    .await;
    let (mut planted, mut statuses) = (Vec::new(), std::collections::BTreeMap::new());
    let mut number = 0x1234_5678_9abc_def1_u64;
    for (place, plant) in places() {
        for (reason, refuse) in reasons() {
            // Letters and digits that occur nowhere else; they need not be hard to guess.
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let secret = format!("Q{number:016x}Z{:04x}", number % 65_521);
            let mut draft = Draft {
                method: "POST",
                target: "/open".into(),
                host: "gate.test".into(),
                kind: "text/plain",
                ..Draft::default()
            };
            refuse(&mut draft);
            plant(&mut draft, &secret);
            let reply = H1::plain(gate.plain).await.send(draft.raw()).await;
            *statuses.entry(reply.status).or_insert(0) += 1;
            let id = reply.header("x-request-id").expect("every response carries its id").to_owned();
            // What a replica sets is the client's to have.
            let answer = format!("{}{}", reply.head, reply.text());
            if place != "answer's cookie" {
                planted.push((format!("{place}, {reason}: the answer"), secret.clone(), Some(answer)));
            }
            planted.push((format!("{place}, {reason} ({id}, {})", reply.status), secret, None));
        }
    }
    println!("{} requests: {statuses:?}", planted.len() / 2);
    for status in [200, 400, 403, 405, 413, 422, 502] {
        assert!(statuses.get(&status).is_some_and(|count| *count > 10), "{status}: {statuses:?}");
    }
    let wanted = places().len() * reasons().len();
    until("all events", async || gate.events().len() >= wanted).await;
    let file = std::fs::read_to_string(gate.path("audit.log")).unwrap().to_ascii_lowercase();
    let log = gate.log().to_ascii_lowercase();
    assert!(file.contains("***") && file.contains("\"seen "), "the rules did log");
    let mut leaks = Vec::new();
    for (what, secret, answer) in &planted {
        // As it was sent, and the forms that a rule or a log may make of it.
        let half = &secret[4..14];
        let in_base64 = STANDARD.encode(format!("ann:{secret}"))[8..24].to_ascii_lowercase();
        for form in [half.to_ascii_lowercase(), percent(half), in_base64] {
            match answer {
                Some(answer) if answer.to_ascii_lowercase().contains(&form) => leaks.push(what.clone()),
                Some(_) => {}
                None => {
                    let at = |text: &str| text.find(&form).map(|at| text[at.saturating_sub(90)..at + 20].to_owned());
                    leaks.extend(at(&file).map(|at| format!("{what}: audit …{at}")));
                    leaks.extend(at(&log).map(|at| format!("{what}: log …{at}")));
                }
            }
        }
    }
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}
