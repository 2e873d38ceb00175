//! TLS by rustls.
//!
//! Certificates are checked by the platform (rustls-platform-verifier): on macOS, iOS, Windows and
//! Android by the operating system's own verifier, with its trust store, its policies and its
//! revocation; on other systems against the trust store's certificates. Reading the store alone
//! (rustls-native-certs) would leave out what administrators have distrusted. The cryptography is
//! ring's, which builds everywhere without a C toolchain of its own kind.

use std::io;
use std::sync::Arc;

use rustls_platform_verifier::Verifier;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, Error, version};

use super::wire::Wire;

/// What one link trusts. Its configuration is made at the first dial that needs one and then kept,
/// so that later dials resume their TLS sessions.
#[derive(Default)]
pub(crate) struct Tls {
    extra_roots: Vec<CertificateDer<'static>>,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Tls {
    /// Uses a configuration of the application's own.
    pub(crate) fn set_config(&mut self, config: Arc<ClientConfig>) {
        self.config = OnceCell::new_with(Some(config));
    }

    /// Trusts the certificates in `pem` as well.
    pub(crate) fn trust(&mut self, pem: &[u8]) -> Result<(), PemError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|_| PemError)?;
        if certificates.is_empty() {
            return Err(PemError);
        }
        self.extra_roots.extend(certificates);
        Ok(())
    }

    /// The TLS handshake.
    pub(super) async fn connect(&self, host: &str, wire: Wire) -> io::Result<TlsStream<Wire>> {
        let config = self.config.get_or_try_init(|| self.make_config()).await?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(config))
            .connect(name, wire)
            .await
    }

    /// Reads the platform's trust store, on a thread where that may block.
    async fn make_config(&self) -> io::Result<Arc<ClientConfig>> {
        let roots = self.extra_roots.clone();
        let made = tokio::task::spawn_blocking(|| client_config(roots)).await;
        let config = made.map_err(io::Error::other)?.map_err(io::Error::other)?;
        Ok(Arc::new(config))
    }
}

/// What was given as certificates is not PEM, or holds none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the root certificates are not PEM, or there is none among them")]
pub struct PemError;

fn client_config(extra_roots: Vec<CertificateDer<'static>>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = platform_verifier(extra_roots, &provider)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    // A server that may choose HTTP/2 would have to refuse the upgrade of RFC 6455.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(not(target_os = "android"))]
fn platform_verifier(
    extra_roots: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Verifier, Error> {
    Verifier::new_with_extra_roots(extra_roots, Arc::clone(provider))
}

/// Android's verifier takes no further roots; they belong into the application's network security
/// configuration there.
#[cfg(target_os = "android")]
fn platform_verifier(
    extra_roots: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Verifier, Error> {
    if extra_roots.is_empty() {
        Verifier::new(Arc::clone(provider))
    } else {
        Err(Error::General(
            "Android trusts further roots by its network security configuration only".to_owned(),
        ))
    }
}
