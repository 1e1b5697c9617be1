//! The program under test.

use super::{H1, Reply, until};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use tempfile::TempDir;

/// A port nobody listens on, below the range the system gives to outgoing connections.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Several test binaries may run at once: each begins elsewhere.
    let start = u16::try_from(std::process::id() % 8_000).unwrap();
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A running gate with a folder of its own; killed when dropped.
pub(crate) struct Gate {
    child: Child,
    command: Command,
    pub(crate) dir: TempDir,
    pub(crate) tls: SocketAddr,
    pub(crate) plain: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Gate {
    /// Starts a gate in front of `replicas`; `more` is put at the end of its configuration, what stands before its first
    /// section into `[upstream]`.
    pub(crate) async fn start(replicas: &[SocketAddr], more: &str) -> Self {
        Self::start_with(replicas, more, |_| {}).await
    }

    /// The same, with files made in its folder first.
    pub(crate) async fn start_with(replicas: &[SocketAddr], more: &str, prepare: impl FnOnce(&TempDir)) -> Self {
        Self::start_in(replicas, more, &[], prepare).await
    }

    /// The same, with variables in its environment.
    pub(crate) async fn start_in(
        replicas: &[SocketAddr],
        more: &str,
        environment: &[(&str, &str)],
        prepare: impl FnOnce(&TempDir),
    ) -> Self {
        let dir = TempDir::new().unwrap();
        let [tls, plain, admin] =
            [free_port(), free_port(), free_port()].map(|p| SocketAddr::from(([127, 0, 0, 1], p)));
        let list: Vec<String> = replicas.iter().map(ToString::to_string).collect();
        let sections = if more.starts_with('[') { 0 } else { more.find("\n[").map_or(more.len(), |at| at + 1) };
        let (upstream, more) = more.split_at(sections);
        let own = |section: &str| if more.contains(&format!("[{section}]")) { "" } else { "enabled = false\n" };
        let section = |name: &str| {
            if more.contains(&format!("[{name}]")) { String::new() } else { format!("[{name}]\n{}", own(name)) }
        };
        // Keys of [server] come first in `more`, after its name.
        let (server, more) = match more.strip_prefix("[server]\n") {
            Some(own) => own.split_once("\n\n").unwrap_or((own, "")),
            None => ("drain = \"10s\"", more),
        };
        let server = format!("{server}\n");
        let text = format!(
            "[server]\nstate_dir = \"state\"\npid_file = \"pid\"\n{}\
             [[listener]]\naddress = \"{tls}\"\n\
             [[listener]]\naddress = \"{plain}\"\ntls = false\nplain = \"serve\"\n\
             [admin]\naddress = \"{admin}\"\n\
             [upstream]\nreplicas = \"{}\"\n{upstream}\n{}{}{}\n{more}\n",
            server,
            list.join(","),
            if more.contains("[upstream.health]") { "" } else { "[upstream.health]\nenabled = false\n" },
            section("limits"),
            if more.contains("[audit]") { "" } else { "[audit]\nfile = \"audit.log\"\n" },
        );
        fs::write(dir.path().join("gate.toml"), text).unwrap();
        prepare(&dir);
        let config = dir.path().join("gate.toml");
        Self::run(dir, &config, [tls, plain, admin], environment).await
    }

    /// Starts a gate on a file of `config/` as it is, with `more` in its environment.
    pub(crate) async fn shipped(name: &str, replicas: &[SocketAddr], more: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        let addresses = [free_port(), free_port(), free_port()].map(|p| SocketAddr::from(([127, 0, 0, 1], p)));
        let [tls, plain, admin] = addresses.map(|address| address.port().to_string());
        let list: Vec<String> = replicas.iter().map(ToString::to_string).collect();
        let at = |file: &str| dir.path().join(file).display().to_string();
        let (list, state, audit) = (list.join(","), at("state"), at("audit.log"));
        let mut environment = vec![
            ("GATEHOUSE_TLS_PORT", tls.as_str()),
            ("GATEHOUSE_HTTP_PORT", plain.as_str()),
            ("GATEHOUSE_ADMIN_PORT", admin.as_str()),
            ("GATEHOUSE_UPSTREAM", list.as_str()),
            ("GATEHOUSE_STATE_DIR", state.as_str()),
            ("GATEHOUSE_AUDIT_FILE", audit.as_str()),
        ];
        environment.extend_from_slice(more);
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
        Self::run(dir, &config, addresses, &environment).await
    }

    async fn run(
        dir: TempDir,
        config: &Path,
        [tls, plain, admin]: [SocketAddr; 3],
        environment: &[(&str, &str)],
    ) -> Self {
        let log = fs::File::create(dir.path().join("stderr.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
        command
            .args(["run", "--config"])
            .arg(config)
            .env("NO_COLOR", "1")
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().unwrap();
        let mut gate = Self { child, command, dir, tls, plain, admin };
        gate.stands().await;
        gate
    }

    async fn stands(&mut self) {
        until("the gate to stand", async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the gate ended with {status}:\n{}", self.log());
            }
            H1::try_get(self.admin, "/livez").await.is_some_and(|reply| reply.status == 200)
        })
        .await;
    }

    /// Killed, and started again as a supervisor would.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = self.command.spawn().unwrap();
        self.stands().await;
    }

