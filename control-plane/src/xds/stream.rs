//! The state machine of one ADS stream, without IO.
