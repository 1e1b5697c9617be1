//! What the tests and the bench share.

use gatehouse_waf::files::Disk;
use gatehouse_waf::{Connection, Ruleset, Source};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// xorshift64*: the same on every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % sides
    }
}

/// A connection from and to this machine.
pub(crate) fn connection() -> Connection {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Connection {
        client: local,
        client_port: 1,
        server: local,
        server_port: 2,
        unique_id: "u".to_owned(),
        now: SystemTime::UNIX_EPOCH,
    }
}

/// The core rules of this project.
pub(crate) fn core_rules() -> Arc<Ruleset> {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules");
    compiled(std::iter::once(rules.join("engine.conf")).chain(files(&rules.join("core"))).collect(), "")
}

/// A Core Rule Set as released, behind rules of one's own.
pub(crate) fn core_rule_set(folder: &Path, own: &str) -> Arc<Ruleset> {
    compiled(std::iter::once(folder.join("crs-setup.conf.example")).chain(files(&folder.join("rules"))).collect(), own)
}

fn compiled(paths: Vec<PathBuf>, own: &str) -> Arc<Ruleset> {
    let mut sources = vec![Source { name: "own.conf".to_owned(), text: own.to_owned() }];
    sources.extend(
        paths
            .iter()
            .map(|path| Source { name: path.display().to_string(), text: std::fs::read_to_string(path).unwrap() }),
    );
    Arc::new(Ruleset::compile(&sources, &Disk).unwrap_or_else(|f| panic!("{f:#?}")).0)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|e| e == "conf"));
    found.sort();
    found
}
