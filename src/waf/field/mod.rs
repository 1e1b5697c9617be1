//! What the fields of a request are for: classes, and how a value is held against its class.

pub mod class;
pub mod grammar;
pub mod text;
pub mod url;
