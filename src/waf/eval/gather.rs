//! The values that a target names, at this moment of a transaction.

use std::io::Write;

use super::message::{Message, Which};
use super::state::{Held, Matched, State};
use super::texts::{TextId, Texts};
use super::{Connection, clock};
use crate::action::Store;
use crate::ruleset::Ruleset;
use crate::variable::{Selector, Shape, Variable};

/// Where the bytes of a gathered value or name are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spot {
    Text(TextId),
    /// In [`Gathered::bytes`], from and to.
    Here(usize, usize),
    /// The name of a TX slot.
    Slot(usize),
    Static(&'static str),
    None,
}

/// One value and the name of its member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) key: Spot,
    pub(super) value: Spot,
}

/// Values in the order a rule sees them. Kept between rules, so that nothing is allocated once it has grown.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) items: Vec<Item>,
    pub(super) bytes: Vec<u8>,
}

impl Gathered {
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
    }

    fn copy(&mut self, bytes: &[u8]) -> Spot {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Spot::Here(start, self.bytes.len())
    }

    fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Spot {
        let start = self.bytes.len();
        write(&mut self.bytes);
        Spot::Here(start, self.bytes.len())
    }

    fn single(&mut self, bytes: &[u8]) {
        let value = self.copy(bytes);
        self.items.push(Item { key: Spot::None, value });
    }
}

/// Everything values come from.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) rules: &'a Ruleset,
    pub(super) connection: &'a Connection,
    pub(super) message: &'a Message,
    pub(super) texts: &'a Texts,
    pub(super) state: &'a State,
    /// Whether what rules are not shown is gathered too: to be counted, never to be read.
    pub(super) which: Which,
}

