//! What every body reader keeps on bytes of any kind: it ends, it does not panic, it hands out no more than its
//! bounds, and it gives the same answer twice.

use super::{json, multipart, urlencoded, xml};
use crate::transform::vectors::noise;

#[test]
fn bytes_of_any_kind() {
    let all: Vec<u8> = (0..=255).collect();
    let alphabets: [&[u8]; 5] = [
        &all,
        br#"{}[]",:\u0dDeE+-.1 tfnrue"#,
        b"<>/a ='\"&;#x!-[]?CDATA\xC3\xA9",
        b"a=&%+2f;",
        b"--b\r\n\r\n:; Content-Disposition: form-data; name=\"'\\",
    ];
    let mut seed = 99;
    for round in 0..4000 {
        let body = noise(&mut seed, alphabets[round % alphabets.len()], round % 150);
        let form = urlencoded::parse(&body, b'&', &urlencoded::Limits { args: 5 });
        assert!(form.args.len() <= 5);
        let limits = json::JsonLimits { depth: 4, args: 5, flattened: 300 };
        let fields = json::flatten(&body, &limits);
        assert!(fields.args.len() <= 5 && fields.args.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>() <= 300);
        let document = xml::parse(&body, &xml::XmlLimits { depth: 4, nodes: 6 });
        let size: usize = document.texts.iter().chain(&document.attributes).map(Vec::len).sum();
        assert!(size <= body.len() && document.texts.len() + document.attributes.len() <= 8);
        let parts = multipart::parse(&body, b"multipart/form-data; boundary=b", &multipart::MultipartLimits::default());
        assert!(parts.files.iter().all(|file| body.get(file.content.clone()).is_some_and(|c| c.len() == file.size)));
        let _ = multipart::parse(b"--b--", &body, &multipart::MultipartLimits::default());
        assert_eq!(fields, json::flatten(&body, &limits));
    }
}

/// A whole body cut anywhere, and with any byte changed, is read or refused, never more.
#[test]
fn whole_bodies_cut_and_changed() {
    let bodies: [&[u8]; 3] = [
        br#"{"a":[1,{"b":"\ud83d\ude00x"},null],"c":{"d":-1.5e3}}"#,
        b"<?xml version='1.0'?><a b='c&lt;'>t<![CDATA[u]]>&#65;<d/></a>",
        b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"g\"\r\nX: y\r\n\r\nz\r\n--b--\r\n",
    ];
    let read = |body: &[u8]| {
        (
            json::flatten(body, &json::JsonLimits::default()),
            xml::parse(body, &xml::XmlLimits::default()),
            multipart::parse(body, b"multipart/form-data; boundary=b", &multipart::MultipartLimits::default()),
        )
    };
    for body in bodies {
        let (json, xml, form) = read(body);
        assert_eq!(
            [json.error.is_none(), xml.error.is_none(), form.error.is_none()].iter().filter(|ok| **ok).count(),
            1
        );
        for at in 0..body.len() {
            let (json, xml, form) = read(&body[..at]);
            // A cut document is whole in no format, but for the empty one and a cut of the last line end.
            assert!(at == 0 || json.error.is_some() && xml.error.is_some());
            assert!(form.error.is_some() || at + 2 >= body.len());
            for byte in [0, b'"', b'<', b'\n', b'-', b'{', 0xFF] {
                let mut changed = body.to_vec();
                changed[at] = byte;
                read(&changed);
            }
        }
    }
}
