//! One pass over the kernel: dump, diff, apply, dump again.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use esplanade_crds::conditions::reason;
use esplanade_crds::{Counts, Problem, ProblemKind};
use esplanade_diff::{Diff, Memory, Step, diff};
use esplanade_model::{Observed, Wanted};
use esplanade_xfrm::{Kernel, KernelError};

mod words;

/// What a pass came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// What could not be done, by object, at most one for each.
    pub problems: Vec<Problem>,
    /// What is in the kernel now.
    pub counts: Counts,
    /// Operations that the kernel was asked for.
    pub operations: usize,
    /// The kernel has all of what is wanted that foreign SAs and policies leave room for.
    pub in_sync: bool,
}

/// Makes the kernel of `node` hold what is wanted. With nothing to write it is one dump, else two: the second one shows
/// what the kernel made of it.
///
/// # Errors
/// The kernel could not be asked; what of it was done isn't known.
pub fn pass(
    kernel: &mut dyn Kernel,
    node: &str,
    wanted: &Wanted,
    memory: &mut Memory,
) -> Result<Outcome, KernelError> {
    let began = uptime();
    let observed = kernel.dump()?;
    memory.learn(&observed, began);
    let mut plan = diff(wanted, &observed);
    memory.restore(&mut plan, uptime());
    if plan.is_empty() {
        let problems = by_object(plan.conflicts);
        return Ok(Outcome { problems, counts: counts(&observed), operations: 0, in_sync: true });
    }

    let refused = apply(kernel, node, &plan)?;
    let began = uptime();
    let observed = kernel.dump()?;
    memory.learn(&observed, began);
    let left = diff(wanted, &observed);
    let in_sync = left.is_empty();
    let mut problems = left.conflicts;
    problems.extend(refused);
    problems.extend(left.steps.iter().map(|step| unchanged(node, step)));
    let operations = plan.steps.len();
    Ok(Outcome { problems: by_object(problems), counts: counts(&observed), operations, in_sync })
}

/// The time since the first call.
fn uptime() -> Duration {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    FIRST.elapsed()
}

/// What the kernel refused, in its own words.
fn apply(kernel: &mut dyn Kernel, node: &str, plan: &Diff) -> Result<Vec<Problem>, KernelError> {
    let ops: Vec<_> = plan.steps.iter().map(|step| step.op.clone()).collect();
    let results = kernel.apply(&ops)?;
    let refused = plan.steps.iter().zip(results).filter_map(|(step, result)| Some((step, result.err()?)));
    Ok(refused.map(|(step, refusal)| problem(node, step, &refusal.to_string())).collect())
}

/// A difference that is left after the operations: without a refusal the kernel took the operation for something else.
fn unchanged(node: &str, step: &Step) -> Problem {
    problem(node, step, "the kernel accepted it, and shows something else")
}

fn problem(node: &str, step: &Step, what: &str) -> Problem {
    let (kind, name) = match &step.object {
        Some(object) => (object.kind, object.name.clone()),
        None => (ProblemKind::Node, node.to_owned()),
    };
    let message = format!("{}: {what}", words::op(&step.op));
    Problem { kind, name, category: reason::KERNEL_ERROR.to_owned(), message }
}

/// One problem for each object, the first: a policy is many entries in the kernel, and one kind of trouble with it is
/// the same with all of them. What is left to do because it was refused isn't told again.
fn by_object(problems: Vec<Problem>) -> Vec<Problem> {
    let mut objects: BTreeMap<(ProblemKind, String), Problem> = BTreeMap::new();
    for problem in problems {
        objects.entry((problem.kind, problem.name.clone())).or_insert(problem);
    }
    objects.into_values().collect()
}

fn counts(observed: &Observed) -> Counts {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Counts {
        security_associations: number(observed.sas.len()),
        policies: number(observed.policies.len()),
        foreign_security_associations: number(observed.foreign_sa_count),
        foreign_policies: number(observed.foreign_policy_count),
    }
}

#[cfg(test)]
mod tests;
