//! Signing in by the API: `…/auth/oauth2/…` of connections, and of instances in source 003's words.

use super::Call;
use super::connections::{instance_id, seen};
use super::input::{json_body, ok};
use crate::error::Result;
use crate::http::Response;
use crate::hub::Callback;
use crate::secret::Secret;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    #[serde(rename = "redirectUri", alias = "redirect_uri")]
    redirect_uri: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Finish {
    state: String,
    #[serde(default)]
    code: Option<Secret>,
    #[serde(default)]
    iss: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    error_description: Option<String>,
    /// Other parameters that the provider sent, for services whose manifests read them.
    #[serde(default)]
    params: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Poll {
    state: String,
}

/// Begins a sign-in.
pub async fn start(call: &Call<'_>) -> Result<Response> {
    let start: Start = json_body(call).await?;
    let connection = seen(call).await?;
    let started = call
        .hub
        .start_sign_in(&connection, &start.redirect_uri, call.actor())
        .await?;
    Ok(ok(
        &json!({"authorizationUrl": started.authorization_url, "state": started.state}),
    ))
}

/// Completes it with the code.
pub async fn finish(call: &Call<'_>) -> Result<Response> {
    let finish: Finish = json_body(call).await?;
    let connection = seen(call).await?;
    let callback = Callback {
        state: finish.state,
        code: finish.code,
        iss: finish.iss,
        error: finish.error,
        error_description: finish.error_description,
        params: finish.params.into_iter().collect(),
    };
    let connected = call.hub.finish_sign_in(&connection, &callback, call.actor()).await?;
    Ok(ok(&json!({
        "status": "SUCCESS",
        "integrationInstanceId": instance_id(&connected.connection.id),
        "connection_id": connected.connection.id,
    })))
}

/// Begins a sign-in on another device.
pub async fn start_device(call: &Call<'_>) -> Result<Response> {
    let connection = seen(call).await?;
    let device = call.hub.start_device(&connection, call.actor()).await?;
    Ok(ok(&json!({
        "state": device.state,
        "user_code": device.user_code,
        "verification_uri": device.verification_uri,
        "verification_uri_complete": device.verification_uri_complete,
        "expires_in": device.expires_in,
        "interval": device.interval,
    })))
}

/// Asks whether the person has consented there: 202 as long as not.
pub async fn finish_device(call: &Call<'_>) -> Result<Response> {
    let poll: Poll = json_body(call).await?;
    let connection = seen(call).await?;
    match call.hub.finish_device(&connection, &poll.state, call.actor()).await? {
        Some(connected) => Ok(ok(
            &json!({"status": "SUCCESS", "connection_id": connected.connection.id}),
        )),
        None => Ok(Response::json(202, &json!({"status": "PENDING"}))),
    }
}

/// How the account stands; never a token.
pub async fn health(call: &Call<'_>) -> Result<Response> {
    let connection = seen(call).await?;
    Ok(ok(&call.hub.account_health(&connection)))
}
