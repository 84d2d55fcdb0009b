//! `authseal apps`: what several servers have seen of the registrations, put together.

use crate::replica::{Manner, Replica};
use crate::run;
use serde_json::{Value, json};

fn replica(apps: &Value) -> Replica {
    let body = json!({ "watching_since": "2026-01-01T00:00:00Z", "window_days": 35, "apps": apps });
    Replica::new(Manner::Says("200 OK", body.to_string()))
}

#[test]
fn what_several_servers_have_seen_of_registrations_is_put_together() {
    let row = |client: &str, current: bool, logins: u64, last: Value| {
        let app = format!("app-{client}");
        json!({
            "provider": "google", "app": app, "client_id": client, "current": current, "logins": logins,
            "last_seen": last,
        })
    };
    let one = replica(&json!([row("new", true, 3, json!("2026-02-01T00:00:00Z")), row("old", false, 0, json!(null))]));
    let two = replica(&json!([row("old", true, 5, json!("2026-01-02T00:00:00Z"))]));
    let elsewhere = tempfile::tempdir().unwrap();
    let done = run(elsewhere.path(), &["apps", "--json", "--against", &one.url, &two.url]);
    let told: Value = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{done:?}"));
    let sum = |client: &str, at: u64, [at_least, at_most]: [u64; 2], last: &str| {
        let app = format!("app-{client}");
        json!({
            "provider": "google", "app": app, "client_id": client, "current": true, "configured_at": at,
            "at_least": at_least, "at_most": at_most, "last_seen": last,
        })
    };
    let [new, old] = ["2026-02-01T00:00:00Z", "2026-01-02T00:00:00Z"];
    assert_eq!(told["apps"], json!([sum("new", 1, [3, 3], new), sum("old", 2, [5, 5], old)]));
    assert_eq!((&told["errors"], &told["window_days"]), (&json!([]), &json!(35)));
    let done = run(elsewhere.path(), &["apps", "--against", &one.url, &two.url]);
    assert!(done.out.contains("configured at 1 of 2 replicas only"), "{done:?}");
    assert_eq!(done.code, 0);

    for (status, body) in [("200 OK", "{}"), ("404 Not Found", ""), ("200 OK", "\u{1b}[2J")] {
        let odd = Replica::new(Manner::Says(status, body.to_owned()));
        let done = run(elsewhere.path(), &["apps", "--against", &odd.url, &one.url]);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.err.contains("1 of 2 replicas did not say") && !done.out.contains('\u{1b}'), "{done:?}");
    }
    let now = authseal::clock::rfc3339(authseal::clock::Clock::system().now());
    let just = replica(&json!([row("new", true, 1, json!(now))]));
    let done = run(elsewhere.path(), &["apps", "--against", &just.url]);
    assert!(done.out.contains("less than a minute ago  new\n"), "{done:?}");
    let nobody = run(elsewhere.path(), &["apps"]);
    assert_eq!(nobody.code, 2, "{nobody:?}");
}
