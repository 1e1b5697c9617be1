//! What each route is for: which path and methods it has, how much body may come, which protections are on.
//!
//! Decides after the limits and before the rules. In: the canonical path of the request model and the method; out: the
//! [`Route`], or a refusal: 403 for a route that is closed,
//! 405 for a method it does not take. A route always exists: what no entry matches takes `default`. An exact path beats
//! a prefix, a longer prefix a shorter one; the order of entries means nothing.
//!
//! Fails closed: paths come canonical, so a spelling cannot avoid its route. Memory: the table; cost: one look-up in a
//! map and one comparison a prefix, no allocation.

pub mod field;
pub mod openapi;
mod response;
mod route;
mod settings;

pub use response::{ResponseFields, ResponseSettings};
pub use route::{MirrorSettings, Route, RouteSettings, SplitBy, SplitSettings};
pub use settings::Settings;

use crate::facts::RouteName;
use crate::fault::Fault;
use crate::verdict::{Reason, Refusal};
use http::Method;
use std::collections::HashMap;
use std::sync::Arc;

/// The name of the route that takes what no other does.
pub const DEFAULT: &str = "default";

/// The route table.
#[derive(Debug, Clone)]
pub struct Policy {
    routes: Vec<Arc<Route>>,
    exact: HashMap<Box<str>, Arc<Route>>,
    /// Longest first; each ends in `/`.
    prefixes: Vec<(Box<str>, Arc<Route>)>,
    default: Arc<Route>,
}

impl Policy {
    /// Builds the table of the `[[route]]` entries. An entry named `default` sets what the default route does; its path
    /// is `/` or left out.
    ///
    /// # Errors
    /// Every fault, its key relative to `route`, as `[0].path`.
    pub fn build(settings: &[RouteSettings]) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut named: HashMap<&str, usize> = HashMap::new();
        let mut placed: HashMap<&str, usize> = HashMap::new();
        for (i, entry) in settings.iter().enumerate() {
            faults.extend(entry.faults().into_iter().map(|fault| fault.under(&format!("[{i}]"))));
            if let Some(first) = named.insert(&entry.name, i) {
                let what = format!("the name {:?} is that of [{first}] too", entry.name);
                faults.push(Fault::key(format!("[{i}].name"), what, "give each route a name of its own"));
            }
            if let Some(first) = placed.insert(entry.place(), i) {
                let what = format!("the path {:?} is that of [{first}] too", entry.place());
                faults.push(Fault::key(format!("[{i}].path"), what, "make one route of the two, or change a path"));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }

        let fallback = RouteSettings { name: DEFAULT.into(), path: "/".into(), ..RouteSettings::default() };
        let own = settings.iter().find(|entry| entry.name == DEFAULT).unwrap_or(&fallback);
        let others = settings.iter().filter(|entry| entry.name != DEFAULT);
        let routes: Vec<Arc<Route>> =
            std::iter::once(own).chain(others).enumerate().map(|(i, entry)| Arc::new(Route::new(entry, i))).collect();
        let default = routes.first().map_or_else(|| Arc::new(Route::new(own, 0)), Arc::clone);
        let (mut exact, mut prefixes) = (HashMap::new(), Vec::new());
        for route in routes.iter().skip(1) {
            let path: Box<str> = route.path().into();
            if path.ends_with('/') {
                prefixes.push((path, Arc::clone(route)));
            } else {
                exact.insert(path, Arc::clone(route));
            }
        }
        prefixes.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        Ok(Self { routes, exact, prefixes, default })
    }

    /// The route that a canonical path takes, whatever it then says.
    pub fn find(&self, path: &str) -> &Arc<Route> {
        self.exact.get(path).unwrap_or_else(|| {
            let matched = self.prefixes.iter().find(|(prefix, _)| covers(prefix, path));
            matched.map_or(&self.default, |(_, route)| route)
        })
    }

    /// The route that a canonical path takes, if it takes the request.
    ///
    /// # Errors
    /// [`Reason::Policy`] where the route is closed, [`Reason::MethodNotAllowed`] where it does not take the method.
    /// [`find`](Self::find) tells which route refused, and [`Route::allow`] what to put into `Allow`.
    pub fn route(&self, path: &str, method: &Method) -> Result<&Arc<Route>, Refusal> {
        let route = self.find(path);
        if route.refuse {
            return Err(Refusal::new(Reason::Policy, format!("route {} is closed", route.name)));
        }
        if !route.takes(method) {
            return Err(Refusal::new(Reason::MethodNotAllowed, format!("route {} does not take it", route.name)));
        }
        Ok(route)
    }

    /// All routes by index, `default` first: what per-route metrics are made of.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The route of that name.
    pub fn named(&self, name: &RouteName) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.name == *name)
    }
}

