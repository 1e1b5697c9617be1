//! Changes as texts: a policy file with one class more, comments and order as they were; a rules file with exclusions
//! more. And files replaced whole or not at all.

use super::cluster::{Group, Site};
use super::field::Field;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use toml_edit::{DocumentMut, InlineTable, Item, Table, Value, value};

/// Ids of rules that are written, first and last: of those left to sites (ModSecurity reference, action `id`).
const IDS: (u64, u64) = (90_000, 99_999);

/// The place of an operation: which file, and which of its `[[operation]]` entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) file: usize,
    pub(super) at: usize,
}

/// Where an operation is described: the entry of that path that has the method.
pub(super) fn entry(files: &[(String, String)], path: &str, methods: &[String]) -> Option<Entry> {
    for (file, (_, text)) in files.iter().enumerate() {
        let Ok(document) = text.parse::<DocumentMut>() else { continue };
        let operations: Vec<Item> = match document.get("operation") {
            Some(Item::ArrayOfTables(tables)) => tables.iter().map(|table| Item::Table(table.clone())).collect(),
            _ => continue,
        };
        for (at, operation) in operations.iter().enumerate() {
            let same = operation.get("path").and_then(Item::as_str) == Some(path);
            let listed = operation.get("methods").and_then(Item::as_array);
            let has = |method: &String| {
                listed.is_none_or(|list| list.iter().any(|own| own.as_str() == Some(method.as_str())))
            };
            if same && methods.iter().all(has) {
                return Some(Entry { file, at });
            }
        }
    }
    None
}

/// A policy file with the field's class set in one of its operations.
pub(super) fn with_class(text: &str, at: usize, field: &Field, class: &str) -> Option<String> {
    let (key, name) = field.in_policy()?;
    let mut document = text.parse::<DocumentMut>().ok()?;
    let operation = document.get_mut("operation")?.as_array_of_tables_mut()?.get_mut(at)?;
    let table = operation.entry(key).or_insert_with(|| {
        let mut table = Table::new();
        table.set_dotted(true);
        Item::Table(table)
    });
    match table {
        Item::Value(Value::InlineTable(table)) => set_inline(table, &name, class),
        Item::Table(table) => match table.get_mut(&name) {
            Some(Item::Value(old)) => replace(old, class),
            _ => drop(table.insert(&name, value(class))),
        },
        _ => return None,
    }
    Some(document.to_string())
}

fn set_inline(table: &mut InlineTable, name: &str, class: &str) {
    match table.get_mut(name) {
        Some(old) => replace(old, class),
        None => {
            // The blank before the closing brace stays there.
            let mut new = Value::from(class).decorated(" ", "");
            if let Some((_, last)) = table.iter_mut().last() {
                let blank = last.decor().suffix().cloned().unwrap_or_default();
                last.decor_mut().set_suffix("");
                new.decor_mut().set_suffix(blank);
            }
            table.insert(name, new);
        }
    }
}

/// A value in place of another, with the blanks and comments around that.
fn replace(old: &mut Value, class: &str) {
    let mut new = Value::from(class);
    *new.decor_mut() = old.decor().clone();
    *old = new;
}

/// Ids that rules may be given: those of sites, less the ones that are taken.
pub(super) fn free_ids(taken: &BTreeSet<u64>) -> impl Iterator<Item = u64> {
    (IDS.0..=IDS.1).filter(|id| !taken.contains(id))
}

/// The ids that a rules file gives.
pub(super) fn ids(text: &str) -> BTreeSet<u64> {
    let number = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    text.match_indices("id:").filter_map(|(at, found)| number(text.get(at + found.len()..)?)).collect()
}

/// Exclusions of a field from rules: for the requests of one path where that is known, else for all requests.
pub(super) fn exclusion(group: &Group, rules: &BTreeSet<(u64, String)>, everywhere: bool, id: u64) -> String {
    let mut out = format!("# {} of {}: {} requests\n", group.field, group.site, group.requests);
    let test = if everywhere { None } else { path_test(&group.site) };
    match test {
        Some(test) => {
            let actions: Vec<String> = rules
                .iter()
                .map(|(id, collection)| format!("ctl:ruleRemoveTargetById={id};{}", group.field.target(collection)))
                .collect();
            out.push_str(&format!(
                "SecRule REQUEST_FILENAME \"{test}\" \"id:{id},phase:1,pass,nolog,t:none,{}\"\n",
                actions.join(",")
            ));
        }
        None => {
            for (id, collection) in rules {
                out.push_str(&format!("SecRuleUpdateTargetById {id} \"!{}\"\n", group.field.target(collection)));
            }
        }
    }
    out
}

