//! Fields that expire.
