//! What is recorded of senders, for the next agent.

use super::State;
use crate::pass::uptime;

impl State {
    /// Should that fail, the next agent takes more numbers for used.
    pub(super) fn record_numbers(&mut self, always: bool) {
        self.engine.note_senders(uptime(), always);
        if let Err(error) = self.engine.record_senders(|writing| self.numbers.write(writing)) {
            tracing::error!(%error, "how far SAs have come can't be recorded");
        }
    }

    /// Looks once more where the senders are that are recorded: the next agent has the less to leave out.
    pub(super) fn leave(&mut self) {
        let Some(kernel) = &mut self.kernel else { return };
        for sa in self.engine.recorded_senders() {
            match kernel.replay_state(&sa) {
                Ok(Some((state, used))) => self.engine.counted(sa.sa().id(), state, used, uptime()),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "how far SAs have come isn't known");
                    break;
                }
            }
        }
        self.record_numbers(true);
    }
}
