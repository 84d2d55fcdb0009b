//! What a client may do to a connection: how long it may take, how much it may send ahead, what it may leave unread. Raw
//! sockets, and a clock that is moved.

use crate::admin::ADMIN;
use crate::emulator::{Emulator, Profile};
use crate::spawn::{TestApp, spawn_app, until};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// What surely happens, happens within this time, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections are looked at four times a second; one that survives three such looks is not ended.
const LOOKS: Duration = Duration::from_millis(800);

const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

struct Client(TcpStream);

impl Client {
    async fn new(base: &str) -> Self {
        Self(TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap())
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.0.write_all(bytes.as_ref()).await.unwrap();
        self
    }

    /// The status of the next answer, whose body has a length.
    async fn status(&mut self) -> u16 {
        timeout(PATIENCE, self.answer()).await.expect("an answer").expect("an answer, not an end").0
    }

    async fn answer(&mut self) -> Option<(u16, String)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.ok()?;
        Some((head[9..12].parse().unwrap(), head + &String::from_utf8_lossy(&body)))
    }

    /// What else comes until the server has ended the connection.
    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let end = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("the server ends the connection");
        assert!(end.is_ok() || end.unwrap_err().kind() == std::io::ErrorKind::ConnectionReset);
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Whether the server has not ended the connection, nor said anything.
    async fn is_open(&mut self) -> bool {
        timeout(LOOKS, self.0.read_u8()).await.is_err()
    }
}

/// By a connection of its own: those that are kept end when the clock is moved.
async fn metrics(app: &TestApp) -> String {
    let mut client = Client::new(app.admin.as_ref().unwrap()).await;
    client.send("GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.rest().await
}

/// How many connections were ended for a reason.
async fn ended(app: &TestApp, reason: &str) -> u64 {
    let metrics = metrics(app).await;
    let name = format!("authseal_connections_ended_total{{reason=\"{reason}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).expect("it is there from the start").parse().unwrap()
}

#[tokio::test]
async fn a_connection_ends_when_what_it_waits_for_does_not_come_in_time() {
    let app = spawn_app(ADMIN);
    // What was sent; whether an answer came first; after how many seconds it is open, and ended; and the last words.
    type Row<'a> = (&'a str, &'a [&'a str], u64, u64, &'a str, &'a str);
    let get = std::str::from_utf8(GET).unwrap();
    let post = format!("POST /revoked HTTP/1.1\r\nhost: localhost\r\n{FORM}");
    let (sized, chunked) =
        (format!("{post}content-length: 99\r\n\r\n"), format!("{post}transfer-encoding: chunked\r\n\r\n"));
    let expects = format!("{post}expect: 100-continue\r\ncontent-length: 99\r\n\r\nauthid=");
    let unwanted = "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let get_chunked = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{unwanted}");
    let post_405 = format!("POST / HTTP/1.1\r\nhost: localhost\r\n{unwanted}");
    let rows: &[Row<'_>] = &[
        ("nothing", &[""], 8, 3, "", "silent"),
        ("a first byte", &["G"], 8, 3, "408", "slow_request"),
        ("most of a head", &["GET /healthz HTTP/1.1\r\nhost: x\r\n"], 8, 3, "408", "slow_request"),
        ("empty lines", &["\r\n\r\n\r\n"], 8, 3, "408", "slow_request"),
        ("an answer, then nothing", &[get, ""], 28, 3, "", "idle"),
        ("an answer, then a byte", &[get, "G"], 8, 3, "408", "slow_request"),
        ("an answer, then a second head's beginning", &[get, "GET / HTTP/1.1\r\nhost"], 8, 3, "408", "slow_request"),
        ("an answer, then empty lines", &[get, "\r\n\r\n"], 8, 3, "408", "slow_request"),
        ("two answers, then a byte", &[get, get, "G"], 8, 3, "408", "slow_request"),
        ("a chunk that nobody wants, then nothing", &[&get_chunked, ""], 8, 3, "", "slow_request"),
        ("a chunk that nobody wants, then a trailer", &[&get_chunked, "0\r\nx: y"], 8, 3, "", "slow_request"),
        ("a refused method, then a chunk extension", &[&post_405, "5;x"], 8, 3, "", "slow_request"),
        ("a form's beginning", &[&sized], 18, 3, "400", "slow_request"),
        ("a form's beginning in chunks", &[&chunked], 18, 3, "400", "slow_request"),
        ("a form that was asked for, its beginning", &[&expects], 18, 3, "400", "slow_request"),
    ];
    for (what, sent, open, then, words, reason) in rows {
        let before = ended(&app, reason).await;
        let mut client = Client::new(&app.base).await;
        let (last, first) = sent.split_last().unwrap();
        for request in first {
            let expected = if request.starts_with("POST") { 405 } else { 200 };
            assert_eq!(client.send(request).await.status().await, expected, "{what}");
        }
        client.send(last).await;
        if last.contains("expect:") {
            assert_eq!(client.status().await, 100, "{what}");
        }
        // The bytes have to be there before the clock moves.
        tokio::time::sleep(Duration::from_millis(50)).await;
        app.clock.advance(Duration::from_secs(*open));
        assert!(client.is_open().await, "{what}: ended before {open} s");
        app.clock.advance(Duration::from_secs(*then));
        let rest = client.rest().await;
        assert_eq!(rest.get(9..12).unwrap_or_default(), *words, "{what}: {rest}");
        // The client sees the end a moment before it is counted.
        until(Duration::from_secs(10), async || ended(&app, reason).await == before + 1).await;
    }
}

