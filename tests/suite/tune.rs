//! `gatehouse tune`: from the events of a running gate to changes that a reload takes up.

use crate::harness::{Gate, H1, Replica, until};
use std::path::Path;
use std::process::Command;

const POLICY: &str = "# Notes.\n[policy]\nunknown = { json = \"short(200)\", query = \"scored\" }\n\n[[operation]]\npath = \"/api/notes\"\n\
                      methods = [\"POST\"]\n[operation.json]\n\"$.title\" = \"short(64)\"   # as the form has it\n";
/// What people write about databases.
const NOTE: &str = "Run this against the old system and tell me what comes back:\n\n' UNION SELECT name, password FROM \
                    users--\n\nThen compare it with the plan of the new one, and write down what differs.";
const ATTACK: &str = "x' UNION SELECT password FROM users--";

fn tune(gate: &Gate, more: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .args(["tune", "--audit"])
        .arg(gate.path("audit.log"))
        .arg("--config")
        .arg(gate.path("gate.toml"))
        .args(more)
        .current_dir(root)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

async fn note(gate: &Gate, client: &str, title: &str, text: &str) -> u16 {
    let body = serde_json::json!({ "title": title, "text": text }).to_string();
    let head = format!(
        "POST /api/notes HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\naccept: */*\r\nx-forwarded-for: {client}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    H1::tls(gate.tls).await.send(head + &body).await.status
}

async fn search(gate: &Gate, client: &str, query: &str) -> u16 {
    let head = format!(
        "GET /search?{query} HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\naccept: */*\r\n\
         x-forwarded-for: {client}\r\n\r\n"
    );
    H1::tls(gate.tls).await.send(head).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_proposed_with_proof_ends_the_refusals_and_nothing_else() {
    let replica = Replica::plain().await;
    let more = "[client]\ntrusted = \"127.0.0.1\"\n[policy]\nfiles = \"notes.toml\"\n[waf]\nrules = \"local/*.conf\"\n";
    let rule = "SecRule ARGS \"@rx (?i)order by\" \"id:9500,phase:2,deny,status:403,t:none,log,msg:'order'\"\n";
    let gate = Gate::start_with(&[replica.address], more, |dir| {
        std::fs::write(dir.path().join("notes.toml"), POLICY).unwrap();
        std::fs::create_dir(dir.path().join("local")).unwrap();
        std::fs::write(dir.path().join("local/own.conf"), rule).unwrap();
    })
    .await;
    for client in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"] {
        assert_eq!(note(&gate, client, "a plain title", NOTE).await, 403);
        assert_eq!(search(&gate, client, "sort=order+by+date").await, 403);
    }
    // One client alone asks for its holes.
    assert_eq!(note(&gate, "198.51.100.1", ATTACK, "fine").await, 403);
    assert_eq!(search(&gate, "198.51.100.1", "hole=order+by+date").await, 403);
    until("the events", async || gate.events().len() >= 10).await;

    let said = tune(&gate, &[]);
    println!("{said}");
    for part in [
        "POST /api/notes | json text | 4 requests, 4 clients",
        "policy: json.\"$.text\" = \"free(64KiB)\"",
        "removes 4 refusals, loses ",
        "GET /search | query sort | 4 requests, 4 clients | rule 9500 x4",
        "ctl:ruleRemoveTargetById=9500;ARGS:sort",
        "warning: only 1 client stands behind it",
        "nothing is proposed for\n     POST /api/notes | json title | 1 request",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    assert_eq!(std::fs::read_to_string(gate.path("notes.toml")).unwrap(), POLICY);

    let before = gate.metric("gatehouse_reloads_total{outcome=\"applied\"}").await;
    let written = tune(&gate, &["--write"]);
    assert!(written.contains("local/tuned.conf"), "{written}");
    let policy = std::fs::read_to_string(gate.path("notes.toml")).unwrap();
    assert_eq!(policy, format!("{POLICY}\"$.text\" = \"free(64KiB)\"\n"));
    gate.signal("HUP");
    gate.reloaded("applied", before).await;
    until("the change", async || note(&gate, "192.0.2.1", "a plain title", NOTE).await == 200).await;
    assert_eq!(search(&gate, "192.0.2.1", "sort=order+by+date").await, 200);
    // The same beside the fields that were changed, and what the field is no place for.
    assert_eq!(note(&gate, "192.0.2.1", ATTACK, "fine").await, 403);
    assert_eq!(search(&gate, "192.0.2.1", "hole=order+by+date").await, 403);
    assert_eq!(search(&gate, "192.0.2.1", "sort=1%27%20UNION%20SELECT%20a%20FROM%20users--").await, 403);
}
