//! What is read, taken in.

use esplanade_diff::{Found, Verdict, policies, sas};
use esplanade_model::{
    Glance, ObservedPolicy, ObservedSa, PolicyKey, PolicyRecord, Reader, Recognised, ReplayState,
    SaDirection, SaId, SaRecord, Used, WantedSa,
};

use crate::engine::{Engine, PolicyThere, SaThere};
use crate::plan::Name;
use crate::table::Seen;

impl Reader for Engine {
    fn begin_sas(&mut self) {
        // Each has to be judged anew, once it is the only one.
        for id in std::mem::take(&mut self.ambiguous) {
            self.sas.doubt(&id);
        }
        self.sas.begin();
    }

    fn begin_policies(&mut self) {
        self.policies.begin();
    }

    fn glance_at_sa(&mut self, glance: Glance) -> Recognised {
        match self.sas.glance(glance) {
            Seen::Unknown => Recognised::No,
            Seen::Same(there) => {
                if let SaThere::Ours { at, .. } = there {
                    *at = self.now;
                }
                Recognised::Same
            }
            Seen::Counted(name, SaThere::Ours { at, .. }) => {
                *at = self.now;
                self.counting = name;
                Recognised::Counted
            }
            Seen::Counted(..) => Recognised::Same,
        }
    }

    fn glance_at_policy(&mut self, glance: Glance) -> bool {
        !matches!(self.policies.glance(glance), Seen::Unknown)
    }

    fn sa_counted(&mut self, state: ReplayState, used: Used) {
        if let Some(id) = self.counting.take() {
            self.note_sent(id, state.sent);
            // Put back within the second that it was added in: else it wouldn't be recognised.
            let put_back = self.memory.state(id).is_some_and(|before| before.sent > state.sent);
            if put_back
                && let Some(WantedSa::Outbound(_)) = self.want.sa(&id)
                && let Some(before) = self.memory.last(id)
            {
                let observed = ObservedSa { state: state.clone(), used, ..before };
                self.wrong_sas.entry(id).or_insert(Some(Box::new(observed)));
            }
            self.memory.count(id, state, used, self.now);
        }
    }

    fn sa(&mut self, glance: Glance, record: SaRecord) {
        let name = record.name();
        if let Some(id) = name.filter(|id| self.sas.is_read(id)) {
            let ours = matches!(record, SaRecord::Ours(_))
                || matches!(self.sas.get(&id), Some(SaThere::Ours { .. }));
            if ours {
                self.ambiguous.insert(id);
            }
        }
        match record {
            SaRecord::Ours(observed) => self.own_sa(glance, observed),
            SaRecord::Foreign(name) => {
                self.suspect(name.map(Name::Sa), glance);
                self.put_sa(name, glance, SaThere::Foreign);
                if let Some(id) = name {
                    self.settle_sa(&id);
                    if self.want.sas.contains(&id) {
                        self.conflict(Name::Sa(id));
                    }
                }
            }
            SaRecord::Larval | SaRecord::OfKernel => self.put_sa(None, glance, SaThere::Larval),
        }
        if let Some(id) = name.filter(|id| self.ambiguous.contains(id)) {
            self.settle_sa(&id);
            if self.want.sas.contains(&id) {
                self.conflict(Name::Sa(id));
            }
        }
    }

    fn policy(&mut self, glance: Glance, record: PolicyRecord) {
        match record {
            PolicyRecord::Ours(observed) => self.own_policy(glance, &observed),
            PolicyRecord::Foreign { index, key } => {
                self.suspect(key.map(Name::Policy), glance);
                self.put_policy(key, glance, PolicyThere::Foreign(index));
                if let Some(key) = key {
                    self.settle_policy(&key);
                    if self.want.policies.contains(&key) {
                        self.conflict(Name::Policy(key));
                    }
                }
            }
            PolicyRecord::OfSocket => self.put_policy(None, glance, PolicyThere::OfSocket),
        }
    }

    fn no_sa(&mut self, id: SaId) {
        if let Some(there) = self.sas.remove(&id) {
            self.count_lost_sa(&id, there);
            self.sa_left(Some(id), there);
        }
        self.sa_is_missing(id);
    }

    fn no_policy(&mut self, key: PolicyKey) {
        if let Some(there) = self.policies.remove(&key) {
            self.note_lost_policy(key, there);
            self.policy_left(there);
        }
        self.policy_is_missing(key);
    }
}

impl Engine {
    fn own_sa(&mut self, glance: Glance, mut observed: ObservedSa) {
        let id = observed.id;
        self.hidden.reveal(&mut observed, self.want.sa(&id));
        let (id, mark) = (observed.id, observed.mark);
        self.suspect(Some(Name::Sa(id)), glance);
        let behind = match self.want.sa(&id) {
            Some(WantedSa::Outbound(wanted)) => {
                self.memory.see_sender(&wanted.0, &observed, self.now).is_some()
            }
            _ => {
                self.memory.see(&observed, self.now);
                false
            }
        };
        self.note_sent(id, observed.state.sent);
        let before = match self.sas.get(&id) {
            Some(SaThere::Ours { outbound, .. }) => *outbound,
            _ => false,
        };
        let wanted = self.want.sa(&id);
        let outbound = match wanted {
            Some(wanted) => matches!(wanted, WantedSa::Outbound(_)),
            None => match observed.sa.as_ref().and_then(|sa| sa.direction) {
                Some(direction) => direction == SaDirection::Out,
                None => before || observed.state.sent > 0,
            },
        };
        let verdict = wanted.map(|wanted| sas::judge(wanted, Found::Ours(&observed)));
        self.put_sa(Some(id), glance, SaThere::Ours { outbound, at: self.now, mark });
        match verdict {
            Some(Verdict::Right) if !behind => {
                self.settle_sa(&id);
                self.note_found(&id);
            }
            Some(_) => {
                self.conflicts.remove(&Name::Sa(id));
                self.wrong_sas.insert(id, Some(Box::new(observed)));
            }
            None if self.want.hold.contains(&id) => self.settle_sa(&id),
            None => {
                self.conflicts.remove(&Name::Sa(id));
                self.wrong_sas.insert(id, None);
            }
        }
    }

