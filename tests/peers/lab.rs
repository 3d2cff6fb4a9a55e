//! Where everybody is, and who trusts whom.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;
use tollgate::emulate::{Authority, Identity, KeyKind, Usage};

/// The carrier's name at Teams, and the customer's under it.
pub const BASE: &str = "sbc1.tollgate.test";
pub const CUSTOMER: &str = "contoso.sbc1.tollgate.test";
/// A user at Teams, and another one.
pub const TEAMS_NUMBER: &str = "+14255550100";
pub const TEAMS_COLLEAGUE: &str = "+14255550101";
/// A telephone at the PBX, and others.
pub const PBX_NUMBER: &str = "+14255550200";
pub const PBX_COLLEAGUE: &str = "+14255550201";

/// Two labs at once would only slow each other down.
static TURN: Mutex<()> = Mutex::new(());

/// A directory, addresses and certificates of one test.
pub struct Lab {
    directory: TempDir,
    block: (u8, u8),
    /// What Teams shows: for servers only, both ways, as it does since 2026 (TDR-126).
    pub teams: Identity,
    /// Who signed the SBC's certificate.
    pub sbc_roots: String,
    _turn: MutexGuard<'static, ()>,
}

impl Lab {
    /// Waits for its turn, and makes all of it.
    pub fn open() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = tempfile::tempdir().expect("a directory");
        let microsoft = Authority::new("Microsoft of the lab").expect("an authority");
        let public = Authority::new("Public CA of the lab").expect("an authority");
        let names = ["sip.pstnhub.microsoft.com", "*.pstnhub.microsoft.com"];
        let teams = microsoft
            .issue(&names, Usage::Server, KeyKind::Ec)
            .expect("a certificate");
        let wildcard = format!("*.{BASE}");
        let sbc = public
            .issue(&[BASE, &wildcard], Usage::Both, KeyKind::Rsa)
            .expect("a certificate");
        let lab = Self {
            directory,
            // All of 127.0.0.0/8 is loopback; two runs at a time rarely draw the same block.
            block: (rand::random_range(1..=250), rand::random_range(0..=250)),
            teams,
            sbc_roots: public.pem(),
            _turn: turn,
        };
        let write = |identity: &Identity, name: &str| {
            let (chain, key) = (format!("{name}.pem"), format!("{name}.key"));
            identity
                .write(&lab.file(&chain), &lab.file(&key))
                .expect("files");
        };
        write(&sbc, "sbc");
        write(&lab.teams, "teams");
        lab.write("teams-roots.pem", &microsoft.pem());
        lab.write("sbc-roots.pem", &lab.sbc_roots);
        lab
    }

    /// Tollgate.
    pub fn sbc(&self) -> Ipv4Addr {
        self.address(10)
    }

    /// The PBX, or whoever answers behind the trunk.
    pub fn pbx(&self) -> Ipv4Addr {
        self.address(20)
    }

    /// The telephones of the PBX.
    pub fn phones(&self) -> Ipv4Addr {
        self.address(21)
    }

    /// The telephones of another make.
    pub fn softphone(&self, n: u8) -> Ipv4Addr {
        self.address(22 + n)
    }

    /// Teams.
    pub fn microsoft(&self) -> Ipv4Addr {
        self.address(30)
    }

    /// The proxies of Teams in the order of trial; the first is where everything else of it is, too.
    pub fn proxies(&self) -> [Ipv4Addr; 3] {
        [30, 31, 32].map(|host| self.address(host))
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.block.0, self.block.1, host)
    }

    /// The directory, which goes with the lab.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A path in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file there.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, text).expect("a file");
        path
    }

    /// Writes a file there, with `@SBC@`, `@PBX@`, `@PHONES@`, `@TEAMS@` and `@DIRECTORY@` filled in.
    pub fn fill_in(&self, name: &str, template: &str) -> PathBuf {
        let text = template
            .replace("@SBC@", &self.sbc().to_string())
            .replace("@PBX@", &self.pbx().to_string())
            .replace("@PHONES@", &self.phones().to_string())
            .replace("@TEAMS@", &self.microsoft().to_string())
            .replace("@DIRECTORY@", &self.directory().display().to_string());
        self.write(name, &text)
    }
}
