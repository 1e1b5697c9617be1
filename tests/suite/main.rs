//! Black-box tests: the real program on free ports, spoken to over real sockets. One file a capability.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::large_futures,
    reason = "a test fails by panicking"
)]

mod harness;

mod abuse;
mod acme;
mod admin;
mod audit;
mod balance;
mod cache;
mod cli;
mod commands;
mod faults;
mod fields;
mod handover;
mod hold;
mod limits;
mod malformed;
mod opening;
mod outages;
mod policy;
mod reload;
mod rules;
mod secrets;
mod shadow;
mod shipped;
mod smuggling;
mod streams;
mod tls;
mod tune;
mod upstream;
mod wire;
