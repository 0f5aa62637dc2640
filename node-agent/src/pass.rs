//! One pass over the kernel: read what may have changed, write, read back what was written.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use esplanade_crds::conditions::reason;
use esplanade_crds::{Counts, Problem, ProblemKind};
use esplanade_diff::exhausted::is_exhausted;
use esplanade_diff::{Object, Writing};
use esplanade_model::{Op, SaId, WantedSa};
use esplanade_sync::{Engine, Losses, Name, Plan, ToRead};
use esplanade_xfrm::{Databases, KernelError};

use crate::host;
use crate::state_file::FileError;

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
    /// How much of what the last audit found no event has told of: the kernel lost some, or we did.
    pub surprises: usize,
    /// What it found away that somebody else must have deleted.
    pub losses: Losses,
}

/// Keeps the record of how far senders have come.
pub(crate) type Keep<'a> = &'a dyn Fn(&Writing) -> Result<(), FileError>;

/// Makes the kernel of `node` hold what is wanted. Only what may have changed is read, everything if it is not known or to
/// be audited; with nothing to write that is all, else what was written is read back. Nothing is recorded.
///
/// # Errors
/// The kernel could not be asked; what of it was done isn't known. The engine knows that it doesn't.
pub fn pass(
    kernel: &mut dyn Databases,
    node: &str,
    engine: &mut Engine,
    audit: bool,
) -> Result<Outcome, KernelError> {
    recorded_pass(kernel, node, engine, audit, &|_| Ok(()))
}

/// [`pass`], with a record of senders before they are made. One that can't be recorded isn't made.
pub(crate) fn recorded_pass(
    kernel: &mut dyn Databases,
    node: &str,
    engine: &mut Engine,
    audit: bool,
    keep: Keep<'_>,
) -> Result<Outcome, KernelError> {
    let outcome = try_pass(kernel, node, engine, audit, keep);
    engine.end_pass();
    if outcome.is_err() {
        engine.distrust();
    }
    outcome
}

fn try_pass(
    kernel: &mut dyn Databases,
    node: &str,
    engine: &mut Engine,
    audit: bool,
    keep: Keep<'_>,
) -> Result<Outcome, KernelError> {
    let surprises = engine.surprises();
    let to_read = engine.begin(uptime(), audit);
    read(kernel, engine, &to_read)?;
    let moved = make_moves(kernel, engine)?;
    let plan = engine.plan();
    let operations = if plan.is_empty() { moved } else { moved + write(kernel, engine, plan, keep)? };
    let make = |object: Option<Object>, what: &str| {
        let (kind, name) = match object {
            Some(object) => (object.kind, object.name),
            None => (ProblemKind::Node, node.to_owned()),
        };
        Problem { kind, name, category: reason::KERNEL_ERROR.to_owned(), message: what.to_owned() }
    };
    let problems = by_object(engine.problems(epoch(), make));
    let (counts, in_sync, losses) = (engine.counts(), engine.in_sync(), engine.take_losses());
    Ok(Outcome { problems, counts, operations, in_sync, surprises, losses })
}

/// Reads everything, and changes nothing.
///
/// # Errors
/// The kernel could not be asked.
pub(crate) fn read_everything(kernel: &mut dyn Databases, engine: &mut Engine) -> Result<(), KernelError> {
    engine.distrust();
    let to_read = engine.begin(uptime(), false);
    read(kernel, engine, &to_read)
}

fn read(kernel: &mut dyn Databases, engine: &mut Engine, to_read: &ToRead) -> Result<(), KernelError> {
    match to_read {
        ToRead::Everything => kernel.read(engine)?,
        ToRead::Only(sas, policies) if sas.is_empty() && policies.is_empty() => {}
        ToRead::Only(sas, policies) => kernel.look_up(sas, policies, engine)?,
    }
    engine.end_reading(to_read);
    Ok(())
}

