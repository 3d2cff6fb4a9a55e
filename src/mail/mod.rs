//! Letters by SMTP (RFC 5321) to the one server that passes them on, in clear, by STARTTLS (RFC 3207) or inside TLS
//! (RFC 8314 §3.3).
//!
//! A letter that the server refuses for good comes back as [`SendError::Refused`]; whatever may go better another time as
//! [`SendError::Later`]. Who repeats it and when is decided elsewhere.

use crate::directory::Secret;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use std::path::PathBuf;
use std::time::Duration;

/// The server, and who we are to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its name or address.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How the way there is protected.
    pub tls: Tls,
    /// The sender of all letters, with or without a name: `Tollgate <tollgate@example.net>`.
    pub from: String,
    /// User name and password, if it wants them.
    pub credentials: Option<(String, Secret)>,
    /// Whose certificates are believed: a PEM file; none is the operating system's bundle.
    pub roots: Option<PathBuf>,
    /// For one letter.
    pub timeout: Duration,
}

/// How the way to the server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Not at all.
    None,
    /// A connection in clear turns into TLS, or there is none.
    Starttls,
    /// TLS from the first byte.
    Implicit,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The sender is no address.
    #[error("from {0:?} is no address")]
    From(String),
    /// The file of roots cannot be used.
    #[error("roots {}: {reason}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of the password cannot be read.
    #[error("password_file: {reason}")]
    Password {
        /// The operating system's words.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
}

/// A letter, as plain text.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// The same each time that it is sent, so that a repetition is known as one.
    pub id: &'a str,
    /// An address.
    pub to: &'a str,
    /// One line.
    pub subject: &'a str,
    /// The rest.
    pub text: &'a str,
}

/// Why a letter has not left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It never will.
    #[error("refused: {0}")]
    Refused(String),
    /// It may another time.
    #[error("{0}")]
    Later(String),
}

/// Whoever takes letters to the server. Clones are the same.
#[derive(Debug, Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    timeout: Duration,
}

impl Mailer {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let from = config
            .from
            .parse()
            .map_err(|_| ConfigError::From(config.from.clone()))?;
        let mut builder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(config.server.as_str())
                .port(config.port)
                .timeout(Some(config.timeout))
                .tls(config.protection()?);
        if let Some((user, password)) = &config.credentials {
            builder =
                builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        Ok(Self {
            transport: builder.build(),
            from,
            timeout: config.timeout,
        })
    }

    /// Hands a letter to the server, which has it when this is over without an error.
    ///
    /// # Errors
    /// It has it not, as far as we know.
    pub async fn send(&self, letter: Letter<'_>) -> Result<(), SendError> {
        let message = self.message(letter).map_err(SendError::Refused)?;
        match tokio::time::timeout(self.timeout, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(judged(&error)),
            Err(_) => Err(SendError::Later("the server took too long".to_owned())),
        }
    }

    fn message(&self, letter: Letter<'_>) -> Result<Message, String> {
        let to: Mailbox = letter.to.parse().map_err(|_| "no address".to_owned())?;
        let domain = self.from.email.domain();
        Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(letter.subject)
            .message_id(Some(format!("<{}@{domain}>", letter.id)))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.to_owned())
            .map_err(|error| error.to_string())
    }
}

impl Config {
    fn protection(&self) -> Result<smtp::client::Tls, ConfigError> {
        Ok(match self.tls {
            Tls::None => smtp::client::Tls::None,
            Tls::Starttls => smtp::client::Tls::Required(self.parameters()?),
            Tls::Implicit => smtp::client::Tls::Wrapper(self.parameters()?),
        })
    }

    fn parameters(&self) -> Result<TlsParameters, ConfigError> {
        let mut builder = TlsParameters::builder(self.server.clone());
        if let Some(path) = &self.roots {
            let wrong = |reason: String| ConfigError::Roots {
                path: path.clone(),
                reason,
            };
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            let roots = Certificate::from_pem(&pem).map_err(|error| wrong(error.to_string()))?;
            builder = builder
                .certificate_store(CertificateStore::None)
                .add_root_certificate(roots);
        }
        builder
            .build()
            .map_err(|error| ConfigError::Tls(error.to_string()))
    }
}

