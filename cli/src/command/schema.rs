//! The JSON Schemas of commands, as far as the command line reads them: what arguments there are, how a word becomes a value, and in which
//! order a result is shown. The server and the device check everything again.

use homeport_api::CommandKind;
use serde_json::{Map, Number, Value};

use crate::error::{Error, Result};

/// Levels of `$ref` and alternatives that are followed.
const MAX_DEPTH: usize = 8;

/// An argument of a command.
struct Argument<'a> {
    name: &'a str,
    required: bool,
    root: &'a Value,
    schema: &'a Value,
}

/// The arguments object that these words mean.
pub(super) fn arguments(kind: &CommandKind, words: &[String], program: &[String]) -> Result<Value> {
    let known = known(kind);
    let mut object = Map::new();
    for word in words {
        let (name, text) = match (word.split_once('='), only_required(&known)) {
            (Some(pair), _) => pair,
            (None, Some(argument)) => (argument.name, word.as_str()),
            (None, None) => return Err(refused(kind, &format!("`{word}` is not NAME=VALUE"))),
        };
        let Some(argument) = known.iter().find(|argument| argument.name == name) else {
            return Err(refused(kind, &format!("it takes no argument `{name}`")));
        };
        let value = typed(argument.root, argument.schema, text)
            .ok_or_else(|| refused(kind, &format!("`{text}` is no value of `{name}`")))?;
        if object.insert(name.to_owned(), value).is_some() {
            return Err(refused(kind, &format!("`{name}` is given twice")));
        }
    }
    if let Some((first, rest)) = program.split_first() {
        let has = |name| known.iter().any(|argument| argument.name == name);
        if !has("program") || !has("arguments") || object.contains_key("program") {
            return Err(refused(kind, "it takes no program after `--`"));
        }
        object.insert("program".to_owned(), first.as_str().into());
        object.insert("arguments".to_owned(), rest.into());
    }
    let missing = known
        .iter()
        .find(|argument| argument.required && !object.contains_key(argument.name));
    match missing {
        Some(argument) => Err(refused(kind, &format!("it needs `{}`", argument.name))),
        None => Ok(Value::Object(object)),
    }
}

/// `unit [action] [lines]`: the arguments, those in brackets that may be left out.
pub(super) fn usage(kind: &CommandKind) -> String {
    let names = known(kind).into_iter().map(|argument| {
        if argument.required {
            argument.name.to_owned()
        } else {
            format!("[{}]", argument.name)
        }
    });
    names.collect::<Vec<_>>().join(" ")
}

