//! What kubectl shows.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use esplanade_e2e::controlplane::ControlPlane;

const POLICIES: &str = r#"
apiVersion: esplanade.dev/v1alpha1
kind: IpsecPolicy
metadata: {name: pods}
spec: {from: [{podCIDRs: {}}], protection: {}}
---
apiVersion: esplanade.dev/v1alpha1
kind: IpsecPolicy
metadata: {name: ssh}
spec: {action: Bypass, from: [{nodes: {}}], traffic: [{protocol: TCP, port: 22}]}
"#;

const SAS: &str = r#"
apiVersion: esplanade.dev/v1alpha1
kind: IpsecSA
metadata: {name: asked}
spec:
  source: {node: a}
  destination: {address: 192.0.2.1}
  spi: 4294967295
  protocol: AH
  integrity: {algorithm: HMAC-SHA2-256-128, keySecretRef: {name: a, key: k}}
---
apiVersion: esplanade.dev/v1alpha1
kind: IpsecSA
metadata: {name: allocated}
spec:
  source: {node: a}
  destination: {node: b}
  protocol: AH
  mode: Transport
  integrity: {algorithm: HMAC-SHA2-256-128, keySecretRef: {name: a, key: k}}
"#;

const NODES: &str = r#"
apiVersion: esplanade.dev/v1alpha1
kind: IpsecNodeState
metadata: {name: a}
spec: {}
---
apiVersion: esplanade.dev/v1alpha1
kind: IpsecPeer
metadata: {name: a}
spec: {addresses: [192.0.2.1, "2001:db8::1"]}
"#;

/// `kubectl get` of each kind, before and after there is a status.
pub(crate) async fn columns(plane: &ControlPlane) -> Result<()> {
    for manifest in [POLICIES, SAS, NODES] {
        plane.kubectl_with(plane.admin_token(), &["apply", "--filename", "-"], manifest).await?.ok()?;
    }
    same(
        &table(plane, "ipp").await?,
        "\
        NAME|ACTION|MODE|PHASE|NODES|AGE
        pods|Protect|Tunnel|||
        ssh|Bypass||||",
    )?;
    same(
        &table(plane, "ipsa").await?,
        "\
        NAME|SOURCE|DESTINATION|PROTOCOL|MODE|SPI|PROGRAMMED|REASON|AGE
        allocated|a|b|AH|Transport||||
        asked|a|192.0.2.1|AH|Tunnel|4294967295|||",
    )?;
    same(
        &table(plane, "ipns").await?,
        "\
        NAME|READY|SAS|POLICIES|KERNEL|MESSAGE|AGE
        a||||||",
    )?;
    same(
        &table(plane, "ippeer").await?,
        "\
        NAME|ADDRESS|AGE
        a|192.0.2.1|",
    )?;

    let condition = |kind: &str, status: &str, reason: &str| {
        format!(
            r#"{{"type":"{kind}","status":"{status}","reason":"{reason}","message":"said so",
                "lastTransitionTime":"2026-01-02T03:04:05Z"}}"#
        )
    };
    let programmed = condition("Programmed", "True", "Programmed");
    let statuses = [
        (
            "ipp/pods",
            format!(
                r#"{{"phase":"Ready","nodes":{{"desired":5,"ready":5,"summary":"5/5"}},
                 "conditions":[{programmed}]}}"#
            ),
        ),
        ("ipsa/asked", format!(r#"{{"spi":4294967295,"conditions":[{programmed}]}}"#)),
        (
            "ipsa/allocated",
            format!(
                r#"{{"spi":3000000000,"conditions":[{}]}}"#,
                condition("Programmed", "False", "KernelError")
            ),
        ),
        (
            "ipns/a",
            format!(
                r#"{{"conditions":[{},{}],"kernel":{{"release":"6.1.0"}},
                 "counts":{{"securityAssociations":2,"policies":3,
                            "foreignSecurityAssociations":0,"foreignPolicies":0}}}}"#,
                condition("Ready", "False", "Degraded"),
                condition("Degraded", "True", "KernelError"),
            ),
        ),
    ];
    for (object, status) in &statuses {
        let patch = format!(r#"{{"status":{status}}}"#);
        let args = ["patch", object, "--subresource=status", "--type=merge", "--patch", &patch];
        plane.kubectl(&args).await?.ok()?;
    }
    same(
        &table(plane, "ipp").await?,
        "\
        NAME|ACTION|MODE|PHASE|NODES|AGE
        pods|Protect|Tunnel|Ready|5/5|
        ssh|Bypass||||",
    )?;
    same(
        &table(plane, "ipsa").await?,
        "\
        NAME|SOURCE|DESTINATION|PROTOCOL|MODE|SPI|PROGRAMMED|REASON|AGE
        allocated|a|b|AH|Transport|3000000000|False|KernelError|
        asked|a|192.0.2.1|AH|Tunnel|4294967295|True|Programmed|",
    )?;
    same(
        &table(plane, "ipns").await?,
        "\
        NAME|READY|SAS|POLICIES|KERNEL|MESSAGE|AGE
        a|False|2|3|6.1.0|said so|",
    )?;
    let all = plane.kubectl(&["get", "esplanade", "--output=name"]).await?.ok()?;
    ensure!(all.lines().count() == 6, "kubectl get esplanade: {all}");
    Ok(())
}

