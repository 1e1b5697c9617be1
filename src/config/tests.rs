use super::*;
use std::collections::BTreeSet;
use std::env::VarError;

fn unset(_: &str) -> Result<String, VarError> {
    Err(VarError::NotPresent)
}

fn faults(text: &str) -> Vec<String> {
    match parse(Path::new("gate.toml"), text, &unset) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn each_fault_has_its_place_and_its_mend() {
    for (text, expected) in [
        (
            "[server]\nthread = 1",
            "gate.toml:2:1: unknown key \"thread\" in [server]; did you mean \"threads\"?\n    thread = 1\n    ^",
        ),
        ("[sever]\nthreads = 1", "gate.toml:1:2: unknown key \"sever\"; did you mean \"server\"?\n    [sever]\n     ^"),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\n\n[[listener]]\ntls = false",
            "gate.toml:4:1: the key \"address\" is missing in [[listener]]; add a line: address = …\n    [[listener]]\n    ^",
        ),
        (
            "server.threads = \"two\"",
            "gate.toml:1:18: \"threads\" must be a whole number, 0 or above, not the text \"two\"\n    server.threads = \"two\"\n                     ^",
        ),
        (
            "[[listener]]\naddress = \"localhost\"",
            "gate.toml:2:11: \"address\" must be an address and a port; write it as 127.0.0.1:8443 or [::1]:8443\n    \
             address = \"localhost\"\n              ^",
        ),
        (
            "listener = [{ address = \"[::1]:1\", https_port = 70000 }]",
            "gate.toml:1:49: \"https_port\" cannot be 70000; write a whole number from 0 to 65535\n    \
             listener = [{ address = \"[::1]:1\", https_port = 70000 }]\n                                                    ^",
        ),
        (
            "[timeouts]\nhead = \"5 weeks\"",
            "gate.toml:2:8: \"5 weeks\" is no duration; write a whole number and ms, s, m, h or d, as \"5s\"\n    \
             head = \"5 weeks\"\n           ^",
        ),
        (
            "[waf]\nmode = \"blok\"",
            "gate.toml:2:8: \"blok\" is no value of \"mode\"; write one of enforce, detect\n    mode = \"blok\"\n           ^",
        ),
        (
            "[waf]\nengine = \"DetectOnly\"",
            "gate.toml:2:10: \"DetectOnly\" is no value of \"engine\"; did you mean \"DetectionOnly\"?\n    \
             engine = \"DetectOnly\"\n             ^",
        ),
        (
            "[waf]\nenabled = 1",
            "gate.toml:2:11: \"enabled\" must be true or false, not 1\n    enabled = 1\n              ^",
        ),
        ("waf = true", "gate.toml:1:7: \"waf\" must be a table, not true\n    waf = true\n          ^"),
        (
            "[waf]\nrules = 7",
            "gate.toml:2:9: \"rules\" must be an array, or a text with commas between its items, not 7\n    rules = 7\n            ^",
        ),
        (
            "[server]\nname = \"a\"\nname = \"b\"",
            "gate.toml:3:1: this key is here for the second time; remove one of them\n    name = \"b\"\n    ^",
        ),
        (
            "[server]\nstate_dir = \"x${DIR}\"",
            "gate.toml:2:15: the environment variable DIR is not set; set it, or give a default: ${DIR:-…}\n    \
             state_dir = \"x${DIR}\"\n                  ^",
        ),
        (
            "[server]\nname = \"${A:-long text}\" \t\nthreads = ${T:-on}",
            "gate.toml:3:11: \"threads\" must be a whole number, 0 or above, not true (from ${T:-on})\n    \
             threads = ${T:-on}\n              ^",
        ),
        (
            "listener = []",
            "gate.toml:1:12: the gate would listen nowhere; add a [[listener]] with an address\n    listener = []\n               ^",
        ),
        (
            "[waf]\nmax_body = \"1GiB\"",
            "gate.toml:1:1: waf.held_total: 256MiB is less than one body of 1GiB (waf.max_body); raise it, or lower \
             waf.max_body\n    [waf]\n    ^",
        ),
        (
            "[http]\nmax_head = \"8KiB\"",
            "gate.toml:1:1: http.max_target: a target of 16KiB does not fit into a head of 8KiB; lower it, or raise \
             http.max_head\n    [http]\n    ^",
        ),
        (
            "[timeouts]\nhead = \"0s\"",
            "gate.toml:2:8: with zero here nothing could pass; write a value above zero\n    head = \"0s\"\n           ^",
        ),
        (
            "[overload]\nmax_held = \"64KiB\"",
            "gate.toml:2:12: 64KiB leaves no room for slow clients; write at least 1MiB, or 0B for no bound\n    \
             max_held = \"64KiB\"\n               ^",
        ),
        (
            "[overload]\nmax_lag = \"1ms\"",
            "gate.toml:2:11: a busy gate is as late as this, and serves all the same; write at least 10ms, or 0s for no \
             bound\n    max_lag = \"1ms\"\n              ^",
        ),
        (
            "server.threads = 100000",
            "gate.toml:1:18: 100000 threads are too many; write at most 1024, or 0 for one each core\n    \
             server.threads = 100000\n                     ^",
        ),
        (
            "[[route]]\nname = \"a\"\npath = \"/a\"\nmax_body = \"1GiB\"",
            "gate.toml:4:12: a body of 1GiB cannot be held within 256MiB (waf.held_total); lower it, raise \
             waf.held_total, or write inspect = false\n    max_body = \"1GiB\"\n               ^",
        ),
        (
            "[[listener]]\naddress = \"[::1]:1\"\n[[listener]]\naddress = \"[::1]:1\"",
            "gate.toml:4:11: another listener already has [::1]:1; give it another port\n    address = \"[::1]:1\"\n              ^",
        ),
    ] {
        assert_eq!(faults(text), [expected], "{text}");
    }
}

