//! The detector next to the port it must equal.

use super::*;

/// Pieces of SQL, of attacks, and of whatever a tokeniser can trip over.
const PIECES: &[&[u8]] = &[
    b"select",
    b"SELECT",
    b"union",
    b"UNION ALL",
    b"union all distinct",
    b"insert",
    b"into",
    b"INTO OUTFILE",
    b"into dumpfile",
    b"update",
    b"delete",
    b"drop",
    b"table",
    b"from",
    b"where",
    b"group by",
    b"order",
    b"by",
    b"having",
    b"limit",
    b"or",
    b"and",
    b"xor",
    b"not",
    b"NOT",
    b"in",
    b"not in",
    b"like",
    b"not like",
    b"LIKE",
    b"between",
    b"is",
    b"null",
    b"true",
    b"exists",
    b"if",
    b"IFNULL",
    b"if not exists",
    b"case",
    b"when",
    b"else",
    b"end",
    b"exec",
    b"execute as",
    b"declare",
    b"begin",
    b"goto",
    b"try",
    b"waitfor",
    b"delay",
    b"time",
    b"load",
    b"data",
    b"xml",
    b"collate",
    b"collate latin1_general_ci",
    b"_utf8",
    b"binary",
    b"int",
    b"varchar",
    b"character varying",
    b"double",
    b"precision",
    b"user",
    b"USER",
    b"user_id",
    b"user_name",
    b"database",
    b"password",
    b"current_user",
    b"current_date",
    b"current_timestamp",
    b"localtime",
    b"localtimestamp",
    b"current",
    b"date",
    b"sleep",
    b"md5",
    b"count",
    b"char",
    b"concat",
    b"benchmark",
    b"utl_inaddr.get_host_address",
    b"dbms_lock.sleep",
    b"sys.database_name",
    b"cross",
    b"join",
    b"natural",
    b"left",
    b"outer",
    b"for",
    b"skip",
    b"locked",
    b"lock",
    b"share",
    b"mode",
    b"boolean",
    b"at",
    b"zone",
    b"create",
    b"or replace",
    b"procedure",
    b"analyse",
    b"similar",
    b"to",
    b"distinct",
    b"intersect",
    b"except",
    b"all",
    b"own3d",
    b"with",
    b"rollup",
    b"shutdown",
    b"handler",
    b"div",
    b"mod",
    b"rlike",
    b"regexp",
    b"next",
    b"value",
    b"foo",
    b"bar",
    b"x",
    b"a_b",
    b"Jane",
    b"the",
    b"b",
    b"e",
    b"n",
    b"q",
    b"u",
    b"X",
    b"d",
    b"f",
    b"_",
    b"0",
    b"1",
    b"17",
    b"12.5",
    b".5",
    b"5.",
    b"1e",
    b"1e5",
    b"1E+5",
    b"1.e-",
    b"0x",
    b"0x1F",
    b"0b",
    b"0b101",
    b"1f",
    b"1d;",
    b"1funion",
    b"1d",
    b"9union",
    b"$1,000.00",
    b"$1",
    b"$.",
    b"$,",
    b"$",
    b"$$",
    b"$tag$",
    b"$a",
    b"$a$",
    b"x'1f'",
    b"X'g'",
    b"b'01'",
    b"B'2'",
    b"\\N",
    b"\\n",
    b"\\",
    b"\\\\",
    b"'",
    b"'",
    b"'",
    b"''",
    b"\"",
    b"\"",
    b"\"\"",
    b"'a'",
    b"\"b\"",
    b"\\'",
    b"\\\"",
    b"'#'",
    b"'-x'",
    b"'+'",
    b"q'[a]'",
    b"Q'(b",
    b"q'!c!'",
    b"nq'{d}'",
    b"n'e'",
    b"N'",
    b"e'f'",
    b"E'",
    b"u&'g'",
    b"U&'",
    b"q''",
    b"q'\x80",
    b"q' ",
    b"`",
    b"`",
    b"``",
    b"`a`",
    b"`user`",
    b"`sleep`",
    b"`union all`",
    b"`is not distinct`",
    b"`into`",
    b"`in`",
    b"`",
    b"[",
    b"]",
    b"[a b]",
    b"{",
    b"}",
    b"{``",
    b"{d",
    b"(",
    b"(",
    b"(",
    b")",
    b")",
    b"((",
    b"))",
    b",",
    b",",
    b".",
    b".",
    b";",
    b";",
    b":",
    b"::",
    b"::int",
    b":=",
    b"?",
    b"@",
    b"@@",
    b"@a",
    b"@@version",
    b"@`user`",
    b"@'user'",
    b"@\"x\"",
    b"@@`",
    b"@>",
    b"<@",
    b"+",
    b"-",
    b"*",
    b"/",
    b"%",
    b"!",
    b"~",
    b"!!",
    b"^",
    b"&",
    b"&&",
    b"|",
    b"||",
    b"=",
    b"==",
    b"!=",
    b"<>",
    b"<=>",
    b"<=",
    b">=",
    b"<<",
    b">>",
    b"<",
    b">",
    b"!<",
    b"!>",
    b"*=",
    b"|/",
    b"|=",
    b"&=",
    b"+=",
    b"-1",
    b"- 1",
    b"+ (",
    b"<=",
    b"^=",
    b"~*",
    b"--",
    b"-- ",
    b"--x",
    b"-- x\n",
    b"--\n",
    b"#",
    b"#x\n",
    b"/*",
    b"*/",
    b"/**/",
    b"/* a */",
    b"/*!",
    b"/*!5*/",
    b"/*/*",
    b"/*/",
    b"/*/*a*/",
    b"*",
    b"\n",
    b"\r",
    b"\t",
    b"\x0b",
    b"\x0c",
    b"\0",
    b"\x01",
    b"\x1f",
    b"\x7f",
    b"\xa0",
    b"\xff",
    b"\x80",
    b"\xc3\xa9",
    b"\xe2\x82\xac",
    b"na\xc3\xafve_x",
    b"sp_password",
    b"SP_Password",
    b"-- sp_password",
    b"'#sp_password",
    b"abcdefghijklmnopqrstuvwxyz012345",
    b"abcdefghijklmnopqrstuvwxyz0123_56\xc3\xa9",
    b"1 or 1=1",
    b"' or '1'='1",
    b"1;",
    b"master_ssl_verify_server_cert",
    b"dbms_utility.sqlid_to_sqlhash",
    b"select.x",
    b"select`x`",
    b"a.b",
    b"a.b.c.d",
    b"\" or 1=1",
    b"') or ('",
    b"' + '",
    b"' and '",
    b"1,-1",
    b"1,-sin(1)",
    b"x::int",
    b"coalesce",
    b"ascii",
];

