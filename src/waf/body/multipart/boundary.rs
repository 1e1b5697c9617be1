//! The boundary in a Content-Type of `multipart/form-data`.

use super::{Fault, MultipartFlags};

/// Longest boundary taken. RFC 2046 allows 70; clients with a few more exist, and longer ones cost nothing but a name.
const LONGEST: usize = 200;

/// The boundary that `value` names.
///
/// # Errors
/// Another media type; no boundary, several, an empty one; a character that RFC 2046 does not allow in one.
pub(super) fn of_content_type(value: &[u8], flags: &mut MultipartFlags) -> Result<Vec<u8>, Fault> {
    const TYPE: &[u8] = b"multipart/form-data";
    let parameters = value
        .get(..TYPE.len())
        .filter(|start| start.eq_ignore_ascii_case(TYPE))
        .and_then(|_| value.get(TYPE.len()..))
        .ok_or("Content-Type is not multipart/form-data.")?;
    // Where `boundary` stands as a word, in any case, wherever it stands: a lenient reader may take any of them.
    let lower = parameters.to_ascii_lowercase();
    // Inside the value itself the word is no parameter: only one with `=` behind it is.
    let places: Vec<usize> =
        memchr::memmem::find_iter(&lower, b"boundary").filter(|&at| is_parameter(&lower, at)).collect();
    let at = match places.as_slice() {
        [] if memchr::memmem::find(&lower, b"boundary").is_some() => {
            return Err("Invalid boundary in C-T (parameter name).".to_owned());
        }
        [] => return Err("Boundary not found in C-T.".to_owned()),
        [at] => *at,
        _ => return Err("Multiple boundary parameters in C-T.".to_owned()),
    };
    let (before, rest) = parameters.split_at(at);
    if !before.trim_ascii_end().ends_with(b";") {
        return Err("Invalid boundary in C-T (malformed).".to_owned());
    }
    let rest = rest.strip_prefix(b"boundary").ok_or("Invalid boundary in C-T (case sensitivity).")?;
    let blanks = rest.len().saturating_sub(rest.trim_ascii_start().len());
    let rest = rest.trim_ascii_start().strip_prefix(b"=").ok_or("Invalid boundary in C-T (parameter name).")?;
    flags.boundary_whitespace |= blanks > 0 || rest.first().is_some_and(u8::is_ascii_whitespace);
    let rest = rest.trim_ascii_start();

    let boundary = if let Some(quoted) = rest.strip_prefix(b"\"") {
        flags.boundary_quoted = true;
        let end = quoted.iter().position(|&byte| byte == b'"').ok_or("Invalid boundary in C-T (quote).")?;
        let behind = quoted.get(end.saturating_add(1)..).unwrap_or_default().trim_ascii();
        if !behind.is_empty() && !behind.starts_with(b";") {
            return Err("Invalid boundary in C-T (characters).".to_owned());
        }
        quoted.get(..end).unwrap_or_default()
    } else {
        let end = rest.iter().position(|&byte| byte == b';');
        let token = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        if token.contains(&b'"') {
            return Err("Invalid boundary in C-T (quote).".to_owned());
        }
        flags.boundary_whitespace |= token.last().is_some_and(u8::is_ascii_whitespace);
        token.trim_ascii_end()
    };
    if boundary.is_empty() {
        return Err("Invalid boundary in C-T (empty).".to_owned());
    }
    if boundary.len() > LONGEST {
        return Err(format!("Invalid boundary in C-T (longer than {LONGEST} bytes)."));
    }
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
    if !boundary.iter().all(allowed) || boundary.ends_with(b" ") {
        return Err("Invalid boundary in C-T (characters).".to_owned());
    }
    Ok(boundary.to_vec())
}

/// Whether the word `boundary` at `at` is a parameter's name: nothing of a word before it, `=` behind it.
fn is_parameter(lower: &[u8], at: usize) -> bool {
    let behind = lower.get(at.saturating_add(b"boundary".len())..).unwrap_or_default().trim_ascii_start();
    let before = at.checked_sub(1).and_then(|before| lower.get(before));
    behind.starts_with(b"=") && before.is_none_or(|byte| byte.is_ascii_whitespace() || matches!(byte, b';' | b','))
}
