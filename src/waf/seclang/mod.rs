//! SecLang, the language of ModSecurity's rule files: text → tree with places, and back.
//!
//! Decides what was written, not what it means: it knows the form of targets, operators and action lists but no
//! variable, operator or action by name (that is `compile`'s). Cost is linear in the file. Every faulty line is
//! reported, with line and column; a fault never hides the faults of later lines. Source: the ModSecurity v3 reference
//! manual; where Apache's, libmodsecurity's and Coraza's readers differ, a comment between joined lines is dropped
//! (as Coraza does) and only `\"` is an escape inside `"…"`.

pub mod ast;
mod lexer;
mod parser;
mod print;

pub use parser::{SyntaxFault, parse};

#[cfg(test)]
mod tests;
