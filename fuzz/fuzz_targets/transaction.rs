#![no_main]
#[path = "../bodies.rs"]
mod bodies;
// Loading the rules is no part of the first input's time.
libfuzzer_sys::fuzz_target!(init: { bodies::load_rules() }, |data: &[u8]| bodies::transaction(data));
