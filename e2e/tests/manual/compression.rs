//! IPComp, alone and before ESP: long packets get shorter, short ones go as they are, and all arrive.

use anyhow::{Result, ensure};
use esplanade_e2e::capture::{Packet, Payload};
use esplanade_e2e::lab::{Config, Lab, Place};

use crate::cluster::{SOON, condition, remove, secret, with_esplanade};
use crate::wire::clear_echoes;

const ESP: [u32; 2] = [0x7_0001, 0x7_0002];
/// The index has 16 bits.
const CPI: [u32; 2] = [0x7001, 0x7002];
/// `IPPROTO_COMP`.
const IPCOMP: u8 = 108;
/// Of one byte again and again, and too short to compress.
const SIZES: [u32; 2] = [1000, 16];
const PINGS: usize = 3;

pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) mode: &'static str,
    side: &'static str,
    esp: bool,
}

#[rustfmt::skip]
pub(crate) const VARIANTS: &[Variant] = &[
    Variant { name: "deflate-tunnel", mode: "Tunnel", side: "podCIDRs", esp: false },
    Variant { name: "deflate-transport", mode: "Transport", side: "nodes", esp: false },
    Variant { name: "deflate-esp-tunnel", mode: "Tunnel", side: "podCIDRs", esp: true },
    Variant { name: "deflate-esp-transport", mode: "Transport", side: "nodes", esp: true },
];

impl Variant {
    fn names(&self) -> Vec<String> {
        let kinds = if self.esp { &["ipcomp", "esp"][..] } else { &["ipcomp"][..] };
        let both = |kind: &&str| ["ab", "ba"].map(|way| format!("{}-{kind}-{way}", self.name));
        kinds.iter().flat_map(both).collect()
    }

    pub(crate) fn manifests(&self) -> String {
        const KEYS: &str = "encryption: {algorithm: AES-CBC-256, keySecretRef: {name: keys, key: encryption}}\n  \
                            integrity: {algorithm: HMAC-SHA2-256-128, keySecretRef: {name: keys, key: integrity}}\n";
        let Self { name, mode, side, esp } = self;
        let sa = |kind: &str, way: usize| {
            let (source, destination, ends) =
                if way == 0 { ("node-a", "node-b", "ab") } else { ("node-b", "node-a", "ba") };
            let (spi, rest) = match kind {
                "esp" => (ESP[way], format!("protocol: ESP\n  {KEYS}")),
                _ => (CPI[way], "protocol: IPComp\n".to_owned()),
            };
            format!(
                "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecSA\nmetadata: {{name: {name}-{kind}-{ends}}}\n\
                 spec:\n  source: {{node: {source}}}\n  destination: {{node: {destination}}}\n  spi: {spi}\n  \
                 mode: {mode}\n  {rest}"
            )
        };
        let how = if *esp { "compression: Deflate" } else { "protocol: IPComp" };
        let policy = format!(
            "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
             from: [{{{side}: {{}}}}]\n  traffic: [{{protocol: ICMP}}]\n  protection:\n    mode: {mode}\n    {how}\n    \
             keying: {{manual: {{securityAssociations: [{}]}}}}\n",
            self.names().join(", ")
        );
        let kinds = if *esp { &["ipcomp", "esp"][..] } else { &["ipcomp"][..] };
        let sas = kinds.iter().flat_map(|kind| [sa(kind, 0), sa(kind, 1)]);
        std::iter::once(policy).chain(sas).collect()
    }

    async fn check(&self, lab: &Lab) -> Result<()> {
        self.carries(lab).await?;
        remove(lab, &self.manifests()).await
    }

    pub(crate) async fn carries(&self, lab: &Lab) -> Result<()> {
        lab.apply(&self.manifests()).await?;
        for name in self.names() {
            lab.wait_condition(&format!("ipsecsa/{name}"), "Programmed", "True", SOON).await?;
        }
        lab.wait_condition(&format!("ipsecpolicy/{}", self.name), "Programmed", "True", SOON).await?;
        let policy = lab.get(&format!("ipsecpolicy/{}", self.name)).await?;
        let expected = if self.esp { "Encrypted" } else { "NotEncrypted" };
        assert_eq!(condition(&policy, "Encrypted")?.0, expected);
        for node in lab.nodes() {
            let counts = lab.get(&format!("ipsecnodestate/{}", node.name)).await?;
            let foreign = &counts.data["status"]["counts"]["foreignSecurityAssociations"];
            assert_eq!(foreign, 0, "the kernel's own beside a tunnel of IPComp is nobody's");
        }
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        for size in SIZES {
            let wire = a.capture().await?;
            if self.side == "podCIDRs" {
                let (a, b) = (a.pod(0), b.pod(0));
                ping(a, [a.addresses.v4, b.addresses.v4], size).await?;
                ping(b, [b.addresses.v4, a.addresses.v4], size).await?;
            } else {
                ping(a, [a.addresses.v4, b.addresses.v4], size).await?;
                ping(b, [b.addresses.v4, a.addresses.v4], size).await?;
            }
            self.look(&wire.stop().await?, size)?;
        }
        Ok(())
    }

    /// What two times three questions and answers look like.
    fn look(&self, packets: &[Packet], size: u32) -> Result<()> {
        let long = size == SIZES[0];
        let clear = clear_echoes(packets);
        let of = |wanted: &dyn Fn(&Payload) -> bool| -> Vec<&Packet> {
            packets.iter().filter(|packet| packet.ip().is_some_and(|ip| wanted(&ip.payload))).collect()
        };
        let carrying = match (self.esp, long) {
            (true, _) => of(&|payload| matches!(payload, Payload::Esp { spi, .. } if ESP.contains(spi))),
            (false, true) => of(&|payload| *payload == Payload::Other(IPCOMP)),
            (false, false) if self.mode == "Tunnel" => of(&|payload| matches!(payload, Payload::Ip(_))),
            (false, false) => clear.clone(),
        };
        assert_eq!(carrying.len(), 4 * PINGS, "{} bytes: {packets:?}", size);
        if self.esp || long {
            assert_eq!(clear, [] as [&_; 0]);
        }
        let longest = carrying.iter().map(|packet| packet.length).max().unwrap_or_default();
        ensure!(longest < 250, "{size} bytes became {longest}");
        Ok(())
    }
}

/// From the first address to the second. Told where from, ping doesn't ask for it by a connection over UDP, which may not be
/// allowed.
async fn ping(from: &Place, ends: [std::net::Ipv4Addr; 2], size: u32) -> Result<()> {
    let (count, size, [own, to]) = (PINGS.to_string(), size.to_string(), ends.map(|end| end.to_string()));
    let argv = ["ping", "-c", &count, "-i", "0.1", "-W", "2", "-p", "00", "-s", &size, "-I", &own, &to];
    from.run(argv).await?.ok()?;
    Ok(())
}

#[test]
fn compression_alone_and_before_esp() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
        for variant in VARIANTS {
            variant.check(lab).await.map_err(|error| error.context(variant.name))?;
        }
        Ok(())
    })
}
