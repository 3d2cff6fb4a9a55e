//! The database's versions, each with the statements that lead to it from the one before.
//!
//! A table and not `sqlx::migrate!`: the macro has the database and its driver compiled a second time, for the compiler.

use std::sync::LazyLock;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

macro_rules! migration {
    ($version:literal, $name:literal) => {
        (
            $version,
            $name,
            include_str!(concat!("migrations/", $version, "_", $name, ".sql")),
        )
    };
}

/// Version, name and statements. What has been released never changes: its checksum is in every database.
const ALL: [(&str, &str, &str); 22] = [
    migration!("0001", "provisioning"),
    migration!("0002", "access"),
    migration!("0003", "cdrs"),
    migration!("0004", "traces"),
    migration!("0005", "media_bypass"),
    migration!("0006", "identity"),
    migration!("0007", "music"),
    migration!("0008", "customers"),
    migration!("0009", "numbers"),
    migration!("0010", "services"),
    migration!("0011", "activation"),
    migration!("0012", "registrations"),
    migration!("0013", "mail"),
    migration!("0014", "people"),
    migration!("0015", "devices"),
    migration!("0016", "forwarded_numbers"),
    migration!("0017", "registration"),
    migration!("0018", "openid"),
    migration!("0019", "lists"),
    migration!("0020", "alarms"),
    migration!("0021", "teams_push"),
    migration!("0022", "leftover_numbers"),
];

pub(super) static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let numbered = (1..).zip(ALL);
    let migrations = numbered.map(|(version, (_, name, sql))| {
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
});

#[cfg(test)]
mod tests {
    use super::*;

    /// Every file is in the table, and its number is its place there.
    #[test]
    fn every_file_is_listed_in_its_place() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/migrations");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let listed = ALL.map(|(version, name, _)| format!("{version}_{name}.sql"));
        assert_eq!(files, listed);
        for (place, (version, ..)) in (1..).zip(ALL) {
            assert_eq!(version.parse(), Ok(place));
        }
    }
}
