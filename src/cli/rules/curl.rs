//! A curl command line as the request it sends: what a browser's developer tools copy, and what people paste.

/// The request that `command` sends.
///
/// # Errors
/// A quote that is never closed, no URL, an option this cannot follow.
pub(super) fn request(command: &str) -> Result<Vec<u8>, String> {
    let mut words = words(command)?.into_iter().peekable();
    words.next_if(|word| word == "curl");
    let (mut method, mut url, mut fields) = (None, None, Vec::<(String, String)>::new());
    let (mut data, mut in_query) = (Vec::<Vec<u8>>::new(), false);
    let mut json = false;
    while let Some(word) = words.next() {
        let (option, attached) = match word.split_once('=') {
            Some((name, value)) if word.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
            _ if word.len() > 2 && word.starts_with('-') && !word.starts_with("--") => {
                let (name, value) = word.split_at_checked(2).unwrap_or((&word, ""));
                match name {
                    "-H" | "-d" | "-X" | "-A" | "-b" | "-e" | "-u" | "-o" | "-m" => {
                        (name.to_owned(), Some(value.to_owned()))
                    }
                    // -sSi and the like.
                    _ => continue,
                }
            }
            _ => (word.clone(), None),
        };
        let mut value = || attached.clone().or_else(|| words.next()).ok_or_else(|| format!("{option} needs a value"));
        match option.as_str() {
            "-X" | "--request" => method = Some(value()?),
            "-H" | "--header" => {
                let line = value()?;
                if let Some((name, text)) = line.split_once(':') {
                    fields.push((name.trim().to_owned(), text.trim().to_owned()));
                }
            }
            "-A" | "--user-agent" => fields.push(("User-Agent".to_owned(), value()?)),
            "-b" | "--cookie" => fields.push(("Cookie".to_owned(), value()?)),
            "-e" | "--referer" => fields.push(("Referer".to_owned(), value()?)),
            "-u" | "--user" => {
                use base64::Engine as _;
                let pair = base64::engine::general_purpose::STANDARD.encode(value()?);
                fields.push(("Authorization".to_owned(), format!("Basic {pair}")));
            }
            "-d" | "--data" | "--data-ascii" => data.push(from_file(&value()?, true)?),
            "--data-binary" => data.push(from_file(&value()?, false)?),
            "--data-raw" => data.push(value()?.into_bytes()),
            "--data-urlencode" => data.push(url_encoded(&value()?).into_bytes()),
            "--json" => {
                json = true;
                data.push(from_file(&value()?, false)?);
            }
            "-G" | "--get" => in_query = true,
            "-I" | "--head" => method = Some("HEAD".to_owned()),
            "--url" => url = Some(value()?),
            "-F" | "--form" => return Err("forms with -F are not followed; give the request as a file".to_owned()),
            "-o" | "--output" | "-m" | "--max-time" | "--connect-timeout" | "--cacert" | "--resolve" | "-w"
            | "--write-out" => {
                value()?;
            }
            other if other.starts_with('-') => {}
            _ => url = Some(word),
        }
    }
    let url = url.ok_or("there is no URL in this command")?;
    let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, target) = rest.split_at_checked(at).unwrap_or((rest, ""));
    let target = target.split('#').next().unwrap_or_default();
    let mut target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let mut body = data.join(&b'&');
    if in_query && !body.is_empty() {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(&String::from_utf8_lossy(&body));
        body.clear();
    }
    let has = |fields: &[(String, String)], name: &str| fields.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let method = method.unwrap_or_else(|| if data.is_empty() || in_query { "GET" } else { "POST" }.to_owned());
    let mut out = format!("{method} {target} HTTP/1.1\r\n");
    for (name, text) in [("Host", host), ("User-Agent", "curl/8.10.1"), ("Accept", "*/*")] {
        if !has(&fields, name) {
            out.push_str(&format!("{name}: {text}\r\n"));
        }
    }
    for (name, text) in &fields {
        out.push_str(&format!("{name}: {text}\r\n"));
    }
    if !body.is_empty() {
        if !has(&fields, "content-type") {
            let kind = if json { "application/json" } else { "application/x-www-form-urlencoded" };
            out.push_str(&format!("Content-Type: {kind}\r\n"));
        }
        out.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    out.push_str("\r\n");
    Ok([out.into_bytes(), body].concat())
}

/// `@name` is what the file holds; with `-d`, without its line ends.
fn from_file(value: &str, strip: bool) -> Result<Vec<u8>, String> {
    let Some(name) = value.strip_prefix('@') else { return Ok(value.as_bytes().to_vec()) };
    let mut bytes = std::fs::read(name).map_err(|e| format!("{name}: {e}"))?;
    if strip {
        bytes.retain(|b| !matches!(b, b'\r' | b'\n'));
    }
    Ok(bytes)
}

/// `name=text` with the text percent-encoded.
fn url_encoded(value: &str) -> String {
    let (name, text) = value.split_once('=').map_or(("", value), |(name, text)| (name, text));
    let mut out = if name.is_empty() { String::new() } else { format!("{name}=") };
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The words of a shell command: quotes of both kinds, `$'…'`, backslashes, and lines that go on.
fn words(command: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = command.chars().peekable();
    let open = "a quote in this command is never closed";
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(other) => word.get_or_insert_default().push(other),
            },
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let text = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(open)? {
                        '\'' => break,
                        c => text.push(c),
                    }
                }
            }
            '"' => {
                let text = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(open)? {
                        '"' => break,
                        '\\' => match chars.next().ok_or(open)? {
                            '\n' => {}
                            c @ ('"' | '\\' | '$' | '`') => text.push(c),
                            c => text.extend(['\\', c]),
                        },
                        c => text.push(c),
                    }
                }
            }
            '$' if chars.peek() == Some(&'\'') => {
                chars.next();
                let text = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(open)? {
                        '\'' => break,
                        '\\' => match chars.next().ok_or(open)? {
                            'n' => text.push('\n'),
                            'r' => text.push('\r'),
                            't' => text.push('\t'),
                            kind @ ('u' | 'x') => {
                                let most = if kind == 'u' { 4 } else { 2 };
                                let mut digits = String::new();
                                while digits.len() < most
                                    && let Some(digit) = chars.next_if(char::is_ascii_hexdigit)
                                {
                                    digits.push(digit);
                                }
                                text.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
                            }
                            c => text.push(c),
                        },
                        c => text.push(c),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        let get = "curl -sS 'https://h:1/a?b=c#d' -H 'X-A: 1' \\\n  --compressed";
        assert_eq!(
            String::from_utf8(request(get).unwrap()).unwrap(),
            "GET /a?b=c HTTP/1.1\r\nHost: h:1\r\nUser-Agent: curl/8.10.1\r\nAccept: */*\r\nX-A: 1\r\n\r\n"
        );
        let post = r#"curl https://h -d a=1 --data-urlencode "b=c d" -A me -X PUT"#;
        assert_eq!(
            String::from_utf8(request(post).unwrap()).unwrap(),
            "PUT / HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nUser-Agent: me\r\nContent-Type: \
             application/x-www-form-urlencoded\r\nContent-Length: 11\r\n\r\na=1&b=c%20d"
        );
        let json = r#"curl --json $'{"a":"it\'s\n"}' "h/x""#;
        let raw = String::from_utf8(request(json).unwrap()).unwrap();
        assert!(
            raw.ends_with("Content-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"a\":\"it's\n\"}")
                || raw.contains("it's"),
            "{raw}"
        );
        assert!(request("curl 'x").unwrap_err().contains("never closed"));
        assert!(request("curl -s").unwrap_err().contains("no URL"));
    }
}
