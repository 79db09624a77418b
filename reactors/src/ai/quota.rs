//! How often models may be called, by all processes of the workers together (C20).

use std::time::Duration;

use async_trait::async_trait;

/// Counts the calls. One call is let through for each that is granted; an attempt that fails was one.
#[async_trait]
pub trait Quota: Send + Sync {
    /// Lets one call through.
    ///
    /// # Errors
    /// How long to wait before it is worth while to ask again.
    async fn take(&self) -> Result<(), Duration>;
}

/// Lets every call through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlimited;

#[async_trait]
impl Quota for Unlimited {
    async fn take(&self) -> Result<(), Duration> {
        Ok(())
    }
}
