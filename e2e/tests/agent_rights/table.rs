//! Attempts, and what should come of them.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::installed::Caller;

/// One attempt: method, path, body, and what is said against it (None: nothing).
pub(crate) type Row = (&'static str, String, Body, Option<&'static str>);

/// What is sent.
pub(crate) enum Body {
    None,
    Object(Value),
    Merge(Value),
    Apply(Value),
}

/// Tries all of them; the error has all that went otherwise.
pub(crate) async fn check(caller: &Caller, who: &str, rows: Vec<Row>) -> Result<()> {
    let mut wrong = Vec::new();
    for (method, path, body, expected) in rows {
        let answer = match &body {
            Body::None => caller.ask(method, &path, "application/json", &Value::Null).await,
            Body::Object(object) => caller.ask(method, &path, "application/json", object).await,
            Body::Merge(patch) => caller.merge(&path, patch).await,
            Body::Apply(object) => caller.apply(&path, object, "test").await,
        };
        match (answer, expected) {
            (Ok(_), None) => {}
            (Ok(_), Some(expected)) => {
                wrong.push(format!("{method} {path}: allowed, expected to be refused: {expected}"));
            }
            (Err(error), None) => wrong.push(format!("{method} {path}: refused: {error}")),
            (Err(error), Some(expected)) if !error.to_string().contains(expected) => {
                wrong.push(format!("{method} {path}: refused with {error}\n  expected: {expected}"));
            }
            (Err(_), Some(_)) => {}
        }
    }
    ensure!(wrong.is_empty(), "{who}:\n{}", wrong.join("\n"));
    Ok(())
}
