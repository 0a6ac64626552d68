//! Certificates that a message names: fetched from the service's own host, then checked for validity and name.
//!
//! Not checked: a path to a public root (no root store is carried along; the pinned https host stands in for it) and
//! revocation. Where the file holds the issuers too, each link between them is checked.

use super::verify::Outside;
use super::{Rejection, public_key};
use crate::ports::KeyError;
use crate::ports::RsaHash;
use crate::time::Timestamp;
use x509_cert::Certificate;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// `commonName` (X.520).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// Longest chain that is looked at.
const MAX_CHAIN: usize = 5;

/// The public key (SPKI) of the certificate at `url`, whose address the caller has checked.
pub async fn spki(url: &str, outside: Outside<'_>, is_name: fn(&str) -> bool) -> Result<Vec<u8>, Rejection> {
    let file = outside.keys.document(url, None, false).await.map_err(|e| match e {
        KeyError::NotFound => Rejection::UnknownKey,
        KeyError::Unavailable(text) => Rejection::KeyUnavailable(text),
    })?;
    let text = String::from_utf8(file).map_err(|_| Rejection::BadCertificate("it is not PEM"))?;
    let chain: Vec<Certificate> = public_key::pem(&text, "CERTIFICATE")
        .iter()
        .take(MAX_CHAIN)
        .map(|der| Certificate::from_der(der))
        .collect::<Result<_, _>>()
        .map_err(|_| Rejection::BadCertificate("it is no X.509"))?;
    let leaf = chain.first().ok_or(Rejection::BadCertificate("it is not PEM"))?;
    if !names(leaf).iter().any(|name| is_name(name)) {
        return Err(Rejection::BadCertificate("it is made out to another name"));
    }
    if !chain.iter().all(|certificate| is_valid(certificate, outside.now)) {
        return Err(Rejection::BadCertificate("it is not valid at this time"));
    }
    for pair in chain.windows(2) {
        if let [child, parent] = pair {
            link(child, parent, outside).await?;
        }
    }
    public(leaf)
}

fn public(certificate: &Certificate) -> Result<Vec<u8>, Rejection> {
    let info = certificate.tbs_certificate().subject_public_key_info();
    info.to_der()
        .map_err(|_| Rejection::BadCertificate("its key cannot be read"))
}

/// The common name, and the DNS names where it has any.
fn names(certificate: &Certificate) -> Vec<String> {
    let body = certificate.tbs_certificate();
    let common = body
        .subject()
        .iter()
        .filter(|attribute| attribute.oid == COMMON_NAME)
        .filter_map(|attribute| std::str::from_utf8(attribute.value.value()).ok())
        .map(str::to_owned);
    let alternative = body.get_extension::<SubjectAltName>().ok().flatten();
    let alternative = alternative.map(|(_, names)| names.0).unwrap_or_default();
    let dns = alternative.into_iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        _ => None,
    });
    common.chain(dns).collect()
}

fn is_valid(certificate: &Certificate, now: Timestamp) -> bool {
    let validity = certificate.tbs_certificate().validity();
    let second = u64::try_from(now.seconds()).unwrap_or(0);
    let from = validity.not_before.to_unix_duration().as_secs();
    let to = validity.not_after.to_unix_duration().as_secs();
    (from..=to).contains(&second)
}

/// The parent signed the child.
async fn link(child: &Certificate, parent: &Certificate, outside: Outside<'_>) -> Result<(), Rejection> {
    const BAD: Rejection = Rejection::BadCertificate("its issuer did not sign it");
    let hash = match child.signature_algorithm().oid.to_string().as_str() {
        "1.2.840.113549.1.1.11" => RsaHash::Sha256,
        "1.2.840.113549.1.1.12" => RsaHash::Sha384,
        "1.2.840.113549.1.1.13" => RsaHash::Sha512,
        _ => {
            return Err(Rejection::BadCertificate(
                "its issuer uses an algorithm that is not known here",
            ));
        }
    };
    if child.tbs_certificate().issuer() != parent.tbs_certificate().subject() {
        return Err(BAD);
    }
    let signed = child.tbs_certificate().to_der().map_err(|_| BAD)?;
    let signature = child.signature().as_bytes().ok_or(BAD)?;
    let fits = public_key::rsa(hash, &public(parent)?, signature, &signed, outside).await?;
    if fits { Ok(()) } else { Err(BAD) }
}
