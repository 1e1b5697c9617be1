//! Body processors: what a body's fields are.
//!
//! One strict reader for each format, pure functions from bytes to fields, without knowledge of rules. What was read
//! before a fault counts and is handed out beside the fault, so that an attack in front of the break is seen; whether
//! a faulty body is refused is the rules' matter (`REQBODY_ERROR`, `MULTIPART_STRICT_ERROR`), and the recommended ones
//! refuse it. Time is linear in the body, memory a small multiple of it, nesting is walked without recursion, and
//! each limit reached is a fault that names the limit and its value.

pub mod json;
pub mod multipart;
pub mod urlencoded;
pub mod xml;

#[cfg(test)]
mod tests;
