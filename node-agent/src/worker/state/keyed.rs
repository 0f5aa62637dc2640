//! A pass with automatic keys.

use std::sync::Arc;

use esplanade_crds::Phase;
use esplanade_keying::Time;
use esplanade_model::Wanted;

use super::{Expanded, PassError, State, Turn};
use crate::desired::Input;
use crate::host;
use crate::keying::of_policy;
use crate::pass::{Outcome, read_everything};

/// What is wanted with automatic keys follows from what is there: so many passes follow on each other at once. More are
/// made after a moment.
const ROUNDS: usize = 8;

/// What an input of this version comes to with policies in these phases, but for the SAs of automatic keys.
pub(super) struct Base {
    version: u64,
    phases: Vec<Phase>,
    wanted: Wanted,
    expanded: Arc<Expanded>,
}

impl State {
    /// What automatic keys want of the kernel, until they want nothing more.
    pub(super) fn keyed_pass(&mut self, input: &Input, turn: &mut Turn<'_>) -> Result<Outcome, PassError> {
        if !self.keying.runs(input) && self.keying.can_start(input) {
            read_everything(turn.kernel, &mut self.engine)?;
            let now = Time(host::since_boot()?);
            self.keying.start(input, &self.keys, &self.engine, turn.capabilities, now);
        }
        self.keying.take(input, &self.keys, turn.capabilities, Time(host::since_boot()?));
        let mut total = Outcome::default();
        for _ in 0..ROUNDS {
            self.keying.save()?;
            let (spec, shape) = (self.keying.spec(&input.spec), self.keying.shape(&input.spec));
            let phases: Vec<Phase> = spec.policies.iter().map(|policy| policy.phase).collect();
            let base = match self.base.take() {
                Some(base) if base.version == input.version && base.phases == phases => base,
                _ => {
                    let (wanted, expanded) = self.expand(input, &spec, turn.capabilities);
                    turn.settings_are_open = true;
                    Base { version: input.version, phases, wanted, expanded }
                }
            };
            let (mut wanted, expanded) = (base.wanted.clone(), Arc::clone(&base.expanded));
            self.base = Some(base);
            let of_keys = self.keying.want(input, &self.engine, turn.capabilities, &mut wanted);
            self.engine.want(wanted);
            self.spis.fill(turn.kernel, &mut self.engine)?;
            self.keep_thresholds(turn)?;
            let closed = expanded.ports.open(self.ports.as_mut());
            self.keying.intend(&spec, &input.peers)?;
            let result = self.write(turn);
            self.keying.passed(&mut self.engine, &spec, &input.peers, result.is_ok());
            let outcome = result?;
            let before = input.problems.iter().chain(&expanded.problems).cloned().chain(of_keys);
            let now = outcome.problems.into_iter().filter_map(of_policy);
            let all_open = closed.is_empty();
            total = Outcome {
                problems: before.chain(now).chain(closed).collect(),
                operations: total.operations + outcome.operations,
                surprises: total.surprises + outcome.surprises,
                losses: outcome.losses,
                ..outcome
            };
            // Whoever deletes SAs goes on with policies: first what others did meanwhile, then new keys.
            if self.keying.shape(&input.spec) == shape || !outcome.losses.is_empty() {
                self.keying.save()?;
                self.finish(input, &expanded.ports, turn, &mut total)?;
                total.in_sync &= all_open;
                return Ok(total);
            }
        }
        Ok(Outcome { in_sync: false, ..total })
    }
}
