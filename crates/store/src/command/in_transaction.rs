//! Session commands that a client may queue in MULTI and that need nothing but their arguments.
//! Owns: PING, ECHO, TIME, UNWATCH and the HELP of containers on keys inside a transaction. Never: anything that needs a
//! connection.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::ApplyContext;

use crate::error::CommandError;

use super::SessionCommand;

pub(crate) fn run(
    ctx: &ApplyContext,
    kind: SessionCommand,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    match kind {
        SessionCommand::Ping if args.len() > 2 => {
            return Err(CommandError::Arity { command: "ping" });
        }
        SessionCommand::Ping => match args.get(1) {
            Some(text) => reply.bulk(text),
            None => reply.simple("PONG"),
        },
        SessionCommand::FunctionHelp
        | SessionCommand::JsonDebugHelp
        | SessionCommand::ObjectHelp
        | SessionCommand::ScriptHelp
        | SessionCommand::XGroupHelp
        | SessionCommand::XInfoHelp => {
            let container = super::find(&args[0]).expect("who has a subcommand is in the table");
            super::describe::help(container, reply);
        }
        // EXEC has ended every watch of the connection already.
        SessionCommand::Unwatch => reply.ok(),
        SessionCommand::Echo => reply.bulk(&args[1]),
        SessionCommand::Time => {
            let (seconds, micros) = (ctx.now.0 / 1000, ctx.now.0 % 1000 * 1000);
            reply.array(2);
            reply.bulk_integer(seconds.cast_signed());
            reply.bulk_integer(micros.cast_signed());
        }
        _ => return Err(CommandError::NotInTransaction),
    }
    Ok(())
}