/// Whether a prefix that ends in `/` covers the path: what is below it, and itself without the slash.
fn covers(prefix: &str, path: &str) -> bool {
    path.starts_with(prefix) || prefix.strip_suffix('/') == Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{ByteSize, Span};

    fn entry(name: &str, path: &str) -> RouteSettings {
        RouteSettings { name: name.into(), path: path.into(), ..RouteSettings::default() }
    }

    fn policy() -> Policy {
        Policy::build(&[
            entry("api", "/api/"),
            RouteSettings { refuse: true, ..entry("internal", "/internal/") },
            RouteSettings { methods: vec!["POST".into()], ..entry("upload", "/api/documents/upload") },
            entry("documents", "/api/documents/"),
        ])
        .unwrap()
    }

    #[test]
    fn the_longest_match_takes_the_request() {
        let policy = policy();
        for (path, name) in [
            ("/", "default"),
            ("*", "default"),
            ("/apix", "default"),
            ("/api", "api"),
            ("/api/", "api"),
            ("/api/tasks", "api"),
            ("/api/documents", "documents"),
            ("/api/documents/7", "documents"),
            ("/api/documents/upload", "upload"),
            ("/api/documents/upload/", "documents"),
            ("/internalx", "default"),
            ("/internal", "internal"),
            ("/internal/keys", "internal"),
            ("/INTERNAL", "default"),
        ] {
            assert_eq!(&*policy.find(path).name.0, name, "{path}");
        }
        let indexes: Vec<_> = policy.routes().iter().map(|route| (route.index, route.name.to_string())).collect();
        assert_eq!(indexes.first(), Some(&(0, "default".to_owned())));
        assert!(indexes.iter().enumerate().all(|(i, (index, _))| i == *index));
        assert_eq!(policy.named(&policy.find("/api/x").name).unwrap().index, policy.find("/api/x").index);
    }

    #[test]
    fn closed_routes_and_other_methods_are_refused() {
        let policy = policy();
        let status = |path, method: &Method| policy.route(path, method).err().map(|refusal| refusal.reason.status());
        let odd = Method::from_bytes(b"PROPFIND").unwrap();
        for (path, method, want) in [
            ("/internal", &Method::GET, Some(403)),
            ("/internal/keys", &odd, Some(403)),
            ("/api/documents/upload", &Method::POST, None),
            ("/api/documents/upload", &Method::GET, Some(405)),
            ("/x", &Method::PATCH, None),
            ("/x", &odd, Some(405)),
            ("/x", &Method::from_bytes(b"get").unwrap(), Some(405)),
        ] {
            assert_eq!(status(path, method), want, "{method} {path}");
        }
        assert_eq!(policy.find("/api/documents/upload").allow(), "POST");
    }

    #[test]
    fn the_default_route_can_be_set() {
        let own = RouteSettings { require_user: true, max_body: Some(ByteSize::kib(1)), ..entry("default", "") };
        let policy = Policy::build(&[entry("api", "/api/"), own]).unwrap();
        let default = policy.find("/x");
        assert!(default.require_user && default.max_body == Some(ByteSize::kib(1)) && default.index == 0);
        assert_eq!(policy.routes().len(), 2);
        assert!(Policy::build(&[]).unwrap().find("/x").inspect);
    }

    #[test]
    fn every_fault_is_reported_with_its_key() {
        let faults = Policy::build(&[
            entry("api", "/api/"),
            entry("api", "/b/"),
            entry("c", "/api/"),
            entry("Bad Name", "/c"),
            entry("d", "d/"),
            entry("e", "/e/../f"),
            entry("f", "/f//g"),
            entry("g", "/g?x"),
            entry("h", "/h/*"),
            RouteSettings { methods: vec![], ..entry("i", "/i") },
            RouteSettings { methods: vec!["get".into(), "TRACE".into()], ..entry("j", "/j") },
            RouteSettings { response_timeout: Some(Span::secs(0)), ..entry("k", "/k") },
            entry("default", "/x"),
            RouteSettings { websocket: true, methods: vec!["POST".into()], ..entry("l", "/l") },
            RouteSettings {
                pool: Some("a".into()),
                split: vec![SplitSettings { pool: "a".into(), weight: 0 }],
                mirror: Some(MirrorSettings {
                    pool: "a".into(),
                    share: crate::units::Share::percent(1),
                    max_body: ByteSize::kib(1),
                    max_in_flight: 0,
                }),
                ..entry("m", "/m")
            },
        ])
        .unwrap_err();
        let keys: Vec<String> =
            faults.iter().map(|fault| fault.to_string().split(": ").next().unwrap().to_owned()).collect();
        let want = [
            "[1].name",
            "[2].path",
            "[3].name",
            "[4].path",
            "[5].path",
            "[6].path",
            "[7].path",
            "[8].path",
            "[9].methods",
            "[10].methods[0]",
            "[10].methods[1]",
            "[11].response_timeout",
            "[12].path",
            "[13].websocket",
            "[14].pool",
            "[14].split",
            "[14].mirror.max_in_flight",
        ];
        assert_eq!(keys, want, "{faults:#?}");
        assert!(faults.iter().all(|fault| !fault.mend.is_empty()));
    }

    #[test]
    fn entries_read_from_text() {
        #[derive(serde::Deserialize)]
        struct File {
            route: Vec<RouteSettings>,
        }
        let text = "[[route]]\nname = 'mcp'\npath = '/mcp'\nstream = true\ncache = false\nmax_body = '1MiB'\n\
                    response_timeout = '5m'\nsplit = [{ pool = 'a', weight = 9 }, { pool = 'b', weight = 1 }]\n\
                    split_by = 'request'\nmirror = { pool = 'b', share = 0.1 }\nmethods = ['GET', 'POST', 'DELETE']\nlimit = 'agents'\n";
        let file: File = toml::from_str(text).unwrap();
        let policy = Policy::build(&file.route).unwrap();
        let route = policy.find("/mcp");
        assert!(route.stream && !route.cache && route.inspect);
        assert_eq!(route.limit.as_deref(), Some("agents"));
        assert_eq!(route.response_timeout, Some(std::time::Duration::from_secs(300)));
        assert!(toml::from_str::<File>("[[route]]\nnmae = 'x'").is_err());
    }
}
