//! Bodies line by line, and what is read of them.

use super::*;

/// Lines that end in CRLF.
fn lines(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| line.bytes().chain(*b"\r\n")).collect()
}

fn read(content_type: &str, body: &[u8]) -> Multipart {
    parse(body, content_type.as_bytes(), &MultipartLimits::default())
}

const TYPE: &str = "multipart/form-data; boundary=0000";
const A: &str = r#"Content-Disposition: form-data; name="a""#;

#[test]
fn fields_files_and_headers() {
    let body = lines(&[
        "--0000",
        A,
        "",
        "1",
        "--0000",
        r#"content-disposition: FORM-data; name="f"; filename="x.txt""#,
        "Content-Type: text/plain",
        "",
        "one",
        "",
        "three",
        "--0000",
        "Content-Disposition: form-data; name=plain",
        "",
        "",
        "--0000--",
    ]);
    let form = read(TYPE, &body);
    assert_eq!((form.error, form.flags), (None, MultipartFlags::default()));
    assert_eq!(form.args, [(b"a".to_vec(), b"1".to_vec()), (b"plain".to_vec(), b"".to_vec())]);
    let file = &form.files[0];
    assert_eq!((&file.field[..], &file.filename[..], file.size), (&b"f"[..], &b"x.txt"[..], 12));
    assert_eq!(&body[file.content.clone()], b"one\r\n\r\nthree");
    assert_eq!(file.headers.len(), 2);
    let headers: Vec<_> = form.part_headers.iter().map(|(name, line)| (&name[..], &line[..])).collect();
    assert_eq!(headers[0], (&b"a"[..], A.as_bytes()));
    assert_eq!(headers[2], (&b"f"[..], &b"Content-Type: text/plain"[..]));
    assert_eq!(headers.len(), 4);
}

#[test]
fn what_two_readers_may_read_differently_is_flagged() {
    let flag = |change: fn(&mut MultipartFlags)| {
        let mut flags = MultipartFlags::default();
        change(&mut flags);
        flags
    };
    let one = lines(&["--0000", A, "", "1", "--0000--"]);
    let with = |header: &str| lines(&["--0000", header, "", "1", "--0000--"]);
    let table: &[(&str, Vec<u8>, MultipartFlags)] = &[
        (TYPE, one.clone(), flag(|_| {})),
        (TYPE, one[..one.len() - 2].to_vec(), flag(|_| {})),
        ("Multipart/Form-Data;boundary=0000; charset=UTF-8", one.clone(), flag(|_| {})),
        ("multipart/form-data; boundary=\"0000\"", one.clone(), flag(|f| f.boundary_quoted = true)),
        ("multipart/form-data; boundary =0000", one.clone(), flag(|f| f.boundary_whitespace = true)),
        ("multipart/form-data; boundary= 0000", one.clone(), flag(|f| f.boundary_whitespace = true)),
        ("multipart/form-data; boundary=0000 ", one.clone(), flag(|f| f.boundary_whitespace = true)),
        (TYPE, [b"\r\n", &one[..]].concat(), flag(|_| {})),
        (TYPE, [b"x\r\n", &one[..]].concat(), flag(|f| f.data_before = true)),
        (TYPE, [&one[..], b"x"].concat(), flag(|f| f.data_after = true)),
        (TYPE, [&one[..], b"--0000\r\n"].concat(), flag(|f| f.data_after = true)),
        (TYPE, [&one[..], b"\r\n"].concat(), flag(|_| {})),
        (TYPE, with("Content-Disposition: form-data;\r\n name=\"a\""), flag(|f| f.header_folding = true)),
        (
            TYPE,
            with("Content-Disposition: form-data;\r\n\x0C\tname=\"a\""),
            flag(|f| {
                f.header_folding = true;
                f.invalid_header_folding = true;
            }),
        ),
        (TYPE, one.iter().copied().filter(|&byte| byte != b'\r').collect(), flag(|f| f.lf_line = true)),
        (
            TYPE,
            b"--0000\n".iter().chain(&one[8..]).copied().collect(),
            flag(|f| {
                f.lf_line = true;
                f.crlf_lf_lines = true;
            }),
        ),
        (
            TYPE,
            with("Content-Disposition: form-data; name=\"a\" filename*=\"\""),
            MultipartFlags { missing_semicolon: true, invalid_part: true, ..MultipartFlags::default() },
        ),
        (TYPE, with("Content-Disposition: form-data; name=\"a\" x=y"), flag(|f| f.missing_semicolon = true)),
        (TYPE, with("Content-Disposition: form-data; name='a'"), flag(|f| f.invalid_quoting = true)),
        (TYPE, with("Content-Disposition: form-data; name=it'sa"), flag(|f| f.invalid_quoting = true)),
        (TYPE, with("Content-Disposition: form-data; name=\"it'sa\""), flag(|_| {})),
        (TYPE, with("Content-Disposition: form-data; name=\"a\\\"b\""), flag(|f| f.invalid_quoting = true)),
        (TYPE, with("Content-Disposition: form-data; name=\"C:\\temp\\\\a\""), flag(|_| {})),
        (
            TYPE,
            b"--0000\r\nContent-Disposition: form-data; name=a\r\n\r\n--0000--\r\n".to_vec(),
            flag(|f| f.invalid_part = true),
        ),
        (TYPE, lines(&["--0000", A, "", "--other", "--0000--"]), flag(|f| f.foreign_boundary = true)),
        (
            "multipart/form-data; boundary=00000",
            one.clone(),
            flag(|f| {
                f.data_before = true;
                f.unmatched_boundary = true;
            }),
        ),
    ];
    for (content_type, body, flags) in table {
        let form = read(content_type, body);
        assert_eq!(form.flags, *flags, "{content_type} {}: {:?}", body.escape_ascii(), form.error);
        let strict = *flags != MultipartFlags::default() && !flags.foreign_boundary;
        assert_eq!(form.flags.strict_error(), strict, "{}", body.escape_ascii());
    }
}

