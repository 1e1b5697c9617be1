//! Transformations: what `t:` does to a value before an operator sees it.
//!
//! Pure functions from bytes to bytes, without knowledge of rules. A value that does not change is handed back as it
//! came, borrowed or owned, and nothing is allocated: one scan decides. A value that changes is rewritten in its own
//! buffer where the result cannot be longer, so a chain of transformations copies a borrowed value once.
//!
//! Cost: one or two passes over the value. Memory: at most three times the value (`urlEncode`), a little under three
//! for `utf8toUnicode`, twice for `hexEncode`; all others never grow it. Nothing fails: bytes that mean nothing to a
//! decoder stay as they are, so that a broken escape hides no attack.
//!
//! Source: the ModSecurity reference manual, section "Transformation functions", and the vectors of
//! secrules-language-tests. Where we depart from the reference, the function says so; the vectors this costs are
//! listed with their reasons in this file's tests.

mod base64;
mod best_fit;
mod case;
mod cmdline;
mod comments;
mod digest;
mod escape;
mod hex;
mod html;
mod in_place;
mod nulls;
mod parity;
mod path;
mod php;
mod url;
mod utf8;
mod whitespace;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod vectors;

use crate::byteset::ByteSet;
use in_place::is_space;
use std::borrow::Cow;
use std::sync::LazyLock;
use whitespace::Ends;

/// Declares the enum and its names from one table, so that none can be forgotten in the other.
macro_rules! transformations {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $(| $alias:literal)*;)*) => {
        /// A transformation function of SecLang.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Transformation { $($(#[$doc])* $variant,)* }

        impl Transformation {
            /// All of them, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the reference manual.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The other spellings that rules use.
            fn aliases(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($alias,)*],)* }
            }
        }
    };
}

transformations! {
    /// Decodes Base64 up to the first byte outside the alphabet.
    Base64Decode = "base64Decode";
    /// Decodes Base64, passing over every byte outside the alphabet.
    Base64DecodeExt = "base64DecodeExt";
    /// Encodes in Base64, with padding.
    Base64Encode = "base64Encode";
    /// Undoes the quoting and the separators of shells.
    CmdLine = "cmdLine" | "cmd_line";
    /// A run of blanks becomes one space.
    CompressWhitespace = "compressWhitespace";
    /// Decodes CSS 2 escapes.
    CssDecode = "cssDecode";
    /// Decodes the escapes of ANSI C.
    EscapeSeqDecode = "escapeSeqDecode";
    /// Decodes pairs of hexadecimal digits.
    HexDecode = "hexDecode";
    /// Two hexadecimal digits for every byte.
    HexEncode = "hexEncode";
    /// Decodes HTML character references.
    HtmlEntityDecode = "htmlEntityDecode";
    /// Decodes the escapes of JavaScript.
    JsDecode = "jsDecode";
    /// The length in bytes as decimal text.
    Length = "length";
    /// ASCII letters become lower-case.
    Lowercase = "lowercase";
    /// The MD5 digest, 16 raw bytes.
    Md5 = "md5";
    /// Resolves `.`, `..` and doubled slashes.
    NormalizePath = "normalizePath" | "normalisePath";
    /// The same, with `\` read as `/`.
    NormalizePathWin = "normalizePathWin" | "normalisePathWin";
    /// Sets the eighth bit for even parity.
    ParityEven7bit = "parityEven7bit";
    /// Sets the eighth bit for odd parity.
    ParityOdd7bit = "parityOdd7bit";
    /// Clears the eighth bit.
    ParityZero7bit = "parityZero7bit";
    /// The name that PHP gives an argument.
    PhpArgsNames = "phpArgsNames";
    /// Cuts comments of C, HTML, SQL and shells.
    RemoveComments = "removeComments";
    /// Drops the marks of comments, not what they hold.
    RemoveCommentsChar = "removeCommentsChar";
    /// Drops 0x00.
    RemoveNulls = "removeNulls";
    /// Drops blanks.
    RemoveWhitespace = "removeWhitespace";
    /// Each comment of C becomes one space.
    ReplaceComments = "replaceComments";
    /// Each 0x00 becomes a space.
    ReplaceNulls = "replaceNulls";
    /// The SHA-1 digest, 20 raw bytes.
    Sha1 = "sha1";
    /// Decodes `0x...` of SQL.
    SqlHexDecode = "sqlHexDecode";
    /// Cuts blanks at both ends.
    Trim = "trim";
    /// Cuts blanks at the beginning.
    TrimLeft = "trimLeft";
    /// Cuts blanks at the end.
    TrimRight = "trimRight";
    /// ASCII letters become upper-case.
    Uppercase = "uppercase";
    /// Decodes `%HH` and `+`.
    UrlDecode = "urlDecode";
    /// Decodes `%HH`, `+` and `%uHHHH`.
    UrlDecodeUni = "urlDecodeUni";
    /// Encodes as `%hh` and `+`.
    UrlEncode = "urlEncode";
    /// Each multi-byte UTF-8 sequence becomes `%uHHHH`.
    Utf8ToUnicode = "utf8toUnicode";
}

