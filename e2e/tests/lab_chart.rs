//! The lab plays scheduler and kubelet for a chart: who gets started where, with what.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use esplanade_e2e::lab::{self, Config, Lab, NAMESPACE};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, PostParams};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn programs_of_a_chart_run_where_their_pods_are() -> Result<()> {
    lab::run(Config { nodes: 2, pods: 0 }, async |lab| {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab-chart");
        lab.install_chart(&chart, "level: debug").await?;
        for node in lab.nodes() {
            let agent = lab.agent(&node.name)?;
            lab.wait("the agent's words", SOON, async || {
                let said = agent.log();
                for expected in [
                    &format!("node {}", node.name),
                    &node.addresses.v4.to_string(),
                    // NET_ADMIN, bit 12, and nothing else.
                    "CapEff:\t0000000000001000",
                    "has a token",
                    "starts: 1",
                ] {
                    ensure!(said.contains(expected), "{expected:?} isn't in {said}");
                }
                Ok(())
            })
            .await?;
        }
        tokens_name_their_node(lab).await?;

        assert_eq!(lab.stop_agent("node-a").await?, 128 + 15);
        let agent = lab.start_agent("node-a").await?;
        lab.wait("/run/esplanade to outlive the agent", SOON, async || {
            ensure!(agent.log().contains("starts: 2"), "{}", agent.log());
            Ok(())
        })
        .await?;
        assert!(!lab.agent("node-b")?.log().contains("starts: 2"));

        let operator = lab.operator_log();
        assert!(operator.contains("I am operator-"), "{operator}");
        lab.stop_operator()?;
        lab.start_operator()?;
        lab.wait_condition(&format!("deployment/{NAMESPACE}/operator"), "Available", "True", SOON).await?;
        Ok(())
    })
}

async fn tokens_name_their_node(lab: &Lab) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(lab.client(), NAMESPACE);
    let agents = pods.list(&ListParams::default().labels("app=node-agent")).await?;
    assert_eq!(agents.items.len(), 2);
    for pod in agents {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).context("not bound")?;
        let token = lab.token_for_pod(NAMESPACE, &pod.metadata.name.context("a name")?).await?;
        let reviews: Api<SelfSubjectReview> = Api::all(lab.control_plane().client_with(&token).await?);
        let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
        let user = review.status.and_then(|status| status.user_info).context("no answer")?;
        assert_eq!(user.username.as_deref(), Some("system:serviceaccount:esplanade-system:teller"));
        let extra = user.extra.context("no extra")?;
        assert_eq!(extra["authentication.kubernetes.io/node-name"], [node]);
    }
    Ok(())
}
