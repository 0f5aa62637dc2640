//! What passes with and without automatic keys have in common.

use std::sync::Arc;

use esplanade_crds::{IpsecNodeStateSpec, Problem};
use esplanade_diff::Writing;
use esplanade_expand::expand_again;
use esplanade_model::{Capabilities, Wanted};
use esplanade_xfrm::KernelError;

use super::exempt::{exempted, not_blocked};
use super::{State, Turn};
use crate::desired::Input;
use crate::pass::{Outcome, recorded_pass};
use crate::ports::Wants;

/// What a spec comes to that the engine isn't told.
pub(super) struct Expanded {
    pub(super) problems: Vec<Problem>,
    pub(super) ports: Wants,
}

impl State {
    /// What this spec comes to, with what must pass whatever is wanted.
    pub(super) fn expand(
        &mut self,
        input: &Input,
        spec: &IpsecNodeStateSpec,
        capabilities: &Capabilities,
    ) -> (Wanted, Arc<Expanded>) {
        let (node, keys) = (&self.node, Some(&self.keys));
        let mut fresh = expand_again(node, spec, &input.peers, keys, capabilities, &mut self.opened);
        self.senders.follow(node, spec, &mut fresh);
        self.offloading.place(&mut fresh);
        let ports = Wants::of(&fresh.wanted);
        let (wanted, exempt) = exempted(node, input, fresh.wanted);
        self.exempt = exempt;
        self.boot.note(&wanted.policies);
        (wanted, Arc::new(Expanded { problems: fresh.problems, ports }))
    }

    pub(super) fn keep_thresholds(&mut self, turn: &mut Turn<'_>) -> Result<(), KernelError> {
        if std::mem::take(&mut turn.settings_are_open) {
            self.settings.keep_thresholds(turn.kernel, &self.engine)?;
        }
        Ok(())
    }

    /// Brings the kernel to what the engine wants.
    pub(super) fn write(&mut self, turn: &mut Turn<'_>) -> Result<Outcome, KernelError> {
        let audit = std::mem::take(&mut turn.audit);
        let keep = |writing: &Writing| self.numbers.write(writing);
        recorded_pass(turn.kernel, &self.node, &mut self.engine, audit, &keep)
    }

    /// What is done last, once nothing else is to be written: blocking what no policy covers, and closing ports.
    pub(super) fn finish(
        &mut self,
        input: &Input,
        wants: &Wants,
        turn: &mut Turn<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), KernelError> {
        if input.block
            && let Err(why) = self.settings.block(turn.kernel, &self.engine, &self.exempt)?
        {
            outcome.in_sync = false;
            outcome.problems.push(not_blocked(&self.node, &why));
        }
        if outcome.in_sync {
            wants.close(self.ports.as_mut());
        }
        Ok(())
    }
}
