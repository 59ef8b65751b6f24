//! Logging in: a key is exchanged for a token that is good for a while.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::header::CACHE_CONTROL;
use serde_json::{Value, json};

use super::{
    codes,
    error::{Failure, Operation, Problem},
};
use crate::{
    auth::{AccessToken, bearer},
    dialect::{Context, body},
    domain::Error,
};

const GRANT: &str = "client_credentials";

/// `POST /login`: a key, as the bearer of the request, for a token.
pub async fn log_in(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let body = body::bytes(body, context.max_body).await?;
    let grant = form_urlencoded::parse(&body).find(|(name, _)| name == "grant_type");
    if grant.as_ref().map(|(_, grant)| &**grant) != Some(GRANT) {
        let why = format!("must be {GRANT}, in a form");
        return Err(Problem::at(codes::BAD_REQUEST, "grant_type", why).into());
    }
    let token = context
        .authenticator
        .log_in(bearer(&parts.headers).map_err(failure)?);
    Ok(answer(&token.await.map_err(failure)?))
}

/// `POST /refresh`: a token for a new one.
pub async fn refresh(
    State(context): State<Context>,
    request: Request,
) -> Result<Response, Failure> {
    let bearer = bearer(request.headers()).map_err(failure)?;
    let token = context.authenticator.log_in(bearer).await;
    Ok(answer(&token.map_err(failure)?))
}

/// `POST /verify`: whether the token is good. It is, or the request would not have come
/// here.
pub async fn verify() -> Json<Value> {
    Json(json!({ "success": true }))
}

/// `POST /logout`: ends a token.
pub async fn log_out(
    State(context): State<Context>,
    request: Request,
) -> Result<Response, Failure> {
    let bearer = bearer(request.headers()).map_err(failure)?;
    context.authenticator.log_out(bearer);
    Ok(Json(json!({ "result": true })).into_response())
}

fn answer(token: &AccessToken) -> Response {
    let body = json!({
        "access_token": token.text,
        "token_type": "bearer",
        "expires_in": token.lifetime.as_secs(),
    });
    ([(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn failure(error: Error) -> Failure {
    Failure::domain(error, Operation::None)
}
