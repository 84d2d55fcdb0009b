//! Which configuration a request is answered by: the one that was in force when it came. It is taken once, and all that
//! asks for `web::Data<App>` finds that one.

use crate::app::LiveApp;
use actix_web::dev::{Extensions, ServiceRequest};
use actix_web::web;
use std::rc::Rc;

/// Takes the configuration of this moment for a request.
pub(in crate::web) fn pin(request: &mut ServiceRequest) {
    let Some(live) = request.app_data::<web::Data<LiveApp>>() else { return };
    let mut data = Extensions::new();
    data.insert(web::Data::from(live.load()));
    request.add_data_container(Rc::new(data));
}
