//! The one style rule that a machine enforces: a module imports lower floors only, and below the line there is no
//! socket, clock, thread, file or task. The floors are those of the table in `src/lib.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A path as the code names it: `crate::sip::Message`, with what `use` groups and `super` stand for.
type Name = Vec<String>;

/// What nothing below the line may name. A path that begins so is as bad.
const ABOVE_THE_LINE: &[&str] = &[
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::ToSocketAddrs",
    "std::os",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::time::SystemTime",
    "tokio",
    "nix",
    "socket2",
    "hickory_resolver",
    "sqlx",
    "axum",
    "reqwest",
    "rand::rng",
    "rand::random",
    "time::OffsetDateTime::now_utc",
    "time::UtcDateTime::now",
];

/// The same for calls whose type was imported before.
const CALLS_ABOVE_THE_LINE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "OffsetDateTime::now_utc",
    "UtcDateTime::now",
    "Uuid::new_v4",
    "Uuid::now_v7",
];

/// The emulators speak to the SBC with another implementation of the protocols, or they would prove nothing.
const FOREIGN_TO_EMULATE: &[&str] = &[
    "sip",
    "sdp",
    "rtp",
    "audio",
    "media",
    "b2bua",
    "microsoft",
    "provisioning",
];

/// Both are on the top floor, but somebody has to start the emulators.
const ALLOWED: &[(&str, &str)] = &[("cli", "emulate")];

