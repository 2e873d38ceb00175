//! TLS in front of HTTP and WebSockets.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heartwire_server::{HubBuilder, Tls};
use heartwire_testing::Lateness;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::peer::{Peer, hello, text, upgrade};
use crate::support::token::Scratch;
use crate::support::{Fixture, Outcome, patient_heartbeat, until, within};

/// A certificate for this machine, in files.
struct Certificate {
    der: CertificateDer<'static>,
    chain: Scratch,
    key: Scratch,
}

fn made() -> (CertificateDer<'static>, String, String) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let key = made.signing_key.serialize_pem();
    (made.cert.der().clone(), made.cert.pem(), key)
}

impl Certificate {
    fn new(name: &str) -> Self {
        let (der, chain, key) = made();
        Self {
            der,
            chain: Scratch::new(&format!("{name}.crt"), &chain),
            key: Scratch::new(&format!("{name}.key"), &key),
        }
    }

    /// Another takes its place.
    fn replace(&mut self) {
        let (der, chain, key) = made();
        self.der = der;
        self.chain.write(&chain);
        self.key.write(&key);
    }

    fn tls(&self) -> Tls {
        Tls::files(&self.chain.0, &self.key.0).expect("they belong together")
    }

    /// A handshake by somebody who trusts this certificate alone, and wants this protocol.
    async fn dial(
        &self,
        address: SocketAddr,
        protocol: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.secure(TcpStream::connect(address).await?, protocol)
            .await
    }

    /// The same over a stream that is there.
    async fn secure(
        &self,
        stream: TcpStream,
        protocol: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate");
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        within("the handshake", connector.connect(name, stream)).await
    }

    /// A v1 WebSocket over this stream, that has been welcomed.
    async fn v1_over(&self, stream: TcpStream) -> std::io::Result<Peer<TlsStream<TcpStream>>> {
        let mut peer = Peer::over(self.secure(stream, "http/1.1").await?);
        peer.upgrade("/websocket", &["sec-websocket-protocol: heartwire.v1"])
            .await;
        peer.say(&hello("a", 1)).await;
        peer.welcomed().await;
        Ok(peer)
    }
}

async fn serve(certificate: &Certificate) -> Fixture {
    let tls = certificate.tls();
    Fixture::serving(|hub| hub, |server| server.tls(tls)).await
}

async fn serve_patiently(certificate: &Certificate) -> Fixture {
    let tls = certificate.tls();
    let patient = |hub: HubBuilder| hub.heartbeat(patient_heartbeat());
    Fixture::serving(patient, |server| server.tls(tls)).await
}

/// 200 KB at 20 KB/s: ten seconds with a bound of four. What stands in TLS and in the kernels takes
/// longer to read than an answer may take; it answers pings when it comes to read them `[LIVE-5]`.
#[tokio::test]
async fn a_slow_reader_over_tls_is_not_declared_dead() -> Outcome {
    let certificate = Certificate::new("slow");
    let server = serve_patiently(&certificate).await;
    let stream = Peer::with_small_window(server.address).await.into_stream();
    let mut slow = certificate.v1_over(stream).await?;
    assert_eq!(slow.ask("sub load").await, "subbed load 0");
    slow.bytes_per_100_ms = 2_000;
    let payload = "x".repeat(20_000);
    for _ in 0..10 {
        server.hub.publish("load", payload.as_str()).await?;
    }
    let (begun, mut messages) = (Instant::now(), 0);
    while messages < 10 {
        messages += usize::from(slow.text_after_pings().await.starts_with("msg load "));
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(8), "{took:?}");
    Ok(())
}

/// One record in small pieces: nothing can be made of it for longer than the bound `[LIVE-1]`.
#[tokio::test]
async fn parts_of_a_record_keep_a_connection_alive() -> Outcome {
    let certificate = Certificate::new("pieces");
    let server = serve_patiently(&certificate).await;
    let stream = TcpStream::connect(server.address).await?;
    let mut stream = certificate.v1_over(stream).await?.into_stream();
    let (tcp, session) = stream.get_mut();
    let upload = text(&format!("pub a 1\n{}", "x".repeat(100)));
    session.writer().write_all(&upload)?;
    let mut record = Vec::new();
    session.write_tls(&mut record)?;
    let begun = Instant::now();
    for piece in record.chunks(record.len().div_ceil(10)) {
        tcp.write_all(piece).await?;
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    assert!(begun.elapsed() > Duration::from_secs(5));
    assert!(Peer::over(stream).is_answered().await);
    Ok(())
}

#[tokio::test]
async fn websockets_and_http_1_go_over_tls() -> Outcome {
    let certificate = Certificate::new("http1");
    let server = serve(&certificate).await;
    let mut peer = Peer::over(certificate.dial(server.address, "http/1.1").await?);
    peer.upgrade("/websocket", &["sec-websocket-protocol: heartwire.v1"])
        .await;
    peer.say(&hello("a", 1)).await;
    peer.welcomed().await;
    assert_eq!(peer.ask("sub a").await, "subbed a 0");
    let large = "x".repeat(500_000);
    peer.say(&format!("pub a 1\n{large}")).await;
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.push(peer.text_after_pings().await);
    }
    assert!(heard.contains(&"ack 1".to_owned()));
    assert!(
        heard
            .iter()
            .any(|text| text.starts_with("msg a 1 ") && text.ends_with(&large))
    );
    let mut plain = Peer::over(certificate.dial(server.address, "http/1.1").await?);
    plain.upgrade("/websocket?task=42", &[]).await;
    plain.say("ping").await;
    assert_eq!(plain.text().await, "pong");
    server.hub.publish("task:42", "50 %").await?;
    assert_eq!(plain.text().await, "50 %");
    let mut http = Peer::over(certificate.dial(server.address, "http/1.1").await?);
    http.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    assert!(http.head().await.starts_with("HTTP/1.1 200"));
    Ok(())
}