/// A generator of numbers that is the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % limit as u64).unwrap()
    }
}

fn theirs(value: &[u8]) -> Option<[u8; 8]> {
    let found = libinjectionrs::detect_sqli(value);
    found.is_injection().then(|| found.fingerprint.unwrap().as_bytes().try_into().unwrap())
}

fn compare(value: &[u8]) -> Option<[u8; 8]> {
    let ours = detect(value);
    let name = |shape: Option<[u8; 8]>| shape.map(|shape| shape.escape_ascii().to_string());
    assert_eq!(name(ours), name(theirs(value)), "{}", value.escape_ascii());
    ours
}

#[test]
fn attacks_and_prose() {
    let attacks: [&[u8]; 14] = [
        b"1' OR '1'='1",
        b"1 UNION SELECT 1,2",
        b"1;DROP TABLE users--",
        b"' or 1=1#",
        b"\" or \"\"=\"",
        b"admin'/*",
        b"-1 union all select null,null,version()--",
        b"1 and sleep(5)",
        b"'; exec xp_cmdshell('dir')--",
        b"1/*!50000union*/ select 1",
        b"1 or 1=1",
        b"x' and extractvalue(1,concat(0x7e,version()))-- -",
        b"1) or (1=1",
        b"foo' + 'bar",
    ];
    for attack in attacks {
        let shape = compare(attack);
        let letters = shape.map(|shape| shape.iter().take_while(|kind| **kind != 0).count());
        assert!(letters.is_some_and(|letters| (1..=5).contains(&letters)), "{}", attack.escape_ascii());
        assert!(shape.unwrap()[5..].iter().all(|kind| *kind == 0));
    }
    let prose: [&[u8]; 12] = [
        b"",
        b"hello world",
        b"O'Neil",
        b"a < b",
        b"select one",
        b"status=running",
        b"The quick brown fox jumps over the lazy dog.",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        b"https://example.com/a/b?c=d&e=f",
        b"jane.smith@example.com",
        b"sexy and 17",
    ];
    for prose in prose {
        assert_eq!(compare(prose), None, "{}", prose.escape_ascii());
    }
}