/// The operator that holds for the paths of these requests; none where they cannot be said in a rule.
fn path_test(site: &Site) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_-.~".contains(c);
    if site.path.chars().all(plain) {
        return Some(format!("@streq {}", site.path));
    }
    let part = |part: &str| match part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => Some(if name.ends_with("...") { ".+".to_owned() } else { "[^/]+".to_owned() }),
        None => part.chars().all(plain).then(|| part.replace('.', "[.]")),
    };
    let parts: Option<Vec<String>> = site.path.split('/').map(part).collect();
    parts.map(|parts| format!("@rx ^{}$", parts.join("/")))
}

/// Replaces a file, or makes it: written aside, then renamed, so that a reader sees the old text or the new.
///
/// # Errors
/// What the file system says; the file is as it was then.
pub(super) fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    // What a link names is replaced, not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let aside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&aside)?;
        if let Ok(old) = fs::metadata(path) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const POLICY: &str = "# ours\n[[operation]]\npath = \"/n\"   # notes\nmethods = [\"GET\"]\nquery.q = \"short(9)\"  # search\n\
                          \n[[operation]]\npath = \"/n\"\nmethods = [\"POST\", \"PUT\"]\n[operation.json]\n\"$.a\" = 'uuid'\n\
                          \n[[operation]]\npath = \"/m\"\nmethods = [\"POST\"]\nform = { b = 'uuid' }\n";

    fn group(field: (&str, &str), path: &str) -> Group {
        Group {
            site: Site { method: "GET".to_owned(), path: path.to_owned(), operation: None },
            field: Field::of_note(field.0, field.1).unwrap(),
            causes: BTreeMap::new(),
            requests: 3,
            clients: 1,
            probing: 0,
            values: BTreeSet::new(),
            samples: Vec::new(),
        }
    }

    #[test]
    fn a_class_is_set_and_all_else_stays() {
        let files = [("a.toml".to_owned(), String::new()), ("b.toml".to_owned(), POLICY.to_owned())];
        for (path, method, field, old, new) in [
            ("/n", "GET", ("query", "q"), "query.q = \"short(9)\"  # search", "query.q = \"free\"  # search"),
            ("/n", "GET", ("query", "r"), "# search\n", "# search\nquery.r = \"free\"\n"),
            ("/n", "PUT", ("json", "json.b.0"), "\"$.a\" = 'uuid'\n", "\"$.a\" = 'uuid'\n\"$.b[*]\" = \"free\"\n"),
            ("/m", "POST", ("form", "b"), "{ b = 'uuid' }", "{ b = \"free\" }"),
            ("/m", "POST", ("form", "c"), "{ b = 'uuid' }", "{ b = 'uuid', c = \"free\" }"),
            ("/m", "POST", ("query", "d"), "form = { b = 'uuid' }\n", "form = { b = 'uuid' }\nquery.d = \"free\"\n"),
        ] {
            let entry = entry(&files, path, &[method.to_owned()]).unwrap();
            assert_eq!(entry.file, 1);
            let text = with_class(POLICY, entry.at, &Field::of_note(field.0, field.1).unwrap(), "free").unwrap();
            assert_eq!(text, POLICY.replace(old, new), "{path} {field:?}");
            assert!(crate::policy::field::FieldPolicy::build(&[("x".to_owned(), text)]).is_ok());
        }
        assert_eq!(entry(&files, "/n", &["DELETE".to_owned()]), None);
    }

    #[test]
    fn exclusions_are_as_narrow_as_the_path() {
        let rules = BTreeSet::from([(7, "ARGS".to_owned()), (9, "ARGS_POST".to_owned())]);
        for (path, everywhere, expected) in [
            (
                "/api/n",
                false,
                "SecRule REQUEST_FILENAME \"@streq /api/n\" \"id:90000,phase:1,pass,nolog,t:none,\
                 ctl:ruleRemoveTargetById=7;ARGS:q,ctl:ruleRemoveTargetById=9;ARGS_POST:q\"\n",
            ),
            (
                "/n.x/{id}/{rest...}",
                false,
                "SecRule REQUEST_FILENAME \"@rx ^/n[.]x/[^/]+/.+$\" \"id:90000,phase:1,pass,nolog,t:none,\
                 ctl:ruleRemoveTargetById=7;ARGS:q,ctl:ruleRemoveTargetById=9;ARGS_POST:q\"\n",
            ),
            ("/n", true, "SecRuleUpdateTargetById 7 \"!ARGS:q\"\nSecRuleUpdateTargetById 9 \"!ARGS_POST:q\"\n"),
            ("/n\" x", false, "SecRuleUpdateTargetById 7 \"!ARGS:q\"\nSecRuleUpdateTargetById 9 \"!ARGS_POST:q\"\n"),
        ] {
            let text = exclusion(&group(("query", "q"), path), &rules, everywhere, 90_000);
            assert_eq!(text.split_once('\n').unwrap().1, expected);
        }
        assert_eq!(free_ids(&ids("SecAction \"id:90000,x\" id:90001")).next(), Some(90_002));
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/tuned.conf");
        replace_file(&path, "a").unwrap();
        replace_file(&path, "b").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "b");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(replace_file(&path.join("x"), "c").is_err());
    }
}
