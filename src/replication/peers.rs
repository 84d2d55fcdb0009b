//! From the admin listener of another replica, where no store is shared: its denylist is asked for about once a second,
//! and after the first time for what is new alone.
//!
//! The keyring is the shared secret: what does not open with it is refused, and with it all else of that response, so
//! that a server in the replica's place cannot keep this one busy.

use super::page::Pieces;
use super::progress::Progress;
use super::{Fault, MAX_HELD, Parts};
use crate::provider::{Outbound, SetupError};
use crate::seal::random;
use reqwest::header::{ETAG, IF_NONE_MATCH};
use reqwest::{Client, Response, StatusCode, redirect};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use url::Url;

/// Between two requests, on average.
const INTERVAL: Duration = Duration::from_secs(1);
/// At most, where they fail: it doubles each time.
const LONGEST: Duration = Duration::from_secs(30);
/// For a connection, and for each piece of a response.
const PATIENCE: Duration = Duration::from_secs(10);
/// For a whole response: a million rules over a slow network.
const WHOLE: Duration = Duration::from_secs(300);
/// All of a denylist is fetched this often, so that nothing is missing for good, whatever happened to either file.
const AGAIN: Duration = Duration::from_secs(3600);
/// The longest tag.
const MAX_TAG: usize = 100;

/// The HTTP client for all of them.
pub(super) fn client(outbound: &Outbound) -> Result<Client, SetupError> {
    let client = Client::builder().redirect(redirect::Policy::none()).no_proxy();
    let client = client.connect_timeout(PATIENCE).read_timeout(PATIENCE).timeout(WHOLE);
    Ok(client.tls_backend_preconfigured(outbound.tls()?).build()?)
}

pub(super) struct Peer {
    parts: Parts,
    client: Client,
    url: Url,
    progress: Arc<Progress>,
    /// Up to where its denylist is known, and when all of it was fetched.
    known: Option<(String, Instant)>,
    failures: u32,
}

impl Peer {
    pub(super) fn new(parts: Parts, client: Client, url: Url, progress: Arc<Progress>) -> Self {
        Self { parts, client, url, progress, known: None, failures: 0 }
    }

    pub(super) async fn run(mut self) {
        loop {
            match self.round().await {
                Ok(()) => {
                    self.failures = 0;
                    self.progress.caught_up();
                }
                Err(error) => {
                    self.failures = self.failures.saturating_add(1);
                    self.known = None;
                    self.progress.failed(error);
                }
            }
            sleep(pause(self.failures)).await;
        }
    }

    async fn round(&mut self) -> Result<(), Fault> {
        let known = self.known.take().filter(|(_, since)| since.elapsed() < AGAIN);
        let mut url = self.url.clone();
        let mut request = self.client.get(url.clone());
        if let Some((tag, _)) = &known {
            url.query_pairs_mut().append_pair("after", tag);
            request = self.client.get(url).header(IF_NONE_MATCH, format!("\"{tag}\""));
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED && known.is_some() {
            self.known = known;
            return Ok(());
        }
        if status != StatusCode::OK {
            return Err(Fault::Peer(format!("it answers {status}; is that the admin listener of an authseal?")));
        }
        let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
        let tag = tag.map(|tag| tag.trim_matches('"').to_owned()).filter(|tag| tag.len() <= MAX_TAG);
        self.receive(response).await?;
        let since = known.map_or_else(Instant::now, |(_, since)| since);
        self.known = tag.map(|tag| (tag, since));
        Ok(())
    }

    /// Makes the changes in a response, as they come.
    async fn receive(&self, mut response: Response) -> Result<(), Fault> {
        let keyring = self.parts.keyring();
        let (mut pieces, mut changes) = (Pieces::default(), Vec::new());
        while let Some(bytes) = response.chunk().await.map_err(unreachable)? {
            changes.extend(pieces.take(&keyring, &bytes).ok_or_else(|| self.refused())?);
            if changes.len() >= MAX_HELD {
                self.parts.take(std::mem::take(&mut changes)).await?;
            }
        }
        if !pieces.are_whole() {
            return Err(Fault::Peer("its response was cut short".to_owned()));
        }
        self.parts.take(changes).await.map(drop)
    }

    fn refused(&self) -> Fault {
        self.parts.refuse(1, &self.progress);
        Fault::Peer("what it sends does not open with this keyring".to_owned())
    }
}

fn unreachable(error: reqwest::Error) -> Fault {
    let error = anyhow::Error::from(error.without_url());
    Fault::Peer(format!("it does not answer ({})", error.root_cause()))
}

/// Until the next request after so many failures, between three and five quarters of it: replicas that were started
/// together do not ask together.
fn pause(failures: u32) -> Duration {
    let pause = INTERVAL.saturating_mul(1 << failures.min(10)).min(LONGEST);
    let [random] = random::<1>().unwrap_or([128]);
    pause.mul_f64(0.75 + f64::from(random) / 512.0)
}
