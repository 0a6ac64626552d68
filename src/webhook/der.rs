//! The few pieces of DER that keys and signatures need. Everything is read strictly and length-checked.

/// SPKI of an RSA public key from its big-endian modulus and exponent.
pub fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    // AlgorithmIdentifier { rsaEncryption, NULL } (RFC 3279, 2.3.1).
    const ALGORITHM: [u8; 15] = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
    let key = tlv(0x30, &[integer(modulus), integer(exponent)].concat());
    let bits = tlv(0x03, &[&[0], key.as_slice()].concat());
    tlv(0x30, &[ALGORITHM.as_slice(), &bits].concat())
}

/// SPKI of a P-256 public key from its coordinates; none if they are not 32 bytes.
pub fn p256_spki(x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
    // SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING { uncompressed point } } (RFC 5480).
    const HEAD: [u8; 27] = [
        0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7,
        3, 0x42, 0, 4,
    ];
    (x.len() == 32 && y.len() == 32).then(|| [HEAD.as_slice(), x, y].concat())
}

/// `r‖s` (64 bytes) from the DER form of a P-256 signature: what WebCrypto wants.
pub fn p256_raw(der: &[u8]) -> Option<Vec<u8>> {
    let (sequence, rest) = read(0x30, der)?;
    let (r, after) = read(0x02, sequence)?;
    let (s, end) = read(0x02, after)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    Some([padded(r)?, padded(s)?].concat())
}

/// A positive integer as 32 bytes.
fn padded(integer: &[u8]) -> Option<Vec<u8>> {
    // A leading zero stands only before a byte that would read as a sign (X.690, 8.3.2); more bytes are no P-256.
    let digits = match integer {
        [0, rest @ ..] if rest.first().is_some_and(|b| b & 0x80 != 0) => rest,
        [1..0x80, ..] => integer,
        _ => return None,
    };
    let zeros = 32usize.checked_sub(digits.len())?;
    Some([vec![0; zeros].as_slice(), digits].concat())
}

/// The content of an element of this tag, and what follows it. Lengths up to 127 only: signatures are short.
fn read(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match bytes {
        [t, length, rest @ ..] if *t == tag && *length < 0x80 => rest.split_at_checked(usize::from(*length)),
        _ => None,
    }
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    let digits = bytes.get(start..).unwrap_or_default();
    match digits.first() {
        Some(first) if first & 0x80 == 0 => tlv(0x02, digits),
        _ => tlv(0x02, &[&[0], digits].concat()),
    }
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    #[expect(clippy::cast_possible_truncation, reason = "each byte is masked out of the length")]
    match length {
        0..=0x7f => out.push(length as u8),
        0x80..=0xff => out.extend([0x81, length as u8]),
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_signatures_become_raw_ones_or_nothing() {
        let good = [0x30, 7, 2, 1, 5, 2, 2, 0, 0x80];
        let raw = p256_raw(&good).unwrap();

        assert_eq!((raw.len(), raw[31], raw[63]), (64, 5, 0x80));
        for bad in [
            &good[..8],
            &[0x30, 7, 2, 1, 5, 2, 2, 0, 1],
            &[0x30, 6, 2, 1, 5, 2, 1, 0x80],
            &[0x30, 0x80, 0],
            &[],
        ] {
            assert_eq!(p256_raw(bad), None, "{bad:?}");
        }
    }
}
