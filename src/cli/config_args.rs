//! The options that say where the configuration comes from.

use crate::config::{Config, Sources};
use anyhow::Context;
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use url::Url;
use zeroize::Zeroizing;

/// For commands that serve nobody.
#[derive(Args, Clone)]
pub(super) struct ConfigFile {
    /// Configuration file [env: AUTHSEAL_CONFIG] [default: authseal.toml here, else
    /// /etc/authseal/authseal.toml]
    #[arg(long = "config", value_name = "FILE")]
    path: Option<PathBuf>,
}

impl ConfigFile {
    /// Where the configuration comes from, with `flags` on top: keys with dots, and their values.
    pub(super) fn sources(&self, flags: Vec<(String, String)>) -> anyhow::Result<Sources> {
        Sources::of_process(self.path.clone(), flags).context("cannot tell the working directory")
    }

    /// The checked configuration.
    pub(super) fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::load(&self.sources(Vec::new())?)?)
    }
}

/// For commands that serve, or judge whether `serve` could.
#[derive(Args, Clone)]
pub(super) struct Configured {
    #[command(flatten)]
    file: ConfigFile,
    /// Address to listen on, instead of the configured ones; may be given more than once
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<String>,
    /// URL that browsers see, instead of the configured one
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

impl Configured {
    /// The checked configuration of a server, and its `public_url`; of `text` where that takes the place of every file.
    pub(super) fn load(&self, text: Option<Zeroizing<String>>) -> anyhow::Result<(Config, Url)> {
        let mut flags = Vec::new();
        if let Some(url) = &self.public_url {
            flags.push(("public_url".to_owned(), url.clone()));
        }
        if !self.listen.is_empty() {
            // As a list in quotes: an IPv6 address alone would look like the beginning of a list.
            flags.push(("listen".to_owned(), serde_json::to_string(&self.listen)?));
        }
        Ok(Config::load_to_serve(&Sources { text, ..self.file.sources(flags)? })?)
    }
}

/// The folder of the configuration file, or the one that such a file would be in.
pub(super) fn beside(sources: &Sources) -> PathBuf {
    let here = sources.working_dir.join("authseal.toml");
    let file = match &sources.file {
        Some(named) => sources.working_dir.join(named),
        None if !here.exists() && sources.system_file.exists() => sources.system_file.clone(),
        None => here,
    };
    file.parent().map(Path::to_owned).unwrap_or_default()
}

/// Where a server that listens at `address` is reached from its own machine.
pub(super) fn seen_from_here(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
