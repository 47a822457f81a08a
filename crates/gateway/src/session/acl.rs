//! ACL: what can be told of the one user there is.
//! Owns: the replies. Never: changes a user; the password is a setting of the node.

use keystead_store::command::SessionCommand;

use super::{Answer, SessionCall};
use crate::dispatch::Verdict;

const USER: &str = "default";
/// Shown in place of the password's digest, which nobody needs to know.
const HIDDEN: &str = "#<hidden>";

impl<'a> SessionCall<'_, '_, 'a> {
    pub(super) fn acl(&mut self, kind: SessionCommand) -> Answer<'a> {
        let has_password = self.turn.local.shared.config.password.is_some();
        match kind {
            SessionCommand::AclWhoAmI => self.reply().bulk(USER.as_bytes()),
            SessionCommand::AclUsers => {
                let mut reply = self.reply();
                reply.array(1);
                reply.bulk(USER.as_bytes());
            }
            SessionCommand::AclList => {
                let password = if has_password { HIDDEN } else { "nopass" };
                let mut reply = self.reply();
                reply.array(1);
                reply.bulk(format!("user {USER} on {password} ~* &* +@all").as_bytes());
            }
            _ => return self.help("acl"),
        }
        Ok(Verdict::Next)
    }
}
