//! Moving here from duplicati/oauth-server, from end to end: each set-up of tests/oauth-server is imported as its operator
//! would do it, and old AuthIDs of both versions bring access tokens from strict pretend providers, through the model
//! client; and the old server is exchanged behind a real HAProxy, under load.

use crate::duplicati::Duplicati;
use crate::emulator::{Emulator, Profile, Renewal};
use crate::http;
use crate::legacy::{Expected, expected, fixture};
use crate::port::free_port;
use crate::reading::{Backend, Generation};
use crate::spawn::{Answer, spawn_at, until};
use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use aes::Aes256;
use authseal::clock::Clock;
use authseal::legacy::{OldAuthId, decrypt};
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeEncrypt, KeyIvInit};
use futures_util::future::join_all;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use toml_edit::{DocumentMut, value};

const HOUR: Duration = Duration::from_secs(3600);

fn authseal(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_authseal"));
    command.current_dir(folder).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What an import wrote: the configuration, and the services that it took over, each with its provider.
fn import(set_up: &Path, to: &Path) -> (DocumentMut, Vec<(String, String)>) {
    let arguments = fs::read_to_string(set_up.join("arguments")).unwrap();
    let mut words = shell_words::split(&arguments).unwrap();
    let at = words.iter().position(|word| *word == "--").unwrap_or(words.len());
    words.splice(at..at, ["--dir".to_owned(), to.display().to_string()]);
    let done = authseal(set_up).args(["import", "oauth-server"]).args(words).output().unwrap();
    assert!(done.status.success(), "{set_up:?}: {done:?}");
    let said = String::from_utf8(done.stdout).unwrap();
    let taken = said.lines().filter_map(|line| {
        let (service, rest) = line.trim().strip_prefix("service `")?.split_once("`: at ")?;
        Some((service.to_owned(), rest.split_once(", with its registration")?.0.to_owned()))
    });
    let taken = taken.collect();
    (fs::read_to_string(to.join("authseal.toml")).unwrap().parse().unwrap(), taken)
}

fn leaked(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

/// The provider of a service that was taken over, as strict as the real one, which has registered the client that the
/// import gave the service.
fn provider_of(made: &DocumentMut, folder: &Path, service: &str, provider: &str) -> Profile {
    let known = [
        Profile::google(),
        Profile::microsoft(),
        Profile::box_com(),
        Profile::dropbox(),
        Profile::jottacloud(),
        Profile::pcloud(),
    ];
    let kind = provider.strip_suffix("-own").unwrap_or(provider);
    let own = Profile { basic: false, renewal: Renewal::Rolling, ..Profile::oidc() };
    let base = known.into_iter().find(|known| known.provider == kind).unwrap_or(own);
    let text = |table: &str, id: &str, key: &str| Some(leaked(made.get(table)?.get(id)?.get(key)?.as_str()?));
    let secret = |file: &str| leaked(fs::read_to_string(folder.join(file)).unwrap().trim());
    let (client_id, secret) = match text("services", service, "client_id") {
        Some(id) => (Some(id), text("services", service, "client_secret_file").map(secret)),
        None => (text("clients", provider, "id"), text("clients", provider, "secret_file").map(secret)),
    };
    let raw = made.get("providers").and_then(|all| all.get(provider)?.get("raw_token")).is_some();
    Profile {
        provider: leaked(provider),
        service: leaked(service),
        client_id: client_id.unwrap_or(base.client_id),
        secret,
        tenant: text("clients", provider, "tenant").or(base.tenant),
        renewal: if raw { Renewal::None } else { base.renewal },
        ..base
    }
}

/// What was written, with this provider in the place of the real one.
fn tables(made: &DocumentMut, folder: &Path, emulator: &Emulator) -> String {
    let mut made = made.clone();
    for key in ["public_url", "listen", "admin"] {
        made.remove(key);
    }
    for (table, key) in [("clients", "secret_file"), ("services", "client_secret_file")] {
        let Some(entries) = made.get_mut(table).and_then(|table| table.as_table_like_mut()) else { continue };
        for (_, entry) in entries.iter_mut() {
            if let Some(file) = entry.get(key).and_then(|file| file.as_str()) {
                let whole = folder.join(file).display().to_string();
                entry[key] = value(whole);
            }
        }
    }
    let (who, base) = (emulator.who(), emulator.base());
    let urls = [("authorize_url", who.authorize), ("token_url", who.token)];
    let urls = urls.into_iter().filter(|(_, path)| !path.is_empty());
    let own = made.get_mut("providers").and_then(|providers| providers.get_mut(who.provider));
    // Addresses of its own have no placeholder.
    let whole = |path: &str| format!("{base}{}", path.replace("{tenant}", who.tenant.unwrap_or_default()));
    let mut more = String::new();
    match own {
        Some(table) => urls.for_each(|(key, path)| table[key] = value(whole(path))),
        None => {
            more = format!("[providers.{}]\n", who.provider);
            urls.for_each(|(key, path)| more.push_str(&format!("{key} = \"{base}{path}\"\n")));
        }
    }
    format!("{made}\n{more}")
}

#[tokio::test]
async fn each_set_up_ends_in_access_tokens_for_the_authids_that_its_users_have() {
    let folders = fs::read_dir(fixture()).unwrap().map(|entry| entry.unwrap().path());
    let mut tried = [0, 0, 0];
    for set_up in folders.filter(|folder| folder.join("arguments").exists()) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("etc");
        let (made, taken) = import(&set_up, &folder);
        assert!(!taken.is_empty(), "{set_up:?}");
        let v1_dir = made["legacy"].get("v1_dir").map(|at| PathBuf::from(at.as_str().unwrap()));
        for (old_id, provider) in taken {
            let id = old_id.to_lowercase();
            let clock = Clock::system();
            let emulator = Emulator::start_at(provider_of(&made, &folder, &id, &provider), clock.clone());
            let app = spawn_at(&tables(&made, &folder, &emulator), clock);
            let about = format!("{}: {old_id}", set_up.file_name().unwrap().display());
            if emulator.who().renewal == Renewal::None {
                // Nobody refreshes there: what is handed out is the provider's own token, as it was before.
                tried[2] += 1;
                continue;
            }
            let tokens = emulator.log_in();
            let mut authids = vec![format!("v2:{old_id}:{}", tokens.refresh.unwrap())];
            for Expected { authid, refresh_token, service } in expected() {
                let stored = v1_dir.as_ref().is_some_and(|dir| dir.join(&authid[..32]).exists());
                if stored && service == old_id {
                    emulator.knows(&refresh_token);
                    authids.push(authid);
                    tried[0] += 1;
                }
            }
            for authid in authids {
                tried[1] += 1;
                for generation in [Generation::V2_1, Generation::V2_2] {
                    // Duplicati has backends for the usual services only; others ask the same way.
                    let backend = Backend::of(&id).unwrap_or(Backend::GoogleDrive);
                    let mut client = Duplicati::of(backend, generation, &app.at("/refresh"), &authid, &app.clock);
                    for _ in 0..2 {
                        let token = client.access_token().await.unwrap_or_else(|why| panic!("{about}: {why:?}"));
                        assert!(emulator.use_access_token(&token), "{about}");
                        app.clock.advance(HOUR * 5);
                    }
                    assert!(client.waits.is_empty(), "{about}");
                }
            }
            if id == "jottacloud" {
                // What that server made for it ends within hours, there too.
                let answer = app.refresh(&format!("v2:{old_id}:{}", tokens.access)).await;
                assert_eq!(answer.status, 401, "{about}: {answer:?}");
            }
        }
    }
    assert!(tried[0] >= 8 && tried[1] >= 30 && tried[2] >= 2, "{tried:?}");
}

#[tokio::test]
async fn who_has_an_old_authid_that_is_over_reads_where_a_new_one_is_made() {
    for (backend, who) in [
        (Backend::Box, Profile::box_com()),
        (Backend::GoogleDrive, Profile::google()),
        (Backend::OneDrive, Profile::microsoft()),
        (Backend::Dropbox, Profile::dropbox()),
    ] {
        let clock = Clock::system();
        let emulator = Emulator::start_at(who, clock.clone());
        let folder = fixture().join("tokens");
        let legacy = format!("[state]\nstore = \"dir:state\"\n[legacy]\nv2 = true\nv1_dir = {folder:?}\n");
        let app = spawn_at(&format!("{}{legacy}", emulator.provider_toml()), clock);
        // A provider that knows none of these tokens.
        let v1 = expected().into_iter().find(|login| login.service == who.service).unwrap().authid;
        for authid in [v1.clone(), format!("v2:{}:never-was-one", who.service), format!("{v1}x")] {
            let mut client = Duplicati::of(backend, Generation::V2_2, &app.at("/refresh"), &authid, &app.clock);
            let read = client.access_token().await.unwrap_err().text;
            // Box's backend alone reads the body; the others put their own link behind the reason.
            let link = match backend {
                Backend::Box if authid.len() > v1.len() => "https://authseal.test/".to_owned(),
                Backend::Box => "https://authseal.test/?type=box.com".to_owned(),
                _ => format!("?type={}", who.service),
            };
            assert!(read.contains(&link), "{}: {read}", who.service);
        }
    }
}

/// A file of AES Crypt as the old server writes them.
fn encrypted(content: &[u8], password: &str) -> Vec<u8> {
    let (iv, inner_iv, key) = ([7; 16], [8; 16], [9; 32]);
    let password: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut outer = [0; 32];
    outer[..16].copy_from_slice(&iv);
    for _ in 0..8192 {
        outer = Sha256::new().chain_update(outer).chain_update(&password).finalize().into();
    }
    let cipher = |key: &[u8; 32], iv: &[u8; 16], plain: &[u8]| {
        let mut data = plain.to_vec();
        data.resize(plain.len().next_multiple_of(16), 0);
        let length = data.len();
        cbc::Encryptor::<Aes256>::new(key.into(), iv.into()).encrypt_padded::<NoPadding>(&mut data, length).unwrap();
        let checksum = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap().chain_update(&data).finalize();
        (data, checksum.into_bytes())
    };
    let (sealed, checksum) = cipher(&outer, &iv, &[inner_iv.as_slice(), &key].concat());
    let (data, data_checksum) = cipher(&key, &inner_iv, content);
    let spare = [u8::try_from(content.len() % 16).unwrap()];
    [b"AES\x02\0\0\0".as_slice(), &iv, &sealed, &checksum, &data, &spare, &data_checksum].concat()
}

/// The old server: it asks the provider each time, and keeps a refresh token that comes in its folder.
struct OldServer {
    folder: PathBuf,
    /// Token endpoint and client, by service.
    providers: Vec<(&'static str, String, Profile)>,
    served: AtomicUsize,
}

async fn old_refresh(request: HttpRequest, old: Data<OldServer>) -> HttpResponse {
    let authid = request.headers().get("x-authid").unwrap().to_str().unwrap().to_owned();
    let (service, token, place) = match OldAuthId::parse(&authid).unwrap() {
        OldAuthId::Version2 { service, refresh_token } => (service.to_string(), refresh_token, None),
        OldAuthId::Version1 { file, password } => {
            let file = old.folder.join(file);
            let content = decrypt(&fs::read(&file).unwrap(), password.expose_secret()).unwrap();
            let entry: Value = serde_json::from_slice(&content).unwrap();
            let text = |key: &str| entry[key].as_str().unwrap().to_owned();
            (text("ServiceId"), text("RefreshToken").into(), Some((file, password, entry.clone())))
        }
    };
    let (_, url, who) = old.providers.iter().find(|(id, ..)| *id == service).unwrap();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.expose_secret()),
        ("client_id", who.client_id),
        ("client_secret", who.secret.unwrap()),
    ];
    let answer = Answer::of(http::client().post(url).form(&form).send().await.unwrap()).await;
    if answer.status != 200 {
        return HttpResponse::InternalServerError().body("An error occurred");
    }
    let answer = answer.json();
    if let (Some(newer), Some((file, password, mut entry))) = (answer["refresh_token"].as_str(), place) {
        entry["RefreshToken"] = newer.into();
        let aside = file.with_extension("aside");
        fs::write(&aside, encrypted(entry.to_string().as_bytes(), password.expose_secret())).unwrap();
        fs::rename(aside, file).unwrap();
    }
    old.served.fetch_add(1, Ordering::AcqRel);
    HttpResponse::Ok().json(json!({ "access_token": answer["access_token"], "expires": 3590, "type": service }))
}

