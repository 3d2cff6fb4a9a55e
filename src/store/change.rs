use super::music::Pieces;
use super::rows::int;
use super::{AuditEvent, Store, StoreError, audit, customers, gateways, numbers, regions, trunks};
use crate::directory::{Config, Directory, Rows};
use sqlx::{Sqlite, SqliteConnection, Transaction};
use std::ops::{Deref, DerefMut};
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;

/// A change of what is provisioned, under way. It is the only one; dropped without [`publish`](Self::publish) it
/// never happened.
#[derive(Debug)]
pub struct Change {
    store: Store,
    transaction: Transaction<'static, Sqlite>,
    _writer: OwnedMutexGuard<()>,
}

impl Store {
    /// Begins a change, when the one before is over.
    pub async fn change(&self) -> Result<Change, StoreError> {
        let writer = self.writer.clone().lock_owned().await;
        // Immediate: the command line may be writing to the same file, and a read that turns into a write cannot wait.
        let transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Change {
            store: self.clone(),
            transaction,
            _writer: writer,
        })
    }
}

impl Change {
    /// Notes who did what.
    pub async fn audit(&mut self, event: &AuditEvent<'_>) -> Result<(), StoreError> {
        audit::insert(self, event, true).await
    }

    /// Compiles the directory of the next generation, stores the change, and lets calls obey it. On
    /// [`StoreError::Contradiction`] nothing has changed. Once begun it ends, even if nobody waits for it any more:
    /// what is stored must not differ from what calls obey.
    pub async fn publish(self) -> Result<u64, StoreError> {
        tokio::spawn(self.published())
            .await
            .expect("publishing does not panic, and the program waits for it")
    }

    async fn published(mut self) -> Result<u64, StoreError> {
        sqlx::query("UPDATE directory_state SET generation = generation + 1")
            .execute(&mut *self)
            .await?;
        let config = self.store.config.clone();
        let music = self.store.music.clone();
        let rows = load(&mut self, &config, &music).await?;
        let compiled = spawn_blocking(|| Directory::compile(rows))
            .await
            .expect("compiling does not panic");
        let directory = compiled.map_err(StoreError::Contradiction)?;
        let generation = directory.generation;
        self.transaction.commit().await?;
        self.store.directory.store(directory.into());
        Ok(generation)
    }
}

impl Deref for Change {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for Change {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

/// All that the directory is compiled from.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    config: &Config,
    music: &Pieces,
) -> Result<Rows, StoreError> {
    let state = sqlx::query("SELECT generation FROM directory_state")
        .fetch_one(&mut *connection)
        .await?;
    let music = music.load(connection).await?;
    Ok(Rows {
        generation: int(&state, "generation")?,
        config: config.clone(),
        regions: regions::all(connection).await?,
        customers: customers::all(connection, &music).await?,
        gateways: gateways::all(connection).await?,
        numbers: numbers::all(connection).await?,
        trunks: trunks::all(connection).await?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::customers::tests::acme;
    use super::super::open::tests::fresh;
    use super::super::{CustomerFilter, CustomerSettings};
    use super::*;

    #[tokio::test]
    async fn a_dropped_change_never_happened() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        customers::insert(&mut change, &acme()).await.unwrap();
        drop(change);
        let mut change = store.change().await.unwrap();
        customers::insert(&mut change, &acme())
            .await
            .expect("the account is free");
        assert_eq!(change.publish().await.unwrap(), 2);
    }

    #[tokio::test]
    async fn rows_that_contradict_each_other_are_not_stored() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let lost = CustomerSettings {
            regions: vec!["MOON".into()],
            ..acme()
        };
        customers::insert(&mut change, &lost).await.unwrap();
        assert!(matches!(
            change.publish().await,
            Err(StoreError::Contradiction(_))
        ));
        let mut connection = store.read().await.unwrap();
        let filter = CustomerFilter::default();
        let listed = customers::list(&mut connection, &filter, Default::default()).await;
        assert_eq!(listed.unwrap().items, []);
        assert_eq!(store.directory().load().generation, 1);
    }

    /// Twenty tasks change things at once: each gets its own generation, and the last published is the newest.
    #[tokio::test(flavor = "multi_thread")]
    async fn generations_are_published_in_order() {
        let (_folder, store) = fresh().await;
        let change_once = |n: u32, store: Store| async move {
            let mut change = store.change().await.unwrap();
            let settings = CustomerSettings {
                account_id: format!("acme-{n}"),
                ..acme()
            };
            customers::insert(&mut change, &settings).await.unwrap();
            change.publish().await.unwrap()
        };
        let tasks: Vec<_> = (0..20)
            .map(|n| tokio::spawn(change_once(n, store.clone())))
            .collect();
        let mut generations = Vec::new();
        for task in tasks {
            generations.push(task.await.unwrap());
        }
        generations.sort_unstable();
        assert_eq!(generations, (2..22).collect::<Vec<_>>());
        let directory = store.directory().load_full();
        assert_eq!(
            (directory.generation, directory.customers().count()),
            (21, 20)
        );
    }
}
