//! Secrets at rest: sealed in an envelope, each under a data key of its own.
//!
//! `v1|kid|wrapped key|nonce|ciphertext`, the parts in base64. The data key encrypts with AES-256-GCM and is itself
//! encrypted with the key `kid` of the ring, so that keys rotate without touching the ciphertext. Both layers bind
//! where the secret belongs ([`Place`]): a sealed text copied to another row does not open.

use crate::error::{Error, Result};
use crate::ports::Host;
use crate::secret::Secret;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::Mac;
use zeroize::Zeroizing;

/// Name of the setting that holds the ring.
pub const SETTING: &str = "PATCHBAY_ENCRYPTION_KEYS";

const NONCE: usize = 12;
const KEY: usize = 32;

/// Where a sealed text belongs; opening it anywhere else fails.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The table.
    pub table: &'a str,
    /// The row's id.
    pub id: &'a str,
    /// The column.
    pub column: &'a str,
    /// The row's version, so that an old ciphertext cannot be put back.
    pub version: i64,
}

impl Place<'_> {
    /// Length-prefixed, so that no two places spell the same.
    fn bytes(&self) -> Vec<u8> {
        let version = self.version.to_string();
        let mut bytes = b"patchbay/v1".to_vec();
        for part in [self.table, self.id, self.column, &version] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes
    }
}

/// The keys: the first encrypts, all decrypt.
pub struct KeyRing(Vec<(String, Zeroizing<[u8; KEY]>)>);

