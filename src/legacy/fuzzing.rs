//! What must hold of what another handler answers, whatever that is; see `crate::fuzzing`.

#![allow(clippy::unwrap_used, reason = "what cannot fail here and does is a finding")]

use super::export::ExportError;
use super::handler::told;
use crate::authid::ServiceId;
use crate::fuzzing::lossy;
use secrecy::ExposeSecret;
use serde_json::value::RawValue;
use std::collections::HashMap;

const STATUSES: [u16; 10] = [200, 204, 302, 400, 401, 403, 404, 429, 500, 503];
/// What the handler says where the AuthID itself is wrong.
const ITS_OWN: [(u16, &str); 4] =
    [(404, "No such key"), (404, "No such user"), (400, "Invalid authid password"), (400, "Invalid authid in query")];

/// The first byte chooses the status, the rest of its line is the `X-Reason`, what follows is the body. Nothing is held
/// against an AuthID but what only the handler can have said of it, and a token is one that it did send.
pub(crate) fn export_answer(data: &[u8]) {
    let Some((status, rest)) = data.split_first() else { return };
    let status = STATUSES[usize::from(*status) % STATUSES.len()];
    let (reason, body) = rest.iter().position(|byte| *byte == b'\n').map_or((rest, &[][..]), |at| rest.split_at(at));
    let (reason, body) = (lossy(reason), body.get(1..).unwrap_or_default());
    // What members hold that nobody reads may be anything.
    let members = serde_json::from_str::<HashMap<String, Box<RawValue>>>(&lossy(body)).ok();
    let text = |name| serde_json::from_str::<String>(members.as_ref()?.get(name)?.get()).ok();
    let is_export = status == 200 && body.len() <= 64 * 1024;
    match told(status, &reason, body) {
        Ok(stored) => {
            let token = stored.refresh_token.expose_secret();
            assert!(is_export && !token.is_empty() && text("refresh_token").as_deref() == Some(token));
            assert_eq!(ServiceId::parse_alias(&text("service").unwrap()).unwrap(), stored.service_id);
        }
        Err(error) if error.is_guess() => assert!(ITS_OWN.contains(&(status, &reason)), "{status} {reason:?}"),
        Err(error) if error.holds().is_some() => {
            let failed = error == ExportError::Fails && (status, &*reason) == (500, "Server error");
            assert!(failed || is_export && error == ExportError::Unusable, "{status} {reason:?}: {error}");
            assert!(failed || members.is_none_or(|members| members.contains_key("service")), "{error}");
        }
        Err(error) => assert!(!ITS_OWN.contains(&(status, &reason)), "{error}"),
    }
}
