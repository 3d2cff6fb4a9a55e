//! Sounds that are brought: music on hold, a carrier's for all its customers or a partner's for its own, and what refused
//! callers hear.

use super::rows::{micros, now, time};
use super::{Store, StoreError};
use crate::audio::{Announcement, Clip};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Bytes of a stored second.
const SECOND: f64 = 16_000.0;

/// What a stored piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Music for the customers of all partners that have none of their own.
    Carrier,
    /// Music for the customers of this partner.
    Partner(Uuid),
    /// What refused callers hear in place of the built-in tones.
    Announcement(Announcement),
}

impl Piece {
    /// Music of this partner, or of the carrier.
    pub fn of(partner: Option<Uuid>) -> Self {
        partner.map_or(Self::Carrier, Self::Partner)
    }

    /// Where it is stored.
    pub(super) fn key(self) -> String {
        match self {
            Self::Carrier => String::new(),
            Self::Partner(id) => id.to_string(),
            Self::Announcement(which) => format!("announcement:{}", which.name()),
        }
    }

    fn partner(self) -> Option<Uuid> {
        match self {
            Self::Partner(id) => Some(id),
            Self::Carrier | Self::Announcement(_) => None,
        }
    }

    fn announcement(self) -> Option<Announcement> {
        match self {
            Self::Announcement(which) => Some(which),
            Self::Carrier | Self::Partner(_) => None,
        }
    }
}

/// A stored piece, without its sound.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Music)]
pub struct MusicRecord {
    /// Whose customers hear it; none for those of all partners that have none of their own.
    pub partner_id: Option<Uuid>,
    /// What it announces; none: it is music on hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announcement: Option<Announcement>,
    /// After so many seconds it begins again.
    pub duration_s: f64,
    /// When the first piece was brought.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When this one was.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
}

/// Pieces as the directory last had them, so that a change of something else does not read and encode them again.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces(Arc<Mutex<Known>>);

/// By owner: which version it is, and how it sounds.
type Known = HashMap<String, (i64, Arc<Clip>)>;

impl Pieces {
    /// Every owner's piece as it is stored now.
    pub(super) async fn load(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<HashMap<String, Arc<Clip>>, StoreError> {
        let rows = sqlx::query("SELECT owner, version FROM music")
            .fetch_all(&mut *connection)
            .await?;
        let known = self.lock().clone();
        let mut pieces = HashMap::new();
        for row in rows {
            let (owner, version): (String, i64) = (row.try_get("owner")?, row.try_get("version")?);
            let clip = match known.get(&owner) {
                Some((same, clip)) if *same == version => clip.clone(),
                _ => Arc::new(Clip::new(read(connection, &owner).await?)),
            };
            pieces.insert(owner, (version, clip));
        }
        *self.lock() = pieces.clone();
        Ok(pieces
            .into_iter()
            .map(|(owner, (_, clip))| (owner, clip))
            .collect())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// The samples of a piece, 8000 a second, as it was last stored; empty if there is none.
    pub async fn music_samples(&self, piece: Piece) -> Result<Vec<i16>, StoreError> {
        read(&mut *self.read().await?, &piece.key()).await
    }
}

/// What was brought.
pub async fn find(
    connection: &mut SqliteConnection,
    piece: Piece,
) -> Result<Option<MusicRecord>, StoreError> {
    let row = sqlx::query(
        "SELECT length(samples) AS bytes, created_at, updated_at, version FROM music WHERE owner = ?",
    )
    .bind(piece.key())
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| record(&row, piece)).transpose()?)
}

