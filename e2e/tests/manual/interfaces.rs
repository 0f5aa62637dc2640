//! Policies and SAs of an XFRM interface.

use anyhow::{Result, ensure};
use esplanade_e2e::lab::Lab;

use crate::cluster::{SOON, remove, secret};
use crate::wire::{clear_echoes, ping_pods};

fn manifests() -> String {
    let sa = |name: &str, source: &str, destination: &str, spi: u32| {
        format!(
            "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecSA\nmetadata: {{name: {name}}}\nspec:\n  \
             source: {{node: {source}}}\n  destination: {{node: {destination}}}\n  spi: {spi}\n  interfaceId: 42\n  \
             encryption: {{algorithm: AES-CBC-256, keySecretRef: {{name: keys, key: encryption}}}}\n  \
             integrity: {{algorithm: HMAC-SHA2-256-128, keySecretRef: {{name: keys, key: integrity}}}}\n"
        )
    };
    [
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {name: interface}\nspec:\n  \
         from: [{podCIDRs: {}}]\n  protection:\n    interfaceId: 42\n    \
         keying: {manual: {securityAssociations: [interface-ab, interface-ba]}}\n"
            .to_owned(),
        sa("interface-ab", "node-a", "node-b", 0x3_0001),
        sa("interface-ba", "node-b", "node-a", 0x3_0002),
    ]
    .concat()
}

/// Everything in the kernel is the interface's, and what doesn't go through it is as if nothing were there.
pub(crate) async fn check(lab: &Lab) -> Result<()> {
    secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
    lab.apply(&manifests()).await?;
    for what in ["ipsecsa/interface-ab", "ipsecsa/interface-ba", "ipsecpolicy/interface"] {
        lab.wait_condition(what, "Programmed", "True", SOON).await?;
    }
    for node in lab.nodes().iter().filter(|node| ["node-a", "node-b"].contains(&node.name.as_str())) {
        let xfrm = node.xfrm().await?;
        assert_eq!(xfrm.states.len(), 2, "{xfrm:#?}");
        ensure!(!xfrm.policies.is_empty(), "no policies");
        for entry in xfrm.states.iter().chain(&xfrm.policies) {
            assert!(entry.contains("if_id 0x2a"), "{entry}");
        }
    }
    let wire = lab.node("node-a").capture().await?;
    ping_pods(lab).await?;
    let packets = wire.stop().await?;
    // Questions and answers, both ways and over both families.
    assert_eq!(clear_echoes(&packets).len(), 24);
    // Deleting by index finds a policy of an interface only under its id.
    remove(lab, &manifests()).await
}
