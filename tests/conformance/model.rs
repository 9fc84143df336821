//! Speech models. A new one adds a `mod` here that calls `conformance::speech_model` with a way
//! to make one that answers a text with a sentence of speech:
//!
//! ```text
//! conformance::speech_model(async || MyModel::new(/* its fake service */)).await;
//! ```
//!
//! A model without sockets runs it under `#[tokio::test(start_paused = true)]`.

mod nova_sonic;

mod scripted {
    use std::sync::Arc;

    use novavoice::{
        model::{
            SpeechModel,
            scripted::{Script, Scripted},
        },
        testkit::conformance::{self, model as suite},
    };

    #[tokio::test(start_paused = true)]
    async fn the_scripted_model_keeps_the_contract() {
        conformance::speech_model(async || Scripted::default()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_scripted_model_uses_the_tools_of_its_script() {
        let nothing = serde_json::json!({});
        let script = Script::new(["One?", "Two?"])
            .with_tool(0, suite::LOOK_UP, &nothing)
            .with_tool(1, suite::LOOK_UP, &nothing);
        suite::a_use_of_a_tool_is_followed_by_a_reply(&Scripted::new(script)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_model_behind_a_pointer_keeps_the_contract() {
        conformance::speech_model(async || {
            let model: Arc<dyn SpeechModel> = Arc::new(Scripted::default());
            model
        })
        .await;
    }
}

mod memory {
    use std::collections::VecDeque;

    use novavoice::{
        audio::AudioFrame,
        model::{
            ModelCommand, ModelEvent, ReplyId,
            memory::{OpenedSession, Puppet},
        },
        testkit::conformance::{self, model as suite},
    };

    /// Plays a session as the contract wants it: each text gets one sentence.
    async fn play(opened: OpenedSession) {
        let OpenedSession { seed, mut port } = opened;
        let mut replies = 0;
        let mut saying = VecDeque::new();
        loop {
            tokio::select! {
                command = port.commands.recv() => match command {
                    Some(ModelCommand::Text(_)) => {
                        replies += 1;
                        let id = ReplyId(replies);
                        saying.push_back(ModelEvent::Caption(id, "Very well.".into()));
                        for _ in 0..10 {
                            let frame = AudioFrame::silence(seed.output_rate);
                            saying.push_back(ModelEvent::Audio(id, frame));
                        }
                        saying.push_back(ModelEvent::AgentSaid("Very well.".into()));
                        saying.push_back(ModelEvent::ReplyEnded(id));
                    }
                    Some(
                        ModelCommand::Audio(_)
                        | ModelCommand::History(_)
                        | ModelCommand::ToolResult(_),
                    ) => {}
                    Some(ModelCommand::Finish) => break,
                    None => return,
                },
                room = port.events.reserve(), if !saying.is_empty() => {
                    let Ok(room) = room else { return };
                    room.send(Ok(saying.pop_front().expect("not empty")));
                }
                () = port.events.closed() => return,
            }
        }
        for event in saying {
            if port.events.send(Ok(event)).await.is_err() {
                return;
            }
        }
    }

    fn puppet<F: Future<Output = ()> + Send + 'static>(
        player: impl Fn(OpenedSession) -> F + Send + 'static,
    ) -> Puppet {
        let (model, mut sessions) = Puppet::new();
        tokio::spawn(async move {
            while let Some(opened) = sessions.recv().await {
                tokio::spawn(player(opened));
            }
        });
        model
    }

    #[tokio::test(start_paused = true)]
    async fn a_puppet_that_is_played_by_the_book_keeps_the_contract() {
        conformance::speech_model(async || puppet(play)).await;
    }

    /// The suite looks closely: a session that stops reading is noticed.
    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "a session takes commands")]
    async fn a_session_that_stops_reading_is_noticed() {
        let model = puppet(|opened| async move {
            std::future::pending::<()>().await;
            drop(opened);
        });
        suite::commands_are_taken_while_nobody_reads_events(&model).await;
    }

    /// The suite looks closely: a session that outlives its user is noticed.
    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "a dropped session is let go")]
    async fn a_session_that_outlives_its_user_is_noticed() {
        let model =
            puppet(
                |mut opened| async move { while opened.port.commands.recv().await.is_some() {} },
            );
        suite::a_dropped_session_is_let_go(&model).await;
    }
}
