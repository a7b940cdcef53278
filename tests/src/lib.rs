//! Homeport's end-to-end tests on booted boards, and the tools that run those boards.
#![forbid(unsafe_code)]

pub mod board;
pub mod fault;
pub mod lab;
pub mod lanes;
pub mod name_server;
pub mod operator;
pub mod scenarios;
pub mod server;
pub mod site;
pub mod verdict;
pub mod wait;
