//! What a table looks like: its key, its indexes, what expires.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, GlobalSecondaryIndex, KeySchemaElement, KeyType, ProjectionType,
    ScalarAttributeType, builders::AttributeDefinitionBuilder,
};
use aws_sdk_dynamodb::{error::BuildError, types};

/// A table as the program needs it. Tables are made to be paid per request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The partition key.
    pub hash: Column,
    /// The sort key.
    pub range: Option<Column>,
    /// Global secondary indexes.
    pub indexes: Vec<Index>,
    /// The attribute that holds when an item expires, in seconds of Unix time.
    pub expires: Option<&'static str>,
}

/// A global secondary index.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Index {
    /// Its name.
    pub name: &'static str,
    /// Its partition key.
    pub hash: Column,
    /// Its sort key.
    pub range: Option<Column>,
    /// What is copied into it.
    pub projection: Projection,
}

/// What an index holds beside the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the projections that DynamoDB has")]
pub enum Projection {
    /// The whole item: every write of it is paid for once more.
    All,
    /// Nothing.
    Keys,
    /// These attributes; a write that changes none of them costs nothing here.
    Include(&'static [&'static str]),
}

/// An attribute that is part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Column {
    /// The attribute's name.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnKind,
}

/// The type of an attribute that is part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the types of keys in use here")]
pub enum ColumnKind {
    /// `S`.
    Text,
    /// `N`.
    Number,
}

impl Column {
    /// A text.
    #[must_use]
    pub const fn text(name: &'static str) -> Self {
        Self {
            name,
            kind: ColumnKind::Text,
        }
    }

    /// A number.
    #[must_use]
    pub const fn number(name: &'static str) -> Self {
        Self {
            name,
            kind: ColumnKind::Number,
        }
    }

    fn definition(self) -> AttributeDefinitionBuilder {
        AttributeDefinition::builder()
            .attribute_name(self.name)
            .attribute_type(match self.kind {
                ColumnKind::Text => ScalarAttributeType::S,
                ColumnKind::Number => ScalarAttributeType::N,
            })
    }
}

impl Table {
    /// A table with a partition key and nothing else.
    #[must_use]
    pub fn new(name: impl Into<String>, hash: Column) -> Self {
        Self {
            name: name.into(),
            hash,
            range: None,
            indexes: Vec::new(),
            expires: None,
        }
    }

    /// The same table with a sort key.
    #[must_use]
    pub fn with_range(mut self, range: Column) -> Self {
        self.range = Some(range);
        self
    }

    /// The same table with one more index, which holds whole items.
    #[must_use]
    pub fn with_index(self, name: &'static str, hash: Column, range: Option<Column>) -> Self {
        self.with_projected_index(name, hash, range, Projection::All)
    }

    /// The same table with one more index, which holds what `projection` says.
    #[must_use]
    pub fn with_projected_index(
        mut self,
        name: &'static str,
        hash: Column,
        range: Option<Column>,
        projection: Projection,
    ) -> Self {
        self.indexes.push(Index {
            name,
            hash,
            range,
            projection,
        });
        self
    }

    /// The same table with items that expire at the time in `attribute`.
    #[must_use]
    pub fn with_expiry(mut self, attribute: &'static str) -> Self {
        self.expires = Some(attribute);
        self
    }

    /// The types of everything that is part of a key, of the table or of `indexes`.
    pub(super) fn definitions(
        &self,
        indexes: &[Index],
    ) -> Result<Vec<AttributeDefinition>, BuildError> {
        let mut columns = vec![self.hash];
        columns.extend(self.range);
        for index in indexes {
            columns.push(index.hash);
            columns.extend(index.range);
        }
        let mut seen = Vec::new();
        columns.retain(|column| {
            let new = !seen.contains(&column.name);
            seen.push(column.name);
            new
        });
        columns
            .into_iter()
            .map(|column| column.definition().build())
            .collect()
    }

    pub(super) fn key(&self) -> Result<Vec<KeySchemaElement>, BuildError> {
        key(self.hash, self.range)
    }
}

impl Index {
    pub(super) fn key(&self) -> Result<Vec<KeySchemaElement>, BuildError> {
        key(self.hash, self.range)
    }

    pub(super) fn projection(&self) -> types::Projection {
        let projection = types::Projection::builder();
        match self.projection {
            Projection::All => projection.projection_type(ProjectionType::All),
            Projection::Keys => projection.projection_type(ProjectionType::KeysOnly),
            Projection::Include(attributes) => projection
                .projection_type(ProjectionType::Include)
                .set_non_key_attributes(Some(
                    attributes.iter().map(|&name| name.to_owned()).collect(),
                )),
        }
        .build()
    }

    pub(super) fn global(&self) -> Result<GlobalSecondaryIndex, BuildError> {
        GlobalSecondaryIndex::builder()
            .index_name(self.name)
            .set_key_schema(Some(self.key()?))
            .projection(self.projection())
            .build()
    }
}

fn key(hash: Column, range: Option<Column>) -> Result<Vec<KeySchemaElement>, BuildError> {
    let part = |column: Column, kind| {
        KeySchemaElement::builder()
            .attribute_name(column.name)
            .key_type(kind)
            .build()
    };
    let mut key = vec![part(hash, KeyType::Hash)?];
    if let Some(range) = range {
        key.push(part(range, KeyType::Range)?);
    }
    Ok(key)
}
