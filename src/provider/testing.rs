//! For tests: a stub server on this machine that gives prepared responses, one a connection, and remembers what it was
//! asked; and the settings to call it with.

use super::{
    Catalogue, ClientRegistration, Outbound, ProviderClient, ProviderSettings, RefreshTokenPolicy, Service,
    ServiceSettings,
};
use crate::clock::Clock;
use crate::meter::Meter;
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The built-in providers and services, as they stand.
pub(super) const BUILT_IN: &str = include_str!("../../config/providers.toml");

/// What the stranger does with a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Status line and further headers, body.
    Http(&'static str, String),
    /// The same, after some time.
    Late(Duration, String),
    /// Bytes, and then the end of the connection.
    Raw(Vec<u8>),
    /// Never answers.
    Hang,
    /// Closes the connection.
    Close,
}

pub(super) struct StubServer {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl StubServer {
    /// Gives the answers in turn, then closes every connection.
    pub(super) async fn with(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::with_url(|_| replies.into_iter().collect()).await
    }

    /// The same, for answers that name the stranger's own URL.
    pub(super) async fn with_url(replies: impl FnOnce(&str) -> Vec<Reply>) -> Self {
        Self::with_paths(|url| [("", replies(url))]).await
    }

    /// The same, in turn for all requests that begin alike.
    pub(super) async fn with_paths<const N: usize>(
        replies: impl FnOnce(&str) -> [(&'static str, Vec<Reply>); N],
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (requests, mut replies) =
            (Arc::clone(&seen), replies(&url).map(|(begin, replies)| (begin, VecDeque::from(replies))));
        let task = tokio::spawn(async move {
            let mut hanging = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read(&mut stream).await;
                let fitting = replies.iter_mut().find(|(begin, _)| request.starts_with(begin));
                let reply = fitting.and_then(|(_, replies)| replies.pop_front());
                requests.lock().unwrap().push(request);
                let http = |head, body: String| {
                    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
                };
                let answer = match reply.unwrap_or(Reply::Close) {
                    Reply::Http(head, body) => http(head, body).into_bytes(),
                    Reply::Late(time, body) => {
                        tokio::time::sleep(time).await;
                        http("200 OK", body).into_bytes()
                    }
                    Reply::Raw(bytes) => bytes,
                    Reply::Hang => {
                        hanging.push(stream);
                        continue;
                    }
                    Reply::Close => continue,
                };
                // The other side may have seen enough before the end.
                let _ = stream.write_all(&answer).await;
            }
        });
        Self { url, seen, task }
    }

    /// The requests so far: request line, headers and body.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// The bodies of the requests so far.
    pub(super) fn bodies(&self) -> Vec<String> {
        self.seen().iter().map(|request| request.split_once("\r\n\r\n").unwrap().1.to_owned()).collect()
    }
}

impl Drop for StubServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(stream: &mut TcpStream) -> String {
    let mut request = String::new();
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk).await.unwrap_or(0);
        request.push_str(&String::from_utf8_lossy(&chunk[..count]));
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if count == 0 || body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return request;
        }
    }
}

#[derive(Deserialize)]
struct BuiltIn {
    providers: BTreeMap<String, ProviderSettings>,
    services: BTreeMap<String, ServiceSettings>,
}

/// The built-in settings.
pub(super) fn built_in() -> (BTreeMap<String, ProviderSettings>, BTreeMap<String, ServiceSettings>) {
    let settings: BuiltIn = toml::from_str(BUILT_IN).unwrap();
    (settings.providers, settings.services)
}

/// A client for each provider given.
pub(super) fn clients<const N: usize>(providers: [&str; N]) -> BTreeMap<String, ClientRegistration> {
    let client =
        ClientRegistration { id: Some("id+1".into()), secret: Some("se&cret".into()), ..ClientRegistration::default() };
    providers.map(|provider| (provider.to_owned(), client.clone())).into()
}

/// A provider made of TOML, `rolling` if that does not say otherwise, with the service `example` that asks for `files`.
pub(super) fn example(settings: &str) -> (ProviderClient, Arc<Service>) {
    example_asking(settings, &["files"])
}

/// The same for other scopes.
pub(super) fn example_asking(settings: &str, scopes: &[&str]) -> (ProviderClient, Arc<Service>) {
    let mut provider: ProviderSettings = toml::from_str(settings).unwrap();
    provider.rotation.get_or_insert(RefreshTokenPolicy::Rolling);
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let service = ServiceSettings { provider: Some("p".into()), scopes, ..ServiceSettings::default() };
    ready([("p".to_owned(), provider)].into(), [("example".to_owned(), service)].into(), "p", "example")
}

/// A built-in service whose provider was moved to other URLs.
pub(super) fn with_urls(service: &str, provider: &str, urls: &str) -> (ProviderClient, Arc<Service>) {
    let (mut providers, services) = built_in();
    let changed: ProviderSettings = toml::from_str(urls).unwrap();
    let settings = providers.get_mut(provider).unwrap();
    settings.token_url = changed.token_url;
    settings.revoke_url = changed.revoke_url;
    ready(providers, services, provider, service)
}

fn ready(
    providers: BTreeMap<String, ProviderSettings>,
    services: BTreeMap<String, ServiceSettings>,
    provider: &str,
    service: &str,
) -> (ProviderClient, Arc<Service>) {
    let catalogue = Catalogue::build(providers, services, clients([provider]), true).unwrap();
    let service = Arc::clone(catalogue.find(service).unwrap());
    (ProviderClient::new(catalogue, &Outbound::default(), Clock::system(), Meter::default()).unwrap(), service)
}
