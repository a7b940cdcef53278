//! A certificate authority, and keys that it certifies.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cms::{
    cert::CertificateChoices,
    content_info::{CmsVersion, ContentInfo},
    signed_data::{CertificateSet, EncapsulatedContentInfo, SignedData, SignerInfos},
};
use der::{Any, Decode as _, Encode as _, asn1::SetOfVec, oid::ObjectIdentifier};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A year of 365 days.
pub const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Issues certificates for servers and devices.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A key and its certificate.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, then those of the authorities above it.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key in PKCS#8, DER.
    pub key: Vec<u8>,
}

/// A device's key that has no certificate yet.
#[derive(Debug)]
pub struct DeviceKey(KeyPair);

// === impl Authority ===

impl Authority {
    /// An authority with a new key.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its certificate.
    pub fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// SHA-256 of its certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        ring::digest::digest(&ring::digest::SHA256, self.0.der())
            .as_ref()
            .try_into()
            .unwrap()
    }

    /// A server that is valid from a year ago for two years.
    pub fn server(&self, host: &str) -> Identity {
        self.server_from(host, SystemTime::now() - YEAR)
    }

    /// A server that is valid from `start` for two years.
    pub fn server_from(&self, host: &str, start: SystemTime) -> Identity {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_before = start.into();
        params.not_after = (start + 2 * YEAR).into();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity {
            chain: vec![certificate.der().clone(), self.der()],
            key: key.serialize_der(),
        }
    }

    /// A device with a new key.
    pub fn device(&self, name: &str) -> Identity {
        let key = DeviceKey::generate();
        key.certified(self.issue(&key.request(), name))
    }

    /// The certificate of a device that sent the request `csr` (PKCS#10, DER), for a year from now.
    pub fn issue(&self, csr: &[u8], name: &str) -> CertificateDer<'static> {
        let mut request = CertificateSigningRequestParams::from_der(&csr.into()).unwrap();
        let now = SystemTime::now();
        let params = &mut request.params;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = now.into();
        params.not_after = (now + YEAR).into();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        request.signed_by(&self.0).unwrap().der().clone()
    }

    /// What an EST server answers to the request `csr` (RFC 7030 section 4.2.3): certificates only, in PKCS#7 and base64.
    pub fn enroll(&self, csr: &[u8], name: &str) -> String {
        let choice =
            |der: &[u8]| CertificateChoices::Certificate(x509_cert::Certificate::from_der(der).unwrap());
        let mut certificates = SetOfVec::new();
        certificates.insert(choice(&self.issue(csr, name))).unwrap();
        certificates.insert(choice(self.0.der())).unwrap();
        let signed = SignedData {
            version: CmsVersion::V1,
            digest_algorithms: SetOfVec::new(),
            encap_content_info: EncapsulatedContentInfo {
                econtent_type: ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1"),
                econtent: None,
            },
            certificates: Some(CertificateSet(certificates)),
            crls: None,
            signer_infos: SignerInfos(SetOfVec::new()),
        };
        let content = ContentInfo {
            content_type: ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2"),
            content: Any::encode_from(&signed).unwrap(),
        };
        STANDARD.encode(content.to_der().unwrap())
    }
}

// === impl Identity ===

impl Identity {
    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// The key.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone().into())
    }
}

// === impl DeviceKey ===

impl DeviceKey {
    /// A new key on P-256, as agents make it.
    pub fn generate() -> Self {
        Self(KeyPair::generate().unwrap())
    }

    /// A certificate request for it (PKCS#10, DER).
    pub fn request(&self) -> Vec<u8> {
        let request = CertificateParams::default().serialize_request(&self.0).unwrap();
        request.der().to_vec()
    }

    /// It, with the certificate that somebody issued.
    pub fn certified(&self, certificate: CertificateDer<'static>) -> Identity {
        Identity {
            chain: vec![certificate],
            key: self.0.serialize_der(),
        }
    }
}
