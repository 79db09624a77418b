//! What a document may cost, decided before the engine sees it.
//!
//! The text is scanned, parsed once and priced over its fragment graph with sums that are kept per
//! fragment, so that the price of a price is linear in the document however often fragments spread
//! each other. The engine's own walks expand fragments each time; they run on priced documents only.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
};

use async_graphql::{
    Name, Pos, Positioned, Value, Variables,
    parser::{
        parse_query,
        types::{
            Directive, ExecutableDocument, Field, OperationDefinition, OperationType, Selection,
            SelectionSet,
        },
    },
};

use crate::transport::codes::{self, Refusal};

/// The page size that a connection without `first` and `last` is priced with.
const DEFAULT_PAGE: u64 = 20;

/// The limits of one document. Counts are taken with all fragments expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the document's text.
    pub document_bytes: usize,
    /// Lexical tokens of the text.
    pub tokens: usize,
    /// Brackets of any kind that stand inside each other in the text; the parser recurses over them.
    pub brackets: usize,
    /// Selection sets inside each other, fragments counted: the engine recurses over them.
    pub nesting: u64,
    /// Fields inside each other.
    pub depth: u64,
    /// Fields, all operations together.
    pub fields: u64,
    /// Aliases, all operations together.
    pub aliases: u64,
    /// Directives, all operations together.
    pub directives: u64,
    /// Operations in the document.
    pub operations: usize,
    /// Objects that the chosen operation may load, list sizes multiplied.
    pub cost: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes: 100_000,
            tokens: 15_000,
            brackets: 40,
            nesting: 30,
            depth: 15,
            fields: 500,
            aliases: 30,
            directives: 60,
            operations: 10,
            cost: 2_000,
        }
    }
}

/// What a document was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The kind of the chosen operation.
    pub kind: OperationType,
    /// Objects that the chosen operation may load, list sizes multiplied.
    pub cost: u64,
    /// Whether any operation asks for the schema.
    pub introspects: bool,
}

impl Limits {
    /// Scans and parses a document.
    ///
    /// # Errors
    ///
    /// `DOCUMENT_TOO_LARGE`, `DOCUMENT_TOO_DEEP`, `GRAPHQL_PARSE_FAILED`.
    pub fn parse(&self, text: &str) -> Result<ExecutableDocument, Refusal> {
        if text.len() > self.document_bytes {
            return Err(Refusal::new(
                &codes::DOCUMENT_TOO_LARGE,
                format!(
                    "the document has {} bytes, at most {} are allowed",
                    text.len(),
                    self.document_bytes
                ),
            ));
        }
        self.scan(text)?;
        parse_query(text).map_err(|error| Refusal {
            code: &codes::GRAPHQL_PARSE_FAILED,
            message: error.to_string(),
            locations: error.positions().collect(),
            named: None,
            retry_after_s: None,
        })
    }

    /// Counts tokens and open brackets, so that the parser's recursion is bounded before it starts.
    fn scan(&self, text: &str) -> Result<(), Refusal> {
        let (mut n_tokens, mut open) = (0_usize, 0_usize);
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b',' => at += 1,
                b'#' => at += line_length(&bytes[at..]),
                b'"' => {
                    at += string_length(&bytes[at..]);
                    n_tokens += 1;
                }
                _ if is_word(byte) => {
                    at += bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
                    n_tokens += 1;
                }
                _ => {
                    match byte {
                        b'{' | b'[' | b'(' => open += 1,
                        b'}' | b']' | b')' => open = open.saturating_sub(1),
                        _ => {}
                    }
                    at += 1;
                    n_tokens += 1;
                }
            }
            if open > self.brackets {
                return Err(Refusal::new(
                    &codes::DOCUMENT_TOO_DEEP,
                    format!("the document opens more than {} brackets at once", self.brackets),
                ));
            }
            if n_tokens > self.tokens {
                return Err(Refusal::new(
                    &codes::DOCUMENT_TOO_LARGE,
                    format!("the document has more than {} tokens", self.tokens),
                ));
            }
        }
        Ok(())
    }

    /// Prices a parsed document.
    ///
    /// # Errors
    ///
    /// `OPERATION_RESOLUTION_FAILED`, `INVALID_TEXT`, `FRAGMENT_CYCLE`, `DOCUMENT_TOO_DEEP` and one
    /// `DOCUMENT_TOO_MANY_…` code per counted thing; `DOCUMENT_TOO_COSTLY`.
    pub fn price(
        &self,
        document: &ExecutableDocument,
        operation_name: Option<&str>,
        variables: &Variables,
    ) -> Result<Price, Refusal> {
        let n_operations = document.operations.iter().len();
        over(&codes::DOCUMENT_TOO_MANY_OPERATIONS, "operations", n_operations, self.operations)?;
        let chosen = choose(document, operation_name)?;
        let mut scale = Scale {
            document,
            limits: self,
            variables,
            chosen: &chosen.node,
            fragments: HashMap::new(),
            open: HashSet::new(),
        };

        let mut total = Weight::default();
        let mut cost = 0;
        for (_, operation) in document.operations.iter() {
            let mut weight = scale.selections(&operation.node.selection_set, 0)?;
            scale.directives(&operation.node.directives, &mut weight)?;
            for definition in &operation.node.variable_definitions {
                if let Some(default) = &definition.node.default_value {
                    text(&default.node, default.pos)?;
                }
                scale.directives(&definition.node.directives, &mut weight)?;
            }
            if std::ptr::eq(operation, chosen) {
                cost = weight.cost;
            }
            total = total.beside(weight);
        }
        // Fragments that nothing spreads cost the engine's validation too.
        for (name, fragment) in &document.fragments {
            let weight = scale.fragment(name, fragment.pos, 0)?;
            self.check(&weight)?;
        }
        self.check(&total)?;
        if cost > self.cost {
            return Err(Refusal::at(
                &codes::DOCUMENT_TOO_COSTLY,
                format!("the operation may load {cost} objects, at most {} are allowed", self.cost),
                chosen.pos,
            ));
        }
        Ok(Price { kind: chosen.node.ty, cost, introspects: total.introspects })
    }

    fn check(&self, weight: &Weight) -> Result<(), Refusal> {
        over(&codes::DOCUMENT_TOO_DEEP, "levels of selections", weight.nesting, self.nesting)?;
        over(&codes::DOCUMENT_TOO_DEEP, "levels of fields", weight.depth, self.depth)?;
        over(&codes::DOCUMENT_TOO_MANY_FIELDS, "fields", weight.fields, self.fields)?;
        over(&codes::DOCUMENT_TOO_MANY_ALIASES, "aliases", weight.aliases, self.aliases)?;
        over(&codes::DOCUMENT_TOO_MANY_DIRECTIVES, "directives", weight.directives, self.directives)
    }
}

