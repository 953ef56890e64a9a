//! What a System's gateway does for its clients, through Router, Envoys and the application behind it.

mod auth;
mod conversion;
mod expressions;
pub(crate) mod routes;
mod spelling;
