//! The control plane that every other suite stands on: it is a real one, of the version pinned, with RBAC.

use anyhow::{Context, Result};
use esplanade_e2e::controlplane::{ControlPlane, binaries};
use esplanade_e2e::{isolation, kernel};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;

fn with_control_plane(body: impl AsyncFnOnce(&mut ControlPlane) -> Result<()> + Send) -> Result<()> {
    let binaries = binaries::locate(&|_| ())?;
    let dir = kernel::temp_dir()?;
    isolation::run(async || {
        let address = "127.0.0.1:0".parse().context("an address")?;
        body(&mut ControlPlane::start(dir.path(), address, binaries).await?).await
    })
}

#[test]
fn serves_the_pinned_version() -> Result<()> {
    with_control_plane(async |plane| {
        let version = plane.client().await?.apiserver_version().await?;
        let go_mod = include_str!("../controlplane/kubernetes/go.mod");
        assert!(go_mod.contains(&format!("k8s.io/kubernetes {} ", version.git_version)), "{version:?}");
        let kubectl = plane.kubectl(&["version"]).await?.ok()?;
        assert_eq!(kubectl.matches(&version.git_version).count(), 2, "{kubectl}");
        plane.helm(&["list", "--all-namespaces"]).await?.ok()?;
        plane.check()
    })
}

#[test]
fn a_token_without_rights_may_do_nothing() -> Result<()> {
    with_control_plane(async |plane| {
        let token = plane.kubectl(&["create", "token", "default"]).await?.ok()?;
        let nodes: Api<Node> = Api::all(plane.client_with(token.trim()).await?);
        let error = nodes.list(&ListParams::default()).await.expect_err("RBAC must refuse it");
        assert!(error.to_string().contains("system:serviceaccount:default:default"), "{error}");
        let nodes: Api<Node> = Api::all(plane.client_with("nobody").await?);
        let error = nodes.list(&ListParams::default()).await.expect_err("an unknown token must be refused");
        assert!(error.to_string().contains("Unauthorized"), "{error}");
        Ok(())
    })
}
