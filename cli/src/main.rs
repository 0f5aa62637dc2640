//! `kubectl esplanade`: what kubectl alone doesn't show. On the PATH it is a kubectl plugin; it also runs by itself.
#![allow(clippy::print_stdout, clippy::print_stderr)] // what it prints is its result

use std::fmt::Debug;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;

mod rotate;
mod status;

/// What kubectl alone doesn't show of Esplanade.
#[derive(Debug, Parser)]
#[command(name = "kubectl esplanade", version)]
struct Args {
    /// The kubeconfig's context to use.
    #[arg(long, global = true)]
    context: Option<String>,
    /// The kubeconfig file. Default: $KUBECONFIG, then ~/.kube/config, in a Pod its ServiceAccount.
    #[arg(long, global = true)]
    kubeconfig: Option<std::path::PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what isn't as it should be, and on which nodes. Exits with 1 if anything isn't, with 2 if it can't tell.
    Status,
    /// Have nodes make new automatic keys now. No packet is lost. Exits with 1 if --wait took too long.
    Rotate(rotate::Rotate),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let run = || -> Result<bool> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run(&args))
    };
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs the command; false when something isn't as it should be.
async fn run(args: &Args) -> Result<bool> {
    let client = client(args).await.context("finding the API server")?;
    match &args.command {
        Command::Rotate(asked) => rotate::run(asked, &client).await,
        Command::Status => {
            let (policies, sas, states) = (list(&client).await?, list(&client).await?, list(&client).await?);
            let report = status::report(&policies, &sas, &states);
            print!("{}", report.text);
            Ok(report.fine)
        }
    }
}

async fn client(args: &Args) -> Result<Client> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let config = match &args.kubeconfig {
        Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
        None if options.context.is_some() => Config::from_kubeconfig(&options).await?,
        None => Config::infer().await?,
    };
    Ok(Client::try_from(config)?)
}

/// All objects of a kind, by name.
async fn list<K>(client: &Client) -> Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let objects = Api::<K>::all(client.clone()).list(&ListParams::default()).await;
    let mut objects = objects.with_context(|| format!("listing {}", K::plural(&())))?.items;
    objects.sort_by(|a, b| a.meta().name.cmp(&b.meta().name));
    Ok(objects)
}
