//! `esther leads`: looks leads up, and loads them.

pub(crate) mod import;

use std::{io, path::PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use novavoice::lead::{Lead, LeadFilter, LeadPage, LeadQuery, LeadStore, PhoneNumber};

use self::import::Import;
use super::WrongUsage;
use crate::{config::Config, http::lead_as_json, stores::Stores};

/// What is asked about leads.
#[derive(Debug, Subcommand)]
pub(crate) enum Leads {
    /// Loads leads from CSV files whose columns are named like the fields
    Import(Import),
    /// Lists leads
    List(List),
    /// Shows a lead
    Show(Show),
    /// Writes leads as CSV
    Export(Export),
}

#[derive(Debug, Args)]
struct Filter {
    /// Leads with this lead_status alone
    #[arg(long, value_name = "STATUS")]
    lead_status: Option<String>,
    /// Leads of this owner alone
    #[arg(long, value_name = "OWNER")]
    owner_alias: Option<String>,
    /// Leads with this call_status alone
    #[arg(long, value_name = "STATUS")]
    call_status: Option<String>,
    /// Leads in this state alone
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    filter: Filter,
    /// How many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The number, however it is written
    phone: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    filter: Filter,
    /// One JSON object per line, every field included
    #[arg(long)]
    json: bool,
    /// Into this file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Answers.
pub(crate) async fn run(leads: Leads, config: &Config) -> anyhow::Result<()> {
    let stores = Stores::open(&config.stores, config.speech.region.as_deref()).await?;
    let store = &*stores.leads;
    match leads {
        Leads::Import(import) => {
            // So that a first import needs no other command.
            stores.make_tables(&config.stores).await?;
            import.run(store).await
        }
        Leads::List(list) => list.run(store).await,
        Leads::Show(show) => show.run(store).await,
        Leads::Export(export) => export.run(store).await,
    }
}

impl Filter {
    fn as_query(&self) -> LeadQuery {
        let mut filter = LeadFilter::all();
        filter.lead_status.clone_from(&self.lead_status);
        filter.owner_alias.clone_from(&self.owner_alias);
        filter.call_status.clone_from(&self.call_status);
        filter.state.clone_from(&self.state);
        LeadQuery::new(filter)
    }
}

/// Hands every page of at most `left` leads on.
async fn each_page(
    store: &dyn LeadStore,
    mut query: LeadQuery,
    mut left: usize,
    mut take: impl FnMut(&[Lead]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    while left > 0 {
        query.limit = left.min(LONGEST_PAGE);
        let page = store.query(&query).await.context("the store of leads")?;
        let LeadPage {
            leads,
            problems,
            next,
            ..
        } = page;
        for bad in &problems {
            eprintln!("left out: {}: {}", bad.key.reveal(), bad.reason);
        }
        let taken = leads.len().min(left);
        take(&leads[..taken])?;
        left -= taken;
        query.after = next;
        if query.after.is_none() {
            break;
        }
    }
    Ok(())
}

impl List {
    async fn run(self, store: &dyn LeadStore) -> anyhow::Result<()> {
        if !self.json {
            println!(
                "{:<18}  {:<24}  {:<28}  {:<5}  {:<12}  CALLS",
                "PHONE", "NAME", "CHURCH", "STATE", "STATUS"
            );
        }
        each_page(
            store,
            self.filter.as_query(),
            self.limit as usize,
            |leads| {
                for lead in leads {
                    match self.json {
                        true => println!("{}", lead_as_json(lead)),
                        false => println!("{}", row(lead)),
                    }
                }
                Ok(())
            },
        )
        .await
    }
}

fn row(lead: &Lead) -> String {
    let field = |name| lead.text(name).unwrap_or("-");
    format!(
        "{:<18}  {:<24}  {:<28}  {:<5}  {:<12}  {}",
        lead.phone.display(),
        field("name"),
        field("company"),
        field("state_province"),
        field("lead_status"),
        lead.text("call_status").unwrap_or("not_called"),
    )
}

impl Show {
    async fn run(self, store: &dyn LeadStore) -> anyhow::Result<()> {
        let phone = PhoneNumber::parse(&self.phone);
        let phone = phone.map_err(|wrong| WrongUsage(format!("{:?}: {wrong}", self.phone)))?;
        let Some(lead) = store.get(&phone).await.context("the store of leads")? else {
            bail!("there is no lead with the number {}", phone.display());
        };
        if self.json {
            println!("{:#}", lead_as_json(&lead));
            return Ok(());
        }
        println!("{:<18} {}", "phone", phone.display());
        for (name, value) in &lead.fields {
            match value.as_str() {
                Some(text) => println!("{name:<18} {}", text.trim_end()),
                None => println!("{name:<18} {value}"),
            }
        }
        println!("{:<18} {}", "version", lead.version);
        Ok(())
    }
}

impl Export {
    async fn run(self, store: &dyn LeadStore) -> anyhow::Result<()> {
        let out: Box<dyn io::Write + Send> = match &self.output {
            None => Box::new(io::stdout()),
            Some(path) => {
                let file = std::fs::File::create(path);
                Box::new(file.with_context(|| format!("cannot write {}", path.display()))?)
            }
        };
        let mut out = io::BufWriter::new(out);
        if self.json {
            each_page(store, self.filter.as_query(), usize::MAX, |leads| {
                for lead in leads {
                    io::Write::write_fmt(&mut out, format_args!("{}\n", lead_as_json(lead)))?;
                }
                Ok(())
            })
            .await?;
        } else {
            // Fields that we do not know are columns, too: all leads are read first.
            let mut all = Vec::new();
            each_page(store, self.filter.as_query(), usize::MAX, |leads| {
                all.extend_from_slice(leads);
                Ok(())
            })
            .await?;
            write_csv(&all, &mut out)?;
        }
        io::Write::flush(&mut out).context("cannot write")
    }
}

fn write_csv(leads: &[Lead], out: &mut impl io::Write) -> anyhow::Result<()> {
    let mut columns: Vec<&str> = COLUMNS.to_vec();
    for name in leads.iter().flat_map(|lead| lead.fields.keys()) {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let mut table = csv::Writer::from_writer(out);
    table.write_record(["phone"].iter().chain(&columns))?;
    for lead in leads {
        let mut cells = vec![lead.phone.display()];
        cells.extend(columns.iter().map(|name| {
            match lead.fields.get(*name) {
                None => String::new(),
                Some(value) => value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            }
        }));
        table.write_record(cells)?;
    }
    table.flush().context("cannot write")
}

/// Stores page on their own; this is what one round trip brings.
const LONGEST_PAGE: usize = 1_000;
/// The columns of an export, whether or not a lead has them.
const COLUMNS: [&str; 13] = [
    "name",
    "company",
    "email",
    "website",
    "state_province",
    "lead_source",
    "lead_status",
    "created_date",
    "owner_alias",
    "unread_by_owner",
    "call_status",
    "last_call_date",
    "call_transcript",
];
