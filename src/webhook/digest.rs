//! Digests and HMACs that are fed in parts, so that a body is never copied to be signed.

use crate::manifest::webhook::Hash;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// Something that signed bytes are fed into.
pub enum Sink {
    /// HMAC-SHA-1; only for schemes that have nothing better.
    Mac1(Hmac<Sha1>),
    /// HMAC-SHA-256.
    Mac256(Hmac<Sha256>),
    /// HMAC-SHA-384.
    Mac384(Box<Hmac<Sha384>>),
    /// HMAC-SHA-512.
    Mac512(Box<Hmac<Sha512>>),
    /// SHA-1.
    Plain1(Sha1),
    /// SHA-256.
    Plain256(Sha256),
    /// SHA-384.
    Plain384(Box<Sha384>),
    /// SHA-512.
    Plain512(Box<Sha512>),
    /// The bytes themselves, for algorithms that need them whole.
    Bytes(Vec<u8>),
}

impl Sink {
    /// An HMAC. None for a key that cannot be used, which HMAC does not have.
    pub fn hmac(hash: Hash, key: &[u8]) -> Option<Self> {
        Some(match hash {
            Hash::Sha1 => Self::Mac1(Hmac::new_from_slice(key).ok()?),
            Hash::Sha256 => Self::Mac256(Hmac::new_from_slice(key).ok()?),
            Hash::Sha384 => Self::Mac384(Box::new(Hmac::new_from_slice(key).ok()?)),
            Hash::Sha512 => Self::Mac512(Box::new(Hmac::new_from_slice(key).ok()?)),
        })
    }

    /// A plain digest.
    pub fn digest(hash: Hash) -> Self {
        match hash {
            Hash::Sha1 => Self::Plain1(Sha1::new()),
            Hash::Sha256 => Self::Plain256(Sha256::new()),
            Hash::Sha384 => Self::Plain384(Box::default()),
            Hash::Sha512 => Self::Plain512(Box::default()),
        }
    }

    /// Feeds some bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        match self {
            Self::Mac1(m) => m.update(bytes),
            Self::Mac256(m) => m.update(bytes),
            Self::Mac384(m) => m.update(bytes),
            Self::Mac512(m) => m.update(bytes),
            Self::Plain1(d) => Digest::update(d, bytes),
            Self::Plain256(d) => Digest::update(d, bytes),
            Self::Plain384(d) => Digest::update(&mut **d, bytes),
            Self::Plain512(d) => Digest::update(&mut **d, bytes),
            Self::Bytes(out) => out.extend_from_slice(bytes),
        }
    }

    /// The result.
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Mac1(m) => m.finalize().into_bytes().to_vec(),
            Self::Mac256(m) => m.finalize().into_bytes().to_vec(),
            Self::Mac384(m) => m.finalize().into_bytes().to_vec(),
            Self::Mac512(m) => m.finalize().into_bytes().to_vec(),
            Self::Plain1(d) => d.finalize().to_vec(),
            Self::Plain256(d) => d.finalize().to_vec(),
            Self::Plain384(d) => d.finalize().to_vec(),
            Self::Plain512(d) => d.finalize().to_vec(),
            Self::Bytes(out) => out,
        }
    }
}

/// SHA-256 in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// An HMAC in one call.
pub fn hmac(hash: Hash, key: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let mut sink = Sink::hmac(hash, key)?;
    sink.put(data);
    Some(sink.finish())
}
