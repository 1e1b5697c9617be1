//! skeleton
/// Bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most arguments kept (SecArgumentsLimit).
    pub args: usize,
}
impl Default for Limits { fn default() -> Self { Self { args: 1000 } } }
/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// Names and values, decoded once, in order; repeats stay.
    pub args: Vec<(Vec<u8>, Vec<u8>)>,
    /// The limit reached, with its value.
    pub error: Option<String>,
}
/// Reads a query string or a form body.
pub fn parse(_input: &[u8], _separator: u8, _limits: &Limits) -> Form { Form::default() }
