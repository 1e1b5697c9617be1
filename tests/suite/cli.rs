//! The command line.

use crate::harness::{H1, free_port, until};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn gatehouse(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatehouse")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn check(files: &[(&str, &str)]) -> (Option<i32>, String) {
    let dir = TempDir::new().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let output = gatehouse(&["check", "--config", dir.path().join("gate.toml").to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).replace(&format!("{}/", dir.path().display()), "");
    (output.status.code(), said)
}

#[test]
fn faults_name_the_place_and_the_mend() {
    const GOOD: &str = "[upstream]\nreplicas = \"127.0.0.1:1\"\n[server]\nstate_dir = \"s\"\n";
    assert_eq!(check(&[("gate.toml", GOOD)]).0, Some(0));
    let with = |more: &str| format!("{GOOD}{more}");
    for (files, place, mend) in [
        (vec![("gate.toml", with("[limits.default]\nbrust = 5\n"))], "gate.toml:6:1:", "burst"),
        (vec![("gate.toml", with("[limits.default]\nrate = \"many\"\n"))], "gate.toml:6:8:", "100/m"),
        (vec![("gate.toml", with("[waf]\nrules = \"own.conf\"\n"))], "gate.toml:6:9:", "own.conf"),
        (
            vec![
                ("gate.toml", with("[waf]\nrules = \"own.conf\"\n")),
                ("own.conf", "\nSecRule ARGS \"@rx x\" \"id:1,phase:2,deny\n".to_owned()),
            ],
            "own.conf:2:",
            "quote",
        ),
        (
            vec![
                ("gate.toml", with("[tls]\ncertificates = [{ cert = \"c.pem\", key = \"c.key\" }]\n")),
                ("c.pem", "nothing\n".to_owned()),
                ("c.key", "nothing\n".to_owned()),
            ],
            "c.pem",
            "PEM",
        ),
        (vec![("gate.toml", "x = \"${GATEHOUSE_TEST_UNSET}\"\n".to_owned())], "gate.toml:1:6:", "GATEHOUSE_TEST_UNSET"),
    ] {
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let (code, said) = check(&files);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(place) && said.contains(mend), "wanted {place} and {mend} in:\n{said}");
    }
}

#[test]
fn the_effective_configuration_shows_no_secret() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("gate.toml");
    std::fs::write(
        &path,
        "[server]\nstate_dir = \"s\"\n[upstream]\nreplicas = \"127.0.0.1:1\"\n[client]\n\
         keys = [{ name = \"ci\", secret = \"a-key-of-sixteen-or-more\" }]\n",
    )
    .unwrap();
    let output = gatehouse(&["check", "--effective", "--config", path.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("***") && said.contains("[limits.default]"), "{said}");
    assert!(!said.contains("a-key-of-sixteen"));
}

#[test]
fn exit_codes_and_help() {
    assert_eq!(gatehouse(&["--help"]).status.code(), Some(0));
    assert_eq!(gatehouse(&["frobnicate"]).status.code(), Some(2));
    assert_eq!(gatehouse(&["run", "--config", "/nowhere.toml"]).status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_does_what_it_says() {
    let dir = TempDir::new().unwrap();
    let [tls, http, admin] = [free_port(), free_port(), free_port()];
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .args(["demo", "--dir", dir.path().to_str().unwrap()])
        .args(["--tls-port", &tls.to_string(), "--http-port", &http.to_string(), "--admin-port", &admin.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let at = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    until("the demo", async || H1::try_get(at(admin), "/readyz").await.is_some_and(|reply| reply.status == 200)).await;
    println!("the demo stood after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10));
    let mut h1 = H1::tls(at(tls)).await;
    let good = h1.get("/api/tasks", "").await;
    assert_eq!(good.status, 200);
    assert!(good.header("x-replica").is_some());
    assert_eq!(h1.get("/api/tasks?q=1'%20UNION%20SELECT%20password%20FROM%20users--", "").await.status, 403);
    let mut h1 = H1::tls(at(tls)).await;
    h1.get("/assets/app.css", "").await;
    let cached = h1.get("/assets/app.css", "").await;
    assert!(cached.header("cache-status").is_some_and(|status| status.contains("hit")), "{}", cached.head);
    assert_eq!(H1::plain(at(http)).await.get("/", "").await.status, 308);
    let mut limited = 0;
    for _ in 0..120 {
        limited += usize::from(h1.get("/health", "").await.status == 429);
    }
    assert!(limited > 10, "{limited} of 120");
    assert!(std::fs::read_to_string(dir.path().join("audit.log")).unwrap().contains("\"action\":\"block\""));
    std::fs::write(dir.path().join("denied.txt"), "127.0.0.1\n").unwrap();
    until("the reload", async || H1::tls(at(tls)).await.get("/", "").await.status == 403).await;
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    until("its end", async || child.try_wait().unwrap().is_some()).await;
    assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(0));
}
