//! The parts without a kernel.

use std::borrow::Borrow;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use esplanade_diff::diff;
use esplanade_model::{Observed, Op, Reader, Recognised, Wanted};
use esplanade_sync::{Engine, ToRead};
use esplanade_xfrm::wire::batch::{Datagram, Limits};
use esplanade_xfrm::wire::{Decode, Dumped, Glancer, Observer, PolicyRecord, Request, SaRecord, encode};
use netlink_packet_xfrm::constants::XFRM_MSG_NEWSA;

use crate::world::{from_nothing, shown, wanted, with_one_changed};

/// One part of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Records of a dump taken in where nothing changed.
    Recognise,
    /// The whole `diff` with everything in place, which an incremental pass does without.
    Diff,
    /// A new wanted state, made by copying one, compared with the one before: one SA has other keys.
    Want,
    /// What is to be done, after one SA changed.
    Plan,
    /// Everything is wanted, nothing is there: what is to be done, to datagrams.
    Program,
    /// Nothing is wanted any more: all that goes, to datagrams.
    Remove,
    /// Operations to datagrams, from nothing.
    Encode,
    /// Records to what they show. The records are our own requests: a dump's have a few attributes more.
    Decode,
}

impl Part {
    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recognise => "recognise",
            Self::Diff => "diff",
            Self::Want => "want",
            Self::Plan => "plan",
            Self::Program => "program",
            Self::Remove => "remove",
            Self::Encode => "encode",
            Self::Decode => "decode",
        }
    }
}

/// What the parts work on.
pub struct Pure {
    wanted: Wanted,
    observed: Observed,
    engine: Engine,
    glancer: Glancer,
    ops: Vec<Op>,
    requests: Vec<Request>,
    datagram: Datagram,
    turn: u32,
}

impl Pure {
    /// For `n` SAs with their policies.
    ///
    /// # Errors
    /// `n` is out of bounds.
    pub fn new(n: u32) -> Result<Self> {
        let wanted = wanted(n)?;
        let ops = from_nothing(&wanted);
        let observed = shown(&ops);
        let requests: Vec<_> = ops.iter().map(encode).collect();
        let mut engine = Engine::default();
        engine.want(wanted.clone());
        let datagram = Datagram::new(Limits::LARGEST, 0);
        let mut pure =
            Self { wanted, observed, engine, glancer: Glancer::default(), ops, requests, datagram, turn: 0 };
        let decoded = pure.read()?;
        ensure!(decoded == pure.requests.len() && pure.engine.in_sync(), "not what was wanted");
        Ok(pure)
    }

    /// Everything is read as from a dump; how much of it was decoded.
    fn read(&mut self) -> Result<usize> {
        let to_read = self.engine.begin(Duration::ZERO, true);
        ensure!(to_read == ToRead::Everything, "not everything");
        let mut decoded = 0;
        let is_sa = |request: &Request| request.message_type == XFRM_MSG_NEWSA;
        self.engine.begin_sas();
        for request in self.requests.iter().filter(|request| is_sa(request)) {
            let glance = self.glancer.sa(&request.body);
            if self.engine.glance_at_sa(glance) == Recognised::No {
                self.engine.sa(glance, SaRecord::decode(&request.body)?);
                decoded += 1;
            }
        }
        self.engine.begin_policies();
        for request in self.requests.iter().filter(|request| !is_sa(request)) {
            let glance = self.glancer.policy(&request.body);
            if !self.engine.glance_at_policy(glance) {
                self.engine.policy(glance, PolicyRecord::decode(&request.body)?);
                decoded += 1;
            }
        }
        self.engine.end_reading(&to_read);
        Ok(decoded)
    }

