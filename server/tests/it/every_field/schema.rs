//! The schema as introspection shows it, and what each argument is given.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::IDS;
use crate::client::Client;
use crate::job::{days, now};

const INTROSPECTION: &str = "{ __schema { types { kind name isOneOf
    fields { name args { name defaultValue type { ...T } } type { ...T } }
    inputFields { name defaultValue type { ...T } }
    enumValues { name } possibleTypes { name } } } }
    fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

/// Values that arguments have where their type alone would not tell a good one.
const VALUES: &[(&str, &str, &str)] = &[
    ("InviteMemberInput", "role", "VIEWER"),
    ("AssignRoleInput", "role", "VIEWER"),
    ("RoundInput", "roundType", "SCREENING_HUMAN"),
    ("RoundInput", "mode", "HUMAN_ONLY"),
    ("ChangeApplicationStatusInput", "status", "SCREENING"),
    ("CreateApiKeyInput", "rights", "READ_JOB"),
    ("PermissionInput", "right", "READ_JOB"),
    ("ConfigureSignOnInput", "redirectUri", crate::provider::PAGE),
];

/// Which of several is given where a rule does not say otherwise.
const ONE_OF: &[(&str, &str)] =
    &[("AskInput", "own"), ("ScheduledRoundInput", "new"), ("GroundInput", "ownNote")];

/// The types of the schema by name, and what is given besides [`VALUES`].
pub struct Schema {
    types: BTreeMap<String, Value>,
    values: Vec<(&'static str, &'static str, String)>,
}

/// A place where a field takes an id: the names on the way to it, and what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    pub path: Vec<String>,
    pub names: &'static str,
}

/// What is to be given at which slot, and for all ids otherwise.
pub struct Filling<'a> {
    pub ids: &'a BTreeMap<&'static str, String>,
    pub at: Option<(&'a Slot, &'a str)>,
    pub expected_version: Option<i64>,
}

impl Schema {
    pub async fn read(who: &Client) -> Self {
        let mut found = who.query(INTROSPECTION, json!({})).await;
        let types = found["__schema"]["types"].take();
        Self::of(types)
    }

    pub fn of(types: Value) -> Self {
        let Value::Array(types) = types else { panic!("no types: {types}") };
        let named = |of: Value| (of["name"].as_str().expect("a name").to_owned(), of);
        Self { types: types.into_iter().map(named).collect(), values: vec![] }
    }

    /// Gives this value to an argument, one that only the running test knows.
    pub fn giving(mut self, owner: &'static str, name: &'static str, value: &str) -> Self {
        self.values.push((owner, name, value.to_owned()));
        self
    }

    pub fn types(&self) -> impl Iterator<Item = &Value> {
        self.types.values()
    }

