#![forbid(unsafe_code)]
pub mod body;
pub mod operator;
pub mod transform;
