//! Relay connections out of the read side's pages.

use async_graphql::{Context, SimpleObject};
use projections::page::PageRequest;

use crate::error::ApiError;

/// Where a page stands in its list.
#[derive(Clone, Debug, Default, SimpleObject)]
pub struct PageInfo {
    /// Whether items follow after this page.
    pub has_next_page: bool,
    /// Whether items come before this page.
    pub has_previous_page: bool,
    /// Cursor of the page's first item, for `before`; null on an empty page.
    pub start_cursor: Option<String>,
    /// Cursor of the page's last item, for `after`; null on an empty page.
    pub end_cursor: Option<String>,
}

/// The page that the arguments of a connection ask for: 20 items unless said otherwise, at most 100.
///
/// # Errors
/// `PAGE_INVALID`.
pub fn forward(first: Option<i32>, after: Option<String>) -> Result<PageRequest, ApiError> {
    both_ways(first, after, None, None)
}

/// The same for connections that can be read from their end, too.
///
/// # Errors
/// `PAGE_INVALID`.
pub fn both_ways(
    first: Option<i32>,
    after: Option<String>,
    last: Option<i32>,
    before: Option<String>,
) -> Result<PageRequest, ApiError> {
    let [first, last] = [first, last].map(|n| n.map(i64::from));
    Ok(PageRequest::parse(first, after, last, before)?)
}

/// Whether the total is asked for: counting is a query of its own.
#[must_use]
pub fn wants_total(ctx: &Context<'_>) -> bool {
    ctx.look_ahead().field("totalCount").exists()
}

/// Declares the connection and the edge of a kind of node.
macro_rules! connections {
    ($($connection:ident, $edge:ident: $node:ty = $what:literal;)*) => {$(
        #[doc = concat!("One of ", $what, ", with its place in the list.")]
        #[derive(async_graphql::SimpleObject)]
        pub struct $edge {
            /// Opaque place in the list, for `after` or `before` of the same list.
            cursor: String,
            /// The item.
            node: $node,
        }

        #[doc = concat!("A page of ", $what, ".")]
        pub struct $connection {
            edges: Vec<$edge>,
            page_info: $crate::pagination::PageInfo,
            total_count: u64,
        }

        impl $connection {
            /// The connection of a page.
            pub fn of<R>(
                page: projections::page::Page<R>,
                total_count: u64,
                node: impl Fn(R) -> $node,
            ) -> Self {
                let page_info = $crate::pagination::PageInfo {
                    has_next_page: page.has_next,
                    has_previous_page: page.has_previous,
                    start_cursor: page.edges.first().map(|edge| edge.cursor.clone()),
                    end_cursor: page.edges.last().map(|edge| edge.cursor.clone()),
                };
                let edge = |edge: projections::page::Edge<R>| $edge {
                    cursor: edge.cursor,
                    node: node(edge.node),
                };
                let edges = page.edges.into_iter().map(edge).collect();
                Self { edges, page_info, total_count }
            }
        }

        #[doc = concat!("A page of ", $what, ".")]
        #[async_graphql::Object]
        impl $connection {
            /// The items, each with its cursor.
            async fn edges(&self) -> &[$edge] {
                &self.edges
            }

            /// The items alone.
            async fn nodes(&self) -> Vec<&$node> {
                self.edges.iter().map(|edge| &edge.node).collect()
            }

            /// Where the page stands in the list.
            async fn page_info(&self) -> &$crate::pagination::PageInfo {
                &self.page_info
            }

            /// How many items the whole list has that fit the filter and that the caller may see.
            async fn total_count(&self) -> u64 {
                self.total_count
            }
        }
    )*};
}
pub(crate) use connections;
