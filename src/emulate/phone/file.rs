use std::net::SocketAddr;

use super::{PhoneConfig, PhoneError};
use crate::emulate::digest::Credentials;

/// Longer files are none.
const LONGEST: usize = 64 << 10;
/// For what stands for nothing.
const UNSET: &str = "%NULL%";

/// What a telephone's file says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneFile {
    /// What stands on its display.
    pub label: String,
    /// As whom it registers, and with which password.
    pub line: Credentials,
    /// Where, by TLS.
    pub host: String,
    /// See `host`.
    pub port: u16,
    /// How long a registration is asked to last.
    pub expires_s: u32,
    /// What a lifted handset calls.
    pub hotline: Option<String>,
    /// Where its next file is, with a slash at the end.
    pub(super) files: String,
    /// How it proves there that it is the one.
    pub(super) proof: Option<Credentials>,
}

impl PhoneFile {
    /// Where the network says that it is, or where the last one said.
    pub(super) async fn fetch(
        config: &PhoneConfig,
        last: Option<&Self>,
    ) -> Result<Self, PhoneError> {
        let files = last.map_or(&config.files, |last| &last.files);
        let url = format!("{files}{}.cfg", config.mac);
        let client = client(config, &url)?;
        let mut request = client
            .get(url)
            .header("User-Agent", format!("Emulated SIP-T46U {}", config.mac));
        if let Some(proof) = last.and_then(|last| last.proof.as_ref()) {
            request = request.basic_auth(&proof.username, Some(&proof.password));
        }
        let mut answer = request.send().await?;
        if !answer.status().is_success() {
            return Err(PhoneError::Refused(answer.status().as_u16()));
        }
        let mut text = Vec::new();
        while let Some(part) = answer.chunk().await? {
            if text.len() + part.len() > LONGEST {
                return Err(PhoneError::TooLong);
            }
            text.extend_from_slice(&part);
        }
        Self::read(&String::from_utf8_lossy(&text), files)
    }

    /// Reads a file that was found below `files`.
    fn read(text: &str, files: &str) -> Result<Self, PhoneError> {
        if text.lines().next() != Some("#!version:1.0.0.1") {
            return Err(PhoneError::Useless("a Yealink telephone"));
        }
        let find = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(" = "));
            let found = lines.find(|(name, _)| *name == key);
            found
                .map(|(_, value)| value.trim())
                .filter(|value| !value.is_empty() && *value != UNSET)
        };
        let must = |key: &'static str| find(key).ok_or(PhoneError::Useless(key));
        let number = |key: &'static str| -> Result<u32, PhoneError> {
            must(key)?.parse().map_err(|_| PhoneError::Useless(key))
        };
        const TRANSPORT: &str = "account.1.sip_server.1.transport_type";
        if must(TRANSPORT)? != "2" {
            return Err(PhoneError::Useless(TRANSPORT));
        }
        const PORT: &str = "account.1.sip_server.1.port";
        let proof = find("static.auto_provision.server.username")
            .zip(find("static.auto_provision.server.password"));
        let credentials = |(name, password): (&str, &str)| Credentials {
            username: name.to_owned(),
            password: password.to_owned(),
        };
        Ok(Self {
            label: must("account.1.label")?.to_owned(),
            line: credentials((must("account.1.user_name")?, must("account.1.password")?)),
            host: must("account.1.sip_server.1.address")?.to_owned(),
            port: u16::try_from(number(PORT)?).map_err(|_| PhoneError::Useless(PORT))?,
            expires_s: number("account.1.sip_server.1.expires")?,
            hotline: find("features.hotline_number").map(str::to_owned),
            files: find("static.auto_provision.server.url")
                .unwrap_or(files)
                .to_owned(),
            proof: proof.map(credentials),
        })
    }
}

/// A client for which every name leads to where the telephone is told.
fn client(config: &PhoneConfig, url: &str) -> Result<reqwest::Client, PhoneError> {
    let url = reqwest::Url::parse(url).map_err(|_| PhoneError::Useless("where files are"))?;
    let root = reqwest::Certificate::from_pem(config.roots.as_bytes())?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(config.patience)
        .tls_certs_only([root])
        .resolve(
            url.host_str().unwrap_or_default(),
            SocketAddr::new(config.address, 0),
        );
    Ok(client.build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "#!version:1.0.0.1\naccount.1.label = 1001\naccount.1.user_name = d1\naccount.1.password = p = q\n\
        account.1.sip_server.1.address = sbc.example\naccount.1.sip_server.1.port = 5061\n\
        account.1.sip_server.1.expires = 600\naccount.1.sip_server.1.transport_type = 2\n\
        features.hotline_number = %NULL%\nstatic.auto_provision.server.url = https://b/prov/\n\
        static.auto_provision.server.username = 001565aabbcc\nstatic.auto_provision.server.password = f\n";

    /// What is there is found, with blanks and signs of its own; what is unset is not, and no password is printed.
    #[test]
    fn a_file_says_who_the_telephone_is() {
        let file = PhoneFile::read(FILE, "https://a/prov/").unwrap();
        assert_eq!(
            (file.label.as_str(), file.port, file.hotline.clone()),
            ("1001", 5061, None)
        );
        assert_eq!(file.line.password, "p = q");
        assert_eq!(file.files, "https://b/prov/");
        assert_eq!(file.proof.as_ref().unwrap().username, "001565aabbcc");
        assert!(!format!("{file:?}").contains("p = q"));
    }

    /// A file of another make, one that lacks something, and one that says nonsense are of no use, and it is told why.
    #[test]
    fn a_file_of_no_use_is_told() {
        for (instead, of, why) in [
            ("<xml>", "#!version:1.0.0.1", "a Yealink telephone"),
            ("account.2", "account.1.user_name", "account.1.user_name"),
            ("port = 70000", "port = 5061", "account.1.sip_server.1.port"),
            (
                "type = 0",
                "type = 2",
                "account.1.sip_server.1.transport_type",
            ),
        ] {
            let fault = PhoneFile::read(&FILE.replace(of, instead), "").unwrap_err();
            assert!(fault.to_string().ends_with(why), "{fault}");
        }
    }
}
