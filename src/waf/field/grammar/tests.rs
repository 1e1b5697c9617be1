//! What every grammar takes and refuses, and attacks that none takes.

use super::super::class::Class;
use super::*;

fn fits(spec: &str, value: &[u8]) -> bool {
    Class::parse(spec).unwrap_or_else(|e| panic!("{spec}: {e}")).check(value).is_ok()
}

/// Class, values that fit, values that do not.
const TABLE: &[(&str, &[&str], &[&str])] = &[
    (
        "uuid",
        &[
            "123e4567-e89b-12d3-a456-426614174000",
            "123E4567-E89B-12D3-A456-426614174000",
            "00000000-0000-0000-0000-000000000000",
        ],
        &[
            "",
            "123e4567e89b12d3a456426614174000",
            "{123e4567-e89b-12d3-a456-426614174000}",
            "123e4567-e89b-12d3-a456-42661417400g",
            "123e4567-e89b-12d3-a456-4266141740000",
            "123e4567-e89b-12d3-a456-426614174000'",
            "urn:uuid:123e4567-e89b-12d3-a456-426614174000",
        ],
    ),
    (
        "integer",
        &["0", "1", "-1", "42", "9223372036854775807", "-9223372036854775808"],
        &[
            "",
            "-",
            "+1",
            "01",
            "-0",
            "00",
            "1.0",
            "1e3",
            "0x10",
            " 1",
            "1 ",
            "1_000",
            "9223372036854775808",
            "-9223372036854775809",
            "1 or 1=1",
            "NaN",
            "１",
        ],
    ),
    ("integer(0..100)", &["0", "100"], &["-1", "101", "1.5"]),
    ("integer(5..)", &["5", "500"], &["4"]),
    (
        "number",
        &["0", "-0", "1.5", "-1.5e10", "1E-3", "1e+3", "123456789.123456789"],
        &[
            "", "-", ".5", "5.", "01", "+1", "1e", "1e1000", "1e999", "Infinity", "NaN", "0x1p3", "1,5", "1.2.3",
            "--1", "1-1",
        ],
    ),
    ("number(0..1)", &["0", "0.5", "1", "1.0"], &["1.01", "-0.1", "2"]),
    ("boolean", &["true", "false", "True", "1", "0", "yes", "on", "OFF"], &["", "2", "truee", "nil", "true ", "true'"]),
    ("enum(todo, in progress, done)", &["todo", "in progress", "done"], &["", "Todo", "todo ", "doing", "todo'"]),
    ("slug", &["a", "a-b", "my_project-2", "2024-01-notes"], &["", "-a", "a-", "a--b", "A", "a.b", "a b", "é", "a/b"]),
    ("slug(2..4)", &["ab", "abcd"], &["a", "abcde"]),
    (
        "identifier",
        &[
            "a",
            "task_1",
            "claude-3.5-sonnet",
            "gpt-4o:latest",
            "__dashboard__",
            "V1StGXR8_Z5jdHi6B--myT",
            "V1StGXR8_Z5jdHi6B--",
            "-1StGXR8_Z5jdHi6B-my",
            "a:b:c",
            "001",
            "OPENAI_API_KEY",
        ],
        &[
            "",
            "-rf",
            ".env",
            "..",
            "a..b",
            "a/b",
            "a b",
            "javascript:alert",
            "__proto__",
            "x.__class__",
            "admin--",
            "1--",
            "1---",
            "é",
            ":x",
            "a\n",
        ],
    ),
    (
        "host",
        &[
            "localhost",
            "localhost:8181",
            "example.com",
            "EXAMPLE.com:443",
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:8080",
            "a-b.c1",
            "xn--mnchen-3ya.de",
            "archon-server:8181",
        ],
        &[
            "",
            "-a",
            "a-",
            "a..b",
            "example.com.",
            ".a",
            "a_b",
            "a b",
            "user@host",
            "host:",
            "host:0",
            "host:65536",
            "host:08",
            "host:x",
            "host/",
            "127.0.0.256",
            "127.1",
            "0x7f.1",
            "1",
            "[::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "münchen.de",
            "a,b",
            "xn--a",
            "localhost:80@evil.example",
            "evil.example#",
            "a\\b",
        ],
    ),
    (
        "url",
        &[
            "https://example.com",
            "http://localhost:3000/x?y=1#z",
            "https://github.com/owner/repo",
            "https://example.com/a%20b?q=%3Cscript%3E",
            "https://en.wikipedia.org/wiki/Rust_(programming_language)",
            "https://example.com/?a[]=1&b[c]=2",
            "http://192.168.1.1/",
            "https://[2001:db8::1]/",
            "https://münchen.de/straße?ü=ö",
        ],
        &[
            "",
            "example.com",
            "javascript:alert(1)",
            "javascript://example.com/%0aalert(1)",
            "data:text/html,x",
            "ftp://example.com",
            "//example.com",
            "https:/example.com",
            "https://",
            "https:// example.com",
            "https://example.com/a b",
            "https://example.com/<script>",
            "https://example.com/\"",
            "https://example.com/'",
            "https://u:p@example.com/",
            "https://example.com/../x",
            "https://example.com\\x",
            "https://example.com/%",
            "https://example.com/%00",
            "https://example.com/\r\nx",
            "https://example.com/{{1}}",
            "https://example.com/`id`",
            "https://example.com/|id",
            "https://example.com/$(id)",
        ],
    ),
    (
        "url(https, git, ssh)",
        &["https://a.example", "git://github.com/a/b.git", "ssh://a.example:22/x"],
        &["http://a.example", "ssh://git@github.com/a/b.git", "file:///etc/passwd"],
    ),
    ("path", &["/", "/a/b", "/a?x=1#y", "/a%20b"], &["", "a", "//a", "/\\a", "/../a", "/a/%2e%2e/b", "/a b", "/a'"]),
    (
        "etag",
        &[
            "*",
            "\"\"",
            "\"5d41402abc4b2a76b9719d911017c592\"",
            "W/\"17-JmyUkR4oGwVZ+abc/=\"",
            "\"a\", W/\"b\",\"c-gzip\"",
            "\"1d-5:gzip\"",
        ],
        &[
            "",
            "abc",
            "\"a",
            "\"a\" \"b\"",
            "W\"a\"",
            "w/\"a\"",
            "\"a\",",
            "\"' or 1=1--\"",
            "\"<script>\"",
            "\"${x}\"",
            "\"../etc/passwd\"",
            "'a'",
            "\"a\u{7f}\"",
            "\"admin--\"",
            "*, \"a\"",
        ],
    ),
    (
        "token68",
        &["abc", "sk-ant-api03_abc-DEF", "YWxhZGRpbjpvcGVuc2VzYW1l", "dXNlcjpwYQ==", "eyJh.eyJz.c2ln", "a+b/"],
        &["", "=", "a b", "/etc/passwd", "../x", "a..b", "a'b", "<a>", "a=b", "-a", "admin--", "$HOME", "a/b"],
    ),
    (
        "jwt",
        &[
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.c2ln",
            "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEtMSJ9.eyJzdWIiOiIxIn0.c2ln",
        ],
        &[
            "",
            "a.b.c",
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln.x",
            "eyJ0eXAiOiJKV1QifQ.eyJzdWIiOiIxIn0.c2ln",
            // {"alg":"HS256","kid":"../../dev/null"} and {"alg":"RS256","jku":"https://a.b/k"} and
            // {"alg":"HS256","kid":"x' or 1=1"}
            "eyJhbGciOiJIUzI1NiIsImtpZCI6Ii4uLy4uL2Rldi9udWxsIn0.eyJzdWIiOiIxIn0.c2ln",
            "eyJhbGciOiJSUzI1NiIsImprdSI6Imh0dHBzOi8vYS5iL2sifQ.eyJzdWIiOiIxIn0.c2ln",
            "eyJhbGciOiJIUzI1NiIsImtpZCI6IngnIG9yIDE9MSJ9.eyJzdWIiOiIxIn0.c2ln",
        ],
    ),
    (
        "cookie",
        &[
            "-aB3dEfGhIjK.-lMn0PqRsTuV%3D",
            "abc123",
            "s%3Aabc.def%2Bghi",
            "GA1.1.123456.789",
            "GS2.1.s1747$o1$g0$t17$j60$l0$h0",
            "a=1&b=2",
            "eyJh.eyJz.c2ln",
            "YWJj/w==",
            "en-US",
            "value.0a1b2c",
            "%7B%22a%22%3A1%7D",
        ],
        &[
            "",
            "\"a\"",
            "a b",
            "a;b",
            "a,b",
            "a\\b",
            "é",
            "<script>",
            "a'b",
            "`id`",
            "$(id)",
            "${x}",
            "a|b",
            "%zz",
            "%00",
            "../x",
            "/etc/passwd",
            "admin--",
            "a&&b",
            "1=1",
            "a&id",
            "$IFS$9id",
            "-oProxyCommand=id",
            "--output=/tmp/x",
            "a%2e%2e",
            "a%3Cb",
            "javascript:x",
            "{\"a\":1}",
            "a[$ne]",
        ],
    ),
    (
        "date",
        &["2024-01-31", "2024-02-29", "2000-02-29", "1999-12-31"],
        &[
            "",
            "2023-02-29",
            "1900-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-01-00",
            "2024-01-32",
            "24-01-01",
            "2024-1-1",
            "2024/01/01",
            "2024-01-01'",
        ],
    ),
    (
        "datetime",
        &[
            "2024-01-31T10:00:00Z",
            "2024-01-31t10:00:00.123456+02:00",
            "2024-01-31 10:00:00",
            "2024-01-31T10:00",
            "2016-12-31T23:59:60Z",
            "2024-01-31T10:00:00.5",
        ],
        &[
            "",
            "2024-01-31",
            "2024-01-31T",
            "2024-01-31T24:00:00Z",
            "2024-01-31T10:60:00Z",
            "2024-01-31T10:00:00.Z",
            "2024-01-31T10:00:00+0200",
            "2024-01-31T10:00:00Z;",
            "2024-01-31T10:00:61Z",
        ],
    ),
    (
        "http-date",
        &["Sun, 06 Nov 1994 08:49:37 GMT"],
        &[
            "",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Xyz, 06 Nov 1994 08:49:37 GMT",
        ],
    ),
    (
        "email",
        &["a@b.co", "first.last+tag@example.co.uk", "a_b-c@ex-ample.com", "o'brien@example.ie", "me@münchen.de"],
        &[
            "",
            "a",
            "@b.co",
            "a@",
            "a@b",
            "a@b@c.co",
            ".a@b.co",
            "a.@b.co",
            "a..b@c.co",
            "\"a b\"@c.co",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "a'or'1@b.co",
            "x' or 1=1@b.co",
            "a@b.co\r\nbcc:x@y.z",
            "<a@b.co>",
            "a--@b.co",
            "a|b@c.co",
            "$(id)@c.co",
        ],
    ),
    (
        "semver",
        &["1.2.3", "0.0.0", "1.0.0-alpha.1", "1.0.0-rc.1+build.5", "10.20.30+sha-abc"],
        &["", "1", "1.2", "v1.2.3", "01.2.3", "1.2.3.4", "1.2.3-", "1.2.3-01", "1.2.3+", "1.2.3-a..b", "1.2.3' or"],
    ),
    ("hex(4..8)", &["abcd", "ABCD1234"], &["", "abc", "abcd12345", "0xab", "ghij"]),
    ("base64", &["YQ==", "YWI=", "YWJj", "+/+/"], &["", "YQ", "YQ=", "====", "Y===", "YWJj\n", "-_-_", "/etc/passwd"]),
    ("base64url", &["YQ", "YQ==", "YWI", "-_-_"], &["", "Y", "YQ=", "+/+/", "a.b"]),
    (
        "file-name",
        &[
            "report;final=2.txt",
            "O'Reilly's notes.txt",
            "l'été.md",
            "notes.md",
            "package.json",
            "tsconfig.json",
            "tsconfig.build.json",
            ".env.example",
            ".gitignore",
            "README",
            "Makefile",
            "Dockerfile",
            "Résumé (final) v2.pdf",
            "notes 2024-01.md",
            "report(1).pdf",
            "Rob's notes.md",
            "Rob’s notes.md",
            "R&D notes.md",
            "Terms & Conditions.pdf",
            "C#.md",
            "C++ guide.md",
            "issue #12.md",
            "logo@2x.png",
            "[slug].tsx",
            "100% done.md",
            "日本語 の メモ.txt",
            "Ελληνικά.md",
            "हिन्दी.md",
            "a_b-c+d,e.txt",
            "archive.tar.gz",
            "main.test.ts",
            "install.sh",
            "example.com.md",
            "Screenshot 2024-01-02 at 10.11.12.png",
            "index.d.ts",
            "v1.2.3-notes.md",
            "Done!.md",
            "notes – final.md",
            "画面（１）.png",
            "「資料」　最新版.pdf",
            "❤️ list.md",
            "نامه\u{200c}ها.md",
            "Re\u{301}sume\u{301}.pdf",
            "image (1) (2).png",
            "com.example.app.json",
            "Acme Inc.pdf",
        ],
        &[
            "report;id;.pdf",
            "a'or'b.txt",
            "x'.txt",
            ";id.txt",
            "a; id.txt",
            "a.b;c=d.txt",
            "a==b.txt",
            "",
            ".",
            "..",
            "a/b.md",
            "a\\b.md",
            "../x.md",
            "a..md",
            "a.md.",
            "a.md ",
            " a.md",
            "-rf.md",
            "a\0.md",
            "a\n.md",
            "a\u{202e}fdp.md",
            "a\u{200b}.md",
            "\"a\".md",
            "<a>.md",
            "a|b.md",
            "a;.md",
            "`a`.md",
            "$(a).md",
            "${a}.md",
            "a'b'.md",
            "x' or 1=1.md",
            "CON",
            "con.md",
            "NUL.txt",
            "com1.md",
            "LPT9",
            "a.php",
            "a.php.jpg",
            "a.PhP5.png",
            "a.jsp;.png",
            "a.phtml",
            "a.asp.txt",
            "shell.php\0.jpg",
            ".htaccess",
            "web.config",
            "a.exe",
            "x.hta",
            "union select 1",
            "sleep(5).md x",
            "f(x).md",
            "a:b.md",
            "a*.md",
            "a?.md",
            "=b.md",
            "a && b.md",
            "a & calc.md",
            "~x.md",
            "%2e%2e.md",
            "a%00.md",
            "{{7}}.md",
            "a--.md",
            "(a.md",
            "a).md",
            "１／２.md",
            "a．．md",
            "a.ｐｈｐ",
            "＜a＞.md",
            "a／b.md",
            "a\u{200d}b.md",
        ],
    ),
    (
        "file-name(md, txt)",
        &["a.md", "A.MD", "a b.TXT", "a.test.md"],
        &["a", "a.pdf", "md", "a.md.exe", "a.php.md", ".htaccess"],
    ),
    ("file-name(php)", &["index.php"], &["a.php.php", "a.txt"]),
    (
        "media-type",
        &[
            "application/json",
            "text/html; charset=utf-8",
            "multipart/form-data; boundary=----WebKitFormBoundaryABC",
            "multipart/form-data; boundary=\"abc\"",
            "application/vnd.api+json",
            "text/plain;",
            "application/problem+json;charset=UTF-8",
        ],
        &[
            "",
            "json",
            "text/",
            "/html",
            "text/html, text/plain",
            "text/html; charset",
            "text/html; a=<b>",
            "text/html;a=${b}",
            "%{(#x)}/a",
            "*/*",
            "text/html; a=\"'\"",
            "text/html\r\nx: y",
        ],
    ),
    (
        "language",
        &["en", "en-US,en;q=0.9,*;q=0.5", "de-CH-1996, fr;q=0.8", "zh-Hans-CN", "*"],
        &["", "en_US'", "en;q=2", "en;q=0.1234", "1en", "en,", "e n", "en;level=1", "<en>", "../../etc"],
    ),
    (
        "user-agent",
        &[
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 9; moto g(7) power) AppleWebKit/537.36",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Cursor/0.45.14 Chrome/128.0.6613.186 Electron/32.2.6 Safari/537.36",
            "python-httpx/0.27.0",
            "python-requests/2.32.3",
            "claude-code/1.2 (external, cli)",
            "claude-cli/2.0.1 (external, sdk-ts, agent-sdk/0.1.0)",
            "Cursor/0.42",
            "node",
            "undici",
            "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
            "curl/8.5.0",
            "Bun/1.1.20",
            "Go-http-client/1.1",
            "GitHub-Hookshot/abc1234",
            "Anthropic/Python 0.30.1",
            "OpenAI/JS 4.52.0",
            "git/2.39.2 (Apple Git-143)",
            "Python/3.11 aiohttp/3.9.1",
            "Apache-HttpClient/4.5.14 (Java/17.0.2)",
            "Boto3/1.34.1 md/Botocore#1.34.1 ua/2.0 os/linux#6.5 md/arch#x86_64 lang/python#3.11",
            "kube-probe/1.30",
            "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
            "My%20App/1 CFNetwork/1410.0.3 Darwin/22.6.0",
            "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/UD1A.230803.041)",
            "PostmanRuntime/7.39.0",
            "Wget/1.21.4",
            "okhttp/4.12.0",
            "Claude-User/1.0 (+claudebot@anthropic.com)",
            "GitHubCopilotChat/0.17.2024062801",
            "Better Uptime Bot Mozilla/5.0 (Windows NT 10.0; Win64; x64)",
            "Amazon CloudFront",
            "Ruby",
            "Faraday v2.7.4",
            "got (https://github.com/sindresorhus/got)",
            "TelegramBot (like TwitterBot)",
            "Dart/3.2 (dart:io)",
            "yarn/1.22.19 npm/? node/v18.17.0 linux x64",
            "npm/10.2.4 node/v20.11.0 darwin arm64 workspaces/false",
            "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
            "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; .NET CLR 2.0.50727)",
            "Mozilla/5.0 (compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
            "Mozilla/5.0 (Linux; Android 12; Redmi Note 8(2021)) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36 EdgA/120.0.0.0",
            "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
            "Deno/1.44.4",
            "Prometheus/2.53.0",
            "HTTPie/3.2.2",
        ],
        &[
            "",
            "a'b",
            "\"a\"",
            "<a>",
            "${jndi:ldap://x/a}",
            "{{7*7}}",
            "`id`",
            "a;b",
            "() { :; }; /bin/id",
            "é",
            "a\tb",
            "a\\b",
            "$(id)",
            "1 union select 1,2",
            "union select password from users",
            "UNION SELECT NULL",
            "union select",
            "Mozilla/5.0'",
            "Mozilla/5.0 (a' or 1=1)",
            "Mozilla/5.0 (X11",
            "Mozilla/5.0 (;cat /etc/passwd)",
            "Mozilla/5.0 (sleep(5))",
            "sleep(5)",
            "../../etc/passwd",
            "curl/../../x",
            "a/b|c",
            "Mozilla/5.0 (javascript://x)",
            "x/1.0 %27%20or",
            "Mozilla/5.0 (1=1)",
            "|id",
            "&& id",
            "a && id",
            "Mozilla/5.0 one two three four",
        ],
    ),
    (
        "accept",
        &[
            "*/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
            "application/json, text/event-stream",
            "application/signed-exchange;v=b3;q=0.7",
            "text/*;q=0.3, *;q=0.2",
            "text/html, image/gif, *; q=.2, */*; q=.2",
            "application/ld+json; profile=\"https://www.w3.org/ns/activitystreams\"",
            "application/json, text/plain, */*",
        ],
        &[
            "1/*",
            "",
            "'",
            "text/html' or 1=1",
            "../../../etc/passwd",
            "*/html",
            "text/html;q=9",
            "application/${x}",
            "text/html,,text/plain",
            "<script>",
        ],
    ),
    (
        "encoding-list",
        &["gzip, deflate, br, zstd", "gzip;q=1.0, *;q=0", "identity", "GZIP"],
        &["", "gzip'", "sleep", "gzip,", "gzip;x=1", "../x"],
    ),
    (
        "token-list",
        &["keep-alive", "content-type,authorization,x-api-key", "Upgrade, HTTP2-Settings"],
        &["", "a b", "a'", "1,2", "a,,b", "a;b", "$a", "../a", "a--"],
    ),
    (
        "origin",
        &[
            "null",
            "https://example.com",
            "http://localhost:3737",
            "chrome-extension://abcdefghijklmnop",
            "vscode-webview://1q2w3e",
            "tauri://localhost",
        ],
        &[
            "",
            "https://example.com/",
            "example.com",
            "https://a@b.example",
            "javascript://x",
            "file:///x",
            "https://a.example' or 1=1",
            "php://filter",
            "https://a.example, https://b.example",
            "*",
        ],
    ),
    (
        "referer",
        &[
            "https://example.com/a?b=c",
            "http://localhost:3737/projects/1",
            "/projects/1?tab=docs",
            "android-app://com.slack/",
            "about:blank",
        ],
        &[
            "",
            "javascript:alert(1)",
            "' or 1=1",
            "//evil.example",
            "https://example.com/<script>",
            "../../etc/passwd",
            "php://input",
            "https://example.com/'",
            "() { :; }",
        ],
    ),
    (
        "authorization",
        &[
            "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
            "Bearer sk-ant-api03-abc_DEF",
            "Basic dXNlcjpwYXNz",
            "bearer abc",
            "Digest username=\"a\", realm=\"B c\", nonce=\"xx+8\", cnonce=\"0a4f113b\", uri=\"/a\", nc=00000001",
        ],
        &[
            "",
            "Bearer",
            "Bearer ",
            "abc",
            "Basic x",
            "Basic YWJj",
            "Basic //79/A==",
            "Bearer a b",
            "Bearer ' or 1=1",
            "Bearer ${jndi:x}",
            "Bearer ../../etc/passwd",
            "Digest a=\"' or '1'='1\"",
            "' or 1=1",
            "Digest a=\"x or 1=1\"",
        ],
    ),
    (
        "range",
        &["bytes=0-499", "bytes=-500", "bytes=500-", "bytes=0-0, 5-9"],
        &[
            "",
            "0-1",
            "bytes=",
            "bytes=-",
            "bytes=5-1",
            "bytes=a-b",
            "bytes=0-1,,2-3",
            "bytes=0-18446744073709551615",
            "lines=1-2",
        ],
    ),
    ("if-range", &["\"abc\"", "Sun, 06 Nov 1994 08:49:37 GMT"], &["", "abc", "*", "\"a'\""]),
    (
        "directives",
        &[
            "no-cache",
            "max-age=0, must-revalidate",
            "u=1, i",
            "timeout=5, max=100",
            "permessage-deflate; client_max_window_bits",
        ],
        &["", "a=<b>", "a='b'", "a=b c", ";", "a=${x}", "--", "a=../b", "1 or 1=1"],
    ),
    (
        "client-hint",
        &[
            "?0",
            "?1",
            "\"Windows\"",
            "\"\"",
            "\"Not/A)Brand\";v=\"8\", \"Chromium\";v=\"126\", \"Google Chrome\";v=\"126\"",
            "\"Not;A=Brand\";v=\"99\"",
            "\" Not A;Brand\";v=\"99.0.0.0\"",
            "\"(Not(A:Brand\";v=\"8\"",
            "8",
            "1.5",
            "4g",
            "\"10.0.0\"",
        ],
        &[
            "",
            "?2",
            "\"a'\"",
            "\"<script>\";v=\"1\"",
            "\"a\";v=\"x\"",
            "\"a\"; sleep 5",
            "' or 1=1",
            "\"1 or 1=1\";v=\"1\"",
            "\"../../x\";v=\"1\"",
            "\"${x}\"",
        ],
    ),
    (
        "field-value",
        &[
            "1",
            "on",
            "en-GB",
            "2026-08-25T10:00:00Z",
            "supabase-js/2.45.0 (node; linux)",
            "Root=1-67891233-abcdef012345678912345678;Sampled=1",
            "for=192.0.2.60;proto=http;by=203.0.113.43",
            "1.1 varnish, 1.1 google",
            "https://app.example.com/docs?a=b&c=%20d#e",
            "return=minimal; note=\"two words\"",
            "{\"scheme\":\"https\",\"it's\":[1]}",
            "a:b:0:1",
            "O'Neil, Ada",
            "Grüße",
            "*/*",
            "100%",
            "50% of 3",
            "https%3A%2F%2Fexample.com%2Fa",
            "W/\"abc\"",
            "YWJj/x+y==",
        ],
        &[
            "",
            "' or 1=1--",
            "1'",
            "\"><script>",
            "<b>",
            "${jndi:ldap://x}",
            "$(id)",
            "`id`",
            "{{7*7}}",
            "() { :;}; id",
            "sleep(5)",
            "a|b",
            "../../etc/passwd",
            "..%2f..%2fetc",
            "%27%20or",
            "a%0d%0ab: c",
            "a\\b",
            "javascript:x",
            "+ADw-script",
            "admin--",
            "__proto__",
            "\"a",
            "a/*b*/c",
            "..",
            "a\0b",
            "{\"a\":",
        ],
    ),
    ("pattern(^[a-z]{1,5}$)", &["a", "abcde"], &["", "abcdef", "A", "a\n", "a b"]),
    ("pattern(a|b)", &["a", "b"], &["ab", "xa", "bx"]),
    ("pattern((?i)[a-z]+(-[0-9]+)?)", &["Ab-12"], &["ab-"]),
];

