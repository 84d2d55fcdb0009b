//! Tests that go through the whole of this module: the attacks, and what users read of each reason.

mod attacks;
mod readable;
