use std::sync::Arc;

use esplanade_crds::{
    AllocatedSpi, IpsecNodeStateSpec, Mode, NodeSecurityAssociation, Problem, Protocol, ResolvedEndpoint,
};
use esplanade_model::{
    Aead, Capabilities, Capability, Crypto, InboundSa, Key, Reqid, Sa, SaId, Spi, Wanted, WantedSa,
};
use esplanade_sync::Engine;
use esplanade_xfrm::KernelError;
use esplanade_xfrm::fake::FakeKernel;

use super::Spis;
use crate::pass::pass;

const SENDER: &str = "192.0.2.2";
const HERE: &str = "192.0.2.1";

fn association(name: &str) -> NodeSecurityAssociation {
    let end = |node: &str, address: &str| ResolvedEndpoint {
        node: Some(node.to_owned()),
        address: address.to_owned(),
    };
    NodeSecurityAssociation {
        name: name.to_owned(),
        policy: None,
        source: end("b", SENDER),
        destination: end("a", HERE),
        spi: None,
        protocol: Protocol::ESP,
        mode: Mode::Tunnel,
        encryption: None,
        integrity: None,
        anti_replay: Default::default(),
        interface_id: 0,
        mark: None,
        output_mark: None,
        icmp_errors: false,
        cpu: None,
        iptfs: None,
        offload: esplanade_crds::Offload::None,
        udp: None,
        selector: None,
        lifetime: None,
        expired: None,
    }
}

fn spec(sas: &[NodeSecurityAssociation]) -> Arc<IpsecNodeStateSpec> {
    Arc::new(IpsecNodeStateSpec { security_associations: sas.to_vec(), ..IpsecNodeStateSpec::default() })
}

/// What is wanted of the SAs that have SPIs.
fn wanted(spec: &IpsecNodeStateSpec) -> Wanted {
    let made = spec.security_associations.iter().filter_map(|sa| {
        let crypto = Crypto::aead(Aead::AesGcm256, Key::from([7; 36].as_slice())).unwrap();
        let (spi, reqid) = (Spi::new(sa.spi?).unwrap(), Reqid::from_hash(1));
        let made = Sa::tunnel(SENDER.parse().unwrap(), HERE.parse().unwrap(), spi, reqid, crypto);
        Some((sa.name.clone(), WantedSa::Inbound(InboundSa(made))))
    });
    Wanted { sas: made.collect(), ..Wanted::default() }
}

/// An agent of node a, from when it starts.
#[derive(Default)]
struct Agent {
    spis: Spis,
    engine: Engine,
}

impl Agent {
    /// A pass; what could not be chosen. `can`: the SAs can be had.
    fn pass(
        &mut self,
        kernel: &mut FakeKernel,
        spec: &Arc<IpsecNodeStateSpec>,
        reported: &[AllocatedSpi],
        can: bool,
    ) -> Result<Vec<Problem>, KernelError> {
        let capabilities = Capabilities::new("", Capability::all().collect());
        let problems = self.spis.choose(kernel, "a", spec, reported, &capabilities)?;
        let numbered = self.spis.number("a", spec);
        self.engine.want(if can { wanted(&numbered) } else { Wanted::default() });
        self.spis.fill(kernel, &mut self.engine)?;
        let outcome = pass(kernel, "a", &mut self.engine, false)?;
        assert!(outcome.in_sync && outcome.problems.is_empty(), "{outcome:?}");
        Ok(problems)
    }
}

fn there(kernel: &FakeKernel) -> Vec<SaId> {
    kernel.observed().sas.iter().map(|sa| sa.id).collect()
}

fn spis(kernel: &FakeKernel) -> Vec<u32> {
    there(kernel).iter().map(|id| id.spi.get()).collect()
}

#[test]
fn what_the_kernel_chose_stays_while_it_is_wanted() {
    let (mut kernel, mut agent) = (FakeKernel::new(), Agent::default());
    let both = spec(&[association("x"), association("y")]);
    assert_eq!(agent.pass(&mut kernel, &both, &[], true).unwrap(), []);
    let chosen = agent.spis.allocated();
    let numbers: Vec<_> = chosen.iter().map(|one| one.spi).collect();
    assert_eq!((spis(&kernel), kernel.larval_sas()), (numbers.clone(), 0));
    assert_eq!(chosen.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["x", "y"]);
    agent.pass(&mut kernel, &both, &[], true).unwrap();
    assert_eq!(agent.spis.allocated(), chosen);
    // Another agent goes by what was reported, and writes nothing.
    let writes = kernel.log().len();
    let mut second = Agent::default();
    second.pass(&mut kernel, &both, &chosen, true).unwrap();
    assert_eq!((second.spis.allocated(), kernel.log().len()), (chosen.clone(), writes));
    // After a flush as well.
    kernel.flush();
    let mut third = Agent::default();
    third.pass(&mut kernel, &both, &chosen, true).unwrap();
    assert_eq!(spis(&kernel), numbers);
    // What isn't wanted any more is forgotten, whatever was reported.
    second.pass(&mut kernel, &spec(&[association("y")]), &chosen, true).unwrap();
    assert_eq!(second.spis.allocated(), chosen[1..]);
}

