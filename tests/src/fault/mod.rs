//! Power cuts at any moment of a board's life, on a disk that loses or tears what was not flushed.
//!
//! One life is lived and recorded: first boot, pairing, update, trial, reboot. Then each run picks a moment of it, makes
//! the disk that a power cut at this moment could have left, boots it, and looks whether the board goes on as it must.

pub mod cut;
pub mod life;
pub mod power;
pub mod regions;
pub mod write_log;
