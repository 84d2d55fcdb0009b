//! A server that answers, and its end. Told to end, it first says so at `/readyz` and with `Connection: close` in every
//! answer, and goes on serving until balancers have seen it; then it takes no more, and finishes what is under way.

use crate::app::App;
use actix_web::dev::{self, ServerHandle};
use actix_web::web;
use std::io;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long what is under way may take when the server ends: more than the budget of a refresh.
pub(super) const FINISH: Duration = Duration::from_secs(25);

/// A server that answers, on its listeners.
pub struct Running {
    public: Listening,
    admin: Option<Listening>,
    app: web::Data<App>,
}

struct Listening {
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl Listening {
    fn start(server: dev::Server) -> Self {
        Self { handle: server.handle(), task: tokio::spawn(server) }
    }

    async fn ended(&mut self) -> io::Result<()> {
        let ended = (&mut self.task).await;
        ended.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
    }
}

impl Running {
    pub(super) fn start(public: dev::Server, admin: Option<dev::Server>, app: web::Data<App>) -> Self {
        Self { public: Listening::start(public), admin: admin.map(Listening::start), app }
    }

    /// Waits for an end that nobody asked for.
    ///
    /// # Errors
    /// What made it end.
    pub async fn ended(&mut self) -> io::Result<()> {
        match &mut self.admin {
            None => self.public.ended().await,
            Some(admin) => tokio::select! {
                ended = self.public.ended() => ended,
                ended = admin.ended() => ended,
            },
        }
    }

    /// Ends it without losing anything: serves for [`App::drain_time`] more, then finishes what is under way, detached
    /// calls to providers included, in 25 s at most. The admin listener answers to the last.
    pub async fn drain(&self) {
        self.app.health().drain();
        sleep(self.app.drain_time()).await;
        let finish = async {
            self.public.handle.stop(true).await;
            self.app.tokens().settle().await;
        };
        if timeout(FINISH, finish).await.is_err() {
            tracing::warn!("not everything under way was finished in time");
        }
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// When a listener had ended badly before.
    pub async fn stop(self) -> io::Result<()> {
        for mut listening in [Some(self.public), self.admin].into_iter().flatten() {
            listening.handle.stop(false).await;
            listening.ended().await?;
        }
        Ok(())
    }
}
