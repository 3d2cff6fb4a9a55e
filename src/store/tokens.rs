//! Bearer tokens of the API.

use super::error::Faults;
use super::rows::{id, micros, named, new_id, now, optional_id, optional_time, time};
use super::{Store, StoreError};
use crate::directory::Secret;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use std::str::FromStr;
use time::OffsetDateTime;
use uuid::Uuid;

/// What the bearer of a token may do, roughly; the table of routes says it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessRole {
    /// Everything.
    CarrierAdmin,
    /// The customers of one partner, which is the token's scope.
    PartnerAdmin,
    /// Reads about one customer, which is the token's scope.
    CustomerAdmin,
    /// Looks after the users and numbers of one customer, which is the token's scope, as far as its licence goes.
    CustomerOperator,
    /// Reads everything and may hang up calls.
    Noc,
    /// Looks after the telephone of one user, who is the token's scope.
    EndUser,
}

impl AccessRole {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::CarrierAdmin,
        Self::PartnerAdmin,
        Self::CustomerAdmin,
        Self::CustomerOperator,
        Self::Noc,
        Self::EndUser,
    ];

    /// As on the command line and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::CarrierAdmin => "carrier_admin",
            Self::PartnerAdmin => "partner_admin",
            Self::CustomerAdmin => "customer_admin",
            Self::CustomerOperator => "customer_operator",
            Self::Noc => "noc",
            Self::EndUser => "end_user",
        }
    }

    /// Whether a token of this role is for one partner, customer or user only.
    pub fn is_scoped(self) -> bool {
        self == Self::PartnerAdmin || self.is_of_customer()
    }

    /// Whether its bearer belongs to a customer, and acts in its own name there.
    pub fn is_of_customer(self) -> bool {
        matches!(
            self,
            Self::CustomerAdmin | Self::CustomerOperator | Self::EndUser
        )
    }
}

impl FromStr for AccessRole {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or(
            "must be carrier_admin, partner_admin, customer_admin, customer_operator, noc or end_user",
        )
    }
}

/// A stored token, without what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// For the audit.
    pub id: Uuid,
    /// For people: who has it.
    pub name: String,
    /// What its bearer may do.
    pub role: AccessRole,
    /// The partner, customer or user that a scoped role is confined to.
    pub scope: Option<Uuid>,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When it stops to count; none never.
    pub expires_at: Option<OffsetDateTime>,
    /// Since when it no longer counts.
    pub revoked_at: Option<OffsetDateTime>,
}

/// A token just created: the only time that its text is seen.
#[derive(Debug)]
pub struct NewToken {
    /// What to send after `Authorization: Bearer`: `tg_` and 256 random bits.
    pub text: Secret,
    /// What is kept.
    pub token: Token,
}

/// The tokens of a store.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a>(&'a Store);