impl Transformation {
    /// The transformation called `name`, in any case and in British spelling too. `none` is not among them: it empties
    /// a rule's list and does nothing to a value.
    pub fn from_name(name: &str) -> Option<Self> {
        let called = |known: &str| known.eq_ignore_ascii_case(name);
        Self::ALL.iter().copied().find(|t| called(t.name()) || t.aliases().iter().any(|alias| called(alias)))
    }

    /// The bytes it acts on: a value that holds none of them stays as it is.
    pub(crate) fn acts_on(self) -> ByteSet {
        static TABLE: LazyLock<Vec<ByteSet>> =
            LazyLock::new(|| Transformation::ALL.iter().map(|t| t.find_acts_on()).collect());
        TABLE.get(self as usize).copied().unwrap_or(ByteSet::ALL)
    }

    fn find_acts_on(self) -> ByteSet {
        match self {
            Self::CmdLine => ByteSet::of_those(|b| b.is_ascii_uppercase() || b"\\\"'^ \t\r\n,;".contains(&b)),
            Self::CompressWhitespace | Self::Trim | Self::TrimLeft | Self::TrimRight => ByteSet::of_those(is_space),
            Self::CssDecode | Self::EscapeSeqDecode | Self::JsDecode => ByteSet::of(b"\\"),
            Self::HtmlEntityDecode => ByteSet::of(b"&"),
            Self::Lowercase => ByteSet::of_those(|b| b.is_ascii_uppercase()),
            Self::NormalizePath => ByteSet::of(b"/."),
            Self::NormalizePathWin => ByteSet::of(b"/.\\"),
            Self::ParityZero7bit | Self::Utf8ToUnicode => ByteSet::of_those(|b| !b.is_ascii()),
            Self::RemoveComments | Self::RemoveCommentsChar => ByteSet::of(b"/*-#<"),
            Self::RemoveNulls | Self::ReplaceNulls => ByteSet::of(&[0]),
            Self::RemoveWhitespace => ByteSet::of_those(|b| is_space(b) || matches!(b, 0xA0 | 0xC2)),
            Self::ReplaceComments => ByteSet::of(b"/"),
            Self::SqlHexDecode => ByteSet::of(b"xX"),
            Self::Uppercase => ByteSet::of_those(|b| b.is_ascii_lowercase()),
            Self::UrlDecode | Self::UrlDecodeUni => ByteSet::of(b"%+"),
            Self::Base64Decode
            | Self::Base64DecodeExt
            | Self::Base64Encode
            | Self::HexDecode
            | Self::HexEncode
            | Self::Length
            | Self::Md5
            | Self::ParityEven7bit
            | Self::ParityOdd7bit
            | Self::PhpArgsNames
            | Self::Sha1
            | Self::UrlEncode => ByteSet::ALL,
        }
    }

    /// Applies it. A value that does not change comes back as it was given: of a borrowed value the result is borrowed
    /// if and only if it is the value or a part of it.
    pub fn apply<'a>(self, value: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        let Cow::Borrowed(given) = value else { return self.rewrite(value) };
        match self.rewrite(Cow::Borrowed(given)) {
            // The scan foresaw a change that did not come, as in the path `../a`.
            Cow::Owned(same) if same == given => Cow::Borrowed(given),
            result => result,
        }
    }

    fn rewrite<'a>(self, value: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        match self {
            Self::Base64Decode => base64::decode(value),
            Self::Base64DecodeExt => base64::decode_forgiving(value),
            Self::Base64Encode => base64::encode(value),
            Self::CmdLine => cmdline::normalize(value),
            Self::CompressWhitespace => whitespace::compress(value),
            Self::CssDecode => escape::css(value),
            Self::EscapeSeqDecode => escape::ansi_c(value),
            Self::HexDecode => hex::decode(value),
            Self::HexEncode => hex::encode(value),
            Self::HtmlEntityDecode => html::decode(value),
            Self::JsDecode => escape::javascript(value),
            Self::Length => digest::length(&value),
            Self::Lowercase => case::lowercase(value),
            Self::Md5 => digest::md5(&value),
            Self::NormalizePath => path::normalize(value),
            Self::NormalizePathWin => path::normalize_windows(value),
            Self::ParityEven7bit => parity::even(value),
            Self::ParityOdd7bit => parity::odd(value),
            Self::ParityZero7bit => parity::zero(value),
            Self::PhpArgsNames => php::argument_name(value),
            Self::RemoveComments => comments::remove(value),
            Self::RemoveCommentsChar => comments::remove_marks(value),
            Self::RemoveNulls => nulls::remove(value),
            Self::RemoveWhitespace => whitespace::remove(value),
            Self::ReplaceComments => comments::replace(value),
            Self::ReplaceNulls => nulls::replace(value),
            Self::Sha1 => digest::sha1(&value),
            Self::SqlHexDecode => hex::decode_sql(value),
            Self::Trim => whitespace::trim(value, Ends::Both),
            Self::TrimLeft => whitespace::trim(value, Ends::Left),
            Self::TrimRight => whitespace::trim(value, Ends::Right),
            Self::Uppercase => case::uppercase(value),
            Self::UrlDecode => url::decode(value),
            Self::UrlDecodeUni => url::decode_uni(value),
            Self::UrlEncode => url::encode(value),
            Self::Utf8ToUnicode => utf8::to_unicode(value),
        }
    }
}

impl std::fmt::Display for Transformation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
