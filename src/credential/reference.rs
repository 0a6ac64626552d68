//! `secret://name` in a connection's secret field: the secret is a setting of the Worker, and stands in no row.

use crate::error::{Error, Result};
use crate::ports::Host;
use crate::secret::Secret;

/// What a reference begins with.
const SCHEME: &str = "secret://";

/// What the names of the settings begin with that references can name: none of the hub's own is among them.
const PREFIX: &str = "PATCHBAY_SECRET_";

/// Whether a field's value is a reference.
pub fn is(value: &Secret) -> bool {
    is_text(value.expose())
}

/// The same of a value that is not known to be a secret.
pub fn is_text(value: &str) -> bool {
    value.starts_with(SCHEME)
}

/// The value itself or, of a reference, what it stands for. The error names the setting that is missing.
pub fn resolve(host: &dyn Host, value: &Secret) -> Result<Secret> {
    let Some(name) = value.expose().strip_prefix(SCHEME) else {
        return Ok(value.clone());
    };
    let setting = setting(name).ok_or_else(|| {
        Error::validation("a reference is `secret://` and a name of lower-case letters, digits and `-`")
    })?;
    host.secret(&setting).ok_or_else(|| Error::missing_setting(&setting))
}

fn setting(name: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let sound = !name.is_empty() && name.len() <= 64 && name.bytes().all(plain);
    sound.then(|| format!("{PREFIX}{}", name.to_ascii_uppercase().replace('-', "_")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_a_setting_made_for_it() {
        assert_eq!(setting("my-api-key").as_deref(), Some("PATCHBAY_SECRET_MY_API_KEY"));
        for name in ["", "MY", "a/b", "../x", "a_b", "a b", "ä", "x?y"] {
            assert_eq!(setting(name), None, "{name}");
        }
    }
}
