//! Rate limits and reputation.

use crate::harness::{Gate, H1, Replica, until};

const LIMIT: &str = "[limits]\n[limits.default]\nrate = \"3/m\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_the_limit_is_429_with_the_fields_that_say_when_to_return() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], LIMIT).await;
    let mut h1 = H1::tls(gate.tls).await;
    for left in ["2", "1", "0"] {
        let reply = h1.get("/", "").await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("ratelimit-policy"), Some("\"default\";q=3;w=60"));
        let quota = reply.header("ratelimit").unwrap();
        assert!(quota.starts_with(&format!("\"default\";r={left};t=")), "{quota}");
    }
    let reply = h1.get("/", "").await;
    assert_eq!(reply.status, 429);
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "a third of a minute until the next: {wait}");
    assert!(reply.header("ratelimit").unwrap().starts_with("\"default\";r=0;t="));
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!(gate.event(&reply).await["action"], "limit");
    assert_eq!(replica.seen().len(), 3);
    // A client cannot choose another bucket.
    let spoofed = h1.get("/", "x-forwarded-for: 9.9.9.9\r\nx-api-key: made-up-key-of-mine\r\n").await;
    assert_eq!(spoofed.status, 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_addresses_have_buckets_of_their_own() {
    let replica = Replica::plain().await;
    let more = format!(
        "{LIMIT}[client]\ntrusted = \"127.0.0.1\"\n\
         keys = [{{ name = \"ci\", secret = \"a-key-of-sixteen-or-more\" }}]\n"
    );
    let gate = Gate::start(&[replica.address], &more).await;
    let mut h1 = H1::tls(gate.tls).await;
    let mut spend = async |fields: &str| {
        let mut passed = 0;
        for _ in 0..5 {
            passed += usize::from(h1.get("/", fields).await.status == 200);
        }
        passed
    };
    assert_eq!(spend("x-forwarded-for: 192.0.2.1\r\n").await, 3);
    assert_eq!(spend("x-forwarded-for: 192.0.2.2\r\n").await, 3, "another address");
    assert_eq!(spend("x-forwarded-for: 2001:db8:1:2::1\r\n").await, 3);
    assert_eq!(spend("x-forwarded-for: 2001:db8:1:2:ffff::9\r\n").await, 0, "the same /64");
    assert_eq!(spend("x-forwarded-for: 2001:db8:1:3::1\r\n").await, 3, "another /64");
    assert_eq!(spend("x-forwarded-for: 192.0.2.1\r\nx-api-key: a-key-of-sixteen-or-more\r\n").await, 3, "a user");
    assert_eq!(
        spend("x-forwarded-for: 192.0.2.9\r\nauthorization: Bearer a-key-of-sixteen-or-more\r\n").await,
        0,
        "the same user"
    );
    let seen = replica.seen().pop().unwrap();
    assert_eq!(seen.header("x-archon-user"), Some("ci"));
    assert_eq!(seen.header("x-api-key"), None, "a key of ours is spent here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_can_require_a_user() {
    let replica = Replica::plain().await;
    let more = "[client]\nkeys = [{ name = \"ci\", secret = \"a-key-of-sixteen-or-more\" }]\n\
        [[route]]\nname = \"admin\"\npath = \"/admin/\"\nrequire_user = true\n";
    let gate = Gate::start(&[replica.address], more).await;
    let mut h1 = H1::tls(gate.tls).await;
    let refused = h1.get("/admin/x", "x-api-key: wrong-key-wrong-key\r\n").await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(gate.event(&refused).await["action"], "deny");
    assert_eq!(h1.get("/admin/x", "x-api-key: a-key-of-sixteen-or-more\r\n").await.status, 200);
    assert_eq!(h1.get("/open", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_lists_decide_by_longest_prefix_and_are_reread_live() {
    let replica = Replica::plain().await;
    let more = "[client]\ntrusted = \"127.0.0.1\"\n[reputation]\nlists = [\
        { path = \"deny.txt\", action = \"deny\", name = \"deny\" }, { path = \"allow.txt\", action = \"allow\", name = \"allow\" }]\n";
    let gate = Gate::start_with(&[replica.address], more, |dir| {
        std::fs::write(dir.path().join("deny.txt"), "# bad\n198.51.100.0/24\n2001:db8::/32\n").unwrap();
        std::fs::write(dir.path().join("allow.txt"), "198.51.100.7\n").unwrap();
    })
    .await;
    let status =
        async |address: &str| H1::tls(gate.tls).await.get("/", &format!("x-forwarded-for: {address}\r\n")).await.status;
    assert_eq!(status("198.51.100.1").await, 403);
    assert_eq!(status("198.51.100.7").await, 200, "the longer prefix");
    assert_eq!(status("2001:db8::1").await, 403);
    assert_eq!(status("192.0.2.1").await, 200);

    std::fs::write(gate.path("deny.txt"), "192.0.2.0/24\n").unwrap();
    until("the new list", async || status("192.0.2.1").await == 403).await;
    assert_eq!(status("198.51.100.1").await, 200);

    let before = gate.metric("gatehouse_reloads_total{outcome=\"refused\"}").await;
    std::fs::write(gate.path("deny.txt"), "192.0.2.0/24\n192.0.2.300\n").unwrap();
    gate.reloaded("refused", before).await;
    assert!(gate.log().contains("deny.txt:2:"), "the line is named: {}", gate.log());
    assert_eq!(status("192.0.2.1").await, 403, "the last good list stays");
}