/// The schema that a `$ref` in `schema` points to, or itself.
pub(super) fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..MAX_DEPTH {
        let target = schema["$ref"]
            .as_str()
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| root.pointer(pointer));
        match target {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

/// The names of an object's fields, in the order in which the schema lists those that are always there; the others follow.
pub(super) fn field_order(schema: &Value) -> Vec<&str> {
    let required = schema["required"].as_array().into_iter().flatten();
    let mut names: Vec<&str> = required.filter_map(Value::as_str).collect();
    for name in schema["properties"].as_object().into_iter().flat_map(Map::keys) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

fn known(kind: &CommandKind) -> Vec<Argument<'_>> {
    let root = &kind.arguments;
    let is_required = |name: &str| {
        let mut required = root["required"].as_array().into_iter().flatten();
        required.any(|required| required == name)
    };
    let names = field_order(root).into_iter();
    names
        .map(|name| Argument {
            name,
            required: is_required(name),
            root,
            schema: &root["properties"][name],
        })
        .collect()
}

fn only_required<'a>(known: &'a [Argument<'a>]) -> Option<&'a Argument<'a>> {
    let mut required = known.iter().filter(|argument| argument.required);
    required.next().filter(|_| required.next().is_none())
}

/// The value that a word has by the schema, if any.
fn typed(root: &Value, schema: &Value, text: &str) -> Option<Value> {
    let mut alternatives = Vec::new();
    collect(root, schema, MAX_DEPTH, &mut alternatives);
    alternatives.into_iter().find_map(|schema| {
        if let Some(value) = schema.get("const") {
            return (value.as_str() == Some(text)).then(|| value.clone());
        }
        if let Some(values) = schema["enum"].as_array() {
            return values.iter().find(|value| value.as_str() == Some(text)).cloned();
        }
        let types = match &schema["type"] {
            Value::String(one) => vec![one.as_str()],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        types.into_iter().find_map(|kind| match kind {
            "string" => Some(text.into()),
            "boolean" => text.parse().ok().map(Value::Bool),
            "integer" => integer(text),
            "number" => {
                integer(text).or_else(|| text.parse().ok().and_then(Number::from_f64).map(Value::Number))
            }
            "array" => list(root, &schema["items"], text),
            "object" => serde_json::from_str(text).ok().filter(Value::is_object),
            _ => None,
        })
    })
}

fn integer(text: &str) -> Option<Value> {
    let positive = text.parse::<u64>().map(Value::from);
    positive.or_else(|_| text.parse::<i64>().map(Value::from)).ok()
}

fn list(root: &Value, items: &Value, text: &str) -> Option<Value> {
    if text.starts_with('[') {
        return serde_json::from_str(text).ok().filter(Value::is_array);
    }
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(|part| typed(root, items, part)).collect()
}

/// The schemas of which a value may match any.
fn collect<'a>(root: &'a Value, schema: &'a Value, depth: usize, found: &mut Vec<&'a Value>) {
    let schema = resolved(root, schema);
    let several = ["anyOf", "oneOf"]
        .into_iter()
        .find_map(|key| schema[key].as_array());
    match several {
        Some(several) if depth > 0 => {
            for one in several {
                collect(root, one, depth - 1, found);
            }
        }
        _ => found.push(schema),
    }
}

/// What is wrong with the arguments, and what the command takes.
fn refused(kind: &CommandKind, what: &str) -> Error {
    let known = known(kind);
    let width = known
        .iter()
        .map(|argument| argument.name.len())
        .max()
        .unwrap_or(0);
    Error::Arguments {
        what: if known.is_empty() {
            format!("{}: {what}; it takes no arguments", kind.name)
        } else {
            format!("{}: {what}; it takes:", kind.name)
        },
        items: known.iter().map(|argument| argument.line(width)).collect(),
    }
}

// === impl Argument ===

impl Argument<'_> {
    /// `action  status|start|stop: What to do.`
    fn line(&self, width: usize) -> String {
        let mut alternatives = Vec::new();
        collect(self.root, self.schema, MAX_DEPTH, &mut alternatives);
        let mut values: Vec<&str> = Vec::new();
        for schema in alternatives {
            values.extend(schema["const"].as_str());
            values.extend(
                schema["enum"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str),
            );
            let types = match &schema["type"] {
                Value::Array(several) => several.as_slice(),
                one => std::slice::from_ref(one),
            };
            let is_listed = schema.get("const").is_some() || schema.get("enum").is_some();
            let names = types
                .iter()
                .filter_map(Value::as_str)
                .filter(|name| *name != "null");
            values.extend(names.filter(|_| !is_listed).map(|name| match name {
                "string" => "text",
                "array" => "a,b,c",
                "boolean" => "true|false",
                name => name,
            }));
        }
        let Self { name, .. } = self;
        let needed = if self.required { ", needed" } else { "" };
        let about = self.schema["description"].as_str().unwrap_or_default();
        format!("{name:width$}  {}{needed}  {about}", values.join("|"))
            .trim_end()
            .to_owned()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use homeport_protocol::builtin;
    use serde_json::json;

    use super::*;

    /// A built-in command as the server tells of it.
    pub(in crate::command) fn kind(name: &str) -> CommandKind {
        let builtin = builtin::find(name).unwrap();
        CommandKind {
            name: builtin.name.to_owned(),
            about: builtin.about.to_owned(),
            timeout_s: builtin.timeout_s,
            arguments: (builtin.arguments)().to_value(),
            result: (builtin.result)().to_value(),
            policy: None,
        }
    }

    fn read(name: &str, line: &str) -> Result<Value> {
        let mut parts = line.splitn(2, "-- ");
        let words = |part: Option<&str>| -> Vec<String> {
            part.unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect()
        };
        let (before, after) = (words(parts.next()), words(parts.next()));
        arguments(&kind(name), &before, &after)
    }

    #[test]
    fn words_become_what_the_schema_says() {
        for (name, line, expected) in [
            ("ps", "", json!({})),
            ("ping", "host=::1 count=5", json!({ "host": "::1", "count": 5 })),
            ("ping", "192.0.2.1", json!({ "host": "192.0.2.1" })),
            (
                "service",
                "unit=a=b action=restart",
                json!({ "unit": "a=b", "action": "restart" }),
            ),
            (
                "killall",
                "app signal=HUP",
                json!({ "name": "app", "signal": "HUP" }),
            ),
            (
                "journal",
                "follow=true priority=4 unit=7 since_s=60",
                json!({ "follow": true, "priority": 4, "unit": "7", "since_s": 60 }),
            ),
            (
                "run",
                "-- selftest --quick a,b",
                json!({ "program": "selftest", "arguments": ["--quick", "a,b"] }),
            ),
            (
                "run",
                "selftest arguments=a,b",
                json!({ "program": "selftest", "arguments": ["a", "b"] }),
            ),
            (
                "run",
                r#"program=x arguments=["a,b"]"#,
                json!({ "program": "x", "arguments": ["a,b"] }),
            ),
        ] {
            assert_eq!(read(name, line).unwrap(), expected, "{name} {line}");
        }
    }

    #[test]
    fn what_a_command_does_not_take_is_refused_with_what_it_takes() {
        for (name, line, what) in [
            ("service", "unit=a force=true", "no argument `force`"),
            ("service", "unit=a action=fly", "`fly` is no value of `action`"),
            ("service", "action=start", "it needs `unit`"),
            ("ping", "count=many", "`many` is no value of `count`"),
            ("ping", "a b", "`host` is given twice"),
            ("ps", "gate", "not NAME=VALUE"),
            ("ps", "-- top", "no program"),
            ("journal", "follow=yes", "no value of `follow`"),
        ] {
            let error = read(name, line).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
            assert_eq!(error.exit_code(), 2);
            assert_eq!(error.details().is_empty(), name == "ps", "{error:?}");
        }
        let error = read("service", "").unwrap_err();
        let [unit, action, lines] = error.details() else {
            panic!("not three arguments: {error:?}");
        };
        assert!(unit.starts_with("unit    text, needed  The unit"), "{unit}");
        assert!(action.contains("status|logs|start|stop|restart"), "{action}");
        assert!(lines.contains("integer  For `logs`"), "{lines}");
    }

    #[test]
    fn arguments_are_named_for_a_list() {
        assert_eq!(usage(&kind("service")), "unit [action] [lines]");
        assert_eq!(usage(&kind("ps")), "");
    }
}
