//! What the user of a backup reads when its backend gets no access token: texts, and the time limits that can hide them,
//! as they were seen in runs of the unmodified backends of Duplicati 2.1.0.5, 2.2.0.3, 2.3.0.4 and 2.3.1.0. Between
//! 2.2 and 2.3.1 they differ in nothing that matters here, so there are two generations.

use serde_json::Value;
use std::time::Duration;

/// The backends that ask an OAuth server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    GoogleDrive,
    Gcs,
    OneDrive,
    SharePoint,
    MsGroup,
    Box,
    Dropbox,
    Jottacloud,
}

impl Backend {
    pub(crate) const ALL: [Self; 8] = [
        Self::GoogleDrive,
        Self::Gcs,
        Self::OneDrive,
        Self::SharePoint,
        Self::MsGroup,
        Self::Box,
        Self::Dropbox,
        Self::Jottacloud,
    ];

    /// The service that its AuthIDs are for; it is also what the link to the login page names.
    pub(crate) fn service(self) -> &'static str {
        match self {
            Self::GoogleDrive => "googledrive",
            Self::Gcs => "gcs",
            Self::OneDrive => "onedrivev2",
            Self::SharePoint => "sharepoint",
            Self::MsGroup => "msgroup",
            Self::Box => "box.com",
            Self::Dropbox => "dropbox",
            Self::Jottacloud => "jottacloud",
        }
    }

    /// The backend of a service.
    pub(crate) fn of(service: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.service() == service)
    }
}

/// A generation of Duplicati.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// 2.1.0.5.
    V2_1,
    /// 2.2 and later.
    V2_2,
}

impl Generation {
    pub(crate) const ALL: [Self; 2] = [Self::V2_1, Self::V2_2];
}

/// What a backend is asked to do when it needs a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    List,
    /// "Test connection".
    Test,
    Get,
    Put,
    Delete,
    CreateFolder,
}

impl Operation {
    pub(crate) const ALL: [Self; 6] = [Self::List, Self::Test, Self::Get, Self::Put, Self::Delete, Self::CreateFolder];
}

/// The last attempt of a backend that got no token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusal {
    /// `None`: no response, and `phrase` says why.
    pub(crate) status: Option<u16>,
    /// The status's standard phrase.
    pub(crate) phrase: String,
    pub(crate) reason: Option<String>,
    pub(crate) body: String,
}

/// How often an attempt is made again, with pauses of 1, 2, 4, 8, 16 s.
pub(crate) fn retries(backend: Backend, generation: Generation, refusal: &Refusal) -> usize {
    let reason = refusal.reason.as_deref();
    match (refusal.status, generation) {
        // Box of that generation sees neither status nor reason, unless the body is empty.
        (Some(_), Generation::V2_1) if backend == Backend::Box && !refusal.body.is_empty() => 5,
        (Some(503), Generation::V2_1) => 0,
        (Some(503), Generation::V2_2) if reason.is_some() => 0,
        (Some(400..=499), _) => 1,
        _ => 5,
    }
}

/// How long the operation may take, token and pauses included.
pub(crate) fn limit(backend: Backend, generation: Generation, operation: Operation) -> Option<Duration> {
    use Operation::{CreateFolder, Delete, Get};
    let limited = generation == Generation::V2_2
        && match backend {
            Backend::GoogleDrive | Backend::SharePoint => true,
            Backend::OneDrive | Backend::MsGroup => matches!(operation, Get | Delete | CreateFolder),
            Backend::Dropbox => matches!(operation, Delete | CreateFolder),
            Backend::Gcs | Backend::Box | Backend::Jottacloud => false,
        };
    limited.then_some(Duration::from_secs(30))
}

/// What the user reads instead of the refusal when the limit has passed.
pub(crate) const TIMED_OUT: &str = "The operation has timed out.";

/// What the user reads. `server` is the OAuth server's address without a path.
pub(crate) fn reading(
    backend: Backend,
    generation: Generation,
    operation: Operation,
    server: &str,
    refusal: &Refusal,
) -> String {
    let text = match generation {
        Generation::V2_1 => old(backend, server, refusal),
        Generation::V2_2 => new(backend, server, refusal),
    };
    let microsoft = matches!(backend, Backend::OneDrive | Backend::SharePoint | Backend::MsGroup);
    match operation {
        Operation::Test if !microsoft => format!("Error listing content: {text}"),
        _ => text,
    }
}

const OVER_QUOTA: &str = "The OAuth service is currently over quota. Try again in a few hours";

fn authorize(backend: Backend, server: &str, reason: &str) -> String {
    let login = format!("{server}?type={}", backend.service());
    format!(
        "Failed to authorize using the OAuth service: {reason}. If the problem persists, try generating a new authid token from: {login}"
    )
}

/// `X-Reason`, or the status's phrase for one that is missing or blank.
fn said(refusal: &Refusal) -> &str {
    refusal.reason.as_deref().filter(|reason| !reason.trim().is_empty()).unwrap_or(&refusal.phrase)
}

fn is_json(body: &str) -> bool {
    serde_json::from_str::<Value>(body).is_ok_and(|value| !value.is_null())
}

fn old(backend: Backend, server: &str, refusal: &Refusal) -> String {
    let no_reason = refusal.reason.as_deref().unwrap_or_default().trim().is_empty();
    match refusal.status {
        Some(_) if backend == Backend::Box && is_json(&refusal.body) => authorize(backend, server, "0 - : "),
        Some(_) if backend == Backend::Box && !refusal.body.is_empty() => {
            authorize(backend, server, &format!("Raw message: {}", refusal.body))
        }
        Some(503) if no_reason => OVER_QUOTA.to_owned(),
        _ => authorize(backend, server, said(refusal)),
    }
}

fn new(backend: Backend, server: &str, refusal: &Refusal) -> String {
    let Refusal { status, phrase, reason, body } = refusal;
    let text = match (*status, reason.as_deref()) {
        (Some(503), Some(reason)) if reason.trim().is_empty() => OVER_QUOTA.to_owned(),
        (Some(503), Some(reason)) => authorize(backend, server, reason),
        (None, _) if backend == Backend::Dropbox => "Non-json response: ".to_owned(),
        (None, _) => phrase.clone(),
        (Some(status), _) => match backend {
            Backend::Box => box_com(status, body),
            Backend::Dropbox => dropbox(server, status, phrase, body),
            _ if reason.is_none() && status == 503 => {
                format!("Response status code does not indicate success: 503 ({phrase}).")
            }
            _ => authorize(backend, server, said(refusal)),
        },
    };
    match backend {
        Backend::Jottacloud => format!("Failed to retrieve user information: {text}"),
        _ => text,
    }
}

fn box_com(status: u16, body: &str) -> String {
    match status {
        429 => "Exception of type 'Duplicati.Library.Interface.TooManyRequestException' was thrown.".to_owned(),
        _ if is_json(body) => "Box.com ErrorResponse: 0 - : ".to_owned(),
        _ => format!("Box.com ErrorResponse: {status} - Unknown: {body}"),
    }
}

fn dropbox(server: &str, status: u16, phrase: &str, body: &str) -> String {
    match status {
        401 => authorize(Backend::Dropbox, server, body),
        404 | 409 => format!("FolderMissingException: {body}"),
        429 | 507 => format!("The Dropbox account is over quota: {body}"),
        _ if is_json(body) => "The node must be of type 'JsonObject'.".to_owned(),
        _ => format!("Non-json response (code: {status}, message: {phrase}): {body}"),
    }
}
