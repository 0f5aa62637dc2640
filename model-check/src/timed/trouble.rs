//! What goes wrong, and how it ends.

use rand::RngExt as _;

use super::{Act, Event, HOUR, Run, SECOND};
use crate::world::Action;

/// How long a node may be without the API server before nobody waits for it.
const GIVEN_UP: u64 = 5 * 60 * SECOND;

impl Run {
    pub(super) fn outage(&mut self, begins: bool) {
        self.outage = begins;
        for node in self.world.nodes() {
            if begins {
                self.act(Action::Cut(node));
            } else {
                self.act(Action::Heal(node));
                self.listed_anew(node);
            }
        }
        // All of them are cut off, and yet none has more than one key that it can't publish.
        if self.course.trouble_every == 0 {
            self.world.troubled = 0;
        }
    }

    pub(super) fn over(&mut self, act: Act) {
        match act {
            Act::GiveUp(node) if self.world.host(node).cut => self.act(Action::GiveUp(node)),
            Act::Heal(node) if self.world.host(node).cut && !self.outage => {
                self.act(Action::Heal(node));
                self.listed_anew(node);
            }
            Act::Join(node) if !self.world.host(node).present => self.act(Action::Join(node)),
            Act::OperatorBack => {
                self.operator_away = false;
                self.plan_all();
            }
            _ => {}
        }
    }

    /// Its watch may be too old to go on with.
    fn listed_anew(&mut self, node: u16) {
        let host = self.world.host(node);
        if self.rng.random_range(0..2) == 0 && host.present && host.agent.is_some() {
            self.act(Action::List(node));
        }
    }

    /// One thing goes wrong, and later the next.
    pub(super) fn trouble(&mut self) {
        if self.world.now.0 > self.course.length {
            return;
        }
        let next = self.rng.random_range(1..=2 * self.course.trouble_every);
        self.after(next, Event::Trouble);
        let node = self.rng.random_range(0..self.course.nodes);
        let host = self.world.host(node);
        if !host.present || host.cut || self.outage {
            return;
        }
        let runs = host.agent.is_some();
        let what = match self.rng.random_range(0..16) {
            0..6 if runs => {
                self.act(Action::Crash(node));
                "crash"
            }
            6..9 if !self.operator_away => {
                self.operator_away = true;
                let back = self.rng.random_range(SECOND..6 * HOUR);
                self.after(back, Event::Act(Act::OperatorBack));
                "operator away"
            }
            9..11 => {
                self.act(Action::Cut(node));
                let back = self.rng.random_range(SECOND..2 * HOUR);
                if back > GIVEN_UP {
                    self.after(GIVEN_UP, Event::Act(Act::GiveUp(node)));
                }
                self.after(back, Event::Act(Act::Heal(node)));
                "cut off"
            }
            11..13 => {
                let now = self.world.now;
                let clock = &mut self.world.hosts[usize::from(node)].clock;
                self.wakes.remove(&node);
                *clock = clock.restarted(now);
                self.act(Action::Reboot(node));
                "reboot"
            }
            13 => {
                self.act(Action::Leave(node));
                let back = self.rng.random_range(60 * SECOND..2 * HOUR);
                self.after(back, Event::Act(Act::Join(node)));
                "leave"
            }
            14.. if runs && host.asked.is_none() => {
                self.act(Action::Rotate(node));
                "asked"
            }
            _ => return,
        };
        *self.outcome.troubles.entry(what).or_default() += 1;
    }
}
