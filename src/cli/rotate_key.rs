use super::{ConfigFile, Failure};
use crate::store::Keys;

/// `tollgate rotate-key`
pub(super) fn rotate_key(file: &ConfigFile) -> Result<(), Failure> {
    let path = file.load()?.key_file();
    Keys::rotate(&path).map_err(Failure::mend)?;
    println!(
        "{} has a new key; the next start of `run` seals everything with it, then the others can go",
        path.display()
    );
    Ok(())
}
