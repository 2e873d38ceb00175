//! Commands over HTTP: `POST /COMMAND[/ARGUMENT…]`, `GET /status`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use heartwire_proxy::{Command, Proxy};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::failure::Failure;

/// Answers requests as long as the proxy runs; without a listener, waits for ever.
pub(super) async fn run(listener: Option<TcpListener>, proxy: Arc<Proxy>) -> Result<(), Failure> {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    let router = Router::new().fallback(answer).with_state(proxy);
    axum::serve(listener, router)
        .await
        .map_err(|error| Failure::failed("the control address", error))
}

async fn answer(
    State(proxy): State<Arc<Proxy>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    // Browsers name the page with every request of a page that could change something; no page
    // has any business here.
    if headers.contains_key(header::ORIGIN) {
        return refusal(StatusCode::FORBIDDEN, "requests of web pages are refused");
    }
    let words = uri.path().trim_matches('/').replace('/', " ");
    match method {
        Method::GET if words == "status" => answered(StatusCode::OK, &json!(proxy.status())),
        Method::POST => carry_out(&proxy, &words).await,
        _ => refusal(
            StatusCode::NOT_FOUND,
            "there are GET /status and POST /COMMAND[/ARGUMENT…]",
        ),
    }
}

async fn carry_out(proxy: &Proxy, words: &str) -> Response {
    let command: Command = match words.parse() {
        Ok(command) => command,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match proxy.apply(command).await {
        Ok(()) => answered(StatusCode::OK, &json!(proxy.status())),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn refusal(status: StatusCode, message: &str) -> Response {
    answered(status, &json!({ "error": message }))
}

/// With a line feed at the end, for those who read it on a terminal.
fn answered(status: StatusCode, body: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, format!("{body}\n")).into_response()
}
