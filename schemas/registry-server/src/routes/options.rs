//! What stands behind the question mark.

use std::collections::HashMap;
use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use url::form_urlencoded;

use crate::state::Scope;

/// The options of a request. Those that newer clients add are passed over.
#[derive(Clone, Debug, Default)]
pub(super) struct Options(HashMap<String, String>);

impl Options {
    /// Whether an option is set to true, in any case: clients write `true` and `True`.
    pub(super) fn is(&self, name: &str) -> bool {
        let value = self.0.get(name);
        value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Which versions the request is about.
    pub(super) fn scope(&self) -> Scope {
        match (self.is("deletedOnly"), self.is("deleted")) {
            (true, _) => Scope::Hidden,
            (false, true) => Scope::All,
            (false, false) => Scope::Live,
        }
    }

    /// The part of a list that `offset` and `limit` ask for; without them, or below 0, all of it.
    pub(super) fn page<T>(&self, list: Vec<T>) -> Vec<T> {
        let number = |name| self.text(name).parse::<usize>().ok();
        let offset = number("offset").unwrap_or(0);
        let limit = number("limit").unwrap_or(usize::MAX);
        list.into_iter().skip(offset).take(limit).collect()
    }
}

impl<S: Sync> FromRequestParts<S> for Options {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        let options = form_urlencoded::parse(query.as_bytes()).into_owned();
        Ok(Self(options.collect()))
    }
}
