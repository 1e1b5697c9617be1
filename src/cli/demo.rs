//! `gatehouse demo`: everything on loopback, nothing configured.

use super::{demo_replica, run};
use crate::config;
use crate::handover::Sockets;
use crate::handover::state::State;
use crate::server::Server;
use crate::telemetry;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The configuration of the demo, with its ports and replicas left to variables.
const CONFIG: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo.toml"));
/// The demo's deny list.
const DENIED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/denied.txt"));
/// Names of the sample replicas, as they say in `x-replica`.
const REPLICAS: [&str; 3] = ["a", "b", "c"];

/// Where the demo listens.
pub(super) struct Ports {
    pub(super) tls: u16,
    pub(super) http: u16,
    pub(super) admin: u16,
}

/// Runs until Ctrl-C.
pub(super) fn run(ports: &Ports, dir: &Path) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().thread_name("gatehouse").enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(&format!("cannot start threads: {e}")),
    };
    runtime.block_on(async {
        let signals = match run::Signals::new() {
            Ok(signals) => signals,
            Err(e) => return fail(&format!("cannot take signals: {e}")),
        };
        match start(ports, dir).await {
            Ok((server, replicas)) => {
                print_welcome(ports, dir);
                let code = run::until_stopped(server, signals).await;
                replicas.send_replace(true);
                code
            }
            Err(e) => fail(&e),
        }
    })
}

async fn start(ports: &Ports, dir: &Path) -> Result<(std::sync::Arc<Server>, watch::Sender<bool>), String> {
    let (stop, stopped) = watch::channel(false);
    let mut addresses = Vec::new();
    for name in REPLICAS {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| format!("a sample replica: {e}"))?;
        addresses.push(listener.local_addr().map_err(|e| e.to_string())?.to_string());
        let stopped = stopped.clone();
        tokio::spawn(async move { demo_replica::serve(listener, name, stopped).await });
    }
    let write = |name: &str, text: &str, over: bool| -> io::Result<()> {
        let path = dir.join(name);
        if over || !path.exists() { fs::write(path, text) } else { Ok(()) }
    };
    let prepared = fs::create_dir_all(dir)
        .and_then(|()| write("demo.toml", &filled(ports, &addresses), true))
        .and_then(|()| write("denied.txt", DENIED, false));
    prepared.map_err(|e| format!("{}: {e}", dir.display()))?;
    let faults =
        |faults: Vec<crate::fault::Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let config = config::load(&dir.join("demo.toml")).map_err(faults)?;
    telemetry::init(&config.document.log).map_err(faults)?;
    // The replicas live in this process: there is nothing to hand over to.
    let server = Server::prepare(config, Sockets::default(), None).await.map_err(|e| e.to_string())?;
    Ok((server.begin(&State::default()), stop))
}

/// The configuration with the demo's own values in place of the variables, so that a reload reads the same.
fn filled(ports: &Ports, replicas: &[String]) -> String {
    [
        ("GATEHOUSE_TLS_PORT:-8443", ports.tls.to_string()),
        ("GATEHOUSE_HTTP_PORT:-8080", ports.http.to_string()),
        ("GATEHOUSE_ADMIN_PORT:-9180", ports.admin.to_string()),
        ("GATEHOUSE_UPSTREAM:-127.0.0.1:8181", replicas.join(",")),
    ]
    .iter()
    .fold(CONFIG.to_owned(), |text, (variable, value)| text.replace(&format!("${{{variable}}}"), value))
}

fn print_welcome(ports: &Ports, dir: &Path) {
    let (tls, admin, dir) = (ports.tls, ports.admin, dir.display());
    println!(
        "Gatehouse stands on https://127.0.0.1:{tls} in front of three sample replicas.

  a good request    curl -ki https://127.0.0.1:{tls}/api/tasks
  an attack         curl -ki \"https://127.0.0.1:{tls}/api/tasks?q=1'%20UNION%20SELECT%20password%20FROM%20users--\"
  a cached answer   curl -ki https://127.0.0.1:{tls}/assets/app.css   (twice: see Cache-Status)
  the rate limit    for i in $(seq 120); do curl -ks -o /dev/null -w '%{{http_code}} ' https://127.0.0.1:{tls}/health; done
  metrics           curl -s http://127.0.0.1:{admin}/metrics | grep ^gatehouse_requests
  audit events      tail -n 1 {dir}/audit.log
  a reload          echo 127.0.0.1 >> {dir}/denied.txt; sleep 2; curl -ki https://127.0.0.1:{tls}/health
                    (take the line out again, and you are back)

Ctrl-C ends it."
    );
}

fn fail(what: &str) -> ExitCode {
    eprintln!("error: {what}");
    ExitCode::FAILURE
}
