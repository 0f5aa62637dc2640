//! An API server whose CRDs aren't the operator's.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::installed::{self, eventually};
use crate::{POLICY, STATES, condition};

const ADMISSION: &str = "admissionregistration.k8s.io/v1";

/// Helm doesn't upgrade CRDs, so an operator may meet those of another version.
#[test]
fn crds_of_another_version_cost_only_the_objects_that_they_spoil() -> Result<()> {
    installed::run(async |installed| {
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
        let crd = |plural: &str| {
            format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.esplanade.dev")
        };
        // A field that this API server doesn't know, one that it keeps otherwise, and a value that this operator doesn't
        // know.
        let json_patch = "application/json-patch+json";
        let drop = json!([{"op": "remove", "path": format!("{spec}/properties/addresses")}]);
        installed.admin.ask("PATCH", &crd("ipsecpeers"), json_patch, &drop).await?;
        let alter = json!({"apiVersion": ADMISSION, "kind": "MutatingAdmissionPolicy", "metadata": {"name": "alter"},
            "spec": {"failurePolicy": "Fail", "reinvocationPolicy": "Never",
                "matchConstraints": {"resourceRules": [{"apiGroups": ["esplanade.dev"], "apiVersions": ["*"],
                    "operations": ["CREATE", "UPDATE"], "resources": ["ipsecnodestates"]}]},
                "matchConditions": [{"name": "a", "expression": "object.metadata.name == 'node-a'"}],
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression":
                    "[JSONPatch{op: 'add', path: '/spec/keys', value: Object.spec.keys{acknowledged: 'x'}}]"}}]}});
        let binding = json!({"apiVersion": ADMISSION, "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": "alter"}, "spec": {"policyName": "alter"}});
        installed.admin.create(&format!("/apis/{ADMISSION}/mutatingadmissionpolicies"), &alter).await?;
        installed
            .admin
            .create(&format!("/apis/{ADMISSION}/mutatingadmissionpolicybindings"), &binding)
            .await?;
        let allow = json!([{"op": "remove", "path": format!("{spec}/properties/action/enum")}]);
        installed.admin.ask("PATCH", &crd("ipsecpolicies"), json_patch, &allow).await?;
        let policy = |action: &str| {
            json!({"apiVersion": "esplanade.dev/v1alpha1", "kind": "IpsecPolicy", "metadata": {"name": "pods"},
                "spec": {"action": action, "from": [{"podCIDRs": {}}]}})
        };
        eventually("the changed CRD", async || {
            installed.admin.apply(POLICY, &policy("Scramble"), "user").await
        })
        .await?;

        let state = format!("{STATES}/node-a");
        eventually("the mutating policy", async || {
            let empty = json!({"apiVersion": "esplanade.dev/v1alpha1", "kind": "IpsecNodeState",
                "metadata": {"name": "node-a"}, "spec": {}});
            let made = installed.admin.apply(&state, &empty, "probe").await?;
            installed.admin.delete(&state).await?;
            ensure!(made["spec"]["keys"]["acknowledged"] == "x", "{made}");
            Ok(())
        })
        .await?;

        let operator = installed.start_operator("operator-0", &[]).await?;
        eventually("the operator to tell", async || {
            let log = operator.log();
            ensure!(log.contains(".spec.addresses: field not declared in schema: are the CRDs those of"), "{log}");
            let told = "can't apply IpsecNodeState node-a: the API server stores it otherwise than it was written, at /keys";
            ensure!(log.contains(told), "{log}");
            Ok(())
        })
        .await?;
        operator.explain(condition(installed, POLICY, "Accepted", "False", "Invalid").await)?;
        let told = installed.admin.get(POLICY).await?["status"]["conditions"][0]["message"].to_string();
        assert!(
            told.contains("the operator can't read this object: ") && told.contains("Scramble"),
            "{told}"
        );
        // Everything else goes on, and the policy too once it is mended.
        installed.admin.get(&format!("{STATES}/node-b")).await?;
        installed.admin.apply(POLICY, &policy("Discard"), "user").await?;
        operator.explain(condition(installed, POLICY, "Accepted", "True", "Accepted").await)
    })
}
