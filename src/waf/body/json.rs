//! skeleton
/// Bounds.
#[derive(Debug, Clone, Copy)]
pub struct JsonLimits {
    /// Deepest nesting (SecRequestBodyJsonDepthLimit).
    pub depth: usize,
    /// Most fields kept (SecArgumentsLimit).
    pub args: usize,
    /// Most bytes of flattened names and values together.
    pub flattened: usize,
}
impl Default for JsonLimits { fn default() -> Self { Self { depth: 512, args: 1000, flattened: 16 << 20 } } }
/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonFields {
    /// Names (`json.a.b`, `json.a.0`) and values in document order.
    pub args: Vec<(Vec<u8>, Vec<u8>)>,
    /// `JSON parsing error: ...`
    pub error: Option<String>,
}
/// Flattens a JSON document.
pub fn flatten(_input: &[u8], _limits: &JsonLimits) -> JsonFields { JsonFields::default() }
