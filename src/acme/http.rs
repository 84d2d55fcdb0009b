//! How an authority is asked: by the HTTP client of this binary, through the proxy that all calls leave by, with no
//! redirects, and with bounds of time and size. Notes when the authority wants to be left alone (`Retry-After`).

use super::Fault;
use crate::clock::{Clock, UnixTime};
use crate::net::retry_after;
use crate::provider::{Outbound, SetupError};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::http::{Request, Response};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use reqwest::{Client, Proxy, redirect};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// For a connection, and for each piece of a response.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes of a response; a chain has some thousand.
const MAX_BODY: usize = 1024 * 1024;
/// Nothing was told.
const NOTHING: i64 = i64::MIN;

/// Asks an authority.
#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    clock: Clock,
    told: Told,
}

/// Until when the authority wants to be left alone.
#[derive(Clone)]
pub(super) struct Told(Arc<AtomicI64>);

impl Told {
    pub(super) fn get(&self) -> Option<UnixTime> {
        Some(self.0.load(Ordering::Relaxed)).filter(|told| *told != NOTHING)
    }
}

impl Http {
    pub(super) fn new(outbound: &Outbound, ca_file: Option<&Path>, clock: Clock) -> Result<Self, Fault> {
        let client = client(outbound, ca_file).map_err(|error| Fault::Unreachable(error.to_string()))?;
        Ok(Self { client, clock, told: Told(Arc::new(NOTHING.into())) })
    }

    pub(super) fn told(&self) -> Told {
        self.told.clone()
    }
}

fn client(outbound: &Outbound, ca_file: Option<&Path>) -> Result<Client, SetupError> {
    let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().https_only(true);
    let client = client.connect_timeout(PATIENCE).read_timeout(PATIENCE).timeout(2 * PATIENCE);
    let client = match outbound.proxy_url() {
        Some(url) => client.proxy(Proxy::all(url)?),
        None => client,
    };
    Ok(client.tls_backend_preconfigured(outbound.tls_with(ca_file)?).build()?)
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (client, clock, told) = (self.client.clone(), self.clock.clone(), self.told.clone());
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let request = reqwest::Request::try_from(Request::from_parts(parts, body)).map_err(unreachable)?;
            let mut response = client.execute(request).await.map_err(unreachable)?;
            let (status, headers) = (response.status(), response.headers().clone());
            if !status.is_success()
                && let Some(wait) = retry_after(&headers, clock.now())
                && let Ok(wait) = i64::try_from(wait.as_secs())
            {
                told.0.store(clock.now().saturating_add(wait), Ordering::Relaxed);
            }
            let mut body = Vec::new();
            while let Some(piece) = response.chunk().await.map_err(unreachable)? {
                body.extend_from_slice(&piece);
                if body.len() > MAX_BODY {
                    return Err(Error::Other("its response does not end".into()));
                }
            }
            // What is no document is of a proxy, or of a server that cannot any more.
            if status.is_server_error() && body.first() != Some(&b'{') {
                return Err(Error::Other(format!("it answers {status}").into()));
            }
            let mut response = Response::new(Full::new(Bytes::from(body)));
            (*response.status_mut(), *response.headers_mut()) = (status, headers);
            Ok(BytesResponse::from(response))
        })
    }
}

fn unreachable(error: reqwest::Error) -> Error {
    let error = anyhow::Error::from(error.without_url());
    Error::Other(error.root_cause().to_string().into())
}
