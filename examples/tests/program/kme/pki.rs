//! Certificates, good ones and others.

use core::net::{IpAddr, Ipv4Addr};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, SanType,
};

/// Certificate and private key, PEM.
pub(super) struct Identity {
    pub(super) certificate: String,
    pub(super) key: String,
}

pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(super) fn server(&self, name: &str) -> Identity {
        let mut params = named(&[name]);
        params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
        self.sign(params)
    }

    /// For an SAE with these common names and these alternative names.
    pub(super) fn client(&self, names: &[&str], alternatives: &[&str]) -> Identity {
        let mut params = named(names);
        params.subject_alt_names =
            alternatives.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    /// A certificate that this one, which is no authority, has signed; with this one in its chain.
    pub(super) fn pretend_authority(&self, name: &str) -> Self {
        let own = KeyPair::from_pem(&self.key).unwrap();
        let issuer = Issuer::new(named(&["sae-a"]), own);
        let key = KeyPair::generate().unwrap();
        let certificate = named(&[name]).signed_by(&key, &issuer).unwrap();
        Self { certificate: certificate.pem() + &self.certificate, key: key.serialize_pem() }
    }
}

/// rcgen keeps one attribute of a kind; a second common name goes by its object identifier, which is written the same.
fn named(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (number, name) in names.iter().enumerate() {
        let kind = if number == 0 { DnType::CommonName } else { DnType::CustomDnType(vec![2, 5, 4, 3]) };
        params.distinguished_name.push(kind, *name);
    }
    params
}
