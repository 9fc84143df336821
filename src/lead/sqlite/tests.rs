use super::*;
use crate::lead::LeadCallStatus;

fn now() -> Timestamp {
    "2026-06-22T15:00:00Z".parse().unwrap()
}

/// A file with one good lead, which is not due, and rows that somebody else wrote.
async fn with_rows(rows: &'static [&'static str]) -> (tempfile::TempDir, SqliteLeads) {
    let folder = tempfile::tempdir().unwrap();
    let leads = SqliteLeads::open(&folder.path().join("db")).await.unwrap();
    let phone = PhoneNumber::parse("2125550199").unwrap();
    leads
        .upsert(Lead::new(phone).with("call_status", "called"))
        .await
        .unwrap();
    leads
        .database
        .call(move |connection| {
            for row in rows {
                connection.execute(&format!("INSERT INTO churches {row}"), [])?;
            }
            Ok(())
        })
        .await
        .unwrap();
    (folder, leads)
}

#[tokio::test]
async fn rows_that_are_no_leads_are_reported_by_key_and_passed_over() {
    let (_folder, leads) = with_rows(&[
        "(phone) VALUES ('nobody')",
        "(phone) VALUES ('2125550101')",
        "(phone) VALUES (x'ff00')",
        "(phone, name) VALUES ('+1 (212) 555-0102', x'ff')",
        "(phone, unread_by_owner) VALUES ('+1 (212) 555-0103', 'perhaps')",
        "(phone, next_attempt) VALUES ('+1 (212) 555-0104', '0')",
        "(phone, other) VALUES ('+1 (212) 555-0105', 'no json')",
        "(phone, version) VALUES ('+1 (212) 555-0106', 'third')",
        "(phone, claim_until) VALUES ('+1 (212) 555-0107', '0')",
        "(phone, attempts) VALUES ('+1 (212) 555-0108', -1)",
    ])
    .await;
    for limit in [1, 3, 100] {
        let (mut found, mut bad) = (0, Vec::new());
        let mut query = LeadQuery::new(LeadFilter::all()).with_limit(limit);
        loop {
            let page = leads.query(&query).await.unwrap();
            found += page.leads.len();
            bad.extend(page.problems.into_iter().map(|p| p.key.reveal().clone()));
            let Some(next) = page.next else { break };
            query = query.after(next);
        }
        assert_eq!((found, bad.len()), (1, 10), "{bad:?}");
        assert!(bad.contains(&"nobody".to_owned()), "{bad:?}");
    }
    let claimant = Claimant::new("w", now());
    let next = leads.claim_next(&LeadFilter::all(), &claimant).await;
    assert_eq!(next.unwrap(), None);
    let phone = PhoneNumber::parse("2125550106").unwrap();
    let refused = leads.get(&phone).await.unwrap_err();
    assert_eq!(refused.kind(), &ProviderErrorKind::Protocol);
}

#[tokio::test]
async fn a_row_that_somebody_else_wrote_is_a_lead_that_is_due() {
    let (_folder, leads) =
        with_rows(&["(phone, name) VALUES ('+1 (212) 555-0101', 'Grace')"]).await;
    let claim = leads
        .claim_next(&LeadFilter::all(), &Claimant::new("w", now()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(claim.lead.text("name"), Some("Grace"));
    assert_eq!(claim.lead.call_status(), Some(LeadCallStatus::NotCalled));
    assert_eq!((claim.fence, claim.lead.version), (1, 1));
}

#[tokio::test]
async fn columns_that_somebody_added_survive() {
    let (_folder, leads) = with_rows(&[]).await;
    let count = leads
        .database
        .call(|connection| {
            connection.execute("ALTER TABLE churches ADD COLUMN pews INTEGER", [])?;
            Ok(connection.execute("UPDATE churches SET pews = 40", [])?)
        })
        .await
        .unwrap();
    assert_eq!(count, 1);
    let phone = PhoneNumber::parse("2125550199").unwrap();
    let change = Change::new().set("name", "Grace");
    leads.update(&phone, change, Guard::Any).await.unwrap();
    let pews: i64 = leads
        .database
        .call(|c| Ok(c.query_row("SELECT pews FROM churches", [], |row| row.get(0))?))
        .await
        .unwrap();
    assert_eq!(pews, 40);
}

/// The index's words for what is due and the rule itself must never part ways.
#[tokio::test]
async fn the_index_of_due_leads_agrees_with_the_rule() {
    let (_folder, leads) = with_rows(&[]).await;
    let statuses = LeadCallStatus::ALL.map(LeadCallStatus::as_str);
    let times = [
        None,
        Some(now() - jiff::SignedDuration::from_secs(1)),
        Some(now()),
    ];
    let later = Some(now() + jiff::SignedDuration::from_secs(1));
    let mut records = Vec::new();
    for status in statuses.into_iter().map(Some).chain([None, Some("odd")]) {
        for next in times.into_iter().chain([later]) {
            for until in times.into_iter().chain([later]) {
                let number = format!("+1212555{:04}", 200 + records.len());
                let mut lead = Lead::new(PhoneNumber::parse(&number).unwrap());
                lead.version = 1;
                if let Some(status) = status {
                    lead = lead.with("call_status", status);
                }
                if let Some(next) = next {
                    lead = lead.with("next_attempt", fields::time_text(next));
                }
                let held = until.map(|until| Held {
                    owner: "w".to_owned(),
                    until,
                });
                records.push(Record {
                    lead,
                    fence: 0,
                    held,
                });
            }
        }
    }
    let due = records.iter().filter(|r| r.is_due(now())).count();
    leads
        .database
        .transaction(move |rows| records.iter().try_for_each(|record| put(rows, record)))
        .await
        .unwrap();
    let mut claimed = 0;
    let claimant = Claimant::new("w", now());
    while leads
        .claim_next(&LeadFilter::all(), &claimant)
        .await
        .unwrap()
        .is_some()
    {
        claimed += 1;
    }
    assert_eq!(claimed, due);
    assert!(due > 20);
}
