//! TLS for the two ports. The server certificate is replaced while the server runs, and client certificates count only while they are
//! active.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::RwLock;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::ca::{Authority, CaError, Fingerprint, ServerIdentity, fingerprint};

/// How often the server checks the age of its certificate.
const RENEWAL_CHECK: Duration = Duration::from_secs(60 * 60);

/// Pause after `accept` failed, most likely for lack of file descriptors.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate.
    #[error(transparent)]
    Certificate(#[from] CaError),
    /// rustls refuses.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] Error),
    /// The authority's certificate cannot verify others.
    #[error("cannot verify client certificates: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The server's certificate, which renews itself.
pub struct ServerCertificate {
    path: PathBuf,
    authority: Arc<Authority>,
    names: Vec<String>,
    current: RwLock<Current>,
}

struct Current {
    key: Arc<CertifiedKey>,
    renew_at: OffsetDateTime,
}

/// Decides which certificates of the authority count. Every handshake calls it, so it answers from memory.
pub trait Admission: Send + Sync + 'static {
    /// Whether a certificate is active now.
    fn is_active(&self, certificate: &Fingerprint) -> bool;

    /// A handshake refused this certificate, which the authority signed and which has not expired. The client has not yet proven that it
    /// holds the key. Must not block.
    fn refused(&self, _certificate: &CertificateDer<'_>) {}
}

impl<F: Fn(&Fingerprint) -> bool + Send + Sync + 'static> Admission for F {
    fn is_active(&self, certificate: &Fingerprint) -> bool {
        self(certificate)
    }
}

/// TLS for the MQTT port: a client certificate is required.
pub fn mqtt_config(
    authority: &Authority,
    certificate: Arc<ServerCertificate>,
    admission: impl Admission,
) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = client_verifier(authority)?.build()?;
    Ok(Arc::new(config(verifier, certificate, admission)?))
}

/// TLS for the HTTPS port: a client certificate is optional. If the client shows one, it must be active.
pub fn https_config(
    authority: &Authority,
    certificate: Arc<ServerCertificate>,
    admission: impl Admission,
) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = client_verifier(authority)?.allow_unauthenticated().build()?;
    let mut config = config(verifier, certificate, admission)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn client_verifier(authority: &Authority) -> Result<rustls::server::ClientCertVerifierBuilder, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone())?;
    Ok(WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        provider(),
    ))
}

fn config(
    inner: Arc<dyn ClientCertVerifier>,
    certificate: Arc<ServerCertificate>,
    admission: impl Admission,
) -> Result<ServerConfig, TlsError> {
    let verifier = Arc::new(ActiveVerifier { inner, admission });
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    // No resumption: a resumed session would skip the check that the certificate is still active, and tickets cost each idle connection
    // memory.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// Adds to the checks of X.509 that the certificate is active.
struct ActiveVerifier<F> {
    inner: Arc<dyn ClientCertVerifier>,
    admission: F,
}

// === impl ServerCertificate ===

impl ServerCertificate {
    /// A certificate for a server that clients reach at `names` (DNS names and IP addresses), kept in `path` with its key.
    pub fn open(path: PathBuf, authority: Arc<Authority>, names: Vec<String>) -> Result<Self, TlsError> {
        let identity = ServerIdentity::open(&path, &authority, &names, OffsetDateTime::now_utc())?;
        let current = RwLock::new(Current::new(identity)?);
        Ok(Self {
            path,
            authority,
            names,
            current,
        })
    }

    /// Renews the certificate in time, until `shutdown`.
    pub async fn keep_fresh(self: Arc<Self>, shutdown: CancellationToken) {
        let mut check = tokio::time::interval(RENEWAL_CHECK);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = check.tick() => {}
            }
            let certificate = Arc::clone(&self);
            let renewal =
                tokio::task::spawn_blocking(move || certificate.renew_if_due(OffsetDateTime::now_utc()));
            match renewal.await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => tracing::info!("renewed the server's certificate"),
                Ok(Err(error)) => {
                    tracing::error!(%error, "cannot renew the server's certificate; trying again in an hour");
                }
                Err(error) => tracing::error!(%error, "the renewal of the server's certificate broke off"),
            }
        }
    }

    /// Replaces the certificate if it is due for renewal, and returns whether it was.
    fn renew_if_due(&self, now: OffsetDateTime) -> Result<bool, TlsError> {
        if now < self.current.read().renew_at {
            return Ok(false);
        }
        let identity = ServerIdentity::open(&self.path, &self.authority, &self.names, now)?;
        *self.current.write() = Current::new(identity)?;
        Ok(true)
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().key))
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate")
            .field("path", &self.path)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

// === impl Current ===

impl Current {
    fn new(identity: ServerIdentity) -> Result<Self, TlsError> {
        let key = CertifiedKey::from_der(identity.chain, identity.key, &provider())?;
        Ok(Self {
            key: Arc::new(key),
            renew_at: identity.renew_at,
        })
    }
}

// === impl ActiveVerifier ===

impl<F: Admission> ClientCertVerifier for ActiveVerifier<F> {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        if self.admission.is_active(&fingerprint(end_entity)) {
            Ok(verified)
        } else {
            self.admission.refused(end_entity);
            // Our authority signed it, but the server no longer (or not yet) knows it. The alert tells the device that the connection is
            // not the problem.
            Err(rustls::CertificateError::Revoked.into())
        }
    }

    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl<F> fmt::Debug for ActiveVerifier<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveVerifier").finish_non_exhaustive()
    }
}
