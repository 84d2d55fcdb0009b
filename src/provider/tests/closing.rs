//! Providers that close at every point of the exchange. What works once is sent once; what may be sent again is, once,
//! and arrives.

use super::super::ProviderError;
use super::super::client::BUDGET;
use super::peer::{End, Moment, Peer};
use futures_util::future::join_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const PLAIN: &[&str] = &[];
const TLS: &[&str] = &["http/1.1"];
const HTTP2: &[&str] = &["h2", "http/1.1"];

const OF_HTTP1: &[End] =
    &[End::InRequest, End::BeforeAnswer, End::InHead, End::InBody, End::AfterAnswer, End::Overlong];
const OF_HTTP2: &[End] =
    &[End::BeforeAnswer, End::InBody, End::AfterAnswer, End::Refused, End::GoneAway, End::LastAnswer];

/// Ends an exchange here and there, but never two in a row: whoever tries twice gets through.
fn moody(seed: u64, ends: &'static [End]) -> impl FnMut(Moment) -> End + Send + 'static {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut just_now = false;
    move |moment| {
        if just_now {
            // The next connection is served, and so is the first request on it.
            just_now = moment == Moment::Connected;
            return End::Nowhere;
        }
        let end = match moment {
            Moment::Connected if random.u8(..8) == 0 => End::Unread,
            Moment::Requested if random.bool() => ends[random.usize(..ends.len())],
            _ => return End::Nowhere,
        };
        just_now = true;
        end
    }
}

#[tokio::test]
async fn at_whatever_point_a_provider_closes_a_token_that_works_once_is_sent_once_and_others_arrive() {
    let closes = if std::env::var_os("TESTS_FULL").is_some() { 10_000 } else { 400 };
    let seed = std::env::var("TESTS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(16);
    let kinds = [(PLAIN, OF_HTTP1), (TLS, OF_HTTP1), (HTTP2, OF_HTTP2)];
    let kinds = kinds.into_iter().flat_map(|kind| ["none", "rolling", "single_use"].map(|rotation| (kind, rotation)));
    join_all(kinds.map(|((protocols, ends), rotation)| endure(protocols, ends, rotation, closes / 9, seed))).await;
}

/// Refreshes until a provider has closed so many connections.
async fn endure(protocols: &[&str], ends: &'static [End], rotation: &str, closes: usize, seed: u64) {
    let once = rotation == "single_use";
    // What works once goes over HTTP/1.1 whatever the provider offers.
    let mut mood = moody(seed, if once { OF_HTTP1 } else { ends });
    let closed = Arc::new(AtomicUsize::new(0));
    let count = closed.clone();
    let peer = Peer::new(protocols, move |moment| {
        let end = mood(moment);
        count.fetch_add(usize::from(end != End::Nowhere), Ordering::Relaxed);
        end
    });
    let peer = peer.await;
    let (providers, service) = peer.client(rotation);
    let (mut calls, mut repeated) = (0, 0);
    while closed.load(Ordering::Relaxed) < closes {
        let before = peer.seen().sent();
        let result = providers.refresh(&service, None, &format!("r{calls}").into(), BUDGET).await;
        let sent = peer.seen().sent() - before;
        let fault = result.as_ref().err();
        let place = format!("seed {seed}, {protocols:?}, {rotation}, call {calls}: sent {sent} times, {fault:?}");
        assert!(sent <= if once { 1 } else { 2 }, "{place}");
        match fault {
            Some(fault) if once => assert!(fault.in_doubt && fault.failure == ProviderError::Unreachable, "{place}"),
            fault => assert!(fault.is_none(), "{place}"),
        }
        calls += 1;
        repeated += usize::from(sent > 1);
    }
    assert!(once || repeated > 0);
}

#[tokio::test]
async fn a_kept_connection_that_has_gone_costs_one_repeat_at_once() {
    for (protocols, ends) in [
        (PLAIN, &[End::InRequest, End::BeforeAnswer, End::InHead][..]),
        (TLS, &[End::InRequest, End::BeforeAnswer]),
        (HTTP2, &[End::BeforeAnswer, End::Refused, End::GoneAway]),
    ] {
        for end in ends.iter().copied() {
            let mut requests = 0;
            let peer = Peer::new(protocols, move |moment| {
                requests += usize::from(moment == Moment::Requested);
                if moment == Moment::Requested && requests > 1 && requests != 3 { end } else { End::Nowhere }
            });
            let peer = peer.await;
            let (providers, service) = peer.client("rolling");
            let refresh = async || providers.refresh(&service, None, &"r".into(), BUDGET).await.map(|_| ());
            refresh().await.unwrap();
            assert_eq!(refresh().await.err(), None, "{protocols:?} {end:?}: {:?}", peer.seen());
            assert_eq!(peer.seen().requests, [1, 1, 2], "{protocols:?} {end:?}");
            // Once alone: the kept one is gone, and so is the new one.
            assert_eq!(refresh().await.unwrap_err().failure, ProviderError::Unreachable);
            let seen = peer.seen();
            assert_eq!(seen.requests.len(), 5, "{protocols:?} {end:?}: {seen:?}");
        }
    }
}
