//! Tests that go through the whole of this module: the attacks, the routes, and what users read of each reason.

mod attacks;
mod readable;
mod repeats;
mod routes;
mod site;
