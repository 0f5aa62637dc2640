//! The control plane's certificates and keys, made anew for each lab.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

/// Files of the control plane's keys.
#[derive(Debug)]
pub(super) struct Pki {
    /// Certificate authority, PEM.
    pub(super) ca_pem: String,
    /// The same, in a file.
    pub(super) ca: PathBuf,
    /// The API server's certificate.
    pub(super) certificate: PathBuf,
    /// The API server's key.
    pub(super) key: PathBuf,
    /// Signs service account tokens.
    pub(super) accounts: PathBuf,
    /// Verifies them.
    pub(super) accounts_public: PathBuf,
}

/// Makes a CA, the API server's certificate for these addresses, and the key of the service account tokens.
pub(super) fn create(dir: &Path, addresses: &[IpAddr]) -> Result<Pki> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "lab");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().context("making a key")?);
    let ca = ca.context("making the CA")?;

    let names = ["localhost", "kubernetes.default.svc"].map(str::to_owned).to_vec();
    let mut params = CertificateParams::new(names).context("the API server's names")?;
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
    let key = KeyPair::generate().context("making a key")?;
    let certificate = params.signed_by(&key, &ca).context("making the API server's certificate")?;
    let accounts = KeyPair::generate().context("making a key")?;

    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        anyhow::Ok(path)
    };
    Ok(Pki {
        ca_pem: ca.pem(),
        ca: write("ca.crt", &ca.pem())?,
        certificate: write("kube-apiserver.crt", &certificate.pem())?,
        key: write("kube-apiserver.key", &key.serialize_pem())?,
        accounts: write("service-accounts.key", &accounts.serialize_pem())?,
        accounts_public: write("service-accounts.pub", &accounts.public_key_pem())?,
    })
}
