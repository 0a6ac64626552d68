//! Where outgoing requests may go. Decided on the text of the URL: a Worker does not see what a name resolves to, unless
//! it asks ([`super::dns`]).

use crate::error::{Error, Result};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Scheme, host and port of a URL, as far as the guard needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Whether the scheme is `https`.
    pub secure: bool,
    /// The host in lower case, without a trailing dot; an IPv6 address without its brackets.
    pub host: String,
    /// The port, if it is not the scheme's own.
    pub port: Option<u16>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]", self.host)?,
            false => write!(f, "{scheme}://{}", self.host)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Reads the origin of an absolute http(s) URL. Stricter than a browser: whatever two readers could understand
/// differently (user info, backslashes, control characters, percent escapes or non-ASCII in the host) is refused.
pub fn origin(url: &str) -> Result<Origin> {
    let refuse = |why: &str| Error::SsrfBlocked(format!("the URL is refused: {why}"));
    let (secure, rest) = if let Some(rest) = url.strip_prefix("https://") {
        (true, rest)
    } else if let Some(rest) = url.strip_prefix("http://") {
        (false, rest)
    } else {
        return Err(refuse("it must begin with https://"));
    };
    if url.bytes().any(|b| b <= b' ' || b == b'\\' || b == 0x7f) {
        return Err(refuse("it holds spaces, backslashes or control characters"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(refuse("it holds user information"));
    }
    let (host, port) = split_port(authority).ok_or_else(|| refuse("its host or port is malformed"))?;
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let is_v6 = host.contains(':');
    if host.split('.').any(str::is_empty) || (!is_v6 && !host.bytes().all(plain)) {
        return Err(refuse("its host is malformed"));
    }
    // Written or left out, the scheme's own port is the same origin.
    let port = port.filter(|p| *p != if secure { 443 } else { 80 });
    Ok(Origin { secure, host, port })
}

/// Whether a request may go to this URL: https and a public address, or anything where `allow_private` says so.
pub fn check_public(url: &str, allow_private: bool) -> Result<Origin> {
    let origin = origin(url)?;
    if allow_private {
        return Ok(origin);
    }
    if !origin.secure {
        return Err(Error::SsrfBlocked(
            "the URL is refused: it must begin with https://".into(),
        ));
    }
    if is_private_host(&origin.host) {
        return Err(Error::SsrfBlocked(
            "the URL is refused: it names a private, local or reserved address".into(),
        ));
    }
    Ok(origin)
}

/// Whether a request that carries a credential may go to this URL: additionally, its host is one of `hosts`, or its
/// origin one of those that the connection names.
pub fn check_credentialed(url: &str, hosts: &[String], own: &[Origin], allow_private: bool) -> Result<()> {
    let target = check_public(url, allow_private)?;
    let named = hosts.iter().any(|h| h.eq_ignore_ascii_case(&target.host));
    if own.contains(&target) || (named && target.secure && target.port.is_none()) {
        return Ok(());
    }
    Err(Error::SsrfBlocked(format!(
        "a request with a credential may not go to `{}`",
        target.host
    )))
}

/// The origin of a URL, or of a host name without a scheme, which means https.
pub fn origin_of_host(text: &str) -> Result<Origin> {
    if text.contains("://") {
        origin(text)
    } else {
        origin(&format!("https://{text}"))
    }
}

/// The URL that a `Location` means (RFC 3986, 5.2), seen from `base`. None for what is no http(s) URL.
pub fn resolve(base: &str, location: &str) -> Option<String> {
    let location = location.split('#').next()?.trim();
    let lower = location.to_ascii_lowercase();
    if let Some(rest) = ["https://", "http://"].iter().find(|s| lower.starts_with(**s)) {
        return Some(format!("{rest}{}", location.get(rest.len()..)?));
    }
    let (scheme, rest) = base.split_once("://")?;
    if let Some(network) = location.strip_prefix("//") {
        return Some(format!("{scheme}://{network}"));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = (rest.get(..end)?, rest.get(end..)?);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if location.starts_with('/') {
        return Some(format!("{scheme}://{authority}{location}"));
    }
    // A colon before the first slash makes it a scheme that is not http.
    if location.is_empty() || location.split(['/', '?']).next()?.contains(':') {
        return None;
    }
    if location.starts_with('?') {
        return Some(format!("{scheme}://{authority}{path}{location}"));
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(format!("{scheme}://{authority}{folder}/{location}"))
}

/// Whether the URL's host is this machine.
pub fn is_loopback_url(url: &str) -> bool {
    origin(url).is_ok_and(|o| match o.host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => o.host == "localhost" || o.host.ends_with(".localhost"),
    })
}

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(parse_port(port)?))),
            None => after.is_empty().then_some((host, None)),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(parse_port(port)?))),
        None => Some((authority, None)),
    }
}

