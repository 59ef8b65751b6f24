//! What is around the service fails, and comes back: requests are answered in time with
//! what to do, nothing is half done, and the service needs no restart.

pub(crate) mod disk;
mod postgres;
pub(crate) mod proxy;
