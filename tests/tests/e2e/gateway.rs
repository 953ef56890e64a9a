//! What a System's gateway does for its clients, through Router, Envoys and the application behind it.

mod auth;
mod conversion;
mod expressions;
mod relay;
mod retries;
mod router;
pub(crate) mod routes;
mod smuggling;
mod spelling;
