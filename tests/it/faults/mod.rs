//! External faults, and recovery from them: requests get a timely response that says what to do,
//! nothing is partially executed, and the service needs no restart.

pub(crate) mod disk;
mod postgres;
pub(crate) mod proxy;