/// Brings a piece, in place of the one before.
pub async fn put(
    connection: &mut SqliteConnection,
    piece: Piece,
    samples: &[i16],
) -> Result<MusicRecord, StoreError> {
    let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let at = micros(now());
    // Versions go on after a piece was taken away, so that a piece that is known is never another one.
    sqlx::query(
        "INSERT INTO music (owner, samples, created_at, updated_at, version) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (owner) DO UPDATE SET samples = excluded.samples, updated_at = excluded.updated_at,
         version = excluded.version",
    )
    .bind(piece.key())
    .bind(bytes)
    .bind(at)
    .bind(at)
    .bind(at)
    .execute(&mut *connection)
    .await?;
    Ok(find(connection, piece)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

/// Takes the piece away: who heard it hears what the carrier has, or the built-in piece.
pub async fn delete(connection: &mut SqliteConnection, piece: Piece) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM music WHERE owner = ?")
        .bind(piece.key())
        .execute(connection)
        .await?;
    Ok(())
}

async fn read(connection: &mut SqliteConnection, owner: &str) -> Result<Vec<i16>, StoreError> {
    let row = sqlx::query("SELECT samples FROM music WHERE owner = ?")
        .bind(owner)
        .fetch_optional(connection)
        .await?;
    let bytes: Vec<u8> = match row {
        Some(row) => row.try_get("samples")?,
        None => Vec::new(),
    };
    let samples = bytes.as_chunks().0.iter();
    Ok(samples.map(|two| i16::from_le_bytes(*two)).collect())
}

fn record(row: &SqliteRow, piece: Piece) -> Result<MusicRecord, sqlx::Error> {
    Ok(MusicRecord {
        partner_id: piece.partner(),
        announcement: piece.announcement(),
        duration_s: row.try_get::<i64, _>("bytes")? as f64 / SECOND,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::customers::{self, tests::acme};
    use super::super::open::tests::fresh;
    use super::super::partners::tests::reseller;
    use super::super::{CustomerSettings, Store, partners};
    use super::*;

    fn heard(store: &Store, account: &str) -> Option<Arc<Clip>> {
        let directory = store.directory().load_full();
        let mut customers = directory.customers();
        let customer = customers.find(|customer| customer.account_id == account);
        customer.unwrap().music.clone()
    }

    /// A partner's customers hear its piece, all others the carrier's, and everybody the built-in one when these are gone.
    #[tokio::test]
    async fn the_nearest_piece_is_heard() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let reseller = reseller("r@p.example", None);
        let partner = partners::insert(&mut change, &reseller).await.unwrap().id;
        let resold = CustomerSettings {
            account_id: "resold".into(),
            partner_id: Some(partner),
            ..acme()
        };
        customers::insert(&mut change, &acme()).await.unwrap();
        customers::insert(&mut change, &resold).await.unwrap();
        put(&mut change, Piece::Carrier, &[100; 16_000])
            .await
            .unwrap();
        let own = Piece::of(Some(partner));
        let own = put(&mut change, own, &[200; 8000]).await.unwrap();
        assert_eq!((own.duration_s, own.partner_id), (1.0, Some(partner)));
        change.publish().await.unwrap();
        let (all, own) = (heard(&store, "acme"), heard(&store, "resold"));
        assert_eq!(all, Some(Arc::new(Clip::new([100; 16_000]))));
        assert_eq!(own, Some(Arc::new(Clip::new([200; 8000]))));

        // A change of something else shares the same sound.
        let change = store.change().await.unwrap();
        change.publish().await.unwrap();
        assert!(Arc::ptr_eq(&heard(&store, "acme").unwrap(), &all.unwrap()));

        for (partner, acme, resold) in [(Some(partner), true, true), (None, false, false)] {
            let mut change = store.change().await.unwrap();
            delete(&mut change, Piece::of(partner)).await.unwrap();
            change.publish().await.unwrap();
            assert_eq!(heard(&store, "acme").is_some(), acme);
            assert_eq!(heard(&store, "resold").is_some(), resold);
        }
    }

    /// An announcement that was brought is heard in place of the built-in one; it is nobody's music.
    #[tokio::test]
    async fn an_announcement_is_no_music() {
        let (_folder, store) = fresh().await;
        let which = Announcement::NotInService;
        let sounds = || store.directory().load_full().announcement(which);
        let mut change = store.change().await.unwrap();
        customers::insert(&mut change, &acme()).await.unwrap();
        let piece = Piece::Announcement(which);
        let brought = put(&mut change, piece, &[100; 16_000]).await.unwrap();
        assert_eq!(brought.announcement, Some(which));
        change.publish().await.unwrap();
        assert_eq!(sounds(), Arc::new(Clip::new([100; 16_000])));
        assert_eq!(heard(&store, "acme"), None);
        let mut change = store.change().await.unwrap();
        delete(&mut change, piece).await.unwrap();
        change.publish().await.unwrap();
        assert!(Arc::ptr_eq(&sounds(), &which.built_in()));
    }
}