#[test]
fn modules_import_lower_floors_only() {
    let floors = Floors::read();
    let faults: Vec<String> = sources()
        .iter()
        .flat_map(|(path, module, names)| {
            floors
                .faults(module, names)
                .into_iter()
                .map(move |fault| format!("{}: {fault}", path.display()))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A test that cannot fail shows nothing, so the rule is tried on code that breaks it.
#[test]
fn the_rule_sees_what_breaks_it() {
    let floors = Floors::read();
    let faults = |room: &str, code: &str| {
        let module = [room.to_owned(), "x".to_owned()];
        floors
            .faults(&module, &names(&tokens(code).0, &module))
            .len()
    };
    assert_eq!(
        faults(
            "sip",
            "use crate::{base::Random, media::Relay, sip::Message};"
        ),
        1
    );
    assert_eq!(
        faults(
            "sip",
            "fn f() { crate::b2bua::f(); super::super::sdp::g(); super::h() }"
        ),
        2
    );
    assert_eq!(faults("media", "use crate::directory::Directory;"), 1);
    assert_eq!(
        faults("b2bua", "use crate::{directory::Directory, media::*};"),
        0
    );
    assert_eq!(faults("b2bua", "use crate::nowhere::X;"), 1);
    assert_eq!(
        faults(
            "sip",
            "use std::{fmt, fs::File, net::{IpAddr, TcpStream}}; let t = std::time::Instant::now();"
        ),
        3
    );
    assert_eq!(
        faults(
            "sip",
            "#[tokio::test] fn f() { time::OffsetDateTime::now_utc(); }"
        ),
        2
    );
    assert_eq!(
        faults(
            "sip",
            "// crate::b2bua\n/* std::fs /* tokio */ */ let a = \"crate::net\\\"\"; let b = r#\"tokio\"#; let c = '\"';"
        ),
        0
    );
    assert_eq!(
        faults(
            "sip",
            "#[cfg(test)] mod tests { use tokio::x; fn f() { Instant::now(); } } fn g() { Instant::now() }"
        ),
        1
    );
    assert_eq!(
        faults("net", "use tokio::net::UdpSocket; use crate::sip::Message;"),
        0
    );
    assert_eq!(
        faults("emulate", "use crate::{base::Random, sip::Message};"),
        1
    );
}

struct Floors {
    /// A room's height; the line lies just above `top_below`.
    rooms: BTreeMap<String, u32>,
    top_below: u32,
}

impl Floors {
    fn read() -> Self {
        let text = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs can be read");
        let mut floors = Self {
            rooms: BTreeMap::new(),
            top_below: 0,
        };
        let mut below = false;
        for row in text.lines().filter_map(|line| line.strip_prefix("//! | ")) {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            if cells[1].contains("the line") {
                below = true;
            }
            let Ok(height) = cells[0].parse() else {
                continue;
            };
            if below {
                floors.top_below = floors.top_below.max(height);
            }
            let rooms = cells[1].split('`').skip(1).step_by(2);
            floors
                .rooms
                .extend(rooms.map(|room| (room.to_owned(), height)));
        }
        assert!(
            floors.rooms.len() > 10 && floors.top_below > 0,
            "the table of floors in src/lib.rs was not found"
        );
        floors
    }

    /// What is wrong with a module that names these.
    fn faults(&self, module: &[String], names: &BTreeSet<Name>) -> Vec<String> {
        let Some(room) = module.first() else {
            return Vec::new();
        };
        let Some(&height) = self.rooms.get(room) else {
            return vec![format!("`{room}` has no floor in the table of src/lib.rs")];
        };
        names
            .iter()
            .filter_map(|name| {
                let text = name.join("::");
                if name[0] == "crate" {
                    let other = name.get(1)?;
                    return self
                        .import_fault(room, height, other)
                        .map(|fault| format!("{fault}: {text}"));
                }
                let is_above = ABOVE_THE_LINE
                    .iter()
                    .any(|bad| text == *bad || text.starts_with(&format!("{bad}::")))
                    || CALLS_ABOVE_THE_LINE
                        .iter()
                        .any(|bad| text == *bad || text.ends_with(&format!("::{bad}")));
                (height <= self.top_below && is_above)
                    .then(|| format!("below the line, yet it names {text}"))
            })
            .collect()
    }

    fn import_fault(&self, room: &str, height: u32, other: &str) -> Option<String> {
        if room == "emulate" && FOREIGN_TO_EMULATE.contains(&other) {
            return Some(format!("the emulators share no code with `{other}`"));
        }
        if room == other || ALLOWED.contains(&(room, other)) {
            return None;
        }
        match self.rooms.get(other) {
            Some(&floor) if floor < height => None,
            Some(_) => Some(format!("`{other}` is not below `{room}`")),
            None => Some(format!("`{other}` has no floor in the table of src/lib.rs")),
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file of a room: where it lies, which module it is, and what it names outside of tests.
fn sources() -> Vec<(PathBuf, Name, BTreeSet<Name>)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    let mut tests = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let module = module_of(&path);
                let (tokens, test_modules) =
                    tokens(&fs::read_to_string(&path).expect("a source can be read"));
                tests.extend(
                    test_modules
                        .into_iter()
                        .map(|name| [module.as_slice(), &[name]].concat()),
                );
                let names = names(&tokens, &module);
                found.push((path, module, names));
            }
        }
    }
    // Modules that live in files of their own, yet exist for tests only, and the crate's two roots.
    found.retain(|(_, module, _)| {
        !module.is_empty() && !tests.iter().any(|test: &Name| module.starts_with(test))
    });
    assert!(found.len() > 20, "the sources were not found");
    found
}

fn module_of(path: &Path) -> Name {
    let inside = path
        .strip_prefix(root().join("src"))
        .expect("it lies in src")
        .with_extension("");
    let mut parts: Name = inside
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if parts
        .last()
        .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
    {
        parts.pop();
    }
    parts
}

/// Every path in the code, groups spread out, and `super` and `self` resolved.
fn names(tokens: &[String], module: &[String]) -> BTreeSet<Name> {
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_word(&tokens[at]) && (at == 0 || tokens[at - 1] != "::") {
            let mut paths = Vec::new();
            at = path(tokens, at, &Vec::new(), &mut paths).max(at + 1);
            found.extend(paths.into_iter().map(|path| resolved(path, module)));
        } else {
            at += 1;
        }
    }
    found
}

/// Reads the path at `at`, spreading groups, and tells where it ends.
fn path(tokens: &[String], mut at: usize, before: &Name, found: &mut Vec<Name>) -> usize {
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    let mut name = before.clone();
    while is_word(token(at)) {
        name.push(token(at).to_owned());
        if token(at + 1) != "::" {
            found.push(name);
            return at + 1;
        }
        at += 2;
    }
    if token(at) == "{" && !name.is_empty() {
        at += 1;
        while !matches!(token(at), "}" | "") {
            at = path(tokens, at, &name, found).max(at + 1);
        }
        return at + 1;
    }
    found.push(name);
    at
}

fn resolved(name: Name, module: &[String]) -> Name {
    let supers = name.iter().take_while(|part| *part == "super").count();
    if supers == 0 || supers > module.len() {
        return name;
    }
    let parents = module[..module.len() - supers].iter();
    std::iter::once("crate".to_owned())
        .chain(parents.cloned())
        .chain(name[supers..].iter().cloned())
        .collect()
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The code's words and signs without comments, literals and what is `#[cfg(test)]`; and the names of test modules
/// that have files of their own.
fn tokens(code: &str) -> (Vec<String>, Vec<String>) {
    let all = lex(&code.chars().collect::<Vec<_>>());
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < all.len() {
        if !starts(&all[at..], &["#", "[", "cfg", "(", "test", ")", "]"]) {
            kept.push(all[at].clone());
            at += 1;
            continue;
        }
        at += 7;
        let item = at;
        let mut depth = 0;
        while let Some(token) = all.get(at) {
            at += 1;
            match token.as_str() {
                "{" => depth += 1,
                "}" if depth == 1 => break,
                "}" => depth -= 1,
                ";" if depth == 0 => {
                    modules.extend(starts(&all[item..], &["mod"]).then(|| all[item + 1].clone()));
                    break;
                }
                _ => {}
            }
        }
    }
    (kept, modules)
}

fn starts(tokens: &[String], wanted: &[&str]) -> bool {
    tokens.len() >= wanted.len()
        && tokens
            .iter()
            .zip(wanted)
            .all(|(token, wanted)| token == wanted)
}

fn lex(code: &[char]) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    let is = |at: usize, text: &str| {
        text.chars()
            .enumerate()
            .all(|(n, c)| code.get(at + n) == Some(&c))
    };
    while at < code.len() {
        let c = code[at];
        if is(at, "//") {
            at += code[at..].iter().take_while(|c| **c != '\n').count();
        } else if is(at, "/*") {
            let mut depth = 1;
            at += 2;
            while depth > 0 && at < code.len() {
                let (open, close) = (is(at, "/*"), is(at, "*/"));
                depth = depth + i32::from(open) - i32::from(close);
                at += if open || close { 2 } else { 1 };
            }
        } else if let Some(hashes) = raw_string(code, at) {
            at += code[at..].iter().take_while(|c| **c != '"').count() + 1;
            let end = format!("\"{}", "#".repeat(hashes));
            while at < code.len() && !is(at, &end) {
                at += 1;
            }
            at += end.len();
        } else if c == '"' {
            at = literal_end(code, at, '"');
        } else if c == '\'' && (code.get(at + 1) == Some(&'\\') || code.get(at + 2) == Some(&'\''))
        {
            at = literal_end(code, at, '\'');
        } else if c.is_alphanumeric() || c == '_' {
            let len = code[at..]
                .iter()
                .take_while(|c| c.is_alphanumeric() || **c == '_')
                .count();
            found.push(code[at..at + len].iter().collect());
            at += len;
        } else {
            let sign = if is(at, "::") {
                "::".to_owned()
            } else {
                c.to_string()
            };
            at += if sign == "::" { 2 } else { 1 };
            if !c.is_whitespace() {
                found.push(sign);
            }
        }
    }
    found
}

/// How many hashes the raw string that starts here has.
fn raw_string(code: &[char], at: usize) -> Option<usize> {
    let prefix = code[at..]
        .iter()
        .take_while(|c| matches!(c, 'r' | 'b' | 'c'))
        .count();
    let word_before = at > 0 && (code[at - 1].is_alphanumeric() || code[at - 1] == '_');
    if word_before || !code[at..at + prefix].contains(&'r') {
        return None;
    }
    let hashes = code[at + prefix..]
        .iter()
        .take_while(|c| **c == '#')
        .count();
    (code.get(at + prefix + hashes) == Some(&'"')).then_some(hashes)
}

fn literal_end(code: &[char], mut at: usize, quote: char) -> usize {
    at += 1;
    while let Some(&c) = code.get(at) {
        at += if c == '\\' { 2 } else { 1 };
        if c == quote {
            break;
        }
    }
    at
}