/// The operation that the request means.
///
/// # Errors
///
/// `OPERATION_RESOLUTION_FAILED`.
pub fn choose<'d>(
    document: &'d ExecutableDocument,
    operation_name: Option<&str>,
) -> Result<&'d Positioned<OperationDefinition>, Refusal> {
    let mut operations = document.operations.iter();
    let found = match operation_name {
        Some(wanted) => operations
            .find(|(name, _)| name.is_some_and(|name| name == wanted))
            .ok_or("the document contains no operation of that name"),
        None => match (operations.next(), operations.next()) {
            (Some(only), None) => Ok(only),
            _ => Err("the document contains several operations and operationName is missing"),
        },
    };
    found
        .map(|(_, operation)| operation)
        .map_err(|message| Refusal::new(&codes::OPERATION_RESOLUTION_FAILED, message))
}

fn over<N: PartialOrd + std::fmt::Display>(
    code: &'static codes::Code,
    what: &str,
    n: N,
    allowed: N,
) -> Result<(), Refusal> {
    if n > allowed {
        return Err(Refusal::new(
            code,
            format!("the document has {n} {what}, at most {allowed} are allowed"),
        ));
    }
    Ok(())
}

/// Sums over one selection set with everything below it.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    nesting: u64,
    depth: u64,
    fields: u64,
    aliases: u64,
    directives: u64,
    cost: u64,
    introspects: bool,
    /// Whether it selects `edges` or `nodes`, which makes the field above it a connection.
    pages: bool,
}

impl Weight {
    /// Both of them, one beside the other.
    fn beside(self, other: Self) -> Self {
        Self {
            nesting: self.nesting.max(other.nesting),
            depth: self.depth.max(other.depth),
            fields: self.fields.saturating_add(other.fields),
            aliases: self.aliases.saturating_add(other.aliases),
            directives: self.directives.saturating_add(other.directives),
            cost: self.cost.saturating_add(other.cost),
            introspects: self.introspects || other.introspects,
            pages: self.pages || other.pages,
        }
    }
}

struct Scale<'d> {
    document: &'d ExecutableDocument,
    limits: &'d Limits,
    variables: &'d Variables,
    chosen: &'d OperationDefinition,
    /// Fragments already weighed.
    fragments: HashMap<&'d str, Weight>,
    /// Fragments being weighed, which must not be met again below themselves.
    open: HashSet<&'d str>,
}

impl<'d> Scale<'d> {
    /// Weighs a selection set that stands `level` sets below the operation or the first fragment.
    fn selections(
        &mut self,
        set: &'d Positioned<SelectionSet>,
        level: u64,
    ) -> Result<Weight, Refusal> {
        if level > self.limits.nesting {
            return Err(Refusal::at(
                &codes::DOCUMENT_TOO_DEEP,
                format!("selections nest more than {} levels", self.limits.nesting),
                set.pos,
            ));
        }
        let mut sum = Weight::default();
        for item in &set.node.items {
            let mut weight = match &item.node {
                Selection::Field(field) => self.field(field, level)?,
                Selection::FragmentSpread(spread) => {
                    let spread = &spread.node;
                    match self.document.fragments.get_key_value(&spread.fragment_name.node) {
                        Some((name, _)) => self.fragment(name, item.pos, level)?,
                        // The engine's validation names the unknown fragment.
                        None => Weight::default(),
                    }
                }
                Selection::InlineFragment(inline) => {
                    self.selections(&inline.node.selection_set, level + 1)?
                }
            };
            self.directives(item.node.directives(), &mut weight)?;
            sum = sum.beside(weight);
        }
        sum.nesting += 1;
        Ok(sum)
    }

