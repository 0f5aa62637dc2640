//! What the API server and `kubectl explain` want of a schema beyond what its types say.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// Finishes every schema of a CRD.
pub(crate) fn crd(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        if let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            schema(root);
        }
    }
    crd
}

/// Takes the rules out of a field. What the operator writes was checked where users wrote it, and in lists without an end
/// the API server won't have rules that cost something.
pub(crate) fn without_rules(mut crd: CustomResourceDefinition, field: &str) -> CustomResourceDefinition {
    fn strip(this: &mut JSONSchemaProps) {
        this.x_kubernetes_validations = None;
        children(this).into_iter().for_each(strip);
    }
    for version in &mut crd.spec.versions {
        let root = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let fields = root.and_then(|root| root.properties.as_mut());
        fields.and_then(|fields| fields.get_mut(field)).into_iter().for_each(strip);
    }
    crd
}

fn schema(this: &mut JSONSchemaProps) {
    // An explicit null then counts as left out, and gets the default; a stored null would pass has() in rules.
    this.nullable = None;
    if let Some(description) = &mut this.description {
        *description = paragraphs(description);
    }
    // The API server knows no unsigned formats, and warns.
    let bounds = match this.format.as_deref() {
        Some("uint8") => Some(("int32", f64::from(u8::MAX))),
        Some("uint16") => Some(("int32", f64::from(u16::MAX))),
        Some("uint32") => Some(("int64", f64::from(u32::MAX))),
        _ => None,
    };
    if let Some((format, maximum)) = bounds {
        this.format = Some(format.to_owned());
        this.minimum.get_or_insert(0.0);
        this.maximum.get_or_insert(maximum);
    }
    children(this).into_iter().for_each(schema);
}

fn children(this: &mut JSONSchemaProps) -> Vec<&mut JSONSchemaProps> {
    let properties = this.properties.iter_mut().flat_map(|properties| properties.values_mut());
    let items = this.items.iter_mut().flat_map(|items| match items {
        JSONSchemaPropsOrArray::Schema(item) => vec![&mut **item],
        JSONSchemaPropsOrArray::Schemas(items) => items.iter_mut().collect(),
    });
    let values = this.additional_properties.iter_mut().filter_map(|values| match values {
        JSONSchemaPropsOrBool::Schema(value) => Some(&mut **value),
        JSONSchemaPropsOrBool::Bool(_) => None,
    });
    properties.chain(items).chain(values).collect()
}

/// Joins the lines of each paragraph: `kubectl explain` breaks them anew.
fn paragraphs(text: &str) -> String {
    let paragraphs =
        text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}
