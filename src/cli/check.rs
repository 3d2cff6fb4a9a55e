use super::{ConfigFile, Failure};

/// `tollgate check`
pub(super) fn check(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    println!("configuration: good");
    println!("data: {}", config.data_dir.display());
    Ok(())
}
