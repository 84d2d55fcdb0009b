//! What a provider's URLs must look like before anything is sent there: https, and no address of a private network
//! (SSRF).

use crate::net::{is_public, names_loopback};
use std::collections::BTreeMap;
use std::net::IpAddr;
use url::{Host, Url};

/// Reads the URL of an endpoint: https, or http on loopback; no user, password or fragment (RFC 6749 section 3.1); an
/// address in place of a name must be public, unless `allow_private`.
///
/// # Errors
/// Says what to write instead, as the end of a sentence that begins with the key, and without the text itself: it may
/// be a secret that was put into the wrong key.
pub(super) fn read(text: &str, allow_private: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "must be a URL like https://example.com/path")?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("must have no user name, password or fragment".to_owned());
    }
    let Some(host) = url.host() else {
        return Err("must name a host, as https://example.com/path does".to_owned());
    };
    let loopback = names_loopback(&url);
    if !(url.scheme() == "https" || url.scheme() == "http" && loopback) {
        return Err("must begin with https:// (http:// is for loopback hosts only)".to_owned());
    }
    let address = match host {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
    };
    if address.is_some_and(|address| !loopback && !allow_private && !is_public(address)) {
        return Err("names a private address; set allow_private_addresses = true if that is meant".to_owned());
    }
    Ok(url)
}

/// Puts values for the placeholders of a URL.
///
/// # Errors
/// For a placeholder without a value, or an odd brace; like [`read`]'s.
pub(super) fn fill(template: &str, values: &BTreeMap<&str, &str>) -> Result<String, String> {
    let mut rest = template;
    let mut filled = String::with_capacity(template.len());
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        let value = values.get(name).ok_or_else(|| match name {
            "tenant" => {
                "has `{tenant}`, which needs `default_tenant` here or `tenant` beside the client's id".to_owned()
            }
            "host" => "has `{host}`, which only `token_url` may, and which needs `token_hosts`".to_owned(),
            _ => "has an unknown placeholder; only `{tenant}` and, in `token_url`, `{host}` are known".to_owned(),
        })?;
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    if rest.contains(['{', '}']) {
        return Err("has a brace without its partner; write `{tenant}` or `{host}`".to_owned());
    }
    Ok(filled + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_https_or_loopback() {
        for good in
            ["https://example.com/x?y=z", "https://8.8.8.8/", "http://localhost:1/", "http://127.1/", "http://[::1]:8/"]
        {
            assert!(read(good, false).is_ok(), "{good}");
        }
        let bad = "http://example.com/ ftp://example.com/ example.com /token https:/// https://a@example.com/ \
            https://:b@example.com/ https://example.com/#x http://localhost.evil.example/ http://127.0.0.1.evil.example/ \
            http://localhost./ https://10.0.0.1/ https://0x0a.1/ https://[fd00::1]/ https://169.254.169.254/ \
            https://[::ffff:127.0.0.1]/ http://10.0.0.1/ data:x";
        for bad in bad.split_whitespace() {
            assert!(read(bad, false).is_err(), "{bad}");
        }
        assert!(read("https://10.0.0.1/", true).is_ok());
        assert!(read("http://10.0.0.1/", true).is_err());
    }

    #[test]
    fn placeholders_are_filled_and_others_refused() {
        let values = BTreeMap::from([("tenant", "common")]);
        assert_eq!(fill("https://x/{tenant}/y/{tenant}", &values).unwrap(), "https://x/common/y/common");
        for bad in ["https://{host}/", "https://x/{realm}", "https://x/{tenant", "https://x/}", "https://x/{}"] {
            assert!(fill(bad, &values).is_err(), "{bad}");
        }
    }
}
