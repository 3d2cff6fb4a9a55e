//! The link by which a partner activates its account. Of its text only the SHA-256 is kept.

use super::mails;
use super::rows::{id, int, micros, optional_id, optional_time, time};
use super::{Change, PartnerRecord, StoreError};
use crate::directory::Secret;
use crate::provisioning::{INVITATION_LASTS, Letter};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// How a partner's invitation stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PartnerInvitation)]
pub struct PartnerInvitationRecord {
    /// Whose.
    pub partner_id: Uuid,
    /// Links that were made; only the last one counts.
    pub letters: u32,
    /// When that was.
    #[serde(with = "time::serde::rfc3339")]
    pub sent_at: OffsetDateTime,
    /// When the link no longer counts.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// When the partner used it.
    #[serde(with = "time::serde::rfc3339::option")]
    pub used_at: Option<OffsetDateTime>,
}

fn record(row: &SqliteRow) -> Result<PartnerInvitationRecord, sqlx::Error> {
    Ok(PartnerInvitationRecord {
        partner_id: id(row, "partner_id")?,
        letters: int(row, "letters")?,
        sent_at: time(row, "sent_at")?,
        expires_at: time(row, "expires_at")?,
        used_at: optional_time(row, "used_at")?,
    })
}

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

/// Makes a partner's link, in place of the one before: its text, which is never seen again.
pub async fn renew(
    connection: &mut SqliteConnection,
    partner: Uuid,
    at: OffsetDateTime,
) -> Result<(PartnerInvitationRecord, Secret), StoreError> {
    let token = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    sqlx::query(
        "INSERT INTO partner_invitations (partner_id, token_hash, letters, sent_at, expires_at) VALUES (?, ?, 1, ?, ?)
         ON CONFLICT (partner_id) DO UPDATE SET token_hash = excluded.token_hash, letters = letters + 1,
         sent_at = excluded.sent_at, expires_at = excluded.expires_at, used_at = NULL",
    )
    .bind(partner.to_string())
    .bind(hash(&token))
    .bind(micros(at))
    .bind(micros(at + INVITATION_LASTS))
    .execute(&mut *connection)
    .await?;
    let made = find(connection, partner).await?;
    Ok((made.ok_or(sqlx::Error::RowNotFound)?, Secret::new(token)))
}

/// Has the letter with the link sent, in place of one that has not left.
pub async fn send(
    change: &mut Change,
    partner: &PartnerRecord,
    letter: &Letter,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    let id = partner.id.to_string();
    let query = sqlx::query("SELECT mail_id FROM partner_invitations WHERE partner_id = ?");
    let row = query.bind(&id).fetch_one(&mut **change).await?;
    if let Some(mail) = optional_id(&row, "mail_id")? {
        mails::withdraw(change, mail, "the link no longer counts").await?;
    }
    let mail = mails::queue(change, None, &partner.settings.email, letter, at).await?;
    sqlx::query("UPDATE partner_invitations SET mail_id = ? WHERE partner_id = ?")
        .bind(mail.to_string())
        .bind(id)
        .execute(&mut **change)
        .await?;
    Ok(())
}

/// That of a partner.
pub async fn find(
    connection: &mut SqliteConnection,
    partner: Uuid,
) -> Result<Option<PartnerInvitationRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM partner_invitations WHERE partner_id = ?");
    let row = query
        .bind(partner.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// The one whose link has this text.
pub async fn by_token(
    connection: &mut SqliteConnection,
    token: &str,
) -> Result<Option<PartnerInvitationRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM partner_invitations WHERE token_hash = ?");
    let row = query.bind(hash(token)).fetch_optional(connection).await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// The link has done its work.
pub async fn use_up(
    connection: &mut SqliteConnection,
    partner: Uuid,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE partner_invitations SET used_at = ? WHERE partner_id = ?")
        .bind(micros(at))
        .bind(partner.to_string())
        .execute(connection)
        .await?;
    Ok(())
}
