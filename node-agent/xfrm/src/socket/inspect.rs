//! Everything that the kernel has and tells, for people to read.

use esplanade_model::{Action, DefaultActions};
use netlink_packet_xfrm::constants::{
    XFRM_MSG_GETDEFAULT, XFRM_MSG_GETSADINFO, XFRM_MSG_GETSPDINFO, XFRMNLGRP_ACQUIRE, XFRMNLGRP_AEVENTS,
    XFRMNLGRP_EXPIRE, XFRMNLGRP_MAPPING, XFRMNLGRP_MIGRATE, XFRMNLGRP_POLICY, XFRMNLGRP_REPORT, XFRMNLGRP_SA,
};

use super::exchange::{self, Buffer, Sequence};
use super::link::{Link, Socket};
use crate::KernelError;
use crate::wire::Dumped;
use crate::wire::reply::{Message, Messages};
use crate::wire::shown::{Shown, Value};

/// Those that cost nothing to listen to.
const GROUPS: [u32; 6] = [
    XFRMNLGRP_EXPIRE,
    XFRMNLGRP_SA,
    XFRMNLGRP_POLICY,
    XFRMNLGRP_REPORT,
    XFRMNLGRP_MIGRATE,
    XFRMNLGRP_MAPPING,
];

/// What the kernel has, in the network namespace of the calling thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The SAs.
    pub sas: Vec<Shown>,
    /// The policies, those of sockets too.
    pub policies: Vec<Shown>,
    /// How many there are, how they are found, and what becomes of packets without one.
    pub totals: Vec<Shown>,
}

