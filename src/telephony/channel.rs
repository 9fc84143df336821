//! Tokens that open a media socket: signed, short-lived, good for one connection.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use uuid::Uuid;

use crate::{
    clock,
    error::{ProviderError, ProviderErrorKind},
    private::Private,
    state::{Key, StateStore, Write},
};

/// Makes and redeems tokens for channels. A channel is a call, or whatever else one socket is for.
///
/// Every node that shares the key verifies the tokens of every other. Cheap to clone; clones
/// share the memory of spent tokens.
#[derive(Clone)]
pub struct ChannelTokens(Arc<Inner>);

struct Inner {
    key: Private<Vec<u8>>,
    spent: Mutex<HashMap<Nonce, Timestamp>>,
    elsewhere: Option<Arc<dyn SpentTokens>>,
}

/// Remembers spent tokens for several nodes, so that a token opens one socket on one of them.
#[async_trait]
pub trait SpentTokens: fmt::Debug + Send + Sync + 'static {
    /// Marks the token named `id` as spent until `expires`. Answers whether it was fresh: of any
    /// number of callers with the same `id`, exactly one hears `true`.
    async fn spend(&self, id: &str, expires: Timestamp) -> Result<bool, ProviderError>;
}

/// Spent tokens in the state that nodes share: one conditional write for each socket.
#[derive(Clone, Debug)]
pub struct SpentInState(Arc<dyn StateStore>);

impl SpentInState {
    /// Those in `state`, where each stays until its token has expired.
    pub fn new(state: Arc<dyn StateStore>) -> Self {
        Self(state)
    }
}

