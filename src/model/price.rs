//! What a call costs, by the tokens that the model counted.

use std::str::FromStr;

use jiff::civil::Date;

use super::Usage;

/// The price of a million tokens in US dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the four kinds that providers bill"
)]
pub struct Prices {
    /// Of speech heard.
    pub input_speech: f64,
    /// Of speech spoken.
    pub output_speech: f64,
    /// Of text read.
    pub input_text: f64,
    /// Of text written.
    pub output_text: f64,
}

impl Prices {
    /// What `usage` costs, in US dollars.
    #[must_use]
    pub fn cost(&self, usage: Usage) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "no call has 2^53 tokens")]
        let millions = |tokens: u64| tokens as f64 / 1e6;
        millions(usage.input_speech_tokens) * self.input_speech
            + millions(usage.output_speech_tokens) * self.output_speech
            + millions(usage.input_text_tokens) * self.input_text
            + millions(usage.output_text_tokens) * self.output_text
    }
}

/// Prices, each with the day from which on it holds.
///
/// As text, rows that are separated by semicolons: the day, then US dollars a million tokens of
/// speech in, speech out, text in and text out.
///
/// ```
/// use novavoice::model::{Usage, price::PriceList};
///
/// let prices: PriceList = "2026-09-01 3.00 12.00 0.33 2.75; 2027-01-01 2.50 10 0.30 2.50".parse()?;
/// let usage = Usage { input_speech_tokens: 1_000_000, ..Usage::default() };
/// let june = jiff::civil::date(2027, 6, 1);
/// assert_eq!(prices.on(june).map(|prices| prices.cost(usage)), Some(2.5));
/// # Ok::<_, novavoice::model::price::WrongPrices>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriceList(Vec<(Date, Prices)>);

impl PriceList {
    /// No prices.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds prices that hold from this day on.
    #[must_use]
    pub fn with(mut self, from: Date, prices: Prices) -> Self {
        self.0.retain(|(day, _)| *day != from);
        self.0.push((from, prices));
        self.0.sort_by_key(|(day, _)| *day);
        self
    }

    /// What is known of Amazon Nova Sonic in us-east-1 on demand, by the id of the model: the
    /// prices that were published in September 2026. Check them against Amazon Bedrock's pricing
    /// page. `None` for a model whose prices are not known.
    #[must_use]
    pub fn nova_sonic(model_id: &str) -> Option<Self> {
        let known = NOVA_SONIC.iter().find(|(id, _)| model_id.contains(id));
        known.map(|(_, prices)| Self::new().with(PUBLISHED, *prices))
    }

    /// The prices of this day. A day before the first row has those of the first row.
    #[must_use]
    pub fn on(&self, day: Date) -> Option<&Prices> {
        let (_, prices) = self
            .0
            .iter()
            .rev()
            .find(|(from, _)| *from <= day)
            .or_else(|| self.0.first())?;
        Some(prices)
    }
}

/// A list of prices that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not rows of a day and four prices (2026-09-01 3.00 12.00 0.33 2.75, dollars a million tokens \
     of speech in, speech out, text in, text out), separated by semicolons"
)]
#[expect(clippy::exhaustive_structs, reason = "says all there is to say")]
pub struct WrongPrices;

impl FromStr for PriceList {
    type Err = WrongPrices;

    fn from_str(text: &str) -> Result<Self, WrongPrices> {
        let rows = text.split(';').map(str::trim).filter(|row| !row.is_empty());
        let list = rows.map(row).try_fold(Self::new(), |list, row| {
            row.map(|(day, prices)| list.with(day, prices))
        })?;
        if list.0.is_empty() {
            return Err(WrongPrices);
        }
        Ok(list)
    }
}

fn row(text: &str) -> Result<(Date, Prices), WrongPrices> {
    let mut words = text.split_whitespace();
    let day = words.next().and_then(|day| day.parse().ok());
    let prices: Vec<f64> = words
        .map(|price| {
            price
                .parse()
                .ok()
                .filter(|price| (0.0..=1e6).contains(price))
        })
        .collect::<Option<_>>()
        .ok_or(WrongPrices)?;
    let [input_speech, output_speech, input_text, output_text] = prices[..] else {
        return Err(WrongPrices);
    };
    let prices = Prices {
        input_speech,
        output_speech,
        input_text,
        output_text,
    };
    Ok((day.ok_or(WrongPrices)?, prices))
}

const PUBLISHED: Date = jiff::civil::date(2026, 9, 1);

const NOVA_SONIC: [(&str, Prices); 2] = [
    (
        "amazon.nova-2-sonic",
        Prices {
            input_speech: 3.0,
            output_speech: 12.0,
            input_text: 0.33,
            output_text: 2.75,
        },
    ),
    (
        "amazon.nova-sonic-v1",
        Prices {
            input_speech: 3.4,
            output_speech: 13.6,
            input_text: 0.06,
            output_text: 0.24,
        },
    ),
];

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn the_price_of_the_day_counts() {
        let list: PriceList = "2027-01-01 2 2 2 2; 2026-09-01 1 1 1 1;".parse().unwrap();
        let on = |day| list.on(day).map(|prices| prices.input_text);
        assert_eq!(on(date(2026, 9, 1)), Some(1.0));
        assert_eq!(on(date(2026, 12, 31)), Some(1.0));
        assert_eq!(on(date(2027, 1, 1)), Some(2.0));
        assert_eq!(on(date(2020, 1, 1)), Some(1.0), "the best that is known");
        assert_eq!(PriceList::new().on(date(2027, 1, 1)), None);
    }

    #[test]
    fn every_kind_of_token_has_its_own_price() {
        let list = PriceList::nova_sonic("amazon.nova-2-sonic-v1:0").unwrap();
        let usage = Usage {
            input_speech_tokens: 100_000,
            input_text_tokens: 200_000,
            output_speech_tokens: 300_000,
            output_text_tokens: 400_000,
        };
        let cost = list.on(date(2026, 11, 28)).unwrap().cost(usage);
        assert!((cost - (0.3 + 0.066 + 3.6 + 1.1)).abs() < 1e-9, "{cost}");
    }

    #[test]
    fn a_model_without_known_prices_has_none() {
        assert_eq!(PriceList::nova_sonic("amazon.nova-2-5-sonic"), None);
        let by_arn = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-sonic-v1:0";
        assert!(PriceList::nova_sonic(by_arn).is_some());
    }

    #[test]
    fn what_is_no_list_of_prices_is_refused() {
        for text in [
            "",
            ";",
            "3 12 0.33 2.75",
            "2026-09-01 3 12 0.33",
            "2026-13-01 1 1 1 1",
            "2026-09-01 1 1 1 1 1",
            "2026-09-01 1 1 1 -1",
            "2026-09-01 1 1 1 NaN",
        ] {
            assert_eq!(text.parse::<PriceList>(), Err(WrongPrices), "{text}");
        }
    }
}
