//! The emulators as commands: `tollgate emulate teams` and `tollgate emulate pbx` run until they are interrupted and
//! print what passes.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::conform::ConformArgs;
use super::tls::{self, Authority, Identity, KeyKind, TlsError, Usage};
use super::trace::{Trace, Way};
use super::{
    Behaviour, CallError, Carrier, Credentials, EmuCall, Gateway, Pbx, PbxCall, PbxConfig, Teams,
    TeamsCall, TeamsConfig,
};

/// Prints a line, if anyone still reads it: a closed pipe is no reason to drop calls.
macro_rules! say {
    ($($text:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// Stand in for Microsoft Teams Direct Routing.
///
/// Accepts the SBC's TLS connections, demands its certificate, answers or refuses its requests as Microsoft would,
/// and can place a call. The certificates that the SBC has to trust are made on first start. With --conform it tries the
/// SBC instead: it plays scenarios, tells rule by rule what the SBC does wrong, and ends.
#[derive(Debug, Clone, Args)]
pub struct TeamsArgs {
    /// Where the SBC finds "sip.pstnhub.microsoft.com".
    #[arg(long, default_value = "127.0.0.1:5071")]
    pub listen: SocketAddr,
    /// The SBC's TLS listener: every gateway name leads there.
    #[arg(long, default_value = "127.0.0.1:5061")]
    pub sbc: SocketAddr,
    /// The address for media.
    #[arg(long, default_value = "127.0.0.1")]
    pub media: IpAddr,
    /// Directory for the emulator's certificates; "teams-roots.pem" in it is what the SBC has to trust.
    #[arg(long, default_value = "./data/emulate")]
    pub certificates: PathBuf,
    /// PEM file with the roots of the SBC's certificate.
    #[arg(long, required_unless_present = "list")]
    pub sbc_roots: Option<PathBuf>,
    /// A registered gateway and the numbers behind it: NAME=NUMBER,NUMBER … (may be repeated).
    #[arg(long = "gateway", value_name = "NAME=NUMBERS", value_parser = gateway, required_unless_present = "list")]
    pub gateways: Vec<Gateway>,
    /// Seconds between OPTIONS to a gateway that has sent one.
    #[arg(long, default_value_t = 60)]
    pub options_interval: u64,
    /// What becomes of calls: answer, early-media, ring, trying, silent, or a status such as 486.
    #[arg(long, default_value = "answer", value_parser = behaviour)]
    pub calls: Behaviour,
    /// Frequency in Hz of the tone played in calls.
    #[arg(long, default_value_t = 440.0)]
    pub tone: f64,
    /// Place a call to this number at once (with --from, through the first gateway).
    #[arg(long, requires = "from")]
    pub call: Option<String>,
    /// The caller of --call.
    #[arg(long)]
    pub from: Option<String>,
    /// Hang up the call of --call after this many seconds.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// What tries an SBC.
    #[command(flatten)]
    pub conform: ConformArgs,
}

/// Stand in for a hosted PBX: phones that answer, a trunk that calls, a registrar.
#[derive(Debug, Clone, Args)]
pub struct PbxArgs {
    /// UDP and TCP.
    #[arg(long, default_value = "127.0.0.1:5080")]
    pub listen: SocketAddr,
    /// Where calls are sent.
    #[arg(long, default_value = "127.0.0.1:5060")]
    pub sbc: SocketAddr,
    /// What carries the PBX's own requests.
    #[arg(long, default_value = "udp")]
    pub transport: CarrierArg,
    /// The address for media.
    #[arg(long, default_value = "127.0.0.1")]
    pub media: IpAddr,
    /// A user that may register: NAME:PASSWORD (may be repeated).
    #[arg(long = "user", value_name = "NAME:PASSWORD", value_parser = credentials)]
    pub users: Vec<Credentials>,
    /// Answers challenges of the SBC: NAME:PASSWORD.
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = credentials)]
    pub credentials: Option<Credentials>,
    /// Challenge calls from the SBC; it must authenticate as one of the users.
    #[arg(long)]
    pub challenge_calls: bool,
    /// What becomes of calls: answer, early-media, ring, trying, silent, or a status such as 486.
    #[arg(long, default_value = "answer", value_parser = behaviour)]
    pub calls: Behaviour,
    /// Frequency in Hz of the tone played in calls.
    #[arg(long, default_value_t = 600.0)]
    pub tone: f64,
    /// Place a call to this number at once (with --from).
    #[arg(long, requires = "from")]
    pub call: Option<String>,
    /// The caller of --call.
    #[arg(long)]
    pub from: Option<String>,
    /// Hang up the call of --call after this many seconds.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
}

/// [`Carrier`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CarrierArg {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
}

