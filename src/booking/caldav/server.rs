//! One calendar on a CalDAV server: requests and what their answers mean.
//!
//! Source: RFC 4791, sections 5.3 and 7; RFC 4918, sections 8 and 9; RFC 9110, section 13.

use std::{fmt, time::Duration};

use bytes::BytesMut;
use jiff::{Timestamp, tz::TimeZone};
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode,
    header::{CONTENT_TYPE, ETAG, HeaderMap, IF_MATCH, IF_NONE_MATCH, RETRY_AFTER},
    redirect::Policy,
};
use url::{Host, Url};

use super::{
    CalDavConfig, PROVIDER,
    event::{self, Taken},
    wire,
};
use crate::{
    error::{ProviderError, ProviderErrorKind},
    private::Private,
};

/// A calendar at its address.
#[derive(Clone)]
pub(super) struct Server {
    http: Client,
    /// With a slash at its end.
    url: Url,
    user: Option<String>,
    password: Option<Private<String>>,
}

/// An event as the server keeps it.
pub(super) struct Kept {
    pub(super) text: String,
    pub(super) etag: Option<String>,
}

/// What must hold for an event to be written.
pub(super) enum Condition<'a> {
    /// There is none yet.
    Absent,
    /// It is the one that was read.
    Same(Option<&'a str>),
}

impl Server {
    pub(super) fn new(config: &CalDavConfig) -> Result<Self, ProviderError> {
        let (url, is_local) = checked(&config.url)?;
        let mut http = Client::builder()
            // Whoever sent us elsewhere would get the password.
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(config.timeout)
            .user_agent(concat!("novavoice/", env!("CARGO_PKG_VERSION")));
        if is_local {
            http = http.no_proxy();
        }
        let http = http
            .build()
            .map_err(|error| invalid("the HTTP client cannot be made").with_source(error))?;
        Ok(Self {
            http,
            url,
            user: config.user.clone(),
            password: config.password.clone(),
        })
    }

    /// What events take between two times.
    pub(super) async fn taken(
        &self,
        from: Timestamp,
        until: Timestamp,
        local: &TimeZone,
    ) -> Result<Vec<Taken>, ProviderError> {
        let answer = self.report(wire::events_between(from, until), "1").await?;
        let resources =
            wire::multistatus(&answer).map_err(|error| protocol().with_source(error))?;
        let (mut taken, mut unread) = (Vec::new(), 0);
        for resource in resources {
            let Some(text) = resource.data else {
                unread += 1;
                continue;
            };
            match event::times(&text, local) {
                Some(times) if times.has_rules => return self.free_busy(from, until).await,
                Some(times) => {
                    unread += times.unread;
                    taken.extend(times.taken);
                }
                None => unread += 1,
            }
        }
        if unread > 0 {
            // One damaged event must not keep everybody from meeting the host.
            tracing::warn!(unread, "events in the host's calendar cannot be read");
        }
        taken.retain(|taken| taken.busy.end > from && taken.busy.start < until);
        Ok(taken)
    }

    /// The same from a server that gives the rules of recurring events instead of their times.
    async fn free_busy(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Taken>, ProviderError> {
        let answer = self.report(wire::free_busy(from, until), "1").await?;
        let busy = event::free_busy(&answer).ok_or_else(|| {
            protocol().with_detail(
                "the calendar server neither expands recurring events nor says when its owner is \
                 busy",
            )
        })?;
        let uid = String::new();
        let taken = busy.into_iter().map(|busy| Taken {
            uid: uid.clone(),
            busy,
        });
        Ok(taken
            .filter(|taken| taken.busy.end > from && taken.busy.start < until)
            .collect())
    }

    /// Whether a calendar is there that answers.
    pub(super) async fn is_calendar(&self) -> Result<bool, ProviderError> {
        let request = self
            .request("PROPFIND", self.url.clone())?
            .header("Depth", "0")
            .header(CONTENT_TYPE, XML)
            .body(wire::WHAT_IS_IT);
        let answer = self.read(self.send(request).await?).await?;
        let found = wire::multistatus(&answer).map_err(|error| protocol().with_source(error))?;
        Ok(found.iter().any(|resource| resource.is_calendar))
    }

    /// The event of this name.
    pub(super) async fn get(&self, uid: &str) -> Result<Option<Kept>, ProviderError> {
        let request = self.request("GET", self.event(uid)?)?;
        let response = request.send().await.map_err(broken)?;
        if matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::GONE) {
            return Ok(None);
        }
        let response = accepted(response)?;
        let etag = response.headers().get(ETAG);
        let etag = etag.and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let text = self.read(response).await?;
        Ok(Some(Kept { text, etag }))
    }

