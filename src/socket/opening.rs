//! The first bytes of a connection, where they are another protocol's: a proxy or a client that is set up for something
//! else than what this port speaks. The log says so once of each kind, since strangers can bring it about at will; a
//! metric counts all of it.

use super::conn::Reason;
use std::net::IpAddr;
use std::sync::Once;

/// How the PROXY protocol begins, in its first version and in its second (its specification, sections 2.1 and 2.2).
const PROXY: &[u8] = b"PROXY ";
const PROXY_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// How HTTP/2 begins (RFC 9113 section 3.4).
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n";
/// How a TLS handshake begins, by type and the version's upper half (RFC 8446 section 5.1).
const TLS: &[u8] = &[0x16, 3];

/// What there is instead of HTTP/1.1.
pub(super) fn foreign_to_http(bytes: &[u8]) -> Option<Reason> {
    [
        (TLS, Reason::TlsOnPlainPort),
        (PROXY, Reason::ProxyProtocol),
        (PROXY_2, Reason::ProxyProtocol),
        (HTTP_2, Reason::Http2),
    ]
    .into_iter()
    .find_map(|(beginning, reason)| bytes.starts_with(beginning).then_some(reason))
}

/// What there is instead of a TLS handshake, as far as it has a name.
pub(super) fn foreign_to_tls(bytes: &[u8]) -> Option<Reason> {
    let proxy = [PROXY, PROXY_2].into_iter().any(|beginning| bytes.starts_with(beginning));
    // A request begins with its method, and all of those are capital letters.
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    match () {
        () if proxy => Some(Reason::ProxyProtocol),
        () if (3..=8).contains(&method) && bytes.get(method) == Some(&b' ') => Some(Reason::HttpOnTlsPort),
        () => None,
    }
}

/// Says it, the first time aloud.
pub(super) fn tell(reason: Reason, peer: Option<IpAddr>) {
    static TOLD: [Once; 4] = [const { Once::new() }; 4];
    let (told, what) = match reason {
        Reason::TlsOnPlainPort => {
            (&TOLD[0], "TLS on a plain port: let the proxy speak http to this server, or configure [tls]")
        }
        Reason::HttpOnTlsPort => (&TOLD[1], "plain http on a TLS port: let the proxy speak https to this server"),
        Reason::ProxyProtocol => {
            (&TOLD[2], "PROXY protocol on a port that does not speak it: let the proxy set X-Forwarded-For instead")
        }
        Reason::Http2 => (&TOLD[3], "HTTP/2, which this server does not speak: let the proxy speak HTTP/1.1 to it"),
        _ => return,
    };
    let (peer, mut first) = (peer.map(tracing::field::display), false);
    told.call_once(|| first = true);
    if first {
        tracing::warn!(peer, "{what}");
    } else {
        tracing::debug!(peer, "{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_protocols_are_told_by_their_first_bytes() {
        let hello = [0x16, 3, 1, 0x02, 0, 1, 0];
        let plain: [(&[u8], _); 9] = [
            (&hello, Some(Reason::TlsOnPlainPort)),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n\r\n", Some(Reason::ProxyProtocol)),
            (b"PROXY UNKNOWN\r\n", Some(Reason::ProxyProtocol)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Some(Reason::ProxyProtocol)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Reason::Http2)),
            (b"\r\n\r\nGET / HTTP/1.1\r\n", None),
            (b"PROPFIND / HTTP/1.1\r\n", None),
            (b"GET / HTTP/1.1\r\n", None),
            (b"SSH-2.0-x\r\n", None),
        ];
        for (bytes, reason) in plain {
            assert_eq!(foreign_to_http(bytes), reason, "{}", bytes.escape_ascii());
        }
        let tls: [(&[u8], _); 8] = [
            (&hello, None),
            (b"GET / HTTP/1.1\r\n", Some(Reason::HttpOnTlsPort)),
            (b"PROPFIND /\0", Some(Reason::HttpOnTlsPort)),
            (b"PRI * HTTP/2.0\r\n", Some(Reason::HttpOnTlsPort)),
            (b"SSH-2.0-x\r\n", None),
            (b"PROXY TCP4 192", Some(Reason::ProxyProtocol)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", Some(Reason::ProxyProtocol)),
            (b"\x80\x2e\x01", None),
        ];
        for (bytes, reason) in tls {
            assert_eq!(foreign_to_tls(bytes), reason, "{}", bytes.escape_ascii());
        }
    }
}