    fn list<'s>(&'s self, of: &str, what: &str) -> &'s [Value] {
        self.types[of][what].as_array().map_or(&[], Vec::as_slice)
    }

    /// The fields of an object type.
    pub fn fields(&self, of: &str) -> &[Value] {
        self.list(of, "fields")
    }

    /// What a union or an interface can be.
    pub fn possible(&self, of: &str) -> impl Iterator<Item = &str> {
        self.list(of, "possibleTypes").iter().map(|of| text(of, "name"))
    }

    /// Whether a type has fields, or types that have.
    pub fn is_composite(&self, of: &str) -> bool {
        ["OBJECT", "UNION", "INTERFACE"].contains(&self.kind(of))
    }

    fn kind(&self, name: &str) -> &str {
        self.types[name]["kind"].as_str().expect("a kind")
    }

    /// All places where a field takes an id.
    ///
    /// # Errors
    /// The first place for which there is no rule.
    pub fn slots(&self, field: &Value) -> Result<Vec<Slot>, String> {
        let (name, mut slots) = (text(field, "name"), vec![]);
        for argument in field["args"].as_array().expect("arguments") {
            self.find(name, argument, vec![], &mut slots)?;
        }
        Ok(slots)
    }

    fn find(
        &self,
        owner: &str,
        argument: &Value,
        before: Vec<String>,
        slots: &mut Vec<Slot>,
    ) -> Result<(), String> {
        let (name, of) = (text(argument, "name"), base(&argument["type"]));
        let path = [before, vec![name.to_owned()]].concat();
        if is_id(name, of) {
            let names = rule(owner, name)?;
            slots.push(Slot { path, names });
        } else if self.kind(of) == "INPUT_OBJECT" {
            for inner in self.list(of, "inputFields") {
                self.find(of, inner, path.clone(), slots)?;
            }
        }
        Ok(())
    }

    /// The document and the variables of a field, with its least selection.
    pub fn ask(&self, operation: &str, field: &Value, filling: &Filling<'_>) -> (String, Value) {
        let (name, mut variables) = (text(field, "name"), Map::new());
        let (mut declared, mut passed) = (vec![], vec![]);
        for argument in field["args"].as_array().expect("arguments") {
            if let Some(value) = self.given(name, argument, &mut vec![], filling) {
                let argument_name = text(argument, "name");
                declared.push(format!("${argument_name}: {}", written(&argument["type"])));
                passed.push(format!("{argument_name}: ${argument_name}"));
                variables.insert(argument_name.to_owned(), value);
            }
        }
        let in_brackets = |parts: Vec<String>| match parts.is_empty() {
            true => String::new(),
            false => format!("({})", parts.join(", ")),
        };
        let (declared, passed) = (in_brackets(declared), in_brackets(passed));
        let selection = self.selection(base(&field["type"]));
        (format!("{operation}{declared} {{ {name}{passed} {selection} }}"), json!(variables))
    }

    fn selection(&self, of: &str) -> &'static str {
        let names: BTreeSet<_> = self.fields(of).iter().map(|field| text(field, "name")).collect();
        match self.kind(of) {
            "SCALAR" | "ENUM" => "",
            _ if names.contains("errors") => "{ errors { code message } }",
            _ if names.contains("nodes") => "{ nodes { __typename } }",
            _ => "{ __typename }",
        }
    }

    /// What an argument is given: ids by their rule, all that must be given, and nothing else.
    fn given(
        &self,
        owner: &str,
        argument: &Value,
        before: &mut Vec<String>,
        filling: &Filling<'_>,
    ) -> Option<Value> {
        let name = text(argument, "name");
        before.push(name.to_owned());
        let is_on_the_way = filling.at.is_some_and(|(slot, _)| slot.path.starts_with(before));
        let must = argument["type"]["kind"] == "NON_NULL" && argument["defaultValue"].is_null();
        let value = if name == "expectedVersion" {
            filling.expected_version.map(|version| json!(version))
        } else if must || is_on_the_way {
            Some(self.value(owner, name, &argument["type"], before, filling))
        } else {
            None
        };
        before.pop();
        value
    }

    fn value(
        &self,
        owner: &str,
        name: &str,
        of: &Value,
        path: &mut Vec<String>,
        filling: &Filling<'_>,
    ) -> Value {
        match of["kind"].as_str() {
            Some("NON_NULL") => return self.value(owner, name, &of["ofType"], path, filling),
            Some("LIST") => return json!([self.value(owner, name, &of["ofType"], path, filling)]),
            _ => {}
        }
        let of = base(of);
        if is_id(name, of) {
            if let Some((slot, id)) = filling.at
                && slot.path == *path
            {
                return json!(id);
            }
            let names = rule(owner, name).unwrap_or_else(|missing| panic!("{missing}"));
            return filling.ids.get(names).map_or_else(|| json!(Uuid::new_v4()), |id| json!(id));
        }
        if let Some((.., value)) = VALUES.iter().find(|rule| (rule.0, rule.1) == (owner, name)) {
            return json!(value);
        }
        if let Some((.., value)) = self.values.iter().find(|rule| (rule.0, rule.1) == (owner, name))
        {
            return json!(value);
        }
        match (self.kind(of), of, name) {
            ("INPUT_OBJECT", ..) => self.object(of, path, filling),
            ("ENUM", ..) => self.list(of, "enumValues")[0]["name"].clone(),
            (_, "UUID", _) => json!(Uuid::new_v4()),
            (_, "DateTime", _) => json!(now() + days(1)),
            (_, "Int", _) => json!(1),
            (_, "Float", _) => json!(1.0),
            (_, "Boolean", _) => json!(true),
            (_, "String", "email" | "adminEmail" | "contactEmail") => {
                json!(format!("{}@mail.example", Uuid::new_v4().simple()))
            }
            (_, "String", _) => json!(format!("Text{}", Uuid::new_v4().simple())),
            (kind, of, name) => panic!("no rule for {owner}.{name}, {kind} {of}"),
        }
    }

    fn object(&self, of: &str, path: &mut Vec<String>, filling: &Filling<'_>) -> Value {
        let fields = self.list(of, "inputFields");
        let is_on_the_way = |field: &&Value| {
            filling.at.is_some_and(|(slot, _)| {
                slot.path.starts_with(path)
                    && slot.path.get(path.len()).is_some_and(|n| n == text(field, "name"))
            })
        };
        let chosen = match self.types[of]["isOneOf"] == json!(true) {
            false => None,
            true => {
                let usual = ONE_OF.iter().find(|rule| rule.0 == of).map(|rule| rule.1);
                let usual = fields.iter().find(|field| Some(text(field, "name")) == usual);
                let chosen = fields.iter().find(is_on_the_way).or(usual);
                Some(chosen.unwrap_or_else(|| panic!("no rule for which of {of}")))
            }
        };
        let mut object = Map::new();
        for field in fields {
            let name = text(field, "name");
            let value = match chosen {
                Some(chosen) if text(chosen, "name") != name => None,
                Some(chosen) => {
                    path.push(name.to_owned());
                    let value = self.value(of, name, &chosen["type"], path, filling);
                    path.pop();
                    Some(value)
                }
                None => self.given(of, field, path, filling),
            };
            if let Some(value) = value {
                object.insert(name.to_owned(), value);
            }
        }
        Value::Object(object)
    }
}

/// Whether an argument names something: by its type, or by its name where the id is a bare one.
fn is_id(name: &str, of: &str) -> bool {
    of == "ID" || (of == "UUID" && name != "commandId")
}

fn rule(owner: &str, name: &str) -> Result<&'static str, String> {
    let fits = |rule: &&(&str, &str, &str)| (rule.0 == owner || rule.0 == "*") && rule.1 == name;
    let found = IDS.iter().find(fits).map(|rule| rule.2);
    found.ok_or_else(|| format!("there is no rule for the id {owner}.{name}"))
}

/// The innermost type's name.
pub fn base(of: &Value) -> &str {
    match of["ofType"].is_object() {
        true => base(&of["ofType"]),
        false => text(of, "name"),
    }
}

fn written(of: &Value) -> String {
    match of["kind"].as_str() {
        Some("NON_NULL") => format!("{}!", written(&of["ofType"])),
        Some("LIST") => format!("[{}]", written(&of["ofType"])),
        _ => text(of, "name").to_owned(),
    }
}

pub fn text<'v>(of: &'v Value, name: &str) -> &'v str {
    of[name].as_str().unwrap_or_else(|| panic!("no {name} in {of}"))
}
