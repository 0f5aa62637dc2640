//! What somebody else has deleted of the node's SAs and policies, and what that cost: told in the status.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use esplanade_sync::Losses;
use jiff::Timestamp;

/// Packets that the kernel has dropped since it booted, by its own names (`/proc/net/xfrm_stat`).
pub(crate) type Dropped = BTreeMap<String, u64>;

/// It is told once nothing has happened for so long: who flushes everything does it in two steps, and what was on its way
/// meanwhile is dropped a little later.
const SETTLED: Duration = Duration::from_secs(1);
/// What comes within this time after the last is the same disturbance.
const SAME: Duration = Duration::from_secs(30);

/// What was counted within this time isn't counted anew as long as nothing happens: passes may follow closely on each other,
/// and the kernel adds up the counters of all CPUs each time.
const FRESH: Duration = Duration::from_secs(1);

/// Others have deleted something that was ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disturbance {
    /// When that was noticed first.
    pub first: Timestamp,
    /// And last.
    pub last: Timestamp,
    /// How much, each time that something was gone counted.
    pub losses: Losses,
    /// The longest that it took from then until the kernel was as it should be; none if it isn't yet.
    pub back: Option<Duration>,
    /// What no policy covers isn't dropped at this node.
    pub open: bool,
    /// When packets were counted, and how many were dropped in between; none where the kernel doesn't count.
    pub dropped: Option<(Timestamp, Timestamp, Dropped)>,
}

/// A moment: since boot, and the time of day.
pub(crate) type Moment = (Duration, Timestamp);

/// What passes found away.
#[derive(Debug, Default)]
pub(crate) struct Disturbances {
    /// The packets dropped before anything happened.
    before: Option<(Moment, Dropped)>,
    current: Option<Disturbance>,
    /// When it was noticed that something is away, as long as that is so.
    away: Option<Duration>,
    /// When something happened last: more was found away, or all was back.
    changed: Duration,
    /// That isn't told yet.
    untold: bool,
    told: Option<Disturbance>,
}

impl Disturbances {
    /// A pass `began` and has just `ended`, found something away, and has left everything as it should be or not. `dropped`: up
    /// to now, asked where it counts.
    pub(crate) fn passed(
        &mut self,
        (began, ended): (Moment, Moment),
        losses: Losses,
        in_sync: bool,
        open: bool,
        dropped: impl Fn() -> Option<Dropped>,
    ) {
        if !losses.is_empty() {
            self.lost(began, losses, open);
        }
        if in_sync
            && let Some(since) = self.away.take()
            && let Some(current) = &mut self.current
        {
            current.back = current.back.max(Some(ended.0.saturating_sub(since)));
            (self.changed, self.untold) = (ended.0, true);
        }
        self.looked(ended, dropped);
    }

    fn lost(&mut self, (at, time): Moment, losses: Losses, open: bool) {
        let new = Disturbance { first: time, last: time, losses, back: None, open, dropped: None };
        match &mut self.current {
            Some(current) => {
                current.last = time;
                current.losses.sas += losses.sas;
                current.losses.policies += losses.policies;
                current.open |= open;
            }
            None => self.current = Some(new),
        }
        self.away.get_or_insert(at);
        (self.changed, self.untold) = (at, true);
    }

    /// So many packets have been `dropped` by now; asked where it counts.
    pub(crate) fn looked(&mut self, (now, time): Moment, dropped: impl Fn() -> Option<Dropped>) {
        let ago = now.saturating_sub(self.changed);
        if let Some(current) = &mut self.current {
            if self.untold && ago >= SETTLED {
                let counts = self.before.as_ref().zip(dropped());
                current.dropped = counts.map(|(((_, from), before), now)| (*from, time, more(before, &now)));
                let back = current.back.filter(|_| self.away.is_none());
                self.told = Some(Disturbance { back, ..current.clone() });
                self.untold = false;
            }
            if self.untold || self.away.is_some() || ago < SAME {
                return;
            }
        }
        self.current = None;
        let fresh = self.before.as_ref().is_some_and(|((at, _), _)| now.saturating_sub(*at) < FRESH);
        if !fresh {
            self.before = dropped().map(|dropped| ((now, time), dropped));
        }
    }

    /// What there is to tell: the last one.
    pub(crate) fn told(&self) -> Option<&Disturbance> {
        self.told.as_ref()
    }

    /// After how long there will be more to tell.
    pub(crate) fn due(&self, now: Duration) -> Option<Duration> {
        self.untold.then(|| (self.changed + SETTLED).saturating_sub(now))
    }
}

/// What was added to the counters.
fn more(before: &Dropped, now: &Dropped) -> Dropped {
    let more = now.iter().map(|(name, count)| {
        (name.clone(), count.saturating_sub(before.get(name).copied().unwrap_or_default()))
    });
    more.filter(|(_, count)| *count > 0).collect()
}

/// The counters in what `/proc/net/xfrm_stat` says.
pub(crate) fn counters(text: &str) -> Dropped {
    let counter = |line: &str| {
        let (name, value) = line.split_once(char::is_whitespace)?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(counter).collect()
}

/// For a condition's message and the log.
impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, losses: Losses { sas, policies }, back, open, dropped } = self;
        write!(
            f,
            "somebody else deleted {} and {}",
            counted(*sas, "SA", "SAs"),
            counted(*policies, "policy", "policies")
        )?;
        match first == last {
            true => write!(f, " at {first:.0}")?,
            false => write!(f, " between {first:.3} and {last:.3}")?,
        }
        match back {
            Some(back) => write!(f, "; all was back within {} ms of the agent's noticing", back.as_millis())?,
            None => write!(f, "; not all is back")?,
        }
        match dropped {
            Some((from, until, dropped)) => {
                let sum: u64 = dropped.values().sum();
                write!(
                    f,
                    ". From {from:.0} to {until:.0} the kernel dropped {}",
                    counted(sum, "packet", "packets")
                )?;
                let each: Vec<String> =
                    dropped.iter().map(|(name, count)| format!("{name} {count}")).collect();
                if !each.is_empty() {
                    write!(f, " ({})", each.join(", "))?;
                }
            }
            None => write!(
                f,
                ". How many packets were dropped isn't known: the kernel doesn't count them (CONFIG_XFRM_STATISTICS)"
            )?,
        }
        if *open && *policies > 0 {
            write!(
                f,
                ". Packets of policies that were away may have gone in the clear, which nothing counts: \
                 nodeAgent.defaultAction: Block prevents that"
            )?;
        }
        Ok(())
    }
}

fn counted<N: fmt::Display + PartialEq + From<u8>>(count: N, one: &str, many: &str) -> String {
    let noun = if count == N::from(1) { one } else { many };
    format!("{count} {noun}")
}

#[cfg(test)]
mod tests;