fn same(shown: &str, expected: &str) -> Result<()> {
    let expected: Vec<&str> = expected.lines().map(str::trim).collect();
    let expected = expected.join("\n");
    ensure!(shown == expected, "expected:\n{expected}\nshown:\n{shown}");
    Ok(())
}

/// A table as kubectl prints it, its cells parted by `|`, without ages.
async fn table(plane: &ControlPlane, kind: &str) -> Result<String> {
    let text = plane.kubectl(&["get", kind]).await?.ok()?;
    let header = text.lines().next().unwrap_or_default();
    // Cells start where the header's words do: an empty cell leaves only spaces.
    let bytes = header.as_bytes();
    let starts: Vec<usize> =
        (0..bytes.len()).filter(|&at| bytes[at] != b' ' && (at == 0 || bytes[at - 1] == b' ')).collect();
    let lines = text.lines().enumerate().map(|(number, line)| {
        let cells = starts.iter().enumerate().map(|(i, &start)| {
            let end = starts.get(i + 1).copied().unwrap_or(line.len()).min(line.len());
            let age = i + 1 == starts.len() && number > 0;
            if age { "" } else { line.get(start..end).unwrap_or_default().trim() }
        });
        cells.collect::<Vec<_>>().join("|")
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// `kubectl explain`: each field with its own words.
pub(crate) async fn explanations(plane: &ControlPlane) -> Result<()> {
    let protection = explain(plane, "ipsecpolicy.spec.protection").await?;
    for words in [
        "mode <string> enum: Tunnel, Transport, BEET, IPTFS `Tunnel`: the whole packet inside a new one.",
        "Algorithms, with automatic keys, by their names in RFC 8221;",
        "Default: a window of 1024 packets and extended sequence numbers.",
    ] {
        ensure!(protection.contains(words), "no {words:?} in: {protection}");
    }
    let sa = explain(plane, "ipsa.spec").await?;
    for words in
        ["source <Object> -required- Where packets come from.", "Which of the nodes' addresses carry the SA."]
    {
        ensure!(sa.contains(words), "no {words:?} in: {sa}");
    }
    let selector = explain(plane, "ipp.spec.from.nodes.matchExpressions").await?;
    ensure!(
        selector.contains("operator <string> -required- enum: In, NotIn, Exists, DoesNotExist"),
        "{selector}"
    );
    Ok(())
}

/// Its words with single spaces. The API server publishes a new CRD's documentation a little later than the CRD.
async fn explain(plane: &ControlPlane, field: &str) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let outcome = plane.kubectl(&["explain", field]).await?;
        if outcome.success() || Instant::now() > deadline {
            return Ok(outcome.ok()?.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
