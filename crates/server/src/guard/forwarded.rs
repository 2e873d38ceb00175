//! Signs that a request came through a proxy, and what a trusted one says of where it comes from.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::request::Parts;
use ipnet::IpNet;

use crate::api::HttpError;

/// What proxies add. A browser cannot be made to send these to another host without asking first.
const FORWARDING_HEADERS: [&str; 9] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
    "cf-connecting-ip",
    "true-client-ip",
];

/// Refuses a forwarded request: on loopback without keys everybody is trusted, and a proxy in
/// front would make that everybody on its network.
pub(super) fn check(request: &Parts) -> Result<(), HttpError> {
    let found = FORWARDING_HEADERS
        .into_iter()
        .find(|name| request.headers.contains_key(*name));
    match found {
        None => Ok(()),
        Some(name) => Err(HttpError::forbidden(
            "forwarded",
            format!(
                "the request came through a proxy ({name} is set), which makes this loopback \
                 server public: set an API key (--api-key)"
            ),
        )),
    }
}

/// The address that trusted proxies say a request comes from: the last in `X-Forwarded-For` that is
/// not one of theirs. What stands before it was said by whoever is not trusted. `None` where nothing
/// was said, or nothing that makes sense.
pub(super) fn client(headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let values: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    let hops = values.iter().rev().flat_map(|value| value.rsplit(','));
    let mut furthest = None;
    for hop in hops {
        let address = address(hop.trim())?;
        furthest = Some(address);
        if !is_trusted(address, trusted) {
            break;
        }
    }
    furthest
}

/// Whether an address is one of the proxies'.
pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// An address, with a port perhaps.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    let alone = bare.parse().ok();
    alone.or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn client_of(values: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        let trusted = ["10.0.0.0/8", "::1/128"].map(|text| text.parse().expect("a network"));
        client(&headers, &trusted).map(|address| address.to_string())
    }

    #[test]
    fn the_last_address_that_is_no_proxys_counts() {
        let is = |address: &str| Some(address.to_owned());
        assert_eq!(client_of(&[]), None);
        assert_eq!(client_of(&["192.0.2.7"]), is("192.0.2.7"));
        assert_eq!(client_of(&["192.0.2.7, 10.1.1.1"]), is("192.0.2.7"));
        assert_eq!(
            client_of(&["198.51.100.1, 192.0.2.7"]),
            is("192.0.2.7"),
            "the first is a lie"
        );
        assert_eq!(
            client_of(&["198.51.100.1", "192.0.2.7,10.0.0.2"]),
            is("192.0.2.7")
        );
        assert_eq!(client_of(&["192.0.2.7:4711"]), is("192.0.2.7"));
        assert_eq!(client_of(&["[2001:db8::7]:4711"]), is("2001:db8::7"));
        assert_eq!(client_of(&["2001:db8::7"]), is("2001:db8::7"));
        assert_eq!(
            client_of(&["10.9.9.9, 10.1.1.1"]),
            is("10.9.9.9"),
            "nobody but proxies"
        );
    }

    #[test]
    fn nonsense_is_nobodys_address() {
        for nonsense in ["", "unknown", "192.0.2.7, nonsense", "1.2.3", ","] {
            assert_eq!(client_of(&[nonsense]), None, "{nonsense:?}");
        }
        assert_eq!(
            client_of(&["nonsense, 192.0.2.7"]).as_deref(),
            Some("192.0.2.7")
        );
    }
}