/// Lets SAs and templates move that are there between other addresses than wanted; how many operations it took. What the
/// kernel refuses to move is left as it is, for the plan to replace.
fn make_moves(kernel: &mut dyn Databases, engine: &mut Engine) -> Result<usize, KernelError> {
    let moves = engine.moves();
    if moves.ops.is_empty() {
        return Ok(0);
    }
    let count = moves.ops.len();
    let refusals = kernel.carry_out(&mut moves.ops.iter().cloned())?;
    for (at, refusal) in &refusals {
        if let Some(op) = moves.ops.get(*at) {
            tracing::info!("{}: {refusal}: replacing them instead", words::op(op));
        }
    }
    let to_read = engine.begin_reading_moved(uptime(), &moves);
    read(kernel, engine, &to_read)?;
    Ok(count)
}

/// Carries the plan out and reads back what became of it; how many operations it took.
fn write(
    kernel: &mut dyn Databases,
    engine: &mut Engine,
    mut plan: Plan,
    keep: Keep<'_>,
) -> Result<usize, KernelError> {
    let begin = uptime();
    let mut left_out = Vec::new();
    let senders = engine.reserve(&plan, begin);
    if !senders.is_empty()
        && let Err(error) = engine.record_senders(keep)
    {
        plan.leave_out(&senders);
        let text = format!("not made, since how far it has come can't be recorded: {error}");
        left_out = senders.into_iter().map(|name| (name, text.clone())).collect();
    }
    left_out.iter().for_each(|(name, _)| engine.refused(name));
    let mut ops = engine.ops(&plan, begin);
    let refusals = kernel.carry_out(&mut ops)?;
    let operations = ops.made();
    // What the kernel refused, in its own words; the first where it is several about one.
    let mut said = BTreeMap::new();
    let mut exhausted = Vec::new();
    for (at, refusal) in refusals {
        let Some((name, number)) = ops.about(at) else { continue };
        let op = engine.operation(&name, number);
        // One that goes on from its last extended sequence number is refused where its direction is known.
        exhausted.extend(op.as_ref().and_then(at_its_end));
        said.entry(name).or_insert_with(|| text(op.as_ref(), &refusal.to_string()));
    }
    exhausted.into_iter().for_each(|id| engine.note_exhausted(id));
    let (refused, written): (Vec<Name>, Vec<Name>) =
        plan.names().iter().partition(|name| said.contains_key(name));
    refused.iter().for_each(|name| engine.refused(name));
    engine.written(&written, begin);
    let to_read = engine.begin_reading_back(uptime(), plan.names());
    read(kernel, engine, &to_read)?;
    // Without a refusal the kernel took the operation for something else.
    for name in plan.names() {
        if engine.is_wrong(name) && !said.contains_key(name) {
            let op = engine.operation(name, 0);
            said.insert(*name, text(op.as_ref(), "the kernel accepted it, and shows something else"));
        }
    }
    said.into_iter().chain(left_out).for_each(|(name, text)| engine.say(name, text));
    Ok(operations)
}

/// The SA that is made where it has no sequence numbers left.
fn at_its_end(op: &Op) -> Option<SaId> {
    match op {
        Op::AddOutbound { sa, state: Some(state), .. } => {
            let wanted = WantedSa::Outbound(sa.clone());
            is_exhausted(&wanted, state.sent).then(|| sa.0.id())
        }
        _ => None,
    }
}

fn text(op: Option<&Op>, what: &str) -> String {
    match op {
        Some(op) => format!("{}: {what}", words::op(op)),
        None => what.to_owned(),
    }
}

/// Seconds since 1970.
fn epoch() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The time since boot, without what the machine was suspended since the first call. Other processes of this boot count from
/// the same moment.
pub(crate) fn uptime() -> Duration {
    static FIRST: LazyLock<(Instant, Duration)> = LazyLock::new(|| {
        let since_boot = host::since_boot();
        // Without it what others recorded is of a time to come, which is as good as nothing known.
        (Instant::now(), since_boot.map(Duration::from_millis).unwrap_or_default())
    });
    FIRST.1 + FIRST.0.elapsed()
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

#[cfg(test)]
mod tests;
