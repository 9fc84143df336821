//! Wire codecs on recorded frames.

mod vonage;
