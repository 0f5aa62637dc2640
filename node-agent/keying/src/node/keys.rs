//! A node's own keys: making, publishing and retiring them (R1, R2, R5, R8).

use super::{MAX_KEYS, MAX_MADE, Node, Spis};
use crate::{KeyId, Record, Stage, Time};

impl Node {
    /// A new key is to be made now. One at a time: not before the one before it is all that is left, but for keys that
    /// are kept for peers which don't answer.
    pub(super) fn wants_key(&self) -> bool {
        self.keys.is_empty() || self.rotate && !self.rotating()
    }

    pub(super) fn rotating(&self) -> bool {
        let Some((newest, older)) = self.keys.split_last() else { return false };
        newest.stage != Stage::Published
            || older.len() + 1 >= MAX_KEYS
            || older.iter().enumerate().any(|(index, record)| {
                let stuck = self.kept(index) || self.wanted(record.id);
                record.stage != Stage::Published || !self.superseded(index) || !stuck
            })
    }

    /// Every peer that answers has acknowledged a newer key: the operator says so. Packets alone can't: of a node that
    /// is about to join, and has listed the others' keys before the newest was there, none has come yet.
    fn superseded(&self, index: usize) -> bool {
        let acknowledged = self.index_of(self.acknowledged).is_some_and(|newer| newer > index);
        acknowledged
            && self.keyed().all(|(node, _)| {
                self.pending.contains(node) || self.acknowledged_by(*node).is_some_and(|newer| newer > index)
            })
    }

    /// A peer that doesn't answer may still use it.
    fn kept(&self, index: usize) -> bool {
        self.keyed().any(|(node, _)| {
            self.pending.contains(node) && self.acknowledged_by(*node).is_none_or(|newer| newer <= index)
        })
    }

    /// It is to be sent under it.
    fn wanted(&self, id: KeyId) -> bool {
        self.lanes.values().any(|lane| lane.wanted.is_some_and(|sa| sa.own == id))
    }

    /// The kernel can send under it.
    fn sending(&self, id: KeyId) -> bool {
        self.lanes.values().any(|lane| lane.kernel.iter().any(|sa| sa.own == id))
    }

    /// Moves each key on by a stage, where it is due. Says whether one was.
    pub(super) fn advance_keys(&mut self, now: Time, spis: &mut impl Spis) -> bool {
        let due = |record: &Record| record.rotate <= now || record.made.len() >= MAX_MADE;
        self.rotate |= self.keys.last().is_some_and(due) || self.renew_at.is_some_and(|at| at <= now);
        let mut changed = self.end_keys(now, spis);
        let mut forget: Vec<KeyId> = Vec::new();
        for index in 0..self.keys.len() {
            let (id, stage) = (self.keys[index].id, self.keys[index].stage);
            let newest = index + 1 == self.keys.len();
            let collided = self.collided.iter().any(|sa| sa.own == id);
            let next = match stage {
                // R1: nobody knows of it, so another one will do.
                Stage::Created if collided => {
                    forget.push(id);
                    self.rotate = true;
                    continue;
                }
                Stage::Created if self.ready() && !self.missing.iter().any(|sa| sa.own == id) => {
                    Stage::Published
                }
                // R2, where its successor isn't there yet.
                Stage::Published if newest && collided => {
                    self.rotate = true;
                    continue;
                }
                Stage::Published if !newest && self.retires(index, now) => Stage::Retiring,
                Stage::Retiring if !self.published.contains(&id) => {
                    forget.push(id);
                    continue;
                }
                _ => continue,
            };
            self.keys[index].stage = next;
            self.unsaved = true;
            changed = true;
        }
        if !forget.is_empty() {
            self.forget(&forget, spis);
        }
        changed || !forget.is_empty()
    }

    /// R5: a newer key is acknowledged by all, and nothing is on its way any more.
    fn retires(&self, index: usize, now: Time) -> bool {
        let drained = self.settled.after(self.settings.drain) <= now;
        let full = index == 0 && self.rotate && self.keys.len() >= MAX_KEYS;
        let successor = self.keys.iter().skip(index + 1).any(|record| record.stage == Stage::Published);
        self.ready()
            && successor
            && drained
            && self.superseded(index)
            && (full || !self.kept(index))
            && (full || !self.wanted(self.keys[index].id) && !self.sending(self.keys[index].id))
    }

    /// A key's hard age ends it, whatever is sent under it.
    fn end_keys(&mut self, now: Time, spis: &mut impl Spis) -> bool {
        let hard = self.settings.hard;
        let ended = self.keys.iter().filter(|record| record.created.after(hard) <= now);
        let ended: Vec<KeyId> = ended.map(|record| record.id).collect();
        if !ended.is_empty() {
            self.forget(&ended, spis);
        }
        !ended.is_empty()
    }

    fn forget(&mut self, ids: &[KeyId], spis: &mut impl Spis) {
        self.keys.retain(|record| !ids.contains(&record.id));
        self.unsaved = true;
        self.sequences.retain(|sa, _| !ids.contains(&sa.own));
        self.refresh_all(spis);
    }
}
