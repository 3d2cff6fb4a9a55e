use super::music::{Piece, Pieces};
use super::rows::int;
use super::{
    AuditEvent, Keys, Store, StoreError, audit, customers, devices, gateways, numbers, regions,
    registrations, trunks,
};
use crate::audio::Announcement;
use crate::directory::{CompileError, Config, Directory, Holding, Rows};
use sqlx::{Sqlite, SqliteConnection, Transaction};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;
use uuid::Uuid;

/// A change of what is provisioned, under way. It is the only one; dropped without [`publish`](Self::publish) or
/// [`keep`](Self::keep) it never happened.
#[derive(Debug)]
pub struct Change {
    store: Store,
    /// Whether calls will obey it at once.
    publishes: bool,
    transaction: Transaction<'static, Sqlite>,
    _writer: OwnedMutexGuard<()>,
}

impl Store {
    /// Begins a change that calls will obey, when the one before is over.
    pub async fn change(&self) -> Result<Change, StoreError> {
        self.begin(true).await
    }

    /// Begins a change of rows that calls do not obey, or not before a Sync; to be [kept](Change::keep).
    pub async fn rows(&self) -> Result<Change, StoreError> {
        self.begin(false).await
    }

    async fn begin(&self, publishes: bool) -> Result<Change, StoreError> {
        let writer = self.writer.clone().lock_owned().await;
        // Immediate: the command line may be writing to the same file, and a read that turns into a write cannot wait.
        let transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Change {
            store: self.clone(),
            publishes,
            transaction,
            _writer: writer,
        })
    }
}

impl Change {
    /// What secrets are sealed with.
    pub fn keys(&self) -> Keys {
        self.store.keys.clone()
    }

    /// Notes who did what.
    pub async fn audit(&mut self, event: &AuditEvent<'_>) -> Result<(), StoreError> {
        let publishes = self.publishes;
        audit::insert(self, event, publishes).await
    }

    /// Marks where [`take_back`](Self::take_back) goes back to, until [`unmark`](Self::unmark).
    pub async fn mark(&mut self) -> Result<(), StoreError> {
        sqlx::query("SAVEPOINT mark").execute(&mut **self).await?;
        Ok(())
    }

    /// Keeps what was written since the mark, as a part of the change.
    pub async fn unmark(&mut self) -> Result<(), StoreError> {
        sqlx::query("RELEASE mark").execute(&mut **self).await?;
        Ok(())
    }

    /// Takes back what was written since the mark.
    pub async fn take_back(&mut self) -> Result<(), StoreError> {
        sqlx::query("ROLLBACK TO mark").execute(&mut **self).await?;
        self.unmark().await
    }

    /// Whether it could be [published](Self::publish). It never happens.
    pub async fn try_out(mut self) -> Result<(), StoreError> {
        let compiled = self.whole().await?;
        compiled.map(drop).map_err(StoreError::Contradiction)
    }

    /// Stores a change of nothing that the directory is compiled from: calls go on as before. Once begun it ends, even if
    /// nobody waits for it any more.
    pub async fn keep(self) -> Result<(), StoreError> {
        let kept = tokio::spawn(async move { self.transaction.commit().await });
        let kept = kept.await.expect("committing does not panic");
        Ok(kept?)
    }

    /// Stores a change of who a customer's users are. Calls know those of them who have a telephone, and obey it at once;
    /// else they go on as before.
    pub async fn keep_for(mut self, customer: Uuid) -> Result<(), StoreError> {
        match devices::any_active(&mut self, customer).await? {
            true => self.publish_for(&[customer]).await.map(drop),
            false => self.keep().await,
        }
    }

    /// Compiles the directory of the next generation, stores the change, and lets calls obey it. On
    /// [`StoreError::Contradiction`] nothing has changed. Once begun it ends, even if nobody waits for it any more:
    /// what is stored must not differ from what calls obey.
    ///
    /// All rows are read again; see [`publish_for`](Self::publish_for).
    pub async fn publish(self) -> Result<u64, StoreError> {
        self.published(None).await
    }

    /// The same for a change of nothing but what these customers have, or of these customers themselves. It costs what
    /// they have, however many others there are; none, if calls do not see the change.
    pub async fn publish_for(self, customers: &[Uuid]) -> Result<u64, StoreError> {
        self.published(Some(customers.to_vec())).await
    }

