//! What every schema of every CRD must be. That the API server takes them is for the tests against one.

use std::collections::BTreeSet;

use serde_json::Value;

/// Calls `visit` with each schema and its path.
fn walk(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    for (part, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[part].is_object() {
            walk(&format!("{path}{suffix}"), &schema[part], visit);
        }
    }
}

fn each_schema(visit: &mut dyn FnMut(&str, &Value)) {
    let mut seen = 0;
    for (name, crd) in super::all() {
        let crd = serde_json::to_value(crd).unwrap();
        for version in crd["spec"]["versions"].as_array().unwrap() {
            walk(name, &version["schema"]["openAPIV3Schema"], &mut |path, schema| {
                seen += 1;
                visit(path, schema);
            });
        }
    }
    assert!(seen > 250, "only {seen} schemas seen");
}

fn paths(wrong: impl Fn(&str, &Value) -> bool) -> Vec<String> {
    let mut paths = Vec::new();
    each_schema(&mut |path, schema| {
        if wrong(path, schema) {
            paths.push(path.to_owned());
        }
    });
    paths
}

#[test]
fn every_property_is_described() {
    let undescribed = paths(|path, schema| {
        let property = !path.ends_with(']') && !path.ends_with('}');
        property && schema["description"].as_str().is_none_or(|text| text.trim().is_empty())
    });
    assert_eq!(undescribed, [""; 0]);
}

#[test]
fn descriptions_are_sentences_whose_lines_are_joined() {
    let odd = paths(|_, schema| {
        schema["description"].as_str().is_some_and(|text| {
            text.split("\n\n").any(|paragraph| paragraph.contains('\n')) || text.contains("[`")
        })
    });
    assert_eq!(odd, [""; 0]);
}

#[test]
fn an_optional_enum_has_its_fields_own_description() {
    let types =
        ["An address family.", "Algorithms of a policy with automatic keys, by their names in RFC 8221."];
    let wrong = paths(|_, schema| types.iter().any(|text| schema["description"] == **text));
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn every_schema_is_structural() {
    let composed = paths(|_, schema| {
        ["oneOf", "anyOf", "allOf", "not", "$ref", "definitions"].iter().any(|word| !schema[*word].is_null())
    });
    assert_eq!(composed, [""; 0]);
    let untyped =
        paths(|_, schema| schema["type"].as_str().is_none() && schema["x-kubernetes-int-or-string"] != true);
    assert_eq!(untyped, [""; 0]);
}

#[test]
fn every_format_is_one_that_the_api_server_knows() {
    let unknown = paths(|_, schema| {
        schema["format"].as_str().is_some_and(|format| !["int32", "int64", "date-time"].contains(&format))
    });
    assert_eq!(unknown, [""; 0]);
    let unbounded = paths(|_, schema| schema["format"] == "int32" && schema["maximum"].is_null());
    assert_eq!(unbounded, [""; 0]);
}

#[test]
fn null_counts_as_left_out() {
    assert_eq!(paths(|_, schema| !schema["nullable"].is_null()), [""; 0]);
}

#[test]
fn every_rule_has_a_message_of_its_own_in_its_schema() {
    let wordless = paths(|_, schema| {
        let rules = schema["x-kubernetes-validations"].as_array();
        let messages: Vec<&str> =
            rules.into_iter().flatten().map(|rule| rule["message"].as_str().unwrap_or_default()).collect();
        let distinct: BTreeSet<&&str> = messages.iter().collect();
        distinct.len() != messages.len() || messages.iter().any(|message| message.len() < 10)
    });
    assert_eq!(wordless, [""; 0]);
}

#[test]
fn messages_are_one_line() {
    let broken = paths(|_, schema| {
        let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        let mut texts = rules.flat_map(|rule| [&rule["message"], &rule["rule"]]).filter_map(Value::as_str);
        texts.any(|text| text.contains('\n') || text.contains("  "))
    });
    assert_eq!(broken, [""; 0]);
}

#[test]
fn rules_only_where_what_they_read_is_bounded() {
    // A rule reads what is below its schema: strings, lists and maps there have a limit.
    let mut unbounded = Vec::new();
    each_schema(&mut |path, schema| {
        if schema["x-kubernetes-validations"].is_null() || schema["type"] == "object" {
            return;
        }
        walk(path, schema, &mut |path, schema| {
            let limit = match schema["type"].as_str() {
                Some("string") if schema["enum"].is_null() => "maxLength",
                Some("array") => "maxItems",
                Some("object") if schema["additionalProperties"].is_object() => "maxProperties",
                _ => return,
            };
            if schema[limit].is_null() {
                unbounded.push(path.to_owned());
            }
        });
    });
    assert_eq!(unbounded, [""; 0]);
}

#[test]
fn conditions_are_told_apart_by_type() {
    let mut seen = 0;
    each_schema(&mut |path, schema| {
        if path.ends_with(".conditions") {
            seen += 1;
            assert_eq!(schema["x-kubernetes-list-type"], "map", "{path}");
            assert_eq!(schema["x-kubernetes-list-map-keys"], serde_json::json!(["type"]), "{path}");
        }
    });
    assert_eq!(seen, 3);
}

/// What the API server adds to an empty object by the schema's defaults.
fn defaulted(schema: &Value) -> Value {
    let mut object = serde_json::Map::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(default) = property.get("default") {
            let nested = if default.is_object() { defaulted(property) } else { default.clone() };
            object.insert(name.clone(), nested);
        }
    }
    Value::Object(object)
}

#[test]
fn the_types_defaults_are_the_schemas() {
    let (_, crd) = super::all().into_iter().find(|(name, _)| *name == "ipsecpolicies").unwrap();
    let crd = serde_json::to_value(crd).unwrap();
    let protection = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        ["protection"];
    assert_eq!(serde_json::to_value(super::Protection::default()).unwrap(), defaulted(protection));
    let read: super::Protection = serde_json::from_str("{}").unwrap();
    assert_eq!(read, super::Protection::default());
}