    /// Writes the event of this name; false when the condition does not hold.
    pub(super) async fn put(
        &self,
        uid: &str,
        text: String,
        condition: Condition<'_>,
    ) -> Result<bool, ProviderError> {
        let request = self
            .request("PUT", self.event(uid)?)?
            .header(CONTENT_TYPE, "text/calendar; charset=utf-8");
        let request = match condition {
            Condition::Absent => request.header(IF_NONE_MATCH, "*"),
            Condition::Same(Some(etag)) => request.header(IF_MATCH, etag),
            Condition::Same(None) => request,
        };
        self.changed(request.body(text)).await
    }

    /// Deletes the event of this name; false when it is another one by now.
    pub(super) async fn delete(
        &self,
        uid: &str,
        etag: Option<&str>,
    ) -> Result<bool, ProviderError> {
        let request = self.request("DELETE", self.event(uid)?)?;
        let request = match etag {
            Some(etag) => request.header(IF_MATCH, etag),
            None => request,
        };
        match self.changed(request).await {
            Err(gone) if *gone.kind() == ProviderErrorKind::NotFound => Ok(true),
            done => done,
        }
    }

    async fn changed(&self, request: RequestBuilder) -> Result<bool, ProviderError> {
        let response = request.send().await.map_err(broken)?;
        if response.status() == StatusCode::PRECONDITION_FAILED {
            return Ok(false);
        }
        accepted(response).map(|_| true)
    }

    async fn report(&self, body: String, depth: &str) -> Result<String, ProviderError> {
        let request = self
            .request("REPORT", self.url.clone())?
            .header("Depth", depth)
            .header(CONTENT_TYPE, XML)
            .body(body);
        self.read(self.send(request).await?).await
    }

