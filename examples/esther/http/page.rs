//! The page at `/`: files that are part of the program.

use axum::{
    Router,
    http::{HeaderName, header},
    routing::get,
};

use super::App;

/// `GET /` and what it loads.
pub(super) fn routes() -> Router<App> {
    let mut routes = Router::new();
    for file in &FILES {
        let headers: [(HeaderName, &'static str); 3] = [
            (header::CONTENT_TYPE, file.kind),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (
                HeaderName::from_static("permissions-policy"),
                "microphone=(self)",
            ),
        ];
        routes = routes.route(file.path, get(async move || (headers, file.text)));
    }
    routes
}

pub(super) struct File {
    pub(super) path: &'static str,
    pub(super) kind: &'static str,
    pub(super) text: &'static str,
}

pub(super) const FILES: [File; 10] = [
    File {
        path: "/",
        kind: "text/html; charset=utf-8",
        text: include_str!("../page/index.html"),
    },
    File {
        path: "/style.css",
        kind: "text/css; charset=utf-8",
        text: include_str!("../page/style.css"),
    },
    File {
        path: "/app.js",
        kind: JAVASCRIPT,
        text: include_str!("../page/app.js"),
    },
    File {
        path: "/calls.js",
        kind: JAVASCRIPT,
        text: include_str!("../page/calls.js"),
    },
    File {
        path: "/dom.js",
        kind: JAVASCRIPT,
        text: include_str!("../page/dom.js"),
    },
    File {
        path: "/words.js",
        kind: JAVASCRIPT,
        text: include_str!("../page/words.js"),
    },
    File {
        path: "/talk.js",
        kind: JAVASCRIPT,
        text: include_str!("../page/talk.js"),
    },
    File {
        path: "/capture.js",
        kind: JAVASCRIPT,
        text: include_str!("../page/capture.js"),
    },
    File {
        path: "/player.js",
        kind: JAVASCRIPT,
        text: include_str!("../page/player.js"),
    },
    File {
        path: "/icon.svg",
        kind: "image/svg+xml",
        text: include_str!("../page/icon.svg"),
    },
];

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
/// Nothing from elsewhere, nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
