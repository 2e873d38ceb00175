//! The URL, taken apart as a dial needs it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

/// Where to dial and what to ask for there.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// Whether TLS is spoken.
    pub(super) secure: bool,
    /// Name or address, an IPv6 address without its brackets.
    pub(super) host: String,
    /// TCP port.
    pub(super) port: u16,
    /// The value of the `Host` header.
    pub(super) host_header: String,
    /// Path and query, never empty.
    pub(super) target: String,
    /// User and password of the URL, as the value of an `Authorization` header.
    pub(super) authorization: Option<HeaderValue>,
}

impl Endpoint {
    /// Reads a `ws:` or `wss:` URL. The error never repeats it, as it may hold secrets.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let malformed = || "this is no URL; an example is wss://example.org/websocket".to_owned();
        let uri: Uri = url.trim().parse().map_err(|_| malformed())?;
        let secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err("the URL begins with ws://, wss://, http:// or https://".to_owned()),
        };
        let authority = uri.authority().ok_or_else(malformed)?;
        let name = authority.host();
        if name.is_empty() {
            return Err("the URL names no host".to_owned());
        }
        let target = match uri.path_and_query().map(|path| path.as_str()) {
            None | Some("") => "/".to_owned(),
            Some(query) if query.starts_with('?') => format!("/{query}"),
            Some(path) => path.to_owned(),
        };
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        Ok(Self {
            secure,
            host: name.trim_matches(['[', ']']).to_owned(),
            port: authority
                .port_u16()
                .unwrap_or(if secure { 443 } else { 80 }),
            host_header: match authority.port() {
                Some(port) => format!("{name}:{port}"),
                None => name.to_owned(),
            },
            target,
            authorization: user.map(basic).transpose().map_err(|()| malformed())?,
        })
    }

    /// The URL without what may be secret: user, password and query.
    pub(super) fn shown(&self) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        let path = self.target.split('?').next().unwrap_or("/");
        format!("{scheme}://{}{path}", self.host_header)
    }
}

/// `Basic …` of RFC 7617.
fn basic(user: &str) -> Result<HeaderValue, ()> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut credentials: Vec<u8> = percent_decode_str(name).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(password));
    let mut value =
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials))).map_err(drop)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_host_port_and_target() {
        let endpoint = Endpoint::parse("ws://[::1]:7070?task=42").expect("a URL");
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("::1", 7070));
        assert_eq!(endpoint.host_header, "[::1]:7070");
        assert_eq!(endpoint.target, "/?task=42");
        assert!(!endpoint.secure);
        assert_eq!(Endpoint::parse("wss://h").expect("a URL").port, 443);
    }

    #[test]
    fn secrets_become_a_header_and_are_not_shown() {
        let endpoint = Endpoint::parse("wss://me:p%40ss@h/x?token=abc").expect("a URL");
        assert_eq!(endpoint.shown(), "wss://h/x");
        let header = endpoint.authorization.expect("credentials");
        assert_eq!(header, format!("Basic {}", STANDARD.encode("me:p@ss")));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["", "ws://a b/", "ftp://h/", "/websocket", "ws://"] {
            assert!(Endpoint::parse(url).is_err(), "{url:?}");
        }
    }
}
