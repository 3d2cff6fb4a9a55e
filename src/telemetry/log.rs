//! Log lines on standard error, as text or JSON.

use serde::Deserialize;
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// `[log]` of the configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Text or JSON.
    pub format: Format,
    /// A level, then perhaps `part=level`, separated by commas; see [`check_level`].
    pub level: String,
    /// Whether [`crate::base::Redact`] hides what it holds.
    pub redact_numbers: bool,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people; coloured on a terminal.
    Text,
    /// One object a line.
    Json,
}

/// Why logging did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Neither a level nor `part=level`.
    #[error("{0:?} is not a level (error, warn, info, debug, trace, off) or part=level")]
    Level(String),
    /// A process has one log.
    #[error("this process logs already")]
    Started,
}

/// Sends log lines of the whole process to standard error.
///
/// # Errors
/// A level that cannot be read, or a log that was started before.
pub fn start(config: &Config) -> Result<(), LogError> {
    let targets = check_level(&config.level)?;
    crate::base::redact_logs(config.redact_numbers);
    let layer = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let layer = match config.format {
        Format::Text => layer.boxed(),
        Format::Json => layer.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(targets))
        .try_init()
        .map_err(|_| LogError::Started)
}

/// Reads `info,tollgate::net=debug`.
///
/// # Errors
/// The first item that is neither a level nor `part=level`; a bare word that is no level would otherwise pass as the
/// name of a part, and a misspelt level would switch the log off.
pub fn check_level(text: &str) -> Result<Targets, LogError> {
    let mut targets = Targets::new();
    for item in text.split(',').map(str::trim) {
        let (part, level) = item
            .split_once('=')
            .map_or((None, item), |(part, level)| (Some(part), level));
        // An empty text would be read as `error`.
        let level: Option<LevelFilter> = level.parse().ok().filter(|_| !level.is_empty());
        let level = level.ok_or_else(|| LogError::Level(item.to_owned()))?;
        targets = match part {
            Some(part) => targets.with_target(part, level),
            None => targets.with_default(level),
        };
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    /// The part's own level wins over the general one, and a misspelt level is refused.
    #[test]
    fn levels_can_differ_by_part() {
        let targets = check_level("warn, tollgate::net=debug").unwrap();
        assert!(targets.would_enable("tollgate::net::tls", &Level::DEBUG));
        assert!(!targets.would_enable("tollgate::b2bua", &Level::INFO));
        assert!(targets.would_enable("tollgate::b2bua", &Level::WARN));
        assert_eq!(
            check_level("inof").unwrap_err(),
            LogError::Level("inof".to_owned())
        );
        assert!(check_level("").is_err());
    }
}
