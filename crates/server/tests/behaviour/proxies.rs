//! Proxies in front: whose word about an address is taken.

use std::net::SocketAddr;
use std::time::Duration;

use heartwire_server::{ApiKey, ConnectionLimits, HubBuilder};
use heartwire_testing::Lateness;
use tokio::time::Instant;

use crate::support::peer::{Peer, upgrade};
use crate::support::{Fixture, http};

const KEY: &str = "authorization: Bearer key";

/// A public server, with one WebSocket from each address.
fn public(hub: HubBuilder) -> HubBuilder {
    hub.api_key(ApiKey::new("key").expect("a key"))
        .open_websocket(true)
        .connection_limits(ConnectionLimits {
            per_address_max: 1,
            ..ConnectionLimits::default()
        })
}

fn trusting(hub: HubBuilder) -> HubBuilder {
    public(hub).trusted_proxy("127.0.0.0/8".parse().expect("a network"))
}

/// The status of a dial, and the connection if it came about.
async fn dial(address: SocketAddr, first: &[u8], headers: &[&str]) -> (String, Peer) {
    let mut peer = Peer::tcp(address).await;
    peer.send(first).await;
    peer.send(upgrade("/websocket", headers).as_bytes()).await;
    let head = peer.head().await;
    (head.split(' ').nth(1).expect("a status").to_owned(), peer)
}

/// The addresses that the server's list shows.
async fn addresses(server: &Fixture, first: &[u8]) -> Vec<String> {
    let request = format!(
        "GET /v1/connections HTTP/1.1\r\nhost: localhost\r\n{KEY}\r\nconnection: close\r\n\r\n"
    );
    let bytes = [first, request.as_bytes()].concat();
    let listed = http::raw(server.address, &bytes).await.json();
    let connections = listed["connections"].as_array().expect("a list");
    let addresses = connections
        .iter()
        .map(|one| one["address"].as_str().unwrap_or("none"));
    addresses.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client_and_nobody_else_does() {
    let server = Fixture::with(trusting).await;
    let forwarded = ["x-forwarded-for: 198.51.100.9, 192.0.2.7"];
    let (status, _first) = dial(server.address, b"", &forwarded).await;
    assert_eq!(status, "101");
    let (status, _) = dial(server.address, b"", &["x-forwarded-for: 192.0.2.7"]).await;
    assert_eq!(status, "503", "it is the second from there");
    let (status, _second) = dial(server.address, b"", &["x-forwarded-for: 192.0.2.8"]).await;
    assert_eq!(status, "101");
    crate::support::until("both to be listed", async || {
        addresses(&server, b"").await == ["192.0.2.7:0", "192.0.2.8:0"]
    })
    .await;

    let server = Fixture::with(public).await;
    let (status, _first) = dial(server.address, b"", &["x-forwarded-for: 192.0.2.7"]).await;
    assert_eq!(status, "101");
    let (status, _) = dial(server.address, b"", &["x-forwarded-for: 192.0.2.8"]).await;
    assert_eq!(status, "503", "both are of one address, whatever they say");
}

#[tokio::test]
async fn a_proxy_header_names_the_client() {
    let server = Fixture::serving(trusting, |server| server.proxy_protocol(true)).await;
    let (status, _v1) = dial(
        server.address,
        b"PROXY TCP4 192.0.2.7 127.0.0.1 50000 80\r\n",
        &[],
    )
    .await;
    assert_eq!(status, "101");
    let v2 = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..],
        &[192, 0, 2, 8, 127, 0, 0, 1, 0xC3, 0x50, 0, 80],
    ]
    .concat();
    let (status, _v2) = dial(server.address, &v2, &[]).await;
    assert_eq!(status, "101");
    let (status, _) = dial(server.address, &v2, &[]).await;
    assert_eq!(status, "503", "it is the second from there");
    crate::support::until("both to be listed", async || {
        let listed = addresses(&server, b"PROXY UNKNOWN\r\n").await;
        listed == ["192.0.2.7:50000", "192.0.2.8:50000"]
    })
    .await;
}

#[tokio::test]
async fn a_trusted_proxy_that_does_not_speak_the_protocol_is_not_served() {
    let server = Fixture::serving(trusting, |server| server.proxy_protocol(true)).await;
    let mut peer = Peer::tcp(server.address).await;
    peer.send(upgrade("/websocket", &[]).as_bytes()).await;
    peer.ended().await;
    // Nor one that never ends its header.
    let mut peer = Peer::tcp(server.address).await;
    peer.send(b"PROXY TCP4 192.0").await;
    let (begun, lateness) = (Instant::now(), Lateness::watch());
    peer.ended().await;
    let took = begun.elapsed();
    let most = Duration::from_secs(7) + lateness.allowance();
    assert!(took > Duration::from_secs(4) && took < most, "{took:?}");
    let request = format!(
        "PROXY UNKNOWN\r\nGET /metrics HTTP/1.1\r\nhost: localhost\r\n{KEY}\r\nconnection: close\r\n\r\n"
    );
    let metrics = http::raw(server.address, request.as_bytes()).await.body;
    let counted = "heartwire_refusals_total{over=\"accept\",reason=\"bad-proxy-header\"} 2\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn loopback_behind_a_proxy_is_public_and_needs_a_key() {
    let hub = heartwire_server::Hub::builder();
    let hub = hub.trusted_proxy("127.0.0.1/32".parse().expect("a network"));
    assert!(hub.open().await.is_err());
}
