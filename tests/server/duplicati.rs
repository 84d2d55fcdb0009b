//! The token logic of Duplicati's backends, written from what unmodified ones did in runs: requests, retries, time limits.
//! What their users then read is in `reading`.

use crate::http;
use crate::reading::{self, Backend, Generation, Operation, Refusal, TIMED_OUT};
use authseal::clock::{Clock, UnixTime};
use serde::Deserialize;
use std::time::{Duration, Instant};
use url::Url;

/// An attempt is given up after this time.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(25);
/// .NET sends a request again, at once, when the connection ends before the first byte of an answer.
const SENT_AGAIN: usize = 3;

/// The client of one backend object.
pub(crate) struct Duplicati {
    url: Url,
    backend: Backend,
    generation: Generation,
    /// What it sends; replaced by `v2_authid`, until the object ends.
    pub(crate) authid: String,
    http: reqwest::Client,
    clock: Clock,
    token: Option<(String, UnixTime)>,
    /// The pauses that it made, or would have made, before it asked again.
    pub(crate) waits: Vec<Duration>,
    on_wait: Box<dyn FnMut(Duration) + Send>,
}

/// Why an operation failed, as its user reads it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    /// When each attempt began, in whole seconds since the first.
    pub(crate) attempts: Vec<u64>,
    /// How long the user waited, in whole seconds.
    pub(crate) seconds: u64,
}

/// What `/refresh` says, as far as it is read.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) access_token: String,
    /// Absent is 0, and 0 asks again each time. What does not fit 32 bits makes the whole answer unreadable.
    #[serde(default)]
    pub(crate) expires: i32,
    pub(crate) v2_authid: Option<String>,
}

impl Duplicati {
    /// A backend of Duplicati 2.2 or later for `service`, set to ask at `url` (`https://host/refresh`) with `authid`.
    pub(crate) fn new(url: &str, service: &str, authid: &str, clock: &Clock) -> Self {
        Self::of(Backend::of(service).unwrap(), Generation::V2_2, url, authid, clock)
    }

