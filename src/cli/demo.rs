//! `authseal demo`: the whole product and a pretend provider, with nothing to set up.

use super::files::scratch;
use super::keys::new_keyring;
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
use secrecy::ExposeSecret;
use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use url::Url;
use zeroize::Zeroizing;

const SERVICE: &str = "demodrive";

#[derive(Args)]
pub(super) struct Demo {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// Log in and refresh once without a browser, print {"authid": …, "refresh": {…}} and end
    #[arg(long)]
    once: bool,
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "is not an IP address with a port, like 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080")
}

pub(super) fn demo(demo: &Demo) -> anyhow::Result<()> {
    log::prepare()?;
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
         Duplicati works with it as well: start it with --oauth-url={base}/refresh\n\
         The demo keeps its key in {}; delete that folder to forget everything. Ctrl+C ends it.",
        folder.display()
    );
    let pretend = tokio::spawn(provider.server);
    let ended = serve::run(server, signals).await;
    pretend.abort();
    ended
}

/// Starts both servers with what lies in `folder`, and puts there what is missing.
fn start(folder: &Path, listen: SocketAddr) -> anyhow::Result<(DemoProvider, Server, Url)> {
    // Bound here first, so that the address is known before the provider has to know the callback.
    let listener = web::listen(listen)?;
    let url = format!("http://{}", listener.local_addr()?);
    let provider = DemoProvider::start(&provider_key(folder)?, format!("{url}/logged-in"))?;
    if !folder.join("keys.toml").exists() {
        new_keyring(&folder.join("keys.toml"), Clock::system().now())?;
    }
    if !folder.join("denylist").exists() {
        Denylist::init(&folder.join("denylist"))?;
    }
    let file = folder.join("authseal.toml");
    write(&file, &configuration(&provider, &url)).context("cannot write the demo's configuration")?;
    let sources = Sources { file: Some(file), working_dir: folder.to_owned(), ..Sources::default() };
    let (config, public_url) = Config::load_to_serve(&sources)?;
    log::start(&config.log)?;
    let app = App::build(config, public_url.clone(), Clock::system())?;
    Ok((provider, Server::on(app, vec![listener]), public_url))
}

/// Writes a file that is this user's alone whatever the umask is, over one of an earlier start.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    std::io::Write::write_all(&mut file, text.as_bytes())
}

fn configuration(provider: &DemoProvider, url: &str) -> String {
    let (at, id, secret) = (provider.address, provider.client_id, provider.client_secret.expose_secret());
    format!(
        "# Written anew at every start of `authseal demo`.\n\
         public_url = \"{url}\"\n\
         server.drain_seconds = 0\n\
         [log]\nlevel = \"authseal=info\"\n\
         [keyring]\nfile = \"keys.toml\"\n\
         [clients.demo]\nid = \"{id}\"\nsecret = \"{secret}\"\n\
         [providers.demo]\nname = \"the demo provider\"\nrotation = \"none\"\npkce = true\n\
         authorize_url = \"http://{at}/authorize\"\ntoken_url = \"http://{at}/token\"\nrevoke_url = \"http://{at}/revoke\"\n\
         [services.{SERVICE}]\nprovider = \"demo\"\nname = \"Demo Drive\"\nscopes = [\"files.write\"]\n"
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
