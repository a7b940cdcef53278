//! Whether arguments and results have the shapes of their command.

use std::{collections::HashMap, sync::LazyLock};

use homeport_protocol::{builtin, limits};
use jsonschema::Validator;
use serde_json::Value;

/// The schemas of one command.
struct Shapes {
    arguments: Option<Validator>,
    result: Option<Validator>,
}

static SHAPES: LazyLock<HashMap<&str, Shapes>> = LazyLock::new(|| {
    let shapes = builtin::ALL.iter().map(|builtin| {
        let shapes = Shapes {
            arguments: jsonschema::validator_for((builtin.arguments)().as_value()).ok(),
            result: jsonschema::validator_for((builtin.result)().as_value()).ok(),
        };
        (builtin.name, shapes)
    });
    shapes.collect()
});

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
