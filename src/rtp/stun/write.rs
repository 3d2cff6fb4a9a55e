use super::{ATTRIBUTE, CODE, COOKIE, Class, HEADER, Key, Transaction, crc, kind, mask, xor};
use std::net::{IpAddr, SocketAddr};

/// Writes a message into a buffer, attribute by attribute. What does not fit makes [`Writer::finish`] say so.
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
    fits: bool,
}

impl<'a> Writer<'a> {
    /// A message without attributes.
    pub fn new(buffer: &'a mut [u8], class: Class, method: u16, transaction: &Transaction) -> Self {
        let mut writer = Self {
            buffer,
            length: 0,
            fits: true,
        };
        writer.put(&bits_of(class, method).to_be_bytes());
        writer.put(&[0, 0]);
        writer.put(&COOKIE);
        writer.put(transaction);
        writer
    }

    /// An attribute, padded with zeros.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.put(&kind.to_be_bytes());
        self.put(&(value.len() as u16).to_be_bytes());
        self.put(value);
        self.put(&[0; 3][..value.len().next_multiple_of(4) - value.len()]);
        if self.fits {
            let length = (self.length - HEADER) as u16;
            self.buffer[2..4].copy_from_slice(&length.to_be_bytes());
        }
        self
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn mapped(&mut self, address: SocketAddr) -> &mut Self {
        let mut value = [0; 20];
        let port = address.port().to_be_bytes();
        (value[2], value[3]) = (port[0] ^ COOKIE[0], port[1] ^ COOKIE[1]);
        let mask = self.mask();
        let length = match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                value[1] = 1;
                value[4..8].copy_from_slice(&xor(ip.octets(), &mask));
                8
            }
            IpAddr::V6(ip) => {
                value[1] = 2;
                value[4..].copy_from_slice(&xor(ip.octets(), &mask));
                20
            }
        };
        self.attribute(kind::XOR_MAPPED_ADDRESS, &value[..length])
    }

    /// ERROR-CODE without words: none that reads it needs them, and the response stays short.
    pub fn error(&mut self, code: u16) -> &mut Self {
        let value = [0, 0, (code / 100) as u8, (code % 100) as u8];
        self.attribute(kind::ERROR_CODE, &value)
    }

    /// MESSAGE-INTEGRITY of all so far.
    pub fn integrity(&mut self, key: &Key) -> &mut Self {
        if !self.fits {
            return self;
        }
        let code: [u8; CODE] = key.code(&self.buffer[..self.length]);
        self.attribute(kind::MESSAGE_INTEGRITY, &code)
    }

    /// FINGERPRINT of all so far; nothing may follow.
    pub fn fingerprint(&mut self) -> &mut Self {
        if !self.fits {
            return self;
        }
        let at = self.length;
        // The sum is over a header that counts the attribute already.
        self.attribute(kind::FINGERPRINT, &[0; 4]);
        if self.fits {
            let sum = crc::fingerprint(&self.buffer[..at]);
            self.buffer[at + ATTRIBUTE..self.length].copy_from_slice(&sum.to_be_bytes());
        }
        self
    }

    /// The length of the message, if the buffer had room for it.
    pub fn finish(&self) -> Option<usize> {
        self.fits.then_some(self.length)
    }

    fn put(&mut self, bytes: &[u8]) {
        let place = self.buffer.get_mut(self.length..self.length + bytes.len());
        match place.filter(|_| self.fits) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            None => self.fits = false,
        }
    }

    fn mask(&self) -> [u8; 16] {
        let transaction = self.buffer.get(8..HEADER).and_then(|t| t.try_into().ok());
        mask(&transaction.unwrap_or_default())
    }
}

/// RFC 8489 §5, figure 3.
fn bits_of(class: Class, method: u16) -> u16 {
    let class = match class {
        Class::Request => 0x0000,
        Class::Indication => 0x0010,
        Class::Success => 0x0100,
        Class::Error => 0x0110,
    };
    class | method & 0x000f | (method & 0x0070) << 1 | (method & 0x0f80) << 2
}