    fn own_policy(&mut self, glance: Glance, observed: &ObservedPolicy) {
        let key = observed.key;
        self.suspect(Some(Name::Policy(key)), glance);
        let verdict = self.want.policy(&key).map(|wanted| policies::judge(wanted, Found::Ours(observed)));
        self.put_policy(Some(key), glance, PolicyThere::Ours(observed.index));
        if verdict == Some(Verdict::Right) {
            self.settle_policy(&key);
        } else {
            self.conflicts.remove(&Name::Policy(key));
            self.wrong_policies.insert(key);
        }
    }

    fn sa_is_missing(&mut self, id: SaId) {
        if self.want.sas.contains(&id) {
            self.conflicts.remove(&Name::Sa(id));
            self.wrong_sas.insert(id, None);
            if self.memory.remembers(id) {
                self.lost.insert(id);
            }
        } else {
            self.settle_sa(&id);
        }
    }

    fn policy_is_missing(&mut self, key: PolicyKey) {
        if self.want.policies.contains(&key) {
            self.conflicts.remove(&Name::Policy(key));
            self.wrong_policies.insert(key);
        } else {
            self.settle_policy(&key);
        }
    }

    /// Everything that there is of SAs was read.
    pub(crate) fn end_of_sas(&mut self) {
        for (name, there) in self.sas.end() {
            self.sa_left(name, there);
            if let Some(id) = name {
                self.count_lost_sa(&id, there);
                self.suspect_what_went(Name::Sa(id), self.asked_sas.contains(&id));
                self.sa_is_missing(id);
            }
        }
    }

    /// Everything that there is of policies was read.
    pub(crate) fn end_of_policies(&mut self) {
        for (name, there) in self.policies.end() {
            self.policy_left(there);
            if let Some(key) = name {
                self.note_lost_policy(key, there);
                self.suspect_what_went(Name::Policy(key), self.asked_policies.contains(&key));
                self.policy_is_missing(key);
            }
        }
    }

    /// One that its own hard lifetime has ended is nobody's doing.
    fn count_lost_sa(&mut self, id: &SaId, there: SaThere) {
        let ours = self.looking && matches!(there, SaThere::Ours { .. });
        if ours && self.want.sas.contains(id) && !self.memory.has_expired(*id) {
            self.losses.sas += 1;
        }
    }

    fn note_lost_policy(&mut self, key: PolicyKey, there: PolicyThere) {
        let ours = self.looking && matches!(there, PolicyThere::Ours(_));
        if ours && self.want.policies.contains(&key) {
            self.losses.policies += 1;
            self.lost_policies.insert(key);
        }
    }

    fn put_sa(&mut self, name: Option<SaId>, glance: Glance, there: SaThere) {
        match there {
            SaThere::Ours { .. } => self.own_sas += 1,
            SaThere::Foreign => self.foreign_sas += 1,
            SaThere::Larval => {}
        }
        if let Some(before) = self.sas.put(name, glance, there) {
            // The one that is there now was seen already, if it is ours.
            let name = name.filter(|_| there == SaThere::Foreign);
            self.sa_left(name, before);
        }
    }

    fn put_policy(&mut self, name: Option<PolicyKey>, glance: Glance, there: PolicyThere) {
        match there {
            PolicyThere::Ours(index) => {
                self.own_policies += 1;
                self.indexes.add(index.get());
            }
            PolicyThere::Foreign(index) => {
                self.foreign_policies += 1;
                self.indexes.add(index);
            }
            PolicyThere::OfSocket => {}
        }
        if let Some(before) = self.policies.put(name, glance, there) {
            self.policy_left(before);
        }
    }

    /// One is gone, or another has its name.
    fn sa_left(&mut self, name: Option<SaId>, there: SaThere) {
        match there {
            SaThere::Ours { at, .. } => {
                self.own_sas -= 1;
                self.some_left = true;
                if let Some(id) = name {
                    self.memory.still_there(id, at);
                }
            }
            SaThere::Foreign => self.foreign_sas -= 1,
            SaThere::Larval => {}
        }
    }

    fn policy_left(&mut self, there: PolicyThere) {
        match there {
            PolicyThere::Ours(index) => {
                self.own_policies -= 1;
                self.indexes.remove(index.get());
            }
            PolicyThere::Foreign(index) => {
                self.foreign_policies -= 1;
                self.indexes.remove(index);
            }
            PolicyThere::OfSocket => {}
        }
    }

    /// A record that wasn't recognised: if it isn't just in another place, and there was no reason to look at it, no event
    /// told of it.
    fn suspect(&mut self, name: Option<Name>, glance: Glance) {
        let Some(name) = name.filter(|_| self.auditing) else { return };
        let expected = match &name {
            Name::Sa(id) => {
                self.asked_sas.contains(id) || self.wrong_sas.contains_key(id) || self.sas.is(id, glance)
            }
            Name::Policy(key) => {
                self.asked_policies.contains(key)
                    || self.wrong_policies.contains(key)
                    || self.policies.is(key, glance)
            }
        };
        if !expected {
            self.suspects.insert(name);
        }
    }

    fn suspect_what_went(&mut self, name: Name, asked: bool) {
        if self.auditing && !asked {
            self.suspects.insert(name);
        }
    }
}
