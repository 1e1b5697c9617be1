//! The best fit of a code point in US-ASCII: what Windows makes of it when it converts to code page 20127, as the
//! `unicode.mapping` file of ModSecurity lists it. The full-width forms U+FF01 to U+FF5E follow a rule, the rest is a
//! table sorted by code point.

/// The ASCII byte that stands for `code`, if code page 20127 names one.
pub(super) fn ascii(code: u16) -> Option<u8> {
    if let 0xFF01..=0xFF5E = code {
        return Some(super::in_place::narrow(0xFF, code.to_be_bytes()[1]));
    }
    let at = BEST_FIT.binary_search_by_key(&code, |&(code, _)| code).ok()?;
    BEST_FIT.get(at).map(|&(_, byte)| byte)
}

#[rustfmt::skip]
const BEST_FIT: &[(u16, u8)] = &[
    (0x00A0, b' '), (0x00A1, b'!'), (0x00A2, b'c'), (0x00A4, b'$'), (0x00A5, b'Y'), (0x00A6, b'|'), (0x00A9, b'C'),
    (0x00AA, b'a'), (0x00AB, b'<'), (0x00AD, b'-'), (0x00AE, b'R'), (0x00B2, b'2'), (0x00B3, b'3'), (0x00B7, b'.'),
    (0x00B8, b','), (0x00B9, b'1'), (0x00BA, b'o'), (0x00BB, b'>'), (0x00C0, b'A'), (0x00C1, b'A'), (0x00C2, b'A'),
    (0x00C3, b'A'), (0x00C4, b'A'), (0x00C5, b'A'), (0x00C6, b'A'), (0x00C7, b'C'), (0x00C8, b'E'), (0x00C9, b'E'),
    (0x00CA, b'E'), (0x00CB, b'E'), (0x00CC, b'I'), (0x00CD, b'I'), (0x00CE, b'I'), (0x00CF, b'I'), (0x00D0, b'D'),
    (0x00D1, b'N'), (0x00D2, b'O'), (0x00D3, b'O'), (0x00D4, b'O'), (0x00D5, b'O'), (0x00D6, b'O'), (0x00D8, b'O'),
    (0x00D9, b'U'), (0x00DA, b'U'), (0x00DB, b'U'), (0x00DC, b'U'), (0x00DD, b'Y'), (0x00E0, b'a'), (0x00E1, b'a'),
    (0x00E2, b'a'), (0x00E3, b'a'), (0x00E4, b'a'), (0x00E5, b'a'), (0x00E6, b'a'), (0x00E7, b'c'), (0x00E8, b'e'),
    (0x00E9, b'e'), (0x00EA, b'e'), (0x00EB, b'e'), (0x00EC, b'i'), (0x00ED, b'i'), (0x00EE, b'i'), (0x00EF, b'i'),
    (0x00F1, b'n'), (0x00F2, b'o'), (0x00F3, b'o'), (0x00F4, b'o'), (0x00F5, b'o'), (0x00F6, b'o'), (0x00F8, b'o'),
    (0x00F9, b'u'), (0x00FA, b'u'), (0x00FB, b'u'), (0x00FC, b'u'), (0x00FD, b'y'), (0x00FF, b'y'), (0x0100, b'A'),
    (0x0101, b'a'), (0x0102, b'A'), (0x0103, b'a'), (0x0104, b'A'), (0x0105, b'a'), (0x0106, b'C'), (0x0107, b'c'),
    (0x0108, b'C'), (0x0109, b'c'), (0x010A, b'C'), (0x010B, b'c'), (0x010C, b'C'), (0x010D, b'c'), (0x010E, b'D'),
    (0x010F, b'd'), (0x0110, b'D'), (0x0111, b'd'), (0x0112, b'E'), (0x0113, b'e'), (0x0114, b'E'), (0x0115, b'e'),
    (0x0116, b'E'), (0x0117, b'e'), (0x0118, b'E'), (0x0119, b'e'), (0x011A, b'E'), (0x011B, b'e'), (0x011C, b'G'),
    (0x011D, b'g'), (0x011E, b'G'), (0x011F, b'g'), (0x0120, b'G'), (0x0121, b'g'), (0x0122, b'G'), (0x0123, b'g'),
    (0x0124, b'H'), (0x0125, b'h'), (0x0126, b'H'), (0x0127, b'h'), (0x0128, b'I'), (0x0129, b'i'), (0x012A, b'I'),
    (0x012B, b'i'), (0x012C, b'I'), (0x012D, b'i'), (0x012E, b'I'), (0x012F, b'i'), (0x0130, b'I'), (0x0131, b'i'),
    (0x0134, b'J'), (0x0135, b'j'), (0x0136, b'K'), (0x0137, b'k'), (0x0139, b'L'), (0x013A, b'l'), (0x013B, b'L'),
    (0x013C, b'l'), (0x013D, b'L'), (0x013E, b'l'), (0x0141, b'L'), (0x0142, b'l'), (0x0143, b'N'), (0x0144, b'n'),
    (0x0145, b'N'), (0x0146, b'n'), (0x0147, b'N'), (0x0148, b'n'), (0x014C, b'O'), (0x014D, b'o'), (0x014E, b'O'),
    (0x014F, b'o'), (0x0150, b'O'), (0x0151, b'o'), (0x0152, b'O'), (0x0153, b'o'), (0x0154, b'R'), (0x0155, b'r'),
    (0x0156, b'R'), (0x0157, b'r'), (0x0158, b'R'), (0x0159, b'r'), (0x015A, b'S'), (0x015B, b's'), (0x015C, b'S'),
    (0x015D, b's'), (0x015E, b'S'), (0x015F, b's'), (0x0160, b'S'), (0x0161, b's'), (0x0162, b'T'), (0x0163, b't'),
    (0x0164, b'T'), (0x0165, b't'), (0x0166, b'T'), (0x0167, b't'), (0x0168, b'U'), (0x0169, b'u'), (0x016A, b'U'),
    (0x016B, b'u'), (0x016C, b'U'), (0x016D, b'u'), (0x016E, b'U'), (0x016F, b'u'), (0x0170, b'U'), (0x0171, b'u'),
    (0x0172, b'U'), (0x0173, b'u'), (0x0174, b'W'), (0x0175, b'w'), (0x0176, b'Y'), (0x0177, b'y'), (0x0178, b'Y'),
    (0x0179, b'Z'), (0x017B, b'Z'), (0x017C, b'z'), (0x017D, b'Z'), (0x017E, b'z'), (0x0180, b'b'), (0x0189, b'D'),
    (0x0191, b'F'), (0x0192, b'f'), (0x0197, b'I'), (0x019A, b'l'), (0x019F, b'O'), (0x01A0, b'O'), (0x01A1, b'o'),
    (0x01AB, b't'), (0x01AE, b'T'), (0x01AF, b'U'), (0x01B0, b'u'), (0x01B6, b'z'), (0x01CD, b'A'), (0x01CE, b'a'),
    (0x01CF, b'I'), (0x01D0, b'i'), (0x01D1, b'O'), (0x01D2, b'o'), (0x01D3, b'U'), (0x01D4, b'u'), (0x01D5, b'U'),
    (0x01D6, b'u'), (0x01D7, b'U'), (0x01D8, b'u'), (0x01D9, b'U'), (0x01DA, b'u'), (0x01DB, b'U'), (0x01DC, b'u'),
    (0x01DE, b'A'), (0x01DF, b'a'), (0x01E4, b'G'), (0x01E5, b'g'), (0x01E6, b'G'), (0x01E7, b'g'), (0x01E8, b'K'),
    (0x01E9, b'k'), (0x01EA, b'O'), (0x01EB, b'o'), (0x01EC, b'O'), (0x01ED, b'o'), (0x01F0, b'j'), (0x0261, b'g'),
    (0x02B9, b'\''), (0x02BA, b'"'), (0x02BC, b'\''), (0x02C4, b'^'), (0x02C6, b'^'), (0x02C8, b'\''), (0x02CB, b'`'),
    (0x02CD, b'_'), (0x02DC, b'~'), (0x0300, b'`'), (0x0302, b'^'), (0x0303, b'~'), (0x030E, b'"'), (0x0331, b'_'),
    (0x0332, b'_'), (0x2000, b' '), (0x2001, b' '), (0x2002, b' '), (0x2003, b' '), (0x2004, b' '), (0x2005, b' '),
    (0x2006, b' '), (0x2010, b'-'), (0x2011, b'-'), (0x2013, b'-'), (0x2014, b'-'), (0x2018, b'\''), (0x2019, b'\''),
    (0x201A, b','), (0x201C, b'"'), (0x201D, b'"'), (0x201E, b'"'), (0x2022, b'.'), (0x2026, b'.'), (0x2032, b'\''),
    (0x2035, b'`'), (0x2039, b'<'), (0x203A, b'>'), (0x2122, b'T'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_answers_in_ascii() {
        assert!(BEST_FIT.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(BEST_FIT.iter().all(|&(code, byte)| code > 0x7F && byte.is_ascii_graphic() || byte == b' '));
        for (code, byte) in
            [(0xFF1C, Some(b'<')), (0x2018, Some(b'\'')), (0x0107, Some(b'c')), (0x4E2D, None), (0xFF5F, None)]
        {
            assert_eq!(ascii(code), byte, "U+{code:04X}");
        }
    }
}
