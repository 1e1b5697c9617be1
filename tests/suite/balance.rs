//! Balancing and replicas that fail.

use crate::harness::{Answer, Gate, H1, Replica, h2_request, until};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const PROBES: &str = "[upstream.health]\ninterval = \"200ms\"\ntimeout = \"200ms\"\n";

/// Says who it is, and is ready.
async fn named(name: &'static str) -> Replica {
    Replica::start(move |seen| match seen.target() {
        "/ready" => Answer::with(&[("content-type", "application/json")], "{\"ready\":true}"),
        _ => Answer::ok(name),
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_take_turns() {
    let replicas = [named("a").await, named("b").await, named("c").await];
    let gate = Gate::start(&replicas.each_ref().map(|r| r.address), PROBES).await;
    let mut h1 = H1::tls(gate.tls).await;
    let mut names = Vec::new();
    for _ in 0..6 {
        names.push(h1.get("/", "").await.text());
    }
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), 3);
    assert_eq!(names[..3], names[3..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_killed_under_load_costs_no_idempotent_request() {
    let mut replicas = [named("a").await, named("b").await, named("c").await];
    let gate = Gate::start(&replicas.each_ref().map(|r| r.address), PROBES).await;
    let (stop, failed, served) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (address, stop, failed, served) = (gate.tls, stop.clone(), failed.clone(), served.clone());
            tokio::spawn(async move {
                let mut h1 = H1::tls(address).await;
                while !stop.load(Ordering::Relaxed) {
                    let reply = h1.get("/", "").await;
                    served.fetch_add(1, Ordering::Relaxed);
                    failed.fetch_add(usize::from(reply.status != 200), Ordering::Relaxed);
                }
            })
        })
        .collect();
    let load = async |n: usize| {
        let so_far = served.load(Ordering::Relaxed);
        until("load", async || served.load(Ordering::Relaxed) > so_far + n).await;
    };
    load(300).await;
    replicas[1].kill().await;
    load(600).await;
    let healthy = format!("gatehouse_replica_healthy{{pool=\"default\",replica=\"{}\"}}", replicas[1].address);
    until("the dead one to be noticed", async || gate.metric(&healthy).await == 0.0).await;
    replicas[1].revive().await;
    until("its return", async || gate.metric(&healthy).await == 1.0).await;
    load(300).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    println!("{} requests, {} failed", served.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    assert_eq!(failed.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_may_have_arrived_is_not_sent_twice() {
    let replicas = [Replica::start(|_| Answer::Closes).await, Replica::start(|_| Answer::Closes).await];
    let gate = Gate::start(&replicas.each_ref().map(|r| r.address), "").await;
    let reply = H1::tls(gate.tls).await.post("/api/tasks", "application/json", b"{\"a\":1}").await;
    assert_eq!(reply.status, 502);
    assert_eq!(replicas.iter().map(|r| r.seen().len()).sum::<usize>(), 1);
    // A GET may be: both were asked.
    assert_eq!(H1::tls(gate.tls).await.get("/x", "").await.status, 502);
    assert_eq!(replicas.iter().map(|r| r.seen().len()).sum::<usize>(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_fail_has_its_status() {
    let replica = Replica::start(|seen| match seen.target() {
        "/closes" => Answer::Closes,
        "/late" => Answer::Late(Duration::from_secs(30), Box::new(Answer::ok("late"))),
        "/half" => Answer::BreaksOff,
        _ => Answer::ok("ok"),
    })
    .await;
    let gate =
        Gate::start(&[replica.address], "[[route]]\nname = \"late\"\npath = \"/late\"\nresponse_timeout = \"300ms\"\n")
            .await;
    for (target, status) in [("/closes", 502), ("/late", 504), ("/half", 502), ("/fine", 200)] {
        let reply = H1::tls(gate.tls).await.get(target, "").await;
        assert_eq!(reply.status, status, "{target}");
        if status != 200 {
            let event = gate.event(&reply).await;
            assert_eq!(
                (event["action"].as_str(), event["status"].as_u64()),
                (Some("error"), Some(status.into())),
                "{target}"
            );
        }
    }
    assert_eq!(h2_request(gate.tls, "GET", "/half", &[], Vec::new()).await.status, 502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_replicas_the_answer_is_503_and_the_gate_is_not_ready() {
    let mut replica = named("a").await;
    let gate = Gate::start(&[replica.address], PROBES).await;
    let ready = async || H1::try_get(gate.admin, "/readyz").await.map(|reply| reply.status);
    until("readiness", async || ready().await == Some(200)).await;
    replica.kill().await;
    until("unreadiness", async || ready().await == Some(503)).await;
    let reply = H1::tls(gate.tls).await.get("/", "").await;
    assert_eq!(reply.status, 503);
    assert!(reply.header("retry-after").is_some());
    assert_eq!(H1::try_get(gate.admin, "/livez").await.unwrap().status, 200, "alive all the same");
    replica.revive().await;
    until("its return", async || ready().await == Some(200)).await;
    assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_fall_back_to_health_and_are_not_fooled_by_a_page() {
    for (ready, health, expected) in [
        (Some(("404 Not Found", "application/json")), Some(("200 OK", "application/json")), 200),
        (Some(("404 Not Found", "application/json")), Some(("503 Service Unavailable", "application/json")), 503),
        (Some(("200 OK", "text/html")), Some(("503 Service Unavailable", "application/json")), 503),
        (Some(("200 OK", "text/html")), Some(("200 OK", "application/json")), 200),
        (Some(("503 Service Unavailable", "application/json")), Some(("200 OK", "application/json")), 503),
    ] {
        let replica = Replica::start(move |seen| {
            let answer = match seen.target() {
                "/ready" => ready,
                "/health" => health,
                _ => None,
            };
            match answer {
                Some((status, kind)) => Answer::Whole(status, vec![("content-type", kind.into())], b"{}".to_vec()),
                None => Answer::ok("hi"),
            }
        })
        .await;
        let gate = Gate::start(&[replica.address], PROBES).await;
        until("a probe's verdict", async || {
            H1::try_get(gate.admin, "/readyz").await.is_some_and(|reply| reply.status == expected)
        })
        .await;
        assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, expected, "{ready:?} {health:?}");
    }
}

async fn text(gate: &Gate, fields: &str) -> String {
    H1::tls(gate.tls).await.get("/", fields).await.text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_keeps_a_client_with_its_replica() {
    let mut replicas = [named("a").await, named("b").await, named("c").await];
    let config = format!("[upstream.affinity]\ncookie = \"stay\"\n[cache]\nenabled = false\n{PROBES}");
    let gate = Gate::start(&replicas.each_ref().map(|r| r.address), &config).await;
    let first = H1::tls(gate.tls).await.get("/", "").await;
    let set = first.header("set-cookie").unwrap().to_owned();
    assert!(set.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{set}");
    let cookie = format!("cookie: {}\r\n", set.split(';').next().unwrap());
    for _ in 0..4 {
        let again = H1::tls(gate.tls).await.get("/", &cookie).await;
        assert_eq!((again.text(), again.header("set-cookie")), (first.text(), None));
    }
    let at = ["a", "b", "c"].iter().position(|name| *name == first.text()).unwrap();
    replicas[at].kill().await;
    let moved = H1::tls(gate.tls).await.get("/", &cookie).await;
    assert_eq!(moved.status, 200);
    assert!(moved.text() != first.text() && moved.header("set-cookie").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_keeps_its_replica() {
    let replicas = [named("a").await, named("b").await, named("c").await];
    let config = "algorithm = \"consistent_hash\"\nhash_by = \"header:x-tenant\"\n[cache]\nenabled = false\n";
    let gate = Gate::start(&replicas.each_ref().map(|r| r.address), config).await;
    let mut seen = HashSet::new();
    for tenant in 0..12 {
        let field = format!("x-tenant: t{tenant}\r\n");
        let place = text(&gate, &field).await;
        assert_eq!(text(&gate, &field).await, place);
        seen.insert(place);
    }
    assert!(seen.len() > 1, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_have_pools_splits_and_mirrors() {
    let main = named("main").await;
    let (other, copy) = (named("other").await, Replica::start(|_| Answer::Closes).await);
    let config = format!(
        "[cache]\nenabled = false\n[[pool]]\nname = \"other\"\nreplicas = \"{}\"\nhealth.enabled = false\n\
         [[pool]]\nname = \"copy\"\nreplicas = \"{}\"\nhealth.enabled = false\n\
         [[route]]\nname = \"own\"\npath = \"/own/\"\npool = \"other\"\n\
         [[route]]\nname = \"split\"\npath = \"/split/\"\nsplit_by = \"request\"\n\
         split = [{{ pool = \"default\", weight = 3 }}, {{ pool = \"other\", weight = 1 }}]\n\
         [[route]]\nname = \"stay\"\npath = \"/stay/\"\n\
         split = [{{ pool = \"default\", weight = 1 }}, {{ pool = \"other\", weight = 1 }}]\n\
         [[route]]\nname = \"mirrored\"\npath = \"/mirrored/\"\n\
         mirror = {{ pool = \"copy\", share = 1.0, max_body = \"1KiB\" }}\n",
        other.address, copy.address
    );
    let gate = Gate::start(&[main.address], &config).await;
    let mut h1 = H1::tls(gate.tls).await;
    assert_eq!(h1.get("/own/x", "").await.text(), "other");
    assert_eq!(h1.get("/x", "").await.text(), "main");
    let mut split = Vec::new();
    let mut stay = HashSet::new();
    for _ in 0..60 {
        split.push(h1.get("/split/x", "").await.text());
        stay.insert(h1.get("/stay/x", "").await.text());
    }
    // That all sixty fall to one side happens once in thirty million runs.
    assert_eq!(split.iter().collect::<HashSet<_>>().len(), 2);
    assert_eq!(stay.len(), 1, "one client, one pool");

    // The mirror closes without a word: nobody hears of it.
    assert_eq!(h1.post("/mirrored/x", "text/plain", b"copied").await.text(), "main");
    assert_eq!(h1.post("/mirrored/large", "text/plain", &[b'x'; 2000]).await.text(), "main");
    assert!(h1.get("/mirrored/?q=%3Cscript%3Ealert(1)%3C/script%3E", "").await.status == 403);
    until("the copy", async || copy.seen().len() == 1).await;
    let seen = copy.seen().remove(0);
    assert_eq!((seen.target(), seen.body.as_slice()), ("/mirrored/x", &b"copied"[..]));
    let id = seen.header("x-request-id").unwrap().to_owned();
    assert!(main.seen().iter().any(|seen| seen.header("x-request-id") == Some(&id)), "the same request");
    let count = |outcome: &str| format!("gatehouse_pool_mirrored_total{{outcome=\"{outcome}\",pool=\"copy\"}}");
    until("the counts", async || {
        gate.metric(&count("failed")).await == 1.0 && gate.metric(&count("too_large")).await == 1.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_busy_replica_is_waited_for_and_a_full_queue_is_503() {
    let replica = Replica::start(|seen| match seen.target() {
        "/slow" => Answer::Late(Duration::from_secs(2), Box::new(Answer::ok("slow"))),
        _ => Answer::ok("quick"),
    })
    .await;
    let config = "max_in_flight = 1\nmax_queue = 1\nqueue_timeout = \"10s\"\n";
    let gate = Gate::start(&[replica.address], config).await;
    let get = |target: &'static str| {
        let address = gate.tls;
        tokio::spawn(async move { H1::tls(address).await.get(target, "").await })
    };
    let in_flight = format!("gatehouse_replica_in_flight{{pool=\"default\",replica=\"{}\"}}", replica.address);
    let slow = get("/slow");
    until("the slow request", async || gate.metric(&in_flight).await == 1.0).await;
    let waits = get("/quick");
    until("the queue", async || gate.metric("gatehouse_pool_queued{pool=\"default\"}").await == 1.0).await;
    let refused = H1::tls(gate.tls).await.get("/more", "").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!((slow.await.unwrap().text(), waits.await.unwrap().text()), ("slow".into(), "quick".into()));
    until("the counts", async || {
        let count = |outcome: &str| format!("gatehouse_pool_queue_total{{outcome=\"{outcome}\",pool=\"default\"}}");
        gate.metric(&count("served")).await == 1.0 && gate.metric(&count("full")).await == 1.0
    })
    .await;
    let event = gate.event(&refused).await;
    assert_eq!(event["action"], "error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_come_and_go_with_a_file_and_by_request_and_streams_end_in_peace() {
    let stream = |seen: &crate::harness::Seen| match seen.target() {
        "/events" => Answer::Chunks(
            "text/event-stream",
            vec![(Duration::ZERO, "data: 1\n\n"), (Duration::from_secs(2), "data: 2\n\n")],
        ),
        _ => Answer::ok("first"),
    };
    let (first, second) = (Replica::start(stream).await, named("second").await);
    let config = "[upstream.discover]\nfile = \"replicas\"\n[cache]\nenabled = false\n\
                  [[route]]\nname = \"events\"\npath = \"/events\"\nstream = true\n";
    let gate = Gate::start_with(&[], config, |dir| {
        std::fs::write(dir.path().join("replicas"), format!("{}\n", first.address)).unwrap();
    })
    .await;
    assert_eq!(text(&gate, "").await, "first");
    let mut events = H1::tls(gate.tls).await;
    events.write(b"GET /events HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\naccept: */*\r\n\r\n").await.unwrap();
    events.read_past(b"data: 1\n\n").await;
    std::fs::write(gate.path("replicas"), format!("{}\n", second.address)).unwrap();
    until("the second replica", async || text(&gate, "").await == "second").await;
    events.read_past(b"data: 2\n\n").await;
    // A file that says nothing changes nothing.
    std::fs::write(gate.path("replicas"), "nobody\n").unwrap();
    until("the failed look", async || {
        gate.metric("gatehouse_pool_discovery_total{outcome=\"failed\",pool=\"default\"}").await == 1.0
    })
    .await;
    assert_eq!(text(&gate, "").await, "second");

    let shown = H1::try_get(gate.admin, "/api/v1/replicas").await.unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown.body).unwrap();
    assert_eq!((&shown["replicas"][0]["state"], &shown["replicas"][0]["pool"]), (&"up".into(), &"default".into()));
    assert_eq!(shown["replicas"].as_array().unwrap().len(), 1);
    let post = async |what: &str| {
        let head = format!(
            "POST /api/v1/replicas/default/{what} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n\r\n",
            gate.admin
        );
        H1::plain(gate.admin).await.send(head).await.status
    };
    assert_eq!(post("127.0.0.1:1/drain").await, 404);
    assert_eq!(post(&format!("{}/drain", second.address)).await, 200);
    assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, 503);
    assert_eq!(post(&format!("{}/undrain", second.address)).await, 200);
    assert_eq!(text(&gate, "").await, "second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ejection_outlives_a_reload() {
    let bad = Replica::start(|_| Answer::Closes).await;
    let good = named("good").await;
    let config = "[upstream.ejection]\ntime = \"1h\"\nmax_time = \"1h\"\n[cache]\nenabled = false\n";
    let gate = Gate::start(&[bad.address, good.address], config).await;
    let ejections = format!(
        "gatehouse_replica_ejections_total{{cause=\"consecutive\",pool=\"default\",replica=\"{}\"}}",
        bad.address
    );
    let mut h1 = H1::tls(gate.tls).await;
    until("the ejection", async || {
        assert_eq!(h1.get("/", "").await.text(), "good");
        gate.metric(&ejections).await == 1.0
    })
    .await;
    let before = bad.seen().len();
    let applied = gate.metric("gatehouse_reloads_total{outcome=\"applied\"}").await;
    gate.signal("HUP");
    gate.reloaded("applied", applied).await;
    for _ in 0..10 {
        assert_eq!(h1.get("/", "").await.text(), "good");
    }
    assert_eq!(bad.seen().len(), before);
    let shown = H1::try_get(gate.admin, "/api/v1/replicas").await.unwrap().text();
    assert!(shown.contains("\"state\":\"ejected\""), "{shown}");
}
