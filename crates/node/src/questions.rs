//! Questions to the node itself, which doors ask as runs of the metadata group: no log takes part.
//!
//! Owns: who waits for an answer, in bounded queues, and that everybody gets one. Never: an answer; the tasks of `sync.rs`
//! and `libraries.rs` find it, one after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use keystead_replication::{Access, Completed, Doubt, Ending, Part, Rejection, ReplyTo};
use keystead_types::{Monotonic, ShardId};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Questions of a kind that wait at a time: each takes the node, or every shard, some time.
pub(crate) const QUESTIONS_MAX: usize = 8;

/// The questions of all kinds.
#[derive(Default)]
pub(crate) struct Questions {
    /// For all replicas to be compared.
    pub(crate) syncs: QuestionQueue,
    /// For libraries of functions to be changed.
    pub(crate) libraries: QuestionQueue,
}

/// Those who wait for an answer of one kind.
#[derive(Default)]
pub(crate) struct QuestionQueue {
    waiting: Mutex<VecDeque<Question>>,
    bell: Notify,
}

/// A door that waits for an answer.
pub(crate) struct Question {
    /// The run that asked.
    pub(crate) part: Part,
    /// What it asks for, beyond the kind.
    pub(crate) commands: Vec<u8>,
    /// Whether something may have happened if there is no answer.
    pub(crate) access: Access,
    /// Until when to try.
    pub(crate) deadline: Monotonic,
    /// Who is told.
    pub(crate) reply_to: Arc<dyn ReplyTo>,
}

impl QuestionQueue {
    /// Takes a question, or ends it at once if too many wait.
    pub(crate) fn put(&self, question: Question) {
        let mut waiting = self.waiting.lock();
        if waiting.len() == QUESTIONS_MAX {
            drop(waiting);
            let commands = Vec::new();
            return question.end(Ending::Rejected { why: Rejection::Overloaded, commands });
        }
        waiting.push_back(question);
        drop(waiting);
        self.bell.notify_one();
    }

    /// The next question, once there is one. Cancel safe.
    pub(crate) async fn next(&self) -> Held {
        loop {
            // Taken in a statement of its own, so that the lock is not held meanwhile.
            let question = self.waiting.lock().pop_front();
            match question {
                Some(question) => return Held(Some(question)),
                None => self.bell.notified().await,
            }
        }
    }
}

impl Question {
    fn end(self, ending: Ending) {
        let Self { part, access, deadline, reply_to, .. } = self;
        let (group, parts) = (ShardId::META, vec![part]);
        reply_to.deliver(Completed { group, access, parts, deadline, ending });
        reply_to.wake();
    }
}

/// A question being seen to. One that is left, because the task fell, is answered all the same.
pub(crate) struct Held(Option<Question>);

impl Held {
    /// The question.
    pub(crate) const fn question(&self) -> Option<&Question> {
        self.0.as_ref()
    }

    /// Answers it.
    pub(crate) fn end(mut self, ending: Ending) {
        if let Some(question) = self.0.take() {
            question.end(ending);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(question) = self.0.take() {
            question.end(Ending::Unknown(Doubt::Deadline));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Ends(Mutex<Vec<String>>);

    impl ReplyTo for Ends {
        fn deliver(&self, completed: Completed) {
            self.0.lock().push(match completed.ending {
                Ending::Done(_) => "done".to_owned(),
                Ending::Rejected { why, .. } => format!("{why:?}"),
                Ending::Unknown(doubt) => format!("{doubt:?}"),
            });
        }

        fn wake(&self) {}
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_nobody_is_forgotten() {
        let (queue, ends) = (QuestionQueue::default(), Arc::new(Ends::default()));
        for _ in 0..=QUESTIONS_MAX {
            queue.put(Question {
                part: Part { ticket: 1, bytes: 0, form: 2 },
                commands: Vec::new(),
                access: Access::Read,
                deadline: Monotonic(0),
                reply_to: Arc::clone(&ends) as Arc<dyn ReplyTo>,
            });
        }
        assert_eq!(*ends.0.lock(), ["Overloaded"]);
        drop(queue.next().await);
        assert_eq!(*ends.0.lock(), ["Overloaded", "Deadline"]);
    }
}
