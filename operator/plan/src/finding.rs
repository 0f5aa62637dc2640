//! What is wrong with an object.

/// What is wrong with an object: a condition's reason, and a sentence that says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// One of `esplanade_crds::conditions::reason`.
    pub(crate) reason: &'static str,
    /// For people.
    pub(crate) message: String,
}

impl Finding {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// The first few of them in one message, and how many more there are. `None` if there are none.
pub(crate) fn in_words(messages: &[impl AsRef<str>], first: usize) -> Option<String> {
    if messages.is_empty() {
        return None;
    }
    let shown: Vec<&str> = messages.iter().take(first).map(AsRef::as_ref).collect();
    let mut words = shown.join("; ");
    if messages.len() > first {
        words.push_str(&format!("; and {} more", messages.len() - first));
    }
    Some(words)
}
