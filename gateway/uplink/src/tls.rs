//! TLS by rustls and ring: the broker is always checked; certificates are read afresh for each connection.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use gatehouse_core::{Stamp, Trust, Wall};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::{AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::fault::Fault;
use crate::settings::TlsFiles;

/// What the dates in the broker's certificates said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dates {
    /// All valid.
    Good,
    /// Something is not valid yet at the time that the box last knew: its clock may be behind.
    Early,
    /// Something had expired at a time that has certainly passed.
    Expired,
}

/// A configuration for one connection, and where its check of dates is told.
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    dates: Arc<AtomicU8>,
}

impl Tls {
    /// Reads the files. Wrong dates pass, to be told by [`Tls::dates`], only while the clock is unset and the CA pinned.
    ///
    /// # Errors
    /// [`Fault::File`] names the file that cannot be used.
    pub(crate) fn new(files: &TlsFiles, now: Stamp, known_past: Wall) -> Result<Tls, Fault> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(roots(files)?);
        let inner = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|error| Fault::BadCertificate { why: error.to_string() })?;
        let unset = now.trust == Trust::Unset;
        let wall = if unset { now.wall.max(known_past) } else { now.wall };
        let seconds = u64::try_from(wall.0 / 1_000_000).unwrap_or(0);
        let dates = Arc::new(AtomicU8::new(Dates::Good as u8));
        let verifier = Verifier {
            inner,
            at: UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)),
            lenient: unset && files.ca.is_some(),
            dates: dates.clone(),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::Tls { why: error.to_string() })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => {
                let chain = certificates(cert)?;
                let secret = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| file(key, format!("no private key in PEM form: {error}")))?;
                builder
                    .with_client_auth_cert(chain, secret)
                    .map_err(|error| file(key, format!("does not fit {}: {error}", cert.display())))?
            }
            (None, None) => builder.with_no_client_auth(),
            (Some(one), None) | (None, Some(one)) => {
                return Err(file(one, "`cert` and `key` go together: give both or none".to_owned()));
            }
        };
        // A resumed session would keep the identity of the old certificate after these files changed.
        config.resumption = Resumption::disabled();
        Ok(Tls { config: Arc::new(config), dates })
    }

    /// What the last handshake found.
    pub(crate) fn dates(&self) -> Dates {
        match self.dates.load(Ordering::Relaxed) {
            0 => Dates::Good,
            1 => Dates::Early,
            _ => Dates::Expired,
        }
    }
}

fn file(path: &Path, why: String) -> Fault {
    Fault::File { path: path.to_owned(), why }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(list) if list.is_empty() => Err(file(path, "holds no certificate in PEM form".to_owned())),
        Ok(list) => Ok(list),
        Err(rustls_pki_types::pem::Error::Io(error)) => Err(file(path, format!("cannot be read: {error}"))),
        Err(error) => Err(file(path, format!("no certificate in PEM form: {error}"))),
    }
}

fn roots(files: &TlsFiles) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &files.ca {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| file(path, format!("not usable as an authority: {error}")))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let why = "the system has no certificate authorities: install ca-certificates or set `ca`".to_owned();
            return Err(Fault::BadCertificate { why });
        }
    }
    Ok(roots)
}

/// Checks chain, name and signatures as rustls does, at the time given; notes wrong dates instead of failing where
/// that is allowed.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    at: UnixTime,
    lenient: bool,
    dates: Arc<AtomicU8>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut at = self.at;
        let mut dates = Dates::Good;
        // Each certificate of the chain may move the time once; then chain and name must hold.
        for _ in 0..=intermediates.len() + 1 {
            let verdict = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at);
            (at, dates) =
                match verdict {
                    Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }))
                        if self.lenient =>
                    {
                        (not_after, Dates::Expired)
                    }
                    Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
                        not_before, ..
                    })) if self.lenient => (not_before, dates.max(Dates::Early)),
                    Ok(_) => {
                        self.dates.store(dates as u8, Ordering::Relaxed);
                        return verdict;
                    }
                    Err(_) => return verdict,
                };
        }
        Err(rustls::Error::InvalidCertificate(CertificateError::Expired))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// What an I/O error of a TLS stream means; `None` when it is not of TLS.
pub(crate) fn fault(error: &io::Error, name: &str) -> Option<Fault> {
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let date = |time: Option<&UnixTime>| {
        let seconds = time.and_then(|time| i64::try_from(time.as_secs()).ok());
        let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        time.map_or_else(|| "at an unknown time".to_owned(), |time| time.to_string())
    };
    Some(match tls {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::Expired => Fault::CertificateExpired { when: date(None) },
            CertificateError::ExpiredContext { not_after, .. } => {
                Fault::CertificateExpired { when: date(Some(not_after)) }
            }
            CertificateError::NotValidYet => Fault::CertificateNotYetValid { when: date(None) },
            CertificateError::NotValidYetContext { not_before, .. } => {
                Fault::CertificateNotYetValid { when: date(Some(not_before)) }
            }
            // A bad signature is nearly always an authority that was made anew under its old name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Fault::UnknownAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Fault::WrongName { name: name.to_owned() }
            }
            other => Fault::BadCertificate { why: other.to_string() },
        },
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied),
        ) => Fault::OwnCertificateRefused { why: format!("{alert:?}") },
        other => Fault::Tls { why: other.to_string() },
    })
}
