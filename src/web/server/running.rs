//! A running server, and its graceful shutdown. Told to end, it first says so at `/readyz` and with `Connection: close`
//! in every response, and keeps serving until balancers have seen it; then it takes no more, and finishes what is under
//! way.
//!
//! To refuse a request costs nearly as much as to serve it, so nobody is refused for want of processor time: while the
//! threads are behind, nobody more is accepted. The kernel keeps those who come as far as it has room, and lets the others
//! knock again; whoever got in is answered in time.

use crate::app::LiveApp;
use crate::socket::Crowd;
use actix_web::dev::{self, ServerHandle};
use actix_web::web;
use futures_util::future::select_all;
use std::io;
use std::iter;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinHandle, yield_now};
use tokio::time::{Instant, sleep, timeout_at};

/// How long what is under way may take when the server ends: more than the budget of a refresh.
pub(in crate::web) const FINISH: Duration = Duration::from_secs(25);

/// Who was accepted waits for a thread for a moment; after this all of them have one. One that ends drops who still waits.
const SETTLE: Duration = Duration::from_millis(200);
/// How long those that are connected already may take at least, where others accept who comes next.
const LEAVE: Duration = Duration::from_secs(2);

/// A server that answers, on its listeners.
pub struct Running {
    public: Listening,
    /// What answers to the last: for operators, and for those who come by http.
    beside: Vec<Listening>,
    live: web::Data<LiveApp>,
    /// How long it continues to serve after being told to end.
    drain: Duration,
    /// Its sockets stay open without it.
    kept: bool,
}

/// A server that answers, and its connections.
pub(in crate::web) struct Listening {
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
    /// Accepts nobody while the threads are behind.
    gate: AbortHandle,
    crowd: Arc<Crowd>,
}

impl Listening {
    pub(in crate::web) fn start(server: dev::Server, crowd: Arc<Crowd>) -> Self {
        let (handle, behind) = (server.handle(), crowd.clone());
        let door = handle.clone();
        let gate = async move { behind.keep_up(|| door.pause(), || door.resume()).await };
        Self { handle, task: tokio::spawn(server), gate: tokio::spawn(gate).abort_handle(), crowd }
    }

    /// Accepts nobody any more.
    async fn pause(&self) {
        self.gate.abort();
        while !self.gate.is_finished() {
            yield_now().await;
        }
        self.handle.pause().await;
    }

    async fn ended(&mut self) -> io::Result<()> {
        let ended = (&mut self.task).await;
        ended.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.gate.abort();
    }
}

impl Running {
    pub(in crate::web) fn start(
        public: Listening,
        beside: Vec<Listening>,
        live: web::Data<LiveApp>,
        drain: Duration,
        kept: bool,
    ) -> Self {
        Self { public, beside, live, drain, kept }
    }

    /// Waits for an end that nobody asked for.
    ///
    /// # Errors
    /// What made it end.
    pub async fn ended(&mut self) -> io::Result<()> {
        let all = iter::once(&mut self.public).chain(&mut self.beside);
        select_all(all.map(|listening| Box::pin(listening.ended()))).await.0
    }

    /// Ends it without losing anything. Whoever waits is answered at once. It serves for
    /// [`Listeners::drain`](crate::config::Listeners::drain) more, then finishes what is under way, in 25 s at most: also
    /// calls to providers whose clients hung up, if they spend a refresh token. For 5 s more it tries to write down what
    /// these brought. The admin listener answers to the last.
    ///
    /// Where somebody else keeps its sockets open, it accepts nobody any more from the beginning, and who comes next waits
    /// for the next process.
    pub async fn drain(&self) {
        self.announce();
        if self.kept {
            self.pause(iter::once(&self.public)).await;
            self.empty().await;
        } else {
            sleep(self.drain).await;
            self.pause(iter::once(&self.public)).await;
            sleep(SETTLE).await;
        }
        self.finish().await;
    }

    /// The same for one whose successor has its sockets and answers already, operators too.
    pub async fn hand_over(&self) {
        self.announce();
        self.pause(iter::once(&self.public).chain(&self.beside)).await;
        self.empty().await;
        self.finish().await;
    }

    fn announce(&self) {
        // What is under way belongs to every configuration alike.
        let app = self.live.load();
        app.health().drain();
        app.tokens().end_waiting();
    }

    async fn pause(&self, all: impl Iterator<Item = &Listening>) {
        for listening in all {
            listening.pause().await;
        }
    }

    /// Waits until nobody is connected any more. Each answer closes its connection; who asks for nothing is waited for as
    /// long as a balancer would be.
    async fn empty(&self) {
        let end = Instant::now() + self.drain.max(LEAVE);
        sleep(SETTLE).await;
        while !self.public.crowd.is_empty() && Instant::now() < end {
            sleep(SETTLE / 10).await;
        }
    }

    async fn finish(&self) {
        let end = Instant::now() + FINISH;
        self.public.crowd.leave();
        let answered = timeout_at(end, self.public.handle.stop(true)).await.is_ok();
        let settled = self.live.load().tokens().settle(end.saturating_duration_since(Instant::now())).await;
        if !(answered && settled) {
            tracing::warn!("not everything under way was finished in time");
        }
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// When a listener had ended badly before.
    pub async fn stop(self) -> io::Result<()> {
        for mut listening in iter::once(self.public).chain(self.beside) {
            listening.handle.stop(false).await;
            listening.ended().await?;
        }
        Ok(())
    }
}
