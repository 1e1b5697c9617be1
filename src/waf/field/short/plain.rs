//! What needs no reading: letters, digits and mild punctuation, without a word that attacks are made of.

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use std::sync::LazyLock;

/// Shorter runs of letters and digits are not looked at as base64 or hexadecimal.
pub(super) const RUN: usize = 12;

/// What a byte can begin.
enum Kind {
    /// Nothing.
    Mild,
    /// A run that may be an encoding, if upper case or a digit is in it.
    Lower,
    Mixed,
    /// Look closer.
    Sharp,
}

fn kind(byte: u8) -> Kind {
    match byte {
        b'a'..=b'z' | b'_' => Kind::Lower,
        b'A'..=b'Z' | b'0'..=b'9' => Kind::Mixed,
        b' ' | b'.' | b',' | b'-' | b'?' | b'!' | b':' | b'/' | b'#' | b'@' | b'+' => Kind::Mild,
        _ => Kind::Sharp,
    }
}

/// Words without which plain bytes make no attack that the shapes know.
const WORDS: &[&str] = &[
    " or 0",
    " or 1",
    " or 2",
    " or 3",
    " or 4",
    " or 5",
    " or 6",
    " or 7",
    " or 8",
    " or 9",
    " or true",
    " or not",
    " or -",
    " or +",
    " or !",
    " or @",
    " and 0",
    " and 1",
    " and 2",
    " and 3",
    " and 4",
    " and 5",
    " and 6",
    " and 7",
    " and 8",
    " and 9",
    " and true",
    " and not",
    " and -",
    " and +",
    " and !",
    " and @",
    "having 1",
    " xor ",
    "metadata.",
    "meta-data",
    "select",
    "union",
    "order by",
    "group by",
    "waitfor",
    "insert ",
    "xp_",
    "sp_",
    "dbms",
    "utl_",
    "sysobjects",
    "information_schema",
    "sqlite_master",
    "rlike",
    "outfile",
    "dumpfile",
    "--",
    "/etc/",
    "passwd",
    "..",
    ".ini",
    "/proc/",
    "win32",
    "windows",
    "://",
    "javascript:",
    "vbscript:",
    "data:",
    "jndi",
    "child_process",
    "proto__",
    "constructor",
    "java.",
    "javax.",
    "rO0AB",
    "aced0005",
    "class.module",
    "__",
    "oast",
    "burpcollab",
    "interact.sh",
    "acunetix",
    "169.254",
    "web-inf",
    ".ht",
    ".git/",
    ".ssh",
    ".aws",
    ".env",
    "/bin/",
    "powershell",
    "cmd.exe",
    "cmd /c",
    "certutil",
    "nslookup",
    "/dev/",
    "php",
    "classloader",
    "ysoserial",
    "commons.collections",
    "/*",
    "*/",
    "/?",
    ":include",
    "#include",
    "#exec",
    "#set",
    "#foreach",
    "/winnt",
    "gasv",
    "ip6",
    "wp-config",
    "::",
    "mosconfig",
    "/var/",
    "nessus",
    "nikto",
    "sqlmap",
    "wvstest",
    "netsparker",
    "/root",
    "c:/",
    "!!python",
    "!ruby",
    "!!java",
    "vbs:",
    "livescript:",
    "mocha:",
];

/// Whether nothing can be found in the value: no shape, and no step of the ladder changes it. One quick pass.
pub fn is_plain(value: &[u8]) -> bool {
    static AUTOMATON: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
        AhoCorasick::builder().ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA)).build(WORDS).ok()
    });
    let (mut run, mut mixed) = (0usize, false);
    for byte in value {
        match kind(*byte) {
            Kind::Mild => (run, mixed) = (0, false),
            Kind::Lower => run += 1,
            Kind::Mixed => (run, mixed) = (run + 1, true),
            Kind::Sharp => return false,
        }
        if run >= RUN && mixed {
            return false;
        }
    }
    AUTOMATON.as_ref().is_some_and(|automaton| !automaton.is_match(value))
}
