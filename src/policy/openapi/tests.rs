use super::*;
use crate::policy::field::Found;
use http::Method;

fn drafted(document: &str) -> String {
    draft(&serde_json::from_str(document).unwrap()).unwrap()
}

/// A draft has to build, whatever it was made from.
fn built(draft: &str) -> FieldPolicy {
    FieldPolicy::build(&[("draft.toml".to_owned(), draft.to_owned())]).unwrap_or_else(|faults| {
        let faults: Vec<String> = faults.iter().take(9).map(ToString::to_string).collect();
        panic!("{}\n{}", faults.join("\n"), draft.get(..4000).unwrap_or(draft))
    })
}

/// A document as FastAPI writes it.
const SHOP: &str = r##"{
  "openapi": "3.1.0",
  "info": {"title": "Garden \u001b[1m Shop", "version": "1"},
  "paths": {
    "/api/plants/{plant_id}": {
      "parameters": [{"name": "plant_id", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"}}],
      "get": {"parameters": [
        {"name": "include", "in": "query", "schema": {"anyOf": [{"type": "string", "enum": ["soil", "sun"]}, {"type": "null"}]}},
        {"name": "if-none-match", "in": "header", "schema": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
        {"name": "Accept", "in": "header", "schema": {"type": "string"}},
        {"name": "session", "in": "cookie", "schema": {"type": "string", "maxLength": 64}}
      ]},
      "delete": {},
      "put": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/PlantUpdate"}}}}}
    },
    "/api/plants/{plant_id}/notes": {"post": {
      "parameters": [{"name": "plant_id", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"}}],
      "requestBody": {"content": {"application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/Note"}}}}}}},
    "/api/search": {"get": {"parameters": [
      {"name": "q", "in": "query", "required": true, "schema": {"type": "string"}},
      {"name": "query", "in": "query", "schema": {"type": "string", "maxLength": 200}},
      {"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1, "default": 1}},
      {"name": "per_page", "in": "query", "required": true, "schema": {"type": "integer", "minimum": 1, "exclusiveMaximum": 101}},
      {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{1,20}$"}}},
      {"name": "since", "in": "query", "schema": {"type": "string", "format": "date-time"}},
      {"name": "filter", "in": "query", "style": "deepObject", "schema": {"type": "object", "properties": {"sun": {"type": "boolean"}}}}
    ]}},
    "/api/photos/{name}.jpg": {"post": {
      "requestBody": {"content": {"multipart/form-data": {"schema": {"$ref": "#/components/schemas/Body_upload"}}}}}},
    "/api/login": {"post": {
      "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": {"type": "object", "required": ["username"],
        "properties": {"username": {"type": "string", "maxLength": 80}, "password": {"type": "string", "format": "password"}}}}}}}},
    "/api/raw": {"put": {"requestBody": {"content": {"text/plain": {"schema": {"type": "string"}}}}},
      "post": {"requestBody": {"content": {"application/octet-stream": {}}}}},
    "/api/odd?x#y": {"get": {}},
    "/api/plants/{z}": {"get": {}, "patch": {}}
  },
  "components": {"schemas": {
    "PlantUpdate": {"type": "object", "required": ["title"], "properties": {
      "title": {"type": "string", "maxLength": 300},
      "description": {"anyOf": [{"type": "string"}, {"type": "null"}]},
      "summary": {"type": "string", "maxLength": 400},
      "homepage": {"type": "string", "format": "uri"},
      "feed_url": {"type": "string"},
      "price": {"type": "number", "minimum": 0, "maximum": 99.5},
      "count": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
      "hardy": {"type": "boolean"},
      "owner": {"type": "string", "format": "email"},
      "kind": {"allOf": [{"$ref": "#/components/schemas/Kind"}], "default": "tree"},
      "nick": {"type": "string"},
      "labels": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 20}},
      "data": {"type": "array", "items": {}},
      "extra": {"type": "object", "additionalProperties": true},
      "parent": {"$ref": "#/components/schemas/PlantUpdate"},
      "shape": {"oneOf": [{"$ref": "#/components/schemas/Round"}, {"$ref": "#/components/schemas/Square"}]},
      "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
      "odd key, 'yes'": {"type": "integer"}
    }},
    "Kind": {"type": "string", "enum": ["tree", "shrub"]},
    "Round": {"type": "object", "properties": {"radius": {"type": "number"}, "form": {"const": "round"}}},
    "Square": {"type": "object", "properties": {"side": {"type": "number"}, "form": {"const": "square"}}},
    "Note": {"allOf": [{"type": "object", "properties": {"id": {"type": "string", "format": "uuid"}}},
      {"type": "object", "properties": {"text": {"type": "string"}, "date": {"type": "string", "format": "date"}}}]},
    "Body_upload": {"type": "object", "required": ["file"], "properties": {
      "file": {"type": "string", "format": "binary"},
      "more": {"type": "array", "maxItems": 4, "items": {"type": "string", "contentMediaType": "image/png"}},
      "tags": {"type": "string", "maxLength": 50},
      "public": {"type": "boolean", "default": true}}}
  }}
}"##;

