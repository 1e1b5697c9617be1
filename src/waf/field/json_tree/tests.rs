use super::*;

fn purpose(spec: &str) -> Arc<Purpose> {
    Arc::new(Purpose::parse(spec).unwrap())
}

fn build(paths: &[(&str, &str)]) -> Result<JsonTree, Vec<TreeError>> {
    let paths = paths.iter().map(|(path, spec)| (JsonPath::parse(path).unwrap(), purpose(spec))).collect();
    JsonTree::build(paths, &purpose("short(9)"), false)
}

/// Goes down by steps written `a/0/b`: digits are items.
fn walk<'t>(tree: &'t JsonTree, way: &str) -> Node<'t> {
    way.split('/').filter(|step| !step.is_empty()).fold(tree.root(), |node, step| {
        if step.bytes().all(|b| b.is_ascii_digit()) { node.item() } else { node.member(step.as_bytes()) }
    })
}

#[test]
fn every_place_has_a_purpose() {
    let tree = build(&[
        ("$.title", "slug"),
        ("$.tasks[*].status", "enum(a, b)"),
        ("$.docs[*].content.**", "free"),
        ("$.docs[*].content.id", "uuid"),
        ("$['odd key']", "integer"),
        ("$.context.*", "hex"),
        ("$.context.id", "uuid"),
        ("$.by.*.x", "email"),
        ("$.by.me.y", "host"),
        ("$.grid[*][*]", "number"),
    ])
    .unwrap();
    for (way, spec) in [
        ("", "short(9)"),
        ("title", "slug"),
        ("Title", "short(9)"),
        ("title/x", "short(9)"),
        ("title/x/title", "short(9)"),
        ("title/0", "short(9)"),
        ("tasks/0/status", "enum(a, b)"),
        ("tasks/status", "short(9)"),
        ("tasks/0/0/status", "short(9)"),
        ("docs/0/content", "free"),
        ("docs/0/content/a/0/b", "free"),
        ("docs/0/content/id", "uuid"),
        ("docs/0/content/id/x", "free"),
        ("docs/0/contents/id", "short(9)"),
        ("odd key", "integer"),
        ("context/any", "hex"),
        ("context/any/deeper", "short(9)"),
        ("context/id", "uuid"),
        ("by/someone/x", "email"),
        ("by/me/x", "email"),
        ("by/me/y", "host"),
        ("by/you/y", "short(9)"),
        ("grid/0/1", "number"),
        ("unknown/title", "short(9)"),
    ] {
        assert_eq!(walk(&tree, way).purpose().spec(), spec, "{way}");
    }
    assert!(tree.root().knows(b"title") && !tree.root().knows(b"$where"));
    let context = tree.root().member(b"context");
    assert!(context.knows(b"any") && context.spells(b"id") && !context.spells(b"any"));
    assert!(walk(&tree, "docs/0/content").knows(b"any"));
    assert!(!walk(&tree, "nothing").knows(b"title"));
}

#[test]
fn the_first_step_that_differs_decides() {
    let tree = build(&[("$.a.**", "free"), ("$.*.b", "uuid"), ("$.*.*.c", "hex"), ("$.x.*.c", "slug")]).unwrap();
    for (way, spec) in [
        ("a", "free"),
        ("a/b", "free"),
        ("a/b/c", "free"),
        ("z/b", "uuid"),
        ("z/y/c", "hex"),
        ("x/b", "short(9)"),
        ("x/y/c", "slug"),
    ] {
        assert_eq!(walk(&tree, way).purpose().spec(), spec, "{way}");
    }
}

#[test]
fn kinds_follow_the_class_and_the_way() {
    use Kind::{Array, Boolean, Null, Number, Object, String};
    let paths = [
        ("$.n", "integer"),
        ("$.m", "number?"),
        ("$.b", "boolean"),
        ("$.s", "short(20)"),
        ("$.u", "uuid"),
        ("$.list[*]", "uuid"),
        ("$.map.*", "uuid"),
        ("$.both[*].x", "uuid"),
        ("$.both.y", "uuid"),
        ("$.any.**", "free"),
        ("$.any.in.id", "uuid"),
        ("$.r", "refuse"),
    ];
    let tree = build(&paths).unwrap();
    for (way, kinds) in [
        ("", vec![Null, Object]),
        ("n", vec![Number]),
        ("m", vec![Null, Number]),
        ("b", vec![Boolean]),
        ("s", vec![Boolean, Number, String]),
        ("u", vec![Boolean, Number, String]),
        ("list", vec![Null, Array]),
        ("list/0", vec![Boolean, Number, String]),
        ("map", vec![Null, Object]),
        ("both", vec![Null, Object, Array]),
        ("any", vec![Null, Boolean, Number, String, Object, Array]),
        ("any/in", vec![Null, Boolean, Number, String, Object, Array]),
        ("any/in/id", vec![Boolean, Number, String]),
        ("n/x", vec![Null, Boolean, Number, String, Object, Array]),
        ("r", vec![Null, Boolean, Number, String, Object, Array]),
    ] {
        let node = walk(&tree, way);
        let taken: Vec<Kind> =
            [Null, Boolean, Number, String, Object, Array].into_iter().filter(|kind| node.takes(*kind)).collect();
        assert_eq!(taken, kinds, "{way}");
    }
    assert_eq!(walk(&tree, "n").kinds().to_string(), "a number");
    assert_eq!(walk(&tree, "both").kinds().to_string(), "an object or an array");
    assert!(matches!(walk(&tree, "r").expect(), Expect::Refuse));

    let paths = paths.iter().map(|(path, spec)| (JsonPath::parse(path).unwrap(), purpose(spec))).collect();
    let quoted = JsonTree::build(paths, &purpose("refuse"), true).unwrap();
    assert!(walk(&quoted, "n").takes(String) && walk(&quoted, "b").takes(String) && !walk(&quoted, "n").takes(Object));
    assert!(matches!(walk(&quoted, "n/x").expect(), Expect::Refuse));
}

