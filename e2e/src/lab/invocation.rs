//! How a container's spec becomes a command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Container, EnvVar, SecurityContext};

/// The program with its arguments, held to the container's capabilities, and its environment. `entrypoint` stands for
/// the image's, which the container's `command` overrides.
///
/// The user stays root, whoever the container wants to be: another one couldn't read a checkout in root's home.
pub(super) fn invocation(
    container: &Container,
    entrypoint: impl FnOnce() -> Result<PathBuf>,
    field: impl Fn(&str) -> Result<String>,
) -> Result<(Vec<String>, BTreeMap<String, String>)> {
    let mut env = BTreeMap::new();
    for variable in container.env.iter().flatten() {
        let value = value(variable, &field).with_context(|| format!("variable {}", variable.name))?;
        env.insert(variable.name.clone(), expand(&value, &env));
    }
    let mut argv = confinement(container.security_context.as_ref());
    match container.command.as_deref() {
        None | Some([]) => {
            let path = entrypoint()?;
            argv.push(path.to_str().context("the program's path isn't UTF-8")?.to_owned());
        }
        Some(command) => argv.extend(command.iter().map(|word| expand(word, &env))),
    }
    argv.extend(container.args.iter().flatten().map(|argument| expand(argument, &env)));
    Ok((argv, env))
}

fn value(variable: &EnvVar, field: &impl Fn(&str) -> Result<String>) -> Result<String> {
    let Some(from) = &variable.value_from else { return Ok(variable.value.clone().unwrap_or_default()) };
    let reference = from.field_ref.as_ref();
    field(&reference.context("the lab knows only valueFrom.fieldRef")?.field_path)
}

/// `$(NAME)` becomes the variable's value; what isn't known stays.
fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let replace =
        |text: String, (name, value): (&String, &String)| text.replace(&format!("$({name})"), value);
    env.iter().fold(text.to_owned(), replace)
}

/// `setpriv` as the container runtime would do it.
fn confinement(context: Option<&SecurityContext>) -> Vec<String> {
    let capabilities = context.and_then(|context| context.capabilities.as_ref());
    let drop = capabilities.and_then(|c| c.drop.as_ref());
    let mut words = Vec::new();
    if drop.is_some_and(|names| names.iter().any(|name| name == "ALL")) {
        let mut set = "-all".to_owned();
        for name in capabilities.and_then(|c| c.add.as_ref()).into_iter().flatten() {
            set.push_str(",+");
            set.push_str(&name.to_lowercase());
        }
        words.extend([format!("--bounding-set={set}"), format!("--inh-caps={set}")]);
    }
    if context.and_then(|context| context.allow_privilege_escalation) == Some(false) {
        words.push("--no-new-privs".to_owned());
    }
    if !words.is_empty() {
        words.insert(0, "setpriv".to_owned());
        words.push("--".to_owned());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(yaml: &str) -> Container {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[test]
    fn arguments_and_environment_come_from_the_spec() {
        let container = container(
            "name: node-agent
args: [--node=$(NODE_NAME), --unknown=$(OTHER)]
env:
- {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
- {name: GREETING, value: hello $(NODE_NAME)}
securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_ADMIN]}}",
        );
        let field = |path: &str| Ok(format!("<{path}>"));
        let (argv, env) = invocation(&container, || Ok("/bin/agent".into()), field).unwrap();
        let confined = ["setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all,+net_admin"];
        assert_eq!(argv[..3], confined);
        let rest = ["--no-new-privs", "--", "/bin/agent", "--node=<spec.nodeName>", "--unknown=$(OTHER)"];
        assert_eq!(argv[3..], rest);
        assert_eq!(env["GREETING"], "hello <spec.nodeName>");
    }

    #[test]
    fn a_command_stands_for_the_entrypoint() {
        let container = container("{name: x, command: [sh, -c], args: [exit]}");
        let (argv, _) = invocation(&container, || anyhow::bail!("not asked"), |_| Ok(String::new())).unwrap();
        assert_eq!(argv, ["sh", "-c", "exit"]);
    }

    #[test]
    fn what_the_lab_cant_resolve_is_an_error() {
        let container =
            container("{name: x, env: [{name: A, valueFrom: {secretKeyRef: {name: a, key: b}}}]}");
        let error = invocation(&container, || Ok("/x".into()), |_| Ok(String::new())).unwrap_err();
        assert!(format!("{error:#}").contains("variable A"), "{error:#}");
    }
}
