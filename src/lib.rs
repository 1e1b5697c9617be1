//! Gatehouse: an edge reverse proxy and web application firewall.
//!
//! Modules in the order a request meets them. Data flows one way: a stage gets facts and gives a fact or a
//! [`verdict::Refusal`]; [`gate`] alone knows the order; [`edge`] alone knows the base it runs on.

pub mod facts;
pub mod fault;
pub mod units;
pub mod verdict;

pub mod telemetry;

pub mod tls;

pub mod acme;

pub mod client;
pub mod reputation;
pub mod request;

pub mod limit;
pub mod policy;

pub mod inspect;

pub mod cache;

pub mod balance;

pub mod audit;

pub mod config;
pub mod snapshot;

pub mod gate;

pub(crate) mod edge;

pub mod admin;

pub mod handover;

pub mod server;

pub mod cli;