impl Inspection {
    /// Reads it all. Needs CAP_NET_ADMIN.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn make() -> Result<Self, KernelError> {
        let socket = Socket::open()?;
        let sequence = Sequence::default();
        let sas = dump(&socket, &sequence, Dumped::Sas)?;
        let policies = dump(&socket, &sequence, Dumped::Policies)?;
        let mut totals = totals(&socket, &sequence)?;
        // Since Linux 5.15.
        match ask(&socket, &sequence, XFRM_MSG_GETDEFAULT, &[0; 3]) {
            Ok(default) => totals.push(default),
            Err(KernelError::Dump { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(Self { sas, policies, totals })
    }
}

/// Whose question it answers is no news.
fn answer(message: &Message<'_>) -> Shown {
    Shown { sequence: 0, port: 0, ..Shown::of(message) }
}

/// NEWSADINFO and NEWSPDINFO.
fn totals(link: &impl Link, sequence: &Sequence) -> Result<Vec<Shown>, KernelError> {
    let ask = |message_type| ask(link, sequence, message_type, &[0; 4]);
    Ok(vec![ask(XFRM_MSG_GETSADINFO)?, ask(XFRM_MSG_GETSPDINFO)?])
}

/// A whole database. Changes meanwhile may be in it or not.
fn dump(link: &impl Link, sequence: &Sequence, of: Dumped) -> Result<Vec<Shown>, KernelError> {
    let mut records = Vec::new();
    exchange::dump(link, sequence, &mut Buffer::default(), of, |message| {
        records.push(answer(message));
        Ok(())
    })?;
    Ok(records)
}

/// One thing.
fn ask(link: &impl Link, sequence: &Sequence, message_type: u16, body: &[u8]) -> Result<Shown, KernelError> {
    let question = (message_type, body);
    exchange::ask(link, sequence, &mut Buffer::default(), question, |message| Ok(answer(message)))?
        .map_err(|refusal| KernelError::Dump { database: "totals", refusal })
}

/// What is told only because somebody listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Besides {
    /// What packets lack SAs: with a listener the kernel makes larval SAs, and drops packets while they wait
    /// (`km_is_alive`).
    pub acquires: bool,
    /// How far sequence numbers are: with a listener the kernel tells every few packets (`xfrm_aevent_is_on`).
    pub counters: bool,
}

/// How many SAs and policies of all owners there are, and how they are found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// SAs, larval ones too.
    pub sas: u32,
    /// Buckets of their hash tables.
    pub sa_buckets: u32,
    /// Buckets that they can have.
    pub most_sa_buckets: u32,
    /// Policies: the direction, whether they are of sockets, how many.
    pub policies: Vec<(&'static str, bool, u32)>,
    /// Buckets of their hash tables.
    pub policy_buckets: u32,
    /// Buckets that they can have.
    pub most_policy_buckets: u32,
    /// From which prefix lengths on policies are hashed: the family, this node's side, the other side.
    pub thresholds: Vec<(&'static str, u8, u8)>,
    /// Whether packets that no policy covers are dropped, by direction; empty where the kernel can't.
    pub blocks: Vec<(&'static str, bool)>,
}

impl Totals {
    /// Asks the kernel of the calling thread's network namespace. Costs the same however many there are.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn read() -> Result<Self, KernelError> {
        let socket = Socket::open()?;
        let mut totals = Self::of(&totals(&socket, &Sequence::default())?);
        let (sequence, mut buffer) = (Sequence::default(), Buffer::default());
        if let Some(actions) = super::settings::default_actions(&socket, &sequence, &mut buffer)? {
            let DefaultActions { inbound, forward, outbound } = actions;
            totals.blocks = [("in", inbound), ("fwd", forward), ("out", outbound)]
                .map(|(direction, action)| (direction, action == Action::Block))
                .into();
        }
        Ok(totals)
    }

    fn of(answers: &[Shown]) -> Self {
        let mut found = Self::default();
        for attribute in answers.iter().flat_map(|answer| &answer.attributes) {
            match (attribute.name.name, &attribute.value) {
                (Some("SAD_CNT"), Value::Number(count)) => {
                    found.sas = u32::try_from(*count).unwrap_or(u32::MAX);
                }
                (Some("SAD_HINFO"), Value::HashSize(size)) => {
                    (found.sa_buckets, found.most_sa_buckets) = (size.buckets, size.most);
                }
                (Some("SPD_HINFO"), Value::HashSize(size)) => {
                    (found.policy_buckets, found.most_policy_buckets) = (size.buckets, size.most);
                }
                (Some("SPD_IPV4_HTHRESH"), Value::Thresholds(one)) => {
                    found.thresholds.push(("ipv4", one.local, one.remote));
                }
                (Some("SPD_IPV6_HTHRESH"), Value::Thresholds(one)) => {
                    found.thresholds.push(("ipv6", one.local, one.remote));
                }
                (Some("SPD_INFO"), Value::SpdCounts(counts)) => {
                    found.policies = vec![
                        ("in", false, counts.inbound),
                        ("out", false, counts.outbound),
                        ("fwd", false, counts.forward),
                        ("in", true, counts.socket_inbound),
                        ("out", true, counts.socket_outbound),
                    ];
                }
                _ => {}
            }
        }
        found
    }
}

/// Hears what the kernel tells.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    buffer: Buffer,
}

impl Listener {
    /// Listens in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel has no NETLINK_XFRM, or this isn't allowed to listen.
    pub fn open(besides: Besides) -> Result<Self, KernelError> {
        let socket = Socket::open()?;
        let acquires = besides.acquires.then_some(XFRMNLGRP_ACQUIRE);
        let counters = besides.counters.then_some(XFRMNLGRP_AEVENTS);
        for group in GROUPS.into_iter().chain(acquires).chain(counters) {
            socket.join(group)?;
        }
        Ok(Self { socket, buffer: Buffer::default() })
    }

    /// Waits for what comes next.
    ///
    /// # Errors
    /// The socket is broken; or, with [`KernelError::Overrun`], some was lost, and the next call goes on.
    pub fn hear(&mut self) -> Result<Vec<Shown>, KernelError> {
        loop {
            match self.buffer.receive(&self.socket) {
                Ok(datagram) => {
                    let messages = Messages::of(datagram);
                    return messages.map(|message| Ok(Shown::of(&message?))).collect();
                }
                // Nothing happened for a while.
                Err(KernelError::Timeout(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