/// Why an emulator does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A socket or a directory.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// What was asked for does not fit together.
    #[error("{0}")]
    Usage(String),
}

/// Runs until interrupted.
pub async fn run_teams(args: TeamsArgs) -> Result<(), RunError> {
    let (listener, dialler) = identities(&args.certificates)?;
    let roots = args.sbc_roots.unwrap_or_default();
    let mut config = TeamsConfig::new(args.sbc, listener, dialler, tls::read(&roots)?);
    config.listen = args.listen;
    config.media = args.media;
    config.gateways = args.gateways.clone();
    config.options_interval = Duration::from_secs(args.options_interval);
    config.behaviour = args.calls;
    config.tone = args.tone;
    let teams = Teams::start(config).await?;
    say!(
        "teams listens on {} (TLS); the SBC has to trust {}",
        teams.address,
        args.certificates.join(ROOTS).display()
    );
    say!(
        "the SBC has to find these names there: {}",
        Teams::NAMES.join(" ")
    );
    print_messages(&teams.trace());
    let placed = async {
        if let (Some(to), Some(from), Some(gateway)) = (args.call, args.from, args.gateways.first())
        {
            let call = TeamsCall {
                to,
                from,
                gateway: gateway.fqdn.clone(),
                headers: Vec::new(),
            };
            let placed = teams.call(call).await;
            hold_line(placed.map_err(|e| e.to_string()), args.seconds).await;
        }
    };
    let received = async {
        loop {
            if let Some(call) = teams.incoming().await {
                report_later(call);
            }
        }
    };
    until_interrupted(placed, received).await?;
    for note in teams.notes() {
        say!("rule broken: {note}");
    }
    Ok(())
}

/// Runs until interrupted.
pub async fn run_pbx(args: PbxArgs) -> Result<(), RunError> {
    let mut config = PbxConfig::new(args.sbc);
    config.listen = args.listen;
    config.media = args.media;
    config.carrier = match args.transport {
        CarrierArg::Udp => Carrier::Udp,
        CarrierArg::Tcp => Carrier::Tcp,
    };
    config.users = args
        .users
        .into_iter()
        .map(|user| (user.username, user.password))
        .collect();
    config.credentials = args.credentials;
    config.challenge_calls = args.challenge_calls;
    config.behaviour = args.calls;
    config.tone = args.tone;
    let pbx = Pbx::start(config).await?;
    say!("pbx listens on {} (UDP and TCP)", pbx.address);
    print_messages(&pbx.trace());
    let placed = async {
        if let (Some(to), Some(from)) = (args.call, args.from) {
            let placed = pbx
                .call(PbxCall {
                    to,
                    from,
                    ..PbxCall::default()
                })
                .await;
            hold_line(placed.map_err(|e| e.to_string()), args.seconds).await;
        }
    };
    let received = async {
        loop {
            if let Some(call) = pbx.incoming().await {
                report_later(call);
            }
        }
    };
    Ok(until_interrupted(placed, received).await?)
}

/// Both, until Ctrl-C.
async fn until_interrupted(
    placed: impl Future<Output = ()>,
    received: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let calls = async { tokio::join!(placed, received) };
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = calls => Ok(()),
    }
}

/// The roots' file in the directory of certificates.
pub(super) const ROOTS: &str = "teams-roots.pem";

/// Reads the emulator's certificates, or makes them: one to be dialled with, one to dial with that is for servers only.
pub(super) fn identities(directory: &std::path::Path) -> Result<(Identity, Identity), TlsError> {
    let file = |name: &str| directory.join(name);
    let files = [
        (file("teams.pem"), file("teams.key")),
        (file("teams-dialler.pem"), file("teams-dialler.key")),
    ];
    if !file(ROOTS).exists() {
        std::fs::create_dir_all(directory)?;
        let authority = Authority::new("Emulated Microsoft")?;
        let name = ["sip.pstnhub.microsoft.com"];
        for (chain, key) in &files {
            authority
                .issue(&name, Usage::Server, KeyKind::Ec)?
                .write(chain, key)?;
        }
        std::fs::write(file(ROOTS), authority.pem())?;
    }
    let [first, second] = files;
    Ok((
        Identity::read(&first.0, &first.1)?,
        Identity::read(&second.0, &second.1)?,
    ))
}

