//! `/api/v1/encryption-keys`: what is sealed under which key, and the move to the current one.

use super::Call;
use super::input::ok;
use crate::error::Result;
use crate::http::Response;

/// How many rows are sealed under each key; never a key.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    Ok(ok(&call.hub.keys().await?))
}

/// Asks for everything to be moved to the first key of the ring.
pub async fn rotate(call: &Call<'_>) -> Result<Response> {
    Ok(Response::json(202, &call.hub.rotate_keys(call.actor()).await?))
}
