//! Whether an answer is the one expected.

use serde_json::Value;

use crate::server::Answer;
use crate::table::{Case, Expected};

/// # Errors
/// What was expected and what came instead.
pub(crate) fn judge(case: &Case, answer: &Answer) -> Result<(), String> {
    let written = case.status.as_ref().or(case.spec.as_ref()).unwrap_or(&Value::Null);
    let matches = match (&case.expected, answer) {
        (Expected::Kept, Answer::Accepted(stored)) => contains(stored, written),
        (Expected::Defaulted(defaults), Answer::Accepted(stored)) => {
            let mut expected = written.clone();
            fill(&mut expected, defaults);
            *stored == expected
        }
        (Expected::Stored(expected), Answer::Accepted(stored)) => stored == expected,
        (Expected::Refused(expected), Answer::Refused(messages)) => sorted(expected) == sorted(messages),
        _ => false,
    };
    let words = |lines: &[String]| lines.iter().map(|line| format!("\n    {line}")).collect::<String>();
    let expected = match &case.expected {
        Expected::Kept => format!("accepted: {written}"),
        Expected::Defaulted(defaults) => format!("accepted: {written}\n    and defaults {defaults}"),
        Expected::Stored(stored) => format!("accepted: {stored}"),
        Expected::Refused(messages) => format!("refused:{}", words(messages)),
    };
    let came = match answer {
        Answer::Accepted(stored) => format!("accepted: {stored}"),
        Answer::Refused(messages) => format!("refused:{}", words(messages)),
    };
    if matches { Ok(()) } else { Err(format!("  expected {expected}\n  came     {came}")) }
}

fn sorted(messages: &[String]) -> Vec<&String> {
    let mut messages: Vec<&String> = messages.iter().collect();
    messages.sort();
    messages
}

/// Whether all of `part` is in `whole`.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, part)| whole.get(key).map_or(part.is_null(), |whole| contains(whole, part))),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
        }
        _ => whole == part,
    }
}

/// Adds what is missing.
fn fill(value: &mut Value, defaults: &Value) {
    if let (Value::Object(value), Value::Object(defaults)) = (value, defaults) {
        for (key, default) in defaults {
            match value.get_mut(key) {
                Some(value) => fill(value, default),
                None => _ = value.insert(key.clone(), default.clone()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::judge;
    use crate::server::Answer;
    use crate::table::{self, Case};

    fn case(text: &str) -> Case {
        let file = table::parse("test", &format!("kind: IpsecSA\ncases:\n- {{name: test, {text}}}")).unwrap();
        file.cases.into_iter().next().unwrap()
    }

    #[test]
    fn what_was_written_must_be_kept() {
        let case = case("spec: {a: 1, b: [{c: 2}]}, valid: true");
        judge(&case, &Answer::Accepted(json!({"a": 1, "b": [{"c": 2, "d": 3}]}))).unwrap();
        judge(&case, &Answer::Accepted(json!({"a": 1, "b": [{"d": 3}]}))).unwrap_err();
        judge(&case, &Answer::Accepted(json!({"a": 1, "b": []}))).unwrap_err();
        judge(&case, &Answer::Refused(vec![])).unwrap_err();
    }

    #[test]
    fn defaults_must_be_exactly_those() {
        let case = case("spec: {a: {b: 1}}, valid: true, defaults: {a: {c: 2}, d: 3}");
        judge(&case, &Answer::Accepted(json!({"a": {"b": 1, "c": 2}, "d": 3}))).unwrap();
        judge(&case, &Answer::Accepted(json!({"a": {"b": 1}, "d": 3}))).unwrap_err();
        judge(&case, &Answer::Accepted(json!({"a": {"b": 1, "c": 2}, "d": 3, "e": 4}))).unwrap_err();
    }

    #[test]
    fn messages_must_be_exactly_those() {
        let case = case("spec: {}, error: [x, y]");
        let refused = |messages: &[&str]| Answer::Refused(messages.iter().map(|&m| m.to_owned()).collect());
        judge(&case, &refused(&["y", "x"])).unwrap();
        judge(&case, &refused(&["x"])).unwrap_err();
        judge(&case, &refused(&["x", "y", "z"])).unwrap_err();
        judge(&case, &Answer::Accepted(json!({}))).unwrap_err();
    }

    #[test]
    fn a_case_says_what_it_expects() {
        for text in ["spec: {}", "spec: {}, valid: true, error: x", "spec: {}, defaults: {}, error: x"] {
            let file = format!("kind: IpsecSA\ncases:\n- {{name: test, {text}}}");
            table::parse("test", &file).unwrap_err();
        }
    }
}
