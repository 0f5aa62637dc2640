//! Every IpsecSA, judged.

use std::collections::BTreeMap;
use std::net::IpAddr;

use esplanade_crds::conditions::reason;
use esplanade_crds::{IpsecSA, Protocol};

use super::{Ends, KeyState, Keys, ends, keys};
use crate::accept::{self, Age, End, SaIntent};
use crate::cluster::Cluster;
use crate::finding::Finding;
use crate::snapshot::Snapshot;

/// An IpsecSA and what became of it.
pub(crate) struct Sa<'a> {
    pub(crate) object: &'a IpsecSA,
    pub(crate) age: Age,
    pub(crate) state: Result<Accepted<'a>, Finding>,
}

/// An IpsecSA that is taken up.
pub(crate) struct Accepted<'a> {
    pub(crate) intent: SaIntent,
    /// The one written, or the one that the receiver's kernel chose; none until it has.
    pub(crate) spi: Option<u32>,
    pub(crate) ends: Result<Ends, Vec<Finding>>,
    pub(crate) keys: Keys<'a>,
}

impl Accepted<'_> {
    /// Everything that it names and that isn't there.
    pub(crate) fn unresolved(&self) -> Vec<Finding> {
        let mut findings = self.ends.as_ref().err().cloned().unwrap_or_default();
        findings.extend(self.keys.findings());
        findings
    }
}

/// Every IpsecSA by name.
pub(crate) struct Sas<'a>(BTreeMap<&'a str, Sa<'a>>);

impl<'a> Sas<'a> {
    pub(crate) fn judge(snapshot: &'a Snapshot, cluster: &Cluster<'_>) -> Self {
        let mut sas: BTreeMap<&str, Sa<'_>> = BTreeMap::new();
        for object in &snapshot.sas {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let state = accept::sa(&object.spec).map(|intent| Accepted {
                spi: intent.spi.or_else(|| match &intent.destination {
                    End::Node(receiver) => cluster.allocated_spi(receiver, name),
                    End::Address(_) => None,
                }),
                ends: ends(&intent, cluster),
                keys: keys(&intent, snapshot),
                intent,
            });
            sas.insert(name, Sa { object, age: Age::of(&object.metadata), state });
        }
        refuse_conflicting(&mut sas);
        Self(sas)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Sa<'a>> {
        self.0.get(name)
    }

    /// Another IpsecSA with an AEAD that has the same key as this one.
    pub(crate) fn with_key_of(&self, name: &str) -> Option<&'a str> {
        let key = |sa: &Sa<'a>| match &sa.state {
            Ok(Accepted {
                intent, keys: Keys { encryption: Some(KeyState::Found(bytes, _)), .. }, ..
            }) => intent.insecure.and(Some(*bytes)),
            _ => None,
        };
        let own = key(self.get(name)?)?;
        self.iter().find(|(other, sa)| *other != name && key(sa) == Some(own)).map(|(other, _)| other)
    }

    /// By name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a str, &Sa<'a>)> {
        self.0.iter().map(|(name, sa)| (*name, sa))
    }
}

/// Destination, protocol and SPI name one SA in a kernel (RFC 4301 §4.1): of several, the one that the kernel chose it for
/// counts, else the oldest.
fn refuse_conflicting(sas: &mut BTreeMap<&str, Sa<'_>>) {
    let written = |sa: &Sa<'_>| sa.state.as_ref().is_ok_and(|sa| sa.intent.spi.is_some());
    let mut in_order: Vec<(bool, Age, String)> =
        sas.iter().map(|(name, sa)| (written(sa), sa.age.clone(), (*name).to_owned())).collect();
    in_order.sort();
    let mut taken: BTreeMap<(IpAddr, Protocol, u32), String> = BTreeMap::new();
    for (_, _, name) in in_order {
        let Some(sa) = sas.get_mut(name.as_str()) else { continue };
        let Ok(Accepted { intent, spi: Some(spi), ends: Ok(ends), .. }) = &sa.state else { continue };
        let id = (ends.destination, intent.protocol, *spi);
        match taken.get(&id) {
            None => {
                taken.insert(id, name);
            }
            Some(first) => {
                let (to, protocol, spi) = id;
                let message = format!(
                    "IpsecSA {first} has spi {spi} for {protocol:?} to {to} already: write another spi, \
                     unique among the SAs to one destination"
                );
                sa.state = Err(Finding::new(reason::CONFLICTED, message));
            }
        }
    }
}
