//! Lists come in pages.

use serde::{Deserialize, Serialize};

/// Part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// What to give as `after` to get those that follow; absent on the last page. Opaque.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Items that a page has when nobody says how many.
    pub const DEFAULT: u32 = 50;

    /// Most items of a page.
    pub const MOST: u32 = 200;
}
