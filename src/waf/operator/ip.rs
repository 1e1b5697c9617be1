//! `@ipMatch`, `@ipMatchFromFile` (`@ipMatchF`): addresses and CIDR blocks of both families.
//!
//! The blocks are merged when the rules are loaded; a value is looked up by bisection. An IPv4 address written inside
//! IPv6 (`::ffff:192.0.2.1`) is looked up as written and as IPv4, so a list cannot be dodged by the form.

use super::OperatorFault;
use ipnet::IpNet;
use std::net::IpAddr;

/// A set of addresses.
#[derive(Debug)]
pub(super) struct Addresses(Vec<IpNet>);

impl Addresses {
    /// From addresses and blocks separated by commas or blanks.
    ///
    /// # Errors
    /// The first item that is neither, or no item at all.
    pub(super) fn parse<'a>(items: impl Iterator<Item = &'a str>) -> Result<Self, OperatorFault> {
        let mut nets = Vec::new();
        for item in items.map(str::trim).filter(|item| !item.is_empty()) {
            let net = item.parse::<IpNet>().or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
            nets.push(net.map_err(|_| OperatorFault {
                what: format!("`{item}` is no address and no block"),
                mend:
                    "write addresses and CIDR blocks with commas between, as in `192.0.2.0/24, 2001:db8::1`".to_owned(),
            })?);
        }
        if nets.is_empty() {
            return Err(OperatorFault {
                what: "there is no address to look for".to_owned(),
                mend: "give at least one address or CIDR block".to_owned(),
            });
        }
        // Merged and sorted: v4 before v6, and within a family disjoint, so bisection by the first address finds it.
        let mut nets = IpNet::aggregate(&nets);
        nets.sort_by_key(IpNet::network);
        Ok(Self(nets))
    }

    pub(super) fn matches(&self, value: &[u8]) -> bool {
        let Some(address) = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse::<IpAddr>().ok()) else {
            return false;
        };
        self.contains(address) || self.contains(address.to_canonical())
    }

    fn contains(&self, address: IpAddr) -> bool {
        let after = self.0.partition_point(|net| net.network() <= address);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|net| net.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_blocks() {
        let list = "192.0.2.7/24, 10.0.0.1,2001:db8::/32 ,10.0.0.0/31,::1";
        let addresses = Addresses::parse(list.split(',')).unwrap();
        let table: &[(&[u8], bool)] = &[
            (b"192.0.2.255", true),
            (b"192.0.3.0", false),
            (b"10.0.0.0", true),
            (b"10.0.0.2", false),
            (b"2001:db8:ffff::", true),
            (b"2001:db9::", false),
            (b"::ffff:10.0.0.1", true),
            (b"::1", true),
            (b"::2", false),
            (b"", false),
            (b"10.0.0.1x", false),
            (b"\xFF", false),
        ];
        for (value, expected) in table {
            assert_eq!(addresses.matches(value), *expected, "{}", value.escape_ascii());
        }
        for bad in ["", "10.0.0.0/33", "300.1.1.1", "example.org"] {
            assert!(Addresses::parse(bad.split(',')).is_err(), "{bad}");
        }
    }
}