#[test]
fn faults_keep_what_was_read() {
    let table: &[(&[&str], usize, &str)] = &[
        (&["--0000", A, "", "1", "--0000", A, "", "2"], 2, "Final boundary missing."),
        (&["--0000", A, "", "1", "--0000", A], 1, "Final boundary missing."),
        (&["--1111", A, "", "1", "--1111--"], 0, "No boundaries found in payload."),
        (&["--0000", "", "1", "--0000--"], 0, "Part missing Content-Disposition header."),
        (&["--0000", "--0000--"], 0, "Part missing Content-Disposition header."),
        (
            &["--0000", "Content-Disposition: form-data name=\"a\"", "", "1", "--0000--"],
            0,
            "Invalid Content-Disposition header.",
        ),
        (&["--0000", "Content-Disposition: attachment", "", "1", "--0000--"], 0, "Invalid Content-Disposition header."),
        (
            &["--0000", "Content-Disposition: form-data; name=\"a", "", "1", "--0000--"],
            0,
            "Invalid Content-Disposition header.",
        ),
        (&["--0000", "Content-Disposition: form-data;", "", "1", "--0000--"], 0, "missing name field."),
        (&["--0000", A, "", "1", "--0000", ":", "--0000--"], 1, "(header name missing)"),
        (&["--0000", "x", "", "1", "--0000--"], 0, "(colon missing)"),
        (
            &["--0000", "\x0EContent-Disposition\x0E: form-data; name=\"b\"", A, "", "1", "--0000--"],
            0,
            "(contains invalid character)",
        ),
        (
            &["--0000", "Content-Disposition : form-data; name=\"b\"", "", "1", "--0000--"],
            0,
            "(contains invalid character)",
        ),
        (&["--0000", "X: a\rY: b", A, "", "1", "--0000--"], 0, "(contains invalid character)"),
        (&["--0000", "X: \0", A, "", "1", "--0000--"], 0, "Nul byte"),
        (&["--0000", " folded", A, "", "1", "--0000--"], 0, "(folding error)"),
        (&["--0000", A, A, "", "1", "--0000--"], 0, "Duplicate part header."),
        (
            &["--0000", r#"Content-Disposition: form-data; name=';filename="dummy';name=b;"#, "", "2", "--0000--"],
            0,
            "Duplicate Content-Disposition name.",
        ),
        (
            &[
                "--0000",
                r#"Content-Disposition: form-data; name="a"; filename="b"; filename*=UTF-8''c"#,
                "",
                "2",
                "--0000--",
            ],
            0,
            "Duplicate Content-Disposition filename.",
        ),
        (&["--0000", A, "", "1", "--0000x", A, "", "2", "--0000--"], 1, "Invalid boundary"),
    ];
    for (body, args, word) in table {
        let form = read(TYPE, &lines(body));
        let error = form.error.unwrap_or_default();
        assert!(error.starts_with("Multipart parsing error: Multipart: ") && error.contains(word), "{body:?}: {error}");
        assert_eq!(form.args.len(), *args, "{body:?}: {error}");
    }
    let form = read(TYPE, &lines(&["--0000", "\x0EX: y", A, "", "1", "--0000--"]));
    assert_eq!(form.part_headers, [(Vec::new(), b"\x0EX: y".to_vec())]);
}

#[test]
fn boundaries_of_content_types() {
    let rfc2046 = "0123456789AaBbCcDdEeFfGgHhIiJjKkLlMmNnOoPpQqRrSsTtUuVvWwXxYyZz '()+_,-./:=?";
    let table: &[(&str, Result<&str, &str>)] = &[
        ("; boundary=----boundary", Ok("----boundary")),
        ("; charset=utf-8; boundary=x", Ok("x")),
        ("; boundary=\" 0000\"", Ok(" 0000")),
        ("; boundary=\"a b\"; x=y", Ok("a b")),
        ("", Err("not found")),
        ("; charset=utf-8", Err("not found")),
        (", boundary=0000", Err("malformed")),
        (" boundary=0000", Err("malformed")),
        ("; bOundAry=0000", Err("case sensitivity")),
        ("; boundary123=0000", Err("parameter name")),
        ("; boundary", Err("parameter name")),
        ("; boundary=\"0000\"; boundary=1111", Err("Multiple")),
        ("; boundary=0000, boundary=1111", Err("Multiple")),
        ("; boundary=0000; Boundary=1111", Err("Multiple")),
        ("; boundary=0000!1111", Err("characters")),
        ("; boundary=\"0000 \"", Err("characters")),
        ("; boundary=\"00\"00\"", Err("characters")),
        ("; boundary=\"0000", Err("quote")),
        ("; boundary=0000\"", Err("quote")),
        ("; boundary=", Err("empty")),
        ("; boundary=\"\"", Err("empty")),
    ];
    for (parameters, expected) in table {
        let got = boundary::of_content_type(
            format!("multipart/form-data{parameters}").as_bytes(),
            &mut MultipartFlags::default(),
        );
        match (&got, expected) {
            (Ok(boundary), Ok(expected)) => assert_eq!(boundary, expected.as_bytes()),
            (Err(fault), Err(word)) => assert!(fault.contains(word), "{parameters}: {fault}"),
            _ => panic!("{parameters}: {got:?}"),
        }
    }
    let whole = format!("multipart/form-data; boundary={rfc2046}");
    assert_eq!(
        boundary::of_content_type(whole.as_bytes(), &mut MultipartFlags::default()),
        Ok(rfc2046.as_bytes().to_vec())
    );
    let long = format!("multipart/form-data; boundary={}", "x".repeat(201));
    for other in ["multipart/mixed; boundary=x", "text/plain", "", &long] {
        assert!(boundary::of_content_type(other.as_bytes(), &mut MultipartFlags::default()).is_err(), "{other}");
    }
}

#[test]
fn a_filename_in_the_extended_form() {
    let body = lines(&[
        "--0000",
        "Content-Disposition: form-data; name=\"f\"; filename*=UTF-8''%2e%2e%2Fa+b%zz",
        "",
        "x",
        "--0000--",
    ]);
    assert_eq!(read(TYPE, &body).files[0].filename, b"../a+b%zz");
}

#[test]
fn limits() {
    let limits = MultipartLimits { args: 2, files: 1, headers: 2, header_bytes: 200 };
    let arg = [A, "", "1", "--0000"];
    let file = [r#"Content-Disposition: form-data; name="f"; filename="x""#, "", "1", "--0000"];
    let body = |parts: &[&[&str]]| {
        let all: Vec<&str> = std::iter::once("--0000").chain(parts.concat()).collect();
        let mut body = lines(&all);
        body.truncate(body.len() - 2);
        [&body[..], b"--\r\n"].concat()
    };
    let read = |parts: &[&[&str]]| parse(&body(parts), TYPE.as_bytes(), &limits);
    assert_eq!(read(&[&arg, &arg, &file]).error, None);
    let more = read(&[&arg, &arg, &arg]);
    assert_eq!(more.args.len(), 2);
    assert!(more.error.unwrap().contains("More than 2 arguments"));
    let more = read(&[&file, &file, &file]);
    assert!(more.error.is_none() && more.flags.file_limit_exceeded && more.files.len() == 3);
    assert!(read(&[&file, &file, &file, &file]).error.unwrap().contains("More than 3 parts"));
    let long = format!("X: {}", "y".repeat(200));
    assert!(read(&[&[&long, "", "1", "--0000"]]).error.unwrap().contains("longer than 200 bytes"));
    assert!(read(&[&["X: 1", "Y: 2", "Z: 3", "", "1", "--0000"]]).error.unwrap().contains("more than 2 headers"));
}
