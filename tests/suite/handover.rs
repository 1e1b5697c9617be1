//! Hand-over to a new process, the drain, and the service manager.

use crate::harness::{Answer, Gate, H1, Load, Replica, tls_stream, until, within};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const WEBSOCKETS: &str = "[[route]]\nname = \"ws\"\npath = \"/ws\"\nwebsocket = true\n";
const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\nconnection: Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A program in the gate's folder.
fn script(gate: &Gate, name: &str, text: &str) -> PathBuf {
    let path = gate.path(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_takes_over_and_the_old_one_ends_well() {
    let replica = Replica::plain().await;
    let mut gate =
        Gate::start(&[replica.address], "[limits]\nenabled = true\n[limits.default]\nrate = \"3/h\"\n").await;
    let old = gate.pid();
    let mut idle = H1::tls(gate.tls).await;
    assert_eq!(idle.get("/", "").await.status, 200);
    let (code, said) = gate.upgrade(&[]).await;
    assert_eq!((code, said.contains(&format!("process {old} drains"))), (Some(0), true), "{said}");
    assert_ne!(gate.pid(), old);
    assert_eq!(gate.ended().await, Some(0), "the old process");
    assert!(idle.is_closed().await);
    // Buckets go along: one of three is spent.
    let mut h1 = H1::tls(gate.tls).await;
    let statuses = [h1.get("/", "").await.status, h1.get("/", "").await.status, h1.get("/", "").await.status];
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(H1::try_get(gate.admin, "/readyz").await.unwrap().status, 200);

    // And again, from the one that took over, by a signal.
    let second = gate.pid();
    gate.signal("USR2");
    until("the next hand-over", async || gate.pid() != second).await;
    assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, 429);
    until("the end of the second", async || !PathBuf::from(format!("/proc/{second}/fd/0")).exists()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_fails_to_start_leaves_what_runs() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "[server]\nupgrade_timeout = \"700ms\"\n\n").await;
    let old = gate.pid();
    let works = async |why: &str| {
        assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, 200, "{why}");
        assert_eq!(gate.pid(), old, "{why}");
    };
    let crashing = script(&gate, "crashing", "exit 3");
    let hanging = script(&gate, "hanging", "exec sleep 60");
    for (binary, why) in [(crashing, "exit status: 3"), (hanging.clone(), "700ms"), ("/nowhere".into(), "/nowhere")] {
        let (code, said) = gate.upgrade(&["--binary", binary.to_str().unwrap()]).await;
        assert_eq!((code, said.contains(why)), (Some(1), true), "{said}");
        assert!(gate.log().contains("no hand-over, what runs stays"), "{}", gate.log());
        works(why).await;
    }

    // A configuration that is at fault, and one of which something cannot be had.
    let good = fs::read_to_string(gate.path("gate.toml")).unwrap();
    fs::write(gate.path("gate.toml"), good.replace("[limits]", "[limits]\nbrust = 1")).unwrap();
    let (code, said) = gate.upgrade(&[]).await;
    assert_eq!((code, said.contains("brust")), (Some(1), true), "{said}");
    let taken = replica.address;
    let other = format!("[[listener]]\naddress = \"{taken}\"\n[admin]");
    fs::write(gate.path("gate.toml"), good.replace("[admin]", &other).replace("700ms", "60s")).unwrap();
    let before = gate.metric("gatehouse_reloads_total{outcome=\"applied\"}").await;
    gate.signal("HUP");
    gate.reloaded("applied", before).await;
    let (code, said) = gate.upgrade(&[]).await;
    assert_eq!((code, said.contains(&taken.to_string())), (Some(1), true), "{said}");
    works("a listener that cannot be bound").await;

    // Nothing of all that stands in the way of one that is in order.
    fs::write(gate.path("gate.toml"), good.replace("700ms", "60s")).unwrap();
    let (code, said) = gate.upgrade(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_ne!(gate.pid(), old);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_at_a_time_and_none_while_stopping() {
    let replica = Replica::start(|_| Answer::Late(Duration::from_secs(2), Box::new(Answer::ok("late")))).await;
    let gate = Gate::start(&[replica.address], "").await;
    let started = gate.path("started");
    let hanging = script(&gate, "hanging", &format!("touch {}\nexec sleep 60", started.display()));
    let binary = ["--binary", hanging.to_str().unwrap()];
    let first = gate.upgrade(&binary);
    let second = async {
        until("the first to be under way", async || started.exists()).await;
        let second = gate.upgrade(&[]).await;
        // A stop ends the hand-over, not the other way round.
        let address = gate.tls;
        let slow = tokio::spawn(async move { H1::tls(address).await.get("/", "").await });
        until("a request to be under way", async || !replica.seen().is_empty()).await;
        gate.signal("TERM");
        (second, slow.await.unwrap())
    };
    let ((code, said), ((busy, why), slow)) = tokio::join!(first, second);
    assert_eq!((busy, why.contains("another hand-over is under way")), (Some(1), true), "{why}");
    assert_eq!((code, said.contains("draining")), (Some(1), true), "{said}");
    assert_eq!(slow.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_are_opened_and_closed_as_the_new_configuration_says() {
    let replica = Replica::plain().await;
    let gate = Gate::start(&[replica.address], "").await;
    let fresh = crate::harness::free_port();
    let text = fs::read_to_string(gate.path("gate.toml")).unwrap();
    let text = text.replace(&format!("address = \"{}\"", gate.plain), &format!("address = \"127.0.0.1:{fresh}\""));
    fs::write(gate.path("gate.toml"), text).unwrap();
    let (code, said) = gate.upgrade(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(H1::tls(gate.tls).await.get("/", "").await.status, 200);
    assert_eq!(H1::plain(([127, 0, 0, 1], fresh).into()).await.get("/", "").await.status, 200);
    until("the old one to be closed", async || std::net::TcpStream::connect(gate.plain).is_err()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_turns_before_accepting_stops_and_a_second_signal_ends_the_drain() {
    let replica = Replica::start(|_| Answer::Late(Duration::from_secs(60), Box::new(Answer::ok("never")))).await;
    let mut gate = Gate::start(&[replica.address], "[server]\ndrain = \"60s\"\ndrain_delay = \"1s\"\n\n").await;
    gate.signal("TERM");
    let ready = async || H1::try_get(gate.admin, "/readyz").await.map(|reply| (reply.status, reply.text()));
    until("health to turn", async || ready().await.is_some_and(|(status, _)| status == 503)).await;
    assert!(ready().await.unwrap().1.contains("draining"));
    let mut late = H1::plain(gate.plain).await;
    late.write(b"GET / HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\n\r\n").await.unwrap();
    until("a connection made after that to be served", async || !replica.seen().is_empty()).await;
    until("accepting to stop", async || std::net::TcpStream::connect(gate.plain).is_err()).await;
    assert_eq!(ready().await.unwrap().0, 503, "who asks is told to the end");
    gate.signal("TERM");
    assert_eq!(gate.ended().await, Some(0));
    assert!(gate.log().contains("cut short"), "{}", gate.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_kernel_had_accepted_is_served_when_the_gate_stops() {
    let replica = Replica::plain().await;
    let mut gate = Gate::start(&[replica.address], "").await;
    // Held still, so that connections wait in the kernel when it finds out that it is to stop.
    gate.signal("STOP");
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut h1 = H1::plain(gate.plain).await;
        h1.write(b"GET / HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\n\r\n").await.unwrap();
        waiting.push(h1);
    }
    gate.signal("TERM");
    gate.signal("CONT");
    for mut h1 in waiting {
        let reply = h1.reply().await;
        assert_eq!((reply.status, reply.text()), (200, "hello".into()));
    }
    assert_eq!(gate.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_go_on_to_the_end_of_the_drain_and_websockets_are_told() {
    const EVENTS: usize = 200;
    let replica = Replica::start(|seen| match seen.target() {
        "/ws" => Answer::Echo,
        _ => Answer::Chunks("text/event-stream", vec![(Duration::from_millis(100), "data: x\n\n"); EVENTS]),
    })
    .await;
    let mut gate = Gate::start(&[replica.address], &format!("[server]\ndrain = \"2s\"\n\n{WEBSOCKETS}")).await;
    let mut socket = H1::tls(gate.tls).await;
    assert_eq!(socket.send(HANDSHAKE).await.status, 101);
    let mut events = H1::tls(gate.tls).await;
    events
        .write(b"GET /events HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\naccept: text/event-stream\r\n\r\n")
        .await
        .unwrap();
    events.read_past(b"data: x\n\n").await;
    let begun = std::time::Instant::now();
    let (code, said) = gate.upgrade(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    socket.write(&[0x82, 0x83, 0, 0, 0, 0, b'a', b'b', b'c']).await.unwrap();
    assert_eq!(socket.read_past(b"abc").await, b"\x82\x03abc");
    events.read_past(b"data: x\n\n").await;
    within("the Close frame", socket.read_past(&[0x88, 2, 3, 0xE9])).await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(socket.is_closed().await && events.is_closed().await);
    assert_eq!(gate.ended().await, Some(0));
}

/// A certificate of its own for each call, with its key, put in place of those before.
fn new_certificate(gate: &std::path::Path) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for (name, text) in [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())] {
        let fresh = gate.join(format!("{name}.new"));
        fs::write(&fresh, text).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&fresh, gate.join(name)).unwrap();
    }
    made.cert.der().to_vec()
}

/// A few of each; with GATEHOUSE_LONG all of 100 reloads, 20 certificates and 5 hand-overs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_certificates_and_hand_overs_under_load_fail_nothing() {
    let long = std::env::var_os("GATEHOUSE_LONG").is_some();
    let (rounds, reloads, swaps, seconds) = if long { (5, 20, 4, 8) } else { (2, 2, 1, 3) };
    let load = if long { [64, 200, 50] } else { [16, 20, 10] };
    let replica = Load::replica().await;
    let more = format!(
        "[server]\ndrain = \"{seconds}s\"\nmax_connections_per_address = 4000\n\n\
         [tls]\ncertificates = [{{ cert = \"cert.pem\", key = \"key.pem\" }}]\n{WEBSOCKETS}\
         [[route]]\nname = \"events\"\npath = \"/events\"\nstream = true\n"
    );
    // Rules enough to be inspected by; building them all again and again is measured elsewhere.
    let more = format!("{more}[waf]\ncore_rules = false\nrules = \"own.conf\"\n");
    let gate = Gate::start_with(&[replica.address], &more, |dir| {
        new_certificate(dir.path());
        let rules = "SecRule ARGS:q \"@streq attack\" \"id:9300,phase:2,deny,status:403,t:none,log\"\n";
        fs::write(dir.path().join("own.conf"), rules).unwrap();
    })
    .await;
    let load_ = Load::start(gate.tls, Duration::from_secs(seconds), load);
    let moved = || {
        let counts = load_.counts();
        [&counts.requests, &counts.messages, &counts.events].map(|n| n.load(Ordering::Relaxed))
    };
    until("the load to stand", async || moved().iter().zip(load).all(|(n, of)| *n >= of)).await;
    for _ in 0..rounds {
        for _ in 0..reloads {
            let before = gate.metric("gatehouse_reloads_total{outcome=\"applied\"}").await;
            gate.signal("HUP");
            gate.reloaded("applied", before).await;
        }
        for _ in 0..swaps {
            let fresh = new_certificate(gate.dir.path());
            until("the new certificate", async || {
                let stream = tls_stream(gate.tls, "http/1.1").await;
                stream.get_ref().1.peer_certificates().is_some_and(|chain| chain[0].as_ref() == fresh)
            })
            .await;
        }
        let (code, said) = gate.upgrade(&[]).await;
        assert_eq!(code, Some(0), "{said}");
        load_.handed_over();
        let before = moved();
        until("the load to go on", async || moved().iter().zip(before).all(|(now, then)| *now > then)).await;
    }
    let seen = moved();
    // Past the last drain, so that the streams of the process before are ended, too.
    tokio::time::sleep(Duration::from_secs(seconds + 2)).await;
    assert!(moved().iter().zip(seen).all(|(now, then)| *now > then));
    let counts = load_.stop().await;
    println!("{} reloads, {} certificates, {rounds} hand-overs: {counts:?}", rounds * reloads, rounds * swaps);
    assert_eq!((counts.failed.into_inner(), counts.cut.into_inner()), (0, 0), "{:?}", counts.notes);
    let streams = load[1] + load[2];
    assert!(counts.ended.into_inner() >= streams, "every stream was ended by a drain at least once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gate_leaves_whole_lines_and_a_state_directory_that_serves() {
    let rounds = if std::env::var_os("GATEHOUSE_LONG").is_some() { 20 } else { 3 };
    let replica = Replica::plain().await;
    let mut gate = Gate::start(&[replica.address], "").await;
    for round in 0..rounds {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let address = gate.tls;
                tokio::spawn(async move {
                    let attack = b"GET /?q=1%27%20UNION%20SELECT%20password%20FROM%20users-- HTTP/1.1\r\n\
                        host: gate.test\r\nuser-agent: suite\r\naccept: */*\r\n\r\n";
                    let Some(mut h1) = H1::try_tls(address).await else { return };
                    while h1.try_send(attack).await.is_some() {}
                })
            })
            .collect();
        let written = |gate: &Gate| fs::metadata(gate.path("audit.log")).map_or(0, |about| about.len());
        let before = written(&gate);
        until("events to be written", async || written(&gate) > before + 20_000).await;
        gate.kill_and_restart().await;
        for client in clients {
            client.await.unwrap();
        }
        let reply = H1::tls(gate.tls).await.get("/", "").await;
        assert_eq!(reply.status, 200, "round {round}");
    }
    // What was being written when it was killed may be torn, at most one line each time, and spoils no other.
    let text = fs::read(gate.path("audit.log")).unwrap();
    let lines: Vec<_> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let torn = lines.iter().filter(|line| serde_json::from_slice::<serde_json::Value>(line).is_err()).count();
    assert!(torn <= rounds && lines.len() > 10 * rounds, "{torn} of {} lines", lines.len());
    // The control socket of the dead one stands in nobody's way.
    let (code, said) = gate.upgrade(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    let left: Vec<_> = fs::read_dir(gate.path("state")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "control.sock" || name == "tls"), "{left:?}");
}

/// What a service manager hears, as it comes.
struct Manager(Arc<Mutex<VecDeque<String>>>);

impl Manager {
    fn listen(path: &std::path::Path) -> Self {
        let socket = tokio::net::UnixDatagram::bind(path).unwrap();
        let heard = Self(Arc::default());
        let messages = heard.0.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(n) = socket.recv(&mut buffer).await {
                messages.lock().push_back(String::from_utf8_lossy(&buffer[..n]).into_owned());
            }
        });
        heard
    }

    /// The next message with a line that begins so.
    async fn hears(&self, what: &str) -> String {
        let mut heard = String::new();
        until(what, async || {
            while let Some(message) = self.0.lock().pop_front() {
                if message.lines().any(|line| line.starts_with(what)) {
                    heard = message;
                    return true;
                }
            }
            false
        })
        .await;
        heard
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_manager_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = Manager::listen(&path);
    let replica = Replica::plain().await;
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let gate = Gate::start_in(&[replica.address], "", &environment, |_| {}).await;
    manager.hears("READY=1").await;
    manager.hears("WATCHDOG=1").await;
    gate.signal("HUP");
    let reloading = manager.hears("RELOADING=1").await;
    assert!(reloading.lines().any(|line| line.starts_with("MONOTONIC_USEC=")), "{reloading}");
    manager.hears("READY=1").await;
    let (code, said) = gate.upgrade(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(manager.hears("MAINPID=").await.contains(&format!("MAINPID={}", gate.pid())));
    manager.hears("WATCHDOG=1").await;
    gate.signal("TERM");
    manager.hears("STOPPING=1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_of_a_service_manager_are_taken_by_their_address() {
    let replica = Replica::plain().await;
    let dir = tempfile::tempdir().unwrap();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let admin = crate::harness::free_port();
    let text = format!(
        "[[listener]]\naddress = \"{address}\"\ntls = false\nplain = \"serve\"\n[admin]\naddress = \"127.0.0.1:{admin}\"\n\
         [upstream]\nreplicas = \"{}\"\n[upstream.health]\nenabled = false\n[audit]\nenabled = false\n",
        replica.address
    );
    let config = dir.path().join("gate.toml");
    fs::write(&config, text).unwrap();
    // Waits for whoever serves this socket: the gate has to take it as it is, for it cannot open it again.
    let mut early = H1::plain(address).await;
    early.write(b"GET / HTTP/1.1\r\nhost: gate.test\r\nuser-agent: suite\r\n\r\n").await.unwrap();
    let start = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec \"$0\" run --config \"$1\"";
    let mut gate = std::process::Command::new("sh")
        .args(["-c", start, env!("CARGO_BIN_EXE_gatehouse")])
        .arg(&config)
        .stdin(std::os::fd::OwnedFd::from(socket))
        .stderr(fs::File::create(dir.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let reply = early.reply().await;
    gate.kill().unwrap();
    gate.wait().unwrap();
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    assert_eq!((reply.status, reply.text()), (200, "hello".into()), "{log}");
}