/// An agent ended before it could report: nobody sends under what it left.
#[test]
fn what_was_not_reported_goes() {
    let (mut kernel, x) = (FakeKernel::new(), spec(&[association("x")]));
    Agent::default().pass(&mut kernel, &x, &[], true).unwrap();
    let before = spis(&kernel);
    let mut second = Agent::default();
    second.pass(&mut kernel, &x, &[], true).unwrap();
    let after = spis(&kernel);
    assert_eq!((after.len(), kernel.larval_sas()), (1, 0));
    assert_ne!(before, after);
}

#[test]
fn an_sa_that_can_not_be_had_yet_keeps_its_spi_and_leaves_no_larval_one() {
    let (mut kernel, mut agent, x) = (FakeKernel::new(), Agent::default(), spec(&[association("x")]));
    agent.pass(&mut kernel, &x, &[], false).unwrap();
    let chosen = agent.spis.allocated();
    assert_eq!((chosen.len(), kernel.larval_sas(), there(&kernel)), (1, 0, vec![]));
    agent.pass(&mut kernel, &x, &[], true).unwrap();
    assert_eq!(spis(&kernel), [chosen[0].spi]);
}

/// The first pass of an agent ended between the two: what it chose is chosen anew.
#[test]
fn a_kernel_that_fails_in_between_confuses_nothing() {
    let (mut kernel, mut agent, x) = (FakeKernel::new(), Agent::default(), spec(&[association("x")]));
    let capabilities = Capabilities::new("", Capability::all().collect());
    assert_eq!(agent.spis.choose(&mut kernel, "a", &x, &[], &capabilities).unwrap(), []);
    agent.engine.want(wanted(&agent.spis.number("a", &x)));
    kernel.fail_next(KernelError::Overrun);
    assert!(agent.spis.fill(&mut kernel, &mut agent.engine).is_err());
    let lost = agent.spis.allocated();
    agent.pass(&mut kernel, &x, &[], true).unwrap();
    assert_ne!(agent.spis.allocated(), lost);
    assert_eq!((there(&kernel).len(), kernel.larval_sas()), (1, 1));
    kernel.expire_larval_sas();
    agent.pass(&mut kernel, &x, &[], true).unwrap();
    assert_eq!(spis(&kernel), [agent.spis.allocated()[0].spi]);
}

/// It is then as with any SA that the kernel refuses.
#[test]
fn a_refused_sa_leaves_no_larval_one() {
    let (mut kernel, mut agent, x) = (FakeKernel::new(), Agent::default(), spec(&[association("x")]));
    let first = *Spi::allocated(esplanade_model::Protocol::Esp).start();
    let id = SaId {
        destination: HERE.parse().unwrap(),
        protocol: esplanade_model::Protocol::Esp,
        spi: Spi::new(first).unwrap(),
    };
    let capabilities = Capabilities::new("", Capability::all().collect());
    assert_eq!(agent.spis.choose(&mut kernel, "a", &x, &[], &capabilities).unwrap(), []);
    // Its first one.
    assert_eq!(agent.spis.allocated()[0].spi, first);
    kernel.without(Capability::Aead(Aead::AesGcm256));
    agent.engine.want(wanted(&agent.spis.number("a", &x)));
    agent.spis.fill(&mut kernel, &mut agent.engine).unwrap();
    let outcome = pass(&mut kernel, "a", &mut agent.engine, false).unwrap();
    assert_eq!((outcome.in_sync, kernel.larval_sas()), (false, 0));
    let [problem] = outcome.problems.as_slice() else { panic!("{:?}", outcome.problems) };
    assert!(problem.message.contains(&id.to_string()), "{}", problem.message);
}

#[test]
fn what_the_kernel_says_is_told_of_the_object() {
    let (mut kernel, mut spis) = (FakeKernel::new(), Spis::default());
    kernel.leave_no_spi();
    let mut numbered = association("y");
    numbered.spi = Some(4097);
    let spec = spec(&[association("x"), numbered]);
    let capabilities = Capabilities::new("", Capability::all().collect());
    let problems = spis.choose(&mut kernel, "a", &spec, &[], &capabilities).unwrap();
    let [Problem { name, message, .. }] = problems.as_slice() else { panic!("{problems:?}") };
    assert_eq!(name, "x");
    assert_eq!(message, "choosing an SPI: No such file or directory (os error 2)");
    let left = spis.number("a", &spec);
    assert_eq!(left.security_associations.iter().map(|sa| sa.name.as_str()).collect::<Vec<_>>(), ["y"]);
}
