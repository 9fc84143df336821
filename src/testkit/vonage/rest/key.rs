//! An application's key pair, made for one test.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::DecodingKey;
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};

/// A key pair: the service gets the private half, the carrier checks with the other.
#[derive(Clone)]
pub struct ApplicationKey {
    private: String,
    public: String,
}

impl ApplicationKey {
    /// A fresh one.
    ///
    /// # Errors
    ///
    /// When the machine has no randomness to give.
    pub fn generate() -> io::Result<Self> {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        let pair = pair.map_err(io::Error::other)?;
        Ok(Self {
            private: pair.serialize_pem(),
            public: pair.public_key_pem(),
        })
    }

    /// The private half as PEM text of PKCS#8.
    #[must_use]
    pub fn private_pem(&self) -> &str {
        &self.private
    }

    /// The private half as PEM text of PKCS#1.
    ///
    /// # Errors
    ///
    /// When the key is not one that was made here.
    pub fn private_pem_pkcs1(&self) -> io::Result<String> {
        let lines = self.private.lines().filter(|line| !line.starts_with('-'));
        let der = STANDARD.decode(lines.collect::<String>());
        let der = der.map_err(io::Error::other)?;
        // A version, the name of the algorithm, and the key: the third member of a sequence of
        // which each has its length in one byte or in two (RFC 5208).
        let inner = der.get(PKCS8_PREFIX..).unwrap_or_default();
        let text = STANDARD.encode(inner);
        let mut pem = "-----BEGIN RSA PRIVATE KEY-----\n".to_owned();
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        Ok(pem + "-----END RSA PRIVATE KEY-----\n")
    }

    pub(super) fn verifying(&self) -> io::Result<DecodingKey> {
        DecodingKey::from_rsa_pem(self.public.as_bytes()).map_err(io::Error::other)
    }
}

impl std::fmt::Debug for ApplicationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApplicationKey").finish_non_exhaustive()
    }
}

/// What stands before the key of 2048 bits: the sequence (4 bytes), its version (3), the
/// algorithm (15) and the head of the octet string (4).
const PKCS8_PREFIX: usize = 26;
