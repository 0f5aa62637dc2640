//! SPIs that the kernel chose, for SAs that come in here without one.
//!
//! What was chosen stays as long as the SA is wanted. An agent that starts takes up what the one before it has reported
//! since the node booted: senders go by that. What wasn't reported yet nobody sends under.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use esplanade_crds::conditions::reason;
use esplanade_crds::{AllocatedSpi, IpsecNodeStateSpec, NodeSecurityAssociation, Problem, ProblemKind};
use esplanade_expand::unnumbered;
use esplanade_model::{Capabilities, Mark, Op, SaId, Spi};
use esplanade_sync::{Engine, Name};
use esplanade_xfrm::{Databases, Kernel, KernelError};

use crate::pass::uptime;

/// What was chosen so far.
#[derive(Debug, Default)]
pub(crate) struct Spis {
    chosen: BTreeMap<String, Spi>,
    /// What earlier agents reported was taken up.
    took_up: bool,
    /// Larval SAs, which the kernel keeps the SPIs by that were just chosen.
    larval: Vec<(String, SaId, Mark)>,
}

impl Spis {
    /// Has the kernel choose what is missing. `reported`: by agents of this node since it booted. What it refused.
    ///
    /// # Errors
    /// It could not be asked.
    pub(crate) fn choose(
        &mut self,
        kernel: &mut dyn Kernel,
        node: &str,
        spec: &IpsecNodeStateSpec,
        reported: &[AllocatedSpi],
        capabilities: &Capabilities,
    ) -> Result<Vec<Problem>, KernelError> {
        if !std::mem::replace(&mut self.took_up, true) {
            let spis = reported.iter().filter_map(|one| Some((one.name.clone(), Spi::new(one.spi)?)));
            self.chosen.extend(spis);
        }
        // No SA took their places: the kernel lets them go, and nobody was told of them.
        for (name, ..) in std::mem::take(&mut self.larval) {
            self.chosen.remove(&name);
        }
        let wanted = unnumbered(node, spec, capabilities);
        let names: BTreeSet<_> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        self.chosen.retain(|name, _| names.contains(name.as_str()));
        let mut problems = Vec::new();
        for (name, sa) in &wanted {
            if self.chosen.contains_key(name) {
                continue;
            }
            match kernel.allocate_spi(sa)? {
                Ok(spi) => {
                    self.chosen.insert(name.clone(), spi);
                    self.larval.push((name.clone(), sa.id(spi), sa.mark));
                }
                Err(refusal) => problems.push(Problem {
                    kind: ProblemKind::IpsecSA,
                    name: name.clone(),
                    category: reason::KERNEL_ERROR.to_owned(),
                    message: format!("choosing an SPI: {refusal}"),
                }),
            }
        }
        Ok(problems)
    }

    /// The spec with what was chosen; without SAs that nothing could be chosen for.
    pub(crate) fn number(&self, node: &str, spec: &Arc<IpsecNodeStateSpec>) -> Arc<IpsecNodeStateSpec> {
        let open = |sa: &NodeSecurityAssociation| {
            sa.spi.is_none() && sa.expired.is_none() && sa.destination.node.as_deref() == Some(node)
        };
        if !spec.security_associations.iter().any(open) {
            return Arc::clone(spec);
        }
        let mut numbered = IpsecNodeStateSpec::clone(spec);
        numbered.security_associations.retain_mut(|sa| {
            if open(sa) {
                sa.spi = self.chosen.get(&sa.name).map(|spi| spi.get());
                return sa.spi.is_some();
            }
            true
        });
        Arc::new(numbered)
    }

    /// Puts the SAs that the engine wants in the places of the larval ones. Those that can't be had leave none behind: then
    /// it is as with any SA.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub(crate) fn fill(
        &mut self,
        kernel: &mut dyn Databases,
        engine: &mut Engine,
    ) -> Result<(), KernelError> {
        if self.larval.is_empty() {
            return Ok(());
        }
        let now = uptime();
        let let_go = |(_, id, mark): &(String, SaId, Mark)| Op::DeleteSa(*id, *mark);
        let mut ops = Vec::new();
        for larval in &self.larval {
            ops.push(engine.filling(larval.1, now).unwrap_or_else(|| let_go(larval)));
        }
        let results = kernel.apply(&ops)?;
        let mut refused = Vec::new();
        for ((larval, op), result) in self.larval.iter().zip(&ops).zip(results) {
            match (op, result) {
                (Op::FillSa { .. }, Ok(())) => engine.written(&[Name::Sa(larval.1)], now),
                (Op::FillSa { .. }, Err(refusal)) => {
                    tracing::info!("filling the larval {}: {refusal}", larval.1);
                    refused.push(let_go(larval));
                }
                _ => {}
            }
        }
        kernel.apply(&refused)?;
        self.larval.clear();
        Ok(())
    }

    /// What was chosen, for the status.
    pub(crate) fn allocated(&self) -> Vec<AllocatedSpi> {
        let all = self.chosen.iter();
        all.map(|(name, spi)| AllocatedSpi { name: name.clone(), spi: spi.get() }).collect()
    }
}

#[cfg(test)]
mod tests;
