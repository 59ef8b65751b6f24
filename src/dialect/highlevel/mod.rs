//! HighLevel's Products Collections API.
