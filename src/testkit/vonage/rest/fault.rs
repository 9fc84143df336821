//! Requests that go wrong on purpose.

/// What becomes of some of the next requests. Start from [`Fault::new`].
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "built with struct update syntax; the testkit is outside semver"
)]
pub struct Fault {
    /// Which requests: the beginning of their method and path, such as `POST /v1/calls`. Default:
    /// all.
    pub on: String,
    /// How many of them. Default: one.
    pub times: u32,
    /// What happens.
    pub what: Failing,
}

/// How a request fails.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "the testkit is outside semver")]
pub enum Failing {
    /// It is answered with this, and not carried out.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
        /// Headers beside the usual ones.
        headers: Vec<(&'static str, String)>,
    },
    /// It is never answered.
    Silent {
        /// But carried out.
        carried_out: bool,
    },
    /// The connection breaks.
    Broken {
        /// After it was carried out.
        carried_out: bool,
    },
}

impl Fault {
    /// The next request fails like this.
    #[must_use]
    pub const fn new(what: Failing) -> Self {
        Self {
            on: String::new(),
            times: 1,
            what,
        }
    }

    /// The next request is answered with this status and body.
    pub fn answer(status: u16, body: impl Into<String>) -> Self {
        Self::new(Failing::Answer {
            status,
            body: body.into(),
            headers: Vec::new(),
        })
    }

    /// The next request is answered 429, with this `Retry-After`.
    #[must_use]
    pub fn throttle(retry_after: Option<&str>) -> Self {
        let header = |value: &str| ("retry-after", value.to_owned());
        Self::new(Failing::Answer {
            status: 429,
            body: r#"{"type":"THROTTLED","error_title":"Too Many Requests"}"#.to_owned(),
            headers: retry_after.map(header).into_iter().collect(),
        })
    }

    /// Only requests whose method and path begin like this, such as `POST /v1/calls`.
    #[must_use]
    pub fn on(mut self, request: &str) -> Self {
        request.clone_into(&mut self.on);
        self
    }

    /// So many of them.
    #[must_use]
    pub const fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }
}
