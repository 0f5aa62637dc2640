//! Applying, deleting and reading objects of any kind.

use anyhow::{Context, Result, ensure};
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::core::discovery::Scope;
use kube::discovery::{self, ApiCapabilities, Discovery};
use serde::Deserialize;

use super::Lab;
use super::wait::LONG;

impl Lab {
    /// Applies manifests (documents divided by `---`) on the server's side, as the field manager `lab`. A
    /// CustomResourceDefinition is established when this returns.
    ///
    /// # Errors
    /// The API server refuses one, in its words; those before are applied.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        for object in documents(yaml)? {
            let (api, name) = self.api(&object).await?;
            let patch = PatchParams::apply("lab").force();
            let applied = api.patch(&name, &patch, &Patch::Apply(&object)).await;
            applied.with_context(|| format!("applying {}", describe(&object)))?;
            if object.types.as_ref().is_some_and(|types| types.kind == "CustomResourceDefinition") {
                let what = format!("customresourcedefinitions/{name}");
                self.wait_condition(&what, "Established", "True", LONG).await?;
            }
        }
        Ok(())
    }

    /// Deletes the objects of manifests, last first, and waits until they are gone.
    ///
    /// # Errors
    /// One isn't there, or a finalizer holds it.
    pub async fn delete(&self, yaml: &str) -> Result<()> {
        for object in documents(yaml)?.iter().rev() {
            let (api, name) = self.api(object).await?;
            let what = describe(object);
            let deleted = api.delete(&name, &DeleteParams::default()).await;
            deleted.with_context(|| format!("deleting {what}"))?;
            self.wait(&format!("{what} to be gone"), LONG, async || {
                let Some(left) = api.get_opt(&name).await? else { return Ok(()) };
                anyhow::bail!("it is still there, with the finalizers {:?}", left.metadata.finalizers)
            })
            .await?;
        }
        Ok(())
    }

    /// An object by KIND/NAME or KIND/NAMESPACE/NAME; the kind or its plural, with or without `.GROUP`,
    /// in any case.
    pub async fn get(&self, what: &str) -> Result<DynamicObject> {
        let (api, name) = self.find(what).await?;
        api.get(&name).await.with_context(|| what.to_owned())
    }

    /// The API for the object that KIND/NAME or KIND/NAMESPACE/NAME means, and its name.
    pub(super) async fn find(&self, what: &str) -> Result<(Api<DynamicObject>, String)> {
        let mut parts = what.splitn(2, '/');
        let (kind, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        ensure!(!rest.is_empty(), "{what}: write KIND/NAME or KIND/NAMESPACE/NAME");
        let discovery = Discovery::new(self.client()).run_aggregated().await.context("discovery")?;
        let all = discovery.groups().flat_map(|group| group.recommended_resources());
        let found = all.into_iter().find(|(resource, _)| names(resource, kind));
        let (resource, capabilities) = found.with_context(|| format!("the API server has no kind {kind}"))?;
        let (namespace, name) = rest.split_once('/').unwrap_or(("default", rest));
        Ok((self.dynamic(&resource, &capabilities, Some(namespace)), name.to_owned()))
    }

    async fn api(&self, object: &DynamicObject) -> Result<(Api<DynamicObject>, String)> {
        let types = object.types.as_ref().context("a manifest without apiVersion and kind")?;
        let gvk = GroupVersionKind::try_from(types).context("apiVersion")?;
        let name = object.metadata.name.clone().context("a manifest without metadata.name")?;
        let resource = discovery::pinned_kind(&self.client(), &gvk).await;
        let (resource, capabilities) = resource
            .with_context(|| format!("the API server has no {} of {}", gvk.kind, types.api_version))?;
        Ok((self.dynamic(&resource, &capabilities, object.metadata.namespace.as_deref()), name))
    }

    fn dynamic(
        &self,
        resource: &ApiResource,
        capabilities: &ApiCapabilities,
        namespace: Option<&str>,
    ) -> Api<DynamicObject> {
        match capabilities.scope {
            Scope::Cluster => Api::all_with(self.client(), resource),
            Scope::Namespaced => {
                Api::namespaced_with(self.client(), namespace.unwrap_or("default"), resource)
            }
        }
    }
}

fn names(resource: &ApiResource, kind: &str) -> bool {
    let (kind, group) = kind.split_once('.').map_or((kind, None), |(kind, group)| (kind, Some(group)));
    group.is_none_or(|group| resource.group.eq_ignore_ascii_case(group))
        && [&resource.kind, &resource.plural].iter().any(|name| name.eq_ignore_ascii_case(kind))
}

fn describe(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("object", |types| &types.kind);
    format!("{kind} {}", object.metadata.name.as_deref().unwrap_or("without a name"))
}

/// The documents of a YAML text, empty ones left out.
pub(super) fn documents(yaml: &str) -> Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for document in serde_yaml::Deserializer::from_str(yaml) {
        let value = serde_yaml::Value::deserialize(document).context("the manifests aren't YAML")?;
        if !value.is_null() {
            objects.push(serde_yaml::from_value(value).context("a manifest isn't an object")?);
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::documents;

    #[test]
    fn manifests_are_divided_and_empty_ones_left_out() {
        let yaml = "---\n# nothing\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: a}\n---\napiVersion: v1\n\
                    kind: Secret\nmetadata: {name: b}\n";
        let names: Vec<_> = documents(yaml).unwrap().into_iter().map(|o| o.metadata.name.unwrap()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(documents("a: [").is_err());
    }
}
