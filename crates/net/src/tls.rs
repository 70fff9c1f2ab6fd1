// SPDX-License-Identifier: Apache-2.0
//! TLS settings of clients, made once per (`verify=`, `ca=`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::failure::{Failure, io_words};

/// `verify=` and `ca=`.
type Trust = (bool, Option<String>);

/// The settings made so far.
pub struct TlsConfigs {
    provider: Arc<CryptoProvider>,
    /// The files of `cert=` and `key=`.
    identity: Option<(PathBuf, PathBuf)>,
    made: RefCell<HashMap<Trust, Arc<ClientConfig>>>,
}

impl Default for TlsConfigs {
    fn default() -> Self {
        Self::new()
    }
}

impl TlsConfigs {
    /// None yet.
    pub fn new() -> Self {
        TlsConfigs { provider: Arc::new(ring::default_provider()), identity: None, made: RefCell::default() }
    }

    /// The same for a client that shows a certificate of its own: its file, and that of its key.
    pub fn with_identity(certificate: PathBuf, key: PathBuf) -> Self {
        TlsConfigs { identity: Some((certificate, key)), ..Self::new() }
    }

    /// Settings with a `ca=` file or the system's store; reads certificates the first time.
    /// Failures are not kept, so that a file that appears later is found.
    ///
    /// # Errors
    /// There are no certificates.
    pub fn config(&self, verify: bool, ca: Option<&str>) -> Result<Arc<ClientConfig>, Failure> {
        let key = (verify, ca.filter(|_| verify).map(str::to_owned));
        if let Some(config) = self.made.borrow().get(&key) {
            return Ok(config.clone());
        }
        let config = Arc::new(self.make(verify, ca)?);
        self.made.borrow_mut().insert(key, config.clone());
        Ok(config)
    }

    fn make(&self, verify: bool, ca: Option<&str>) -> Result<ClientConfig, Failure> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::Settings(format!("TLS: {error}")))?;
        let verifier: Arc<dyn ServerCertVerifier> = if verify {
            let roots = Arc::new(roots(ca)?);
            WebPkiServerVerifier::builder_with_provider(roots, self.provider.clone())
                .build()
                .map_err(|error| Failure::Settings(format!("TLS: {error}")))?
        } else {
            Arc::new(AnyCertificate(self.provider.clone()))
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let (chain, own_key) = (chain(certificate)?, private_key(key)?);
                builder
                    .with_client_auth_cert(chain, own_key)
                    .map_err(|error| Failure::Settings(format!("cert={}: {error}", certificate.display())))?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed session would pass with a certificate that has expired since.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// Whether a `ca=` file can be used. Err: why not.
///
/// # Errors
/// It cannot be read, or holds no certificates.
pub fn check_ca(file: &str) -> Result<(), String> {
    roots(Some(file)).map(|_| ()).map_err(|failure| failure.to_string())
}

/// The certificates of `cert=`, the client's own first.
fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let bad = |why: String| Failure::Settings(format!("cert={}: {why}", file.display()));
    let pem = std::fs::read(file).map_err(|error| bad(error.to_string()))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|_| bad("not a PEM file".into()))?;
    if chain.is_empty() {
        return Err(bad("no certificate found, expected \"-----BEGIN CERTIFICATE-----\"".into()));
    }
    Ok(chain)
}

/// The key of `key=`, which is in no error.
fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    let bad = |why: String| Failure::Settings(format!("key={}: {why}", file.display()));
    let pem = std::fs::read(file).map_err(|error| bad(error.to_string()))?;
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| bad("no key found, expected \"-----BEGIN PRIVATE KEY-----\"".into()))
}

/// Certificates of a `ca=` file, or of the system's store.
fn roots(ca: Option<&str>) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            let bad = |why: String| Failure::Settings(format!("ca={file}: {why}"));
            let pem = std::fs::read(file).map_err(|error| bad(error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| bad(format!("not a PEM file: {error}")))?;
                roots.add(certificate).map_err(|error| bad(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(bad("no certificate found, expected \"-----BEGIN CERTIFICATE-----\"".into()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let text =
                    "the system has no CA certificates: install ca-certificates, or name a file with ca=";
                return Err(Failure::Settings(text.into()));
            }
        }
    }
    Ok(roots)
}

/// The reason of a failed handshake.
pub(crate) fn handshake_words(error: &std::io::Error, name: &str) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidMessage(_)) = inner {
        return "the answer is not TLS: the port may speak plain HTTP".into();
    }
    let Some(rustls::Error::InvalidCertificate(why)) = inner else {
        return inner.map_or_else(|| io_words(error), ToString::to_string);
    };
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet".into()
        }
        CertificateError::UnknownIssuer => "the certificate's issuer is not trusted (see ca=)".into(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the certificate is not for {name} (see sni=)")
        }
        other => format!("bad certificate: {other}"),
    }
}

/// `verify=off`: any certificate will do, but the peer has to own its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