#[test]
fn a_draft_says_what_the_document_does_and_marks_its_guesses() {
    let draft = drafted(SHOP);
    let policy = built(&draft);
    assert_eq!(policy.name(), "garden-1m-shop");
    for want in [
        "# left out: /api/odd?x#y: no request has such a path\n",
        "# left out: GET /api/plants/{z}: another spelling of this path has it\n",
        "\n[path_fields]\nname_jpg = \"short(200)\"  # check: the document does not describe it\nplant_id = \"uuid\"\n",
        "path = \"/api/plants/{plant_id}\"\nmethods = [\"GET\"]\nquery.include",
        "path = \"/api/plants/{plant_id}\"\nmethods = [\"PATCH\"]\n\n",
        "query.include = \"enum(soil, sun)?\"\n",
        "headers.if-none-match = \"short(1024)?\"  # check: the document sets no bound\n",
        "cookies.session = \"short(64)?\"\n",
        "\"$.title\" = \"short(300)\"\n",
        "\"$.description\" = \"free?\"  # check: prose or code, by its name\n",
        "\"$.summary\" = \"short(400)\"\n",
        "\"$.homepage\" = \"url\"  # check: fetch-url where the server fetches it\n",
        "\"$.feed_url\" = \"url?\"  # check: fetch-url",
        "\"$.price\" = \"number(0..99.5)\"\n",
        "\"$.count\" = \"integer?\"\n",
        "\"$.hardy\" = \"boolean\"\n",
        "\"$.owner\" = \"email\"\n",
        "\"$.kind\" = \"enum(tree, shrub)\"\n",
        "\"$.nick\" = \"short(1024)\"  # check: the document sets no bound; free, if it is prose\n",
        "\"$.labels.*\" = \"short(20)\"\n",
        "\"$.data[*].**\" = \"free?\"  # check: the document says nothing of it\n",
        "\"$.extra.**\" = \"short(1024)?\"  # check: an object with any members\n",
        "\"$.parent.**\" = \"short(1024)?\"  # check: it holds itself\n",
        "\"$.shape.form\" = \"enum(round, square)\"\n",
        "\"$.shape.radius\" = \"number\"\n",
        "\"$.shape.side\" = \"number\"\n",
        "\"$.content.**\" = \"free?\"  # check: a value, or a list or object\n",
        "\"$['odd key, \\\\'yes\\\\'']\" = \"integer\"\n",
        "\"$[*].id\" = \"uuid\"\n",
        "\"$[*].text\" = \"free\"  # check",
        "\"$[*].date\" = \"date\"\n",
        "query.q = \"short(1024)\"  # check: the document sets no bound\n",
        "query.query = \"short(200)?\"\n",
        "query.page = \"integer(1..)?\"\n",
        "query.per_page = \"integer(1..100)\"\n",
        "query.tag = \"pattern(^[a-z]{1,20}$)?\"  # check",
        "query.since = \"datetime?\"\n",
        "query.\"filter[sun]\" = \"boolean?\"\n",
        "path = \"/api/photos/{name_jpg}\"\nmethods = [\"POST\"]\ncontent = [\"multipart/form-data\"]\n",
        "[operation.form]\npublic = \"boolean?\"\ntags = \"short(50)?\"\n[operation.parts]\n",
        "file = { name = \"file-name\", content = \"opaque(10MiB)\", max = \"10MiB\" }  # check",
        "more = { name = \"file-name\", types = [\"image/png\"], content = \"opaque(10MiB)\", max = \"10MiB\", count = 4 }",
        "password = \"opaque(1KiB)?\"  # check: a secret: nothing reads it\nusername = \"short(80)\"\n",
        "methods = [\"PUT\"]\ncontent = [\"text/plain\"]\nbody = \"free\"  # check: the body is one text\n",
        "content = [\"application/octet-stream\"]\nbody = \"opaque(10MiB)\"  # check: nothing reads this body\n",
    ] {
        assert!(draft.contains(want), "{want}\n---\n{draft}");
    }
    assert!(!draft.contains("$.title.") && !draft.contains("headers.accept") && !draft.contains('\u{1b}'));
    let Found::Operation(found) = policy.find(&Method::POST, "/api/photos/rose.jpg") else { panic!("not found") };
    assert_eq!(found.parameters().next().map(|(name, value, _)| (name, value)), Some(("name_jpg", "rose.jpg")));
}

