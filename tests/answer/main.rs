//! Answer detection on the labelled greetings, in simulated time.
mod greeting;
mod trial;
