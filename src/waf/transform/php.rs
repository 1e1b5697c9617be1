//! `phpArgsNames`: the name under which PHP registers a variable.

use std::borrow::Cow;

/// Leading spaces go; up to the first `[`, blanks and dots become `_`. A name that starts with `[` is none. After
/// that only `[index]` groups count: blanks right behind a `[` go, what follows the last group too. A first `[` that
/// never closes becomes `_` and the rest stays.
pub(super) fn argument_name(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let name = value.iter().position(|&byte| byte != b' ').and_then(|at| value.get(at..)).unwrap_or_default();
    let open = name.iter().position(|&byte| byte == b'[').unwrap_or(name.len());
    let (plain, mut groups) = name.split_at(open);
    let mut out = Vec::with_capacity(name.len());
    if !plain.is_empty() {
        out.extend(plain.iter().map(|&byte| if matches!(byte, b' ' | b'.') { b'_' } else { byte }));
        let mut first = true;
        while let Some(inside) = groups.strip_prefix(b"[") {
            let blanks = inside.iter().take_while(|&&byte| super::in_place::is_space(byte)).count();
            let index = inside.get(blanks..).unwrap_or_default();
            let Some(length) = index.iter().position(|&byte| byte == b']') else {
                if first {
                    out.push(b'_');
                    out.extend_from_slice(inside);
                }
                break;
            };
            first = false;
            out.push(b'[');
            out.extend_from_slice(index.get(..length).unwrap_or_default());
            out.push(b']');
            groups = index.get(length.saturating_add(1)..).unwrap_or_default();
        }
    }
    if out == *value { value } else { Cow::Owned(out) }
}