#[test]
fn a_whole_document_can_be_one_value_or_anything() {
    let tree = build(&[("$", "uuid")]).unwrap();
    assert_eq!(tree.root().purpose().spec(), "uuid");
    assert!(!tree.root().takes(Kind::Object));
    let tree = build(&[("$.**", "free")]).unwrap();
    assert_eq!(walk(&tree, "a/0/b").purpose().spec(), "free");
    let tree = build(&[("$[*].method", "slug"), ("$.method", "slug")]).unwrap();
    assert!(tree.root().takes(Kind::Object) && tree.root().takes(Kind::Array) && !tree.root().takes(Kind::String));
    for empty in [build(&[]).unwrap(), JsonTree::empty(&purpose("short(9)"))] {
        assert!(empty.is_empty());
        assert_eq!(walk(&empty, "a/0/b").purpose().spec(), "short(9)");
        assert!(empty.root().takes(Kind::String) && empty.root().takes(Kind::Object));
    }
}

#[test]
fn paths_that_contradict_each_other() {
    for (paths, want) in [
        (vec![("$.a", "uuid"), ("$['a']", "slug")], vec![(1, Some(0))]),
        (vec![("$.a.**", "free"), ("$.a.**", "free")], vec![(1, Some(0))]),
        (vec![("$.a.b", "uuid"), ("$.a", "free")], vec![(0, Some(1))]),
        (vec![("$.a", "free"), ("$.a.**", "free")], vec![(1, Some(0))]),
        (vec![("$", "free"), ("$[*]", "free"), ("$.x.y", "free")], vec![(1, Some(0)), (2, Some(0))]),
        (vec![("$.a[*]", "free"), ("$.a[*].b", "free"), ("$.a[*]", "uuid")], vec![(2, Some(0)), (1, Some(0))]),
    ] {
        let errors = build(&paths).unwrap_err();
        let found: Vec<_> = errors.iter().map(|error| (error.path, error.other)).collect();
        assert_eq!(found, want, "{paths:?}");
        assert!(errors.iter().all(|error| !error.what.is_empty() && !error.mend.is_empty()));
    }
    // A name and `*` do not contradict each other, whatever lies below them.
    build(&[("$.*", "short(9)"), ("$.a.b", "uuid")]).unwrap();
}

#[test]
fn too_many_places_are_a_fault_and_not_a_wait() {
    // Each name doubles what the stars beside it lead to.
    let paths: Vec<(JsonPath, Arc<Purpose>)> = (0..40)
        .map(|at| {
            let stars = ".*".repeat(at);
            let tail = ".*".repeat(40 - at);
            (JsonPath::parse(&format!("${stars}.a{tail}.end{at}")).unwrap(), purpose("uuid"))
        })
        .collect();
    let errors = JsonTree::build(paths, &purpose("free"), false).unwrap_err();
    assert!(errors[0].what.contains("too many places"), "{errors:?}");
}

#[test]
fn faults_of_a_path_have_a_place() {
    for (text, at) in [
        ("", 0),
        ("title", 0),
        (".a", 0),
        ("$a", 1),
        ("$.", 2),
        ("$..a", 2),
        ("$.a.", 4),
        ("$.a b", 3),
        ("$.a*", 3),
        ("$.tasks[0].id", 7),
        ("$.tasks[]", 7),
        ("$.tasks[*", 7),
        ("$['a", 1),
        ("$['a'", 1),
        ("$['a\\x']", 1),
        ("$.a.**.b", 6),
        ("$.é.ü!", 7),
    ] {
        let error = JsonPath::parse(text).unwrap_err();
        assert_eq!(error.at, at, "{text}: {error:?}");
        assert!(!error.what.is_empty() && !error.mend.is_empty());
    }
    assert!(JsonPath::parse(&format!("${}", ".a".repeat(64))).is_ok());
    assert_eq!(JsonPath::parse(&format!("${}", ".a".repeat(65))).unwrap_err().at, 129);
}

#[test]
fn paths_print_as_they_read() {
    for text in [
        "$",
        "$[*]",
        "$.a.b-c_d[*].*.x",
        "$.content.**",
        "$['odd key'].x",
        r"$['it\'s \\ so']",
        "$['']",
        "$['*']",
        "$.größe",
    ] {
        assert_eq!(JsonPath::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(JsonPath::parse(r#"$["a b"]["c"]"#).unwrap().to_string(), "$['a b'].c");
    let built = JsonPath::root().member("a").item().any_member().below();
    assert_eq!((built.to_string().as_str(), built.depth()), ("$.a[*].*.**", 4));
}