    /// This backend of that generation.
    pub(crate) fn of(backend: Backend, generation: Generation, url: &str, authid: &str, clock: &Clock) -> Self {
        Self {
            url: Url::parse(url).unwrap(),
            backend,
            generation,
            authid: authid.to_owned(),
            // It follows redirects and sends its headers again.
            http: http::builder()
                .timeout(ATTEMPT)
                .redirect(reqwest::redirect::Policy::limited(50))
                .user_agent("Duplicati v2.3.0.4")
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

    /// An access token for a list of files, the one at hand or a new one.
    pub(crate) async fn access_token(&mut self) -> Result<String, Failure> {
        self.token_for(Operation::List).await
    }

    /// An access token for an operation, the one at hand or a new one.
    pub(crate) async fn token_for(&mut self, operation: Operation) -> Result<String, Failure> {
        // The Dropbox backend takes an AuthID without a colon for a raw token and asks nobody.
        if self.backend == Backend::Dropbox && !self.authid.contains(':') {
            return Ok(self.authid.clone());
        }
        if let Some((token, expires)) = &self.token
            && *expires >= self.clock.now()
        {
            return Ok(token.clone());
        }
        let answer = self.ask(operation).await?;
        self.token = Some((answer.access_token.clone(), self.clock.now() + i64::from(answer.expires) - 30));
        let takes_another = self.backend != Backend::Jottacloud;
        if let Some(newer) = answer.v2_authid.filter(|newer| takes_another && !newer.trim().is_empty()) {
            self.authid = newer;
        }
        Ok(answer.access_token)
    }

    /// Asks until there is an answer, no hope, or no time.
    async fn ask(&mut self, operation: Operation) -> Result<Answer, Failure> {
        let limit = reading::limit(self.backend, self.generation, operation);
        let (mut attempts, mut passed) = (Vec::new(), Duration::ZERO);
        loop {
            attempts.push(passed.as_secs());
            let begun = Instant::now();
            let outcome = self.attempt().await;
            passed += begun.elapsed();
            let refusal = match outcome {
                Ok(answer) => return Ok(answer),
                Err(refusal) => refusal,
            };
            let failed = |text: String, passed: Duration, attempts: &[u64]| {
                Err(Failure { text, attempts: attempts.to_vec(), seconds: passed.as_secs() })
            };
            let retries = reading::retries(self.backend, self.generation, &refusal);
            let pause = match after(attempts.len(), passed, retries, limit) {
                Next::Again(pause) => pause,
                Next::TimeIsUp(limit) => return failed(TIMED_OUT.to_owned(), limit, &attempts),
                Next::GivesUp => {
                    // The path is dropped: a server under a sub-path would not be found.
                    let server = self.url.origin().ascii_serialization();
                    let text = reading::reading(self.backend, self.generation, operation, &server, &refusal);
                    return failed(text, passed, &attempts);
                }
            };
            self.waits.push(pause);
            (self.on_wait)(pause);
            passed += pause;
        }
    }

    async fn attempt(&self) -> Result<Answer, Refusal> {
        let network = |error: reqwest::Error| Refusal { phrase: error.to_string(), ..Refusal::default() };
        let mut again = SENT_AGAIN;
        let answer = loop {
            let request = self.http.get(self.url.clone()).header("X-AuthID", &self.authid);
            match request.send().await {
                Ok(answer) => break answer,
                Err(error) if again > 0 && !error.is_connect() && !error.is_timeout() => again -= 1,
                Err(error) => return Err(network(error)),
            }
        };
        let status = answer.status();
        let reason = answer.headers().get("X-Reason").map(|reason| reason.to_str().unwrap().to_owned());
        let body = answer.text().await.map_err(network)?;
        if !status.is_success() {
            let phrase = status.canonical_reason().unwrap_or_default().to_owned();
            return Err(Refusal { status: Some(status.as_u16()), phrase, reason, body });
        }
        let unreadable = |_| Refusal { phrase: format!("Invalid JSON data: \"{body}\""), ..Refusal::default() };
        serde_json::from_str(&body).map_err(unreadable)
    }
}

/// What a client does after an attempt that failed.
pub(crate) enum Next {
    /// It asks again after a pause.
    Again(Duration),
    GivesUp,
    /// The operation's limit ends it.
    TimeIsUp(Duration),
}

/// The same, after so many `attempts` in the time that has `passed`, where so many `retries` follow a failure of this kind.
pub(crate) fn after(attempts: usize, passed: Duration, retries: usize, limit: Option<Duration>) -> Next {
    let pause = Duration::from_secs(1 << (attempts - 1));
    let last = attempts > retries;
    match limit.filter(|limit| passed + if last { Duration::ZERO } else { pause } >= *limit) {
        Some(limit) => Next::TimeIsUp(limit),
        None if last => Next::GivesUp,
        None => Next::Again(pause),
    }
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

    const TOKEN: &str = "200 OK|{\"access_token\":\"a\",\"expires\":3600}";

    /// What the user of each backend reads after this response, and how many requests it took.
    async fn reads(answer: &str, generation: Generation, operation: Operation) -> Vec<(Backend, Failure, usize)> {
        let mut all = Vec::new();
        for backend in Backend::ALL {
            let (url, seen) = answering(&[answer]);
            let mut client = Duplicati::of(backend, generation, &url, "v3:x:1:x", &Clock::system());
            let failure = client.token_for(operation).await.unwrap_err();
            let requests = seen.lock().unwrap().len();
            all.push((backend, failure, requests));
        }
        all
    }

    fn sentence(reason: &str, backend: Backend, text: &str) -> String {
        let server = text.split_once("from: ").map_or("", |(_, login)| login.split_once('?').unwrap().0);
        let service = backend.service();
        format!(
            "Failed to authorize using the OAuth service: {reason}. If the problem persists, try generating a new authid token from: {server}?type={service}"
        )
    }

    #[tokio::test]
    async fn a_reason_with_503_is_read_by_all_after_one_request() {
        let answer = "503 Service Unavailable\r\nX-Reason: Later|Later";
        for (generation, operation) in Generation::ALL.into_iter().flat_map(|g| Operation::ALL.map(|o| (g, o))) {
            for (backend, failure, requests) in reads(answer, generation, operation).await {
                // Box of the old generation looks at the body alone, whatever the status.
                let body = (backend, generation) == (Backend::Box, Generation::V2_1);
                let wrapped = (backend, generation) == (Backend::Jottacloud, Generation::V2_2);
                let reason = if body { "Raw message: Later" } else { "Later" };
                let mut text = sentence(reason, backend, &failure.text);
                if wrapped {
                    text.insert_str(0, "Failed to retrieve user information: ");
                }
                if operation == Operation::Test && failure.text.starts_with("Error listing content: ") {
                    text.insert_str(0, "Error listing content: ");
                }
                assert_eq!((failure.text, requests), (text, if body { 6 } else { 1 }), "{backend:?} {generation:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_refusal_with_401_is_read_by_all_after_two_requests() {
        for (backend, failure, requests) in
            reads("401 Unauthorized\r\nX-Reason: Gone|Gone", Generation::V2_2, Operation::Get).await
        {
            let text = sentence("Gone", backend, &failure.text);
            let text = match backend {
                Backend::Box => "Box.com ErrorResponse: 401 - Unknown: Gone".to_owned(),
                Backend::Jottacloud => format!("Failed to retrieve user information: {text}"),
                _ => text,
            };
            assert_eq!((failure.text, requests, failure.attempts), (text, 2, vec![0, 1]), "{backend:?}");
        }
    }

    #[tokio::test]
    async fn of_a_lasting_502_some_read_a_time_out_only() {
        for (backend, failure, requests) in
            reads("502 Bad Gateway\r\nX-Reason: Down|Down", Generation::V2_2, Operation::Delete).await
        {
            let hidden = !matches!(backend, Backend::Gcs | Backend::Box | Backend::Jottacloud);
            assert_eq!(failure.text == TIMED_OUT, hidden, "{backend:?}: {failure:?}");
            let (times, seconds) = if hidden { (vec![0, 1, 3, 7, 15], 30) } else { (vec![0, 1, 3, 7, 15, 31], 31) };
            assert_eq!((failure.attempts, failure.seconds, requests), (times.clone(), seconds, times.len()));
        }
    }

    #[tokio::test]
    async fn texts_are_those_that_were_seen() {
        use Backend::{Box, Dropbox, Gcs};
        let json = "{\"error\":\"S\"}";
        let cases = [
            (Box, "404 Not Found", json.to_owned(), "Box.com ErrorResponse: 0 - : "),
            (Box, "400 Bad Request", "S".to_owned(), "Box.com ErrorResponse: 400 - Unknown: S"),
            (Dropbox, "404 Not Found", "S".to_owned(), "FolderMissingException: S"),
            (Dropbox, "507 Insufficient Storage", "S".to_owned(), "The Dropbox account is over quota: S"),
            (Dropbox, "502 Bad Gateway", json.to_owned(), "The node must be of type 'JsonObject'."),
            (Dropbox, "400 Bad Request", "S".to_owned(), "Non-json response (code: 400, message: Bad Request): S"),
            (
                Gcs,
                "503 Service Unavailable",
                "S".to_owned(),
                "Response status code does not indicate success: 503 (Service Unavailable).",
            ),
            (
                Gcs,
                "503 Service Unavailable\r\nX-Reason: ",
                "S".to_owned(),
                "The OAuth service is currently over quota. Try again in a few hours",
            ),
            (Gcs, "200 OK", "<html>".to_owned(), "Invalid JSON data: \"<html>\""),
            (
                Gcs,
                "200 OK",
                "{\"access_token\":\"a\",\"expires\":3600.5}".to_owned(),
                "Invalid JSON data: \"{\"access_token\":\"a\",\"expires\":3600.5}\"",
            ),
        ];
        for (backend, head, body, text) in cases {
            let (url, _) = answering(&[&format!("{head}|{body}")]);
            let mut client = Duplicati::of(backend, Generation::V2_2, &url, "v3:x:1:x", &Clock::system());
            assert_eq!(client.access_token().await.unwrap_err().text, text, "{backend:?} {head}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_without_an_answer_is_tried_four_times_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/refresh", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            for _ in 0..24 {
                let (mut connection, _) = listener.accept().unwrap();
                let _ = connection.read(&mut [0; 4096]).unwrap();
            }
        });
        let mut client = Duplicati::of(Backend::Gcs, Generation::V2_2, &url, "v3:gcs:1:x", &Clock::system());
        assert_eq!(client.access_token().await.unwrap_err().attempts, [0, 1, 3, 7, 15, 31]);
        server.join().unwrap();
    }

    #[tokio::test]
    async fn a_token_is_used_until_thirty_seconds_before_its_end() {
        let (url, seen) = answering(&["200 OK|{\"access_token\":\"a\",\"expires\":100,\"more\":{}}"]);
        let clock = Clock::system();
        let mut client = Duplicati::new(&url, "dropbox", "v3:dropbox:1:x", &clock);
        for (step, requests) in [(0, 1), (60, 1), (12, 2)] {
            clock.advance(Duration::from_secs(step));
            assert_eq!(client.access_token().await.unwrap(), "a");
            assert_eq!(seen.lock().unwrap().len(), requests);
        }
        let request = seen.lock().unwrap()[0].clone();
        assert!(request.starts_with("get /refresh http/1.1\r\n"));
        assert!(request.contains("x-authid: v3:dropbox:1:x\r\n") && request.contains("user-agent: duplicati v"));
    }

    #[tokio::test]
    async fn a_new_authid_is_taken_where_the_backend_takes_one() {
        let answer = "200 OK|{\"access_token\":\"a\",\"expires\":3600,\"v2_authid\":\"v3:x:2:y\"}";
        for backend in Backend::ALL {
            let (url, _) = answering(&[answer]);
            let mut client = Duplicati::of(backend, Generation::V2_2, &url, "v3:x:1:y", &Clock::system());
            client.access_token().await.unwrap();
            assert_eq!(client.authid == "v3:x:2:y", backend != Backend::Jottacloud, "{backend:?}");
        }
    }

    #[tokio::test]
    async fn a_fault_that_passes_is_never_seen() {
        let fault = "502 Bad Gateway\r\nX-Reason: Down|";
        let (url, _) = answering(&[fault, fault, TOKEN]);
        let paused = Arc::new(Mutex::new(Duration::ZERO));
        let seen = paused.clone();
        let mut client = Duplicati::new(&url, "gcs", "v3:gcs:1:y", &Clock::system())
            .while_waiting(move |pause| *seen.lock().unwrap() += pause);
        assert_eq!(client.access_token().await.unwrap(), "a");
        assert_eq!(client.waits, [1, 2].map(Duration::from_secs));
        assert_eq!(*paused.lock().unwrap(), Duration::from_secs(3));
    }

    #[tokio::test]
    async fn a_redirect_is_followed_with_the_authid() {
        let (target, seen) = answering(&[TOKEN]);
        let (url, _) = answering(&[&format!("302 Found\r\nLocation: {target}|")]);
        let mut client = Duplicati::new(&url, "gcs", "v3:x:1:y", &Clock::system());
        assert_eq!(client.access_token().await.unwrap(), "a");
        assert!(seen.lock().unwrap()[0].contains("x-authid: v3:x:1:y"));
    }

    #[tokio::test]
    async fn an_authid_without_a_colon_is_a_raw_token_to_dropbox() {
        let mut client = Duplicati::new("http://127.0.0.1:9/refresh", "dropbox", "raw", &Clock::system());
        assert_eq!(client.access_token().await.unwrap(), "raw");
    }
}
