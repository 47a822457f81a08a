//! stub
use super::{Answer, SessionCall};
use crate::reply::Failure;
impl<'a> SessionCall<'_, '_, 'a> {
    pub(super) fn info(&mut self) -> Answer<'a> {
        Err(Failure::Syntax)
    }
}
