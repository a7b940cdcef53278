//! Helpers: processes that do what a call asks for, with the rights that it needs and no others.

pub(crate) mod frame;
