use super::change::load;
use super::migrations::MIGRATIONS;
use super::music::Pieces;
use super::open::unusable;
use super::{Keys, Store, StoreError};
use crate::directory::{self, Directory};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::path::Path;

impl Store {
    /// The directory that this file would give with these keys, without changing the file; `None` if it is of an older version, which
    /// [`Store::open`] would first bring up to date.
    ///
    /// # Errors
    /// Those of [`Store::open`], and that there is no such file.
    pub async fn inspect(
        path: &Path,
        keys: &Path,
        config: &directory::Config,
    ) -> Result<Option<Directory>, StoreError> {
        let keys = Keys::read(keys)?.unwrap_or_default();
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let opened = SqliteConnection::connect_with(&options).await;
        let mut connection = opened.map_err(|error| unusable(path, error))?;
        let directory = compiled(path, config, &keys, &mut connection).await;
        // Dropping it would close the file some time later.
        connection.close().await?;
        directory
    }
}

async fn compiled(
    path: &Path,
    config: &directory::Config,
    keys: &Keys,
    connection: &mut SqliteConnection,
) -> Result<Option<Directory>, StoreError> {
    let applied: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| unusable(path, error))?;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max();
    match applied {
        Some(migration) if applied > known => Err(StoreError::Newer {
            path: path.to_owned(),
            migration,
        }),
        _ if applied < known => Ok(None),
        _ => {
            let rows = load(connection, config, keys, &Pieces::default()).await?;
            Directory::compile(rows)
                .map(Some)
                .map_err(StoreError::Contradiction)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A good file is read while it is in use, and nothing is written; a later version's file, one that is no database
    /// and none at all are refused by name; an older version's is left for `open`.
    #[tokio::test]
    async fn a_file_is_judged_without_being_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tollgate.db");
        let keys = folder.path().join("secrets.key");
        let config = directory::Config::default();
        let missing = Store::inspect(&path, &keys, &config).await.unwrap_err();
        assert!(missing.to_string().contains("tollgate.db") && !path.exists());

        let store = Store::open(&path, config.clone()).await.unwrap();
        let directory = Store::inspect(&path, &keys, &config)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(directory.generation, store.directory().load().generation);
        let mut change = store.change().await.unwrap();
        let version = "UPDATE _sqlx_migrations SET version = version + 1000000";
        sqlx::query(version).execute(&mut *change).await.unwrap();
        change.publish().await.unwrap();
        let newer = Store::inspect(&path, &keys, &config).await;
        assert!(matches!(newer, Err(StoreError::Newer { .. })), "{newer:?}");
        let mut change = store.change().await.unwrap();
        sqlx::query("DELETE FROM _sqlx_migrations")
            .execute(&mut *change)
            .await
            .unwrap();
        change.publish().await.unwrap();
        assert!(
            Store::inspect(&path, &keys, &config)
                .await
                .unwrap()
                .is_none()
        );
        store.close().await;

        std::fs::write(&path, "something else entirely".repeat(100)).unwrap();
        let other = Store::inspect(&path, &keys, &config).await.unwrap_err();
        assert!(other.to_string().contains("tollgate.db"), "{other}");
    }
}
