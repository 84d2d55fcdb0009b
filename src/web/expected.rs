//! What keeps strangers from making the log cry wolf: a refusal that says nothing against this server is no warning,
//! whatever status it has. What it is has to be said by who refuses.

use actix_web::{HttpMessage, HttpRequest};

/// Put on a request whose response is no fault of this server.
struct Expected;

/// Takes note that this request's response is no fault of this server, though its status may be one.
pub(in crate::web) fn expect(request: &HttpRequest) {
    request.extensions_mut().insert(Expected);
}

/// Whether [`expect`] was told so.
pub(in crate::web) fn is_expected(request: &HttpRequest) -> bool {
    request.extensions().contains::<Expected>()
}
