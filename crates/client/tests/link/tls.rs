//! TLS: the platform's roots and one's own, and nobody else's.

use std::sync::Arc;

use crate::support::{Peer, Server, at_once, soon, status_is};
use heartwire::{Link, Status};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A certificate for this machine that nobody has signed, as PEM, and an acceptor that shows it.
fn self_signed() -> (String, TlsAcceptor) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn a_root_of_ones_own_is_trusted() {
    let server = Server::start().await;
    let (root, acceptor) = self_signed();
    let link = Link::builder(&format!("wss://{}", server.address()))
        .root_certificates(root.as_bytes())
        .reconnect(at_once())
        .connect()
        .unwrap();
    let mut task = link.subscribe("task:42").unwrap();

    // Twice, as the second dial resumes the TLS session of the first.
    for offset in 1..=2 {
        let tls = soon(acceptor.accept(server.accept_tcp().await)).await;
        let mut peer = Box::pin(Peer::shake_hands(tls.unwrap())).await.unwrap();
        peer.hello().await;
        peer.welcome("").await;
        peer.hear().await;
        peer.say(&format!("subbed task:42 k3v9.{}", offset - 1))
            .await;
        // Larger than a TLS record, so that it takes several.
        let payload = offset.to_string().repeat(100_000);
        peer.say(&format!("msg task:42 {offset} 1\n{payload}"))
            .await;
        assert_eq!(crate::support::next_text(&mut task).await, payload);
        let stored = link.publish("inbox", payload);
        assert!(
            peer.hear()
                .await
                .starts_with(&format!("pub inbox {offset}\n"))
        );
        peer.say(&format!("ack {offset}")).await;
        soon(stored).await.unwrap();
        drop(peer);
    }
}

#[tokio::test]
async fn an_unknown_root_is_refused_with_the_reason() {
    let server = Server::start().await;
    let (_, acceptor) = self_signed();
    let (other, _) = self_signed();
    let link = Link::builder(&format!("wss://{}", server.address()))
        .root_certificates(other.as_bytes())
        .reconnect(at_once())
        .connect()
        .unwrap();
    let refused = soon(acceptor.accept(server.accept_tcp().await)).await;
    assert!(refused.is_err());
    let Status::Lost { why, .. } = status_is(&link, "lost").await else {
        panic!("the link is lost");
    };
    let why = why.to_string();
    assert!(why.contains("no TLS with 127.0.0.1"), "{why}");
    assert!(why.contains("certificate"), "{why}");
}
