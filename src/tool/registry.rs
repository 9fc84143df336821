//! Tools as functions, and the set of them that an agent has.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{ToolContext, ToolError, ToolOutput, ToolSpec, arguments, schema};

/// One tool: what the model is told of it, and the function behind it. Cheap to clone.
#[derive(Clone)]
pub struct Tool {
    spec: ToolSpec,
    run: Arc<RunFn>,
}

type RunFn = dyn Fn(ToolContext, String) -> Running + Send + Sync;

/// A use that goes on.
type Running = Pin<Box<dyn Future<Output = ToolOutput> + Send>>;

impl Tool {
    /// A tool of this name that runs `run`.
    ///
    /// The model learns from the type of the arguments what they are: its doc comment describes
    /// the tool, those of its fields the arguments. It must be a struct; where there is nothing to
    /// say, [`NoArguments`]. What the model cannot be expected to know does not belong there.
    ///
    /// Models take letters, digits, `_` and `-` in a name, 64 at most; other characters become
    /// `_`.
    pub fn new<A, R, F>(
        name: &str,
        run: impl Fn(ToolContext, A) -> F + Send + Sync + 'static,
    ) -> Self
    where
        A: DeserializeOwned + JsonSchema,
        R: Serialize,
        F: Future<Output = Result<R, ToolError>> + Send + 'static,
    {
        let (description, parameters) = schema::described::<A>();
        let run = move |context: ToolContext, text: String| -> Running {
            match arguments::parse(&text) {
                Ok(arguments) => {
                    let running = run(context, arguments);
                    Box::pin(async move {
                        match running.await {
                            Ok(value) => ToolOutput::new(value),
                            Err(error) => ToolOutput::error(error.message()),
                        }
                    })
                }
                Err(wrong) => Box::pin(async { ToolOutput::error(wrong) }),
            }
        };
        Self {
            spec: ToolSpec::new(schema::name(name), description, parameters),
            run: Arc::new(run),
        }
    }

    /// Describes the tool in other words than its arguments' doc comment.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.spec.description = description.into();
        self
    }

    /// Allows it this long.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.spec.deadline = deadline;
        self
    }

    /// Lets a caller who interrupts the agent cancel it: for what only looks something up.
    #[must_use]
    pub fn interruptible(mut self) -> Self {
        self.spec.interruptible = true;
        self
    }

    /// Lets the agent say this when it takes long.
    #[must_use]
    pub fn filler(mut self, sentence: impl Into<String>) -> Self {
        self.spec.filler = Some(sentence.into());
        self
    }

    /// Changes the schema of its arguments, for what a type cannot say: choices that are only
    /// known at run time.
    #[must_use]
    pub fn schema(mut self, change: impl FnOnce(&mut Map<String, Value>)) -> Self {
        change(&mut self.spec.parameters);
        self
    }

    /// What models are told of it.
    #[must_use]
    pub const fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    /// Uses it with the arguments as a model wrote them. Never fails: what goes wrong is what the
    /// model is told. Keeps no deadline, and does nothing until it is polled.
    pub fn call(
        &self,
        context: ToolContext,
        arguments: &str,
    ) -> impl Future<Output = ToolOutput> + Send + use<> {
        let (run, arguments) = (Arc::clone(&self.run), arguments.to_owned());
        async move { run(context, arguments).await }
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool")
            .field("name", &self.spec.name)
            .finish_non_exhaustive()
    }
}

/// The tools of an agent, by name. Cheap to clone; by default, none.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    tools: Arc<[Tool]>,
    specs: Arc<[ToolSpec]>,
}

impl Tools {
    /// These tools. Of two with one name the later one counts.
    pub fn new(tools: impl IntoIterator<Item = Tool>) -> Self {
        let mut known: Vec<Tool> = Vec::new();
        for tool in tools {
            known.retain(|other| other.spec.name != tool.spec.name);
            known.push(tool);
        }
        Self {
            specs: known.iter().map(|tool| tool.spec.clone()).collect(),
            tools: known.into(),
        }
    }