impl<'a> View<'a> {
    /// The bytes of a value or name; `None` where there is none.
    pub(super) fn bytes(&self, spot: Spot, gathered: &'a Gathered) -> Option<&'a [u8]> {
        match spot {
            Spot::Text(id) => Some(self.texts.get(id)),
            Spot::Here(start, end) => gathered.bytes.get(start..end),
            Spot::Slot(slot) => Some(self.rules.tx.name(slot)),
            Spot::Static(text) => Some(text.as_bytes()),
            Spot::None => None,
        }
    }

    /// Appends the values of `variable` that `selector` takes. `slots` are the TX slots among them.
    pub(super) fn gather(&self, variable: Variable, selector: &Selector, slots: &[usize], into: &mut Gathered) {
        match variable.shape() {
            Shape::Single => self.single(variable, into),
            Shape::Collection => self.collection(variable, selector, slots, into),
            Shape::Persistent => self.persistent(variable, selector, into),
            Shape::Document => {
                let whole = matches!(selector, Selector::All);
                if whole || selector.takes(b"/*") {
                    self.document("/*", &self.message.xml_texts, into);
                }
                if whole || selector.takes(b"//@*") {
                    self.document("//@*", &self.message.xml_attributes, into);
                }
            }
        }
    }

    fn document(&self, path: &'static str, texts: &[TextId], into: &mut Gathered) {
        into.items.extend(texts.iter().map(|text| Item { key: Spot::Static(path), value: Spot::Text(*text) }));
    }

    fn single(&self, variable: Variable, into: &mut Gathered) {
        if let Some(text) = self.message.single(variable) {
            into.items.push(Item { key: Spot::None, value: Spot::Text(text) });
            return;
        }
        match variable {
            Variable::MatchedVar => {
                if let Some(last) = &self.state.last {
                    let value = self.held(&last.value, into);
                    into.items.push(Item { key: Spot::None, value });
                }
            }
            Variable::MatchedVarName => {
                if let Some(last) = &self.state.last {
                    let value = into.write(|out| last.write_name(self.texts, self.rules, out));
                    into.items.push(Item { key: Spot::None, value });
                }
            }
            Variable::ReqbodyProcessor => {
                into.single(self.state.processor.map_or("", |p| p.name()).as_bytes());
            }
            Variable::HighestSeverity => {
                let number = self.state.highest_severity.map_or(255, u32::from);
                into.single(number.to_string().as_bytes());
            }
            Variable::SessionId => into.single(self.state.key(Store::Session).unwrap_or_default()),
            Variable::UserId => into.single(self.state.key(Store::User).unwrap_or_default()),
            Variable::RemoteAddr | Variable::RemoteHost => {
                into.single(self.connection.client.to_string().as_bytes());
            }
            Variable::RemotePort => into.single(self.connection.client_port.to_string().as_bytes()),
            Variable::ServerAddr => into.single(self.connection.server.to_string().as_bytes()),
            Variable::ServerPort => into.single(self.connection.server_port.to_string().as_bytes()),
            Variable::WebAppId => into.single(self.rules.settings.web_app_id.as_bytes()),
            Variable::UniqueId => into.single(self.connection.unique_id.as_bytes()),
            _ => {
                let start = into.bytes.len();
                if clock::write(variable, self.connection.now, &mut into.bytes) {
                    into.items.push(Item { key: Spot::None, value: Spot::Here(start, into.bytes.len()) });
                }
            }
        }
    }

    fn collection(&self, variable: Variable, selector: &Selector, slots: &[usize], into: &mut Gathered) {
        match variable {
            Variable::Tx => {
                for slot in slots {
                    if let Some(value) = self.state.tx.slot(self.rules, *slot) {
                        let value = into.copy(value);
                        into.items.push(Item { key: Spot::Slot(*slot), value });
                    }
                }
                // A name that a rule writes out has a slot, so only wider selectors can take others.
                if !matches!(selector, Selector::Name(_)) {
                    for (name, value) in self.state.tx.dynamic(self.rules).filter(|(name, _)| selector.takes(name)) {
                        let (key, value) = (into.copy(name), into.copy(value));
                        into.items.push(Item { key, value });
                    }
                }
            }
            Variable::MatchedVars | Variable::MatchedVarsNames => {
                for matched in &self.state.matched {
                    self.matched(matched, variable, selector, into);
                }
            }
            Variable::Rule => self.rule(selector, into),
            _ => self.message.each(variable, self.which, |name, value| {
                if selector.takes(self.texts.get(name)) {
                    into.items.push(Item { key: Spot::Text(name), value: Spot::Text(value) });
                }
            }),
        }
    }

    fn matched(&self, matched: &Matched, variable: Variable, selector: &Selector, into: &mut Gathered) {
        let (start, key) = (into.bytes.len(), into.write(|out| matched.write_name(self.texts, self.rules, out)));
        if !selector.takes(into.bytes.get(start..).unwrap_or_default()) {
            into.bytes.truncate(start);
            return;
        }
        let value = if variable == Variable::MatchedVars { self.held(&matched.value, into) } else { key };
        into.items.push(Item { key, value });
    }

    fn held(&self, held: &Held, into: &mut Gathered) -> Spot {
        match held {
            Held::Text(id) => Spot::Text(*id),
            other => into.copy(other.get(self.texts, self.rules).unwrap_or_default()),
        }
    }

    fn rule(&self, selector: &Selector, into: &mut Gathered) {
        let Some(info) = self.rules.infos.get(self.state.rule) else { return };
        let severity = info.severity.map_or(String::new(), |s| s.number().to_string());
        let members: [(&'static str, String); 4] = [
            ("id", info.id.to_string()),
            ("msg", info.msg.clone()),
            ("severity", severity),
            ("ver", info.version.clone()),
        ];
        for (name, value) in members.iter().filter(|(name, _)| selector.takes(name.as_bytes())) {
            let value = into.copy(value.as_bytes());
            into.items.push(Item { key: Spot::Static(name), value });
        }
    }

    fn persistent(&self, variable: Variable, selector: &Selector, into: &mut Gathered) {
        let Some(store) = Store::of(variable) else { return };
        let Some(key) = self.state.key(store) else { return };
        for (name, value) in self.rules.collections.read(store, key, self.connection.now) {
            if selector.takes(&name) {
                let (key, value) = (into.copy(&name), into.copy(&value));
                into.items.push(Item { key, value });
            }
        }
    }
}

/// Writes a count as the decimal text that operators compare.
pub(super) fn count(number: usize, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{number}");
}