#[async_trait]
impl SpentTokens for SpentInState {
    async fn spend(&self, id: &str, expires: Timestamp) -> Result<bool, ProviderError> {
        let spent = Write::to(Key::new("spent-tokens", id)).if_absent();
        let spent = spent.set(serde_json::Value::Bool(true)).expires(expires);
        match self.0.apply(vec![spent], clock::wall()).await {
            Ok(()) => Ok(true),
            Err(error) if *error.kind() == ProviderErrorKind::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a token at all.
    #[error("the token is not one of ours")]
    Wrong,
    /// Made with another key, or for another channel.
    #[error("the token was not made for this channel")]
    Foreign,
    /// Older than [`LIFE`].
    #[error("the token has expired")]
    Expired,
    /// Used before.
    #[error("the token was used before")]
    Spent,
    /// Too many tokens were spent within one [`LIFE`] to remember them all.
    #[error("too many connections at once")]
    Busy,
}

/// How long a token lives, from the moment it is made.
///
/// 60 s: a carrier connects right after it was told to, within one retry of a webhook.
pub const LIFE: Duration = Duration::from_secs(60);

impl ChannelTokens {
    /// Tokens signed with `key`, best 32 random bytes. Nodes that share it share their tokens.
    #[must_use]
    pub fn new(key: Private<Vec<u8>>) -> Self {
        Self(Arc::new(Inner {
            key,
            spent: Mutex::default(),
            elsewhere: None,
        }))
    }

    /// Tokens of this process alone.
    #[must_use]
    pub fn random() -> Self {
        let key = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
        Self::new(Private::new(key))
    }

    /// Tokens signed with a key made from `secret`, which may serve other purposes too: the key
    /// gives nothing of it away.
    #[must_use]
    pub fn derived(secret: &str) -> Self {
        let mac = mac(secret.as_bytes()).chain_update(KEY_LABEL);
        Self::new(Private::new(mac.finalize().into_bytes().to_vec()))
    }

    /// The same tokens, spent in `store` as well as here. Forgets what was spent so far.
    #[must_use]
    pub fn sharing(&self, store: Arc<dyn SpentTokens>) -> Self {
        Self(Arc::new(Inner {
            key: self.0.key.clone(),
            spent: Mutex::default(),
            elsewhere: Some(store),
        }))
    }

    /// A fresh token for `channel`: letters, digits, `-` and `_` only.
    #[must_use]
    pub fn issue(&self, channel: &str, now: Timestamp) -> String {
        let expires = now.as_second().saturating_add(LIFE.as_secs().cast_signed());
        let nonce = Uuid::new_v4().into_bytes();
        let tag = self.sign(channel, expires, &nonce).finalize().into_bytes();
        let mut token = Vec::with_capacity(TOKEN_BYTES);
        token.extend_from_slice(&expires.to_be_bytes());
        token.extend_from_slice(&nonce);
        token.extend_from_slice(&tag);
        BASE64_URL_SAFE_NO_PAD.encode(token)
    }

    /// Whether `token` would open `channel`; leaves it unspent.
    ///
    /// # Errors
    ///
    /// [`TokenError`] says why not.
    pub fn check(&self, token: &str, channel: &str, now: Timestamp) -> Result<(), TokenError> {
        let (nonce, _) = self.read(token, channel, now)?;
        let spent = self.0.spent.lock().unwrap_or_else(PoisonError::into_inner);
        match spent.contains_key(&nonce) {
            true => Err(TokenError::Spent),
            false => Ok(()),
        }
    }

    /// Spends `token` for `channel` on this node.
    ///
    /// # Errors
    ///
    /// [`TokenError`] says why it opens nothing.
    pub fn redeem(&self, token: &str, channel: &str, now: Timestamp) -> Result<(), TokenError> {
        let (nonce, expires) = self.read(token, channel, now)?;
        self.spend(nonce, expires, now)
    }

    /// Spends `token` on this node and, where nodes share a store, for all of them. A store that
    /// does not answer stops no call: this node still remembers.
    ///
    /// # Errors
    ///
    /// [`TokenError`] says why it opens nothing.
    pub async fn redeem_everywhere(
        &self,
        token: &str,
        channel: &str,
        now: Timestamp,
    ) -> Result<(), TokenError> {
        let (nonce, expires) = self.read(token, channel, now)?;
        self.spend(nonce, expires, now)?;
        let Some(store) = &self.0.elsewhere else {
            return Ok(());
        };
        let id = BASE64_URL_SAFE_NO_PAD.encode(nonce);
        match tokio::time::timeout(STORE_PATIENCE, store.spend(&id, expires)).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(TokenError::Spent),
            Ok(Err(error)) => {
                tracing::warn!(%error, "spent tokens are not shared: the store failed");
                Ok(())
            }
            Err(_) => {
                tracing::warn!("spent tokens are not shared: the store did not answer in time");
                Ok(())
            }
        }
    }

    /// The nonce and the expiry of a token that this key signed for `channel` and that lives.
    fn read(
        &self,
        token: &str,
        channel: &str,
        now: Timestamp,
    ) -> Result<(Nonce, Timestamp), TokenError> {
        let mut bytes = [0; TOKEN_BYTES];
        match BASE64_URL_SAFE_NO_PAD.decode_slice(token, &mut bytes) {
            Ok(TOKEN_BYTES) => {}
            _ => return Err(TokenError::Wrong),
        }
        let (expires, rest) = bytes.split_at(8);
        let (nonce, tag) = rest.split_at(16);
        let expires = i64::from_be_bytes(expires.try_into().map_err(|_| TokenError::Wrong)?);
        let nonce = Nonce::try_from(nonce).map_err(|_| TokenError::Wrong)?;
        // Constant time, and before anything else that the token says is believed.
        self.sign(channel, expires, &nonce)
            .verify_slice(tag)
            .map_err(|_| TokenError::Foreign)?;
        let expires = Timestamp::from_second(expires).map_err(|_| TokenError::Wrong)?;
        match now < expires {
            true => Ok((nonce, expires)),
            false => Err(TokenError::Expired),
        }
    }

    fn spend(&self, nonce: Nonce, expires: Timestamp, now: Timestamp) -> Result<(), TokenError> {
        let mut spent = self.0.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.contains_key(&nonce) {
            return Err(TokenError::Spent);
        }
        if spent.len() >= MAX_SPENT {
            spent.retain(|_, expires| now < *expires);
            if spent.len() >= MAX_SPENT {
                return Err(TokenError::Busy);
            }
        }
        spent.insert(nonce, expires);
        Ok(())
    }

    fn sign(&self, channel: &str, expires: i64, nonce: &Nonce) -> Hmac<Sha256> {
        // Everything after the channel has a fixed length, so no two inputs look alike.
        mac(self.0.key.reveal())
            .chain_update(TOKEN_LABEL)
            .chain_update(channel)
            .chain_update(expires.to_be_bytes())
            .chain_update(nonce)
    }
}

impl fmt::Debug for ChannelTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelTokens").finish_non_exhaustive()
    }
}

