//! The companies there are, for whoever runs the platform.

use async_graphql::{Context, Object};
use domain::permission::Action;
use projections::companies;

use crate::company::Company;
use crate::error::ApiError;
use crate::pagination::{connections, forward, wants_total};
use crate::scope::Scoped;

connections! {
    CompanyConnection, CompanyEdge: Company = "the companies of the platform";
}

/// Queries on all companies.
#[derive(Default)]
pub struct CompaniesQuery;

#[Object]
impl CompaniesQuery {
    /// All companies, newest first, for whoever runs the platform. What a company has is shown to those who
    /// have entered it, by `signIn` or `refreshSession` with its id.
    async fn companies(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 20 without it.")] first: Option<i32>,
        #[graphql(desc = "The page after this cursor of the same list.")] after: Option<String>,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<CompanyConnection> {
        ctx.view(Action::EnterCompany)?;
        let page = forward(first, after)?;
        ctx.consistent(consistent_with).await?;
        let reads = &ctx.state()?.reads;
        let rows = companies::all(reads, &page).await.map_err(ApiError::from)?;
        let total = match wants_total(ctx) {
            true => companies::count_all(reads).await.map_err(ApiError::from)?,
            false => 0,
        };
        Ok(CompanyConnection::of(rows, total, Company))
    }
}