impl<'a> Tokens<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self(store)
    }

    /// Makes one. A scoped role needs a scope, another must not have one.
    pub async fn create(
        &self,
        name: &str,
        role: AccessRole,
        scope: Option<Uuid>,
        expires_at: Option<OffsetDateTime>,
    ) -> Result<NewToken, StoreError> {
        let mut faults = Faults::default();
        faults.length("name", name, 1, 128);
        let message = if role.is_scoped() {
            "is needed for this role"
        } else {
            "makes no sense with this role"
        };
        faults.demand(
            scope.is_some() == role.is_scoped(),
            "scope",
            "scope",
            message,
        );
        faults.or(())?;

        let new = new_token(name, role, scope, expires_at);
        insert(&mut *self.0.pool.acquire().await?, &new, None).await?;
        Ok(new)
    }

    /// The token of this text, if it counts now. Found by its hash, so that the time it takes tells nothing of it.
    pub async fn authenticate(&self, text: &str) -> Result<Option<Token>, StoreError> {
        let query = sqlx::query("SELECT * FROM tokens WHERE hash = ?").bind(hash(text));
        let row = query.fetch_optional(&self.0.pool).await?;
        let token = row.as_ref().map(token).transpose()?;
        let counts = |token: &Token| {
            token.revoked_at.is_none() && token.expires_at.is_none_or(|end| now() < end)
        };
        Ok(token.filter(counts))
    }

    /// Ends one; it is kept for the audit. False if there is none of this id that counted.
    pub async fn revoke(&self, id: Uuid) -> Result<bool, StoreError> {
        let query =
            sqlx::query("UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL");
        let done = query
            .bind(micros(now()))
            .bind(id.to_string())
            .execute(&self.0.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// All of them, revoked and expired ones too, in the order of creation.
    pub async fn list(&self) -> Result<Vec<Token>, StoreError> {
        let rows = sqlx::query("SELECT * FROM tokens ORDER BY seq")
            .fetch_all(&self.0.pool)
            .await?;
        Ok(rows.iter().map(token).collect::<Result<_, _>>()?)
    }
}

/// A token that is not stored yet.
pub(super) fn new_token(
    name: &str,
    role: AccessRole,
    scope: Option<Uuid>,
    expires_at: Option<OffsetDateTime>,
) -> NewToken {
    let random = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    NewToken {
        text: Secret::new(format!("tg_{random}")),
        token: Token {
            id: new_id(),
            name: name.to_owned(),
            role,
            scope,
            created_at: now(),
            expires_at,
            revoked_at: None,
        },
    }
}

/// Stores one; `account`: of whoever signed in for it.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    new: &NewToken,
    account: Option<Uuid>,
) -> Result<(), StoreError> {
    let token = &new.token;
    sqlx::query(
        "INSERT INTO tokens (id, name, role, scope, hash, created_at, expires_at, account_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(token.id.to_string())
    .bind(&token.name)
    .bind(token.role.name())
    .bind(token.scope.map(|id| id.to_string()))
    .bind(hash(new.text.expose()))
    .bind(micros(token.created_at))
    .bind(token.expires_at.map(micros))
    .bind(account.map(|id| id.to_string()))
    .execute(connection)
    .await?;
    Ok(())
}

fn hash(text: &str) -> Vec<u8> {
    Sha256::digest(text).to_vec()
}

fn token(row: &SqliteRow) -> Result<Token, sqlx::Error> {
    Ok(Token {
        id: id(row, "id")?,
        name: row.try_get("name")?,
        role: named(row, "role")?,
        scope: optional_id(row, "scope")?,
        created_at: time(row, "created_at")?,
        expires_at: optional_time(row, "expires_at")?,
        revoked_at: optional_time(row, "revoked_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::open::tests::fresh;
    use super::*;
    use time::Duration;

    #[tokio::test]
    async fn a_token_counts_until_it_expires_or_is_revoked() {
        let (_folder, store) = fresh().await;
        let tokens = store.tokens();
        let created = tokens
            .create("operator", AccessRole::CarrierAdmin, None, None)
            .await
            .unwrap();
        let text = created.text.expose();
        assert!(
            text.starts_with("tg_") && text.len() == 46,
            "256 bits in base 64"
        );
        assert_eq!(
            tokens.authenticate(text).await.unwrap(),
            Some(created.token.clone())
        );
        assert_eq!(tokens.authenticate(&text[..45]).await.unwrap(), None);
        assert_eq!(tokens.authenticate("").await.unwrap(), None);

        let past = Some(now() - Duration::SECOND);
        let expired = tokens
            .create("late", AccessRole::Noc, None, past)
            .await
            .unwrap();
        assert_eq!(
            tokens.authenticate(expired.text.expose()).await.unwrap(),
            None
        );

        assert!(tokens.revoke(created.token.id).await.unwrap());
        assert!(!tokens.revoke(created.token.id).await.unwrap());
        assert_eq!(tokens.authenticate(text).await.unwrap(), None);
        assert_eq!(tokens.list().await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn the_text_is_not_in_the_file() {
        let (folder, store) = fresh().await;
        let created = store
            .tokens()
            .create("operator", AccessRole::Noc, None, None)
            .await
            .unwrap();
        store.close().await;
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let text = created.text.expose().as_bytes();
            assert!(!bytes.windows(text.len()).any(|window| window == text));
        }
    }

    #[tokio::test]
    async fn a_scope_goes_with_the_roles_that_need_one() {
        let (_folder, store) = fresh().await;
        for role in AccessRole::ALL {
            for scope in [None, Some(Uuid::from_u128(1))] {
                let created = store.tokens().create("x", role, scope, None).await;
                assert_eq!(
                    created.is_ok(),
                    role.is_scoped() == scope.is_some(),
                    "{role:?} {scope:?}"
                );
            }
            assert_eq!(role.name().parse(), Ok(role));
        }
    }
}
