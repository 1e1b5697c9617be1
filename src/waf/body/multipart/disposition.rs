//! The Content-Disposition of a part (RFC 7578, section 4.2).

use super::{Fault, MultipartFlags};

/// Which field a part is, and whether it is a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Disposition {
    pub(super) name: Vec<u8>,
    pub(super) filename: Option<Vec<u8>>,
}

/// Reads ` form-data; name="a"; filename="b"`.
///
/// # Errors
/// Another disposition, a parameter without a value, a name or filename given twice, no name.
pub(super) fn parse(value: &[u8], flags: &mut MultipartFlags) -> Result<Disposition, Fault> {
    let invalid = || "Invalid Content-Disposition header.".to_owned();
    let value = value.trim_ascii();
    let kind = value.get(..b"form-data".len()).ok_or_else(invalid)?;
    if !kind.eq_ignore_ascii_case(b"form-data") {
        return Err(invalid());
    }
    let mut rest = value.get(kind.len()..).unwrap_or_default().trim_ascii_start();
    if !rest.is_empty() && !rest.starts_with(b";") {
        return Err(invalid());
    }
    let (mut name, mut filename) = (None, None);
    loop {
        let parameters = rest.trim_ascii_start();
        rest = match parameters.strip_prefix(b";") {
            Some(parameters) => parameters.trim_ascii_start(),
            None => {
                flags.missing_semicolon |= !parameters.is_empty();
                parameters
            }
        };
        if rest.is_empty() {
            break;
        }
        let length = rest.iter().position(|&byte| matches!(byte, b'=' | b';')).ok_or_else(invalid)?;
        let key = rest.get(..length).unwrap_or_default().trim_ascii_end().to_ascii_lowercase();
        if key.is_empty() || rest.get(length) != Some(&b'=') {
            return Err(invalid());
        }
        let behind = rest.get(length.saturating_add(1)..).unwrap_or_default().trim_ascii_start();
        let (text, left) = text(behind, flags).ok_or_else(invalid)?;
        rest = left;
        match key.as_slice() {
            b"name" if name.is_some() => return Err("Duplicate Content-Disposition name.".to_owned()),
            b"name" => name = Some(text),
            // One may be read for the other: two of them are two readings.
            b"filename" | b"filename*" if filename.is_some() => {
                return Err("Duplicate Content-Disposition filename.".to_owned());
            }
            b"filename" => filename = Some(text),
            b"filename*" => filename = Some(extended(&text)?),
            // Others mean nothing to a form.
            _ => {}
        }
    }
    let name = name.ok_or("Content-Disposition header missing name field.")?;
    Ok(Disposition { name, filename })
}

/// A parameter's value and what follows it. In double quotes `\"` and `\\` are escapes, and any other `\` stays: some
/// browsers send paths.
fn text<'a>(value: &'a [u8], flags: &mut MultipartFlags) -> Option<(Vec<u8>, &'a [u8])> {
    let Some(&quote) = value.first().filter(|byte| matches!(byte, b'"' | b'\'')) else {
        let length = value.iter().position(|byte| *byte == b';' || byte.is_ascii_whitespace()).unwrap_or(value.len());
        let (token, rest) = value.split_at(length);
        flags.invalid_quoting |= token.iter().any(|byte| matches!(byte, b'"' | b'\''));
        return (!token.is_empty()).then(|| (token.to_vec(), rest));
    };
    flags.invalid_quoting |= quote == b'\'';
    let mut text = Vec::new();
    let mut rest = value.get(1..)?;
    loop {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        match (byte, tail.split_first()) {
            (b'\\', Some((&next, tail))) if next == quote || next == b'\\' => {
                // To a reader that knows no escapes the value ends at this quote.
                flags.invalid_quoting |= next == quote || tail.first() == Some(&quote);
                text.push(next);
                rest = tail;
            }
            (byte, _) if byte == quote => return Some((text, rest)),
            _ => text.push(byte),
        }
    }
}

/// `UTF-8''%e2%82%ac` (RFC 8187, section 3.2): the bytes, whatever the character set says.
fn extended(text: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut pieces = text.splitn(3, |&byte| byte == b'\'');
    match (pieces.next(), pieces.next(), pieces.next()) {
        (Some(_), Some(_), Some(encoded)) => {
            // `+` is a plain character here, so the form decoder will not do.
            let mut out = Vec::with_capacity(encoded.len());
            let mut rest = encoded;
            while let Some((&byte, tail)) = rest.split_first() {
                let pair = tail.get(..2).filter(|_| byte == b'%').and_then(|pair| std::str::from_utf8(pair).ok());
                match pair.filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit())) {
                    Some(pair) => {
                        out.push(u8::from_str_radix(pair, 16).unwrap_or_default());
                        rest = tail.get(2..).unwrap_or_default();
                    }
                    None => {
                        out.push(byte);
                        rest = tail;
                    }
                }
            }
            Ok(out)
        }
        _ => Err("Invalid Content-Disposition header (filename*).".to_owned()),
    }
}
