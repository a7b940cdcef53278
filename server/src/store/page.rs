//! Pages of lists.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use homeport_api::Page;
use serde::{Serialize, de::DeserializeOwned};

/// The request for a page of a list whose items have the key `K`, in the order of the keys.
#[derive(Debug, Clone)]
pub struct Paging<K> {
    /// Only items behind this one.
    pub after: Option<K>,
    /// Most items.
    pub limit: u32,
}

// === impl Paging ===

impl<K> Paging<K> {
    /// The first items.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }

    /// Rows to read: one more than the limit, to tell whether a page follows.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }
}

impl Paging<u64> {
    /// Numbers of a list with the newest first are below this one.
    pub(crate) fn below(&self) -> i64 {
        self.after.and_then(|id| id.try_into().ok()).unwrap_or(i64::MAX)
    }

    /// Numbers of a list with the oldest first are above this one.
    pub(crate) fn above(&self) -> i64 {
        self.after.map_or(0, |id| id.try_into().unwrap_or(i64::MAX))
    }
}

impl<K: Serialize + DeserializeOwned> Paging<K> {
    /// The page behind the item that `cursor` stands for, the `next` of another page. `None` if no page can have such a `next`.
    #[must_use]
    pub fn behind(cursor: &str, limit: u32) -> Option<Self> {
        let key = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        Some(Self {
            after: Some(serde_json::from_slice(&key).ok()?),
            limit,
        })
    }

    /// Makes a page of `rows`; the last row may belong to the next page.
    pub(crate) fn page<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> K) -> serde_json::Result<Page<T>> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more).map(key);
        let next = last.map(|key| serde_json::to_vec(&key)).transpose()?;
        Ok(Page {
            items: rows,
            next: next.map(|key| URL_SAFE_NO_PAD.encode(key)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_the_next_one_begins() {
        let first = Paging::<(String, u32)>::first(2);
        let rows = vec![("a".to_owned(), 1), ("b".to_owned(), 2), ("c".to_owned(), 3)];
        let page = first.page(rows.clone(), Clone::clone).unwrap();
        assert_eq!(page.items, rows[..2]);
        let second = Paging::<(String, u32)>::behind(&page.next.unwrap(), 2).unwrap();
        assert_eq!(second.after, Some(("b".to_owned(), 2)));
        let last = second.page(rows[..2].to_vec(), Clone::clone).unwrap();
        assert_eq!(last.next, None, "just as many as asked for");
    }

    #[test]
    fn what_no_page_has_said_is_no_cursor() {
        for cursor in ["", "=", "abc", "bnVsbA", "WzEsMl0"] {
            assert!(Paging::<(String, u32)>::behind(cursor, 1).is_none(), "{cursor}");
        }
    }
}