impl Default for ChannelTokens {
    /// Tokens of this process alone.
    fn default() -> Self {
        Self::random()
    }
}

type Nonce = [u8; 16];

fn mac(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// Expiry, nonce, tag.
const TOKEN_BYTES: usize = 8 + 16 + 32;
const TOKEN_LABEL: &[u8] = b"novavoice channel token 1\0";
const KEY_LABEL: &[u8] = b"novavoice channel key 1";
/// A thousand connections a second for a whole [`LIFE`]; about 4 MB.
const MAX_SPENT: usize = 60_000;
/// A carrier waits for its socket meanwhile.
const STORE_PATIENCE: Duration = Duration::from_millis(1_500);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_767_268_800, 0);

    fn after(seconds: i64) -> Timestamp {
        NOW + jiff::SignedDuration::from_secs(seconds)
    }

    /// Vonage checklist 64: the one-time token is refused on its second use.
    #[test]
    fn a_token_opens_its_channel_once() {
        let tokens = ChannelTokens::random();
        let token = tokens.issue("call-1", NOW);
        assert_eq!(tokens.check(&token, "call-1", NOW), Ok(()));
        assert_eq!(tokens.redeem(&token, "call-1", NOW), Ok(()));
        assert_eq!(tokens.redeem(&token, "call-1", NOW), Err(TokenError::Spent));
        assert_eq!(tokens.check(&token, "call-1", NOW), Err(TokenError::Spent));
    }

    /// Vonage checklist 64: the one-time token is refused after its time.
    #[test]
    fn a_token_dies_after_sixty_seconds() {
        let tokens = ChannelTokens::random();
        let token = tokens.issue("call-1", NOW);
        assert_eq!(tokens.check(&token, "call-1", after(59)), Ok(()));
        let late = tokens.redeem(&token, "call-1", after(60));
        assert_eq!(late, Err(TokenError::Expired));
    }

    #[test]
    fn a_token_opens_no_other_channel() {
        let tokens = ChannelTokens::random();
        let token = tokens.issue("call-1", NOW);
        let other = tokens.redeem(&token, "call-2", NOW);
        assert_eq!(other, Err(TokenError::Foreign));
        assert_eq!(tokens.redeem(&token, "call-1", NOW), Ok(()));
    }

    #[test]
    fn nodes_with_one_secret_take_each_others_tokens() {
        let (one, two) = (
            ChannelTokens::derived("s3cret"),
            ChannelTokens::derived("s3cret"),
        );
        let token = one.issue("call-1", NOW);
        assert_eq!(two.redeem(&token, "call-1", NOW), Ok(()));
        let stranger = ChannelTokens::derived("another");
        let token = one.issue("call-1", NOW);
        assert_eq!(
            stranger.redeem(&token, "call-1", NOW),
            Err(TokenError::Foreign)
        );
    }

    #[test]
    fn every_changed_character_spoils_a_token() {
        let tokens = ChannelTokens::random();
        let token = tokens.issue("call-1", NOW);
        assert!(
            token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
        for at in 0..token.len() {
            let mut bad = token.clone().into_bytes();
            bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
            let bad = String::from_utf8(bad).unwrap();
            assert!(tokens.redeem(&bad, "call-1", NOW).is_err(), "{at}");
        }
        for bad in ["", "x", "ä", &token[1..], &format!("{token}A")] {
            assert_eq!(tokens.redeem(bad, "call-1", NOW), Err(TokenError::Wrong));
        }
    }

    #[test]
    fn the_memory_of_spent_tokens_is_bounded_and_forgets_the_dead() {
        let tokens = ChannelTokens::random();
        {
            let mut spent = tokens.0.spent.lock().unwrap();
            for id in 0..MAX_SPENT as u128 {
                spent.insert(id.to_be_bytes(), after(60));
            }
        }
        let token = tokens.issue("call-1", NOW);
        assert_eq!(tokens.redeem(&token, "call-1", NOW), Err(TokenError::Busy));
        let token = tokens.issue("call-1", after(60));
        assert_eq!(tokens.redeem(&token, "call-1", after(60)), Ok(()));
        assert_eq!(tokens.0.spent.lock().unwrap().len(), 1);
    }

    #[test]
    fn no_key_is_ever_printed() {
        let tokens = ChannelTokens::new(Private::new(b"hunter2".to_vec()));
        assert_eq!(format!("{tokens:?}"), "ChannelTokens { .. }");
    }

    #[derive(Debug, Default)]
    struct Store(Mutex<Vec<String>>, bool);

    #[async_trait]
    impl SpentTokens for Store {
        async fn spend(&self, id: &str, _: Timestamp) -> Result<bool, ProviderError> {
            if self.1 {
                return Err(ProviderError::new("store", ProviderErrorKind::Unavailable));
            }
            let mut ids = self.0.lock().unwrap();
            let fresh = !ids.iter().any(|known| known == id);
            ids.push(id.to_owned());
            Ok(fresh)
        }
    }

    #[tokio::test]
    async fn a_shared_store_stops_the_second_use_on_another_node() {
        let store: Arc<Store> = Arc::default();
        let node = || ChannelTokens::derived("s").sharing(Arc::clone(&store) as _);
        let (one, two) = (node(), node());
        let token = one.issue("call-1", NOW);
        assert_eq!(one.redeem_everywhere(&token, "call-1", NOW).await, Ok(()));
        let again = two.redeem_everywhere(&token, "call-1", NOW).await;
        assert_eq!(again, Err(TokenError::Spent));
    }

    #[tokio::test]
    async fn nodes_that_share_their_state_share_what_is_spent() {
        let state: Arc<dyn StateStore> = Arc::new(crate::state::MemoryState::new());
        let now = clock::wall();
        let node = || {
            let spent = SpentInState::new(Arc::clone(&state));
            ChannelTokens::derived("s").sharing(Arc::new(spent))
        };
        let (one, two) = (node(), node());
        let (first, second) = (one.issue("call-1", now), one.issue("call-1", now));
        assert_eq!(one.redeem_everywhere(&first, "call-1", now).await, Ok(()));
        let again = two.redeem_everywhere(&first, "call-1", now).await;
        assert_eq!(again, Err(TokenError::Spent));
        assert_eq!(two.redeem_everywhere(&second, "call-1", now).await, Ok(()));
    }

    #[tokio::test]
    async fn a_broken_store_stops_no_call() {
        let store = Arc::new(Store(Mutex::default(), true));
        let tokens = ChannelTokens::random().sharing(store);
        let token = tokens.issue("call-1", NOW);
        assert_eq!(
            tokens.redeem_everywhere(&token, "call-1", NOW).await,
            Ok(())
        );
        let again = tokens.redeem_everywhere(&token, "call-1", NOW).await;
        assert_eq!(again, Err(TokenError::Spent));
    }
}
