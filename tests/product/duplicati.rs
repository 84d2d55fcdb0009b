//! The token logic of Duplicati's backends, written anew from what the client does: one request, its retries, its
//! sentences. It shows what a person sees when `/refresh` answers one way or another.

use crate::http;
use authseal::clock::{Clock, UnixTime};
use serde::Deserialize;
use std::time::Duration;
use url::Url;

/// The client of one backend object.
pub(crate) struct Duplicati {
    url: Url,
    service: String,
    /// What it sends; replaced by `v2_authid`, until the process ends.
    pub(crate) authid: String,
    /// Whether it takes a `v2_authid`; the Jottacloud backend does not.
    pub(crate) takes_v2: bool,
    http: reqwest::Client,
    clock: Clock,
    token: Option<(String, UnixTime)>,
    /// The pauses that it made, or would have made, before it asked again.
    pub(crate) waits: Vec<Duration>,
    on_wait: Box<dyn FnMut(Duration) + Send>,
}

/// Why a backup did not run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// "Failed to authorize using the OAuth service: … try generating a new authid token from: …".
    Authorize { reason: String, login_url: String },
    /// "The authentication service is over quota, try again in a few hours".
    OverQuota,
}

/// What `/refresh` says, as far as it is read.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) access_token: String,
    /// Absent is 0, and 0 asks again each time.
    #[serde(default)]
    pub(crate) expires: i32,
    pub(crate) v2_authid: Option<String>,
}

impl Duplicati {
    /// A backend for `service`, set to ask at `url` (`https://host/refresh`) with `authid`.
    pub(crate) fn new(url: &str, service: &str, authid: &str, clock: &Clock) -> Self {
        Self {
            url: Url::parse(url).unwrap(),
            service: service.to_owned(),
            authid: authid.to_owned(),
            takes_v2: true,
            // It bounds an attempt, follows redirects and sends its headers again.
            http: http::builder()
                .timeout(Duration::from_secs(25))
                .redirect(reqwest::redirect::Policy::limited(50))
                .user_agent("Duplicati v2.1.0.5")
                .build()
                .unwrap(),
            clock: clock.clone(),
            token: None,
            waits: Vec::new(),
            on_wait: Box::new(|_| {}),
        }
    }

    /// What happens in the world while it pauses.
    pub(crate) fn while_waiting(mut self, act: impl FnMut(Duration) + Send + 'static) -> Self {
        self.on_wait = Box::new(act);
        self
    }

    /// An access token, the one at hand or a new one.
    pub(crate) async fn access_token(&mut self) -> Result<String, Failure> {
        // The Dropbox backend takes an AuthID without a colon for a raw token and asks nobody.
        if self.service == "dropbox" && !self.authid.contains(':') {
            return Ok(self.authid.clone());
        }
        if let Some((token, expires)) = &self.token
            && *expires >= self.clock.now()
        {
            return Ok(token.clone());
        }
        let answer = self.ask().await?;
        self.token = Some((answer.access_token.clone(), self.clock.now() + i64::from(answer.expires) - 30));
        if let Some(newer) = answer.v2_authid.filter(|newer| self.takes_v2 && !newer.trim().is_empty()) {
            self.authid = newer;
        }
        Ok(answer.access_token)
    }

    /// Asks until there is an answer or no hope.
    async fn ask(&mut self) -> Result<Answer, Failure> {
        let mut retries = 0;
        loop {
            let (reason, most) = match self.attempt().await {
                Ok(answer) => return Ok(answer),
                Err(Refused { status: Some(503), reason: Some(reason), .. }) => {
                    return Err(match reason.trim() {
                        "" => Failure::OverQuota,
                        reason => self.failure(reason),
                    });
                }
                // Faster on its own mistakes.
                Err(Refused { status: Some(400..=499), reason, text }) => (reason.unwrap_or(text), 1),
                Err(Refused { reason, text, .. }) => (reason.unwrap_or(text), 5),
            };
            if retries >= most {
                return Err(self.failure(&reason));
            }
            let pause = Duration::from_secs(1 << retries);
            self.waits.push(pause);
            (self.on_wait)(pause);
            retries += 1;
        }
    }

    async fn attempt(&self) -> Result<Answer, Refused> {
        let network = |error: reqwest::Error| Refused { status: None, reason: None, text: error.to_string() };
        let request = self.http.get(self.url.clone()).header("X-AuthID", &self.authid);
        let answer = request.send().await.map_err(network)?;
        let status = answer.status();
        if !status.is_success() {
            let reason = answer.headers().get("X-Reason").map(|reason| reason.to_str().unwrap().to_owned());
            let text = status.canonical_reason().unwrap_or_default().to_owned();
            return Err(Refused { status: Some(status.as_u16()), reason, text });
        }
        let body = answer.text().await.map_err(network)?;
        serde_json::from_str(&body).map_err(|e| Refused { status: None, reason: None, text: e.to_string() })
    }

    fn failure(&self, reason: &str) -> Failure {
        // The path is dropped: a server under a sub-path would not be found.
        let mut login_url = self.url.clone();
        login_url.set_path("");
        login_url.set_query(Some(&format!("type={}", self.service)));
        Failure::Authorize { reason: reason.to_owned(), login_url: login_url.to_string() }
    }
}