#[test]
fn all_faults_of_a_file_are_reported_together() {
    let text = r#"
[server]
thread = 1
drain = "soon"
name = "${UNSET}"

[[listener]]
address = 9
tls = "yes"

[[listener]]
tls = false

[waf]
max_body = -1
core_rules = "on"
"#;
    let found = faults(text);
    let lines: BTreeSet<&str> = found.iter().filter_map(|fault| fault.split(':').nth(1)).collect();
    assert_eq!(lines, BTreeSet::from(["3", "4", "5", "8", "9", "11", "15", "16"]), "{found:#?}");
}

#[test]
fn broken_syntax_is_placed() {
    for (text, place) in [
        ("[server\nthreads = 1", "gate.toml:1:8: "),
        ("a = \"é${X:-long default}\" b", "gate.toml:1:27: "),
        ("a = \"open\nb = 1", "gate.toml:1:"),
        ("[server]\nthreads = two", "gate.toml:2:11: "),
    ] {
        let found = faults(text);
        assert!(found.first().is_some_and(|fault| fault.starts_with(place)), "{text}: {found:#?}");
    }
}

#[test]
fn a_stages_fault_is_placed_at_its_key() {
    let text =
        "[server]\nname = \"${NAME:-a longer default}\"\nstate_dir = \"x\"\n\n[[listener]]\naddress = \"[::1]:1\"\n";
    let config = parse(Path::new("dir/gate.toml"), text, &unset).unwrap();
    for (key, place) in [
        ("server.state_dir", "dir/gate.toml:3:13: wrong"),
        ("server.drain", "dir/gate.toml:1:1: server.drain: wrong"),
        ("listener[0].address", "dir/gate.toml:6:11: wrong"),
        ("listener[0].https_port", "dir/gate.toml:5:1: listener[0].https_port: wrong"),
        ("audit.path", "dir/gate.toml: audit.path: wrong"),
    ] {
        let located = config.locate(Fault::key(key, "wrong", "mend it")).to_string();
        assert!(located.starts_with(&format!("{place}; mend it")), "{key}: {located}");
    }
    let elsewhere = Fault::file("rules.conf", (1, 2), "", "wrong", "");
    assert_eq!(config.locate(elsewhere.clone()), elsewhere);
    assert_eq!((config.base.as_path(), config.state_dir()), (Path::new("dir"), PathBuf::from("dir/x")));
}

#[test]
fn files_that_cannot_be_read_are_faults() {
    let dir = tempfile::tempdir().unwrap();
    let (missing, binary) = (dir.path().join("missing.toml"), dir.path().join("binary.toml"));
    std::fs::write(&binary, [0xFF, 0xFE, 0]).unwrap();
    for (path, words) in [(missing.as_path(), "cannot be read"), (&binary, "UTF-8"), (Path::new("/dev/zero"), "larger")]
    {
        let faults = load(path).unwrap_err();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].to_string().contains(words), "{}", faults[0]);
    }
}

