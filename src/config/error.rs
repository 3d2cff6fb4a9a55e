use std::fmt;

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `section.key`; empty if no key can be named.
    pub key: String,
    /// The file's path, or `the environment`; empty for a default.
    pub origin: String,
    /// What is wrong with the value.
    pub problem: String,
    /// What would be right, in the words of `config/tollgate.toml`; empty if there is nothing to add.
    pub rule: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.key, &self.origin]
            .into_iter()
            .filter(|part| !part.is_empty())
        {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.problem)?;
        if self.rule.is_empty() {
            Ok(())
        } else {
            write!(f, "\n    {}", self.rule)
        }
    }
}

/// All that is wrong with the configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<Problem>);
