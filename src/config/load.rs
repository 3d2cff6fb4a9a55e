use super::{Config, ConfigError, Problem, rules};
use config::{Environment, File, FileFormat, FileSourceFile, Source, Value};
use std::collections::HashMap;
use std::path::Path;

/// `config/tollgate.toml` as it was when the program was built: every key, its default and its meaning.
pub const DEFAULTS: &str = include_str!("../../config/tollgate.toml");

/// The defaults, under the file if one is given, under `TOLLGATE__…` of `environment`.
///
/// # Errors
/// All that is wrong in the file and the environment, not only the first.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let defaults = defaults();
    let mut problems = Vec::new();
    let mut table = defaults.clone();
    for given in given(file, environment.into_iter().collect(), &mut problems) {
        match accept(&given, &table, &defaults) {
            Ok(next) => table = next,
            Err(problem) => problems.push(problem),
        }
    }
    let config: Config = table.try_into().expect("every value was accepted");
    rules::check(&config, &mut |key, problem| {
        problems.push(explained(key, "", problem))
    });
    problems.sort_by(|left, right| left.key.cmp(&right.key));
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError(problems))
    }
}

/// One value that someone set.
struct Given {
    /// `section.key`, or `key` outside every section.
    key: String,
    origin: String,
    value: toml::Value,
    /// From the environment, where everything is a text.
    is_text: bool,
}

/// The comment above a key in [`DEFAULTS`], in one line.
pub(super) fn meaning(key: &str) -> String {
    let (section, name) = key.split_once('.').unwrap_or(("", key));
    let (mut here, mut comment) = ("", Vec::new());
    for line in DEFAULTS.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            comment.push(text);
        } else if let Some(heading) = line.strip_prefix('[') {
            here = heading.trim_end_matches(']');
            comment.clear();
        } else if here == section && line.split_once(" = ").is_some_and(|(left, _)| left == name) {
            return comment.join(" ");
        } else {
            comment.clear();
        }
    }
    String::new()
}

fn defaults() -> toml::Table {
    DEFAULTS.parse().expect("a test reads the defaults")
}

fn explained(key: &str, origin: &str, problem: String) -> Problem {
    Problem {
        key: key.to_owned(),
        origin: origin.to_owned(),
        problem,
        rule: meaning(key),
    }
}

/// Everything that the file and the environment set, the latter last.
fn given(
    file: Option<&Path>,
    environment: HashMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Vec<Given> {
    let mut all = Vec::new();
    if let Some(path) = file {
        let source: File<FileSourceFile, FileFormat> = File::from(path).format(FileFormat::Toml);
        collect(
            &source,
            &path.display().to_string(),
            false,
            &mut all,
            problems,
        );
    }
    let environment = Environment::with_prefix("TOLLGATE")
        .prefix_separator("__")
        .separator("__")
        .source(Some(environment));
    collect(&environment, "the environment", true, &mut all, problems);
    all
}

fn collect(
    source: &dyn Source,
    origin: &str,
    is_text: bool,
    all: &mut Vec<Given>,
    problems: &mut Vec<Problem>,
) {
    let mut root = Value::from(HashMap::<String, Value>::new());
    let read = source
        .collect_to(&mut root)
        .and_then(|()| root.try_deserialize::<toml::Table>());
    let table = match read {
        Ok(table) => table,
        Err(error) => {
            let (key, origin, problem) = (String::new(), origin.to_owned(), error.to_string());
            return problems.push(Problem {
                key,
                origin,
                problem,
                rule: String::new(),
            });
        }
    };
    let mut add = |key, value| {
        all.push(Given {
            key,
            origin: origin.to_owned(),
            value,
            is_text,
        })
    };
    for (section, value) in table {
        match value {
            toml::Value::Table(keys) => keys
                .into_iter()
                .for_each(|(key, value)| add(format!("{section}.{key}"), value)),
            value => add(section, value),
        }
    }
}

/// The table with this value in it, if the configuration can still be read then.
fn accept(
    given: &Given,
    table: &toml::Table,
    defaults: &toml::Table,
) -> Result<toml::Table, Problem> {
    let refused = |problem: String| explained(&given.key, &given.origin, problem);
    let (section, key) = match given.key.split_once('.') {
        Some((section, key)) => (Some(section), key),
        None => (None, given.key.as_str()),
    };
    let siblings = match section {
        Some(section) => defaults.get(section).and_then(toml::Value::as_table),
        None => Some(defaults),
    };
    let Some(siblings) = siblings else {
        let sections = defaults.iter().filter(|(_, value)| value.is_table());
        let hint = suggestion(
            section.unwrap_or_default(),
            sections.map(|(name, _)| name.as_str()),
        );
        return Err(refused(format!("there is no such section; {hint}")));
    };
    let keys = || {
        siblings
            .iter()
            .filter(|(_, value)| section.is_some() || !value.is_table())
    };
    let Some((_, default)) = keys().find(|(name, _)| *name == key) else {
        let hint = suggestion(key, keys().map(|(name, _)| name.as_str()));
        return Err(refused(format!("there is no such key; {hint}")));
    };
    let value = match &given.value {
        toml::Value::String(text) if given.is_text => read(text, default).map_err(refused)?,
        value => value.clone(),
    };
    let mut next = table.clone();
    let home = match section.and_then(|section| next.get_mut(section)) {
        Some(toml::Value::Table(section)) => section,
        _ => &mut next,
    };
    home.insert(key.to_owned(), value);
    match next.clone().try_into::<Config>() {
        Ok(_) => Ok(next),
        Err(error) => Err(refused(error.message().to_owned())),
    }
}

/// `is it this?` if a name differs by two letters at most, else all that there are.
fn suggestion<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    match names.iter().min_by_key(|name| distance(given, name)) {
        Some(name) if distance(given, name) <= 2 => format!("is it {name}?"),
        _ => format!("there are {}", names.join(", ")),
    }
}