/// One attempt that brought no token.
struct Refused {
    status: Option<u16>,
    reason: Option<String>,
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    /// A server that gives these answers in turn, the last one for ever, and keeps the requests.
    fn answering(answers: &[&str]) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/refresh", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, answers) = (requests.clone(), answers.iter().map(|&answer| answer.to_owned()).collect::<Vec<_>>());
        std::thread::spawn(move || {
            for (index, connection) in listener.incoming().enumerate() {
                let (mut connection, mut request) = (connection.unwrap(), [0; 4096]);
                let length = connection.read(&mut request).unwrap();
                kept.lock().unwrap().push(String::from_utf8_lossy(&request[..length]).to_lowercase());
                let (head, body) = answers[index.min(answers.len() - 1)].split_once('|').unwrap();
                let length = body.len();
                let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                connection.write_all(answer.as_bytes()).unwrap();
            }
        });
        (url, requests)
    }

    fn seconds(waits: &[Duration]) -> Vec<u64> {
        waits.iter().map(Duration::as_secs).collect()
    }

    #[tokio::test]
    async fn a_mistake_of_the_clients_is_tried_twice_and_a_fault_of_the_servers_six_times() {
        let cases: [(&str, &[u64], usize, &str); 4] = [
            ("401 Unauthorized\r\nX-Reason: Log in again.|", &[1], 2, "Log in again."),
            ("502 Bad Gateway\r\nX-Reason: Down.|", &[1, 2, 4, 8, 16], 6, "Down."),
            ("503 Service Unavailable|", &[1, 2, 4, 8, 16], 6, "Service Unavailable"),
            ("503 Service Unavailable\r\nX-Reason: Later.|", &[], 1, "Later."),
        ];
        for (answer, waits, requests, reason) in cases {
            let (url, seen) = answering(&[answer]);
            let mut client = Duplicati::new(&url, "box.com", "v3:box.com:1:x", &Clock::system());
            let login_url = format!("{}?type=box.com", url.trim_end_matches("refresh"));
            let failure = Failure::Authorize { reason: reason.to_owned(), login_url };
            assert_eq!(client.access_token().await, Err(failure));
            assert_eq!((seconds(&client.waits).as_slice(), seen.lock().unwrap().len()), (waits, requests), "{answer}");
        }
    }

    #[tokio::test]
    async fn an_empty_reason_with_503_reads_as_over_quota() {
        let (url, _) = answering(&["503 Service Unavailable\r\nX-Reason: |"]);
        let mut client = Duplicati::new(&url, "dropbox", "v3:dropbox:1:x", &Clock::system());
        assert_eq!(client.access_token().await, Err(Failure::OverQuota));
    }

    #[tokio::test]
    async fn a_token_is_used_until_thirty_seconds_before_its_end() {
        let (url, seen) = answering(&["200 OK|{\"access_token\":\"a\",\"expires\":100,\"more\":{}}"]);
        let clock = Clock::system();
        let mut client = Duplicati::new(&url, "dropbox", "v3:dropbox:1:x", &clock);
        for (step, requests) in [(0, 1), (60, 1), (12, 2)] {
            clock.advance(Duration::from_secs(step));
            assert_eq!(client.access_token().await.as_deref(), Ok("a"));
            assert_eq!(seen.lock().unwrap().len(), requests);
        }
        let request = seen.lock().unwrap()[0].clone();
        assert!(request.starts_with("get /refresh http/1.1\r\n"));
        assert!(request.contains("x-authid: v3:dropbox:1:x\r\n") && request.contains("user-agent: duplicati v"));
    }

    #[tokio::test]
    async fn a_new_authid_is_taken_where_the_backend_takes_one() {
        let answer = "200 OK|{\"access_token\":\"a\",\"expires\":3600,\"v2_authid\":\"v3:x:2:y\"}";
        for (takes_v2, authid) in [(true, "v3:x:2:y"), (false, "v3:x:1:y")] {
            let (url, _) = answering(&[answer]);
            let mut client = Duplicati::new(&url, "x", "v3:x:1:y", &Clock::system());
            client.takes_v2 = takes_v2;
            client.access_token().await.unwrap();
            assert_eq!(client.authid, authid);
        }
    }

    #[tokio::test]
    async fn a_fault_that_passes_is_never_seen() {
        let fault = "502 Bad Gateway\r\nX-Reason: Down.|";
        let (url, _) = answering(&[fault, fault, "200 OK|{\"access_token\":\"a\",\"expires\":3600}"]);
        let mut client = Duplicati::new(&url, "x", "v3:x:1:y", &Clock::system());
        assert_eq!(client.access_token().await.as_deref(), Ok("a"));
        assert_eq!(seconds(&client.waits), [1, 2]);
    }

    #[tokio::test]
    async fn a_redirect_is_followed_with_the_authid() {
        let (target, seen) = answering(&["200 OK|{\"access_token\":\"a\",\"expires\":3600}"]);
        let (url, _) = answering(&[&format!("302 Found\r\nLocation: {target}|")]);
        let mut client = Duplicati::new(&url, "x", "v3:x:1:y", &Clock::system());
        assert_eq!(client.access_token().await.as_deref(), Ok("a"));
        assert!(seen.lock().unwrap()[0].contains("x-authid: v3:x:1:y"));
    }

    #[tokio::test]
    async fn an_authid_without_a_colon_is_a_raw_token_to_dropbox() {
        let mut client = Duplicati::new("http://127.0.0.1:9/refresh", "dropbox", "raw", &Clock::system());
        assert_eq!(client.access_token().await.as_deref(), Ok("raw"));
    }
}
