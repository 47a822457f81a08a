//! Rows of ACL: what can be told of the one user there is. Those that change users are refused until there are more.

use super::{Command, Group, SESSION, SessionCommand, flags};

const fn row(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    Command::session(name, arity, Group::Server, kind).with(SESSION).since("6.0.0")
}

const fn admin(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    row(name, arity, kind).with(flags::ADMIN)
}

const fn refused(name: &'static str, arity: i32) -> Command {
    Command::refused(name, arity, Group::Server, ONE_USER).with(SESSION).since("6.0.0")
}

const ONE_USER: &str = "there is one user, `default`, who may do everything and whose password is the setting `requirepass`";

pub(crate) const ROWS: &[Command] =
    &[Command::container("acl", Group::Server, SessionCommand::Acl, ACL)
        .since("6.0.0")
        .doc("subcommand", "A container for commands on users and what they may do.")];

const ACL: &[Command] = &[
    row("acl|cat", -2, SessionCommand::AclCat)
        .cost("O(1) since the categories and commands are a fixed set.")
        .doc("[category]", "Returns the categories of commands, or the commands of one."),
    refused("acl|deluser", -3).doc("username [username ...]", "Removes users."),
    admin("acl|dryrun", -4, SessionCommand::AclDryRun)
        .since("7.0.0")
        .cost("O(1).")
        .doc("username command [arg [arg ...]]", "Says whether a user may run a command."),
    row("acl|genpass", -2, SessionCommand::AclGenPass)
        .doc("[bits]", "Returns a password that nobody can guess."),
    admin("acl|getuser", 3, SessionCommand::AclGetUser)
        .cost(
            "O(N). Where N is the number of password, command and pattern rules that the user has.",
        )
        .doc("username", "Returns what a user may do."),
    Command::session("acl|help", 2, Group::Server, SessionCommand::AclHelp)
        .with(flags::LOADING | flags::STALE)
        .since("6.0.0")
        .doc("", "Describes the subcommands."),
    admin("acl|list", 2, SessionCommand::AclList).doc("", "Returns the users as lines of rules."),
    refused("acl|load", 2).doc("", "Reads the users from a file."),
    admin("acl|log", -2, SessionCommand::AclLog)
        .cost("O(N) with N being the number of entries shown.")
        .doc("[count | RESET]", "Returns the latest failed logins on this node."),
    refused("acl|save", 2).doc("", "Writes the users to a file."),
    refused("acl|setuser", -3).doc("username [rule [rule ...]]", "Makes or changes a user."),
    admin("acl|users", 2, SessionCommand::AclUsers).doc("", "Returns the names of the users."),
    row("acl|whoami", 2, SessionCommand::AclWhoAmI).doc("", "Returns the connection's user."),
];