/// A process that ends with the test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Commands for HAProxy, done one after the other without a request in between.
fn tell(socket: &Path, commands: &str) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(format!("{commands}\n").as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.trim().is_empty(), "{commands}: {said}");
}

/// `TESTS_LOAD` is how many refreshes are awaited before and after the change; its figures are printed.
#[tokio::test]
async fn the_old_server_is_exchanged_behind_haproxy_under_load_without_a_failed_refresh() {
    let load: usize = std::env::var("TESTS_LOAD").map_or(60, |load| load.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let profiles = [Profile::google(), Profile::box_com()];
    let emulators: Vec<_> = profiles.iter().map(|who| Emulator::start(*who)).collect();
    // What its users have: of Google both versions, of Box the one that works more than once there.
    fs::create_dir(at("tokens")).unwrap();
    let mut logins = Vec::new();
    for (at_provider, emulator) in emulators.iter().enumerate() {
        for Expected { authid, service, refresh_token } in expected() {
            if service == emulator.who().service {
                let name = &authid[..32];
                fs::copy(fixture().join("tokens").join(name), at("tokens").join(name)).unwrap();
                emulator.knows(&refresh_token);
                logins.push((at_provider, authid));
            }
        }
    }
    logins.extend((0..6).map(|_| (0, format!("v2:googledrive:{}", emulators[0].log_in().refresh.unwrap()))));
    let entry = |emulator: &Emulator, kind: &str| {
        let (who, base) = (emulator.who(), emulator.base());
        json!({
            "id": who.service, "serviceId": kind, "clientId": who.client_id, "clientSecret": who.secret,
            "authUrl": format!("{base}{}", who.token), "loginUrl": format!("{base}{}", who.authorize),
        })
    };
    let config = json!([entry(&emulators[0], "GD"), entry(&emulators[1], "BOX")]);
    fs::write(at("config.json"), config.to_string()).unwrap();

    let old = Data::new(OldServer {
        folder: at("tokens"),
        providers: emulators
            .iter()
            .map(|emulator| {
                let who = *emulator.who();
                (who.service, format!("{}{}", emulator.base(), who.token), who)
            })
            .collect(),
        served: AtomicUsize::new(0),
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let old_address = listener.local_addr().unwrap();
    let data = old.clone();
    let running =
        HttpServer::new(move || App::new().app_data(data.clone()).route("/refresh", web::get().to(old_refresh)))
            .workers(2)
            .disable_signals()
            .listen(listener)
            .unwrap()
            .run();
    let old_handle = running.handle();
    tokio::spawn(running);
    let (port, new_port, socket) = (free_port(), free_port(), at("haproxy.sock"));
    let text = format!(
        "global\n    stats socket {} level admin\ndefaults\n    mode http\n    timeout connect 2s\n    timeout client 30s\n    \
         timeout server 60s\n    option forwardfor\nfrontend public\n    bind 127.0.0.1:{port}\n    default_backend oauth\n\
         backend oauth\n    server old {old_address}\n    server new 127.0.0.1:{new_port} disabled\n",
        socket.display()
    );
    fs::write(at("haproxy.cfg"), text).unwrap();
    let mut haproxy = Command::new("haproxy");
    haproxy.arg("-db").arg("-f").arg(at("haproxy.cfg")).stdout(Stdio::null()).stderr(Stdio::null());
    let _haproxy = Ending(haproxy.spawn().expect("haproxy is installed"));
    until(Duration::from_secs(20), async || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;

    // Each client is one backup after another with the AuthID that its user saved; it knows no other.
    let (ended, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = logins
        .into_iter()
        .map(|(provider, authid)| {
            let (ended, done, url) = (ended.clone(), done.clone(), format!("http://127.0.0.1:{port}/refresh"));
            let service = profiles[provider].service;
            async move {
                let (mut tokens, mut failed, mut slowest) = (Vec::new(), Vec::new(), Duration::ZERO);
                while !ended.load(Ordering::Acquire) {
                    let begun = Instant::now();
                    let mut backup = Duplicati::new(&url, service, &authid, &Clock::system());
                    match backup.access_token().await {
                        Ok(token) if backup.waits.is_empty() => tokens.push(token),
                        other => failed.push(format!("{other:?} after {:?}", backup.waits)),
                    }
                    slowest = slowest.max(begun.elapsed());
                    done.fetch_add(1, Ordering::AcqRel);
                }
                (provider, tokens, failed, slowest)
            }
        })
        .collect();
    let wait_for_more = async || {
        let enough = done.load(Ordering::Acquire) + load;
        until(Duration::from_secs(120), async || done.load(Ordering::Acquire) >= enough).await;
    };
    let change = async {
        wait_for_more().await;

        fs::create_dir(at("data")).unwrap();
        assert!(authseal(folder.path()).args(["keys", "new", "data/keys.toml"]).status().unwrap().success());
        let url = format!("http://127.0.0.1:{new_port}");
        let mut new = authseal(folder.path());
        new.args(["serve", "--oauth-server-env", "--dir", "data", "--", "run", "--hostname", "oauth.example.com"]);
        new.args(["--configfile", "config.json", "--storage", "tokens", "--listen-urls", &url]);
        let mut new = Ending(new.env("AUTHSEAL_ADMIN__LISTEN", "127.0.0.1:0").stdout(Stdio::null()).spawn().unwrap());
        let log = BufReader::new(new.0.stderr.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let client = http::client();
        until(Duration::from_secs(60), async || client.get(format!("{url}/readyz")).send().await.is_ok()).await;
        wait_for_more().await;
        let before = (done.load(Ordering::Acquire), old.served.load(Ordering::Acquire));
        // From one to the other at once: a refresh token that works once must not be used by both.
        tell(&socket, "set server oauth/new state ready; set server oauth/old state drain");
        wait_for_more().await;
        old_handle.stop(true).await;
        wait_for_more().await;
        ended.store(true, Ordering::Release);
        (before, new, lines)
    };
    let (clients, (before, _new, lines)) = tokio::join!(join_all(clients), change);
    let (mut all, mut slowest) = (0, Duration::ZERO);
    for client in clients {
        let (provider, tokens, failed, its_slowest) = client;
        assert_eq!(failed, Vec::<String>::new(), "{:?}", lines.try_iter().collect::<Vec<_>>());
        let last = tokens.last().unwrap();
        assert!(emulators[provider].use_access_token(last), "{}", profiles[provider].service);
        all += tokens.len();
        slowest = slowest.max(its_slowest);
    }
    let by_old = old.served.load(Ordering::Acquire);
    assert!(by_old >= before.1 && all > by_old + load, "{by_old} of {all}");
    eprintln!("{all} refreshes, {by_old} by the old server, none failed or tried twice; the slowest took {slowest:?}");
}
