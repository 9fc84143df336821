//! Whether the region has the model: one signed request (Bedrock API reference,
//! `ListFoundationModels`), for which the SDK's crate of the control plane would be much.

use std::time::Duration;

use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use reqwest::StatusCode;
use serde_json::Value;

use super::Found;
use crate::{
    clock::wall,
    stores::{Aws, Credentials},
};

/// Not being allowed to ask is nothing that a call needs: a warning.
pub(super) async fn find(model: &str, aws: &Aws) -> Found {
    match ids(aws).await {
        Ok(ids) if ids.iter().any(|id| id == model) => {
            Found::Ok(format!("{model} is among {} models", ids.len()))
        }
        Ok(ids) => {
            let others: Vec<_> = ids.iter().filter(|id| id.contains("sonic")).collect();
            Found::Missing(match others.is_empty() {
                true => format!("{model} is not in this region: choose another AWS_REGION"),
                false => format!(
                    "{model} is not in this region, which has {others:?}: set NOVA_SONIC_MODEL_ID"
                ),
            })
        }
        Err(why) => Found::Warning(format!("the region's models cannot be listed: {why}")),
    }
}

async fn ids(aws: &Aws) -> Result<Vec<String>, String> {
    let region = aws
        .sdk
        .region()
        .map_or("us-east-1", |region| region.as_ref());
    let base = std::env::var("AWS_ENDPOINT_URL_BEDROCK").ok();
    let base = base.unwrap_or_else(|| format!("https://bedrock.{region}.amazonaws.com"));
    let url = format!("{}/foundation-models", base.trim_end_matches('/'));
    let headers = signed(&url, region, aws)?;
    let mut request = reqwest::Client::new().get(&url).timeout(PATIENCE);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = request.send().await.map_err(|error| error.to_string())?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
            return Err(
                "not allowed; allow bedrock:ListFoundationModels to have it checked".into(),
            );
        }
        status => return Err(format!("the answer was {status}")),
    }
    let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
    let models = answer["modelSummaries"].as_array();
    let models = models.ok_or("the answer has no modelSummaries")?;
    let ids = models.iter().filter_map(|model| model["modelId"].as_str());
    Ok(ids.map(str::to_owned).collect())
}

fn signed(url: &str, region: &str, aws: &Aws) -> Result<Vec<(String, String)>, String> {
    let Credentials::Found(credentials) = &aws.credentials else {
        return Err("there are no credentials".to_owned());
    };
    let identity = credentials.clone().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("bedrock")
        .time(wall().into())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| error.to_string())?;
    let request = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::Bytes(&[]));
    let request = request.map_err(|error| error.to_string())?;
    let (instructions, _) = sign(request, &parameters.into())
        .map_err(|error| error.to_string())?
        .into_parts();
    let headers = instructions.headers();
    Ok(headers
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

const PATIENCE: Duration = Duration::from_secs(5);
