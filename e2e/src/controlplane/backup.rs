//! Backups of etcd, and going back to one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{ControlPlane, access, kill, processes};

impl ControlPlane {
    /// Saves a snapshot of etcd while it runs; the file is below the lab's folder.
    ///
    /// # Errors
    /// etcdctl fails: the message has its words.
    pub async fn save_snapshot(&self) -> Result<PathBuf> {
        let file = self.dir.join("snapshot.db");
        let endpoints = format!("--endpoints={}", self.api_server_args.etcd);
        let args = [&endpoints, "snapshot", "save", utf8(&file)?];
        self.to_its_end(&self.binaries.etcdctl, "etcdctl", &args).await?;
        Ok(file)
    }

    /// Ends the controllers, the API server and etcd. What is in etcd stays.
    pub fn stop(&self) {
        kill(&self.controller_manager);
        self.stop_api_server();
        kill(&self.etcd);
    }

    /// After [`ControlPlane::stop`]: what is in the snapshot takes the place of what is in etcd. `flags` are those of
    /// `etcdutl snapshot restore`, beyond the ones that say which member this is.
    ///
    /// # Errors
    /// etcdutl fails: the message has its words.
    pub async fn restore(&self, snapshot: &Path, flags: &[&str]) -> Result<()> {
        let data = processes::etcd_data(&self.dir);
        std::fs::remove_dir_all(&data).context("removing what was in etcd")?;
        let member = processes::etcd_member();
        let mut args = vec!["snapshot", "restore", utf8(snapshot)?, "--data-dir", utf8(&data)?];
        args.extend(flags.iter().copied().chain(member.iter().map(String::as_str)));
        self.to_its_end(&self.binaries.etcdutl, "etcdutl", &args).await
    }

    /// Starts all of it again, and waits until the API server serves.
    ///
    /// # Errors
    /// It doesn't within a minute.
    pub async fn start_again(&self) -> Result<()> {
        let (etcd, _) = processes::etcd(&self.dir, &self.binaries.etcd)?;
        self.etcd.replace(Some(etcd));
        self.start_api_server().await?;
        self.start_controller_manager()
    }

    async fn to_its_end(&self, program: &Path, name: &str, args: &[&str]) -> Result<()> {
        let mut command = self.tool(program);
        // The file that etcd listens at is there.
        command.current_dir(&self.dir);
        access::run(command, name, args, "").await?.ok().map(drop)
    }
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().context("the lab's folder isn't UTF-8")
}
