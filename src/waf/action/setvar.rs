//! `setvar`, `expirevar`, `initcol`: changes of TX and of the persistent collections.

use super::{Action, ActionFault};
use crate::variable::Variable;

/// Where a variable that rules may change lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Store {
    /// This transaction.
    Tx,
    /// All transactions.
    Global,
    /// One client address, by the key given to `initcol`.
    Ip,
    /// One resource.
    Resource,
    /// One session.
    Session,
    /// One user.
    User,
}

impl Store {
    const NAMES: [(Self, &'static str, Variable); 6] = [
        (Self::Tx, "tx", Variable::Tx),
        (Self::Global, "global", Variable::Global),
        (Self::Ip, "ip", Variable::Ip),
        (Self::Resource, "resource", Variable::Resource),
        (Self::Session, "session", Variable::Session),
        (Self::User, "user", Variable::User),
    ];

    fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, n, _)| n.eq_ignore_ascii_case(name)).map(|(s, _, _)| *s)
    }

    /// The store behind a persistent collection's variable.
    pub fn of(variable: Variable) -> Option<Self> {
        Self::NAMES.iter().find(|(_, _, v)| *v == variable).map(|(s, _, _)| *s)
    }
}

/// What happens to the variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// It takes this value.
    Assign(String),
    /// This whole number is added; an unset one counts as 0.
    Add(String),
    /// This whole number is taken away.
    Subtract(String),
    /// It is no longer set.
    Unset,
}

/// `setvar:[!]store.name[=[+|-]value]`; macros may stand in the name and in the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetVar {
    /// Where.
    pub store: Store,
    /// Which.
    pub name: String,
    /// How.
    pub operation: Operation,
}

const STORES: &str = "the collections are tx, global, ip, resource, session and user, as in setvar:tx.name=value";

impl SetVar {
    /// Reads the value of a `setvar`.
    ///
    /// # Errors
    /// No collection, an unknown one, or no name.
    pub fn parse(value: &str) -> Result<Self, ActionFault> {
        let (unset, rest) = value.strip_prefix('!').map_or((false, value), |rest| (true, rest));
        // The first = after the name: a macro in the name holds none.
        let (target, assigned) = rest.split_once('=').map_or((rest, None), |(t, v)| (t, Some(v)));
        let (store, name) = split_target(target)?;
        let operation = match assigned {
            _ if unset => Operation::Unset,
            None => Operation::Assign("1".to_owned()),
            Some(v) => match (v.strip_prefix('+'), v.strip_prefix('-')) {
                (Some(amount), _) => Operation::Add(amount.to_owned()),
                (_, Some(amount)) => Operation::Subtract(amount.to_owned()),
                _ => Operation::Assign(v.to_owned()),
            },
        };
        Ok(Self { store, name, operation })
    }
}

fn split_target(target: &str) -> Result<(Store, String), ActionFault> {
    let Some((store, name)) = target.trim().split_once('.').filter(|(_, name)| !name.is_empty()) else {
        return Err(ActionFault::new(format!("\"{target}\" names no variable of a collection"), STORES));
    };
    let Some(found) = Store::parse(store) else {
        return Err(ActionFault::new(format!("unknown collection \"{store}\""), STORES));
    };
    Ok((found, name.to_owned()))
}

pub(super) fn parse_expire(value: &str) -> Result<Action, ActionFault> {
    let Some((target, seconds)) = value.split_once('=') else {
        return Err(ActionFault::new("expirevar needs a time", "write expirevar:ip.name=SECONDS"));
    };
    let (store, name) = split_target(target)?;
    if store == Store::Tx {
        return Err(ActionFault::new("TX ends with the transaction and cannot expire", "use a persistent collection"));
    }
    Ok(Action::Expire { store, name, seconds: seconds.to_owned() })
}

pub(super) fn parse_initcol(value: &str) -> Result<Action, ActionFault> {
    let form = "write initcol:ip=KEY; the collections are global, ip and resource (session: setsid, user: setuid)";
    let Some((store, key)) = value.split_once('=').filter(|(_, key)| !key.is_empty()) else {
        return Err(ActionFault::new("initcol needs a key", form));
    };
    match Store::parse(store) {
        Some(store @ (Store::Global | Store::Ip | Store::Resource)) => Ok(Action::Open { store, key: key.to_owned() }),
        _ => Err(ActionFault::new(format!("initcol cannot open \"{store}\""), form)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let assign = |v: &str| Operation::Assign(v.to_owned());
        for (value, store, name, operation) in [
            ("tx.a=5", Store::Tx, "a", assign("5")),
            ("TX.paramcounter_%{MATCHED_VAR_NAME}=+1", Store::Tx, "paramcounter_%{MATCHED_VAR_NAME}", {
                Operation::Add("1".to_owned())
            }),
            ("tx.a=+%{tx.b}", Store::Tx, "a", Operation::Add("%{tx.b}".to_owned())),
            ("tx.a=-1", Store::Tx, "a", Operation::Subtract("1".to_owned())),
            ("!tx.a", Store::Tx, "a", Operation::Unset),
            ("tx.a", Store::Tx, "a", assign("1")),
            ("tx.a=", Store::Tx, "a", assign("")),
            ("ip.b=a=b", Store::Ip, "b", assign("a=b")),
        ] {
            assert_eq!(SetVar::parse(value), Ok(SetVar { store, name: name.to_owned(), operation }), "{value}");
        }
        for value in ["a=1", "tx.=1", "foo.a=1", ""] {
            assert!(SetVar::parse(value).is_err(), "{value}");
        }
        assert!(parse_expire("ip.a=60").is_ok());
        assert!(parse_expire("tx.a=60").is_err());
        assert!(parse_initcol("ip=%{REMOTE_ADDR}").is_ok());
        assert!(parse_initcol("session=1").is_err());
    }
}
