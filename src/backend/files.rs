use super::{Asked, BackendError, MOST_BYTES, SeatBackend, segment};
use crate::directory::Number;
use crate::provisioning::Seats;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;

/// A folder into which the carrier's system drops a file for each account: `ACCOUNT.json`, or else `ACCOUNT.csv`.
/// Characters of the account id other than letters, digits, `-` and `_` are escaped as in a URL. A file should be renamed
/// into its place, so that it is never read half written.
#[derive(Debug)]
pub struct FileDrop {
    folder: PathBuf,
}

impl FileDrop {
    /// The files of this folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    async fn read(&self, account: &str) -> Result<Seats, BackendError> {
        let place = |ending: &str| self.folder.join(format!("{}.{ending}", segment(account)));
        if let Some(bytes) = content(&place("json")).await? {
            return Ok(Seats::from_json(&bytes)?);
        }
        if let Some(bytes) = content(&place("csv")).await? {
            let text = String::from_utf8_lossy(&bytes);
            return Ok(Seats::from_csv(&text)?);
        }
        // A folder that is not there is a system that cannot be reached; an account without a file is none of its.
        match tokio::fs::metadata(&self.folder).await {
            Ok(found) if found.is_dir() => Err(BackendError::UnknownAccount),
            Ok(_) => Err(BackendError::Unreachable("its place is no folder".into())),
            Err(error) => Err(BackendError::Unreachable(error.to_string())),
        }
    }
}

impl SeatBackend for FileDrop {
    fn seats<'a>(&'a self, account: &'a str, _: &'a [Number]) -> Asked<'a> {
        Box::pin(self.read(account))
    }
}

async fn content(path: &Path) -> Result<Option<Vec<u8>>, BackendError> {
    let unreachable = |error: std::io::Error| BackendError::Unreachable(error.to_string());
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreachable(error)),
    };
    let mut bytes = Vec::new();
    let mut file = file.take(MOST_BYTES as u64 + 1);
    file.read_to_end(&mut bytes).await.map_err(unreachable)?;
    if bytes.len() > MOST_BYTES {
        return Err(BackendError::TooLarge);
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// JSON before CSV, an account without a file is unknown, a folder that is gone cannot be reached.
    #[tokio::test]
    async fn each_account_has_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let drop = FileDrop::new(folder.path().to_owned());
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "a%20b.csv",
            "id,kind,numbers\n1,teams,+14255550100\n2,other,\n",
        );
        assert_eq!(drop.seats("a b", &[]).await.unwrap().seats.len(), 2);
        write("a%20b.json", r#"{ "seats": [] }"#);
        assert_eq!(drop.seats("a b", &[]).await.unwrap().seats.len(), 0);
        write("bad.json", "{");
        let codes = |error: BackendError| error.code();
        assert_eq!(
            codes(drop.seats("bad", &[]).await.unwrap_err()),
            "backend_malformed"
        );
        assert_eq!(
            codes(drop.seats("c", &[]).await.unwrap_err()),
            "backend_unknown_account"
        );
        let gone = FileDrop::new(folder.path().join("nowhere"));
        assert_eq!(
            codes(gone.seats("c", &[]).await.unwrap_err()),
            "backend_unreachable"
        );
    }
}