#[tokio::test]
async fn a_byte_now_and_then_buys_no_time() {
    let app = spawn_app("");
    let unwanted = "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    let form = format!("POST /revoked HTTP/1.1\r\nhost: localhost\r\n{FORM}transfer-encoding: chunked\r\n\r\n");
    for (first, drop, seconds) in
        [("", "x", 10), ("", "\r\n", 10), (unwanted, "1;a=b\r\nx\r\n", 10), (&form, "1\r\nx\r\n", 20)]
    {
        let mut client = Client::new(&app.base).await;
        client.send(GET).await.status().await;
        client.send(first).await;
        if first == unwanted {
            client.status().await;
        }
        let begun = app.clock.uptime();
        let lasted = || (app.clock.uptime() - begun).as_secs();
        while client.0.write_all(drop.as_bytes()).await.is_ok() && client.is_open().await {
            assert!(lasted() <= seconds + 4, "{first:?}, {drop:?}: open after {} s", lasted());
            app.clock.advance(Duration::from_millis(seconds * 100));
        }
        assert!(lasted() >= seconds - 1, "{first:?}, {drop:?}: ended after {} s", lasted());
    }
}

#[tokio::test]
async fn who_waits_for_us_is_never_ended() {
    let google = Emulator::start(Profile::google());
    let app = spawn_app(&google.provider_toml());
    let authid = app.log_in(&google);
    google.hold();
    let get = format!("GET /refresh HTTP/1.1\r\nhost: x\r\nx-authid: {authid}\r\n\r\n");
    let form = format!("authid={authid}");
    let post = format!("POST /refresh HTTP/1.1\r\nhost: x\r\n{FORM}content-length: {}\r\n\r\n{form}", form.len());
    let (mut one, mut other, mut ahead) =
        (Client::new(&app.base).await, Client::new(&app.base).await, Client::new(&app.base).await);
    one.send(&get).await;
    other.send(&post).await;
    // The second request waits for the answer to the first, however long that takes.
    ahead.send(&get).await.send(GET).await.send("GET /").await;
    until(PATIENCE, async || google.calls().len() == 2).await;
    for client in [&mut one, &mut other, &mut ahead] {
        app.clock.advance(Duration::from_secs(10));
        assert!(client.is_open().await);
    }
    google.release();
    for client in [&mut one, &mut other, &mut ahead] {
        assert_eq!(client.status().await, 200);
    }
    assert_eq!(ahead.status().await, 200);
    assert_eq!(ahead.send("isalive HTTP/1.1\r\nhost: x\r\n\r\n").await.status().await, 200);
}

