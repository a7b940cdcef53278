//! A certificate authority.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cms::{
    cert::CertificateChoices,
    content_info::{CmsVersion, ContentInfo},
    signed_data::{CertificateSet, EncapsulatedContentInfo, SignedData, SignerInfos},
};
use der::{Any, Decode, Encode, asn1::SetOfVec, oid::ObjectIdentifier};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::identity::{Hints, Key};

pub(super) const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Issues certificates for servers and devices.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        ring::digest::digest(&ring::digest::SHA256, self.0.der())
            .as_ref()
            .try_into()
            .unwrap()
    }

    pub(crate) fn server(&self, host: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        self.server_from(host, now.saturating_sub(YEAR))
    }

    /// A server certificate that is valid from `start` (since 1970) for two years.
    pub(crate) fn server_from(
        &self,
        host: &str,
        start: Duration,
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_before = (SystemTime::UNIX_EPOCH + start).into();
        params.not_after = (SystemTime::UNIX_EPOCH + start + 2 * YEAR).into();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (
            certificate.der().clone(),
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
    }

    /// A certificate for a device's key, in DER.
    pub(crate) fn device(&self, key: &Key, device: &str) -> Vec<u8> {
        let csr = key.request(&Hints::default()).unwrap();
        self.issue(&csr, device).der().to_vec()
    }

    /// What an EST server answers to the request `csr`.
    pub(crate) fn enroll(&self, csr: &[u8], device: &str) -> String {
        let leaf = self.issue(csr, device);
        let choice =
            |der: &[u8]| CertificateChoices::Certificate(x509_cert::Certificate::from_der(der).unwrap());
        let mut certificates = SetOfVec::new();
        certificates.insert(choice(leaf.der())).unwrap();
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

    fn issue(&self, csr: &[u8], device: &str) -> rcgen::Certificate {
        let mut request = CertificateSigningRequestParams::from_der(&csr.into()).unwrap();
        let now = SystemTime::now();
        let params = &mut request.params;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, device);
        params.not_before = now.into();
        params.not_after = (now + YEAR).into();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        request.signed_by(&self.0).unwrap()
    }
}
