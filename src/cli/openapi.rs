use super::Failure;
use crate::admin;
use anyhow::Context;
use std::io::{ErrorKind, Write};

/// `tollgate openapi`
pub(super) fn openapi() -> Result<(), Failure> {
    let document = admin::openapi()
        .to_pretty_json()
        .context("the description of the API")?;
    match writeln!(std::io::stdout(), "{document}") {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written.context("standard output")?),
    }
}