#[tokio::test]
async fn a_form_may_come_over_a_slow_link() {
    let app = spawn_app("");
    let mut client = Client::new(&app.base).await;
    let body = format!("authid={}", "x".repeat(13));
    client.send(format!("POST /refresh HTTP/1.1\r\nhost: x\r\n{FORM}content-length: {}\r\n\r\n", body.len())).await;
    for byte in body.bytes() {
        client.send([byte]).await;
        app.clock.advance(Duration::from_millis(900));
    }
    assert_eq!(client.status().await, 401);
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order_however_they_are_cut() {
    let app = spawn_app("");
    let form = "authid=revoke:x\r\n\r\nGET /x"; // the body holds what looks like the end of a head
    let requests = [
        "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        "\r\nGET /nothing HTTP/1.1\nhost: x\n\n".to_owned(),
        format!("POST /revoked HTTP/1.1\r\nhost: localhost\r\n{FORM}content-length: {}\r\n\r\n{form}", form.len()),
        format!("POST /refresh HTTP/1.1\r\nhost: x\r\n{FORM}transfer-encoding: chunked\r\n\r\n3\r\nx=y\r\n0\r\n\r\n"),
        "DELETE / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n2\r\n\n\n\r\n0\r\nx: y\r\n\r\n"
            .to_owned(),
        "HEAD /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".to_owned(),
    ];
    let all = requests.concat();
    let expected = [200, 404, 400, 400, 405];
    for size in [1, 2, 3, 7, 64, 1000, all.len()] {
        let mut client = Client::new(&app.base).await;
        client.0.set_nodelay(true).unwrap();
        for piece in all.as_bytes().chunks(size) {
            client.send(piece).await;
        }
        for status in expected {
            assert_eq!(client.status().await, status, "in pieces of {size}");
        }
        client.0.shutdown().await.unwrap();
        assert!(client.rest().await.starts_with("HTTP/1.1 200"), "in pieces of {size}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_an_answer_to_a_large_body_arrives() {
    let app = spawn_app(ADMIN);
    let mut client = Client::new(&app.base).await;
    let head = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(30_000));
    assert_eq!(client.send(&head).await.status().await, 200);
    client.send(format!("GET /healthz HTTP/1.1\r\nx-long: {}", "x".repeat(50_000))).await;
    assert!(client.rest().await.starts_with("HTTP/1.1 431"));
    until(PATIENCE, async || ended(&app, "too_large").await == 1).await;

    let mut client = Client::new(&app.base).await;
    let large = format!("authid={}", "x".repeat(600_000));
    client
        .send(format!("POST /refresh HTTP/1.1\r\nhost: x\r\n{FORM}content-length: {}\r\n\r\n{large}", large.len()))
        .await;
    assert_eq!(client.status().await, 400);
}

#[tokio::test]
async fn who_reads_nothing_is_served_no_more_and_ended() {
    let app = spawn_app(ADMIN);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let mut client = Client(socket.connect(app.base.strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap());
    let requests = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(15_000);
    let answers = async || {
        let metrics = metrics(&app).await;
        let name = "authseal_http_answers_total{code=\"200\",method=\"GET\",route=\"/\"} ";
        metrics.lines().find_map(|line| line.strip_prefix(name)).map_or(0, |n| n.parse().unwrap())
    };
    let _ = timeout(LOOKS, client.0.write_all(&requests)).await;
    // As many as the kernel keeps answers of, and then no more.
    let mut before = 0;
    until(PATIENCE, async || {
        tokio::time::sleep(LOOKS).await;
        std::mem::replace(&mut before, answers().await) == before
    })
    .await;
    assert!((1..300).contains(&before), "{before}");
    app.clock.advance(Duration::from_secs(15));
    tokio::time::sleep(LOOKS).await;
    assert_eq!(ended(&app, "slow_reader").await, 0);
    app.clock.advance(Duration::from_secs(16));
    until(PATIENCE, async || ended(&app, "slow_reader").await == 1).await;
    client.rest().await;
}

#[tokio::test]
async fn a_slow_reader_gets_its_answer() {
    let app = spawn_app("");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let mut client = Client(socket.connect(app.base.strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap());
    client.send("GET /static/authseal.css HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    let mut answer = Vec::new();
    let mut some = [0; 512];
    while let Ok(read @ 1..) = timeout(PATIENCE, client.0.read(&mut some)).await.unwrap() {
        answer.extend(&some[..read]);
        app.clock.advance(Duration::from_millis(900));
    }
    let whole = app.get("/static/authseal.css").await.body;
    assert!(answer.ends_with(whole.as_bytes()), "{} bytes", answer.len());
}

#[tokio::test]
async fn when_connections_are_nearly_used_up_those_that_wait_longest_make_room() {
    let app = spawn_app(&format!("{ADMIN}[server]\nmax_connections = 32\n"));
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut client = Client::new(&app.base).await;
        assert_eq!(client.send(GET).await.status().await, 200);
        idle.push(client);
        app.clock.advance(Duration::from_millis(100));
    }
    assert!(idle[0].is_open().await, "nobody is closed as long as there is room");
    // 28 of 32 are for the public listener, and 25 and more are nearly all of them.
    for _ in 0..50 {
        let mut client = Client::new(&app.base).await;
        assert_eq!(client.send(GET).await.status().await, 200);
        idle.push(client);
        app.clock.advance(Duration::from_millis(100));
    }
    idle[0].rest().await;
    let last = idle.last_mut().unwrap();
    assert_eq!(last.send(GET).await.status().await, 200);
    assert!(ended(&app, "crowded").await > 30);
}

#[tokio::test]
async fn the_other_listeners_have_the_same_bounds() {
    let app = spawn_app(ADMIN);
    let admin = app.admin.clone().unwrap();
    let mut client = Client::new(&admin).await;
    assert_eq!(client.send(GET).await.status().await, 200);
    client.send("G").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    app.clock.advance(Duration::from_secs(11));
    assert!(client.rest().await.starts_with("HTTP/1.1 408"));
}