    fn fragment(&mut self, name: &'d Name, pos: Pos, level: u64) -> Result<Weight, Refusal> {
        if let Some(weight) = self.fragments.get(name.as_str()) {
            return Ok(*weight);
        }
        let Some(fragment) = self.document.fragments.get(name) else {
            return Ok(Weight::default());
        };
        if !self.open.insert(name) {
            return Err(Refusal::at(
                &codes::FRAGMENT_CYCLE,
                format!("the fragment {name} spreads itself"),
                pos,
            ));
        }
        let mut weight = self.selections(&fragment.node.selection_set, level + 1)?;
        self.directives(&fragment.node.directives, &mut weight)?;
        self.open.remove(name.as_str());
        self.fragments.insert(name, weight);
        Ok(weight)
    }

    fn field(&mut self, field: &'d Positioned<Field>, level: u64) -> Result<Weight, Refusal> {
        let node = &field.node;
        for (_, value) in &node.arguments {
            text(&constant(value.node.clone().into_const_with(without_variables)), value.pos)?;
        }
        let mut weight = if node.selection_set.node.items.is_empty() {
            Weight::default()
        } else {
            let below = self.selections(&node.selection_set, level + 1)?;
            let objects = below.cost.saturating_mul(self.list_size(node, below.pages));
            Weight { cost: objects.saturating_add(1), ..below }
        };
        let name = node.name.node.as_str();
        weight.depth += 1;
        weight.fields = weight.fields.saturating_add(1);
        weight.aliases = weight.aliases.saturating_add(u64::from(node.alias.is_some()));
        weight.introspects |= matches!(name, "__schema" | "__type");
        weight.pages = matches!(name, "edges" | "nodes");
        Ok(weight)
    }

    /// How many objects a field may stand for: what `first` or `last` asks for.
    fn list_size(&self, field: &Field, is_connection: bool) -> u64 {
        let asked = field.get_argument("first").or_else(|| field.get_argument("last"));
        let asked = asked.and_then(|value| {
            let value = value
                .node
                .clone()
                .into_const_with(|name| variable(self.chosen, self.variables, &name).ok_or(()));
            match value {
                Ok(Value::Number(number)) => number.as_u64(),
                _ => None,
            }
        });
        match asked {
            Some(n) => n.max(1),
            None if is_connection => DEFAULT_PAGE,
            None => 1,
        }
    }

    fn directives(
        &self,
        directives: &[Positioned<Directive>],
        weight: &mut Weight,
    ) -> Result<(), Refusal> {
        for directive in directives {
            for (_, value) in &directive.node.arguments {
                text(&constant(value.node.clone().into_const_with(without_variables)), value.pos)?;
            }
        }
        weight.directives = weight.directives.saturating_add(directives.len() as u64);
        Ok(())
    }
}

/// The value of a variable: the one that was given, or its default.
pub(crate) fn variable(
    operation: &OperationDefinition,
    given: &Variables,
    name: &Name,
) -> Option<Value> {
    given.get(name).cloned().or_else(|| {
        let definitions = &operation.variable_definitions;
        let definition = definitions.iter().find(|one| one.node.name.node == *name)?;
        definition.node.default_value.as_ref().map(|value| value.node.clone())
    })
}

/// Stands in for variables where only the literals of a document are looked at.
fn without_variables(_: Name) -> Result<Value, Infallible> {
    Ok(Value::Null)
}

fn constant(value: Result<Value, Infallible>) -> Value {
    match value {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// Refuses NUL in the texts of a value; the stores behind the API cannot hold it.
fn text(value: &Value, pos: Pos) -> Result<(), Refusal> {
    match value {
        Value::String(string) => no_nul(string, pos),
        Value::List(items) => items.iter().try_for_each(|item| text(item, pos)),
        Value::Object(members) => members.values().try_for_each(|member| text(member, pos)),
        Value::Null | Value::Number(_) | Value::Boolean(_) | Value::Binary(_) | Value::Enum(_) => {
            Ok(())
        }
    }
}

fn no_nul(string: &str, pos: Pos) -> Result<(), Refusal> {
    if string.contains('\0') {
        return Err(Refusal::at(
            &codes::INVALID_TEXT,
            "a text in the document contains the character NUL",
            pos,
        ));
    }
    Ok(())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn line_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len())
}

/// The length of the string that starts here. A string that is not closed ends with its line, so
/// that brackets behind it are counted.
fn string_length(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\"\"\"") {
        let mut at = 3;
        while at < bytes.len() {
            if bytes[at..].starts_with(b"\\\"\"\"") {
                at += 4;
            } else if bytes[at..].starts_with(b"\"\"\"") {
                return at + 3;
            } else {
                at += 1;
            }
        }
        return at;
    }
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            b'\n' | b'\r' => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}
