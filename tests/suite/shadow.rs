//! Shadow rules: a candidate beside the rules in force.

use crate::harness::{Gate, H1, Replica, until};

const NEXT: &str = "SecRule ARGS:q \"@streq next\" \"id:9600,phase:2,deny,status:403,t:none,log,msg:'next'\"\n";
const POLICY: &str = "[policy]\nunknown = { query = \"scored\" }\n[[operation]]\npath = \"/items\"\nmethods = [\"GET\", \"POST\"]\nquery.n = \"integer\"\n\
                      [operation.json]\n\"$.n\" = \"integer\"\n";

async fn start(share: &str) -> (Replica, Gate) {
    let replica = Replica::plain().await;
    let more = format!("[waf.shadow]\nshare = {share}\nrules = \"next.conf\"\npolicy_files = \"next.toml\"\n");
    let gate = Gate::start_with(&[replica.address], &more, |dir| {
        std::fs::write(dir.path().join("next.conf"), NEXT).unwrap();
        std::fs::write(dir.path().join("next.toml"), POLICY).unwrap();
    })
    .await;
    (replica, gate)
}

async fn listed(gate: &Gate) -> serde_json::Value {
    serde_json::from_str(&H1::try_get(gate.admin, "/api/v1/shadow").await.unwrap().text()).unwrap()
}

fn series(outcome: &str) -> String {
    format!("gatehouse_shadow_requests_total{{outcome=\"{outcome}\",route=\"default\"}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_candidate_would_refuse_passes_and_is_told() {
    let (_replica, gate) = start("1.0").await;
    let mut client = H1::tls(gate.tls).await;
    let by_rule = client.get("/?q=next", "").await;
    let by_field = client.get("/items?n=ten", "").await;
    let in_body = client.post("/items", "application/json", br#"{"n": "ten"}"#).await;
    let fine = client.post("/items", "application/json", br#"{"n": 10}"#).await;
    assert_eq!([&by_rule, &by_field, &in_body, &fine].map(|reply| reply.status), [200; 4]);
    assert_eq!(H1::tls(gate.tls).await.get("/?x=%3Cscript%3Ealert(1)%3C/script%3E", "").await.status, 403);
    until("the verdicts", async || {
        gate.metric(&series("only_shadow")).await == 3.0 && gate.metric(&series("same")).await == 2.0
    })
    .await;
    let rule = "gatehouse_shadow_rule_differences_total{outcome=\"only_shadow\",rule=\"9600\"}";
    assert_eq!(gate.metric(rule).await, 1.0);

    let event = gate.event(&by_rule).await;
    assert_eq!(event["action"], "pass");
    assert_eq!(event["gatehouse"]["shadow"]["outcome"], "only_shadow");
    assert_eq!(event["gatehouse"]["shadow"]["rules"], serde_json::json!([9600]));
    let event = gate.event(&in_body).await;
    assert_eq!(event["gatehouse"]["shadow"]["reason"], "field");
    assert!(event["gatehouse"]["shadow"]["fields"][0].as_str().unwrap().starts_with("json "), "{event}");

    let told = listed(&gate).await;
    assert_eq!((&told["candidate"]["share"], &told["candidate"]["operations"]), (&1.0.into(), &1.into()));
    let differences = told["differences"].as_array().unwrap();
    let ids: Vec<&str> = differences.iter().map(|difference| difference["request"].as_str().unwrap()).collect();
    let sent = [&in_body, &by_field, &by_rule].map(|reply| reply.header("x-request-id").unwrap().to_owned());
    assert_eq!(ids, sent);
    assert_eq!(differences[2]["live"]["refused"], false);
    assert_eq!(
        differences[2]["shadow"],
        serde_json::json!({
            "refused": true, "reason": "request_rules", "rules": [9600], "fields": [],
        })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_none_judges_nothing() {
    let (_replica, gate) = start("0.0").await;
    for _ in 0..20 {
        assert_eq!(H1::tls(gate.tls).await.get("/?q=next", "").await.status, 200);
    }
    until("the requests", async || {
        gate.metric("gatehouse_requests_total{action=\"pass\",route=\"default\",status=\"200\"}").await == 20.0
    })
    .await;
    for outcome in ["same", "only_live", "only_shadow", "skipped", "dropped"] {
        assert_eq!(gate.metric(&series(outcome)).await, 0.0);
    }
    assert_eq!(listed(&gate).await, serde_json::json!({"candidate": null, "differences": []}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faulty_candidate_is_refused_with_its_place_and_a_sound_one_is_promoted() {
    let (_replica, gate) = start("1.0").await;
    let status = async || H1::tls(gate.tls).await.get("/?q=next", "").await.status;
    assert_eq!(status().await, 200);
    let before = gate.metric("gatehouse_reloads_total{outcome=\"refused\"}").await;
    std::fs::write(gate.path("next.conf"), format!("{NEXT}SecRul ARGS x\n")).unwrap();
    gate.reloaded("refused", before).await;
    assert!(gate.log().contains("next.conf:2:1: "), "{}", gate.log());
    assert_eq!(status().await, 200);

    std::fs::write(gate.path("next.conf"), NEXT).unwrap();
    let text = std::fs::read_to_string(gate.path("gate.toml")).unwrap();
    let (rest, _) = text.split_once("[waf.shadow]").unwrap();
    let live = "[waf]\nrules = \"next.conf\"\n[policy]\nfiles = \"next.toml\"\n";
    std::fs::write(gate.path("gate.toml"), format!("{rest}{live}")).unwrap();
    until("the promotion", async || status().await == 403).await;
    assert_eq!(H1::tls(gate.tls).await.get("/items?n=ten", "").await.status, 422);
    assert_eq!(listed(&gate).await["candidate"], serde_json::Value::Null);
}
