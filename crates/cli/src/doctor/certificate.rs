//! What a server's certificate says about itself.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// How many names are listed; certificates of large hosts carry hundreds.
const NAMES_MAX: usize = 10;

/// Names, issuer and end of a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Certificate {
    /// The host names and addresses that it is for, the first few.
    pub(super) names: Vec<String>,
    /// Who signed it.
    pub(super) issuer: String,
    /// From then on nobody accepts it.
    pub(super) not_after: SystemTime,
}

impl Certificate {
    /// Reads it; nothing, if it is none.
    pub(super) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = parse_x509_certificate(der).ok()?;
        let alternative = parsed.subject_alternative_name().ok().flatten();
        let names = alternative.map_or_else(Vec::new, |extension| {
            let names = extension.value.general_names.iter().filter_map(name_of);
            names.take(NAMES_MAX).collect()
        });
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        Some(Self {
            names,
            issuer: parsed.issuer().to_string(),
            not_after: UNIX_EPOCH + Duration::from_secs(seconds),
        })
    }

    /// Whole days until nobody accepts it any more; 0 when that day has come.
    pub(super) fn days_left(&self, wall: SystemTime) -> u64 {
        let left = self.not_after.duration_since(wall).unwrap_or_default();
        left.as_secs() / 86_400
    }

    /// The names as a list for people.
    pub(super) fn shown_names(&self) -> String {
        if self.names.is_empty() {
            "no name at all".to_owned()
        } else {
            self.names.join(", ")
        }
    }

    /// The date of its end, to the second.
    pub(super) fn shown_end(&self) -> String {
        humantime::format_rfc3339_seconds(self.not_after).to_string()
    }
}

fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => ip(bytes).map(|address| address.to_string()),
        _ => None,
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_end_are_read() {
        let names = vec!["example.org".to_owned(), "127.0.0.1".to_owned()];
        let mut made = rcgen::CertificateParams::new(names).expect("names");
        made.not_after = rcgen::date_time_ymd(2031, 5, 6);
        let key = rcgen::KeyPair::generate().expect("a key");
        let der = made.self_signed(&key).expect("a certificate");
        let certificate = Certificate::read(der.der()).expect("a certificate");
        assert_eq!(certificate.shown_names(), "example.org, 127.0.0.1");
        assert_eq!(certificate.shown_end(), "2031-05-06T00:00:00Z");
        let two_days_before = certificate.not_after - Duration::from_secs(2 * 86_400 + 5);
        assert_eq!(certificate.days_left(two_days_before), 2);
        let later = certificate.not_after + Duration::from_secs(1);
        assert_eq!(certificate.days_left(later), 0);
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        assert_eq!(
            Certificate::read(&CertificateDer::from(vec![1, 2, 3])),
            None
        );
    }
}
