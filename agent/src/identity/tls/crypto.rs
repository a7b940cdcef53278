//! The cryptography that TLS gets, which is part of the binary whether it is used or not: what a connection between the
//! agent and its server can need, from ring, and nothing else.

use std::sync::Arc;

use rustls::{
    Error, SignatureScheme, SupportedCipherSuite,
    crypto::{
        CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, SupportedKxGroup,
        WebPkiSupportedAlgorithms,
        ring::{cipher_suite, kx_group, sign},
    },
    pki_types::PrivateKeyDer,
    sign::SigningKey,
};
use webpki::ring as algorithm;

/// In the order in which the server is to choose. An x86-64 processor has instructions for AES, or is quick enough at it
/// with its vectors, so ChaCha20 is left out there: 46 kB of code.
#[cfg(target_arch = "x86_64")]
const CIPHER_SUITES: &[SupportedCipherSuite] = &[
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_AES_128_GCM_SHA256,
];

/// In the order in which the server is to choose. Small processors have no instructions for AES, and without them AES
/// takes ten times as long as ChaCha20 (ring 0.17 on ARM926 and Cortex-A15, emulated).
#[cfg(not(target_arch = "x86_64"))]
const CIPHER_SUITES: &[SupportedCipherSuite] = &[
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
];

const KX_GROUPS: &[&dyn SupportedKxGroup] = &[kx_group::X25519, kx_group::SECP256R1];

/// What may have signed the server's certificates: our own CA has a key on P-256, a manufacturer's may have another. RSA's
/// older padding is for certificates only (RFC 8446 section 4.2.3).
static SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        algorithm::ECDSA_P256_SHA256,
        algorithm::ECDSA_P256_SHA384,
        algorithm::ECDSA_P384_SHA256,
        algorithm::ECDSA_P384_SHA384,
        algorithm::ED25519,
        algorithm::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        algorithm::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        algorithm::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        algorithm::RSA_PKCS1_2048_8192_SHA256,
        algorithm::RSA_PKCS1_2048_8192_SHA384,
        algorithm::RSA_PKCS1_2048_8192_SHA512,
        algorithm::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
        algorithm::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
        algorithm::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    mapping: &[
        (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            &[algorithm::ECDSA_P256_SHA256, algorithm::ECDSA_P384_SHA256],
        ),
        (
            SignatureScheme::ECDSA_NISTP384_SHA384,
            &[algorithm::ECDSA_P384_SHA384, algorithm::ECDSA_P256_SHA384],
        ),
        (SignatureScheme::ED25519, &[algorithm::ED25519]),
        (
            SignatureScheme::RSA_PSS_SHA256,
            &[algorithm::RSA_PSS_2048_8192_SHA256_LEGACY_KEY],
        ),
        (
            SignatureScheme::RSA_PSS_SHA384,
            &[algorithm::RSA_PSS_2048_8192_SHA384_LEGACY_KEY],
        ),
        (
            SignatureScheme::RSA_PSS_SHA512,
            &[algorithm::RSA_PSS_2048_8192_SHA512_LEGACY_KEY],
        ),
        (
            SignatureScheme::RSA_PKCS1_SHA256,
            &[algorithm::RSA_PKCS1_2048_8192_SHA256],
        ),
        (
            SignatureScheme::RSA_PKCS1_SHA384,
            &[algorithm::RSA_PKCS1_2048_8192_SHA384],
        ),
        (
            SignatureScheme::RSA_PKCS1_SHA512,
            &[algorithm::RSA_PKCS1_2048_8192_SHA512],
        ),
    ],
};

/// For every connection of the agent.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: CIPHER_SUITES.to_vec(),
        kx_groups: KX_GROUPS.to_vec(),
        signature_verification_algorithms: SIGNATURES,
        secure_random: &System,
        key_provider: &System,
    })
}

/// The device's own part: random numbers of the kernel, and the keys that devices make, on elliptic curves.
#[derive(Debug)]
struct System;

// === impl System ===

impl SecureRandom for System {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        getrandom::fill(buffer).map_err(|_| GetRandomFailed)
    }
}

impl KeyProvider for System {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        sign::any_ecdsa_type(&key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rustls::{CipherSuite, NamedGroup, crypto::ring::default_provider};

    use super::*;

    #[test]
    fn every_certificate_that_ring_can_verify_is_verified() {
        let in_chains = |provider: &CryptoProvider| -> BTreeSet<Vec<u8>> {
            let algorithms = provider.signature_verification_algorithms.all.iter();
            let ids = algorithms.map(|one| [one.public_key_alg_id(), one.signature_alg_id()]);
            ids.map(|[key, signature]| [key.as_ref(), signature.as_ref()].concat())
                .collect()
        };
        let in_handshakes = |provider: &CryptoProvider| -> BTreeSet<u16> {
            let schemes = provider.signature_verification_algorithms.supported_schemes();
            schemes.into_iter().map(u16::from).collect()
        };
        let (ours, rings) = (provider(), default_provider());
        assert_eq!(in_chains(&ours), in_chains(&rings));
        assert_eq!(in_handshakes(&ours), in_handshakes(&rings));
    }

    /// RFC 8446 section 9.1.
    #[test]
    fn what_every_server_must_have_is_offered() {
        let provider = provider();
        let mut suites = provider.cipher_suites.iter();
        assert!(suites.any(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256));
        let mut groups = provider.kx_groups.iter();
        assert!(groups.any(|group| group.name() == NamedGroup::secp256r1));
    }
}
