//! The REST API and downloads, over HTTPS, against the real program.

#![cfg(test)]

mod access;
mod attack;
mod backup;
mod bundles;
mod commands;
mod crash;
mod disk;
mod fleet;
mod flood;
mod live;
mod matrix;
mod people;
mod postgres;
mod support;
mod tables;
mod trust;
mod world;
