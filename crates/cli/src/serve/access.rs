//! Who `serve` lets in.

use std::net::{IpAddr, SocketAddr};

use heartwire_server::{ApiKey, HubBuilder, IpNet, Tokens};

use super::options::Options;
use super::settings::invalid;
use crate::failure::Failure;

/// A shared secret that is shorter can be guessed from a token, in bytes (RFC 7518 section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// Without a key everybody who reaches the port may do everything, so only this machine may reach
/// it, unless somebody insists. `warnings` are for the operator.
pub(super) fn with_access(
    mut hub: HubBuilder,
    options: &Options,
    listen: SocketAddr,
    warnings: &mut Vec<&'static str>,
) -> Result<HubBuilder, Failure> {
    let tokens = tokens(options, warnings)?;
    let has_keys = !options.api_key.is_empty() || !options.api_key_file.is_empty();
    let insecure_open = options.insecure_open.unwrap_or(false);
    let open_websocket = options.open_websocket.unwrap_or(false);
    if has_keys || tokens.is_some() {
        if insecure_open {
            let message = "with an API key or tokens the server is not open to everybody";
            return Err(invalid("insecure-open", message));
        }
    } else if insecure_open {
        warnings.push("insecure-open: everybody who reaches this server may do everything");
    } else {
        loopback_only(listen)?;
        if !options.trusted_proxy.is_empty() {
            let message = "a proxy makes loopback public: set --api-key, --jwt-secret or \
                           --jwt-public-key, or insist with --insecure-open";
            return Err(invalid("trusted-proxy", message));
        }
        warnings.push("no API key and no tokens are set: everything is allowed, on loopback only");
    }
    if open_websocket {
        may_open_websocket(has_keys, tokens.is_some())?;
    }
    for text in &options.api_key {
        let key = ApiKey::new(text.as_str()).map_err(|error| invalid("api-key", error))?;
        hub = hub.api_key(key);
    }
    hub = options
        .api_key_file
        .iter()
        .fold(hub, HubBuilder::api_keys_file);
    hub = options.allow_host.iter().fold(hub, HubBuilder::allow_host);
    hub = options
        .allow_origin
        .iter()
        .fold(hub, HubBuilder::allow_origin);
    if let Some(tokens) = tokens {
        hub = hub.tokens(tokens);
    }
    hub = with_proxies(hub, options)?;
    Ok(hub
        .open_websocket(open_websocket)
        .insecure_open(insecure_open))
}

/// Whether trusted proxies begin with a PROXY header.
pub(super) fn speaks_proxy_protocol(options: &Options) -> Result<bool, Failure> {
    let speaks = options.proxy_protocol.unwrap_or(false);
    if speaks && options.trusted_proxy.is_empty() {
        let message = "it is taken from a trusted-proxy alone, and there is none";
        return Err(invalid("proxy-protocol", message));
    }
    Ok(speaks)
}

fn with_proxies(mut hub: HubBuilder, options: &Options) -> Result<HubBuilder, Failure> {
    for text in &options.trusted_proxy {
        let network = text.parse::<IpNet>();
        let network = network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let network = network.map_err(|_| {
            let message =
                format!("{text:?} is neither an address nor a network such as 10.0.0.0/8");
            invalid("trusted-proxy", message)
        })?;
        hub = hub.trusted_proxy(network);
    }
    Ok(hub)
}

fn loopback_only(listen: SocketAddr) -> Result<(), Failure> {
    if listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(invalid(
        "listen",
        format_args!(
            "{listen} is not a loopback address, and without an API key or tokens everybody who \
             reaches it could read and publish everything: set --api-key, --jwt-secret or \
             --jwt-public-key, listen on 127.0.0.1, or insist with --insecure-open"
        ),
    ))
}

fn may_open_websocket(has_keys: bool, has_tokens: bool) -> Result<(), Failure> {
    let message = match (has_keys, has_tokens) {
        (_, true) => "with tokens, WebSockets are opened by them",
        (false, false) => {
            "without an API key WebSockets are open on loopback already, and nowhere else"
        }
        (true, false) => return Ok(()),
    };
    Err(invalid("open-websocket", message))
}

fn tokens(options: &Options, warnings: &mut Vec<&'static str>) -> Result<Option<Tokens>, Failure> {
    let given = [
        options.jwt_secret.is_some(),
        options.jwt_secret_file.is_some(),
        options.jwt_public_key.is_some(),
    ];
    if given.iter().filter(|given| **given).count() > 1 {
        let message = "tokens are checked by one of jwt-secret, jwt-secret-file and jwt-public-key";
        return Err(invalid("jwt-secret", message));
    }
    let tokens = if let Some(secret) = &options.jwt_secret {
        if secret.as_str().len() < SECRET_BYTES_MIN {
            warnings.push("jwt-secret is shorter than 32 bytes: it can be guessed from any token");
        }
        Tokens::secret(secret.as_str()).map_err(|error| invalid("jwt-secret", error))?
    } else if let Some(path) = &options.jwt_secret_file {
        Tokens::secret_file(path).map_err(|error| invalid("jwt-secret-file", error))?
    } else if let Some(path) = &options.jwt_public_key {
        Tokens::public_keys_file(path).map_err(|error| invalid("jwt-public-key", error))?
    } else if options.jwt_audience.is_some() {
        let message = "it needs a jwt-secret or a jwt-public-key beside it";
        return Err(invalid("jwt-audience", message));
    } else {
        return Ok(None);
    };
    Ok(Some(match &options.jwt_audience {
        Some(audience) => tokens.audience(audience),
        None => tokens,
    }))
}
