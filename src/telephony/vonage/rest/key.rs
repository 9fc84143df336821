//! The application's private key, in the forms in which people have it.

use std::{fmt, fs, io};

use jsonwebtoken::{Algorithm, EncodingKey, Header};

/// The RSA key with which an application proves who it is.
#[derive(Clone)]
pub struct PrivateKey(EncodingKey);

/// Why a text is no private key. Never shows any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No PEM text, and no readable file either.
    #[error("neither PEM text nor the path of a readable file ({0})")]
    Unreadable(io::ErrorKind),
    /// The private key is behind a passphrase.
    #[error("the private key is encrypted: give it without a passphrase")]
    Encrypted,
    /// PEM text, but of something else or damaged.
    #[error("not an RSA private key in PEM form (PKCS#1 or PKCS#8)")]
    NotRsa,
}

impl PrivateKey {
    /// PEM text, or the path of a file that holds it; the file is read here and now.
    ///
    /// # Errors
    ///
    /// What is wrong, without any of the text.
    pub fn load(text: &str) -> Result<Self, KeyError> {
        if text.contains(BEGIN) {
            return Self::from_pem(text);
        }
        let file = fs::read_to_string(text.trim());
        Self::from_pem(&file.map_err(|error| KeyError::Unreadable(error.kind()))?)
    }

    /// PEM text, PKCS#1 or PKCS#8. Its lines may end in CRLF or in a backslash and an `n`, as
    /// they do in environment variables, and quotes around the whole are dropped.
    ///
    /// # Errors
    ///
    /// What is wrong, without any of the text.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let text = text.replace("\\r", "").replace("\\n", "\n");
        let text = text.replace('\r', "");
        let text = text.trim().trim_matches(['"', '\'']).trim();
        if text.contains("ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        if !text.contains("PRIVATE KEY-----") {
            return Err(KeyError::NotRsa);
        }
        let key = EncodingKey::from_rsa_pem(text.as_bytes()).map_err(|_| KeyError::NotRsa)?;
        // The wrapping says nothing about what is inside; a signature does.
        let trial = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &(), &key);
        trial.map_err(|_| KeyError::NotRsa)?;
        Ok(Self(key))
    }

    pub(super) const fn encoding(&self) -> &EncodingKey {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey([private])")
    }
}

const BEGIN: &str = "-----BEGIN";

#[cfg(test)]
mod tests {
    use super::*;

    /// Vonage checklist 66: garbage gives a clear error that repeats none of it.
    #[test]
    fn garbage_is_refused_and_never_repeated() {
        let wrapped = |tag: &str, inside: &str| {
            format!("-----BEGIN {tag}-----\n{inside}\n-----END {tag}-----\n")
        };
        for (text, error) in [
            (
                "hunter2".to_owned(),
                KeyError::Unreadable(io::ErrorKind::NotFound),
            ),
            (wrapped("PRIVATE KEY", "aHVudGVyMg=="), KeyError::NotRsa),
            (wrapped("RSA PRIVATE KEY", "hunter2 !"), KeyError::NotRsa),
            (wrapped("RSA PRIVATE KEY", "MAMCAQA="), KeyError::NotRsa),
            (wrapped("PUBLIC KEY", "MAMCAQA="), KeyError::NotRsa),
            (wrapped("EC PRIVATE KEY", "MAMCAQA="), KeyError::NotRsa),
            (
                wrapped("ENCRYPTED PRIVATE KEY", "MAMCAQA="),
                KeyError::Encrypted,
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----".to_owned(),
                KeyError::NotRsa,
            ),
        ] {
            let refused = PrivateKey::load(&text).unwrap_err();
            assert_eq!(refused, error, "{text}");
            let said = format!("{refused} {refused:?}");
            assert!(
                !said.contains("hunter2") && !said.contains("aHVu"),
                "{said}"
            );
        }
    }
}
