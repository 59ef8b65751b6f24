//! Faults around the service, and recovery from them: requests get a response in time that says
//! what to do, nothing is half done, and the service needs no restart.

pub(crate) mod disk;
mod postgres;
pub(crate) mod proxy;