fn parse_port(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Names and addresses that are not on the public internet (IANA's special-purpose registries), and names whose last
/// label is a number: readers disagree on which address `0x7f.1` or `2130706433` is.
fn is_private_host(host: &str) -> bool {
    if let Ok(address) = host.parse() {
        return is_private(address);
    }
    const LOCAL: [&str; 7] = [
        "localhost",
        "local",
        "internal",
        "intranet",
        "lan",
        "home.arpa",
        "localdomain",
    ];
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    numeric || !host.contains('.') || LOCAL.iter().any(|l| host == *l || host.ends_with(&format!(".{l}")))
}

/// Whether an address is not on the public internet.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => is_private_v6(v6),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224..=255, _, _)
    )
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let [s0, s1, ..] = address.segments();
    // Outside global unicast, or a range of it that embeds an IPv4 address or is for documentation.
    let global_unicast = (s0 & 0xe000) == 0x2000;
    !global_unicast || s0 == 0x2002 || (s0 == 0x2001 && (s1 < 0x0200 || s1 == 0x0db8)) || s0 == 0x3fff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_ambiguous_addresses_are_refused() {
        let hosts = [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "printer",
            "db.internal",
            "x.local",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "127.0.0.1.",
            "10.0.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[fe80::1]",
            "[fc00::1]",
            "[ff02::1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2001:db8::1]",
            "[2001::1]",
            "1",
            "1.2.3",
            "",
            "..",
            "a..b",
            "exa mple.com",
            "example.com\\@evil.com",
            "user@example.com",
            "u:p@example.com",
            "%6c%6fcalhost",
            "ｌocalhost",
            "example.com:99999",
            "example.com:",
            "[::1",
            "[zz]",
            "\u{0}",
        ];
        for host in hosts {
            let url = format!("https://{host}/path");
            assert!(check_public(&url, false).is_err(), "{url}");
        }
        for url in [
            "http://example.com/",
            "ftp://example.com/",
            "//example.com",
            "example.com",
            "",
            "HTTPS://x.com",
        ] {
            assert!(check_public(url, false).is_err(), "{url}");
        }
    }

    #[test]
    fn public_ones_pass() {
        for url in [
            "https://api.github.com/x?y#z",
            "https://example.com:8443",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]:443/",
            "https://xn--bcher-kva.example.org/",
        ] {
            assert!(check_public(url, false).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_credential_goes_to_its_own_hosts_only() {
        let hosts = vec!["api.example.com".to_owned()];
        let own = [origin("https://ghe.corp.example:8443/api/v3").unwrap()];
        let allowed = |url| check_credentialed(url, &hosts, &own, false).is_ok();

        assert!(allowed("https://api.example.com/x"));
        assert!(allowed("https://ghe.corp.example:8443/api/v3/x"));
        assert!(!allowed("https://ghe.corp.example/x"));
        assert!(!allowed("https://api.example.com:8443/x"));
        assert!(!allowed("https://api.example.com.evil.com/x"));
        assert!(!allowed("https://evil.com/https://api.example.com"));
    }

    #[test]
    fn a_location_is_resolved_from_where_it_was_said() {
        let base = "https://a.example.com:8443/x/y?z=1";
        let cases = [
            ("https://b.example.com/1", Some("https://b.example.com/1")),
            ("HTTPS://b.example.com/1#f", Some("https://b.example.com/1")),
            ("//b.example.com/1", Some("https://b.example.com/1")),
            ("/1?q", Some("https://a.example.com:8443/1?q")),
            ("1", Some("https://a.example.com:8443/x/1")),
            ("?q=2", Some("https://a.example.com:8443/x/y?q=2")),
            ("ftp://b.example.com", None),
            ("javascript:alert(1)", None),
            ("", None),
        ];
        for (location, expected) in cases {
            assert_eq!(resolve(base, location).as_deref(), expected, "{location}");
        }
        assert_eq!(
            resolve("https://a.example.com", "1").as_deref(),
            Some("https://a.example.com/1")
        );
    }

    #[test]
    fn loopback_is_told_apart() {
        for url in [
            "http://127.0.0.1:8787",
            "http://localhost",
            "http://[::1]:1/",
            "http://127.9.9.9/",
        ] {
            assert!(is_loopback_url(url), "{url}");
        }
        for url in [
            "https://hub.example.com",
            "http://127.0.0.1.evil.com",
            "http://10.0.0.1",
            "localhost",
        ] {
            assert!(!is_loopback_url(url), "{url}");
        }
    }
}