/// Texts made of the pieces: the verdict and the shape are those of the port.
#[test]
fn equals_the_port_on_random_texts() {
    let mut numbers = Numbers(20_261_126);
    let (mut text, mut attacks) = (Vec::new(), 0);
    for _ in 0..400_000 {
        text.clear();
        let glue: &[&[u8]] =
            [&[b"" as &[u8]] as &[&[u8]], &[b" "], &[b"", b" "], &[b" ", b"/**/", b"\t", b""]][numbers.below(4)];
        for _ in 0..=numbers.below(14) {
            text.extend_from_slice(PIECES[numbers.below(PIECES.len())]);
            text.extend_from_slice(glue[numbers.below(glue.len())]);
        }
        attacks += usize::from(compare(&text).is_some());
    }
    assert!(attacks > 40_000, "{attacks}");
}

/// Texts made of few pieces, over and over: rows that fold without end, long words and strings.
#[test]
fn equals_the_port_on_repetitions() {
    let mut numbers = Numbers(7);
    for _ in 0..40_000 {
        let few: Vec<&[u8]> = (0..=numbers.below(4)).map(|_| PIECES[numbers.below(PIECES.len())]).collect();
        let mut text: Vec<u8> = few.concat().repeat(1 + numbers.below(12));
        text.extend((0..numbers.below(5)).flat_map(|_| PIECES[numbers.below(PIECES.len())]));
        compare(&text);
    }
}

/// Long texts that cost other readers the square of their length, or fold to their end.
#[test]
fn equals_the_port_on_long_texts() {
    for piece in PIECES {
        let mut text = piece.repeat(3_000 / piece.len());
        compare(&text);
        text.extend_from_slice(b" or 1=1");
        compare(&text);
    }
    for piece in ["(", "a.", "a`", "1+", "<!--", "'", "select.", "$a", "b'0", "\\'", "/*", "{a ", "--"] {
        let text = piece.repeat(2_000_000 / piece.len());
        detect(text.as_bytes());
    }
}

/// Every word of the table and every two-part phrase, where an attack would have it.
#[test]
fn equals_the_port_on_every_word() {
    use libinjectionrs::sqli::sqli_data::SQL_KEYWORDS;
    for keyword in SQL_KEYWORDS.iter().filter(|keyword| keyword.token_type != b'F') {
        for (before, after) in [
            ("", ""),
            ("1 ", " 1"),
            ("1;", " x"),
            ("' or ", "(1)"),
            ("select ", "(`a`,1)--"),
            ("`", "` (1)"),
            ("@`", "`(1) or 1"),
            ("1 union ", ".x"),
            ("x ", " x from y"),
            ("a,b or ", "`"),
            ("not ", " not 1"),
            ("collate ", " or 1=1"),
        ] {
            let word = keyword.word.to_lowercase();
            compare(format!("{before}{}{after}", keyword.word).as_bytes());
            compare(format!("{before}{word}{after}").as_bytes());
            compare(format!("{before}{}{after}", word.replace(' ', "/**/")).as_bytes());
            compare(format!("{before}{}{after}", word.replace(' ', "` `")).as_bytes());
        }
    }
}

/// Short texts of the bytes that matter most, all of them.
#[test]
fn equals_the_port_on_all_short_texts() {
    let bytes = b"1a'\"-#/*`\\(). ,;@$n!:{";
    for length in 1..=4u32 {
        for number in 0..bytes.len().pow(length) {
            let text: Vec<u8> = (0..length).map(|place| bytes[number / bytes.len().pow(place) % bytes.len()]).collect();
            compare(&text);
        }
    }
}
