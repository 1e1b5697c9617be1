//! What the fields of a request are for: classes, how a value is held against its class, and the tables that give each
//! field of an operation its own.

pub mod class;
pub mod fields;
pub mod grammar;
pub mod json_text;
pub mod json_tree;
pub mod media;
pub mod short;
pub mod sniff;
pub mod text;
pub mod url;

pub use class::{Class, SpecError};
pub use fields::{Case, Expect, Fields, Part, Parts, Purpose, Table};
pub use json_tree::{JsonPath, JsonTree, Node};
pub use media::MediaRange;
