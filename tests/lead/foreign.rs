//! Items in `Churches` that somebody else wrote.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use novavoice::{
    ProviderErrorKind,
    dynamodb::Dynamo,
    lead::{
        Change, Claimant, DynamoLeads, Guard, Lead, LeadFilter, LeadQuery, LeadStore, PhoneNumber,
    },
};

use crate::dynamo::Server;

type Item = HashMap<String, AttributeValue>;

struct Table {
    dynamo: Dynamo,
    name: String,
    leads: DynamoLeads,
}

impl Table {
    async fn new(server: &Server) -> Self {
        let (dynamo, name) = (server.dynamo(), server.table("Churches"));
        let made = dynamo.create_missing(&[DynamoLeads::table(&name)]).await;
        made.expect("the table can be made");
        let leads = DynamoLeads::new(dynamo.clone(), &name);
        Self {
            dynamo,
            name,
            leads,
        }
    }

    async fn put(&self, key: &str, attributes: &[(&str, AttributeValue)]) {
        let attributes = attributes.iter().cloned();
        let mut item: Item = attributes
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        item.insert("phone".to_owned(), text(key));
        let put = self.dynamo.client().put_item().table_name(&self.name);
        put.set_item(Some(item))
            .send()
            .await
            .expect("the table takes it");
    }

    async fn item(&self, key: &str) -> Item {
        let get = self.dynamo.client().get_item().table_name(&self.name);
        let answer = get.key("phone", text(key)).send().await;
        answer
            .expect("the table answers")
            .item
            .expect("it is there")
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(digits: &str) -> AttributeValue {
    AttributeValue::N(digits.to_owned())
}

fn worker() -> Claimant {
    Claimant::new("w", "2026-06-22T15:00:00Z".parse().expect("a time"))
}

#[tokio::test]
async fn items_that_are_no_leads_are_reported_by_key_and_passed_over() {
    for server in Server::all() {
        let table = Table::new(&server).await;
        let new = ("lead_status", text("new"));
        let bad: &[(&str, (&str, AttributeValue))] = &[
            ("nobody", ("name", text("Grace"))),
            ("2125550101", ("name", text("Grace"))),
            ("+12125550101", ("name", text("Grace"))),
            ("+1 (212) 555-0102", ("name", number("5"))),
            ("+1 (212) 555-0103", ("unread_by_owner", text("yes"))),
            ("+1 (212) 555-0104", ("next_attempt", text("tomorrow"))),
            ("+1 (212) 555-0105", ("version", text("third"))),
            ("+1 (212) 555-0106", ("claim_fence", text("first"))),
            ("+1 (212) 555-0107", ("claim_until", number("0"))),
            (
                "+1 (212) 555-0108",
                ("call_status", AttributeValue::Bool(true)),
            ),
            (
                "+1 (212) 555-0109",
                ("email", AttributeValue::B(Blob::new([255]))),
            ),
        ];
        for (key, attribute) in bad {
            table.put(key, &[new.clone(), attribute.clone()]).await;
        }
        let phone = PhoneNumber::parse("2125550199").expect("a number");
        let good = Lead::new(phone.clone()).with("lead_status", "new");
        table.leads.upsert(good).await.expect("a lead is stored");

        let expected: BTreeSet<_> = bad.iter().map(|(key, _)| (*key).to_owned()).collect();
        for filter in [LeadFilter::all(), LeadFilter::all().with_lead_status("new")] {
            let mut query = LeadQuery::new(filter.clone()).with_limit(3);
            let (mut found, mut problems) = (Vec::new(), BTreeSet::new());
            loop {
                let page = table.leads.query(&query).await.expect("the store answers");
                found.extend(page.leads);
                problems.extend(page.problems.into_iter().map(|p| p.key.reveal().clone()));
                let Some(next) = page.next else { break };
                query = query.after(next);
            }
            assert_eq!(found.len(), 1);
            assert_eq!(problems, expected, "{filter:?}");
            let claim = table.leads.claim_next(&filter, &worker()).await;
            let claim = claim.expect("the store answers").expect("one is due");
            assert_eq!(claim.lead.phone, phone);
            let none = table.leads.claim_next(&filter, &worker()).await;
            assert_eq!(none.expect("the store answers"), None);
            table
                .leads
                .settle(&claim, Change::new())
                .await
                .expect("it is ours");
        }
        let bad = PhoneNumber::parse("2125550105").expect("a number");
        let refused = table.leads.get(&bad).await.expect_err("it is no lead");
        assert_eq!(refused.kind(), &ProviderErrorKind::Protocol);
    }
}

#[tokio::test]
async fn what_others_wrote_into_a_lead_survives() {
    for server in Server::all() {
        let table = Table::new(&server).await;
        let key = "+1 (212) 555-0101";
        let foreign: &[(&str, AttributeValue)] = &[
            ("name", text("Grace")),
            ("lead_status", text("new")),
            ("bytes", AttributeValue::B(Blob::new([0, 255]))),
            (
                "words",
                AttributeValue::Ss(vec!["a".to_owned(), "b".to_owned()]),
            ),
            ("precise", number("12345678901234567890.123456789")),
            ("nothing", AttributeValue::Null(true)),
            (
                "nested",
                AttributeValue::M(HashMap::from([(
                    "b".to_owned(),
                    AttributeValue::B(Blob::new([1])),
                )])),
            ),
        ];
        table.put(key, foreign).await;
        let phone = PhoneNumber::parse(key).expect("a number");
        let lead = table.leads.get(&phone).await.expect("the store answers");
        assert_eq!(lead.map(|lead| lead.version), Some(1), "written once");

        let change = Change::new().set("name", "Hope");
        let updated = table.leads.update(&phone, change, Guard::Version(1)).await;
        assert_eq!(updated.expect("version 1 is there").version, 2);
        let merged = Lead::new(phone.clone()).with("email", "g@x.org");
        table.leads.upsert(merged).await.expect("it merges");
        let claim = table.leads.claim_next(&LeadFilter::all(), &worker()).await;
        let claim = claim.expect("the store answers").expect("it is due");
        let settled = table
            .leads
            .settle(&claim, Change::new().set("done", true))
            .await;
        assert_eq!(settled.expect("it is ours").version, 4);

        let item = table.item(key).await;
        for (name, value) in foreign.iter().filter(|(name, _)| *name != "name") {
            assert_eq!(item.get(*name), Some(value), "{name}");
        }
        assert_eq!(item.get("name"), Some(&text("Hope")));
        assert!(!item.contains_key("claim_until") && !item.contains_key("claim_owner"));
    }
}

/// Somebody else's programs raise no version: what they change is seen all the same before a
/// lead is dialled.
#[tokio::test]
async fn a_lead_that_changed_since_it_was_found_is_not_claimed_as_it_was() {
    let server = Server::start();
    let table = Table::new(&server).await;
    for n in 1..=3 {
        let phone = PhoneNumber::parse(&format!("212555010{n}")).expect("a number");
        table
            .leads
            .upsert(Lead::new(phone))
            .await
            .expect("a lead is stored");
    }
    let next = async || {
        let claim = table.leads.claim_next(&LeadFilter::all(), &worker()).await;
        claim.expect("the store answers")
    };
    // The page is read now, with all three.
    let first = next().await.expect("three are due").lead.phone.display();
    for n in 1..=3 {
        let key = format!("+1 (212) 555-010{n}");
        if key != first {
            table
                .put(
                    &key,
                    &[
                        ("call_status", text("do_not_call")),
                        ("version", number("1")),
                    ],
                )
                .await;
        }
    }
    assert_eq!(next().await, None);
}
