//! The few schemes that data cannot say. The engine chooses them by the manifest's scheme name alone.

mod adyen;
mod contentful;
mod paypal;
pub mod qsh;
mod sns;
mod twilio;

use super::Rejection;
use super::verify::Outside;
use super::view::View;
use crate::manifest::webhook::Named;

/// Every name, for tests of the manifests.
pub const NAMES: [&str; 5] = ["adyen-items", "contentful", "paypal", "sns", "twilio"];

/// Runs the verifier of this name.
pub async fn verify(spec: &Named, view: &View<'_>, outside: Outside<'_>) -> Result<(), Rejection> {
    match spec.name.as_str() {
        "adyen-items" => adyen::verify(view),
        "contentful" => contentful::verify(view, outside.now),
        "paypal" => paypal::verify(view, outside).await,
        "sns" => sns::verify(view, outside).await,
        "twilio" => twilio::verify(view),
        other => Err(Rejection::BadManifest(format!("there is no scheme `{other}`"))),
    }
}

/// Whether it needs a secret of the connection's; the others use certificates of the service.
pub fn needs_secret(spec: &Named) -> bool {
    !matches!(spec.name.as_str(), "paypal" | "sns")
}

/// The header fields it needs.
pub fn headers(spec: &Named) -> &'static [&'static str] {
    match spec.name.as_str() {
        "contentful" => &contentful::HEADERS,
        "paypal" => &paypal::HEADERS,
        "twilio" => &["x-twilio-signature"],
        _ => &[],
    }
}

/// The value of a header field that must be there once.
fn single<'a>(name: &str, view: &View<'a>) -> Result<&'a str, Rejection> {
    let mut values = view.headers.iter().filter(|(n, _)| *n == name).map(|(_, v)| v);
    let value = values
        .next()
        .ok_or_else(|| Rejection::Missing(format!("header `{name}`")))?;
    if values.next().is_some() {
        return Err(Rejection::Doubled(format!("header `{name}`")));
    }
    if value.len() > super::signature::MAX_CREDENTIAL {
        return Err(Rejection::Malformed("it is longer than any signature"));
    }
    Ok(value)
}

/// The host of an https URL without user, port or anything else that could point elsewhere; none if it has any.
pub fn https_host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    let clean = url.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    (!host.is_empty() && host.bytes().all(plain) && clean).then_some(host)
}

/// Whether a host is the pattern; a label `*` stands for any one label of at least three characters.
pub fn host_matches(host: &str, pattern: &str) -> bool {
    let (mut labels, mut wanted) = (host.split('.'), pattern.split('.'));
    loop {
        match (labels.next(), wanted.next()) {
            (None, None) => return true,
            (Some(label), Some("*")) if label.len() >= 3 => {}
            (Some(label), Some(same)) if label == same => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_https_addresses_have_a_host() {
        assert_eq!(
            https_host("https://sns.us-east-1.amazonaws.com/a.pem"),
            Some("sns.us-east-1.amazonaws.com")
        );
        for bad in [
            "http://a.example/",
            "https://a.example@evil.example/",
            "https://a.example:444/",
            "https://",
            "https://A.example/",
            "https://a.example\\@b/",
            "https://a.example/\n",
        ] {
            assert_eq!(https_host(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_star_is_one_label() {
        assert!(host_matches("sns.us-east-1.amazonaws.com", "sns.*.amazonaws.com"));
        assert!(!host_matches("sns.a.b.amazonaws.com", "sns.*.amazonaws.com"));
        assert!(!host_matches("sns.us.amazonaws.com", "sns.*.amazonaws.com"));
        assert!(!host_matches(
            "sns.us-east-1.amazonaws.com.evil.example",
            "sns.*.amazonaws.com"
        ));
    }
}
