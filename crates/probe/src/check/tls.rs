//! TLS of https checks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::Failure;
use super::connect::Stream;
use crate::text::clean;

/// The system's certificates are read again after this time.
const STALE: Duration = Duration::from_secs(3600);

/// Whom to trust.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Trust {
    Anyone,
    System,
    File(String),
}

/// TLS settings shared by all targets: certificates are read once, and again when their file has changed.
#[derive(Debug, Default)]
pub(crate) struct Roots(Mutex<HashMap<Trust, Loaded>>);

#[derive(Debug)]
struct Loaded {
    changed: Option<SystemTime>,
    at: Instant,
    config: Arc<ClientConfig>,
}

impl Roots {
    fn config(&self, trust: &Trust) -> Result<Arc<ClientConfig>, Failure> {
        let changed = match trust {
            Trust::File(path) => std::fs::metadata(path).and_then(|meta| meta.modified()).ok(),
            _ => None,
        };
        let mut loaded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = loaded.get(trust)
            && known.changed == changed
            && (*trust != Trust::System || known.at.elapsed() < STALE)
        {
            return Ok(known.config.clone());
        }
        let config = Arc::new(load(trust)?);
        loaded.insert(trust.clone(), Loaded { changed, at: Instant::now(), config: config.clone() });
        Ok(config)
    }

    /// Shakes hands.
    pub(super) async fn connect(
        &self,
        trust: &Trust,
        name: ServerName<'static>,
        stream: Box<dyn Stream>,
    ) -> Result<Box<dyn Stream>, Failure> {
        let connector = TlsConnector::from(self.config(trust)?);
        let stream =
            connector.connect(name, stream).await.map_err(|error| Failure::Tls(clean(&error.to_string())))?;
        Ok(Box::new(stream))
    }
}

fn load(trust: &Trust) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Tls(error.to_string()))?;
    let mut config = match trust {
        Trust::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
            .with_no_client_auth(),
        Trust::System | Trust::File(_) => builder.with_root_certificates(roots(trust)?).with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(trust: &Trust) -> Result<RootCertStore, Failure> {
    let mut store = RootCertStore::empty();
    let Trust::File(path) = trust else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(Failure::Tls("this system has no trusted certificates".to_owned()));
        }
        return Ok(store);
    };
    let unreadable = |error: &dyn std::fmt::Display| Failure::Tls(clean(&format!("ca={path}: {error}")));
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| unreadable(&e))? {
        store.add(certificate.map_err(|e| unreadable(&e))?).map_err(|e| unreadable(&e))?;
    }
    if store.is_empty() { Err(unreadable(&"no certificate in it")) } else { Ok(store) }
}

/// `verify=off`.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
