//! `esther prompts`: looks at the versions of the prompt, saves and steers them.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use novavoice::{
    ProviderErrorKind,
    prompt::{Active, PromptVersion, Prompts as Versions},
};
use serde_json::{Map, Value, json};

use super::WrongUsage;
use crate::{clock::wall, config::Config, persona, prompts, stores::Stores};

/// What is to be done with the prompt.
#[derive(Debug, Subcommand)]
pub(crate) enum Prompts {
    /// Lists the versions, newest first
    List(Json),
    /// Shows a version: every text of it
    Show(One),
    /// Saves a version, which nobody hears until it is made active
    Save(Save),
    /// Makes a version the active one, from the next call on
    Activate(Activate),
    /// Goes back to the version that was active before
    Rollback(Rollback),
    /// Says what speaks against a version
    Check(One),
}

#[derive(Debug, Args)]
pub(crate) struct Json {
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The number; without it the active one
    version: Option<u32>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Save {
    /// A JSON file with texts, as `prompts show --json` writes it; any other file is the system
    /// prompt. Texts that are left out are those that Esther ships with
    file: PathBuf,
    /// Who saves it
    #[arg(long)]
    author: Option<String>,
    /// Why
    #[arg(long)]
    note: Option<String>,
    /// Makes it active, too
    #[arg(long)]
    activate: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Activate {
    /// The number
    version: u32,
    /// Who does it
    #[arg(long)]
    by: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// Only if this version is active still
    #[arg(long, value_name = "VERSION")]
    from: Option<u32>,
    /// Who does it
    #[arg(long)]
    by: Option<String>,
}

/// Does it.
pub(crate) async fn run(command: Prompts, config: &Config) -> anyhow::Result<()> {
    let stores = Stores::open(&config.stores, config.speech.region.as_deref()).await?;
    stores.make_tables(&config.stores).await?;
    let versions = prompts::open(&stores.state);
    match command {
        Prompts::List(Json { json }) => list(&versions, json).await,
        Prompts::Show(one) => {
            let version = one.find(&versions).await?;
            match one.json {
                true => println!("{:#}", json!(version)),
                false => print_texts(&version),
            }
            Ok(())
        }
        Prompts::Save(save) => save.run(&versions).await,
        Prompts::Activate(Activate { version, by }) => {
            activate(&versions, version, by.as_deref()).await
        }
        Prompts::Rollback(Rollback { from, by }) => {
            let done = versions.roll_back(from, by.as_deref(), wall()).await;
            tell_active(&done.context("the active version stays")?);
            Ok(())
        }
        Prompts::Check(one) => {
            let version = one.find(&versions).await?;
            let warnings = persona::warnings(&version);
            match one.json {
                true => println!("{}", json!(warnings)),
                false => warnings.iter().for_each(|warning| println!("{warning}")),
            }
            match warnings.len() {
                0 => Ok(()),
                count => bail!("{count} remarks on version {}", version.number),
            }
        }
    }
}

async fn list(versions: &Versions, json: bool) -> anyhow::Result<()> {
    let active = versions.active(wall()).await.context(STORE)?.version;
    if !json {
        println!(
            "{:<7}  {:<6}  {:<20}  {:<16}  NOTE",
            "VERSION", "", "SAVED", "AUTHOR"
        );
    }
    for version in versions.list(wall()).await.context(STORE)? {
        let is_active = version.number == active;
        if json {
            let mut shown = json!(version);
            shown["active"] = is_active.into();
            println!("{shown}");
            continue;
        }
        let saved = version.created.map(|at| format!("{at:.0}"));
        println!(
            "{:<7}  {:<6}  {:<20}  {:<16}  {}",
            version.number,
            if is_active { "active" } else { "" },
            saved.as_deref().unwrap_or("shipped"),
            version.author.as_deref().unwrap_or("-"),
            version.note.as_deref().unwrap_or("-"),
        );
    }
    Ok(())
}

impl One {
    async fn find(&self, versions: &Versions) -> anyhow::Result<Arc<PromptVersion>> {
        let number = match self.version {
            Some(number) => number,
            None => versions.active(wall()).await.context(STORE)?.version,
        };
        let found = versions.get(number, wall()).await.context(STORE)?;
        found.with_context(|| unknown(number))
    }
}

impl Save {
    async fn run(self, versions: &Versions) -> anyhow::Result<()> {
        let name = self.file.display();
        let text = fs::read_to_string(&self.file);
        let text = text.with_context(|| format!("cannot read {name}"))?;
        let wrong = |problem: String| WrongUsage(format!("{name}: {problem}"));
        let is_json = self.file.extension().is_some_and(|end| end == "json");
        let mut members: Map<String, Value> = match is_json {
            true => serde_json::from_str(&text).map_err(|bad| wrong(bad.to_string()))?,
            false => Map::from_iter([("systemPrompt".to_owned(), text.into())]),
        };
        for (name, given) in [("author", &self.author), ("note", &self.note)] {
            if let Some(given) = given {
                members.insert(name.to_owned(), given.as_str().into());
            }
        }
        let draft = prompts::draft(&members, &versions.shipped().texts)
            .map_err(|problems| wrong(problems.join("; ")))?;
        let saved = versions.save(&draft, None, wall()).await.context(STORE)?;
        for warning in persona::warnings(&saved) {
            eprintln!("warning: {warning}");
        }
        match self.json {
            true => println!("{}", json!(saved)),
            false => println!("Saved as version {}.", saved.number),
        }
        if self.activate {
            activate(versions, saved.number, self.author.as_deref()).await?;
        }
        Ok(())
    }
}

async fn activate(versions: &Versions, number: u32, by: Option<&str>) -> anyhow::Result<()> {
    match versions.activate(number, by, wall()).await {
        Ok(active) => {
            tell_active(&active);
            Ok(())
        }
        Err(error) if *error.kind() == ProviderErrorKind::NotFound => bail!(unknown(number)),
        Err(error) => Err(error).context(STORE),
    }
}

fn tell_active(active: &Active) {
    eprintln!(
        "Version {} is active from the next call on.",
        active.version
    );
}

fn print_texts(version: &PromptVersion) {
    println!("Version  {}", version.number);
    if let Some(saved) = version.created {
        println!("Saved    {saved:.0}");
    }
    for (label, remark) in [("Author", &version.author), ("Note", &version.note)] {
        if let Some(remark) = remark {
            println!("{label:<8} {remark}");
        }
    }
    for (name, text) in version.texts.all() {
        println!("\n## {name}\n\n{text}");
    }
}

fn unknown(number: u32) -> String {
    format!("there is no prompt version {number}")
}

const STORE: &str = "the store of prompts";
