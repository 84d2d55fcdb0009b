//! A background task for the state store: whether it works again after an outage, and how it is set up.

use crate::store::Store;
use std::sync::Weak;
use std::time::Duration;

/// How often the store is looked after.
const TEND: Duration = Duration::from_secs(5);
/// How often it is asked how it is set up: in the times of [`TEND`].
const ADVICE: u32 = 12;

/// Tells the log how the store should be set up, as soon as it can be asked, and when that changes: after a failover
/// another Redis answers. While it fails it is asked whether it still does.
pub(super) async fn tend(store: Weak<Store>) {
    let mut told = Vec::new();
    let mut wait = 0;
    while let Some(store) = store.upgrade() {
        store.probe().await;
        wait = if store.was_replaced() { 0 } else { wait };
        if wait == 0
            && let Ok(advice) = store.advice().await
        {
            for advice in advice.iter().filter(|advice| !told.contains(*advice)) {
                tracing::warn!(advice, "the state store is not set up to keep logins");
            }
            (told, wait) = (advice, ADVICE);
        }
        wait = wait.saturating_sub(1);
        drop(store);
        tokio::time::sleep(TEND).await;
    }
}
