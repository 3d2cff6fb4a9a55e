//! Letters to a real mail server: aiosmtpd, in clear and by STARTTLS.

use crate::process::Running;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tollgate::emulate::{Authority, KeyKind, Usage};
use tollgate::mail::{Config, Letter, Mailer, SendError, Tls};

/// A server that prints what it gets, and its port.
async fn server(folder: &Path, more: &[&str]) -> (Running, u16) {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("its address").port();
    drop(free);
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-u", "-m", "aiosmtpd", "-n", "-d", "-l"]);
    command.arg(format!("127.0.0.1:{port}")).args(more);
    let mut server = Running::start("aiosmtpd", folder, &mut command);
    assert!(
        server.prints("Server is listening").await,
        "{}",
        server.printed()
    );
    (server, port)
}

fn mailer(port: u16, tls: Tls, roots: &Path) -> Mailer {
    let config = Config {
        server: "localhost".into(),
        port,
        tls,
        from: "Tollgate <tollgate@sbc.example>".into(),
        credentials: None,
        roots: (tls != Tls::None).then(|| roots.to_owned()),
        timeout: Duration::from_secs(30),
    };
    Mailer::new(&config).expect("a good configuration")
}

const LETTER: Letter<'_> = Letter {
    id: "4711",
    to: "admin@contoso.example",
    subject: "Connect Contoso",
    text: "Please open\n\nhttps://sbc.example/invite/abc\n",
};

/// RFC 5321: the letter is there as it was written, with its id.
#[tokio::test]
async fn a_letter_reaches_a_mail_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut server, port) = server(folder.path(), &[]).await;
    let mailer = mailer(port, Tls::None, folder.path());
    mailer.send(LETTER).await.expect("the server takes it");
    for line in [
        "Message-ID: <4711@sbc.example>",
        "Subject: Connect Contoso",
        "https://sbc.example/invite/abc",
    ] {
        assert!(server.prints(line).await, "{line}: {}", server.printed());
    }
}

/// RFC 3207: with STARTTLS the certificate must lead to the roots, and a server without it gets nothing.
#[tokio::test]
async fn a_letter_goes_through_tls_or_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let (theirs, other) = (Authority::new("Mail"), Authority::new("Other"));
    let (theirs, other) = (theirs.expect("an authority"), other.expect("another"));
    let certificate = theirs
        .issue(&["localhost"], Usage::Server, KeyKind::Ec)
        .expect("a certificate");
    certificate
        .write(&file("mail.pem"), &file("mail.key"))
        .expect("files");
    std::fs::write(file("roots.pem"), theirs.pem()).expect("a file");
    std::fs::write(file("other.pem"), other.pem()).expect("a file");
    let tls = ["--tlscert", "mail.pem", "--tlskey", "mail.key"];
    let (mut with_tls, port) = server(folder.path(), &tls).await;
    let wrong = mailer(port, Tls::Starttls, &file("other.pem"))
        .send(LETTER)
        .await;
    assert!(matches!(wrong, Err(SendError::Later(_))), "{wrong:?}");
    let sent = mailer(port, Tls::Starttls, &file("roots.pem"))
        .send(LETTER)
        .await;
    assert_eq!(sent, Ok(()), "{}", with_tls.printed());
    assert!(with_tls.prints("invite/abc").await);
    assert_eq!(with_tls.printed().matches("invite/abc").count(), 1);

    let bare = tempfile::tempdir().expect("a folder");
    let (without, port) = server(bare.path(), &[]).await;
    let refused = mailer(port, Tls::Starttls, &file("roots.pem"))
        .send(LETTER)
        .await;
    assert!(matches!(refused, Err(SendError::Later(_))), "{refused:?}");
    assert!(!without.printed().contains("invite/abc"));
}
