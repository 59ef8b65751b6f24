//! The login operations: exchange an API key for a short-lived token, renew it, verify it, log out.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderMap, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde_json::{Value, json};

use super::{codes, error::Failure, openapi, operation::Operation, problem::Problem, view};
use crate::{
    auth::{AccessToken, bearer},
    dialect::{Context, body},
    domain::Error,
};

const GRANT: &str = "client_credentials";
const FORM: &str = "application/x-www-form-urlencoded";

/// `POST /login`: exchanges an API key, sent as the bearer token, for a short-lived token.
#[utoipa::path(
    post,
    path = "/ccadmin/v1/login",
    operation_id = "login",
    tag = "Login",
    summary = "Log in: exchange an API key for a short-lived token",
    params(openapi::GrantQuery),
    request_body(content_type = "application/x-www-form-urlencoded", content = Option<openapi::LoginForm>),
    responses((status = 200, description = "Success", body = openapi::Token), openapi::Failures),
)]
pub async fn log_in(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let max = context.max_unauthenticated_body;
    let body = body::at_most(&parts.headers, body, max, "max_unauthenticated_body_size").await?;
    if is_form(&parts.headers) {
        check_form(&body)?;
    }
    check_grant(&view::pairs(&parts.uri)?, &body)?;
    let bearer = bearer(&parts.headers).map_err(failure)?;
    let peer = parts.extensions.get().copied();
    let token = context.authenticator.log_in(bearer, peer).await;
    Ok(token_response(&token.map_err(failure)?))
}

/// `POST /mfalogin`: the same as login, with an API key. User passwords are not supported.
#[utoipa::path(
    post,
    path = "/ccadmin/v1/mfalogin",
    operation_id = "mfalogin",
    tag = "Login",
    summary = "Log in: the same as login, with an API key and without a password",
    params(openapi::GrantQuery),
    request_body(content_type = "application/x-www-form-urlencoded", content = Option<openapi::LoginForm>),
    responses((status = 200, description = "Success", body = openapi::Token), openapi::Failures),
)]
pub async fn log_in_with_mfa(
    context: State<Context>,
    request: Request,
) -> Result<Response, Failure> {
    log_in(context, request).await
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = kind.and_then(|kind| kind.get(..FORM.len()));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(FORM.as_bytes()))
}

/// Checks that the body is a form, possibly an empty one.
fn check_form(body: &[u8]) -> Result<(), Failure> {
    let mut fields = body
        .split(|byte| *byte == b'&')
        .filter(|field| !field.is_empty());
    if fields.all(|field| field.contains(&b'=')) {
        return Ok(());
    }
    Err(Problem::new(codes::BAD_REQUEST, "the request body is not a form").into())
}

/// Checks the grant type. Clients send it in the form or in the query, some of them with a body of
/// another type.
fn check_grant(query: &[(String, String)], form: &[u8]) -> Result<(), Failure> {
    let of_form = form_urlencoded::parse(form);
    let of_query = query
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    let grants = of_form
        .chain(of_query)
        .filter(|(name, _)| name == "grant_type");
    let grants: Vec<_> = grants.map(|(_, grant)| grant).collect();
    if grants.is_empty() || grants.iter().any(|grant| grant != GRANT) {
        let why = format!("must be {GRANT}, in the form or in the query");
        return Err(Problem::at(codes::BAD_REQUEST, "grant_type", why).into());
    }
    Ok(())
}

/// `POST /refresh`: exchanges a token for a new one of the same login.
#[utoipa::path(
    post,
    path = "/ccadmin/v1/refresh",
    operation_id = "refresh",
    tag = "Login",
    summary = "Renew a token",
    responses((status = 200, description = "Success", body = openapi::Token), openapi::Failures),
)]
pub async fn refresh(
    State(context): State<Context>,
    request: Request,
) -> Result<Response, Failure> {
    let bearer = bearer(request.headers()).map_err(failure)?;
    let peer = request.extensions().get().copied();
    let token = context.authenticator.renew(bearer, peer).await;
    Ok(token_response(&token.map_err(failure)?))
}

/// `POST /verify`: verifies a credential. Requests with invalid credentials have already been
/// rejected.
#[utoipa::path(
    post,
    path = "/ccadmin/v1/verify",
    operation_id = "verify",
    tag = "Login",
    summary = "Verify a token",
    responses((status = 200, description = "Success", body = openapi::Success), openapi::Failures),
)]
pub async fn verify() -> Json<Value> {
    Json(json!({ "success": true }))
}

/// `POST /logout`: ends the login of a token, with all tokens renewed from it. The result is
/// false for credentials that a logout can't end: a key, a token of an issuer, a certificate.
#[utoipa::path(
    post,
    path = "/ccadmin/v1/logout",
    operation_id = "logout",
    tag = "Login",
    summary = "Log out: revoke a token, and all tokens of the same login",
    responses((status = 200, description = "Success", body = openapi::LoggedOut), openapi::Failures),
)]
pub async fn log_out(
    State(context): State<Context>,
    request: Request,
) -> Result<Response, Failure> {
    let bearer = bearer(request.headers()).map_err(failure)?;
    let result = context.authenticator.log_out(bearer).await;
    Ok(Json(json!({ "result": result.map_err(failure)? })).into_response())
}

fn token_response(token: &AccessToken) -> Response {
    let body = json!({
        "access_token": token.text,
        "token_type": "bearer",
        "expires_in": token.lifetime.as_secs(),
    });
    ([(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn failure(error: Error) -> Failure {
    Failure::of(Operation::None)(error)
}
