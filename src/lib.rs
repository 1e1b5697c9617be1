//! Gatehouse.
pub mod facts;
pub mod fault;
pub mod units;
pub mod verdict;
