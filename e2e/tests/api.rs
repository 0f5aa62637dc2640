//! The API as users meet it: a real API server with our CRDs, a table of valid and invalid objects, and what kubectl
//! shows of them.

#[path = "api/documents.rs"]
mod documents;
#[path = "api/judge.rs"]
mod judge;
#[path = "api/kubectl.rs"]
mod kubectl;
#[path = "api/server.rs"]
mod server;
#[path = "api/table.rs"]
mod table;

use anyhow::{Result, ensure};

/// Every object of the table is accepted with the defaults it names, or refused with the message it names.
#[test]
fn every_object_of_the_table() -> Result<()> {
    let files = table::read()?;
    server::with_crds(async |plane| {
        let server = server::Server::new(plane.client().await?);
        let (mut failures, mut count) = (Vec::new(), 0);
        for file in &files {
            for case in &file.cases {
                count += 1;
                let answer = server.answer(file.kind, case).await?;
                if let Err(difference) = judge::judge(case, &answer) {
                    failures.push(format!("{}: {}\n{difference}", file.name, case.name));
                }
            }
        }
        let failed = failures.len();
        ensure!(failures.is_empty(), "{failed} of {count} objects:\n\n{}", failures.join("\n\n"));
        Ok(())
    })
}

/// `kubectl get` has the columns, and `kubectl explain` the words, that a user needs.
#[test]
fn kubectl_shows_it_well() -> Result<()> {
    server::with_crds(async |plane| {
        kubectl::columns(plane).await?;
        kubectl::explanations(plane).await
    })
}

/// What README and the other documents show can be applied as it stands there.
#[test]
fn what_the_documents_show_is_accepted() -> Result<()> {
    let documents = documents::read()?;
    server::with_crds(async |plane| {
        let mut failures = Vec::new();
        for shown in &documents {
            let apply = ["apply", "--dry-run=server", "--validate=strict", "--filename", "-"];
            let outcome = plane.kubectl_with(plane.admin_token(), &apply, &shown.manifest).await?;
            if let Err(error) = outcome.ok() {
                failures.push(format!("{}: {error:#}", shown.place));
            }
        }
        ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
        Ok(())
    })
}
