//! TLS on both sides, with certificates of an [`Authority`](crate::Authority).

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, crypto::CryptoProvider,
    server::WebPkiClientVerifier,
};
use rustls_pki_types::CertificateDer;

use crate::Identity;

/// What a server does about its clients' certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// It does not ask for any.
    Anonymous,
    /// It asks, and does without.
    Invited,
    /// It talks to nobody else.
    Certified,
}

/// A client that trusts `ca`, and shows `identity` where it has one.
pub fn client(
    ca: &CertificateDer<'static>,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots(ca));
    match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.private_key())
            .unwrap(),
    }
}

/// A server with `identity`. Its clients' certificates, if any, are from `ca`.
pub fn server(ca: &CertificateDer<'static>, identity: &Identity, clients: Clients) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let verifier = || WebPkiClientVerifier::builder_with_provider(roots(ca).into(), provider());
    let builder = match clients {
        Clients::Anonymous => builder.with_no_client_auth(),
        Clients::Invited => {
            builder.with_client_cert_verifier(verifier().allow_unauthenticated().build().unwrap())
        }
        Clients::Certified => builder.with_client_cert_verifier(verifier().build().unwrap()),
    };
    builder
        .with_single_cert(identity.chain.clone(), identity.private_key())
        .unwrap()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(ca: &CertificateDer<'static>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).unwrap();
    roots
}
