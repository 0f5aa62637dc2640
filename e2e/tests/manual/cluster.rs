//! A lab with Esplanade installed, and what the tests ask of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use esplanade_e2e::controlplane::binaries::workspace;
use esplanade_e2e::kernel;
use esplanade_e2e::lab::{self, Config, Lab, NAMESPACE};
use kube::api::DynamicObject;

/// How long the system may take to do what it was told, also on a kernel in QEMU, which an agent may ask for half a
/// minute what it can do.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// Runs `body` in a lab with the chart installed and every agent ready.
pub(crate) fn with_esplanade(
    config: Config,
    body: impl AsyncFnOnce(&Lab) -> Result<()> + Send,
) -> Result<()> {
    with_values(config, "", body)
}

/// [`with_esplanade`], the chart installed with values (YAML).
pub(crate) fn with_values(
    config: Config,
    values: &str,
    body: impl AsyncFnOnce(&Lab) -> Result<()> + Send,
) -> Result<()> {
    lab::run(config, async |lab| {
        lab.install_esplanade(values, SOON).await?;
        body(lab).await
    })
}

/// `kubectl` as the cluster's admin; what it printed.
pub(crate) async fn kubectl(lab: &Lab, args: &[&str]) -> Result<String> {
    lab.control_plane().kubectl(args).await?.ok()
}

/// Whether the nodes' kernel has this capability.
pub(crate) async fn kernel_has(lab: &Lab, capability: &str) -> Result<bool> {
    let state = lab.get("ipsecnodestate/node-a").await?;
    let capabilities =
        state.data["status"]["kernel"]["capabilities"].as_array().context("no capabilities")?;
    ensure!(capabilities.iter().any(|one| one == "ESPOverIPv4"), "{capabilities:?}");
    Ok(capabilities.iter().any(|one| one == capability))
}

/// [`kernel_has`], for what no kernel lacks that is to have everything.
pub(crate) async fn kernel_can(lab: &Lab, capability: &str) -> Result<bool> {
    let can = kernel_has(lab, capability).await?;
    ensure!(can || !kernel::has_everything(), "this kernel is to have {capability}");
    Ok(can)
}

/// Makes or replaces a Secret in the operator's namespace, with a random key of each length (in bytes).
pub(crate) async fn secret(lab: &Lab, name: &str, keys: &[(&str, usize)]) -> Result<()> {
    let data: Vec<String> = keys
        .iter()
        .map(|(key, length)| {
            let bytes: Vec<u8> = std::iter::repeat_with(rand::random::<u8>).take(*length).collect();
            format!("{key}: {}", base64::engine::general_purpose::STANDARD.encode(bytes))
        })
        .collect();
    let data = data.join(", ");
    lab.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\ndata: {{{data}}}\n"
    ))
    .await
}

/// The manifests of IpsecSAs NAME-ab and NAME-ba between node-a and node-b, with these SPIs and the keys of the Secret
/// `keys`; `rest` is another line of their specs.
pub(crate) fn pair(name: &str, [ab, ba]: [u32; 2], rest: &str) -> String {
    let sa = |way: &str, source: &str, destination: &str, spi: u32| {
        format!(
            "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecSA\nmetadata: {{name: {name}-{way}}}\nspec:\n  \
             source: {{node: {source}}}\n  destination: {{node: {destination}}}\n  spi: {spi}\n  {rest}\n  \
             encryption: {{algorithm: AES-CBC-256, keySecretRef: {{name: keys, key: encryption}}}}\n  \
             integrity: {{algorithm: HMAC-SHA2-256-128, keySecretRef: {{name: keys, key: integrity}}}}\n"
        )
    };
    [sa("ab", "node-a", "node-b", ab), sa("ba", "node-b", "node-a", ba)].concat()
}

/// The reason and the message of one of an object's conditions.
pub(crate) fn condition(object: &DynamicObject, kind: &str) -> Result<(String, String)> {
    let conditions = object.data["status"]["conditions"].as_array().context("no conditions")?;
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    let found = found.with_context(|| format!("no condition {kind}"))?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Ok((text("reason"), text("message")))
}

/// Of how many policies a node is told; each revision counts.
pub(crate) async fn told(lab: &Lab, node: &str) -> Result<usize> {
    let object = lab.get(&format!("ipsecnodestate/{node}")).await?;
    Ok(object.data["spec"]["policies"].as_array().map_or(0, Vec::len))
}

/// Every node is told of one policy and no other, nor of another revision.
pub(crate) async fn told_of_one(lab: &Lab) -> Result<()> {
    lab.wait("no policy but one", SOON, async || {
        for node in lab.nodes() {
            let told = told(lab, &node.name).await?;
            ensure!(told == 1, "{}: {told} policies", node.name);
        }
        Ok(())
    })
    .await
}

/// What an agent that was started again says until it is in sync.
pub(crate) async fn in_sync_again(lab: &Lab, node: &str) -> Result<String> {
    lab.wait("the agent to be in sync", SOON, async || {
        let log = lab.agent(node)?.log();
        // What the ones before said is there as well.
        let (_, last) = log.rsplit_once("\"starting\"").context("no agent")?;
        ensure!(log.matches("\"starting\"").count() > 1 && last.contains("\"in sync\""), "{log}");
        Ok(last.to_owned())
    })
    .await
}

/// The example that the README starts with, its Secrets made, and Programmed.
pub(crate) async fn example(lab: &Lab) -> Result<()> {
    for name in ["ipsec-a-to-b", "ipsec-b-to-a"] {
        secret(lab, name, &[("encryption", 32), ("integrity", 32)]).await?;
    }
    let folder = workspace().join("examples/manual");
    kubectl(lab, &["apply", "-f", folder.to_str().context("UTF-8")?]).await?;
    for what in ["ipsecsa/a-to-b", "ipsecsa/b-to-a", "ipsecpolicy/pods"] {
        lab.wait_condition(what, "Programmed", "True", SOON).await?;
    }
    Ok(())
}

/// Takes the example's objects away, but not its Secrets.
pub(crate) async fn remove_example(lab: &Lab) -> Result<()> {
    let folder = workspace().join("examples/manual");
    kubectl(lab, &["delete", "-f", folder.to_str().context("UTF-8")?]).await?;
    Ok(())
}

/// Takes objects away, and waits until no kernel has any SA or policy.
pub(crate) async fn remove(lab: &Lab, manifests: &str) -> Result<()> {
    remove_all_but(lab, manifests, |_| false).await
}

/// The same, but for policies that stay.
pub(crate) async fn remove_all_but(lab: &Lab, manifests: &str, stays: impl Fn(&str) -> bool) -> Result<()> {
    lab.delete(manifests).await?;
    lab.wait("empty kernels", SOON, async || {
        for node in lab.nodes() {
            let xfrm = node.xfrm().await?;
            let gone = xfrm.policies.iter().all(|policy| stays(policy));
            ensure!(xfrm.states.is_empty() && gone, "{xfrm:#?}");
        }
        Ok(())
    })
    .await
}