fn print_messages(trace: &Trace) {
    trace.watch(|message| {
        let arrow = if message.way == Way::In { "<-" } else { "->" };
        say!(
            "{arrow} {}   {} {}",
            message.first_line,
            message.cseq,
            message.call_id
        );
    });
}

/// Stays in a placed call for a while, says what was heard, and hangs up.
async fn hold_line(placed: Result<EmuCall, String>, seconds: u64) {
    let call = match placed {
        Ok(call) => call,
        Err(error) => {
            say!("no call: {error}");
            return;
        }
    };
    if let Err(error) = call.answered().await {
        say!("not answered: {error}");
        return;
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    print_heard(&call);
    call.bye().await;
}

/// Says what a call heard, once it is over.
fn report_later(call: EmuCall) {
    tokio::spawn(async move {
        while call.ended().await == Err(CallError::Patience) {}
        print_heard(&call);
    });
}

fn print_heard(call: &EmuCall) {
    let (heard, report) = (call.heard(), call.report());
    let notes: Vec<String> = heard
        .notes()
        .iter()
        .take(20)
        .map(|note| format!("{note:.0}"))
        .collect();
    say!(
        "call {} heard {:.1} s, silence {:.0} %, tones in Hz [{}], digits \"{}\", {} packets sent, {} refused",
        call.call_id(),
        heard.length().as_secs_f32(),
        100.0 * heard.silence(),
        notes.join(" "),
        report.digits,
        report.sent,
        report.refused
    );
}

fn gateway(text: &str) -> Result<Gateway, String> {
    let (fqdn, numbers) = text
        .split_once('=')
        .ok_or("expected NAME=NUMBER,NUMBER …")?;
    if fqdn.is_empty() {
        return Err("the name is empty".to_owned());
    }
    let numbers = numbers
        .split(',')
        .filter(|n| !n.is_empty())
        .map(str::to_owned)
        .collect();
    Ok(Gateway {
        fqdn: fqdn.to_ascii_lowercase(),
        numbers,
    })
}

fn credentials(text: &str) -> Result<Credentials, String> {
    let (username, password) = text.split_once(':').ok_or("expected NAME:PASSWORD")?;
    Ok(Credentials {
        username: username.to_owned(),
        password: password.to_owned(),
    })
}

fn behaviour(text: &str) -> Result<Behaviour, String> {
    match text {
        "answer" => Ok(Behaviour::Answer(Duration::from_secs(1))),
        "early-media" => Ok(Behaviour::EarlyMedia(Duration::from_secs(3))),
        "ring" => Ok(Behaviour::Ring),
        "trying" => Ok(Behaviour::Trying),
        "silent" => Ok(Behaviour::Silent),
        status => match status.parse() {
            Ok(status @ 400..=699) => Ok(Behaviour::Refuse(status)),
            _ => Err(
                "expected answer, early-media, ring, trying, silent or a status from 400 to 699"
                    .to_owned(),
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gateways, credentials and behaviours are read, and nonsense is not.
    #[test]
    fn arguments_are_read() {
        assert_eq!(
            gateway("A.example=+1,+2"),
            Ok(Gateway {
                fqdn: "a.example".into(),
                numbers: vec!["+1".into(), "+2".into()]
            })
        );
        assert!(gateway("a.example").is_err() && gateway("=+1").is_err());
        assert_eq!(credentials("u:p:q").map(|c| c.password), Ok("p:q".into()));
        assert_eq!(behaviour("486"), Ok(Behaviour::Refuse(486)));
        assert!(behaviour("200").is_err() && behaviour("sing").is_err());
    }

    /// Certificates are made once and read again, and the key is its owner's alone.
    #[test]
    fn certificates_are_made_once() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let made = identities(directory.path()).unwrap().0.chain_pem;
        assert_eq!(identities(directory.path()).unwrap().0.chain_pem, made);
        let mode = std::fs::metadata(directory.path().join("teams.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
