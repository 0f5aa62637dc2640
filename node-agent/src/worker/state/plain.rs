//! A pass without automatic keys.

use std::sync::Arc;

use esplanade_xfrm::KernelError;

use super::{State, Turn};
use crate::desired::Input;
use crate::pass::Outcome;

impl State {
    pub(super) fn plain_pass(&mut self, input: &Input, turn: &mut Turn<'_>) -> Result<Outcome, KernelError> {
        let expanded = match &self.expanded {
            Some((version, expanded)) if *version == input.version => Arc::clone(expanded),
            _ => {
                let (wanted, expanded) = self.expand(input, &input.spec, turn.capabilities);
                self.engine.want(wanted);
                self.spis.fill(turn.kernel, &mut self.engine)?;
                turn.settings_are_open = true;
                self.expanded = Some((input.version, Arc::clone(&expanded)));
                expanded
            }
        };
        self.keep_thresholds(turn)?;
        let closed = expanded.ports.open(self.ports.as_mut());
        let mut outcome = self.write(turn)?;
        self.finish(input, &expanded.ports, turn, &mut outcome)?;
        outcome.in_sync &= closed.is_empty();
        let before = input.problems.iter().chain(&expanded.problems).cloned();
        outcome.problems = before.chain(outcome.problems).chain(closed).collect();
        Ok(outcome)
    }
}