#[test]
fn methods_that_take_the_same_are_one_operation() {
    let draft = drafted(
        r#"{"openapi": "3.0.3", "servers": [{"url": "https://x.example/v1/"}], "paths": {"/a/{b}": {
            "parameters": [{"name": "b", "in": "path", "schema": {"type": "integer", "nullable": true}}], "get": {}, "delete": {}}}}"#,
    );
    assert!(draft.contains("path = \"/v1/a/{b}\"\nmethods = [\"GET\", \"DELETE\"]\n"), "{draft}");
    assert!(draft.contains("b = \"integer?\""), "{draft}");
    built(&draft);
}

#[test]
fn what_is_no_document_is_told() {
    for (document, want) in [
        ("[]", DraftError::Format("it is no object")),
        ("{}", DraftError::Format("the key `openapi` is missing")),
        (r#"{"swagger": "2.0"}"#, DraftError::Format("it is Swagger 2.0: convert it first")),
        (r#"{"openapi": "4.0.0"}"#, DraftError::Format("the version is not 3.x")),
        (r#"{"openapi": "3.1.0"}"#, DraftError::Empty),
        (r#"{"openapi": "3.1.0", "paths": {}}"#, DraftError::Empty),
    ] {
        assert_eq!(draft(&serde_json::from_str(document).unwrap()), Err(want), "{document}");
    }
}

/// A document with one body.
fn with_body(schema: &str, schemas: &str) -> String {
    format!(
        r##"{{"openapi": "3.1.0", "paths": {{"/a": {{"post": {{"requestBody": {{"content": {{"application/json":
        {{"schema": {schema}}}}}}}}}}}}}, "components": {{"schemas": {{{schemas}}}}}}}"##
    )
}

