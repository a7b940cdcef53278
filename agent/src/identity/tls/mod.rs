//! How the agent recognises its server, and shows who it is.
//!
//! TLS 1.3 only: both ends are ours. Sessions are not resumed, so that every connection shows the certificate that the
//! server checks for revocation.

mod crypto;

use std::sync::{Arc, Mutex, PoisonError};

use ring::digest;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};

use self::crypto::provider;
use crate::clock;

/// Certificates in a chain each may be newer than an unset clock; more than this many are not looked at.
const MAX_CHAIN: usize = 4;

/// A client that trusts `ca` and nobody else, and shows the device's certificate.
pub(crate) fn mutual(
    ca: &CertificateDer<'_>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, Error> {
    let verifier = Arc::new(PinnedRoot::new(ca)?);
    let mut config = builder(verifier)?.with_client_auth_cert(chain, key)?;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// A client for the first contact: all that is known of the server is the SHA-256 of its CA's certificate. After a
/// handshake, [`FirstContact::ca`] is that certificate.
pub(crate) fn first_contact(fingerprint: [u8; 32]) -> Result<(ClientConfig, Arc<FirstContact>), Error> {
    let verifier = Arc::new(FirstContact {
        fingerprint,
        provider: provider(),
        ca: Mutex::new(None),
    });
    let mut config = builder(verifier.clone())?.with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok((config, verifier))
}

fn builder(
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, Error> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

/// Full verification against one root, with a clock that may not have been set.
#[derive(Debug)]
struct PinnedRoot(Arc<WebPkiServerVerifier>);

/// See [`first_contact`].
#[derive(Debug)]
pub(crate) struct FirstContact {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
    ca: Mutex<Option<CertificateDer<'static>>>,
}

// === impl PinnedRoot ===

impl PinnedRoot {
    fn new(ca: &CertificateDer<'_>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Self(verifier))
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        clock_is_unset: bool,
    ) -> Result<ServerCertVerified, Error> {
        let mut now = UnixTime::since_unix_epoch(clock::not_before_build());
        for _ in 0..MAX_CHAIN {
            match self
                .0
                .verify_server_cert(end_entity, intermediates, server_name, &[], now)
            {
                // A device without a clock cannot know that a certificate is not valid *yet*: it is older than the
                // certificate only by its own reckoning. Expiry is still checked, against what it can know.
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before, ..
                })) if clock_is_unset && not_before.as_secs() > now.as_secs() => now = not_before,
                result => return result,
            }
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYet))
    }
}

impl ServerCertVerifier for PinnedRoot {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, server_name, clock::is_unset())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

// === impl FirstContact ===

impl FirstContact {
    /// The CA's certificate, once a handshake succeeded.
    pub(crate) fn ca(&self) -> Option<CertificateDer<'static>> {
        self.ca.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for FirstContact {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_named = |certificate: &&CertificateDer<'_>| {
            digest::digest(&digest::SHA256, certificate).as_ref() == self.fingerprint
        };
        let Some(ca) = intermediates.iter().find(is_named) else {
            return Err(Error::General(
                "the server's certificate chain has no CA with the fingerprint that the token names: \
                 another server answers there, or the token is not this server's"
                    .to_owned(),
            ));
        };
        let verified =
            PinnedRoot::new(ca)?.verify(end_entity, intermediates, server_name, clock::is_unset())?;
        *self.ca.lock().unwrap_or_else(PoisonError::into_inner) = Some(ca.clone().into_owned());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use homeport_testkit::Authority;

    use super::*;

    const FOREVER: Duration = Duration::from_secs(3600 * 24 * 365 * 20);

    fn name(host: &str) -> ServerName<'static> {
        ServerName::try_from(host.to_owned()).unwrap()
    }

    fn contact(authority: &Authority, leaf: &CertificateDer<'static>, host: &str) -> Result<(), Error> {
        let (_, verifier) = first_contact(authority.fingerprint()).unwrap();
        verifier
            .verify_server_cert(leaf, &[authority.der()], &name(host), &[], UnixTime::now())
            .map(|_| assert_eq!(verifier.ca(), Some(authority.der())))
    }

    #[test]
    fn first_contact_takes_the_named_ca_and_no_other() {
        let ours = Authority::new("ours");
        let server = ours.server("127.0.0.1");
        let leaf = server.certificate();
        contact(&ours, leaf, "127.0.0.1").unwrap();
        contact(&ours, leaf, "127.0.0.2").unwrap_err();

        let other = Authority::new("other");
        contact(&other, leaf, "127.0.0.1").unwrap_err();
        let (_, verifier) = first_contact(ours.fingerprint()).unwrap();
        // The right CA shown beside a leaf that it did not issue.
        let forged = other.server("127.0.0.1");
        let chain = [ours.der(), other.der()];
        verifier
            .verify_server_cert(
                forged.certificate(),
                &chain,
                &name("127.0.0.1"),
                &[],
                UnixTime::now(),
            )
            .unwrap_err();
        assert_eq!(verifier.ca(), None);
    }

    #[test]
    fn only_an_unset_clock_forgives_a_certificate_of_the_future() {
        let authority = Authority::new("ours");
        let start = SystemTime::UNIX_EPOCH + clock::not_before_build() + FOREVER;
        let server = authority.server_from("localhost", start);
        let leaf = server.certificate();
        let root = PinnedRoot::new(&authority.der()).unwrap();
        let host = name("localhost");
        root.verify(leaf, &[], &host, false).unwrap_err();
        root.verify(leaf, &[], &host, true).unwrap();
        root.verify(leaf, &[], &name("elsewhere"), true).unwrap_err();
    }
}
