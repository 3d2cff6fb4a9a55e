use super::error::ApiError;
use std::sync::Arc;
use tokio::sync::Notify;

/// What letters are sent with.
#[derive(Debug, Clone, Default)]
pub struct Letters {
    /// Whether there is a mail server.
    pub are_sent: bool,
    /// Told when there is one to send.
    pub wake: Arc<Notify>,
    /// What links in them begin with.
    pub public_url: String,
}

impl Letters {
    /// The address of an invitation's page.
    pub(super) fn link(&self, token: &str) -> String {
        format!("{}/invite/{token}", self.public_url)
    }

    /// The address of the page on which a partner activates its account.
    pub(super) fn activation_link(&self, token: &str) -> String {
        format!("{}/activate/{token}", self.public_url)
    }

    /// Nothing, or that no letter can be sent.
    pub(super) fn require(&self) -> Result<(), ApiError> {
        let detail = "no mail server is configured; take the link to its reader by another way";
        self.are_sent
            .then_some(())
            .ok_or_else(|| ApiError::conflict("mail_unavailable", detail))
    }
}