impl KeyRing {
    /// The ring from the setting `PATCHBAY_ENCRYPTION_KEYS`: `kid:base64(32 bytes)[,kid2:…]`.
    pub fn from_settings(host: &dyn Host) -> Result<Self> {
        let text = host.secret(SETTING).ok_or_else(|| Error::missing_setting(SETTING))?;
        let keys = text
            .expose()
            .split(',')
            .map(|entry| parse_key(entry.trim()))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| {
                Error::temporary(format!(
                    "the setting `{SETTING}` is not of the form kid:base64(32 bytes)[,kid2:…]"
                ))
            })?;
        Ok(Self(keys))
    }

    /// Encrypts `secret` for `place`.
    pub fn seal(&self, secret: &Secret, place: Place<'_>, host: &dyn Host) -> Result<String> {
        let (kid, master) = self.0.first().ok_or_else(|| Error::missing_setting(SETTING))?;
        let mut data_key = Zeroizing::new([0u8; KEY]);
        host.random(data_key.as_mut_slice());
        let bound = place.bytes();
        let wrapped = encrypt(master.as_slice(), data_key.as_slice(), &bound, host)?;
        let sealed = encrypt(data_key.as_slice(), secret.expose().as_bytes(), &bound, host)?;
        Ok(format!(
            "v1|{kid}|{}|{}",
            STANDARD.encode(wrapped),
            STANDARD.encode(sealed)
        ))
    }

    /// Decrypts what [`KeyRing::seal`] made for the same place.
    pub fn open(&self, sealed: &str, place: Place<'_>) -> Result<Secret> {
        let fault = || {
            Error::Internal(format!(
                "the secret of {} {} does not open: wrong key ring, or the row was altered",
                place.table, place.id
            ))
        };
        let parts: Vec<&str> = sealed.split('|').collect();
        let ["v1", kid, wrapped, ciphertext] = parts.as_slice() else {
            return Err(fault());
        };
        let (_, master) = self.0.iter().find(|(k, _)| k == kid).ok_or_else(|| {
            Error::temporary(format!(
                "the key `{kid}` that sealed {} {} is not in the setting `{SETTING}`; put it back",
                place.table, place.id
            ))
        })?;
        let bound = place.bytes();
        let open = |key: &[u8], text: &str| decrypt(key, &STANDARD.decode(text).ok()?, &bound);
        let data_key = open(master.as_slice(), wrapped).ok_or_else(fault)?;
        let plain = open(&data_key, ciphertext).ok_or_else(fault)?;
        String::from_utf8(plain.to_vec()).map(Secret::new).map_err(|_| fault())
    }

    /// The name of the key that encrypts.
    pub fn current(&self) -> Result<&str> {
        let first = self.0.first().ok_or_else(|| Error::missing_setting(SETTING))?;
        Ok(&first.0)
    }

    /// The names of all keys.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(kid, _)| kid.as_str())
    }

    /// The same text with its data key under the current key. What it holds is not decrypted, only checked to belong
    /// to `place`.
    pub fn rewrap(&self, sealed: &str, place: Place<'_>, host: &dyn Host) -> Result<String> {
        let fault = || Error::Internal(format!("the secret of {} {} does not open", place.table, place.id));
        let parts: Vec<&str> = sealed.split('|').collect();
        let ["v1", kid, wrapped, ciphertext] = parts.as_slice() else {
            return Err(fault());
        };
        let (_, old) = self.0.iter().find(|(k, _)| k == kid).ok_or_else(fault)?;
        let (current, new) = self.0.first().ok_or_else(|| Error::missing_setting(SETTING))?;
        let bound = place.bytes();
        let wrapped = STANDARD.decode(wrapped).map_err(|_| fault())?;
        let data_key = decrypt(old.as_slice(), &wrapped, &bound).ok_or_else(fault)?;
        let wrapped = encrypt(new.as_slice(), &data_key, &bound, host)?;
        Ok(format!("v1|{current}|{}|{ciphertext}", STANDARD.encode(wrapped)))
    }

    /// Secrets that can be made again from `purpose`, one for each key of the ring, the current key's first:
    /// HMAC-SHA256, base64url. What is derived needs no place in the database, and ends when its key leaves the ring.
    pub fn derive(&self, purpose: &str) -> impl Iterator<Item = Secret> {
        self.0.iter().filter_map(move |(_, master)| {
            let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(master.as_slice()).ok()?;
            mac.update(b"patchbay/derive/v1|");
            mac.update(purpose.as_bytes());
            Some(Secret::new(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
        })
    }
}

fn parse_key(entry: &str) -> Option<(String, Zeroizing<[u8; KEY]>)> {
    let (kid, text) = entry.split_once(':')?;
    let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
    let key = <[u8; KEY]>::try_from(bytes.as_slice()).ok()?;
    let well_named = !kid.is_empty() && kid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    well_named.then(|| (kid.to_owned(), Zeroizing::new(key)))
}

/// Nonce, then ciphertext with its tag.
fn encrypt(key: &[u8], plain: &[u8], aad: &[u8], host: &dyn Host) -> Result<Vec<u8>> {
    let fault = |_| Error::Internal("AES-GCM refused to encrypt".to_owned());
    let mut nonce = [0u8; NONCE];
    host.random(&mut nonce);
    let cipher = Aes256Gcm::new_from_slice(key).map_err(|_| Error::Internal("AES-GCM refused its key".to_owned()))?;
    let sealed = cipher
        .encrypt(&Nonce::from(nonce), Payload { msg: plain, aad })
        .map_err(fault)?;
    Ok([nonce.as_slice(), &sealed].concat())
}

fn decrypt(key: &[u8], sealed: &[u8], aad: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, msg) = sealed.split_at_checked(NONCE)?;
    let nonce = <[u8; NONCE]>::try_from(nonce).ok()?;
    let cipher = Aes256Gcm::new_from_slice(key).ok()?;
    cipher
        .decrypt(&Nonce::from(nonce), Payload { msg, aad })
        .ok()
        .map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use serde_json::Value;
    use std::cell::Cell;

    struct Fixed(String, Cell<u8>);

    impl Host for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }
        fn random(&self, bytes: &mut [u8]) {
            self.1.set(self.1.get() + 1);
            bytes.fill(self.1.get());
        }
        fn var(&self, name: &str) -> Option<String> {
            (name == SETTING).then(|| self.0.clone())
        }
        fn log(&self, _: &Value) {}
    }

    fn host(kids: &[(&str, u8)]) -> Fixed {
        let entries: Vec<String> = kids
            .iter()
            .map(|(kid, byte)| format!("{kid}:{}", STANDARD.encode([*byte; KEY])))
            .collect();
        Fixed(entries.join(","), Cell::new(0))
    }

    const PLACE: Place<'_> = Place {
        table: "connection",
        id: "con_1",
        column: "secrets",
        version: 1,
    };

    #[test]
    fn a_sealed_secret_opens_in_its_place_and_nowhere_else() {
        let host = host(&[("k1", 1)]);
        let ring = KeyRing::from_settings(&host).unwrap();

        let sealed = ring.seal(&Secret::new("hunter2"), PLACE, &host).unwrap();

        assert_eq!(ring.open(&sealed, PLACE).unwrap().expose(), "hunter2");
        assert!(!sealed.contains("hunter2"));
        for elsewhere in [
            Place { id: "con_2", ..PLACE },
            Place { version: 2, ..PLACE },
            Place {
                column: "config",
                ..PLACE
            },
            Place {
                table: "destination",
                ..PLACE
            },
        ] {
            assert!(ring.open(&sealed, elsewhere).is_err(), "{elsewhere:?}");
        }
    }

    #[test]
    fn an_altered_one_does_not_open_and_never_panics() {
        let host = host(&[("k1", 1)]);
        let ring = KeyRing::from_settings(&host).unwrap();
        let sealed = ring.seal(&Secret::new("hunter2"), PLACE, &host).unwrap();

        for end in 0..sealed.len() {
            assert!(ring.open(&sealed[..end], PLACE).is_err());
        }
        for bad in [
            "",
            "v2|k1|a|b",
            "v1|k1||",
            "v1|nobody|AAAA|AAAA",
            "v1|k1|%|%",
            "v1|k1|a|b|c",
        ] {
            assert!(ring.open(bad, PLACE).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_an_old_key_sealed_still_opens_after_a_new_one_came() {
        let old = host(&[("k1", 1)]);
        let sealed = KeyRing::from_settings(&old)
            .unwrap()
            .seal(&Secret::new("x"), PLACE, &old)
            .unwrap();

        let both = KeyRing::from_settings(&host(&[("k2", 2), ("k1", 1)])).unwrap();
        let new_only = KeyRing::from_settings(&host(&[("k2", 2)])).unwrap();

        assert_eq!(both.open(&sealed, PLACE).unwrap().expose(), "x");
        let message = new_only.open(&sealed, PLACE).unwrap_err().to_string();
        assert!(message.contains("`k1`"), "{message}");
    }

    #[test]
    fn a_malformed_ring_is_a_clear_error() {
        let short = STANDARD.encode([1u8; 16]);
        for text in [
            "k1".to_owned(),
            format!("k1:{short}"),
            "k1:%%%".into(),
            ":AAAA".into(),
            "a b:AA".into(),
        ] {
            let error = KeyRing::from_settings(&Fixed(text, Cell::new(0))).err().unwrap();
            assert_eq!(error.status(), 503);
            assert!(error.to_string().contains(SETTING));
        }
        let missing = KeyRing::from_settings(&Fixed(String::new(), Cell::new(0)))
            .err()
            .unwrap();
        assert_eq!(missing, Error::missing_setting(SETTING));
    }
}
