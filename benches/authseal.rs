//! The parts of the hot path, each alone. `docs/performance.md` says how to run this and how to read it: compare
//! figures of one run with each other, never with those of another run.

#![allow(clippy::unwrap_used, reason = "a benchmark has no one to return an error to")]
#![allow(missing_docs, reason = "criterion_group makes a public function")]

use authseal::authid::{Bind, Envelope, GrantId, Login, ServiceId, seal};
use authseal::seal::{Epoch, EpochKeys, Key, Keyring, new_secret_text};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// As long as Google's refresh tokens.
const SHORT_TOKEN: usize = 103;
/// As long as the longer ones of Microsoft.
const LONG_TOKEN: usize = 1_500;

fn keyring() -> Keyring {
    let secret = new_secret_text(Epoch::parse("1").unwrap()).unwrap();
    Keyring::parse(&format!("primary = 1\n[[key]]\nepoch = 1\nsecret = \"{}\"", *secret)).unwrap()
}

fn login(token_len: usize) -> Login {
    Login {
        service: ServiceId::parse("googledrive").unwrap(),
        grant: GrantId::random().unwrap(),
        refresh_token: "t".repeat(token_len).into(),
        sealed_at: 1_795_428_000,
        login_at: 1_795_420_000,
        bind: Bind::random().unwrap(),
    }
}

/// Parse, open and seal an AuthID, beside the one cipher call that each must at least make: the figure to divide by.
fn authid(criterion: &mut Criterion) {
    let keyring = keyring();
    for token_len in [SHORT_TOKEN, LONG_TOKEN] {
        let login = login(token_len);
        let authid = seal(keyring.primary(), &login).unwrap();
        let text = authid.expose();
        let envelope = Envelope::parse(text).unwrap();
        let plaintext = vec![b'x'; token_len + 104]; // 104: the members around the token
        let key = Key::new(&[7; 32]);
        let sealed = key.seal(&[0; 51], &plaintext).unwrap();

        let mut group = criterion.benchmark_group(format!("authid/{token_len}"));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function("cipher_open", |b| b.iter(|| key.open(&[0; 51], black_box(&sealed))));
        group.bench_function("parse", |b| b.iter(|| Envelope::parse(black_box(text))));
        group.bench_function("open", |b| b.iter(|| black_box(&envelope).open(&keyring)));
        group.bench_function("parse_and_open", |b| {
            b.iter(|| Envelope::parse(black_box(text)).ok().and_then(|envelope| envelope.open(&keyring).ok()));
        });
        group.bench_function("seal", |b| b.iter(|| seal(keyring.primary(), black_box(&login))));
        group.finish();
    }
}

/// What a request costs that was never an AuthID of ours: it must be cheaper than one that is.
fn refused(criterion: &mut Criterion) {
    let (ours, theirs) = (keyring(), keyring());
    let forged = seal(theirs.primary(), &login(SHORT_TOKEN)).unwrap();
    let padded = format!("{}=", forged.expose());

    let mut group = criterion.benchmark_group("refused");
    group.bench_function("malformed", |b| b.iter(|| Envelope::parse(black_box(&padded)).is_err()));
    group.bench_function("forged", |b| {
        b.iter(|| Envelope::parse(black_box(forged.expose())).is_ok_and(|envelope| envelope.open(&ours).is_err()));
    });
    group.finish();
}

/// Reading a keyring's secret, key derivation included: once per epoch and reload.
fn keys(criterion: &mut Criterion) {
    let secret = new_secret_text(Epoch::parse("1").unwrap()).unwrap();
    criterion.bench_function("keys/from_text", |b| b.iter(|| EpochKeys::from_text(black_box(&secret))));
}

criterion_group!(benches, authid, refused, keys);
criterion_main!(benches);
