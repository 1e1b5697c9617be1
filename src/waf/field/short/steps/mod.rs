//! The steps of the ladder: each gives the text it makes, or nothing where it changes nothing. One pass each.

pub(super) mod encoding;
pub(super) mod writing;

#[cfg(test)]
mod tests;
