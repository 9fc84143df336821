//! Leads: looked up and changed.

use novavoice::lead::LeadStore;

use super::*;

/// A service that knows some people.
async fn with_leads() -> Router {
    let (mut app, _) = service(None);
    let leads = MemoryLeads::new();
    for (phone, name, owner) in [
        ("+12125550101", "Grace", "mike"),
        ("+12125550102", "Ruth", "dana"),
        ("+12125550103", "Samuel", "mike"),
    ] {
        let phone = PhoneNumber::parse(phone).expect("a number");
        let lead = Lead::new(phone)
            .with("name", name)
            .with("owner_alias", owner);
        leads.upsert(lead).await.expect("it is in memory");
    }
    app.leads = Arc::new(leads);
    super::super::app(app, Router::new())
}

async fn patch(router: &Router, path: &str, tag: Option<&str>, body: &Value) -> Answer {
    let mut request = request("PATCH", path).header(header::CONTENT_TYPE, "application/json");
    if let Some(tag) = tag {
        request = request.header(header::IF_MATCH, tag);
    }
    let request = request.body(Body::from(body.to_string()));
    ask(router, request.expect("a valid request")).await
}

#[tokio::test]
async fn leads_are_listed_page_by_page_and_by_what_they_are() {
    let router = with_leads().await;
    let names = |page: &Value| -> Vec<String> {
        let leads = page["leads"].as_array().expect("leads").iter();
        leads
            .map(|lead| lead["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    let mut all = Vec::new();
    let mut path = "/leads?limit=2".to_owned();
    loop {
        let page = get_from(&router, &path).await.json();
        all.extend(names(&page));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/leads?limit=2&cursor={next}");
    }
    for cursor in ["elsewhere", "", "*", "MTIz"] {
        let refused = get_from(&router, &format!("/leads?cursor={cursor}")).await;
        refused.is_problem(StatusCode::BAD_REQUEST);
    }
    all.sort();
    assert_eq!(all, ["Grace", "Ruth", "Samuel"]);
    let of_dana = get_from(&router, "/leads?owner_alias=dana").await.json();
    assert_eq!(names(&of_dana), ["Ruth"]);
    assert_eq!(of_dana["leads"][0]["phone"], "+1 (212) 555-0102");
}

#[tokio::test]
async fn a_lead_is_found_however_its_number_is_written() {
    let router = with_leads().await;
    for path in [
        "2125550101",
        "%2B12125550101",
        "+12125550101",
        "%2B1%20(212)%20555-0101",
    ] {
        let answer = get_from(&router, &format!("/leads/{path}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.json()["name"], "Grace");
        assert_eq!(answer.header(header::ETAG), "\"1\"");
    }
}

#[tokio::test]
async fn a_change_merges_and_needs_the_version_that_was_read() {
    let router = with_leads().await;
    let path = "/leads/2125550101";
    let change = json!({ "lead_status": "open", "owner_alias": null });
    let answer = patch(&router, path, Some("\"1\""), &change).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    let lead = answer.json();
    assert_eq!(
        (&lead["name"], &lead["lead_status"]),
        (&json!("Grace"), &json!("open"))
    );
    assert_eq!(lead.get("owner_alias"), None);
    assert_eq!(answer.header(header::ETAG), "\"2\"");
    for stale in ["\"1\"", "\"elsewhere\"", "W/\"2\""] {
        let refused = patch(&router, path, Some(stale), &json!({ "name": "X" })).await;
        refused.is_problem(StatusCode::PRECONDITION_FAILED);
    }
    for any in [None, Some("*")] {
        let taken = patch(&router, path, any, &json!({ "name": "Gracie" })).await;
        assert_eq!(taken.status, StatusCode::OK);
    }
    let lead = get_from(&router, path).await.json();
    assert_eq!(
        (&lead["name"], &lead["version"]),
        (&json!("Gracie"), &json!(3))
    );
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused_with_the_reason() {
    let router = with_leads().await;
    let path = "/leads/2125550101";
    for body in [
        json!(["name"]),
        json!("name"),
        json!({ "phone": "+12125550199" }),
        json!({ "name": 7 }),
    ] {
        let refused = patch(&router, path, None, &body).await;
        refused.is_problem(StatusCode::UNPROCESSABLE_ENTITY);
    }
    let nobody = patch(&router, "/leads/2125550199", None, &json!({ "name": "X" })).await;
    nobody.is_problem(StatusCode::NOT_FOUND);
    let lead = get_from(&router, path).await.json();
    assert_eq!(
        (&lead["name"], &lead["version"]),
        (&json!("Grace"), &json!(1))
    );
}
