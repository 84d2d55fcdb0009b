//! The beginnings of all blobs on a shelf: each node names its keys a batch at a time (`SCAN`), and is asked for what they
//! begin with in one round trip for each batch.

use super::{Redis, Shelf, StoreError, prefix, read_as, told};
use crate::store::limited;
use crate::store::line::{Answer, requests};
use redis::cluster_routing::SingleNodeRoutingInfo;
use redis::{Cmd, ErrorKind, RedisResult, Value};
use std::iter;

/// How many keys are asked for at a time, and at most how many beginnings.
const BATCH: usize = 500;

impl Redis {
    pub(in crate::store) async fn heads(
        &self,
        shelf: Shelf,
        length: usize,
        each: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), StoreError> {
        for node in self.nodes().await? {
            self.heads_at(node, shelf, length, each).await?;
        }
        Ok(())
    }

    /// Where the keys are: at all primaries of a cluster.
    async fn nodes(&self) -> Result<Vec<Option<SingleNodeRoutingInfo>>, StoreError> {
        if !self.line.is_cluster() {
            return Ok(vec![None]);
        }
        let nodes: String = limited(self.ask_one(redis::cmd("CLUSTER").arg("NODES"))).await?;
        Ok(nodes.lines().filter_map(primary).map(Some).collect())
    }

    async fn heads_at(
        &self,
        node: Option<SingleNodeRoutingInfo>,
        shelf: Shelf,
        length: usize,
        each: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), StoreError> {
        let mut cursor = 0u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{}*", prefix(shelf))).arg("COUNT").arg(BATCH);
            let (next, keys): (u64, Vec<String>) = limited(self.ask_at(node.clone(), &scan)).await?;
            // A node may name more than it was asked for.
            for keys in keys.chunks(BATCH) {
                let beginnings: Vec<Cmd> = keys.iter().map(|key| beginning(key, length)).collect();
                let heads = limited(self.ask_all_at(node.clone(), &beginnings)).await?;
                for (request, head) in beginnings.iter().zip(heads) {
                    let head: Vec<u8> = match head {
                        Ok(head) => read_as(head)?,
                        // The key may have moved to another node since it was named.
                        Err(_) => limited(self.ask(request)).await?,
                    };
                    if !head.is_empty() {
                        each(&head);
                    }
                }
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// The answer to each request, in one round trip.
    async fn ask_all_at(
        &self,
        node: Option<SingleNodeRoutingInfo>,
        all: &[Cmd],
    ) -> Result<Vec<RedisResult<Value>>, StoreError> {
        match self.line.ask_at(node, &requests(all.iter().cloned())).await {
            Ok(Answer { first, others, .. }) => Ok(iter::once(Ok(first)).chain(others).collect()),
            // The answer to the first one, and those to the others are not known.
            Err(error) if matches!(error.kind(), ErrorKind::Server(_)) => Ok(vec![Err(error); all.len()]),
            Err(error) => Err(told(&error)),
        }
    }
}

fn beginning(key: &str, length: usize) -> Cmd {
    let mut beginning = redis::cmd("GETRANGE");
    beginning.arg(key).arg(0).arg(length.saturating_sub(1));
    beginning
}

/// A primary in a line of `CLUSTER NODES`: `<id> <host>:<port>@<port>[,<name>] <flags> …`.
fn primary(line: &str) -> Option<SingleNodeRoutingInfo> {
    let mut words = line.split(' ').skip(1);
    let (address, flags) = (words.next()?.split('@').next()?, words.next()?);
    // Whole words: a primary can have `nofailover`.
    let is = |flag| flags.split(',').any(|word| word == flag);
    let lives = is("master") && !["fail", "fail?", "noaddr"].into_iter().any(is);
    let (host, port) = address.rsplit_once(':').filter(|_| lives)?;
    Some(SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primaries_of_a_cluster_are_those_that_live_and_have_an_address() {
        let of = |address: &str, flags: &str| match primary(&format!("07c37df {address} {flags} - 0 0 1 connected")) {
            Some(SingleNodeRoutingInfo::ByAddress { host, port }) => Some((host, port)),
            _ => None,
        };
        for flags in ["master", "myself,master", "master,nofailover"] {
            assert_eq!(of("10.0.0.1:6379@16379,name", flags), Some(("10.0.0.1".to_owned(), 6379)), "{flags}");
        }
        assert_eq!(of("fd00::1:6379@16379", "master"), Some(("fd00::1".to_owned(), 6379)));
        for flags in ["slave", "myself,slave", "master,fail", "master,fail?", "master,noaddr", "handshake"] {
            assert_eq!(of("10.0.0.1:6379@16379", flags), None, "{flags}");
        }
        assert!(of(":0@0", "master,noaddr").is_none() && of("10.0.0.1", "master").is_none() && primary("").is_none());
    }
}
