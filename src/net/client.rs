//! Where a request comes from, as far as that tells one client from another: by this rate limits count, and an AuthID is
//! picked up where its login was.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 address, or the first 64 bits of an IPv6 address: what a machine or a household has to itself. All loopback
/// addresses are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientNet(IpAddr);

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The client, if it is known.
    pub address: Option<ClientNet>,
    /// Who opened the connection: the client, or a proxy.
    pub peer: ClientNet,
}

impl Client {
    /// The same of the site that a client is in, see [`ClientNet::site`].
    pub fn site(self) -> Self {
        Self { address: self.address.map(ClientNet::site), ..self }
    }
}

impl ClientNet {
    /// Whether it is this machine.
    pub fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }

    /// The first 48 bits of an IPv6 address: what one customer of a provider may have to itself. IPv4 stays as it is.
    pub fn site(self) -> Self {
        match self.0 {
            IpAddr::V6(address) => {
                let [a, b, c, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into())
            }
            IpAddr::V4(_) => self,
        }
    }
}

impl fmt::Display for ClientNet {
    /// `192.0.2.1`, `2001:db8::/64`, and `127.0.0.1` for everything on this machine.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

impl From<IpAddr> for ClientNet {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            address if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address => address,
        })
    }
}

/// 16 bytes, for what is sealed: an IPv6 address, perhaps a mapped IPv4 one (RFC 4291 section 2.5.5.2); all zero if
/// there is none.
pub fn to_bytes(client: Option<ClientNet>) -> [u8; 16] {
    match client {
        None => [0; 16],
        Some(ClientNet(IpAddr::V4(address))) => address.to_ipv6_mapped().octets(),
        Some(ClientNet(IpAddr::V6(address))) => address.octets(),
    }
}

/// What [`to_bytes`] wrote.
pub fn from_bytes(bytes: [u8; 16]) -> Option<ClientNet> {
    (bytes != [0; 16]).then(|| IpAddr::from(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> ClientNet {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn ipv4_is_compared_whole_and_ipv6_by_its_first_half() {
        assert_eq!(net("192.0.2.1"), net("::ffff:192.0.2.1"));
        assert_ne!(net("192.0.2.1"), net("192.0.2.2"));
        assert_eq!(net("2001:db8:0:1::1"), net("2001:db8:0:1:ffff::2"));
        assert_ne!(net("2001:db8:0:1::1"), net("2001:db8:0:2::1"));
        assert_eq!(net("127.0.0.1"), net("::1"));
    }

    #[test]
    fn a_site_is_the_first_48_bits() {
        assert_eq!(net("2001:db8:1:2::3").site(), net("2001:db8:1:4::5").site());
        assert_ne!(net("2001:db8:1::").site(), net("2001:db8:2::").site());
        assert_eq!(net("192.0.2.1").site(), net("192.0.2.1"));
    }

    #[test]
    fn an_address_is_shown_as_far_as_it_is_known() {
        let shown = |text| net(text).to_string();
        assert_eq!(shown("192.0.2.1"), "192.0.2.1");
        assert_eq!([shown("2001:db8::7"), shown("::1")], ["2001:db8::/64", "127.0.0.1"]);
    }

    #[test]
    fn what_is_written_reads_back() {
        for client in [None, Some(net("192.0.2.1")), Some(net("2001:db8::1")), Some(net("::1"))] {
            assert_eq!(from_bytes(to_bytes(client)), client);
        }
    }
}
