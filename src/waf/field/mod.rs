//! Classes of fields: what a parameter, header, cookie or part of a body may hold.

pub mod short;
