//! Which packets a policy is for, and what becomes of them.

use anyhow::Result;
use esplanade_e2e::lab::Config;

use crate::cluster::with_esplanade;

#[test]
fn a_policy_treats_the_packets_it_is_for() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        crate::icmp::check(lab).await.map_err(|error| error.context("icmp"))?;
        crate::marks::check(lab).await.map_err(|error| error.context("marks"))?;
        crate::errors::check(lab).await.map_err(|error| error.context("errors"))
    })
}
