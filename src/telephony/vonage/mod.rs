//! Vonage: what its Voice API says and wants to hear, in the order in which a call meets it.

pub mod signature;

pub mod webhook;

pub mod ncco;

pub mod wire;