/// Letters to insert, delete or exchange to make one word of the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.bytes().enumerate() {
            let exchanged = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

/// A text of the environment, as the kind of value that the default is.
fn read(text: &str, like: &toml::Value) -> Result<toml::Value, String> {
    Ok(match like {
        toml::Value::Integer(_) => text
            .parse::<i64>()
            .map_err(|error| format!("{text:?}: {error}"))?
            .into(),
        toml::Value::Boolean(_) => text
            .parse::<bool>()
            .map_err(|error| format!("{text:?}: {error}"))?
            .into(),
        toml::Value::Array(_) => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(toml::Value::from)
            .collect::<Vec<_>>()
            .into(),
        toml::Value::Table(_) => {
            let document: toml::Table = format!("it = {text}")
                .parse()
                .map_err(|_| "expected { name = value }")?;
            document
                .into_iter()
                .next()
                .map(|(_, value)| value)
                .ok_or("expected { name = value }")?
        }
        _ => text.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_environment(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        load(
            None,
            pairs
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string())),
        )
    }

    /// Every key of the embedded file is read into a field, and every field has its key there: both directions are
    /// refused otherwise (unknown key, missing field).
    #[test]
    fn the_embedded_file_is_the_whole_configuration() {
        assert_eq!(
            from_environment(&[]).unwrap(),
            defaults().try_into::<Config>().unwrap()
        );
        for (section, value) in defaults() {
            let keys = value
                .as_table()
                .map(|keys| keys.keys().map(|key| format!("{section}.{key}")).collect());
            for key in keys.unwrap_or_else(|| vec![section]) {
                assert!(
                    meaning(&key).ends_with('.'),
                    "{key} has no sentence above it"
                );
            }
        }
    }

    /// Texts of the environment become numbers, switches, lists and tables where the default is one.
    #[test]
    fn the_environment_overrides_every_kind_of_value() {
        let config = from_environment(&[
            ("TOLLGATE__DATA_DIR", "elsewhere"),
            ("TOLLGATE__SIP__T1_MS", "250"),
            ("TOLLGATE__SIP__UDP", "127.0.0.1:1, [::1]:2"),
            ("TOLLGATE__SIP__TCP", ""),
            ("TOLLGATE__LOG__REDACT_NUMBERS", "true"),
            (
                "TOLLGATE__DNS__HOSTS",
                r#"{ "sip.pstnhub.microsoft.com" = ["127.0.0.9"] }"#,
            ),
            ("TOLLGATE_CORPORA", "no key of ours"),
        ])
        .unwrap();
        assert_eq!(config.database(), Path::new("elsewhere/tollgate.db"));
        assert_eq!(config.sip.t1.as_millis(), 250);
        assert_eq!(config.sip.udp[1], "[::1]:2".parse().unwrap());
        assert_eq!(config.sip.tcp, []);
        assert!(config.log.redact_numbers);
        assert_eq!(
            config.dns.hosts["sip.pstnhub.microsoft.com"],
            ["127.0.0.9".parse::<std::net::IpAddr>().unwrap()]
        );
    }

    /// Five mistakes of five kinds come back together, each with its key.
    #[test]
    fn all_mistakes_are_reported_at_once() {
        let error = from_environment(&[
            ("TOLLGATE__SIP__UPD", "127.0.0.1:5060"),
            ("TOLLGATE__SIPP__UDP", "127.0.0.1:5060"),
            ("TOLLGATE__SIP__T1_MS", "fast"),
            ("TOLLGATE__ADMIN__LISTEN", "localhost"),
            ("TOLLGATE__CALLS__RING_TIMEOUT_S", "1"),
        ])
        .unwrap_err();
        let keys: Vec<_> = error.0.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "admin.listen",
                "calls.ring_timeout_s",
                "sip.t1_ms",
                "sip.upd",
                "sipp.udp"
            ]
        );
        assert!(
            error
                .0
                .iter()
                .filter(|problem| problem.rule.is_empty())
                .count()
                == 2,
            "{error}"
        );
        assert!(error.to_string().contains("is it udp?"), "{error}");
    }
}