    async fn published(self, customers: Option<Vec<Uuid>>) -> Result<u64, StoreError> {
        tokio::spawn(self.compiled_and_stored(customers))
            .await
            .expect("publishing does not panic, and the program waits for it")
    }

    async fn compiled_and_stored(
        mut self,
        customers: Option<Vec<Uuid>>,
    ) -> Result<u64, StoreError> {
        sqlx::query("UPDATE directory_state SET generation = generation + 1")
            .execute(&mut *self)
            .await?;
        let compiled = match customers {
            None => self.whole().await?,
            Some(customers) => self.replaced(customers).await?,
        };
        let directory = compiled.map_err(StoreError::Contradiction)?;
        #[cfg(debug_assertions)]
        self.assert_nothing_left_out(&directory).await?;
        let generation = directory.generation;
        self.transaction.commit().await?;
        retire(self.store.directory.swap(directory.into()));
        Ok(generation)
    }

    async fn whole(&mut self) -> Result<Compiled, StoreError> {
        let config = self.store.config.clone();
        let music = self.store.music.clone();
        let keys = self.keys();
        let rows = load(self, &config, &keys, &music).await?;
        Ok(in_background(move || Directory::compile(rows)).await)
    }

    async fn replaced(&mut self, customers: Vec<Uuid>) -> Result<Compiled, StoreError> {
        let (music, keys) = (self.store.music.clone(), self.keys());
        let music = music.load(self).await?;
        let generation = generation(self).await?;
        let mut holdings = Vec::with_capacity(customers.len());
        for id in customers {
            let serving = numbers::all(self, Some(id)).await?;
            holdings.push(Holding {
                id,
                customer: customers::all(self, Some(id), &music).await?.pop(),
                gateways: gateways::all(self, Some(id)).await?,
                numbers: serving.dids,
                extensions: serving.extensions,
                forwarded: serving.forwarded,
                trunks: trunks::all(self, &keys, Some(id)).await?,
                registrations: registrations::all(self, &keys, Some(id)).await?,
                phones: devices::all(self, &keys, Some(id)).await?,
            });
        }
        let before = self.store.directory.load_full();
        Ok(in_background(move || before.replace(generation, holdings)).await)
    }

    /// Whoever publishes for some customers must not have changed anything else.
    #[cfg(debug_assertions)]
    async fn assert_nothing_left_out(&mut self, directory: &Directory) -> Result<(), StoreError> {
        /// With more, a trial program would be slow.
        const MOST: usize = 1000;
        if directory.numbers().count() <= MOST {
            let whole = self.whole().await?;
            assert!(
                whole.as_ref() == Ok(directory),
                "a change left something out"
            );
        }
        Ok(())
    }
}

type Compiled = Result<Directory, Vec<CompileError>>;

/// How often it is asked whether a directory is obeyed no more.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Lets a directory go when nobody else has it, and where nobody waits: millions of numbers are not given back at once, and
/// whoever lets go last does it.
fn retire(mut directory: Arc<Directory>) {
    tokio::spawn(async move {
        while Arc::get_mut(&mut directory).is_none() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        spawn_blocking(move || drop(directory));
    });
}

async fn in_background(compile: impl FnOnce() -> Compiled + Send + 'static) -> Compiled {
    spawn_blocking(compile)
        .await
        .expect("compiling does not panic")
}

async fn generation(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let state = sqlx::query("SELECT generation FROM directory_state")
        .fetch_one(connection)
        .await?;
    Ok(int(&state, "generation")?)
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
    keys: &Keys,
    music: &Pieces,
) -> Result<Rows, StoreError> {
    let music = music.load(connection).await?;
    let announced = |which| Some((which, music.get(&Piece::Announcement(which).key())?.clone()));
    let serving = numbers::all(connection, None).await?;
    Ok(Rows {
        announcements: Announcement::ALL
            .into_iter()
            .filter_map(announced)
            .collect(),
        generation: generation(connection).await?,
        config: config.clone(),
        regions: regions::all(connection).await?,
        customers: customers::all(connection, None, &music).await?,
        gateways: gateways::all(connection, None).await?,
        numbers: serving.dids,
        extensions: serving.extensions,
        forwarded: serving.forwarded,
        trunks: trunks::all(connection, keys, None).await?,
        registrations: registrations::all(connection, keys, None).await?,
        phones: devices::all(connection, keys, None).await?,
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
