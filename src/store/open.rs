use super::change::load;
use super::migrations::MIGRATIONS;
use super::music::Pieces;
use super::seal::has_sealed;
use super::{KeyError, Keys, Store, StoreError};
use crate::directory::{self, Directory};
use arc_swap::ArcSwap;
use sqlx::Connection;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

impl Store {
    /// Opens the file with `secrets.key` beside it.
    pub async fn open(path: &Path, config: directory::Config) -> Result<Self, StoreError> {
        Self::open_with_keys(path, &path.with_file_name("secrets.key"), config).await
    }

    /// Opens the file, creating it (and its folder) if need be, brings it up to date and compiles the first directory.
    /// Secrets in it are sealed with the first of `keys`, a file that is made, too, if there is nothing that it must open.
    pub async fn open_with_keys(
        path: &Path,
        keys: &Path,
        config: directory::Config,
    ) -> Result<Self, StoreError> {
        create(path).map_err(|error| unusable(path, error))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // What an answer promises is on disk, even when the power fails.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(10))
            .after_release(|connection, _| Box::pin(is_idle(connection)))
            .connect_with(options)
            .await
            .map_err(|error| unusable(path, error))?;
        MIGRATIONS.run(&pool).await.map_err(|error| match error {
            MigrateError::VersionMissing(migration) | MigrateError::VersionTooNew(migration, _) => {
                StoreError::Newer {
                    path: path.to_owned(),
                    migration,
                }
            }
            error => unusable(path, error),
        })?;
        let music = Pieces::default();
        let keys = match Keys::read(keys)? {
            Some(keys) => keys,
            None if has_sealed(&mut *pool.acquire().await?).await? => {
                return Err(KeyError::Missing {
                    path: keys.to_owned(),
                }
                .into());
            }
            None => Keys::read_or_make(keys)?,
        };
        let rows = load(&mut *pool.acquire().await?, &config, &keys, &music).await?;
        let directory = Directory::compile(rows).map_err(StoreError::Contradiction)?;
        let store = Self {
            pool,
            config: Arc::new(config),
            keys,
            directory: Arc::new(ArcSwap::from_pointee(directory)),
            music,
            renewals: Arc::default(),
            writer: Arc::default(),
        };
        store.seal_anew().await?;
        Ok(store)
    }
}

/// Whether a connection can be used again. SQLite takes some transactions back by itself, as where the disk is full; the
/// driver counts them on, and would begin no other.
async fn is_idle(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // What is still to be taken back is taken back before this is answered.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// Made here and not by SQLite, for it holds passwords: nobody else may read it. SQLite gives its other files the
/// same permissions.
fn create(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn unusable(path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Open {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::customers::{self, tests::acme};
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A store in a folder that goes with the guard.
    pub(in super::super) async fn fresh() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(
            &folder.path().join("tollgate.db"),
            directory::Config::default(),
        )
        .await
        .unwrap();
        (folder, store)
    }

    #[tokio::test]
    async fn what_was_published_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/tollgate.db");
        let store = Store::open(&path, directory::Config::default())
            .await
            .unwrap();
        assert_eq!(store.directory().load().generation, 1);
        let mut change = store.change().await.unwrap();
        let customer = customers::insert(&mut change, &acme()).await.unwrap();
        assert_eq!(change.publish().await.unwrap(), 2);
        store.close().await;

        let store = Store::open(&path, directory::Config::default())
            .await
            .unwrap();
        let directory = store.directory().load_full();
        assert_eq!(directory.generation, 2);
        assert_eq!(directory.customer(customer.id).unwrap().account_id, "acme");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tollgate.db");
        std::fs::write(
            &path,
            "this is a text file, long enough to have a header that is wrong",
        )
        .unwrap();
        let told = Store::open(&path, directory::Config::default())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("tollgate.db") && told.contains("not a database"),
            "{told}"
        );

        let told = Store::open(folder.path(), directory::Config::default())
            .await
            .unwrap_err();
        assert!(matches!(told, StoreError::Open { .. }), "{told}");
    }

    #[tokio::test]
    async fn a_database_of_a_newer_version_is_refused() {
        let (folder, store) = fresh().await;
        sqlx::query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)")
            .execute(&store.pool)
            .await
            .unwrap();
        store.close().await;
        let error = Store::open(
            &folder.path().join("tollgate.db"),
            directory::Config::default(),
        )
        .await
        .unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Newer {
                    migration: 9999,
                    ..
                }
            ),
            "{error}"
        );
    }
}
