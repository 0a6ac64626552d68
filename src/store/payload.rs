//! Where the payload of an event is, and how it is written: in its row as it is, in its row packed, or beside it.

use crate::error::{Error, Result};
use crate::id::{self, Kind};
use crate::ports::{MAX_BLOB, MAX_ROW_PAYLOAD, Param, Ports};
use serde::Deserialize;
use serde_json::Value;
use std::ops::RangeInclusive;

/// Bytes of the payloads that are packed. Packing a smaller one takes as long as it saves, and a row is easier to read
/// without; a larger one would hardly fit a row, and takes long.
const WORTH_PACKING: RangeInclusive<usize> = 16_384..=4_000_000;
/// The encoding of a packed payload: Brotli, as base64.
const BROTLI: &str = "br";

/// A payload's columns, to be written.
pub(super) struct Placed {
    pub(super) key: Option<String>,
    pub(super) encoding: Option<&'static str>,
    pub(super) payload: Param,
}

impl Placed {
    fn in_row(encoding: Option<&'static str>, payload: Param) -> Self {
        Self {
            key: None,
            encoding,
            payload,
        }
    }
}

/// Puts a payload where it goes: into the row, packed if it is large, or, if it is too large for one, beside it.
pub(super) async fn place(ports: &Ports<'_>, body: Vec<u8>) -> Result<Placed> {
    if body.len() > MAX_BLOB {
        return Err(Error::PayloadTooLarge { limit: MAX_BLOB });
    }
    if let Some(packed) = pack(ports, &body) {
        return Ok(Placed::in_row(Some(BROTLI), Param::Text(packed)));
    }
    if body.len() > MAX_ROW_PAYLOAD {
        let key = format!("payload/{}", id::new(Kind::Event, ports.host));
        ports.blobs.put(&key, &body).await?;
        return Ok(Placed {
            key: Some(key),
            encoding: None,
            payload: Param::Null,
        });
    }
    // Text crosses D1's border as it is, bytes as a list of numbers; SQLite's text functions stop at a NUL.
    let payload = match String::from_utf8(body) {
        Ok(text) if !text.contains('\0') => Param::Text(text),
        Ok(text) => Param::Blob(text.into_bytes()),
        Err(not_utf8) => Param::Blob(not_utf8.into_bytes()),
    };
    Ok(Placed::in_row(None, payload))
}

/// The payload packed, where that is worth it: a quarter less at least, and small enough for a row.
fn pack(ports: &Ports<'_>, body: &[u8]) -> Option<String> {
    if !WORTH_PACKING.contains(&body.len()) {
        return None;
    }
    let fits = |packed: &String| packed.len() <= (body.len() / 4 * 3).min(MAX_ROW_PAYLOAD);
    ports.packer.pack(body).filter(fits)
}

/// A payload's columns, as they were read.
#[derive(Debug, Deserialize)]
pub(super) struct Kept {
    payload_key: Option<String>,
    payload_encoding: Option<String>,
    payload: Value,
}

impl Kept {
    /// The exact bytes, of which the row says that they are `size`.
    pub(super) async fn read(&self, ports: &Ports<'_>, size: i64) -> Result<Vec<u8>> {
        if let Some(key) = &self.payload_key {
            let stored = ports.blobs.get(key).await?;
            return stored
                .ok_or_else(|| Error::temporary("the payload is not readable here yet; try again in a minute"));
        }
        match (self.payload_encoding.as_deref(), &self.payload) {
            (None, Value::String(text)) => Ok(text.as_bytes().to_vec()),
            (None, Value::Array(bytes)) => bytes
                .iter()
                .map(|b| b.as_u64().and_then(|b| u8::try_from(b).ok()))
                .collect::<Option<Vec<u8>>>()
                .ok_or_else(|| Error::Internal("a stored payload is not bytes".into())),
            (None, _) => Ok(Vec::new()),
            (Some(BROTLI), Value::String(packed)) => usize::try_from(size)
                .ok()
                .and_then(|size| ports.packer.unpack(packed, size).filter(|bytes| bytes.len() == size))
                .ok_or_else(|| {
                    let why = "a packed payload cannot be read: it is damaged, or wrangler.toml lacks the flag `nodejs_compat`";
                    Error::Internal(why.into())
                }),
            (Some(_), _) => Err(Error::Internal("a stored payload has an unknown encoding".into())),
        }
    }
}