/// The variables that the shipped files need, and what they stand for here.
fn shipped(name: &str) -> Result<String, VarError> {
    match name {
        "GATEHOUSE_CRS_DIR" => Ok("/opt/crs".into()),
        _ => Err(VarError::NotPresent),
    }
}

fn config_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn load_shipped(name: &str, variables: &Variables<'_>) -> Config {
    let path = config_dir().join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    parse(&path, &text, variables).unwrap_or_else(|faults| panic!("{name}: {faults:#?}"))
}

const SHIPPED: [&str; 8] = [
    "gatehouse.toml",
    "demo.toml",
    "archon.toml",
    "grpc.toml",
    "conformance/proxy.toml",
    "conformance/crs.toml",
    "conformance/cache.toml",
    "conformance/edge.toml",
];

#[test]
fn the_effective_configuration_loads_again_as_itself() {
    let mut documents = vec![Document::default()];
    let mut odd = Document::default();
    odd.server.name = "$ $$ ${HOME} ' \" \\ \n é".to_owned();
    documents.push(odd);
    documents.extend(SHIPPED.map(|name| load_shipped(name, &shipped).document));
    for document in documents {
        let printed = effective(&document);
        let again =
            parse(Path::new("effective.toml"), &printed, &unset).unwrap_or_else(|f| panic!("{f:#?}\n{printed}"));
        assert_eq!(effective(&again.document), printed);
        assert_eq!(again.document.server, document.server);
    }
}

#[test]
fn the_published_variables_reach_the_shipped_files() {
    let variables = |name: &str| match name {
        "GATEHOUSE_TLS_PORT" => Ok("1443".into()),
        "GATEHOUSE_HTTP_PORT" => Ok("1080".into()),
        "GATEHOUSE_ADMIN_PORT" => Ok("1918".into()),
        "GATEHOUSE_UPSTREAM" => Ok("127.0.0.1:7001, 127.0.0.1:7002".into()),
        "GATEHOUSE_CERT" => Ok("/x/cert.pem".into()),
        "GATEHOUSE_KEY" => Ok("/x/key.pem".into()),
        "GATEHOUSE_AUDIT_FILE" => Ok("/x/audit.jsonl".into()),
        "GATEHOUSE_THREADS" => Ok("3".into()),
        "GATEHOUSE_STATE_DIR" => Ok("/x/state".into()),
        _ => shipped(name),
    };
    for name in SHIPPED.iter().filter(|name| !["gatehouse.toml", "demo.toml"].contains(name)) {
        let document = load_shipped(name, &variables).document;
        let listeners: Vec<(String, bool, PlainMode)> =
            document.listener.iter().map(|l| (l.address.to_string(), l.tls, l.plain)).collect();
        assert_eq!(listeners[0], ("127.0.0.1:1443".to_owned(), true, PlainMode::Redirect), "{name}");
        assert_eq!(listeners[1], ("127.0.0.1:1080".to_owned(), false, PlainMode::Serve), "{name}");
        assert_eq!((document.server.threads, document.server.state_dir.to_str()), (3, Some("/x/state")), "{name}");
        let printed = effective(&document);
        for value in [
            "127.0.0.1:1918",
            "\"127.0.0.1:7001\"",
            "\"127.0.0.1:7002\"",
            "/x/cert.pem",
            "/x/key.pem",
            "/x/audit.jsonl",
        ] {
            assert!(printed.contains(value), "{name}: {value} is not in\n{printed}");
        }
    }
}

#[test]
fn the_state_folder_takes_all_that_is_written() {
    let variables = |name: &str| match name {
        "GATEHOUSE_STATE_DIR" => Ok("/x/state".into()),
        _ => shipped(name),
    };
    for name in SHIPPED.iter().filter(|name| !["gatehouse.toml", "demo.toml"].contains(name)) {
        let document = load_shipped(name, &variables).document;
        assert_eq!(document.audit.file, Path::new("/x/state/audit.jsonl"), "{name}");
        assert!(document.tls.certificates.iter().all(|pair| pair.cert.as_os_str().is_empty()), "{name}");
    }
}

