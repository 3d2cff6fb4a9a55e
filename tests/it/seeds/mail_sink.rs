//! A mail server that keeps what it is given (RFC 5321), or refuses it for the time being.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A letter as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub to: String,
    pub text: String,
}

#[derive(Debug, Clone)]
pub struct MailSink {
    pub address: SocketAddr,
    letters: Arc<Mutex<Vec<Received>>>,
    refuses: Arc<AtomicBool>,
}

impl MailSink {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = Self {
            address: listener.local_addr().unwrap(),
            letters: Arc::default(),
            refuses: Arc::default(),
        };
        let server = sink.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        sink
    }

    /// The section of the configuration that sends letters here.
    pub fn section(&self) -> String {
        format!(
            "[mail]\nserver = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"Tollgate <tollgate@sbc.example>\"\n",
            self.address.port()
        )
    }

    /// Whether it takes nothing for the time being.
    pub fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Relaxed);
    }

    pub fn letters(&self) -> Vec<Received> {
        self.letters.lock().unwrap().clone()
    }

    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        writer.write_all(b"220 sink\r\n").await.ok()?;
        let mut to = String::new();
        while let Some(line) = lines.next_line().await.ok()? {
            let verb = line.split([' ', ':']).next().unwrap().to_ascii_uppercase();
            let answer = match verb.as_str() {
                "RCPT" if self.refuses.load(Ordering::Relaxed) => "451 not now\r\n",
                "RCPT" => {
                    to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    "250 good\r\n"
                }
                "DATA" => {
                    writer.write_all(b"354 go on\r\n").await.ok()?;
                    let mut text = String::new();
                    loop {
                        let line = lines.next_line().await.ok()??;
                        if line == "." {
                            break;
                        }
                        text.push_str(line.strip_prefix('.').unwrap_or(&line));
                        text.push('\n');
                    }
                    // Quoted-printable (RFC 2045 §6.7), as far as a letter in English needs it.
                    let text = text.replace("=\n", "").replace("=3D", "=");
                    let to = to.clone();
                    self.letters.lock().unwrap().push(Received { to, text });
                    "250 kept\r\n"
                }
                "QUIT" => {
                    writer.write_all(b"221 bye\r\n").await.ok()?;
                    return Some(());
                }
                _ => "250 good\r\n",
            };
            writer.write_all(answer.as_bytes()).await.ok()?;
        }
        Some(())
    }
}