/// RFC 5321 §4.2.1: 5yz is for good. But where the server wants other credentials (RFC 4954 §6) or takes no letters at all
/// (RFC 7504), nothing is wrong with the letter, and somebody will mend it.
fn judged(error: &smtp::Error) -> SendError {
    const NOT_THE_LETTERS_FAULT: [u16; 5] = [521, 530, 534, 535, 538];
    let code = error.status().map(u16::from);
    let for_good =
        error.is_permanent() && !code.is_some_and(|c| NOT_THE_LETTERS_FAULT.contains(&c));
    match for_good {
        true => SendError::Refused(error.to_string()),
        false => SendError::Later(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    /// A server that answers MAIL as told and takes what comes after; the lines that it was sent.
    async fn server(
        answer_to_mail: &'static str,
    ) -> (Mailer, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lines = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (reader, mut writer) = stream.into_split();
            let mut lines = BufReader::new(reader).lines();
            writer.write_all(b"220 here\r\n").await.unwrap();
            let (mut told, mut in_letter) = (Vec::new(), false);
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = match line.get(..4).unwrap_or_default() {
                    _ if in_letter && line != "." => "",
                    "EHLO" => "250-here\r\n250 8BITMIME\r\n",
                    "MAIL" => answer_to_mail,
                    "DATA" => "354 go on\r\n",
                    "QUIT" => "221 bye\r\n",
                    _ => "250 good\r\n",
                };
                in_letter = (in_letter || answer.starts_with("354")) && line != ".";
                told.push(line);
                writer.write_all(answer.as_bytes()).await.unwrap();
            }
            told
        });
        let config = Config {
            server: "127.0.0.1".into(),
            port,
            tls: Tls::None,
            from: "Tollgate <tollgate@sbc.example>".into(),
            credentials: None,
            roots: None,
            timeout: Duration::from_secs(20),
        };
        (Mailer::new(&config).unwrap(), lines)
    }

    const LETTER: Letter<'_> = Letter {
        id: "17",
        to: "admin@contoso.example",
        subject: "Grüße",
        text: "First line\n.second begins with a dot\n",
    };

    /// The letter is in the envelope's hands as it was written; a repetition has the same id.
    #[tokio::test]
    async fn a_letter_arrives_as_written() {
        let (mailer, lines) = server("250 good\r\n").await;
        mailer.send(LETTER).await.unwrap();
        drop(mailer);
        let lines = lines.await.unwrap();
        let has = |wanted: &str| lines.iter().any(|line| line == wanted);
        assert!(has("RCPT TO:<admin@contoso.example>"), "{lines:?}");
        assert!(has("Message-ID: <17@sbc.example>") && has("First line"));
        assert!(has("..second begins with a dot"), "{lines:?}");
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("Subject: =?utf-8?b?"))
        );
    }

    /// What is refused for good is told from what may go better another time.
    #[tokio::test]
    async fn refusals_are_told_apart() {
        for (answer, for_good) in [
            ("550 no such person\r\n", true),
            ("451 try again\r\n", false),
            ("530 credentials first\r\n", false),
        ] {
            let (mailer, _lines) = server(answer).await;
            let error = mailer.send(LETTER).await.unwrap_err();
            assert_eq!(matches!(error, SendError::Refused(_)), for_good, "{error}");
        }
        let (mailer, lines) = server("250 good\r\n").await;
        lines.abort();
        let error = mailer.send(LETTER).await.unwrap_err();
        assert!(matches!(error, SendError::Later(_)), "{error}");
        let nobody = Letter {
            to: "nobody",
            ..LETTER
        };
        assert!(matches!(
            mailer.send(nobody).await,
            Err(SendError::Refused(_))
        ));
    }
}
