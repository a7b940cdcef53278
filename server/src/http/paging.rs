//! The page of a list that a client asks for.

use axum::extract::{FromRequestParts, Query};
use homeport_api::Page;
use http::request::Parts;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::IntoParams;

use super::Refusal;
use crate::store::Paging;

/// The parameters of every list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParameters {
    /// The `next` of another page: only items behind that page.
    after: Option<String>,
    /// Most items of the page, 1 to 200. Without it, 50.
    limit: Option<u32>,
}

/// The page of a list whose items have the key `K`.
#[derive(Debug)]
pub(crate) struct Wanted<K>(pub(crate) Paging<K>);

// === impl Wanted ===

impl<K, S> FromRequestParts<S> for Wanted<K>
where
    K: Serialize + DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let Query(wanted) = Query::<PageParameters>::try_from_uri(&parts.uri)
            .map_err(|error| Refusal::malformed(error.body_text()))?;
        let limit = wanted.limit.unwrap_or(Page::<()>::DEFAULT);
        if !(1..=Page::<()>::MOST).contains(&limit) {
            return Err(Refusal::malformed(format!(
                "`limit` is from 1 to {}",
                Page::<()>::MOST
            )));
        }
        match wanted.after {
            None => Ok(Self(Paging::first(limit))),
            Some(cursor) => Paging::behind(&cursor, limit).map(Self).ok_or_else(|| {
                Refusal::malformed("`after` is not the `next` of a page of this list: begin without it")
            }),
        }
    }
}
