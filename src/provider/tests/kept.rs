//! Which connections are kept, how many, and for how long.

use super::super::call::{Call, Payload};
use super::super::client::BUDGET;
use super::super::places::MOST;
use super::super::{Outbound, ProviderClient, ProviderError, Service};
use super::peer::{End, Moment, Peer};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::{Instant, advance, pause, resume};
use url::Url;

const ALL: [&[&str]; 3] = [&[], &["http/1.1"], &["h2", "http/1.1"]];

async fn refresh(providers: &ProviderClient, service: &Service) {
    providers.refresh(service, None, &"r".into(), BUDGET).await.unwrap();
}

/// The same among so many that a slow machine does not come to all of them in time.
async fn refresh_in_a_crowd(providers: &ProviderClient, service: &Service) {
    let failed = providers.refresh(service, None, &"r".into(), BUDGET).await.err().map(|failed| failed.failure);
    assert!(matches!(failed, None | Some(ProviderError::Crowded)), "{failed:?}");
}

/// Moves the time, which else runs: with sockets that talk it is no use to stop it.
async fn later(seconds: u64) {
    pause();
    advance(Duration::from_secs(seconds)).await;
    resume();
}

/// Asks again until it is so.
async fn until(condition: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_is_kept_where_a_token_lives_on_and_new_where_it_works_once() {
    for protocols in ALL {
        for rotation in ["none", "rolling"] {
            let peer = Peer::new(protocols, |_| End::Nowhere).await;
            let (providers, service) = peer.client(rotation);
            for _ in 0..3 {
                refresh(&providers, &service).await;
            }
            assert_eq!(peer.seen().requests, [1, 1, 1], "{protocols:?} {rotation}");
        }
        let peer = Peer::new(protocols, |_| End::Nowhere).await;
        let (providers, service) = peer.client("single_use");
        for _ in 0..3 {
            refresh(&providers, &service).await;
        }
        let seen = peer.seen();
        assert_eq!(seen.requests, [1, 2, 3], "{protocols:?}");
        assert_eq!(seen.resumed, if protocols.is_empty() { 0 } else { 2 }, "{protocols:?}");
        until(|| peer.seen().open == 0).await;
    }
}

#[tokio::test]
async fn a_code_has_a_connection_of_its_own_and_leaves_none() {
    for protocols in ALL {
        let peer = Peer::new(protocols, |_| End::Nowhere).await;
        let (providers, service) = peer.client("rolling");
        refresh(&providers, &service).await;
        for _ in 0..2 {
            providers.redeem(&service, &"c".into(), "https://x.example/", None, &[]).await.ok().unwrap();
        }
        refresh(&providers, &service).await;
        assert_eq!(peer.seen().requests, [1, 2, 3, 1], "{protocols:?}");
    }
}

#[tokio::test]
async fn a_connection_that_waited_long_is_closed_and_one_in_use_ends_too() {
    for protocols in ALL {
        let peer = Peer::new(protocols, |_| End::Nowhere).await;
        let (providers, service) = peer.client("rolling");
        refresh(&providers, &service).await;
        later(44).await;
        refresh(&providers, &service).await;
        later(46).await;
        refresh(&providers, &service).await;
        assert_eq!(peer.seen().requests, [1, 1, 2], "{protocols:?}");
        // Nobody asks any more.
        for _ in 0..10 {
            later(10).await;
        }
        until(|| peer.seen().open == 0).await;
        for _ in 0..30 {
            refresh(&providers, &service).await;
            later(20).await;
        }
        assert_eq!(peer.seen().connections, 4, "{protocols:?}: ten minutes, and five each");
    }
}

#[tokio::test]
async fn connections_that_wait_are_bounded_and_many_calls_share_one_of_http_2() {
    for protocols in ALL {
        let peer = Peer::new(protocols, |_| End::Late(Duration::from_millis(50))).await;
        let (providers, service) = peer.client("rolling");
        refresh(&providers, &service).await;
        for _ in 0..2 {
            join_all((0..2 * *MOST).map(|_| refresh_in_a_crowd(&providers, &service))).await;
            let shared = protocols.contains(&"h2");
            let most = if shared { MOST.div_ceil(100) } else { *MOST };
            until(|| (1..=most).contains(&peer.seen().open)).await;
            assert!(shared || peer.seen().connections == peer.seen().open, "each is kept");
        }
    }
}

#[tokio::test]
async fn a_kept_connection_that_is_silent_leaves_time_for_a_new_one() {
    for protocols in ALL {
        let mut requests = 0;
        let peer = Peer::new(protocols, move |moment| {
            requests += usize::from(moment == Moment::Requested);
            if requests == 2 { End::Silent } else { End::Nowhere }
        });
        let peer = peer.await;
        let (providers, service) = peer.client("none");
        refresh(&providers, &service).await;
        let begun = Instant::now();
        let patience = async {
            until(|| peer.seen().requests.len() == 2).await;
            later(9).await;
        };
        tokio::join!(refresh(&providers, &service), patience);
        assert!(begun.elapsed() < Duration::from_secs(14), "{protocols:?}: {:?}", begun.elapsed());
        refresh(&providers, &service).await;
        assert_eq!(peer.seen().requests, [1, 1, 2, 2], "{protocols:?}");
    }
}

#[tokio::test]
async fn what_comes_after_a_response_is_not_taken_for_the_next_one() {
    let peer = Peer::new(&[], |_| End::Overlong).await;
    let (providers, service) = peer.client("rolling");
    for _ in 0..3 {
        refresh(&providers, &service).await;
    }
    assert_eq!(peer.seen().requests, [1, 2, 3]);
}

#[tokio::test]
async fn another_configuration_begins_without_connections() {
    let peer = Peer::new(&[], |_| End::Nowhere).await;
    let (providers, service) = peer.client("rolling");
    refresh(&providers, &service).await;
    let http = providers.http().with(std::iter::once(&*service.provider), &Outbound::default()).unwrap();
    for _ in 0..2 {
        let url = Url::parse(&peer.url).unwrap();
        let payload = Payload::Form(&[], None);
        let call = Call { provider: &service.provider, service: None, name: "check", url: &url, payload };
        http.send(&call, Instant::now() + BUDGET, true, |_, _| Ok(())).await.unwrap();
    }
    assert_eq!(peer.seen().requests, [1, 2, 2]);
    drop(providers);
    until(|| peer.seen().open == 1).await;
}

#[tokio::test]
async fn a_call_under_way_is_small_as_many_may_wait() {
    let peer = Peer::new(&[], |_| End::Nowhere).await;
    let (providers, service) = peer.client("none");
    let token = "r".into();
    let size = size_of_val(&providers.refresh(&service, None, &token, BUDGET));
    assert!(size < 8 * 1024, "{size}");
}