    /// Does a part once; the time it took.
    ///
    /// # Errors
    /// Something else came out than should.
    pub fn run(&mut self, part: Part) -> Result<Duration> {
        self.turn += 1;
        match part {
            Part::Recognise => {
                let start = Instant::now();
                let decoded = self.read()?;
                let took = start.elapsed();
                ensure!(decoded == 0 && self.engine.in_sync(), "something new where nothing is");
                Ok(took)
            }
            Part::Diff => {
                let start = Instant::now();
                let plan = diff(&self.wanted, &self.observed);
                let took = start.elapsed();
                ensure!(plan.is_empty(), "a difference where there is none");
                Ok(took)
            }
            Part::Want => {
                let changed = with_one_changed(self.wanted.clone(), self.turn)?;
                let start = Instant::now();
                self.engine.want(changed);
                let took = start.elapsed();
                ensure!(!self.engine.in_sync(), "no difference where there is one");
                Ok(took)
            }
            Part::Plan => {
                let (_, first) = self.wanted.sas.first().map(|sa| (sa.0.clone(), sa.1.clone())).unzip();
                let Some(first) = first else { anyhow::bail!("no SAs") };
                let (id, mark) = (first.sa().id(), first.sa().mark);
                let start = Instant::now();
                self.engine.unwant_sa(id);
                let plan = self.engine.plan();
                let ops: Vec<_> = self.engine.ops(&plan, Duration::ZERO).collect();
                let took = start.elapsed();
                ensure!(ops == [Op::DeleteSa(id, mark)], "{ops:?}");
                self.engine.want_sa("again".to_owned(), first);
                Ok(took)
            }
            Part::Program => {
                let wanted = self.wanted.clone();
                let start = Instant::now();
                let mut engine = Engine::default();
                engine.want(wanted);
                let to_read = engine.begin(Duration::ZERO, false);
                engine.end_reading(&to_read);
                let plan = engine.plan();
                engine.reserve(&plan, Duration::ZERO);
                engine.record_senders(|_| Ok::<_, std::convert::Infallible>(()))?;
                let added = encode_all(&mut self.datagram, engine.ops(&plan, Duration::ZERO))?;
                let took = start.elapsed();
                ensure!(added == self.ops.len(), "{added} operations");
                Ok(took)
            }
            Part::Remove => {
                let start = Instant::now();
                self.engine.want(Wanted::default());
                let plan = self.engine.plan();
                let removed = encode_all(&mut self.datagram, self.engine.ops(&plan, Duration::ZERO))?;
                let took = start.elapsed();
                ensure!(removed == self.ops.len(), "{removed} operations");
                self.engine.want(self.wanted.clone());
                self.read()?;
                Ok(took)
            }
            Part::Encode => {
                let start = Instant::now();
                encode_all(&mut self.datagram, self.ops.iter())?;
                let took = start.elapsed();
                ensure!(!self.datagram.is_empty(), "no bytes");
                Ok(took)
            }
            Part::Decode => {
                let start = Instant::now();
                let mut observer = Observer::default();
                for request in &self.requests {
                    let sa = request.message_type == XFRM_MSG_NEWSA;
                    observer.record(if sa { Dumped::Sas } else { Dumped::Policies }, &request.body)?;
                }
                let observed = observer.finish();
                let took = start.elapsed();
                ensure!(observed == self.observed, "records that show something else");
                Ok(took)
            }
        }
    }
}

/// Encodes operations into one datagram after the other; how many.
fn encode_all<O: Borrow<Op>>(datagram: &mut Datagram, ops: impl Iterator<Item = O>) -> Result<usize> {
    let mut count = 0;
    datagram.begin(1);
    for op in ops {
        if !datagram.operation(op.borrow())? {
            datagram.begin(1);
            ensure!(datagram.operation(op.borrow())?, "no room in an empty datagram");
        }
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::{Part, Pure};

    #[test]
    fn every_part_does_its_work() {
        for part in Part::value_variants() {
            let mut pure = Pure::new(21).unwrap();
            for _ in 0..3 {
                pure.run(*part).unwrap();
            }
        }
    }
}
