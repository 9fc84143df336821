//! Two sources of callers as one.

use async_trait::async_trait;

use crate::{
    error::{ProviderError, ProviderErrorKind},
    telephony::{Leg, Telephony},
};

/// Callers of `A` and of `B`, whoever comes first; for example a carrier and a browser.
///
/// Ends when both have ended.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a pair")]
pub struct Both<A, B>(pub A, pub B);

#[async_trait]
impl<A: Telephony, B: Telephony> Telephony for Both<A, B> {
    async fn answer(&self) -> Result<Leg, ProviderError> {
        tokio::select! {
            leg = self.0.answer() => match leg {
                Err(error) if over(&error) => self.1.answer().await,
                leg => leg,
            },
            leg = self.1.answer() => match leg {
                Err(error) if over(&error) => self.0.answer().await,
                leg => leg,
            },
        }
    }
}

fn over(error: &ProviderError) -> bool {
    *error.kind() == ProviderErrorKind::Closed
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tokio::sync::{Mutex, mpsc};

    use super::*;
    use crate::{
        audio::SampleRate,
        call::{CallId, CallInfo, Direction},
        duplex::Duplex,
    };

    #[derive(Debug)]
    struct Line(Mutex<mpsc::Receiver<&'static str>>);

    fn line() -> (mpsc::Sender<&'static str>, Line) {
        let (sender, receiver) = mpsc::channel(4);
        (sender, Line(Mutex::new(receiver)))
    }

    #[async_trait]
    impl Telephony for Line {
        async fn answer(&self) -> Result<Leg, ProviderError> {
            let id = self.0.lock().await.recv().await;
            let id = id.ok_or_else(|| ProviderError::new("line", ProviderErrorKind::Closed))?;
            let (id, rate) = (CallId::new(id), SampleRate::Hz16000);
            Ok(Leg {
                info: CallInfo::new(id, Direction::Inbound, Timestamp::UNIX_EPOCH, rate),
                duplex: Duplex::pair(1).0,
            })
        }
    }

    #[tokio::test]
    async fn callers_of_both_sides_are_answered() {
        let ((one, a), (two, b)) = (line(), line());
        let both = Both(a, b);
        one.send("phone").await.unwrap();
        assert_eq!(both.answer().await.unwrap().info.id.as_str(), "phone");
        two.send("browser").await.unwrap();
        assert_eq!(both.answer().await.unwrap().info.id.as_str(), "browser");
    }

    #[tokio::test]
    async fn it_ends_only_when_both_sides_have_ended() {
        let ((one, a), (two, b)) = (line(), line());
        let both = Both(a, b);
        drop(one);
        two.send("browser").await.unwrap();
        assert_eq!(both.answer().await.unwrap().info.id.as_str(), "browser");
        drop(two);
        assert!(over(&both.answer().await.unwrap_err()));
    }
}
