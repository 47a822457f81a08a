//! The metadata group's machine: the topology, replicated like any shard.
//!
//! Owns: applying topology commands, showing every new topology to the node.
//! Never: decides what the cluster should look like (see `topology::plan` and `reconcile`).
//! A command stands in the log as a RESP array of two: `META` and a line of JSON.

use std::sync::Arc;

use keystead_replication::{DumpStep, Machine, Part, Replies};
use keystead_resp::{Protocol, ReplyWriter, RunDecoder, Span, encode};
use keystead_topology::{Command, Topology};
use keystead_types::{ApplyContext, UnixMillis};

/// What every metadata command begins with.
const NAME: &[u8] = b"META";

/// Told of every topology that is applied.
pub(crate) type OnTopology = Arc<dyn Fn(Arc<Topology>) + Send + Sync>;

/// See the module.
pub(crate) struct MetaMachine {
    topology: Arc<Topology>,
    on_topology: OnTopology,
    dump: Option<Vec<u8>>,
    spans: Vec<Span>,
}

impl MetaMachine {
    /// A machine whose state is `topology`.
    pub(crate) fn new(topology: Topology, on_topology: OnTopology) -> Self {
        let topology = Arc::new(topology);
        on_topology(Arc::clone(&topology));
        Self { topology, on_topology, dump: None, spans: Vec::new() }
    }

    fn apply_one(&mut self, context: &ApplyContext, command: &[u8], reply: &mut ReplyWriter<'_>) {
        let mut spans = std::mem::take(&mut self.spans);
        let outcome = match RunDecoder::new(command).next(&mut spans) {
            Ok(Some(args)) if args.len() == 2 && &args[0] == NAME => {
                Command::decode(&args[1]).map_err(|e| e.to_string())
            }
            _ => Err("not a metadata command".to_owned()),
        };
        self.spans = spans;
        let applied = outcome.and_then(|command| {
            Arc::make_mut(&mut self.topology)
                .apply(context.index, command)
                .map_err(|refused| refused.to_string())
        });
        match applied {
            Ok(_) => {
                (self.on_topology)(Arc::clone(&self.topology));
                reply.ok();
            }
            Err(reason) => reply.error(reason),
        }
    }
}

/// The command as it stands in the log.
pub(crate) fn encode_command(command: &Command) -> Vec<u8> {
    let mut out = Vec::new();
    encode::command(&mut out, [NAME, command.encode().as_slice()]);
    out
}

impl Machine for MetaMachine {
    type Loaded = Box<Topology>;

    fn apply(
        &mut self,
        context: &ApplyContext,
        commands: &[u8],
        parts: &[Part],
        replies: &mut Replies,
    ) {
        // One command an entry (see `replication::group`), so one part at most.
        let mut reply = match parts {
            [] => ReplyWriter::discard(),
            _ => ReplyWriter::new(&mut replies.bytes, Protocol::Resp2),
        };
        self.apply_one(context, commands, &mut reply);
        replies.ends.extend(parts.iter().map(|_| replies.bytes.len()));
    }

    fn read(&mut self, _now: UnixMillis, _commands: &[u8], parts: &[Part], replies: &mut Replies) {
        for _ in parts {
            ReplyWriter::new(&mut replies.bytes, Protocol::Resp2).bulk(&self.topology.dump());
            replies.ends.push(replies.bytes.len());
        }
    }

    fn begin_dump(&mut self) {
        self.dump = Some(self.topology.dump());
    }

    fn dump_step(&mut self, out: &mut Vec<u8>, _bytes_target: usize) -> DumpStep {
        out.extend(self.dump.take().unwrap_or_default());
        DumpStep::Done
    }

    fn abort_dump(&mut self) {
        self.dump = None;
    }

    fn install(&mut self, state: Box<Topology>) {
        self.topology = Arc::from(state);
        (self.on_topology)(Arc::clone(&self.topology));
    }

    fn digest(&self) -> u128 {
        u128::from(self.topology.digest())
    }

    fn upkeep(&mut self, _now: UnixMillis, _commands: &mut Vec<u8>) {}
}
