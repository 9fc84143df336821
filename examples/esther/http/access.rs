//! Who may use the management API and the dashboard.

use std::{fmt, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use novavoice::private::Private;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use crate::config::is_loopback;

/// The rule.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Without a token everybody who reaches this machine's own address may come in.
    token: Option<Private<String>>,
    /// The host of the public address, with its port where it names one.
    public: Option<Authority>,
}

impl Access {
    /// Access by `token`, or for everybody. Requests may come for the host of `public_url`.
    pub(crate) fn new(token: Option<Private<String>>, public_url: &str) -> Self {
        let public = public_url.parse::<Uri>().ok();
        Self {
            token,
            public: public.and_then(|url| url.authority().cloned()),
        }
    }

    /// Whether the public address is another machine's, or a tunnel's, and no token is asked for.
    pub(crate) fn is_open_to_the_world(&self) -> bool {
        let public = self.public.as_ref().map(|public| public.host());
        self.token.is_none()
            && !public.is_none_or(|host| is_loopback(host.trim_matches(['[', ']'])))
    }

    fn check(&self, request: &Request) -> Result<(), Refusal> {
        let headers = request.headers();
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .or_else(|| request.uri().authority().map(Authority::as_str));
        let by_bearer = match &self.token {
            None => {
                self.check_host(host)?;
                false
            }
            Some(token) => match presented(headers) {
                Some(Presented::Bearer(given)) if same(given, token.reveal()) => true,
                Some(Presented::Basic(given)) if same(&given, token.reveal()) => false,
                _ => return Err(Refusal::Token),
            },
        };
        // Only what a browser sends by itself can be misused by another page: no bearer token.
        if !by_bearer && !request.method().is_safe() {
            self.check_origin(headers, host)?;
        }
        Ok(())
    }

    /// A page of another site can make its own name point to this machine; the browser then sends
    /// that name.
    fn check_host(&self, host: Option<&str>) -> Result<(), Refusal> {
        let Some(host) = host else { return Ok(()) };
        let host: Authority = host.parse().map_err(|_| Refusal::Host)?;
        let name = host.host().trim_matches(['[', ']']);
        let public = self.public.as_ref().map(|public| public.host());
        match is_loopback(name) || public.is_some_and(|public| public.eq_ignore_ascii_case(name)) {
            true => Ok(()),
            false => Err(Refusal::Host),
        }
    }

    fn check_origin(&self, headers: &HeaderMap, host: Option<&str>) -> Result<(), Refusal> {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(());
        };
        let origin = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.parse::<Uri>().ok());
        let origin = origin
            .as_ref()
            .and_then(Uri::authority)
            .map(Authority::as_str);
        let public = self.public.as_ref().map(Authority::as_str);
        let ours = |origin: &str| {
            [host, public]
                .into_iter()
                .flatten()
                .any(|ours| ours.eq_ignore_ascii_case(origin))
        };
        match origin.is_some_and(ours) {
            true => Ok(()),
            false => Err(Refusal::Origin),
        }
    }
}

/// Lets a request through to the routes behind it, or refuses it whatever it asked for.
pub(crate) async fn guard(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    match access.check(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

enum Presented<'a> {
    Bearer(&'a str),
    /// The password; the name does not matter.
    Basic(String),
}

fn presented(headers: &HeaderMap) -> Option<Presented<'_>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Presented::Bearer(rest));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64_STANDARD.decode(rest).ok()?).ok()?;
    let (_, password) = pair.split_once(':')?;
    Some(Presented::Basic(password.to_owned()))
}

/// Takes as long for a near miss as for any other text; of digests, so that not even the length
/// shows.
fn same(given: &str, token: &str) -> bool {
    Sha256::digest(given).ct_eq(&Sha256::digest(token)).into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Token,
    Host,
    Origin,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "Send the API token: `Authorization: Bearer …`, or as a password.",
            Self::Host => "The API is open on this machine's own names only. Set ESTHER_API_TOKEN to use it elsewhere.",
            Self::Origin => "Pages of other sites may not do this.",
        })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Host | Self::Origin => StatusCode::FORBIDDEN,
        };
        let mut response = Problem::new(status, self.to_string()).into_response();
        if self == Self::Token {
            for challenge in CHALLENGES {
                let challenge = HeaderValue::from_static(challenge);
                response
                    .headers_mut()
                    .append(header::WWW_AUTHENTICATE, challenge);
            }
        }
        response
    }
}

/// The second one lets a browser ask for the token.
const CHALLENGES: [&str; 2] = [
    r#"Bearer realm="esther""#,
    r#"Basic realm="esther", charset="UTF-8""#,
];
