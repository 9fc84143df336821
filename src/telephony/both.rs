//! Two sources of callers as one.

use async_trait::async_trait;

use crate::{
    error::{ProviderError, ProviderErrorKind},
    lead::PhoneNumber,
    telephony::{DialOptions, Dialled, Leg, Telephony},
};

/// Callers of `A` and of `B`, whoever comes first; for example a carrier and a browser.
///
/// Calls are placed by the first one that can. Ends when both have ended.
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

    fn can_dial(&self) -> bool {
        self.0.can_dial() || self.1.can_dial()
    }

    async fn dial(&self, to: &PhoneNumber, options: DialOptions) -> Result<Dialled, ProviderError> {
        match self.0.can_dial() {
            true => self.0.dial(to, options).await,
            false => self.1.dial(to, options).await,
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
    struct Line(Mutex<mpsc::Receiver<&'static str>>, bool);

    fn line() -> (mpsc::Sender<&'static str>, Line) {
        let (sender, receiver) = mpsc::channel(4);
        (sender, Line(Mutex::new(receiver), false))
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

        fn can_dial(&self) -> bool {
            self.1
        }

        async fn dial(&self, _: &PhoneNumber, _: DialOptions) -> Result<Dialled, ProviderError> {
            match self.1 {
                true => Ok(Dialled::new(CallId::new("dialled"))),
                false => Err(crate::telephony::cannot_dial("line")),
            }
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
    async fn calls_are_placed_by_the_side_that_can() {
        let number = PhoneNumber::parse("+12125550101").unwrap();
        for (first, second) in [(false, false), (false, true), (true, false)] {
            let ((_one, mut a), (_two, mut b)) = (line(), line());
            (a.1, b.1) = (first, second);
            let both = Both(a, b);
            assert_eq!(both.can_dial(), first || second);
            let dialled = both.dial(&number, DialOptions::default()).await;
            assert_eq!(dialled.is_ok(), first || second);
        }
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
