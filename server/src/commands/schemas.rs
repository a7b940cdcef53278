//! Whether arguments and results have the shapes of their command.

use std::{collections::BTreeMap, sync::LazyLock};

use homeport_api::CommandKind;
use homeport_protocol::{builtin, limits};
use jsonschema::Validator;
use serde_json::Value;

/// A command, and what checks it.
struct Shapes {
    kind: CommandKind,
    arguments: Option<Validator>,
    result: Option<Validator>,
}

/// Made once: the schemas are those of the protocol's types.
static SHAPES: LazyLock<BTreeMap<&str, Shapes>> = LazyLock::new(|| {
    let shapes = builtin::ALL.iter().map(|builtin| {
        let kind = CommandKind {
            name: builtin.name.to_owned(),
            about: builtin.about.to_owned(),
            timeout_s: builtin.timeout_s,
            arguments: (builtin.arguments)().to_value(),
            result: (builtin.result)().to_value(),
            policy: None,
        };
        let shapes = Shapes {
            arguments: jsonschema::validator_for(&kind.arguments).ok(),
            result: jsonschema::validator_for(&kind.result).ok(),
            kind,
        };
        (builtin.name, shapes)
    });
    shapes.collect()
});

/// The commands that there are, by name.
pub(super) fn kinds() -> Vec<CommandKind> {
    SHAPES.values().map(|shapes| shapes.kind.clone()).collect()
}

/// The error says where the arguments are wrong.
pub(super) fn check_arguments(name: &str, arguments: &Value) -> Result<(), String> {
    let shapes = SHAPES.get(name);
    check(shapes.and_then(|shapes| shapes.arguments.as_ref()), arguments)
}

/// The error says where the result is wrong.
pub(super) fn check_result(name: &str, result: &Value) -> Result<(), String> {
    let shapes = SHAPES.get(name);
    check(shapes.and_then(|shapes| shapes.result.as_ref()), result)
}

fn check(validator: Option<&Validator>, value: &Value) -> Result<(), String> {
    let Some(validator) = validator else {
        return Err("the command has no schema".to_owned());
    };
    validator.validate(value).map_err(|error| {
        let place = error.instance_path.to_string();
        // The value may be as long as a message.
        let text = limits::clip(error.to_string());
        if place.is_empty() {
            text
        } else {
            format!("{place}: {text}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_schemas() {
        for builtin in builtin::ALL {
            let shapes = &SHAPES[builtin.name];
            assert!(
                shapes.arguments.is_some() && shapes.result.is_some(),
                "{}",
                builtin.name
            );
        }
        assert!(check_arguments("fly", &serde_json::json!({})).is_err());
    }
}
