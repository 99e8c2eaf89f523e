//! Whose certificate it is.

use x509_cert::Certificate;
use x509_cert::der::asn1::{PrintableStringRef, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode as _, Tag, Tagged as _};

use super::name::Name;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The name of the SAE that a certificate, whose chain was verified, is for: the common name of its subject, which it must
/// have exactly once. Nothing else in a certificate names an SAE, so that no two readers see two names.
pub(crate) fn sae_of(certificate: &[u8]) -> Option<Name> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let subject = certificate.tbs_certificate().subject();
    let mut names = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    let (name, None) = (names.next()?, names.next()) else { return None };
    let text = match name.value.tag() {
        Tag::Utf8String => name.value.decode_as::<Utf8StringRef<'_>>().ok()?.as_str().to_owned(),
        Tag::PrintableString => name.value.decode_as::<PrintableStringRef<'_>>().ok()?.as_str().to_owned(),
        _ => return None,
    };
    Name::parse(&text)
}
