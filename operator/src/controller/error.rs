//! What can go wrong between the operator and the API server, by step.

use std::fmt;

use super::change::Kind;

/// Why the API server (or the way to it) refused: a stable word for logs, events and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Somebody else wrote at the same time, or the object was made anew.
    Conflict,
    /// The operator lacks a right.
    Forbidden,
    /// The request itself is wrong.
    Invalid,
    /// The API server has another idea of the kind than the operator: it doesn't know a field, or stores something else.
    Schema,
    /// The object isn't there.
    Gone,
    /// No answer, or one that asks to come back later.
    Unavailable,
}

impl Category {
    /// What an error of the client means.
    #[must_use]
    pub fn of(error: &kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Self::Unavailable };
        match status.code {
            // Server-side apply's answer to a field that the CRD lacks.
            500 if status.message.contains("not declared in schema") => Self::Schema,
            404 | 410 => Self::Gone,
            409 => Self::Conflict,
            401 | 403 => Self::Forbidden,
            429 | 500.. => Self::Unavailable,
            _ => Self::Invalid,
        }
    }

    /// Whether trying again soon may help.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Conflict | Self::Gone | Self::Unavailable)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What helps against [`Category::Schema`].
pub(super) const SCHEMA: &str = "are the CRDs those of this version? Helm doesn't upgrade them: kubectl apply \
                                 --server-side -f crds/";

/// An error in the API server's words, where it has some.
pub(super) fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if Category::of(error) == Category::Schema => {
            format!("{}: {SCHEMA}", status.message)
        }
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// A write that failed. The others go on.
#[derive(Debug, thiserror::Error)]
#[error("can't {verb} {kind} {name}: {message}")]
pub struct WriteError {
    /// What was tried.
    pub verb: &'static str,
    /// On which kind.
    pub kind: Kind,
    /// On which object.
    pub name: String,
    /// Why it failed.
    pub category: Category,
    /// What was answered.
    pub message: String,
}

/// A Secret that can't be read. No key is in it.
#[derive(Debug, thiserror::Error)]
#[error("can't read Secret {name}: {message}")]
pub struct ReadError {
    /// The Secret.
    pub name: String,
    /// Why.
    pub category: Category,
    /// What was answered.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::Category;

    fn category(code: u16) -> Category {
        let status = kube::core::Status::failure("m", "r").with_code(code);
        Category::of(&kube::Error::Api(status.boxed()))
    }

    #[test]
    fn codes_have_their_categories() {
        assert_eq!(category(409), Category::Conflict);
        assert_eq!(category(403), Category::Forbidden);
        assert_eq!(category(422), Category::Invalid);
        assert_eq!(category(404), Category::Gone);
        let status = kube::core::Status::failure(".spec.x: field not declared in schema", "r").with_code(500);
        assert_eq!(Category::of(&kube::Error::Api(status.boxed())), Category::Schema);
        assert_eq!([429, 500, 503].map(category), [Category::Unavailable; 3]);
        assert!(!category(403).is_transient() && !category(422).is_transient());
        assert!(category(409).is_transient() && category(503).is_transient());
    }
}
