//! What a request keeps from its beginning to its end: the configuration it is answered by, which is the one that was in
//! force when it came, and its number. All that asks for `web::Data<App>` finds that one.

use crate::app::LiveApp;
use crate::web::request_id::Number;
use actix_web::dev::{Extensions, ServiceRequest};
use actix_web::web;
use std::rc::Rc;

/// Takes the configuration of this moment for a request. What is returned outlives it.
pub(in crate::web) fn pin(request: &mut ServiceRequest) -> Rc<Extensions> {
    let mut data = Extensions::new();
    data.insert(Number::default());
    if let Some(live) = request.app_data::<web::Data<LiveApp>>() {
        data.insert(web::Data::from(live.load()));
    }
    let data = Rc::new(data);
    request.add_data_container(data.clone());
    data
}
