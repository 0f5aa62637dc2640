//! Kubernetes Events about users' objects: what has become of them, for `kubectl describe`. Conditions say how things
//! are; an Event says once that they changed.

use esplanade_crds::conditions::{self, reason};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType, Recorder};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Events that wait for the API server. More are left out: the conditions have it all.
const ROOM: usize = 256;
/// The longest note that the API server takes, in bytes (`ValidateEventCreate`).
const NOTE: usize = 1024;

/// Publishes Events, in the order told, without holding anybody up.
pub(super) struct Announcer {
    tell: mpsc::Sender<(Event, ObjectReference)>,
    // Ends with it.
    _task: JoinSet<()>,
}

impl Announcer {
    pub(super) fn start(recorder: Recorder) -> Self {
        let (tell, mut told) = mpsc::channel::<(Event, ObjectReference)>(ROOM);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Some((event, about)) = told.recv().await {
                if let Err(error) = recorder.publish(&event, &about).await {
                    tracing::warn!(%error, name = about.name, reason = event.reason, "can't make an Event");
                }
            }
        });
        Self { tell, _task: task }
    }

    /// Tells what a node's agent says that it has put back: `before` it was known otherwise.
    pub(super) fn told_by_agent(&self, about: &ObjectReference, before: &[Condition], now: &[Condition]) {
        let restored: Vec<Condition> =
            now.iter().filter(|one| one.type_ == conditions::RESTORED).cloned().collect();
        self.changed(about, before, &restored);
    }

    /// Tells of an object what its conditions have become.
    pub(super) fn changed(&self, about: &ObjectReference, before: &[Condition], now: &[Condition]) {
        for event in news(before, now) {
            if self.tell.try_send((event, about.clone())).is_err() {
                tracing::warn!(name = about.name, "too many Events at once: one is left out");
            }
        }
    }
}

/// An Event for each condition that has come to mean something else: a warning for what is wrong, and a normal one once a
/// policy or an SA is in force. Nothing of what is only on its way.
pub(super) fn news(before: &[Condition], now: &[Condition]) -> Vec<Event> {
    let was = |condition: &Condition| before.iter().find(|one| one.type_ == condition.type_);
    // What was put back once may be put back again.
    let again = |was: &Condition, now: &Condition| {
        now.type_ == conditions::RESTORED && was.last_transition_time != now.last_transition_time
    };
    let differs = |condition: &&Condition| {
        was(condition).is_none_or(|was| {
            (&was.status, &was.reason) != (&condition.status, &condition.reason) || again(was, condition)
        })
    };
    now.iter().filter(differs).filter_map(event).collect()
}

fn event(condition: &Condition) -> Option<Event> {
    let (holds, reason) = (condition.status == "True", condition.reason.as_str());
    let waits = [reason::PENDING, reason::NOT_READY, reason::NOT_ENCRYPTED].contains(&reason);
    let type_ = match condition.type_.as_str() {
        conditions::PROGRAMMED | conditions::ENCRYPTED if holds => EventType::Normal,
        conditions::ACCEPTED | conditions::RESOLVED_REFS | conditions::PROGRAMMED
            if condition.status == "False" && !waits =>
        {
            EventType::Warning
        }
        conditions::RESTORED => EventType::Warning,
        conditions::EXPIRED | conditions::INSECURE_KEYING | conditions::CONFLICTED if holds => {
            EventType::Warning
        }
        _ => return None,
    };
    Some(Event {
        type_,
        reason: reason.to_owned(),
        note: Some(cut(&condition.message)),
        action: condition.type_.clone(),
        secondary: None,
    })
}

/// As much as an Event has room for.
fn cut(message: &str) -> String {
    message.get(..message.floor_char_boundary(NOTE)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
    use kube::runtime::events::EventType;

    use super::{NOTE, news};

    fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Condition {
        Condition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
            observed_generation: None,
        }
    }

    fn told(before: &[Condition], now: &[Condition]) -> Vec<String> {
        let line = |event: kube::runtime::events::Event| {
            let kind = if event.type_ == EventType::Warning { "Warning" } else { "Normal" };
            format!("{kind} {} {}: {}", event.action, event.reason, event.note.unwrap())
        };
        news(before, now).into_iter().map(line).collect()
    }

    #[test]
    fn each_change_of_meaning_is_told_once() {
        let pending = [condition("Programmed", "False", "Pending", "waiting for b")];
        let done = [condition("Programmed", "True", "Programmed", "in the kernel of a, b")];
        let fewer = [condition("Programmed", "True", "Programmed", "in the kernel of a")];
        let refused = [condition("Programmed", "False", "KernelError", "a: no buffer space")];
        assert_eq!(told(&[], &pending), [""; 0]);
        assert_eq!(told(&pending, &done), ["Normal Programmed Programmed: in the kernel of a, b"]);
        assert_eq!(told(&done, &fewer), [""; 0]);
        assert_eq!(told(&done, &refused), ["Warning Programmed KernelError: a: no buffer space"]);
        assert_eq!(told(&refused, &refused), [""; 0]);
    }

    #[test]
    fn what_was_put_back_is_told_each_time() {
        let restored = |second| Condition {
            last_transition_time: Time(jiff::Timestamp::from_second(second).unwrap()),
            ..condition("Restored", "True", "DeletedByOthers", "somebody else deleted 2 SAs")
        };
        let words = ["Warning Restored DeletedByOthers: somebody else deleted 2 SAs"];
        assert_eq!(told(&[], &[restored(1)]), words);
        assert_eq!(told(&[restored(1)], &[restored(1)]), [""; 0]);
        assert_eq!(told(&[restored(1)], &[restored(2)]), words);
    }

    #[test]
    fn what_is_wrong_is_a_warning_and_what_follows_from_it_is_not_told_too() {
        let now = [
            condition("Accepted", "True", "Accepted", ""),
            condition("ResolvedRefs", "False", "SecretNotFound", "there is no Secret keys"),
            condition("Programmed", "False", "NotReady", "see condition ResolvedRefs"),
            condition("Expired", "True", "Expired", "100 packets"),
        ];
        assert_eq!(
            told(&[], &now),
            [
                "Warning ResolvedRefs SecretNotFound: there is no Secret keys",
                "Warning Expired Expired: 100 packets"
            ]
        );
        let unknown = [condition("ResolvedRefs", "Unknown", "NotReady", "see condition Accepted")];
        assert_eq!(told(&now, &unknown), [""; 0]);
    }

    #[test]
    fn a_long_message_is_cut_where_a_letter_ends() {
        let long = "é".repeat(NOTE);
        let [event] = &news(&[], &[condition("Accepted", "False", "Invalid", &long)])[..] else { panic!() };
        assert_eq!(event.note.as_ref().unwrap().len(), NOTE);
        let odd = format!("a{long}");
        let [event] = &news(&[], &[condition("Accepted", "False", "Invalid", &odd)])[..] else { panic!() };
        assert_eq!(event.note.as_ref().unwrap().len(), NOTE - 1);
    }
}