    /// The tool of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.spec.name == name)
    }

    /// What models are told of them.
    #[must_use]
    pub fn specs(&self) -> Arc<[ToolSpec]> {
        Arc::clone(&self.specs)
    }

    /// The same of those that are offered; `None`: all.
    pub(crate) fn offered(&self, names: Option<&[String]>) -> Arc<[ToolSpec]> {
        match names {
            None => self.specs(),
            Some(names) => self
                .specs
                .iter()
                .filter(|spec| names.contains(&spec.name))
                .cloned()
                .collect(),
        }
    }
}

impl FromIterator<Tool> for Tools {
    fn from_iter<I: IntoIterator<Item = Tool>>(tools: I) -> Self {
        Self::new(tools)
    }
}

/// The arguments of a tool that takes none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[expect(clippy::exhaustive_structs, reason = "nothing, for ever")]
pub struct NoArguments {}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::{
        audio::SampleRate,
        call::{CallId, CallInfo, Direction},
    };

    /// Finds the opening hours
    /// of a day.
    #[derive(Deserialize, JsonSchema)]
    struct OpeningHours {
        /// The day of the week.
        day: Day,
        /// Whether holidays count.
        holidays: Option<bool>,
    }

    #[derive(Deserialize, JsonSchema, Serialize)]
    #[serde(rename_all = "lowercase")]
    enum Day {
        Monday,
        Sunday,
    }

    fn opening_hours() -> Tool {
        Tool::new(
            "opening hours",
            async |_context, hours: OpeningHours| match hours.day {
                Day::Monday => Ok(json!({"from": 9, "holidays": hours.holidays})),
                Day::Sunday => Err(ToolError::new("Closed on Sundays.")),
            },
        )
    }

    fn context() -> ToolContext {
        let started = "2026-06-22T20:35:32Z".parse().unwrap();
        let call = CallInfo::new(
            CallId::new("a"),
            Direction::Inbound,
            started,
            SampleRate::Hz16000,
        );
        ToolContext::detached(call, None).0
    }

    #[test]
    fn a_tool_without_arguments_takes_an_empty_object() {
        let tool = Tool::new("wait", async |_, NoArguments {}| Ok("done")).describe("Waits.");
        let schema = Value::Object(tool.spec().parameters.clone());
        assert_eq!(schema, json!({"type": "object", "properties": {}}));
        assert_eq!(tool.spec().description, "Waits.");
        assert_eq!(opening_hours().spec().name, "opening_hours");
    }

    #[tokio::test]
    async fn whatever_the_model_writes_is_answered() {
        let tool = opening_hours();
        let output = async |arguments: &str| tool.call(context(), arguments).await;
        assert_eq!(
            output(r#"{"day":"monday"}"#).await.to_json(),
            r#"{"from":9,"holidays":null}"#
        );
        assert_eq!(
            output(r#""{\"day\":\"sunday\"}""#).await.to_json(),
            r#"{"error":"Closed on Sundays."}"#
        );
        for wrong in ["", "{", r#"{"day":"someday"}"#] {
            assert!(output(wrong).await.is_error(), "{wrong}");
        }
    }

    #[test]
    fn of_two_tools_with_a_name_the_later_counts() {
        let tools = Tools::new([
            opening_hours(),
            Tool::new("wait", async |_, NoArguments {}| Ok(1)),
            opening_hours().describe("Better."),
        ]);
        let names: Vec<_> = tools.specs().iter().map(|spec| spec.name.clone()).collect();
        assert_eq!(names, ["wait", "opening_hours"]);
        assert_eq!(
            tools.get("opening_hours").unwrap().spec().description,
            "Better."
        );
        assert!(tools.get("nothing").is_none());
        let offered = tools.offered(Some(&["wait".to_owned(), "nothing".to_owned()]));
        assert_eq!(offered.len(), 1);
    }
}
