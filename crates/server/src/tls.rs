//! TLS in front of everything: certificates from files, read again when they change.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::guard::{FileError, Watched};

/// What the protocols are called in a handshake (ALPN).
pub(crate) const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// A certificate and its key, for [`Server::tls`](crate::Server::tls).
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<Watched<Arc<ServerConfig>>>,
}

impl Tls {
    /// A chain of certificates and the private key of the first, both as PEM. The files are read
    /// again within a second of a change; connections that are there keep what they have.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or they do not belong together.
    pub fn files(
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, FileError> {
        let watched = Watched::open(vec![certificates.into(), key.into()], config)?;
        Ok(Self {
            config: Arc::new(watched),
        })
    }

    /// Reads the files again at once.
    pub async fn reload(&self) {
        let config = self.config.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || config.reload()).await {
            tracing::error!(%error, "the certificate was not read again");
        }
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from((*self.config.get()).clone())
    }
}

fn config(contents: &[Vec<u8>]) -> Result<Arc<ServerConfig>, String> {
    let [certificates, key] = contents else {
        return Err("a certificate and a key are two files".to_owned());
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate is not PEM: {error}"))?;
    // What is wrong with a key is not told in detail: it could show a part of it.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "there is no private key as PEM in its key file".to_owned())?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
    // A fleet that comes back resumes its sessions, at a fraction of the work, and the server keeps
    // nothing for that.
    config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
    Ok(Arc::new(config))
}
