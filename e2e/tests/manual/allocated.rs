//! SPIs that nobody writes.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use esplanade_e2e::lab::{Config, Lab};

use crate::cluster::{SOON, pair, secret, with_esplanade};
use crate::wire::{clear_pod_packets, ping_pods, sequence};

fn manifests() -> String {
    let written = pair("chosen", [0, 0], "antiReplay: {window: 64}");
    let left_out = written.replace("  spi: 0\n", "");
    assert_ne!(written, left_out);
    format!(
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: chosen}}\nspec:\n  \
         from: [{{podCIDRs: {{}}}}]\n  protection:\n    \
         keying: {{manual: {{securityAssociations: [chosen-ab, chosen-ba]}}}}\n{left_out}"
    )
}

/// What the status shows of an SA.
async fn spi(lab: &Lab, name: &str) -> Result<u32> {
    let object = lab.get(&format!("ipsecsa/{name}")).await?;
    let spi = object.data["status"]["spi"].as_u64().context("no spi in the status")?;
    Ok(u32::try_from(spi)?)
}

async fn programmed(lab: &Lab) -> Result<()> {
    for what in ["ipsecsa/chosen-ab", "ipsecsa/chosen-ba", "ipsecpolicy/chosen"] {
        lab.wait_condition(what, "Programmed", "True", SOON).await?;
    }
    Ok(())
}

#[test]
fn an_spi_that_is_left_out_is_chosen_by_the_receiving_kernel() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
        lab.apply(&manifests()).await?;
        programmed(lab).await?;
        let spis = [spi(lab, "chosen-ab").await?, spi(lab, "chosen-ba").await?];
        assert!(spis.iter().all(|spi| (0xa000_0000..0xb000_0000).contains(spi)), "{spis:x?}");
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        let ends: [IpAddr; 2] = [a.addresses.v4.into(), b.addresses.v4.into()];
        let wire = a.capture().await?;
        ping_pods(lab).await?;
        let numbers = async || -> Result<[Vec<u32>; 2]> {
            let packets = wire.packets().await?;
            assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
            let [there, back] = ends;
            Ok([sequence(&packets, there, back, spis[0]), sequence(&packets, back, there, spis[1])])
        };
        assert_eq!(numbers().await?, [(1..=12).collect::<Vec<_>>(), (1..=12).collect()]);

        // A new agent goes on with the SAs that are there.
        let before = [a.xfrm().await?, b.xfrm().await?];
        assert!(before.iter().all(|xfrm| xfrm.states.len() == 2), "no larval SA is left: {before:#?}");
        for node in ["node-a", "node-b"] {
            lab.stop_agent(node).await?;
            lab.start_agent(node).await?;
        }
        programmed(lab).await?;
        // They have done what the operator wrote after they came.
        lab.apply(&manifests().replace("window: 64", "window: 128")).await?;
        lab.wait("the agents to work again", SOON, async || {
            let now = [a.xfrm().await?, b.xfrm().await?];
            ensure!(now.iter().zip(&before).all(|(now, before)| now != before), "as before");
            Ok(())
        })
        .await?;
        programmed(lab).await?;
        assert_eq!([spi(lab, "chosen-ab").await?, spi(lab, "chosen-ba").await?], spis);
        ping_pods(lab).await?;
        assert!(numbers().await?.iter().all(|numbers| numbers.len() == 24));
        for node in lab.nodes() {
            for (counter, value) in node.xfrm_stat().await? {
                assert_eq!(value, 0, "{counter} of {}", node.name);
            }
        }
        Ok(())
    })
}
