//! The URL argument of `sub`, `pub` and `connect`, in whatever form people type it.

/// The path at which a Heartwire server upgrades.
const WEBSOCKET_PATH: &str = "/websocket";

/// The WebSocket URL of a Heartwire server: `127.0.0.1:7070`, `http://host`, `wss://host/?task=42`.
///
/// `http` becomes `ws`, `https` becomes `wss`, no scheme means `ws`, and an empty path
/// `/websocket`. Whether the rest is a URL is for the link to say.
pub(crate) fn of_heartwire(text: &str) -> String {
    let (scheme, rest) = split_scheme(text);
    let path_begins = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_begins);
    let after_slash = path.strip_prefix('/').unwrap_or(path);
    if after_slash.is_empty() || after_slash.starts_with(['?', '#']) {
        format!("{scheme}://{authority}{WEBSOCKET_PATH}{after_slash}")
    } else {
        format!("{scheme}://{authority}{path}")
    }
}

/// The WebSocket URL of any server. A URL that says `ws` or `wss` names its path itself; the other
/// forms are how one types a Heartwire server.
pub(crate) fn of_any_server(text: &str) -> String {
    if text.starts_with("ws://") || text.starts_with("wss://") {
        text.to_owned()
    } else {
        of_heartwire(text)
    }
}

fn split_scheme(text: &str) -> (&str, &str) {
    match text.split_once("://") {
        Some(("http", rest)) => ("ws", rest),
        Some(("https", rest)) => ("wss", rest),
        Some((scheme, rest)) => (scheme, rest),
        None => ("ws", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_leads_to_the_websocket() {
        let cases = [
            ("127.0.0.1:7070", "ws://127.0.0.1:7070/websocket"),
            ("http://localhost:7070/", "ws://localhost:7070/websocket"),
            ("https://example.com", "wss://example.com/websocket"),
            ("[::1]:7070?task=42", "ws://[::1]:7070/websocket?task=42"),
            (
                "wss://example.com/?42&7",
                "wss://example.com/websocket?42&7",
            ),
            (
                "ws://example.com/realtime/ws",
                "ws://example.com/realtime/ws",
            ),
            ("example.com/live?x=1", "ws://example.com/live?x=1"),
        ];
        for (typed, url) in cases {
            assert_eq!(of_heartwire(typed), url, "{typed}");
        }
    }

    #[test]
    fn a_websocket_url_of_any_server_is_taken_as_it_is() {
        assert_eq!(of_any_server("wss://exchange/"), "wss://exchange/");
        assert_eq!(
            of_any_server("127.0.0.1:7070"),
            "ws://127.0.0.1:7070/websocket"
        );
    }
}