#[test]
fn every_grammar_takes_what_it_should() {
    let mut faults = Vec::new();
    for (spec, right, wrong) in TABLE {
        let class = Class::parse(spec).unwrap_or_else(|e| panic!("{spec}: {e}"));
        for value in *right {
            faults.extend(
                class.check(value.as_bytes()).err().map(|misfit| format!("{spec} refuses {value:?}: {misfit}")),
            );
        }
        for value in *wrong {
            faults.extend(class.check(value.as_bytes()).ok().map(|()| format!("{spec} takes {value:?}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for name in Grammar::NAMES {
        assert!(TABLE.iter().any(|(spec, ..)| spec.starts_with(name)) || *name == "fetch-url", "{name} has no table");
    }
}

/// What is carried by an address and others is handed on, decoded.
#[test]
fn texts_are_handed_on() {
    let texts = |spec: &str, value: &str| -> Vec<String> {
        let Class::Typed(grammar) = Class::parse(spec).unwrap() else { panic!("{spec}") };
        grammar
            .texts(value.as_bytes())
            .iter()
            .map(|(part, text)| format!("{part}: {}", String::from_utf8_lossy(text)))
            .collect()
    };
    assert_eq!(
        texts("url", "https://x.example/a%20b/plain/%3Cp%3E?q=%3Cscript%3E+x&o'=1&%27=2&n=%2527#f%20g"),
        Vec::<String>::new(),
        "what does not fit has none"
    );
    assert_eq!(
        texts("url", "https://x.example/a%20b/plain/%3Cp%3E?q=%3Cscript%3E+x&%27=2&n=%2527&flag!#f%20g"),
        [
            "path segment: a b",
            "path segment: <p>",
            "query value: <script> x",
            "query name: '",
            "query value: %27",
            "query value: flag!",
            "fragment: f g"
        ]
    );
    assert_eq!(texts("referer", "/p/a?x=a%26b"), ["query value: a&b"]);
    assert_eq!(texts("fetch-url", "https://x.example?q=a+b"), ["query value: a b"]);
    assert_eq!(texts("cookie", "a%27b"), ["cookie: a'b"]);
    assert_eq!(texts("authorization", "Basic YScgb3IgMT0xOng="), ["user: a' or 1=1"]);
    assert_eq!(texts("authorization", "Bearer abc"), Vec::<String>::new());
    assert_eq!(texts("file-name", "a b.md"), ["file name: a b.md"]);
    assert_eq!(texts("uuid", "a b.md"), Vec::<String>::new());
}

#[test]
fn misfits_never_show_the_value() {
    for (spec, ..) in TABLE {
        let class = Class::parse(spec).unwrap();
        let secret = "S3CR3T' \"<";
        let misfit = class.check(secret.as_bytes()).unwrap_err().to_string();
        assert!(!misfit.contains("S3CR3T") && misfit.len() < 160, "{misfit}");
    }
}

/// Bytes of all kinds, and right values with a byte changed: no panic, and print and parse never disagree.
#[test]
fn hostile_bytes_do_no_harm() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    // Below `bound`, which is small.
    let mut random = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::from(state.to_le_bytes()[3]) % bound
    };
    let signs = b"%.-:/?#[]()\"';=,@ *W{}<>\\0a9\xc3\xa9\xff\0\n";
    for (spec, right, _) in TABLE {
        let class = Class::parse(spec).unwrap();
        let Class::Typed(grammar) = &class else { panic!("{spec}") };
        for _ in 0..400 {
            let length = random(48);
            let value: Vec<u8> = (0..length).map(|_| signs[random(signs.len())]).collect();
            let _ = class.check(&value);
            let _ = grammar.texts(&value);
        }
        for value in *right {
            for _ in 0..40 {
                let mut value = value.as_bytes().to_vec();
                let at = random(value.len());
                value[at] = u8::try_from(random(256)).unwrap();
                let _ = class.check(&value);
                let _ = grammar.texts(&value);
            }
        }
    }
    for _ in 0..4000 {
        let length = random(24);
        let spec: String = (0..length).map(|_| char::from(b"slug(1..)?, uidhrtenm:/*;[a"[random(27)])).collect();
        if let Ok(class) = Class::parse(&spec) {
            assert_eq!(Class::parse(&class.to_string()).unwrap(), class, "{spec}");
        }
    }
}

/// A value of a mebibyte is read to an end: what took more than linear time would not come to it.
#[test]
fn long_values_are_read() {
    for (spec, right, _) in TABLE {
        let class = Class::parse(spec).unwrap();
        for piece in right.iter().map(|value| value.as_bytes()).chain([
            &b"%41"[..],
            b"(",
            b"[",
            b"../",
            b"\"",
            b", ",
            b"a.",
            b"\xf0\x9f\x8e\x89",
        ]) {
            let value = piece.repeat((1 << 20) / piece.len());
            let _ = fits(spec, &value);
            let _ = class.check(&value);
        }
    }
}

#[test]
fn fields_are_called_so() {
    for name in
        ["", "q", "tags[]", "filter[state]", "user.name", "$schema", "@type", "Größe", "_", "x-y_z", "sidebar:state"]
    {
        assert!(Grammar::is_field_name(name.as_bytes()), "{name:?}");
    }
    for name in [
        "ls -la",
        "1'",
        "<b>",
        "a/b",
        "a=b",
        "@@version",
        "%SYSTEMROOT%",
        "..",
        "a--",
        "__proto__",
        "a;b",
        "a|b",
        "a\0",
    ] {
        assert!(!Grammar::is_field_name(name.as_bytes()), "{name:?}");
    }
    assert!(!Grammar::is_field_name(&[b'a'; 257]) && !Grammar::is_field_name(b"\xff"));
}
