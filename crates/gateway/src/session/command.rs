//! COMMAND and its subcommands, from the one command table.
//! Owns: which rows are shown. Never: how a row is shown (see `store/command/describe.rs`).

use keystead_store::command::{self as table, Command, SessionCommand, describe, flags};
use keystead_store::glob_matches;

use crate::dispatch::Verdict;
use crate::reply::Failure;

use super::{Answer, SessionCall};

impl<'a> SessionCall<'_, '_, 'a> {
    pub(super) fn command(&mut self, kind: SessionCommand) -> Answer<'a> {
        match kind {
            SessionCommand::CommandCount => {
                let count = i64::try_from(table::TABLE.len()).unwrap_or(i64::MAX);
                self.reply().integer(count);
                Ok(Verdict::Next)
            }
            SessionCommand::CommandInfo => self.command_info(),
            SessionCommand::CommandDocs => self.command_docs(),
            SessionCommand::CommandList => self.command_list(),
            SessionCommand::CommandGetKeys => self.command_keys(|row, args, reply| {
                let keys = row.keys(args);
                reply.array(keys.clone().count());
                keys.for_each(|key| reply.bulk(key));
            }),
            SessionCommand::CommandGetKeysAndFlags => self.command_keys(describe::keys_and_flags),
            SessionCommand::CommandHelp => self.help("command"),
            _ => {
                let mut reply = self.reply();
                reply.array(table::TABLE.len());
                table::TABLE.iter().for_each(|row| describe::info(row, &mut reply));
                Ok(Verdict::Next)
            }
        }
    }

    /// `COMMAND INFO [name ...]`: all rows if none is named, null for one that is not known.
    fn command_info(&mut self) -> Answer<'a> {
        let names = self.args.from(2);
        if names.is_empty() {
            return self.command(SessionCommand::Command);
        }
        let mut reply = self.reply();
        reply.array(names.len());
        for name in names.iter() {
            match find(name) {
                Some(row) => describe::info(row, &mut reply),
                None => reply.null(),
            }
        }
        Ok(Verdict::Next)
    }

    /// `COMMAND DOCS [name ...]`: all rows if none is named; those that are not known are left out.
    fn command_docs(&mut self) -> Answer<'a> {
        let names = self.args.from(2);
        let named: Vec<&Command> = if names.is_empty() {
            table::TABLE.iter().collect()
        } else {
            names.iter().filter_map(find).collect()
        };
        let mut reply = self.reply();
        reply.map(named.len());
        named.iter().for_each(|row| describe::docs(row, &mut reply));
        Ok(Verdict::Next)
    }

    /// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`
    fn command_list(&mut self) -> Answer<'a> {
        let is_listed: Box<dyn Fn(&Command) -> bool + '_> = match self.args.len() {
            2 => Box::new(|_| true),
            5 if self.arg(2).eq_ignore_ascii_case(b"filterby") => {
                let value = self.arg(4);
                match self.arg(3).to_ascii_lowercase().as_slice() {
                    // There are no modules, so none has commands.
                    b"module" => Box::new(|_| false),
                    b"aclcat" => {
                        let name = value.to_ascii_lowercase();
                        let known = flags::CATEGORY_NAMES.iter();
                        let bit = known
                            .filter(|(_, category)| category.as_bytes() == name)
                            .fold(0, |bits, (bit, _)| bits | bit);
                        Box::new(move |row| row.categories() & bit != 0)
                    }
                    b"pattern" => {
                        let pattern = value.to_ascii_lowercase();
                        Box::new(move |row| glob_matches(&pattern, row.name.as_bytes()))
                    }
                    _ => return Err(Failure::Syntax),
                }
            }
            _ => return Err(Failure::Syntax),
        };
        let all = table::TABLE.iter().flat_map(|row| std::iter::once(row).chain(row.subcommands));
        let listed: Vec<&Command> = all.filter(|row| is_listed(row)).collect();
        let mut reply = self.reply();
        reply.array(listed.len());
        listed.iter().for_each(|row| reply.bulk(row.name.as_bytes()));
        Ok(Verdict::Next)
    }

    /// Shows the keys of the command line that follows the subcommand.
    fn command_keys(
        &mut self,
        show: impl FnOnce(
            &'static Command,
            keystead_resp::Args<'_>,
            &mut keystead_resp::ReplyWriter<'_>,
        ),
    ) -> Answer<'a> {
        let line = self.args.from(2);
        let name = line.get(0).ok_or(Failure::Syntax)?;
        let container = table::find(name).ok_or(Failure::InvalidCommand)?;
        let row = match (container.subcommands, line.get(1)) {
            ([], _) | (_, None) => container,
            (_, Some(sub)) => subcommand(container, sub).ok_or(Failure::InvalidCommand)?,
        };
        if row.keys.is_empty() {
            return Err(Failure::NoKeyArguments);
        }
        if !row.accepts(line.len()) {
            return Err(Failure::InvalidCommandArguments);
        }
        show(row, line, &mut self.reply());
        Ok(Verdict::Next)
    }
}

/// The row of `name`, which may name a subcommand as `container|sub`.
fn find(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|&byte| byte == b'|') {
        None => table::find(name),
        Some(bar) => subcommand(table::find(&name[..bar])?, &name[bar + 1..]),
    }
}

fn subcommand(container: &'static Command, name: &[u8]) -> Option<&'static Command> {
    let prefix = container.name.len() + 1;
    let mut rows = container.subcommands.iter();
    rows.find(|row| row.name.as_bytes()[prefix..].eq_ignore_ascii_case(name))
}
