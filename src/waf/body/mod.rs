//! Body processors.
pub mod json;
pub mod multipart;
pub mod urlencoded;
pub mod xml;