    fn request(&self, method: &str, url: Url) -> Result<RequestBuilder, ProviderError> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|error| invalid("no such method").with_source(error))?;
        let request = self.http.request(method, url);
        Ok(match &self.user {
            Some(user) => {
                let password = self.password.as_ref().map(Private::reveal);
                request.basic_auth(user, password)
            }
            None => request,
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ProviderError> {
        accepted(request.send().await.map_err(broken)?)
    }

    async fn read(&self, mut response: Response) -> Result<String, ProviderError> {
        let mut body = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(protocol().with_detail("the calendar server's answer is too long"));
            }
            body.extend_from_slice(&piece);
        }
        String::from_utf8(body.into()).map_err(|error| protocol().with_source(error))
    }

    /// Where the event of this name is.
    fn event(&self, uid: &str) -> Result<Url, ProviderError> {
        let mut url = self.url.clone();
        let name = format!("{uid}.ics");
        match url.path_segments_mut() {
            Ok(mut path) => _ = path.pop_if_empty().push(&name),
            Err(()) => return Err(invalid("the calendar's address has no path")),
        }
        Ok(url)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The path often holds the user's name.
        f.debug_struct("Server")
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

/// An address to which a password may go, and whether it is on this machine.
fn checked(address: &str) -> Result<(Url, bool), ProviderError> {
    let shape =
        || invalid("the calendar's address must be like https://dav.example.org/mike/work/");
    let mut url = Url::parse(address.trim()).map_err(|error| shape().with_source(error))?;
    let is_local = match url.host().ok_or_else(shape)? {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(
            "give the calendar's user and password apart from its address",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(shape());
    }
    if !(url.scheme() == "https" || (url.scheme() == "http" && is_local)) {
        return Err(invalid(
            "the calendar's address must be https, or http on this machine",
        ));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok((url, is_local))
}

fn accepted(response: Response) -> Result<Response, ProviderError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    Err(refused(status, response.headers()))
}

/// What a refusal means, and what to do about it.
fn refused(status: StatusCode, headers: &HeaderMap) -> ProviderError {
    let (kind, detail) = match status.as_u16() {
        401 => (
            ProviderErrorKind::Unauthorized,
            "the calendar server does not take this user with this password",
        ),
        403 => (
            ProviderErrorKind::Unauthorized,
            "the user may not do this in the calendar: let them read and write it",
        ),
        404 | 410 => (
            ProviderErrorKind::NotFound,
            "there is no calendar at its address",
        ),
        300..=399 => (
            ProviderErrorKind::Invalid,
            "the calendar is at another address: give the one that the server redirects to",
        ),
        405 | 415 | 501 => (
            ProviderErrorKind::Invalid,
            "what is at the calendar's address is no CalDAV calendar",
        ),
        429 => {
            let seconds = headers.get(RETRY_AFTER).and_then(|value| {
                let seconds: u64 = value.to_str().ok()?.trim().parse().ok()?;
                Some(Duration::from_secs(seconds.min(3_600)))
            });
            (
                ProviderErrorKind::Throttled {
                    retry_after: seconds,
                },
                "too many requests to the calendar server",
            )
        }
        408 | 423 | 500..=599 => (
            ProviderErrorKind::Unavailable,
            "the calendar server is out of order",
        ),
        _ => (
            ProviderErrorKind::Protocol,
            "the calendar server refuses the request",
        ),
    };
    ProviderError::new(PROVIDER, kind).with_detail(format!("{detail} ({})", status.as_u16()))
}

fn broken(error: reqwest::Error) -> ProviderError {
    // The address may hold the user's name.
    let error = error.without_url();
    let (kind, detail) = match () {
        () if error.is_timeout() => (
            ProviderErrorKind::TimedOut,
            "the calendar server does not answer in time",
        ),
        () => (
            ProviderErrorKind::Unavailable,
            "the calendar server cannot be reached: check its address and the network",
        ),
    };
    ProviderError::new(PROVIDER, kind)
        .with_detail(detail)
        .with_source(error)
}

fn invalid(detail: &str) -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Invalid).with_detail(detail)
}

fn protocol() -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Protocol)
}

const XML: &str = "application/xml; charset=utf-8";
const CONNECT: Duration = Duration::from_secs(3);
/// Far more than the events of some weeks.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_to_encrypted_addresses_and_this_machine_alone() {
        for (right, path, is_local) in [
            ("https://dav.example.org/mike/work", "/mike/work/", false),
            ("https://dav.example.org", "/", false),
            ("http://127.0.0.1:5232/mike/work/", "/mike/work/", true),
            ("http://[::1]:5232/w/", "/w/", true),
            ("http://localhost/w/", "/w/", true),
        ] {
            let (url, local) = checked(right).unwrap();
            assert_eq!((url.path(), local), (path, is_local), "{right}");
        }
        for wrong in [
            "http://dav.example.org/",
            "https://mike:secret@dav.example.org/",
            "ftp://localhost/",
            "https://dav.example.org/?a=1",
            "mike",
            "",
        ] {
            let refused = checked(wrong).unwrap_err();
            assert_eq!(*refused.kind(), ProviderErrorKind::Invalid, "{wrong}");
            assert!(!refused.to_string().contains("secret"));
        }
    }
}
