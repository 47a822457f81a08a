//! stub
use super::{Answer, SessionCall};
use crate::reply::Failure;
use keystead_store::command::SessionCommand;
impl<'a> SessionCall<'_, '_, 'a> {
    pub(super) fn command(&mut self, _kind: SessionCommand) -> Answer<'a> {
        Err(Failure::Syntax)
    }
}