/// The reference file with its optional settings switched on: a line `#key = value` is one, a line `# text` is not.
fn uncommented(text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_reference_file_is_the_defaults() {
    let as_shipped = load_shipped("gatehouse.toml", &unset).document;
    assert_eq!(effective(&as_shipped), effective(&Document::default()));
}

#[test]
fn the_reference_file_names_every_key() {
    let path = config_dir().join("gatehouse.toml");
    let text = uncommented(&std::fs::read_to_string(&path).unwrap());
    // No key that does not exist: they are refused.
    parse(&path, &text, &unset).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let written = keys::written(&toml::from_str(&text).unwrap());
    // A pool has the keys of [upstream], which has no name.
    let told = |key: &String| {
        let of_pool = key.strip_prefix("pool.").map(|key| format!("upstream.{key}"));
        written.contains(key) || of_pool.is_some_and(|key| written.contains(&key)) || key == "upstream.name"
    };
    let missing: Vec<String> = keys::of_document().into_iter().filter(|key| !told(key)).collect();
    assert_eq!(missing, Vec::<String>::new(), "config/gatehouse.toml says nothing about these keys");
}

/// Every key there is, found by asking serde what each struct wants to read.
mod keys {
    use super::Document;
    use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer as _, Visitor};
    use serde::{Deserialize as _, forward_to_deserialize_any};
    use std::collections::{BTreeSet, VecDeque};

    type Stop = de::value::Error;

    /// Walks one path of field names; at its end it notes the fields that are asked for there.
    struct Walk<'a> {
        path: &'a [String],
        fields: &'a mut Option<&'static [&'static str]>,
    }

    fn stop() -> Stop {
        de::Error::custom("seen enough")
    }

    impl<'de> Deserializer<'de> for Walk<'_> {
        type Error = Stop;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
            Err(stop())
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Stop> {
            if self.path.is_empty() {
                *self.fields = Some(fields);
                return Err(stop());
            }
            visitor.visit_map(Once(self))
        }

        fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            if self.path.is_empty() {
                *self.fields = Some(&["*"]);
                return Err(stop());
            }
            visitor.visit_map(Once(self))
        }

        fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            visitor.visit_some(self)
        }

        fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Stop> {
            visitor.visit_newtype_struct(self)
        }

        fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            visitor.visit_seq(Once(self))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct tuple
            tuple_struct enum identifier ignored_any
        }
    }

    /// The one field, or the one item, that lies on the path.
    struct Once<'a>(Walk<'a>);

    impl<'de> de::MapAccess<'de> for Once<'_> {
        type Error = Stop;

        fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
            let (first, others) = self.0.path.split_first().ok_or_else(stop)?;
            self.0.path = others;
            seed.deserialize(first.as_str().into_deserializer()).map(Some)
        }

        fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
            seed.deserialize(Walk { path: self.0.path, fields: self.0.fields })
        }
    }

    impl<'de> de::SeqAccess<'de> for Once<'_> {
        type Error = Stop;

        fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
            seed.deserialize(Walk { path: self.0.path, fields: self.0.fields }).map(Some)
        }
    }

    /// All keys of a document, dotted; `*` for the free names of a map.
    pub(super) fn of_document() -> Vec<String> {
        let mut todo = VecDeque::from([Vec::<String>::new()]);
        let mut leaves = Vec::new();
        while let Some(path) = todo.pop_front() {
            let mut fields = None;
            let _ = Document::deserialize(Walk { path: &path, fields: &mut fields });
            match fields {
                Some(fields) => todo.extend(fields.iter().map(|field| [&path[..], &[(*field).to_owned()]].concat())),
                None => leaves.push(path.join(".")),
            }
        }
        leaves
    }

    /// All keys that a file writes, with `*` beside each name, since only the struct knows where names are free.
    pub(super) fn written(table: &toml::Table) -> BTreeSet<String> {
        fn walk(value: &toml::Value, path: &str, keys: &mut BTreeSet<String>) {
            match value {
                toml::Value::Table(table) => {
                    for (key, value) in table {
                        for name in [key, "*"] {
                            walk(
                                value,
                                &if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") },
                                keys,
                            );
                        }
                    }
                }
                toml::Value::Array(items) => items.iter().for_each(|item| walk(item, path, keys)),
                _ => {}
            }
            keys.insert(path.to_owned());
        }
        let mut keys = BTreeSet::new();
        walk(&toml::Value::Table(table.clone()), "", &mut keys);
        keys
    }
}
