use super::{encoding, writing};

#[test]
fn encodings() {
    type Decode = fn(&[u8]) -> Option<Vec<u8>>;
    type Case = (Decode, &'static [u8], Option<&'static [u8]>);
    let cases: &[Case] = &[
        (encoding::url, b"%27+or%20%u0031", Some(b"' or 1")),
        (encoding::url, b"100% sure %zz", None),
        (encoding::url, b"1'+or+1", Some(b"1' or 1")),
        (encoding::url, b"c++ c", None),
        (encoding::entities, b"&lt;a&#x3e;&#39;&#60", Some(b"<a>'<")),
        (encoding::entities, b"R&D AT&T &copy; &amp", None),
        (encoding::escapes, br"\x3c\u003e\u{41}\101\q", Some(br"<>AA\q")),
        (encoding::escapes, br"\x3 \u12", None),
        (encoding::fold, "＜ｓ＞’\u{200b}x".as_bytes(), Some(b"<s>'x")),
        (encoding::fold, b"..\xc0\xaf..\xe0\x80\xaf", Some(b"../../")),
        (encoding::fold, "日本語 Привет".as_bytes(), None),
        (encoding::fold, b"1\xa0or", Some(b"1 or")),
        (encoding::base64, b"q=PHNjcmlwdD4=!", None),
        (encoding::base64, b"x PHNjcmlwdD5hbGVydCgxKQ", Some(b"x <script>alert(1)")),
        (encoding::base64, b"configuration TypeScriptConfiguration", None),
        (encoding::hex, b"0x27206f7220313d31", Some(b"' or 1=1")),
        (encoding::hex, b"da39a3ee5e6b4b0d3255bfef95601890afd80709", None),
    ];
    for (decode, text, want) in cases {
        assert_eq!(decode(text).as_deref(), *want, "{}", text.escape_ascii());
    }
}

#[test]
fn writings() {
    assert_eq!(writing::comments(b"un/**/ion/*!50000select*/1", true).unwrap(), b"un ion select 1");
    assert_eq!(writing::comments(b"un/**/ion", false).unwrap(), b"union");
    assert_eq!(writing::comments(b"a/*/b", true).unwrap(), b"a ");
    for (text, want) in [
        (&br#"c""at /etc/pas''swd"#[..], &b"cat /etc/passwd"[..]),
        (br"c\at", b"cat"),
        (b"cat${IFS}/x", b"cat /x"),
        (b"cat$IFS$9/x", b"cat /x"),
        (b"{cat,/etc/passwd}", b"cat /etc/passwd "),
        (b"wh$@oami", b"whoami"),
        (b"w'h'o'a'mi", b"whoami"),
        (b"w^h^o^ami", b"whoami"),
    ] {
        assert_eq!(writing::shell(text).unwrap().escape_ascii().to_string(), want.escape_ascii().to_string());
    }
    assert_eq!(writing::shell(b"it's plain"), None);
    assert_eq!(writing::joined(b"'al'+'ert'").unwrap(), b"'alert'");
    assert_eq!(writing::lookups(b"${${lower:j}ndi:${::-l}dap://x}").unwrap(), b"${jndi:ldap://x}");
}
