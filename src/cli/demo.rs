//! `authseal demo`: a server and a demo OAuth provider in one process, with nothing to set up.

use super::default_path::scratch;
use super::keys::new_keyring;
use super::supervisor::Supervisor;
use super::{block_on, log, serve};
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, Sources};
use crate::demo::{DemoProvider, walk};
use crate::denylist::Denylist;
use crate::seal::random;
use crate::web::{self, Server};
use anyhow::{Context, bail};
use clap::Args;
use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use url::Url;
use zeroize::Zeroizing;

const SERVICE: &str = "demodrive";

#[derive(Args)]
pub(super) struct Demo {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// One login and refresh without a browser, printed as {"authid": …, "refresh": {…}}; then the end
    #[arg(long)]
    once: bool,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<SocketAddr>();
    let address =
        address.map_err(|_| "is not an IP address with a port, like 127.0.0.1:8080 or [::1]:8080".to_owned())?;
    let port = address.port();
    if !address.ip().is_loopback() {
        return Err(format!(
            "the demo is for a browser on this machine, so it listens at 127.0.0.1 or [::1] only. From another machine: \
             `ssh -L {port}:127.0.0.1:{port} HOST`, then open http://127.0.0.1:{port} there. In a container: give it the \
             network of its host"
        ));
    }
    Ok(address)
}

pub(super) fn demo(demo: &Demo) -> anyhow::Result<()> {
    log::prepare()?;
    if std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("AUTHSEAL_")) {
        eprintln!("authseal: the demo reads no variables AUTHSEAL_…; only --listen changes it");
    }
    if demo.once {
        let folder = scratch()?;
        return block_on(once(folder.path()))?;
    }
    let folder = own_folder()?;
    block_on(run(&folder, demo.listen))?
}

async fn once(folder: &Path) -> anyhow::Result<()> {
    let (provider, server, url) = start(folder, SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let stop_provider;
    let provider = tokio::spawn({
        stop_provider = provider.server.handle();
        provider.server
    });
    let server = server.run()?;
    let walked = walk(&url, SERVICE).await?;
    println!("{}", serde_json::to_string_pretty(&walked)?);
    server.stop().await?;
    stop_provider.stop(false).await;
    Ok(provider.await??)
}

async fn run(folder: &Path, listen: SocketAddr) -> anyhow::Result<()> {
    let (provider, server, url) = start(folder, listen)?;
    let signals = serve::Signals::new(serve::Hangup::Ends)?;
    let base = url.as_str().trim_end_matches('/');
    println!(
        "authseal demo: {base}\n\n\
         1. Open {base} in a browser and choose Demo Drive.\n\
         2. Allow the access on the pretend provider's page and copy the AuthID.\n\
         3. Turn it into an access token:\n\
         \n       curl -H \"X-AuthID: PASTE-IT-HERE\" {base}/refresh\n\n\
         The links beside Duplicati's AuthID fields work with it as well: in its Settings add the option `oauth-url` with\n\
         {base}/refresh. There is no storage behind it, so that Duplicati's \"Test connection\" fails.\n\
         The demo keeps its key in {}; delete that folder to forget everything. Ctrl+C ends it.",
        folder.display()
    );
    let pretend = tokio::spawn(provider.server);
    let ended = serve::run(server, signals, Supervisor::default()).await;
    pretend.abort();
    ended
}

/// Starts both servers with what lies in `folder`, and puts there what is missing.
fn start(folder: &Path, listen: SocketAddr) -> anyhow::Result<(DemoProvider, Server, Url)> {
    // Bound here first, so that the address is known before the provider has to know the callback.
    let listener = web::listen(listen)?;
    let url = format!("http://{}", listener.local_addr()?);
    if !folder.join("keys.toml").exists() {
        new_keyring(&folder.join("keys.toml"), Clock::system().now())?;
    }
    if !folder.join("denylist").exists() {
        Denylist::init(&folder.join("denylist"))?;
    }
    // Read twice: first to learn which providers there are, then with all of them led to the demo's.
    let built_in = load(folder, &settings(&url))?.0;
    let provider = DemoProvider::start(&provider_key(folder)?, format!("{url}/logged-in"), &built_in.catalogue)?;
    let text = settings(&url) + &provider.configuration;
    let (mut config, public_url) = load(folder, &text)?;
    config.site.demo = true;
    log::start(&config.log)?;
    let listeners = config.listeners.clone();
    let app = App::build(config, public_url.clone(), Clock::system())?;
    Ok((provider, Server::on(app, vec![listener], listeners), public_url))
}

fn load(folder: &Path, text: &str) -> anyhow::Result<(Config, Url)> {
    let file = folder.join("authseal.toml");
    write(&file, text).context("cannot write the demo's configuration")?;
    let sources = Sources { file: Some(file), working_dir: folder.to_owned(), ..Sources::default() };
    Ok(Config::load_to_serve(&sources)?)
}

/// Writes a file that is this user's alone whatever the umask is, over one of an earlier start.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    std::io::Write::write_all(&mut file, text.as_bytes())
}

fn settings(url: &str) -> String {
    format!(
        "# Written again at every start of `authseal demo`.\n\
         public_url = \"{url}\"\n\
         server.drain_seconds = 0\n\
         state.store = \"dir:state\"\n\
         [log]\nlevel = \"authseal=info\"\n\
         [keyring]\nfile = \"keys.toml\"\n"
    )
}

/// The pretend provider's own key, kept so that AuthIDs outlive a restart of the demo.
fn provider_key(folder: &Path) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let path = folder.join("provider-key");
    if let Ok(bytes) = fs::read(&path) {
        let Ok(key) = bytes.try_into() else { bail!("{} is damaged; delete it", path.display()) };
        return Ok(Zeroizing::new(key));
    }
    let key = Zeroizing::new(random::<32>()?);
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    std::io::Write::write_all(&mut file.context("cannot keep the demo's key")?, key.as_slice())?;
    Ok(key)
}

/// The demo's folder among the temporary files: ours alone, the same at every start.
fn own_folder() -> anyhow::Result<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let folder = std::env::temp_dir().join(format!("authseal-demo-{user}"));
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot make {}", folder.display()));
        }
        _ => {}
    }
    // Anybody may make a folder of that name in a shared place; it is used only if it is really ours.
    let found = fs::symlink_metadata(&folder).with_context(|| format!("cannot look at {}", folder.display()))?;
    if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
        bail!("{} is not a folder of yours alone; remove it", folder.display());
    }
    Ok(folder)
}
