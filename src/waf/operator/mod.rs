//! Operators (skeleton; the bodies follow within minutes).

/// Why an operator cannot be built, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorFault {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

/// What the last capturing match caught: up to ten groups, 0 being the whole match.
#[derive(Debug, Clone, Default)]
pub struct Captures { groups: Vec<Option<Vec<u8>>> }

impl Captures {
    /// None caught.
    pub fn new() -> Self { Self::default() }
    /// The bytes of group `n`.
    pub fn get(&self, n: usize) -> Option<&[u8]> { self.groups.get(n).and_then(|g| g.as_deref()) }
    /// One more than the highest group that took part; 0 when nothing was caught.
    pub fn len(&self) -> usize { self.groups.len() }
    /// Whether nothing was caught.
    pub fn is_empty(&self) -> bool { self.groups.is_empty() }
    /// Whether a backtracking limit ended the last match (TX:MSC_PCRE_LIMITS_EXCEEDED).
    pub fn limit_exceeded(&self) -> bool { false }
    /// Forgets all.
    pub fn clear(&mut self) { self.groups.clear(); }
}

/// A compiled operator: `Send + Sync`, holds no request state.
#[derive(Debug)]
pub struct Operator {}

impl Operator {
    /// Compiles `@name argument`. `data` reads a file named by @pmFromFile or @ipMatchFromFile.
    ///
    /// # Errors
    /// An unknown or unsupported operator, or an argument it cannot take.
    pub fn compile(_name: &str, _argument: &str, _data: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>) -> Result<Self, OperatorFault> { Ok(Self {}) }
    /// Whether `value` matches. With `want_captures` fills `captures` on a match.
    pub fn matches(&self, _value: &[u8], _want_captures: bool, _captures: &mut Captures) -> bool { false }
    /// The same for an operator that takes macros, `argument` being already expanded.
    pub fn matches_expanded(&self, _value: &[u8], _argument: &[u8], _captures: &mut Captures) -> bool { false }
    /// Whether the argument holds a macro, so that `matches_expanded` is the call to make.
    pub fn has_macro(&self) -> bool { false }
    /// Whether an argument with a macro is accepted by this operator at all.
    pub fn takes_macro(&self) -> bool { false }
    /// The operator's name as the manual writes it.
    pub fn name(&self) -> &'static str { "" }
    /// The argument as written.
    pub fn argument(&self) -> &str { "" }
}