    /// A file in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What it wrote to standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("stderr.log")).unwrap_or_default()
    }

    /// The audit events so far.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.path("audit.log")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The event of a request, once it is written.
    pub(crate) async fn event(&self, reply: &Reply) -> serde_json::Value {
        let id = reply.header("x-request-id").expect("every response carries its id").to_owned();
        let find = || self.events().into_iter().find(|event| event["request"]["id"] == id.as_str());
        until("the audit event", async || find().is_some()).await;
        find().unwrap()
    }

    /// One line of the metrics, by its name and labels; 0 for a series that has not begun. A request is counted a moment
    /// after its answer, so what was done last is to be waited for.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        const DOC: &str = include_str!("../../../docs/metrics.md");
        let family = name.split('{').next().unwrap();
        let known = ["_bucket", "_count", "_sum", ""].iter().filter_map(|end| family.strip_suffix(end));
        assert!(known.into_iter().any(|family| DOC.contains(&format!("`{family}`"))), "there is no metric {family}");
        let text = H1::try_get(self.admin, "/metrics").await.expect("metrics").text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or(0.0)
    }

    /// The process that serves: the one that was started, or the one that took over.
    pub(crate) fn pid(&self) -> u32 {
        let written = fs::read_to_string(self.path("pid")).ok().and_then(|text| text.trim().parse().ok());
        written.unwrap_or(self.child.id())
    }

    /// Sends a signal to the process that serves.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// `gatehouse upgrade`: its exit code and what it said.
    pub(crate) async fn upgrade(&self, more: &[&str]) -> (Option<i32>, String) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_gatehouse"));
        command.args(["upgrade", "--config"]).arg(self.path("gate.toml")).args(more).env("NO_COLOR", "1");
        let out = command.output().await.unwrap();
        (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    }

    /// Waits for its end and gives its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        until("the gate to end", async || self.child.try_wait().unwrap().is_some()).await;
        self.child.try_wait().unwrap().unwrap().code()
    }

    /// A figure from /proc/PID/status, in KiB.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Waits until a reload of this outcome has been counted more often than `before`.
    pub(crate) async fn reloaded(&self, outcome: &str, before: f64) {
        let name = format!("gatehouse_reloads_total{{outcome=\"{outcome}\"}}");
        until("the reload", async || self.metric(&name).await > before).await;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Whoever took over from it, too; a number that now belongs to another program is left alone.
        let heir = self.pid();
        let program = fs::read_link(format!("/proc/{heir}/exe")).unwrap_or_default();
        if heir != self.child.id() && program.starts_with(Path::new(env!("CARGO_BIN_EXE_gatehouse")).parent().unwrap())
        {
            let _ = Command::new("kill").args(["-KILL", &heir.to_string()]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the gate said:\n{}", self.log());
        }
    }
}
