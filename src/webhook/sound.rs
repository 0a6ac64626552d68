//! Whether a manifest's `webhook` part can work: what its types cannot say.

use super::named;
use crate::error::{Error, Result};
use crate::manifest::webhook::{Jwt, Scheme, Verification, Webhook};

/// Finds what would make every delivery fail.
pub fn check(spec: &Webhook) -> Result<()> {
    match &spec.verification {
        Verification::One(scheme) => check_scheme(scheme, "/webhook/verification"),
        Verification::Variants(variants) if variants.is_empty() => Err(Error::invalid(
            "/webhook/verification",
            "must hold at least one variant",
        )),
        Verification::Variants(variants) => variants
            .iter()
            .enumerate()
            .try_for_each(|(at, variant)| check_scheme(&variant.scheme, &format!("/webhook/verification/{at}/scheme"))),
    }
}

fn check_scheme(scheme: &Scheme, at: &str) -> Result<()> {
    match scheme {
        Scheme::Jwt(spec) => check_algorithms(spec, at),
        Scheme::Named(spec) if !named::NAMES.contains(&spec.name.as_str()) => Err(Error::invalid(
            format!("{at}/name"),
            format!("must be one of {}, not `{}`", named::NAMES.join(", "), spec.name),
        )),
        Scheme::Named(_)
        | Scheme::Hmac(_)
        | Scheme::Digest(_)
        | Scheme::Equals(_)
        | Scheme::Basic
        | Scheme::Ed25519(_)
        | Scheme::EcdsaP256(_)
        | Scheme::Rsa(_) => Ok(()),
    }
}

/// Algorithms of two families would let a public key serve as a shared secret (RFC 8725, 2.1 and 3.1).
fn check_algorithms(spec: &Jwt, at: &str) -> Result<()> {
    const KNOWN: [&str; 7] = ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256"];
    let at = format!("{at}/algorithms");
    let family = |name: &String| name.get(..2).unwrap_or_default().to_owned();
    let Some(first) = spec.algorithms.first().map(family) else {
        return Err(Error::invalid(at, "must name an algorithm"));
    };
    if !spec.algorithms.iter().all(|name| KNOWN.contains(&name.as_str())) {
        return Err(Error::invalid(at, format!("may hold {}", KNOWN.join(", "))));
    }
    if spec.algorithms.iter().any(|name| family(name) != first) {
        return Err(Error::invalid(at, "must be of one family"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn every_built_in_scheme_is_sound() {
        for entry in crate::registry::all() {
            if let Some(webhook) = &entry.manifest().unwrap().webhook {
                check(webhook).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
            }
        }
    }

    #[test]
    fn what_cannot_work_is_found_before_it_is_published() {
        let jwt = |algorithms: Value| json!({"kind": "jwt", "from": "header:Authorization", "algorithms": algorithms});
        let bad = [
            json!([]),
            json!({"kind": "named", "name": "nosuch"}),
            jwt(json!([])),
            jwt(json!(["none"])),
            jwt(json!(["HS256", "RS256"])),
            json!([{"name": "v1", "scheme": {"kind": "named", "name": "nosuch"}}]),
        ];
        for verification in bad {
            let spec: Webhook = serde_json::from_value(json!({"verification": verification.clone()})).unwrap();
            let error = check(&spec).unwrap_err();
            assert!(
                error.to_string().starts_with("`/webhook/verification"),
                "{verification} {error}"
            );
        }
        let good: Webhook = serde_json::from_value(json!({"verification": jwt(json!(["RS256", "RS512"]))})).unwrap();
        assert_eq!(check(&good), Ok(()));
    }
}
