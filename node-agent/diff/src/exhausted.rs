//! SAs that have sent as many packets as they have sequence numbers.

use esplanade_crds::Problem;
use esplanade_crds::conditions::reason;
use esplanade_model::{SaId, WantedSa};

use crate::Object;
use crate::replay::last_number;

/// Whether the SA can't send any more, having sent this. The kernel drops what is to go through it
/// (`xfrm_replay_overflow`).
pub fn is_exhausted(wanted: &WantedSa, sent: u64) -> bool {
    match wanted {
        WantedSa::Outbound(sa) => sent >= last_number(sa.0.replay),
        WantedSa::Inbound(_) => false,
    }
}

/// What there is to say about it.
pub fn problem(object: &Object, id: SaId) -> Problem {
    let category = reason::SEQUENCE_NUMBERS_EXHAUSTED.to_owned();
    let message = format!(
        "the outbound {id} has used up its sequence numbers, and its packets are dropped: give it new keys in its \
         Secrets, and antiReplay.extendedSequenceNumbers: true to have 2⁶⁴ of them. What it may have sent while no \
         agent ran counts"
    );
    Problem { kind: object.kind, name: object.name.clone(), category, message }
}
