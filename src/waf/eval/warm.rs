//! What the first requests under new rules would otherwise wait for is made before they come.
//!
//! Some requests go through while the rules are loaded: a plain one, for which the phases make the screens they need,
//! and some that carry ordinary texts, for which the searches make the states that such texts lead to. These states are
//! handed to every thread that begins to search.

use super::{Connection, Prelude, Transaction};
use crate::ruleset::{Mode, Ruleset};
use std::sync::Arc;

/// Texts as they come in prompts, documents and forms.
const SAMPLES: [&str; 4] = [
    "Please look at the report from Tuesday (page 12): sales rose by 4.5%, but the team's plan isn't done yet; who can \
     help? See https://example.org/docs/guide?id=7#top, or write to anna.smith@example.org. Thanks - and \"good luck\"!",
    "# Notes\n\n- item one, `code` and **bold**\n- [link](../other/file.md)\n\n```sh\ncd /tmp && ls -la | grep log > out.txt; \
     export A=\"$HOME/bin:$PATH\"\ncurl -s http://localhost:8181/health\n```\n",
    "import os, sys\nfrom datetime import date\n\ndef main(args=None):\n    rows = [r for r in db.query('select id, name from \
     users where id = ? order by name', (7,)) if r[\"name\"] != '']\n    return {'total': len(rows), \"ok\": True}\n\nclass \
     A(B):\n    x: int = 0x1f + 3 * (y - 1) // 2  # a comment\n",
    "<div class=\"card\" id='a1'><a href=\"/api/v1/items?page=2&sort=-name\">Next</a><!-- end --></div>\nfunction f(a, b) { \
     const c = a.map(x => x * 2).filter(Boolean); if (c.length > 0 && !b) { console.log(`n = ${c[0]}`); } return null; }\n",
];

/// More of the same: what this engine is made of.
const SOURCES: [&str; 2] = [include_str!("run.rs"), include_str!("../screen/mod.rs")];

/// Makes a new rule set ready.
pub(crate) fn warm(rules: Ruleset) -> Ruleset {
    let prelude = Prelude::of(&rules);
    let rules = Arc::new(Ruleset { prelude, ..rules });
    send(&rules, "");
    for sample in SAMPLES.into_iter().chain(SOURCES) {
        let escaped: String = sample.bytes().map(|byte| format!("%{byte:02x}")).collect();
        send(&rules, &format!("text={escaped}"));
    }
    rules.plan.keep_warm();
    // Nobody else holds it; were that otherwise, a rule set without rules would be no answer.
    Arc::try_unwrap(rules).unwrap_or_else(|_| unreachable!("all transactions have ended"))
}

fn send(rules: &Arc<Ruleset>, form: &str) {
    let mut transaction = Transaction::new(Arc::clone(rules), Some(Mode::DetectionOnly), Connection::nobody());
    transaction.request_line(if form.is_empty() { b"GET" } else { b"POST" }, b"/", b"HTTP/1.1");
    transaction.request_header(b"Host", b"localhost");
    if !form.is_empty() {
        transaction.request_header(b"Content-Type", b"application/x-www-form-urlencoded");
    }
    transaction.request_headers_done();
    transaction.request_body(form.as_bytes());
    transaction.response_line(200, b"HTTP/1.1");
    transaction.response_header(b"Content-Type", b"text/html");
    transaction.response_headers_done();
    transaction.response_body(b"");
    transaction.finish();
}
