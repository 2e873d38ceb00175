//! The TLS handshake, with the certificate in hand when it fails.
//!
//! Certificates are judged by the platform, exactly as the Rust client's are; this verifier only
//! looks over its shoulder.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme, version,
};

use super::certificate::Certificate;
use super::report::{Check, Outcome, Verdict, millis, shown};

/// A certificate that ends sooner is worth a warning, in days: renewal has failed by then, as
/// common tools renew 30 days before the end.
const DAYS_LEFT_MIN: u64 = 14;

/// One configuration for all connections of a run.
#[derive(Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    seen: Arc<Mutex<Option<Certificate>>>,
}

impl Tls {
    /// Reads the platform's trust store, on a thread where that may block.
    pub(super) async fn of_platform() -> Result<Self, String> {
        let made = tokio::task::spawn_blocking(Self::make).await;
        made.map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())
    }

    fn make() -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let seen = Arc::default();
        let watcher = Watcher {
            judge: Verifier::new(Arc::clone(&provider))?,
            seen: Arc::clone(&seen),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(watcher))
            .with_no_client_auth();
        // A server that may choose HTTP/2 would have to refuse the upgrade of RFC 6455.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            seen,
        })
    }

    /// The handshake, for connections after the first.
    pub(super) async fn connect(
        &self,
        host: &str,
        tcp: TcpStream,
        wait: Duration,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let handshake = TlsConnector::from(Arc::clone(&self.config)).connect(name, tcp);
        timeout(wait, handshake).await.unwrap_or_else(|_| {
            let silence = format!("no answer in {}", shown(wait));
            Err(io::Error::new(io::ErrorKind::TimedOut, silence))
        })
    }

    /// The handshake as a check.
    pub(super) async fn examine(
        &self,
        host: &str,
        tcp: TcpStream,
        wait: Duration,
    ) -> Outcome<TlsStream<TcpStream>> {
        let begun = Instant::now();
        let outcome = self.connect(host, tcp, wait).await;
        let took = begun.elapsed();
        let certificate = self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match outcome {
            Ok(stream) => (passed(&stream, certificate.as_ref(), took), Some(stream)),
            Err(error) => (explained(host, &error, certificate.as_ref()), None),
        }
    }
}

fn passed(
    stream: &TlsStream<TcpStream>,
    certificate: Option<&Certificate>,
    took: Duration,
) -> Check {
    let session = stream.get_ref().1;
    let version = session
        .protocol_version()
        .and_then(|version| version.as_str());
    let version = version
        .unwrap_or("TLS")
        .replace('_', ".")
        .replace("TLSv", "TLS ");
    let days_left = certificate.map(|certificate| certificate.days_left(SystemTime::now()));
    let ends_soon = days_left.is_some_and(|days| days < DAYS_LEFT_MIN);
    let verdict = if ends_soon {
        Verdict::Warning
    } else {
        Verdict::Ok
    };
    let mut summary = format!("{version} in {}", shown(took));
    if let (Some(certificate), Some(days)) = (certificate, days_left) {
        summary.push_str(&format!(
            "; certificate for {}, {days} days left",
            certificate.shown_names()
        ));
    }
    let mut check = Check::new("tls", verdict, summary)
        .fact("version", version)
        .fact("took_ms", millis(took));
    if let Some(certificate) = certificate {
        check = with_facts(check, certificate);
        if ends_soon {
            check = check.advise(format_args!(
                "The certificate ends on {}: renew it, and see why that has not happened by itself.",
                certificate.shown_end()
            ));
        }
    }
    check
}

fn explained(host: &str, error: &io::Error, certificate: Option<&Certificate>) -> Check {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<Error>());
    let (summary, advice) = explanation(host, error, cause, certificate);
    let mut check = Check::new("tls", Verdict::Failed, summary);
    if let Some(certificate) = certificate {
        check = with_facts(check, certificate);
    }
    check.advise(advice)
}

fn with_facts(check: Check, certificate: &Certificate) -> Check {
    check
        .fact("names", certificate.names.clone())
        .fact("issuer", certificate.issuer.as_str())
        .fact("not_after", certificate.shown_end())
        .fact("days_left", certificate.days_left(SystemTime::now()))
}

/// What went wrong, and what to do about it.
fn explanation(
    host: &str,
    error: &io::Error,
    cause: Option<&Error>,
    certificate: Option<&Certificate>,
) -> (String, String) {
    let names = certificate.map_or_else(|| "other names".to_owned(), Certificate::shown_names);
    let end = certificate.map_or_else(|| "a day in the past".to_owned(), Certificate::shown_end);
    let issuer = certificate.map_or("an unknown issuer", |certificate| &certificate.issuer);
    match cause {
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => (
            format!("the certificate is for {names}, not for {host}"),
            format!("Dial one of the names of the certificate ({names}), or have one made that holds {host}; behind a proxy, check that it picks the certificate by the name asked for (SNI)."),
        ),
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => (
            format!("the certificate ended on {end}"),
            "Renew the certificate, or set this machine's clock.".to_owned(),
        ),
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => (
            format!("this machine does not trust who signed the certificate ({issuer})"),
            "Let the server send its intermediate certificates too (the \"full chain\"), or let this machine trust a private authority.".to_owned(),
        ),
        Some(Error::InvalidMessage(_)) => (
            "what answers does not speak TLS".to_owned(),
            format!("The port of {host} answers, but not with TLS: dial ws://, or the port on which TLS is spoken."),
        ),
        _ => (
            error.to_string(),
            "The TLS handshake came to nothing: look at the log of whatever ends TLS on that port.".to_owned(),
        ),
    }
}

/// Keeps the certificate, and lets the platform judge.
#[derive(Debug)]
struct Watcher {
    judge: Verifier,
    seen: Arc<Mutex<Option<Certificate>>>,
}

impl ServerCertVerifier for Watcher {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Certificate::read(end_entity);
        self.judge
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}
