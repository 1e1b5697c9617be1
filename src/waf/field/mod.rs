//! What every field of a request is for: classes, and the tables that give each field its class.

pub mod class;
pub mod fields;
pub mod grammar;
pub mod json_tree;
pub mod media;

pub use class::{Class, SpecError};
pub use fields::{Expect, Fields, Part, Purpose, Table};
pub use json_tree::{JsonPath, JsonTree, Kind, Node};
pub use media::MediaRange;