#[test]
fn hostile_documents_are_bounded_and_build() {
    let reference = |name: &str| format!(r##"{{"$ref": "#/components/schemas/{name}"}}"##);
    let many: Vec<String> = (0..10_000).map(|n| format!(r#""p{n}": {{"type": "string"}}"#)).collect();
    let many = format!(r#"{{"type": "object", "properties": {{{}}}}}"#, many.join(","));
    let nested = r#"{"type": "array", "items": "#.repeat(60) + "{}" + &"}".repeat(60);
    let fan: Vec<String> = (0..30)
        .map(|n| {
            format!(
                r#""S{n}": {{"anyOf": [{a}, {a}, {{"type": "object", "properties": {{"a": {a}, "b": {a}}}}}]}}"#,
                a = reference(&format!("S{}", n + 1))
            )
        })
        .collect();
    let wide: Vec<String> = (0..30)
        .map(|n| {
            format!(
                r#""S{n}": {{"type": "object", "properties": {{"a": {a}, "b": {a}, "c": {a}}}}}"#,
                a = reference(&format!("S{}", n + 1))
            )
        })
        .collect();
    for (name, document, want) in [
        (
            "missing",
            with_body(&reference("Nowhere"), ""),
            "\"$.**\" = \"short(1024)?\"  # check: its reference leads nowhere",
        ),
        ("remote", with_body(r#"{"$ref": "http://169.254.169.254/x"}"#, ""), "its reference leads nowhere"),
        ("itself", with_body(&reference("A"), &format!(r#""A": {}"#, reference("A"))), "it holds itself"),
        (
            "circle",
            with_body(&reference("A"), &format!(r#""A": {}, "B": {}"#, reference("B"), reference("A"))),
            "it holds itself",
        ),
        (
            "allOf circle",
            with_body(&reference("A"), &format!(r#""A": {{"allOf": [{}]}}"#, reference("A"))),
            "it holds itself",
        ),
        ("10k properties", with_body(&many, ""), "# check: the document describes more fields than these"),
        ("deep", with_body(&nested, ""), "the document goes deeper"),
        ("fan of alternatives", with_body(&reference("S0"), &fan.join(",")), "# check"),
        ("fan of members", with_body(&reference("S0"), &wide.join(",")), "# check"),
        (
            "odd types",
            with_body(
                r#"{"type": "object", "properties": {"a": {"type": 3}, "b": {"type": "file"}, "c": {"enum": [[1], {}]}, "d": false, "e": {"enum": []}, "f": 7}}"#,
                "",
            ),
            "$.b.**",
        ),
        (
            "odd names",
            with_body(
                r#"{"type": "object", "properties": {"": {"type": "integer"}, "a\u0000b\"\\'": {"type": "integer"}, "*": {"type": "integer"}, "**": {"type": "boolean"}}}"#,
                "",
            ),
            r#""$['']" = "integer""#,
        ),
        (
            "odd enums",
            with_body(
                r#"{"type": "object", "properties": {"a": {"enum": ["a,b", ")"]}, "b": {"type": "string", "pattern": "^(((((((((("}, "c": {"type": "integer", "minimum": 9, "maximum": 1}}}"#,
                "",
            ),
            "$.a",
        ),
    ] {
        let draft = drafted(&document);
        built(&draft);
        assert!(draft.contains(want), "{name}: {want}\n{}", draft.get(..3000).unwrap_or(&draft));
        assert!(draft.len() < 1 << 20, "{name}: {} bytes", draft.len());
    }
    // More paths than a policy may have operations, and names without end.
    let paths: Vec<String> = (0..12_000).map(|n| format!(r#""/p{n}": {{"get": {{}}}}"#)).collect();
    let draft = drafted(&format!(r#"{{"openapi": "3.0.0", "paths": {{{}}}}}"#, paths.join(",")));
    assert_eq!(built(&draft).operations().len(), 9_001);
    let long = "x".repeat(100_000);
    let draft =
        drafted(&with_body(&format!(r#"{{"properties": {{"{long}": {{}}, "a": {{"enum": ["{long}"]}}}}}}"#), ""));
    built(&draft);
    assert!(draft.len() < 10_000 && draft.contains("$.a"));
    // Everything that can be missing, or be of the wrong kind.
    for document in [
        r#"{"openapi": "3.0.0", "info": 3, "servers": "x", "paths": {"/a": 1, "b": {}, "/c": {"get": 1, "post": {"parameters": 3, "requestBody": []}}}}"#,
        r##"{"openapi": "3.0.0", "servers": [{"url": "/{v}/x"}], "paths": {"/c/{}": {"get": {"parameters": [1, {}, {"$ref": "#/x"}, {"name": "a", "in": "nowhere"}, {"name": "", "in": "query"}, {"name": "x y", "in": "header", "schema": {}}]}}}}"##,
        r#"{"openapi": "3.0.0", "paths": {"/{a}/{a}/{a b}": {"get": {"requestBody": {"content": {"application/json": {}}}}, "post": {"requestBody": {"content": {"bad": {}, "application/json": {}, "multipart/form-data": {"schema": {"type": "string"}}, "text/x": {}, "*/*": {"schema": {}}}}}}, "/": {"trace": {}}}}"#,
    ] {
        built(&drafted(document));
    }
}

#[test]
fn a_yaml_document_is_read_like_json() {
    let yaml = "openapi: 3.0.0\npaths:\n  /a:\n    get:\n      parameters:\n        - {name: x, in: query, schema: {type: integer}}\n";
    let draft = draft(&serde_saphyr::from_str(yaml).unwrap()).unwrap();
    assert!(draft.contains("query.x = \"integer?\""), "{draft}");
}
