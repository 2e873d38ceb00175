//! The URL of a server, taken apart once, so that a wrong one is the caller's error and not a
//! failed dial.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

/// A URL that no server can be dialled by. The message never repeats the URL, which may hold a
/// password or a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum UrlError {
    /// It does not parse.
    #[error("this is no URL; an example is wss://example.org/websocket?task=42")]
    Malformed,
    /// Its scheme is none of the four known ones.
    #[error("the URL begins with ws://, wss://, http:// or https://")]
    Scheme,
    /// It names no host.
    #[error("the URL names no host")]
    Host,
}

/// Where to dial and what to ask for there.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// Whether TLS is spoken.
    pub(crate) secure: bool,
    /// Name or address of the host, an IPv6 address without its brackets.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
    /// The value of the `Host` header.
    pub(crate) host_header: String,
    /// What the upgrade request asks for, as an absolute `ws:` or `wss:` URL without user.
    pub(crate) uri: Uri,
    /// User and password of the URL, as the value of an `Authorization` header.
    pub(crate) authorization: Option<HeaderValue>,
}

impl Endpoint {
    pub(crate) fn parse(url: &str) -> Result<Self, UrlError> {
        let given: Uri = url.trim().parse().map_err(|_| UrlError::Malformed)?;
        let (secure, scheme) = match given.scheme_str() {
            Some("ws" | "http") => (false, "ws"),
            Some("wss" | "https") => (true, "wss"),
            _ => return Err(UrlError::Scheme),
        };
        let authority = given.authority().ok_or(UrlError::Host)?;
        let name = authority.host();
        if name.is_empty() {
            return Err(UrlError::Host);
        }
        let host_header = match authority.port() {
            Some(port) => format!("{name}:{port}"),
            None => name.to_owned(),
        };
        let path = match given.path_and_query().map(|path| path.as_str()) {
            None | Some("") => "/".to_owned(),
            Some(query) if query.starts_with('?') => format!("/{query}"),
            Some(path) => path.to_owned(),
        };
        let uri = format!("{scheme}://{host_header}{path}").parse();
        Ok(Self {
            secure,
            host: name.trim_matches(['[', ']']).to_owned(),
            port: authority
                .port_u16()
                .unwrap_or(if secure { 443 } else { 80 }),
            host_header,
            uri: uri.map_err(|_| UrlError::Malformed)?,
            authorization: authority
                .as_str()
                .rsplit_once('@')
                .map(|(user, _)| basic_authorization(user))
                .transpose()?,
        })
    }
}

/// `Basic …` of RFC 7617 from the `user:password` of a URL.
fn basic_authorization(user: &str) -> Result<HeaderValue, UrlError> {
    let credentials = match user.split_once(':') {
        Some((name, password)) => [decoded(name), b":".to_vec(), decoded(password)].concat(),
        None => [decoded(user), b":".to_vec()].concat(),
    };
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64.encode(credentials)))
        .map_err(|_| UrlError::Malformed)?;
    value.set_sensitive(true);
    Ok(value)
}

fn decoded(part: &str) -> Vec<u8> {
    percent_decode_str(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (bool, String, u16, String, String) {
        let endpoint = Endpoint::parse(url).expect("a URL");
        let uri = endpoint.uri.to_string();
        (
            endpoint.secure,
            endpoint.host,
            endpoint.port,
            endpoint.host_header,
            uri,
        )
    }

    fn expected(
        secure: bool,
        host: &str,
        port: u16,
        header: &str,
        uri: &str,
    ) -> (bool, String, u16, String, String) {
        (secure, host.into(), port, header.into(), uri.into())
    }

    #[test]
    fn the_four_schemes_are_two() {
        let plain = |url| parts(url) == expected(false, "h", 80, "h", "ws://h/websocket?42&7");
        assert!(plain("ws://h/websocket?42&7"));
        assert!(plain("http://h/websocket?42&7"));
        let secure = |url| parts(url) == expected(true, "h", 443, "h", "wss://h/");
        assert!(secure("wss://h"));
        assert!(secure("https://h/"));
    }

    #[test]
    fn ports_queries_and_ipv6_addresses_survive() {
        assert_eq!(
            parts("ws://[::1]:7070?task=42#top"),
            expected(false, "::1", 7070, "[::1]:7070", "ws://[::1]:7070/?task=42")
        );
    }

    #[test]
    fn a_user_becomes_a_header_and_leaves_the_request() {
        let endpoint = Endpoint::parse("wss://me:p%40ss@h/x").expect("a URL");
        assert_eq!(endpoint.uri.to_string(), "wss://h/x");
        let header = endpoint.authorization.expect("credentials");
        assert_eq!(header, format!("Basic {}", BASE64.encode("me:p@ss")));
        assert!(header.is_sensitive());
    }

    #[test]
    fn what_is_no_url_is_named() {
        for (url, error) in [
            ("", UrlError::Malformed),
            ("ws://a b/", UrlError::Malformed),
            ("/websocket", UrlError::Scheme),
            ("ftp://h/", UrlError::Scheme),
            ("localhost:7070", UrlError::Scheme),
        ] {
            assert_eq!(Endpoint::parse(url).err(), Some(error), "{url:?}");
        }
    }
}
