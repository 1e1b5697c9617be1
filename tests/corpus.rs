//! Replays every fuzz corpus with the bodies the fuzzer runs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../fuzz/bodies.rs"]
mod bodies;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder}: {e}")) {
        let path = entry.unwrap().path();
        run(&std::fs::read(&path).unwrap());
        inputs += 1;
    }
    assert!(inputs > 0, "{folder} is empty");
    run(b"");
}

macro_rules! corpora {
    ($($target:ident),*) => {$(
        #[test]
        fn $target() {
            replay(stringify!($target), bodies::$target);
        }
    )*};
}

corpora!(
    seclang,
    transform,
    body,
    transaction,
    request,
    chunks,
    cache_control,
    config,
    policy,
    openapi,
    proxy_header,
    client_hello
);
