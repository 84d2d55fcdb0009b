//! The conversation with an authority, once through: the account, the order, a proof for each name, the certificate (RFC
//! 8555 section 7). What comes of it is not judged here.

use super::cache::Cache;
use super::fault::kind;
use super::http::Http;
use super::{AcmeSettings, Fault, challenge};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use std::time::Duration;

/// How long an authority is asked whether it has come to an end: it says itself how often (`Retry-After`), or else at
/// growing distances.
const POLLS: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(240));
/// How often a request is sent again whose nonce is refused, beyond what the library does; each time with a new one.
const NONCES: usize = 10;

/// Makes a call again while its nonce is refused (RFC 8555 section 6.5).
macro_rules! insist {
    ($call:expr) => {{
        let mut tries = 0;
        loop {
            match $call {
                Err(Error::Api(problem)) if tries < NONCES && kind(&problem) == "badNonce" => tries += 1,
                outcome => break outcome,
            }
        }
    }};
}

/// Has a certificate issued; gives it in PEM, its key first.
pub(super) async fn order(settings: &AcmeSettings, cache: &Cache, http: Http) -> Result<String, Fault> {
    cache.clear_challenges();
    let account = account(settings, cache, http).await?;
    let identifiers: Vec<_> = settings.domains.iter().map(|name| Identifier::Dns(name.clone())).collect();
    let mut order = insist!(account.new_order(&NewOrder::new(&identifiers)).await)?;
    if order.state().status == OrderStatus::Pending {
        prove(settings, cache, &mut order).await?;
        match insist!(order.poll_ready(&POLLS).await) {
            Ok(OrderStatus::Ready) => {}
            Err(error @ Error::Timeout(_)) => return Err(error.into()),
            failed => return Err(why(&mut order, failed.err()).await),
        }
    }
    let key = KeyPair::generate().map_err(unmade)?;
    let mut params = CertificateParams::new(settings.domains.clone()).map_err(unmade)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(unmade)?;
    insist!(order.finalize_csr(request.der()).await)?;
    let chain = insist!(order.poll_certificate(&POLLS).await)?;
    Ok(format!("{}{chain}", key.serialize_pem()))
}

/// The account in the folder; a new one where there is none, or none that this authority knows.
async fn account(settings: &AcmeSettings, cache: &Cache, http: Http) -> Result<Account, Fault> {
    let contact = format!("mailto:{}", settings.contact);
    if let Some(credentials) = cache.account(&settings.directory) {
        let account = Account::builder_with_http(Box::new(http.clone())).from_credentials(credentials).await?;
        // It may have changed, and tells whether the account is known.
        match insist!(account.update_contacts(&[&contact]).await) {
            Ok(()) => return Ok(account),
            Err(Error::Api(problem)) if kind(&problem) == "accountDoesNotExist" => {}
            Err(error) => return Err(error.into()),
        }
    }
    let new = NewAccount { contact: &[&contact], terms_of_service_agreed: true, only_return_existing: false };
    let builder = || Account::builder_with_http(Box::new(http.clone()));
    let (account, credentials) = insist!(builder().create(&new, settings.directory.clone(), None).await)?;
    cache.put_account(&settings.directory, &credentials)?;
    Ok(account)
}

/// Lays out what proves each name, and has the authority look.
async fn prove(settings: &AcmeSettings, cache: &Cache, order: &mut Order) -> Result<(), Fault> {
    let method = if settings.over_http { ChallengeType::Http01 } else { ChallengeType::TlsAlpn01 };
    insist!(fetch_authorizations(order).await)?;
    let mut authorizations = order.authorizations();
    while let Some(mut authorization) = authorizations.next().await.transpose()? {
        // One that was proved lately need not be proved again.
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let Some(mut proof) = authorization.challenge(method.clone()) else {
            return Err(Fault::Refused("it takes no proof that this server could give".to_owned()));
        };
        let key_authorization = proof.key_authorization();
        let (name, text) = match settings.over_http {
            true => (proof.token.clone(), key_authorization.as_str().to_owned()),
            false => {
                let domain = proof.identifier().to_string();
                let pem = challenge::certificate(&domain, key_authorization.digest().as_ref()).map_err(unmade)?;
                (challenge::file_name(&domain), pem)
            }
        };
        cache.put_challenge(&name, &text)?;
        insist!(proof.set_ready().await)?;
    }
    Ok(())
}

/// Fetches all authorizations of an order that are not known. Each time from the first on: the library's iterator has
/// passed over one whose request failed, and a name that is never proved would hang the order.
async fn fetch_authorizations(order: &mut Order) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while authorizations.next().await.transpose()?.is_some() {}
    Ok(())
}

/// Why an order came to nothing: what the authority says of a proof, or else of the order.
async fn why(order: &mut Order, error: Option<Error>) -> Fault {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if insist!(authorization.refresh().await.map(|_| ())).is_err() {
            break;
        }
        if let Some(problem) = authorization.challenges.iter().find_map(|proof| proof.error.as_ref()) {
            return Fault::of_problem(problem);
        }
    }
    error.map_or_else(|| Fault::Refused("it says no more".to_owned()), Fault::from)
}

fn unmade(error: rcgen::Error) -> Fault {
    Fault::Refused(format!("it could not be asked, {error}"))
}
