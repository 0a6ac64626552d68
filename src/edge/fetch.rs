//! Outgoing HTTP on the runtime's `fetch`.

use super::http;
use super::stream::{self, Broken};
use crate::http::{Request, Response};
use crate::ports::{Fetch, FetchError, Limits};
use async_trait::async_trait;
use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, RequestInit, RequestRedirect, WorkerGlobalScope};

const USER_AGENT: &str = concat!("Patchbay/", env!("CARGO_PKG_VERSION"));

/// The network.
pub struct Outbound;

#[async_trait(?Send)]
impl Fetch for Outbound {
    async fn send(&self, request: Request, limits: Limits) -> Result<Response, FetchError> {
        exchange(request, limits, true).await
    }

    async fn send_for_status(&self, request: Request, limits: Limits) -> Result<Response, FetchError> {
        exchange(request, limits, false).await
    }
}

/// One request and its reply; with a `whole` body, or with what of it came within the limits.
async fn exchange(request: Request, limits: Limits, whole: bool) -> Result<Response, FetchError> {
    // One signal for headers and body: it covers the whole reply.
    let signal = AbortSignal::timeout_with_u32(limits.timeout_ms);
    try_exchange(request, &signal, limits.max_bytes, whole)
        .await
        .map_err(|broken| match broken {
            Broken::TooLarge => FetchError::TooLarge(limits.max_bytes),
            Broken::Cut(_) if signal.aborted() => FetchError::Timeout,
            Broken::Cut(message) => FetchError::Network(message),
        })
}

async fn try_exchange(request: Request, signal: &AbortSignal, limit: usize, whole: bool) -> Result<Response, Broken> {
    let request = outgoing(request, signal).map_err(Broken::Cut)?;
    let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
    let reply: web_sys::Response = JsFuture::from(scope.fetch_with_request(&request))
        .await?
        .unchecked_into();

    let headers = http::headers(&reply.headers()).map_err(|e| Broken::Cut(e.to_string()))?;
    // Of a compressed reply it is the length before the runtime unpacks it: enough to refuse, not to trust.
    let declared = headers.get("content-length").and_then(|v| v.parse::<usize>().ok());
    let body = reply.body();
    if whole && body.is_some() && declared.is_some_and(|length| length > limit) {
        stream::discard(body);
        return Err(Broken::TooLarge);
    }
    let mut bytes = Vec::with_capacity(declared.unwrap_or(0).min(limit));
    if let Some(body) = body {
        let read = stream::read_into(&mut bytes, &body, limit).await;
        if whole {
            read?;
        }
    }
    Ok(Response {
        status: reply.status(),
        headers,
        body: bytes,
    })
}

/// The request as the runtime wants it. Bytes as body, not a stream, so that a `content-length` is sent.
fn outgoing(mut request: Request, signal: &AbortSignal) -> Result<web_sys::Request, String> {
    if request.headers.get("user-agent").is_none() {
        request.headers.set("user-agent", USER_AGENT);
    }
    let init = RequestInit::new();
    init.set_method(request.method.as_str());
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(Some(signal));
    init.set_headers_headers(&http::to_js_headers(&request.headers)?);
    if !request.body.is_empty() {
        init.set_body_opt_u8_array(Some(&Uint8Array::from(request.body.as_slice())));
    }
    // The thrown text would quote the URL, whose query may hold a secret.
    web_sys::Request::new_with_str_and_init(&request.url, &init)
        .map_err(|_: JsValue| "the URL or the method is not valid".to_owned())
}