#[tokio::test]
async fn the_api_speaks_http_2_to_whoever_prefers_it() -> Outcome {
    let certificate = Certificate::new("http2");
    let server = serve(&certificate).await;
    server.hub.publish("task:42", "50 %").await?;
    let stream = certificate.dial(server.address, "h2").await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut send, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    for (path, status) in [
        ("/v1/topics/task:42", 200),
        ("/v1/nothing", 404),
        ("/websocket", 426),
    ] {
        let uri = format!("https://localhost{path}");
        let request = Request::get(uri).body(Empty::new())?;
        let answer = within("the answer", send.send_request(request)).await?;
        assert_eq!(answer.version(), Version::HTTP_2);
        assert_eq!(answer.status(), status, "{path}");
        let body = answer.into_body().collect().await?.to_bytes();
        assert!(!body.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn a_changed_certificate_is_shown_from_then_on_and_costs_nobody_anything() -> Outcome {
    let mut certificate = Certificate::new("renewed");
    let before = certificate.der.clone();
    let server = serve(&certificate).await;
    let mut old = Peer::over(certificate.dial(server.address, "http/1.1").await?);
    old.upgrade("/websocket", &[]).await;
    certificate.replace();
    until("the new certificate", async || {
        certificate.dial(server.address, "http/1.1").await.is_ok()
    })
    .await;
    old.say("ping").await;
    assert_eq!(old.text().await, "pong");
    // A certificate without its key changes nothing.
    let (_, chain, _) = made();
    certificate.chain.write(&chain);
    let tls = Tls::files(&certificate.chain.0, &certificate.key.0);
    let error = tls.expect_err("they do not belong together").to_string();
    assert!(
        error.contains("renewed.crt") && !error.contains("PRIVATE"),
        "{error}"
    );
    let shown = certificate.dial(server.address, "http/1.1").await?;
    let shown = shown.get_ref().1.peer_certificates().map(<[_]>::to_vec);
    assert_eq!(shown, Some(vec![certificate.der.clone()]));
    assert_ne!(certificate.der, before);
    Ok(())
}

#[tokio::test]
async fn whoever_does_not_shake_hands_is_gone_after_its_deadline() -> Outcome {
    let certificate = Certificate::new("silent");
    let server = serve(&certificate).await;
    let mut garbage = Peer::tcp(server.address).await;
    garbage.send(upgrade("/websocket", &[]).as_bytes()).await;
    while garbage.heard_raw().await.is_some() {}
    let mut silent = Peer::tcp(server.address).await;
    let (begun, lateness) = (Instant::now(), Lateness::watch());
    silent.ended().await;
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(9) && took < Duration::from_secs(12) + lateness.allowance(),
        "{took:?}"
    );
    let mut asking = Peer::over(certificate.dial(server.address, "http/1.1").await?);
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    asking.send(request).await;
    let mut metrics = Vec::new();
    while let Some(bytes) = asking.heard_raw().await {
        metrics.extend(bytes);
    }
    let metrics = String::from_utf8(metrics)?;
    let counted = "heartwire_refusals_total{over=\"accept\",reason=\"bad-tls-handshake\"} 2\n";
    assert!(metrics.contains(counted), "{metrics}");
    Ok(())
}

#[test]
fn files_that_are_no_certificate_are_named() {
    let certificate = Certificate::new("named");
    let empty = Scratch::new("empty.pem", "");
    for (chain, key, word) in [
        (&empty, &certificate.key, "empty.pem"),
        (&certificate.chain, &empty, "private key"),
        (&certificate.chain, &certificate.chain, "private key"),
    ] {
        let error = Tls::files(&chain.0, &key.0).expect_err(word).to_string();
        assert!(error.contains(word), "{error}");
    }
    assert!(Tls::files("/nowhere", &certificate.key.0).is_err());
}
