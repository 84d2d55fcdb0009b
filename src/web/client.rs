//! The client's address behind trusted proxies, TLS-terminating reverse proxies among them (RFC 9700 section 4.13).
//! Anybody can send `X-Forwarded-For`, `Forwarded` (RFC 7239) and `X-Forwarded-Proto`, so only those of the operator's
//! own proxies count. Where there is doubt the client is unknown, never somebody else.

use crate::app::App;
use crate::mitigation::{self, Mitigation};
use crate::net::Client;
use actix_web::HttpRequest;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Once;

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED: &str = "forwarded";
/// One of these, and there is a proxy.
const PROXY_HEADERS: [&str; 5] = [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED, "x-forwarded-host", "x-real-ip"];

/// Where the request comes from.
pub(in crate::web) fn of(request: &HttpRequest, app: &App) -> Client {
    let peer = peer(request);
    Client { address: address(request, app, peer).map(Into::into), peer: peer.into() }
}

/// Whether a trusted proxy says that the client used plain http, while browsers are to use https.
pub(in crate::web) fn came_by_plain_http(request: &HttpRequest, app: &App) -> bool {
    let peer = peer(request);
    let said = || scheme(request).filter(|(_, scheme)| scheme.eq_ignore_ascii_case("http"));
    let Some((header, _)) = (app.public_url().scheme() == "https" && app.http().trusts(peer)).then(said).flatten()
    else {
        return false;
    };
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        tracing::warn!(
            %peer, header,
            "a trusted proxy says that a request came by plain http; if browsers use https, let it set X-Forwarded-Proto: https"
        );
    });
    true
}

/// Whether one of the operator's own proxies sends it.
pub(in crate::web) fn is_from_a_trusted_proxy(request: &HttpRequest, app: &App) -> bool {
    !mitigation::on(Mitigation::TrustedProxy) || app.http().trusts(peer(request))
}

fn peer(request: &HttpRequest) -> IpAddr {
    request.peer_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip().to_canonical())
}

fn address(request: &HttpRequest, app: &App, peer: IpAddr) -> Option<IpAddr> {
    if !is_from_a_trusted_proxy(request, app) {
        if PROXY_HEADERS.iter().any(|name| request.headers().contains_key(*name)) {
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                tracing::warn!(
                    %peer,
                    "a proxy that is not trusted says where requests come from; if it is yours, name it in `server.trusted_proxies`"
                );
            });
            return None;
        }
        // Browsers use https and this server does not speak it: something in between does, and hides who they are.
        if mitigation::on(Mitigation::HiddenProxy)
            && app.public_url().scheme() == "https"
            && app.certificate().live.is_none()
        {
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                tracing::warn!(
                    %peer,
                    "requests come by plain http from a peer that does not say for whom; if it ends TLS for this server, let it set X-Forwarded-For and name it in `server.trusted_proxies`, otherwise keep it from this port"
                );
            });
            return None;
        }
        return Some(peer);
    }
    let listed = elements(request, FORWARDED_FOR).map(node).collect();
    let forwarded = elements(request, FORWARDED).map(|element| node(parameter(element, "for")?)).collect();
    match (nearest(listed, app), nearest(forwarded, app)) {
        // A proxy that writes one of them lets pass what the client wrote into the other.
        (Some(one), Some(other)) => one.filter(|_| one == other),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => {
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                tracing::warn!(%peer, "a trusted proxy does not say where requests come from; let it set X-Forwarded-For");
            });
            None
        }
    }
}

/// The last address that no trusted proxy has: what the outermost of them saw. `None` without a list; inside it `None`
/// without such an address, or with something illegible before it.
fn nearest(list: Vec<Option<IpAddr>>, app: &App) -> Option<Option<IpAddr>> {
    (!list.is_empty()).then(|| {
        let stranger = list.into_iter().rev().find(|node| node.is_none_or(|address| !app.http().trusts(address)));
        stranger.flatten()
    })
}

/// What the proxy nearest to the client saw, and the header that says so.
fn scheme(request: &HttpRequest) -> Option<(&'static str, &str)> {
    let forwarded = || elements(request, FORWARDED).next().and_then(|element| parameter(element, "proto"));
    let plain = elements(request, FORWARDED_PROTO).next().map(|scheme| (FORWARDED_PROTO, scheme));
    plain.or_else(|| forwarded().map(|scheme| (FORWARDED, scheme)))
}

/// The elements of a list, over all headers of that name (RFC 9110 section 5.3).
fn elements<'a>(request: &'a HttpRequest, name: &str) -> impl Iterator<Item = &'a str> {
    // What is no text is an element that cannot be read.
    request.headers().get_all(name).flat_map(|value| value.to_str().unwrap_or("?").split(',')).map(str::trim)
}

/// A parameter of one element of `Forwarded` (RFC 7239 section 4).
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
    Some(value.trim().trim_matches('"'))
}

/// An address, perhaps with a port, an IPv6 one perhaps in brackets.
fn node(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(node(text), Some(address.parse().unwrap()), "{text}");
        }
        for text in ["", "unknown", "_hidden", "192.0.2", "192.0.2.1 ", "[192.0.2.1", "192.0.2.1:x", "localhost"] {
            assert_eq!(node(text), None, "{text}");
        }
    }

    #[test]
    fn a_forwarded_element_has_named_parameters() {
        assert_eq!(parameter("by=10.0.0.1; For=\"[2001:db8::1]:80\";proto=http", "for"), Some("[2001:db8::1]:80"));
        assert_eq!(parameter("for=192.0.2.1;proto=http", "proto"), Some("http"));
        assert_eq!(parameter("192.0.2.1", "for"), None);
    }
}
